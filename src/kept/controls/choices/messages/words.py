"""What people read in letters and on pages about their choices, in their language: one JSON file a language.

A new language is a new file in the folder `texts`, with the keys of `en.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cache
from importlib.resources import files
from typing import Any, Final

DEFAULT: Final = "en"
_PLACE: Final = "kept.controls.choices.messages"


@dataclass(frozen=True)
class Words:
    """The texts of one language; `direction` is `ltr` or `rtl`."""

    language: str
    name: str
    direction: str
    texts: Mapping[str, str]
    months: tuple[str, ...]
    digits: str
    parts: Mapping[str, Mapping[str, str]]

    def __call__(self, key: str, **values: object) -> str:
        """A text with its values put in."""
        return self.texts[key].format(**values)

    def part(self, group: str, key: str) -> str:
        """The name of a channel, a way, a ground; as the policy file writes it where the language has none."""
        return self.parts[group].get(key, key.replace("-", " "))

    def day(self, at: datetime, zone: tzinfo) -> str:
        """A day as people write it: `22 November 2026`."""
        local = at.astimezone(zone)
        written = self("day", day=local.day, month=self.months[local.month - 1], year=local.year)
        return self._digits(written)

    def minute(self, at: datetime, zone: tzinfo) -> str:
        """A day and the time, to the minute, with the name of the zone."""
        local = at.astimezone(zone)
        return f"{self.day(at, zone)}, {self._digits(f'{local:%H:%M}')} {local:%Z}"

    def _digits(self, written: str) -> str:
        return written.translate({ord("0") + value: digit for value, digit in enumerate(self.digits)})


@cache
def languages() -> Mapping[str, str]:
    """The languages there are, each with its own name for itself."""
    found = sorted(
        file.name for file in files(_PLACE).joinpath("texts").iterdir() if file.name.endswith(".json")
    )
    return {name.removesuffix(".json"): _read(name)["name"] for name in found}


@cache
def words(language: str) -> Words:
    """The texts of a language; English for one there is no file of."""
    found = language if language in languages() else DEFAULT
    given = _read(f"{found}.json")
    return Words(
        found,
        given["name"],
        given["direction"],
        given["texts"],
        tuple(given["months"]),
        given["digits"],
        given["parts"],
    )


def picked(asked: str | None, accepted: str) -> str:
    """The language of a page: the one asked for by name, else the first that a browser accepts, else English.

    `accepted` is an Accept-Language header (RFC 9110 §12.5.4); what can't be read in it is passed over.
    """
    if asked in languages():
        return str(asked)
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted.split(",")[:20]):
        name, _, weight = part.strip().partition(";")
        quality = _quality(weight)
        if quality > 0:
            wanted.append((-quality, place, name.strip().lower().partition("-")[0]))
    return next((name for _, _, name in sorted(wanted) if name in languages()), DEFAULT)


def _quality(weight: str) -> float:
    name, _, value = weight.strip().partition("=")
    if not name:
        return 1.0
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0


@cache
def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files(_PLACE).joinpath("texts").joinpath(name).read_text("utf-8"))
    return found
