"""Sets the end of people in their own rows: of some who are named, or of everybody whose ties are all over.

An end is set only where there is none yet, in as many statements however many people it is, and written as the
column's other clocks are.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from kept.errors import TerminalError, TransientError
from kept.stores.clauses import Clauses, written
from kept.stores.conditions import condition, value
from kept.stores.ending import By, Ended, Ending, Hindrance, Standing, Tie, Upon
from kept.stores.expiring import clocks
from kept.stores.expiring.clocks import ClockFormat
from kept.stores.sql import SQLStore
from kept.stores.walk import Key

_FOUND = "kept_found"
_OFFSET = re.compile(r".{19}(?:\.\d+)?(Z|\+00:00)?")


def end(
    store: SQLStore,
    ending: Ending,
    at: datetime,
    before_commit: Callable[[list[Ended]], None],
    *,
    whos: Sequence[Key] | None = None,
    noted: Sequence[Key] = (),
) -> list[Ended]:
    """Set the end of everybody it is due for (of `whos`, where given) to `at`, to the second; in one transaction.

    `before_commit` is called with everybody it was set for, before COMMIT. `noted` are the people an earlier call was
    about to set the same end for and may have been cut off from: those it was set for are answered again.
    """
    with store.write() as connection:
        found = _Statement(store, connection, ending, at)
        again = found.set_before(noted) if noted else []
        done = [*again, *(found.set_found(whos) if found.say.mariadb else found.set(whos))]
        before_commit(done)
    return done


def due(store: SQLStore, ending: Ending, at: datetime) -> int:
    """How many people it would be set for now; changes nothing."""
    with store.read() as connection:
        return _Statement(store, connection, ending, at).count()


def hindrances(
    store: SQLStore, ending: Ending, at: datetime, whos: Sequence[Key]
) -> dict[tuple[str, ...], Hindrance]:
    """Why the end can't be set for some of these people, by their keys as they stand in their rows."""
    with store.read() as connection:
        return _Statement(store, connection, ending, at).hindered(whos)


def standing(
    store: SQLStore, ending: Ending, moments: Mapping[datetime, int], since: datetime, now: datetime
) -> Standing:
    """People with an end, whichever; those whose end is one of `moments`, to the second, are known, as far as it says
    that so many ended then. (What tells days alone can't tell who ended on the same day by somebody else's hand.)

    With `upon` only people tied to somebody whose clock has passed are counted.
    """
    with store.read() as connection:
        return _Statement(store, connection, ending, now).standing(moments, since)


def unreadable(store: SQLStore, ending: Ending, at: datetime) -> int:
    """How many clocks of `upon` and of its ties are filled and hold no time: nobody can say whether they passed."""
    with store.read() as connection:
        return _Statement(store, connection, ending, at).unreadable()


