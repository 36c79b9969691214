"""The small expressions of the policy language, as values: periods, clocks, limits, tests, ends.

How they are written is in `docs/policies.md`; `expressions.py` reads them from text.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from kept.laws.period import Period as Period
from kept.laws.period import Unit as Unit
from kept.policy.source import Name

Moment = Literal["began", "ended", "recorded", "found", "asked"]
Operator = Literal["=", "!=", "<", "<=", ">", ">=", "is empty", "is not empty"]


@dataclass(frozen=True)
class Event:
    """The moment a clock starts: `user.ended` (`of` names a person kind or a link) or `recorded`, `found`, `asked`."""

    moment: Moment
    of: str | None = None

    def __str__(self) -> str:
        return f"{self.of}.{self.moment}" if self.of else self.moment


@dataclass(frozen=True)
class Clock:
    """`24 months after user.ended`; without a period, the event itself."""

    event: Event
    period: Period | None = None

    def __str__(self) -> str:
        return f"{self.period} after {self.event}" if self.period else str(self.event)


@dataclass(frozen=True)
class Forever:
    """`forever`: legal to write, always flagged."""

    def __str__(self) -> str:
        return "forever"


Limit = Clock | Forever


@dataclass(frozen=True)
class Comparison:
    """One condition on a row: `role = member`, `closed_at is empty`; of `age >= 13` the column is `age`."""

    column: str
    operator: Operator
    value: str | None = None
    of_age: bool = False

    def __str__(self) -> str:
        return f"{self.column} {self.operator}" + (f" {self.value}" if self.value is not None else "")


@dataclass(frozen=True)
class Test:
    """Comparisons that must all hold."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    all: tuple[Comparison, ...]

    def __str__(self) -> str:
        return " and ".join(str(part) for part in self.all)


@dataclass(frozen=True)
class At:
    """`member at buyer_id`: a kind of person, and the column of this table that holds their key."""

    kind: str
    column: str

    def __str__(self) -> str:
        return f"{self.kind} at {self.column}"


@dataclass(frozen=True)
class Every:
    """`officer every 12 months`: who attests, and how long an attestation lasts."""

    kind: str
    period: Period

    def __str__(self) -> str:
        return f"{self.kind} every {self.period}"


@dataclass(frozen=True)
class Owner:
    """Whom data is about: a person kind or a link's end, and the column that says so where several could."""

    who: Name
    column: str | None = None

    def __str__(self) -> str:
        return f"{self.who} at {self.column}" if self.column else str(self.who)


@dataclass(frozen=True)
class Agreement:
    """A dated agreement: from a day, until a day or until it is ended (`until` None)."""

    since: date
    until: date | None

    def __str__(self) -> str:
        return f"{self.since} until {self.until or 'ended'}"


@dataclass(frozen=True)
class Sort:
    """The sort of data a column holds; `store` for a path to a file in that store (`file in uploads`)."""

    type: str
    store: Name | None = None

    def __str__(self) -> str:
        return f"file in {self.store}" if self.store else self.type


@dataclass(frozen=True)
class DeclaredReference:
    """A key the database doesn't declare: `columns` of `table` equal `to_columns` of `to` (where `when` holds).

    Tables are `store.table`; `path` is the way into a JSON column (`payload->user->id` is `("user", "id")`).
    """

    table: Name
    columns: tuple[str, ...]
    to: Name
    to_columns: tuple[str, ...]
    path: tuple[str, ...] = ()
    when: Test | None = None
