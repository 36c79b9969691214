"""What a policy's limits mean in the tables of the connected stores: which rows, by which clock, and what then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from kept.company import Company
from kept.controls.retention.declare import Retention
from kept.controls.retention.rows import Rows, hangs_on, kept_clocks, other_limits, owning, running_holds
from kept.controls.retention.spared import Sparing
from kept.datamap.dated import Dated, dated
from kept.policy.grammar import Clock, Period
from kept.policy.words import TYPES
from kept.stores.erasing.blanks import emptying
from kept.stores.expiring.due import Expiry, Held, Overdue, Spared
from kept.stores.expiring.expiry import overdue
from kept.stores.schema import Reference
from kept.stores.walk import Last, Walk, emptied


@dataclass(frozen=True)
class Term:
    """One limit on what one promise keeps in one table.

    `rows` says which rows and by which clock; the columns of `clear` are emptied, or with `whole` the row goes:
    first `along` (rows of ties without data of their own), after `unlink` (references that are emptied), and never
    while rows refer to it along `dependents`, nor while other data of the row has time left (`others`): then only its
    columns are emptied. Columns of `stuck` can't be; rows that stay with them are past their limit for all to see.
    `cut` are references to the person among `clear`. What is `held` keeps its own columns, and the row. Whoever is
    spared (`sparing`) keeps everything.
    """

    store: str
    rows: Rows
    whole: bool
    clear: tuple[str, ...]
    stuck: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    along: tuple[Reference, ...] = ()
    unlink: tuple[Reference, ...] = ()
    dependents: tuple[Reference, ...] = ()
    held: tuple[Held, ...] = ()
    others: tuple[Held, ...] = ()
    sparing: Sparing | None = None
    depth: int = 0

    @property
    def place(self) -> str:
        return f"{self.store}.{self.rows.table}"

    def expiries(self) -> list[Expiry]:
        """What the store is to take: whole rows first, then the columns of rows that stay."""
        gone = replace(
            self.rows.past(),
            spared=self._spared(self.clear, whole=True),
            unless_held=(*self.held, *self.others),
            unless_referenced_by=self.dependents,
            unlink=self.unlink,
            remove_first=self.along,
        )
        groups: dict[tuple[Held, ...], list[str]] = {}
        if not self.whole or self.dependents or self.held or self.others or gone.spared:
            for column in self.clear:
                groups.setdefault(self._holding(column), []).append(column)
        blanked = [
            replace(
                self._left(holding),
                then="blank",
                blank_columns=tuple(columns),
                spared=self._spared(columns),
            )
            for holding, columns in groups.items()
        ]
        return [gone, *blanked] if self.whole else blanked

    def measured(self) -> list[Expiry]:
        """Rows that are past their limit: what the store is to take, and what it can't."""
        return [
            *self.expiries(),
            *(
                replace(self._left(holding), spared=self._spared(self.stuck))
                for holding in dict.fromkeys(self._holding(c) for c in self.stuck)
            ),
        ]

    def _spared(self, columns: Iterable[str], *, whole: bool = False) -> tuple[Spared, ...]:
        if self.sparing is None:
            return ()
        return self.sparing.of_rows(self.store, self.rows.table, columns, whole=whole)

    def _holding(self, column: str) -> tuple[Held, ...]:
        """The holds that keep a column of a row."""
        return tuple(held for held in self.held if column in (*held.hold.columns, *self.cut))

    def _left(self, holding: tuple[Held, ...]) -> Expiry:
        return replace(self.rows.past(), unless_held=holding)


@dataclass(frozen=True)
class Gap:
    """A part of a retention that can't be measured or carried out, and why."""

    place: str
    reason: str


def terms(
    company: Company, retention: Retention, now: datetime, spare: Sparing | None = None
) -> Iterator[Term | Gap]:
    """Every table a retention speaks of at a time: as a term, or as the reason why there is none.

    `spare` says whose rows are left alone for now.
    """
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
    today = now.astimezone(policy.timezone).date()
    found: dict[Rows, tuple[Walk, tuple[str, ...]]] = {}
    naming_files = _naming_files(company)
    for name in retention.keeps:
        if name not in policy.data:
            yield Gap(
                str(name), "limits on a whole kind of person are not carried out by this version of Kept"
            )
            continue
        seen = list(_dated(company, str(name), clock))
        told = {f"{walk.store}.{rows.table}" for walk, rows in seen if rows.clock is not None}
        reached = set(told)
        for walk, rows in seen:
            place = f"{walk.store}.{rows.table}"
            reached.add(place)
            if place in naming_files:
                yield Gap(place, "its rows name files, which a sweep of this version does not delete")
                continue
            last = _erased_only(company, retention, str(name), walk, rows.last)
            if rows.last is not None and last is None:
                why = "whether somebody was erased can't be told from their row, and for others another limit decides"
                yield Gap(place, why)
            elif rows.clock is not None:
                if last is not None and last.known_by:
                    yield Gap(place, "of people who are here still it takes nothing: another limit decides")
                always = clock.event.moment != "ended"
                key = Rows(
                    rows.table, rows.clock, cutoff, rows.path, rows.only, always, today, walk.kind, last
                )
                columns = found[key][1] if key in found else ()
                found[key] = (walk, tuple(dict.fromkeys((*columns, *rows.columns))))
            elif place not in told or not rows.whose:
                yield Gap(place, rows.why_not or "its clock can't be told")
        for table in policy.data[name].tables:
            if table not in reached:
                store = table.partition(".")[0]
                why = company.unreachable.get(store) or "nothing leads to its rows"
                yield Gap(str(table), why)
    for key, (walk, columns) in found.items():
        for term in _terms(company, retention, walk, key, columns, now):
            yield term if isinstance(term, Gap) else replace(term, sparing=spare)


