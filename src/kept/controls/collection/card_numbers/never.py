"""What is never stored, found in whatever a form, a message or a file brings, and blotted out.

Of the policy's words this knows `card-number`. Nothing here finds `health`: no pattern tells a sentence about an
illness from another, so a policy that never collects health rests on not declaring such data, not on this filter.

A value is a str, a number, bytes (a file), `Attached` (a file with its name), JSON-like dicts and lists of them, or a
text that is itself JSON. A result says where, never what: paths hold no number either.
"""

from __future__ import annotations

import json
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from itertools import islice
from math import isfinite
from typing import Any
from uuid import UUID

from kept.controls.collection.card_numbers import find as cards
from kept.controls.collection.card_numbers.attached import Unseen, decoded, texts, without_markup
from kept.errors import KeptError

WORDS = frozenset({"card-number"})
"""The policy's words that can be found; `health` can't."""
_DEEPEST = 100
_BEYOND = 10**20  # no card number is as large


@dataclass(frozen=True)
class Found:
    """A full card number: the path of the place it stands in, and whose it is. `path` is "" for the value itself."""

    path: str
    network: str
    word: str = "card-number"


@dataclass(frozen=True)
class Attached:
    """A file and the name it was handed in under."""

    name: str
    content: bytes


class CannotBlot(KeptError):
    """A card number stands where it can't be blotted out without breaking the file: refuse the file."""


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with every pair it was written with: of two with one name `dict` would hide the first."""


def scan(value: Any) -> list[Found | Unseen]:
    """Where full card numbers stand in a value, and what of it nobody can look into (`Unseen`)."""
    return list(dict.fromkeys(_scan(value, "", 0)))


def found(value: Any) -> list[Found]:
    """Where full card numbers stand in a value, what can't be looked into aside."""
    return [place for place in scan(value) if isinstance(place, Found)]


def _part(name: object) -> str:
    """A step of a path: `.name`, `["two words"]`, never with a card number in it."""
    text = cards.blot(str(name))
    return f".{text}" if re.fullmatch(r"[\w-]+", text) else f"[{json.dumps(text, ensure_ascii=False)}]"


def _join(path: str, step: str) -> str:
    return step.removeprefix(".") if not path else path + step


def _scan(value: Any, path: str, depth: int) -> Iterator[Found | Unseen]:
    if depth > _DEEPEST:
        yield Unseen(path, "data nested too deep")
    elif isinstance(value, str):
        yield from _in_text(value, path, depth)
    elif value is None or isinstance(value, bool | UUID | date | time | timedelta | complex):
        return
    elif isinstance(value, int | float | Decimal):
        for span in cards.find(_digits(value)):
            yield Found(path, span.network)
    elif isinstance(value, bytes | bytearray | memoryview):
        yield from _in_file("", bytes(value), path, depth)
    elif isinstance(value, Attached):
        for span in cards.find(value.name):
            yield Found(path, span.network)
        yield from _in_file(
            value.name,
            value.content,
            f"{path}/{cards.blot(value.name)}" if path else cards.blot(value.name),
            depth,
        )
    elif isinstance(value, Mapping | _Pairs):
        for name, one in value.items() if isinstance(value, Mapping) else value:
            place = _join(path, _part(name))
            if isinstance(name, str | int):
                for span in cards.find(str(name)):
                    yield Found(place, span.network)
            yield from _scan(one, place, depth + 1)
    elif isinstance(value, list | tuple | set | frozenset):
        if (whole := _boxes(value)) is not None:
            for span in cards.find(whole):
                yield Found(path, span.network)
        for number, one in enumerate(value):
            yield from _scan(one, f"{path}[{number}]", depth + 1)
    else:
        yield Unseen(path, f"a value of type {type(value).__name__}")


def _digits(number: int | float | Decimal) -> str:
    """A number as it would be written out; a float or decimal without a fraction as the whole number it is."""
    if not isinstance(number, int):
        if not (number.is_finite() if isinstance(number, Decimal) else isfinite(number)):
            return ""
        if not -_BEYOND < number < _BEYOND or number != int(number):
            return ""
    return str(abs(int(number))) if -_BEYOND < number < _BEYOND else ""


def _boxes(value: Any) -> str | None:
    """Four boxes of a form as one text: a list of texts of a few digits each."""
    if (
        not isinstance(value, list | tuple)
        or not 3 <= len(value) <= 19
        or not all(isinstance(one, str) and len(one) <= 6 and one.isdigit() for one in value)
    ):
        return None
    return " ".join(value)


# --- text ---

_ODD_DIGITS = re.compile("[\u00b2\u00b3\u00b9\u2070-\u2079\u2080-\u2089\u2460-\u2468]")


def _readings(text: str) -> Iterator[str]:
    """Text in the other ways it can be read: without its markup, with raised and circled digits plain."""
    if "<" in text and ">" in text:
        yield without_markup(text)
    if not text.isascii() and _ODD_DIGITS.search(text):
        yield unicodedata.normalize("NFKC", text)


