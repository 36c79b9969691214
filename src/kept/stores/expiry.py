"""Rows past their limit: counted exactly, and taken away in short transactions.

An `Expiry` says which rows of one table are past: those whose clock, their own or that of a row they lead to, stands
before a cut-off. `overdue` counts them in one query; `expire` deletes them, or empties columns of theirs, window by
window, so that nobody waits for a long lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from kept.errors import TerminalError
from kept.policy.grammar import Test
from kept.stores import clocks
from kept.stores.blanks import blank
from kept.stores.clauses import Clauses
from kept.stores.conditions import condition, value
from kept.stores.schema import Reference, Table
from kept.stores.sql import SQLStore
from kept.stores.walk import Hold
from kept.stores.windows import Cursor, Window, windows

LOCK_SECONDS = 0.09  # aimed at, so that a slow disk still stays under 0.2


@dataclass(frozen=True)
class Expiry:
    """Rows of `table` are past when their clock `clock_column` stands before `cutoff`; an empty clock hasn't started.

    The clock stands in the row itself, or in the row that `path` leads to, reference by reference, each to one row.
    `when` is a test on the row that has the clock (`born` is its birth date column, for ages). `then` deletes the rows
    or blanks `blank_columns` of theirs. Rows that a reference of `unless_referenced_by` leads to are left alone.
    So are rows under a hold of `unless_held`, while its clock hasn't started or hasn't passed its cut-off. Before rows
    are deleted, references of `unlink` to them become NULL and rows of `remove_first` that refer to them are deleted.

    """

    table: str
    clock_column: str
    cutoff: datetime
    then: Literal["delete", "blank"] = "delete"
    path: tuple[Reference, ...] = ()
    blank_columns: tuple[str, ...] = ()
    when: Test | None = None
    born: str | None = None
    unless_referenced_by: tuple[Reference, ...] = ()
    unlink: tuple[Reference, ...] = ()
    remove_first: tuple[Reference, ...] = ()
    unless_held: tuple[Hold, ...] = ()

    @property
    def clock_table(self) -> str:
        return self.path[-1].to if self.path else self.table


@dataclass(frozen=True)
class Overdue:
    """How many rows are past, the oldest clock among them, and how many have a clock that can't be read."""

    rows: int
    oldest: datetime | None
    unreadable: int


@dataclass(frozen=True)
class WindowDone:
    """A window: where to go on after it, its rows, and how long it held its locks (0 while it isn't committed)."""

    cursor: Cursor
    rows: int
    seconds: float = 0.0


def overdue(store: SQLStore, expiry: Expiry) -> Overdue:
    """The rows that `expire` would take now, in one query; with indexes, those that aren't past cost nothing.

    (In SQLite a clock of text or numbers may hold anything, so its column is read through for what is unreadable.)
    """
    with store.read() as connection:
        past = Past(store, connection, expiry)
        rows, oldest, unreadable = connection.execute(past.counts()).one()
        return Overdue(rows, None if oldest is None else clocks.moment(past.format, oldest), unreadable)


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
    found = windows(store, past.table, past.holds, past.clock if not expiry.path else None, past.bound, after)
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


