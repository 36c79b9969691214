"""What looks like a card number where it stands and is something else: an IBAN, a UUID, a digest, a telephone."""

from __future__ import annotations

import re

from stdnum import iban

_IBAN = re.compile(rb"(?<![A-Za-z0-9])(?=([A-Za-z]{2}[0-9]{2}[A-Za-z0-9 ]{11,38}))")
_UUID = re.compile(rb"(?<![0-9A-Fa-f])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Fa-f])")
_HEX = (re.compile(rb"[0-9a-f]{24,129}"), re.compile(rb"[0-9A-F]{24,129}"))
_DIGESTS = {32, 40, 48, 56, 64, 96, 128}  # what MD5 and the SHA families give
_OBJECT_ID = re.compile(rb"[4-7].{23}")  # MongoDB's: it begins with the seconds since 1970
_WIDE = re.compile(rb" {2,}")


def _is_iban(text: bytes, start: int, end: int) -> bool:
    if b"  " in text[max(start - 64, 0) : end + 64]:  # in print its groups may stand far apart
        before, within, after = (
            _WIDE.sub(b" ", piece)
            for piece in (text[max(start - 256, 0) : start], text[start:end], text[end : end + 256])
        )
        text, start, end = before + within + after, len(before), len(before) + len(within)
    low = max(start - 16, 0)
    for found in _IBAN.finditer(text, low, min(end + 24, len(text))):
        if found.start() >= start:
            break
        words = found[1].decode("ascii").split(" ")
        for many in range(len(words), 0, -1):
            written = " ".join(words[:many])
            if found.start() + len(written) >= end and iban.is_valid(written):
                return True
    return False


def something_else(text: bytes, start: int, end: int, digits: bytes) -> bool:
    """Whether the place says that digits are no card number, though they could be one."""
    before = text[start - 1 : start]
    if before == b"+" and len(digits) <= 13:
        return True
    single = len(digits) == end - start
    low, high = max(start - 128, 0), end + 128
    if b"-" in text[low:high]:
        for found in _UUID.finditer(text, max(start - 36, 0), end + 36):
            if found.start() <= start and end <= found.end():
                return True
    if single and (before.isalpha() or text[end : end + 1].isalpha()):
        for cased in _HEX:
            for found in cased.finditer(text, low, high):
                if found.start() <= start and end <= found.end():
                    return len(found[0]) in _DIGESTS or _OBJECT_ID.fullmatch(found[0]) is not None
    return (before.isalpha() or before == b" ") and _is_iban(text, start, end)
