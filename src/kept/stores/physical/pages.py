"""What a page of PostgreSQL's files still holds of rows that are gone.

A page's header has flags at byte 10, the start of free space at 12 and its end at 14 (src/include/storage/bufpage.h); a
row has the transaction that deleted it at 4 and flags at 20 (src/include/access/htup_details.h).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

_ALL_VISIBLE = 0x0004
_STORED, _DEAD = 1, 3
_WRITTEN, _DELETED, _UNDELETED = 0x0100, 0x0400, 0x0800
_ONLY_LOCKED, _SEVERAL = 0x0080, 0x1000
_HEADER = 24


class Each:
    """Looks at each page by itself."""

    def __init__(self, refuses: Callable[[bytes], bool]) -> None:
        self.refuses = refuses

    def ends(self) -> bool:
        return False


def free_space_used(page: bytes, beyond: int = 0) -> bool:
    """Whether free space holds something, `beyond` its first bytes (a new B-tree leaves a pointer of four there)."""
    start, end = struct.unpack_from("<HH", page, 12)
    return bool(page[start + beyond : end].strip(b"\0"))


def holds_deleted(page: bytes, began: int) -> bool:
    """Whether a table's page holds a row that a transaction before `began` deleted or replaced."""
    if _all_visible(page) or not any(upper & _DELETED >> 8 for upper in set(_upper_flags(page))):
        return False
    for at in _stored(page):
        by, flags = struct.unpack_from("<4xI12xH", page, at)
        if flags & (_DELETED | _ONLY_LOCKED) == _DELETED and (
            flags & _SEVERAL or (by - began) & 0xFFFFFFFF >= 1 << 31
        ):
            return True
    return False


def holds_remains(page: bytes, began: int) -> bool:
    """Whether a table's page holds anything of what was deleted before transaction `began`, also in free space.

    A row that is gone but for its pointer may stand in an index.
    """
    try:
        if holds_deleted(page, began) or leftover(page, pointers(page), _HEADER):
            return True
    except (struct.error, IndexError):  # read while it was written: its pointers lead out of it
        return True
    return not _all_visible(page) and any(pointer >> 15 & 3 == _DEAD for pointer in pointers(page))


def holds_only_rows(page: bytes) -> bool:
    """Whether a table's page holds nothing but rows that are there for everybody, and copies of them.

    False also where that can't be told: a transaction that isn't over, or that nobody asked about since.
    """
    try:
        if leftover(page, pointers(page), _HEADER):
            return False
    except (struct.error, IndexError):
        return False
    if _all_visible(page):
        return True
    if any(pointer >> 15 & 3 == _DEAD for pointer in pointers(page)):
        return False
    wanted = (_WRITTEN | _UNDELETED) >> 8
    if all(upper & wanted == wanted for upper in set(_upper_flags(page))):
        return True
    for at in _stored(page):
        [flags] = struct.unpack_from("<20xH", page, at)
        if not (flags & _WRITTEN and flags & (_UNDELETED | _ONLY_LOCKED)):
            return False
    return True


def _all_visible(page: bytes) -> bool:
    return bool(page[10] & _ALL_VISIBLE)


def pointers(page: bytes) -> tuple[int, ...]:
    """Where the things on a page stand: fifteen bits of place, two of state, fifteen of length."""
    start = min(page[12] | page[13] << 8, len(page))
    return struct.unpack_from(f"<{max(0, start - _HEADER) // 4}I", page, _HEADER)


def leftover(page: bytes, entries: Sequence[int], header: int) -> bytes:
    """What free space holds but for copies of what stands on the same page.

    Taking something off a page moves what stands before it, the beginning of which stays where it was. `header` is that
    of rows (24 bytes) or of an index's entries (8).
    """
    start, end = struct.unpack_from("<HH", page, 12)
    if not page[start:end].strip(b"\0"):
        return b""
    if header != _HEADER:
        start = _beyond_pointers(page, start, end)
    rest = page[start:end].lstrip(b"\0")
    at = end - -(-len(rest) // 8) * 8
    live: dict[bytes, list[tuple[int, int]]] = {}
    for entry in entries:
        place = entry & 0x7FFF
        if entry >> 15 & 3 == _STORED and end <= place <= len(page) - header:
            live.setdefault(_sign(page, place, header), []).append((place, entry >> 17))
    last = end if header != _HEADER else at + 8  # an index's may have something else before them
    for begin in range(at, last, 8):
        if _are_copies(page, begin, end, live, header):
            return page[max(start, at) : begin]
    return page[max(start, at) : end]


def _sign(page: bytes, place: int, header: int) -> bytes:
    """What tells a row from others, its own address, or an index entry: its first sixteen bytes."""
    return page[place + 12 : place + 18] if header == _HEADER else page[place : place + 16]


def _are_copies(
    page: bytes, at: int, end: int, live: dict[bytes, list[tuple[int, int]]], header: int
) -> bool:
    """Whether free space from a place on is nothing but beginnings of what stands on the page."""
    told = 18 if header == _HEADER else 16
    while at < end:
        if end - at < told:  # cut short before it can be told whose it is
            cut = page[at:end]
            return any(page.startswith(cut, place) for places in live.values() for place, _ in places)
        most, whole = 0, False
        for place, long in live.get(_sign(page, at, header), ()):
            many = _alike(page, at, place, min(long, end - at), header)
            if many > most:
                most, whole = many, many == long
        if whole:
            filled = min(-(-most // 8) * 8, end - at)
            if page[at + most : at + filled].strip(b"\0"):
                return False
            at += filled
        elif most >= max(header, told):
            at += most // 8 * 8
        else:
            return False
    return True


def _beyond_pointers(page: bytes, start: int, end: int) -> int:
    """Where free space begins beyond pointers to entries that were taken off."""
    while start + 4 <= end:
        [pointer] = struct.unpack_from("<I", page, start)
        place, long = pointer & 0x7FFF, pointer >> 17
        if pointer >> 15 & 3 not in (_STORED, _DEAD) or place % 8 or place < start or long < 8:
            break
        if place + long > len(page):
            break
        start += 4
    return start


def _alike(page: bytes, copy: int, place: int, most: int, header: int) -> int:
    """How many bytes of a copy are those of what stands elsewhere, what is noted of a row's visibility apart."""
    if page[copy : copy + most] == page[place : place + most]:
        return most
    for at in range(most):
        if page[copy + at] != page[place + at] and not (header == _HEADER and at in (20, 21)):
            return at
    return most


def _stored(page: bytes) -> Iterator[int]:
    """Where rows begin; one that would go beyond the page, which was read while it was written, is none."""
    return (
        pointer & 0x7FFF
        for pointer in pointers(page)
        if pointer >> 15 & 3 == _STORED and pointer & 0x7FFF <= len(page) - _HEADER
    )


def _upper_flags(page: bytes) -> list[int]:
    """The upper byte of each row's flags: for all rows of a page at once, as most pages need no more."""
    last = len(page) - _HEADER
    return [
        page[(pointer & 0x7FFF) + 21]
        for pointer in pointers(page)
        if pointer & 0x18000 == 0x8000 and pointer & 0x7FFF <= last
    ]
