"""What a look shows of one person: the columns of some data, row by row, as far as their limits haven't passed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.choices.deciding import How
from kept.controls.purposes.cases.rows import moment
from kept.controls.purposes.cases.sealed import Shown, shut
from kept.controls.retention.declare import Retention
from kept.controls.rights.people import Person
from kept.controls.rights.places import Columns, places
from kept.controls.rights.subjects import subjects
from kept.datamap.dated import Dated, dated
from kept.policy.grammar import Clock, Period
from kept.policy.policy import Policy
from kept.stores.collect import collect
from kept.stores.expiring import clocks
from kept.stores.expiring.due import Expiry
from kept.stores.expiring.past import Past
from kept.stores.sql import SQLStore
from kept.stores.walk import Hop, Stop, Walk

NO_TIME: Final = Period(0, "hours")
_MANY: Final = 500  # keys in one statement

Row = Mapping[str, object]


@dataclass(frozen=True)
class Plan:
    """What will be read for one use: `fields` are the columns shown (`store.table.column`), and how.

    `elsewhere` are declared tables that no program reads from here; `undated` those of which nobody can tell which
    rows are past their limit.
    """

    person: Person
    names: tuple[str, ...]
    purpose: str
    fields: Mapping[str, How]
    walk: Walk | None = None
    records: Mapping[str, Columns] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()
    undated: tuple[str, ...] = ()
    past: tuple[_Past, ...] = ()


@dataclass(frozen=True)
class Rows:
    """The rows shown, by table (`store.table`), and how many were left out, past their limit or nobody can tell."""

    rows: Mapping[str, tuple[Row, ...]]
    left_out: int


@dataclass(frozen=True)
class _Past:
    """Rows of a table (`store.table`) of which some columns are past a limit: by a clock of their own, or else by one
    that they lead to."""

    place: str
    columns: tuple[str, ...]
    cutoff: datetime
    clock: str | None = None
    expiry: Expiry | None = None


def plan(
    company: Company, person: Person, purpose: str, names: Sequence[str], fields: Mapping[str, How]
) -> Plan:
    """What of some data can be shown of a person, by what the gate allowed (`fields`); nothing is read yet."""
    fields = shut(company, purpose, fields)
    wanted, there = set(names), places(company, person.kind)
    walk = _with(there.walk, wanted, fields) if there.walk is not None else None
    records = {
        store: {table: mine for table, columns in tables.items() if (mine := _of(columns, wanted))}
        for store, tables in there.records.items()
    }
    shown: dict[str, How] = {}
    if walk is not None:
        for stop in walk.stops:
            shown |= {
                at: fields[at] for c in stop.columns if (at := f"{walk.store}.{stop.table}.{c}") in fields
            }
    for store, tables in records.items():
        for table, columns in tables.items():
            shown |= {at: fields[at] for c in columns if (at := f"{store}.{table}.{c}") in fields}
    past, undated = _limits(company, purpose, names, there.walk, records)
    tables_shown = {at.rpartition(".")[0] for at in shown}
    declared = dict.fromkeys(str(table) for name in names for table in company.policy.data[name].tables)
    elsewhere = tuple(table for table in declared if table not in tables_shown)
    return Plan(
        person,
        tuple(names),
        purpose,
        shown,
        walk,
        records,
        elsewhere,
        tuple(place for place in undated if place in tables_shown),
        tuple(one for one in past if one.place in tables_shown),
    )


def read(company: Company, plan: Plan) -> Rows:
    """Read what was planned, one statement a table; StoreError where a store doesn't answer, and then nothing."""
    found: dict[str, list[Row]] = {}
    left, shown = 0, Shown(company, plan.fields)
    if plan.walk is not None and plan.walk.stops and any(stop.columns for stop in plan.walk.stops):
        store = company.stores[plan.walk.store]
        walk = _with_clocks(plan.walk, plan.past, shown)
        for portion in collect(store, walk, [plan.person.key]):
            place = f"{walk.store}.{portion.table}"
            rows = [row for _, row in portion.rows]
            kept = _in_time(store, walk, plan.past, place, rows)
            key = walk.tables[portion.table].key
            left += len(rows) - _add(found, plan.fields, shown, place, kept, key)
    for name, tables in plan.records.items():
        ids = subjects(company, places(company, plan.person.kind), [plan.person.key], name)[plan.person.key]
        own = {table: _asked(plan.past, f"{name}.{table}", columns) for table, columns in tables.items()}
        if not ids or not own:
            continue
        for _, table, row in company.records[name].collect(ids, own):
            place = f"{name}.{table}"
            hidden = {
                column
                for one in plan.past
                if one.place == place and one.clock and _is_over(moment(row.get(one.clock)), one.cutoff)
                for column in one.columns
            }
            left += 1 - _add(found, plan.fields, shown, place, [(row, hidden)])
    return Rows({place: tuple(rows) for place, rows in found.items()}, left)


