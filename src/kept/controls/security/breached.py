"""Passwords that were published after a break-in: a check over a file of this machine, without a network.

The file is the list of Have I Been Pwned as its downloader writes it: `SHA-1:COUNT` a line, in hexadecimal capitals, in
order. It is asked as the service is: by the first five digits of a hash, so that the same `is_breached` works with any
source of ranges, and a source that isn't this machine learns nothing but those five (k-anonymity).
"""

from __future__ import annotations

import hashlib
import hmac
import mmap
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from kept.errors import KeptError

PREFIX: Final = 5
_DIGITS: Final = 40
_LINE: Final = re.compile(rb"[0-9A-F]{40}(:[0-9]+)?")
LOOKED_AT: Final = 256  # lines, when a file is opened
_LONGEST: Final = 4096  # lines of one range; the largest of the real list has about half

Ranges = Callable[[str], Iterator[str]]
"""From the first five digits of a hash to the other 35 of each on the list that begins so."""


def is_breached(password: str, ranges: Ranges) -> bool:
    """Whether a password is on a list."""
    digest = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()  # as the list is made
    found = False
    for rest in ranges(digest[:PREFIX]):
        found |= hmac.compare_digest(rest, digest[PREFIX:])
    return found


class BreachedFile:
    """A list in a file, searched by halves; KeptError where it can't be read, or is no such list: another sort of hash,
    small letters, or an order by how often each was seen would find nobody's password on it."""

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as wrong:
            raise KeptError(
                "the list of breached passwords can't be read", help="name its file", where=path.name
            ) from wrong
        if not self._is_list():
            self._map.close()
            raise KeptError(
                "the list of breached passwords isn't one of SHA-1 in capitals, in order of the hashes",
                help="download it so (sorted by hash), or sort it",
                where=path.name,
            )

    def __call__(self, prefix: str) -> Iterator[str]:
        wanted, low, high = prefix.encode(), 0, len(self._map)
        while low < high:
            middle = self._line((low + high) // 2)
            if self._map[middle : middle + PREFIX] < wanted:
                low = self._next(middle)
            else:
                high = middle
        for _ in range(_LONGEST):
            line = self._map[low : self._next(low)]
            if line[:PREFIX] != wanted:
                return
            yield line[PREFIX:_DIGITS].decode("ascii", "replace")
            low += len(line)

    def __contains__(self, password: str) -> bool:
        return is_breached(password, self)

    def close(self) -> None:
        self._map.close()

    def _is_list(self) -> bool:
        """Whether lines looked at from end to end are written as they should be, each before the next."""
        size, before = len(self._map), b""
        starts = sorted({self._line(size * part // LOOKED_AT) for part in range(LOOKED_AT)})
        for at in starts:
            line = self._map[at : self._next(at)].rstrip()
            if not _LINE.fullmatch(line) or line[:_DIGITS] <= before:
                return False
            before = line[:_DIGITS]
        return True

    def _line(self, at: int) -> int:
        """Where the line begins in which a byte stands."""
        return self._map.rfind(b"\n", 0, at) + 1

    def _next(self, at: int) -> int:
        end = self._map.find(b"\n", at)
        return len(self._map) if end < 0 else end + 1
