"""Business days, by a named calendar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final


@dataclass(frozen=True)
class Calendar:
    """Which days of the week are no business days (Monday is 0).

    Public holidays are counted as business days. A law that leaves them out gives at most a later day, so a date worked
    out here is never too late; lists of holidays change every year, and a wrong one would be.
    """

    name: str
    weekend: frozenset[int]

    def after(self, day: date, days: int) -> date:
        """The last of so many business days when the first is the one after `day`."""
        while days > 0:
            day += timedelta(days=1)
            days -= day.weekday() not in self.weekend
        return day


CALENDARS: Final = {"us-ca": Calendar("us-ca", frozenset({5, 6}))}


@dataclass(frozen=True)
class BusinessDays:
    """A length of time in business days: `10 business days`."""

    amount: int
    calendar: Calendar

    def __str__(self) -> str:
        return f"{self.amount} business day{'' if self.amount == 1 else 's'}"

    def after(self, day: date) -> date:
        """The last day of this period when it starts on `day`."""
        return self.calendar.after(day, self.amount)
