"""Choices: one decision, everybody at once, a withdrawal in another process, and recorded answers over HTTP.

    python -m benchmarks.choices [--people 10000000] [--only decision audience withdrawal http]

Beside each stands what it costs by hand, in the same run: a dict and an SQL query for a decision, one SQL query over
one table for an audience. Figures of peers that aren't run here are quoted with where they come from.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import multiprocessing
import random
import sqlite3
import statistics
import tempfile
import time
import timeit
from array import array
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pyroaring import BitMap

from benchmarks import choices_http
from kept.company import Company, opened
from kept.controls.choices.enforce import Gate
from kept.controls.choices.messages.resident import Audience
from kept.controls.choices.records import marks, notices, subjects
from kept.controls.choices.records.book import New, record
from kept.controls.choices.records.marks import NO
from kept.controls.registry import SECTIONS
from kept.controls.rights.people import Person
from kept.policy.policy import Policy
from kept.policy.read import read
from kept.policy.source import Source
from kept.state.tables import choice_marks

PEERS: Final = (
    "peers, as measured before on such a machine: cedarpy 4.12.2, parsed once, 62 µs with 1 policy, 158 µs with 101, "
    "926 µs with 1,001; casbin 230–390 µs; regopy 470–570 µs"
)
ASKED: Final = tuple("fr de nl be it es pt pl ro gb no se dk fi ie at gr cz hu".split())  # noqa: SIM905
SILENT: Final = tuple("us us-ca br in jp au ca mx za ng ch".split())  # noqa: SIM905
COUNTRIES: Final = (*ASKED, *SILENT)
ASKS: Final = ("opt-in", "opt-in", "opt-out", "opt-out", "{eea: opt-in, uk: opt-in, elsewhere: opt-out}")
CHOICES: Final = tuple(f"c{number}" for number in range(8))


def policy() -> Policy:
    """Members in thirty countries, with eight choices of all sorts."""
    asks = [ASKS[number % len(ASKS)] for number in range(8)]
    choices = "\n".join(
        f"  {name}: {{of: member, ask: {ask}}}" for name, ask in zip(CHOICES, asks, strict=True)
    )
    purposes = "\n".join(
        f"  {name}: {{uses: account, ground: "
        + (
            "legitimate-interest, interest: news"
            if ask == "opt-out"
            else "consent"
            if ask == "opt-in"
            else "{eea: consent, uk: consent, elsewhere: legitimate-interest}, interest: news"
        )
        + f", choice: {name}, sends: email}}"
        for name, ask in zip(CHOICES, asks, strict=True)
    )
    text = f"""\
kept: 1
policy: Lumi
version: 2026-03-01
laws: [gdpr]
parties:
  lumi: {{role: us, name: Lumi, authority: eea, contacts: {{privacy: {{email: privacy@lumi.example}}}}}}
stores:
  app: {{at: "sqlite:///app.sqlite", region: eea}}
people:
  member: {{in: app.members, key: id, region: country}}
data:
  account: {{of: member, in: {{app.members: {{country: place}}}}}}
