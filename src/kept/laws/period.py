"""A length of time as law and calendars count it."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal

Unit = Literal["hours", "days", "weeks", "months", "years"]


@dataclass(frozen=True)
class Period:
    """A length of time as the calendar counts it: `24 months`, `3 days`, `at once` (0 hours)."""

    amount: int
    unit: Unit

    def __str__(self) -> str:
        if self.amount == 0:
            return "at once"
        return f"{self.amount} {self.unit if self.amount != 1 else self.unit[:-1]}"

    def after(self, day: date) -> date:
        """The last day of this period when it starts on `day`; a day the month lacks becomes the month's last.

        Regulation (EEC, Euratom) 1182/71, Art. 3(2)(c): a period in months or years ends on the day with the
        same date as its start, and where the month has no such day, on the month's last day.
        """
        if self.unit == "hours":
            raise ValueError("a period in hours is not counted in days")
        if self.unit in ("days", "weeks"):
            return day + timedelta(days=self.amount * (7 if self.unit == "weeks" else 1))
        months = day.year * 12 + day.month - 1 + self.amount * (12 if self.unit == "years" else 1)
        year, month = divmod(months, 12)
        return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))

    def cutoff(self, now: datetime, zone: tzinfo) -> datetime:
        """The instant (UTC) before which a clock must have started for this period to be over at `now`.

        A period in days or longer is over when its last day is over in `zone` (Regulation 1182/71,
        Art. 3(2)), so the answer is a midnight there; a period in hours is over to the second.
        """
        if self.unit == "hours":
            return now.astimezone(UTC) - timedelta(hours=self.amount)
        today = now.astimezone(zone).date()
        months = today.year * 12 + today.month - 1
        if self.unit in ("days", "weeks"):
            day = today - timedelta(days=self.amount * (7 if self.unit == "weeks" else 1))
        else:
            year, month = divmod(months - self.amount * (12 if self.unit == "years" else 1), 12)
            day = date(year, month + 1, 1) - timedelta(days=2)  # certainly over; walk on, 35 days at most
        while self.after(day) < today:
            day += timedelta(days=1)
        return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)

    def end(self, start: datetime, zone: tzinfo) -> datetime:
        """The instant (UTC) at which this period is over when it starts at `start`; a midnight, see `cutoff`."""
        if self.unit == "hours":
            return start.astimezone(UTC) + timedelta(hours=self.amount)
        day = self.after(start.astimezone(zone).date()) + timedelta(days=1)
        return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
