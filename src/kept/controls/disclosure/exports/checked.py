"""A second pair of eyes on a file before it leaves: read back, and compared with the people it could be about.

It shares no code with what made the file but the list of whom may be counted: it reads each person's own rows, makes
them coarse in Python and counts by hand. Whatever it finds, or can't tell, keeps the file in the house; what it says
names columns, never a value.
"""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from math import floor as below
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from pyroaring import BitMap

from kept.company import Company
from kept.controls.purposes.groups.cuts import Cut
from kept.controls.purposes.groups.people import counted
from kept.controls.purposes.groups.scope import Dimension, Scope, Way
from kept.controls.refused import Refused
from kept.datamap.edges import plain
from kept.policy.words import TYPES
from kept.stores.clauses import Clauses, written
from kept.stores.expiring import clocks
from kept.stores.sql import SQLStore

PAGE: Final = 5000
SHORT: Final = 3
"""A text within another is looked for from so many letters on."""
LARGE: Final = 100_000_000_000
"""Numbers from here on are milliseconds since 1970, not seconds."""

_OF_NUMBERS: Final = frozenset("0123456789.eE+-")
_BEGINNINGS: Final = tuple("=+-@\t\r\n\0＝＋－＠")  # of a formula, in a spreadsheet

Row = tuple[str, ...]


def check(company: Company, asked: Scope, made: Sequence[Cut], file: Path, *, recount: bool) -> None:
    """Refuse a file with a column that isn't meant, anything by which a person of this kind is known, a combination of
    values with fewer people than the floor, or more rows than there are.

    Without `recount` people's rows may be gone by now, and it is compared with what was counted when they were there.
    """
    header, rows = _read(file)
    names = list(made[0].dimensions)
    if header != [*names, "since"]:
        raise _found("it has other columns than those that were asked for")
    _refuse_identifiers(company, asked, header, rows)
    steps = dict(made[0].steps or {})
    known = {one.name: one for one in asked.dimensions}
    if recount:
        people, there = _recounted(company, asked, [known[name] for name in names], steps, made)
        for row, number in _in_one_way(asked, header, rows).items():
            if people.get(row, 0) < asked.floor:
                raise _found(f"some combination of values is that of fewer than {asked.floor} people")
            if number > there[row]:
                raise _found("it has more rows than there are")
    elif sum(rows.values()) != sum(cell.rows or 0 for cut in made for cell in cut.cells) or any(
        cell.people < asked.floor for cut in made for cell in cut.cells
    ):
        raise _found("it isn't what was counted")


def _found(what: str) -> Refused:
    return Refused("check", f"the file was held back: {what}")


def _read(file: Path) -> tuple[list[str], Counter[Row]]:
    with file.open(encoding="utf-8", newline="") as source:
        reader = csv.reader(source, strict=True)
        header = next(reader, [])
        return header, Counter(map(tuple, reader))


# Identifiers.


def _refuse_identifiers(company: Company, asked: Scope, header: Sequence[str], rows: Counter[Row]) -> None:
    """Refuse a file in which anything stands by which a person of this kind is known: as a whole cell, as a word of
    one, or, where it is long enough, within one. Bands of numbers name nobody, and neither do days."""
    cells: dict[str, str] = {}
    for row in rows:
        for name, cell in zip(header, row, strict=True):
            if cell and name != "since" and not _is_band(cell):
                cells.setdefault(_folded(cell), name)
    words = {word: name for cell, name in cells.items() for word in (cell, *_words(cell))}
    text = "\n".join(cells)
    organisations = {one.name for one in asked.dimensions if one.link is not None}
    for identifier, is_key in _identifiers(company, asked):
        found = words.get(identifier)
        within = len(identifier) > SHORT and not (is_key and identifier.isdecimal())
        if found is None and within and identifier in text:
            found = next(name for cell, name in cells.items() if identifier in cell)
        if found is not None and not (is_key and (found in organisations or _is_number(asked, found))):
            raise _found(f"`{found}` holds something by which a person is known")


