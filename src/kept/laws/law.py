"""The laws Kept knows, as data: rights and their clocks, ages, where data may go; each figure with its article."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any, Final, get_args

from ruamel.yaml import YAML

from kept.laws.period import Period, Unit

LAWS: Final = ("gdpr", "uk-gdpr", "ccpa", "coppa")


@dataclass(frozen=True)
class LegalRight:
    """A right a law gives. `clock` is None where the law sets no figure; `extension` comes on top of it."""

    article: str
    clock: Period | None = None
    extension: Period | None = None
    clock_article: str | None = None
    acknowledged: Period | None = None
    acknowledged_article: str | None = None


@dataclass(frozen=True)
class Age:
    """An age a law draws a line at: below it, other rules hold."""

    age: int
    article: str


@dataclass(frozen=True)
class Law:
    """One law: where it holds, the rights it gives, and, in `opt_in`, why consent there must be a clear yes."""

    id: str
    name: str
    citation: str
    short: str
    regions: tuple[str, ...]
    opt_in: str | None
    rights: Mapping[str, LegalRight]
    ages: Mapping[str, Age]


@dataclass(frozen=True)
class Safeguard:
    """What a transfer to another country may rest on; `only` names the one region it covers, where it is one."""

    name: str
    article: str
    instrument: str | None = None
    began: date | None = None
    ended: date | None = None
    ended_by: str | None = None
    only: str | None = None

    def stands(self, day: date) -> bool:
        return (self.began is None or self.began <= day) and (self.ended is None or day < self.ended)


@dataclass(frozen=True)
class Adequacy:
    """A decision that a country protects data well enough for it to go there; `scope` where it covers some only."""

    decision: str
    began: date
    until: date | None = None
    scope: str | None = None

    def stands(self, day: date) -> bool:
        return self.began <= day and (self.until is None or day <= self.until)


@cache
def law(name: str) -> Law:
    """One of LAWS; raises KeyError for a law Kept doesn't know."""
    if name not in LAWS:
        raise KeyError(name)
    read = _read(f"{name}.yaml")
    return Law(
        id=name,
        name=read["name"],
        citation=read["citation"],
        short=read["article"],
        regions=tuple(read["regions"]),
        opt_in=read["opt-in"],
        rights={right: _right(figures) for right, figures in read["rights"].items()},
        ages={what: Age(**figures) for what, figures in read["ages"].items()},
    )


def clock(name: str, right: str) -> Period | None:
    """How long a law gives for answering: `clock("gdpr", "access")` is one month; None where it sets no figure."""
    given = law(name).rights.get(right)
    return given.clock if given else None


@cache
def safeguard(name: str) -> Safeguard:
    """A safeguard by its word in the policy language; raises KeyError for another word."""
    figures = _read("transfers.yaml")["safeguards"][name]
    return Safeguard(**{key.replace("-", "_"): value for key, value in figures.items()})


@cache
def adequate(name: str) -> Mapping[str, Adequacy]:
    """The countries, by region, that may receive data under a law as if they were inside; none for most laws."""
    return {
        region: Adequacy(**figures)
        for region, figures in _read("transfers.yaml")["adequate"].get(name, {}).items()
    }


def _right(figures: Mapping[str, str]) -> LegalRight:
    periods = ("clock", "extension", "acknowledged")
    return LegalRight(
        **{
            key.replace("-", "_"): _period(value) if key in periods else value
            for key, value in figures.items()
        }  # type: ignore[arg-type]  # keys are those of the class
    )


def _period(text: str) -> Period:
    amount, word = text.split()
    unit: Unit = next(unit for unit in get_args(Unit) if unit.startswith(word))
    return Period(int(amount), unit)


@cache
def _read(file: str) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(
        resources.files("kept.laws").joinpath(file).read_text("utf-8")
    )
    return loaded
