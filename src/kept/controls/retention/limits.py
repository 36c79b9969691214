"""What a policy's limits mean in the tables of the connected stores: which rows, by which clock, and what then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from kept.company import Company
from kept.controls.retention.declare import Retention
from kept.controls.retention.holds import holds
from kept.policy.grammar import Clock, Period
from kept.policy.words import TYPES
from kept.stores.expiry import Expiry, Overdue, overdue
from kept.stores.schema import Reference
from kept.stores.walk import Hold, Walk, emptied


@dataclass(frozen=True)
class Term:
    """One limit on what one promise keeps in one table.

    `rows` says which rows and by which clock; the columns of `clear` are emptied, or with `whole` the row goes:
    first `along` (rows of ties without data of their own), after `unlink` (references that are emptied), and never
    while rows refer to it along `dependents`: then only its columns are emptied.
    """

    store: str
    rows: Hold
    whole: bool
    clear: tuple[str, ...]
    along: tuple[Reference, ...] = ()
    unlink: tuple[Reference, ...] = ()
    dependents: tuple[Reference, ...] = ()
    held: tuple[Hold, ...] = ()
    depth: int = 0

    @property
    def place(self) -> str:
        return f"{self.store}.{self.rows.table}"

    def expiries(self) -> list[Expiry]:
        """What the store is to take: whole rows first, then the columns of rows that something still hangs on."""
        assert self.rows.clock is not None and self.rows.cutoff is not None
        blanked = Expiry(
            self.rows.table,
            self.rows.clock,
            self.rows.cutoff,
            "blank",
            path=self.rows.path,
            blank_columns=self.clear,
            unless_held=self.held,
        )
        if not self.whole:
            return [blanked] if self.clear else []
        gone = replace(
            blanked,
            then="delete",
            blank_columns=(),
            unless_referenced_by=self.dependents,
            unlink=self.unlink,
            remove_first=self.along,
        )
        return [gone, blanked] if self.dependents and self.clear else [gone]


@dataclass(frozen=True)
class Gap:
    """A part of a retention that can't be measured or carried out, and why."""

    place: str
    reason: str


def terms(company: Company, retention: Retention, now: datetime) -> Iterator[Term | Gap]:
    """Every table a retention speaks of at a time: as a term, or as the reason why there is none."""
    policy = company.policy
    if not isinstance(retention.until, Clock):
        for place in _places(company, retention):
            yield Gap(place, "it has no upper limit, so no row is ever past it")
        return
    clock = retention.until
    if clock.event.moment in ("found", "asked"):
        yield Gap(
            retention.id, f"this version of Kept does not note when something was `{clock.event.moment}`"
        )
        return
    cutoff = (clock.period or Period(0, "hours")).cutoff(now, policy.timezone)
    reached: set[str] = set()
    found: dict[tuple[str, str, str | None, tuple[Reference, ...]], Hold] = {}
    for name in retention.keeps:
        if name not in policy.data:
            yield Gap(
                str(name), "limits on a whole kind of person are not carried out by this version of Kept"
            )
            continue
        kinds = {
            root.name
            for owner in policy.data[name].of
            if (root := policy.root(policy.kind_of(owner.who) or ""))
        }
        for kind in sorted(kinds):
            walk = company.map.walk(kind)
            if walk is None:
                continue
            for rows in company.map.holds(kind, str(name), str(clock.event), cutoff):
                place = f"{walk.store}.{rows.table}"
                reached.add(place)
                if rows.clock is None:
                    yield Gap(place, f"no clock `{clock.event}` can be found from its rows")
                else:
                    together = (walk.kind, rows.table, rows.clock, rows.path)
                    columns = found[together].columns if together in found else ()
                    found[together] = replace(rows, columns=tuple(dict.fromkeys((*columns, *rows.columns))))
        for table in policy.data[name].tables:
            if table not in reached:
                store = table.partition(".")[0]
                why = company.unreachable.get(store) or "nothing leads to its rows"
                yield Gap(str(table), why)
    for (whose, *_), rows in found.items():
        yield _term(company, retention, company.walk(whose), rows, now)


def past(company: Company, term: Term) -> Overdue:
    """The rows of a term that are past their limit now, each counted once: whole rows, and rows only to be emptied."""
    seen = [overdue(company.stores[term.store], expiry) for expiry in term.expiries()]
    oldest = min((one.oldest for one in seen if one.oldest is not None), default=None)
    # What would be emptied is counted among what would go, but for rows that are empty already.
    return Overdue(
        max((one.rows for one in seen), default=0), oldest, max((one.unreadable for one in seen), default=0)
    )


def _places(company: Company, retention: Retention) -> list[str]:
    data = (company.policy.data[name] for name in retention.keeps if name in company.policy.data)
    return [str(table) for entry in data for table in entry.tables] or [str(retention.keeps[0])]


def _term(company: Company, retention: Retention, walk: Walk, rows: Hold, now: datetime) -> Term:
    policy, table = company.policy, walk.tables[rows.table]
    here = [entry for entry in policy.data.values() if f"{walk.store}.{rows.table}" in entry.tables]
    sorts = {str(c): s.type for entry in here for c, s in entry.tables[f"{walk.store}.{rows.table}"].items()}  # type: ignore[index]  # a Name is found by any equal str
    structural = {rows.clock, *table.key, *(c for reference in table.references for c in reference.columns)}
    clear = tuple(
        c for c in rows.columns if c not in structural and sorts.get(c) not in ("recorded", "source")
    )
    anonymise = retention.then == "anonymise"
    if anonymise:
        clear = tuple(c for c in clear if TYPES.get(sorts[c], True))
    whole = not anonymise and all(_same_limit(company, retention, str(entry.name)) for entry in here)
    along: list[Reference] = []
    unlink: list[Reference] = []
    dependents: list[Reference] = []
    for other in walk.tables.values():
        if other.is_view or not whole:
            continue
        for reference in other.references:
            if reference.to != rows.table:
                continue
            owned = [
                walk.stops[i]
                for i in walk.of_table(other.name)
                if any(hop.reference == reference and not hop.forward for hop in walk.stops[i].hops)
            ]
            if owned and other.name != rows.table:
                (dependents if any(stop.columns for stop in owned) else along).append(reference)
            else:
                (unlink if emptied(reference, other) else dependents).append(reference)
    return Term(
        walk.store,
        rows,
        whole,
        clear,
        tuple(along),
        tuple(unlink),
        tuple(dependents),
        tuple(
            hold
            for hold in holds(policy, company.map, walk.kind, now, but=retention)
            if hold.table == rows.table
        ),
        depth=max(walk.of_table(rows.table)),
    )


def _same_limit(company: Company, retention: Retention, data: str) -> bool:
    """Whether other data of a row has the same limit, so that the row may go with it."""
    limits = [
        r.until
        for r in company.policy.section("retention").values()
        if isinstance(r, Retention) and data in r.keeps
    ]
    return retention.until in limits
