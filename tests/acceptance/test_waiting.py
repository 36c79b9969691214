"""A promised waiting period: out of sight at once, back byte for byte within it, beyond anybody's reach after it."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from examples.sitelucent.generate import build
from kept.company import Company, opened
from kept.controls.acts import kinds
from kept.controls.registry import load
from kept.controls.rights import prove as proving
from kept.controls.rights import register
from kept.controls.rights.desk import Desk
from kept.controls.rights.people import Person
from kept.controls.rights.register import Request, Subject
from kept.errors import KeptError
from kept.state import workflows
from kept.state.tables import room_keys, rooms

ADA = Person("user", ("2",))
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture(params=["sqlite", "postgresql"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("APP_DATABASE_URL", raising=False)
    url = request.getfixturevalue("fresh_postgresql") if request.param == "postgresql" else None
    build(tmp_path / "company", 40, 3, url=url)
    file = tmp_path / "company" / "policy.yaml"
    file.write_text(file.read_text().replace("within: at once, confirmed-by: support", "waits: 10 days"))
    return tmp_path / "company"


@contextmanager
def desk_at(folder: Path, clock: Clock) -> Iterator[Desk]:
    with (
        opened(load(folder / "policy.yaml"), folder, clock) as company,
        workflows.opened(company.workflows, kinds(company)) as running,
    ):
        yield Desk.at_work(company, running)


def hashed(company: Company) -> str:
    """One hash over every row of every table, each column as the database writes it."""
    store, found = company.stores["app"], hashlib.sha256()
    with store.read() as connection:
        for name, table in sorted(store.schema().tables.items()):
            if not table.is_view:
                columns = ", ".join(f'CAST("{column}" AS TEXT)' for column in table.columns)
                rows = connection.execute(text(f'SELECT {columns} FROM "{name}"')).all()
                found.update(repr((name, sorted(map(repr, rows)))).encode())
    return found.hexdigest()


def held(company: Company) -> tuple[int, int]:
    with company.state.read() as connection:
        counts = [
            connection.execute(select(func.count()).select_from(t)).scalar_one() for t in (rooms, room_keys)
        ]
    return counts[0], counts[1]


def hidden(desk: Desk) -> Request:
    result = desk.carry_out("erase", [Subject(ADA)], "tester")
    assert result.problem is None
    [request] = result.requests
    assert request.awaits == "period"
    return request


def test_coming_back_restores_every_row_as_it_was(folder: Path) -> None:
    clock = Clock()
    with desk_at(folder, clock) as desk:
        before = hashed(desk.company)
        request = hidden(desk)
        assert request.until == datetime(2026, 12, 3, tzinfo=UTC)
        assert desk.find("access", ["user:2"]).people == ()
        assert hashed(desk.company) != before and held(desk.company) == (1, 1)
        clock.at += timedelta(days=9)
        desk.work()
        assert register.get(desk.company, request.id).awaits == "period"
        result = desk.call_off(request, "tester")
        assert result.problem is None and result.requests[0].state == "withdrawn"
        assert hashed(desk.company) == before and held(desk.company) == (0, 0)
        assert desk.find("access", ["user:2"]).people == (ADA,)


def test_after_the_period_nothing_can_be_restored(folder: Path) -> None:
    clock = Clock()
    with desk_at(folder, clock) as desk:
        company = desk.company
        request = hidden(desk)
        right = company.policy.section("rights")["erase"]
        waits = [proof for proof in proving.prove(company, right) if "may still come back" in proof.says]
        assert [proof.verdict for proof in waits] == ["kept"]
        clock.at += timedelta(days=12)
        assert any(proof.verdict == "broken" for proof in proving.prove(company, right))
        result = desk.work()
        assert result.problem is None
        assert register.get(company, request.id).state == "done"
        assert held(company) == (0, 0)
        with pytest.raises(KeptError, match="closed"):
            desk.call_off(register.get(company, request.id), "tester")
        waits = [proof for proof in proving.prove(company, right) if "may still come back" in proof.says]
        assert [proof.verdict for proof in waits] == ["kept"]


def test_the_rows_that_wait_are_readable_nowhere(folder: Path, request: pytest.FixtureRequest) -> None:
    clock = Clock()
    with desk_at(folder, clock) as desk:
        with desk.company.stores["app"].read() as connection:
            names = connection.execute(
                text("SELECT first_name, last_name, email FROM users WHERE id = 2")
            ).one()
        hidden(desk)
        desk.company.state.checkpoint()
    own = b"".join(path.read_bytes() for path in folder.glob("[klw]*.sqlite*"))
    assert not [name for name in names if name.encode() in own]


def test_somebody_elses_later_work_survives_a_return(folder: Path) -> None:
    clock = Clock()
    with desk_at(folder, clock) as desk:
        request = hidden(desk)
        with desk.company.stores["app"].write() as connection:
            connection.execute(text("UPDATE users SET first_name = 'Changed' WHERE id = 3"))
        assert desk.call_off(request, "tester").problem is None
        with desk.company.stores["app"].read() as connection:
            assert connection.execute(text("SELECT first_name FROM users WHERE id = 3")).scalar() == "Changed"


def test_a_return_that_cannot_be_whole_leaves_everything_waiting(folder: Path) -> None:
    clock = Clock()
    with desk_at(folder, clock) as desk:
        with desk.company.stores["app"].read() as connection:
            email = connection.execute(text("SELECT email FROM users WHERE id = 2")).scalar_one()
        request = hidden(desk)
        with desk.company.stores["app"].write() as connection:
            connection.execute(text("UPDATE users SET email = :email WHERE id = 3"), {"email": email})
        result = desk.call_off(request, "tester")
        assert result.problem is not None and email not in result.problem
        assert register.get(desk.company, request.id).is_open and held(desk.company) == (1, 1)
        with desk.company.stores["app"].write() as connection:
            connection.execute(text("UPDATE users SET email = 'other@mail.example' WHERE id = 3"))
        assert desk.work().problem is None
        assert register.get(desk.company, request.id).state == "withdrawn"
        assert desk.find("access", ["user:2"]).people == (ADA,)


def test_the_files_of_kept_hold_no_key_of_somebody_whose_time_is_over(folder: Path) -> None:
    clock = Clock()
    with desk_at(folder, clock) as desk:
        hidden(desk)
        with desk.company.state.read() as connection:
            sealed = connection.execute(select(rooms.c.sealed)).scalar_one()
            key = connection.execute(select(room_keys.c.key)).scalar_one()
        clock.at += timedelta(days=12)
        assert desk.work().problem is None
    own = b"".join(path.read_bytes() for path in folder.glob("kept.sqlite*"))
    assert bytes(key) not in own and bytes(sealed)[:64] not in own
    with closing(sqlite3.connect(folder / "kept.sqlite")) as state:
        assert state.execute("SELECT count(*) FROM room_keys").fetchone() == (0,)
