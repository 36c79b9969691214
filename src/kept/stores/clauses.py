"""How a store's dialect writes names, values, tests and references in SQL text.

Text and not SQLAlchemy's constructs, because the walk needs what those don't say (join order in SQLite, temporary
tables made from a query). Everything written here comes from the schema or the policy file, and is quoted; values of
people travel as one bound parameter.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import Any

import sqlalchemy as sa

from kept.policy.grammar import Comparison, Test
from kept.stores.schema import Column, Reference, Table
from kept.stores.sql import SQLStore

_INTEGERS = {"SMALLINT": 15, "INTEGER": 31, "BIGINT": 63}  # PostgreSQL's; SQLite's are all of 64 bits


class Clauses:
    """Pieces of SQL over some tables of one store."""

    def __init__(self, store: SQLStore, tables: Mapping[str, Table]) -> None:
        self.store = store
        self.tables = tables
        self.sqlite = store.dialect == "sqlite"
        self.join = (
            "CROSS JOIN" if self.sqlite else "JOIN"
        )  # SQLite keeps a CROSS JOIN's order: temporary table first
        self._keys: dict[str, tuple[str, ...]] = {}

    def name(self, name: str) -> str:
        """A name, quoted where it must be, with nothing that `sa.text` would take for a parameter."""
        return self.store.engine.dialect.identifier_preparer.quote(name).replace(":", r"\:")

    def column(self, alias: str, column: str) -> str:
        return f"{alias}.{self.name(column)}"

    def temporary(self, name: str) -> str:
        return f"temp.{name}" if self.sqlite else f"pg_temp.{name}"

    def key(self, table: str) -> tuple[str, ...]:
        """What finds a row again, written: its key's columns, else where it stands."""
        if table not in self._keys:
            columns = tuple(self.name(column) for column in self.tables[table].key)
            if not columns:
                address = self.store.row_address(table)
                columns = () if address is None else (str(address.name),)
            self._keys[table] = columns
        return self._keys[table]

    def same_row(self, table: str, alias: str, other: str) -> str:
        """That `alias` (the table) and `other` (a temporary table of its keys) are the same row."""
        return " AND ".join(f"{alias}.{column} = {other}.k{i}" for i, column in enumerate(self.key(table)))

    def keys(self, table: str, alias: str) -> str:
        return ", ".join(f"{alias}.{column} AS k{i}" for i, column in enumerate(self.key(table)))

    def literal(self, value: str, column: Column) -> str:
        """A value of the policy file as the column's sort wants it; text that isn't one equals nothing."""
        if column.sort == "boolean":
            true = value.lower() in ("true", "yes", "1")
            return ("1" if true else "0") if self.sqlite else ("TRUE" if true else "FALSE")
        if column.sort == "number":
            try:
                number = Decimal(value)
            except InvalidOperation:
                return "NULL"
            return f"{number:f}" if number.is_finite() else "NULL"
        quoted = "'" + value.replace("'", "''").replace(":", r"\:") + "'"
        if not self.sqlite and column.sort in ("time", "date"):
            return f"CAST({quoted} AS {column.type})"
        return quoted

    def test(self, test: Test, alias: str, table: str) -> str:
        """A test on a row, without its ages (those need today's date)."""
        return " AND ".join(self._comparison(p, alias, table) for p in test.all if not p.of_age) or "1 = 1"

    def _comparison(self, part: Comparison, alias: str, table: str) -> str:
        shape = self.tables[table].columns[part.column]
        column = self.column(alias, part.column)
        if part.value is None:
            empty = f"{column} IS NULL" + (f" OR {column} = ''" if shape.sort == "text" else "")
            return f"({empty})" if part.operator == "is empty" else f"NOT ({empty})"
        value = self.literal(part.value, shape)
        if not self.sqlite and shape.sort in ("other", "json"):
            column = f"CAST({column} AS TEXT)"
        if part.operator == "!=":
            return f"({column} <> {value} OR {column} IS NULL)"
        return f"{column} {part.operator} {value}"

    def refers(self, reference: Reference, child: str, parent: str, *, values: Iterable[str] = ()) -> str:
        """That the row `child` refers to the row `parent`, whose values may be written otherwise (`values`)."""
        own, target = self.tables[reference.table], self.tables[reference.to]
        written = list(values) or [self.column(parent, column) for column in reference.to_columns]
        parts = []
        for left, right, theirs in zip(reference.columns, reference.to_columns, written, strict=True):
            ours, sort = self.column(child, left), own.columns[left].sort
            if reference.path:
                ours, sort = self.inside(ours, reference.path), "text"
                same = False
            else:
                same = sort == target.columns[right].sort
            if not same and sort != "text":
                ours = f"CAST({ours} AS TEXT)"
            if not same and (target.columns[right].sort != "text" or reference.path):
                theirs = f"CAST({theirs} AS TEXT)"
            parts.append(f"{ours} = {theirs}")
        if reference.when is not None:
            parts.append(self.test(reference.when, child, reference.table))
        return " AND ".join(parts)

    def inside(self, column: str, path: tuple[str, ...]) -> str:
        """The text at a path inside a JSON column; NULL where there is none."""
        if self.sqlite:
            return (
                f"CASE WHEN json_valid({column})"
                f" THEN CAST(json_extract({column}, {self._json_path(path)}) AS TEXT) END"
            )
        return f"(CAST({column} AS jsonb) #>> {self._text_array(path)})"

    def emptied_inside(self, column: str, written: str, path: tuple[str, ...]) -> str:
        """A JSON column with null at a path; `written` is the column's type."""
        if self.sqlite:
            return f"json_set({column}, {self._json_path(path)}, NULL)"
        return f"CAST(jsonb_set(CAST({column} AS jsonb), {self._text_array(path)}, 'null') AS {written})"

    def _json_path(self, path: tuple[str, ...]) -> str:
        steps = "".join(f"[{step}]" if step.isdecimal() else f'."{step}"' for step in path)
        return "'$" + steps.replace("'", "''").replace(":", r"\:") + "'"

    def _text_array(self, path: tuple[str, ...]) -> str:
        quoted = ("'" + step.replace("'", "''").replace(":", r"\:") + "'" for step in path)
        return f"CAST(ARRAY[{', '.join(quoted)}] AS text[])"

    def given(self, columns: list[Column], rows: list[tuple[int, tuple[object, ...]]]) -> str:
        """Rows of values for people, as JSON, for `unpacked`; a value the column can't hold drops its row.

        Whoever asks for people has to see that each was met: `collect.existing` says so.
        """
        kept = [
            [number, *forms]
            for number, values in rows
            if len(values) == len(columns)
            for forms in product(*map(self._forms, columns, values))
        ]
        return json.dumps(kept)

    def _forms(self, column: Column, value: object) -> list[object]:
        """The forms in which a value may stand in a column; none where it can't.

        A column of SQLite without a type holds 7 and '7' as two values, and turns neither into the other.
        """
        if self.sqlite and (column.sort == "bytes" or not column.type):
            return _untyped(value)
        if not _fits(column, value, 63 if self.sqlite else _INTEGERS.get(column.type.upper())):
            return []
        return [value if isinstance(value, int) else written(value)]

    def unpacked(self, columns: list[Column]) -> str:
        """FROM-item `j(n, v0, v1 …)` of the rows in the bound parameter `given`, with the columns' types."""
        if self.sqlite:
            values = ", ".join(f"json_extract(value, '$[{i + 1}]') AS v{i}" for i in range(len(columns)))
            return f"(SELECT json_extract(value, '$[0]') AS n, {values} FROM json_each(:given)) AS j"
        values = ", ".join(
            f"CAST(value ->> {i + 1} AS {_cast(column)}) AS v{i}" for i, column in enumerate(columns)
        )
        inner = f"SELECT CAST(value ->> 0 AS integer) AS n, {values} FROM jsonb_array_elements(CAST(:given AS jsonb))"
        return f"({inner}) AS j"

    def run(
        self, connection: sa.Connection, statement: str, **values: object
    ) -> sa.CursorResult[*tuple[Any, ...]]:
        return connection.execute(sa.text(statement), values)


def _cast(column: Column) -> str:
    return "text" if column.sort == "text" else column.type


def written(value: object) -> str:
    """A value of a key as text; bytes as PostgreSQL writes them."""
    return "\\x" + bytes(value).hex() if isinstance(value, bytes | memoryview) else str(value)


def _untyped(value: object) -> list[object]:
    if value is None or isinstance(value, bytes) or "\0" in str(value):
        return []
    forms: list[object] = [str(value)]
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return forms
    if number.is_finite() and abs(number) < 2**63:
        forms.append(int(number) if number == int(number) else float(number))
    return forms


def _fits(column: Column, value: object, bits: int | None) -> bool:
    if value is None:
        return False
    kind = column.type.upper()
    try:
        if column.sort == "number":
            number = Decimal(str(value))
            if not number.is_finite():
                return False
            whole = kind in _INTEGERS and number != int(number)
            return not whole and (bits is None or abs(number) < 2**bits)
        if kind == "UUID":
            uuid.UUID(str(value))
    except (InvalidOperation, ValueError):
        return False
    return "\0" not in written(value)
