"""Reads the small expressions of the language from text; each mistake has a message of its own."""

from __future__ import annotations

import re
from typing import get_args

from kept.policy.grammar import (
    At,
    Clock,
    Comparison,
    Event,
    Every,
    Forever,
    Limit,
    Moment,
    Operator,
    Period,
    Test,
    Unit,
)
from kept.policy.source import did_you_mean, nearest

UNITS: tuple[Unit, ...] = get_args(Unit)
MOMENTS: tuple[Moment, ...] = get_args(Moment)
OPERATORS: tuple[Operator, ...] = ("<=", ">=", "!=", "=", "<", ">")
_NAME = r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*"


class Malformed(Exception):
    """An expression that isn't one: what is wrong, what to write, and where in the text (offset, length)."""

    def __init__(self, message: str, *, help: str, code: str, offset: int = 0, length: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.help = help
        self.code = code
        self.offset = offset
        self.length = length


def read_period(text: str) -> Period:
    """`24 months`, `1 year`, `at once`."""
    if text == "at once":
        return Period(0, "hours")
    match = re.fullmatch(r"(\S+)\s+(\S+)", text)
    if match is None or not match[1].isdecimal():
        raise Malformed(
            f'"{text}" is not a period',
            help="a period is a whole number and a unit: `24 months`, `3 days`, or `at once`",
            code="bad-period",
        )
    unit = match[2] if match[2].endswith("s") else match[2] + "s"
    for known in UNITS:
        if unit == known:
            most = 1_000 if known == "years" else 10_000
            if not 0 < int(match[1]) <= most:
                raise Malformed(
                    f'"{text}" is not a period',
                    help="the number is from 1 to 10000 (years: 1000); for none at all write `at once`",
                    code="bad-period",
                )
            return Period(int(match[1]), known)
    raise Malformed(
        f'"{match[2]}" is not a unit of time',
        help=did_you_mean(unit, UNITS),
        code="bad-period",
        offset=match.start(2),
        length=len(match[2]),
    )


def read_event(text: str) -> Event:
    """`user.ended`, `recorded`."""
    of, dot, moment = text.rpartition(".")
    own = ("recorded", "found", "asked")
    for known in MOMENTS:
        if moment == known and bool(dot) == (known not in own) and (not dot or re.fullmatch(_NAME, of)):
            return Event(known, of or None)
    if moment in MOMENTS:
        help = f"`{moment}` stands alone" if moment in own else f"say whose: `user.{moment}`"
    else:
        close = nearest(moment, MOMENTS)
        help = "an event is `user.ended`, `user.began`, `recorded`, `found` or `asked`"
        if close:
            help = f'did you mean "{of + dot}{close}"?'
    raise Malformed(f'"{text}" is not an event', help=help, code="bad-event")


def read_clock(text: str) -> Clock:
    """`24 months after user.ended`, or an event alone."""
    period, after, event = text.partition(" after ")
    if not after:
        return Clock(read_event(text))
    length = read_period(period.strip())
    try:
        return Clock(read_event(event.strip()), length)
    except Malformed as wrong:
        wrong.offset += len(period) + len(after)
        wrong.length = wrong.length or len(event.strip())
        raise


def read_limit(text: str) -> Limit:
    """A clock, or `forever`."""
    if text == "forever":
        return Forever()
    try:
        return read_clock(text)
    except Malformed as wrong:
        if " after " not in text and not re.fullmatch(r"\S+", text):
            raise Malformed(
                f'"{text}" is not a limit',
                help="a limit is `24 months after user.ended`, an event, or `forever`",
                code="bad-limit",
            ) from None
        if wrong.code == "bad-event" and text in ("for ever", "always", "never", "unlimited"):
            wrong.help = "did you mean `forever`?"
        raise


def read_test(text: str) -> Test:
    """`role = member and closed_at is empty`, `age >= 13`."""
    comparisons = []
    offset = 0
    for part in re.split(r"(\s+and\s+)", text):
        if not part.isspace() and not re.fullmatch(r"\s+and\s+", part):
            comparisons.append(_comparison(part.strip(), offset))
        offset += len(part)
    return Test(tuple(comparisons))


def _comparison(text: str, offset: int) -> Comparison:
    empty = re.fullmatch(r"(\S+) is (not )?empty", text)
    if empty:
        return Comparison(empty[1], "is not empty" if empty[2] else "is empty")
    for operator in OPERATORS if not text.endswith(" and") else ():
        left, found, right = text.partition(f" {operator} ")
        if found and left and right and not re.search(r"\s", left.strip()):
            if left.strip() == "age":
                if not right.strip().isdecimal():
                    raise Malformed(
                        f'"{right.strip()}" is not an age',
                        help="an age is a whole number of years",
                        offset=offset,
                        length=len(text),
                        code="bad-age",
                    )
                return Comparison("age", operator, right.strip(), of_age=True)
            return Comparison(left.strip(), operator, right.strip())
    raise Malformed(
        f'"{text}" is not a test',
        help="a test is `column = value`, `age < 13`, `column is empty` or `column is not empty`, joined by `and`",
        code="bad-test",
        offset=offset,
        length=len(text),
    )


def read_at(text: str) -> At:
    """`member at buyer_id`."""
    match = re.fullmatch(rf"({_NAME}) at (\S+)", text)
    if match is None:
        raise Malformed(
            f'"{text}" is not an end',
            help="an end is a kind of person and the column with their key: `member at buyer_id`",
            code="bad-end",
        )
    return At(match[1], match[2])


def read_every(text: str) -> Every:
    """`officer every 12 months`."""
    who, every, period = text.partition(" every ")
    if not every or not re.fullmatch(_NAME, who.strip()):
        raise Malformed(
            f'"{text}" does not say who attests and how often',
            help="write `officer every 12 months`",
            code="bad-every",
        )
    try:
        return Every(who.strip(), read_period(period.strip()))
    except Malformed as wrong:
        wrong.offset += len(who) + len(every)
        wrong.length = wrong.length or len(period)
        raise
