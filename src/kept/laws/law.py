"""The laws Kept knows, as data: rights and their clocks, ages, where data may go; each figure with its article."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib import resources
from typing import Any, Final, get_args

from ruamel.yaml import YAML

from kept.laws.period import Period, Unit
from kept.laws.workdays import CALENDARS, BusinessDays

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
class OptOut:
    """What answers a right in a law that knows only a choice against a use: its own clock, no proof of identity."""

    article: str
    within: BusinessDays
    clock_article: str
    identity_article: str


@dataclass(frozen=True)
class Confirm:
    """How soon receipt is confirmed, for the rights named; `first_day`: the day of receipt is the first that counts."""

    within: Period | BusinessDays
    rights: tuple[str, ...]
    article: str
    first_day: bool = False


@dataclass(frozen=True)
class Requests:
    """How a law runs the clock of a request. `pauses`: the rights whose clock stands still while the person is asked
    what they mean. `grounds`: what an extension may rest on, each with a sentence for the person. `records`: how long
    it must be provable what was asked and answered."""

    starts: str
    starts_article: str
    pauses: tuple[str, ...] = ()
    pauses_article: str | None = None
    grounds: Mapping[str, str] = field(default_factory=dict)
    extends_article: str | None = None
    confirm: Confirm | None = None
    opt_outs: Mapping[str, OptOut] = field(default_factory=dict)
    records: Period | None = None
    records_article: str | None = None


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
    requests: Requests


@dataclass(frozen=True)
class Safeguard:
    """What a transfer to another country may rest on; `only` names the one region it covers, where it is one.

    `rests_on` says what each company has to have besides: to be `certified`, or a signed `agreement`.
    """

    name: str
    article: str
    instrument: str | None = None
    began: date | None = None
    ended: date | None = None
    ended_by: str | None = None
    only: str | None = None
    rests_on: str | None = None
    rests_on_article: str | None = None

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
    given = read(f"{name}.yaml")
    return Law(
        id=name,
        name=given["name"],
        citation=given["citation"],
        short=given["article"],
        regions=tuple(given["regions"]),
        opt_in=given["opt-in"],
        rights={right: _right(figures) for right, figures in given["rights"].items()},
        ages={what: Age(**figures) for what, figures in given["ages"].items()},
        requests=_requests(given["requests"]),
    )


def clock(name: str, right: str) -> Period | None:
    """How long a law gives for answering: `clock("gdpr", "access")` is one month; None where it sets no figure."""
    given = law(name).rights.get(right)
    return given.clock if given else None


@cache
def safeguard(name: str) -> Safeguard:
    """A safeguard by its word in the policy language; raises KeyError for another word."""
    figures = read("transfers.yaml")["safeguards"][name]
    return Safeguard(**{key.replace("-", "_"): value for key, value in figures.items()})


@cache
def adequate(name: str) -> Mapping[str, Adequacy]:
    """The countries, by region, that may receive data under a law as if they were inside; none for most laws."""
    return {
        region: Adequacy(**figures)
        for region, figures in read("transfers.yaml")["adequate"].get(name, {}).items()
    }


def _right(figures: Mapping[str, str]) -> LegalRight:
    periods = ("clock", "extension", "acknowledged")
    return LegalRight(
        **{
            key.replace("-", "_"): period_of(value) if key in periods else value
            for key, value in figures.items()
        }  # type: ignore[arg-type]  # keys are those of the class
    )


def _requests(figures: Mapping[str, Any]) -> Requests:
    pauses, extends = figures.get("pauses", {}), figures.get("extends", {})
    confirm, records = figures.get("confirm"), figures.get("records", {})
    return Requests(
        starts=figures["starts"]["upon"],
        starts_article=figures["starts"]["article"],
        pauses=tuple(pauses.get("rights", ())),
        pauses_article=pauses.get("article"),
        grounds=dict(extends.get("grounds", {})),
        extends_article=extends.get("article"),
        confirm=confirm
        and Confirm(
            _length(confirm["within"], confirm.get("calendar")),
            tuple(confirm["rights"]),
            confirm["article"],
            confirm.get("first-day") == "counted",
        ),
        opt_outs={
            right: OptOut(
                given["article"],
                _business_days(given["within"], given["calendar"]),
                given["clock-article"],
                given["identity-article"],
            )
            for right, given in figures.get("opt-outs", {}).items()
        },
        records=period_of(records["keep"]) if records else None,
        records_article=records.get("article"),
    )


def _length(text: str, calendar: str | None) -> Period | BusinessDays:
    return _business_days(text, calendar) if calendar else period_of(text)


def _business_days(text: str, calendar: str) -> BusinessDays:
    return BusinessDays(int(text.removesuffix(" business days")), CALENDARS[calendar])


def period_of(text: str) -> Period:
    """A period as the files of this folder write it: `6 months`."""
    amount, word = text.split()
    unit: Unit = next(unit for unit in get_args(Unit) if unit.startswith(word))
    return Period(int(amount), unit)


@cache
def read(file: str) -> dict[str, Any]:
    """A file of this folder, as it stands."""
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(
        resources.files("kept.laws").joinpath(file).read_text("utf-8")
    )
    return loaded
