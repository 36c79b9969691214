"""The rules by which a use is allowed or refused, from what is known of a person. No database is asked here.

`kept.controls.choices.messages.audience` says the same of everybody at once; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from kept.company import Company
from kept.controls.choices import meaning
from kept.controls.choices.declare import Choice
from kept.controls.choices.records.answers import WITH, reaches
from kept.controls.choices.records.checked import Rules, scopes
from kept.controls.choices.records.history import Event, Key
from kept.controls.choices.whom import Facts
from kept.controls.purposes.declare import Purpose
from kept.controls.rights.instruct import HOLD, refusal
from kept.policy.entry import Promise

NONE: Final[frozenset[str]] = frozenset()
SILENT: Final = ("opt-out", "notice")  # the ways of asking that take silence for a yes
SIGNALS: Final = frozenset({"gpc", "device"})
SAID: Final = ("restrict", "object", "withdraw", HOLD)  # what may be said about uses, the widest first

How = Literal["as is", "masked", "aggregated"]
NOTHING: Final[Mapping[str, How]] = {}


@dataclass(frozen=True)
class Decision:
    """Whether a use may happen, why (a sentence), and the clauses of the policy that say so.

    `unsure`: it is refused because nobody could tell, and whoever asks again later may hear otherwise. An allowed use
    says which columns (`store.table.column`) it may see, and how; one of groups, how many people each has at least.
    `rule` is the word for what refused it, for programs.
    """

    allowed: bool
    reason: str
    clause: tuple[str, ...] = ()
    choice: str | None = None
    event: int | None = None  # the answer it rests on
    unsure: bool = False
    rule: str = ""
    fields: Mapping[str, How] = field(default_factory=lambda: NOTHING)
    floor: int | None = None


@dataclass(slots=True)
class Basis:
    """What decisions about somebody rest on, until when (on `time.monotonic`), and what was decided."""

    events: Mapping[Key, Event]
    facts: Facts
    said: Sequence[tuple[str, str]]
    guards: Mapping[str, frozenset[str]]
    until: float
    unplaced: bool = False  # no database of the company's has them, so where they are only their answers say
    answers: Mapping[Key, Event] = field(
        default_factory=dict
    )  # the newest yes or no to each (`history.standing`)
    decided: dict[tuple[str, str | None, frozenset[str]], Decision] = field(default_factory=dict)
    standing: dict[frozenset[str], int] = field(default_factory=dict)  # `purposes.gate.standing`, by signals
    refused: dict[frozenset[str], dict[object, Decision]] = field(
        default_factory=dict
    )  # uses of the same gate, by signals


@dataclass(frozen=True)
class Plan:
    """What a purpose, through a channel, waits for: choices, each with its scope, and those that forbid it."""

    entry: Purpose
    clause: tuple[str, ...]
    needs: tuple[tuple[Choice, str], ...]
    unless: tuple[tuple[Choice, str], ...]
    leavers: bool  # whether it concerns those who have left

    @property
    def name(self) -> str:
        return str(self.entry.name)


class Rulings:
    """Decides by the policy of one company; keeps what is worked out from the policy alone."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.policy = company.policy
        self.rules = Rules.of(company)
        self.meanings: dict[
            str, Mapping[str, Any] | None
        ] = {}  # what choices were about, by digest; read with events
        choices = self.policy.section("choices").values()
        self.choices = {str(one.name): one for one in choices if isinstance(one, Choice)}
        self.scopes = {name: frozenset(scopes(company, one)) for name, one in self.choices.items()}
        self._kinds = {
            name: frozenset(kind for who in one.of if (kind := self.policy.kind_of(str(who))) is not None)
            for name, one in self.choices.items()
        }
        self.permissions = tuple(one for one in self.choices.values() if one.covers is not None)
        self._plans: dict[tuple[str, str | None], Plan | Decision] = {}
        self._covers: dict[tuple[str, str], bool] = {}

    def decide(
        self, known: Basis, purpose: str, channel: str | None, signals: frozenset[str] = NONE
    ) -> Decision:
        """Whether a purpose may use somebody's data; what was decided is kept with what it rests on."""
        asked = (purpose, channel, signals)
        found = known.decided.get(asked)
        if found is None:
            plan = self.plan(purpose, channel)
            if isinstance(plan, Decision):
                return plan  # and not kept: anybody may ask about anything
            found = self._decide(known, plan, signals)
            if signals <= SIGNALS:
                known.decided[asked] = found
        return found

    def judge(
        self, known: Basis, purpose: str, channel: str | None, signals: frozenset[str] = NONE
    ) -> Decision:
        """The same, and nothing is kept: for whoever asks about every purpose there is."""
        plan = self.plan(purpose, channel)
        return plan if isinstance(plan, Decision) else self._decide(known, plan, signals)

    def plan(self, purpose: str, channel: str | None) -> Plan | Decision:
        """What a purpose waits for; a decision where nobody may be written to by it."""
        found = self._plans.get((purpose, channel))
        if found is not None:
            return found
        entry = self.policy.section("purposes").get(purpose)
        if not isinstance(entry, Purpose):
            return Decision(False, "no such purpose is declared", rule="purpose")
        clause = tuple(map(str, entry.clause))
        if channel is not None and channel not in map(str, entry.sends):
            return Decision(False, f"`{purpose}` sends nothing in this way", clause, rule="channel")
        needs, unless = (
            tuple(
                (self.choices[name], self._scope(name, purpose, channel))
                for name in names
                if name in self.choices
            )
            for names in (entry.choice, entry.unless)  # `unless` may name a link
        )
        made = Plan(entry, clause, needs, unless, leavers=not (entry.sends and entry.choice))
        return self._plans.setdefault((purpose, channel), made)

    def choice(
        self,
        known: Basis,
        name: str,
        scope: str = "",
        signals: frozenset[str] = NONE,
        *,
        region: str | None = None,
        entry: Promise | None = None,
    ) -> Decision:
        """Whether one choice stands, whatever it is for; for an `entry`, only as far as it was given for that.

        `region` is where somebody is of whom no record says it, such as a visitor.
        """
        choice = self.choices.get(name)
        if choice is None:
            return Decision(False, "no such choice is declared", rule="choice")
        return self._stands(known, choice, scope, signals, entry, region)

    def concerns(self, choice: Choice, told: Facts) -> bool:
        """Whether a choice is somebody's, or nobody can tell that it isn't."""
        kinds = self._kinds[str(choice.name)]
        return not kinds.isdisjoint(told.kinds) or not kinds.isdisjoint(told.unsure)

    def kinds(self, choice: Choice) -> frozenset[str]:
        """The kinds of people whose choice it is."""
        return self._kinds[str(choice.name)]

    def is_silent(self, choice: Choice, region: str | None) -> bool:
        """Whether silence is taken for a yes in a region."""
        return self.rules.ask(str(choice.name), region) in SILENT

    def covers(self, then: str, entry: Promise) -> bool:
        """Whether a yes given for a meaning (its digest, among `meanings`) covers what a promise is about now."""
        found = self._covers.get((then, entry.id))
        if found is None:
            body = self.meanings.get(then)
            about = meaning.about(self.policy, entry.section, str(entry.name))
            found = body is not None and meaning.covers(body, entry.section, str(entry.name), about)
            if body is not None:
                self._covers[then, entry.id] = found
        return found

    def _scope(self, choice: str, purpose: str, channel: str | None) -> str:
        each = str(self.choices[choice].each)
        return {"channel": channel, "purpose": purpose}.get(each, "") or ""

    def _decide(self, known: Basis, plan: Plan, signals: frozenset[str]) -> Decision:
        if not known.facts.there:
            return Decision(False, "there is nobody like that", plan.clause, rule="nobody")
        if known.facts.ended and not plan.leavers:
            return Decision(False, "they have left", plan.clause, rule="left")
        for verb in SAID if known.said else ():
            against = refusal(self.policy, plan.name, [one for one in known.said if one[0] == verb])
            if against is not None:
                return Decision(False, against, plan.clause, rule=verb)
        answer: int | None = None
        for permission in self.permissions:
            if self.concerns(permission, known.facts):
                found = self._stands(known, permission, "", signals, None)
                if not found.allowed:
                    return found
        for choice, scope in plan.needs:
            found = self._stands(known, choice, scope, signals, plan.entry)
            if not found.allowed:
                return found
            answer = found.event or answer
        for choice, scope in plan.unless:
            event = self.objection(known, choice, scope)
            if event is not None or self._is_silent_yes(known, choice, scope):
                name, number = str(choice.name), event.number if event is not None else None
                why = f"`{name}` stands, and forbids it"
                return Decision(False, why, plan.clause, name, number, rule="unless")
        return Decision(True, "nothing they chose forbids it", plan.clause, event=answer)

    def in_force(self, known: Basis, choice: Choice, scope: str) -> Event | None:
        """The answer to a choice for a scope, whatever the policy asked for when it was given."""
        name = str(choice.name)
        return in_force(known.events, name, scope, self.scopes[name], self.company.clock())

    def is_guarded(self, known: Basis, choice: Choice, scope: str) -> bool:
        """Whether whoever answered a choice for somebody may still do so."""
        event = self.in_force(known, choice, scope)
        return event is not None and event.by in known.guards.get(str(choice.name), NONE)

    def objection(self, known: Basis, choice: Choice, scope: str) -> Event | None:
        """The yes by which a choice forbids a use (`unless`): their newest answer, if it is one.

        It forbids as long as they haven't said no: whatever was meant then, though it lapsed or was never confirmed,
        whoever gave it, and whether a party agreed. None of that may open what they closed.
        """
        name = str(choice.name)
        return newest_yes(known.answers, name, scope, self.scopes[name])

    def _is_silent_yes(self, known: Basis, choice: Choice, scope: str) -> bool:
        """Whether a choice of theirs stands without an answer, as silence is taken for a yes where they are."""
        if not self.concerns(choice, known.facts):
            return False
        event = self.in_force(known, choice, scope)
        return self.is_silent(choice, _region(known, event)) and (event is None or not event.is_against)

    def _stands(
        self,
        known: Basis,
        choice: Choice,
        scope: str,
        signals: frozenset[str],
        entry: Promise | None,
        place: str | None = None,
    ) -> Decision:
        """Whether a choice allows what waits for it: a standing yes, or no no where none is needed."""
        name, clause = str(choice.name), tuple(map(str, choice.clause))

        def no(reason: str, event: Event | None = None) -> Decision:
            number = event.number if event is not None else None
            return Decision(False, reason, clause, name, number, rule="choice")

        if not self.concerns(choice, known.facts):
            return no(f"`{name}` is no choice of theirs, so they never gave it")
        event = self.in_force(known, choice, scope)
        if "device" in signals and "device" in choice.signals:
            return no("the switch on their device is off", event)
        if event is not None and event.is_against:
            return no(f"they said no to `{name}`", event)
        if "gpc" in signals and "gpc" in choice.signals and not _is_explicit(event):
            return no("their browser asks for it with the Global Privacy Control", event)
        if not self.is_silent(choice, _region(known, event) or place):
            if event is None or not event.stands(self.company.clock()):
                return no(f"they have not said yes to `{name}`", event)
            if entry is not None and not self.covers(event.meaning, entry):
                return no(f"they said yes to `{name}` before it was about this", event)
        if choice.by and not self.is_guarded(known, choice, scope):
            return no(f"whoever gave `{name}` may not any more", event)
        for party in choice.with_party:
            agreed = known.events.get((name, f"{WITH}{party}"))
            if agreed is None or not agreed.stands(self.company.clock()):
                return no(f"{self.policy.parties[party].label} has not agreed to `{name}`", agreed)
        return Decision(True, f"`{name}` stands", clause, name, event.number if event is not None else None)


