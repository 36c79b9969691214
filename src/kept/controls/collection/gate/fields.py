"""Which declared columns the fields of a form mean.

A field is named `column`, `table.column`, `store.table.column`, `data.column`, or by its data alone where that has one
column. What a step declares is all it knows: a column of other data of the same table is undeclared to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Final

from kept.controls.collection.declare import Collecting
from kept.policy.fact_readers import store_of
from kept.policy.grammar import Sort
from kept.policy.policy import Policy

OURS: Final = ("recorded", "source")
"""Sorts of columns that say when and whence, and nothing of the person: no form has to give them."""


@dataclass(frozen=True)
class Place:
    """A declared column: `table` is `store.table`; `column` a pattern where a browser keeps it (`_utm*`)."""

    table: str
    column: str
    sort: Sort
    data: str
    in_browser: bool = False

    def __str__(self) -> str:
        return f"{self.table}.{self.column}"

    def named(self, column: str) -> bool:
        """Whether a name is that of this column."""
        return fnmatchcase(column, self.column) if self.in_browser else column == self.column


@dataclass(frozen=True)
class Fields:
    """What a step may take: places, each with its data."""

    places: tuple[Place, ...]

    @classmethod
    def of(cls, policy: Policy, step: Collecting) -> Fields:
        """The places of the data that a step takes."""
        found = []
        for name in dict.fromkeys((*step.takes, *step.optional)):
            data = policy.data[name]
            for table, columns in data.tables.items():
                store = policy.stores.get(store_of(table))
                browser = store is not None and store.sort == "browser"
                found += [
                    Place(str(table), str(column), sort, str(name), browser)
                    for column, sort in columns.items()
                ]
        return cls(tuple(found))

    def meant(self, field: str) -> list[tuple[str, str]]:
        """The columns that a field may mean, as `store.table` and column: none, one, or those to choose from."""
        found: dict[tuple[str, str], None] = {}
        for place in self.places:
            for column in self._columns(place, field):
                found[place.table, column] = None
        return list(found)

    def _columns(self, place: Place, field: str) -> Iterable[str]:
        table = place.table.partition(".")[2]
        for before in ("", f"{table}.", f"{place.table}.", f"{place.data}."):
            if field.startswith(before) and place.named(field[len(before) :]):
                yield field[len(before) :]
        if field == place.data and self._alone.get(place.data) == place and not place.in_browser:
            yield place.column

    @cached_property
    def _alone(self) -> Mapping[str, Place]:
        """Data with one column that somebody has to give."""
        found: dict[str, list[Place]] = {}
        for place in self.places:
            if place.sort.type not in OURS and not place.in_browser:
                found.setdefault(place.data, []).append(place)
        return {data: places[0] for data, places in found.items() if len(places) == 1}

    def sort(self, table: str, column: str) -> Sort:
        """The sort of a column that a field means."""
        return next(place.sort for place in self.places if place.table == table and place.named(column))

    def data_of(self, table: str, column: str) -> set[str]:
        """The data of the step that has a column."""
        return {place.data for place in self.places if place.table == table and place.named(column)}

    def giving(self, data: str) -> list[Place]:
        """The places by which data is given; all of them where nothing but times and sources is declared of it."""
        mine = [place for place in self.places if place.data == data and not place.in_browser]
        return [place for place in mine if place.sort.type not in OURS] or [
            place for place in mine if place.sort.type != "source"
        ]

    def example(self, data: str) -> str:
        """How a field of some data can be called without being mistaken for another."""
        places = self.giving(data)
        return f"{data}.{places[0].column}" if places else data


def source_column(policy: Policy, table: str) -> str | None:
    """The column in which a table says where its rows came from, whatever data declares it."""
    for data in policy.data.values():
        for name, columns in data.tables.items():
            if name == table:
                for column, sort in columns.items():
                    if sort.type == "source":
                        return str(column)
    return None
