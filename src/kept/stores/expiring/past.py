"""The SQL of one expiry: which rows are past, which stay all the same, and the statements that take them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from kept.errors import TerminalError
from kept.stores.clauses import Clauses
from kept.stores.conditions import condition, value
from kept.stores.erasing.blanks import blank
from kept.stores.expiring import clocks
from kept.stores.expiring.due import Expiry, Held, Only
from kept.stores.expiring.spare import leads_to
from kept.stores.expiring.windows import Window
from kept.stores.schema import Reference, Table
from kept.stores.sql import SQLStore
from kept.stores.walk import Last


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
            clocks.format_seen(store, connection, hold.clock_table, hold.clock)
            if hold.clock is not None and hold.cutoff is not None
            else None
            for hold in (held.hold for held in expiry.unless_held)
        ]
        self.bound = value(clocks.bound(self.format, expiry.cutoff))
        self.aliases = [
            store.table(reference.to).alias(f"kept_{i}") for i, reference in enumerate(expiry.path)
        ]
        self.own = not expiry.path and expiry.last is None
        source: sa.FromClause = self.aliases[-1] if self.aliases else self.table
        if expiry.last is not None:
            source = store.table(expiry.last.table).alias("kept_link")
        self.clock = source.c[expiry.clock_column]
        self.least: str | None = None

    def compare_only(self, connection: Connection) -> None:
        """Where all clocks before the cut-off can be read, spare looking at each one again."""
        expiry = self.expiry
        if self.own:
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
        if window is not None and self.store.dialect == "sqlite" and self.own:
            clock = sa.literal_column(f"+{self.say.column(self._called(-1), self.expiry.clock_column)}")
        if self.least is None:
            told = clocks.readable(self.format, clock)
        else:
            told = clock >= value(self.least)
        return sa.and_(clock < self.bound, told)

    def past(self, window: Window | None = None, *, listed: bool = False) -> sa.ColumnElement[bool]:
        """That a row's clock is past; of the links of its people one at least, and none that isn't."""
        last = self.expiry.last
        if last is None:
            return self.reached(self.expired(window), listed=listed)
        some = self._linked(last, self._is_expired, "kept_some")
        others = self._linked(last, lambda link: sa.not_(self._is_expired(link)), "kept_others")
        known = [
            self._leads(path, partial(self._known, last), f"kept_known_{i}")
            for i, path in enumerate(last.paths)
            if last.known_by
        ]
        return sa.and_(some, sa.not_(others), *(sa.not_(one) for one in known))

    def _known(self, last: Last, person: sa.FromClause) -> sa.ColumnElement[bool]:
        """That a person's own row still says who they are."""
        shape = self.store.shape(last.ends[0].to)
        filled = (blank(self.store, shape, column, person).filled for column in last.known_by)
        return sa.func.coalesce(sa.or_(*filled), sa.false())

    def _is_expired(self, link: sa.FromClause) -> sa.ColumnElement[bool]:
        clock = link.c[self.expiry.clock_column]
        return sa.func.coalesce(sa.and_(clock < self.bound, clocks.readable(self.format, clock)), sa.false())

    def _linked(
        self, last: Last, so: Callable[[sa.FromClause], sa.ColumnElement[bool]], called: str
    ) -> sa.ColumnElement[bool]:
        """That some link of a row's people is `so`."""
        ways = []
        for i, path in enumerate(last.paths):
            for j, end in enumerate(last.ends):
                name = f"{called}_{i}_{j}"
                at = f"{name}_{len(path) - 1}" if path else self._called(-1)
                link = self.store.table(last.table).alias(f"{name}_link")
                met = self._link(last, end, link, f"{name}_link", at).where(so(link))
                ways.append(self._leads(path, partial(_exists, met, link), name))
        return sa.or_(*ways)

    def _link(self, last: Last, end: Reference, link: sa.FromClause, name: str, at: str) -> sa.Select[Any]:
        """Links, called `name`, that refer along an end to a row `at`."""
        chosen: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(link)
        chosen = chosen.where(sa.text(self.say.refers(end, name, at)))
        if last.when is None:
            return chosen
        today = self.expiry.today or self.expiry.cutoff.date()
        return chosen.where(condition(last.when, link, self.store.shape(last.table), today=today))

    def not_readable(self) -> sa.ColumnElement[bool]:
        """That a row leads to a clock that holds what is no time."""
        last, column = self.expiry.last, self.expiry.clock_column
        if last is None:
            return self.reached(self.unreadable(self.clock), listed=False)
        return self._linked(last, lambda link: self.unreadable(link.c[column]), "kept_strange")

    def unreadable(self, found: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        if self.format.writing in ("instant", "wall", "date"):
            strange: sa.ColumnElement[bool] = found.in_([value("infinity"), value("-infinity")])
        else:
            filled = sa.and_(found.is_not(None), sa.cast(found, sa.Text) != "")
            strange = sa.and_(filled, sa.not_(clocks.readable(self.format, found)))
        return strange

    def unstarted(self) -> sa.ColumnElement[bool]:
        """That a row leads to no clock, or to an empty one that should have started, or to nobody a test is about."""
        expiry, column = self.expiry, self.expiry.clock_column
        if expiry.last is None:
            lost = sa.not_(
                sa.func.coalesce(self.reached(self._started(self.clock), listed=False), sa.false())
            )
        elif expiry.always:
            lost = self._linked(expiry.last, lambda link: sa.not_(self._started(link.c[column])), "kept_idle")
        else:
            lost = sa.false()  # people without such a link have nothing to count from
        none = [sa.and_(lost, *self.meant())]
        none += [
            sa.not_(self._leads(only.path, lambda found: sa.true(), f"kept_who_{i}"))
            for i, only in enumerate(expiry.only)
            if only.path
        ]
        return sa.or_(*none)

    def _started(self, clock: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        """That a clock which should have started has."""
        expiry = self.expiry
        if not expiry.always:
            return sa.true()
        shape = self.store.shape(expiry.clock_table).columns[expiry.clock_column]
        if shape.sort in ("time", "date") and self.store.dialect != "sqlite":
            return clock.is_not(None)
        return sa.and_(clock.is_not(None), sa.cast(clock, sa.Text) != "")

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
        """That a row isn't blank yet, that nothing which stays hangs on it, and that it is nobody's who is spared."""
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
        made += [
            sa.not_(leads_to(self.say, self.expiry.table, self._called(-1), spared, number))
            for number, spared in enumerate(self.expiry.spared)
        ]
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

        if hold.last is not None:
            running = self._linked(
                hold.last,
                lambda link: sa.not_(sa.func.coalesce(over(link), sa.false())),
                f"kept_last_{number}",
            )
            if hold.last.awaited:
                none = self._linked(hold.last, lambda link: sa.true(), f"kept_any_{number}")
                running = sa.or_(running, sa.not_(none))
            return sa.and_(running, *meets)
        passed = self._leads(hold.path, over, f"kept_hold_{number}")
        return sa.and_(sa.not_(sa.func.coalesce(passed, sa.false())), *meets)

    def holds(self) -> sa.ColumnElement[bool]:
        """That a row is to be taken."""
        return sa.and_(self.past(), *self.meant(), *self.remaining())

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

        unreadable = counted(self.not_readable(), *left)
        unstarted = counted(self.unstarted(), *left[len(self.meant()) :])
        holds = (self.past(), *left)
        if self.own:
            past = sa.select(sa.func.count(), sa.func.min(self.clock), unreadable, unstarted)
            return past.select_from(self.table).where(*holds)
        return sa.select(counted(*holds), self._oldest(left).scalar_subquery(), unreadable, unstarted)

    def _oldest(self, left: Sequence[sa.ColumnElement[bool]]) -> sa.Select[Any]:
        """The oldest clock that some row which is past leads to, found from the clocks' side.

        Of the links of a row's people it is the oldest, not the last.
        """
        last = self.expiry.last
        if last is None:
            made = self._clocked(self.expiry.path, self.aliases, sa.and_(sa.true(), *left))
            return (
                sa.select(sa.func.min(self.clock)).select_from(self.aliases[-1]).where(self.expired(), made)
            )
        link = self.store.table(last.table).alias("kept_link")
        ways: list[sa.ColumnElement[bool]] = []
        rows = sa.and_(self.past(), *left)
        for path in last.paths:
            aliases = [self.store.table(r.to).alias(f"kept_{i}") for i, r in enumerate(path)]
            for end in last.ends:
                at: sa.FromClause = aliases[-1] if aliases else self.table
                called = f"kept_{len(path) - 1}" if path else self._called(-1)
                made = self._clocked(path, aliases, rows) if path else rows
                tied = sa.text(self.say.refers(end, "kept_link", called))
                inner: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(at).where(tied, made)
                ways.append(sa.exists(inner.correlate_except(at)))
        oldest = sa.select(sa.func.min(link.c[self.expiry.clock_column])).select_from(link)
        return oldest.where(self._is_expired(link), sa.or_(*ways))

    def _clocked(
        self, path: Sequence[Reference], aliases: Sequence[sa.FromClause], rows: sa.ColumnElement[bool]
    ) -> sa.ColumnElement[bool]:
        """That some row for which `rows` is true leads along a path to the row of its last alias."""
        made = rows
        for level, reference in enumerate(path):
            source: sa.FromClause = aliases[level - 1] if level else self.table
            refers = sa.text(self.say.refers(reference, self._called(level - 1), f"kept_{level}"))
            inner: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(source).where(refers, made)
            made = sa.exists(inner.correlate_except(source))
        return made

    def take(self, connection: Connection, window: Window) -> int:
        """Delete or blank the rows of a window; how many."""
        past = self.past(window, listed=window.listed)
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


def _exists(chosen: sa.Select[Any], link: sa.FromClause, _: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.exists(chosen.correlate_except(link))
