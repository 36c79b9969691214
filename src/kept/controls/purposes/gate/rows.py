"""Which rows of a table a purpose may use, as a condition for the database: the gate for many, asked where they stand.

    condition = rows(company, "quality", "activity", "shop.events", called="e")
    sa.select(sa.text("count(*)")).select_from(sa.text("events e")).where(condition)

It knows of the people each row is about what `Gate.decide` knows of one: what they chose and said, restrictions, holds,
where they are, whose data it is; and of the row itself whether it is past a limit. All of its people have to allow it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.choices.deciding import Decision
from kept.controls.purposes.gate.persons import AT_ONCE, Called, Condition, Persons, clock_of, led, sure
from kept.controls.purposes.gate.uses import Names, Uses
from kept.controls.purposes.gate.willing import Wish
from kept.controls.retention.declare import Retention
from kept.datamap.dated import dated
from kept.errors import KeptError, TransientError
from kept.policy.grammar import Clock
from kept.stores.clauses import Clauses
from kept.stores.conditions import value
from kept.stores.expiring import clocks
from kept.stores.expiring.due import Expiry, Step
from kept.stores.expiring.past import Past
from kept.stores.sql import SQLStore
from kept.stores.walk import Stop, Walk, identifies

NOTHING: Final = sa.false()


@dataclass(frozen=True)
class Way:
    """One way in which rows of a table are somebody's: along a path to the own row of a person of a walk."""

    walk: Walk
    path: tuple[Step, ...]
    names: frozenset[str]  # the data they are then about


def rows(
    company: Company,
    purpose: str,
    data: Names,
    table: str,
    *,
    called: str | None = None,
    aggregated: bool = False,
) -> Condition:
    """The condition that a row of a table (`store.table`) must meet for a purpose to use some data of it.

    `called` is the name that the statement gives the table, its own unless said. A purpose that sees groups only gets
    the rows that may be counted, where `aggregated` promises that nothing else is done with them. What isn't declared,
    what turns on who asks, a case or evidence, and whatever nobody can tell is false: no row at all.
    """
    found = why_not(company, purpose, data, table, aggregated=aggregated)
    if found is not None:
        return NOTHING
    use = uses_of(company).find(purpose, data)
    assert not isinstance(use, Decision)  # `why_not` says so before
    store, _, name = table.partition(".")
    wish, here = Wish(purpose), frozenset(_in_table(company, use.names, table))
    try:
        say = Clauses(company.stores[store], company.map.tables[store])
        named = called or say.name(name)
        made = owned(company, table, here, named, lambda way, who: _allowed(company, way, wish, who))
        return sa.and_(made, *(unexpired(company, wish, table, one, named) for one in sorted(here)))
    except KeptError:  # a store that is down, people who can't be read: nobody can tell
        return NOTHING


def why_not(
    company: Company, purpose: str, data: Names, table: str, *, aggregated: bool = False
) -> Decision | None:
    """Why a purpose may use no row of a table at all; None where that turns on the rows."""
    use = uses_of(company).find(purpose, data)
    if isinstance(use, Decision):
        return use
    entry = use.entry
    if entry.groups and not aggregated:
        return use.no(
            "groups", f"`{purpose}` sees groups of {entry.groups} or more, and nobody in particular"
        )
    if use.asks or not use.simple:
        return use.no(
            "alone", "it also depends on who asks, in which case, with which evidence: ask one by one"
        )
    if not _in_table(company, use.names, table):
        return use.no("data", f"`{table}` holds none of that data")
    store = table.partition(".")[0]
    if store not in company.stores or store not in company.map.tables:
        return use.no("unsure", f"`{store}` can't be asked", unsure=True)
    return None


def uses_of(company: Company) -> Uses:
    """The uses of a company's policy, compiled once for as long as it is open."""
    found = company.memory.get(Uses)
    if found is None:
        found = company.memory.setdefault(Uses, Uses(company.policy))
    return found  # type: ignore[no-any-return]  # what stands under its class


def written(company: Company, store: str, condition: Condition) -> tuple[str, dict[str, Any]]:
    """A condition as plain SQL text with its values by name, as the driver of a store takes them: `:name` for SQLite,
    `%(name)s` for PostgreSQL and MariaDB. The text holds no value of anybody's."""
    dialect = company.stores[store].engine.dialect
    style = "named" if dialect.name == "sqlite" else "pyformat"
    own = type(dialect)(paramstyle=style)  # type: ignore[call-arg]  # every dialect takes it
    done = condition.compile(dialect=own, compile_kwargs={"render_postcompile": True})
    return str(done), dict(done.params)


# Whose a row is.


def ways(company: Company, table: str, names: frozenset[str]) -> list[Way]:
    """Every way in which rows of a table (`store.table`) are about somebody, as far as some data is concerned."""
    store, _, own = table.partition(".")
    found: dict[tuple[str, tuple[Step, ...]], Way] = {}
    for kind in company.root_kinds():
        walk = company.map.walk(kind)
        if walk is None or walk.store != store:
            continue
        for stop in (walk.stops[i] for i in walk.of_table(own)):
            here = names & {name for columns in stop.columns.values() for name in columns}
            for path in paths(walk, stop) if here else ():
                before = found.get((kind, path))
                more = here | (before.names if before is not None else frozenset())
                found[kind, path] = Way(walk, path, more)
    return list(found.values())


