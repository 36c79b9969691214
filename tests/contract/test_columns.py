"""What the collection control asks of columns, and the tests of the policy file, the same for every database."""

from __future__ import annotations

from datetime import date

import pytest
import sqlalchemy as sa

from kept.errors import TerminalError
from kept.policy.expressions import read_test
from kept.stores.columns import clear_column, count_filled, count_sources, sample, set_source
from kept.stores.conditions import condition
from kept.stores.sql import SQLStore
from tests.contract.company import build, rows

TODAY = date(2024, 2, 29)


@pytest.fixture
def people(store: SQLStore) -> SQLStore:
    build(
        store,
        "CREATE TABLE people (id INTEGER PRIMARY KEY, phone TEXT, role TEXT, score INTEGER, active BOOLEAN, born DATE,"
        " source TEXT, code INTEGER NOT NULL DEFAULT 1)",
        "INSERT INTO people VALUES (1, '12345', 'staff', 9, TRUE, '2011-02-28', 'form', 1),"
        " (2, '', 'member', 10, FALSE, '2011-03-01', '', 1), (3, NULL, '', 100, NULL, NULL, 'guess', 1),"
        " (4, '999', NULL, NULL, TRUE, '1980-06-01', NULL, 1)",
        "ALTER TABLE people ADD COLUMN since DATE NOT NULL DEFAULT '2020-01-01'",
    )
    return store


def test_filled_columns_are_counted(people: SQLStore) -> None:
    assert count_filled(people, "people", ["phone", "score", "active"]) == {
        "phone": 2,
        "score": 3,
        "active": 3,
    }
    assert count_filled(people, "people", []) == {}


def test_a_column_is_cleared_and_the_count_is_told_before_the_commit(people: SQLStore) -> None:
    told: list[int] = []
    assert clear_column(people, "people", "phone", told.append) == 3  # an empty text is not NULL
    assert told == [3]
    assert rows(people, "SELECT DISTINCT phone FROM people") == [(None,)]
    assert clear_column(people, "people", "phone", told.append) == 0


def test_nothing_is_cleared_when_the_note_cannot_be_written(people: SQLStore) -> None:
    def fail(count: int) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        clear_column(people, "people", "phone", fail)
    assert count_filled(people, "people", ["phone"]) == {"phone": 2}


def test_a_column_that_cannot_be_empty_is_refused(people: SQLStore) -> None:
    with pytest.raises(TerminalError, match=r"people\.since can't be emptied"):
        clear_column(people, "people", "since", lambda count: None)


def test_sources_are_counted_and_set(people: SQLStore) -> None:
    assert count_sources(people, "people", "source", {"form", "import"}) == (2, 1)
    assert set_source(people, "people", "source", "import", lambda count: None) == 2
    assert count_sources(people, "people", "source", {"form", "import"}) == (0, 1)


def test_a_sample_has_no_empty_values(people: SQLStore) -> None:
    assert sorted(sample(people, "people", "phone", 10)) == ["12345", "999"]
    assert len(sample(people, "people", "phone", 1)) == 1


def test_an_unknown_column_or_table_is_an_error(people: SQLStore) -> None:
    with pytest.raises(TerminalError, match=r"app: there is no column people\.fax"):
        count_filled(people, "people", ["fax"])
    with pytest.raises(TerminalError, match="app: there is no table fax"):
        sample(people, "fax", "phone", 1)


@pytest.mark.parametrize(
    ("written", "who"),
    [
        ("role = member", [2]),
        ("role != member", [1, 3, 4]),
        ("role is empty", [3, 4]),
        ("role is not empty", [1, 2]),
        ("score < 10", [1]),
        ("score >= 10", [2, 3]),
        ("score is empty", [4]),
        ("active = true", [1, 4]),
        ("active = false", [2]),
        ("active is empty", [3]),
        ("born is empty", [3]),
        ("age >= 13", [1, 4]),
        ("age < 13", [2]),
        ("age = 12", [2]),
        ("age != 12", [1, 4]),
        ("age > 13", [4]),
        ("age <= 13", [1, 2]),
        ("age >= 13 and active = true and role = staff", [1]),
    ],
)
def test_a_test_of_the_policy_file_holds_for_these_rows(
    people: SQLStore, written: str, who: list[int]
) -> None:
    table = people.table("people")
    holds = condition(read_test(written), table, people.shape("people"), today=TODAY, born="born")
    with people.read() as connection:
        found = connection.execute(sa.select(table.c.id).where(holds).order_by(table.c.id)).scalars().all()
    assert list(found) == who


@pytest.mark.parametrize("written", ["score = many", "active = perhaps", "fax = 1"])
def test_a_test_that_cannot_be_asked_is_an_error(people: SQLStore, written: str) -> None:
    with pytest.raises(TerminalError):
        condition(
            read_test(written), people.table("people"), people.shape("people"), today=TODAY, born="born"
        )


def test_a_number_that_must_not_be_null_becomes_0(people: SQLStore) -> None:
    filled = count_filled(people, "people", ["id"])["id"]
    assert clear_column(people, "people", "code", lambda count: None) == filled
    assert rows(people, "SELECT DISTINCT code FROM people") == [(0,)]
    assert clear_column(people, "people", "code", lambda count: None) == 0
