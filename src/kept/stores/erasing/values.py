"""Values of a store's columns written so that every one of them comes back as it was, whatever its type.

PostgreSQL's as the text its types write, which they read again without loss (its documentation, 8.1.3 for floats);
SQLite's with the storage class of each value, text as bytes where it isn't UTF-8; MariaDB's as text, bytes as
hexadecimals, and single floats by way of doubles, since it prints six digits of them.
"""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from kept.stores.relations import Relations
from kept.stores.schema import Schema, Table
from kept.stores.sql import SQLStore

_AS_BYTES = ("bit", "binary", "varbinary", "blob", "tinyblob", "mediumblob", "longblob", "point", "geometry",
             "linestring", "polygon", "multi")  # fmt: skip
_STAGED = 1000

Place = TypeVar("Place")
Query = tuple[list[str], str]
"""What to select, as SQL, and the rest of the query."""


class Values(ABC):
    """How values are read from and bound to the columns of some tables; generated columns are left out."""

    def __init__(self, types: Mapping[str, Mapping[str, str]]) -> None:
        self.types = types

    def columns(self, table: str) -> tuple[str, ...]:
        """The columns that hold what was put there."""
        return tuple(self.types[table])

    @abstractmethod
    def written(self, table: str, column: str, expression: str) -> str:
        """An expression of a column's type as what `read` reads."""

    @abstractmethod
    def flag(self, expression: str) -> str:
        """A number, 0 or 1, as what `read` reads."""

    @abstractmethod
    def stage(
        self, relations: Relations, name: str, columns: list[tuple[str, str]], rows: Sequence[list[Any]]
    ) -> None:
        """Make a relation `name(n, c0, c1 …)` of numbered rows that `read` gave; `columns` are (table, column).

        A column named "" is a flag.
        """

    @abstractmethod
    def same(self, expression: str, other: str) -> str:
        """That two values of one column are the same, nothing and nothing too."""

    @abstractmethod
    def told_apart(self, expression: str) -> str:
        """What to group values of one column by, so that only the same ones are together."""

    @abstractmethod
    def read(self, relations: Relations, queries: Mapping[Place, Query]) -> dict[Place, list[list[Any]]]:
        """The rows of each query, as lists of values that JSON can hold."""


class PostgreSQLValues(Values):
    def written(self, table: str, column: str, expression: str) -> str:
        if self.types[table][column].startswith(("char", "bpchar")):  # a cast takes its blanks away
            return f"CASE WHEN {expression} IS NOT NULL THEN concat({expression}) END"
        return f"CAST({expression} AS text)"

    def flag(self, expression: str) -> str:
        return f"CAST({expression} AS text)"

    def stage(
        self, relations: Relations, name: str, columns: list[tuple[str, str]], rows: Sequence[list[Any]]
    ) -> None:
        typed = [
            f"CAST(held ->> {i} AS {self.types[table][column] if column else 'integer'}) AS c{i}"
            for i, (table, column) in enumerate(columns)
        ]
        source = f"json_array_elements(CAST(:{name} AS json)) WITH ORDINALITY AS j(held, n)"
        given = json.dumps(list(rows), ensure_ascii=False)
        relations.make(name, f"SELECT {', '.join(['n', *typed])} FROM {source}", **{name: given})

    def same(self, expression: str, other: str) -> str:
        """As text: some types know no equality, and 1.0 is not 1.00."""
        return f"CAST({expression} AS text) IS NOT DISTINCT FROM CAST({other} AS text)"

    def told_apart(self, expression: str) -> str:
        return f"CAST({expression} AS text)"

    def read(self, relations: Relations, queries: Mapping[Place, Query]) -> dict[Place, list[list[Any]]]:
        """All in one statement."""
        places = list(queries)
        found: dict[Place, list[list[Any]]] = {place: [] for place in places}
        parts = [
            f"SELECT {number} AS place, to_json(ARRAY[{', '.join(read)}]) AS held {rest}"
            for number, (read, rest) in enumerate(queries.values())
        ]
        if parts:
            for place, held in relations.run(" UNION ALL ".join(parts)):
                found[places[place]].append(json.loads(held) if isinstance(held, str) else held)
        return found


class SQLiteValues(Values):
    def written(self, table: str, column: str, expression: str) -> str:
        kind = f"typeof({expression})"
        return f"{kind}, CASE {kind} WHEN 'text' THEN CAST({expression} AS BLOB) ELSE {expression} END"

    def flag(self, expression: str) -> str:
        return f"'integer', {expression}"

    def stage(
        self, relations: Relations, name: str, columns: list[tuple[str, str]], rows: Sequence[list[Any]]
    ) -> None:
        names = ", ".join(f"c{i}" for i in range(len(columns)))
        relations.make(
            name, f"SELECT 0 AS n, {', '.join(f'NULL AS c{i}' for i in range(len(columns)))} WHERE 1 = 0"
        )
        one = ", ".join(["CASE ? WHEN 1 THEN CAST(? AS TEXT) ELSE ? END"] * len(columns))
        values = [(n, *(part for kept in row for part in bound(kept))) for n, row in enumerate(rows, start=1)]
        if values:
            relations.connection.exec_driver_sql(
                f"INSERT INTO {relations.of(name)} (n, {names}) VALUES (?, {one})", values
            )
        relations.run(f"ANALYZE {relations.of(name)}")

    def same(self, expression: str, other: str) -> str:
        return f"({expression} IS {other} AND typeof({expression}) = typeof({other}))"

    def told_apart(self, expression: str) -> str:
        return f"{expression}, typeof({expression})"

    def read(self, relations: Relations, queries: Mapping[Place, Query]) -> dict[Place, list[list[Any]]]:
        found = {}
        for place, (read, rest) in queries.items():
            rows = relations.run(f"SELECT {', '.join(read)} {rest}")
            found[place] = [list(map(_kept, row[::2], row[1::2])) for row in map(tuple, rows)]
        return found


