"""Windows over the rows of a table that meet a condition: small enough for one short transaction each.

A window is a range of places in the table (SQLite's rowids, PostgreSQL's heap blocks, MariaDB's numeric keys) where
many rows are meant, and else a list of rows, found in one read. When the clock follows the order of insertion, only the
places between its first and last rows are visited; what stands elsewhere is listed afterwards.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from kept.errors import TerminalError
from kept.stores.conditions import value
from kept.stores.mariadb import integer_range
from kept.stores.sql import SQLStore

Cursor = tuple[int | str, ...]
Condition = Callable[[], sa.ColumnElement[bool]]

_LIST = 500_000  # addresses held in memory at a time: 4 MB
_TIDS = 100_000
_KEYS = 20_000
_ENDS = 500
_FIRST_ROWS = 10_000
_FIRST_BLOCKS = 128
_YIELD = 4  # from how many places visited a row it is better to list the rows
_FOLLOWS = 0.9  # pg_stats.correlation from which a clock counts as following the order of insertion

_SIZE = sa.text(
    "SELECT pg_relation_size(c.oid) / current_setting('block_size')::bigint, (SELECT correlation FROM pg_stats"
    " WHERE schemaname = c.relnamespace::regnamespace::name AND tablename = c.relname AND attname = :clock)"
    " FROM pg_class c WHERE c.oid = CAST(:name AS regclass)"
)


@dataclass(frozen=True)
class Window:
    """Rows `within`; `listed` when they are given one by one. `size` is what the next size is reckoned from."""

    within: sa.ColumnElement[bool]
    cursor: Cursor
    size: int
    listed: bool


class Windows(Protocol):
    def next(self, size: int | None, taken: int) -> Window | None:
        """The next window of about `size` (the first has its own), None at the end; `taken` rows came of the last."""


def windows(
    store: SQLStore,
    table: sa.TableClause,
    holds: Condition,
    clock: sa.ColumnElement[Any] | None,
    bound: sa.ColumnElement[Any],
    after: Cursor | None,
) -> Windows:
    """Windows over the rows for which `holds` is true; `clock` is theirs when it stands in the table itself."""
    address = store.row_address(table.name)
    indexed = clock is not None and any(group[0] == clock.key for group in store.shape(table.name).indexes)
    number = _number(store, table)
    if number is not None and clock is not None and indexed:
        ends = _ends(store, table, number, clock, bound)
        first = max(ends[0], int(after[0]) + 1) if after else ends[0]
        everything = Listed(store, table, holds, Keys(table, store), None)
        return Rowid(store, table, number, first, ends[-1], everything)
    if address is None:
        return Listed(store, table, holds, Keys(table, store), after)
    if store.dialect == "sqlite":
        listed = Listed(store, table, holds, Rowids(address), after)
        if clock is None or not indexed:
            return listed
        ends = _ends(store, table, address, clock, bound)
        first = max(ends[0], int(after[0]) + 1) if after else ends[0]
        return Rowid(
            store, table, address, first, ends[-1], Listed(store, table, holds, Rowids(address), None)
        )
    everywhere = Listed(store, table, holds, Tids(address), None)
    if clock is not None:
        span = _blocks(store, table, address, clock if indexed else None, clock, bound)
        if span is not None:
            first, last, expected = span
            return Blocks(address, max(first, int(after[0])) if after else first, last, expected, everywhere)
    return Listed(store, table, holds, Tids(address), after)


def _number(store: SQLStore, table: sa.TableClause) -> sa.ColumnElement[Any] | None:
    """The number by which a table of MariaDB is sorted, where its key is one."""
    shape = store.shape(table.name)
    if (
        store.dialect != "mariadb"
        or len(shape.key) != 1
        or integer_range(shape.columns[shape.key[0]]) is None
    ):
        return None
    return table.c[shape.key[0]]


class Address(Protocol):
    """How rows are told apart, listed in order, and asked for."""

    most: int
    first_size: int
    largest: int

    @property
    def columns(self) -> Sequence[sa.ColumnElement[Any]]: ...
    @property
    def order(self) -> Sequence[sa.ColumnElement[Any]]: ...
    def pack(self, rows: Sequence[Any]) -> Sequence[Any]: ...
    def within(self, chosen: Sequence[Any]) -> sa.ColumnElement[bool]: ...
    def cursor(self, one: Any) -> Cursor: ...
    def beyond(self, cursor: Cursor) -> sa.ColumnElement[bool]: ...


class Listed:
    """Lists addresses in one read, at most so many at once, and hands them out in order."""

    def __init__(
        self, store: SQLStore, table: sa.TableClause, holds: Condition, address: Address, after: Cursor | None
    ) -> None:
        self.store, self.table, self.holds, self.address, self.after = store, table, holds, address, after
        self.found: Sequence[Any] = ()
        self.at = 0
        self.more = True

    def next(self, size: int | None, taken: int) -> Window | None:
        if self.at >= len(self.found) and not self._list():
            return None
        size = min(size or self.address.first_size, self.address.largest)
        chosen = self.found[self.at : self.at + size]
        self.at += len(chosen)
        self.after = self.address.cursor(chosen[-1])
        return Window(self.address.within(chosen), self.after, len(chosen), True)

    def _list(self) -> bool:
        if not self.more:
            return False
        query = sa.select(*self.address.columns).select_from(self.table).where(self.holds())
        if self.after is not None:
            query = query.where(self.address.beyond(self.after))
        with self.store.read() as connection:
            rows = connection.execute(query.order_by(*self.address.order).limit(self.address.most))
            self.found = self.address.pack(rows)  # type: ignore[arg-type]  # an iterable of rows is enough
        self.at, self.more = 0, len(self.found) == self.address.most
        return bool(self.found)


class Rowids:
    """SQLite's rows, by rowid."""

    most, first_size, largest = _LIST, 2_000, _LIST

    def __init__(self, rowid: sa.ColumnElement[Any]) -> None:
        self.columns = (rowid,)
        self.order = (
            rowid + sa.literal_column("0"),
        )  # else SQLite scans the table in this order, not the index

    def pack(self, rows: Sequence[Any]) -> Sequence[int]:
        return array("q", (row[0] for row in rows))

    def within(self, chosen: Sequence[int]) -> sa.ColumnElement[bool]:
        each = sa.func.json_each(value(json.dumps(list(chosen)))).table_valued("value")
        return self.columns[0].in_(sa.select(each.c.value))

    def cursor(self, one: int) -> Cursor:
        return (one,)

    def beyond(self, cursor: Cursor) -> sa.ColumnElement[bool]:
        return self.columns[0] > value(cursor[0])


