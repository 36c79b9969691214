"""What is asked of a correction, and what it did: cells of one person's rows, as plain values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from kept.errors import TerminalError
from kept.stores.walk import Key


class _Anything:
    """What a cell may hold where nobody said."""

    def __repr__(self) -> str:
        return "ANYTHING"


ANYTHING: Final = _Anything()


class Refused(TerminalError):
    """A correction that would be wrong: nothing was changed."""


@dataclass(frozen=True)
class Change:
    """One cell as it should be. Where the person has several rows in the table, `old` (what the cell holds now) or
    `row` (the row's key, column by column) says which is meant; either may be text as somebody writes it.
    """

    table: str
    column: str
    new: object = field(repr=False)
    old: object = field(default=ANYTHING, repr=False)
    row: Key | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Cell:
    """One corrected cell, for the eyes of staff who may see it: `row` is its row's key before (empty without one)."""

    table: str
    column: str
    row: Key = field(repr=False)
    old: object = field(repr=False)
    new: object = field(repr=False)


@dataclass(frozen=True)
class Corrections:
    """The cells that a correction changed; a second run over the same changes finds none."""

    cells: tuple[Cell, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.cells)

    def as_json(self) -> dict[str, dict[str, int]]:
        """How many cells by table; no values."""
        counted = Counter(cell.table for cell in self.cells)
        return {table: {"corrected": count} for table, count in counted.items()}
