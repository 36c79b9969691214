"""Which figures about a group may be told: of enough people, of whom none makes nearly the whole.

Two rules, for every figure by itself. The *floor*: it is made of at least so many people. *Dominance*, the p % rule:
what is left when the two largest contributions are taken away is at least p % of the largest, so that the second
largest contributor can't work out the largest one's to within p % (Hundepool et al., Statistical Disclosure Control,
Wiley 2012, chapter 4). Nothing here looks at a database.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

P: Final = 10  # percent


@dataclass(frozen=True)
class Shares:
    """What people contributed to a figure, without signs: how many, in all, and the two largest."""

    people: int
    total: float
    first: float
    second: float

    def is_dominated(self) -> bool:
        """Whether one person makes nearly all of it."""
        if not all(map(math.isfinite, (self.total, self.first, self.second))):
            return True
        return self.first > 0 and (self.total - self.first - self.second) * 100 < P * self.first

    def may_be_told(self, floor: int) -> bool:
        return self.people >= floor and not self.is_dominated()


@dataclass(frozen=True)
class ColumnCounted:
    """A column with numbers, of the rows of a group: `sum` and its shares, rows with a value, rows without one."""

    sum: float
    of_sum: Shares
    of_filled: Shares
    of_empty: Shares


@dataclass(frozen=True)
class Counted:
    """A group as the database counted it: which stretch, what tells it apart, its rows."""

    span: int
    labels: tuple[str | None, ...]
    of_rows: Shares
    columns: Mapping[str, ColumnCounted]


@dataclass(frozen=True)
class Cell:
    """A group as it may be told. `rows` and a column (its sum and its number of values) are None where they may not;
    `noised` is its one figure where noise was added, and `people` then only the floor.
    """

    span: int
    labels: tuple[str | None, ...]
    people: int
    rows: int | None = None
    columns: Mapping[str, tuple[float, int] | None] = field(default_factory=dict)
    noised: float | None = None


def told(counted: Counted, floor: int) -> Cell | None:
    """A group with the figures that may be told; None where nothing may, not even what tells it apart.

    From a column's mean and sum follows how many rows have a value, and from that and the rows how many have none:
    so either all of them may be told, or the column isn't.
    """
    if counted.of_rows.people < floor:
        return None
    rows = int(counted.of_rows.total) if counted.of_rows.may_be_told(floor) else None
    columns = {name: _column(one, floor, rows) for name, one in counted.columns.items()}
    return Cell(counted.span, counted.labels, counted.of_rows.people, rows, columns)


def told_all(counted: Sequence[Sequence[Counted]], floor: int) -> list[Cell]:
    """The groups that may be told whoever their rows are counted by: their buyers, and their sellers too."""
    first, *others = [{(one.span, one.labels): told(one, floor) for one in way} for way in counted]
    found = []
    for place, cell in first.items():
        cells = [cell, *(way.get(place) for way in others)]
        known = [one for one in cells if one is not None]
        if len(known) < len(cells):
            continue
        one = known[0]
        alike = all(other.rows == one.rows for other in known)
        columns = {
            name: value if alike and all(other.columns[name] is not None for other in known) else None
            for name, value in one.columns.items()
        }
        people = min(other.people for other in known)
        found.append(Cell(one.span, one.labels, people, one.rows if alike else None, columns))
    return found


def _column(one: ColumnCounted, floor: int, rows: int | None) -> tuple[float, int] | None:
    sums = Shares(one.of_filled.people, one.of_sum.total, one.of_sum.first, one.of_sum.second)
    empty = one.of_empty.people == 0 or one.of_empty.may_be_told(floor)
    if rows is None or not empty or not one.of_filled.may_be_told(floor) or not sums.may_be_told(floor):
        return None
    return one.sum, int(one.of_filled.total)
