"""Where values stand in files: what is looked for, how it may be written there, and what is found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ahocorasick_rs import BytesAhoCorasick

CHUNK = 4 << 20  # bytes that are read at once

Read = Callable[[int, int], bytes]
"""What stands from a byte on, so many bytes of it or fewer; nothing at the end."""


@dataclass(frozen=True)
class Trace:
    """A place where values stand: `file app.sqlite-wal`, `relation public.users`, `log 0000…3A`.

    `count` is how many times, `values` which of those asked for, each as it was asked for.
    """

    where: str
    count: int
    values: frozenset[str] = frozenset()

    def __add__(self, other: Trace) -> Trace:
        """What stands in two parts of one place."""
        return Trace(self.where, self.count + other.count, self.values | other.values)


@dataclass(frozen=True)
class CannotLook:
    """Nobody can say whether anything remains: this role may not read the server's files."""

    reason: str


class Finder:
    """Finds values in bytes, all of them in one pass; false when there are none to find."""

    def __init__(self, written: Mapping[bytes, tuple[str, ...]]) -> None:
        """`written`: what is looked for, and the values that are written so."""
        patterns = sorted(pattern for pattern in written if pattern)
        self._values = [written[pattern] for pattern in patterns]
        self._automaton = BytesAhoCorasick(patterns) if patterns else None
        self._longest = max(map(len, patterns), default=0)

    @classmethod
    def of(cls, values: Iterable[str], encodings: Iterable[str] = ("utf-8",)) -> Finder:
        """One that finds values in any of some encodings."""
        written: dict[bytes, tuple[str, ...]] = {}
        encodings = sorted(set(encodings))
        for value in values:
            for encoding in encodings:
                pattern = _encoded(value, encoding)
                written[pattern] = (*written.get(pattern, ()), value)
        return cls(written)

    def __bool__(self) -> bool:
        return self._automaton is not None

    def look(self, where: str, reads: Iterable[Read]) -> Trace:
        """How often and which values stand in files under one name, which are read to their ends piece by piece."""
        count = 0
        found: set[int] = set()
        for read in reads:
            at, rest = 0, b""
            while piece := read(at, CHUNK):
                at += len(piece)
                if self._automaton is None:
                    continue
                window = rest + piece
                # what begins in the last bytes may go on in the next piece, and is counted there
                edge = max(0, len(window) - (self._longest - 1))
                hits = self._automaton.find_matches_as_indexes(window, overlapping=True)
                inside = [which for which, start, _ in hits if start < edge]
                count += len(inside)
                found.update(inside)
                rest = window[edge:]
            inside = self._in(rest)
            count += len(inside)
            found.update(inside)
        return Trace(where, count, frozenset(value for which in found for value in self._values[which]))

    def within(self, content: bytes) -> list[frozenset[str]]:
        """The values of each place in some bytes where one stands."""
        return [frozenset(self._values[which]) for which in self._in(content)]

    def _in(self, content: bytes) -> list[int]:
        if self._automaton is None:
            return []
        return [which for which, _, _ in self._automaton.find_matches_as_indexes(content, overlapping=True)]


def _encoded(value: str, encoding: str) -> bytes:
    """Nothing where an encoding has no such letters."""
    try:
        return value.encode(encoding)
    except UnicodeEncodeError:
        return b""
