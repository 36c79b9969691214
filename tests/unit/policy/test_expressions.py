"""The small expressions: what is written, what is meant, and what is said of a mistake."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kept.policy.expressions import (
    Malformed,
    read_at,
    read_clock,
    read_event,
    read_every,
    read_limit,
    read_period,
    read_test,
)
from kept.policy.grammar import At, Clock, Comparison, Event, Every, Forever, Period, Test


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (read_period, "24 months", Period(24, "months")),
        (read_period, "1 year", Period(1, "years")),
        (read_period, "at once", Period(0, "hours")),
        (read_event, "user.ended", Event("ended", "user")),
        (read_event, "recorded", Event("recorded")),
        (read_clock, "24 months after user.ended", Clock(Event("ended", "user"), Period(24, "months"))),
        (read_clock, "works-for.began", Clock(Event("began", "works-for"))),
        (read_limit, "forever", Forever()),
        (read_limit, "3 days after found", Clock(Event("found"), Period(3, "days"))),
        (
            read_test,
            "age >= 13 and age < 18",
            Test((Comparison("age", ">=", "13", True), Comparison("age", "<", "18", True))),
        ),
        (read_test, "role = team lead", Test((Comparison("role", "=", "team lead"),))),
        (read_test, "closed_at is not empty", Test((Comparison("closed_at", "is not empty"),))),
        (read_at, "member at buyer_id", At("member", "buyer_id")),
        (read_every, "officer every 12 months", Every("officer", Period(12, "months"))),
    ],
)
def test_an_expression_means_what_it_says(read: Callable[[str], object], text: str, value: object) -> None:
    assert read(text) == value
    assert read(str(value)) == value


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (read_period, "24 moons", 'did you mean "months"?'),
        (read_period, "-1 days", "a period is a whole number and a unit"),
        (read_period, "0 days", "for none at all write `at once`"),
        (read_period, "9999 years", "years: 1000"),
        (read_period, "1.5 years", "a period is a whole number and a unit"),
        (read_event, "user.end", 'did you mean "user.ended"?'),
        (read_event, "ended", "say whose"),
        (read_event, "user.recorded", "`recorded` stands alone"),
        (read_limit, "for ever", "forever"),
        (read_limit, "as long as necessary", "a limit is"),
        (read_clock, "2 years after sale.end", 'did you mean "sale.ended"?'),
        (read_test, "role is buyer", "a test is"),
        (read_test, "age > old", "a whole number of years"),
        (read_test, "a = 1 and", "a test is"),
        (read_at, "member buyer_id", "member at buyer_id"),
        (read_every, "officer yearly", "officer every 12 months"),
    ],
)
def test_a_mistake_is_told_with_what_to_write(read: Callable[[str], object], text: str, said: str) -> None:
    with pytest.raises(Malformed) as wrong:
        read(text)
    assert said in wrong.value.help
    assert wrong.value.code
    assert 0 <= wrong.value.offset <= len(text)
