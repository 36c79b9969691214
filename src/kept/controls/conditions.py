"""The one block of conditions, met or not: choice, evidence, case, link, region, who may."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from kept.company import Company
from kept.controls.choices.deciding import Decision
from kept.controls.choices.enforce import Gate
from kept.controls.choices.guardians import ties
from kept.controls.choices.whom import Facts, region_of
from kept.controls.collection.persons import verified
from kept.controls.refused import Refused
from kept.controls.rights.cases import has_open
from kept.controls.rights.people import Person, known_of
from kept.policy.conditions import Conditional
from kept.policy.facts import Link
from kept.policy.policy import STAFF
from kept.policy.words import covers

VERIFIED: Final[Mapping[str, str]] = {
    "verified-email": verified.EMAIL,
    "verified-phone": verified.PHONE,
    "verified-identity": verified.IDENTITY,
}


@dataclass(frozen=True)
class About:
    """What surrounds a form: who gives it, from where, with which signals, evidence, and in which role."""

    source: str
    who: Person | None
    told: Facts | None
    region: str | None
    signals: frozenset[str] = frozenset()
    evidence: Mapping[str, str] = field(default_factory=dict)
    role: str | None = None


def refuse_unmet(
    company: Company, step: Conditional, about: About, given: Mapping[str, Collection[str]]
) -> None:
    """Refused where a condition of the step isn't met, or nobody can tell. `given` are the e-mail addresses and numbers
    that the form gives, by what verifies them; StoreError where a store can't be asked."""
    _regions(step, about)
    _by(company, step, about)
    _choices(company, step, about)
    _case(company, step, about)
    refuse_links(company, step, about)
    for need in map(str, step.needs):
        refuse_need(company, step, need, about, given)


def _no(step: Conditional, reason: str, message: str, help: str | None = None) -> Refused:
    return Refused(reason, message, clause=step.clause, help=help)


def _regions(step: Conditional, about: About) -> None:
    if not step.regions:
        return
    region = region_of(about.region) or (about.told.region if about.told is not None else None)
    if region is None or not any(covers(str(area), region) for area in step.regions):
        where = ", ".join(map(str, step.regions))
        raise _no(
            step, "region", f"`{step.name}` is for people in {where}, and they aren't known to be there"
        )


def _by(company: Company, step: Conditional, about: About) -> None:
    if not step.by:
        return
    policy = company.policy
    allowed = {str(who) for who in step.by}
    role = about.role
    known = role is not None and (
        role in allowed or (role in policy.people and bool(set(policy.chain(role)) & (allowed - {STAFF})))
    )
    if not known:
        raise _no(step, "not-theirs-to-do", f"`{step.name}` is for {', '.join(sorted(allowed))}")


def _choices(company: Company, step: Conditional, about: About) -> None:
    """Every choice that the step waits for stands; none that forbids it does."""
    choices = company.policy.section("choices")
    for name in map(str, (*step.choice, *(one for one in step.unless if one in choices))):
        if about.who is None:
            raise _no(
                step,
                "choice",
                f"`{step.name}` waits for `{name}`, and nobody says who is asked",
                "name the person, or the visitor by the id their browser has",
            )
        gate, against = Gate.of(company), name in map(str, step.unless)
        if against and _forbids(gate, about.who, name, about.region):
            raise _no(step, "choice", f"`{name}` stands, and forbids it")
        if not against:
            found = gate.choice(about.who, name, signals=about.signals, region=about.region, entry=step)
            if not found.allowed:
                raise Refused("choice", found.reason, clause=(*step.clause, *found.clause))


def _forbids(gate: Gate, who: Person, name: str, region: str | None) -> bool:
    """Whether a choice stands that forbids something (`unless`), or nobody can tell that it doesn't.

    Their newest yes does, though it lapsed or was never confirmed, and whatever came with the request: a signal is a no
    to what they allow, never to what they forbid.
    """
    known = gate.basis(who)
    if isinstance(known, Decision):
        return True
    if gate.rulings.objection(known, gate.rulings.choices[name], "") is not None:
        return True
    return gate.rulings.choice(known, name, region=region).allowed


