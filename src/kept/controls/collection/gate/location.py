"""Where somebody is: exactly only with their permission and the switch of their device on, else as coarse as it comes.

The coarse place is what the application knows without asking the device, such as the country its IP address gives. It
is never worked out from the exact one, which would be a use of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite

from kept.company import Company
from kept.controls.choices.deciding import Decision
from kept.controls.choices.enforce import Gate
from kept.controls.choices.grounds import about
from kept.controls.collection.declare import Collecting
from kept.controls.collection.persons.wards import permitted
from kept.controls.refused import Refused
from kept.controls.rights.people import Person
from kept.errors import StoreError
from kept.policy.policy import Policy

PRECISE = "precise-location"


@dataclass(frozen=True)
class Precise:
    """Coordinates in degrees (WGS 84) that may be kept; no repr shows them."""

    latitude: float = field(repr=False)
    longitude: float = field(repr=False)
    step: str
    clause: tuple[str, ...] = ()


@dataclass(frozen=True)
class Coarse:
    """The coarse place the application gave, and why it is no more than that."""

    place: str
    why: str
    clause: tuple[str, ...] = ()


def location(
    company: Company,
    who: Person,
    latitude: float,
    longitude: float,
    *,
    coarse: str | None = None,
    signals: frozenset[str] = frozenset(),
    region: str | None = None,
) -> Precise | Coarse | None:
    """What of a position may be kept; None where nothing may, or no coarse place was given.

    `signals` has `device` where the switch on the device is off. What can't be found out gives the coarse place.
    Refused("no-position") for what is no position.
    """
    if not (isfinite(latitude) and isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180):
        raise Refused("no-position", "this is no position")
    step, against = _may(company, who, signals, region)
    if against is None and step is not None:
        return Precise(latitude, longitude, str(step.name), tuple(map(str, step.clause)))
    why = against.reason if against is not None else "no step takes precise locations of theirs"
    clause = against.clause if against is not None else ()
    return Coarse(coarse, why, clause) if coarse is not None else None


def taking(policy: Policy, kind: str) -> list[Collecting]:
    """The steps that take a precise location of people of a kind."""
    return [
        step
        for step in policy.section("collection").values()
        if isinstance(step, Collecting)
        and any(_is_precise(policy, str(name), kind) for name in (*step.takes, *step.optional))
    ]


def _is_precise(policy: Policy, name: str, kind: str) -> bool:
    data = policy.data[name]
    sorts = {sort.type for columns in data.tables.values() for sort in columns.values()}
    return PRECISE in sorts and any(policy.related(kind, owner) for owner in policy.owners(data))


def _may(
    company: Company, who: Person, signals: frozenset[str], region: str | None
) -> tuple[Collecting | None, Decision | None]:
    """The step under which a precise location may be kept, or what is against it."""
    against: Decision | None = None
    try:
        closed = permitted(company, who, about(company, [who])[who])
    except StoreError as wrong:
        closed = Decision(False, f"nobody can say how their choices stand: {wrong.message}", unsure=True)
    if closed is not None:
        return None, closed
    for step in taking(company.policy, who.kind):
        clause = tuple(map(str, step.clause))
        against = None
        if "device" in signals:
            against = Decision(False, "the switch on their device is off", clause)
        elif not step.choice:  # who was never asked has not permitted it
            against = Decision(False, f"`{step.name}` waits for no permission, so there is none", clause)
        for name in step.choice if against is None else ():
            found = Gate.of(company).choice(who, str(name), signals=signals, region=region, entry=step)
            if not found.allowed:
                against = found
                break
        if against is None:
            return step, None
    return None, against
