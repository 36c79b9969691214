"""Groups counted under one guard, kept for the next: a month counted twice could be subtracted from itself."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from kept.controls.purposes.guard.catalogue import quoted, text
from kept.controls.purposes.guard.plan import Plan, run
from kept.stores.sql import SQLStore

_THERE = sa.text(
    "SELECT pg_catalog.to_regclass('kept.published') IS NOT NULL"
    " AND EXISTS (SELECT FROM pg_catalog.pg_attribute"
    " WHERE attrelid = pg_catalog.to_regclass('kept.published') AND attname = 'of')"
)


def keep(store: SQLStore, connection: Connection) -> None:
    """Copy what was counted out of the schema `kept`, which is about to be dropped, for as long as the transaction."""
    if not connection.scalar(_THERE):
        return
    names = connection.scalars(sa.text("SELECT groups FROM kept.published ORDER BY 1")).all()
    copies = [f"CREATE TEMPORARY TABLE {_copy('published')} ON COMMIT DROP AS SELECT * FROM kept.published;"]
    copies += [
        f"CREATE TEMPORARY TABLE {_copy(name)} ON COMMIT DROP AS SELECT * FROM kept.{quoted(name)};"
        for name in names
    ]
    run(store, connection, copies)


def put_back(store: SQLStore, connection: Connection, plan: Plan) -> None:
    """What was counted stands again in the groups that are still made; other groups of a table begin where it ended."""
    if not connection.scalar(
        sa.text(f"SELECT pg_catalog.to_regclass('pg_temp.{_copy('published')}') IS NOT NULL")
    ):
        return
    lines = []
    for group in plan.groups:
        lines.append(
            f"INSERT INTO kept.published SELECT {text(group.name)}, of, max(until) FROM pg_temp.{_copy('published')}"
            f" WHERE of = {text(group.table)} GROUP BY of;"
        )
        there: Any = connection.scalar(
            sa.text("SELECT pg_catalog.to_regclass(:name) IS NOT NULL"),
            {"name": f"pg_temp.{_copy(group.name)}"},
        )
        if there:
            columns = ", ".join(map(quoted, (*group.by, "month", "people", "rows")))
            lines.append(
                f"INSERT INTO kept.{quoted(group.name)} ({columns}) SELECT {columns} FROM pg_temp.{_copy(group.name)}"
                f" WHERE people >= {group.floor};"
            )
    run(store, connection, lines)


def _copy(name: str) -> str:
    return quoted(f"counted {name}")
