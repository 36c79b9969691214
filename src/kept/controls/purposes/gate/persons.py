"""What has to hold of a person's own row before their data is used, as SQL: who they are, where, until when, and what
they said. `kept.controls.purposes.enforce.Gate` says the same of one person."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import sqlalchemy as sa

from kept.company import Company
from kept.controls.purposes.gate.willing import Areas, State, Willing, Wish, areas_where
from kept.controls.retention.declare import Retention
from kept.policy.facts import PersonKind
from kept.policy.grammar import Clock, Period
from kept.policy.words import covers
from kept.stores.clauses import Clauses
from kept.stores.conditions import condition, value
from kept.stores.expiring import clocks
from kept.stores.expiring.clocks import ClockFormat
from kept.stores.schema import Column
from kept.stores.sql import SQLStore
from kept.stores.walk import Walk

Condition = sa.ColumnElement[bool]
WHOLE: Final = re.compile("-?[0-9]{1,18}")
AT_ONCE: Final = Period(0, "hours")
REMEMBERED: Final = 60.0  # seconds that it is remembered how a column of SQLite writes time


class Called:
    """The columns of a row by the name that a statement gives its table; whoever writes the statement names it."""

    def __init__(self, say: Clauses, table: str, name: str) -> None:
        self.name, self.shape = name, say.tables[table]
        self.c: dict[str, sa.ColumnElement[Any]] = {
            column: sa.literal_column(f"{name}.{say.name(column)}".replace("\\:", ":"))
            for column in self.shape.columns
        }

    @property
    def source(self) -> sa.FromClause:
        """As `kept.stores.conditions` takes it, which looks at its columns only."""
        return cast(sa.FromClause, self)


class Persons:
    """The people of one walk, for one wish."""

    def __init__(self, company: Company, walk: Walk, wish: Wish) -> None:
        self.company, self.walk, self.wish = company, walk, wish
        self.store: SQLStore = company.stores[walk.store]
        self.say = Clauses(self.store, walk.tables)
        self.root: PersonKind = company.policy.people[walk.kind]
        self.willing = Willing.of(company, walk.kind, wish)

    def may(self, called: str) -> Condition:
        """That what somebody chose and said allows it, where they are. StoreError where nobody can tell."""
        who, said = self.row(called), self.willing.said()
        fits = [self._in(who, fitting(one.regions)) for one in self._entries() if one.regions]
        if not self.willing.leavers:
            fits.append(sa.not_(self.left(who)))
        made = self._silent(who)
        if said.no:
            made = sa.and_(made, sa.not_(self.among(called, said.no)))
        if said.yes:
            made = sa.or_(made, self.among(called, said.yes))
        return sa.and_(*fits, made)

    def has(self, called: str, name: str) -> Condition:
        """That some data is theirs, and not past a limit that counts from a moment of their own."""
        return sa.and_(self.owns(called, name), self.within(called, name))

    def owns(self, called: str, name: str) -> Condition:
        """That they are of a kind which some data is about."""
        policy, who = self.company.policy, self.row(called)
        kinds = [kind for kind in policy.owners(policy.data[name]) if policy.related(kind, self.walk.kind)]
        if self.walk.kind in kinds:
            return sa.true()
        return sa.or_(sa.false(), *(self.is_kind(who, kind, "is") for kind in kinds))

    def sort_of(self, name: str) -> tuple[object, ...]:
        """What `has` asks about some data: two sorts that are equal ask the same."""
        policy = self.company.policy
        kept = (one.id for one in self._keeping(name) if self._counts(one) or self.wish.purpose in one.hold)
        return frozenset(policy.owners(policy.data[name])), frozenset(kept)

    def within(self, called: str, name: str) -> Condition:
        """That no limit of some data has passed which counts from their beginning or their end."""
        who = self.row(called)
        past: list[Condition] = []
        held: list[Condition] = []
        for one in self._keeping(name):
            over = self._over(who, one)
            past += [] if over is None else [over]
            if self.wish.purpose in one.hold:
                held.append(sa.true() if over is None else sa.not_(over))
        if not past:
            return sa.true()
        return sa.or_(sa.not_(sa.or_(*past)), *held)

    def left(self, who: Called) -> Condition:
        """That somebody has left: at a time that has come, or that nobody can read."""
        column = str(self.root.ended) if self.root.ended is not None else None
        if column is None or column not in who.shape.columns:
            return sa.false()
        at = clock_of(self.company, self.store, who.shape.name, column)
        ended = who.c[column]
        come = sa.or_(sa.not_(clocks.readable(at, ended)), not_after(at, ended, self.company.clock()))
        return sure(sa.and_(ended.is_not(None), sa.not_(is_empty(self.store, who, column)), come))

    def is_kind(self, who: Called, kind: str, state: State) -> Condition:
        """That somebody is of a kind, isn't, or that nobody can tell for want of a birth date."""
        policy, parts, born = self.company.policy, list[Condition](), None
        for name in policy.chain(kind):
            one = policy.people[name]
            if one.when is None:
                continue
            aged = any(part.of_age for part in one.when.all)
            born = self.root.born if aged else born
            parts.append(
                condition(
                    one.when,
                    who.source,
                    who.shape,
                    today=self.company.clock().astimezone(policy.timezone).date(),
                    born=str(self.root.born) if self.root.born is not None else None,
                )
            )
        known = is_date(self.store, who, str(born)) if born is not None else sa.true()
        if state == "unsure":
            return sa.not_(known)
        passes = sure(sa.and_(*parts)) if parts else sa.true()
        return sa.and_(known, passes if state == "is" else sa.not_(passes))

    def row(self, called: str) -> Called:
        return Called(self.say, self.walk.root.table, called)

    def among(self, called: str, keys: Sequence[tuple[str, ...]]) -> Condition:
        """That somebody is one of these, whose keys travel as one bound value."""
        return among(self.say, self.walk.root.table, self.walk.root.person, called, keys)

    def _entries(self) -> list[Any]:
        purpose = self.company.policy.section("purposes")[self.wish.purpose]
        return [purpose, *([self.wish.entry] if self.wish.entry is not None else [])]

    def _silent(self, who: Called) -> Condition:
        """That somebody who never said anything is allowed."""
        cases, kinds = self.willing.silent(), self.willing.kinds
        every = 1
        for one in kinds:
            every *= len(self.willing.states(str(one.name)))
        if len(cases) == every and len({areas for _, areas in cases}) == 1:
            return self._in(who, cases[0][1])
        return sa.or_(
            sa.false(),
            *(
                sa.and_(
                    self._in(who, areas),
                    *(
                        self.is_kind(who, str(kind.name), state)
                        for kind, state in zip(kinds, states, strict=True)
                    ),
                )
                for states, areas in cases
            ),
        )

    def _in(self, who: Called, areas: Areas) -> Condition:
        if areas.everywhere:
            return sa.true()
        column = str(self.root.region) if self.root.region is not None else ""
        if not areas or column not in who.shape.columns:
            return sa.false()
        text = f"lower(replace(trim({self.say.text(str(who.c[column]))}), '_', '-'))"
        start = f"substr({text}, 1, 3)"
        found = [f"{text} IN ({_listed((*areas.whole, *areas.single))})"]
        if areas.whole:
            found.append(f"{start} IN ({_listed(one + '-' for one in areas.whole)})")
        return sure(sa.literal_column(f"({' OR '.join(found)})", sa.Boolean))

    def _keeping(self, name: str) -> list[Retention]:
        policy = self.company.policy
        kinds = {kind for owner in policy.owners(policy.data[name]) for kind in policy.chain(owner)}
        return [
            one
            for one in policy.section("retention").values()
            if isinstance(one, Retention) and (name in one.keeps or kinds & set(map(str, one.keeps)))
        ]

    def _counts(self, retention: Retention) -> bool:
        clock = retention.until
        return isinstance(clock, Clock) and clock.event.of in self.company.policy.people

    def _over(self, who: Called, retention: Retention) -> Condition | None:
        """That a limit has passed, where it counts from a moment in the person's own row."""
        policy, clock = self.company.policy, retention.until
        if not isinstance(clock, Clock) or clock.event.of not in policy.people:
            return None
        kind, moment = str(clock.event.of), clock.event.moment
        root = policy.root(kind)
        if root is not self.root or moment not in ("began", "ended"):
            return None
        column = policy.moment(kind, moment)
        if column is None or column != getattr(root, moment) or column not in who.shape.columns:
            return None
        cutoff = (clock.period or AT_ONCE).cutoff(self.company.clock(), policy.timezone)
        at, found = clock_of(self.company, self.store, who.shape.name, str(column)), who.c[str(column)]
        if moment == "ended":  # who has left at a time that nobody can read may have left long ago
            passed = sa.or_(sa.not_(clocks.readable(at, found)), not_after(at, found, cutoff))
        else:
            passed = sa.and_(clocks.readable(at, found), not_after(at, found, cutoff))
        made = sure(sa.and_(found.is_not(None), sa.not_(is_empty(self.store, who, str(column))), passed))
        if kind != self.walk.kind:
            states: tuple[State, ...] = ("is", "unsure")
            made = sa.and_(made, sa.or_(*(self.is_kind(who, kind, state) for state in states)))
        return made


