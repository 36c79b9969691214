"""The own rows of people: whether they are there, and single columns of theirs; one statement for a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kept.stores.clauses import Clauses
from kept.stores.reach import as_keys
from kept.stores.sql import SQLStore
from kept.stores.walk import Key, Walk

OwnRow = Mapping[str, object]


def own_rows(
    store: SQLStore, walk: Walk, keys: Iterable[object], columns: Sequence[str] = ()
) -> dict[Key, list[tuple[Key, OwnRow]]]:
    """The own rows that each key leads to: the key as the table has it, and the columns asked for.

    `07` and `7` are one customer where keys are numbers, `ada` and `Ada` where the column ignores case. A key without
    a row is missing; several rows mean that what is declared as the key isn't one.
    """
    people, root = as_keys(keys), walk.root
    say = Clauses(store, walk.tables)
    shapes = [walk.tables[root.table].columns[column] for column in root.person]
    taken = [*root.person, *columns]
    chosen = ", ".join(say.column("t", column) for column in taken)
    match = " AND ".join(f"{say.column('t', column)} = j.v{i}" for i, column in enumerate(root.person))
    query = f"SELECT j.n, {chosen} FROM {say.unpacked(shapes)} {say.join} {say.name(root.table)} t ON {match}"
    found: dict[Key, list[tuple[Key, OwnRow]]] = {}
    with store.read() as connection:
        given = say.given(shapes, list(enumerate(people)))
        for number, *values in say.run(connection, query, **given):
            key = tuple(values[: len(root.person)])
            row = dict(zip(columns, values[len(root.person) :], strict=True))
            if (key, row) not in found.setdefault(people[number], []):
                found[people[number]].append((key, row))
    return found
