"""One transaction's answers: each checked against what is on record, and written with the marks that follow from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, bindparam, insert, select, text

from kept.company import Company
from kept.controls.choices.records import effect, marks, notices, subjects
from kept.controls.choices.records.answers import WITH, New, Recorded, Refused, reaches
from kept.controls.choices.records.checked import Rules
from kept.controls.choices.records.effect import Standing
from kept.controls.choices.records.history import Event, Key, counted, event_of
from kept.controls.choices.records.marks import Mark, mark_of
from kept.controls.choices.records.states import OURS, STANDING, following
from kept.controls.rights.people import Person
from kept.laws.choices import ASKS
from kept.state.tables import choice_events
from kept.state.tables import notices as notices_table

AT_ONCE: Final = 5000
REMEMBERED: Final = 1000  # notices
SLOW: Final = timedelta(days=1)  # how far behind a device's clock may be
OWN: Final = ("banner", "page")  # kinds of notice that Kept itself shows, so it knows since when
LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)

_INSERT: Final = insert(choice_events)
_LAST: Final = text("SELECT coalesce(max(number), 0) FROM choice_events")
_RECORDS: Final = select(choice_events).where(
    choice_events.c.record.in_(bindparam("records", expanding=True))
)

Place = tuple[str, str, str]
"""A record, a choice and its scope: what is on record once."""


@dataclass(frozen=True)
class Shown:
    """What a notice asked about: the meaning of each choice, and how it asked; and since when Kept showed it, None
    for words of the company's own, which were there before Kept was told of them."""

    meanings: Mapping[str, str]
    asks: Mapping[str, str]
    since: datetime | None


class Memory:
    """What never changes once it is committed: notices that were shown, and the meanings kept. One for each company."""

    def __init__(self) -> None:
        self.shown: dict[str, Shown] = {}
        self.meant: dict[str, str] = {}

    @classmethod
    def of(cls, company: Company) -> Memory:
        return company.memory.setdefault(cls, cls())  # type: ignore[no-any-return]  # what stands under its class


