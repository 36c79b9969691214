"""How somebody stands towards every use at once, as bits: worked out for those who never said anything, and changed
for the few choices that somebody did answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kept.company import Company
from kept.controls.choices.deciding import Basis, Decision, Plan, Rulings
from kept.controls.choices.whom import Facts
from kept.controls.purposes.gate.limits import Limits
from kept.controls.purposes.gate.uses import Use, Uses
from kept.policy.facts import Data
from kept.policy.words import covers

MOST: Final = 1000  # sorts of people remembered


class Standing:
    """Works out the bits of people, by the policy of one company."""

    def __init__(self, company: Company, uses: Uses, rulings: Rulings) -> None:
        self.company, self.uses, self.rulings = company, uses, rulings
        self._usual: dict[tuple[object, ...], int] = {}
        self._about = self._turning()
        self._owners = {name: _owners(company, data) for name, data in company.policy.data.items()}
        self._limits = Limits(company)

    def bits(self, known: Basis, kind: str, signals: frozenset[str]) -> int:
        """A bit for each purpose and channel that nothing about the person forbids, and for each data of theirs whose
        limit hasn't passed; remembered with what is known of them."""
        found = known.standing.get(signals)
        if found is None:
            found = known.standing[signals] = self._plans(known, signals) | self._reach(known.facts, kind)
        return found

    def why_not(self, use: Use, known: Basis, kind: str, signals: frozenset[str]) -> Decision | None:
        """Why a use of somebody's data is refused, as far as they decide it; None where nothing of theirs forbids it.

        First whether there is such a person, and whether the data is theirs and within its limits; then where they
        are, what they said and what they chose.
        """
        facts, has = known.facts, self.bits(known, kind, signals)
        missing = use.bits & ~has
        if not missing:
            return None
        if not facts.there:
            return use.no("nobody", "there is nobody like that")
        names = (self._theirs(use.names, kind) if use.mixed else ()) or use.names
        lacking = [name for name in names if not has & self.uses.data[name]]
        for name in lacking:
            if not self._owners[name](kind, facts):
                return use.no("owner", f"`{name}` is no data of theirs")
        for name in lacking:
            past = self._limits.past(facts, kind, name)
            if past is not None and not self._limits.is_held(facts, kind, name, use.name):
                return use.no("limit", f"`{name}` is past its limit (`{past.name}`)")
        if not missing & use.plan:
            return None
        if not use.is_in(facts.region):
            where = ", ".join(map(str, use.entry.regions))
            return use.no(
                "region", f"`{use.name}` is for people in {where}, and they aren't known to be there"
            )
        return self.rulings.judge(known, use.name, use.channel, signals)

    def may_hold(self, use: Use) -> bool:
        """Whether some of its data may be kept beyond a limit for this use."""
        return any(self._limits.holds(name, use.name) for name in use.names)

    def _reach(self, facts: Facts, kind: str) -> int:
        found = sum(
            bit
            for name, bit in self.uses.data.items()
            if self._owners[name](kind, facts) and self._limits.past(facts, kind, name) is None
        )
        for purpose, bit in self.uses.mixed.items():
            theirs = self._theirs(map(str, self.uses.purposes[purpose].uses), kind)
            if theirs and all(found & self.uses.data[name] for name in theirs):
                found |= bit
        return found

    def _theirs(self, names: Iterable[str], kind: str) -> tuple[str, ...]:
        """What some kind of people has of this data."""
        return tuple(name for name in names if name in self._owners and kind in self._owners[name].roots)

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
        answered = {
            choice for choice, _ in (*known.events, *known.answers)
        }  # of the rest they stand as usual
        turning = {number for choice in answered for number in self._about.get(choice, ())}
        return self._bits(known, turning, signals, usual)

    def _bits(self, known: Basis, numbers: range | set[int], signals: frozenset[str], found: int) -> int:
        region = known.facts.region
        for number in numbers:
            entry, channel = self.uses.plans[number]
            fits = not entry.regions or (
                region is not None and any(covers(str(area), region) for area in entry.regions)
            )
            if fits and self.rulings.judge(known, str(entry.name), channel, signals).allowed:
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
