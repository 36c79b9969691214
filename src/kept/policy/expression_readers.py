"""Readers of the small expressions: periods, clocks, limits, tests, ends, dates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from typing import TypeVar

from ruamel.yaml.nodes import Node

from kept.policy.expressions import (
    Malformed,
    read_at,
    read_clock,
    read_every,
    read_limit,
    read_period,
    read_test,
)
from kept.policy.grammar import Agreement, At, Clock, Every, Limit, Owner, Period, Test
from kept.policy.readers import JSON, Reader, Reading
from kept.policy.source import Name, Span

T = TypeVar("T")


class Expression(Reader[T]):
    """A small expression; a malformed one is told in the words of its own grammar."""

    def __init__(self, parse: Callable[[str], T], what: str, pattern: str | None = None) -> None:
        self.parse = parse
        self.what = what
        self.pattern = pattern

    def read(self, node: Node, reading: Reading) -> T | None:
        text = reading.scalar(node, self.what)
        if text is None:
            return None
        try:
            return self.parse(text)
        except Malformed as wrong:
            span = reading.part(node, wrong.offset, wrong.length or None)
            reading.problems.error(wrong.code, wrong.message, span, help=wrong.help)
            return None

    def schema(self) -> JSON:
        schema: JSON = {"type": "string", "description": self.what}
        if self.pattern:
            schema["pattern"] = self.pattern
            if re.fullmatch(self.pattern, "2"):  # an editor reads it as a number
                least = 1 if re.fullmatch(self.pattern, "1") else 2
                schema.update(type=["string", "integer"], minimum=least)
        return schema


_NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
_PERIOD = r"(at once|\d+ +(hours?|days?|weeks?|months?|years?))"
_EVENT = rf"({_NAME}\.(began|ended)|recorded|found|asked)"
_CLOCK = rf"({_PERIOD} +after +)?{_EVENT}"
_COMPARISON = r"\S+ ((=|!=|<|<=|>|>=) .+|is (not )?empty)"


def period() -> Reader[Period]:
    return Expression(read_period, "a period such as `24 months`", rf"^{_PERIOD}$")


def limit() -> Reader[Limit]:
    what = "a limit: `24 months after user.ended`, an event, or `forever`"
    return LimitReader(read_limit, what, rf"^(forever|{_CLOCK})$")


def clock(what: str = "a clock: `90 days after sale.ended`, or an event") -> Reader[Clock]:
    return LimitReader(read_clock, what, rf"^{_CLOCK}$")


def test() -> Reader[Test]:
    return Expression(read_test, "a test such as `role = member`", rf"^{_COMPARISON}$")


class LimitReader(Expression[T]):
    """A limit or a clock: the kind or link it starts with is a reference."""

    def references(self, value: T) -> Iterator[tuple[Name, tuple[str, ...]]]:
        if isinstance(value, Clock) and isinstance(value.event.of, Name):
            yield value.event.of, ("people", "links")

    def read(self, node: Node, reading: Reading) -> T | None:
        value = super().read(node, reading)
        if isinstance(value, Clock) and value.event.of is not None:
            of = value.event.of
            placed = Name(of, reading.part(node, str(node.value).rfind(f"{of}."), len(of)))
            return replace(value, event=replace(value.event, of=placed))
        return value


class KindAtColumn(Expression[At]):
    """`member at buyer_id`."""

    def __init__(self) -> None:
        what = "a person kind and its column, such as `member at buyer_id`"
        super().__init__(read_at, what, rf"^{_NAME} at \S+$")

    def read(self, node: Node, reading: Reading) -> At | None:
        value = super().read(node, reading)
        return value and At(Name(value.kind, reading.part(node, 0, len(value.kind))), value.column)

    def references(self, value: At) -> Iterator[tuple[Name, tuple[str, ...]]]:
        if isinstance(value.kind, Name):
            yield value.kind, ("people",)


class EveryReader(Expression[Every]):
    """`officer every 12 months`."""

    def __init__(self) -> None:
        what = "who attests and how often, such as `officer every 12 months`"
        super().__init__(read_every, what, rf"^{_NAME} every {_PERIOD}$")

    def read(self, node: Node, reading: Reading) -> Every | None:
        value = super().read(node, reading)
        return value and Every(Name(value.kind, reading.part(node, 0, len(value.kind))), value.period)

    def references(self, value: Every) -> Iterator[tuple[Name, tuple[str, ...]]]:
        if isinstance(value.kind, Name):
            yield value.kind, ("people",)


class OwnerReader(Expression[Owner]):
    """`user`, `sale.buyer`, or `customer at customer_id` where a table reaches the person in several ways."""

    def __init__(self) -> None:
        what = "a person kind, a link's end, or `kind at column`"
        super().__init__(_owner, what, rf"^{_NAME}(\.{_NAME})?( at \S+)?$")

    def read(self, node: Node, reading: Reading) -> Owner | None:
        value = super().read(node, reading)
        return value and replace(value, who=Name(value.who, reading.part(node, 0, len(value.who))))

    def references(self, value: Owner) -> Iterator[tuple[Name, tuple[str, ...]]]:
        yield value.who, ("people", "ends")


def _owner(text: str) -> Owner:
    match = re.fullmatch(rf"({_NAME}(?:\.{_NAME})?)(?: at (\S+))?", text)
    if match is None:
        raise Malformed(
            f'"{text}" does not say whose',
            help="write a kind, a link's end such as sale.buyer, or `kind at column`",
            code="bad-owner",
        )
    return Owner(Name(match[1], Span(1, 1)), match[4])


class DateReader(Expression[date]):
    """A date, `2026-03-01`."""

    def __init__(self, what: str = "a date such as 2026-03-01") -> None:
        super().__init__(_date, what, r"^\d{4}-\d{2}-\d{2}$")


def _date(text: str) -> date:
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError:
        raise Malformed(
            f'"{text}" is not a date', help="write year-month-day, such as 2026-03-01", code="bad-date"
        ) from None


def _agreement(text: str) -> Agreement:
    since, separator, until = text.partition(" until ")
    if not separator:
        raise Malformed(
            f'"{text}" is not an agreement',
            help="write `2025-04-01 until 2027-04-01` or `2025-04-01 until ended`",
            code="bad-agreement",
        )
    begin, end = _date(since.strip()), None if until.strip() == "ended" else _date(until.strip())
    if end is not None and end < begin:
        raise Malformed(
            f'"{text}" ends before it begins', help="put the earlier date first", code="bad-agreement"
        )
    return Agreement(begin, end)


def agreement() -> Reader[Agreement]:
    pattern = r"^\d{4}-\d{2}-\d{2} until (\d{4}-\d{2}-\d{2}|ended)$"
    return Expression(_agreement, "an agreement such as `2025-04-01 until 2027-04-01`", pattern)