def _add(
    found: dict[str, list[Row]],
    fields: Mapping[str, How],
    shown: Shown,
    place: str,
    rows: Sequence[tuple[Row, set[str]]],
    key: Sequence[str] = (),
) -> int:
    """Add what may be seen of these rows; how many of them have something. `key` are the columns of their key."""
    added = 0
    for row, hidden in rows:
        seen = {
            column: shown.value(field, value, row, key)
            for column, value in row.items()
            if column not in hidden and (field := f"{place}.{column}") in fields
        }
        if seen:
            found.setdefault(place, []).append(seen)
            added += 1
    return added


def _of(columns: Mapping[str, tuple[str, ...]], wanted: set[str]) -> dict[str, tuple[str, ...]]:
    return {
        column: mine for column, names in columns.items() if (mine := tuple(n for n in names if n in wanted))
    }


def _with(walk: Walk, wanted: set[str], fields: Mapping[str, How]) -> Walk:
    """The walk to what is to be shown and nothing else: its stops, and those on the way to them."""
    own = walk.stops[: walk.own]
    columns = [
        {
            c: names
            for c, names in _of(stop.columns, wanted).items()
            if f"{walk.store}.{stop.table}.{c}" in fields
        }
        for stop in own
    ]
    needed = {i for i, mine in enumerate(columns) if mine}
    for i in range(len(own) - 1, -1, -1):  # parents come before those they lead to
        if i in needed:
            needed |= {hop.parent for hop in own[i].hops}
    needed |= {0} if needed else set()
    order = sorted(needed)
    at = {old: new for new, old in enumerate(order)}
    stops: list[Stop] = []
    for i in order:
        hops = tuple(Hop(hop.reference, at[hop.parent], hop.forward) for hop in own[i].hops)
        stops.append(replace(own[i], hops=hops, columns=columns[i]))
    return replace(walk, stops=tuple(stops), own=len(stops))


def _with_clocks(walk: Walk, past: Sequence[_Past], shown: Shown) -> Walk:
    """The walk with the columns that tell which rows are past: their clocks, and the keys they are found again by.

    Rows of which something is opened come with their keys too: to those it is sealed.
    """
    stops = []
    for stop in walk.stops:
        place, more = f"{walk.store}.{stop.table}", list[str]()
        for one in past if stop.columns else ():
            if one.place == place:
                more += [one.clock] if one.clock is not None else walk.tables[stop.table].key
        if any(shown.opens(f"{place}.{column}") for column in stop.columns):
            more += walk.tables[stop.table].key
        extra = {column: ("",) for column in more if column not in stop.columns}
        stops.append(replace(stop, columns={**stop.columns, **extra}))
    return replace(walk, stops=tuple(stops))


def _asked(past: Sequence[_Past], place: str, columns: Mapping[str, object]) -> list[str]:
    clocks_ = [one.clock for one in past if one.place == place and one.clock is not None]
    return list(dict.fromkeys((*columns, *clocks_)))


# Limits.


