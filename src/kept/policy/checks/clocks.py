"""Checks of clocks, wherever a promise counts from one."""

from __future__ import annotations

from kept.policy.grammar import Clock
from kept.policy.policy import Policy
from kept.policy.source import Name, Problems, Span


def check_clock(policy: Policy, clock: Clock, place: Span, problems: Problems) -> None:
    """Report a clock that starts with a moment its kind or link has no column for."""
    event = clock.event
    if event.of is None or (event.of not in policy.people and event.of not in policy.links):
        return
    if policy.moment(event.of, event.moment) is None:
        problems.error(
            "no-such-clock",
            f"`{event.of}` does not say when it {event.moment}: there is no `{event.moment}` column",
            event.of.span if isinstance(event.of, Name) else place,
            help=f"add {event.moment}: the column with the time, to `{event.of}`",
        )
