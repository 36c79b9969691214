"""Drift: what the file says and the database doesn't have, and what the database has and nobody declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kept.datamap.checks import declared_tables, hanging, named_places
from kept.datamap.edges import plain, store_of
from kept.datamap.graph import build_map
from kept.datamap.looks import looks_like
from kept.policy.policy import Policy
from kept.stores.sample import sample
from kept.stores.schema import Schema
from kept.stores.sql import SQLStore

Sort = Literal["missing-table", "missing-column", "undeclared-table", "undeclared-column"]


@dataclass(frozen=True)
class Difference:
    """One difference between file and database; `looks_like` is a hint about an undeclared column, never a verdict."""

    sort: Sort
    store: str
    table: str
    column: str | None = None
    looks_like: str | None = None

    def __str__(self) -> str:
        place = f"{self.store}.{self.table}" + (f".{self.column}" if self.column else "")
        told = {
            "missing-table": "is declared and isn't in the database",
            "missing-column": "is declared and isn't in the database",
            "undeclared-table": "hangs on a person and nobody declared it",
            "undeclared-column": "is in a table about people and nobody declared it",
        }[self.sort]
        return f"{place} {told}" + (f" (it looks like {self.looks_like})" if self.looks_like else "")


@dataclass(frozen=True)
class UndeclaredColumn:
    """A column of a table about people that nobody declared; `kinds` are the kinds whose rows it is in."""

    store: str
    table: str
    column: str
    kinds: frozenset[str] = field(default_factory=frozenset)

    def __str__(self) -> str:
        return f"{self.store}.{self.table}.{self.column}"


def undeclared_columns(policy: Policy, schemas: Mapping[str, Schema]) -> list[UndeclaredColumn]:
    """The columns of people's, links' and data's tables that no fact names and that aren't a key or a reference."""
    found = build_map(policy, schemas)
    named: dict[str, set[str]] = {}
    for full, column, _ in named_places(policy):
        named.setdefault(str(full), set()).add(column)
    result = []
    for store, tables in found.tables.items():
        for name in sorted(declared_tables(policy, store) & set(tables)):
            table = tables[name]
            known = {*table.key, *named.get(f"{store}.{name}", ())}
            known |= {
                column for reference in table.references if not reference.path for column in reference.columns
            }
            known |= {c for t in tables.values() for r in t.references if r.to == name for c in r.to_columns}
            kinds = frozenset(
                k for k, walk in found.walks.items() if walk.store == store and walk.of_table(name)
            )
            result += [
                UndeclaredColumn(store, name, column, kinds)
                for column in table.columns
                if column not in known
            ]
    return result


def undeclared_tables(policy: Policy, schemas: Mapping[str, Schema]) -> list[str]:
    """The tables (`store.table`) that hang on a person and that the file says nothing of."""
    found = build_map(policy, schemas)
    result = []
    for store, tables in found.tables.items():
        owned = {
            stop.table
            for kind, walk in found.walks.items()
            if walk.store == store and not policy.people[kind].is_organisation
            for stop in walk.stops[: walk.own]
        }
        result += [f"{store}.{name}" for name in sorted(hanging(policy, store, tables, owned))]
    return result


def drift(
    policy: Policy, schemas: Mapping[str, Schema], stores: Mapping[str, SQLStore] | None = None
) -> list[Difference]:
    """Every difference between a policy and its connected databases.

    With `stores`, a sample of an undeclared column's values helps to guess what it holds; no value is told.
    """
    result: list[Difference] = []
    for full, column, _ in named_places(policy):
        store, table = store_of(full), plain(full)
        if store not in schemas:
            continue
        tables = schemas[store].tables
        if table not in tables:
            result.append(Difference("missing-table", store, table))
        elif column and column not in tables[table].columns:
            result.append(Difference("missing-column", store, table, column))
    hung = undeclared_tables(policy, schemas)
    result.extend(Difference("undeclared-table", store_of(name), plain(name)) for name in hung)
    for place in undeclared_columns(policy, schemas):
        opened = (stores or {}).get(place.store)
        values = sample(opened, place.table, place.column) if opened is not None else ()
        hint = looks_like(place.column, values)
        result.append(Difference("undeclared-column", place.store, place.table, place.column, hint))
    return list(dict.fromkeys(result))
