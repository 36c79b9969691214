"""From a person to every row about them, as plain values: stops (tables) and hops (references) in walking order.

`kept.datamap.graph` makes these from a policy and a schema; `collect`, `erase` and `remains` carry them out.
Nothing here is SQL.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from kept.policy.grammar import Test
from kept.stores.schema import Reference, Table

Key = tuple[object, ...]
"""A person's key, column by column; numbers and text as they stand in the root table."""

Mode = Literal["share", "remove", "anonymise"]
"""What becomes of a row when an owner goes: it stays for the other owners, goes anyway, or stays without them."""


@dataclass(frozen=True)
class Hop:
    """Rows belong to whom a row of stop `parent` belongs to, along `reference`.

    Usually this stop's rows refer to the parent's; with `forward` the parent's rows refer to this stop's.
    """

    reference: Reference
    parent: int
    forward: bool = False


@dataclass(frozen=True)
class Stop:
    """Rows of one table that belong to a person in one way; a table where several ways lead has several stops.

    `columns` are those declared for such a person, each with the names of its data; `sorts` tells each one's sort.
    The first stop of a walk is the person's own row (no hops): `person` are its key columns, `known_by` the columns
    of the identifiers they are found by.
    """

    table: str
    hops: tuple[Hop, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sorts: Mapping[str, str] = field(default_factory=dict)
    mode: Mode = "share"
    person: tuple[str, ...] = ()
    known_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Walk:
    """The way from people of one kind (their root kind's name) to every row about them in one store.

    A hop's `parent` is the index of an earlier stop, so one pass in order reaches everything. `stops[:own]` are this
    kind's; the rest are the ways other kinds own rows of the same store, which an erasure must respect.
    `elsewhere` names the tables declared in other stores.
    """

    store: str
    kind: str
    tables: Mapping[str, Table]
    stops: tuple[Stop, ...]
    own: int
    elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.store, self.kind, len(self.stops)))  # mappings have none; equal walks have the same

    @property
    def root(self) -> Stop:
        return self.stops[0]

    def of_table(self, table: str, *, own: bool = True) -> list[int]:
        """The stops at a table: this kind's, or everybody's."""
        return [i for i, stop in enumerate(self.stops[: self.own if own else None]) if stop.table == table]

    def own_tables(self) -> list[str]:
        """The tables this kind's rows stand in, in walking order, each once."""
        return list(dict.fromkeys(stop.table for stop in self.stops[: self.own]))


@dataclass(frozen=True)
class Last:
    """The last link of a row's people: of the rows of `table` that refer along `ends` to a row of theirs, by `when`.

    `paths` lead from the row to its people, one for each way in which it is somebody's. All such links are over when
    the last one is; a row whose people have none has nothing to count from, and is `awaited` where that means that the
    clock hasn't started yet. With `known_by` only rows are meant none of whose people is known by those columns of
    their own row any more: what was held when they were erased.
    """

    table: str
    paths: tuple[tuple[Reference, ...], ...]
    ends: tuple[Reference, ...]
    when: Test | None = None
    awaited: bool = False
    known_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hold:
    """Rows of `table` stay while their clock hasn't passed `cutoff`: a clock that is empty hasn't started.

    The clock is `clock` of the row that `path` leads to from the held row (none: the held row itself), or of each of
    their people's links (`last`); without a cutoff they stay for good. `columns` are the held ones; the others of a
    held row are cleared.
    """

    table: str
    columns: tuple[str, ...]
    clock: str | None = None
    cutoff: datetime | None = None
    path: tuple[Reference, ...] = ()
    last: Last | None = None

    @property
    def clock_table(self) -> str:
        """Where the clock stands."""
        if self.last is not None:
            return self.last.table
        return self.path[-1].to if self.path else self.table

    @property
    def shape(self) -> Hashable:
        """Everything but the moment of its cut-off."""
        return (self.table, self.columns, self.clock, self.cutoff is None, self.path, self.last)


