"""What the gate decides on answers made up for the purpose: nothing is written, and nobody is in it but by a number.

Each trial says what somebody answered and what must follow. The rules the gate goes by decide, on what they are given:
no gate is asked, so nothing counts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select

from kept.company import Company
from kept.controls.choices import meaning as meanings_of
from kept.controls.choices.asking import ASKED, ask_of, served
from kept.controls.choices.deciding import Basis, Decision, Rulings
from kept.controls.choices.declare import Choice
from kept.controls.choices.records.book import WITH, scopes
from kept.controls.choices.records.history import Event, Key, current
from kept.controls.choices.records.states import State
from kept.controls.choices.whom import Facts, facts
from kept.controls.purposes.declare import Purpose
from kept.controls.rights.people import person_of
from kept.laws.law import law
from kept.policy import words
from kept.policy.conditions import Conditional
from kept.policy.policy import Policy
from kept.state.tables import choice_events, subjects

SAMPLED: Final = 50  # people whose own answers are taken, and changed in memory
GUARDIAN: Final = "a guardian"
OTHER: Final = "0" * 64  # the meaning of a yes that was about nothing of this


@dataclass(frozen=True)
class Trial:
    """One question to the gate, what it must say, and what it said."""

    what: str
    use: str
    region: str | None
    must: bool
    said: bool

    @property
    def wrong(self) -> bool:
        return self.must != self.said

    def __str__(self) -> str:
        where = f" in {words.region_name(self.region)}" if self.region else ""
        return f"`{self.use}` is {'allowed' if self.said else 'refused'}{where} though {self.what}"


def trials(company: Company, choice: Choice) -> list[Trial]:
    """Everything tried of a choice: every use that waits for it, in every way of asking, for every state."""
    rulings, policy = Rulings(company), company.policy
    found: list[Trial] = []
    for kind in dict.fromkeys(policy.kind_of(str(who)) for who in choice.of):
        if kind is None:
            continue
        for region in regions(policy, choice):
            for use in _uses(company, choice):
                found += _Trying(company, rulings, choice, kind, region, use).every()
    return found


def sampled(company: Company, choice: Choice) -> list[Trial]:
    """Real people's answers: whoever said no is refused, and whoever said yes would be if they took it back."""
    policy, rulings = company.policy, Rulings(company)
    query = select(subjects.c.who).where(
        subjects.c.who.is_not(None),
        subjects.c.number.in_(
            select(choice_events.c.subject)
            .where(choice_events.c.choice == str(choice.name))
            .distinct()
            .limit(SAMPLED)
        ),
    )
    with company.state.read() as connection:
        sealed = connection.scalars(query).all()
    people = [person_of(policy, company.keys.unseal("subject", who).decode()) for who in sealed]
    answers, told = current(company, people), facts(company, people)
    found = []
    for who in people:
        mine, one = answers.get(who, {}), told[who]
        for use in _uses(company, choice):
            event = mine.get((str(choice.name), use.scope))
            if event is None:
                continue
            if event.is_against:
                said = use.ask(rulings, mine, one, {}).allowed
                found.append(Trial("somebody said no", use.name, one.region, False, said))
            else:
                changed = {**mine, (event.choice, event.scope): replace(event, state="Withdrawn")}
                said = use.ask(rulings, changed, one, {}).allowed
                found.append(Trial("somebody would take their yes back", use.name, one.region, False, said))
    return found


def regions(policy: Policy, choice: Choice) -> list[str | None]:
    """One region for each way in which a choice is asked; None, one that isn't known, stands for the first."""
    named = {str(region) for region in choice.ask} - {"elsewhere"}
    named |= {str(area) for name in policy.laws for area in law(name).regions}
    rest = sorted(words.regions() - {"elsewhere"})
    other = [next(one for one in rest if not any(words.covers(area, one) for area in named))]
    found: dict[str, str | None] = {}
    for region in (None, *sorted(named), *other):
        found.setdefault(ask_of(policy, choice, region), region)
    return list(found.values())