def _case(company: Company, step: Conditional, about: About) -> None:
    if step.case and (about.who is None or not has_open(company, [str(c) for c in step.case], about.who)):
        cases = " or ".join(f"`{name}`" for name in step.case)
        raise _no(step, "case", f"`{step.name}` is only for somebody with an open {cases}")


def refuse_links(company: Company, step: Conditional, about: About) -> None:
    """Refused outside the link that it has to happen `during`, and where one stands that forbids it (`unless`)."""
    policy = company.policy
    if step.during is not None and not _is_open(company, policy.links[step.during], about):
        raise _no(
            step, "during", f"`{step.name}` is only during a `{step.during}`, and none of theirs is open"
        )
    for name in step.unless:
        if name in policy.links and _is_open(company, policy.links[name], about):
            raise _no(step, "unless", f"a `{name}` of theirs stands, and forbids it")


def _is_open(company: Company, link: Link, about: About) -> bool:
    """Whether somebody stands in an open row of a link: at the end the source names, where it names one of it."""
    who = about.who
    if who is None:
        return False
    name, _, end = about.source.partition(".")
    at = [end] if name == link.name and end in map(str, link.between) else [str(one) for one in link.between]
    return any(
        bool(ties(company, link, one, [who]))
        for one, place in ((str(one), place) for one, place in link.between.items())
        if one in at and company.policy.related(who.kind, str(place.kind))
    )


def not_tied(company: Company, who: str, key: str | None, person: Person | None) -> str | None:
    """Why whoever stands at the end of a link (`administers.admin`, by their key) isn't tied to a person by it now."""
    name, _, end = who.partition(".")
    link = company.policy.links[name]
    at = next(place for one, place in link.between.items() if str(one) == end)
    root = company.policy.root(str(at.kind))
    if root is None or key is None or person is None:
        return f"nobody says which `{who}` asks, and about whom"
    me = Person(str(root.name), (key,))
    if any(person in tie.others.values() for tie in ties(company, link, end, [me])):
        return None
    return f"no `{name}` ties them to this person now"


def refuse_need(
    company: Company, step: Conditional, need: str, about: About, given: Mapping[str, Collection[str]]
) -> None:
    """Refused without the evidence that it needs; `given` as for `refuse_unmet`."""
    what = VERIFIED.get(need)
    said = about.evidence.get(need, "").strip()
    if what is None:  # what nobody can look up: the words of whoever has it before them
        if not said:
            raise _no(step, need, f"`{step.name}` needs {_words(need)}", "say it with the form, as evidence")
        return
    holders: list[verified.Holder] = [about.who] if about.who is not None else []
    # A claim about an identity says nothing of whose it is; one about an address or a number says which.
    holders += [said] if said and (about.who is None or what != verified.IDENTITY) else []
    values: Collection[str | None] = [None]
    if what != verified.IDENTITY:
        values = list(given.get(what, ())) or _known(company, about, what)
    if not holders or not values:
        raise _no(
            step, need, f"`{step.name}` needs {_words(need)}", "verify it first, and hand over the claim"
        )
    for value in values:
        if not any(verified.stands(company, holder, what, value) for holder in holders):
            raise _no(step, need, f"`{step.name}` needs {_words(need)}", "verify it first")


def _known(company: Company, about: About, what: str) -> list[str | None]:
    """The address on record, where the form gives none."""
    who = about.who
    if who is None or who.kind not in company.policy.people or company.map.walk(who.kind) is None:
        return []
    known = known_of(company, who.kind, [who.key]).get(who.key, {})
    return [known[what]] if what in known else []


def _words(need: str) -> str:
    return {
        "verified-email": "a verified e-mail address",
        "verified-phone": "a verified telephone number",
        "verified-identity": "a verified identity",
        "written-consent": "consent in writing",
        "document": "a document",
        "reason": "a reason",
        "asked": "to be asked for",
        "agreement": "an agreement",
    }[need]