def paths(walk: Walk, stop: Stop) -> list[tuple[Step, ...]]:
    """Every way in which rows of a stop lead to the own row of their person."""
    found: list[tuple[Step, ...]] = []
    going: list[tuple[Stop, tuple[Step, ...]]] = [(stop, ())]
    for at, path in going:
        if not at.hops:
            found.append(path)
        going.extend((walk.stops[hop.parent], (*path, Step(hop.reference, hop.forward))) for hop in at.hops)
    return list(dict.fromkeys(found))


def owned(
    company: Company,
    table: str,
    names: frozenset[str],
    called: str,
    so: Callable[[Way, str], Condition],
    besides: Callable[[Way, str], Condition] | None = None,
) -> Condition:
    """That a row is about somebody who is `so`, and that everybody else it is about is too, or is one of `besides`.

    TransientError where nothing leads to the people of some of the data: nobody can tell whose it is.
    """
    found = ways(company, table, names)
    lost = names - {name for way in found for name in way.names}
    if lost:
        raise TransientError(f"nobody can tell whose `{sorted(lost)[0]}` in {table} is")
    if len(found) == 1 and leads_to_one(found[0]):
        say = Clauses(company.stores[found[0].walk.store], found[0].walk.tables)
        return led(say, found[0].path, called, "kept_who", lambda who: so(found[0], who))
    some, others = list[Condition](), list[Condition]()
    for number, way in enumerate(found):
        say = Clauses(company.stores[way.walk.store], way.walk.tables)
        prefix = f"kept_who_{number}"
        some.append(led(say, way.path, called, prefix, partial(so, way)))
        others.append(led(say, way.path, called, f"{prefix}_not", partial(_neither, so, besides, way)))
    return sa.and_(sa.or_(*some), *(sa.not_(one) for one in others))


def _neither(
    so: Callable[[Way, str], Condition], besides: Callable[[Way, str], Condition] | None, way: Way, who: str
) -> Condition:
    ways = [so(way, who), *([besides(way, who)] if besides is not None else [])]
    return sa.not_(sure(sa.or_(*ways)))


def leads_to_one(way: Way) -> bool:
    """Whether each row is at most one person's along a way."""
    tables = way.walk.tables
    return all(
        not step.back and identifies(tables[step.reference.to], step.reference.to_columns)
        for step in way.path
    )


def _allowed(company: Company, way: Way, wish: Wish, who: str) -> Condition:
    persons = Persons(company, way.walk, wish)
    return sa.and_(persons.may(who), *(persons.has(who, name) for name in sorted(way.names)))


def _in_table(company: Company, names: Sequence[str], table: str) -> list[str]:
    return [name for name in names if table in map(str, company.policy.data[name].tables)]


# Which rows are past a limit.


def unexpired(company: Company, wish: Wish, table: str, name: str, called: str) -> Condition:
    """That a row is not past a limit that counts from the row itself, or from a link."""
    past, held = list[Condition](), list[Condition]()
    for one in company.policy.section("retention").values():
        if isinstance(one, Retention) and name in one.keeps:
            over = list(_over(company, one, table, name, called))
            past += over
            if wish.purpose in one.hold:
                held.append(sa.not_(sa.or_(sa.false(), *over)))
    return sa.or_(sa.not_(sa.or_(*past)), *held) if past else sa.true()


def _over(company: Company, retention: Retention, table: str, name: str, called: str) -> Iterator[Condition]:
    """That a limit of a row has passed, in each way in which that can be told from it."""
    policy, clock = company.policy, retention.until
    if not isinstance(clock, Clock) or clock.event.of in policy.people:
        return  # what counts from a person's own moment stands in their row
    if clock.event.moment in ("found", "asked"):
        return
    store, _, own = table.partition(".")
    now = company.clock()
    cutoff = (clock.period or AT_ONCE).cutoff(now, policy.timezone)
    if cutoff.microsecond:  # what some columns write to the second is past from that second on
        cutoff = cutoff.replace(microsecond=0) + timedelta(seconds=1)
    for kind in company.root_kinds():
        walk = company.map.walk(kind)
        if walk is None or walk.store != store:
            continue
        for one in dated(policy, walk, policy.data[name], str(clock.event)):
            if one.table == own and one.clock is not None:
                expiry = Expiry(
                    own,
                    one.clock,
                    cutoff,
                    path=one.path,
                    only=one.only,
                    today=now.astimezone(policy.timezone).date(),
                    last=one.last,
                )
                over = _Past(company, company.stores[store], expiry, called)
                yield sure(sa.and_(over.past(listed=True), *over.meant()))


class _Past(Past):
    """Which rows are past, where a statement calls their table by a name of its own."""

    def __init__(self, company: Company, store: SQLStore, expiry: Expiry, called: str) -> None:
        # not `super().__init__`, which looks at each clock's writing anew: a page would cost as many statements
        self.store, self.expiry = store, expiry
        self.say = Clauses(store, store.schema().tables)
        self._name = called
        self.table = Called(self.say, expiry.table, called).source  # type: ignore[assignment]  # only its columns are asked
        self.shape = store.shape(expiry.table)
        for reference in expiry.path:
            self._leads_to_one(reference)
        self.format = clock_of(company, store, expiry.clock_table, expiry.clock_column)
        self.hold_formats = []
        self.bound = value(clocks.bound(self.format, expiry.cutoff))
        self.aliases = [
            store.table(reference.to).alias(f"kept_{i}") for i, reference in enumerate(expiry.path)
        ]
        self.own = not expiry.path and expiry.last is None
        source: Any = self.aliases[-1] if self.aliases else self.table
        if expiry.last is not None:
            source = store.table(expiry.last.table).alias("kept_link")
        self.clock = source.c[expiry.clock_column]
        self.least = None

    def _called(self, level: int) -> str:
        return self._name if level < 0 else f"kept_{level}"