choices:
{choices}
purposes:
{purposes}
"""
    found, problems = read(Source("policy.yaml", text), SECTIONS)
    assert found is not None, [problem.message for problem in problems.errors]
    return found


def people(folder: Path, number: int) -> None:
    """The company's table, and beside each member what they said to each choice (1, 0, or nothing): the peer's data."""
    chances = ", ".join(
        f"CASE abs(random()) % 10 WHEN 0 THEN 0 WHEN 1 THEN NULL WHEN 2 THEN NULL ELSE 1 END AS {c}"
        for c in CHOICES
    )
    listed = ", ".join(f"({place}, '{country}')" for place, country in enumerate(COUNTRIES))
    with closing(sqlite3.connect(folder / "app.sqlite", isolation_level=None)) as raw:
        raw.executescript(
            f"""
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
            CREATE TABLE members (id INTEGER PRIMARY KEY, country TEXT, {", ".join(CHOICES)});
            CREATE TEMP TABLE countries (n INTEGER PRIMARY KEY, country TEXT);
            INSERT INTO countries VALUES {listed};
            WITH RECURSIVE ids (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < {number})
            INSERT INTO members
            SELECT id, (SELECT country FROM countries WHERE n = (id * 7919 + id / 31) % {len(COUNTRIES)}), {chances}
            FROM ids;
            """
        )


def answered(company: Company, folder: Path, number: int) -> None:
    """Subjects and marks for all of them, written straight, as so many events would have left them."""
    found = [(subjects.index(company, Person("member", (str(id),))), id) for id in range(1, number + 1)]
    found.sort()
    numbers = array("I", [0]) * (number + 1)
    for place, (_, id) in enumerate(found, 1):
        numbers[id] = place
    with closing(sqlite3.connect(folder / "kept.sqlite", isolation_level=None)) as raw:
        raw.executescript("PRAGMA synchronous = OFF; PRAGMA cache_size = -65536")
        raw.execute("BEGIN")
        raw.executemany(
            "INSERT INTO subjects (number, person, kind, pseudonym) VALUES (?, ?, 'member', '')",
            ((place, index) for place, (index, _) in enumerate(found, 1)),
        )
        raw.execute("COMMIT")
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    del found
    with company.state.write() as connection:
        meant = notices.keep_meanings(company, connection, CHOICES)
    with closing(sqlite3.connect(folder / "app.sqlite")) as raw:
        for name in CHOICES:
            for value, meaning in ((1, meant[name]), (0, NO)):
                ids = raw.execute(f"SELECT id FROM members WHERE {name} = ?", (value,))  # a name of ours
                bits = BitMap(array("I", (numbers[id] for (id,) in ids)))
                with company.state.write() as connection:
                    connection.execute(choice_marks.insert(), list(chunks(name, meaning, bits)))


def chunks(choice: str, meaning: str, bits: BitMap) -> Iterator[dict[str, object]]:
    """A mark as the table holds it."""
    size = 1 << marks.CHUNK_BITS
    for chunk in range((bits.max() >> marks.CHUNK_BITS) + 1):
        mine = bits & BitMap(range(chunk * size, (chunk + 1) * size))
        if mine:
            yield {
                "choice": choice,
                "scope": "",
                "meaning": meaning,
                "chunk": chunk,
                "bits": mine.serialize(),
            }


def resident() -> tuple[float, float]:
    """MiB this process holds now, and at the most so far; nothing where the system has no /proc."""
    gc.collect()
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0, 0.0
    ctypes.CDLL(None).malloc_trim(0)
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    now, peak = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return now, peak


def hold(folder: Path, number: int) -> None:
    """Load everybody, and ask for each audience; in a process of its own, so that the memory is its own."""
    with opened(policy(), folder) as company:
        company.map  # noqa: B018  # read the schema, as any process has
        before, _ = resident()
        began = time.perf_counter()
        held = Audience.load(company, "member")
        loading = time.perf_counter() - began
        after, peak = resident()
        times: list[float] = []
        sizes: dict[str, int] = {}
        for _ in range(5):
            for name in CHOICES:
                began = time.perf_counter()
                found = held.of(name, "email")
                times.append(time.perf_counter() - began)
                sizes[name] = len(found)
        now, peak_of = resident()
        print(
            f"audience of {number:,} people × {len(CHOICES)} choices: p50 {statistics.median(times) * 1000:.1f} ms, "
            f"worst {max(times) * 1000:.1f} ms (limit 50); loaded in {loading:.0f} s"
        )
        print(
            f"  memory: {now:.0f} MiB the whole process (limit 256), {after - before:.0f} of it the audience; "
            f"{max(peak, peak_of):.0f} at the most while loading"
        )
        began = time.perf_counter()
        first = sum(1 for _ in held.people(found))
        listing = time.perf_counter() - began
        print(f"  listing the people of one: {first / listing:,.0f} a second")
        record(company, [New(Person("member", ("1",)), "c0", "no", "account")])
        began = time.perf_counter()
        held.refresh()
        print(f"  refresh after one more answer: {(time.perf_counter() - began) * 1000:.1f} ms")
    hands = []
    with closing(sqlite3.connect(folder / "app.sqlite")) as raw:
        raw.execute("PRAGMA cache_size = -1000000")
        asked = "'" + "', '".join(ASKED) + "'"
        for name, silent in zip(CHOICES, (ASKS[n % len(ASKS)] for n in range(8)), strict=True):
            where = {
                "opt-in": f"{name} = 1",
                "opt-out": f"{name} IS NOT 0",
            }.get(silent, f"({name} = 1 OR ({name} IS NULL AND country NOT IN ({asked})))")
            began = time.perf_counter()
            [(size,)] = raw.execute(f"SELECT count(*) FROM members WHERE {where}")  # names of ours
            hands.append(time.perf_counter() - began)
            if size != sizes[name]:
                print(f"  DIFFERENT: {name} {size:,} by hand, {sizes[name]:,} by Kept")
    by_hand = statistics.median(hands)
    print(
        f"  the same counts as hand-written SQL over one table that has all of it: {by_hand * 1000:,.0f} ms; "
        f"ratio {by_hand / statistics.median(times):,.0f}"
    )


def audience(number: int) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        began = time.perf_counter()
        child = multiprocessing.get_context("spawn").Process(target=_build, args=(folder, number))
        child.start()
        child.join()
        assert child.exitcode == 0
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**30
        print(f"(made in {time.perf_counter() - began:.0f} s, {size:.1f} GiB on disk)")
        child = multiprocessing.get_context("spawn").Process(target=hold, args=(folder, number))
        child.start()
        child.join()
        assert child.exitcode == 0


def _build(folder: Path, number: int) -> None:
    people(folder, number)
    with opened(policy(), folder) as company:
        answered(company, folder, number)


def decision(known: int = 10_000) -> None:
    """One decision about somebody the process knows, and about somebody it doesn't."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        people(folder, known)
        with opened(policy(), folder) as company:
            everybody = [Person("member", (str(id),)) for id in range(1, known + 1)]
            draw = random.Random(7)
            said = [(who, "yes" if draw.random() < 0.7 else "no") for who in everybody]
            record(company, [New(who, "c0", answer, "account") for who, answer in said])  # type: ignore[arg-type]  # one of them
            gate = Gate.of(company)
            began = time.perf_counter()
            decided = gate.may_all(everybody, "c0", "email")
            bulk = time.perf_counter() - began
            assert sum(one.allowed for one in decided.values()) == sum(answer == "yes" for _, answer in said)
            asked = [
                Person("member", (str(id),)) for id in range(1, known + 1)
            ]  # equal, and not the same objects
            for who in asked:
                gate.may(who, "c0", "email")

            def kept() -> None:
                may = gate.may
                for who in asked:
                    may(who, "c0", "email")

            table = {(str(who), "c0"): answer == "yes" for who, answer in said}
            texts = [str(who) for who in asked]

            def by_dict() -> None:
                for text in texts:
                    table.get((text, "c0"), False)

            raw = sqlite3.connect(folder / "app.sqlite")

            def by_sql() -> None:
                for id in range(1, 2001):
                    raw.execute("SELECT c0 FROM members WHERE id = ?", (id,)).fetchone()

            hot = min(timeit.repeat(kept, number=3, repeat=7)) / 3 / known * 1e6
            plain = min(timeit.repeat(by_dict, number=3, repeat=5)) / 3 / known * 1e6
            query = min(timeit.repeat(by_sql, number=1, repeat=5)) / 2000 * 1e6
            raw.close()
            cold = []
            for who in draw.sample(everybody, 200):
                gate.learn([who])
                began = time.perf_counter()
                gate.may(who, "c0", "email")
                cold.append(time.perf_counter() - began)
    print(
        f"one decision about somebody known: {hot:.2f} µs (limit 2); "
        f"about somebody not: {statistics.median(cold) * 1000:.1f} ms"
    )
    print(
        f"  by hand: a dict {plain:.2f} µs, an SQL query in the same process {query:.1f} µs; "
        f"ratio to SQL {query / hot:.1f}"
    )
    print(f"  {PEERS}")
    print(
        f"bulk: {known:,} people nobody was asked about before in {bulk:.2f} s, {bulk / known * 1e6:.0f} µs each"
    )


