"""Holds: data that outlives an erasure or a shorter limit, for a stated purpose, until its own limit."""

from __future__ import annotations

from datetime import datetime

from kept.controls.retention.declare import Retention
from kept.datamap.graph import DataMap
from kept.policy.grammar import Clock, Period
from kept.policy.policy import Policy
from kept.stores.walk import Hold


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