def _erased_only(
    company: Company, retention: Retention, name: str, walk: Walk, last: Last | None
) -> Last | None:
    """The links that a limit counts from: of a hold beside another limit on the same data, for what it alone kept.

    Such a promise says why data outlives an erasure. Its end is no reason to take what people who are here still have.
    None where the two can't be told apart.
    """
    others = (
        other
        for other in company.policy.section("retention").values()
        if isinstance(other, Retention) and other is not retention and name in other.keeps and not other.hold
    )
    if last is None or not retention.hold or not any(others):
        return last
    shape, dialect = walk.tables[walk.root.table], company.stores[walk.store].dialect
    known_by = walk.root.known_by
    if not known_by or any(emptying(dialect, shape, column).to is None for column in known_by):
        return None
    return replace(last, known_by=known_by)


def _naming_files(company: Company) -> set[str]:
    """The tables with paths to files: once such a row is gone nothing leads to its file any more."""
    return {
        str(table)
        for data in company.policy.data.values()
        for table, columns in data.tables.items()
        if any(sort.store is not None for sort in columns.values())
    }


def _dated(company: Company, name: str, clock: Clock) -> Iterator[tuple[Walk, Dated]]:
    policy = company.policy
    kinds = {root.name for who in policy.owners(policy.data[name]) if (root := policy.root(who))}
    for kind in sorted(kinds):
        walk = company.map.walk(kind)
        if walk is not None:
            for rows in dated(policy, walk, policy.data[name], str(clock.event)):
                yield walk, rows


def past(company: Company, term: Term) -> Overdue:
    """The rows of a term that are past their limit now, each counted once: whole rows, and rows only to be emptied."""
    return overdue(company.stores[term.store], *term.measured())


def _places(company: Company, retention: Retention) -> list[str]:
    data = (company.policy.data[name] for name in retention.keeps if name in company.policy.data)
    return [str(table) for entry in data for table in entry.tables] or [str(retention.keeps[0])]


def _terms(
    company: Company, retention: Retention, walk: Walk, rows: Rows, columns: tuple[str, ...], now: datetime
) -> Iterator[Term | Gap]:
    policy, table = company.policy, walk.tables[rows.table]
    place = f"{walk.store}.{rows.table}"
    if table.is_view:
        yield Gap(place, "it is a view: only the tables it is made of can be emptied")
        return
    sorts = {
        str(c): s.type
        for entry in policy.data.values()
        for full, declared in entry.tables.items()
        if full == place
        for c, s in declared.items()
    }
    anonymise = retention.then == "anonymise"
    structure = {*table.key, *(c for r in table.references if not r.path for c in r.columns)}
    dialect = company.stores[walk.store].dialect
    clear: list[str] = []
    stuck: list[str] = []
    for column in columns:
        sort = sorts.get(column, "")
        personal = TYPES.get(sort, True)
        if sort in ("recorded", "source") or column in kept_clocks(policy, place, rows):
            continue
        if anonymise and not personal:
            continue
        if column in structure:
            stuck += [column] if personal else []
        else:
            (clear if emptying(dialect, table, column).to is not None else stuck).append(column)
    others = other_limits(company, retention, place, rows, now)
    cut: list[str] = []
    for reference in owning(walk, rows.table, {str(n) for n in retention.keeps}) if anonymise else ():
        can = emptied(reference, table) if reference.table == rows.table and not reference.path else ()
        if can and not others:
            cut += [column for column in can if column not in stuck]
            stuck = [column for column in stuck if column not in can]
        else:
            why = "other data of its rows is kept longer" if can else "that reference can't be emptied"
            yield Gap(place, f"it still leads to the person by {'+'.join(reference.columns)}: {why}")
    whole = not anonymise and not any(held.hold.cutoff is None and not held.only for held in others)
    along, unlink, dependents = hangs_on(walk, rows.table) if whole else ((), (), ())
    term = Term(
        walk.store,
        rows,
        whole,
        tuple(dict.fromkeys((*clear, *cut))),
        tuple(stuck),
        tuple(cut),
        along,
        unlink,
        dependents,
        running_holds(company, retention, place, now),
        others if whole else (),
        depth=_depth(walk, rows),
    )
    if term.measured():
        yield term
    else:
        yield Gap(place, "it has no column that could be emptied")


def _depth(walk: Walk, rows: Rows) -> int:
    """How far rows are from people; those that count from links go before the links do, which are their clock."""
    own = max(walk.of_table(rows.table))
    return own if rows.last is None else max(own, *(i + 1 for i in walk.of_table(rows.last.table)))
