"""A few values of a column, to guess at what it holds; they are looked at and forgotten."""

from __future__ import annotations

import sqlalchemy as sa

from kept.stores.sql import SQLStore

VALUES = 100


def sample(store: SQLStore, table: str, column: str) -> tuple[str, ...]:
    """Up to 100 filled values of a column as text, from the rows the database comes upon first."""
    source = store.table(table)
    with store.read() as connection:
        rows = connection.execute(sa.select(source.c[column]).limit(VALUES * 10)).scalars()
        return tuple(str(value) for value in rows if value is not None and not isinstance(value, bytes))[
            :VALUES
        ]
