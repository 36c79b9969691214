"""Measures what an entry of `rights` promises besides its clock and its reach: `offers`, `by`, `case`, `always`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import func, select

from kept.company import Company
from kept.controls.rights import cases, instruct, letters, life, register
from kept.controls.rights.declare import Right
from kept.errors import KeptError
from kept.evidence.proof import Proof
from kept.policy.policy import Policy
from kept.state.tables import events, instructions, requests

NO_GROUND: Final = "no-ground-for-restriction"


def own_kinds(company: Company) -> list[str]:
    """The kinds of people whose requests are the company's to answer."""
    return [kind for kind in company.root_kinds() if life.client_of(company.policy, kind) is None]


def offers(company: Company, right: Right) -> list[Proof]:
    """Everybody for whom it is done, or begun, was offered a copy before."""
    noted = select(events.c.request).where(events.c.what == letters.COPY_OFFERED)
    begun = (requests.c.verb == str(right.name)) & requests.c.act.is_not(None)
    begun &= requests.c.channel.not_in(register.AGAIN)  # they were offered one when it was first asked for
    by_channel = select(requests.c.channel, func.count()).where(begun).group_by(requests.c.channel)
    with company.state.read() as connection:
        total: dict[str, int] = dict(connection.execute(by_channel).all())
        without: dict[str, int] = dict(
            connection.execute(by_channel.where(requests.c.id.not_in(noted))).all()
        )
    at_desk = without.pop("desk", 0)
    missed = sum(without.values())
    measured = {"carried_out": sum(total.values()), "without_offer": missed, "entered_by_staff": at_desk}
    if missed:
        says = f"{missed} of {sum(total.values())} people were not offered a copy before it was begun."
        return [Proof("measure", "broken", says, measured)]
    if at_desk:
        says = (
            f"{at_desk} of {sum(total.values())} requests were entered by a member of staff, and no offer of a copy "
            "is on record."
        )
        return [Proof("measure", "unproven", says, measured)]
    if not total and not _can_offer(company):
        says = "Nobody could be offered a copy: set KEPT_PUBLIC_URL and KEPT_SMTP_URL, or KEPT_API_TOKEN."
        return [Proof("measure", "unproven", says, measured)]
    says = f"Each of the {sum(total.values())} people for whom it was begun was offered a copy before."
    return [Proof("measure", "kept", says, measured)]


def _can_offer(company: Company) -> bool:
    return bool((company.public_url and company.can_write) or company.settings.get("KEPT_API_TOKEN"))


def by(company: Company, right: Right) -> list[Proof]:
    """Who may ask: each kind of people gets the answer that the policy promises, or the law demands."""
    if right.name in life.ANSWERED_BY_STAFF:
        return [_answered_by(company, right)]
    policy, verb = company.policy, str(right.name)
    proofs = []
    named = [str(who) for who in right.by if "." not in who and not policy.is_staff(str(who))]
    ends = [str(who) for who in right.by if "." in who]
    if named:
        wrong, allowed, refused, by_law = [], 0, 0, 0
        for kind in own_kinds(company):
            promised = any(policy.related(kind, one) for one in named)
            answered = _is_received(policy, verb, kind)
            allowed += promised and answered
            refused += not promised and not answered
            by_law += not promised and answered
            wrong += [kind] if promised and not answered else []
        measured = {"may_ask": allowed, "refused": refused, "by_law": by_law, "turned_away": len(wrong)}
        if wrong:
            says = f"People to whom it is promised would be turned away: {', '.join(wrong)}."
            proofs.append(Proof("probe", "broken", says, measured))
        else:
            more = f"; of {by_law} other kinds too, as a law gives it to everybody" if by_law else ""
            more += f"; of {refused} other kinds it would be refused" if refused else ""
            says = f"A request of each of {allowed} kinds of people would be received{more}."
            proofs.append(Proof("probe", "kept", says, measured))
    if ends:
        says = (
            f"That {', '.join(f'`{end}`' for end in ends)} asks about the other end of the link can't be received: "
            "this version of Kept acts on a person whole, never on what two of them share."
        )
        proofs.append(Proof("probe", "unproven", says, {"ends": len(ends)}))
    if not proofs:
        says = f"Who of the staff asks for somebody no program sees; they enter it (`kept request {verb}`)."
        proofs.append(Proof("measure", "unproven", says))
    return proofs


def _is_received(policy: Policy, verb: str, kind: str) -> bool:
    try:
        life.first(policy, verb, kind, channel="account", confirmed=False)
    except KeptError:
        return False
    return True


