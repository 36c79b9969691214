"""Whose rows no sweep takes for now, although they are past their limit.

The data of somebody who had its use restricted is stored and not deleted (GDPR Art. 18(1), (2)); what somebody set a
hold on stays until that is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kept.company import Company
from kept.controls.retention import placed
from kept.controls.rights.instruct import restricted
from kept.datamap.graph import DataMap
from kept.stores.expiring.due import Spared, Step
from kept.stores.walk import Stop, Walk

Keys = Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Sparing:
    """People to be spared, by kind: the `restricted` in all their rows, the `held` in rows with the data of a hold."""

    map: DataMap
    restricted: Mapping[str, Keys] = field(repr=False)
    held: Mapping[tuple[str, tuple[str, ...]], Keys] = field(repr=False)

    def of_rows(self, store: str, table: str, columns: Iterable[str], *, whole: bool) -> tuple[Spared, ...]:
        """Those whose rows in a table must stay when these columns are emptied, or the row goes (`whole`)."""
        found = []
        for kind, keys in self.restricted.items():
            walk = self.map.walk(kind)
            if walk is not None and walk.store == store:
                found += _spared(walk, [walk.stops[i] for i in walk.of_table(table)], keys)
        going = set(columns)
        for (kind, data), keys in self.held.items():
            walk = self.map.walk(kind)
            if walk is None or walk.store != store:
                continue
            stops = [walk.stops[i] for i in walk.of_table(table)]
            held = {c for stop in stops for c, names in stop.columns.items() if set(data) & set(names)}
            cut = {c for stop in stops for hop in stop.hops if not hop.forward for c in hop.reference.columns}
            if held and (whole or going & (held | cut)):
                found += _spared(walk, stops, keys)
        return tuple(found)


def sparing(company: Company) -> Sparing:
    """Whom to spare now."""
    held: dict[tuple[str, tuple[str, ...]], list[tuple[str, ...]]] = {}
    for one in placed.listing(company):
        if one.person is not None:
            held.setdefault((one.person.kind, tuple(sorted(one.data))), []).append(one.person.key)
    return Sparing(company.map, restricted(company), held)


def _spared(walk: Walk, stops: Sequence[Stop], keys: Keys) -> list[Spared]:
    paths = dict.fromkeys(path for stop in stops for path in _paths(walk, stop))
    root = walk.root
    return [Spared(root.table, root.person, tuple(paths), tuple(keys))] if paths and keys else []


def _paths(walk: Walk, stop: Stop) -> list[tuple[Step, ...]]:
    """Every way in which rows of a stop lead to the own row of their person."""
    found: list[tuple[Step, ...]] = []
    ways: list[tuple[Stop, tuple[Step, ...]]] = [(stop, ())]
    for at, path in ways:
        if not at.hops:
            found.append(path)
        ways.extend((walk.stops[hop.parent], (*path, Step(hop.reference, hop.forward))) for hop in at.hops)
    return list(dict.fromkeys(found))
