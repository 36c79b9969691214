"""Rows past their limit: counted exactly, and taken away in short transactions.

`due` says what an `Expiry` is. `overdue` counts its rows in one query; `expire` deletes them, or empties
columns of theirs, window by window, so that nobody waits for a long lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from kept.stores.expiring import clocks
from kept.stores.expiring.due import Expiry, Overdue
from kept.stores.expiring.past import Past
from kept.stores.expiring.windows import Cursor, windows
from kept.stores.sql import SQLStore

LOCK_SECONDS = 0.09  # aimed at, so that a slow disk still stays under 0.2


@dataclass(frozen=True)
class WindowDone:
    """A window: where to go on after it, its rows, and how long it held its locks (0 while it isn't committed)."""

    cursor: Cursor
    rows: int
    seconds: float = 0.0


def overdue(store: SQLStore, expiry: Expiry, *others: Expiry) -> Overdue:
    """The rows that `expire` would take now, in one query; with indexes, those that aren't past cost nothing.

    `others` are expiries of the same rows by the same clock; a row that several would take is counted once.
    (In SQLite a clock of text or numbers may hold anything, so its column is read through for what is unreadable.)
    """
    with store.read() as connection:
        past = Past(store, connection, expiry)
        left = [sa.and_(sa.true(), *Past(store, connection, other).remaining()) for other in others]
        rows, oldest, unreadable, unstarted = connection.execute(past.counts(*left)).one()
        found = None if oldest is None else clocks.moment(past.format, oldest)
        spared = 0
        if any(one.spared for one in (expiry, *others)):
            made = [Past(store, connection, replace(one, spared=())) for one in (expiry, *others)]
            spared = _together(connection, made) - rows
        return Overdue(rows, found, unreadable, unstarted, spared)


def overdue_together(store: SQLStore, expiries: Sequence[Expiry]) -> int:
    """How many rows of one table the expiries would take between them, by whatever clocks, each counted once."""
    with store.read() as connection:
        return _together(connection, [Past(store, connection, expiry) for expiry in expiries])


def _together(connection: Connection, made: Sequence[Past]) -> int:
    counted = sa.select(sa.func.count()).select_from(made[0].table)
    return int(connection.execute(counted.where(sa.or_(*(past.holds() for past in made)))).scalar_one())


def expire(
    store: SQLStore,
    expiry: Expiry,
    *,
    before_commit: Callable[[WindowDone], None],
    after: Cursor | None = None,
    pause: float = 0.01,
) -> Iterator[WindowDone]:
    """Take the rows that are past, window by window, each its own transaction; yields what was committed.

    `before_commit` is called with each window's count inside its transaction. To resume, pass the last cursor as
    `after`; without it everything is looked at again, which is slower and right too. `pause` is the part of each
    window's time that other writers get before the next one, in SQLite. Rows that other writers move in between
    (PostgreSQL moves updated rows) may be left to the next run; `overdue` tells.
    TerminalError, before anything changes, when a column can't be emptied or a reference can't be cut.
    """
    with store.read() as connection:
        past = Past(store, connection, expiry)
        past.refuse_the_impossible()
        past.compare_only(connection)
    found = windows(store, past.table, past.holds, past.clock if past.own else None, past.bound, after)
    size: int | None = None
    taken = 0
    with store.in_bulk() as between:
        while (window := found.next(size, taken)) is not None:
            with store.write() as connection:
                started = time.perf_counter()
                done = WindowDone(window.cursor, past.take(connection, window))
                if done.rows:
                    before_commit(done)
            took = time.perf_counter() - started
            taken = done.rows
            size = max(1, int(window.size * min(3.0, max(0.1, LOCK_SECONDS / max(took, 0.001)))))
            if done.rows:
                yield replace(done, seconds=took)
                between()
                if store.dialect == "sqlite":
                    time.sleep(took * pause)  # one writes at a time there: let others in
