"""Holds: data that outlives an erasure or a shorter limit, for a stated purpose, until its own limit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from kept.controls.retention.declare import Retention
from kept.datamap.graph import DataMap
from kept.policy.grammar import Clock, Period
from kept.policy.policy import Policy
from kept.stores.walk import Hold

_BEFORE_EVERY_CLOCK = datetime(1000, 1, 1, tzinfo=UTC)  # the first year of MariaDB's times


def holds(
    policy: Policy, map: DataMap, kind: str, now: datetime, *, but: Retention | None = None
) -> tuple[Hold, ...]:
    """Every row of people of a kind that a retention with `hold:` keeps at `now`, but those of one retention."""
    found: list[Hold] = []
    for retention in policy.section("retention").values():
        if not isinstance(retention, Retention) or not retention.hold or retention is but:
            continue
        limit = retention.until
        event, cutoff = "recorded", None
        if isinstance(limit, Clock):
            event = str(limit.event)
            cutoff = (limit.period or Period(0, "hours")).cutoff(now, policy.timezone)
        for data in retention.keeps:
            found += map.holds(kind, str(data), event, cutoff)
    return tuple(found)


def end(policy: Policy) -> bool:
    """Whether any retention with `hold:` lets go one day."""
    return any(
        isinstance(one, Retention) and bool(one.hold) and isinstance(one.until, Clock)
        for one in policy.section("retention").values()
    )


def not_past(holds: Iterable[Hold], at: datetime = _BEFORE_EVERY_CLOCK) -> tuple[Hold, ...]:
    """The same holds, over only for rows whose clock stands before `at` too; without it they are over for none."""
    return tuple(
        hold if hold.cutoff is None else replace(hold, cutoff=min(hold.cutoff, at)) for hold in holds
    )
