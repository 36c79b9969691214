"""Find full payment card numbers in any text, and blot them out.

A number counts when it has the length and the first digits of a network (issuers.py), its check digit is right (Luhn,
ISO/IEC 7812-1 annex B) and it is written as cards are: in one piece, in fours, as 4-6-5 or 4-6-4, in a few other
groups, in pairs or in single digits, always with one kind of separator. A separator is up to 32 spaces of any width, up
to 32 line breaks (which may stand for any other space or follow a dash), a dash of any kind, or one of `. _ / + ·`.
Digits may be of any script (Unicode's decimal digits), written as they are or as `%34`, `&#52;` or `\\u0034`;
characters nobody sees (zero-width, soft hyphen, marks of direction) are read over.

Other fours may stand beside a card in fours, two to each card at most (`room 1204`, a PIN, a year): where more do,
what looks like a card is a piece of a longer number. So a number of 20 or of 24 digits in fours that holds a card's
passes for one, and one of 28 doesn't.

Not found, on purpose: a piece of a longer row of digits; an IBAN; the end of a UUID or a part of a digest or an
ObjectId in hexadecimal digits; the fraction of a decimal number; up to 13 digits after a `+` (a telephone number);
UATP's 15 digits from a 1 unless they are in groups; 12 digits in fours with a further four beside them.

Not found either, and nobody should count on it: a number in base64 or any other encoding, compressed, or escaped twice;
with a comma, a colon, a bullet, a bracket or two dashes between groups, or with several separators mixed; spread over
several fields, or over lines with something before each (a quoted mail's `>`); with more than 32 spaces in a gap;
grouped in another way; in an image; spelled out, raised, circled or in letters for digits (never.py reads raised and
circled ones); one of the few cards that have no check digit.

One wholly random number of 16 digits in some 27 passes: no text tells it from a card.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import count, pairwise
from typing import NamedTuple

from kept.controls.collection.card_numbers.characters import (
    REST,
    SEPARATORS,
    SHAPE,
    SPACES,
    UNSEEN,
    as_ascii,
    folded,
    unescaped,
)
from kept.controls.collection.card_numbers.issuers import BEGINNINGS, LENGTHS, UNSPACED, network_of
from kept.controls.collection.card_numbers.lookalikes import something_else

DOT = "•"


class Span(NamedTuple):
    """Where a card number stands, in characters of a str or bytes of bytes, and whose it is."""

    start: int
    end: int
    network: str


# Four digits to begin with, none before; then all in one piece (consumed; not the fraction of a decimal number), or
# groups (looked at, as another number may begin at the next group). The literal at the front makes it fast: re skips
# to it.
_SHAPED = re.compile(
    rb"0000(?<!0{5})(?:(?<!0\.0{4})0{8,15}(?!0)|(?=G(?:0000G0000|0{5,6}G0{4,6}|000G000G000|0{12})|0{2,4}G0{6,13}))".replace(
        b"G", rb"[ .]{1,32}"
    )
)
_GROUPS = re.compile(
    rb"(0{4,8})(?:G(0{3,13})(?!0))(?:G(0{3,6})(?!0))?(?:G(0{1,4})(?!0))?(?:G(0{1,3})(?!0))?".replace(
        b"G", rb"[ .]{1,32}"
    )
)
# In singles and in pairs: rare enough to be looked for with a plain find first.
_SINGLES = re.compile(rb"(?<!0)0(?: {1,32}0(?!0)){12,}")
_PAIRS = re.compile(rb"(?<!0)00(?: {1,32}00(?!0)){6,}(?: {1,32}0(?!0))?")

_FREE = {(4, 6, 5), (4, 6, 4)}  # what else stands beside them can't be a part of them
_ALONE = {(8, 8), (6, 10), (6, 13), (6, 6, 4), (4, 12), (4, 3, 3, 3), (4, 5, 6)}


def _in_fours(lengths: tuple[int, ...]) -> bool:
    return len(lengths) > 2 and set(lengths[:-1]) == {4} and lengths[-1] <= 4


_DOUBLED = bytes(2 * d // 10 + 2 * d % 10 if 0 <= (d := byte - ord("0")) <= 9 else 0 for byte in range(256))


def _checks(digits: bytes) -> bool:
    """Whether the check digit is right (Luhn)."""
    plain, doubled = digits[-1::-2], digits[-2::-2]
    return (sum(plain) - 48 * len(plain) + sum(doubled.translate(_DOUBLED))) % 10 == 0


def _kind(gap: bytes) -> bytes | None:
    """What separates two groups: a space, a line break, a dash …; None: not one thing."""
    if gap in (b" ", b"-"):
        return gap
    sign = gap.strip(SPACES)
    if not sign:
        return b"\n" if b"\n" in gap or b"\r" in gap else b" "
    if sign == b"-" or (len(sign) == 1 and len(gap) == 1):
        return sign
    return None


def _one_kind(kinds: list[bytes | None]) -> bytes | None:
    """The kind all separators are of: of spaces, `\\n` if a line ends between the groups; None: mixed."""
    met = set(kinds)
    if met == {b" ", b"\n"}:
        return b"\n"
    return met.pop() if len(met) == 1 else None


_NEXT = re.compile(rb"([ \t\r\n\v\f._/+-]{1,32})([0-9]+)")
_BESIDE = 56  # bytes: the widest gap, and more digits than a group has


def _neighbour(text: bytes, place: int, kind: bytes, step: int) -> tuple[int, int] | None:
    """Where the group of digits before or after a place stands, if it is kept apart from it as its own groups are."""
    piece = text[place : place + _BESIDE] if step > 0 else text[max(place - _BESIDE, 0) : place][::-1]
    found = _NEXT.match(piece)
    if found is None:
        return None
    between = _kind(found[1])
    if between == kind or (kind == b"\n" and between == b" "):
        near, far = place + step * found.start(2), place + step * found.end(2)
        return min(near, far), max(near, far)
    return None


_FAR = 6  # fours looked at on each side: two that are no card's, and the next card


def _fours_beside(text: bytes, place: int, kind: bytes, step: int) -> list[bytes]:
    """The groups of four digits next to a place, the nearest first."""
    fours: list[bytes] = []
    while (
        len(fours) < _FAR and (beside := _neighbour(text, place, kind, step)) and beside[1] - beside[0] == 4
    ):
        fours.append(text[beside[0] : beside[1]])
        place = beside[0] if step < 0 else beside[1]
    return fours


def _among_fours(text: bytes, start: int, end: int, lengths: tuple[int, ...], kind: bytes) -> bool:
    """Whether a number in fours is a card beside a few other fours or other cards, and not a piece of a longer number.

    Of all fours around, those that belong to no card may be two for each card, as a room and a year.
    """
    before = _fours_beside(text, start, kind, -1)[::-1]
    after = _fours_beside(text, end, kind, 1) if lengths[-1] == 4 else []
    if len(lengths) == 3:  # Maestro's 12 digits: with one more four it would be any number of 16
        return not before and not after
    stray, cards = 0, 1
    for fours in (before, after):
        at = 0
        while at < len(fours):
            digits = b"".join(fours[at : at + 4])
            if len(digits) == 16 and _checks(digits) and network_of(digits, spaced=True):
                cards, at = cards + 1, at + 4
            else:
                stray, at = stray + 1, at + 1
    return stray <= 2 * cards


def _by_itself(text: bytes, start: int, end: int, lengths: tuple[int, ...], kind: bytes) -> bool:
    """Whether groups are a number of their own, given what stands before and after."""
    if lengths in _FREE:
        return True
    if lengths in _ALONE:
        beside = [_neighbour(text, place, kind, step) for place, step in ((start, -1), (end, 1))]
        return all(group is None or group[1] - group[0] <= 4 for group in beside)
    return _among_fours(text, start, end, lengths, kind)


def _judged(text: bytes, start: int, end: int, *, spaced: bool) -> Span | None:
    """The card number that digits from start to end are, if they are one."""
    digits = text[start:end].translate(None, SEPARATORS) if spaced else text[start:end]
    if not _checks(digits):
        return None
    network = network_of(digits, spaced=spaced)
    if network is None or something_else(text, start, end, digits):
        return None
    return Span(start, end, network)


def _grouped(text: bytes, shape: bytes, start: int) -> Span | None:
    """The card number in groups that begins here: of several the longest."""
    if text[start : start + 2] not in BEGINNINGS or (found := _GROUPS.match(shape, start)) is None:
        return None
    places = [found.span(group) for group in range(1, 6) if found[group] is not None]
    for many in range(len(places), 1, -1):
        taken = places[:many]
        lengths = tuple(end - begin for begin, end in taken)
        if not (lengths in _FREE or lengths in _ALONE or _in_fours(lengths)) or sum(lengths) not in LENGTHS:
            continue
        kind = _one_kind([_kind(text[one[1] : two[0]]) for one, two in pairwise(taken)])
        if kind is None:
            continue
        span = _judged(text, start, taken[-1][1], spaced=True)
        if span is not None and _by_itself(text, span.start, span.end, lengths, kind):
            return span
    return None


_GAP = re.compile(rb"[ \t\r\n\v\f._/+-]+")


def _small_groups(text: bytes, shape: bytes) -> Iterator[Span]:
    """Card numbers written in single digits or in pairs: all of a row, no more and no less."""
    for sign, written in ((b"0 0 0 0 0 0", _SINGLES), (b"00 00 00 00 00", _PAIRS)):
        if sign not in shape:
            continue
        for found in written.finditer(shape):
            start, end = found.span()
            runs: list[tuple[int, int]] = []  # the row, cut wherever the kind of separator changes
            kinds: list[bytes | None] = []
            for gap in _GAP.finditer(text, start, end):
                kind = _kind(gap[0])
                if kinds and _one_kind([kinds[-1], kind]) is None:
                    runs.append((start, gap.start()))
                    start = gap.end()
                kinds.append(kind)
            for low, high in [*runs, (start, end)]:
                if sum(shape.count(b"0", low, high) == length for length in LENGTHS) and (
                    span := _judged(text, low, high, spaced=True)
                ):
                    yield span


def _in_shape(text: bytes) -> Iterator[Span]:
    """Card numbers in folded text without unseen characters."""
    shape = text.translate(SHAPE)
    starts = UNSPACED.get
    for found in _SHAPED.finditer(shape):
        start, end = found.span()
        if end - start > 4:
            if starts(text[start : start + 2], 0) >> (end - start) & 1 and (
                span := _judged(text, start, end, spaced=False)
            ):
                yield span
        elif span := _grouped(text, shape, start):
            yield span
    yield from _small_groups(text, shape)


_PASSED = bytes([UNSEEN, REST])
_UNSEENS = re.compile(b"[%s]+" % _PASSED)


def _seen(text: bytes) -> Iterator[Span]:
    """Card numbers in folded text, read over what nobody sees."""
    if not (b"\x80" in text or b"\x81" in text):
        yield from _in_shape(text)
        return
    kept, gone, total = [0], [0], 0  # from which character kept on how many are gone
    for unseen in _UNSEENS.finditer(text):
        kept.append(unseen.start() - total)
        total += unseen.end() - unseen.start()
        gone.append(total)

    def back(place: int) -> int:
        return place + gone[bisect_right(kept, place) - 1]

    for span in _in_shape(text.translate(None, _PASSED)):
        start, end = back(span.start), back(span.end - 1) + 1
        while end < len(text) and text[end] == REST:
            end += 1
        yield Span(start, end, span.network)


def _spans(text: bytes) -> Iterator[Span]:
    """Card numbers in folded text as it stands, then those in what it stands for."""
    plain = []
    for span in _seen(text):
        plain.append(span)
        yield span
    read = unescaped(text)
    if read != text:
        plain = _apart(plain)
        for span in _seen(read):
            after = bisect_left(plain, span.end, key=lambda one: one.start)
            if after == 0 or plain[after - 1].end <= span.start:
                yield span


def _apart(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, of two that overlap the first."""
    found: list[Span] = []
    for span in sorted(spans):
        if not found or span.start >= found[-1].end:
            found.append(span)
    return found


