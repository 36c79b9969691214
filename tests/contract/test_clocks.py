"""Clocks as databases write them: what is past, what isn't, and what can't be read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from kept.errors import TerminalError
from kept.stores.expiring.clocks import ClockFormat, bound, clock_format
from kept.stores.expiring.due import Expiry, Overdue
from kept.stores.expiring.expiry import expire, overdue
from kept.stores.opening import open_store
from kept.stores.sql import SQLStore
from tests.contract.company import build, rows

CUTOFF = datetime(2024, 2, 1, tzinfo=UTC)
BEFORE, AT = datetime(2024, 1, 31, 23, 59, 59, tzinfo=UTC), CUTOFF

WRITINGS = [
    ("text-date", "TEXT", "2024-01-31", "2024-02-01"),
    ("text-space", "TEXT", "2024-01-31 23:59:59", "2024-02-01 00:00:00"),
    ("text-space", "TIMESTAMP", "2024-01-31 23:59:59.999999", "2024-02-01 00:00:00.000000"),
    ("text-space", "DATETIME", "2024-01-31 23:59:59.9+00:00", "2024-02-01 00:00:00+00:00"),
    ("text-t", "TEXT", "2024-01-31T23:59:59Z", "2024-02-01T00:00:00Z"),
    ("text-t", "", "2024-01-31T23:59:59.123+00:00", "2024-02-01T00:00:00.000Z"),
    ("seconds", "INTEGER", int(BEFORE.timestamp()), int(AT.timestamp())),
    ("seconds", "REAL", BEFORE.timestamp() + 0.9, AT.timestamp()),
    ("milliseconds", "INTEGER", int(BEFORE.timestamp() * 1000) + 999, int(AT.timestamp() * 1000)),
]


def clocks(url: str, type_: str, values: list[object], indexed: bool = True) -> SQLStore:
    store = open_store("app", url)
    build(store, f"CREATE TABLE log (id INTEGER PRIMARY KEY, at {type_})")
    if indexed:
        build(store, "CREATE INDEX log_at ON log (at)")
    with store.write() as connection:
        for value in values:
            connection.execute(sa.text("INSERT INTO log (at) VALUES (:at)"), {"at": value})
    return store


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize(("writing", "type_", "before", "at"), WRITINGS)
def test_each_writing_of_time_in_sqlite_has_the_same_cutoff(
    fresh_sqlite: str, writing: str, type_: str, before: object, at: object, indexed: bool
) -> None:
    store = clocks(fresh_sqlite, type_, [before, at, None], indexed)
    assert clock_format(store, "log", "at") == ClockFormat(writing)  # type: ignore[arg-type]  # from a list of cases
    found = overdue(store, Expiry("log", "at", CUTOFF))
    assert (found.rows, found.unreadable) == (1, 0)
    assert found.oldest is not None and timedelta() < CUTOFF - found.oldest <= timedelta(days=1)
    list(expire(store, Expiry("log", "at", CUTOFF), before_commit=lambda done: None))
    assert rows(store, "SELECT count(*) FROM log") == [(2,)]
    store.dispose()


STRANGE = [
    "31/01/2020", "2020-01-31 10:00", "2020-01-31T10:00:00", "2020-01-31 10:00:00+02:00", "2020-01-31 10:00:00.x",
    "2020-01-31 10:00:00.5.5", "soon", 1580000000, b"2020-01-31 10:00:00", "2020-01-31",
    "9", "2020-01-31 10:00:00Z+00:00",
]  # fmt: skip


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("strange", STRANGE)
def test_what_is_not_written_like_the_rest_is_counted_and_left(
    fresh_sqlite: str, strange: object, indexed: bool
) -> None:
    good = ["2020-01-01 00:00:00", "2024-05-01 00:00:00", "2024-06-01 00:00:00"]
    store = clocks(fresh_sqlite, "", [*good, strange], indexed)
    expiry = Expiry("log", "at", CUTOFF)
    assert overdue(store, expiry) == Overdue(1, datetime(2020, 1, 1, tzinfo=UTC), 1)
    assert sum(done.rows for done in expire(store, expiry, before_commit=lambda done: None)) == 1
    assert rows(store, "SELECT count(*) FROM log") == [(3,)]
    store.dispose()


def test_a_text_among_numbers_cannot_be_read(fresh_sqlite: str) -> None:
    store = clocks(fresh_sqlite, "", [1580000000, 1580000001, 1580000000000, "2020-01-31"])
    assert overdue(store, Expiry("log", "at", CUTOFF)).unreadable == 2
    store.dispose()


@pytest.mark.parametrize("type_", ["TIMESTAMP", "TIMESTAMPTZ", "DATE"])
def test_each_type_of_time_in_postgresql_has_the_same_cutoff(fresh_postgresql: str, type_: str) -> None:
    values: list[object] = ["2024-01-31 00:00:00", "2024-02-01 00:00:00", "infinity", "-infinity", None]
    store = clocks(fresh_postgresql, type_, [])
    for value in values:
        build(
            store,
            f"INSERT INTO log VALUES ({values.index(value)}, {'NULL' if value is None else repr(value)})",
        )
    expiry = Expiry("log", "at", CUTOFF)
    assert overdue(store, expiry) == Overdue(1, datetime(2024, 1, 31, tzinfo=UTC), 2)
    assert sum(done.rows for done in expire(store, expiry, before_commit=lambda done: None)) == 1
    store.dispose()


def test_the_servers_own_zone_does_not_matter(fresh_postgresql: str) -> None:
    store = clocks(fresh_postgresql, "TIMESTAMP", [])
    build(store, "INSERT INTO log VALUES (1, '2024-01-31 23:30:00')")
    database = fresh_postgresql.partition("?")[0].rpartition("/")[2]
    with store.alone() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {database} SET TimeZone = 'America/New_York'")
    store.dispose()
    assert overdue(store, Expiry("log", "at", CUTOFF)).rows == 1
    store.dispose()


@pytest.mark.parametrize(("type_", "value"), [("TEXT", "soon"), ("BOOLEAN", True), ("TEXT", "31/01/2020")])
def test_a_column_that_holds_no_times_is_no_clock(store: SQLStore, type_: str, value: object) -> None:
    build(store, f"CREATE TABLE log (id INTEGER PRIMARY KEY, at {type_})")
    with store.write() as connection:
        connection.execute(sa.text("INSERT INTO log VALUES (1, :at)"), {"at": value})
    with pytest.raises(TerminalError, match=r"log\.at is a clock that isn't a date"):
        clock_format(store, "log", "at")


def test_a_day_counts_from_its_first_instant_when_the_cutoff_lies_within_it() -> None:
    noon = datetime(2024, 2, 1, 12, tzinfo=UTC)
    assert bound(ClockFormat("text-date"), noon) == "2024-02-02"
    assert bound(ClockFormat("text-date"), CUTOFF) == "2024-02-01"
