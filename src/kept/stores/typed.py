"""A value that somebody gave, as a column holds it; what doesn't fit is refused in words without the value."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation

import sqlalchemy as sa

from kept.errors import TerminalError
from kept.stores.clauses import Clauses
from kept.stores.expiring.clocks import ClockFormat, bound, format_seen
from kept.stores.mariadb import integer_range
from kept.stores.schema import Column
from kept.stores.sql import SQLStore

_BITS = {"SMALLINT": 15, "INTEGER": 31, "INT": 31, "BIGINT": 63, "SERIAL": 31, "BIGSERIAL": 63}
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_LENGTH = re.compile(r"char\D*\((\d+)\)")
_TAKES = {
    "number": "a number",
    "boolean": "yes or no",
    "date": "a date such as 2026-01-31",
    "time": "a time such as 2026-01-31T12:00:00+00:00",
    "json": "JSON",
    "bytes": "bytes",
}


class Misfit(TerminalError):
    """A value that a column can't hold."""


def typed(store: SQLStore, connection: sa.Connection, table: str, column: Column, value: object) -> object:
    """The value to bind for `table.column`, from text as somebody writes it or from a value of the right type.

    A time without an offset is UTC; in SQLite it is written as the column's other values are. Raises Misfit.
    """
    place = f"{table}.{column.name}"
    if value is None:
        if not column.nullable:
            raise Misfit(f"{place} can't be empty", help="give the right value", where=store.name)
        return None
    if isinstance(value, float) and value != value:
        raise Misfit(f"{place} takes {_TAKES.get(column.sort, 'another value')}", where=store.name)
    read: Callable[[object], object] = {
        "number": lambda given: _number(column, given, store.dialect),
        "boolean": lambda given: _boolean(given, sqlite=store.dialect == "sqlite"),
        "date": lambda given: _moment(store, connection, table, column, given),
        "time": lambda given: _moment(store, connection, table, column, given),
        "json": _json,
        "bytes": _bytes,
    }.get(column.sort, lambda given: _text(column, given))
    try:
        return read(value)
    except (ValueError, TypeError, InvalidOperation, OverflowError):
        takes = _TAKES.get(column.sort, f"{column.type.lower() or 'another value'}")
        raise Misfit(f"{place} takes {takes}", help="give the value in that form", where=store.name) from None


def _number(column: Column, value: object, dialect: str) -> object:
    number = Decimal(str(value).strip())
    if not number.is_finite() or isinstance(value, bool):
        raise ValueError
    kind = column.type.upper().partition("(")[0].strip()
    whole = number == int(number)
    if dialect == "mariadb":
        limits = integer_range(column)
        if limits is not None and not (whole and limits[0] <= number <= limits[1]):
            raise OverflowError
        return int(number) if limits is not None else number
    sqlite = dialect == "sqlite"
    if kind in _BITS and not whole:
        raise ValueError
    bits = 63 if sqlite and whole else _BITS.get(kind)
    if bits is not None and not -(2**bits) <= number < 2**bits:
        raise OverflowError
    if not sqlite:
        return f"{number:f}"  # text, which the column's own type reads without losing a digit
    return int(number) if whole else float(number)


def _boolean(value: object, *, sqlite: bool) -> object:
    word = _WORDS.get(str(value).strip().lower())
    if word is None:
        raise ValueError
    return int(word) if sqlite else word


def _moment(store: SQLStore, connection: sa.Connection, table: str, column: Column, value: object) -> object:
    given = value if isinstance(value, date) else datetime.fromisoformat(str(value).strip())
    if not isinstance(given, datetime):
        given = datetime(given.year, given.month, given.day, tzinfo=UTC)
    at = given.astimezone(UTC) if given.tzinfo else given.replace(tzinfo=UTC)
    try:
        writing = format_seen(store, connection, table, column.name)
    except Misfit:
        raise
    except TerminalError:  # its values are no times that anybody can read: write the standard's
        writing = ClockFormat("text-t")
    day_only = writing.writing in ("date", "day", "text-date")
    if day_only and at.time() != at.min.time():
        raise ValueError
    if writing.writing in ("text-space", "text-t") and at.microsecond:
        raise ValueError  # would be cut off
    return bound(writing, at)


def _json(value: object) -> object:
    if isinstance(value, str):
        json.loads(value)
        written = value
    else:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if "\\u0000" in written:
        raise ValueError
    return written


def _bytes(value: object) -> object:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError
    return bytes(value)


def _text(column: Column, value: object) -> object:
    written = str(value)
    length = _LENGTH.search(column.type.casefold())
    if "\0" in written or (length and len(written) > int(length[1])):
        raise ValueError
    if column.type.upper() == "UUID":
        uuid.UUID(written)
    written.encode()  # half a character pair can't be stored
    return written


def is_same(say: Clauses, alias: str, column: Column, parameter: str, *, empty: bool) -> str:
    """That a column holds exactly a bound value, capitals included, whatever its collation says; or nothing."""
    here = say.column(alias, column.name)
    if empty:
        return f"{here} IS NULL"
    as_text = column.sort == "text" or column.type.casefold() == "citext"
    if say.mariadb:
        if as_text:
            return f"COALESCE({say.text(here)} = :{parameter}, FALSE)"
        if column.sort == "json":
            return f"COALESCE(JSON_EQUALS({here}, :{parameter}), FALSE)"
        return f"{here} <=> :{parameter}"
    if say.sqlite:
        return f"({here} COLLATE BINARY) IS :{parameter}" if as_text else f"{here} IS :{parameter}"
    if as_text:
        return f'COALESCE(CAST({here} AS text) COLLATE "C" = CAST(:{parameter} AS text), FALSE)'
    if column.sort == "json":
        return f"COALESCE(CAST({here} AS jsonb) = CAST(:{parameter} AS jsonb), FALSE)"
    return f"{here} IS NOT DISTINCT FROM :{parameter}"