def _folded(text: str) -> str:
    """A text without what people don't see: capitals, and other ways to write the same letters."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


def _is_number(asked: Scope, name: str) -> bool:
    """Whether a column holds numbers, which may be equal to somebody's key by chance; that a column is no key was
    looked at when it was asked for."""
    column = asked.walk.tables[asked.table].columns.get(name)
    return column is not None and column.sort == "number"


def _is_band(cell: str) -> bool:
    low, between, high = cell.partition(" to <")
    return bool(between) and low.lstrip("-").isdecimal() and high.lstrip("-").isdecimal()


def _words(cell: str) -> list[str]:
    return "".join(letter if letter.isalnum() or letter in "@.+-_" else " " for letter in cell).split()


def _identifiers(company: Company, asked: Scope) -> Iterator[tuple[str, bool]]:
    """Everything by which people of this kind are known in this store, each with whether it is a key."""
    store, walks = company.stores[asked.walk.store], [way.walk for way in asked.ways]
    places = {(walk.root.table, column): True for walk in walks for column in walk.root.person}
    for stop in (stop for walk in walks for stop in walk.stops[: walk.own]):
        for column, sort in stop.sorts.items():
            if TYPES.get(sort, True):
                places.setdefault((stop.table, column), False)
        for column in stop.known_by:
            places.setdefault((stop.table, column), False)
    with store.read() as connection:
        for (table, column), is_key in places.items():
            source = store.table(table)
            found = sa.select(source.c[column]).where(source.c[column].is_not(None)).distinct()
            for value in connection.execution_options(yield_per=PAGE).execute(found).scalars():
                text = _folded(str(value))
                if text:
                    yield text, is_key


# The count.


def _recounted(
    company: Company,
    asked: Scope,
    dimensions: Sequence[Dimension],
    steps: dict[str, int | None],
    made: Sequence[Cut],
) -> tuple[dict[Row, int], Counter[Row]]:
    """By combination of values how many people its rows are of, in the way with the fewest, and how many rows."""
    people: dict[Row, list[BitMap]] = {}
    rows: Counter[Row] = Counter()
    ties = {one.name: _tied(company, asked, one) for one in dimensions if one.link is not None}
    numbers = _numbered(company, asked)
    for owners, values, at in _rows(company, asked, dimensions):
        day = _day(company, made, at)
        known = [None if owner is None else numbers.get(owner, -1) for owner in owners]
        whose = [number for number in known if number is not None]
        if day is None or not whose or -1 in whose:
            continue  # of nobody, or of somebody who may not be counted
        row = []
        for one, value in zip(dimensions, values, strict=True):
            shown = ties[one.name].get(next(o[1][0] for o in owners if o)) if one.link is not None else value
            row.append(_coarse(shown, steps.get(one.name)))
        place = (*row, day)
        rows[place] += 1
        bitmaps = people.setdefault(place, [BitMap() for _ in owners])
        for bitmap, number in zip(bitmaps, known, strict=True):
            bitmap.add(number if number is not None else whose[0])
    return {row: min(map(len, bitmaps)) for row, bitmaps in people.items()}, rows


Owner = tuple[str, tuple[str, ...]]
"""Somebody's kind and key."""


def _numbered(company: Company, asked: Scope) -> dict[Owner, int]:
    """A number for everybody who may be counted."""
    found: dict[Owner, int] = {}
    for kind in dict.fromkeys(way.walk.kind for way in asked.ways):
        for key in counted(company, asked.question.purpose, asked.question.data, kind, asked.promise):
            found[kind, key] = len(found)
    return found


def _rows(
    company: Company, asked: Scope, dimensions: Sequence[Dimension]
) -> Iterator[tuple[list[Owner | None], list[Any], Any]]:
    """Every row of the table: whose it is along each way, its values, its time. Keys are looked up here, table by
    table, and not joined."""
    store = company.stores[asked.walk.store]
    with store.read() as connection:
        above = [_above(connection, store, way) for way in asked.ways]
        table = store.table(asked.table)
        first = [way.path[0].columns if way.path else way.walk.root.person for way in asked.ways]
        columns = [table.c[name] for names in first for name in names]
        shown: list[sa.ColumnElement[Any]] = [
            table.c[one.column] if one.link is None else sa.null() for one in dimensions
        ]
        clock = table.c[asked.clock] if asked.clock is not None else sa.null()
        for row in connection.execution_options(yield_per=PAGE).execute(sa.select(*columns, *shown, clock)):
            values, owners = list(row), list[Owner | None]()
            for names, way, lookups in zip(first, asked.ways, above, strict=True):
                key, values = tuple(values[: len(names)]), values[len(names) :]
                owner: tuple[str, ...] | None = None if None in key else tuple(map(written, key))
                for lookup in lookups:
                    owner = lookup.get(owner, ("",)) if owner is not None else None
                owners.append((way.walk.kind, owner) if owner is not None else None)
            yield owners, values[:-1], values[-1]


