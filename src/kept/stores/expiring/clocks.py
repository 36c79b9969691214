"""How a column tells time, and what to compare it with so that the database's own index serves.

A clock is read as the column writes it. What doesn't look like it (a number among texts, another offset than UTC, a
day that isn't one) is never taken for a time: it is *unreadable*, and counted as such.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from kept.errors import TerminalError
from kept.stores.schema import Column
from kept.stores.sql import SQLStore

Writing = Literal[
    "instant",
    "wall",
    "date",
    "datetime",
    "day",
    "text-date",
    "text-space",
    "text-t",
    "seconds",
    "milliseconds",
]
Moment = datetime | date | str | int

_SAMPLE = 50
_DAYS = 50_000
_MILLISECONDS = 100_000_000_000  # as seconds this is the year 5138: whatever is larger counts in milliseconds
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_TEXT = re.compile(r"(\d{4}-\d\d-\d\d)(?:([ T])(\d\d:\d\d:\d\d)(\.\d{1,6})?(Z|\+00:00)?)?")


@dataclass(frozen=True)
class ClockFormat:
    """How one column writes time: PostgreSQL's `instant` (timestamptz), `wall` (timestamp, in UTC) and `date`;
    MariaDB's `datetime` (in UTC) and `day`, which may hold days that are none (`0000-00-00`);
    SQLite's texts (`2026-01-31`, `2026-01-31 12:00:00`, `2026-01-31T12:00:00Z`) and seconds or milliseconds since 1970.
    """

    writing: Writing


def clock_format(store: SQLStore, table: str, column: str) -> ClockFormat:
    """How `table.column` writes time, by its type and a few of its values; TerminalError when it doesn't."""
    with store.read() as connection:
        return format_seen(store, connection, table, column)


def format_seen(store: SQLStore, connection: Connection, table: str, column: str) -> ClockFormat:
    """The same within a transaction that is open."""
    shape = store.shape(table).columns.get(column)
    if shape is None:
        raise TerminalError(f"there is no column {table}.{column}", where=store.name)
    writing = None if store.dialect == "sqlite" else _declared(shape)
    if writing is not None and store.dialect == "mariadb":
        writing = "day" if writing == "date" else "datetime"
    if store.dialect == "sqlite" and shape.sort in ("time", "date", "text", "number", "other"):
        source = store.table(table)
        found = source.c[column]
        rows = connection.execute(
            sa.select(found).where(found.is_not(None), found != "").limit(_SAMPLE)
        ).scalars()
        writing = _sniffed(list(rows), shape)
    if writing is None:
        raise TerminalError(
            f"{table}.{column} is a clock that isn't a date",
            help="name a column of dates or times; in SQLite text like 2026-01-31 12:00:00 UTC, or seconds since 1970",
            where=store.name,
        )
    return ClockFormat(writing)


def _declared(column: Column) -> Writing | None:
    if column.sort == "date":
        return "date"
    if column.sort != "time":
        return None
    return "instant" if "with time zone" in column.type.casefold().replace("without", "") else "wall"


def _sniffed(values: list[Any], column: Column) -> Writing | None:
    """The writing most of the values have; without any value, what the declared type suggests."""
    if not values:
        return {"number": "seconds", "date": "text-date", "time": "text-space", "text": "text-space"}.get(
            column.sort
        )  # type: ignore[return-value]  # the keys are ColumnSort's, the values Writing's
    seen = [_writing(value) for value in values]
    known = [writing for writing in seen if writing is not None]
    return Counter(known).most_common(1)[0][0] if len(known) * 2 > len(seen) else None


def _writing(value: Any) -> Writing | None:
    if isinstance(value, (int, float)):
        return "milliseconds" if abs(value) >= _MILLISECONDS else "seconds"
    found = _TEXT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    return "text-date" if not found[2] else "text-space" if found[2] == " " else "text-t"


