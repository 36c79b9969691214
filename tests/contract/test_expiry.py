"""Counting and taking rows past their limit, the same for every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from kept.errors import TerminalError
from kept.policy.expressions import read_test
from kept.stores.expiring.due import Expiry, Only, Overdue
from kept.stores.expiring.expiry import WindowDone, expire, overdue
from kept.stores.schema import Reference
from kept.stores.sql import SQLStore
from tests.contract.company import build, rows

CUTOFF = datetime(2024, 11, 22, tzinfo=UTC)
OLD, NEW = "2024-11-21 23:59:59", "2024-11-22 00:00:00"

SHAPE = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, email VARCHAR(80) NOT NULL UNIQUE, city TEXT NOT NULL,"
    " visits INTEGER NOT NULL DEFAULT 0, role TEXT, ended TIMESTAMP)",
    "CREATE TABLE uses_of (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), at TIMESTAMP)",
    "CREATE INDEX uses_user ON uses_of (user_id)",
    "CREATE INDEX uses_at ON uses_of (at)",
    "CREATE TABLE errors (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id))",
    "CREATE TABLE members (user_id INTEGER NOT NULL REFERENCES users (id), team TEXT NOT NULL,"
    " PRIMARY KEY (user_id, team))",
    f"INSERT INTO users VALUES (1, 'Ada', 'ada@x.org', 'Ulm', 1, 'staff', '{OLD}'),"
    f" (2, 'Bo', 'bo@x.org', 'Bonn', 1, NULL, '{NEW}'), (3, 'Cy', 'cy@x.org', 'Köln', 1, 'member', NULL),"
    " (4, 'Di', 'di@x.org', 'Trier', 1, 'member', '2020-01-01 00:00:00')",
    f"INSERT INTO uses_of VALUES (1, 1, '{OLD}'), (2, 1, '{NEW}'), (3, 2, '2023-01-01 00:00:00'), (4, 3, NULL),"
    f" (5, 4, '{NEW}')",
    "INSERT INTO errors VALUES (1, 1), (2, NULL), (3, 3)",
    "INSERT INTO members VALUES (4, 'a'), (3, 'b')",
    "ALTER TABLE users ADD COLUMN since DATE NOT NULL DEFAULT '2020-01-01'",
)  # fmt: skip

ERRORS = Reference("errors", ("user_id",), "users", ("id",))
USAGE = Reference("uses_of", ("user_id",), "users", ("id",))
MEMBERS = Reference("members", ("user_id",), "users", ("id",))


def carry_out(store: SQLStore, expiry: Expiry) -> int:
    return sum(done.rows for done in expire(store, expiry, before_commit=lambda done: None))


def test_rows_are_past_only_before_the_cutoff(store: SQLStore) -> None:
    build(store, *SHAPE)
    expiry = Expiry("uses_of", "at", CUTOFF)
    assert overdue(store, expiry) == Overdue(2, datetime(2023, 1, 1, tzinfo=UTC), 0)
    assert carry_out(store, expiry) == 2
    assert rows(store, "SELECT id FROM uses_of ORDER BY id") == [(2,), (4,), (5,)]
    assert overdue(store, expiry) == Overdue(0, None, 0)


def test_the_clock_may_stand_in_a_row_that_the_path_leads_to(store: SQLStore) -> None:
    build(store, *SHAPE)
    expiry = Expiry("uses_of", "ended", CUTOFF, path=(USAGE,))
    assert overdue(store, expiry) == Overdue(3, datetime(2020, 1, 1, tzinfo=UTC), 0)
    assert carry_out(store, expiry) == 3
    assert rows(store, "SELECT id FROM uses_of ORDER BY id") == [(3,), (4,)]
    assert overdue(store, expiry) == Overdue(0, None, 0)


def test_a_test_on_the_row_with_the_clock_narrows_who_is_past(store: SQLStore) -> None:
    build(store, *SHAPE)
    expiry = Expiry(
        "uses_of", "ended", CUTOFF, path=(USAGE,), only=(Only((USAGE,), read_test("role = member")),)
    )
    assert carry_out(store, expiry) == 1
    assert rows(store, "SELECT id FROM uses_of ORDER BY id") == [(1,), (2,), (3,), (4,)]


def test_blanking_empties_what_is_filled_and_counts_each_row_once(store: SQLStore) -> None:
    build(store, *SHAPE)
    expiry = Expiry("users", "ended", CUTOFF, then="blank", blank_columns=("name", "email", "city"))
    assert overdue(store, expiry).rows == 2
    assert carry_out(store, expiry) == 2
    (name, email, city), (_, other, _) = rows(store, "SELECT name, email, city FROM users WHERE id IN (1, 4)")
    assert (name, city) == (None, "")
    assert email.startswith("erased-") and len(email) == 39 and email != other
    assert overdue(store, expiry).rows == 0
    assert carry_out(store, expiry) == 0
    assert rows(store, "SELECT name FROM users WHERE id IN (2, 3) ORDER BY id") == [("Bo",), ("Cy",)]


def test_a_row_blanked_in_part_keeps_its_token(store: SQLStore) -> None:
    build(store, *SHAPE)
    carry_out(store, Expiry("users", "ended", CUTOFF, then="blank", blank_columns=("email",)))
    before = rows(store, "SELECT email FROM users ORDER BY id")
    assert (
        carry_out(store, Expiry("users", "ended", CUTOFF, then="blank", blank_columns=("email", "name"))) == 2
    )
    assert rows(store, "SELECT email FROM users ORDER BY id") == before


@pytest.mark.parametrize("column", ["since", "id"])
def test_a_column_that_cannot_be_emptied_is_refused_before_anything_changes(
    store: SQLStore, column: str
) -> None:
    build(store, *SHAPE)
    before = rows(store, "SELECT * FROM users ORDER BY id")
    with pytest.raises(TerminalError, match=f"users.{column} can't be emptied"):
        carry_out(store, Expiry("users", "ended", CUTOFF, then="blank", blank_columns=("name", column)))
    assert rows(store, "SELECT * FROM users ORDER BY id") == before


def test_rows_that_others_hang_on_are_left(store: SQLStore) -> None:
    build(store, *SHAPE)
    expiry = Expiry("users", "ended", CUTOFF, unless_referenced_by=(ERRORS, MEMBERS, USAGE))
    assert overdue(store, expiry).rows == 0
    carry_out(store, Expiry("uses_of", "ended", CUTOFF, path=(USAGE,)))
    expiry = Expiry(
        "users", "ended", CUTOFF, unless_referenced_by=(USAGE,), unlink=(ERRORS,), remove_first=(MEMBERS,)
    )
    assert overdue(store, expiry).rows == 2
    assert carry_out(store, expiry) == 2
    assert rows(store, "SELECT id FROM users ORDER BY id") == [(2,), (3,)]
    assert rows(store, "SELECT id, user_id FROM errors ORDER BY id") == [(1, None), (2, None), (3, 3)]
    assert rows(store, "SELECT user_id FROM members") == [(3,)]


def test_a_reference_that_cannot_be_cut_is_refused_before_anything_changes(store: SQLStore) -> None:
    build(store, *SHAPE)
    with pytest.raises(TerminalError, match=r"members\.user_id must not be null"):
        carry_out(store, Expiry("users", "ended", CUTOFF, unlink=(ERRORS, MEMBERS)))
    assert rows(store, "SELECT count(*) FROM errors WHERE user_id IS NULL") == [(1,)]


def test_a_path_to_more_than_one_row_is_refused(store: SQLStore) -> None:
    build(store, *SHAPE)
    by_city = Reference("uses_of", ("user_id",), "users", ("visits",), declared="file")
    with pytest.raises(TerminalError, match="no one clock decides"):
        overdue(store, Expiry("uses_of", "ended", CUTOFF, path=(by_city,)))


@pytest.mark.parametrize("column", ["name", "role"])
def test_a_clock_that_is_not_a_date_is_refused(store: SQLStore, column: str) -> None:
    build(store, *SHAPE)
    with pytest.raises(TerminalError, match="clock that isn't a date"):
        overdue(store, Expiry("users", column, CUTOFF))


def test_tables_without_addresses_are_taken_by_their_keys(store: SQLStore) -> None:
    end = {"sqlite": "WITHOUT ROWID", "postgresql": "PARTITION BY HASH (shop)", "mariadb": ""}[store.dialect]
    build(
        store,
        f"CREATE TABLE visits (shop TEXT, number INTEGER, at TIMESTAMP, PRIMARY KEY (shop, number)) {end}",
    )
    if store.dialect == "postgresql":
        build(
            store,
            *(
                f"CREATE TABLE v{i} PARTITION OF visits FOR VALUES WITH (MODULUS 2, REMAINDER {i})"
                for i in (0, 1)
            ),
        )
    values = ", ".join(f"('s{i % 7}', {i}, '{OLD if i % 3 else NEW}')" for i in range(900))
    build(store, f"INSERT INTO visits VALUES {values}")
    assert list(store.schema().tables) == ["visits"]
    expiry = Expiry("visits", "at", CUTOFF)
    assert overdue(store, expiry).rows == 600
    assert carry_out(store, expiry) == 600
    assert rows(store, "SELECT count(*) FROM visits") == [(300,)]


def test_what_before_commit_refuses_is_not_done_and_a_later_run_goes_on(store: SQLStore) -> None:
    build(store, *SHAPE)

    def fail(done: WindowDone) -> None:
        raise RuntimeError("the note could not be written")

    expiry = Expiry("uses_of", "at", CUTOFF)
    with pytest.raises(RuntimeError):
        list(expire(store, expiry, before_commit=fail))
    assert overdue(store, expiry).rows == 2
    assert carry_out(store, expiry) == 2


def test_counting_is_one_query(store: SQLStore) -> None:
    build(store, *SHAPE)
    asked: list[str] = []
    sa.event.listen(
        store.engine, "before_cursor_execute", lambda c, cur, statement, *rest: asked.append(statement)
    )
    overdue(store, Expiry("uses_of", "ended", CUTOFF, path=(USAGE,), unless_referenced_by=()))
    assert sum("count(" in statement for statement in asked) == 1


@pytest.mark.parametrize("many", [3_000, 60_000])
def test_windows_are_small_and_each_row_is_taken_once(store: SQLStore, many: int) -> None:
    build(
        store,
        "CREATE TABLE log (id INTEGER PRIMARY KEY, at TIMESTAMP, note TEXT)",
        "CREATE INDEX log_at ON log (at)",
    )
    with store.write() as connection:
        start = datetime(2024, 1, 1, tzinfo=UTC)
        connection.execute(
            sa.text("INSERT INTO log VALUES (:id, :at, 'x')"),
            [{"id": i, "at": str(start + timedelta(minutes=i))[:19]} for i in range(many)],
        )
    if store.dialect == "postgresql":
        build(store, "ANALYZE log")
    expiry = Expiry("log", "at", datetime(2024, 1, 2, tzinfo=UTC) + timedelta(minutes=many // 2))
    due = overdue(store, expiry).rows
    noted: list[WindowDone] = []
    done = list(expire(store, expiry, before_commit=noted.append))
    assert (
        sum(window.rows for window in done) == sum(window.rows for window in noted) == due == 1440 + many // 2
    )
    assert [window.cursor for window in done] == [window.cursor for window in noted]
    assert (len(done) > 1 or many < 10_000) and max(window.seconds for window in done) < 2