def fitting(named: Sequence[str]) -> Areas:
    """Where a promise for some regions holds; of whom nobody can tell where they are, it doesn't."""
    areas = tuple(map(str, named))
    return areas_where(
        lambda region: region is not None and any(covers(area, region) for area in areas), areas
    )


def among(
    say: Clauses, table: str, columns: Sequence[str], called: str, keys: Sequence[tuple[str, ...]]
) -> Condition:
    """That the columns of a row hold one of some keys, bound as one value; never NULL."""
    shapes: list[Column] = [say.tables[table].columns[column] for column in columns]
    given, listed = say.given(shapes, list(enumerate(keys))), say.unpacked(shapes)
    own = [say.column(called, column) for column in columns]
    left = own[0] if len(own) == 1 else f"({', '.join(own)})"
    values = ", ".join(f"j.v{i}" for i in range(len(shapes)))
    if say.sqlite and len(keys[0]) == 1 and shapes[0].sort == "number" and shapes[0].type:
        numbers = [int(key) for (key,) in keys if WHOLE.fullmatch(key)]
        if len(numbers) == len(keys):  # three times as fast as the same in pairs
            given, listed, values = {"given": json.dumps(numbers)}, "json_each(:given)", "value"
    made = sa.text(f"COALESCE({left} IN (SELECT {values} FROM {listed}), FALSE)").bindparams(
        *(sa.bindparam(name, one, unique=True, type_=sa.types.NullType()) for name, one in given.items())
    )
    found: Condition = sa.type_coerce(cast(Any, made).self_group(), sa.Boolean)
    return found


