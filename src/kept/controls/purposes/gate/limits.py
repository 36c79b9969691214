"""The limits of data that count from a moment of the person's own: what is past one may not be used any more.

Those that count from a row or a link are a matter of rows (`gate.rows`), as they are for the sweep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kept.company import Company
from kept.controls.choices.whom import Facts
from kept.controls.retention.declare import Retention
from kept.policy.grammar import Clock, Period

NO_TIME: Final = Period(0, "hours")


@dataclass(frozen=True)
class PersonLimit:
    """A retention of data by a moment of people of a `kind`: their beginning or their end."""

    retention: Retention
    kind: str
    root: str
    began: bool
    period: Period


class Limits:
    """The limits of one policy."""

    def __init__(self, company: Company) -> None:
        self.company = company
        policy = company.policy
        all_ = [one for one in policy.section("retention").values() if isinstance(one, Retention)]
        clocks = {id(one): _clock(company, one) for one in all_}
        self._keeps: dict[str, tuple[tuple[Retention, PersonLimit | None], ...]] = {}
        for name, data in policy.data.items():
            kinds = {kind for owner in policy.owners(data) for kind in policy.chain(owner)}
            self._keeps[str(name)] = tuple(
                (one, clocks[id(one)])
                for one in all_
                if name in one.keeps or kinds & set(map(str, one.keeps))
            )

    def past(self, facts: Facts, kind: str, name: str) -> Retention | None:
        """A limit of some data that has passed for somebody; None where none has that they themselves count."""
        return next((one for one, limit in self._keeps[name] if self._is_past(limit, facts, kind)), None)

    def holds(self, name: str, purpose: str) -> bool:
        """Whether some data may be kept beyond a limit for a purpose."""
        return any(purpose in one.hold for one, _ in self._keeps[name])

    def is_held(self, facts: Facts, kind: str, name: str, purpose: str) -> bool:
        """Whether some data is kept beyond a limit for this very purpose, and that hasn't come to its end."""
        return any(
            purpose in one.hold and not self._is_past(limit, facts, kind) for one, limit in self._keeps[name]
        )

    def _is_past(self, limit: PersonLimit | None, facts: Facts, kind: str) -> bool:
        if limit is None or limit.root != kind or limit.kind not in facts.kinds | facts.unsure:
            return False
        at = facts.began_at if limit.began else facts.left_at
        if at is None:  # who has left at a time that nobody can read may have left long ago
            return facts.ended and not limit.began
        return at <= limit.period.cutoff(self.company.clock(), self.company.policy.timezone)


def _clock(company: Company, retention: Retention) -> PersonLimit | None:
    """When it counts from a moment that stands in the person's own row."""
    clock, policy = retention.until, company.policy
    if not isinstance(clock, Clock) or clock.event.of not in policy.people:
        return None
    kind, moment = str(clock.event.of), clock.event.moment
    root = policy.root(kind)
    if (
        root is None
        or moment not in ("began", "ended")
        or policy.moment(kind, moment) != getattr(root, moment)
    ):
        return None
    return PersonLimit(retention, kind, str(root.name), moment == "began", clock.period or NO_TIME)
