"""Whose rows of some data a limit is about, and where the clock of its event stands for them.

A clock decides only where it is one clock: rows that several people own, or that lead to it in several ways, have
none. A link's clock that a row doesn't lead to is that of its people's last such link. Tests of kinds
(`seller: {is: member, when: …}`) and of links narrow the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from kept.datamap.edges import plain
from kept.policy.facts import Data
from kept.policy.grammar import Owner
from kept.policy.policy import Policy
from kept.stores.expiring.due import Only
from kept.stores.schema import Reference
from kept.stores.walk import Last, Stop, Walk, identifies

Path = tuple[Reference, ...]


@dataclass(frozen=True)
class Dated:
    """Rows of `table` with some data in `columns`: those that meet `only`, by `clock` of the row at `path`'s end, or of
    their people's `last` link.

    Where that can't be told, `why_not` says why: for `whose`, not even which rows are meant.
    """

    table: str
    columns: tuple[str, ...]
    clock: str | None = None
    path: Path = ()
    only: tuple[Only, ...] = ()
    why_not: str | None = None
    whose: bool = True
    last: Last | None = None


def dated(policy: Policy, walk: Walk, data: Data, event: str) -> tuple[Dated, ...]:
    """Every table of a walk that carries some data, once for each owner whose rows are told apart by a test."""
    found: list[Dated] = []
    for table in walk.own_tables():
        found += _of_table(policy, walk, data, table, event)
    return tuple(found)


def _of_table(policy: Policy, walk: Walk, data: Data, table: str, event: str) -> list[Dated]:
    stops = [walk.stops[i] for i in walk.of_table(table)]
    carrying = [stop for stop in stops if any(str(data.name) in names for names in stop.columns.values())]
    found: list[Dated] = []
    for stop in carrying:
        columns = tuple(column for column, names in stop.columns.items() if str(data.name) in names)
        rows = Dated(table, columns)
        owners = _owners(policy, walk, stop, data)
        tests = {owner: _tests(policy, walk, stop, owner) for owner in owners}
        if len(set(tests.values())) > 1 and stop is not walk.root:
            found.append(replace(rows, why_not="which of its owners' tests holds can't be told", whose=False))
            continue
        for owner, only in tests.items():
            if only is None:
                why = f"whether its rows are of a `{owner.who}` can't be told from them"
                found.append(replace(rows, why_not=why, whose=False))
            elif _concerns(policy, owner, event):
                found.append(_clocked(policy, walk, stop, data, event, replace(rows, only=only)))
    last = _last(policy, walk, carrying, event) if all(rows.clock is None for rows in found) else None
    if last is not None:
        clock = str(policy.moment(*event.rpartition(".")[::2]))
        found = [
            replace(rows, clock=clock, last=last, why_not=None) if rows.whose else rows for rows in found
        ]
    ways = {(rows.clock, rows.path) for rows in found if rows.clock is not None}
    if len(ways) > 1:
        why = f"a row may lead to more than one `{event}`, and one alone doesn't decide"
        found = [replace(rows, clock=None, path=(), why_not=rows.why_not or why) for rows in found]
    if not found and carrying:
        columns = tuple(dict.fromkeys(column for stop in carrying for column in stop.columns))
        found = [Dated(table, columns, why_not=f"no clock `{event}` can be found from its rows")]
    return _widest(found)


def _widest(found: list[Dated]) -> list[Dated]:
    """Each once, and without those that another one includes."""
    distinct = list(dict.fromkeys(found))
    return [
        one
        for one in distinct
        if not any(
            other.why_not is None
            and (one.clock, one.path, one.last) == (other.clock, other.path, other.last)
            and set(other.only) < set(one.only)
            and set(one.columns) <= set(other.columns)
            for other in distinct
        )
    ]


def _owners(policy: Policy, walk: Walk, stop: Stop, data: Data) -> list[Owner]:
    """The owners by whom rows are reached along a stop."""
    mine = [
        owner
        for owner in data.of
        if (root := policy.root(policy.kind_of(owner.who) or "")) is not None and root.name == walk.kind
    ]
    if stop is walk.root:
        return mine
    leaving = {column for hop in stop.hops for column in hop.reference.columns}
    found = []
    for owner in mine:
        link, _, end = owner.who.partition(".")
        if end:
            at = str(policy.links[link].between[end].column)  # type: ignore[index]  # a Name is found by any equal str
            parents = [walk.stops[hop.parent] for hop in stop.hops]
            by = {column for parent in parents for hop in parent.hops for column in hop.reference.columns}
            here = f"{walk.store}.{stop.table}" == policy.links[link].table
            if at in (leaving if here else by):
                found.append(owner)
        elif owner.column is None or owner.column in leaving:
            found.append(owner)
    return found


def _tests(policy: Policy, walk: Walk, stop: Stop, owner: Owner) -> tuple[Only, ...] | None:
    """What tells that a row is of an owner; None when its rows don't lead to what would tell."""
    kind = policy.kind_of(owner.who) or ""
    made = _of_kind(policy, walk, stop, kind)
    link, dot, _ = owner.who.partition(".")
    tied: tuple[Only, ...] | None = _of_link(policy, walk, stop, link) if dot else ()
    return None if made is None or tied is None else (*tied, *made)