def _above(
    connection: sa.Connection, store: SQLStore, way: Way
) -> list[dict[tuple[str, ...], tuple[str, ...]]]:
    """For each reference on the way, from what it names to what the next one starts from, and last to the person."""
    found = []
    for i, reference in enumerate(way.path):
        source = store.table(reference.to)
        onward = way.path[i + 1].columns if i + 1 < len(way.path) else way.walk.root.person
        if reference.path or reference.when is not None:
            raise _found("whose its rows are can't be looked up by hand")
        chosen = sa.select(*(source.c[name] for name in (*reference.to_columns, *onward)))
        width = len(reference.to_columns)
        found.append(
            {
                tuple(map(written, row[:width])): tuple(map(written, row[width:]))
                for row in connection.execute(chosen)
            }
        )
    return found


def _tied(company: Company, asked: Scope, dimension: Dimension) -> dict[str, str]:
    """By person, the one organisation they are tied to; nobody who is tied to none or several."""
    assert dimension.link is not None
    store = company.stores[asked.walk.store]
    say, table = Clauses(store, asked.walk.tables), plain(dimension.link.table)
    where = "1 = 1" if dimension.link.when is None else say.test(dimension.link.when, "t", table)
    if dimension.link.ended is not None:
        where += f" AND {say.column('t', str(dimension.link.ended))} IS NULL"
    ends = f"{say.column('t', dimension.person)}, {say.column('t', dimension.column)}"
    found: dict[str, set[str]] = {}
    with store.read() as connection:
        for person, other in say.run(connection, f"SELECT {ends} FROM {say.name(table)} t WHERE {where}"):
            if person is not None and other is not None:
                found.setdefault(str(person), set()).add(str(other))
    return {person: next(iter(others)) for person, others in found.items() if len(others) == 1}


def _day(company: Company, made: Sequence[Cut], at: Any) -> str | None:
    """The day that stands in a row of this time; None for a time that isn't in the file."""
    zone = company.policy.timezone
    if made[0].span.day(zone) is None:
        return ""
    is_large = isinstance(at, int | float) and abs(at) >= LARGE
    number: clocks.Writing = "milliseconds" if is_large else "seconds"
    writings: tuple[clocks.Writing, ...] = ("instant", "date", number, "text-t")
    for writing in writings:
        moment = clocks.moment(clocks.ClockFormat(writing), at)
        if moment is not None:
            for cut in made:
                if cut.span.since <= moment < cut.span.until:
                    day = cut.span.day(zone)
                    return day.isoformat() if day is not None else ""
    return None


def _in_one_way(asked: Scope, header: Sequence[str], rows: Counter[Row]) -> Counter[Row]:
    """The rows of the file with numbers written in one way: what is `10.0` here is `10` to some databases."""
    numbers = [_is_number(asked, name) for name in header]
    found: Counter[Row] = Counter()
    for row, times in rows.items():
        cells = zip(numbers, row, strict=True)
        found[tuple(_number(cell) if is_number else cell for is_number, cell in cells)] += times
    return found


def _number(text: str) -> str:
    """A number, written in one way; what is none stays as it is."""
    try:
        return format(Decimal(text).normalize(), "f")
    except InvalidOperation:
        return text


def _is_negative(text: str) -> bool:
    if text[0] != "-" or set(text) - _OF_NUMBERS:
        return False
    try:
        return float(text) <= 0
    except ValueError:
        return False


def _coarse(value: Any, width: int | None) -> str:
    """A value as it should stand in the file."""
    if value is None:
        return ""
    if width is None:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if isinstance(value, int | float | Decimal):
            return _number(text)
        return f"'{text}" if text[:1] in _BEGINNINGS and not _is_negative(text) else text
    try:
        low = below(Decimal(str(value)) / width) * width
    except (InvalidOperation, ValueError, OverflowError):
        return ""
    return f"{low} to <{low + width}"
