"""The letter to somebody whose end was set: what happened, by whose decision, when their data goes, where to turn."""

from __future__ import annotations

from datetime import datetime, timedelta

from kept.company import Company
from kept.controls.purposes.declare import Purpose
from kept.controls.retention.declare import Retention
from kept.laws.redress import redress
from kept.mail.letter import Letter
from kept.policy.grammar import Clock
from kept.policy.policy import Policy
from kept.policy.wording import clock_words, data_words, people_words, words_of

THEN = {"anonymise": "made anonymous", "destroy": "destroyed"}


def letter(
    company: Company, purpose: Purpose, of: str, role: str | None, at: datetime, address: str, why: str | None
) -> Letter:
    """The letter; `role` is who decided, None for what came by itself, and `why` the reason they gave."""
    policy = company.policy
    day = at.astimezone(policy.timezone).strftime("%Y-%m-%d")
    paragraphs = [f"Your account at {policy.name} ended on {day}. {_because(policy, purpose, of, role)}"]
    if why:
        paragraphs.append(f"The reason given: {why}")
    paragraphs.append(_goes(policy, of, at))
    contact = _contact(policy)
    turn = f"write to us at {contact}" if contact else "write to us"
    paragraphs.append(
        f"If this is wrong, or you don't agree with it, {turn}. You can also ask us at any time what we hold about "
        "you, or to erase it sooner."
    )
    paragraphs += [" ".join(redress(law).sentences()) for law in policy.laws[:1]]
    us = policy.us()
    signed = us[0].label if us else policy.name
    paragraphs.append(signed + (f"\n{contact}" if contact else ""))
    return Letter(
        address, f"{policy.name}: your account has ended", "\n\n".join(paragraphs) + "\n", reply_to=contact
    )


def _because(policy: Policy, purpose: Purpose, of: str, role: str | None) -> str:
    if role is None:
        return f"This happens {clock_words(policy, purpose.upon)}." if purpose.upon is not None else ""
    if policy.is_staff(role):
        who = "our staff" if role == "staff" else people_words(policy, role)
        return f"It was ended by {who}."
    if role in policy.people and policy.related(role, of):
        return "You asked for it."
    return f"It was ended by your {words_of(role)}."


def _goes(policy: Policy, of: str, at: datetime) -> str:
    """When which data goes, by the limits that run from this end."""
    told = []
    for promise in policy.section("retention").values():
        limit = promise.until if isinstance(promise, Retention) else None
        if (
            not isinstance(promise, Retention)
            or not isinstance(limit, Clock)
            or limit.event.moment != "ended"
        ):
            continue
        if limit.event.of not in policy.chain(of):
            continue
        names = [str(name) for name in promise.keeps if name in policy.data]
        what = data_words(policy, names) if names else "your data"
        verb = THEN.get(str(promise.then or "delete"), "deleted")
        if limit.period is None or not limit.period.amount:
            told.append(f"What we hold as {what} is {verb} at once.")
            continue
        end = limit.period.end(at, policy.timezone) - timedelta(microseconds=1)
        last = end.astimezone(policy.timezone).strftime("%Y-%m-%d")
        told.append(f"What we hold as {what} is {verb} {limit.period} after that, when {last} is over.")
    if not told:
        return "What becomes of your data now, and when it goes, our privacy policy says."
    return " ".join(told) + " What else we hold goes when our privacy policy says."


def _contact(policy: Policy) -> str | None:
    return next((c["email"] for party in policy.us() for c in party.contacts.values() if "email" in c), None)
