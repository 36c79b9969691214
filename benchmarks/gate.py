"""The gate: one decision, with 1 purpose and 1,000, beside cedarpy and casbin; arrays; the first refusal elsewhere.

    python -m benchmarks.gate [--people 1000000] [--only decision arrays refusal]

The peers get the same rules as a policy of their own, parsed once, with everybody's facts in their memory, which Kept
reads from its databases and watches. All are asked the very same random requests in the same run, and every answer of
theirs is compared with Kept's; where a peer would take minutes it is asked the first of them only, and says how many.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import casbin
import cedarpy
import numpy as np

from benchmarks.choices import resident
from kept.company import Company, opened
from kept.controls.choices.records.book import New, record
from kept.controls.purposes.enforce import Gate
from kept.controls.purposes.gate.matrix import Rows
from kept.controls.registry import SECTIONS
from kept.controls.retention import placed
from kept.controls.rights.people import Person
from kept.policy.policy import Policy
from kept.policy.read import read
from kept.policy.source import Source
from kept.state.tables import instructions

REQUESTS: Final = 100_000
PEERS_TIME: Final = 20.0  # seconds that a peer is asked for at the most
EEA: Final = tuple("fr de nl be it es pt pl ro se".split())  # noqa: SIM905
ELSEWHERE: Final = tuple("us us-ca br in jp gb".split())  # noqa: SIM905
CHOICES: Final = tuple(f"c{number}" for number in range(8))
ASKS: Final = ("opt-in", "opt-out", "{eea: opt-in, elsewhere: opt-out}")


# The policy: six sorts of purposes, again and again; the first turns on region, signals, and what was chosen and said.


def sort_of(number: int) -> tuple[str, str | None, str | None]:
    """A word, the choice a purpose waits for, and how that is asked."""
    choice = (number * 5 + 2) % len(CHOICES)
    word = ("choice", "plain", "region", "choice", "role", "choice")[number % 6]
    return (word, CHOICES[choice], ASKS[choice % 3]) if word == "choice" else (word, None, None)


def policy(purposes: int) -> Policy:
    """People in sixteen countries, eight choices, and so many purposes."""
    choices = "\n".join(
        f"  {name}: {{of: member, ask: {ASKS[n % 3]}{', signals: gpc' if n % 3 else ''}}}"
        for n, name in enumerate(CHOICES)
    )
    besides = {"plain": "", "region": ", regions: eea", "role": ", by: engineer"}
    lines = []
    for number in range(purposes):
        word, choice, _ = sort_of(number)
        rest = f", choice: {choice}" if choice else besides[word]
        lines.append(f"  p{number}: {{uses: account, ground: contract{rest}}}")
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
  member: {{in: app.members, key: id, region: country, ended: closed_at}}
  engineer: {{is: staff}}
  support: {{is: staff}}
data:
  account: {{of: member, in: {{app.members: {{country: place, name: name}}}}}}
choices:
{choices}
purposes:
{chr(10).join(lines)}
  claims: {{uses: account, ground: legal-claims}}
retention:
  account: {{keeps: account, until: 24 months after member.ended, then: delete}}
"""
    found, problems = read(Source("policy.yaml", text), SECTIONS)
    assert found is not None, [problem.message for problem in problems.errors]
    return found


@dataclass(frozen=True)
class Somebody:
    """What the peers are told of a person."""

    area: str
    yes: frozenset[str]
    no: frozenset[str]
    restricted: bool
    objected: frozenset[str]


def people(folder: Path, number: int) -> None:
    countries = (*EEA, *ELSEWHERE, None)
    with closing(sqlite3.connect(folder / "app.sqlite")) as raw, raw:
        raw.execute("CREATE TABLE members (id INTEGER PRIMARY KEY, country TEXT, name TEXT, closed_at TEXT)")
        rows = ((id, countries[id * 7919 % len(countries)]) for id in range(1, number + 1))
        raw.executemany("INSERT INTO members (id, country) VALUES (?, ?)", rows)


