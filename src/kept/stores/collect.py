"""What a store holds about people: their rows, table by table, from one consistent snapshot."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from kept.stores.clauses import Clauses
from kept.stores.reach import FEW, Reach, as_keys, reached
from kept.stores.sql import SQLStore
from kept.stores.walk import Key, Stop, Walk

ROWS = 1000
MANY = 10_000
"""So many people at most are read by one statement a table: what it is given is counted, and along references."""
_BYTES = 32 * 1024 * 1024
_MEASURE_SECONDS = 600.0


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
    with store.read(few=len(people) <= FEW) as connection:
        together = len(people) <= MANY
        reach, readings = reached(
            connection, store, walk, people, "collect", _readings, by_person=True, together=together
        )
        fetching = Fetching(reach)
        for table, query, stops, columns in readings:
            for part in fetching.parts(query, table):
                yield _portion(part, table, stops, columns, people)


def _readings(reach: Reach) -> list[tuple[str, str, list[Stop], list[str]]]:
    """Each table with the query for its rows, its stops and the columns that the query gives of them."""
    reach.stops()
    walk, found = reach.walk, []
    for table in walk.own_tables():
        stops = {i: walk.stops[i] for i in walk.of_table(table) if walk.stops[i].columns}
        if stops:
            columns = list(dict.fromkeys(column for stop in stops.values() for column in stop.columns))
            write = _of_view if walk.tables[table].is_view else _of_table
            found.append((table, write(reach, stops, columns), list(stops.values()), columns))
    return found


class Fetching:
    """Reads results in parts of 1000 rows: small ones in one go, what may be large through a cursor of the server.

    A cursor costs three round trips a table, so the first rows are asked for without one, as many as `most` says;
    where there turn out to be more, the query is sent again, through a cursor, over the same snapshot.
    """

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self._most: dict[str, int] | None = None

    def parts(self, query: str, table: str) -> Iterator[Sequence[tuple[Any, ...]]]:
        most = self.most(table)
        if most:
            result = self.reach.run(f"{query} LIMIT {most + 1}")
            if result.rowcount <= most:
                yield from fetched(result)
                return
            result.close()
        statement, values = self.reach.relations.written(query)
        if self.reach.say.one_statement:
            rows = max(_FEWEST, min(ROWS, most // 4 or _FEWEST))
            options = {"stream_results": True, "yield_per": rows}
            result = self.reach.connection.execute(sa.text(statement), values, execution_options=options)
            for part in result.partitions(rows):
                yield [tuple(row) for row in part]
            return
        # row by row from the server; SQLite's come so anyway
        streamed = {"stream_results": True, "max_row_buffer": _FEWEST} if self.reach.say.must_stream else {}
        result = self.reach.connection.execute(sa.text(statement), values, execution_options=streamed)
        size = _FEWEST
        while found := result.fetchmany(size):
            part_ = [tuple(row) for row in found]
            yield part_
            weight = sum(len(value) for row in part_ for value in row if isinstance(value, str | bytes))
            size = max(_FEWEST, min(ROWS, int(_BYTES * len(part_) / (weight + 1))))

    def most(self, table: str) -> int:
        """How many rows of a table are fetched without a cursor: what takes `_BYTES` at most, by its mean row."""
        if not self.reach.say.one_statement:
            return 0  # SQLite's results come row by row
        if self._most is None:
            self._most = _most(self.reach)
        return self._most.get(table, 0)


_FEWEST = 16  # rows in a part, however large they are

_MEASURED: WeakKeyDictionary[SQLStore, tuple[float, dict[str, int]]] = WeakKeyDictionary()


def _most(reach: Reach) -> dict[str, int]:
    """What `Fetching.most` says of each table, by the sizes that the server knows; asked for every ten minutes."""
    store = reach.say.store
    measured, most = _MEASURED.get(store, (-inf, dict[str, int]()))
    if time.monotonic() - measured > _MEASURE_SECONDS or not most.keys() >= reach.walk.tables.keys():
        rows = reach.say.run(
            reach.connection,
            "SELECT relname, pg_table_size(oid), reltuples FROM pg_catalog.pg_class"
            " WHERE relname = ANY(CAST(:names AS text[])) AND relkind IN ('r', 'p') AND pg_table_is_visible(oid)",
            names=list(reach.walk.tables),
        )
        sized = {name: _fitting(int(size), float(count)) for name, size, count in rows}
        most = dict.fromkeys(reach.walk.tables, 0) | sized
        _MEASURED[store] = (time.monotonic(), most)
    return most


def _fitting(size: int, rows: float) -> int:
    mean = max(size / rows, 64) if rows > 0 else 8192
    return max(0, min(50_000, int(_BYTES / mean))) if size < 32 * _BYTES or mean < 1024 else 0


def fetched(result: sa.CursorResult[*tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    """The driver's own rows: nothing has to be made of them, and there may be many."""
    cursor = result.cursor
    assert cursor is not None
    while rows := cursor.fetchmany(ROWS):
        yield rows
    result.close()


