"""Reading characters as what a number is written with: digits of any script, separators, and what nobody sees.

Everything here keeps positions: a character of a str, or a byte of UTF-8, becomes one byte of the result.
"""

from __future__ import annotations

import codecs
import html
import json
import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

LEAST = 12  # digits of the shortest card number
UNSEEN = 0x80  # a byte no ASCII text has: here is what nobody sees
REST = 0x81  # the same: here goes on what was escaped
_DIGITS = "٠۰०০૦๐０"  # the zeros of the scripts most written: of 256 bytes there are not enough for all
_ALIKE = {
    " ": "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
    "\n": "\u0085\u2028\u2029",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d",
    ".": "\u00b7\u30fb\uff0e",
    "/": "\uff0f",
    "+": "\uff0b",
    chr(UNSEEN): "\u00ad\u034f\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufeff",
}


def _alphabet() -> tuple[str, bytes]:
    """The characters that have a byte of their own, and what each such byte is read as."""
    special = {chr(ord(zero) + digit): str(digit) for zero in _DIGITS for digit in range(10)}
    special |= {other: plain for plain, others in _ALIKE.items() for other in others}
    taken = "".join(map(chr, range(128))) + "".join(special)
    plain = bytes(range(128)) + "".join(special.values()).encode("latin-1")
    assert len(taken) == len(plain) <= 256
    return taken.ljust(256, "\ufffe"), plain.ljust(256, b"?")


_SCRIPTS = re.findall(r"\d", "".join(map(chr, range(0x80, 0x20000))))
"""Every decimal digit that isn't ASCII, as this Python's Unicode has them (general category Nd): none lies beyond."""

_OTHERS = {ord(digit): str(unicodedata.decimal(digit)) for digit in _SCRIPTS}


def _written(digits: Iterable[str]) -> str:
    """Characters of the first plane as ranges in a class of a pattern."""
    ranges: list[list[int]] = []
    for code in sorted(map(ord, digits)):
        if code > 0xFFFF:
            break
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(low)}-{chr(high)}" for low, high in ranges)


_TAKEN, _PLAIN = _alphabet()
# What lies beyond the first plane is taken whole: looking for its digits one range after the other is slow.
_RARE = re.compile(f"[{_written(digit for digit in _SCRIPTS if digit not in _TAKEN)}\U00010000-\U0010ffff]+")
_BYTES = codecs.charmap_build(_TAKEN)


def folded(text: str) -> bytes:
    """A byte for each character: ASCII as it is, what is written like it as that, all else a question mark."""
    if text.isascii():
        return text.encode("ascii")
    text = _RARE.sub(lambda run: run[0].translate(_OTHERS), text)
    return codecs.charmap_encode(text, "replace", _BYTES)[0].translate(_PLAIN)


_PERCENT = re.compile(
    rb"%(?:[023][0-9A-Fa-f]|[CcDd][0-9A-Fa-f]%[0-9A-Fa-f]{2}|[Ee][0-9A-Fa-f](?:%[0-9A-Fa-f]{2}){2}"
    rb"|[Ff]0(?:%[0-9A-Fa-f]{2}){3})"
)
_ENTITY = re.compile(rb"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,24});")
_BACKSLASH = re.compile(
    rb"\\(?:u[Dd][89ABab][0-9A-Fa-f]{2}\\u[Dd][C-Fc-f][0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|[nrt])"
)  # beyond the first plane two make one


def unescaped(text: bytes) -> bytes:
    """The same with `%34`, `&#52;` and `\\u0034` read as what they stand for, positions kept."""

    def read(written: bytes, char: str) -> bytes:
        return folded(char).ljust(len(written), b"\x81") if len(char) == 1 else written

    if b"%" in text:
        text = _PERCENT.sub(lambda m: read(m[0], unquote_to_bytes(m[0]).decode("utf-8", "replace")), text)
    if b"&" in text:
        text = _ENTITY.sub(lambda m: read(m[0], html.unescape(m[0].decode("ascii"))), text)
    if b"\\" in text:
        text = _BACKSLASH.sub(lambda m: read(m[0], json.loads(b'"%s"' % m[0])), text)
    return text


SPACES = b" \t\r\n\v\f"
SEPARATORS = SPACES + b"-._/+"
SHAPE = bytes(
    ord("0") if byte in b"0123456789" else 46 if byte == 46 else ord(" ") if byte in SEPARATORS else ord("x")
    for byte in range(256)
)


_AS_ASCII = bytes(range(128)).ljust(256, b"?")
_AREAS = bytes(ord("M") if byte >= 128 else SHAPE[byte] for byte in range(256))
_ACROSS = re.compile(rb"0[ .]{0,3}M[M .]*0")  # digits on both sides of what is not ASCII
_FAR = 1200  # bytes in which the digits of a number stand, or too much stands between them to tell


def _other_digits() -> list[tuple[bytes, re.Pattern[bytes]]]:
    """A first byte of UTF-8, cheap to look for, and what the digits with it look like.

    Many scripts have their digits at the same last bytes: these are one class of the bytes before.
    """
    lasts: dict[bytes, bytes] = {}
    for written in map(str.encode, _SCRIPTS):
        lasts[written[:-1]] = lasts.get(written[:-1], b"") + written[-1:]
    ways: dict[bytes, dict[tuple[bytes, bytes], bytes]] = {}
    for first, last in lasts.items():
        alike = ways.setdefault(first[:1], {})
        place = (first[1:-1], last)
        alike[place] = alike.get(place, b"") + first[1:][-1:]

    def written_as(lead: bytes) -> bytes:
        found = ways[lead].items()
        return b"|".join(
            between + (b"[%s]" % middle if middle else b"") + b"[%s]" % last
            for (between, last), middle in found
        )

    return [(lead, re.compile(b"%s(?:%s)" % (lead, written_as(lead)))) for lead in ways]


_OTHER_DIGITS = _other_digits()


def _needs_folding(text: bytes) -> bool:
    """Whether anything but ASCII may be a part of a number in UTF-8: a digit, or what stands between digits."""
    if any(lead in text and written.search(text) for lead, written in _OTHER_DIGITS):
        return True
    areas = text.translate(_AREAS)
    for found in _ACROSS.finditer(areas):
        low, high = max(found.start() - _FAR, 0), min(found.end() + _FAR, len(areas))
        before, after = areas.rfind(b"x", low, found.start()), areas.find(b"x", found.end(), high)
        if (before < 0 and low > 0) or (after < 0 and high < len(areas)):
            return True
        if areas.count(b"0", max(before, low), after if after >= 0 else high) >= LEAST:
            return True
    return False


def as_ascii(text: bytes) -> bytes | None:
    """UTF-8 with a question mark for every byte that is not ASCII, where that reads the same; else None.

    Most text has nothing but ASCII in and around its numbers, and folding costs more than looking for them.
    """
    if _needs_folding(text):
        return None
    plain = text.translate(_AS_ASCII)
    return plain if unescaped(plain) == plain else None  # an escaped space may reach across what is not ASCII
