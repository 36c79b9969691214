"""What a store holds about people: their rows, table by table, from one consistent snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from kept.stores.clauses import Clauses
from kept.stores.reach import Reach, as_keys
from kept.stores.sql import SQLStore
from kept.stores.walk import Key, Stop, Walk

ROWS = 1000


@dataclass(frozen=True)
class Portion:
    """Some rows of one table, each with the key of the person it belongs to, in the order of the people asked for.

    A row has the columns declared for that person and no others; its values are as the driver gives them.
    """

    table: str
    rows: tuple[tuple[Key, Mapping[str, object]], ...]


def collect(store: SQLStore, walk: Walk, keys: Iterable[object]) -> Iterator[Portion]:
    """The rows of a batch of people: tables in walking order, at most 1000 rows a portion.

    A row that belongs to several people of the batch comes once for each. The snapshot is held until the iterator
    ends or is closed.
    """
    people = as_keys(keys)
    with store.read() as connection:
        reach = Reach(connection, store, walk, by_person=True)
        reach.people(people)
        reach.stops()
        for table in walk.own_tables():
            stops = {i: walk.stops[i] for i in walk.of_table(table) if walk.stops[i].columns}
            if not stops:
                continue
            columns = list(dict.fromkeys(column for stop in stops.values() for column in stop.columns))
            query = (
                _of_view(reach, stops, columns)
                if walk.tables[table].is_view
                else _of_table(reach, stops, columns)
            )
            yield from _portions(connection, query, table, list(stops.values()), columns, people)


def _of_table(reach: Reach, stops: Mapping[int, Stop], columns: list[str]) -> str:
    say = reach.say
    table = next(iter(stops.values())).table
    keys = ", ".join(f"k{i}" for i in range(len(say.key(table))))
    if len(stops) == 1:
        source, flags = say.temporary(f"kept_stop_{next(iter(stops))}"), "1"
    else:
        parts = [
            f"SELECT person, {keys}, {_one_of(n, len(stops))} FROM {say.temporary(f'kept_stop_{i}')}"
            for n, i in enumerate(stops)
        ]
        most = ", ".join(f"MAX(e{n}) AS e{n}" for n in range(len(stops)))
        source = (
            f"(SELECT person, {keys}, {most} FROM ({' UNION ALL '.join(parts)}) AS u GROUP BY person, {keys})"
        )
        flags = ", ".join(f"s.e{n}" for n in range(len(stops)))
    chosen = ", ".join(say.column("t", column) for column in columns)
    match = say.same_row(table, "t", "s")
    order = ", ".join(f"s.k{i}" for i in range(len(say.key(table))))
    return (
        f"SELECT s.person, {flags}, {chosen} FROM {source} s {say.join} {say.name(table)} t ON {match}"
        f" ORDER BY s.person, {order}"
    )


def _of_view(reach: Reach, stops: Mapping[int, Stop], columns: list[str]) -> str:
    """A view's rows have no key: each way gives its rows, the same values twice for one person once."""
    say = reach.say
    chosen = ", ".join(say.column("t", column) for column in columns)
    queries = [
        f"SELECT s.person, {_flags(n, len(stops))}, {chosen} FROM {way}"
        for n, stop in enumerate(stops.values())
        for way in reach.ways(stop)
    ]
    return f"{' UNION '.join(queries)} ORDER BY 1" if len(queries) > 1 else f"{queries[0]} ORDER BY 1"


def _one_of(n: int, count: int) -> str:
    return ", ".join(f"{int(i == n)} AS e{i}" for i in range(count))


def _flags(n: int, count: int) -> str:
    return ", ".join(str(int(i == n)) for i in range(count))


def _portions(
    connection: sa.Connection,
    query: str,
    table: str,
    stops: list[Stop],
    columns: list[str],
    people: list[Key],
) -> Iterator[Portion]:
    seen: dict[tuple[object, ...], list[int]] = {}
    options = {"stream_results": True, "yield_per": ROWS}
    result = connection.execute(sa.text(query), execution_options=options)
    for part in result.partitions(ROWS):
        rows = []
        for person, *values in part:
            flags = tuple(values[: len(stops)])
            if flags not in seen:
                shown = {c for stop, flag in zip(stops, flags, strict=True) if flag for c in stop.columns}
                seen[flags] = [i for i, column in enumerate(columns) if column in shown]
            rows.append((people[person], {columns[i]: values[len(stops) + i] for i in seen[flags]}))
        yield Portion(table, tuple(rows))


def existing(store: SQLStore, walk: Walk, keys: Iterable[object]) -> dict[Key, list[Key]]:
    """The keys of the own rows that each of these keys leads to, as the table has them; a key without one is missing.

    `07` and `7` are one customer where keys are numbers, `ada` and `Ada` where the column ignores case. Several rows
    mean that what is declared as the key isn't one.
    """
    people = as_keys(keys)
    found: dict[Key, list[Key]] = {}
    with store.read() as connection:
        reach = Reach(connection, store, walk, by_person=True)
        reach.people(people)
        [way] = reach.ways(walk.root)
        own = ", ".join(reach.say.column("t", column) for column in walk.root.person)
        for number, *key in reach.run(f"SELECT s.person, {own} FROM {way}"):
            found.setdefault(people[number], []).append(tuple(key))
    return found


def find(store: SQLStore, walk: Walk, column: str, values: Iterable[str]) -> dict[str, list[Key]]:
    """The people whose `column` holds one of these identifiers; a value nobody has is missing from the answer.

    Found by equality, as an index can: as written and, for an e-mail address, also in small letters and with the
    domain in small letters. An address that leads to nobody so is compared without regard to case, over all rows.
    """
    asked = list(dict.fromkeys(values))
    forms = [(number, (form,)) for number, value in enumerate(asked) for form in _forms(value)]
    root = walk.root
    found: dict[str, list[Key]] = {}
    with store.read() as connection:
        say = Clauses(store, walk.tables)
        shapes = [walk.tables[root.table].columns[column]]
        key = ", ".join(say.column("t", name) for name in root.person)

        def ask(match: str, given: list[tuple[int, tuple[object, ...]]]) -> None:
            query = (
                f"SELECT DISTINCT j.n, {key} FROM {say.unpacked(shapes)} {say.join} {say.name(root.table)} t"
            )
            for number, *own in say.run(
                connection, f"{query} ON {match} ORDER BY 1", given=say.given(shapes, given)
            ):
                found.setdefault(asked[number], []).append(tuple(own))

        held = say.column("t", column)
        ask(f"{held} = j.v0", [(number, form) for number, form in forms])
        missed = [(n, (value,)) for n, value in enumerate(asked) if "@" in value and value not in found]
        if missed and shapes[0].sort == "text":
            ask(f"lower({held}) = lower(j.v0)", [(number, form) for number, form in missed])
    return found


def _forms(value: str) -> list[str]:
    if "@" not in value:
        return [value]
    local, _, domain = value.rpartition("@")
    return list(dict.fromkeys((value, value.lower(), f"{local}@{domain.lower()}")))