def _of_table(reach: Reach, stops: Mapping[int, Stop], columns: list[str]) -> str:
    say = reach.say
    table = next(iter(stops.values())).table
    keys = ", ".join(f"k{i}" for i in range(len(say.key(table))))
    chosen = ", ".join(say.column("t", column) for column in columns)
    if len(stops) == 1:
        [(number, stop)] = stops.items()
        if reach.together and reach.once(stop):
            order = ", ".join(f"t.{column}" for column in say.key(table))
            return f"SELECT s.person, 1, {chosen} FROM {reach.ways(stop)[0]} ORDER BY s.person, {order}"
        source, flags = reach.stop(number), "1"
    else:
        parts = [
            f"SELECT person, {keys}, {_one_of(n, len(stops))} FROM {reach.stop(i)} b"
            for n, i in enumerate(stops)
        ]
        most = ", ".join(f"MAX(e{n}) AS e{n}" for n in range(len(stops)))
        source = (
            f"(SELECT person, {keys}, {most} FROM ({' UNION ALL '.join(parts)}) AS u GROUP BY person, {keys})"
        )
        flags = ", ".join(f"s.e{n}" for n in range(len(stops)))
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


def _portion(
    part: Sequence[tuple[Any, ...]], table: str, stops: list[Stop], columns: list[str], people: list[Key]
) -> Portion:
    start = 1 + len(stops)
    if len(stops) == 1:
        return Portion(
            table, tuple((people[row[0]], dict(zip(columns, row[2:], strict=True))) for row in part)
        )
    seen: dict[tuple[object, ...], list[tuple[str, int]]] = {}
    rows = []
    for row in part:
        flags = row[1:start]
        if flags not in seen:
            shown = {c for stop, flag in zip(stops, flags, strict=True) if flag for c in stop.columns}
            seen[flags] = [(c, i) for i, c in enumerate(columns, start=start) if c in shown]
        rows.append((people[row[0]], {column: row[i] for column, i in seen[flags]}))
    return Portion(table, tuple(rows))


def existing(store: SQLStore, walk: Walk, keys: Iterable[object]) -> dict[Key, list[Key]]:
    """The keys of the own rows that each of these keys leads to, as the table has them; a key without one is missing.

    `07` and `7` are one customer where keys are numbers, `ada` and `Ada` where the column ignores case. Several rows
    mean that what is declared as the key isn't one.
    """
    people = as_keys(keys)
    found: dict[Key, list[Key]] = {}
    with store.read(few=len(people) <= FEW) as connection:
        together = len(people) <= MANY
        reach, query = reached(
            connection, store, walk, people, "existing", _own_keys, by_person=True, together=together
        )
        for number, *key in reach.run(query):
            found.setdefault(people[number], []).append(tuple(key))
    return found


def _own_keys(reach: Reach) -> str:
    [way] = reach.ways(reach.walk.root)
    own = ", ".join(reach.say.column("t", column) for column in reach.walk.root.person)
    return f"SELECT s.person, {own} FROM {way}"


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
                connection, f"{query} ON {match} ORDER BY 1", **say.given(shapes, given)
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
