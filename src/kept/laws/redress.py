"""What a refusal says: why a request may be refused, and where a person can complain about it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from kept.laws.law import law, read
from kept.laws.region import EEA


@dataclass(frozen=True)
class Refusal:
    """A reason the law accepts for refusing: `says` is said to the person, after "because"; `rights` empty: any."""

    id: str
    article: str
    says: str
    rights: tuple[str, ...] = ()


@dataclass(frozen=True)
class Authority:
    """Who watches over the law in a region, and where to complain to them."""

    region: str
    name: str
    site: str


@dataclass(frozen=True)
class Redress:
    """Where a person can go against a refusal; `court` is None where the law promises no court of their own."""

    authorities: tuple[Authority, ...]
    article: str
    court: str | None = None
    court_article: str | None = None

    def sentences(self) -> tuple[str, ...]:
        """What the person is told: the authority first, then the court (GDPR Art. 12(4))."""
        names = " or to ".join(f"{one.name} ({one.site})" for one in self.authorities)
        told = [f"You can complain to {names}: {self.article}."]
        if self.court:
            told.append(f"{self.court[0].upper()}{self.court[1:]}: {self.court_article}.")
        return tuple(told)


@cache
def refusals(name: str, right: str | None = None) -> tuple[Refusal, ...]:
    """The reasons for which a request under a law may be refused; all of them, or those for one right.

    Raises KeyError for a law Kept doesn't know. A right that only a choice answers (an opt-out) has those for any.
    """
    law(name)
    found = tuple(
        Refusal(reason, figures["article"], figures["says"], tuple(figures.get("rights", ())))
        for reason, figures in read(f"{name}.yaml")["refusals"].items()
    )
    return tuple(one for one in found if right is None or not one.rights or right in one.rights)


@cache
def redress(name: str, region: str | None = None) -> Redress:
    """Where to complain under a law, for a person in a region: the local authority where the region tells it.

    Somewhere in the EEA, or unknown, the answer names the list of all its authorities (GDPR Art. 77(1): where the
    person lives, works, or where it happened).
    """
    figures = read(f"{name}.yaml")["redress"]
    country = (region or "").partition("-")[0]
    local = [country if one == "eea" and country in EEA else one for one in figures["authorities"]]
    return Redress(
        tuple(authority(one) for one in local),
        f"{law(name).short} {figures['article']}",
        figures.get("court"),
        f"{law(name).short} {figures['court-article']}" if "court" in figures else None,
    )


@cache
def authority(region: str) -> Authority:
    """The authority of a region; raises KeyError where Kept knows none."""
    figures = read("authorities.yaml")[region]
    return Authority(region, figures["name"], figures["site"])
