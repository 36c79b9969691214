"""Time cut into stretches that are over: days, weeks, months, or one stretch as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from kept.controls.purposes.groups.question import Every, Question
from kept.controls.refused import Refused

MOST: Final = 400  # stretches in one answer
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, order=True)
class Span:
    """A stretch of time, UTC: from `since` up to `until`, which isn't in it."""

    since: datetime
    until: datetime

    def meets(self, other: Span) -> bool:
        """Whether they have any time in common."""
        return self.since < other.until and other.since < self.until

    def day(self, zone: ZoneInfo) -> date | None:
        """The day it begins with; None for all time."""
        return None if self == ALL else self.since.astimezone(zone).date()


ALL: Final = Span(FIRST, LAST)
"""For rows that have no time of their own."""


def spans(question: Question, zone: ZoneInfo, now: datetime) -> tuple[Span, ...]:
    """The stretches a question is about: whole ones only, and only those that are over.

    A day that is not the first of its week or month leaves out the week or month it lies in. Without `since`, the
    last stretch that is over. Refused where none is left, or too many are.
    """
    today, every = now.astimezone(zone).date(), question.every
    end = min(question.until or today, today)
    if every == "whole":
        if question.since is None or question.until is None or question.until > today:
            raise Refused("time", "one whole stretch needs the day it begins and a day when it was over")
        starts = [question.since, question.until]
    else:
        last = _start(end, every)
        first = _start(last - timedelta(days=1), every) if question.since is None else question.since
        starts = [_start(first, every)]
        if starts[0] < first:
            starts = [_next(starts[0], every)]
        while starts[-1] < last and len(starts) <= MOST + 1:
            starts.append(_next(starts[-1], every))
    if len(starts) > MOST + 1:
        raise Refused("time", f"that is more than {MOST} stretches of time", help="ask for less at once")
    found = tuple(
        Span(_midnight(one, zone), _midnight(other, zone)) for one, other in pairwise(starts) if one < other
    )
    if not found:
        raise Refused("time", f"no whole {every} that is over lies between those days")
    return found


def _start(day: date, every: Every) -> date:
    if every == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if every == "month" else day


def _next(day: date, every: Every) -> date:
    if every == "month":
        return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return day + timedelta(days=7 if every == "week" else 1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
