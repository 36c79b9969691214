"""Rows as a machine, a spreadsheet and a person read them: JSON, CSV and HTML, portion by portion."""

from __future__ import annotations

import csv
import io
import json
import math
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from html import escape
from typing import Any

Row = Mapping[str, object]

ON_PAGE = 500  # rows of one table on the page a person reads; every row stands in data.json and in the CSV
CHARACTERS = 2000  # of one value on that page
_RISKY = frozenset("=+-@\t\r")


@dataclass(frozen=True, eq=False)
class Slot:
    """The rows of one table that hold one kind of data: `columns` are all that such a row may have."""

    data: str
    place: str
    columns: tuple[str, ...]

    @property
    def csv_name(self) -> str:
        """`usage/app.usage_events.csv`: a name without spaces or steps to another folder."""
        return "/".join(part.replace(" ", "-").replace("/", "-") for part in (self.data, self.place)) + ".csv"

    @cached_property
    def csv_header(self) -> bytes:
        return _as_csv([list(map(_harmless, self.columns))])

    @cached_property
    def json_name(self) -> bytes:
        return as_json(self.place)

    def page_head(self, rows: int) -> bytes:
        """What stands before the rows on the page."""
        columns = "".join(f'<th scope="col">{escape(column)}</th>' for column in self.columns)
        count = f"{rows} {'row' if rows == 1 else 'rows'}"
        return encoded(
            f'<div class="scroll">\n<table>\n<caption>{escape(self.place)}: {count}</caption>\n'
            f"<thead><tr>{columns}</tr></thead>\n<tbody>\n"
        )

    def page_foot(self, rows: int) -> bytes:
        """What stands behind them, with how many rows the page leaves out."""
        left = rows - ON_PAGE
        more = (
            f"<p>…and {left} more {'row' if left == 1 else 'rows'} in <code>data.json</code>: "
            f"this page shows the first {ON_PAGE} of each table.</p>\n"
        )
        return encoded(f"</tbody>\n</table>\n</div>\n{more if left > 0 else ''}")


def _in_words(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(value).decode()
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=shown)
    return str(value)


_OFTEN: dict[type, Callable[[Any], str]] = {
    str: str,
    int: str,
    float: str,
    Decimal: str,
    type(None): lambda _: "",
    datetime: datetime.isoformat,
}  # asked once for each cell of an answer, so by type and not one by one


def shown(value: object) -> str:
    """A value as a person reads it."""
    return _OFTEN.get(type(value), _in_words)(value)


def encoded(text: str) -> bytes:
    """UTF-8; half a character pair, which some databases let through, as JSON writes it."""
    return text.encode("utf-8", "backslashreplace")


_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=shown).encode


def as_json(value: object) -> bytes:
    """JSON by RFC 8259, which has no word for a number that isn't one: such a number becomes text."""
    try:
        return encoded(_ENCODE(value))
    except ValueError:
        return encoded(_ENCODE(_finite(value)))


def json_rows(rows: Sequence[Row]) -> bytes:
    """Rows with a comma between them, one a line, without the brackets of a list."""
    try:
        return encoded(",\n".join(map(_ENCODE, rows)))
    except ValueError:
        return b",\n".join(map(as_json, rows))


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def texts(rows: Sequence[Row], columns: Sequence[str]) -> list[list[str]]:
    """The cells of rows, each with every column; one a row doesn't have is empty."""
    return [
        [value if type(value) is str else shown(value) for value in map(row.get, columns)] for row in rows
    ]


def csv_rows(cells: Sequence[Sequence[str]]) -> bytes:
    """Lines of CSV (RFC 4180), each cell one that a spreadsheet won't run as a formula (OWASP, CSV injection)."""
    return _as_csv([[cell if cell[:1] not in _RISKY else _harmless(cell) for cell in row] for row in cells])


def _as_csv(cells: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(cells)
    return encoded(text.getvalue())


def _harmless(text: str) -> str:
    risky = text[:1] in _RISKY and not text.lstrip("+-").replace(".", "", 1).isdecimal()
    return f"'{text}" if risky else text


def page_rows(cells: Sequence[Sequence[str]]) -> bytes:
    """Rows of an HTML table; a value that is too long for a page is cut, and says so."""
    ours = [[cell if len(cell) <= CHARACTERS else _cut(cell) for cell in row] for row in cells]
    text = "\1".join(["\0".join(row) for row in ours])
    if text.count("\0") + text.count("\1") != sum(map(len, ours)) - 1:
        # a value has one of these two in it, which no page can show
        clean = str.maketrans("\0\1", "\ufffd\ufffd")
        text = "\1".join(["\0".join([cell.translate(clean) for cell in row]) for row in ours])
    body = escape(text).replace("\0", "</td><td>").replace("\1", "</td></tr>\n<tr><td>")
    return encoded(f"<tr><td>{body}</td></tr>\n") if ours else b""


def _cut(cell: str) -> str:
    return f"{cell[:CHARACTERS]}… (and {len(cell) - CHARACTERS} more characters in data.json)"