class _Tid(sa.types.UserDefinedType[str]):
    """PostgreSQL's type of row addresses."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "tid"


class Tids:
    """PostgreSQL's rows, by ctid: block and place in it."""

    most, first_size, largest = _TIDS, 500, 20_000

    def __init__(self, ctid: sa.ColumnElement[Any]) -> None:
        self.columns = self.order = (ctid,)

    def pack(self, rows: Sequence[Any]) -> Sequence[str]:
        return [row[0] for row in rows]

    def within(self, chosen: Sequence[str]) -> sa.ColumnElement[bool]:
        return self.columns[0] == sa.any_(sa.cast(value(list(chosen)), postgresql.ARRAY(_Tid)))

    def cursor(self, one: str) -> Cursor:
        block, place = one.strip("()").split(",")
        return (int(block), int(place))

    def beyond(self, cursor: Cursor) -> sa.ColumnElement[bool]:
        return self.columns[0] > _tid(int(cursor[0]), int(cursor[1]) if len(cursor) > 1 else 0)


class Keys:
    """Rows of a table without addresses (WITHOUT ROWID, partitioned), by their key."""

    most, first_size, largest = _KEYS, 200, 2_000

    def __init__(self, table: sa.TableClause, store: SQLStore) -> None:
        key = store.shape(table.name).key
        if not key:
            raise TerminalError(
                f"the rows of {table.name} can't be told apart",
                help="give the table a primary key",
                where=store.name,
            )
        self.columns = self.order = tuple(table.c[column] for column in key)

    def pack(self, rows: Sequence[Any]) -> Sequence[Any]:
        return [tuple(row) for row in rows]

    def within(self, chosen: Sequence[Any]) -> sa.ColumnElement[bool]:
        if len(self.columns) == 1:
            some = [one[0] for one in chosen]
            return self.columns[0].in_(
                sa.bindparam(None, some, type_=sa.types.NullType(), unique=True, expanding=True)
            )
        return sa.tuple_(*self.columns).in_([sa.tuple_(*map(value, one)) for one in chosen])

    def cursor(self, one: Any) -> Cursor:
        return tuple(part if isinstance(part, int) else str(part) for part in one)

    def beyond(self, cursor: Cursor) -> sa.ColumnElement[bool]:
        return sa.tuple_(*self.columns) > sa.tuple_(*map(value, cursor))


