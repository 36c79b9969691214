"""Whether PostgreSQL's B-tree holds anything but keys of entries that are there.

Keys stand in three places: entries of leaves, which VACUUM takes away with their rows; the key that parts a leaf from
the next one, and copies of it in the pages above, which stay when the row that they came from goes; and free space,
which has copies of entries that stand elsewhere by now (src/backend/access/nbtree: README, nbtsort.c, nbtpage.c).
A parting key is right while the next leaf has an entry with that key: its first, where that leaf stands before this one
in the file. Building leaves the first entry of the next leaf
in free space, where the parting key was made from it.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence

from kept.stores.physical.pages import free_space_used, leftover, pointers

_LEAF, _META, _GOING, _INCOMPLETE = 0x1, 0x8, 0x4 | 0x10, 0x80
_NULLS, _SIZE = 0x8000, 0x1FFF
_KEYS, _WITH_ROW = 0x0FFF, 0x1000
_MOST = 1 << 20  # leaves whose keys are kept in memory, of 8 KiB each


class BTree:
    """Looks at the pages of one index in the order of the file; whether each, and then the whole, is refused."""

    def __init__(self) -> None:
        self._number = 0
        self._awaited: dict[int, list[tuple[bytes, bytes]]] = {}
        self._firsts: dict[int, bytes] = {}
        self._leaves = array("q")
        self._above = array("q")

    def refuses(self, page: bytes) -> bool:
        """Whether a page holds something that is no entry of now, as far as this page and those before it tell."""
        try:
            return self._refuses(page)
        except (struct.error, IndexError):  # read while it was written: its pointers lead out of it
            return True

    def _refuses(self, page: bytes) -> bool:
        number, self._number = self._number, self._number + 1
        end, special = struct.unpack_from("<HH", page, 14)
        if not end:
            return bool(page.strip(b"\0"))
        before, following, level, flags = struct.unpack_from("<IIIH", page, special)
        if flags & _META:
            return free_space_used(page)
        if flags & (_GOING | _INCOMPLETE) or bool(flags & _LEAF) != (level == 0):
            return True
        entries = pointers(page)
        live = page[end:special]
        if any(
            left not in live or not _has(page, entries, key) for left, key in self._awaited.pop(number, ())
        ):
            return True
        left = leftover(page, entries, header=8)
        if level:
            self._above.extend(hash(key) for entry in entries if (key := _key(page, entry)))
            parting = b""
        else:
            parting = _key(page, entries[0]) if following and entries else b""
            if parting:
                self._leaves.append(hash(parting))
            if before > number and len(entries) > bool(following):
                self._firsts[number] = _entry(page, entries[bool(following)])
        if left or (parting and following > number):
            self._awaited.setdefault(following, []).append((left, parting))
        first = self._firsts.pop(following, b"") if not level else b""
        if following < number and (left or not _has(first, (0,) if first else (), parting)):
            return True
        return len(self._leaves) > _MOST

    def ends(self) -> bool:
        """Whether something is still missing when all pages were read."""
        return bool(self._awaited) or not set(self._above).issubset(self._leaves)


def _entry(page: bytes, pointer: int) -> bytes:
    at = pointer & 0x7FFF
    return page[at : at + (pointer >> 17)]


def _key(page: bytes, pointer: int) -> bytes:
    """What a parting entry holds of a key; nothing where it is less than every key."""
    at = pointer & 0x7FFF
    flags, info = struct.unpack_from("<HH", page, at + 4)
    if not flags & _KEYS:
        return b""
    end = at + (info & _SIZE) - (8 if flags & _WITH_ROW else 0)
    return page[at + (16 if info & _NULLS else 8) : end]


def _has(page: bytes, entries: Sequence[int], key: bytes) -> bool:
    """Whether a leaf has an entry that begins with a key; zeros fill it up where something else follows there."""
    if not key:
        return True
    bare = key.rstrip(b"\0")
    padded = bare.ljust(-(-len(bare) // 4) * 4, b"\0")
    wanted = {key, padded, *([bare] if len(bare) > 4 else [])}
    for pointer in entries:
        at = pointer & 0x7FFF
        [info] = struct.unpack_from("<H", page, at + 6)
        data = at + (16 if info & _NULLS else 8)
        if any(page.startswith(form, data) for form in wanted):
            return True
    return False
