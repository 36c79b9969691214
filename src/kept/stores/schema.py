"""The shape of a SQL store: tables, columns, keys, references; read from the database, plain values from here on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kept.policy.grammar import Test

ColumnSort = Literal["text", "number", "time", "date", "boolean", "json", "bytes", "other"]


@dataclass(frozen=True)
class Column:
    """A column: `sort` is what Kept makes of the database's own `type`; `unique` when it alone must be unique.

    `collation` is how its texts compare, where the database must be told to compare others with them (MariaDB).
    """

    name: str
    type: str
    sort: ColumnSort
    nullable: bool
    unique: bool = False
    collation: str | None = None


@dataclass(frozen=True)
class Reference:
    """Rows of `table` point at rows of `to`: `columns` equal `to_columns`, one by one.

    `declared` is `database` for a foreign key and `file` for one the policy file declares; only the latter has a
    `path` into a JSON column, or a condition on the referring row
    (`when`). `deferrable` as the database says; in SQLite each one is.
    """

    table: str
    columns: tuple[str, ...]
    to: str
    to_columns: tuple[str, ...]
    declared: Literal["database", "file"] = "database"
    path: tuple[str, ...] = ()
    when: Test | None = None
    deferrable: bool = False

    def __str__(self) -> str:
        return f"{self.table}.{'+'.join(self.columns)} → {self.to}.{'+'.join(self.to_columns)}"


@dataclass(frozen=True)
class Table:
    """A table or view: `key` identifies a row (primary key, else a unique not-null set, else empty)."""

    name: str
    columns: Mapping[str, Column]
    key: tuple[str, ...]
    references: tuple[Reference, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    is_view: bool = False


@dataclass(frozen=True)
class Schema:
    """All tables of one store; names without the store's own (`users`, not `app.users`)."""

    tables: Mapping[str, Table]