@dataclass(frozen=True)
class Erasure:
    """What erasing people of a walk means: the walk, all references of the store, and what is held."""

    walk: Walk
    holds: tuple[Hold, ...] = ()

    @property
    def shape(self) -> Hashable:
        """What its statements depend on: everything but the moments of the cut-offs."""
        return (self.walk, *(hold.shape for hold in self.holds))

    @property
    def references(self) -> tuple[Reference, ...]:
        """Every reference between tables of the store; views have none and are never written to."""
        tables = self.walk.tables
        return tuple(
            reference
            for table in tables.values()
            if not table.is_view
            for reference in table.references
            if reference.to in tables and not tables[reference.to].is_view
        )


def emptied(reference: Reference, table: Table) -> tuple[str, ...]:
    """The columns to empty so that rows of `table` no longer refer along `reference`; none when that can't be done.

    Of a composite reference, those that no other reference uses, so that no other tie is cut.
    """
    if reference.path:
        return reference.columns
    can = tuple(c for c in reference.columns if table.columns[c].nullable and c not in table.key)
    if len(reference.columns) == 1:
        return can
    others = {
        c for other in table.references if set(other.columns) != set(reference.columns) for c in other.columns
    }
    return tuple(c for c in can if c not in others)


def identifies(table: Table, columns: Iterable[str]) -> bool:
    """Whether at most one row of the table has given values in these columns."""
    given = set(columns)
    return bool(table.key and set(table.key) <= given) or any(
        table.columns[column].unique for column in given
    )


def owned_by_one(walk: Walk, table: str) -> bool:
    """Whether a row of the table can belong to one person at most, by the shape of the walk alone."""
    stops = [walk.stops[i] for i in walk.of_table(table, own=False)]
    if len(stops) != 1:
        return False
    hops = stops[0].hops
    if not hops:
        return True
    if len(hops) > 1 or hops[0].forward:
        return False
    parent = walk.tables[walk.stops[hops[0].parent].table]
    return identifies(parent, hops[0].reference.to_columns) and owned_by_one(walk, parent.name)


def goes_along(walk: Walk, reference: Reference) -> bool:
    """Whether a row that refers along this reference goes whenever the row it refers to goes.

    So for a table's only way to its owners, also where people of several kinds own it by that way, for a link's end
    whose rows are removed, and for rows that belong to whoever refers to them, which stay as long as anything does.
    """
    stops = [walk.stops[i] for i in walk.of_table(reference.table, own=False)]
    own = [walk.stops[i] for i in walk.of_table(reference.table)]
    along = [s for s in own if any(hop.reference == reference and not hop.forward for hop in s.hops)]
    if reference.to == walk.root.table and any(stop.mode == "remove" for stop in along):
        return True
    # anybody's claim counts only while the row referred to stays; where that one goes, these must be reached too
    only = bool(along) and all(_only_by(stop, reference) for stop in stops)
    if only and _reached(walk, reference.to, {hop.parent for stop in along for hop in stop.hops}):
        return True
    targets = [walk.stops[i] for i in walk.of_table(reference.to)]
    forward = all(target.hops and all(hop.forward for hop in target.hops) for target in targets)
    return forward and all(any(hop.reference == reference for hop in target.hops) for target in targets)


def _only_by(stop: Stop, reference: Reference) -> bool:
    """Whether rows of a stop are somebody's by this reference alone, and then go with them."""
    by = bool(stop.hops) and all(hop.reference == reference and not hop.forward for hop in stop.hops)
    return by and stop.mode != "anonymise"


def _reached(walk: Walk, table: str, ways: set[int]) -> bool:
    """Whether a row of a table that goes is reached by one of some stops at it.

    By another stop it goes alone only where that one removes it; what is shared goes with the last of its owners.
    """
    return all(walk.stops[i].mode == "share" for i in walk.of_table(table) if i not in ways)