def _answered_by(company: Company, right: Right) -> Proof:
    """Who answered: a named member of staff each time, and the one the policy page names for that office."""
    answers = (
        select(events.c.who)
        .join(requests, requests.c.id == events.c.request)
        .where(requests.c.verb == str(right.name), events.c.what == "answered")
    )
    with company.state.read() as connection:
        who = [(name or "").strip().casefold() for name in connection.scalars(answers)]
    names = {
        str(contact["name"]).strip().casefold()
        for party in company.policy.us()
        for office, contact in party.contacts.items()
        if "name" in contact and any(str(office) == str(one) for one in right.by)
    }
    nameless, others = sum(not one for one in who), sum(bool(one) and one not in names for one in who)
    measured = {"answered": len(who), "by_nobody": nameless, "by_others": others}
    role = ", ".join(f"`{one}`" for one in right.by)
    if nameless:
        return Proof("measure", "broken", f"Nobody's name stands under {nameless} of the answers.", measured)
    if not who:
        return Proof("measure", "kept", "Nobody has had an answer yet, so nobody else gave one.", measured)
    if others:
        says = f"{others} of {len(who)} answers were given by somebody whom the policy's contacts don't name as {role}."
        return Proof("measure", "unproven", says, measured)
    return Proof("measure", "kept", f"All {len(who)} answers were given by {role}, by name.", measured)


def case(company: Company, right: Right) -> list[Proof]:
    """While such a case is open the right is given: it would be received, nobody was refused, nothing was lifted."""
    try:
        found = cases.open_cases(company, right.case)
    except KeptError as wrong:
        return [Proof("measure", "unproven", f"It can't be seen: {wrong.message}.")]
    pseudonyms = company.pseudonyms.find([str(one.person) for one in found])
    since: dict[str, list[str | None]] = {}
    for one in found:
        pseudonym = pseudonyms.get(str(one.person))
        if pseudonym is not None:
            since.setdefault(pseudonym, []).append(one.began.isoformat() if one.began is not None else None)
    refused = lifted = 0
    with company.state.read() as connection:
        for part in register.parts(list(since)):
            asked = select(requests.c.pseudonym, requests.c.received, requests.c.outcome).where(
                requests.c.verb == str(right.name),
                requests.c.state == "refused",
                requests.c.pseudonym.in_(part),
            )
            for pseudonym, at, outcome in connection.execute(asked):
                refused += NO_GROUND in (outcome or "") and _during(at, since[pseudonym])
            ended = select(instructions.c.pseudonym, instructions.c.ended).where(
                instructions.c.verb == str(right.name),
                instructions.c.ended.is_not(None),
                instructions.c.pseudonym.in_(part),
            )
            for pseudonym, at in connection.execute(ended):
                lifted += _during(at, since[pseudonym])
    people = {one.person for one in found}
    barred = [
        kind
        for kind in {person.kind for person in people}
        if not _is_received(company.policy, str(right.name), kind)
    ]
    measured = {"open": len(found), "people": len(people), "refused": refused, "lifted": lifted}
    if refused or barred:
        says = f"{refused} people were refused it for want of a ground while such a case of theirs is open."
        return [Proof("measure", "broken", says, measured)]
    if lifted:
        says = (
            f"For {lifted} people whose case is open it was lifted; whether they wanted that no program sees."
        )
        return [Proof("measure", "unproven", says, measured)]
    says = (
        f"{len(found)} cases are open; it would be received from any of these people, and was neither refused "
        "to them for want of a ground nor lifted."
    )
    return [Proof("measure", "kept", says, measured)]


def _during(at: str, began: list[str | None]) -> bool:
    """Whether something happened after a case was opened that is open still; where it doesn't say when, it did."""
    return any(one is None or one <= at for one in began)


def always(company: Company, right: Right) -> list[Proof]:
    """An objection to these purposes is received, nobody weighs it, and it forbids the use (GDPR Art. 21(2)-(3))."""
    policy, verb = company.policy, str(right.name)
    kinds, names = own_kinds(company), [str(name) for name in right.always]
    wrong = [f"{name} ({kind})" for kind in kinds for name in names if not _stops(policy, verb, kind, name)]
    measured = {"kinds": len(kinds), "purposes": len(names), "wrong": len(wrong)}
    measured |= {name: number for name, number in instruct.standing(company, verb).items() if name in names}
    told = ", ".join(f"`{name}`" for name in names)
    if wrong:
        says = (
            f"An objection would not be received, or be weighed, or not forbid the use: {', '.join(wrong)}."
        )
        return [Proof("probe", "broken", says, measured)]
    says = (
        f"An objection to {told} by any of {len(kinds)} kinds of people would be carried out, and can't be refused on "
        "balance."
    )
    return [Proof("probe", "kept", says, measured)]


def _stops(policy: Policy, verb: str, kind: str, name: str) -> bool:
    """Whether somebody's objection to one purpose, or to all, goes all the way."""
    try:
        alone, all_ = instruct.scopes(policy, verb, kind, (name,)), instruct.scopes(policy, verb, kind, ())
        begins = life.first(policy, verb, kind, channel="account", confirmed=True) == "work"
    except KeptError:
        return False
    unweighed = life.stopped(policy, verb, (name,)) == (name,) and name in life.stopped(policy, verb, ())
    return (
        alone == (name,)
        and name in all_
        and begins
        and unweighed
        and instruct.refusal(policy, name, [(verb, name)]) is not None
    )


SEEN: Final[Mapping[str, Callable[[Company, Right], list[Proof]]]] = {
    "offers": offers,
    "by": by,
    "case": case,
    "always": always,
}