class _Statement:
    """The SQL of one ending, against the schema as it is."""

    def __init__(self, store: SQLStore, connection: sa.Connection, ending: Ending, at: datetime) -> None:
        self.store, self.connection, self.ending = store, connection, ending
        self.at = at.replace(microsecond=0)
        self.say = Clauses(store, store.schema().tables)
        self.shape = store.shape(ending.table)
        if self.shape.is_view:
            raise TerminalError(f"{ending.table} is a view, and can't be written to", where=store.name)
        self.table = store.table(ending.table)
        self.clock = self.table.c[ending.column]
        self.format, self.offset = _writing(store, connection, ending)

    # What is done.

    def set(self, whos: Sequence[Key] | None) -> list[Ended]:
        changed = sa.update(self.table).where(*self.due(whos)).values(self.changes())
        return self._ended(self.connection.execute(changed.returning(*self.columns())))

    def set_found(self, whos: Sequence[Key] | None) -> list[Ended]:
        """The same in MariaDB, where an UPDATE answers nothing and can't ask the table it changes.

        Who is due is read without a lock; their rows alone are then locked, looked at again, and changed.
        """
        key = self.say.keys(self.ending.table, self._people())
        shaped = f"SELECT {key} FROM {self._people()} LIMIT 0"
        self.say.run(self.connection, f"CREATE TEMPORARY TABLE {_FOUND} AS {shaped}")
        names = [f"k{i}" for i in range(len(self.shape.key))]
        found = sa.table(_FOUND, *map(sa.column, names))
        columns = [self.table.c[column] for column in self.shape.key]
        chosen = sa.select(*columns).where(*self.due(whos))
        self.connection.execute(sa.insert(found).from_select(names, chosen))
        same = sa.and_(*(a == found.c[b] for a, b in zip(columns, names, strict=True)))
        still = [self.empty(self.table, self.ending.table, self.ending.column), *self.tests()]
        locked = sa.select(*self.columns()).prefix_with("STRAIGHT_JOIN")
        locked = locked.select_from(found.join(self.table, same)).where(*still).with_for_update()
        done = self._ended(self.connection.execute(locked))
        changed = self.connection.execute(sa.update(self.table).where(same, *still).values(self.changes()))
        if changed.rowcount != len(done):
            raise TransientError(
                f"rows of {self.ending.table} were changed by somebody else meanwhile",
                help="nothing was changed: try again",
                where=self.store.name,
            )
        return done

    def set_before(self, noted: Sequence[Key]) -> list[Ended]:
        """Who of those has this very end; waits for whoever is still about to set it.

        A process that was killed may have sent a COMMIT which the server has yet to carry out.
        """
        same = sa.case((self.clock == value(self.moment(self.at)), 1), else_=0)
        found = sa.select(same, *self.columns()).where(self.among(noted))
        found = found.with_for_update(key_share=True)  # who only refers to them needn't wait
        return self._ended(row[1:] for row in self.connection.execute(found) if row[0])

    def changes(self) -> dict[str, sa.BindParameter[Any]]:
        return {self.ending.column: value(self.moment(self.at))}

    def due(self, whos: Sequence[Key] | None = None) -> list[sa.ColumnElement[bool]]:
        """That a person's end is to be set now (and they are one of these)."""
        conditions = [self.empty(self.table, self.ending.table, self.ending.column), *self.meant()]
        return conditions if whos is None else [*conditions, self.among(whos)]

    def count(self) -> int:
        counted = sa.select(sa.func.count()).select_from(self.table).where(*self.due())
        return int(self.connection.execute(counted).scalar_one())

    def hindered(self, whos: Sequence[Key]) -> dict[tuple[str, ...], Hindrance]:
        empty = self.empty(self.table, self.ending.table, self.ending.column)
        meant = sa.and_(sa.true(), *self.meant())
        keys = [self.table.c[column] for column in self.ending.key]
        chosen = sa.select(sa.case((empty, 1), else_=0), sa.case((meant, 1), else_=0), *keys)
        found: dict[tuple[str, ...], Hindrance] = {tuple(map(written, who)): "gone" for who in whos}
        for is_empty, is_meant, *key in self.connection.execute(chosen.where(self.among(whos))):
            who = tuple(map(written, key))
            found.pop(who, None)
            if not is_empty or not is_meant:
                found[who] = "not meant" if is_empty else "ended already"
        return found

    def standing(self, moments: Mapping[datetime, int], since: datetime) -> Standing:
        filled = sa.not_(self.empty(self.table, self.ending.table, self.ending.column))
        known = self.one_of(list(moments))
        unknown = sa.not_(known)
        announced, later = self._from(self.at + timedelta(seconds=1)), self._from(since)
        conditions = [filled, *self.tests()]
        if self.ending.upon is not None:
            conditions.append(self.tied_to_over(self.ending.upon))
        counted = sa.select(
            sa.func.count(),
            _number(unknown, later, sa.not_(announced)),
            _number(unknown, sa.not_(later), sa.not_(announced)),
            _number(unknown, announced),
        ).select_from(self.table)
        found = Standing(*map(int, self.connection.execute(counted.where(*conditions)).one()))
        at_them = sa.select(self.clock, sa.func.count()).where(*conditions, known)
        recorded = Counter[Any]()
        for at, number in moments.items():
            recorded[self.moment(at.replace(microsecond=0))] += number
        begin, more = clocks.bound(self.format, since), Counter[bool]()
        for at, number in self.connection.execute(at_them.group_by(self.clock)):
            more[at >= begin] += max(0, number - recorded[at])
        return replace(found, since=found.since + more[True], before=found.before + more[False])

    def _from(self, at: datetime) -> sa.ColumnElement[bool]:
        """That the clock stands at a time or after it, and can be read."""
        later = self.clock >= value(clocks.bound(self.format, at))
        return sa.func.coalesce(sa.and_(clocks.readable(self.format, self.clock), later), sa.false())

    def unreadable(self) -> int:
        upon = self.ending.upon
        if upon is None:
            return 0
        asked = [(tie.other.to, upon.clock) for tie in upon.ties]
        asked += [(tie.table, tie.ended) for tie in upon.ties if tie.ended is not None]
        found = 0
        for table, column in dict.fromkeys(asked):
            source = self.store.table(table)
            format = clocks.format_seen(self.store, self.connection, table, column)
            strange = sa.and_(
                sa.not_(self.empty(source, table, column)),
                sa.not_(clocks.readable(format, source.c[column])),
            )
            counted = sa.select(sa.func.count()).select_from(source).where(strange)
            found += int(self.connection.execute(counted).scalar_one())
        return found

    def columns(self) -> list[sa.ColumnElement[Any]]:
        keys = [self.table.c[column] for column in self.ending.key]
        address = self.ending.address
        return [*keys, self.table.c[address] if address is not None else sa.null()]

    def _ended(self, rows: Iterable[Sequence[Any]]) -> list[Ended]:
        return [Ended(tuple(map(written, key)), str(address) if address else None) for *key, address in rows]

    # Times.

    def moment(self, at: datetime) -> Any:
        """A time as the column writes it."""
        writing = self.format.writing
        if writing in ("date", "day", "text-date"):
            at = at.replace(hour=0, minute=0, second=0, microsecond=0)
        told = clocks.bound(self.format, at)
        return f"{told}{self.offset}" if writing in ("text-space", "text-t") else told

    def one_of(self, moments: Sequence[datetime]) -> sa.ColumnElement[bool]:
        """That the clock, which is filled, is one of these; one bound value, however many."""
        given = list(dict.fromkeys(self.moment(at.replace(microsecond=0)) for at in moments))
        if not given:
            return sa.false()
        here = self.say.column(self._people(), self.ending.column)
        if self.say.one_statement:
            return sa.type_coerce(_text(f"{here} = ANY(:moments)", moments=given), sa.Boolean)
        held = "SELECT value FROM json_each(:moments)"
        if self.say.mariadb:
            kind = "DATE" if self.format.writing == "day" else "DATETIME"
            held = f"SELECT v FROM JSON_TABLE(:moments, '$[*]' COLUMNS (v {kind} PATH '$')) AS j"
        found = _text(f"{here} IN ({held})", moments=json.dumps(given, default=str))
        return sa.type_coerce(found, sa.Boolean)

    # Conditions.

    def empty(self, source: sa.FromClause, table: str, column: str) -> sa.ColumnElement[bool]:
        """That a clock hasn't started; `0000-00-00`, which MariaDB's IS NULL finds too, is no time and no emptiness."""
        found = source.c[column]
        if self.say.mariadb:
            return found.is_not_distinct_from(None)
        texts = self.store.dialect == "sqlite" or self.store.shape(table).columns[column].sort == "text"
        return sa.or_(found.is_(None), found == value("")) if texts else found.is_(None)

    def passed(
        self, source: sa.FromClause, table: str, column: str, cutoff: datetime
    ) -> sa.ColumnElement[bool]:
        """That a clock stands before a time, and can be read."""
        format = clocks.format_seen(self.store, self.connection, table, column)
        found = source.c[column]
        before = sa.and_(found < value(clocks.bound(format, cutoff)), clocks.readable(format, found))
        return sa.func.coalesce(before, sa.false())

    def among(self, whos: Sequence[Key]) -> sa.ColumnElement[bool]:
        """That a person is one of these; a key that the column can't hold is nobody's."""
        shapes = [self.shape.columns[column] for column in self.ending.key]
        people = self._people()
        columns = ", ".join(self.say.column(people, column) for column in self.ending.key)
        values = ", ".join(f"j.v{i}" for i in range(len(shapes)))
        keys = f"({columns}) IN (SELECT {values} FROM {self.say.unpacked(shapes)})"
        return _text(keys, **self.say.given(shapes, list(enumerate(map(tuple, whos)))))

    def tests(self) -> list[sa.ColumnElement[bool]]:
        """That a person is of the kinds meant."""
        ending = self.ending
        today = self.at.date()
        return [
            condition(test, self.table, self.shape, today=today, born=ending.born) for test in ending.only
        ]

    def meant(self) -> list[sa.ColumnElement[bool]]:
        """That a person's end is to be set, if they have none."""
        found, by, upon = self.tests(), self.ending.by, self.ending.upon
        if by is not None:
            found.append(sa.or_(*(self._tied_by(tie, by) for tie in by.ties)))
        if upon is not None:
            found.append(self.tied_to_over(upon))
            found += [sa.not_(self._tied(tie, upon, over=False)) for tie in upon.ties]
        return found

    def tied_to_over(self, upon: Upon) -> sa.ColumnElement[bool]:
        """That a person is tied to somebody whose clock has passed."""
        return sa.or_(*(self._tied(tie, upon, over=True) for tie in upon.ties))

    def _tied(self, tie: Tie, upon: Upon, *, over: bool) -> sa.ColumnElement[bool]:
        row, other = (
            self.store.table(tie.table).alias("kept_tie"),
            self.store.table(tie.other.to).alias("kept_other"),
        )
        passed = self.passed(other, tie.other.to, upon.clock, upon.cutoff)
        return self._row(tie, row, other, [passed if over else sa.not_(passed)], strict=over)

    def _tied_by(self, tie: Tie, by: By) -> sa.ColumnElement[bool]:
        row, other = (
            self.store.table(tie.table).alias("kept_tie"),
            self.store.table(tie.other.to).alias("kept_other"),
        )
        [column] = tie.other.to_columns
        # letter by letter, whatever the column's collation
        held = self.say.text(self.say.column("kept_other", column))
        conditions = [_text(f"{held} = :decider", decider=by.key)]
        if by.ended is not None:
            conditions.append(self.empty(other, tie.other.to, by.ended))
        return self._row(tie, row, other, conditions, strict=True)

    def _row(
        self,
        tie: Tie,
        row: sa.FromClause,
        other: sa.FromClause,
        conditions: list[sa.ColumnElement[bool]],
        *,
        strict: bool,
    ) -> sa.ColumnElement[bool]:
        """That there is a row which ties a person to somebody; `strict`: one that meets the tie's test."""
        met = [_text(self.say.refers(tie.person, "kept_tie", self._people())), *conditions]
        if strict and tie.when is not None:
            shape = self.store.shape(tie.table)
            met.append(condition(tie.when, row, shape, today=self.at.date()))
        if tie.ended is not None:
            met.append(sa.not_(self.passed(row, tie.table, tie.ended, self.at)))
        joined = row.join(other, _text(self.say.refers(tie.other, "kept_tie", "kept_other")))
        return sa.exists(sa.select(sa.literal_column("1")).select_from(joined).where(*met))

    def _people(self) -> str:
        return self.say.name(self.ending.table)


