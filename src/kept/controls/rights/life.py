"""The life of a request: what it has to wait for, one thing after the other. Pure: from the policy to a word."""

from __future__ import annotations

from typing import Final

from kept.controls.rights.declare import Right
from kept.controls.rights.register import Awaits, Subject
from kept.errors import KeptError
from kept.laws.redress import refusals
from kept.laws.region import offered
from kept.policy.policy import Policy

ORDER: Final[tuple[Awaits, ...]] = ("identity", "confirmation", "approval", "answer", "work")

PROVEN: Final = ("desk", "account", "link")
"""Channels that bring the proof of who asks: a member of staff, the company's own application, or a page that only a
link sent to the address on record opens."""

ANSWERED_BY_STAFF: Final = ("complain",)
"""What no program can answer: a person of the company does."""


def right_of(policy: Policy, verb: str) -> Right | None:
    """What the policy promises about a right; None where it leaves it to the law."""
    right = policy.section("rights").get(verb)
    return right if isinstance(right, Right) else None


def client_of(policy: Policy, kind: str) -> str | None:
    """The party on whose behalf a kind of people is held, who alone answers their requests; None for our own."""
    root = policy.root(kind)
    return str(root.controller) if root is not None and root.controller is not None else None


def first(policy: Policy, verb: str, kind: str, *, channel: str, confirmed: bool) -> Awaits:
    """What a request waits for when it comes in.

    At the desk a member of staff enters it, who answers for who asks, and in the company's own application the person
    has logged in; through any other channel they have to prove it (GDPR Art. 12(6)). `confirmed` says that a named
    member of staff validated it with the person. KeptError where the policy gives the right to others alone.
    """
    if client_of(policy, kind) is not None:
        return "client"
    why = barred(policy, verb, kind)
    if why is not None:
        raise KeptError(why, help="write to the person what they can ask for; nothing was received")
    return following(policy, verb, "identity" if channel in PROVEN else None, confirmed=confirmed)


def following(policy: Policy, verb: str, met: Awaits | None, *, confirmed: bool = False) -> Awaits:
    """What a request waits for once it has met something; with None, from the beginning."""
    right = right_of(policy, verb)
    needed: dict[Awaits, bool] = {
        "identity": True,
        "confirmation": right is not None and bool(right.confirmed_by) and not confirmed,
        "approval": right is not None and bool(right.approved_by),
        "answer": verb in ANSWERED_BY_STAFF,
        "work": True,
    }
    start = 0 if met is None else ORDER.index(met) + 1
    return next((stage for stage in ORDER[start:] if needed[stage]), "work")


def unless_in_words(verb: str, stage: Awaits, subject: Subject) -> Awaits:
    """Where a correction goes that a person put in words of their own: to staff, who know which column they mean."""
    return "answer" if verb == "correct" and stage == "work" and not subject.changes else stage


def barred(policy: Policy, verb: str, kind: str) -> str | None:
    """Why people of a kind may not ask this: `by` names others. None where they may.

    A policy can give a right to more people than a law does, never to fewer: where a law of the policy gives it, every
    person has it (GDPR Art. 12(2)).
    """
    right = right_of(policy, verb)
    who = [str(one) for one in right.by if "." not in one] if right is not None else []
    kinds = [one for one in who if not policy.is_staff(one)]
    if not kinds or verb in offered(policy.laws, None) or any(policy.related(kind, one) for one in kinds):
        return None
    return f"the policy offers `{verb}` to {', '.join(f'`{one}`' for one in kinds)}, and to no `{kind}`"


def offers_copy(policy: Policy, verb: str, kind: str) -> bool:
    """Whether people of a kind have to be offered a copy before this is done: the policy says so, and answers them."""
    right = right_of(policy, verb)
    return right is not None and right.offers == "copy" and client_of(policy, kind) is None


def stopped(policy: Policy, verb: str, scope: tuple[str, ...]) -> tuple[str, ...]:
    """The purposes that stop whatever speaks for them (`always`), among those objected to; with no scope, all."""
    right = right_of(policy, verb)
    always = tuple(map(str, right.always)) if right is not None and verb == "object" else ()
    return tuple(name for name in always if not scope or name in scope)


def weighs(policy: Policy, verb: str, reason: str) -> bool:
    """Whether a reason to refuse says that the right itself isn't given: an objection outweighed (GDPR Art. 21(1)), no
    ground for a restriction (Art. 18(1)). The others are about who asks, and how.
    """
    own = {one.id for law in policy.laws for one in refusals(law, verb) if one.rights == (verb,)}
    return reason in own