class Writing:
    """Answers of one transaction under way, as they follow one another: groups, each whole or not at all."""

    def __init__(self, company: Company, connection: Connection, groups: Sequence[Sequence[New]]) -> None:
        marks.alone(connection)
        self.company, self.connection = company, connection
        self.rules, self.memory = Rules.of(company), Memory.of(company)
        self.groups = groups
        given = [new for group in groups for new in group]
        self.on_record = _on_record(connection, given)
        self.whose = {event.record: event.subject for event in self.on_record.values()}
        self.shown = self._shown(given)
        self.received = company.clock()
        self.rows: list[dict[str, Any]] = []
        self.entries: list[tuple[str, dict[str, Any]]] = []
        self._said: dict[Place, tuple[Person, str]] = {}
        self._ids: dict[str | None, Person] = {}
        self._on: dict[tuple[Mark, int], None] = {}
        self._off: dict[tuple[Mark, int], None] = {}

    def write(self) -> list[list[Recorded] | Refused]:
        """For each group what was recorded, or why it is refused."""
        known = subjects.known(
            self.company, self.connection, {new.who for group in self.groups for new in group}
        )
        ready = [self._checked(group, known) for group in self.groups]
        fit = [new for one in ready if not isinstance(one, Refused) for new, _ in one]
        fresh = [new for new in fit if _place(new) not in self.on_record]
        self.numbered = known
        if fresh:
            self._prepare(fresh, known)
        results = [
            one if isinstance(one, Refused) else [self._one(new, at) for new, at in one] for one in ready
        ]
        if self.rows:
            self.connection.execute(_INSERT, self.rows)
            marks.change(self.connection, self._on, self._off)
        return results

    def remember(self) -> None:
        """Once it is committed."""
        self.memory.meant |= self.meant if self.rows else {}

    def _prepare(self, fresh: Sequence[New], known: Mapping[Person, tuple[int, str]]) -> None:
        company, connection = self.company, self.connection
        missing = list(dict.fromkeys(new.who for new in fresh if new.who not in known))
        self.numbered = {**known, **(subjects.make(company, connection, missing) if missing else {})}
        old = {known[new.who][0] for new in fresh if new.who in known}
        self.stands: dict[int, dict[Key, Standing]] = (
            effect.standings(counted(connection, old)) if old else {}
        )
        self.meant = dict(self.memory.meant)
        if names := sorted({new.choice for new in fresh} - self.meant.keys()):
            self.meant |= notices.keep_meanings(company, connection, names)
        self.last = int(connection.scalar(_LAST) or 0)

    def _checked(
        self, group: Sequence[New], known: Mapping[Person, tuple[int, str]]
    ) -> list[tuple[New, datetime | None]] | Refused:
        """A group with the times its answers came with, once all that could refuse it is looked at."""
        said: dict[Place, tuple[Person, str]] = {}
        try:
            for new in group:
                one = (new.who, new.answer)
                if self._ids.setdefault(new.record, new.who) != new.who:
                    raise Refused("replayed", "somebody else's answer was sent under this id")
                if self._said.get(_place(new), one) != one or said.setdefault(_place(new), one) != one:
                    raise Refused("replayed", "another answer was sent under this id")
            timed = [(new, self._time(new, known)) for new in group]
        except Refused as wrong:
            return wrong
        self._said |= said
        return timed

    def _time(self, new: New, known: Mapping[Person, tuple[int, str]]) -> datetime | None:
        """When an answer says it was given: never before Kept had shown what it answers to, as a slow clock says."""
        before, subject = self.on_record.get(_place(new)), known.get(new.who, (0,))[0]
        if self.whose.get(str(new.record), subject) != subject:
            raise Refused("replayed", "another answer was recorded under this id")
        if before is not None:
            if before.answer != new.answer:
                raise Refused("replayed", "another answer was recorded under this id")
            return new.at
        if new.notice is None:
            return new.at
        shown = self.shown.get(new.notice)
        if shown is None:
            raise Refused("unknown-notice", "nothing like this was ever shown")
        if new.choice not in shown.meanings:
            raise Refused("not-asked", f"what was shown didn't ask about `{new.choice}`")
        if new.at is None or shown.since is None:
            return new.at
        if new.answer == "yes" and new.at < shown.since - SLOW:
            raise Refused("impossible-time", "this yes was given before what it answers to was shown")
        return max(new.at, shown.since)

    def _at(self, new: New, said: datetime | None) -> datetime:
        """When an answer was given, as far as clocks can tell.

        What comes without a time of its own came last, whatever this server's clock says: never before what they said
        last. A browser delivers what it was told in order, so neither is a no of a visitor's, though its clock was set
        back; a yes is not believed to be newer than it says.
        """
        mine = self.stands.get(self.numbered[new.who][0], {})
        today = self.rules.scopes(new.choice) if new.way not in OURS else ()
        before = [
            stood
            for (choice, scope), stood in mine.items()
            if choice == new.choice and (scope == new.scope or reaches(scope, new.scope, today))
        ]
        if said is None:
            times = [one.at for stood in before for one in (stood.event, stood.answer) if one is not None]
            shown = self.shown[new.notice].since if new.notice is not None else None
            return max(self.received, shown or LONG_AGO, *times)
        if new.way == "banner" and new.answer == "no" and new.who.kind == self.rules.visitors:
            times = [one.at for stood in before if (one := stood.last) is not None and not one.is_automatic]
            return max(said, *times, LONG_AGO)
        return said

    def _one(self, new: New, said: datetime | None) -> Recorded:
        event = self.on_record.get(_place(new))
        if event is not None:
            return Recorded(new, event.number, event.record, event.state, event.took, known=True)
        new = replace(new, at=self._at(new, said))
        event = self._event(new)
        self._add(event, self.numbered[new.who][1])
        if event.took and event.answer == "no" and event.scope == "":
            self._everywhere(event, new)
        return Recorded(new, event.number, event.record, event.state, event.took, known=False)

    def _event(self, new: New) -> Event:
        at = new.at
        assert at is not None
        choice = self.rules.choice(new.choice)
        subject = self.numbered[new.who][0]
        mine = self.stands.get(subject, {})
        before = mine.get((new.choice, new.scope))
        region = self._region(new)
        twice = (
            new.way not in ("confirmed", *OURS)
            and not new.scope.startswith(WITH)
            and "double-opt-in" in self._asks(new, region)
        )
        state = following(before.event.state if before is not None else None, new.answer, twice=twice)
        until = None
        if state in STANDING and choice.lapses is not None:
            until = choice.lapses.end(at, self.company.policy.timezone)
            state = (
                "Expired" if until <= self.received else state
            )  # delivered so late that it is over already
        meaning = self.meant[new.choice]
        if new.notice is not None:
            meaning = self.shown[new.notice].meanings[new.choice]
        elif new.way in OURS and before is not None:
            meaning = before.event.meaning
        elif new.carried and new.meaning is not None:
            meaning = new.meaning
        event = Event(
            number=0,
            record=str(new.record),
            subject=subject,
            choice=new.choice,
            scope=new.scope,
            answer=new.answer,
            state=state,
            took=False,
            at=at,
            received=self.received,
            way=new.way,
            by=new.by,
            notice=new.notice,
            meaning=meaning,
            region=region,
            until=until,
        )
        self.last += 1
        took = effect.counts(before, event, carried=new.carried)
        if new.carried and new.answer == "yes" and took:
            took = not self._refused_elsewhere(mine, new)
        return replace(event, number=self.last, took=took)

    def _region(self, new: New) -> str | None:
        """The region an answer names; None, the strictest, where people there are asked laxer than these were."""
        if new.region is None or new.notice is None or new.way in OURS:
            return new.region
        shown = self.shown[new.notice].asks.get(new.choice)
        named = self.rules.ask(new.choice, new.region)
        return None if shown in ASKS and ASKS.index(named) > ASKS.index(shown) else new.region

    def _asks(self, new: New, region: str | None) -> set[str | None]:
        """Every way in which a choice was asked, or is where an answer says, or where the company has its person."""
        return {
            self.shown[new.notice].asks.get(new.choice) if new.notice is not None else None,
            self.rules.ask(new.choice, region),
            self.rules.ask(new.choice, new.home) if new.home is not None else None,
        }

    def _refused_elsewhere(self, mine: Mapping[Key, Standing], new: New) -> bool:
        """Whether they said no to a choice when the policy asked for it otherwise."""
        today = self.rules.scopes(new.choice)
        return any(
            choice == new.choice and stood.event.is_against and reaches(scope, new.scope, today)
            for (choice, scope), stood in mine.items()
        )

    def _everywhere(self, event: Event, new: New) -> None:
        """A no to all of a choice is one to each part of it that was chosen by itself when the policy was another."""
        mine = self.stands[event.subject]
        parts = [s for c, s in mine if c == event.choice and s and not s.startswith(WITH)]
        for scope in parts:
            part = replace(new, scope=scope, at=event.at)
            if _place(part) not in self.on_record:
                self._add(self._event(part), self.numbered[new.who][1])

    def _add(self, event: Event, pseudonym: str) -> None:
        self.on_record[event.record, event.choice, event.scope] = event
        self.rows.append(_row(event))
        self.entries.append(entry(event, pseudonym))
        if event.took:
            mine = self.stands.setdefault(event.subject, {})
            self._remark(mine.get((event.choice, event.scope)), event)
            effect.add(mine, event)

    def _remark(self, before: Standing | None, event: Event) -> None:
        """What an event that counts changes in the marks."""
        on, off = self._on, self._off
        if before is not None and (mark := mark_of(before.event)) is not None:
            off[mark, event.subject] = None
            on.pop((mark, event.subject), None)
        if (mark := mark_of(event)) is not None:
            on[mark, event.subject] = None
            off.pop((mark, event.subject), None)

    def _shown(self, given: Sequence[New]) -> dict[str, Shown]:
        """The notices that these answers are to, as far as they were ever shown."""
        wanted = {new.notice for new in given if new.notice is not None}
        memory = self.memory.shown
        if missing := sorted(wanted - memory.keys()):
            if len(memory) > REMEMBERED:
                memory.clear()
            query = select(notices_table).where(notices_table.c.id.in_(missing))
            for row in self.connection.execute(query):
                body = json.loads(row.body)
                asked = body["choices"].items()
                memory[row.id] = Shown(
                    {name: str(about["meaning"]) for name, about in asked},
                    {name: str(about.get("ask")) for name, about in asked},
                    datetime.fromisoformat(row.since) if body.get("kind") in OWN else None,
                )
        return {id: memory[id] for id in wanted if id in memory}