def in_force(
    events: Mapping[Key, Event], choice: str, scope: str, today: Collection[str], now: datetime
) -> Event | None:
    """The answer to a choice for a scope; `today` are the scopes for which it is asked.

    The policy may have been edited since it was given (`reaches`). A no from then counts until there is a newer yes to
    what is asked now, and only while that stands; a yes from then doesn't.
    """
    event = events.get((choice, scope))
    if event is not None and event.is_against:
        return event
    noes = [
        before
        for (name, other), before in events.items()
        if name == choice and before.is_against and reaches(other, scope, today)
    ]
    if event is not None and event.stands(now):
        noes = [before for before in noes if before.at >= event.at]
    return max(noes, key=lambda no: (no.at, no.number), default=event)


def newest_yes(answers: Mapping[Key, Event], choice: str, scope: str, today: Collection[str]) -> Event | None:
    """Their newest answer where it is a yes; one from when the policy asked otherwise counts until a newer no."""
    mine = answers.get((choice, scope))
    if mine is not None and _is_yes(mine):
        return mine
    yeses = [
        other
        for (name, where), other in answers.items()
        if name == choice
        and _is_yes(other)
        and reaches(where, scope, today)
        and (mine is None or other.at >= mine.at)
    ]
    return max(yeses, key=lambda yes: (yes.at, yes.number), default=None)


def _is_yes(event: Event) -> bool:
    return event.answer == "yes" and not event.is_against


def _region(known: Basis, event: Event | None) -> str | None:
    """Where somebody is, by the company's word; by their answer's where no database has them."""
    return known.facts.region or (event.region if event is not None and known.unplaced else None)


def _is_explicit(event: Event | None) -> bool:
    """Whether somebody said themselves what is in force: only being shown something is nothing said."""
    return event is not None and not event.is_automatic and event.answer in ("yes", "no")