@dataclass(frozen=True)
class _Use:
    """Something that waits for a choice: a purpose through a channel, or whatever else, by the choice itself."""

    name: str
    choice: Choice
    scope: str
    purpose: Purpose | None = None
    channel: str | None = None
    promise: Conditional | None = None

    def ask(
        self,
        rulings: Rulings,
        events: Mapping[Key, Event],
        told: Facts,
        guards: Mapping[str, frozenset[str]],
        signals: frozenset[str] = frozenset(),
        meant: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Decision:
        rulings.meanings.update(meant or {})
        known = Basis(events, told, (), guards, float("inf"), answers=events)
        if self.purpose is not None:
            return rulings.decide(known, str(self.purpose.name), self.channel, signals)
        return rulings.choice(known, str(self.choice.name), self.scope, signals)


def _uses(company: Company, choice: Choice) -> list[_Use]:
    """Each use that waits for a choice; the choice alone where nothing names it."""
    waiting, name = served(company.policy, choice), str(choice.name)
    found: list[_Use] = []
    for purpose in waiting.purposes:
        if name not in purpose.choice:
            continue  # what a permission that covers everything is waited for by: below
        channels: list[str | None] = [str(one) for one in purpose.sends]
        for channel in channels or [None]:
            scope = {"channel": channel, "purpose": str(purpose.name)}.get(str(choice.each)) or ""
            found.append(_Use(purpose.id, choice, scope, purpose, channel))
    if choice.each is None:
        steps: list[Conditional] = [*waiting.collections, *waiting.disclosures]
        found += [_Use(one.id, choice, "", promise=one) for one in steps if name in one.choice]
    if choice.covers is not None:
        others = [one for one in waiting.purposes if name not in one.choice]
        found += [_Use(one.id, choice, "", one, str(one.sends[0]) if one.sends else None) for one in others]
    return found or [_Use(choice.id, choice, scope) for scope in scopes(company, choice)]


class _Trying:
    """The trials of one use of one sort of people in one region."""

    def __init__(
        self, company: Company, rulings: Rulings, choice: Choice, kind: str, region: str | None, use: _Use
    ) -> None:
        self.company = company
        self.rulings = rulings
        self.choice = choice
        self.region = region
        self.use = use
        self.now = company.clock()
        promise = use.purpose or use.promise
        kinds = {kind}  # and whoever else must be asked for the same use
        for other in (one for one in self._choices() if promise is not None and one.name in promise.choice):
            kinds |= {of for who in other.of if (of := company.policy.kind_of(str(who))) is not None}
        self.told = Facts(True, region, frozenset(one for of in kinds for one in company.policy.chain(of)))
        self.meant = {
            meanings_of.digest(body): body
            for one in company.policy.section("choices").values()
            if isinstance(one, Choice)
            for body in [meanings_of.meaning(company.policy, one)]
        }
        self.digests = {str(body["choice"]): digest for digest, body in self.meant.items()}
        self.meant[OTHER] = {"choice": str(choice.name), **{section: {} for section in meanings_of.SECTIONS}}

    def every(self) -> Iterator[Trial]:
        choice, first = self.choice, ask_of(self.company.policy, self.choice, self.region) in ASKED
        quiet = not first and not choice.by and not choice.with_party
        yes = self._event("Given")
        yield self._trial("nobody ever answered", quiet, None)
        yield self._trial("a yes stands", True, yes)
        yield self._trial("a yes was taken back", False, self._event("Withdrawn"))
        yield self._trial("they said no", False, self._event("Refused"))
        yield self._trial("the company took the yes back", False, self._event("Revoked"))
        silent = not first  # where silence is taken for a yes, what is neither a yes nor a no is silence
        yield self._trial("the yes is over", silent, self._event("Expired"))
        yield self._trial("a yes isn't confirmed yet", silent, self._event("Requested"))
        yield self._trial("they put it off", silent, self._event("RequestDeferred"))
        if first:
            lapsed = replace(yes, until=self.now - timedelta(seconds=1))
            yield self._trial("the time of a yes is over", False, lapsed)
            if choice.covers is None and self.use.purpose is not None:
                yield self._trial("a yes was about less", False, replace(yes, meaning=OTHER))
        if "gpc" in choice.signals:
            gpc = frozenset({"gpc"})
            yield self._trial("the browser sends the signal", False, None, signals=gpc)
            imported = replace(yes, way="import")
            yield self._trial(
                "the browser sends the signal, and nobody said yes", False, imported, signals=gpc
            )
            yield self._trial("they said yes themselves, whatever the browser sends", True, yes, signals=gpc)
        if "device" in choice.signals:
            off = frozenset({"device"})
            yield self._trial("the switch on the device is off", False, yes, signals=off)
        if choice.by:
            yield self._trial("their guardian may not speak for them any more", False, yes, guarded=False)
        if choice.with_party:
            yield self._trial("the other party has not agreed", False, yes, agreed=False)

    def _trial(
        self,
        what: str,
        must: bool,
        event: Event | None,
        *,
        signals: frozenset[str] = frozenset(),
        guarded: bool = True,
        agreed: bool = True,
    ) -> Trial:
        events = dict(self._others())
        if agreed:
            for party in self.choice.with_party:
                place = (str(self.choice.name), f"{WITH}{party}")
                events[place] = replace(self._event("Given"), scope=place[1])
        if event is not None:
            events[event.choice, event.scope] = event
        guards = (
            {str(one.name): frozenset({GUARDIAN}) for one in self._choices() if one.by} if guarded else {}
        )
        said = self.use.ask(self.rulings, events, self.told, guards, signals, self.meant)
        return Trial(what, self.use.name, self.region, must, said.allowed)

    def _others(self) -> Iterator[tuple[Key, Event]]:
        """What else a use waits for, all of it as it should be: so that this choice alone decides."""
        promise = self.use.purpose or self.use.promise
        for other in self._choices():
            if other.name == self.choice.name:
                continue
            state: State = "Withdrawn" if promise is not None and other.name in promise.unless else "Given"
            for scope in (*scopes(self.company, other), *(f"{WITH}{party}" for party in other.with_party)):
                given = state if not scope.startswith(WITH) else "Given"
                event = replace(
                    self._event(given),
                    choice=str(other.name),
                    scope=scope,
                    meaning=self.digests[str(other.name)],
                )
                yield (event.choice, scope), event

    def _choices(self) -> Sequence[Choice]:
        found = self.company.policy.section("choices").values()
        return [one for one in found if isinstance(one, Choice)]

    def _event(self, state: State, at: datetime | None = None) -> Event:
        at = at or self.now - timedelta(hours=1)
        return Event(
            number=0,
            record="0" * 32,
            subject=0,
            choice=str(self.choice.name),
            scope=self.use.scope,
            answer="yes",
            state=state,
            took=True,
            at=at,
            received=at,
            way="page",
            by=GUARDIAN if self.choice.by else None,
            notice=None,
            meaning=self.digests[str(self.choice.name)],
            region=self.region,
            until=None,
        )