class MariaDBValues(Values):
    def written(self, table: str, column: str, expression: str) -> str:
        kind = self.types[table][column]
        if kind.startswith(_AS_BYTES):
            return f"HEX({expression})"
        return f"CAST({expression}{' + 0e0' if kind.startswith('float') else ''} AS CHAR)"

    def flag(self, expression: str) -> str:
        return f"CAST({expression} AS CHAR)"

    def stage(
        self, relations: Relations, name: str, columns: list[tuple[str, str]], rows: Sequence[list[Any]]
    ) -> None:
        say = relations.say
        [table] = {table for table, _ in columns}
        shapes = [f"{say.column('t', c) if c else '0'} AS c{i}" for i, (_, c) in enumerate(columns)]
        relations.make(name, f"SELECT 0 AS n, {', '.join(shapes)} FROM {say.name(table)} t WHERE 1 = 0")
        one = ["UNHEX(%s)" if c and self.types[table][c].startswith(_AS_BYTES) else "%s" for _, c in columns]
        values = [(n, *row) for n, row in enumerate(rows, start=1)]
        for start in range(0, len(values), _STAGED):
            relations.connection.exec_driver_sql(
                f"INSERT INTO {relations.of(name)} VALUES (%s, {', '.join(one)})",
                values[start : start + _STAGED],
            )

    def same(self, expression: str, other: str) -> str:
        """Byte by byte: collations take one letter for another, and 1.0 isn't 1.00."""
        return f"CAST({expression} AS BINARY) <=> CAST({other} AS BINARY)"

    def told_apart(self, expression: str) -> str:
        return f"CAST({expression} AS BINARY)"

    def read(self, relations: Relations, queries: Mapping[Place, Query]) -> dict[Place, list[list[Any]]]:
        return {
            place: [list(row) for row in relations.run(f"SELECT {', '.join(read)} {rest}")]
            for place, (read, rest) in queries.items()
        }


def _kept(kind: str, value: Any) -> Any:
    """A value of SQLite as JSON can hold it: text and integers as they are, everything else with its kind."""
    if kind == "text":
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            return {"text": base64.b64encode(value).decode()}
    if kind == "real":
        return {"real": float(value).hex()}
    return {"blob": base64.b64encode(value).decode()} if kind == "blob" else value


def bound(kept: Any) -> tuple[int, Any, Any]:
    """What `_kept` wrote as the three values of `CASE ? WHEN 1 THEN CAST(? AS TEXT) ELSE ? END`."""
    if not isinstance(kept, dict):
        return (0, None, kept)
    [(kind, value)] = kept.items()
    if kind == "real":
        return (0, None, float.fromhex(value))
    decoded = base64.b64decode(value)
    return (1, decoded, None) if kind == "text" else (0, None, decoded)


_KNOWN: WeakKeyDictionary[SQLStore, tuple[Schema, Values]] = WeakKeyDictionary()


def values_of(store: SQLStore, connection: sa.Connection, tables: Mapping[str, Table]) -> Values:
    """The values of a store's columns; asked of the database once for each reading of its schema."""
    schema = store.schema()
    known = _KNOWN.get(store)
    if known is None or known[0] is not schema:
        names = [name for name, table in schema.tables.items() if not table.is_view]
        read = {"sqlite": _sqlite, "postgresql": _postgresql, "mariadb": _mariadb}[store.dialect]
        reading = read(connection, names)
        known = _KNOWN[store] = (schema, reading)
    return known[1]


def _postgresql(connection: sa.Connection, names: Iterable[str]) -> Values:
    rows = connection.execute(
        sa.text(
            "SELECT c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)"
            " FROM pg_catalog.pg_attribute a"
            " JOIN pg_catalog.pg_class c ON c.oid = a.attrelid WHERE c.relname = ANY(CAST(:names AS text[]))"
            " AND pg_catalog.pg_table_is_visible(c.oid) AND a.attnum > 0 AND NOT a.attisdropped"
            " AND a.attgenerated = '' ORDER BY a.attnum"
        ),
        {"names": list(names)},
    )
    types: dict[str, dict[str, str]] = {}
    for table, column, type_ in rows:
        types.setdefault(table, {})[column] = {"character": "character(1)"}.get(type_, type_)
    return PostgreSQLValues(types)


def _sqlite(connection: sa.Connection, names: Iterable[str]) -> Values:
    types: dict[str, dict[str, str]] = {}
    for table in names:
        rows = connection.exec_driver_sql(
            "SELECT name, type FROM pragma_table_xinfo(?) WHERE hidden = 0", (table,)
        )
        types[table] = {str(column): str(type_) for column, type_ in rows}
    return SQLiteValues(types)


def _mariadb(connection: sa.Connection, names: Iterable[str]) -> Values:
    rows = connection.exec_driver_sql(
        "SELECT table_name, column_name, column_type FROM information_schema.columns"
        " WHERE table_schema = DATABASE() AND is_generated = 'NEVER' ORDER BY table_name, ordinal_position"
    )
    types: dict[str, dict[str, str]] = {name: {} for name in names}
    for table, column, type_ in rows:
        if table in types:
            types[table][column] = str(type_)
    return MariaDBValues(types)
