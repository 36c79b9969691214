"""Whose a row is, asked in SQL for one person: theirs, and somebody else's as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kept.stores.clauses import Clauses
from kept.stores.walk import Walk


class Owners:
    """Clauses over the stops of a walk for one person, whose key is bound as `p0`, `p1` …"""

    def __init__(self, say: Clauses, walk: Walk) -> None:
        self.say = say
        self.walk = walk
        self._aliases = 0

    def stops(self, table: str, column: str, *, own: bool) -> list[int]:
        """The stops at a table by which the column is about somebody: this person's kind, or anybody."""
        return [i for i in self.walk.of_table(table, own=own) if column in self.walk.stops[i].columns]

    def theirs(self, table: str, stops: Sequence[int]) -> str:
        """A query of the keys (`k0` …) of the person's rows at some stops of a table; from the person outwards."""
        queries = [
            f"SELECT {self.say.keys(table, 't')} FROM {way} WHERE {self.is_person(start)}"
            for stop in stops
            for way, start in self._ways(stop, "t")
        ]
        return " UNION ".join(queries) if len(queries) > 1 else f"SELECT DISTINCT{queries[0][6:]}"

    def _ways(self, number: int, alias: str) -> Iterator[tuple[str, str]]:
        """Each FROM-clause from the person's own row to a stop's rows, and what that row is called in it."""
        say, stop = self.say, self.walk.stops[number]
        if not stop.hops:
            yield f"{say.name(stop.table)} {alias}", alias
        for hop in stop.hops:
            parent = self._alias()
            match = (
                say.refers(hop.reference, parent, alias)
                if hop.forward
                else say.refers(hop.reference, alias, parent)
            )
            for way, start in self._ways(hop.parent, parent):
                yield f"{way} {say.join} {say.name(stop.table)} {alias} ON {match}", start

    def elses(self, alias: str, stops: Sequence[int]) -> str:
        """That a row is somebody else's by one of these stops: another person's of the kind, or another kind's."""
        return " OR ".join(self._elses(alias, stop) for stop in stops) or "1 = 0"

    def _elses(self, alias: str, number: int) -> str:
        say, stop = self.say, self.walk.stops[number]
        if not stop.hops:
            return f"NOT ({self.is_person(alias)})" if number == 0 else "1 = 1"
        parts = []
        for hop in stop.hops:
            parent = self._alias()
            match = (
                say.refers(hop.reference, parent, alias)
                if hop.forward
                else say.refers(hop.reference, alias, parent)
            )
            source = say.name(self.walk.stops[hop.parent].table)
            further = self._elses(parent, hop.parent)
            parts.append(f"EXISTS (SELECT 1 FROM {source} {parent} WHERE {match} AND ({further}))")
        return " OR ".join(parts)

    def is_person(self, alias: str) -> str:
        """That a row of the root table is the person's own."""
        return " AND ".join(
            f"{self.say.column(alias, column)} = :p{i}" for i, column in enumerate(self.walk.root.person)
        )

    def _alias(self) -> str:
        self._aliases += 1
        return f"a{self._aliases}"
