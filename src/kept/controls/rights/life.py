"""The life of a request: what it has to wait for, one thing after the other. Pure: from the policy to a word."""

from __future__ import annotations

from typing import Final

from kept.controls.rights.declare import Right
from kept.controls.rights.register import Awaits
from kept.policy.policy import Policy

ORDER: Final[tuple[Awaits, ...]] = ("identity", "confirmation", "approval", "answer", "work")

PROVEN: Final = ("desk", "account")
"""Channels that bring the proof of who asks: a member of staff, or the company's own application."""

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
    member of staff validated it with the person.
    """
    if client_of(policy, kind) is not None:
        return "client"
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
