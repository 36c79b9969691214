"""The rows that a batch of people own, found in the database: one statement a stop, however many people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from kept.stores.clauses import Clauses
from kept.stores.schema import Reference
from kept.stores.sql import SQLStore
from kept.stores.walk import Hop, Key, Stop, Walk

PEOPLE = "kept_people"


class Reach:
    """Temporary tables over one connection: the people of a batch, and the keys of their rows stop by stop.

    `kept_people(person, k0 …)` numbers the keys; `kept_stop_N(person, k0 …)` are the rows of stop N, with the number
    of the person where `by_person`, else each row once. Views have no keys and so no such table.
    """

    def __init__(self, connection: sa.Connection, store: SQLStore, walk: Walk, *, by_person: bool) -> None:
        self.connection = connection
        self.walk = walk
        self.by_person = by_person
        self.say = Clauses(store, walk.tables)
        self.made: list[str] = []

    def run(self, statement: str, **values: object) -> sa.CursorResult[*tuple[Any, ...]]:
        return self.say.run(self.connection, statement, **values)

    def make(self, name: str, query: str, *, index: str | None = None) -> None:
        """A temporary table from a query, gone with the transaction in PostgreSQL and by `drop` in SQLite."""
        end = "" if self.say.sqlite else " ON COMMIT DROP"
        self.run(f"CREATE TEMPORARY TABLE {name}{end} AS {query}")
        self.made.append(name)
        self.settle(name, index)

    def settle(self, name: str, index: str | None) -> None:
        """Index a filled temporary table and have the planner count it.

        Uncounted, SQLite takes it for a million rows and reads a whole table of the company's into a filter first.
        """
        if index:
            where = f"temp.{name}_k ON {name}" if self.say.sqlite else f"{name}_k ON {name}"
            self.run(f"CREATE INDEX {where} ({index})")
        self.run(f"ANALYZE {self.say.temporary(name)}")

    def drop(self) -> None:
        for name in reversed(self.made):
            self.run(f"DROP TABLE {self.say.temporary(name)}")
        self.made.clear()

    def people(self, keys: Sequence[Key]) -> None:
        """Number the people of the batch."""
        root = self.walk.root
        shapes = [self.walk.tables[root.table].columns[column] for column in root.person]
        columns = ", ".join(f"{self.say.name(column)} AS k{i}" for i, column in enumerate(root.person))
        end = "" if self.say.sqlite else " ON COMMIT DROP"
        shape = f"SELECT 0 AS person, {columns} FROM {self.say.name(root.table)} WHERE 1 = 0"
        self.run(f"CREATE TEMPORARY TABLE {PEOPLE}{end} AS {shape}")
        self.made.append(PEOPLE)
        taken = ", ".join(f"j.v{i}" for i in range(len(shapes)))
        self.run(
            f"INSERT INTO {self.say.temporary(PEOPLE)} SELECT j.n, {taken} FROM {self.say.unpacked(shapes)}",
            given=self.say.given(shapes, list(enumerate(keys))),
        )
        self.settle(PEOPLE, ", ".join(f"k{i}" for i in range(len(shapes))))

    def stops(self) -> None:
        """Fill one temporary table for each of this kind's stops, in walking order."""
        for number, stop in enumerate(self.walk.stops[: self.walk.own]):
            if self.walk.tables[stop.table].is_view:
                continue
            keys = self.say.keys(stop.table, "t")
            chosen = f"s.person, {keys}" if self.by_person else keys
            queries = [f"SELECT DISTINCT {chosen} FROM {way}" for way in self.ways(stop)]
            names = ", ".join(f"k{i}" for i in range(len(self.say.key(stop.table))))
            self.make(
                f"kept_stop_{number}",
                " UNION ".join(queries),
                index=f"person, {names}" if self.by_person else names,
            )

    def ways(self, stop: Stop) -> list[str]:
        """The FROM-clauses that lead to a stop's rows `t`, each from a temporary table `s`."""
        table = self.say.name(stop.table)
        if not stop.hops:
            match = " AND ".join(f"t.{self.say.name(c)} = s.k{i}" for i, c in enumerate(stop.person))
            return [f"{self.say.temporary(PEOPLE)} s {self.say.join} {table} t ON {match}"]
        return list(dict.fromkeys(self._way(hop, table) for hop in stop.hops))

    def _way(self, hop: Hop, table: str) -> str:
        say, reference, parent = self.say, hop.reference, self.walk.stops[hop.parent]
        source = say.temporary(f"kept_stop_{hop.parent}")
        between = (
            f"{source} s {say.join} {say.name(parent.table)} p ON {say.same_row(parent.table, 'p', 's')}"
        )
        if hop.forward:
            return f"{between} {say.join} {table} t ON {say.refers(reference, 'p', 't')}"
        if parent.person and set(reference.to_columns) == set(parent.person):
            # straight from the people's keys, so that rows of somebody whose own row is gone are found too
            values = [f"s.k{parent.person.index(column)}" for column in reference.to_columns]
            return f"{say.temporary(PEOPLE)} s {say.join} {table} t ON {say.refers(reference, 't', 's', values=values)}"
        direct = self.direct(reference, "s")
        if direct is not None:
            return f"{source} s {say.join} {table} t ON {say.refers(reference, 't', 's', values=direct)}"
        return f"{between} {say.join} {table} t ON {say.refers(reference, 't', 'p')}"

    def direct(self, reference: Reference, alias: str) -> list[str] | None:
        """What a reference points at, where the row's key in a temporary table already says it."""
        key = self.walk.tables[reference.to].key
        if key and set(reference.to_columns) <= set(key):
            return [f"{alias}.k{key.index(column)}" for column in reference.to_columns]
        return None


def as_keys(keys: Iterable[object]) -> list[Key]:
    """Keys as tuples, each once, in order; a single value is a key of one column."""
    return list(dict.fromkeys(key if isinstance(key, tuple) else (key,) for key in keys))