def said(company: Company, number: int, draw: random.Random) -> list[Somebody]:
    """What the first of them answered and said about uses, through the books."""
    countries = (*EEA, *ELSEWHERE, None)
    news, found = [], []
    for id in range(1, number + 1):
        answers = {name: draw.choice(["yes", "no", None]) for name in CHOICES}
        who, where = Person("member", (str(id),)), countries[id * 7919 % len(countries)]
        news += [New(who, name, answer, "account") for name, answer in answers.items() if answer]  # type: ignore[arg-type]  # one of them
        purposes = [*company.policy.section("purposes")][:50]
        found.append(
            Somebody(
                "eea" if where in EEA else "elsewhere" if where else "unknown",
                frozenset(name for name, answer in answers.items() if answer == "yes"),
                frozenset(name for name, answer in answers.items() if answer == "no"),
                draw.random() < 0.03,
                frozenset(map(str, draw.sample(purposes, 1))) if draw.random() < 0.05 else frozenset(),
            )
        )
    for start in range(0, len(news), 10_000):
        record(company, news[start : start + 10_000])
    names = [f"member:{id}" for id in range(1, number + 1)]
    pseudonyms = company.pseudonyms.of(names)
    rows = [
        {
            "pseudonym": pseudonyms[name],
            "verb": verb,
            "scope": scope,
            "who": company.keys.seal("instruction", name.encode()),
            "since": company.clock().isoformat(),
            "request": "r",
        }
        for name, one in zip(names, found, strict=True)
        for verb, scope in [
            *([("restrict", "*")] if one.restricted else []),
            *(("object", purpose) for purpose in one.objected),
        ]
    ]
    with company.state.write() as connection:
        connection.execute(instructions.insert(), rows)
    return found


Request = tuple[str, int, str | None, bool]
"""A purpose, the place of a person, who asks, and whether their browser sends Sec-GPC."""


def requests(purposes: int, everybody: int, number: int, draw: random.Random) -> list[Request]:
    return [
        (
            f"p{draw.randrange(purposes)}",
            draw.randrange(everybody),
            draw.choice([None, None, "engineer:4", "support:2"]),
            draw.random() < 0.2,
        )
        for _ in range(number)
    ]


# The peers.


def cedar(purposes: int, whos: Sequence[Somebody]) -> Callable[[Request], bool]:
    rules = []
    for number in range(purposes):
        name, (word, choice, ask) = f"p{number}", sort_of(number)
        needs = ["!resource.restricted", f'!resource.objected.contains("{name}")']
        if choice:
            yes = f'resource.yes.contains("{choice}")'
            needs.append(f'!resource.no.contains("{choice}")')
            if ask == "opt-in":
                needs.append(yes)
            else:
                needs.append(f"(!context.gpc || {yes})")
            if ask and ask.startswith("{"):
                needs.append(f'({yes} || resource.area == "elsewhere")')
        if word == "region":
            needs.append('resource.area == "eea"')
        needs.append('context.by == "engineer"' if word == "role" else "true")
        rules.append(
            f'permit (principal, action == Action::"{name}", resource) when {{ {" && ".join(needs)} }};'
        )
    policies = cedarpy.PolicySet.from_str("\n".join(rules))
    entities = cedarpy.Entities.from_json_str(_json(whos))

    def decide(request: Request) -> bool:
        purpose, place, by, gpc = request
        asked = {
            "principal": 'App::"shop"',
            "action": f'Action::"{purpose}"',
            "resource": f'Person::"{place}"',
            "context": {"by": by.partition(":")[0] if by else "", "gpc": gpc},
        }
        return bool(cedarpy.is_authorized(asked, policies, entities).allowed)

    return decide


def _json(whos: Sequence[Somebody]) -> str:
    return json.dumps(
        [
            {
                "uid": {"type": "Person", "id": str(place)},
                "attrs": {
                    "area": one.area,
                    "yes": sorted(one.yes),
                    "no": sorted(one.no),
                    "restricted": one.restricted,
                    "objected": sorted(one.objected),
                },
                "parents": [],
            }
            for place, one in enumerate(whos)
        ]
    )


MODEL: Final = """
[request_definition]
r = who, act, by, gpc
[policy_definition]
p = act, rule
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.act == p.act && eval(p.rule)
"""


def casbins(purposes: int, whos: Sequence[Somebody]) -> Callable[[Request], bool]:
    model = casbin.Model()
    model.load_model_from_text(MODEL)
    enforcer = casbin.Enforcer(model)
    for number in range(purposes):
        name, (word, choice, ask) = f"p{number}", sort_of(number)
        needs = ["not r.who.restricted", f"'{name}' not in r.who.objected"]
        if choice:
            yes = f"'{choice}' in r.who.yes"
            needs.append(f"'{choice}' not in r.who.no")
            needs.append(yes if ask == "opt-in" else f"(not r.gpc or {yes})")
            if ask and ask.startswith("{"):
                needs.append(f"({yes} or r.who.area == 'elsewhere')")
        if word == "region":
            needs.append("r.who.area == 'eea'")
        if word == "role":
            needs.append("r.by == 'engineer'")
        enforcer.add_policy(name, " and ".join(needs))

    def decide(request: Request) -> bool:
        purpose, place, by, gpc = request
        return bool(enforcer.enforce(whos[place], purpose, by.partition(":")[0] if by else "", gpc))

    return decide


