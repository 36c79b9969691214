"""Of whom an erasure would still take something: decided as an erasure decides it, and nothing is changed.

Who was erased and has something left that only a hold kept is told so from who has nothing to lose any more.
"""

from __future__ import annotations

from collections.abc import Iterable

from kept.stores.erasing.changes import Changes
from kept.stores.erasing.fates import Fates
from kept.stores.reach import Reach, as_keys
from kept.stores.sql import SQLStore
from kept.stores.walk import Erasure, Key


def losing(store: SQLStore, erasure: Erasure, keys: Iterable[object]) -> list[Key]:
    """Those of a batch of people of whom an erasure now would delete a row or clear a value, in the order given.

    The same number of statements for one person or thousands; what can't be emptied isn't counted.
    """
    people = as_keys(keys)
    if not people:
        return []
    with store.read() as connection:
        reach = Reach(connection, store, erasure.walk, people, by_person=True)
        reach.stops()
        fates = Fates(reach, erasure)
        found = set(reach.run(" UNION ".join(_queries(reach, fates, Changes(reach, fates)))).scalars())
        reach.relations.drop()
    return [key for number, key in enumerate(people) if number in found]


def _queries(reach: Reach, fates: Fates, changes: Changes) -> list[str]:
    """For each stop the people of whom a row goes there, or stays with something cleared."""
    walk, say, queries = reach.walk, reach.say, list[str]()
    for number, stop in enumerate(walk.stops[: walk.own]):
        if walk.tables[stop.table].is_view:
            continue
        rows = f"SELECT s.person FROM {reach.stop(number)} s"
        if fates.simple(stop.table):
            queries.append(rows)
            continue
        keys = range(len(say.key(stop.table)))

        def same(alias: str, keys: range = keys) -> str:
            return " AND ".join(f"{alias}.k{i} = s.k{i}" for i in keys)

        queries.append(f"{rows} {say.join} {fates.of(stop.table)} f ON {same('f')} WHERE f.go = 1")
        change = changes.planned.get(stop.table)
        cleared = [
            f"u.c{i} = 1"
            for i, slot in enumerate(change.slots if change is not None else ())
            if not slot.unlinked and slot.value is not None
        ]
        if change is not None and cleared:
            chosen = f"({' OR '.join(cleared)})"
            queries.append(f"{rows} {say.join} {change.relation} u ON {same('u')} WHERE {chosen}")
    return queries
