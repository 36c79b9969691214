"""A ledger entry: a JSON object in canonical form (RFC 8785), so that the same fact has the same bytes
everywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import rfc8785

from kept.errors import KeptError

JSON = None | bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"]
Entry = Mapping[str, JSON]

LIMIT = 64 * 1024
"""Bytes of one entry: facts and counts are small, so whatever is larger is a list of people or a mistake; and
a verifier need never hold more than this."""

KEY_LIMIT = 255
"""Characters of an idempotency key."""


def canonical(value: Mapping[str, Any]) -> bytes:
    """The RFC 8785 form of a JSON object; KeptError says what in it isn't JSON, never its value."""
    try:
        _check(value, "")
        return rfc8785.dumps(value)
    except RecursionError as error:
        raise KeptError("a ledger entry is nested too deeply") from error
    except ValueError as error:  # rfc8785's own errors, and text that isn't Unicode
        raise KeptError("a ledger entry holds text that isn't valid Unicode") from error


def written(entry: Entry, at: datetime) -> bytes:
    """The bytes a ledger stores for an entry: canonical, with the time it was handed in as "at"."""
    act = entry.get("act")
    if not isinstance(act, str) or not act:
        raise KeptError('a ledger entry needs "act": what was done, as text')
    if "at" in entry:
        raise KeptError('a ledger entry must not bring its own "at": the ledger sets it from its clock')
    data = canonical({**entry, "at": stamp(at)})
    if len(data) > LIMIT:
        raise KeptError(
            f"a ledger entry ({act[:40]}) has {len(data):,} bytes, more than {LIMIT:,}",
            help="record counts and a hash of the details, or several entries",
        )
    return data


def stamp(at: datetime) -> str:
    """A time as ledgers write it: 2026-01-31T09:30:00.000000Z."""
    if at.tzinfo is None:
        raise KeptError("the clock gives a time without a zone")
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _check(value: Any, place: str) -> None:
    """Refuse what JSON can't say, and numbers that don't come back as they were (RFC 8785 §3.2.2.3, RFC 7493
    §2.2)."""
    match value:
        case None | bool() | str():
            return
        case int() if -(2**53) < value < 2**53:
            return
        case float() if math.isfinite(value) and abs(value) < 2**53:
            return
        case int() | float():
            what = "a number of 2⁵³ or more" if math.isfinite(value) else "a number that isn't finite"
            raise KeptError(f"a ledger entry holds {what}, at {place or 'the top'}", help="write it as text")
        case dict():
            for key, inner in value.items():
                if not isinstance(key, str):
                    raise KeptError(f"a ledger entry has a key that isn't text, at {place or 'the top'}")
                _check(inner, f"{place}.{key[:40]}" if place else key[:40])
        case list() | tuple():
            for number, inner in enumerate(value):
                _check(inner, f"{place}[{number}]")
        case _:
            raise KeptError(
                f"a ledger entry holds a {type(value).__name__}, at {place}",
                help="write it as text, or as numbers",
            )