def sure(so: Condition) -> Condition:
    """What nobody can tell isn't so."""
    return sa.func.coalesce(so, sa.false())


def is_empty(store: SQLStore, who: Called, column: str) -> Condition:
    """That a column holds nothing; an empty text is nothing."""
    found, sort = who.c[column], who.shape.columns[column].sort
    if store.dialect == "sqlite" or sort == "text":
        return sa.func.coalesce(sa.cast(found, sa.Text), "") == ""
    return found.is_(None)


def is_date(store: SQLStore, who: Called, column: str) -> Condition:
    """That a birth date is one."""
    found = who.c[column]
    if store.dialect == "sqlite":
        day = sa.func.substr(sa.cast(found, sa.Text), 1, 10)
        return sure(
            sa.and_(day.op("GLOB")("[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"), sa.func.date(day) == day)
        )
    if who.shape.columns[column].sort == "text":
        matches = "~" if store.dialect == "postgresql" else "REGEXP"
        return sure(found.op(matches)(value("^[0-9]{4}-[0-9]{2}-[0-9]{2}")))
    return found.is_not(None)


def not_after(at: ClockFormat, column: sa.ColumnElement[Any], moment: datetime) -> Condition:
    """That a clock stands at a moment or before it; a text to the second, as its column writes it."""
    return column < value(clocks.bound(at, _later(at, moment)))


def before(at: ClockFormat, column: sa.ColumnElement[Any], moment: datetime) -> Condition:
    """That a clock stands before a moment."""
    utc = moment.astimezone(UTC)
    if at.writing in ("text-space", "text-t") and utc.microsecond:
        utc = _later(at, moment)
    return column < value(clocks.bound(at, utc))


def _later(at: ClockFormat, moment: datetime) -> datetime:
    utc = moment.astimezone(UTC)
    if at.writing in ("text-space", "text-t"):
        return utc.replace(microsecond=0) + timedelta(seconds=1)
    return utc + timedelta(microseconds=1)


def clock_of(company: Company, store: SQLStore, table: str, column: str) -> ClockFormat:
    """How a column writes time; looked at again now and then, for a column of SQLite may hold anything."""
    known: dict[tuple[str, str, str], tuple[float, ClockFormat]] = company.memory.setdefault(ClockFormat, {})
    until, found = known.get((store.name, table, column), (-math.inf, None))
    if found is None or time.monotonic() >= until:
        found = clocks.clock_format(store, table, column)
        known[store.name, table, column] = (time.monotonic() + REMEMBERED, found)
    return found


def led(
    say: Clauses,
    path: Sequence[Any],
    called: str,
    prefix: str,
    so: Callable[[str], Condition],
) -> Condition:
    """That a row, `called` so, leads along a path (`kept.stores.expiring.due.Step`) to a row that is `so`."""
    made = so(f"{prefix}_{len(path) - 1}" if path else called)
    for level in range(len(path) - 1, -1, -1):
        step, here = path[level], f"{prefix}_{level}"
        last = f"{prefix}_{level - 1}" if level else called
        child, parent = (here, last) if step.back else (last, here)
        to = step.reference.table if step.back else step.reference.to
        made = there_is(say, to, here, say.refers(step.reference, child, parent), made)
    return made


def there_is(say: Clauses, table: str, called: str, refers: str, so: Condition) -> Condition:
    """That there is a row of a table, `called` so, which refers as it should and is `so`."""
    source = say.store.table(table).alias(called)
    chosen: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(source).where(sa.text(refers), so)
    return sa.exists(chosen.correlate_except(source))


def _listed(words: Any) -> str:
    return ", ".join(f"'{word}'" for word in words)
