"""The clock of a request: the law that is the person's, the period the policy promises, whichever ends first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kept.controls.rights.life import right_of
from kept.controls.rights.register import Event, Request
from kept.laws import clock
from kept.laws.clock import Pause, Times
from kept.laws.period import Period
from kept.laws.region import applying, offered
from kept.policy import words
from kept.policy.policy import Policy

USUAL = Period(1, "months")  # where no law of the policy sets a figure and the policy promises none


def law_of(policy: Policy, verb: str, region: str | None, times: Times) -> str | None:
    """Under which law a request of somebody in a region is answered: the strictest of those that are theirs."""
    return clock.strictest(applying(policy.laws, region), verb, times, policy.timezone)


def due(policy: Policy, verb: str, law: str | None, times: Times) -> datetime | None:
    """When the answer is due, UTC; None while the clock hasn't started or stands still.

    What the policy promises (`within`) counts from receipt, whatever happens; `at once` counts as a day. `kept check`
    sees to it that it is no longer than the law's.
    """
    right = right_of(policy, verb)
    if right is not None and right.within is not None:
        within = right.within if right.within.amount else Period(1, "days")
        return within.end(times.received, policy.timezone)
    if law is None:
        return USUAL.end(times.received, policy.timezone)
    return clock.due(law, verb, times, policy.timezone)


def may_extend(
    policy: Policy, verb: str, law: str | None, times: Times, now: datetime, why: str
) -> str | None:
    """Why a request may not be extended, as a sentence for staff; None when it may."""
    right = right_of(policy, verb)
    if right is not None and right.within is not None:
        return f"the policy promises an answer within {right.within}, whatever the law would allow"
    if law is None:
        return "no law of the policy gives an extension for this right"
    return clock.may_extend(law, verb, times, policy.timezone, now, why)


def times_of(request: Request, history: Sequence[Event]) -> Times:
    """What the clock needs to know of a request."""
    pauses: list[Pause] = []
    for event in history:
        if event.what == "asked":
            pauses.append(Pause(event.at))
        elif event.what == "heard" and pauses and pauses[-1].answered is None:
            pauses[-1] = Pause(pauses[-1].asked, event.at)
    return Times(request.received, request.identified, tuple(pauses), request.extended)


def not_offered(policy: Policy, verb: str, region: str | None) -> str | None:
    """Why somebody in a region does not have a right, as a sentence; None where law or policy gives it."""
    right = right_of(policy, verb)
    if verb in offered(policy.laws, region):
        return None
    if right is None:
        return f"neither the policy nor a law it is under offers `{verb}`"
    if not right.regions or region is None or any(words.covers(str(area), region) for area in right.regions):
        return None
    return (
        f"the policy offers `{verb}` in {words.region_name(str(right.regions[0]))}, not where this person is"
    )
