"""Named queries, each over those before it: as temporary tables, or as the parts of one statement.

The same text serves both. Temporary tables are counted by the planner and made once, which is right for many people;
for a few their making costs more than the work, and one statement (`WITH`) does it all.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any

import sqlalchemy as sa

from kept.errors import TransientError
from kept.stores.clauses import Clauses
from kept.stores.schema import Reference

Result = sa.CursorResult[*tuple[Any, ...]]
_ROWS = 10_000
_STATEMENTS = 64  # remembered with their parts
_NO_INDEX = (1070, 1071, 1170)  # MariaDB: these columns are too long, or too many, for an index
_NAME = re.compile(r"\bkept_[a-z]+(?:_\d+)*\b")


class Relations(ABC):
    """Where named queries are kept; `say` writes the pieces, `values` are bound wherever they are named."""

    def __init__(self, connection: sa.Connection, say: Clauses) -> None:
        self.connection, self.say = connection, say

    @abstractmethod
    def make(self, name: str, query: str, *, index: str | None = None, **values: Any) -> None:
        """Name a query; `index` are the columns it will be looked up by."""

    @abstractmethod
    def of(self, name: str) -> str:
        """A made query as an item of FROM."""

    @abstractmethod
    def run(self, statement: str, **values: object) -> Result:
        """Send a statement over what was made."""

    @abstractmethod
    def written(self, statement: str) -> tuple[str, dict[str, object]]:
        """A statement over what was made as text, and its values."""

    @abstractmethod
    def drop(self) -> None:
        """Take away what would outlive the transaction."""

    @abstractmethod
    def discard(self, name: str) -> None:
        """Take one of them away, so that its name is free again."""

    def numbers(self, queries: Mapping[str, str]) -> dict[str, int]:
        """The numbers that these queries give, one each, in one statement."""
        if not queries:
            return {}
        row = self.run(f"SELECT {', '.join(f'({query})' for query in queries.values())}").one()
        return dict(zip(queries, map(int, row), strict=True))


class Temporary(Relations):
    """Temporary tables: gone with the transaction in PostgreSQL, by `drop` in SQLite and MariaDB.

    PostgreSQL takes several statements at a time, so there they are made when one is asked for something: all that
    have come together by then in one round trip.
    """

    def __init__(self, connection: sa.Connection, say: Clauses) -> None:
        super().__init__(connection, say)
        self.made: list[str] = []
        self._waiting: list[str] = []
        reading = not connection.get_execution_options().get("kept_write")
        self.apart = say.store.fill_locks and reading

    def make(self, name: str, query: str, *, index: str | None = None, **values: Any) -> None:
        if self.apart:
            self._create(name, f"{query} LIMIT 0", index, **values)
            self._copy(name, query, **values)
        else:
            self._create(name, query, index, **values)
        self.settle(name, index)

    def _create(self, name: str, query: str, index: str | None, **values: Any) -> None:
        inside = (
            f" (INDEX ({index}))" if index and self.say.index_inside else ""
        )  # an index made later would commit
        begins = f"CREATE TEMPORARY TABLE {name}{self.say.on_commit}"
        if self.say.one_statement and not values:
            self._waiting.append(f"{begins} AS {query}")
            self.made.append(name)
            return
        try:
            self.run(f"{begins}{inside} AS {query}", **values)
        except sa.exc.DBAPIError as error:
            if not inside or error.orig is None or error.orig.args[0] not in _NO_INDEX:
                raise
            self.run(f"{begins} AS {query}", **values)
        self.made.append(name)

    def _copy(self, name: str, query: str, **values: Any) -> None:
        """What a query gives, by way of this process: so the rows it reads are the snapshot's, and not locked."""
        found = self.run(query, **values)
        places = ", ".join(["%s"] * len(found.keys()))
        while rows := found.fetchmany(_ROWS):
            self.connection.exec_driver_sql(
                f"INSERT INTO {self.of(name)} VALUES ({places})", [tuple(row) for row in rows]
            )

    def shaped(self, name: str, shape: str, query: str, *, index: str | None, **values: Any) -> None:
        """The same with the columns of a query that gives no row, so that values turn into what those hold."""
        self._create(name, shape, index)
        self.run(f"INSERT INTO {self.of(name)} {query}", **values)
        self.settle(name, index)

    def settle(self, name: str, index: str | None) -> None:
        """Have the planner count a filled temporary table; SQLite, which can't hash, looks it up by an index.

        Uncounted, SQLite takes it for a million rows and reads a whole table of the company's into a filter first.
        """
        if index and self.say.sqlite:
            self.run(f"CREATE INDEX temp.{name}_k ON {name} ({index})")
        if self.say.index_inside:
            return  # MariaDB counts on its own, and ANALYZE would commit
        if self.say.one_statement:
            self._waiting.append(f"ANALYZE {self.of(name)}")
        else:
            self.run(f"ANALYZE {self.of(name)}")

    def of(self, name: str) -> str:
        return self.say.temporary(name)

    def run(self, statement: str, **values: object) -> Result:
        self._catch_up()
        return self.say.run(self.connection, statement, **values)

    def _catch_up(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self.say.run(self.connection, "; ".join(waiting)).close()

    def written(self, statement: str) -> tuple[str, dict[str, object]]:
        self._catch_up()
        return statement, {}

    def discard(self, name: str) -> None:
        self.made.remove(name)
        self.run(self.say.dropping(name))

    def drop(self) -> None:
        if not self.say.on_commit:
            for name in self.made[::-1]:
                self.discard(name)


@contextmanager
def unchecked(relations: Relations, circle: Mapping[Reference, str]) -> Iterator[None]:
    """Around deletions of rows that refer to each other, where the database checks each row by itself (MariaDB).

    `circle` has each reference to the tables of the circle, and a query of the values that won't be there any more.
    Keys aren't checked inside; afterwards every reference is looked at here, as long as the transaction holds the rows.
    """
    if not relations.say.checks_each_row or not circle:
        yield
        return
    say = relations.say
    for number, query in enumerate(circle.values()):
        columns = ", ".join(f"r{i}" for i in range(len(list(circle)[number].columns)))
        relations.make(f"kept_gone_{number}", f"SELECT DISTINCT {columns} FROM ({query}) AS q", index=columns)
    relations.run("SET SESSION foreign_key_checks = 0")
    try:
        yield
    finally:
        relations.run("SET SESSION foreign_key_checks = 1")
    for number, reference in enumerate(circle):
        gone = [f"g.r{i}" for i in range(len(reference.columns))]
        match = " AND ".join(
            f"{say.column('t', column)} = {value}"
            for column, value in zip(reference.columns, gone, strict=True)
        )
        name = relations.of(f"kept_gone_{number}")
        left = (
            f"SELECT 1 FROM {name} g {say.join} {say.name(reference.table)} t ON {match} LIMIT 1 FOR UPDATE"
        )
        if relations.run(left).first() is not None:
            raise TransientError(
                f"rows of {reference.table} came to refer to rows of {reference.to} that go",
                help="nothing was changed: try again",
                where=say.store.name,
            )
        relations.discard(f"kept_gone_{number}")


class Together(Relations):
    """Parts of whichever statement is sent: each statement takes those it needs along.

    For `few` people planning costs more than the work, so the statement is prepared.
    """

    def __init__(self, connection: sa.Connection, say: Clauses, *, few: bool) -> None:
        super().__init__(connection, say)
        self.few = few
        self.values: Mapping[str, object] = {}
        self._queries: dict[str, str] = {}
        self._bound: dict[str, tuple[str, ...]] = {}
        self._needs: dict[str, set[str]] = {}
        self._written: dict[str, tuple[str, tuple[str, ...]]] = {}

    def over(self, connection: sa.Connection, values: Mapping[str, object]) -> Together:
        """The same parts over another connection, with other values; nothing more is to be made of them."""
        again = copy(self)
        again.connection, again.values = connection, values
        return again

    def make(self, name: str, query: str, *, index: str | None = None, **values: Any) -> None:
        self._needs[name] = self._needed(query)
        self._queries[name] = query
        self._bound[name] = tuple(values)
        self.values = {**self.values, **values}
        self._written = {}

    def _needed(self, statement: str) -> set[str]:
        named = {name for name in _NAME.findall(statement) if name in self._queries}
        return named.union(*(self._needs[name] for name in named))

    def of(self, name: str) -> str:
        return name

    def run(self, statement: str, **values: object) -> Result:
        text, own = self.written(statement)
        if not self.few:
            return self.say.run(self.connection, text, **own, **values)
        with self.say.store.prepared(self.connection):
            return self.say.run(self.connection, text, **own, **values)

    def written(self, statement: str) -> tuple[str, dict[str, object]]:
        found = self._written.get(statement)
        if found is None:
            if len(self._written) >= _STATEMENTS:
                self._written.clear()
            found = self._written[statement] = self._write(statement)
        text, bound = found
        return text, {name: self.values[name] for name in bound}

    def _write(self, statement: str) -> tuple[str, tuple[str, ...]]:
        needed = self._needed(statement)
        bound = tuple(dict.fromkeys(name for part in sorted(needed) for name in self._bound[part]))
        parts = [f"{name} AS ({query})" for name, query in self._queries.items() if name in needed]
        if not parts:
            return statement, bound
        if statement.startswith("WITH "):
            return f"WITH {', '.join(parts)}, {statement.removeprefix('WITH ')}", bound
        return f"WITH {', '.join(parts)} {statement}", bound

    def discard(self, name: str) -> None:
        for held in (self._queries, self._bound, self._needs):
            held.pop(name)
        self._written = {}

    def drop(self) -> None:
        """Nothing was made."""