def bound(format: ClockFormat, cutoff: datetime) -> Moment:
    """What `column < ?` is bound to so that it holds exactly for clocks before `cutoff`.

    A clock that is only a day means its first instant, in UTC. Texts compare letter by letter, so their bound is the
    shortest text of a whole second: `2026-01-31 12:00:00` comes before the same with a fraction or an offset behind it.
    """
    at = cutoff.astimezone(UTC)
    match format.writing:
        case "instant":
            return at
        case "wall" | "datetime":
            return at.replace(tzinfo=None)
        case "date" | "day" | "text-date":
            midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
            day = at.date() if at == midnight else at.date() + timedelta(days=1)
            return day.isoformat() if format.writing == "text-date" else day
        case "text-space" | "text-t":
            return at.replace(tzinfo=None).isoformat(
                " " if format.writing == "text-space" else "T", "seconds"
            )
        case "seconds" | "milliseconds":
            micro = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
            unit = 1_000_000 if format.writing == "seconds" else 1_000
            return -(-micro // unit) if micro % unit == 0 else micro / unit  # type: ignore[return-value]  # SQLite compares a real with integers exactly


def readable(format: ClockFormat, column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """A condition that holds where the (non-null) column is written in this format."""
    if format.writing in ("instant", "wall", "date"):
        return sa.func.isfinite(column)
    if format.writing in ("datetime", "day"):
        return column >= sa.literal_column("'0001-01-01'")
    if format.writing in ("seconds", "milliseconds"):
        number = sa.func.typeof(column).in_(("integer", "real"))
        size = sa.func.abs(column)
        fits = (
            size < _MILLISECONDS if format.writing == "seconds" else sa.or_(size >= _MILLISECONDS, size == 0)
        )
        return sa.and_(number, fits)
    day = "[0-9][0-9][0-9][0-9]-[0-1][0-9]-[0-3][0-9]"
    if format.writing == "text-date":
        return column.op("GLOB")(day)
    second = f"{day}{' ' if format.writing == 'text-space' else 'T'}[0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
    # GLOB has no repetition: a fraction of a second is what is left after 19 letters, without Z or +00:00
    rest = sa.func.substr(column, 20)
    fraction = sa.func.rtrim(sa.func.replace(rest, "+00:00", "Z"), "Z")
    return sa.or_(
        column.op("GLOB")(second),
        sa.and_(
            column.op("GLOB")(f"{second}[.Z+]*"),
            sa.or_(
                rest.in_(("Z", "+00:00")),
                sa.and_(
                    fraction.op("GLOB")(".[0-9]*"),
                    sa.func.substr(fraction, 2).op("NOT GLOB")("*[^0-9]*"),
                    sa.func.length(rest).in_((*range(2, 9), *range(9, 14))),
                ),
            ),
        ),
    )


def first_of_days(
    store: SQLStore, connection: Connection, table: str, column: str, format: ClockFormat, cutoff: datetime
) -> str | None:
    """The column's least value, when it and all up to the cut-off begin with a day and are equally long; else None.

    For SQLite's texts under an index: instead of matching every value, one look between each day and the next, and
    at the lengths. From that value to the cut-off rows can then be told by comparison alone, at half the cost of
    `readable`. (`2020-01-31 10:00:0x` counts as of its day, though `readable` wouldn't have it.)
    """
    indexed = any(group[0] == column for group in store.shape(table).indexes)
    if store.dialect != "sqlite" or not indexed or not format.writing.startswith("text"):
        return None
    found = store.table(table).c[column]
    least = connection.execute(sa.select(sa.func.min(found))).scalar()
    if least is None or _writing(least) != format.writing:
        return None
    last = cutoff.astimezone(UTC).date()
    try:
        days = (last - date.fromisoformat(least[:10])).days
    except ValueError:
        return None
    if not 0 <= days <= _DAYS:
        return None
    ends = {"text-date": ("", ""), "text-space": (" 24", " 0"), "text-t": ("T24", "T0")}[format.writing]
    strange = connection.execute(
        sa.text(
            "WITH RECURSIVE day (d) AS (SELECT :first UNION ALL SELECT date(d, '+1 day') FROM day WHERE d < :last)"
            f" SELECT EXISTS (SELECT 1 FROM day WHERE d < :last AND EXISTS (SELECT 1 FROM {_q(store, table)}"
            f" WHERE {_q(store, column)} > d || :after AND {_q(store, column)} < date(d, '+1 day') || :before))"
            f" OR EXISTS (SELECT 1 FROM {_q(store, table)} WHERE {_q(store, column)} < :bound"
            f" AND length({_q(store, column)}) <> length(:least))"
        ),
        {"least": least, "bound": bound(format, cutoff)}
        | {"first": least[:10], "last": last.isoformat(), "after": ends[0], "before": ends[1]},
    ).scalar()
    return None if strange else str(least)


def _q(store: SQLStore, name: str) -> str:
    return store.engine.dialect.identifier_preparer.quote(name).replace(":", r"\:")


def moment(format: ClockFormat, value: Any) -> datetime | None:
    """The instant a value of the column means; None when it means none."""
    try:
        match format.writing:
            case "instant" | "wall" | "datetime" if isinstance(value, datetime):
                return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
            case "date" | "day" if isinstance(value, date):
                return datetime(value.year, value.month, value.day, tzinfo=UTC)
            case "instant" | "wall" | "date" if isinstance(value, str) and value.endswith(" BC"):
                return datetime.min.replace(tzinfo=UTC)  # the earliest there is in Python: before any cut-off
            case "seconds" | "milliseconds" if isinstance(value, (int, float)):
                return datetime.fromtimestamp(value / (1 if format.writing == "seconds" else 1000), UTC)
            case "text-date" | "text-space" | "text-t" if isinstance(value, str):
                return datetime.fromisoformat(value.replace("Z", "+00:00")[:32]).replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None  # 31 February, the year 60000
    return None
