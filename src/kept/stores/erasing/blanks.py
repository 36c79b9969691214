"""What stands in a column once its content is gone: nothing, an empty value, or a random token where it is unique."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from kept.errors import TerminalError
from kept.stores.conditions import value
from kept.stores.schema import Table
from kept.stores.sql import SQLStore

PREFIX = "erased-"


@dataclass(frozen=True)
class Emptying:
    """How a column is emptied: `to` in SQL, or the reason why it can't be."""

    to: str | None
    why_not: str | None = None
    as_text: bool = False

    def full(self, here: str) -> str:
        """That the column (`here`, in SQL) still holds something, so that a second run finds nothing to do."""
        if self.to is None or self.to == "NULL":
            return f"{here} IS NOT NULL"
        if self.to.startswith(f"'{PREFIX}"):
            return f"{here} NOT LIKE '{PREFIX}%'"
        return f"CAST({here} AS TEXT) <> {self.to}" if self.as_text else f"{here} <> {self.to}"


def emptying(dialect: str, shape: Table, column: str) -> Emptying:
    """NULL; else '' for text, `erased-<hex>` for text that must be unique, 0, false or {} for what isn't text.

    A key, a reference, a time or a unique number that must not be null can't be emptied.
    """
    about = shape.columns[column]
    if column in shape.key:
        return Emptying(None, "it is the key of its rows")
    if about.nullable:
        return Emptying("NULL")
    if any(column in reference.columns and not reference.path for reference in shape.references):
        return Emptying(None, "it must not be null and refers to another row")
    if about.sort == "text":
        if not about.unique:
            return Emptying("''")
        room = re.search(r"char\D*\((\d+)\)", about.type.casefold())
        digits = min(32, int(room[1]) - len(PREFIX)) if room and dialect != "sqlite" else 32
        if digits < 16:
            return Emptying(None, "it must be unique and is too short for a random token")
        token = {
            "sqlite": f"lower(hex(randomblob({digits // 2})))",
            "mariadb": f"lower(hex(random_bytes({digits // 2})))",
        }.get(dialect, f"left(replace(CAST(gen_random_uuid() AS text), '-', ''), {digits})")
        return Emptying(f"'{PREFIX}' || {token}")
    empty = {"number": "0", "boolean": "0" if dialect == "sqlite" else "FALSE", "json": "'{}'"}.get(
        about.sort
    )
    if empty is None or about.unique:
        return Emptying(None, "it must not be null, and no value would say that it is empty")
    return Emptying(empty, as_text=about.sort == "json" and dialect == "postgresql")


@dataclass(frozen=True)
class Blank:
    """The same for SQLAlchemy's statements: what to set a column to, and that it still holds something."""

    to: sa.ColumnElement[Any]
    filled: sa.ColumnElement[bool]


def blank(store: SQLStore, shape: Table, column: str, source: sa.FromClause | None = None) -> Blank:
    """How to empty a column; TerminalError naming it where that can't be done."""
    found = (source if source is not None else store.table(shape.name)).c[column]
    made = emptying(store.dialect, shape, column)
    if made.to is None:
        raise TerminalError(
            f"{shape.name}.{column} can't be emptied: {made.why_not}",
            help="allow NULL in the column, or let the whole row be deleted",
            where=store.name,
        )
    to: sa.ColumnElement[Any] = sa.literal_column(made.to)
    if made.to == "NULL":
        return Blank(sa.null(), found.is_not(None))
    if made.to.startswith(f"'{PREFIX}"):
        return Blank(to, found.not_like(value(f"{PREFIX}%")))
    return Blank(to, (sa.cast(found, sa.Text) if made.as_text else found) != to)
