"""How somebody stands towards every use at once, as bits: worked out for those who never said anything, and changed
for the few choices that somebody did answer."""

from __future__ import annotations

from typing import Final

from kept.company import Company
from kept.controls.choices.deciding import Basis, Plan, Rulings
from kept.controls.choices.whom import Facts
from kept.controls.purposes.gate.uses import Use, Uses
from kept.controls.retention.declare import Retention
from kept.policy.facts import Data
from kept.policy.grammar import Clock, Period
from kept.policy.words import covers

NO_TIME: Final = Period(0, "hours")
MOST: Final = 1000  # sorts of people remembered


class Standing:
    """Works out the bits of people, by the policy of one company."""

    def __init__(self, company: Company, uses: Uses, rulings: Rulings) -> None:
        self.company, self.uses, self.rulings = company, uses, rulings
        self._usual: dict[tuple[object, ...], int] = {}
        self._about = self._turning()
        self._guarded = {
            str(one.name) for one in rulings.choices.values() if one.by or one.covers is not None
        }
        self._owners = {name: _owners(company, data) for name, data in company.policy.data.items()}
        self._limits = tuple(_limits(company))

    def plans(self, known: Basis, signals: frozenset[str]) -> int:
        """A bit for each purpose and channel that nothing about the person forbids; remembered with what is known."""
        found = known.standing.get(signals)
        if found is None:
            found = known.standing[signals] = self._plans(known, signals)
        return found

    def reach(self, known: Basis, kind: str) -> int:
        """A bit for each data that a person of a kind has, and whose limit, counted from them, hasn't passed."""
        if not known.reach:
            known.reach = sum(
                bit for name, bit in self.uses.data.items() if self.why_not(known, kind, name) is None
            )
        return known.reach

    def why_not(self, known: Basis, kind: str, name: str) -> tuple[str, str] | None:
        """Why somebody's data may not be used, whatever for: a word and a sentence; None where it may."""
        if not self._owners[name](kind, known.facts):
            return "owner", f"`{name}` is no data of theirs"
        past = self._past(known.facts, kind, name)
        if past is not None:
            return "limit", f"`{name}` is past its limit (`{past.name}`)"
        return None

    def held_for(self, use: Use, name: str) -> bool:
        """Whether some data is kept beyond its limits for this very purpose."""
        return any(name in one.keeps and use.name in one.hold for one in _retentions(self.company))

    def _past(self, facts: Facts, kind: str, name: str) -> Retention | None:
        now, zone = self.company.clock(), self.company.policy.timezone
        for retention, root, began, period in self._limits:
            at = facts.began_at if began else facts.left_at
            if root == kind and name in retention.keeps and at is not None and at <= period.cutoff(now, zone):
                return retention
        return None

    def _plans(self, known: Basis, signals: frozenset[str]) -> int:
        facts = known.facts
        sort = (facts.there, facts.ended, facts.kinds, facts.unsure, facts.region, known.unplaced, signals)
        usual = self._usual.get(sort)
        if usual is None:
            if len(self._usual) >= MOST:
                self._usual.clear()
            nobody = Basis({}, facts, (), {}, 0.0, known.unplaced)
            usual = self._usual[sort] = self._bits(nobody, range(len(self.uses.plans)), signals, 0)
        if known.said:
            return self._bits(known, range(len(self.uses.plans)), signals, 0)
        answered = {choice for choice, _ in (*known.events, *known.answers)} | self._guarded
        turning = {number for choice in answered for number in self._about.get(choice, ())}
        return self._bits(known, turning, signals, usual)

    def _bits(self, known: Basis, numbers: range | set[int], signals: frozenset[str], found: int) -> int:
        region = known.facts.region
        for number in numbers:
            entry, channel = self.uses.plans[number]
            fits = not entry.regions or (
                region is not None and any(covers(str(area), region) for area in entry.regions)
            )
            if fits and self.rulings.decide(known, str(entry.name), channel, signals).allowed:
                found |= 1 << number
            else:
                found &= ~(1 << number)
        return found

    def _turning(self) -> dict[str, tuple[int, ...]]:
        """By choice, the uses that an answer to it may change."""
        found: dict[str, list[int]] = {}
        everywhere = {str(one.name) for one in self.rulings.permissions}
        for number, (entry, channel) in enumerate(self.uses.plans):
            plan = self.rulings.plan(str(entry.name), channel)
            waits = (
                {str(one.name) for one, _ in (*plan.needs, *plan.unless)} if isinstance(plan, Plan) else set()
            )
            for choice in waits | everywhere:
                found.setdefault(choice, []).append(number)
        return {choice: tuple(numbers) for choice, numbers in found.items()}


class _owners:  # noqa: N801  # a question that is asked again and again
    """Whether data can be that of somebody of a kind."""

    def __init__(self, company: Company, data: Data) -> None:
        self.kinds = frozenset(company.policy.owners(data))
        self.roots = {
            str(root.name) for kind in self.kinds if (root := company.policy.root(kind)) is not None
        }

    def __call__(self, kind: str, facts: Facts) -> bool:
        return kind in self.roots and not self.kinds.isdisjoint(facts.kinds - facts.unsure)


def _retentions(company: Company) -> list[Retention]:
    return [one for one in company.policy.section("retention").values() if isinstance(one, Retention)]


def _limits(company: Company) -> list[tuple[Retention, str, bool, Period]]:
    """The limits that count from a moment of the person's own: each with their root kind, whether that is
    the beginning, and the period.

    Those that count from a row or a link are a matter of rows (`gate.rows`).
    """
    found = []
    for one in _retentions(company):
        clock = one.until
        if isinstance(clock, Clock) and clock.event.of is not None and not one.hold:
            root = company.policy.root(clock.event.of)
            if root is not None and clock.event.moment in ("began", "ended"):
                found.append((one, str(root.name), clock.event.moment == "began", clock.period or NO_TIME))
    return found
