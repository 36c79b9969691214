"""Clocks of a person's last link: what is held or limited by disputes and sales that the rows don't lead to."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from kept.company import Company, opened
from kept.controls.acts import kinds
from kept.controls.registry import load
from kept.controls.retention import placed
from kept.controls.retention.enforce import sweep
from kept.controls.rights.desk import Desk
from kept.controls.rights.people import Person
from kept.evidence import board
from kept.state import workflows
from tests.acceptance.company import subjects

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

SCHEMA = """
CREATE TABLE members (id INTEGER PRIMARY KEY, name TEXT, email TEXT, closed TIMESTAMP);
CREATE TABLE messages (id INTEGER PRIMARY KEY, sender INTEGER REFERENCES members (id),
  recipient INTEGER REFERENCES members (id), body TEXT);
CREATE TABLE billing (id INTEGER PRIMARY KEY, member INTEGER REFERENCES members (id), address TEXT);
CREATE TABLE sales (id INTEGER PRIMARY KEY, buyer INTEGER REFERENCES members (id),
  seller INTEGER REFERENCES members (id), amount INTEGER, closed TIMESTAMP);
CREATE TABLE disputes (id INTEGER PRIMARY KEY, buyer INTEGER NOT NULL REFERENCES members (id),
  seller INTEGER NOT NULL REFERENCES members (id), sort TEXT NOT NULL, closed TIMESTAMP)
"""

POLICY = """
kept: 1
policy: Market
version: 2026-01-01
laws: gdpr
parties:
  shop: {role: us, name: Market, authority: eea, contacts: {privacy: {email: privacy@shop.example}}}
stores:
  shop: {at: $SHOP_URL, region: eea, roles: {web: [selling, tax, claims]}}
people:
  member: {in: shop.members, key: id, known-by: {email: email}, ended: closed}
links:
  sale:    {in: shop.sales, between: {buyer: member at buyer, seller: member at seller}, ended: closed}
  dispute:
    in: shop.disputes
    between: {buyer: member at buyer, seller: member at seller}
    when: sort = real
    ended: closed
data:
  account: {of: member, in: {shop.members: {name: name, email: email}}}
  message: {of: member, in: {shop.messages: {body: free-text}}}
  billing: {of: member, in: {shop.billing: {address: address}}}
  payment: {of: [sale.buyer, sale.seller], in: {shop.sales: {amount: transaction}}}
collection:
  joining: {takes: [account, message, billing, payment], from: member}
purposes:
  selling: {uses: [account, message, billing, payment], ground: contract}
  tax:     {uses: [billing, payment], ground: legal-duty, law: tax code}
  claims:  {uses: message, ground: legal-claims}
retention:
  account: {keeps: account, until: 1 month after member.ended, then: delete}
  message: {keeps: message, until: dispute.ended, then: delete, hold: claims}
  billing: {keeps: [billing, payment], until: 7 years after sale.ended, then: delete, hold: tax}
rights:
  access: {through: email}
  erase:  {through: email}
  restrict: {through: email}
notices:
  changes: {announces: material, through: email}
