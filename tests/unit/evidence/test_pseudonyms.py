"""Pseudonyms: stable while a person is known, unknowable once forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, select

from kept.evidence.database import create, open_engine
from kept.evidence.keys import Keys
from kept.evidence.pseudonyms import Pseudonyms, erased, metadata, persons


@pytest.fixture
def engine(place: str) -> Iterator[Engine]:
    """An empty database of each kind, with the tables."""
    opened = open_engine(place)
    create(opened, metadata)
    yield opened
    opened.dispose()


@pytest.fixture
def pseudonyms(engine: Engine, keys: Keys) -> Pseudonyms:
    """Nobody has one yet."""
    return Pseudonyms(engine, keys)


def test_a_person_keeps_one_pseudonym_and_shares_it_with_nobody(pseudonyms: Pseudonyms) -> None:
    first = pseudonyms.of(["user:1", "user:2", "user:1"])
    assert pseudonyms.of(["user:2", "user:1", "user:3"]).items() >= first.items()
    assert len(set(pseudonyms.of(["user:1", "user:2", "user:3"]).values())) == 3
    assert all(len(pseudonym) == 64 for pseudonym in first.values())


def test_pseudonyms_made_in_a_transaction_last_only_if_it_does(
    pseudonyms: Pseudonyms, engine: Engine
) -> None:
    known = pseudonyms.of(["user:1"])
    with engine.connect() as connection:
        lost = pseudonyms.of(["user:1", "user:2"], known, connection=connection)
        connection.rollback()
    assert lost["user:1"] == known["user:1"] and pseudonyms.find(["user:1", "user:2"]) == known
    with engine.begin() as connection:
        made = pseudonyms.of(["user:1", "user:2"], known, connection=connection)
    assert pseudonyms.find(["user:1", "user:2"]) == made != lost


def test_looking_for_somebody_makes_no_pseudonym(pseudonyms: Pseudonyms, engine: Engine) -> None:
    made = pseudonyms.of(["user:1"])
    assert pseudonyms.find(["user:1", "user:2"]) == made
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(persons)) == 1


def test_the_database_names_nobody(pseudonyms: Pseudonyms, engine: Engine, keys: Keys) -> None:
    pseudonym = pseudonyms.of(["anna@example.org"])["anna@example.org"]
    with engine.connect() as connection:
        rows = connection.execute(select(persons)).all()
    assert [index for index, _ in rows] == [keys.index("anna@example.org")]
    assert "anna" not in repr(rows)
    assert pseudonym not in repr(rows)


def test_a_forgotten_person_is_unknown_and_known_to_be_erased(pseudonyms: Pseudonyms, engine: Engine) -> None:
    before = pseudonyms.of(["user:1", "user:2"])
    pseudonyms.forget({"user:1": ["Ada@mail.example"], "user:9": []})
    pseudonyms.forget({"user:1": ["ada@mail.example"]})
    assert pseudonyms.find(["user:1", "user:2"]) == {"user:2": before["user:2"]}
    asked = {"user:1": ["ada@mail.example"], "user:2": ["ada@mail.example"], "user:9": ["x@mail.example"]}
    found = pseudonyms.erased(asked)
    assert {who: gone.surely for who, gone in found.items()} == {"user:1": True, "user:9": False}
    found = pseudonyms.erased({"user:1": ["bo@mail.example"], "user:9": []})
    assert {who: gone.surely for who, gone in found.items()} == {"user:1": False, "user:9": True}
    frames = pseudonyms.erased({"user:1": [], "user:9": []})
    assert {who: gone.frame for who, gone in frames.items()} == {"user:1": True, "user:9": False}
    assert pseudonyms.of(["user:1"])["user:1"] != before["user:1"]
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(erased)) == 4


def test_whoever_is_erased_again_was_erased_when_they_last_were(engine: Engine, keys: Keys) -> None:
    for at in (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)):
        pseudonyms = Pseudonyms(engine, keys, partial({"now": at}.__getitem__, "now"))
        pseudonyms.of(["user:1"])
        pseudonyms.forget({"user:1": ["ada@mail.example"]})
        assert pseudonyms.erased({"user:1": ["ada@mail.example"]})["user:1"].at == at


def test_the_number_of_statements_does_not_grow_with_the_people(
    pseudonyms: Pseudonyms, engine: Engine
) -> None:
    statements: list[str] = []

    def note(*args: Any) -> None:
        statements.append(args[2])

    event.listen(engine, "before_cursor_execute", note)

    def counted(people: int, start: int) -> int:
        statements.clear()
        whos = [f"user:{start + n}" for n in range(people)]
        pseudonyms.of(whos)
        pseudonyms.find(whos)
        known = {who: [f"{who}@mail.example"] for who in whos}
        pseudonyms.erased(known)
        pseudonyms.forget(known)
        return len(statements)

    assert counted(1, 0) == counted(3_000, 10)
    assert len(pseudonyms.of([f"person:{n}" for n in range(25_000)])) == 25_000


def test_several_who_meet_a_person_first_at_once_agree(pseudonyms: Pseudonyms) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: pseudonyms.of(["user:1", "user:2"]), range(16)))
    assert all(one == found[0] for one in found)


def test_a_forgotten_secret_stands_in_no_file(tmp_path: Path, keys: Keys) -> None:
    engine = open_engine(tmp_path / "state.sqlite")
    create(engine, metadata)
    pseudonyms = Pseudonyms(engine, keys)
    pseudonyms.of([f"user:{n}" for n in range(500)])
    with engine.connect() as connection:
        secrets = {row[0]: row[1] for row in connection.execute(select(persons))}
    pseudonyms.forget({"user:77": []})
    files = b"".join(path.read_bytes() for path in tmp_path.glob("state.sqlite*"))
    assert secrets[keys.index("user:77")] not in files
    assert secrets[keys.index("user:78")] in files
    engine.dispose()