def beside(
    name: str, decide: Callable[[Request], bool], asked: Sequence[Request], ours: Sequence[bool], own: float
) -> None:
    times, answers, began = [], [], time.perf_counter()
    for request in asked:
        start = time.perf_counter()
        answers.append(decide(request))
        times.append(time.perf_counter() - start)
        if time.perf_counter() - began > PEERS_TIME:
            break
    differing = sum(one != other for one, other in zip(answers, ours, strict=False))
    median = statistics.median(times) * 1e6
    few = "" if len(answers) == len(asked) else f" (the first {len(answers):,} of them)"
    print(
        f"  {name}{few}: {median:.1f} µs median, {median / own:,.0f} times as long; "
        f"{differing} of {len(answers):,} answers differ"
    )


Given = tuple[str, Person, str | None, frozenset[str]]


def blocks(gate: Gate, given: Sequence[Given]) -> list[float]:
    """Microseconds a decision, of each thousand that are timed whole."""
    decide, clock, found = gate.decide, time.perf_counter, []
    for start in range(0, len(given), 1000):
        part = given[start : start + 1000]
        began = clock()
        for purpose, who, by, signals in part:
            decide(purpose, person=who, by=by, signals=signals)
        found.append((clock() - began) * 1000)  # of 1,000, so: µs each
    return found


def decision(everybody: int = 2_000, rounds: int = 5) -> None:
    """One decision with 1 purpose and with 1,000, in turns: what else the machine does meets both alike."""
    gpc, none = frozenset({"gpc"}), frozenset[str]()
    with ExitStack() as stack:
        sizes = {}
        for purposes in (1, 1000):
            draw, folder = random.Random(11), Path(stack.enter_context(tempfile.TemporaryDirectory()))
            people(folder, everybody)
            company = stack.enter_context(opened(policy(purposes), folder, lambda: datetime.now(UTC)))
            whos = said(company, everybody, draw)
            asked = requests(purposes, everybody, REQUESTS, draw)
            given = [
                (purpose, Person("member", (str(place + 1),)), by, gpc if signal else none)
                for purpose, place, by, signal in asked
            ]  # equal persons, and not the same objects
            sizes[purposes] = (Gate.of(company), given, asked, whos)
        first = {
            purposes: statistics.mean(blocks(gate, given)) for purposes, (gate, given, *_) in sizes.items()
        }
        times: dict[int, list[float]] = {purposes: [] for purposes in sizes}
        for _ in range(rounds):
            for purposes, (gate, given, *_) in sizes.items():
                times[purposes] += blocks(gate, given)
        own = {purposes: statistics.median(some) for purposes, some in times.items()}
        for purposes, (gate, given, asked, whos) in sizes.items():
            ours = [
                gate.decide(purpose, person=who, by=by, signals=s).allowed for purpose, who, by, s in given
            ]
            print(
                f"one decision, {purposes:,} purposes: {own[purposes]:.2f} µs median (limit 2), p99 of blocks "
                f"{sorted(times[purposes])[int(len(times[purposes]) * 0.99)]:.2f}; {sum(ours) / len(ours):.0%} "
                f"allowed; asked for the first time, the databases read: {first[purposes]:.1f}"
            )
            beside("cedarpy", cedar(purposes, whos), asked, ours, own[purposes])
            beside("casbin", casbins(purposes, whos), asked, ours, own[purposes])
        print(f"1,000 purposes beside one: {own[1000] / own[1]:.2f} times as long (limit 2)")


