"""The rows that a batch of people own, found in the database: one query a stop, however many people."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from copy import copy
from typing import Any, TypeVar

import sqlalchemy as sa

from kept.stores.clauses import Clauses
from kept.stores.relations import Relations, Result, Temporary, Together
from kept.stores.schema import Column, Reference
from kept.stores.sql import SQLStore
from kept.stores.walk import Hop, Key, Stop, Walk, identifies

PEOPLE = "kept_people"
FEW = 20
"""So many people at most are served by one statement; more by temporary tables."""
SOME = 2000
"""So many are looked for in one statement, of which nothing much is expected to be there."""
ROWS = 1000
"""Nor more than so many rows of theirs: the parts of one statement aren't counted, and the planner may go astray."""


class Reach:
    """Relations over one connection: the people of a batch, and the keys of their rows stop by stop.

    `kept_people(person, k0 …)` numbers the keys; `kept_stop_N(person, k0 …)` are the rows of stop N, with the number
    of the person where `by_person`, else each row once. Views have no keys and so no such relation. `together` makes
    them parts of one statement instead of temporary tables.
    """

    def __init__(
        self,
        connection: sa.Connection,
        store: SQLStore,
        walk: Walk,
        people: Sequence[Key],
        *,
        by_person: bool = False,
        together: bool = False,
        few: bool | None = None,
    ) -> None:
        self.connection = connection
        self.walk = walk
        self.by_person = by_person
        self.say = Clauses(store, walk.tables)
        self._unmade: dict[int, str] = {}
        self.together = together and self.say.one_statement
        self.relations: Relations = (
            Together(connection, self.say, few=len(people) <= FEW if few is None else few)
            if self.together
            else Temporary(connection, self.say)
        )
        self._people(people)

    def over(self, connection: sa.Connection, people: Sequence[Key]) -> Reach:
        """The same statements over another connection, for other people; only those that are sent `together`."""
        assert isinstance(self.relations, Together)
        again = copy(self)
        again.connection = connection
        again.relations = self.relations.over(connection, self._given(people))
        return again

    def with_values(self, values: Mapping[str, object]) -> Reach:
        """The same with more bound values."""
        assert isinstance(self.relations, Together)
        again = copy(self)
        again.relations = self.relations.over(self.connection, {**self.relations.values, **values})
        return again

    def run(self, statement: str, **values: object) -> Result:
        return self.relations.run(statement, **values)

    def make(self, name: str, query: str, *, index: str | None = None, **values: Any) -> None:
        self.relations.make(name, query, index=index, **values)

    def of(self, name: str) -> str:
        return self.relations.of(name)

    def stop(self, number: int) -> str:
        """A stop as an item of FROM, which needs an alias."""
        return self._unmade.get(number) or self.of(f"kept_stop_{number}")

    def _people(self, keys: Sequence[Key]) -> None:
        """Number the people of the batch."""
        root, say = self.walk.root, self.say
        shapes, given = self._shapes(), self._given(keys)
        taken = ", ".join(f"j.v{i} AS k{i}" for i in range(len(shapes)))
        number = "j.n" if self.by_person or say.loose_keys else "DISTINCT 0"
        query = f"SELECT {number} AS person, {taken} FROM {say.unpacked(shapes)}"
        index = ", ".join(f"k{i}" for i in range(len(shapes)))
        if isinstance(self.relations, Temporary):
            columns = ", ".join(f"{say.name(column)} AS k{i}" for i, column in enumerate(root.person))
            shape = f"SELECT 0 AS person, {columns} FROM {say.name(root.table)} WHERE 1 = 0"
            self.relations.shaped(PEOPLE, shape, query, index=index, **given)
        else:
            self.make(PEOPLE, query, **given)

    def _shapes(self) -> list[Column]:
        return [self.walk.tables[self.walk.root.table].columns[column] for column in self.walk.root.person]

    def _given(self, keys: Sequence[Key]) -> dict[str, Any]:
        return self.say.given(self._shapes(), list(enumerate(keys)))

    def stops(self) -> None:
        """Make a relation of each of this kind's stops, in walking order."""
        for number, stop in enumerate(self.walk.stops[: self.walk.own]):
            if self.walk.tables[stop.table].is_view:
                continue
            keys = self.say.keys(stop.table, "t")
            if not self.together and not self.by_person and self.once(stop) and self._last(number):
                # as many rows as any, perhaps, and needed once: not worth a table
                self._unmade[number] = f"(SELECT {keys} FROM {self.ways(stop)[0]})"
                continue
            chosen = f"s.person, {keys}" if self.by_person else keys
            ways = self.ways(stop)
            each = "" if len(ways) > 1 or self.once(stop) else "DISTINCT "  # a UNION gives each once
            queries = [f"SELECT {each}{chosen} FROM {way}" for way in ways]
            names = ", ".join(f"k{i}" for i in range(len(self.say.key(stop.table))))
            self.make(
                f"kept_stop_{number}",
                " UNION ".join(queries),
                index=f"person, {names}" if self.by_person else names,
            )

    def once(self, stop: Stop) -> bool:
        """Whether the one way to a stop comes to each row once (for each person), so that none need be told apart."""
        if self.say.loose_keys:
            return False  # two forms of a key may turn into one
        if not stop.hops:
            return identifies(self.walk.tables[stop.table], stop.person)
        if len(stop.hops) > 1 or stop.hops[0].forward:
            return False
        parent = self.walk.stops[stop.hops[0].parent]
        return identifies(self.walk.tables[parent.table], stop.hops[0].reference.to_columns)

    def size_queries(self) -> dict[str, str]:
        """Queries for how many rows each stop has, as far as more than few are counted."""
        stops = [i for i in range(self.walk.own) if not self.walk.tables[self.walk.stops[i].table].is_view]
        return {
            f"stop {i}": f"SELECT COUNT(*) FROM (SELECT 1 FROM {self.stop(i)} s LIMIT {ROWS + 1}) AS few"
            for i in stops
        }

    def bound(self) -> str:
        """A condition, asked once a statement: that the rows of these people are few (`kept_few` has a row)."""
        total = " + ".join(f"({query})" for query in self.size_queries().values())
        self.make("kept_few", f"SELECT 1 AS few WHERE {total} <= {ROWS}")
        return "EXISTS (SELECT 1 FROM kept_few)"

    def ways(self, stop: Stop) -> list[str]:
        """The FROM-clauses that lead to a stop's rows `t`, each from a relation `s`."""
        table = self.say.name(stop.table)
        ways = [f"{source} {self.say.join} {table} t ON {match}" for source, match in self._ways(stop)]
        return list(dict.fromkeys(ways))

    def straight(self) -> list[str]:
        """The FROM-clauses from the people's keys straight to rows `t` of theirs; all others lead on from those."""
        people = f"{self.of(PEOPLE)} s"
        own = self.walk.stops[: self.walk.own]
        ways = [(stop.table, *way) for stop in own for way in self._ways(stop)]
        return [
            f"{source} {self.say.join} {self.say.name(table)} t ON {match}"
            for table, source, match in ways
            if source == people
        ]

    def _ways(self, stop: Stop) -> list[tuple[str, str]]:
        """What the rows `t` of a stop are found from, and how."""
        if not stop.hops:
            match = " AND ".join(f"t.{self.say.name(c)} = s.k{i}" for i, c in enumerate(stop.person))
            return [(f"{self.of(PEOPLE)} s", match)]
        return [self._way(hop) for hop in stop.hops]

    def _way(self, hop: Hop) -> tuple[str, str]:
        say, reference, parent = self.say, hop.reference, self.walk.stops[hop.parent]
        source = f"{self.stop(hop.parent)} s"
        between = f"{source} {say.join} {say.name(parent.table)} p ON {say.same_row(parent.table, 'p', 's')}"
        if hop.forward:
            return between, say.refers(reference, "p", "t")
        if parent.person and set(reference.to_columns) == set(parent.person):
            # straight from the people's keys, so that rows of somebody whose own row is gone are found too
            values = [f"s.k{parent.person.index(column)}" for column in reference.to_columns]
            return f"{self.of(PEOPLE)} s", say.refers(reference, "t", "s", values=values)
        direct = self.direct(reference, "s")
        if direct is not None:
            return source, say.refers(reference, "t", "s", values=direct)
        return between, say.refers(reference, "t", "p")

    def deletion(self, table: str) -> str | None:
        """The DELETE of all rows of a table's stop, where that is no relation of its own."""
        [number, *more] = self.walk.of_table(table)
        if more or number not in self._unmade:
            return None
        [(source, match)] = self._ways(self.walk.stops[number])
        return f"DELETE FROM {self.say.name(table)} t USING {source} WHERE {match}"

    def _last(self, number: int) -> bool:
        """Whether a stop is the only one at its table and none goes on from it, so that little is asked of it."""
        stop, stops = self.walk.stops[number], self.walk.stops
        here = self.walk.of_table(stop.table, own=False)
        return (
            bool(stop.hops)
            and here == [number]
            and not any(h.parent == number for s in stops for h in s.hops)
        )

    def direct(self, reference: Reference, alias: str) -> list[str] | None:
        """What a reference points at, where the row's key in a relation already says it."""
        key = self.walk.tables[reference.to].key
        if key and set(reference.to_columns) <= set(key):
            return [f"{alias}.k{key.index(column)}" for column in reference.to_columns]
        return None


Made = TypeVar("Made")


def reached(
    connection: sa.Connection,
    store: SQLStore,
    walk: Walk,
    people: Sequence[Key],
    what: Hashable,
    make: Callable[[Reach], Made],
    *,
    by_person: bool = False,
    together: bool = False,
) -> tuple[Reach, Made]:
    """A reach, and what `make` makes of it: each time for temporary tables, once for `what` where sent together."""
    if not (together and store.one_statement):
        reach = Reach(connection, store, walk, people, by_person=by_person)
        return reach, make(reach)
    few = len(people) <= FEW

    def write() -> tuple[Reach, Made]:
        reach = Reach(connection, store, walk, (), by_person=by_person, together=True, few=few)
        return reach, make(reach)

    reach, made = store.once((what, walk, by_person, few), write)
    return reach.over(connection, people), made


def as_keys(keys: Iterable[object]) -> list[Key]:
    """Keys as tuples, each once, in order; a single value is a key of one column."""
    return list(dict.fromkeys(key if isinstance(key, tuple) else (key,) for key in keys))
