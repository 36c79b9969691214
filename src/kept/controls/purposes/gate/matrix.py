"""A matrix of bits: which use may happen with the data of which sort of person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kept.controls.purposes.gate.uses import Use

SORTS: Final = 1 << 16  # rows of the matrix by which new ones are looked for

Places = NDArray[np.integer[Any]]
"""Whole numbers that stand for people or uses."""


class Columns:
    """Which bits of a person's standing each use needs."""

    def __init__(self, uses: Sequence[Use], width: int) -> None:
        self._bytes = (width + 7) // 8
        self._plan = np.array([use.plan.bit_length() - 1 for use in uses], np.int64)
        by_data: dict[int, list[int]] = {}
        for number, use in enumerate(uses):
            by_data.setdefault(use.bits & ~use.plan, []).append(number)
        self._data = [
            (np.array([at for at in range(width) if bits >> at & 1], np.int64), np.array(numbers, np.int64))
            for bits, numbers in by_data.items()
        ]

    def allowed(self, bits: Sequence[int]) -> NDArray[np.bool_]:
        """People × uses, from the bits of each person."""
        joined = b"".join(one.to_bytes(self._bytes, "little") for one in bits)
        table = np.frombuffer(joined, np.uint8).reshape(len(bits), self._bytes)
        every = np.unpackbits(table, axis=1, bitorder="little").astype(np.bool_)
        found: NDArray[np.bool_] = every[:, self._plan]
        for needed, numbers in self._data:
            if len(needed):
                found[:, numbers] &= np.logical_and.reduce(every[:, needed], axis=1, keepdims=True)
        return found


class Rows:
    """The matrix: a row of packed bits for each sort of people, alike ones once as far as they are looked for."""

    def __init__(self, uses: int) -> None:
        self._width = (uses + 7) // 8
        self._matrix = np.zeros((1024, self._width), np.uint8)
        self._count = 0
        self._known: dict[bytes, int] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        return self._matrix.nbytes

    def of(self, allowed: NDArray[np.bool_]) -> NDArray[np.uint32]:
        """The numbers of the rows of these people."""
        packed = np.packbits(allowed, axis=1, bitorder="little")
        found = np.empty(len(packed), np.uint32)
        for place, row in enumerate(packed):
            text = row.tobytes()
            number = self._known.get(text)
            if number is None:
                number = self._count
                if number == len(self._matrix):
                    self._matrix = np.concatenate([self._matrix, np.zeros_like(self._matrix)])
                self._matrix[number] = row
                self._count += 1
                if len(self._known) < SORTS:
                    self._known[text] = number
            found[place] = number
        return found

    def bits(self, rows: NDArray[np.uint32], uses: Places) -> NDArray[np.bool_]:
        """The bit of a row at the place of a use, for each pair."""
        at = rows.astype(np.int64)
        at *= self._width
        at += uses >> 3
        taken = self._matrix.reshape(-1).take(at)
        taken >>= (uses & 7).astype(np.uint8)
        taken &= 1
        return taken.view(np.bool_)

    def tidy(self, rows: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Let go of rows that nobody has any more; the rows as they are numbered then."""
        kept, back = np.unique(rows, return_inverse=True)
        self._matrix = np.concatenate([self._matrix[kept], np.zeros((1024, self._width), np.uint8)])
        self._count = len(kept)
        self._known = {
            row.tobytes(): number for number, row in enumerate(self._matrix[: min(len(kept), SORTS)])
        }
        return back.astype(np.uint32)
