"""The map: from each kind of person to every row about them, in every connected store.

`build_map` is pure: a policy and schemas in, walks and problems out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kept.datamap.checks import check_declared, check_hanging, check_reached, check_unlinkable
from kept.datamap.dated import dated
from kept.datamap.edges import joined, plain, store_of
from kept.datamap.ways import Ways, ways
from kept.policy.facts import PersonKind
from kept.policy.policy import Policy
from kept.policy.source import Problem, Problems
from kept.stores.schema import Schema, Table
from kept.stores.walk import Erasure, Hold, Hop, Stop, Walk


@dataclass(frozen=True)
class DataMap:
    """Where the data of each kind of person lives, and what stands in the way of finding it."""

    policy: Policy
    tables: Mapping[str, Mapping[str, Table]]
    walks: Mapping[str, Walk]
    problems: tuple[Problem, ...]

    def walk(self, kind: str) -> Walk | None:
        """The walk of a kind (or of the kind it `is`) in its own store; None where that store can't be walked."""
        root = self.policy.root(kind)
        return self.walks.get(root.name) if root is not None else None

    def elsewhere(self, kind: str) -> Mapping[str, tuple[str, ...]]:
        """The tables that carry data of a kind and that its walk doesn't reach, by store."""
        root = self.policy.root(kind)
        return _elsewhere(self.policy, root, set(self.tables)) if root is not None else {}

    def erasure(self, kind: str, holds: Sequence[Hold] = ()) -> Erasure | None:
        """What erasing people of a kind means in its own store; None where that store can't be walked."""
        walk = self.walk(kind)
        return Erasure(walk, tuple(holds)) if walk is not None else None

    def holds(self, kind: str, data: str, event: str, cutoff: datetime | None) -> tuple[Hold, ...]:
        """The rows of some data, of people of a kind, that stay while `event`'s clock hasn't passed `cutoff`.

        `event` is written as in a limit: `recorded`, `user.ended`, `sale.ended`. A table where that clock can't be
        found from the row is held for good, which errs on the side of the hold.
        """
        walk = self.walk(kind)
        if walk is None or data not in self.policy.data:
            return ()
        found = {}
        for rows in dated(self.policy, walk, self.policy.data[data], event):
            limit = cutoff if rows.clock is not None else None
            found[rows.table, rows.clock, rows.path, rows.last] = Hold(
                rows.table, rows.columns, rows.clock, limit, rows.path, rows.last
            )
        return tuple(found.values())


def build_map(policy: Policy, schemas: Mapping[str, Schema]) -> DataMap:
    """The map of a policy over the schemas of its connected SQL stores, with every problem found on the way."""
    problems = Problems()
    tables = {
        name: joined(policy.stores[name], schema, policy)
        for name, schema in schemas.items()
        if name in policy.stores
    }
    check_declared(policy, schemas, problems)
    found: dict[str, dict[str, Ways]] = {}
    for kind in policy.people.values():
        store = store_of(kind.table) if kind.table is not None else ""
        if kind.is_a is not None or kind.table is None or plain(kind.table) not in tables.get(store, {}):
            continue
        if set(kind.key_columns) <= set(tables[store][plain(kind.table)].columns):
            found.setdefault(store, {})[str(kind.name)] = ways(policy, store, tables[store], kind, problems)
    walks = {}
    for store, kinds in found.items():
        for name, own in kinds.items():
            root = own.root
            others = [
                other.stops
                for other_name, other in kinds.items()
                if other_name != name and not other.root.is_organisation and other.root.table != root.table
            ]
            walks[name] = Walk(
                store=store,
                kind=name,
                tables=tables[store],
                stops=_together(own.stops, others),
                own=len(own.stops),
                elsewhere=_elsewhere(policy, root, set(tables)),
            )
        check_reached(policy, store, tables[store], kinds, problems)
        check_hanging(policy, store, tables[store], kinds, problems)
        for name, own in kinds.items():
            if not own.root.is_organisation:
                check_unlinkable(policy, walks[name], problems)
    return DataMap(policy, tables, walks, tuple(problems.in_order()))


def _together(own: list[Stop], others: list[list[Stop]]) -> tuple[Stop, ...]:
    """This kind's stops first, then the other kinds', their hops counted anew."""
    stops = list(own)
    for theirs in others:
        start = len(stops)
        for stop in theirs:
            hops = tuple(Hop(hop.reference, hop.parent + start, hop.forward) for hop in stop.hops)
            stops.append(dataclasses.replace(stop, hops=hops))
    return tuple(stops)


def _elsewhere(policy: Policy, root: PersonKind, connected: set[str]) -> dict[str, tuple[str, ...]]:
    home = store_of(root.table) if root.table is not None else ""
    result: dict[str, list[str]] = {}
    places = [
        (str(full), [owner.who for owner in data.of]) for data in policy.data.values() for full in data.tables
    ] + [(str(link.table), [at.kind for at in link.between.values()]) for link in policy.links.values()]
    for full, owners in places:
        store, table = store_of(full), plain(full)
        if store == home and home in connected:
            continue
        roots = {kind and (found := policy.root(kind)) and found.name for kind in map(policy.kind_of, owners)}
        if root.name in roots and table not in result.setdefault(store, []):
            result[store].append(table)
    return {store: tuple(found) for store, found in result.items() if found}
