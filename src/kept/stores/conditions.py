"""The tests of the policy file (`role = member`, `age >= 13`) as SQL conditions."""

from __future__ import annotations

import calendar
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import sqlalchemy as sa

from kept.errors import TerminalError
from kept.policy.grammar import Comparison, Operator, Test
from kept.stores.schema import Column, Table

_TRUE = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_BEFORE: dict[Operator, tuple[int, bool]] = {
    ">=": (0, True),
    "<": (0, False),
    ">": (1, True),
    "<=": (1, False),
}


def value(given: Any) -> sa.BindParameter[Any]:
    """A bound value without a type of SQLAlchemy's, so that the database takes it for what the column is."""
    return sa.bindparam(None, given, type_=sa.types.NullType(), unique=True)


def condition(
    test: Test, columns: sa.FromClause, shape: Table, *, today: date, born: str | None = None
) -> sa.ColumnElement[bool]:
    """What a row must meet; `columns` is the table (or an alias of it) of that `shape`.

    `age` counts whole years at `today` by the column `born`. Numbers compare as numbers, booleans as booleans, by the
    column's sort; a value that isn't one, or a column that isn't there, is a TerminalError.
    """
    return sa.and_(*(_one(part, columns, shape, today, born) for part in test.all))


def _one(
    part: Comparison, columns: sa.FromClause, shape: Table, today: date, born: str | None
) -> sa.ColumnElement[bool]:
    name = born if part.of_age else part.column
    if name is None:
        raise TerminalError(
            f"`{part}` needs a column with the birth date", help="declare `born:` for the kind"
        )
    column = shape.columns.get(name)
    if column is None:
        raise TerminalError(f"there is no column {shape.name}.{name}")
    found = columns.c[name]
    if part.of_age:
        return _aged(part, found, today)
    if part.operator in ("is empty", "is not empty"):
        texts = column.sort in ("text", "other") and not _is_strict(column)
        empty = sa.or_(found.is_(None), found == value("")) if texts else found.is_(None)
        return empty if part.operator == "is empty" else sa.not_(empty)
    bound = value(_read(part, column))
    match part.operator:
        case "=":
            return found == bound
        case "!=":
            return found.is_distinct_from(bound)  # a row without a value differs too
        case "<":
            return found < bound
        case "<=":
            return found <= bound
        case ">":
            return found > bound
        case _:
            return found >= bound


def _is_strict(column: Column) -> bool:
    """Whether the type refuses an empty text: PostgreSQL's uuid, inet, enumerations and whatever Kept doesn't know."""
    small = column.type.casefold()
    return bool(small) and not any(word in small for word in ("char", "text", "clob"))


def _read(part: Comparison, column: Column) -> object:
    text = part.value or ""
    if column.sort == "boolean":
        if text.casefold() in _TRUE:
            return _TRUE[text.casefold()]
        raise TerminalError(f"`{part}`: {column.name} is true or false")
    if column.sort == "number":
        try:
            number = Decimal(text)
        except InvalidOperation:
            raise TerminalError(f"`{part}`: {column.name} is a number") from None
        return int(number) if number == number.to_integral_value() else float(number)
    return text


def birthday(today: date, years: int) -> date:
    """The last birth date of those who are at least `years` old at `today`; on 29 February the 28th, years back."""
    year = today.year - years
    return date(year, today.month, min(today.day, calendar.monthrange(year, today.month)[1]))


def _aged(part: Comparison, born: sa.ColumnElement[Any], today: date) -> sa.ColumnElement[bool]:
    try:
        years = int(part.value or "")
        if not 0 <= years < 200:
            raise ValueError
    except ValueError:
        raise TerminalError(f"`{part}`: an age is a whole number of years") from None

    def before(more: int) -> sa.BindParameter[Any]:
        return value(
            (birthday(today, years + more) + timedelta(days=1)).isoformat()
        )  # the day after: born may have a time

    if part.operator in _BEFORE:
        more, older = _BEFORE[part.operator]
        return born < before(more) if older else born >= before(more)
    same = sa.and_(born < before(0), born >= before(1))
    return same if part.operator == "=" else sa.not_(same)
