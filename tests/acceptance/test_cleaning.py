"""One pass of making clean serves every erasure that waits for it, and what is left of one holds up no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from examples.sitelucent.generate import build
from kept.company import Company, opened
from kept.controls.acts import kinds
from kept.controls.registry import load
from kept.controls.rights import register
from kept.controls.rights.desk import Desk
from kept.controls.rights.erasing import cleaning
from kept.controls.rights.people import Person
from kept.controls.rights.register import Request, Subject
from kept.errors import KeptError
from kept.state import workflows

PEOPLE = 6


@pytest.fixture(params=["sqlite", "postgresql"])
def company(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Company]:
    monkeypatch.delenv("APP_DATABASE_URL", raising=False)
    url = request.getfixturevalue("fresh_postgresql") if request.param == "postgresql" else None
    build(tmp_path / "company", 30, 3, url=url, events_per_person=5)
    with opened(load(tmp_path / "company" / "policy.yaml"), tmp_path / "company") as company:
        yield company


@contextmanager
def at_work(company: Company) -> Iterator[Desk]:
    with workflows.opened(company.workflows, kinds(company)) as running:
        yield Desk.at_work(company, running)


def received(company: Company, number: int = PEOPLE) -> list[Request]:
    """Erasures of so many users, each received by itself and in an act of its own."""
    desk = Desk(company, kinds(company))
    for user in range(1, number + 1):
        desk.carry_out("erase", [Subject(Person("user", (str(user),)))], "tester", confirmed=True)
    return register.listing(company)


def counting(monkeypatch: pytest.MonkeyPatch, function: str) -> list[object]:
    """Every call of a function of the pass, with what it was asked."""
    calls: list[object] = []
    done: Callable[..., object] = getattr(cleaning, function)

    def counted(*given: object, **named: object) -> object:
        calls.append(given)
        return done(*given, **named)

    monkeypatch.setattr(cleaning, function, counted)
    return calls


def rows(company: Company, query: str) -> list[tuple[object, ...]]:
    with company.stores["app"].read() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def do(company: Company, *statements: str) -> None:
    with company.stores["app"].write() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_acts_that_wait_are_made_clean_in_one_pass(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = received(company)
    assert len({request.act for request in asked}) == PEOPLE
    scrubs = counting(monkeypatch, "scrub")
    with at_work(company) as desk:
        result = desk.work()
    assert result.problem is None and len(scrubs) == 1
    assert {one.state for one in register.of_ids(company, [one.id for one in asked])} == {"done"}
    assert rows(company, f"SELECT id FROM users WHERE id <= {PEOPLE}") == []


def test_what_is_left_of_one_holds_up_no_other_and_is_not_done(company: Company) -> None:
    """Fault 6 of the peer, among many: whose address still stands somewhere is the only one not done."""
    do(
        company,
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text VARCHAR(200))",
        "INSERT INTO notes SELECT 1, 'call ' || email FROM users WHERE id = 2",
    )
    asked = received(company)
    with at_work(company) as desk:
        result = desk.work()
        assert result.problem is not None and "files still hold" in result.problem
        [left] = register.listing(company)
        assert left.id in {one.id for one in asked} and left.awaits == "work"
        people = {one.id: one for one in register.of_ids(company, [one.id for one in asked])}
        assert [one.state for one in people.values()].count("done") == PEOPLE - 1
        assert left.id not in {entry.get("request") for entry in company.ledger.entries()}
        do(company, "DELETE FROM notes")
        assert desk.work().problem is None
    assert register.listing(company) == []


def test_a_store_that_can_not_be_cleaned_leaves_every_act_open_and_the_next_time_ends_them(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    received(company)

    def refused(*_: object) -> None:
        raise KeptError("the disk is full", where="app")

    with at_work(company) as desk:
        with monkeypatch.context() as broken:
            broken.setattr(cleaning, "scrub", refused)
            result = desk.work()
        assert result.problem is not None and "the disk is full" in result.problem
        assert {one.awaits for one in register.listing(company)} == {"work"}
        assert len(register.listing(company)) == PEOPLE
        assert desk.work().problem is None
    assert register.listing(company) == []


def test_more_people_than_one_pass_takes_go_in_several(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "MOST", 2)
    received(company, 5)
    scrubs = counting(monkeypatch, "scrub")
    with at_work(company) as desk:
        assert desk.work().problem is None
    assert register.listing(company) == [] and len(scrubs) == 3
