"""The letter to somebody about whom something was decided: what, by whom, why, and where to turn."""

from __future__ import annotations

from kept.company import Company
from kept.controls.purposes.decisions.change import Change
from kept.controls.purposes.decisions.queue import REFUSED, Proposal
from kept.controls.purposes.declare import Purpose
from kept.laws.redress import redress
from kept.mail.letter import Letter
from kept.policy.policy import STAFF, Policy
from kept.policy.wording import data_words, people_words, words_of


def letter(company: Company, purpose: Purpose, found: Proposal, change: Change, address: str) -> Letter:
    """The letter; who decided is told as a role, for a decision is the company's."""
    policy = company.policy
    names = [str(name) for name in purpose.sets if name in policy.data]
    what = data_words(policy, names) if names else "your account"
    who = _by(policy, str(found.role or STAFF))
    day = found.decided.astimezone(policy.timezone).strftime("%Y-%m-%d") if found.decided else "today"
    if found.state == REFUSED:
        first = f"It was proposed to change {what}. On {day} {who} decided against it: nothing was changed."
    else:
        first = f"On {day} {who} decided to change {what}, and it was done."
    paragraphs = [first, f"What it was for: {words_of(purpose.name)}."]
    paragraphs += _outcome(found, change)
    contact = next(
        (c["email"] for party in policy.us() for c in party.contacts.values() if "email" in c), None
    )
    turn = f"write to us at {contact}" if contact else "write to us"
    paragraphs.append(
        f"A person decided this, and no machine. If it is wrong, or you don't agree with it, {turn}: "
        "somebody else will look at it again."
    )
    paragraphs += [" ".join(redress(law).sentences()) for law in policy.laws[:1]]
    us = policy.us()
    paragraphs.append((us[0].label if us else policy.name) + (f"\n{contact}" if contact else ""))
    subject = f"{policy.name}: something about you was decided"
    return Letter(address, subject, "\n\n".join(paragraphs) + "\n", reply_to=contact)


def outcome(found: Proposal, change: Change) -> str:
    """The same in a line, for a member of staff who tells it."""
    return " ".join(["No." if found.state == REFUSED else "Yes.", *_outcome(found, change)])


def _outcome(found: Proposal, change: Change) -> list[str]:
    told = []
    if found.state != REFUSED:
        told = [f"It now reads: {value}" if value else "It was removed." for value in change.cells.values()]
    if found.ruling is not None and found.ruling.why:
        told.append(f"The reason given: {found.ruling.why}")
    return told


def _by(policy: Policy, role: str) -> str:
    """Who decided, in the reader's words."""
    if policy.is_staff(role):
        return "our staff" if role == STAFF else people_words(policy, role)
    return "you" if role in policy.people else f"your {words_of(role)}"