class Past:
    """The SQL of one expiry, against the schema as it is."""

    def __init__(self, store: SQLStore, connection: Connection, expiry: Expiry) -> None:
        self.store, self.expiry = store, expiry
        self.shape = store.shape(expiry.table)
        if self.shape.is_view:
            raise TerminalError(f"{expiry.table} is a view: its rows can't expire", where=store.name)
        for column in expiry.blank_columns:
            if column not in self.shape.columns:
                raise TerminalError(f"there is no column {expiry.table}.{column}", where=store.name)
        for reference in expiry.path:
            self._leads_to_one(reference)
        self.table = store.table(expiry.table)
        self.say = Clauses(store, store.schema().tables)
        self.format = clocks.format_seen(store, connection, expiry.clock_table, expiry.clock_column)
        self.hold_formats = [
            clocks.format_seen(store, connection, hold.path[-1].to if hold.path else hold.table, hold.clock)
            if hold.clock is not None and hold.cutoff is not None
            else None
            for hold in expiry.unless_held
        ]
        self.bound = value(clocks.bound(self.format, expiry.cutoff))
        self.aliases = [
            store.table(reference.to).alias(f"kept_{i}") for i, reference in enumerate(expiry.path)
        ]
        self.clock = (self.aliases[-1] if self.aliases else self.table).c[expiry.clock_column]
        self.least: str | None = None

    def compare_only(self, connection: Connection) -> None:
        """Where all clocks before the cut-off can be read, spare looking at each one again."""
        expiry = self.expiry
        if not expiry.path:
            self.least = clocks.first_of_days(
                self.store, connection, expiry.table, expiry.clock_column, self.format, expiry.cutoff
            )

    def refuse_the_impossible(self) -> None:
        """What can't be emptied or cut is said before anything changes."""
        if self.expiry.then == "blank":
            for column in self.expiry.blank_columns:
                blank(self.store, self.shape, column)
        for reference in self.expiry.unlink:
            self._cut(reference)

    def _leads_to_one(self, reference: Reference) -> None:
        target = self.store.shape(reference.to)
        alone = any(target.columns[column].unique for column in reference.to_columns)
        if not alone and not set(target.key) <= set(reference.to_columns):
            raise TerminalError(
                f"{reference} may lead to several rows, so no one clock decides",
                help="refer to a key, or to a column that is unique",
                where=self.store.name,
            )

    # The conditions.

    def expired(self, window: Window | None = None) -> sa.ColumnElement[bool]:
        """That the clock is before the cut-off, and readable; in a window SQLite is kept from the clock's index."""
        clock = self.clock
        if window is not None and self.store.dialect == "sqlite" and not self.expiry.path:
            clock = sa.literal_column(f"+{self.say.column(self._called(-1), self.expiry.clock_column)}")
        if self.least is None:
            told = clocks.readable(self.format, clock)
        else:
            told = clock >= value(self.least)
        return sa.and_(clock < self.bound, told, *self._tested())

    def unreadable(self) -> sa.ColumnElement[bool]:
        found = self.clock
        if self.format.writing in ("instant", "wall", "date"):
            strange: sa.ColumnElement[bool] = found.in_([value("infinity"), value("-infinity")])
        else:
            filled = sa.and_(found.is_not(None), sa.cast(found, sa.Text) != "")
            strange = sa.and_(filled, sa.not_(clocks.readable(self.format, found)))
        return sa.and_(strange, *self._tested())

    def _tested(self) -> list[sa.ColumnElement[bool]]:
        expiry = self.expiry
        if expiry.when is None:
            return []
        source = self.aliases[-1] if self.aliases else self.table
        shape = self.store.shape(expiry.clock_table)
        return [condition(expiry.when, source, shape, today=expiry.cutoff.date(), born=expiry.born)]

    def reached(self, clock_is: sa.ColumnElement[bool], *, listed: bool) -> sa.ColumnElement[bool]:
        """That a row leads to a clock which is so; `listed` when few rows are asked, each to be looked up by itself."""
        made = clock_is
        for level in range(len(self.expiry.path) - 1, -1, -1):
            reference, target = self.expiry.path[level], self.aliases[level]
            source = self.aliases[level - 1] if level else self.table
            if listed or reference.path or reference.when or not self._alike(reference):
                refers = sa.text(self.say.refers(reference, self._called(level - 1), f"kept_{level}"))
                inner: sa.Select[Any] = (
                    sa.select(sa.literal_column("1")).select_from(target).where(refers, made)
                )
                made = sa.exists(inner.correlate_except(target))
            else:
                ours = [source.c[column] for column in reference.columns]
                theirs = sa.select(*(target.c[column] for column in reference.to_columns)).where(made)
                left: Any = ours[0] if len(ours) == 1 else sa.tuple_(*ours)
                made = left.in_(theirs.correlate(None))
        return made

    def _alike(self, reference: Reference) -> bool:
        """Whether both ends compare as they are; otherwise they compare as text."""
        own, other = self.store.shape(reference.table).columns, self.store.shape(reference.to).columns
        pairs = zip(reference.columns, reference.to_columns, strict=True)
        return all(own[ours].sort == other[theirs].sort for ours, theirs in pairs)

    def _called(self, level: int) -> str:
        return self.say.name(self.expiry.table) if level < 0 else f"kept_{level}"

    def remaining(self) -> list[sa.ColumnElement[bool]]:
        """That a row isn't blank yet, and that nothing which stays hangs on it."""
        made: list[sa.ColumnElement[bool]] = []
        if self.expiry.then == "blank":
            filled = [blank(self.store, self.shape, c, self.table).filled for c in self.expiry.blank_columns]
            made.append(sa.or_(sa.false(), *filled))
        for i, reference in enumerate(self.expiry.unless_referenced_by):
            child = self.store.table(reference.table).alias(f"kept_child_{i}")
            refers = sa.text(self.say.refers(reference, f"kept_child_{i}", self._called(-1)))
            inner: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(child).where(refers)
            made.append(sa.not_(sa.exists(inner.correlate_except(child))))
        made += [sa.not_(self._held(hold, number)) for number, hold in enumerate(self.expiry.unless_held)]
        return made

    def _held(self, hold: Hold, number: int) -> sa.ColumnElement[bool]:
        """That a hold on this table still runs: its clock hasn't started, can't be found, or hasn't passed."""
        format = self.hold_formats[number]
        if hold.clock is None or hold.cutoff is None or format is None:
            return sa.true()
        aliases = [self.store.table(r.to).alias(f"kept_hold_{number}_{i}") for i, r in enumerate(hold.path)]
        clock = (aliases[-1] if aliases else self.table).c[hold.clock]
        over: sa.ColumnElement[bool] = sa.and_(
            clocks.readable(format, clock), clock < value(clocks.bound(format, hold.cutoff))
        )
        for i in range(len(hold.path) - 1, -1, -1):
            source = f"kept_hold_{number}_{i - 1}" if i else self._called(-1)
            refers = sa.text(self.say.refers(hold.path[i], source, f"kept_hold_{number}_{i}"))
            inner: sa.Select[Any] = (
                sa.select(sa.literal_column("1")).select_from(aliases[i]).where(refers, over)
            )
            over = sa.exists(inner.correlate_except(aliases[i]))
        return sa.not_(sa.func.coalesce(over, sa.false()))

    def holds(self) -> sa.ColumnElement[bool]:
        """That a row is to be taken."""
        return sa.and_(self.reached(self.expired(), listed=False), *self.remaining())

    # The statements.

    def counts(self) -> sa.Select[tuple[int, Any, int]]:
        """One row: how many are past, the oldest clock, how many can't be read."""
        unread = sa.and_(self.reached(self.unreadable(), listed=False), *self.remaining())
        counted = sa.select(sa.func.count()).select_from(self.table).where(unread)
        unreadable = counted.correlate(None).scalar_subquery()
        if not self.expiry.path:
            past = sa.select(sa.func.count(), sa.func.min(self.clock), unreadable).select_from(self.table)
            return past.where(self.holds())
        # the oldest clock that some row which is past leads to, found from the clocks' side
        counted = sa.select(sa.func.count()).select_from(self.table).where(self.holds())
        rows = counted.correlate(None).scalar_subquery()
        refers = [
            sa.text(self.say.refers(reference, self._called(level - 1), f"kept_{level}"))
            for level, reference in enumerate(self.expiry.path)
        ]
        here: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(self.table, *self.aliases[:-1])
        some = sa.exists(here.where(*refers, *self.remaining()).correlate(self.aliases[-1]))
        oldest = sa.select(sa.func.min(self.clock)).select_from(self.aliases[-1]).where(self.expired(), some)
        return sa.select(rows, oldest.scalar_subquery(), unreadable)

    def take(self, connection: Connection, window: Window) -> int:
        """Delete or blank the rows of a window; how many."""
        past = self.reached(self.expired(window), listed=window.listed)
        chosen = sa.and_(window.within, past, *self.remaining())
        if self.expiry.then == "blank":
            made = {column: blank(self.store, self.shape, column) for column in self.expiry.blank_columns}
            if not made:
                return 0
            # a row's columns that are blank already keep what they hold: a token isn't drawn twice
            sets = {
                column: sa.case((found.filled, found.to), else_=self.table.c[column])
                for column, found in made.items()
            }
            return connection.execute(sa.update(self.table).values(sets).where(chosen)).rowcount
        for reference in (*self.expiry.remove_first, *self.expiry.unlink):
            child = self.store.table(reference.table)
            refers = sa.text(self.say.refers(reference, self.say.name(reference.table), self._called(-1)))
            inner: sa.Select[Any] = (
                sa.select(sa.literal_column("1")).select_from(self.table).where(refers, chosen)
            )
            hanging = (
                self._hanging(reference, child, chosen)
                if self._simple(reference)
                else sa.exists(inner.correlate(child))
            )
            if reference in self.expiry.remove_first:
                connection.execute(sa.delete(child).where(hanging))
            else:
                connection.execute(
                    sa.update(child).values(dict.fromkeys(self._cut(reference))).where(hanging)
                )
        return connection.execute(sa.delete(self.table).where(chosen)).rowcount

    def _simple(self, reference: Reference) -> bool:
        return not reference.path and reference.when is None and self._alike(reference)

    def _hanging(
        self, reference: Reference, child: sa.TableClause, chosen: sa.ColumnElement[bool]
    ) -> sa.ColumnElement[bool]:
        """That a row of another table refers to a row of the window, found from the window's side."""
        ours = [child.c[column] for column in reference.columns]
        theirs = sa.select(*(self.table.c[column] for column in reference.to_columns)).where(chosen)
        left: Any = ours[0] if len(ours) == 1 else sa.tuple_(*ours)
        made: sa.ColumnElement[bool] = left.in_(theirs.correlate(None))
        return made

    def _cut(self, reference: Reference) -> list[str]:
        """The columns to set NULL so that rows no longer refer."""
        shape: Table = self.store.shape(reference.table)
        can = [c for c in reference.columns if shape.columns[c].nullable and c not in shape.key]
        if not can or reference.path:
            raise TerminalError(
                f"{reference} can't be cut: {reference.table}.{reference.columns[0]} must not be null",
                help="allow NULL in the column, or let the rows that refer go first",
                where=self.store.name,
            )
        return can