class Rowid:
    """Ranges of SQLite's rowids, or of MariaDB's numeric keys, as long as they yield; what is left then is listed.

    A deleted row leaves no trace in an index of SQLite's, so when nothing is left the list costs nothing.
    """

    def __init__(
        self,
        store: SQLStore,
        table: sa.TableClause,
        rowid: sa.ColumnElement[Any],
        first: int,
        last: int,
        rest: Listed,
    ) -> None:
        self.store, self.table, self.rowid = store, table, rowid
        self.at, self.last, self.rest = first, last, rest
        self.asked = 0
        self.listing = False

    def next(self, size: int | None, taken: int) -> Window | None:
        if self.listing:
            return self.rest.next(size, taken)
        if self.at > self.last or taken * _YIELD < self.asked:
            self.listing = True
            return self.rest.next(None, taken)
        dense = taken * 2 > self.asked > 0
        self.asked = size or _FIRST_ROWS
        stop = min(self.at + self.asked, self.last + 1) if dense else self._ahead(self.asked)
        within = sa.and_(self.rowid >= value(self.at), self.rowid < value(stop))
        self.at = stop
        if stop > self.last:
            self.asked = 0  # the last range may be shorter than asked, so it tells nothing
        return Window(within, (stop - 1,), size or _FIRST_ROWS, False)

    def _ahead(self, rows: int) -> int:
        """Where so many rows are over; among dense rowids, counting them off finds the same and costs nothing."""
        ahead = sa.select(self.rowid).where(self.rowid >= value(self.at), self.rowid <= value(self.last))
        with self.store.read() as connection:
            end = connection.execute(ahead.order_by(self.rowid).offset(rows).limit(1)).scalar()
        return self.last + 1 if end is None else int(end)


class Blocks:
    """Ranges of PostgreSQL's heap blocks; when fewer rows came of them than `expected`, the rest is listed."""

    def __init__(
        self, ctid: sa.ColumnElement[Any], start: int, stop: int, expected: int | None, rest: Listed
    ) -> None:
        self.ctid, self.at, self.stop, self.missing, self.rest = ctid, start, stop, expected, rest

    def next(self, size: int | None, taken: int) -> Window | None:
        if self.missing is not None:
            self.missing -= taken
        if self.at >= self.stop:
            if self.missing is None or self.missing <= 0:
                return None
            self.missing = 1 << 62  # listed to the end
            return self.rest.next(None if self.rest.after is None else size, taken)
        end = min(self.stop, self.at + (size or _FIRST_BLOCKS))
        within = sa.and_(self.ctid >= _tid(self.at, 0), self.ctid < _tid(end, 0))
        window = Window(within, (end, 0), end - self.at, False)
        self.at = end
        return window


def _tid(block: int, place: int) -> sa.ColumnElement[Any]:
    return sa.literal_column(f"'({block},{place})'::tid")


def _block(tid: str) -> int:
    return int(tid.strip("()").partition(",")[0])


def _ends(
    store: SQLStore,
    table: sa.TableClause,
    address: sa.ColumnElement[Any],
    clock: sa.ColumnElement[Any],
    bound: sa.ColumnElement[Any],
) -> list[Any]:
    """Where the rows with the oldest and the newest clocks before the bound stand, in order; the index answers."""
    found: list[Any] = []
    with store.read() as connection:
        for way in (clock.asc(), clock.desc()):
            query = sa.select(address).select_from(table).where(clock < bound).order_by(way).limit(_ENDS)
            found += connection.execute(query).scalars()
    if store.dialect == "postgresql":
        found = [_block(tid) for tid in found]
    return [min(found), max(found)] if found else [0, -1]


def _blocks(
    store: SQLStore,
    table: sa.TableClause,
    address: sa.ColumnElement[Any],
    indexed: sa.ColumnElement[Any] | None,
    clock: sa.ColumnElement[Any],
    bound: sa.ColumnElement[Any],
) -> tuple[int, int, int | None] | None:
    """The blocks to visit (the end excluded) and how many rows must come of them, when others may stand elsewhere.

    None when so few rows are meant that each is better sought by itself.
    """
    with store.read() as connection:
        name = store.engine.dialect.identifier_preparer.quote(table.name)
        pages, correlation = connection.execute(_SIZE, {"name": name, "clock": clock.key}).one()
        if indexed is None:
            return 0, pages, None
        before: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(table).where(clock < bound)
        asked = before.compile(store.engine)
        plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {asked}", asked.params).scalar_one()
        if plan[0]["Plan"]["Plan Rows"] * _YIELD < pages:
            return None
        if correlation is None or abs(correlation) < _FOLLOWS:
            return 0, pages, None
        expected = connection.execute(
            sa.select(sa.func.count()).select_from(table).where(clock < bound)
        ).scalar_one()
    first, last = _ends(store, table, address, clock, bound)
    return first, last + 1, expected
