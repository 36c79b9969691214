"""By which promise a party gets figures or files about groups; one's own people need none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from kept.company import Company
from kept.controls.choices.deciding import NONE, Decision
from kept.controls.choices.enforce import Gate as ChoicesGate
from kept.controls.disclosure import conditions, declared
from kept.controls.disclosure.declare import Disclosure
from kept.controls.disclosure.papers import lacking
from kept.controls.disclosure.recipients import party_of
from kept.controls.disclosure.register import Entry, enter
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.gate.willing import Wish, decide
from kept.controls.refused import Refused
from kept.controls.rights.people import Person
from kept.errors import TransientError
from kept.policy.facts import Party
from kept.policy.policy import Policy

LONGEST: Final = 200  # characters of a recipient's name


def promised(company: Company, recipient: str, purpose: str, data: str) -> Disclosure | None:
    """The promise by which a party of the policy gets this; None for somebody who is no party, and so of the house.

    Refused: what isn't declared, a paper that is missing or over, evidence, for which nobody is asked here, and a name
    that only looks like a party's.
    """
    if not recipient.strip() or len(recipient) > LONGEST:
        raise Refused("question", "this is for somebody: name the recipient")
    policy = company.policy
    party = _party(policy, recipient)
    if party is None:
        return None
    promise = declared.declared(policy, party, purpose, None)
    declared.data_of(promise, (data,))
    for lack in lacking(policy, party, company.clock().astimezone(policy.timezone).date()):
        if lack.forbids:
            raise Refused(lack.paper, f"{lack.says}: nothing is given to it", clause=promise.clause)
    links = [one for one in promise.unless if one in policy.links]
    if promise.needs or promise.case or promise.by or promise.during or links:
        raise Refused(
            "needs", f"`{promise.name}` asks for more than can be shown of a group", clause=promise.clause
        )
    return promise


def _party(policy: Policy, recipient: str) -> Party | None:
    if recipient in {str(us.name) for us in policy.us()}:
        return None
    try:
        return party_of(policy, recipient)
    except Refused as refused:
        if refused.reason == "lookalike":
            raise
        return None


def narrowed(promise: Disclosure | None) -> str | None:
    """The name of a promise that lets fewer people be counted than its purpose does; None where it doesn't."""
    return str(promise.name) if promise is not None and conditions.has_own(promise) else None


def given(company: Company, promise: Disclosure | None, people: Iterable[Person]) -> list[Person]:
    """Those of these people whose data the promise itself lets be given, beside its purpose.

    TransientError where nobody can tell.
    """
    whos = list(people)
    if promise is None or narrowed(promise) is None:
        return whos
    bases = ChoicesGate.of(company).bases(whos)
    if isinstance(bases, Decision):
        raise TransientError(bases.reason)
    rulings, wish, found = ChoicesGate.of(company).rulings, Wish(str(promise.purpose), promise), []
    for who in whos:
        if not decide(rulings, bases[who], wish).allowed:
            continue
        why = conditions.why_not(
            company, promise, who, bases[who], by=None, case=None, signals=NONE, evidence={}
        )
        if why is None:
            found.append(who)
        elif why.unsure:
            raise TransientError(f"nobody can tell who may be counted: {why.reason}", help="ask again later")
    return found


def register(
    company: Company,
    promise: Disclosure,
    purpose: Purpose,
    recipient: str,
    fields: Sequence[str],
    way: str,
    number: int,
    floor: int,
    by: str | None,
) -> None:
    """Write into the register of disclosures what a party gets about groups of at least `floor` people."""
    safeguard = party_of(company.policy, recipient).safeguard
    left = Entry(
        str(promise.name),
        recipient,
        str(purpose.name),
        declared.ground_of(purpose, None),
        tuple(fields),
        way,
        f"{way}:{number}",
        people=floor,
        safeguard=str(safeguard) if safeguard else None,
        by=by,
    )
    enter(company, [left])