def _together(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, those that overlap as one."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.start < found[-1].end:
            found[-1] = found[-1]._replace(end=max(found[-1].end, span.end))
        else:
            found.append(span)
    return found


def find(text: str | bytes) -> list[Span]:
    """Where full card numbers stand in text, in order, none overlapping.

    bytes are read as UTF-8 (what is not UTF-8 is no digit); text in another encoding is decoded by the caller.
    """
    if isinstance(text, str):
        if not text.isascii():
            plain = as_ascii(text.encode("utf-8", "surrogatepass"))
            if plain is not None and next(_spans(plain), None) is None:
                return []
        return _apart(_spans(folded(text)))
    plain = text if text.isascii() else as_ascii(text)
    if plain is not None:
        return _apart(_spans(plain))
    decoded = text.decode("utf-8", "surrogateescape")
    found, done, place = [], 0, 0
    for span in _apart(_spans(folded(decoded))):
        at = place + len(decoded[done : span.start].encode("utf-8", "surrogateescape"))
        place = at + len(decoded[span.start : span.end].encode("utf-8", "surrogateescape"))
        done = span.end
        found.append(Span(at, place, span.network))
    return found


def any_in(text: str | bytes) -> bool:
    """Whether a full card number stands in text; it stops at the first."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    plain = data if data.isascii() else as_ascii(data)
    if plain is None:
        plain = folded(text if isinstance(text, str) else text.decode("utf-8", "surrogateescape"))
    return next(_spans(plain), None) is not None


_PATIENCE = 8
_AROUND = b"0123456789" + _PASSED + SEPARATORS


def blot(text: str) -> str:
    """Text with every card number blotted out: all digits but the last four become dots, the rest stays as it is.

    The last four may stay (PCI DSS 4.0, 3.4.1 allows the first six and the last four).
    """
    # Once digits are gone, what stood beside them may read as another number: until none is left. After a few rounds
    # somebody is playing with us, and all digits around go.
    for rounds in count():
        if not find(text):
            break
        done, parts = 0, []
        written = folded(text)
        spans = _together(_spans(written))  # of two that overlap, either may be the card
        read = unescaped(written)
        for span in spans:
            start, end, keep = span.start, span.end, 4
            if rounds > _PATIENCE:
                keep = 0
                while start > done and written[start - 1] in _AROUND:
                    start -= 1
                while end < len(written) and written[end] in _AROUND:
                    end += 1
            if done <= start < end:
                escaped = any(sign in written[start:end] for sign in b"%&\\")
                parts += [text[done:start], _dotted(text, read if escaped else written, start, end, keep)]
                done = end
        text = "".join([*parts, text[done:]])
    return text


def _dotted(text: str, read: bytes, start: int, end: int, keep: int) -> str:
    """A piece of text with dots for digits but the last few."""
    places = [at for at in range(start, end) if read[at] not in _PASSED]
    digits = [at for at in places if read[at] in b"0123456789"]
    hidden = set(digits[: len(digits) - keep])
    ends = [*places[1:], end]
    return "".join(DOT if at in hidden else text[at:end] for at, end in zip(places, ends, strict=True))
