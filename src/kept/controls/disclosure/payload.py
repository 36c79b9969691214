"""Takes from a record whatever isn't declared, so that a recipient gets what the policy names and nothing beside it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import Any, Final

from kept.controls.collection.gate.fields import Fields, Place
from kept.controls.disclosure.declare import Disclosure
from kept.controls.refused import Refused, named
from kept.policy.fact_readers import store_of
from kept.policy.policy import Policy

PLAIN: Final = (str, int, float, bool, Decimal, date, time, type(None))
"""What a value may be. Whatever holds other values isn't one: nobody could tell what is in it."""
LONGEST: Final = 200  # characters of a field's name

Record = Mapping[str, Any]
"""Values by field (`column`, `table.column`, `store.table.column`, `data.column`); or by table (`store.table` or
`table`) a row of columns, or several."""


@dataclass(frozen=True)
class Stripped:
    """What is left of a record, its values by column (`store.table.column`), and what was taken out, by name."""

    record: Record = dataclasses.field(repr=False)
    at: Mapping[str, tuple[Any, ...]] = dataclasses.field(repr=False)
    taken_out: tuple[str, ...]

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(self.at)


def fields(policy: Policy, disclosure: Disclosure, data: Sequence[str], as_is: frozenset[str]) -> Fields:
    """The columns that a disclosure may give of some of its data: those the gate lets be seen `as_is`."""
    found = []
    for name in data:
        for table, columns in policy.data[name].tables.items():
            store = policy.stores.get(store_of(table))
            browser = store is not None and store.sort == "browser"
            found += [
                Place(str(table), str(column), sort, name, browser)
                for column, sort in columns.items()
                if f"{table}.{column}" in as_is
            ]
    return Fields(tuple(found))


def strip(allowed: Fields, record: Record) -> Stripped:
    """The record with what is declared, and nothing else; the values as they were.

    Refused where a field may mean two columns, or two fields mean the same one: which of the values is meant must not
    be a guess.
    """
    kept: dict[str, Any] = {}
    at: dict[str, tuple[Any, ...]] = {}
    out: list[str] = []
    tables = _tables(allowed)
    for field, value in record.items():
        name = str(field)
        if name in tables and isinstance(value, Mapping | list | tuple):
            rows = _rows(allowed, tables[name], value, out)
            if rows:
                kept[name] = rows[0] if isinstance(value, Mapping) else rows
                for column in dict.fromkeys(column for row in rows for column in row):
                    _once(at, f"{tables[name]}.{column}", tuple(row[column] for row in rows if column in row))
            continue
        meant = _column(allowed, name)
        if meant is None or not is_plain(value):
            out.append(_shown(name))
            continue
        _once(at, meant, (value,))
        kept[name] = value
    return Stripped(kept, at, tuple(dict.fromkeys(out)))


def is_plain(value: object) -> bool:
    """Whether a value is a single one, that JSON can say."""
    return isinstance(value, PLAIN) and not (isinstance(value, float) and not math.isfinite(value))


def values(record: Record) -> Iterator[tuple[str, str, object]]:
    """Every value of a record: the table it stands under (empty where under none), the field, the value."""
    for field, value in record.items():
        if isinstance(value, Mapping):
            yield from ((field, str(column), one) for column, one in value.items())
        elif isinstance(value, list | tuple):
            rows = (row for row in value if isinstance(row, Mapping))
            yield from ((field, str(column), one) for row in rows for column, one in row.items())
        else:
            yield "", field, value


def deep(value: object) -> list[object]:
    """Every single value in a record or records, however deep, those included that are taken out."""
    if isinstance(value, Mapping):
        return [one for part in value.values() for one in deep(part)]
    if isinstance(value, list | tuple | set | frozenset):
        return [one for part in value for one in deep(part)]
    return [value]


def _rows(
    allowed: Fields, table: str, value: Mapping[str, Any] | Sequence[Any], out: list[str]
) -> list[dict[str, Any]]:
    known = {place.column for place in allowed.places if place.table == table and not place.in_browser}
    rows: list[dict[str, Any]] = []
    for row in [value] if isinstance(value, Mapping) else value:
        if not isinstance(row, Mapping):
            out.append(table)
            continue
        left = {str(c): one for c, one in row.items() if str(c) in known and is_plain(one)}
        out += [f"{table}.{_shown(str(column))}" for column in row if str(column) not in left]
        if left:
            rows.append(left)
    return rows


def _column(allowed: Fields, field: str) -> str | None:
    if len(field) > LONGEST:
        return None
    meant = allowed.meant(field)
    if len(meant) > 1:
        raise Refused(
            "ambiguous",
            f"{named(field)} may mean {' or '.join(f'{table}.{column}' for table, column in meant)}",
            help="name it by store, table and column",
        )
    if not meant:
        return None
    table, column = meant[0]
    by_itself = any((place.table, place.column) == (table, column) for place in allowed.places)
    # What fits a pattern (`_utm*`) may be anything, a value too: nothing but a plain name is one.
    return f"{table}.{column}" if by_itself or named(column) != "a field" else None


def _once(at: dict[str, tuple[Any, ...]], column: str, values: tuple[Any, ...]) -> None:
    if column in at:
        raise Refused("twice", f"the record gives {column} twice", help="give each column once")
    at[column] = values


def _tables(allowed: Fields) -> dict[str, str]:
    """The tables by their names, whole and short; a short one that two stores have is no name."""
    whole = {place.table for place in allowed.places if not place.in_browser}
    short: dict[str, list[str]] = {}
    for table in whole:
        short.setdefault(table.partition(".")[2], []).append(table)
    return {table: table for table in whole} | {
        name: tables[0] for name, tables in short.items() if len(tables) == 1
    }


def _shown(field: str) -> str:
    """A field as it may be said: by its name where that can't be a value somebody typed."""
    return field if named(field) != "a field" else "(not a name)"
