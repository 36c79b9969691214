"""Random companies: counting and taking agree with a model of a few lines of Python, crashes and all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kept.policy.grammar import Period
from kept.stores.expiring import expiry as expiry_module
from kept.stores.expiring import windows as windows_module
from kept.stores.expiring.due import Expiry
from kept.stores.expiring.expiry import WindowDone, expire, overdue
from kept.stores.expiring.windows import Cursor
from kept.stores.opening import open_store
from kept.stores.schema import Reference
from kept.stores.sql import SQLStore
from tests.contract.company import build, rows

TIGHT = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

clock = st.none() | st.datetimes(datetime(2023, 12, 28), datetime(2024, 3, 2)).map(  # noqa: DTZ001  # as the columns: no zone
    lambda at: at.replace(microsecond=0)
)
people = st.dictionaries(st.integers(1, 40), st.tuples(clock, st.booleans()), max_size=12)
events = st.lists(st.tuples(st.none() | st.integers(1, 40), clock), max_size=60)
periods = st.sampled_from([Period(1, "months"), Period(2, "months"), Period(3, "days"), Period(36, "hours")])
nows = st.datetimes(
    datetime(2024, 1, 28),  # noqa: DTZ001  # hypothesis adds the zone
    datetime(2024, 5, 3),  # noqa: DTZ001
    timezones=st.just(UTC),
)


class Crash(Exception):
    pass


@pytest.fixture
def house(store: SQLStore) -> SQLStore:
    build(
        store,
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, ended TIMESTAMP)",
        "CREATE TABLE events (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), at TIMESTAMP, page TEXT)",
        "CREATE INDEX events_at ON events (at)",
        "CREATE INDEX events_user ON events (user_id)",
    )
    return store


def fill(
    store: SQLStore,
    users: dict[int, tuple[datetime | None, bool]],
    happened: list[tuple[int | None, datetime | None]],
) -> None:
    with store.write() as connection:
        connection.execute(sa.text("DELETE FROM events"))
        connection.execute(sa.text("DELETE FROM users"))
        if users:
            connection.execute(
                sa.text("INSERT INTO users VALUES (:id, :name, :ended)"),
                [
                    {"id": k, "name": "x" if named else None, "ended": text(at)}
                    for k, (at, named) in users.items()
                ],
            )
        if happened:
            connection.execute(
                sa.text("INSERT INTO events VALUES (:id, :user, :at, 'p')"),
                [
                    {"id": i, "user": u if u in users else None, "at": text(at)}
                    for i, (u, at) in enumerate(happened)
                ],
            )


def text(at: datetime | None) -> str | None:
    return None if at is None else str(at)


def past(at: datetime | None, period: Period, now: datetime) -> bool:
    """The model: over when the last day of the period is over, or, in hours, when they have gone by."""
    if at is None:
        return False
    at = at.replace(tzinfo=UTC)
    if period.unit == "hours":
        return at < now - timedelta(hours=period.amount)
    return period.after(at.date()) < now.date()


def carry_out(store: SQLStore, expiry: Expiry, crashes: list[int]) -> list[int]:
    """Sweep with crashes before and after commits, each time resumed from what was durably noted; rows per window."""
    after: Cursor | None = None
    noted: dict[Cursor, int] = {}
    for crash in [*crashes, 1_000_000]:
        left = crash

        def note(done: WindowDone) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Crash
            noted[done.cursor] = done.rows

        try:
            for done in expire(store, expiry, before_commit=note, after=after, pause=0):
                after = done.cursor
                left -= 1
                if left == 0:
                    raise Crash
            break
        except Crash:
            continue
    return list(noted.values())


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of three rows or one block."""
    monkeypatch.setattr(windows_module.Rowids, "largest", 3)
    monkeypatch.setattr(windows_module.Tids, "largest", 3)
    monkeypatch.setattr(windows_module.Tids, "most", 7)
    monkeypatch.setattr(windows_module.Rowids, "most", 7)
    monkeypatch.setattr(windows_module, "_FIRST_ROWS", 3)
    monkeypatch.setattr(windows_module, "_FIRST_BLOCKS", 1)
    monkeypatch.setattr(expiry_module, "LOCK_SECONDS", 0.0)


