"""The shape of a database, read from its catalogue in a handful of queries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.engine.reflection import ObjectKind

from kept.stores.schema import Column, ColumnSort, Reference, Schema, Table

# The first pattern that stands in the type's name decides.
_SORTS: tuple[tuple[str, ColumnSort], ...] = (
    (r"json", "json"),
    (r"bool", "boolean"),
    (r"interval|\[\]|range|point", "other"),
    (r"timestamp|datetime", "time"),
    (r"^date$", "date"),
    (r"^time\b", "other"),
    (r"int|serial|real|floa|doub|numeric|decimal|money|number", "number"),
    (r"char|text|clob|uuid|citext|name|enum|string|inet|cidr", "text"),
    (r"blob|bytea|binary", "bytes"),
)


def sort_of(type_name: str) -> ColumnSort:
    """What Kept makes of a declared type: `VARCHAR(80)` is text, `timestamp with time zone` a time."""
    small = type_name.casefold().strip()
    return next((sort for pattern, sort in _SORTS if re.search(pattern, small)), "other")


@dataclass(frozen=True)
class Besides:
    """What SQLAlchemy's reflection leaves out of one database: types as written (by table and column), unique sets
    it doesn't find, tables that are parts of another and reached through it, and views that lead nowhere."""

    types: Mapping[tuple[str, str], str] = field(default_factory=dict)
    uniques: Mapping[str, Sequence[tuple[str, ...]]] = field(default_factory=dict)
    passed_over: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()


def reflect(connection: Connection, besides: Besides) -> Schema:
    """Every table and view the connection sees under its default schema."""
    inspector = sa.inspect(connection)
    readable: list[str] | None = None  # all
    if besides.broken:
        readable = sorted({*inspector.get_table_names(), *inspector.get_view_names()} - besides.broken)
    columns = _by_name(inspector.get_multi_columns(kind=ObjectKind.ANY, filter_names=readable))
    keys = _by_name(inspector.get_multi_pk_constraint())
    uniques = _by_name(inspector.get_multi_unique_constraints())
    indexes = _by_name(inspector.get_multi_indexes())
    references = _by_name(inspector.get_multi_foreign_keys())
    views = set(inspector.get_view_names()) | _materialized(inspector)
    sqlite = connection.dialect.name == "sqlite"
    spelled = {name.casefold(): name for name in columns} | {name: name for name in columns}

    tables: dict[str, Table] = {}
    for name, reflected in sorted(columns.items()):
        if name in besides.passed_over:
            continue
        primary = tuple((keys.get(name) or {}).get("constrained_columns") or ())
        whole = [i for i in indexes.get(name, ()) if _whole(i)]
        unique_sets = [tuple(u["column_names"]) for u in uniques.get(name, ())]
        unique_sets += besides.uniques.get(name, ())
        unique_sets += [tuple(i["column_names"]) for i in whole if i["unique"]]
        alone = {group[0] for group in (primary, *unique_sets) if len(group) == 1}
        made = {}
        for column in reflected:
            written = besides.types.get((name, column["name"])) or _type_name(column["type"], connection)
            made[column["name"]] = Column(
                column["name"],
                written,
                "text" if isinstance(column["type"], sa.Enum) else sort_of(written),
                bool(column["nullable"]) and column["name"] not in primary,
                column["name"] in alone,
            )
        not_null = (group for group in unique_sets if not any(made[c].nullable for c in group))
        searched = [primary, *unique_sets, *(tuple(i["column_names"]) for i in whole)]
        tables[name] = Table(
            name,
            made,
            primary or next(not_null, ()),
            tuple(
                made_reference
                for reference in references.get(name, ())
                if (made_reference := _reference(name, reference, spelled, keys, sqlite)) is not None
            ),
            tuple(dict.fromkeys(group for group in searched if group)),
            name in views,
        )
    return Schema(tables)


def _by_name(reflected: Mapping[tuple[str | None, str], Any]) -> dict[str, Any]:
    return {name: value for (_, name), value in reflected.items()}


def _materialized(inspector: sa.Inspector) -> set[str]:
    return set(inspector.get_materialized_view_names()) if inspector.dialect.name == "postgresql" else set()


def _whole(index: Mapping[str, Any]) -> bool:
    """Whether an index is over plain columns and all rows."""
    options = index.get("dialect_options") or {}
    return None not in index["column_names"] and not any(
        key.endswith("_where") and options[key] is not None for key in options
    )


def _type_name(type_: sa.types.TypeEngine[Any], connection: Connection) -> str:
    if isinstance(type_, sa.types.NullType):
        return ""
    return type_.compile(connection.dialect)


def _reference(
    table: str,
    reflected: Mapping[str, Any],
    spelled: Mapping[str, str],
    keys: Mapping[str, Any],
    sqlite: bool,
) -> Reference | None:
    """A foreign key; None when it leads to a table outside the schema, which Kept doesn't see."""
    target = reflected["referred_table"]
    to = spelled.get(target) or spelled.get(target.casefold())
    if to is None or reflected.get("referred_schema"):
        return None
    to_columns = tuple(reflected["referred_columns"]) or tuple(
        (keys.get(to) or {}).get("constrained_columns") or ()
    )
    # SQLite can defer any reference for one transaction, by PRAGMA defer_foreign_keys
    deferrable = sqlite or bool((reflected.get("options") or {}).get("deferrable"))
    return Reference(table, tuple(reflected["constrained_columns"]), to, to_columns, deferrable=deferrable)