def arrays(number: int, purposes: int = 1000, answered: int = 20_000, at_once: int = 5_000_000) -> None:
    draw = np.random.default_rng(5)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        people(folder, number)
        with opened(policy(purposes), folder, lambda: datetime.now(UTC)) as company:
            said(company, min(answered, number), random.Random(3))
            gate = Gate.of(company)
            before, _ = resident()
            began = time.perf_counter()
            crowd = gate.crowd(Person("member", (str(id),)) for id in range(1, number + 1))
            loading = time.perf_counter() - began
            after, _ = resident()
            uses = [use for use in gate.uses.every() if use.alone]
            some = draw.integers(0, len(uses), at_once)
            whos = draw.integers(0, number, at_once)
            times = []
            for _ in range(5):
                began = time.perf_counter()
                found = crowd.decide(some, whos)
                times.append(time.perf_counter() - began)
            rate = at_once / statistics.median(times) / 1e6
            for _ in range(2000):
                at = int(draw.integers(0, at_once))
                one = gate.decide(uses[some[at]].name, person=Person("member", (str(whos[at] + 1),)))
                assert one.allowed == found[at], (some[at], whos[at])
            print(
                f"arrays, {number:,} people × {len(uses):,} uses: {rate:.0f} million a second (limit 20), "
                f"{found.mean():.0%} allowed; 2,000 of them asked of the gate too, and equal"
            )
            print(
                f"  loaded in {loading:.0f} s; {after - before:.0f} MiB more in the process, "
                f"{crowd.nbytes / 2**20:.0f} of it arrays"
            )
            record(company, [New(Person("member", ("1",)), "c0", "no", "account")])
            began = time.perf_counter()
            crowd.decide(some[:1], whos[:1])
            print(
                f"  the first decision after one more answer: {(time.perf_counter() - began) * 1000:.1f} ms"
            )
    rows = Rows(purposes)
    rows._matrix = draw.integers(0, 256, (number, (purposes + 7) // 8), np.uint8)  # nobody like anybody else
    of, times = np.arange(number, dtype=np.uint32), []
    whos, some = draw.integers(0, number, at_once), draw.integers(0, purposes, at_once)
    for _ in range(3):
        began = time.perf_counter()
        for start in range(0, at_once, 1 << 16):
            rows.bits(of[whos[start : start + (1 << 16)]], some[start : start + (1 << 16)])
        times.append(time.perf_counter() - began)
    print(
        f"  if nobody were like anybody else ({rows.nbytes / 2**20:.0f} MiB of bits): "
        f"{at_once / statistics.median(times) / 1e6:.0f} million a second"
    )


# The first refusal elsewhere.

CHANGES: Final = ("withdraw", "object", "restrict", "hold")


def _listen(folder: Path, box: Any) -> None:
    with opened(policy(6), folder, lambda: datetime.now(UTC)) as company:
        gate = Gate.of(company)
        while (id := box.recv()) is not None:
            who = Person("member", (id,))
            assert gate.decide("p0", person=who).allowed
            box.send(None)
            until = time.monotonic() + 10
            while gate.decide("p0", person=who).allowed and time.monotonic() < until:
                time.sleep(0.001)
            box.send(time.time())


def change(company: Company, word: str, who: Person) -> None:
    """What somebody says, as the desk and the book write it."""
    match word:
        case "withdraw":
            record(company, [New(who, CHOICES[2], "no", "account")])
        case "hold":
            day = datetime(2099, 1, 1, tzinfo=UTC).date()
            placed.place(company, who, "claims", ("account",), day, "a lawsuit", "officer")
        case _:
            row = {
                "pseudonym": company.pseudonyms.of([str(who)])[str(who)],
                "verb": word,
                "scope": "p0" if word == "object" else "*",
                "who": company.keys.seal("instruction", str(who).encode()),
                "since": company.clock().isoformat(),
                "request": "r",
            }
            with company.state.write() as connection:
                connection.execute(instructions.insert(), row)


def refusal(rounds: int = 5) -> None:
    """How long another process goes on allowing what is no longer allowed."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        people(folder, 100)
        with opened(policy(6), folder, lambda: datetime.now(UTC)) as company:
            record(
                company,
                [New(Person("member", (str(id),)), CHOICES[2], "yes", "account") for id in range(1, 41)],
            )
            ours, theirs = multiprocessing.get_context("spawn").Pipe()
            child = multiprocessing.get_context("spawn").Process(target=_listen, args=(folder, theirs))
            child.start()
            id = 0
            for word in CHANGES:
                late = []
                for _ in range(rounds):
                    id += 1
                    ours.send(str(id))
                    assert ours.poll(60)
                    ours.recv()
                    time.sleep(random.random() / 3)
                    change(company, word, Person("member", (str(id),)))
                    written = time.time()
                    assert ours.poll(30)
                    late.append(max(0.0, ours.recv() - written) * 1000)
                print(
                    f"{word}: refused in another process after {statistics.median(late):.0f} ms, "
                    f"{max(late):.0f} at the most of {rounds} (limit 1,000)"
                )
            ours.send(None)
            child.join(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="*", choices=("decision", "arrays", "refusal"))
    given = parser.parse_args()
    parts = given.only or ("decision", "arrays", "refusal")
    if "decision" in parts:
        decision()
    if "arrays" in parts:
        arrays(given.people)
    if "refusal" in parts:
        refusal()


if __name__ == "__main__":
    main()
