"""Which rows a limit means, and what else bears on them: other limits, holds, references."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime

from kept.company import Company
from kept.controls.retention.declare import Retention
from kept.datamap.checks import tested
from kept.datamap.dated import dated
from kept.policy.facts import Data
from kept.policy.grammar import Clock, Period
from kept.policy.policy import Policy
from kept.stores.expiring.due import Expiry, Held, Only
from kept.stores.schema import Reference
from kept.stores.walk import Hold, Last, Walk, emptied


@dataclass(frozen=True)
class Rows:
    """The rows of a table that one clock decides on, as an Expiry says it; `kind` is whose they are."""

    table: str
    clock: str
    cutoff: datetime
    path: tuple[Reference, ...] = ()
    only: tuple[Only, ...] = ()
    always: bool = False
    today: date | None = None
    kind: str = ""
    last: Last | None = None

    def past(self) -> Expiry:
        """Those of them that are past the cut-off."""
        return Expiry(
            self.table,
            self.clock,
            self.cutoff,
            path=self.path,
            only=self.only,
            always=self.always,
            today=self.today,
            last=self.last,
        )


def kept_clocks(policy: Policy, place: str, rows: Rows) -> set[str]:
    """The columns of a table that must stay as long as its rows do: clocks, and what tests read."""
    made = {rows.clock} if not rows.path and rows.last is None else set()
    for kind in policy.people.values():
        root = policy.root(kind.name)
        if root is not None and root.table == place:
            made |= {str(column) for column in (kind.began, kind.ended) if column is not None}
            made |= set(tested(kind.when))
    for link in policy.links.values():
        if link.table == place:
            made |= {str(column) for column in (link.began, link.ended) if column is not None}
            made |= set(tested(link.when))
    return made


def _limited(
    company: Company, retention: Retention, data: Data, place: str, now: datetime, *, awaited: bool
) -> Iterator[Held]:
    """Some data's rows in a table until a limit is past; for good where there is no limit, or no clock.

    Of people without a link to count from, the limit isn't past if it is `awaited`; a hold then holds nothing.
    """
    policy, until = company.policy, retention.until
    event, cutoff = "recorded", None
    if isinstance(until, Clock):
        event = str(until.event)
        cutoff = (until.period or Period(0, "hours")).cutoff(now, policy.timezone)
    kinds = {root.name for who in policy.owners(data) if (root := policy.root(who)) is not None}
    walks = [walk for kind in sorted(kinds) if (walk := company.map.walk(kind)) is not None]
    found = False
    for walk in walks:
        for rows in dated(policy, walk, data, event):
            if f"{walk.store}.{rows.table}" == place:
                found = True
                limit = cutoff if rows.clock is not None else None
                last = replace(rows.last, awaited=awaited) if rows.last is not None else None
                yield Held(Hold(rows.table, rows.columns, rows.clock, limit, rows.path, last), rows.only)
    if not found:
        yield _for_good(data, place)


def _for_good(data: Data, place: str) -> Held:
    columns = tuple(str(c) for full, named in data.tables.items() if full == place for c in named)
    return Held(Hold(place.partition(".")[2], columns))


def _in(policy: Policy, place: str) -> list[Data]:
    return [data for data in policy.data.values() if any(full == place for full in data.tables)]


def other_limits(
    company: Company, retention: Retention, place: str, rows: Rows, now: datetime
) -> tuple[Held, ...]:
    """What keeps a row that is past this limit: data in it whose own limits are not all past."""
    found: list[Held] = []
    for data in _in(company.policy, place):
        limits = [
            other
            for other in company.policy.section("retention").values()
            if isinstance(other, Retention) and data.name in other.keeps
        ]
        if data.name in retention.keeps:
            limits = [retention]  # the first limit that passes decides
        here = [list(_limited(company, limit, data, place, now, awaited=True)) for limit in limits]
        if any(
            all(
                (
                    h.hold.clock,
                    h.hold.path,
                    h.hold.cutoff,
                    h.hold.last and replace(h.hold.last, awaited=False),
                )
                == (rows.clock, rows.path, rows.cutoff, rows.last and replace(rows.last, known_by=()))
                for h in one
            )
            for one in here
        ):
            continue
        if not limits or any(limit.then == "anonymise" for limit in limits):
            found.append(_for_good(data, place))
        found += [held for one in here for held in one]
    return tuple(dict.fromkeys(found))


def running_holds(company: Company, retention: Retention, place: str, now: datetime) -> tuple[Held, ...]:
    """Every hold but this promise's own on rows of a table."""
    return tuple(
        dict.fromkeys(
            held
            for other in company.policy.section("retention").values()
            if isinstance(other, Retention) and other.hold and other is not retention
            for data in _in(company.policy, place)
            if data.name in other.keeps
            for held in _limited(company, other, data, place, now, awaited=False)
        )
    )


def owning(walk: Walk, table: str, data: set[str]) -> list[Reference]:
    """The references by which rows of a table with some data lead to their person, or are led to."""
    stops = [walk.stops[i] for i in walk.of_table(table)]
    carrying = [stop for stop in stops if any(data & set(names) for names in stop.columns.values())]
    return list(dict.fromkeys(hop.reference for stop in carrying for hop in stop.hops))


def hangs_on(
    walk: Walk, table: str
) -> tuple[tuple[Reference, ...], tuple[Reference, ...], tuple[Reference, ...]]:
    """References to a table's rows: of ties that go along, of those that can be emptied, of rows that keep them."""
    along: list[Reference] = []
    unlink: list[Reference] = []
    dependents: list[Reference] = []
    for other in walk.tables.values():
        for reference in () if other.is_view else other.references:
            if reference.to != table:
                continue
            owned = [
                walk.stops[i]
                for i in walk.of_table(other.name)
                if any(hop.reference == reference and not hop.forward for hop in walk.stops[i].hops)
            ]
            if owned and other.name != table:
                (dependents if any(stop.columns for stop in owned) else along).append(reference)
            else:
                can = emptied(reference, other) and not reference.path
                (unlink if can else dependents).append(reference)
    return tuple(along), tuple(unlink), tuple(dependents)
