"""Deciding a proposal: by a person with a name, in a role the policy names, with the reason it asks for; once."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import update

from kept.company import Company
from kept.controls.choices.deciding import Decision as Said
from kept.controls.purposes.cases import assigned
from kept.controls.purposes.decisions import queue
from kept.controls.purposes.decisions.change import Change, purpose_of
from kept.controls.purposes.decisions.change import refuse as refuse_change
from kept.controls.purposes.decisions.names import is_name, is_same_role, may_be_one
from kept.controls.purposes.decisions.queue import ACCEPTED, ALTERED, DONE, OPEN, REFUSED, Proposal, Ruling
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.ends import ending, endings
from kept.controls.purposes.enforce import Gate
from kept.controls.purposes.gate import by as asking
from kept.controls.purposes.gate.by import By
from kept.controls.rights.people import Person
from kept.errors import KeptError, TransientError
from kept.policy.policy import STAFF, Policy
from kept.state.uses import proposals

Answer = Literal["yes", "no"]

ANSWERED = {ACCEPTED: "yes", DONE: "yes", REFUSED: "no"}


def decide(company: Company, id: str, answer: Answer, role: str, by: str, why: str | None = None) -> Proposal:
    """Note what somebody decided, durably, and answer the proposal as it stands then; `carrying` does the rest.

    `role` is `ROLE` or `ROLE:KEY`, one of the purpose's `by`, or the staff of its case; `by` the name of the person who
    decides. The same said again changes nothing. KeptError where they may not, and where it is decided already.
    """
    found = queue.one(company, id)
    ruling = Ruling(answer, role.strip(), " ".join(by.split()), (why or "").strip() or None)
    if found.altered:
        raise KeptError(ALTERED, where="ID")
    if found.state != OPEN or found.change is None:
        if _is_same(company, found, ruling):
            return found
        raise KeptError(f"it isn't open any more: {found.state}{_whose(company, found)}", where="ID")
    if company.ledger.keyed([f"decide {id}"]):  # somebody has put an old row back
        raise KeptError(ALTERED, where="ID")
    purpose = purpose_of(company, found.purpose)
    refuse_change(company, purpose, found.change)
    refuse(company, purpose, found, ruling)
    _gate(company, purpose, found.change, ruling)
    if answer == "yes":
        _refuse_hindered(company, purpose, found.change, ruling)
    _settle(company, found, ruling)
    decided = queue.one(company, id)
    record(company, decided)
    return decided


def _settle(company: Company, found: Proposal, ruling: Ruling) -> None:
    """Note the ruling; KeptError where somebody else was first, or another decision about the same is on its way."""
    assert found.change is not None
    values = {
        "state": ACCEPTED if ruling.answer == "yes" else REFUSED,
        "decided": company.clock().isoformat(),
        "decided_by": _known_as(company, ruling),
        "role": ruling.role.partition(":")[0],
        "ruling": queue.sealed_ruling(company, found.id, ruling),
    }
    mine = (proposals.c.id == found.id) & (proposals.c.state == OPEN)
    with company.state.claim(f"decide {found.pseudonym}", wait=True), company.state.write() as connection:
        other = queue.waiting(company, connection, found) if ruling.answer == "yes" else None
        if other is not None:
            raise TransientError(
                "another decision about the same isn't carried out yet",
                help=f"`kept work` carries out {other.id}; then decide this one",
                where="ID",
            )
        if connection.execute(update(proposals).where(mine).values(**values)).rowcount != 1:
            raise KeptError("somebody else has decided it meanwhile, or whom it is about is gone", where="ID")


def record(company: Company, found: Proposal) -> None:
    """Put what was decided, and that it was proposed, on the ledger; once, however often it is called."""
    queue.record(company, found)
    if found.ruling is None:
        return
    why = found.ruling.why
    entry: dict[str, Any] = {
        "act": "decide",
        "proposal": found.id,
        "purpose": found.purpose,
        "person": found.pseudonym,
        "answer": found.ruling.answer,
        "as": str(found.role),
        "by": str(found.decided_by),
        "policy": company.policy.source.digest,
    }
    if why is not None:  # which words they were, whoever has them can show with Kept's key
        entry["reason"] = company.keys.mac("reason of a decision", f"{found.id} {why}".encode()).hex()
    company.ledger.append_many([(f"decide {found.id}", entry)])


def refuse(company: Company, purpose: Purpose, proposal: Proposal, ruling: Ruling) -> None:
    """KeptError where whoever decides is no person, has not the role, proposed it themselves, or gives no reason."""
    policy, role = company.policy, ruling.role.partition(":")[0]
    if not is_name(policy, ruling.by):
        raise KeptError(
            "a decision needs the name of the person who takes it",
            help="a program may propose, and decides nothing (GDPR Art. 22)",
            where="--by",
        )
    allowed = roles(policy, purpose)
    if role not in allowed:
        raise KeptError(f"`{purpose.name}` is decided by {', '.join(sorted(allowed))}", where="--as")
    if _is_own(policy, proposal, ruling):
        raise KeptError(
            "nobody decides on what they proposed themselves",
            help="let somebody else decide; a name that tells less than the other's could be theirs",
            where="--by",
        )
    if "reason" in purpose.needs and not any(map(str.isalnum, ruling.why or "")):
        raise KeptError(f"`{purpose.name}` needs a reason", help="give it with --why; the person is told it")


def roles(policy: Policy, purpose: Purpose) -> frozenset[str]:
    """Who may decide: the purpose's `by` and whoever is one of them; else the staff of its case; else any staff."""
    named = {str(who) for who in purpose.by}
    if not named:
        named = {
            str(at.kind)
            for name in purpose.case
            for at in policy.links[name].between.values()
            if policy.is_staff(str(at.kind))
        } or {STAFF}
    kinds = {str(kind) for kind in policy.people if named & set(policy.chain(str(kind)))}
    if STAFF in named:
        kinds |= {str(kind) for kind in policy.people if policy.is_staff(str(kind))}
    return frozenset(named | kinds)


