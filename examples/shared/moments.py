"""Moments of an invented company's life: whole seconds since 1970, written as a database keeps them."""

from __future__ import annotations

import random
from datetime import UTC, datetime

DAY = 86_400


def seconds(now: datetime | None) -> int:
    """The moment a company is looked at; by default this one."""
    return int((now or datetime.now(UTC)).timestamp())


def ago(draw: random.Random, today: int, least: int, most: int) -> int:
    """A moment between two ages in days."""
    return today - draw.randrange(least * DAY, most * DAY)


def time(at: int) -> str:
    """A moment as the database keeps it: UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat(" ")


def time_or_none(at: int) -> str | None:
    """The same; 0 has not happened."""
    return time(at) if at else None


def day(at: int) -> str:
    """The day of a moment, `2026-01-31`."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def born(draw: random.Random, today: int, least: int, most: int) -> str:
    """A birth date of somebody who is at least `least` and younger than `most` years old."""
    return day(today - draw.randrange(least * 366 * DAY, int(most * 365.2) * DAY))
