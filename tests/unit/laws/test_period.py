"""Periods follow the calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kept.laws.period import Period, Unit

BRUSSELS = ZoneInfo("Europe/Brussels")


@pytest.mark.parametrize(
    ("period", "start", "last"),
    [
        (Period(1, "months"), date(2026, 1, 31), date(2026, 2, 28)),
        (Period(1, "months"), date(2028, 1, 31), date(2028, 2, 29)),
        (Period(1, "years"), date(2028, 2, 29), date(2029, 2, 28)),
        (Period(24, "months"), date(2026, 3, 1), date(2028, 3, 1)),
        (Period(2, "weeks"), date(2026, 12, 25), date(2027, 1, 8)),
        (Period(30, "days"), date(2026, 1, 31), date(2026, 3, 2)),
    ],
)
def test_a_period_ends_on_the_same_date_or_on_the_months_last_day(
    period: Period, start: date, last: date
) -> None:
    assert period.after(start) == last


@given(
    st.integers(1, 60),
    st.sampled_from(["days", "weeks", "months", "years"]),
    st.dates(date(1970, 1, 1), date(2050, 1, 1)),
    st.dates(date(2000, 1, 1), date(2060, 1, 1)),
)
def test_a_clock_is_over_exactly_when_its_last_day_is_over(
    amount: int, unit: Unit, start: date, day: date
) -> None:
    period = Period(amount, unit)
    now = datetime(day.year, day.month, day.day, 12, tzinfo=BRUSSELS)
    began = datetime(start.year, start.month, start.day, 23, 59, tzinfo=BRUSSELS)
    assert (began < period.cutoff(now, BRUSSELS)) == (period.after(start) < day)


def test_a_period_in_hours_is_over_to_the_second() -> None:
    now = datetime(2026, 3, 29, 5, tzinfo=UTC)
    assert Period(24, "hours").cutoff(now, BRUSSELS) == now - timedelta(hours=24)


def test_at_once_is_over_at_once() -> None:
    now = datetime(2026, 3, 29, 5, tzinfo=UTC)
    assert Period(0, "hours").cutoff(now, BRUSSELS) == now
    assert str(Period(0, "hours")) == "at once"


def test_a_period_says_itself_as_it_is_written() -> None:
    assert [str(Period(1, "years")), str(Period(24, "months"))] == ["1 year", "24 months"]


def test_a_cutoff_is_a_midnight_of_the_companys_zone() -> None:
    cutoff = Period(1, "months").cutoff(datetime(2026, 7, 15, 10, tzinfo=UTC), BRUSSELS)
    assert cutoff == datetime(2026, 6, 15, tzinfo=BRUSSELS)


def test_a_period_ends_at_the_midnight_after_its_last_day() -> None:
    end = Period(1, "months").end(datetime(2026, 1, 31, 9, tzinfo=UTC), BRUSSELS)
    assert end == datetime(2026, 3, 1, tzinfo=BRUSSELS)
