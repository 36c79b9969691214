"""Everybody of a kind as the company's own table has them: a page at a time, or all of them held compactly."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from pyroaring import BitMap

from kept.company import Company
from kept.controls.choices.whom import is_date, is_past, kinds_within, region_of, test_of
from kept.controls.rights.people import Person, person_of
from kept.stores.clauses import written

PAGE: Final = 5000
LOADED: Final = 50_000  # rows in a page when all are read
NOBODY: Final = 0xFFFFFFFF
WHOLE: Final = re.compile("-?[0-9]{1,19}")

Key = tuple[Any, ...]


def pages(company: Company, kind: str, size: int = PAGE) -> Iterator[list[Person]]:
    """Everybody of a root kind, a page at a time in the order of their keys, along its index.

    Each page is a statement of its own: no transaction is held open while whoever asks works through it.
    """
    for rows in _rows(company, kind, (), size):
        yield [Person(kind, tuple(map(written, key))) for key in dict.fromkeys(tuple(row) for row in rows)]


def _rows(
    company: Company, kind: str, besides: Sequence[sa.ColumnElement[Any]], size: int
) -> Iterator[Sequence[sa.Row[Any]]]:
    walk = company.walk(kind)
    store, root = company.stores[walk.store], walk.root
    source = store.table(root.table)
    own = [source.c[column] for column in root.person]
    there = [column.is_not(None) for column in own]
    query = sa.select(*own, *besides).where(*there).order_by(*own).limit(size)
    last: Key | None = None
    while True:
        page = query
        if last is not None:
            page = query.where(
                own[0] > last[0] if len(own) == 1 else sa.tuple_(*own) > sa.tuple_(*map(_bound, last))
            )
        with store.read() as connection:
            rows = connection.execute(page).all()
        if rows:
            yield rows
        if len(rows) < size:
            return
        last = tuple(rows[-1][: len(own)])


def _bound(value: object) -> sa.BindParameter[Any]:
    return sa.bindparam(None, value, type_=sa.types.NullType(), unique=True)


class Numbers:
    """Keys that are whole numbers, in order: four or eight bytes each."""

    def __init__(self) -> None:
        self._keys = array("I")

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, keys: Sequence[int]) -> None:
        """The next keys, in order."""
        if self._keys.typecode == "I" and keys and not (keys[0] >= 0 and keys[-1] <= NOBODY):
            self._keys = array("q", self._keys)
        self._keys.extend(keys)

    def trim(self) -> None:
        """Give back what was set aside for more."""
        self._keys = self._keys[:]

    def texts(self, places: Sequence[int]) -> Iterator[str]:
        return (str(self._keys[place]) for place in places)

    def place(self, key: str) -> int | None:
        """Where a key stands, written as a number is."""
        if not WHOLE.fullmatch(key) or str(number := int(key)) != key:
            return None
        place = bisect_left(self._keys, number)
        return place if place < len(self._keys) and self._keys[place] == number else None


class Texts:
    """Keys of any other sort, one after another in one piece of memory."""

    def __init__(self) -> None:
        self._text = bytearray(b"\0")
        self._starts = array("Q")

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._starts.append(len(self._text))
            self._text += key.encode("utf-8", "surrogatepass") + b"\0"

    def trim(self) -> None:
        self._text, self._starts = bytearray(self._text), self._starts[:]

    def texts(self, places: Sequence[int]) -> Iterator[str]:
        for place in places:
            start = self._starts[place]
            yield self._text[start : self._text.index(b"\0", start)].decode("utf-8", "surrogatepass")

    def place(self, key: str) -> int | None:
        found = self._text.find(b"\0" + key.encode("utf-8", "surrogatepass") + b"\0")
        return None if found < 0 or not key else bisect_right(self._starts, found + 1) - 1


@dataclass
class Roster:
    """Everybody of a kind: their keys by place (from 0), and bitmaps of places for what is known of them."""

    kind: str
    keys: Numbers | Texts
    areas: dict[tuple[bool, ...], BitMap]  # by what holds in their region: one bitmap for all that are alike
    kinds: dict[str, BitMap]  # of those who are of a kind by its test, or of whom nobody can tell
    certain: dict[str, BitMap]  # of those who surely are
    ended: BitMap

    @property
    def everybody(self) -> BitMap:
        return BitMap(range(len(self.keys)))

    def people(self, company: Company, places: Sequence[int]) -> Iterator[Person]:
        """Those at these places."""
        kind = self.kind
        if isinstance(self.keys, Numbers):
            return (Person(kind, (key,)) for key in self.keys.texts(places))
        return (person_of(company.policy, f"{kind}:{key}") for key in self.keys.texts(places))

    def place(self, who: Person) -> int | None:
        """Where somebody stands; None where they aren't there, or their key is written otherwise."""
        return self.keys.place(str(who).partition(":")[2]) if who.kind == self.kind else None


def roster(company: Company, kind: str, alike: Callable[[str | None], tuple[bool, ...]]) -> Roster:
    """Read everybody of a root kind: one pass over their table. `alike` says what holds in a region."""
    walk, policy = company.walk(kind), company.policy
    root, within = policy.people[kind], kinds_within(policy, kind)
    source, shape = company.stores[walk.store].table(walk.root.table), walk.tables[walk.root.table]
    today = company.clock().astimezone(policy.timezone).date()
    names = [
        str(one) if one is not None and str(one) in shape.columns else None
        for one in (root.region, root.born, root.ended)
    ]
    besides: list[sa.ColumnElement[Any]] = [source.c[name] if name else sa.null() for name in names]
    tests = [test_of(company, one, source, shape, today) for one in within]
    aged = [one.when is not None and any(part.of_age for part in one.when.all) for one in within]
    own = len(walk.root.person)
    is_number = own == 1 and shape.columns[walk.root.person[0]].sort == "number"
    keys: Numbers | Texts = Numbers() if is_number else Texts()
    areas: dict[tuple[bool, ...], BitMap] = {}
    known: dict[object, tuple[bool, ...]] = {}
    passed, unsure, ended = [BitMap() for _ in within], BitMap(), BitMap()
    now, place = company.clock(), 0
    for rows in _rows(company, kind, [*besides, *(sa.case((test, 1), else_=0) for test in tests)], LOADED):
        if isinstance(keys, Numbers):
            keys.add([int(row[0]) for row in rows])
        else:
            keys.add([str(Person(kind, tuple(map(written, row[:own])))).partition(":")[2] for row in rows])
        here: dict[tuple[bool, ...], array[int]] = {}
        for row in rows:
            where = row[own]
            if where not in known:
                known[where] = alike(region_of(where))
            mine = here.get(known[where])
            if mine is None:
                mine = here[known[where]] = array("I")
            mine.append(place)
            if row[own + 2] is not None and is_past(row[own + 2], now):
                ended.add(place)
            if within:
                if any(aged) and not is_date(row[own + 1]):
                    unsure.add(place)
                for test, found in zip(row[own + 3 :], passed, strict=True):
                    if test:
                        found.add(place)
            place += 1
        for area, places in here.items():
            areas.setdefault(area, BitMap()).update(places)
    keys.trim()
    company.stores[
        walk.store
    ].dispose()  # a connection that has read all of a table keeps 64 MiB of it in memory
    kinds, certain = {}, {}
    for one, is_aged, there in zip(within, aged, passed, strict=True):
        doubtful = unsure if is_aged else BitMap()
        certain[str(one.name)] = there - doubtful
        kinds[str(one.name)] = there | doubtful
    return Roster(kind, keys, areas, kinds, certain, ended)
