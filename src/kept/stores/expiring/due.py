"""Which rows of a table are past their limit, as plain values: by which clock, for whom, and what stays all the same.

An `Expiry` means the rows of one table whose clock, their own or that of a row they lead to, stands before a cut-off.
`kept.stores.expiring.expiry` carries it out; nothing here is SQL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

from kept.policy.grammar import Test
from kept.stores.schema import Reference
from kept.stores.walk import Hold, Last


@dataclass(frozen=True)
class Only:
    """Only rows that lead along `path` to a row which meets `when` (the row itself without a path).

    `born` is that row's column with the birth date, for tests of age.
    """

    path: tuple[Reference, ...]
    when: Test
    born: str | None = None


@dataclass(frozen=True)
class Held:
    """A hold, and which rows of its table it is about: those that meet all of `only`."""

    hold: Hold
    only: tuple[Only, ...] = ()


@dataclass(frozen=True)
class Step:
    """From a row along a reference to the row it refers to; `back` from a row to those that refer to it."""

    reference: Reference
    back: bool = False


@dataclass(frozen=True)
class Spared:
    """Rows that lead along one of `paths` to a row of `root` with one of `keys` in its columns `key`.

    These people's rows are left alone, whatever their clocks say; thousands of keys cost one statement.
    """

    root: str
    key: tuple[str, ...]
    paths: tuple[tuple[Step, ...], ...]
    keys: tuple[tuple[str, ...], ...] = field(repr=False)  # personal


@dataclass(frozen=True)
class Expiry:
    """Rows of `table` are past when their clock `clock_column` stands before `cutoff`; an empty clock hasn't started.

    The clock stands in the row itself, or in the row that `path` leads to, reference by reference, each to one row; or
    in the links of its people (`last`), which all must be past, and one at least.
    With `always` every row's clock should have started. Only rows that meet all of `only` are meant (ages counted at
    `today`, else at the cut-off). `then` deletes the rows or blanks `blank_columns` of theirs. Rows that a reference of
    `unless_referenced_by` leads to are left alone, and rows under a hold of `unless_held`, while its clock hasn't
    started or hasn't passed its cut-off. Before rows are deleted, references of `unlink` to them become NULL and rows
    of `remove_first` that refer to them are deleted. Rows of people who are `spared` stay as they are.
    """

    table: str
    clock_column: str
    cutoff: datetime
    then: Literal["delete", "blank"] = "delete"
    path: tuple[Reference, ...] = ()
    blank_columns: tuple[str, ...] = ()
    only: tuple[Only, ...] = ()
    always: bool = False
    today: date | None = None
    unless_referenced_by: tuple[Reference, ...] = ()
    unlink: tuple[Reference, ...] = ()
    remove_first: tuple[Reference, ...] = ()
    unless_held: tuple[Held, ...] = ()
    last: Last | None = None
    spared: tuple[Spared, ...] = ()

    @property
    def clock_table(self) -> str:
        if self.last is not None:
            return self.last.table
        return self.path[-1].to if self.path else self.table


@dataclass(frozen=True)
class Overdue:
    """How many rows are past, the oldest clock among them, and how many rows have no clock that could pass.

    `unreadable` clocks hold what is no time; `unstarted` rows lead to no row with a clock, or their clock is empty
    though it always should have started. `spared` rows would be past if their people weren't spared.
    """

    rows: int
    oldest: datetime | None
    unreadable: int
    unstarted: int = 0
    spared: int = 0
