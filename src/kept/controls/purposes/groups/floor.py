"""Which figures about a group may be told: of enough people, of whom none makes nearly the whole.

Two rules, for every figure by itself. The *floor*: it is made of at least so many people. *Dominance*, the p % rule:
what is left when the two largest contributions are taken away is at least p % of the largest, so that the second
largest contributor can't work out the largest one's to within p % (Hundepool et al., Handbook on Statistical Disclosure
Control, section 4.2: a cell is unsafe where X - x2 - x1 < p/100 * x1). The rule is meant for contributions that are not
negative; of others their size counts here. The handbook sets no p, and would have it kept secret; 10 is Kept's choice,
and anybody may know it: that a figure is told says no more than that the rule is met. Nothing here looks at a database.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

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


class Told(NamedTuple):
    """A column of a group: its sum, its number of values, and of how few `people` that tells anything (those who have a
    value, or those who have none)."""

    sum: float
    values: int
    people: int


@dataclass(frozen=True)
class Cell:
    """A group as it may be told. `rows` and a column are None where they may not; `noised` is its one figure where
    noise was added, and `people` then only the floor.
    """

    span: int
    labels: tuple[str | None, ...]
    people: int
    rows: int | None = None
    columns: Mapping[str, Told | None] = field(default_factory=dict)
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
            name: _fewest([other.columns[name] for other in known]) if alike else None for name in one.columns
        }
        people = min(other.people for other in known)
        found.append(Cell(one.span, one.labels, people, one.rows if alike else None, columns))
    return found


def _fewest(ways: Sequence[Told | None]) -> Told | None:
    """A column by whoever its rows are counted, with the fewest people; None where one of the ways may not be told."""
    known = [one for one in ways if one is not None]
    return min(known, key=lambda one: one.people) if len(known) == len(ways) else None


def _column(one: ColumnCounted, floor: int, rows: int | None) -> Told | None:
    sums = Shares(one.of_filled.people, one.of_sum.total, one.of_sum.first, one.of_sum.second)
    empty = one.of_empty.people == 0 or one.of_empty.may_be_told(floor)
    if rows is None or not empty or not one.of_filled.may_be_told(floor) or not sums.may_be_told(floor):
        return None
    people = min(found.people for found in (one.of_filled, one.of_empty) if found.people)
    return Told(one.sum, int(one.of_filled.total), people)
