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
from functools import lru_cache
from itertools import product
from typing import Any

import sqlalchemy as sa

from kept.errors import TerminalError
from kept.policy.grammar import Comparison, Test
from kept.stores.mariadb import EXACT, integer_range, room
from kept.stores.schema import Column, Reference, Table
from kept.stores.sql import SQLStore

_INTEGERS = {"SMALLINT": 15, "INTEGER": 31, "BIGINT": 63}  # PostgreSQL's; SQLite's are all of 64 bits
_JOINS = {"sqlite": "CROSS JOIN", "postgresql": "JOIN", "mariadb": "STRAIGHT_JOIN"}
_DIGITS = 35  # before the point of MariaDB's largest DECIMAL with 30 behind it


class Clauses:
    """Pieces of SQL over some tables of one store."""

    def __init__(self, store: SQLStore, tables: Mapping[str, Table]) -> None:
        self.store = store
        self.tables = tables
        self.sqlite = store.dialect == "sqlite"
        self.mariadb = store.dialect == "mariadb"
        self.join = _JOINS[store.dialect]  # SQLite and MariaDB keep that order: temporary table first
        self.one_statement = store.one_statement
        # whether two forms of a key may turn into one, so that rows met twice have to be told apart
        self.loose_keys = not store.one_statement
        # MariaDB: an index is made with its table or commits; keys are checked row by row; an UPDATE returns nothing;
        # a result comes whole unless it is asked for row by row
        self.index_inside = self.checks_each_row = self.must_stream = self.mariadb
        self.returns_changes = not self.mariadb
        self.on_commit = " ON COMMIT DROP" if store.dialect == "postgresql" else ""
        self._keys: dict[str, tuple[str, ...]] = {}

    def name(self, name: str) -> str:
        """A name, quoted where it must be, with nothing that `sa.text` would take for a parameter."""
        if self.mariadb:  # which words are reserved differs from version to version
            return "`" + name.replace("`", "``").replace(":", r"\:") + "`"
        return self.store.engine.dialect.identifier_preparer.quote(name).replace(":", r"\:")

    def column(self, alias: str, column: str) -> str:
        return f"{alias}.{self.name(column)}"

    def temporary(self, name: str) -> str:
        if self.mariadb:
            return name
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
        return " AND ".join(f"{alias}.{column} = {other}.k{i}" for i, column in enumerate(self._told(table)))

    def keys(self, table: str, alias: str) -> str:
        return ", ".join(f"{alias}.{column} AS k{i}" for i, column in enumerate(self._told(table)))

    def _told(self, table: str) -> tuple[str, ...]:
        """What tells the rows of a table apart; TerminalError where nothing does."""
        key = self.key(table)
        if not key:
            raise TerminalError(
                f"the rows of {table} can't be told apart",
                help="give the table a primary key (in MariaDB it may be INVISIBLE to your own statements)",
                where=self.store.name,
            )
        return key

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
        if self.store.dialect == "postgresql" and column.sort in ("time", "date"):
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
            column = self.text(column)
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
            if self.mariadb and sort == "text" and not reference.path:
                if not same or own.columns[left].collation != target.columns[right].collation:
                    theirs = self.like(theirs, own.columns[left])
                parts.append(f"{ours} = {theirs}")
                continue
            if not same and sort != "text":
                ours = self.text(ours)
            if not same and (target.columns[right].sort != "text" or reference.path):
                theirs = self.text(theirs)
            parts.append(f"{ours} = {theirs}")
        if reference.when is not None:
            parts.append(self.test(reference.when, child, reference.table))
        return " AND ".join(parts)

    def text(self, expression: str) -> str:
        """An expression as text, which compares letter by letter."""
        return (
            f"CAST({expression} AS CHAR) COLLATE {EXACT}" if self.mariadb else f"CAST({expression} AS TEXT)"
        )

    def lowered(self, text: str) -> str:
        """A text in lower case, letters beyond ASCII too (SQLite's own `lower` leaves those)."""
        if not self.sqlite:
            return f"lower({text})"
        return f"CAST(kept_lower(CAST({text} AS BLOB), CAST('a' AS BLOB)) AS TEXT)"

    def like(self, expression: str, column: Column) -> str:
        """A text that compares as a column's texts do, so that the column's index serves (MariaDB)."""
        if column.collation is None:
            return self.text(expression)
        charset = column.collation.partition("_")[0]
        return f"CONVERT({expression} USING {charset}) COLLATE {column.collation}"

    def holds_text(self, alias: str, column: Column, text: str) -> str:
        """That a column holds a text, letter by letter; along the column's index where it has one."""
        held = self.column(alias, column.name)
        if not self.mariadb:
            return f"{held if column.sort == 'text' else self.text(held)} = {text}"
        exact = f"CONVERT({held} USING utf8mb4) COLLATE {EXACT} = {text}"
        if column.sort != "text" or column.collation is None:
            return f"{self.text(held)} = {text}"
        return f"({held} = {self.like(text, column)} AND {exact})"

    def inside(self, column: str, path: tuple[str, ...]) -> str:
        """The text at a path inside a JSON column; NULL where there is none."""
        if self.mariadb:
            return f"CASE WHEN JSON_VALID({column}) THEN JSON_VALUE({column}, {self._json_path(path)}) END"
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
        if self.mariadb:
            return f"JSON_SET({column}, {self._json_path(path)}, NULL)"
        return f"CAST(jsonb_set(CAST({column} AS jsonb), {self._text_array(path)}, 'null') AS {written})"

    def _json_path(self, path: tuple[str, ...]) -> str:
        steps = "".join(f"[{step}]" if step.isdecimal() else f'."{step}"' for step in path)
        return "'$" + steps.replace("'", "''").replace(":", r"\:") + "'"

    def _text_array(self, path: tuple[str, ...]) -> str:
        quoted = ("'" + step.replace("'", "''").replace(":", r"\:") + "'" for step in path)
        return f"CAST(ARRAY[{', '.join(quoted)}] AS text[])"

    def given(self, columns: list[Column], rows: list[tuple[int, tuple[object, ...]]]) -> dict[str, object]:
        """Rows of values for people, as the bound values of `unpacked`; a value the column can't hold drops its row.

        Whoever asks for people has to see that each was met: `collect.existing` says so.
        """
        kept = [
            (number, *forms)
            for number, values in rows
            if len(values) == len(columns)
            for forms in product(*map(self._forms, columns, values))
        ]
        if not self.one_statement:
            return {"given": json.dumps(kept, ensure_ascii=self.sqlite)}
        by_column = zip(*kept, strict=True) if kept else ((),) * (len(columns) + 1)
        numbers, *texts = by_column
        given: dict[str, object] = {"given_n": _array(map(str, numbers))}
        return given | {f"given_{i}": _array(map(str, column)) for i, column in enumerate(texts)}

    def _forms(self, column: Column, value: object) -> list[object]:
        """The forms in which a value may stand in a column; none where it can't.

        A column of SQLite without a type holds 7 and '7' as two values, and turns neither into the other.
        """
        if self.sqlite and (column.sort == "bytes" or not column.type):
            return _untyped(value)
        if self.mariadb and not _fits_mariadb(column, value):
            return []
        if not _fits(column, value, 63 if self.sqlite else _INTEGERS.get(column.type.upper())):
            return []
        return [value if isinstance(value, int) else written(value)]

    def unpacked(self, columns: list[Column]) -> str:
        """FROM-item `j(n, v0, v1 …)` of the rows in the bound values of `given`, with the columns' types.

        PostgreSQL's planner counts an array, not the elements of a JSON text.
        """
        if self.sqlite:
            values = ", ".join(f"json_extract(value, '$[{i + 1}]') AS v{i}" for i in range(len(columns)))
            return f"(SELECT json_extract(value, '$[0]') AS n, {values} FROM json_each(:given)) AS j"
        if self.mariadb:
            read = [_read(column, f"v{i}") for i, column in enumerate(columns)]
            types = "".join(f", v{i} {kind} PATH '$[{i + 1}]'" for i, (kind, _) in enumerate(read))
            chosen = "".join(f", {expression} AS v{i}" for i, (_, expression) in enumerate(read))
            source = f"JSON_TABLE(:given, '$[*]' COLUMNS (n INT PATH '$[0]'{types})) AS g"
            return f"(SELECT n{chosen} FROM {source}) AS j"
        texts = "".join(f", CAST(:given_{i} AS text[])" for i in range(len(columns)))
        names = "".join(f", v{i}" for i in range(len(columns)))
        typed = "".join(f", CAST(v{i} AS {_cast(column)}) AS v{i}" for i, column in enumerate(columns))
        return f"(SELECT n{typed} FROM unnest(CAST(:given_n AS integer[]){texts}) AS g(n{names})) AS j"

    def listed(self, name: str) -> str:
        """FROM-item `j(v)` of the texts in the bound value `name`, which `listing` makes."""
        if self.sqlite:
            return f"(SELECT CAST(value AS TEXT) AS v FROM json_each(:{name})) AS j"
        if self.mariadb:
            kind = f"LONGTEXT CHARACTER SET utf8mb4 COLLATE {EXACT}"
            return f"JSON_TABLE(:{name}, '$[*]' COLUMNS (v {kind} PATH '$')) AS j"
        return f"unnest(CAST(:{name} AS text[])) AS j(v)"

    def listing(self, values: Iterable[str]) -> object:
        """Texts as one bound value."""
        if self.one_statement:
            return _array(sorted(values))
        return json.dumps(sorted(values), ensure_ascii=self.sqlite)

    def as_text(self, expression: str) -> str:
        """An expression as text where a column of a result has one type; SQLite's have none."""
        return expression if self.sqlite else self.text(expression)

    def assigned(self, target: str, column: str) -> str:
        """A column of the table that `changing` changes, where it gets its value."""
        return f"{target}.{self.name(column)}" if self.mariadb else self.name(column)

    def changing(self, target: str, sets: str, source: str, same: str) -> str:
        """An UPDATE of the rows of a table that are `same` as one of another relation."""
        if self.mariadb:
            return f"UPDATE {source} STRAIGHT_JOIN {target} ON {same} SET {sets}"
        return f"UPDATE {target} SET {sets} FROM {source} WHERE {same}"

    def deleting(self, table: str, source: str, condition: str) -> str:
        """A DELETE of the rows of a table whose keys stand in a relation `f`, by a condition on that."""
        if self.mariadb:  # it would ask for each row of the table whether it is among those
            rows = f"{source} f STRAIGHT_JOIN {self.name(table)} t ON {self.same_row(table, 't', 'f')}"
            return f"DELETE t FROM {rows} WHERE {condition}"
        own = ", ".join(f"f.k{i}" for i in range(len(self._told(table))))
        chosen = f"({', '.join(self.key(table))}) IN (SELECT {own} FROM {source} f WHERE {condition})"
        return f"DELETE FROM {self.name(table)} WHERE {chosen}"

    def dropping(self, name: str) -> str:
        """What takes a temporary table away, and commits nothing."""
        return f"DROP {'TEMPORARY ' if self.mariadb else ''}TABLE {self.temporary(name)}"

    def run(
        self, connection: sa.Connection, statement: str, **values: object
    ) -> sa.CursorResult[*tuple[Any, ...]]:
        return connection.execute(_text(statement), values)