def _number(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    """How many rows meet all of these."""
    one: sa.ColumnElement[int] = sa.literal_column("1")
    none: sa.ColumnElement[int] = sa.literal_column("0")
    return sa.func.coalesce(sa.func.sum(sa.case((sa.and_(*conditions), one), else_=none)), none)


def _text(written: str, **values: object) -> sa.ColumnElement[bool]:
    """A condition written as text."""
    return sa.text(written).bindparams(**values).self_group()  # type: ignore[return-value]  # as good as one in a WHERE


def _writing(store: SQLStore, connection: sa.Connection, ending: Ending) -> tuple[ClockFormat, str]:
    """How the column writes a time, and the offset its texts end with.

    Without any value it is written as `like` is, where both are declared alike, else as the declared type suggests.
    """
    column = ending.column
    shape = store.shape(ending.table).columns.get(column)
    if shape is None:
        raise TerminalError(f"there is no column {ending.table}.{column}", where=store.name)
    sample = _sample(store, connection, ending.table, column)
    if sample is None and ending.like is not None and store.dialect == "sqlite":
        other = store.shape(ending.table).columns.get(ending.like)
        if other is not None and other.type.casefold() == shape.type.casefold():
            sample = _sample(store, connection, ending.table, ending.like)
            column = ending.like if sample is not None else column
    if sample is None and store.dialect == "sqlite" and shape.sort == "other":
        return ClockFormat("text-space"), ""
    format = clocks.format_seen(store, connection, ending.table, column)
    found = _OFFSET.fullmatch(sample) if isinstance(sample, str) else None
    return format, (found[1] or "") if found else ""


def _sample(store: SQLStore, connection: sa.Connection, table: str, column: str) -> Any:
    """A value of a clock; None where it has none."""
    found = store.table(table).c[column]
    filled = (
        found.is_not(None) if store.dialect != "sqlite" else sa.and_(found.is_not(None), found != value(""))
    )
    return connection.execute(sa.select(found).where(filled).limit(1)).scalar()
