"""The clock of a request: when it starts, stands still, is lengthened and runs out, under each law."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from dateutil.relativedelta import relativedelta  # type: ignore[import-untyped]  # carries no types
from hypothesis import given
from hypothesis import strategies as st

from kept.laws.clock import (
    Pause,
    Times,
    confirm_by,
    due,
    figure,
    first_due,
    may_extend,
    needs_identity,
    paused,
    records_until,
    strictest,
    warnings,
)
from kept.laws.law import LAWS, law

BRUSSELS = ZoneInfo("Europe/Brussels")
LOS_ANGELES = ZoneInfo("America/Los_Angeles")
MONDAY = datetime(2026, 11, 2, 10, tzinfo=UTC)
days = st.dates(date(2018, 5, 25), date(2060, 1, 1))


def at(day: date, hour: int = 12, zone: ZoneInfo = BRUSSELS) -> datetime:
    return datetime.combine(day, time(hour), zone)


def over(day: date, zone: ZoneInfo = BRUSSELS) -> datetime:
    """The instant a day is over."""
    return datetime.combine(day + timedelta(days=1), time(0), zone)


@given(days, st.integers(0, 23))
def test_the_gdpr_gives_one_calendar_month_from_receipt(day: date, hour: int) -> None:
    assert due("gdpr", "access", Times(at(day, hour)), BRUSSELS) == over(day + relativedelta(months=1))


@given(days, st.integers(0, 400))
def test_the_gdpr_clock_does_not_wait_for_identity_or_clarification(day: date, later: int) -> None:
    waited = Times(at(day), at(day + timedelta(days=later)), (Pause(at(day + timedelta(days=1))),))
    assert due("gdpr", "erase", waited, BRUSSELS) == due("gdpr", "erase", Times(at(day)), BRUSSELS)


def test_the_day_is_that_of_the_companys_zone() -> None:
    late = Times(datetime(2026, 1, 31, 23, 30, tzinfo=UTC))  # in Brussels it is February
    assert due("gdpr", "access", late, BRUSSELS) == datetime(2026, 3, 2, tzinfo=BRUSSELS)
    assert due("gdpr", "access", late, ZoneInfo("UTC")) == datetime(2026, 3, 1, tzinfo=UTC)


@given(days)
def test_an_extension_adds_two_months_to_the_first_and_never_more_than_three_from_receipt(day: date) -> None:
    first = day + relativedelta(months=1)
    extended = due("gdpr", "access", Times(at(day), extended=at(first)), BRUSSELS)
    assert extended == over(first + relativedelta(months=2))
    assert extended <= over(day + relativedelta(months=3))


@given(days, st.sampled_from(["gdpr", "uk-gdpr", "ccpa"]), st.integers(0, 200))
def test_an_extension_counts_only_when_the_person_was_told_inside_the_first_period(
    day: date, name: str, told: int
) -> None:
    plain = Times(at(day), at(day))
    extended = Times(at(day), at(day), extended=at(day + timedelta(days=told)))
    end = first_due(name, "erase", plain, BRUSSELS)
    assert end is not None and extended.extended is not None
    longer = due(name, "erase", extended, BRUSSELS) != due(name, "erase", plain, BRUSSELS)
    assert longer == (extended.extended < end)


def test_the_uk_clock_starts_when_it_is_certain_who_asks() -> None:
    assert due("uk-gdpr", "access", Times(MONDAY), BRUSSELS) is None
    assert first_due("uk-gdpr", "access", Times(MONDAY), BRUSSELS) is None
    known = Times(MONDAY, datetime(2026, 11, 20, 10, tzinfo=UTC))
    assert due("uk-gdpr", "access", known, BRUSSELS) == over(date(2026, 12, 20))
    before = Times(MONDAY, MONDAY - timedelta(days=9))
    assert due("uk-gdpr", "access", before, BRUSSELS) == over(date(2026, 12, 2))


def test_the_uk_clock_stands_still_while_the_person_is_asked_what_they_mean() -> None:
    asked = Times(MONDAY, MONDAY, (Pause(at(date(2026, 11, 10))),))
    assert paused("uk-gdpr", "access", asked)
    assert due("uk-gdpr", "access", asked, BRUSSELS) is None
    told = Times(MONDAY, MONDAY, (Pause(at(date(2026, 11, 10)), at(date(2026, 11, 12))),))
    assert not paused("uk-gdpr", "access", told)
    assert due("uk-gdpr", "access", told, BRUSSELS) == over(date(2026, 12, 5))


def test_only_a_request_for_access_stops_the_uk_clock() -> None:
    asked = Times(MONDAY, MONDAY, (Pause(at(date(2026, 11, 10))),))
    assert not paused("uk-gdpr", "erase", asked)
    assert due("uk-gdpr", "erase", asked, BRUSSELS) == over(date(2026, 12, 2))
    assert not paused("gdpr", "access", asked)


@pytest.mark.parametrize(
    ("asked", "answered", "last"),
    [
        (
            date(2026, 11, 2),
            date(2026, 11, 2),
            date(2026, 12, 2),
        ),  # the day of the start isn't counted anyway
        (date(2026, 11, 1), date(2026, 11, 3), date(2026, 12, 3)),
        (date(2026, 11, 3), date(2026, 11, 3), date(2026, 12, 3)),
        (date(2026, 12, 2), date(2026, 12, 5), date(2026, 12, 6)),  # asked on the last day
        (date(2026, 12, 3), date(2026, 12, 5), date(2026, 12, 2)),  # asked when it was over
        (date(2026, 11, 2), None, None),
        (date(2026, 12, 2), None, None),
        (date(2026, 12, 3), None, date(2026, 12, 2)),
    ],
)
def test_a_pause_counts_from_the_day_of_asking_to_that_of_the_answer(
    asked: date, answered: date | None, last: date | None
) -> None:
    pause = Pause(at(asked), None if answered is None else at(answered))
    found = due("uk-gdpr", "access", Times(MONDAY, MONDAY, (pause,)), BRUSSELS)
    assert found == (None if last is None else over(last))


def test_an_extension_told_when_the_first_period_is_just_over_is_too_late() -> None:
    end = first_due("gdpr", "access", Times(MONDAY), BRUSSELS)
    assert end is not None
    assert due("gdpr", "access", Times(MONDAY, extended=end), BRUSSELS) == end
    before = Times(MONDAY, extended=end - timedelta(microseconds=1))
    assert due("gdpr", "access", before, BRUSSELS) == over(date(2027, 2, 2))


spans = st.lists(st.tuples(st.integers(-5, 150), st.one_of(st.none(), st.integers(0, 40))), max_size=5)


@given(days, spans, st.one_of(st.none(), st.integers(0, 20)))
def test_pauses_move_the_end_as_when_days_are_crossed_out_one_by_one(
    day: date, found: list[tuple[int, int | None]], told: int | None
) -> None:
    pauses = tuple(
        Pause(
            at(day + timedelta(days=begin)),
            None if length is None else at(day + timedelta(days=begin + length)),
        )
        for begin, length in found
    )
    extended = None if told is None else at(day + timedelta(days=told))
    answer = due("uk-gdpr", "access", Times(at(day), at(day), pauses, extended), BRUSSELS)

    # The model walks day by day and uses up the days the law gives on those that count.
    end = day + relativedelta(months=1)
    if told is not None:
        end += relativedelta(months=2)
    left, today = (end - day).days, day
    expected: date | None = day
    while left:
        today += timedelta(days=1)
        offset = (today - day).days
        if any(length is None and begin <= offset for begin, length in found):
            expected = None
            break
        if not any(length is not None and begin <= offset <= begin + length for begin, length in found):
            left -= 1
            expected = today
    # Days at the end that don't count are no days to answer in either.
    assert (answer is None) == (expected is None)
    if expected is not None:
        assert answer == over(expected)


@given(days)
def test_california_gives_45_days_from_receipt_and_45_more_with_notice(day: date) -> None:
    times = Times(at(day, zone=LOS_ANGELES))
    assert due("ccpa", "erase", times, LOS_ANGELES) == over(day + timedelta(days=45), LOS_ANGELES)
    longer = Times(times.received, extended=at(day + timedelta(days=45), zone=LOS_ANGELES))
    assert due("ccpa", "erase", longer, LOS_ANGELES) == over(day + timedelta(days=90), LOS_ANGELES)


def workdays_after(day: date, count: int) -> date:
    return [
        later
        for later in (day + timedelta(days=number) for number in range(1, count * 2 + 4))
        if later.strftime("%a") not in ("Sat", "Sun")
    ][count - 1]


@given(days)
def test_california_wants_receipt_confirmed_in_10_business_days_and_an_opt_out_done_in_15(day: date) -> None:
    times = Times(at(day, zone=LOS_ANGELES))
    confirmed = over(workdays_after(day, 10), LOS_ANGELES)
    assert confirm_by("ccpa", "access", times, LOS_ANGELES) == confirmed
    for right in ("object", "withdraw", "restrict"):
        assert due("ccpa", right, times, LOS_ANGELES) == over(workdays_after(day, 15), LOS_ANGELES)
        assert confirm_by("ccpa", right, times, LOS_ANGELES) is None


def test_nobody_proves_who_they_are_to_opt_out() -> None:
    assert not needs_identity("ccpa", "object")
    assert needs_identity("ccpa", "erase")
    assert needs_identity("gdpr", "object")


def test_a_complaint_in_the_uk_is_acknowledged_in_30_days_the_first_of_which_is_that_of_receipt() -> None:
    assert confirm_by("uk-gdpr", "complain", Times(MONDAY), BRUSSELS) == over(date(2026, 12, 1))
    assert confirm_by("gdpr", "complain", Times(MONDAY), BRUSSELS) is None
    assert due("uk-gdpr", "complain", Times(MONDAY, MONDAY), BRUSSELS) is None


def test_it_may_be_extended_once_inside_the_first_period_with_a_reason() -> None:
    times = Times(MONDAY)
    inside, last = datetime(2026, 11, 20, tzinfo=UTC), over(date(2026, 12, 2)) - timedelta(seconds=1)

    def refused(times: Times, now: datetime, reason: str = "many requests", name: str = "gdpr") -> str | None:
        return may_extend(name, "access", times, BRUSSELS, now, reason)

    assert refused(times, inside) is None
    assert refused(times, last) is None
    assert refused(times, over(date(2026, 12, 2))) == "the first period (1 month) is over"
    assert refused(times, inside, " \n") == "an extension needs a reason, which the person is told"
    assert refused(Times(MONDAY, extended=inside), inside) == "it was extended before"
    assert refused(times, inside, name="coppa") is not None
    assert may_extend("ccpa", "object", times, BRUSSELS, inside, "much to do") is not None
    waiting = Times(MONDAY, MONDAY, (Pause(inside),))
    assert refused(waiting, datetime(2027, 6, 1, tzinfo=UTC), name="uk-gdpr") is None


def test_an_extension_told_while_the_uk_clock_stood_still_counts() -> None:
    pause = Pause(at(date(2026, 11, 10)), at(date(2026, 12, 20)))
    times = Times(MONDAY, MONDAY, (pause,), extended=at(date(2026, 12, 15)))
    assert due("uk-gdpr", "access", times, BRUSSELS) == over(date(2027, 2, 2) + timedelta(days=41))


def test_a_warning_comes_with_half_a_quarter_and_a_day_of_the_time_left() -> None:
    times = Times(datetime(2026, 11, 1, tzinfo=BRUSSELS))
    assert due("gdpr", "access", times, BRUSSELS) == datetime(2026, 12, 2, tzinfo=BRUSSELS)  # 31 days
    assert warnings(times.received, datetime(2026, 12, 2, tzinfo=BRUSSELS)) == (
        datetime(2026, 11, 16, 12, tzinfo=BRUSSELS),
        datetime(2026, 11, 24, 6, tzinfo=BRUSSELS),
        datetime(2026, 12, 1, tzinfo=BRUSSELS),
    )


@given(days, st.sampled_from(["gdpr", "uk-gdpr", "ccpa"]), st.booleans())
def test_warnings_lie_in_order_between_the_start_and_the_end(day: date, name: str, longer: bool) -> None:
    extended = at(day + timedelta(days=20)) if longer else None
    times = Times(at(day), at(day), extended=extended)
    end = due(name, "access", times, BRUSSELS)
    assert end is not None
    found = warnings(extended or times.received, end)
    assert len(found) == 3 and list(found) == sorted(found)
    assert (extended or times.received) < found[0] and found[-1] < end


def test_of_several_laws_the_one_that_is_due_first_counts() -> None:
    assert strictest(("ccpa", "gdpr"), "access", Times(MONDAY), BRUSSELS) == "gdpr"
    assert strictest(("gdpr", "ccpa"), "object", Times(MONDAY), BRUSSELS) == "ccpa"
    assert strictest(("uk-gdpr", "ccpa"), "access", Times(MONDAY), BRUSSELS) == "ccpa"
    assert strictest(("uk-gdpr",), "access", Times(MONDAY), BRUSSELS) == "uk-gdpr"
    assert strictest(("coppa",), "access", Times(MONDAY), BRUSSELS) is None


def test_california_wants_records_kept_for_24_months() -> None:
    assert records_until(("gdpr", "ccpa"), MONDAY, BRUSSELS) == over(date(2028, 11, 2))
    assert records_until(("gdpr",), MONDAY, BRUSSELS) is None


def test_a_time_without_a_zone_is_refused() -> None:
    naive = MONDAY.replace(tzinfo=None)
    for make in (lambda: Times(naive), lambda: Times(MONDAY, extended=naive), lambda: Pause(MONDAY, naive)):
        with pytest.raises(ValueError, match="zone"):
            make()


def test_a_right_without_a_figure_has_no_clock() -> None:
    assert figure("gdpr", "withdraw") is None
    assert figure("ccpa", "human-decision") is None
    assert due("gdpr", "withdraw", Times(MONDAY), BRUSSELS) is None


@pytest.mark.parametrize("name", LAWS)
def test_every_figure_of_a_clock_has_an_article(name: str) -> None:
    requests = law(name).requests
    assert requests.starts in ("received", "identified") and requests.starts_article
    assert bool(requests.pauses) == bool(requests.pauses_article)
    assert bool(requests.grounds) == bool(requests.extends_article)
    assert (requests.records is None) == (requests.records_article is None)
    assert requests.confirm is None or requests.confirm.article
    assert all(
        one.article and one.clock_article and one.identity_article for one in requests.opt_outs.values()
    )
    assert bool(requests.grounds) == any(right.extension for right in law(name).rights.values())
