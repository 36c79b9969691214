"""What a page of PostgreSQL's files still holds of rows that are gone.

A page's header has flags at byte 10, the start of free space at 12 and its end at 14 (src/include/storage/bufpage.h); a
row has the transaction that deleted it at 4 and flags at 20 (src/include/access/htup_details.h).
"""

from __future__ import annotations

import struct

_ALL_VISIBLE = 0x0004
_STORED = 1
_DELETED, _ONLY_LOCKED, _SEVERAL = 0x0400, 0x0080, 0x1000


def free_space_used(page: bytes, beyond: int = 0) -> bool:
    """Whether free space holds something, `beyond` its first bytes (a new B-tree leaves a pointer of four there)."""
    start, end = struct.unpack_from("<HH", page, 12)
    return bool(page[start + beyond : end].strip(b"\0"))


def holds_deleted(page: bytes, began: int) -> bool:
    """Whether a table's page holds a row that a transaction before `began` deleted or replaced."""
    flags, start = struct.unpack_from("<HH", page, 10)
    if flags & _ALL_VISIBLE:
        return False
    for (pointer,) in struct.iter_unpack("<I", page[24:start]):
        if pointer >> 15 & 3 == _STORED:
            by, flags = struct.unpack_from("<4xI12xH", page, pointer & 0x7FFF)
            if flags & (_DELETED | _ONLY_LOCKED) == _DELETED and (
                flags & _SEVERAL or (by - began) & 0xFFFFFFFF >= 1 << 31
            ):
                return True
    return False
