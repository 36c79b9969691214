"""Columns as the collection control sees them: whether they hold anything, where it came from, what it looks like."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from kept.errors import TerminalError
from kept.stores.conditions import value
from kept.stores.erasing.blanks import blank
from kept.stores.sql import SQLStore

BeforeCommit = Callable[[int], None]


def count_filled(store: SQLStore, table: str, columns: Sequence[str]) -> Mapping[str, int]:
    """For each column, how many rows hold something there (neither NULL nor an empty text), in one query."""
    if not columns:
        return {}
    source = _source(store, table, columns)
    counts = [_count(_filled(source.c[column])) for column in columns]
    with store.read() as connection:
        found = connection.execute(sa.select(*counts).select_from(source)).one()
    return dict(zip(columns, (int(count) for count in found), strict=True))


def clear_column(store: SQLStore, table: str, column: str, before_commit: BeforeCommit) -> int:
    """Empty a column in all rows that hold something there; how many.

    What empty means, and the TerminalError where it can't be, are `blanks.blank`'s. `before_commit` gets the count
    inside the transaction.
    """
    source = _source(store, table, (column,))
    emptied = blank(store, store.shape(table), column)
    with store.write() as connection:
        done = connection.execute(
            sa.update(source).values({column: emptied.to}).where(emptied.filled)
        ).rowcount
        before_commit(done)
    return done


def count_sources(store: SQLStore, table: str, column: str, allowed: Collection[str]) -> tuple[int, int]:
    """How many rows don't say where they came from, and how many say something that isn't `allowed`."""
    found = _source(store, table, (column,)).c[column]
    unknown = sa.and_(_filled(found), sa.cast(found, sa.Text).not_in([value(one) for one in sorted(allowed)]))
    counts = sa.select(_count(sa.not_(_filled(found))), _count(unknown))
    with store.read() as connection:
        missing, other = connection.execute(counts.select_from(store.table(table))).one()
    return int(missing), int(other)


def set_source(store: SQLStore, table: str, column: str, source: str, before_commit: BeforeCommit) -> int:
    """Write `source` into all rows that don't say where they came from; how many."""
    found = _source(store, table, (column,)).c[column]
    with store.write() as connection:
        change = sa.update(store.table(table)).values({column: value(source)}).where(sa.not_(_filled(found)))
        done = connection.execute(change).rowcount
        before_commit(done)
    return done


def sample(store: SQLStore, table: str, column: str, most: int) -> list[Any]:
    """Up to so many values of a column that aren't empty, as the driver has them; personal, so for no one's eyes."""
    source = _source(store, table, (column,))
    with store.read() as connection:
        query = sa.select(source.c[column]).where(_filled(source.c[column])).limit(most)
        return list(connection.execute(query).scalars())


def _source(store: SQLStore, table: str, columns: Sequence[str]) -> sa.TableClause:
    known = store.shape(table).columns
    for column in columns:
        if column not in known:
            raise TerminalError(f"there is no column {table}.{column}", where=store.name)
    return store.table(table)


def _count(so: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    """How many rows are so."""
    return sa.func.count(sa.case((so, 1)))


def _filled(column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    return sa.and_(column.is_not(None), sa.cast(column, sa.Text) != value(""))