def _place(new: New) -> Place:
    return (str(new.record), new.choice, new.scope)


def _on_record(connection: Connection, given: Sequence[New]) -> dict[Place, Event]:
    """What was recorded before under the same ids."""
    records = sorted({str(new.record) for new in given})
    found: dict[Place, Event] = {}
    for start in range(0, len(records), AT_ONCE):
        rows = connection.execute(_RECORDS, {"records": records[start : start + AT_ONCE]})
        for event in map(event_of, rows):
            found[event.record, event.choice, event.scope] = event
    return found


def _row(event: Event) -> dict[str, Any]:
    row = dict(vars(event))
    for name in ("at", "received", "until"):
        row[name] = row[name].isoformat() if row[name] is not None else None
    return row | {"took": int(event.took)}


def entry(event: Event, pseudonym: str) -> tuple[str, dict[str, Any]]:
    """An event as an entry of the ledger, under its key there."""
    return (
        f"choice {event.number}",
        {
            "act": "choose",
            "choice": event.choice,
            "state": event.state,
            "way": event.way,
            "record": event.record,
            "person": pseudonym,
            "chosen": event.at.isoformat(),
            "meaning": event.meaning,
            **({"scope": event.scope} if event.scope else {}),
            **({"notice": event.notice} if event.notice else {}),
            **({} if event.took else {"took": False}),
        },
    )
