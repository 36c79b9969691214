"""Small databases for the contract tests."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from kept.stores.sql import SQLStore


def build(store: SQLStore, *statements: str) -> None:
    """Carry out statements and read the schema again."""
    with store.write() as connection:
        for statement in statements:
            connection.execute(sa.text(statement.replace(":", r"\:")))
    store.schema(refresh=True)


def rows(store: SQLStore, query: str) -> list[tuple[Any, ...]]:
    """What a query finds."""
    if store.dialect == "mariadb":
        query = query.replace(" AS TEXT)", " AS CHAR)")
    with store.read() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query.replace(":", r"\:")))]