def _of_kind(policy: Policy, walk: Walk, stop: Stop, kind: str) -> tuple[Only, ...] | None:
    tests = [test for name in policy.chain(kind) if (test := policy.people[name].when) is not None]
    if not tests:
        return ()
    root = policy.root(kind)
    paths = paths_to(walk, stop, walk.root.table)
    if root is None or len(paths) != 1:
        return None
    born = str(root.born) if root.born is not None else None
    return tuple(Only(paths[0], test, born) for test in tests)


def _of_link(policy: Policy, walk: Walk, stop: Stop, name: str) -> tuple[Only, ...] | None:
    link = policy.links[name]
    if link.when is None:
        return ()
    paths = paths_to(walk, stop, plain(link.table))
    return (Only(paths[0], link.when),) if len(paths) == 1 else None


def _concerns(policy: Policy, owner: Owner, event: str) -> bool:
    """Whether an event of a kind may be one of this owner: `seller.ended` isn't a buyer's."""
    of, _, _ = event.rpartition(".")
    kind = policy.kind_of(owner.who) or ""
    return of not in policy.people or of in policy.chain(kind) or kind in policy.chain(of)


def _clocked(policy: Policy, walk: Walk, stop: Stop, data: Data, event: str, rows: Dated) -> Dated:
    """The rows with their clock, or with the reason why they have none."""
    of, _, moment = event.rpartition(".")
    if moment == "recorded":
        columns = _recorded(policy, walk, stop.table, data)
        if len(columns) == 1:
            return replace(rows, clock=columns[0])
        several = f"{' and '.join(columns)} could each be when its rows were recorded"
        return replace(rows, why_not=several if columns else "no column says when its rows were recorded")
    lost = replace(rows, why_not=f"no clock `{event}` can be found from its rows")
    column = policy.moment(of, moment)
    root = policy.root(of)
    if column is None or (of not in policy.links and (root is None or root.name != walk.kind)):
        return lost
    table = plain(policy.links[of].table) if of in policy.links else walk.root.table
    paths = paths_to(walk, stop, table)
    if len(paths) > 1:
        why = f"a row may lead to more than one `{event}`, and one alone doesn't decide"
        return replace(rows, why_not=why)
    if not paths:
        return lost
    tests = _of_link(policy, walk, stop, of) if of in policy.links else _of_kind(policy, walk, stop, of)
    if tests is None:
        return lost
    if not all(identifies(walk.tables[step.to], step.to_columns) for step in paths[0]):
        return replace(rows, why_not=f"a row may lead to several rows with the clock `{event}`")
    return replace(rows, clock=str(column), path=paths[0], only=tuple(dict.fromkeys((*rows.only, *tests))))


def _last(policy: Policy, walk: Walk, stops: list[Stop], event: str) -> Last | None:
    """The links of the people that rows of these stops are of; None where the rows don't lead to all their people."""
    link = policy.links.get(event.rpartition(".")[0])
    if link is None or policy.moment(*event.rpartition(".")[::2]) is None:
        return None
    table, home = plain(link.table), walk.root.table
    if link.table != f"{walk.store}.{table}" or table not in walk.tables:
        return None
    columns = {
        str(at.column)
        for at in link.between.values()
        if (root := policy.root(str(at.kind))) is not None and root.name == walk.kind
    }
    ends = tuple(r for r in walk.tables[table].references if r.to == home and columns & set(r.columns))
    paths = [paths_to(walk, stop, home) for stop in stops]
    whole = all(paths) and all(not any(hop.forward for hop in stop.hops) for stop in stops)
    if not ends or not whole or any(paths_to(walk, stop, table) for stop in stops):
        return None
    return Last(table, tuple(dict.fromkeys(path for each in paths for path in each)), ends, link.when)


def _recorded(policy: Policy, walk: Walk, table: str, data: Data) -> list[str]:
    """The columns that may be the own time of some data's rows: its own, else those of all data in the table."""

    def columns(entries: list[Data]) -> Iterator[str]:
        for entry in entries:
            for full, sorts in entry.tables.items():
                if full == f"{walk.store}.{table}":
                    yield from (str(column) for column, sort in sorts.items() if sort.type == "recorded")

    found = list(columns([data])) or list(columns(list(policy.data.values())))
    return [column for column in dict.fromkeys(found) if column in walk.tables[table].columns]


def paths_to(walk: Walk, stop: Stop, table: str) -> list[Path]:
    """The owning references that lead from a stop's rows down to a table, in each way there is."""
    found: list[Path] = []
    ways: list[tuple[Stop, Path]] = [(stop, ())]
    for at, path in ways:
        if at.table == table:
            found.append(path)
            continue
        ways.extend((walk.stops[hop.parent], (*path, hop.reference)) for hop in at.hops if not hop.forward)
    return list(dict.fromkeys(found))