@lru_cache(maxsize=256)
def _text(statement: str) -> sa.TextClause:
    """A statement with its parameters found; the same ones are sent again and again."""
    return sa.text(statement)


def _array(values: Iterable[str]) -> str:
    """PostgreSQL's way of writing an array (its documentation, 8.15.6): the driver takes far longer over a list."""
    quoted = ('"' + value.replace("\\", r"\\").replace('"', r"\"") + '"' for value in values)
    return "{" + ",".join(quoted) + "}"


def _cast(column: Column) -> str:
    return "text" if column.sort == "text" else column.type


def _read(column: Column, name: str) -> tuple[str, str]:
    """The type under which MariaDB reads a given value out of JSON, and what then makes it the column's.

    It would cut what is too long and take the nearest number, without a word: what doesn't fit is left out before.
    """
    small = column.type.casefold()
    if integer_range(column) is not None:
        return "BIGINT UNSIGNED" if "unsigned" in small else "BIGINT", name
    if column.sort == "bytes":
        return "LONGTEXT", f"UNHEX(SUBSTR({name}, 3))"
    if small.startswith("decimal"):
        return f"DECIMAL(65, {65 - _DIGITS})", name
    if column.sort == "number":
        return "DOUBLE", name
    if column.collation is not None:
        length = room(column)
        kind = f"VARCHAR({length})" if length and length <= 16_000 else "LONGTEXT"
        return f"{kind} CHARACTER SET {column.collation.partition('_')[0]} COLLATE {column.collation}", name
    return "VARCHAR(255)", name


def _fits_mariadb(column: Column, value: object) -> bool:
    limits = integer_range(column)
    if limits is not None or column.sort == "number":
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            return False
        if limits is None:
            return number.is_finite() and abs(number) < Decimal(10) ** _DIGITS
        return number.is_finite() and number == int(number) and limits[0] <= number <= limits[1]
    length = room(column)
    return length is None or len(str(value)) <= length


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
    if type(value) is int and column.sort == "number":
        return bits is None or abs(value) < 2**bits
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