def _listen(folder: Path, box: Any, number: int) -> None:
    with opened(policy(), folder) as company:
        gate = Gate.of(company)
        for id in range(1, number + 1):
            who = Person("member", (str(id),))
            assert gate.may(who, "c0", "email").allowed
        box.send(None)
        for id in range(1, number + 1):
            who = Person("member", (str(id),))
            while gate.may(who, "c0", "email").allowed:
                time.sleep(0.001)
            box.send(time.time())
        box.send((gate.news.events, gate.news.longest))


def withdrawal(number: int = 15) -> None:
    """How long another process goes on allowing what was withdrawn."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        people(folder, 100)
        with opened(policy(), folder, lambda: datetime.now(UTC)) as company:
            whos = [Person("member", (str(id),)) for id in range(1, number + 1)]
            record(company, [New(who, "c0", "yes", "account") for who in whos])
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            child = context.Process(target=_listen, args=(folder, theirs, number))
            child.start()
            assert ours.poll(60)
            ours.recv()
            gate, late = Gate.of(company), []
            for who in whos:
                assert gate.may(who, "c0", "email").allowed
                time.sleep(random.random() / 3)
                record(company, [New(who, "c0", "no", "one-click")])
                answered_ = time.time()
                assert not gate.may(who, "c0", "email").allowed  # here at once
                assert ours.poll(30)
                late.append(max(0.0, ours.recv() - answered_))
            assert ours.poll(30)
            events, longest = ours.recv()
            child.join(30)
    print(
        f"a withdrawal: at once in the process that took it; in another after {statistics.median(late) * 1000:.0f} ms, "
        f"{max(late) * 1000:.0f} at the most of {number} (limit 1,000); by its own book {events}, {longest} ms"
    )


def main() -> None:
    parts = ("decision", "withdrawal", "http", "audience")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=10_000_000)
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    given = parser.parse_args()
    if "decision" in given.only:
        decision()
    if "withdrawal" in given.only:
        withdrawal()
    if "http" in given.only:
        choices_http.measure(1000, 15)
    if "audience" in given.only:
        audience(given.people)


if __name__ == "__main__":
    main()
