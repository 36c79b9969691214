"""Pieces of many answers while they come in, in memory up to a limit and beyond it in a file without a name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

BLOCK = 1 << 20  # bytes read at a time

Piece = bytes | tuple[int, int]
"""Some bytes, or where they stand in the file: (first byte, length)."""


class Spool:
    """Keeps what it is given in memory until `most` bytes, then moves all of it to a file in `folder`.

    The file has no name and no rights for others, so that nothing of it is left after a crash.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most
        self._held = 0
        self._places: list[tuple[list[Piece], int]] = []
        self._file: IO[bytes] | None = None
        self._end = 0

    def add(self, pieces: list[Piece], piece: bytes) -> None:
        """Put a piece at the end of a list of pieces."""
        if not piece:
            return
        self._places.append((pieces, len(pieces)))
        pieces.append(piece)
        self._held += len(piece)
        if self._held > self._most:
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=BLOCK)  # noqa: SIM115  closed by close()
        for pieces, number in self._places:
            piece = pieces[number]
            assert isinstance(piece, bytes)
            self._file.write(piece)
            pieces[number] = (self._end, len(piece))
            self._end += len(piece)
        self._file.flush()
        self._places.clear()
        self._held = 0

    def read(self, pieces: Iterable[Piece]) -> Iterator[bytes]:
        """The bytes of pieces, at most 1 MiB at a time where they stand in the file."""
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            assert self._file is not None
            start, length = piece
            for at in range(start, start + length, BLOCK):
                yield os.pread(self._file.fileno(), min(BLOCK, start + length - at), at)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._places.clear()


def size(pieces: Iterable[Piece]) -> int:
    """How many bytes pieces are."""
    return sum(len(piece) if isinstance(piece, bytes) else piece[1] for piece in pieces)
