"""What stands in a column once its content is gone: nothing, an empty text, or a random token."""

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
class Blank:
    """What to set a column to, and the condition that it still holds something."""

    to: sa.ColumnElement[Any]
    filled: sa.ColumnElement[bool]


def blank(store: SQLStore, shape: Table, column: str, source: sa.FromClause | None = None) -> Blank:
    """NULL; '' for text that must not be null; `erased-<hex>` for text that must be unique too.

    Anything else (a number that must not be null, a part of the key) is a TerminalError naming the column.
    """
    found = (source if source is not None else store.table(shape.name)).c[column]
    about = shape.columns[column]
    if column in shape.key:
        raise _refused(store, shape, column, "it is the key of its rows")
    if about.nullable:
        return Blank(sa.null(), found.is_not(None))
    if not _plain(about.type):
        raise _refused(store, shape, column, "it must not be null and isn't text")
    if not about.unique:
        return Blank(sa.literal("", sa.Text), found != value(""))
    room = re.search(r"char\D*\((\d+)\)", about.type.casefold())
    digits = min(32, int(room[1]) - len(PREFIX)) if room and store.dialect == "postgresql" else 32
    if digits < 16:
        raise _refused(store, shape, column, "it must be unique and is too short for a random token")
    return Blank(sa.literal(PREFIX, sa.Text) + _random(store, digits), found.not_like(value(f"{PREFIX}%")))


def _plain(type_name: str) -> bool:
    small = type_name.casefold()
    return any(word in small for word in ("char", "text", "clob")) and "[]" not in small


def _random(store: SQLStore, digits: int) -> sa.ColumnElement[str]:
    if store.dialect == "sqlite":
        return sa.func.lower(sa.func.hex(sa.func.randomblob(digits // 2)))
    return sa.func.left(sa.func.replace(sa.cast(sa.func.gen_random_uuid(), sa.Text), "-", ""), digits)


def _refused(store: SQLStore, shape: Table, column: str, why: str) -> TerminalError:
    return TerminalError(
        f"{shape.name}.{column} can't be emptied: {why}",
        help="allow NULL in the column, or let the whole row be deleted",
        where=store.name,
    )