def _limits(
    company: Company, purpose: str, names: Sequence[str], walk: Walk | None, records: Mapping[str, Columns]
) -> tuple[list[_Past], list[str]]:
    """What is past now of some data, and the tables of which nobody can tell.

    What counts from the person's own beginning or end the gate has decided already.
    """
    policy, now = company.policy, company.clock()
    past: list[_Past] = []
    undated: list[str] = []
    for name, clock in _clocks(policy, purpose, names):
        cutoff = (clock.period or NO_TIME).cutoff(now, policy.timezone)
        if walk is not None and not _is_persons(policy, walk, clock):
            for rows in dated(policy, walk, policy.data[name], str(clock.event)):
                one = _one(company, walk, rows, cutoff)
                past += [one] if one is not None else []
                undated += [f"{walk.store}.{rows.table}"] if one is None else []
        for store, tables in records.items():
            for table, columns in tables.items():
                if any(name in mine for mine in columns.values()):
                    place = f"{store}.{table}"
                    told = policy.recorded(place) if clock.event.moment == "recorded" else None
                    mine_ = tuple(column for column, has in columns.items() if name in has)
                    past += [_Past(place, mine_, cutoff, told)] if told is not None else []
                    undated += [place] if told is None else []
    return list(dict.fromkeys(past)), list(dict.fromkeys(undated))


def _clocks(policy: Policy, purpose: str, names: Sequence[str]) -> Iterator[tuple[str, Clock]]:
    """The limits on each data, but those of data that is kept beyond them for this very purpose."""
    limits = [one for one in policy.section("retention").values() if isinstance(one, Retention)]
    for name in names:
        mine = [one for one in limits if name in one.keeps]
        if any(purpose in one.hold for one in mine):
            continue
        for one in mine:
            if not one.hold and isinstance(one.until, Clock):
                yield name, one.until


def _is_persons(policy: Policy, walk: Walk, clock: Clock) -> bool:
    of, moment_ = clock.event.of, clock.event.moment
    root = policy.root(of) if of is not None and of in policy.people else None
    return root is not None and root.name == walk.kind and moment_ in ("began", "ended")


def _one(company: Company, walk: Walk, rows: Dated, cutoff: datetime) -> _Past | None:
    place, shape = f"{walk.store}.{rows.table}", walk.tables[rows.table]
    if rows.clock is None:
        return None
    if not rows.path and rows.last is None and not rows.only:
        return _Past(place, rows.columns, cutoff, rows.clock)
    if shape.is_view or not shape.key:
        return None
    today = company.clock().astimezone(company.policy.timezone).date()
    expiry = Expiry(
        rows.table, rows.clock, cutoff, path=rows.path, only=rows.only, today=today, last=rows.last
    )
    return _Past(place, rows.columns, cutoff, expiry=expiry)


def _in_time(
    store: SQLStore, walk: Walk, past: Sequence[_Past], place: str, rows: Sequence[Row]
) -> list[tuple[Row, set[str]]]:
    """The rows, each with the columns of it that are past."""
    found: list[tuple[Row, set[str]]] = [(row, set()) for row in rows]
    table = place.partition(".")[2]
    for one in past:
        if one.place != place:
            continue
        if one.clock is not None:
            format = clocks.clock_format(store, table, one.clock)
            for row, hidden in found:
                value = row.get(one.clock)
                if _is_over(clocks.moment(format, value), one.cutoff):
                    hidden |= set(one.columns)
            continue
        assert one.expiry is not None
        key = walk.tables[table].key
        gone = _past(store, one.expiry, key, [tuple(row[column] for column in key) for row in rows])
        for row, hidden in found:
            if tuple(row[column] for column in key) in gone:
                hidden |= set(one.columns)
    return found


def _is_over(at: datetime | None, cutoff: datetime) -> bool:
    """Whether a clock is past; of one that can't be read nobody can say that it isn't."""
    return at is None or at < cutoff


def _past(
    store: SQLStore, expiry: Expiry, key: Sequence[str], keys: Sequence[tuple[Any, ...]]
) -> set[tuple[Any, ...]]:
    """Which of these rows are past, by a clock they lead to."""
    found: set[tuple[Any, ...]] = set()
    with store.read() as connection:
        made = Past(store, connection, expiry)
        own = [made.table.c[column] for column in key]
        for start in range(0, len(keys), _MANY):
            part = keys[start : start + _MANY]
            mine = own[0].in_([one[0] for one in part]) if len(own) == 1 else sa.tuple_(*own).in_(part)
            query = sa.select(*own).where(mine, made.past(listed=True), *made.meant())
            found |= {tuple(row) for row in connection.execute(query)}
    return found