def person_of(policy: Policy, who: str) -> Person | None:
    """Whom `KIND:KEY` or `LINK.END:KEY` names; None for the staff, who stand in no table of people."""
    word, _, key = who.partition(":")
    kind = policy.kind_of(word)
    root = policy.root(kind) if kind is not None and not policy.is_staff(kind) else None
    return Person(str(root.name), (key,)) if root is not None and key else None


def _is_own(policy: Policy, proposal: Proposal, ruling: Ruling) -> bool:
    """Whether somebody decides on what they proposed; whom the policy lets decide about themselves, may."""
    by, who = proposal.proposed_by or "", person_of(policy, ruling.role)
    same = who is not None and person_of(policy, by) == who
    if same and "." not in ruling.role.partition(":")[0]:
        return proposal.change is None or who != proposal.change.person
    return same or is_same_role(by, ruling.role) or may_be_one(by, ruling.by)


def _is_same(company: Company, found: Proposal, ruling: Ruling) -> bool:
    """Whether the same person has decided the same before: an answer that got lost is asked for again."""
    if found.role != ruling.role.partition(":")[0] or ANSWERED.get(found.state) != ruling.answer:
        return False
    if found.ruling is not None:
        return (found.ruling.role, found.ruling.by) == (ruling.role, ruling.by)
    return found.decided_by == _known_as(company, ruling)


def _whose(company: Company, found: Proposal) -> str:
    """The name of whoever decided, where it was one of the staff."""
    named = found.decided_by and company.policy.is_staff(found.role or "")
    return f" by {found.decided_by}" if named else ""


def _known_as(company: Company, ruling: Ruling) -> str:
    """The name of a member of staff; the pseudonym of anybody else, whose name is nobody's business on a ledger."""
    who = person_of(company.policy, ruling.role)
    return ruling.by if who is None else company.pseudonyms.of([str(who)])[str(who)]


def _gate(company: Company, purpose: Purpose, change: Change, ruling: Ruling) -> None:
    """What the gate says: the person's restrictions and choices, the case and whose it is, the evidence.

    A no changes nothing: it is refused only to whom it isn't theirs to say, and where nobody can tell.
    """
    evidence = {**change.evidence, **({"reason": ruling.why} if ruling.why else {})}
    assigned.look_again(company, change.case, change.person)
    found = Gate.of(company).decide(
        str(purpose.name), person=change.person, by=ruling.role, case=change.case, evidence=evidence
    )
    if found.allowed:
        return
    why: str | None = found.reason
    if ruling.answer == "no" and not found.unsure and found.rule not in ("by", "purpose"):
        why = _not_theirs(company, purpose, change, ruling)
    if why is not None:
        kind = TransientError if found.unsure else KeptError
        clause = f" ({', '.join(found.clause)})" if found.clause else ""
        raise kind(f"it can't be decided: {why}{clause}", where="ID")


def _not_theirs(company: Company, purpose: Purpose, change: Change, ruling: Ruling) -> str | None:
    """Why it isn't theirs to say: another's case, or somebody they aren't tied to."""
    cases = tuple(map(str, purpose.case))
    why = assigned.why_not(company, cases, change.case, change.person, ruling.role) if cases else None
    if why is not None and not why.startswith(assigned.OVER):
        return why
    who = By.of(ruling.role)
    if company.policy.is_staff(who.role):
        return None
    known = Gate.of(company).choices.basis(change.person)
    return (
        known.reason if isinstance(known, Said) else asking.why_not(company, who, change.person, known.facts)
    )


def _refuse_hindered(company: Company, purpose: Purpose, change: Change, ruling: Ruling) -> None:
    """KeptError where it can't be done: an end is set already or isn't theirs to set, a value is taken by now."""
    queue.try_out(company, purpose, change)
    if not endings.sets_end(company.policy, purpose):
        return
    hindered = ending.hindrances(company, as_end(company.policy, purpose, change, ruling))
    if hindered:
        raise KeptError(f"it can't be done: {next(iter(hindered.values()))}", where="ID")


def as_end(policy: Policy, purpose: Purpose, change: Change, ruling: Ruling) -> ending.Decision:
    """The same decision as `kept end` takes it."""
    role = ruling.role.partition(":")[0]
    who = person_of(policy, ruling.role) if "." in role else None
    return ending.Decision(str(purpose.name), (change.person,), role, ruling.by, who, ruling.why)
