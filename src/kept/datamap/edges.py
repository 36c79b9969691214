"""The references of a store: those its database declares and those the policy file adds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from kept.policy.facts import DeclaredStore
from kept.policy.policy import Policy
from kept.stores.schema import Reference, Schema, Table


def plain(table: str) -> str:
    """`users` of `app.users`."""
    return table.partition(".")[2]


def store_of(table: str) -> str:
    """`app` of `app.users`."""
    return table.partition(".")[0]


def joined(store: DeclaredStore, schema: Schema, policy: Policy) -> dict[str, Table]:
    """The tables of a store with the file's references among their own.

    A reference that the file repeats is the database's. Where a kind or link names a key column that no reference
    starts from (`member at buyer_id`), the file's word makes it one: the column equals the kind's key.
    """
    added: dict[str, list[Reference]] = {}
    for declared in store.references:
        if store_of(declared.table) == store_of(declared.to) == store.name:
            reference = Reference(
                plain(declared.table),
                declared.columns,
                plain(declared.to),
                declared.to_columns,
                "file",
                declared.path,
                declared.when,
            )
            added.setdefault(reference.table, []).append(reference)
    tables = {name: _with(table, added.get(name, ()), schema.tables) for name, table in schema.tables.items()}
    for table, column, kind in _named_columns(policy):
        root = policy.root(kind)
        if (
            root is None
            or root.table is None
            or store_of(table) != store.name
            or store_of(root.table) != store.name
        ):
            continue
        name, to = plain(table), plain(root.table)
        if name not in tables or to not in tables or len(root.key_columns) != 1:
            continue
        if column not in tables[name].columns or any(column in r.columns for r in tables[name].references):
            continue
        if name == to and column == root.key_columns[0]:
            continue
        when = next((link.when for link in policy.links.values() if link.table == table), None)
        made = Reference(name, (column,), to, (str(root.key_columns[0]),), "file", (), when)
        tables[name] = _with(tables[name], [made], tables)
    return tables


def _with(table: Table, added: Iterable[Reference], tables: Mapping[str, Table]) -> Table:
    known = {(r.columns, r.to, r.to_columns, r.path) for r in table.references}
    new = [
        r for r in added if (r.columns, r.to, r.to_columns, r.path) not in known and _exists(r, table, tables)
    ]
    own = [r for r in table.references if _exists(r, table, tables)]
    return dataclasses.replace(table, references=(*own, *new))


def _exists(reference: Reference, table: Table, tables: Mapping[str, Table]) -> bool:
    if reference.to not in tables:
        return False
    return set(reference.columns) <= set(table.columns) and set(reference.to_columns) <= set(
        tables[reference.to].columns
    )


def _named_columns(policy: Policy) -> Iterable[tuple[str, str, str]]:
    """(table, column, kind) wherever the file says whose key a column holds."""
    for link in policy.links.values():
        for end in link.between.values():
            yield str(link.table), str(end.column), str(end.kind)
    for data in policy.data.values():
        for owner in data.of:
            kind = policy.kind_of(owner.who)
            if owner.column is not None and kind is not None:
                for table in data.tables:
                    yield str(table), str(owner.column), kind


def can_be_absent(reference: Reference, table: Table) -> bool:
    """Whether a row may have no such reference: an empty column, a path into JSON, or a condition."""
    return (
        bool(reference.path)
        or reference.when is not None
        or any(table.columns[column].nullable for column in reference.columns)
    )