@TIGHT
@given(
    users=people, happened=events, period=periods, now=nows, crashes=st.lists(st.integers(1, 9), max_size=3)
)
def test_events_go_by_their_own_clock(
    house: SQLStore,
    small_windows: None,
    users: dict[int, tuple[datetime | None, bool]],
    happened: list[tuple[int | None, datetime | None]],
    period: Period,
    now: datetime,
    crashes: list[int],
) -> None:
    fill(house, users, happened)
    expiry = Expiry("events", "at", period.cutoff(now, ZoneInfo("UTC")))
    gone = [i for i, (_, at) in enumerate(happened) if past(at, period, now)]
    found = overdue(house, expiry)
    assert (found.rows, found.unreadable) == (len(gone), 0)
    oldest = min((at for _, at in happened if past(at, period, now) and at), default=None)
    assert found.oldest == (oldest and oldest.replace(tzinfo=UTC))
    assert sum(carry_out(house, expiry, crashes)) == len(gone)
    assert [i for (i,) in rows(house, "SELECT id FROM events ORDER BY id")] == [
        i for i in range(len(happened)) if i not in gone
    ]


@TIGHT
@given(
    users=people, happened=events, period=periods, now=nows, crashes=st.lists(st.integers(1, 9), max_size=3)
)
def test_events_go_by_their_persons_clock(
    house: SQLStore,
    small_windows: None,
    users: dict[int, tuple[datetime | None, bool]],
    happened: list[tuple[int | None, datetime | None]],
    period: Period,
    now: datetime,
    crashes: list[int],
) -> None:
    fill(house, users, happened)
    path = (Reference("events", ("user_id",), "users", ("id",)),)
    expiry = Expiry("events", "ended", period.cutoff(now, ZoneInfo("UTC")), path=path)
    gone = [i for i, (u, _) in enumerate(happened) if u in users and past(users[u][0], period, now)]
    assert overdue(house, expiry).rows == len(gone)
    assert sum(carry_out(house, expiry, crashes)) == len(gone)
    left = [i for (i,) in rows(house, "SELECT id FROM events ORDER BY id")]
    assert left == [i for i in range(len(happened)) if i not in gone]


@TIGHT
@given(
    users=people, happened=events, period=periods, now=nows, crashes=st.lists(st.integers(1, 9), max_size=3)
)
def test_people_are_blanked_or_go_unless_something_hangs_on_them(
    house: SQLStore,
    small_windows: None,
    users: dict[int, tuple[datetime | None, bool]],
    happened: list[tuple[int | None, datetime | None]],
    period: Period,
    now: datetime,
    crashes: list[int],
) -> None:
    fill(house, users, happened)
    cutoff = period.cutoff(now, ZoneInfo("UTC"))
    events_of = Reference("events", ("user_id",), "users", ("id",))
    go = Expiry("users", "ended", cutoff, unless_referenced_by=(events_of,))
    blank = Expiry("users", "ended", cutoff, then="blank", blank_columns=("name",))
    busy = {u for u, _ in happened}
    gone = {k for k, (at, _) in users.items() if past(at, period, now) and k not in busy}
    blanked = {k for k, (at, named) in users.items() if past(at, period, now) and named and k in busy}
    assert overdue(house, go).rows == len(gone)
    assert sum(carry_out(house, go, crashes)) == len(gone)
    assert overdue(house, blank).rows == len(blanked)
    assert sum(carry_out(house, blank, crashes)) == len(blanked)
    left = rows(house, "SELECT id, name FROM users ORDER BY id")
    assert left == [
        (k, "x" if named and k not in blanked else None)
        for k, (_, named) in sorted(users.items())
        if k not in gone
    ]


def test_rows_that_stand_elsewhere_than_the_clock_suggests_go_too(
    fresh_postgresql: str, tmp_path: Path
) -> None:
    store = open_store("app", fresh_postgresql)
    with psycopg.connect(fresh_postgresql, autocommit=True) as server:
        server.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, at TIMESTAMP, note TEXT)")
        server.execute("CREATE INDEX log_at ON log (at)")
        server.execute(
            "INSERT INTO log SELECT i, TIMESTAMP '2024-01-01' + i * INTERVAL '1 minute', 'x'"
            " FROM generate_series(1, 50000) i"
        )
        server.execute("UPDATE log SET note = 'moved to the end' WHERE id % 1000 = 600")
        server.execute("ANALYZE log")
    expiry = Expiry("log", "at", datetime(2024, 1, 15, tzinfo=UTC))
    due = overdue(store, expiry).rows
    assert due == 20159
    assert sum(done.rows for done in expire(store, expiry, before_commit=lambda done: None)) == due
    assert overdue(store, expiry).rows == 0
    store.dispose()
