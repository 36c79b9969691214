"""The conditions that a disclosure has of its own, beside those of the purpose it is for."""

from __future__ import annotations

from collections.abc import Mapping

from kept.company import Company
from kept.controls import conditions
from kept.controls.choices.deciding import Basis, Decision
from kept.controls.choices.enforce import Gate as ChoicesGate
from kept.controls.conditions import About
from kept.controls.disclosure.declare import Disclosure
from kept.controls.purposes.cases import assigned
from kept.controls.purposes.enforce import By
from kept.controls.purposes.gate.willing import Wish, refused
from kept.controls.refused import Refused
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.policy.words import covers


def why_not(
    company: Company,
    disclosure: Disclosure,
    person: Person,
    known: Basis,
    *,
    by: str | None,
    case: str | None,
    signals: frozenset[str],
    evidence: Mapping[str, str],
) -> Decision | None:
    """Why the disclosure itself doesn't let this person's data be given now; None where it does."""
    try:
        found = (
            _region(disclosure, known)
            or _choices(company, disclosure, known, signals)
            or _by(company, disclosure, by)
            or _until(company, disclosure, known)
        )
        if found is None and disclosure.case:
            why = assigned.why_not(company, tuple(map(str, disclosure.case)), case, person, by)
            found = _no(disclosure, "case", why) if why is not None else None
        if found is None and (disclosure.during is not None or disclosure.unless or disclosure.needs):
            about = About(by or "", person, None, known.facts.region, signals, evidence)
            conditions.refuse_links(company, disclosure, about)
            for need in map(str, disclosure.needs):
                conditions.refuse_need(company, disclosure, need, about, {})
        return found
    except Refused as refused:
        return _no(disclosure, refused.reason, refused.message)
    except KeptError as wrong:
        return _no(disclosure, "unsure", f"nobody can tell: {wrong.message}", unsure=True)


def has_own(disclosure: Disclosure) -> bool:
    """Whether a disclosure has conditions of its own at all."""
    own = (
        disclosure.choice,
        disclosure.case,
        disclosure.by,
        disclosure.during,
        disclosure.unless,
        disclosure.regions,
        disclosure.needs,
        disclosure.until,
    )
    return any(own)


def _region(disclosure: Disclosure, known: Basis) -> Decision | None:
    region = known.facts.region
    if not disclosure.regions or (
        region is not None and any(covers(str(area), region) for area in disclosure.regions)
    ):
        return None
    where = ", ".join(map(str, disclosure.regions))
    why = f"`{disclosure.name}` is for people in {where}, and they aren't known to be there"
    return _no(disclosure, "region", why)


def _choices(
    company: Company, disclosure: Disclosure, known: Basis, signals: frozenset[str]
) -> Decision | None:
    wish = Wish(str(disclosure.purpose), disclosure)
    return refused(ChoicesGate.of(company).rulings, known, wish, disclosure, signals)


def _by(company: Company, disclosure: Disclosure, by: str | None) -> Decision | None:
    if not disclosure.by:
        return None
    role = By.of(by).role if by is not None else ""
    wanted = {str(one) for one in disclosure.by}
    if role in wanted or (role in company.policy.people and wanted & set(company.policy.chain(role))):
        return None
    return _no(disclosure, "by", f"`{disclosure.name}` is for {', '.join(sorted(wanted))}")


def _until(company: Company, disclosure: Disclosure, known: Basis) -> Decision | None:
    """Whether its time is over; one that runs from a link or a row isn't told for a whole person."""
    clock = disclosure.until
    if clock is None:
        return None
    of, moment, policy, facts = clock.event.of, clock.event.moment, company.policy, known.facts
    root = policy.root(of) if of is not None else None
    column = policy.moment(str(of), moment) if root is not None and moment in ("began", "ended") else None
    if column is None or column != getattr(
        root, moment
    ):  # a column of its own kind's isn't what is known of them
        why = f"nobody can tell for a whole person when `{clock}` is over"
        return _no(disclosure, "until", why, unsure=True)
    at = facts.began_at if moment == "began" else facts.left_at
    if at is None and (
        moment == "began" or facts.ended
    ):  # at a time that nobody can read: it may be long ago
        return _no(disclosure, "until", f"nobody can tell when `{clock}` is over", unsure=True)
    now, zone = company.clock(), policy.timezone
    over = at is not None and (at <= now if clock.period is None else at <= clock.period.cutoff(now, zone))
    return _no(disclosure, "until", f"it was only until {clock}") if over else None


def _no(disclosure: Disclosure, rule: str, why: str, *, unsure: bool = False) -> Decision:
    return Decision(False, why, tuple(map(str, disclosure.clause)), unsure=unsure, rule=rule)
