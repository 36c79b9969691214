"""Rows past their limit: counted exactly, and taken away in short transactions.

`kept.stores.due` says what an `Expiry` is. `overdue` counts its rows in one query; `expire` deletes them, or empties
columns of theirs, window by window, so that nobody waits for a long lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from kept.errors import TerminalError
from kept.stores import clocks
from kept.stores.blanks import blank
from kept.stores.clauses import Clauses
from kept.stores.conditions import condition, value
from kept.stores.due import Expiry, Held, Only, Overdue
from kept.stores.schema import Reference, Table
from kept.stores.sql import SQLStore
from kept.stores.windows import Cursor, Window, windows

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
        return Overdue(rows, found, unreadable, unstarted)


def overdue_together(store: SQLStore, expiries: Sequence[Expiry]) -> int:
    """How many rows of one table the expiries would take between them, by whatever clocks, each counted once."""
    with store.read() as connection:
        made = [Past(store, connection, expiry) for expiry in expiries]
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
            for hold in (held.hold for held in expiry.unless_held)
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
        return sa.and_(clock < self.bound, told)

    def unreadable(self) -> sa.ColumnElement[bool]:
        found = self.clock
        if self.format.writing in ("instant", "wall", "date"):
            strange: sa.ColumnElement[bool] = found.in_([value("infinity"), value("-infinity")])
        else:
            filled = sa.and_(found.is_not(None), sa.cast(found, sa.Text) != "")
            strange = sa.and_(filled, sa.not_(clocks.readable(self.format, found)))
        return strange

    def unstarted(self) -> sa.ColumnElement[bool]:
        """That a row leads to no clock, or to an empty one that should have started, or to nobody a test is about."""
        expiry = self.expiry
        started: sa.ColumnElement[bool] = sa.true()
        shape = self.store.shape(expiry.clock_table).columns[expiry.clock_column]
        if expiry.always and shape.sort in ("time", "date") and self.store.dialect != "sqlite":
            started = self.clock.is_not(None)
        elif expiry.always:
            started = sa.and_(self.clock.is_not(None), sa.cast(self.clock, sa.Text) != "")
        none = [
            sa.and_(sa.not_(sa.func.coalesce(self.reached(started, listed=False), sa.false())), *self.meant())
        ]
        none += [
            sa.not_(self._leads(only.path, lambda found: sa.true(), f"kept_who_{i}"))
            for i, only in enumerate(expiry.only)
            if only.path
        ]
        return sa.or_(*none)

    def meant(self) -> list[sa.ColumnElement[bool]]:
        """That a row meets the tests."""
        return self._meets(self.expiry.only, "kept_only")

    def _meets(self, tests: Sequence[Only], called: str) -> list[sa.ColumnElement[bool]]:
        today = self.expiry.today or self.expiry.cutoff.date()

        def met(only: Only, found: sa.FromClause) -> sa.ColumnElement[bool]:
            shape = self.store.shape(only.path[-1].to if only.path else self.expiry.table)
            return condition(only.when, found, shape, today=today, born=only.born)

        return [self._leads(only.path, partial(met, only), f"{called}_{i}") for i, only in enumerate(tests)]

    def _leads(
        self,
        path: tuple[Reference, ...],
        so: Callable[[sa.FromClause], sa.ColumnElement[bool]],
        called: str,
    ) -> sa.ColumnElement[bool]:
        """That a row leads along a path to a row which is `so`."""
        aliases = [self.store.table(r.to).alias(f"{called}_{i}") for i, r in enumerate(path)]
        made = so(aliases[-1] if aliases else self.table)
        for i in range(len(path) - 1, -1, -1):
            source = f"{called}_{i - 1}" if i else self._called(-1)
            refers = sa.text(self.say.refers(path[i], source, f"{called}_{i}"))
            inner: sa.Select[Any] = (
                sa.select(sa.literal_column("1")).select_from(aliases[i]).where(refers, made)
            )
            made = sa.exists(inner.correlate_except(aliases[i]))
        return made

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
        made += [sa.not_(self._held(held, number)) for number, held in enumerate(self.expiry.unless_held)]
        return made

    def _held(self, held: Held, number: int) -> sa.ColumnElement[bool]:
        """That a hold on this table still runs: its clock hasn't started, can't be found, or hasn't passed."""
        hold, format = held.hold, self.hold_formats[number]
        meets = [sa.func.coalesce(one, sa.false()) for one in self._meets(held.only, f"kept_held_{number}")]
        if hold.clock is None or hold.cutoff is None or format is None:
            return sa.and_(sa.true(), *meets)
        column, bound = hold.clock, value(clocks.bound(format, hold.cutoff))

        def over(found: sa.FromClause) -> sa.ColumnElement[bool]:
            return sa.and_(clocks.readable(format, found.c[column]), found.c[column] < bound)

        passed = self._leads(hold.path, over, f"kept_hold_{number}")
        return sa.and_(sa.not_(sa.func.coalesce(passed, sa.false())), *meets)

    def holds(self) -> sa.ColumnElement[bool]:
        """That a row is to be taken."""
        return sa.and_(self.reached(self.expired(), listed=False), *self.meant(), *self.remaining())

    # The statements.

    def counts(self, *others: sa.ColumnElement[bool]) -> sa.Select[tuple[int, Any, int, int]]:
        """One row: how many are past, the oldest clock, how many can't be read, how many have none.

        Counted are rows for which what remains, or one of `others`, is so.
        """
        left = [*self.meant(), *self.remaining()]
        if others:
            left = [*self.meant(), sa.or_(sa.and_(sa.true(), *self.remaining()), *others)]

        def counted(*so: sa.ColumnElement[bool]) -> Any:
            return (
                sa.select(sa.func.count())
                .select_from(self.table)
                .where(*so)
                .correlate(None)
                .scalar_subquery()
            )

        unreadable = counted(self.reached(self.unreadable(), listed=False), *left)
        unstarted = counted(self.unstarted(), *left[len(self.meant()) :])
        holds = (self.reached(self.expired(), listed=False), *left)
        if not self.expiry.path:
            past = sa.select(sa.func.count(), sa.func.min(self.clock), unreadable, unstarted)
            return past.select_from(self.table).where(*holds)
        # the oldest clock that some row which is past leads to, found from the clocks' side
        refers = [
            sa.text(self.say.refers(reference, self._called(level - 1), f"kept_{level}"))
            for level, reference in enumerate(self.expiry.path)
        ]
        here: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(self.table, *self.aliases[:-1])
        some = sa.exists(here.where(*refers, *left).correlate(self.aliases[-1]))
        oldest = sa.select(sa.func.min(self.clock)).select_from(self.aliases[-1]).where(self.expired(), some)
        return sa.select(counted(*holds), oldest.scalar_subquery(), unreadable, unstarted)

    def take(self, connection: Connection, window: Window) -> int:
        """Delete or blank the rows of a window; how many."""
        past = self.reached(self.expired(window), listed=window.listed)
        chosen = sa.and_(window.within, past, *self.meant(), *self.remaining())
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