"""

Rows = Mapping[str, list[tuple[Any, ...]]]
WIDTH = {"members": 4, "messages": 4, "billing": 3, "sales": 5, "disputes": 5}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("SHOP_URL", raising=False)
    found: str = request.getfixturevalue(f"fresh_{request.param}")
    engine = create_engine(found.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for statement in SCHEMA.split(";"):
            connection.execute(text(statement))
    engine.dispose()
    return found


@dataclass
class Market:
    company: Company
    running: workflows.Workflows

    def fill(self, rows: Rows) -> None:
        with self.company.stores["shop"].write() as connection:
            for table in ("disputes", "sales", "billing", "messages", "members"):
                connection.execute(text(f"DELETE FROM {table}"))
            for table, width in WIDTH.items():
                for row in rows.get(table, ()):
                    names = [f"v{i}" for i in range(width)]
                    values = dict(zip(names, row, strict=True))
                    connection.execute(
                        text(f"INSERT INTO {table} VALUES ({', '.join(f':{name}' for name in names)})"),
                        values,
                    )

    def ids(self, table: str) -> list[int]:
        with self.company.stores["shop"].read() as connection:
            return [row[0] for row in connection.execute(text(f"SELECT id FROM {table} ORDER BY id"))]

    def erase(self, *ids: int) -> None:
        people = subjects([Person("member", (str(id),)) for id in ids])
        result = Desk.at_work(self.company, self.running).carry_out("erase", people, "tester")
        assert result.done, result.problem

    def sweep(self) -> dict[str, str]:
        return {gap.place: gap.reason for gap in sweep(self.company, self.running)[1]}

    def verdicts(self) -> dict[str, tuple[str, int]]:
        rows = [row for row in board.prove(self.company).rows if row.control == "retention"]
        found: dict[str, tuple[str, int]] = {}
        for row in rows:
            spared = [proof.measured.get("spared", 0) for proof in row.proofs]
            found[str(row.promise.name)] = (
                row.verdict,
                sum(number for number in spared if isinstance(number, int)),
            )
        return found


@contextmanager
def market(tmp_path: Path, url: str, at: datetime = NOW, folder: str = "shop") -> Iterator[Market]:
    place = tmp_path / folder
    place.mkdir(exist_ok=True)
    (place / "policy.yaml").write_text(POLICY)
    (place / ".env").write_text(f"SHOP_URL={url}\n")
    with (
        opened(load(place / "policy.yaml"), place, lambda: at) as company,
        workflows.opened(place / "workflows.sqlite", kinds(company)) as running,
    ):
        yield Market(company, running)


MEMBERS = [(i, f"N{i}", f"n{i}@mail.example", None) for i in range(1, 6)]
OLD, NEW = "2015-01-01 00:00:00", "2025-06-01 00:00:00"


def test_without_a_dispute_there_is_nothing_to_hold_messages_for(tmp_path: Path, url: str) -> None:
    with market(tmp_path, url) as it:
        it.fill({"members": MEMBERS, "messages": [(1, 1, 1, "to myself")], "billing": [(1, 1, "Elm street")]})
        it.erase(1)
        assert it.ids("messages") == it.ids("billing") == [] and it.ids("members") == [2, 3, 4, 5]


def test_an_open_dispute_holds_messages_and_its_end_lets_them_go(tmp_path: Path, url: str) -> None:
    disputes = [(1, 2, 1, "real", None), (2, 1, 3, "real", OLD), (3, 1, 3, "mock", None)]
    with market(tmp_path, url) as it:
        it.fill({"members": MEMBERS, "messages": [(1, 1, 1, "to myself")], "disputes": disputes})
        it.erase(1)
        assert it.ids("messages") == [1], "the dispute of 1 and 2 is open"
        assert it.ids("disputes") == [1], "what is over, or is none, holds nothing"
        assert it.sweep() == {} and it.ids("messages") == [1]
        assert it.verdicts()["message"] == ("kept", 0)
        with it.company.stores["shop"].write() as connection:
            connection.execute(text("UPDATE disputes SET closed = '2026-02-01 00:00:00' WHERE id = 1"))
        assert it.verdicts()["message"] == ("broken", 0)
        assert it.sweep() == {} and it.ids("messages") == []
        assert it.verdicts()["message"] == ("kept", 0)


def test_billing_is_kept_for_years_after_the_last_sale_of_somebody_erased(tmp_path: Path, url: str) -> None:
    rows: Rows = {
        "members": MEMBERS,
        "billing": [(1, 1, "Elm street"), (2, 2, "Oak street"), (3, 3, "Fir street")],
        "sales": [(1, 1, 2, 10, OLD), (2, 1, 4, 10, NEW), (3, 2, 4, 10, OLD)],
    }
    with market(tmp_path, url) as it:
        it.fill(rows)
        it.erase(1, 2, 3)
        assert it.ids("billing") == [1] and 2 in it.ids("sales")
        assert it.sweep() == {} and it.ids("billing") == [1] and it.ids("sales") == [2]
    with market(tmp_path, url, datetime(2032, 7, 1, tzinfo=UTC)) as it:
        assert it.verdicts()["billing"][0] == "broken"
        it.sweep()
        assert it.ids("billing") == it.ids("sales") == []
        assert it.verdicts()["billing"] == ("kept", 0)


def passed(at: str | None, years: int, now: datetime) -> bool:
    """Over when the last day of the period is over."""
    if at is None:
        return False
    day = date.fromisoformat(at[:10])
    return day.replace(year=day.year + years) < now.date()


def clocks(rows: Rows, link: str, people: set[Any]) -> list[str | None]:
    return [
        row[4] for row in rows[link] if people & {row[1], row[2]} and (link == "sales" or row[3] == "real")
    ]


@pytest.mark.parametrize("seed", range(12))
def test_holds_and_limits_agree_with_a_model(tmp_path: Path, url: str, seed: int) -> None:
    """A model of a few lines: what an erasure keeps, and what a sweep takes before and after."""
    draw = random.Random(seed)
    ids = range(1, 6)
    when = [
        None,
        "2015-01-01 00:00:00",
        "2019-02-28 09:00:00",
        "2019-03-01 00:00:00",
        "2026-02-28 00:00:00",
        NEW,
    ]
    rows: Rows = {
        "members": MEMBERS,
        "messages": [(i, draw.choice([None, *ids]), draw.choice([None, *ids]), "x") for i in range(1, 9)],
        "billing": [(i, draw.choice(ids), "x") for i in range(1, 7)],
        "sales": [(i, draw.choice(ids), draw.choice(ids), 1, draw.choice(when)) for i in range(1, 7)],
        "disputes": [
            (i, draw.choice(ids), draw.choice(ids), draw.choice(["real", "real", "mock"]), draw.choice(when))
            for i in range(1, 6)
        ],
    }
    erased = set(draw.sample(ids, draw.choice([1, 2])))

    def swept(table: str, people: set[Any]) -> bool:
        link, years = ("disputes", 0) if table == "messages" else ("sales", 7)
        found = clocks(rows, link, people)
        return bool(found) and all(passed(at, years, NOW) for at in found)

    def held(table: str, people: set[Any]) -> bool:
        link, years = ("disputes", 0) if table == "messages" else ("sales", 7)
        return any(not passed(at, years, NOW) for at in clocks(rows, link, people))

    people = {
        t: {row[0]: set(row[1:3] if t == "messages" else row[1:2]) - {None} for row in rows[t]}
        for t in ("messages", "billing")
    }
    with market(tmp_path, url) as it:
        it.fill(rows)
        assert it.sweep() == {}
        left = {t: [id for id, of in found.items() if not swept(t, of)] for t, found in people.items()}
        assert {t: it.ids(t) for t in people} == left
        assert it.verdicts()["message"] == ("kept", 0)
    with market(tmp_path, url, folder="again") as it:
        it.fill(rows)
        it.erase(*erased)
        left = {
            t: [id for id, of in found.items() if not (of & erased) or of - erased or held(t, of)]
            for t, found in people.items()
        }
        assert {t: it.ids(t) for t in people} == left
        # what is held keeps its people and the links it is held by; a look after the erasure found nothing else
        kept_by = {
            row[0]
            for row in rows["disputes"]
            if row[3] == "real" and not passed(row[4], 0, NOW)
            for id in left["messages"]
            if people["messages"][id] & erased & {row[1], row[2]}
            if held("messages", people["messages"][id])
        }
        assert kept_by <= set(it.ids("disputes"))
        held_of = {
            p for t in people for id in left[t] if held(t, people[t][id]) for p in people[t][id] & erased
        }
        assert held_of <= set(it.ids("members"))
        assert it.sweep() == {}


def test_a_hold_beside_another_limit_takes_nothing_of_people_who_are_here(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = "  upload:  {keeps: message, until: member.ended, then: delete}\n  message: {keeps"
    monkeypatch.setitem(globals(), "POLICY", POLICY.replace("  message: {keeps", beside))
    rows: Rows = {
        "members": MEMBERS,
        "messages": [(1, 1, None, "x"), (2, 2, None, "x"), (3, 1, 2, "x")],
        "disputes": [(1, 1, 2, "real", None), (2, 2, 1, "real", OLD)],
    }
    with market(tmp_path, url) as it:
        it.fill(rows)
        it.erase(1)
        assert it.ids("messages") == [1, 2, 3]
        with it.company.stores["shop"].write() as connection:
            connection.execute(text("UPDATE disputes SET closed = '2026-02-01 00:00:00' WHERE id = 1"))
        told = it.sweep()
        assert it.ids("messages") == [2, 3], "2 is here still, and so are their messages"
        assert "another limit decides" in told["shop.messages"]
        assert it.verdicts()["message"][0] == "unproven", "what it says of people who are here is not done"


def test_the_sweep_spares_whoever_had_the_use_of_their_data_restricted(tmp_path: Path, url: str) -> None:
    rows: Rows = {
        "members": [(i, f"N{i}", f"n{i}@mail.example", OLD) for i in range(1, 4)],
        "messages": [(1, 1, None, "x"), (2, 2, 1, "x"), (3, 3, 3, "x")],
        "billing": [(1, 1, "x"), (2, 2, "x"), (3, 3, "x")],
        "sales": [(1, 1, 2, 10, OLD), (2, 3, 3, 10, OLD)],
        "disputes": [(1, 1, 2, "real", OLD), (2, 3, 3, "real", OLD)],
    }
    with market(tmp_path, url) as it:
        it.fill(rows)
        desk = Desk.at_work(it.company, it.running)
        asked = desk.carry_out("restrict", subjects([Person("member", ("1",))]), "tester")
        assert asked.done, asked.problem
        assert it.sweep() == {}
        assert it.ids("members") == [1, 2] and it.ids("messages") == [1, 2], "2 wrote to 1; a sale ties both"
        assert it.ids("billing") == [1] and it.ids("sales") == [1]
        assert it.verdicts() == {"account": ("kept", 1), "message": ("kept", 2), "billing": ("kept", 2)}
        desk.lift(asked.requests[0], "settled", "kim")
        assert it.verdicts()["message"] == ("broken", 0)
        it.sweep()
        assert [it.ids(table) for table in ("members", "messages", "billing", "sales")] == [[], [], [], []]


def test_the_sweep_spares_what_a_hold_was_set_on_and_no_more(tmp_path: Path, url: str) -> None:
    rows: Rows = {
        "members": [(i, f"N{i}", f"n{i}@mail.example", OLD) for i in range(1, 3)],
        "messages": [(1, 1, 1, "x"), (2, 2, 2, "x")],
        "billing": [(1, 1, "x"), (2, 2, "x")],
        "sales": [(1, 1, 1, 10, OLD), (2, 2, 2, 10, OLD)],
        "disputes": [(1, 1, 1, "real", OLD), (2, 2, 2, "real", OLD)],
    }
    with market(tmp_path, url) as it:
        it.fill(rows)
        placed.place(it.company, Person("member", ("1",)), "claims", (), date(2026, 5, 1), "a letter", "kim")
        it.sweep()
        assert it.ids("messages") == [1] and it.ids("billing") == []
        with it.company.stores["shop"].read() as connection:
            assert connection.execute(text("SELECT id, name FROM members")).all() == [(1, None)]
        assert it.verdicts()["message"] == ("kept", 1)
    with market(tmp_path, url, datetime(2026, 5, 2, tzinfo=UTC)) as it:
        it.sweep()
        assert it.ids("messages") == it.ids("members") == []
