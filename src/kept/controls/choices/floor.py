"""What the law asks for at least where a choice is made: by what waits for its yes, and where the person is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from kept.laws.choices import Asked, least
from kept.policy import words
from kept.policy.conditions import Conditional
from kept.policy.entry import Promise
from kept.policy.fact_readers import store_of
from kept.policy.facts import Data
from kept.policy.policy import Policy
from kept.policy.source import Name

if TYPE_CHECKING:
    from kept.controls.choices.declare import Choice  # it asks this module whether a way of asking will do

BY_WIRE: Final = ("email", "push", "sms")  # electronic mail in the sense of Directive 2002/58/EC Art. 2(h)
NEEDED: Final = frozenset({"contract", "legal-duty"})
"""Grounds of what the service somebody asked for can't do without: no consent for its cookies (Art. 5(3))."""
THIRD: Final = ("controller", "joint")  # roles of a party that uses what it is given for itself


def floor(policy: Policy, choice: Choice, region: str | None, *, age: int | None = None) -> Asked | None:
    """The least the laws of a region want for a choice; None where none wants anything.

    `region` as the policy language writes it, None where it isn't known: then every law of the policy counts, and
    every ground the file names. `age` in years, where it is known: under 16 Californians opt in.
    """
    return least(policy.laws, region, about(policy, choice, region), age)


def about(policy: Policy, choice: Choice, region: str | None) -> frozenset[str]:
    """What the law looks at in what waits for a choice: `consent`, `cookies`, `location`, `marketing`, `sale` …"""
    found: set[str] = set()
    for promise in waiting(policy, choice):
        if promise.section == "purposes":
            found |= _use(promise, region)
        elif promise.section == "collection":
            found |= _collection(policy, promise)
        elif promise.section == "disclosure" and any(
            to in policy.parties and policy.parties[to].role in THIRD for to in getattr(promise, "to", ())
        ):
            found |= {"sale", "sale-by-minor"}
    if choice.by and any(_of_an_age(policy, who) for who in choice.of):
        found.add("parent")
    return frozenset(found)


def waiting(policy: Policy, choice: Choice) -> Iterator[Conditional]:
    """The collections, purposes and disclosures that wait for a yes; a disclosure also through the purpose it is `for`.

    A permission that covers everything is waited for by all that touches data of its people.
    """
    for section in ("collection", "purposes", "disclosure"):
        for promise in policy.section(section).values():
            if not isinstance(promise, Conditional):
                continue
            if choice.name in choices_before(policy, promise) or (
                choice.covers is not None and _touches(policy, promise, choice)
            ):
                yield promise


def choices_before(policy: Policy, promise: Conditional) -> tuple[Name, ...]:
    """The choices a promise names; those of the purpose a disclosure is for as well."""
    purpose = policy.section("purposes").get(getattr(promise, "purpose", ""))
    return (*promise.choice, *(purpose.choice if isinstance(purpose, Conditional) else ()))


def data_of(promise: Promise) -> tuple[Name, ...]:
    """The data a collection takes, a purpose uses or sets, or a disclosure gives."""
    keys = ("takes", "optional", "uses", "sets", "gives")
    return tuple(dict.fromkeys(name for key in keys for name in getattr(promise, key, ())))


def in_browsers(policy: Policy, data: Data) -> tuple[Name, ...]:
    """The tables of data that a browser keeps or sends: `site.cookie`, `site.storage`, `site.beacon`."""
    return tuple(
        table
        for table in data.tables
        if (store := policy.stores.get(store_of(table))) is not None and store.sort == "browser"
    )


def values_in(by_region: Mapping[str, Name], region: str | None) -> tuple[Name, ...]:
    """What a map by region may say for somebody there; all of it for a region that isn't known.

    A region may be wider than one of the map's: who is in `us` may be in `us-ca`.
    """
    if not by_region:
        return ()
    if region is None or region not in words.regions():
        return tuple(by_region.values())
    inside = (
        value for area, value in by_region.items() if area != "elsewhere" and words.covers(region, area)
    )
    return (words.applicable(by_region, region), *inside)


def _use(purpose: Promise, region: str | None) -> set[str]:
    grounds = set(values_in(getattr(purpose, "ground", {}), region))
    sends = set(getattr(purpose, "sends", ())) & set(BY_WIRE)
    found = set()
    if "consent" in grounds:
        found.add("consent")
    if "consent" in grounds and sends:
        found.add("marketing")
    if "legitimate-interest" in grounds and sends:
        found.add("objection")
    return found


def _collection(policy: Policy, collection: Promise) -> set[str]:
    found = set()
    for data in (policy.data[name] for name in data_of(collection) if name in policy.data):
        grounds = {
            str(ground)
            for use in policy.section("purposes").values()
            if data.name in data_of(use)
            for ground in getattr(use, "ground", {}).values()
        }
        if grounds and grounds <= NEEDED:
            continue
        if in_browsers(policy, data):
            found.add("cookies")
        if any(sort.type == "precise-location" for sorts in data.tables.values() for sort in sorts.values()):
            found.add("location")
    return found


def _touches(policy: Policy, promise: Promise, choice: Choice) -> bool:
    theirs = [kind for who in choice.of if (kind := policy.kind_of(who)) is not None]
    return any(
        policy.related(owner, kind)
        for name in data_of(promise)
        if name in policy.data
        for owner in policy.owners(policy.data[name])
        for kind in theirs
    )


def _of_an_age(policy: Policy, who: str) -> bool:
    kind = policy.people.get(policy.kind_of(who) or "")
    return kind is not None and kind.when is not None and any(part.of_age for part in kind.when.all)