def _parsed(text: str) -> Any:
    """What a JSON text says; None: it is none."""
    if text[:1] not in ("{", "[", '"', " ", "\n", "\r", "\t") or text.lstrip()[:1] not in ("{", "[", '"'):
        return None
    try:
        return json.loads(
            text,
            object_pairs_hook=_Pairs,
            parse_int=lambda digits: int(digits) if len(digits) < 40 else digits,
        )
    except (ValueError, RecursionError):
        return None


def _in_text(text: str, path: str, depth: int) -> Iterator[Found | Unseen]:
    met = False
    if (parsed := _parsed(text)) is not None and parsed != text:
        for place in _scan(parsed, path, depth + 1):
            met = met or isinstance(place, Found)
            yield place
    if met:
        return
    for reading in (text, *_readings(text)):
        for span in cards.find(reading):
            met = True
            yield Found(path, span.network)
        if met:
            return


def _in_file(name: str, content: bytes, path: str, depth: int) -> Iterator[Found | Unseen]:
    for part in texts(name, content):
        place = path + cards.blot(part.path)
        if isinstance(part, Unseen):
            yield Unseen(place, part.kind)
        else:
            yield from _in_text(part.text, place, depth)


# --- blotting ---


def blotted(value: Any) -> Any:
    """The same value with every card number blotted out but its last four digits (cards.blot).

    A number becomes a str, as no number can hold dots. A JSON text stays JSON. What hides a number in markup or in
    raised digits comes back without them. A plain text file keeps its encoding. What can't be looked into comes back as
    it is: `scan` names it. Raises `CannotBlot` where a number stands in any other file, or in data nested too deep.
    """
    return _blotted(value, 0)


def _blotted(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise CannotBlot("Data is nested too deep to blot card numbers out.", help="refuse it")
    if isinstance(value, str):
        return _blotted_text(value, depth)
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float | Decimal):
        digits = _digits(value)
        return cards.blot(digits) if cards.any_in(digits) else value
    if isinstance(value, bytes | bytearray | memoryview):
        return _blotted_file("", bytes(value))
    if isinstance(value, Attached):
        return Attached(cards.blot(value.name), _blotted_file(value.name, value.content))
    if isinstance(value, _Pairs):
        return _Pairs((cards.blot(name), _blotted(one, depth + 1)) for name, one in value)
    if isinstance(value, Mapping):
        return {_blotted(name, depth + 1): _blotted(one, depth + 1) for name, one in value.items()}
    if isinstance(value, list | tuple):
        if (whole := _boxes(value)) is not None and cards.any_in(whole):
            return type(value)(cards.blot(whole).split(" "))
        return type(value)(_blotted(one, depth + 1) for one in value)
    if isinstance(value, set | frozenset):
        return type(value)(_blotted(one, depth + 1) for one in value)
    return value


def _blotted_text(text: str, depth: int) -> str:
    if not any(isinstance(place, Found) for place in _in_text(text, "", depth)):
        return text
    parsed = _parsed(text)
    if parsed is not None and parsed != text:
        return json.dumps(_plain(_blotted(parsed, depth + 1)), ensure_ascii=False)
    text = cards.blot(text)
    for _ in range(3):  # what one reading shows, another may have hidden: markup first, then digits
        for reading in _readings(text):
            if cards.any_in(reading):
                text = cards.blot(reading)
                break
    return text


def _plain(value: Any) -> Any:
    """Parsed JSON in dicts; of two pairs with one name the last stays, as every reader takes it."""
    if isinstance(value, _Pairs):
        return {name: _plain(one) for name, one in value}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _blotted_file(name: str, content: bytes) -> bytes:
    if not any(isinstance(place, Found) for place in _in_file(name, content, "", 0)):
        return content
    if (read := decoded(content)) is not None:
        text, encoding = read
        if encoding == "latin-1":
            encoding = "cp1252"  # the same characters, and one for the dot
        changed = _blotted_text(text, 0).encode(encoding, "replace")
        if not any(isinstance(place, Found) for place in _in_file(name, changed, "", 0)):
            return changed
    raise CannotBlot(
        "A file has a full card number that can't be blotted out without breaking it.", help="refuse the file"
    )


# --- many rows at once ---

_BATCH = 2000  # rows
_APART = "\x1e"  # stands in no number
_WRITTEN_OTHERWISE = re.compile(r"[<{\[]|" + _ODD_DIGITS.pattern)


def in_rows(values: Iterable[Any]) -> int:
    """How many of many values hold a full card number: a column of a table, one pass over a batch of rows."""
    rows = iter(values)
    count = 0
    while batch := list(islice(rows, _BATCH)):
        count += _in_batch(batch)
    return count


def _in_batch(batch: list[Any]) -> int:
    parts: list[str] = []
    starts: list[int] = []
    place = count = 0
    for value in batch:
        if isinstance(value, str):
            text = value
        elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            text = _digits(value)
        elif value is None:
            continue
        else:
            count += bool(found(value))
            continue
        starts.append(place)
        parts.append(text)
        place += len(text) + 1
    joined = _APART.join(parts)
    met = {bisect_right(starts, span.start) - 1 for span in cards.find(joined)}
    if _WRITTEN_OTHERWISE.search(joined):
        met |= {
            number
            for number, text in enumerate(parts)
            if number not in met and _WRITTEN_OTHERWISE.search(text) and found(text)
        }
    return count + len(met)
