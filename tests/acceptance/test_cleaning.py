"""One pass of making clean serves every erasure that waits for it, and what is left of one holds up no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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


def test_nothing_is_done_while_the_database_is_silent(company: Company) -> None:
    """A request that was planned while it answered stays open, whatever the leg; later it is carried out."""
    asked = received(company, 2)
    app = company.stores["app"]
    silent = "the server can't be reached"
    for made in ("schemas", "map"):
        company.__dict__.pop(made, None)
    company.__dict__["schemas"] = {}
    company.unreachable["app"] = silent
    with at_work(company) as desk:
        with pytest.MonkeyPatch.context() as away:
            away.setattr(company, "ask_again", lambda: None)
            result = desk.work()
        assert result.problem is not None and silent in result.problem
        assert {one.state for one in register.of_ids(company, [one.id for one in asked])} == {"open"}
        assert "erase" not in {entry["act"] for entry in company.ledger.entries()}
        assert app is company.stores["app"] and desk.work().problem is None
    assert rows(company, "SELECT id FROM users WHERE id <= 2") == []


def test_no_act_is_closed_by_a_pass_that_a_database_does_not_answer(company: Company) -> None:
    received(company, 1)
    with at_work(company) as desk:
        with pytest.MonkeyPatch.context() as waits:
            waits.setattr(cleaning, "clean", lambda *_, **__: {})
            desk.work()
        [open_] = register.listing(company)
        assert open_.awaits == "clean"
        company.__dict__["schemas"] = {}
        company.__dict__.pop("map", None)
        company.unreachable["app"] = "the server can't be reached"
        with pytest.MonkeyPatch.context() as away:
            away.setattr(company, "ask_again", lambda: None)
            assert "can't be reached" in str(desk.work().problem)
        assert register.listing(company)[0].awaits == "work"
        assert desk.work().problem is None
    assert register.listing(company) == []


def test_rows_that_come_between_the_erasure_and_the_pass_are_erased_too(company: Company) -> None:
    received(company, 2)
    with at_work(company) as desk:
        with pytest.MonkeyPatch.context() as waits:
            waits.setattr(cleaning, "clean", lambda *_, **__: {})
            desk.work()
        [row] = rows(company, "SELECT * FROM memberships ORDER BY user_id LIMIT 1")
        do(
            company,
            "INSERT INTO users (id, first_name, last_name, email, created_at) SELECT 1, 'Ada', 'Back',"
            " 'ada.back@mail.example', created_at FROM users WHERE id = 20",
        )
        problem = desk.work().problem
        assert problem is not None and "what came there since is erased too" in problem
        assert [one.state for one in register.listing(company)] == ["open"]
        assert desk.work().problem is None
    assert rows(company, "SELECT id FROM users WHERE id <= 2") == [] and row


def test_what_is_looked_for_of_one_person_does_not_depend_on_who_waits_beside(company: Company) -> None:
    do(
        company,
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text VARCHAR(200))",
        "UPDATE users SET last_name = 'Xyqwz' WHERE id = 1",
        "INSERT INTO notes VALUES (1, 'call Xyqwz, of 1980')",
    )
    received(company, 20)
    with at_work(company) as desk:
        assert "files still hold" in str(desk.work().problem)
    assert len(register.listing(company)) == 1


def test_an_address_in_small_letters_is_looked_for_too(company: Company) -> None:
    do(
        company,
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text VARCHAR(200))",
        "UPDATE users SET email = 'Ada.NEEDLE@Mail.example' WHERE id = 1",
        "INSERT INTO notes VALUES (1, 'call ada.needle@mail.example')",
    )
    received(company, 1)
    with at_work(company) as desk:
        assert "files still hold" in str(desk.work().problem)


def test_an_address_inside_somebody_elses_longer_one_is_still_looked_for_by_itself(company: Company) -> None:
    do(
        company,
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text VARCHAR(200))",
        "UPDATE users SET email = 'ann@example.org' WHERE id = 1",
        "UPDATE users SET email = 'joann@example.org' WHERE id = 20",
        "INSERT INTO notes VALUES (1, 'call ann@example.org, of 1980')",
    )
    received(company, 1)
    with at_work(company) as desk:
        assert "files still hold" in str(desk.work().problem)
        do(company, "DELETE FROM notes")
        assert desk.work().problem is None


def test_an_answer_that_a_crash_cut_short_is_removed_whoevers_it_is(company: Company) -> None:
    desk = Desk(company, kinds(company))
    desk.carry_out("access", [Subject(Person("user", ("9",)))], "tester", confirmed=True)
    [other] = register.listing(company, verb="access")
    company.answers.mkdir(exist_ok=True)
    part = company.answers / f"{other.id}.part"
    part.write_bytes(b"half of a zip, with what a deleted row said")
    received(company, 1)
    with at_work(company) as working:
        assert working.carrier.clean(wait=True) == {}
        assert part.exists()  # nobody awaited it
        with pytest.MonkeyPatch.context() as waits:
            waits.setattr(working.carrier, "gather", lambda verb: [])
            [act] = [one.act for one in register.listing(company, verb="erase")]
            assert act is not None and working.carrier._run("erase", act, wait=True) is None
        assert working.carrier.clean(wait=True) == {}
        assert not part.exists() and register.listing(company, verb="erase") == []
        assert working.work().problem is None
    assert (company.answers / f"{other.id}.zip").exists()


def test_an_answer_that_another_worker_writes_is_waited_for(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Collected before the rows went and filed after the pass, it would be a copy that nobody looks into."""
    desk = Desk(company, kinds(company))
    desk.carry_out("access", [Subject(Person("user", ("9",)))], "tester", confirmed=True)
    [other] = register.listing(company, verb="access")
    received(company, 1)
    [asked] = register.listing(company, verb="erase")
    assert asked.act is not None
    claim = company.state.claim

    def claimed(what: str, *, wait: bool, seconds: float = 0) -> AbstractContextManager[bool]:
        return nullcontext(False) if what == other.act else claim(what, wait=wait)

    with at_work(company) as working:
        assert working.carrier._run("erase", asked.act, wait=True) is None
        company.answers.mkdir(exist_ok=True)
        part = company.answers / f"{other.id}.part"
        part.write_bytes(b"half of a zip")
        with monkeypatch.context() as busy:
            busy.setattr(company.state, "claim", claimed)
            [why] = working.carrier.clean(wait=True).values()
        assert "being written by another worker" in why
        assert part.exists() and [one.id for one in register.listing(company, verb="erase")] == [asked.id]
        assert working.work().problem is None
    assert register.listing(company) == []
