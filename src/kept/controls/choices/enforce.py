"""The gate before every use that turns on a choice: may this purpose use this person's data now?

What was decided is kept in memory with what it was decided on, and everything anybody chose since is read again
every quarter of a second: a change counts at once in the process that made it, and in every other within that time.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select

from kept.company import Company
from kept.controls.choices import meaning
from kept.controls.choices.asking import ask_of
from kept.controls.choices.declare import Choice
from kept.controls.choices.guardians import guardians
from kept.controls.choices.records import subjects
from kept.controls.choices.records.book import WITH
from kept.controls.choices.records.history import Event, Key, in_force
from kept.controls.choices.whom import Facts, facts
from kept.controls.purposes.declare import Purpose
from kept.controls.rights.instruct import in_force as said_by
from kept.controls.rights.instruct import refusal
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.policy.entry import Promise
from kept.state.database import insert
from kept.state.tables import choice_events, choice_readers, instructions, meanings
from kept.state.tables import subjects as subjects_table

EVERY: Final = 0.25  # seconds between two looks at what others chose or said
SURE: Final = 1.0  # seconds after which nobody can say how a choice stands, where it can't be looked at
FACTS: Final = 60.0  # seconds that a region or an age is remembered
REPORTS: Final = 5.0  # seconds between two notes of how far this process has read
MOST: Final = 100_000  # people remembered
NONE: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True)
class Decision:
    """Whether a use may happen, why (a sentence), and the clauses of the policy that say so."""

    allowed: bool
    reason: str
    clause: tuple[str, ...] = ()
    choice: str | None = None
    event: int | None = None  # the answer it rests on


@dataclass
class _Known:
    """What a decision about somebody rests on, and what was decided."""

    events: dict[Key, Event]
    facts: Facts
    said: Sequence[tuple[str, str]]
    guards: Mapping[str, frozenset[str]]
    read: float
    decided: dict[tuple[str, str | None, frozenset[str]], Decision] = field(default_factory=dict)


class Gate:
    """Decides for one company, for any number of threads; make one a process, after any fork."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self._lock = threading.RLock()
        self._known: dict[Person, _Known] = {}
        self._people: dict[bytes, Person] = {}
        self._meanings: dict[str, Mapping[str, Any]] = {}
        self._about: dict[str, Mapping[str, Any]] = {}
        self._seen = float("-inf")  # when it was last looked at what others did
        self._position = -1
        self._stamp: tuple[Any, ...] = ()
        self._id, self._since = uuid.uuid4().hex, company.clock()
        self._reported = float("-inf")
        self._asked = self._events = self._longest = 0

    @classmethod
    def of(cls, company: Company) -> Gate:
        """The gate of a company, one for as long as it is open."""
        gate = company.memory.get(cls)
        if gate is None:
            gate = company.memory.setdefault(cls, cls(company))
        return gate  # type: ignore[no-any-return]  # what stands under its class

    def may(
        self, who: Person, purpose: str, channel: str | None = None, *, signals: frozenset[str] = NONE
    ) -> Decision:
        """Whether a purpose may use somebody's data now, through a channel where it sends something.

        `signals` are those that come with this use: `gpc` (Sec-GPC: 1), `device` (the switch on the device is off).
        Whatever can't be found out refuses.
        """
        self._asked += 1
        if time.monotonic() - self._seen > EVERY and (wrong := self._look()) is not None:
            return wrong
        known = self._known.get(who)
        if known is None or time.monotonic() - known.read > FACTS:
            try:
                known = self._read([who])[who]
            except KeptError as error:
                return _unreadable(error)
        asked = (purpose, channel, signals)
        found = known.decided.get(asked)
        if found is None:
            found = self._decide(known, purpose, channel, signals)
            if found.event is None or not self._lapses(known, purpose):
                known.decided[asked] = found
        return found

    def may_all(
        self, whos: Sequence[Person], purpose: str, channel: str | None = None
    ) -> dict[Person, Decision]:
        """The same for many: what isn't known of them is read in a few statements."""
        if time.monotonic() - self._seen > EVERY and (wrong := self._look()) is not None:
            return dict.fromkeys(whos, wrong)
        now = time.monotonic()
        missing = [who for who in whos if who not in self._known or now - self._known[who].read > FACTS]
        try:
            fresh = self._read(missing) if missing else {}
        except KeptError as error:
            return dict.fromkeys(whos, _unreadable(error))
        self._asked += len(whos)
        return {
            who: self._decide(fresh.get(who) or self._known[who], purpose, channel, NONE)
            for who in dict.fromkeys(whos)
        }

    def choice(self, who: Person, name: str, scope: str = "", *, signals: frozenset[str] = NONE) -> Decision:
        """Whether one choice stands, whatever it is for."""
        if time.monotonic() - self._seen > EVERY and (wrong := self._look()) is not None:
            return wrong
        choice = self.company.policy.section("choices").get(name)
        if not isinstance(choice, Choice):
            return Decision(False, f"no choice `{name}` is declared")
        try:
            known = self._known.get(who) or self._read([who])[who]
        except KeptError as error:
            return _unreadable(error)
        return self._stands(known, choice, scope, signals, None)

    def learn(self, whos: Collection[Person]) -> None:
        """Forget what was decided of these people: this process has just changed it."""
        with self._lock:
            for who in whos:
                self._known.pop(who, None)

    # What is read.

    def _look(self) -> Decision | None:
        """Learn what was chosen and said since; why nothing can be decided where that can't be found out."""
        with self._lock:
            if time.monotonic() - self._seen <= EVERY:
                return None
            began = time.monotonic()
            try:
                self._catch_up()
            except KeptError as wrong:
                return _unreadable(wrong) if began - self._seen > SURE else None
            self._seen = began
            return None

    def _catch_up(self) -> None:
        company = self.company
        stamp = select(
            func.count(),
            func.count(instructions.c.ended),
            func.max(instructions.c.since),
            func.max(instructions.c.ended),
        )
        news = (
            select(choice_events.c.number, choice_events.c.received, subjects_table.c.person)
            .join(subjects_table, subjects_table.c.number == choice_events.c.subject)
            .where(choice_events.c.number > self._position)
            .order_by(choice_events.c.number)
        )
        with company.state.read() as connection:
            said = tuple(connection.execute(stamp).one())
            if self._position < 0:
                last = connection.scalar(select(func.max(choice_events.c.number)))
                rows: Sequence[Any] = ()
                self._position = int(last or 0)
            else:
                rows = connection.execute(news).all()
        now = company.clock()
        for number, received, person in rows:
            self._position = number
            self._events += 1
            self._longest = max(self._longest, _milliseconds(now, datetime.fromisoformat(received)))
            who = self._people.get(bytes(person)) if person is not None else None
            if who is not None:
                self._known.pop(who, None)
        if said != self._stamp:  # somebody restricted, objected, or took that back: whoever it was
            self._stamp = said
            self._known.clear()
        if time.monotonic() - self._reported > REPORTS:
            self._report(now)

    def _report(self, now: datetime) -> None:
        """Note how far this process has read, and the longest it took: what the board measures."""
        row = {
            "id": self._id,
            "since": self._since.isoformat(),
            "seen": now.isoformat(),
            "position": self._position,
            "asked": self._asked,
            "events": self._events,
            "longest": self._longest,
        }
        with self.company.state.write() as connection:
            writing = insert(connection, choice_readers).values(row)
            changed = {name: writing.excluded[name] for name in row if name not in ("id", "since")}
            connection.execute(writing.on_conflict_do_update(index_elements=["id"], set_=changed))
        self._reported = time.monotonic()

    def _read(self, whos: Sequence[Person]) -> dict[Person, _Known]:
        """What decisions about these people rest on."""
        company, now = self.company, time.monotonic()
        with self._lock:
            with company.state.read() as connection:
                numbers = subjects.find(company, whos, connection)
                events = in_force(connection, numbers.values())
            said, told = said_by(company, whos), facts(company, whos)
            guards = self._guards(whos, told)
            found = {
                who: _Known(
                    events.get(numbers.get(who, 0), {}), told[who], said.get(who, ()), guards[who], now
                )
                for who in whos
            }
            if len(self._known) + len(found) > MOST:
                self._known.clear()
                self._people.clear()
            if len(found) <= MOST:
                self._known |= found
                self._people |= {subjects.index(company, who): who for who in found}
        return found

    def _guards(
        self, whos: Sequence[Person], told: Mapping[Person, Facts]
    ) -> dict[Person, dict[str, frozenset[str]]]:
        """By choice that somebody else answers for: the pseudonyms of whoever may, for each person."""
        found: dict[Person, dict[str, frozenset[str]]] = {who: {} for who in whos}
        for choice in self._choices():
            theirs = [who for who in whos if choice.by and _concerns(self.company, choice, told[who])]
            if theirs:
                by = guardians(self.company, choice, theirs)
                for who in theirs:
                    found[who][str(choice.name)] = frozenset(by.get(who, {}).values())
        return found

    # What is decided.

    def _decide(self, known: _Known, purpose: str, channel: str | None, signals: frozenset[str]) -> Decision:
        policy = self.company.policy
        entry = policy.section("purposes").get(purpose)
        if not isinstance(entry, Purpose):
            return Decision(False, f"no purpose `{purpose}` is declared")
        clause = tuple(map(str, entry.clause))
        if not known.facts.there:
            return Decision(False, "there is nobody like that", clause)
        if channel is not None and channel not in map(str, entry.sends):
            return Decision(False, f"`{purpose}` sends nothing by {channel}", clause)
        against = refusal(policy, purpose, known.said)
        if against is not None:
            return Decision(False, against, clause)
        answer: int | None = None
        for choice in self._choices():
            if choice.covers is not None and _concerns(self.company, choice, known.facts):
                found = self._stands(known, choice, "", signals, None)
                if not found.allowed:
                    return found
        for name in (*entry.choice, *entry.unless):
            choice_ = policy.section("choices").get(name)
            if not isinstance(choice_, Choice):
                continue  # `unless` may name a link
            scope = {"channel": channel, "purpose": purpose}.get(str(choice_.each), "") or ""
            found = self._stands(known, choice_, scope, signals, entry)
            if found.allowed == (name in entry.unless):
                reason = found.reason if not found.allowed else f"`{name}` stands, and forbids it"
                return Decision(False, reason, found.clause or clause, str(name), found.event)
            answer = found.event or answer
        return Decision(True, "nothing they chose forbids it", clause, event=answer)

    def _stands(
        self, known: _Known, choice: Choice, scope: str, signals: frozenset[str], entry: Promise | None
    ) -> Decision:
        """Whether a choice allows what waits for it: a standing yes, or no no where none is needed."""
        policy, name, now = self.company.policy, str(choice.name), self.company.clock()
        clause = tuple(map(str, choice.clause))

        def no(reason: str, event: Event | None = None) -> Decision:
            return Decision(False, reason, clause, name, event.number if event is not None else None)

        if not _concerns(self.company, choice, known.facts):
            return no(f"`{name}` is no choice of theirs, so they never gave it")
        event = known.events.get((name, scope))
        if "device" in signals and "device" in choice.signals:
            return no("the switch on their device is off", event)
        if event is not None and event.is_against:
            return no(f"they said no to `{name}`", event)
        if "gpc" in signals and "gpc" in choice.signals and (event is None or event.is_automatic):
            return no("their browser asks for it with the Global Privacy Control", event)
        region = known.facts.region or (event.region if event is not None else None)
        if ask_of(policy, choice, region) in ("opt-out", "notice"):
            if event is not None and event.state in ("Expired", "Invalidated"):
                return no(f"their yes to `{name}` is over", event)
        elif event is None or not event.stands(now):
            return no(f"they have not said yes to `{name}`", event)
        elif entry is not None and not self._covers(event, entry):
            return no(f"they said yes to `{name}` before it was about this", event)
        if choice.by and (event is None or event.by not in known.guards.get(name, frozenset())):
            return no(f"whoever gave `{name}` may not any more", event)
        for party in choice.with_party:
            agreed = known.events.get((name, f"{WITH}{party}"))
            if agreed is None or not agreed.stands(now):
                return no(f"{policy.parties[party].label} has not agreed to `{name}`", agreed)
        return Decision(True, f"`{name}` stands", clause, name, event.number if event is not None else None)

    def _covers(self, event: Event, entry: Promise) -> bool:
        then = self._meanings.get(event.meaning)
        if then is None:
            with self.company.state.read() as connection:
                body = connection.scalar(select(meanings.c.body).where(meanings.c.id == event.meaning))
            if body is None:
                return False
            then = self._meanings.setdefault(event.meaning, json.loads(body))
        about = self._about.get(entry.id)
        if about is None:
            about = meaning.about(self.company.policy, entry.section, str(entry.name))
            self._about[entry.id] = about
        return meaning.covers(then, entry.section, str(entry.name), about)

    def _lapses(self, known: _Known, purpose: str) -> bool:
        """Whether an answer that a decision may rest on ends by itself, so that it can't be remembered."""
        return any(event.until is not None for event in known.events.values())

    def _choices(self) -> list[Choice]:
        return [one for one in self.company.policy.section("choices").values() if isinstance(one, Choice)]


def _concerns(company: Company, choice: Choice, told: Facts) -> bool:
    """Whether a choice is somebody's, or nobody can tell that it isn't."""
    kinds = {kind for who in choice.of if (kind := company.policy.kind_of(str(who))) is not None}
    return bool(kinds & (told.kinds | told.unsure))


def _unreadable(wrong: KeptError) -> Decision:
    return Decision(False, f"nobody can say how their choices stand: {wrong.message}")


def _milliseconds(now: datetime, then: datetime) -> int:
    return max(0, round((now - then).total_seconds() * 1000))
