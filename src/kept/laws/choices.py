"""How people must be asked, how soon again after a no, and whose own yes counts: each figure with its article."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from operator import attrgetter
from typing import Final, Literal, get_args

from kept.laws.law import Age, law, period_of, read
from kept.laws.period import Period
from kept.laws.region import applying, covers

Ask = Literal["double-opt-in", "opt-in", "opt-out", "notice"]
ASKS: Final[tuple[Ask, ...]] = get_args(Ask)
"""Ways of asking, strictest first: two yeses, one, on until a no, only told."""


@dataclass(frozen=True)
class Asked:
    """How a law wants people asked, at least; `under`: only those younger than that."""

    ask: Ask
    article: str
    under: int | None = None


@dataclass(frozen=True)
class AsksAgain:
    """How long nobody who said no is asked again."""

    after: Period
    article: str


@dataclass(frozen=True)
class Signal:
    """A signal of a browser that the law treats as a choice; `seen`: where it wants the person to see that."""

    article: str
    seen: str | None = None


@dataclass(frozen=True)
class Choices:
    """What one law says of choices. `asked` by what waits for one, such as `cookies`; `places` are member states."""

    asked: Mapping[str, Asked]
    signals: Mapping[str, Signal]
    asks_again: AsksAgain | None
    own_yes: Age
    places: Mapping[str, Age]
    child: Age | None


SIX_MONTHS: Final = AsksAgain(Period(6, "months"), "CNIL, délibération 2020-092 of 2020-09-17")
"""Where no law says how long, its figure is kept: nobody is asked again sooner."""


@cache
def choices(name: str) -> Choices:
    """What one of LAWS says of choices; raises KeyError for a law Kept doesn't know."""
    law(name)
    given = read(f"{name}.yaml")["choices"]
    own, again = dict(given["own-yes"]), given.get("asks-again")
    places = own.pop("places", {})
    return Choices(
        asked={about: Asked(**figures) for about, figures in given["asked"].items()},
        signals={signal: Signal(**figures) for signal, figures in given.get("signals", {}).items()},
        asks_again=again and AsksAgain(period_of(again["after"]), again["article"]),
        own_yes=Age(**own),
        places={region: Age(**figures) for region, figures in places.items()},
        child=Age(**given["child"]) if "child" in given else None,
    )


def least(
    laws: Sequence[str], region: str | None, about: Collection[str], age: int | None = None
) -> Asked | None:
    """The strictest way of asking that the laws of a region want for a choice `about` these; None where none does.

    `about`: the keys of `asked` in the files, such as `cookies`. `region` None isn't known: every law counts. Whose age
    isn't known isn't taken for a minor (§ 1798.120(c): actual knowledge).
    """
    found = [
        asked
        for name in naming(laws, region)
        for what, asked in choices(name).asked.items()
        if what in about and (asked.under is None or (age is not None and age < asked.under))
    ]
    return min(found, key=lambda asked: ASKS.index(asked.ask), default=None)


def asks_again(laws: Sequence[str], region: str | None) -> AsksAgain:
    """How long somebody in a region who said no isn't asked again: the longest of its laws, six months at least."""
    found = [again for name in naming(laws, region) if (again := choices(name).asks_again) is not None]
    return max([*found, SIX_MONTHS], key=lambda again: again.after.after(date.min))


def own_yes(laws: Sequence[str], region: str | None) -> Age:
    """From which age a person's own yes counts; below it a parent's does. Unknown region: the highest of all laws.

    Somewhere in the EEA it is 16, in one of its states what that state says (GDPR Art. 8(1)).
    """
    return max((_own(name, region) for name in applying(laws, region)), key=attrgetter("age"))


def child(laws: Sequence[str], region: str | None) -> Age | None:
    """Under which age nothing is collected without a parent (COPPA); None where no law of the region says so."""
    found = [age for name in applying(laws, region) if (age := choices(name).child) is not None]
    return max(found, key=attrgetter("age"), default=None)


def signal(laws: Sequence[str], region: str | None, name: str) -> Signal | None:
    """What the law of a region says of a browser's signal such as `gpc`; None where none makes it a choice."""
    found = (choices(one).signals.get(name) for one in naming(laws, region))
    return next((one for one in found if one is not None), None)


def naming(laws: Sequence[str], region: str | None) -> tuple[str, ...]:
    """Which of a policy's laws name a region, or one it may be in (`us` and California's); all for an unknown one.

    Unlike `applying`, none for a region that no law names: how people are asked there is the file's word.
    """
    return tuple(
        name
        for name in laws
        if region is None or any(covers(area, region) or covers(region, area) for area in law(name).regions)
    )


def _own(name: str, region: str | None) -> Age:
    given = choices(name)
    return given.places.get((region or "").partition("-")[0], given.own_yes)
