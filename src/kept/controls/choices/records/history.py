"""Reading what people chose: what is in force, and everything that ever was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from kept.company import Company
from kept.controls.choices.records import subjects
from kept.controls.choices.records.states import AGAINST, AUTOMATIC, STANDING, State
from kept.controls.rights.people import Person
from kept.state.tables import choice_events

CHUNK = 5000


@dataclass(frozen=True)
class Event:
    """One change of a choice. Times are UTC; `took` is whether it counted when it came."""

    number: int
    record: str
    subject: int
    choice: str
    scope: str
    answer: str
    state: State
    took: bool
    at: datetime
    received: datetime
    way: str
    by: str | None
    notice: str | None
    meaning: str
    region: str | None
    until: datetime | None

    @property
    def is_automatic(self) -> bool:
        """Whether nobody chose it: a signal, a device, an import. It never overrides what somebody did."""
        return self.way in AUTOMATIC

    def as_json(self) -> dict[str, Any]:
        """What a program is told of it; who it is about stands beside it."""
        told = {name: value for name, value in vars(self).items() if name not in ("subject", "meaning")}
        times = {name: at.isoformat() for name, at in told.items() if isinstance(at, datetime)}
        return told | times

    def stands(self, now: datetime) -> bool:
        """Whether it is a yes that has not lapsed."""
        return self.state in STANDING and (self.until is None or now < self.until)

    @property
    def is_against(self) -> bool:
        """Whether it is a no."""
        return self.state in AGAINST


Key = tuple[str, str]
"""A choice and its scope."""


def current(company: Company, whos: Sequence[Person]) -> dict[Person, dict[Key, Event]]:
    """For each person who ever chose anything, the event in force of each choice and scope."""
    with company.state.read() as connection:
        numbers = subjects.find(company, whos, connection)
        found = in_force(connection, numbers.values())
    return {who: found.get(number, {}) for who, number in numbers.items()}


def in_force(connection: Connection, numbers: Iterable[int]) -> dict[int, dict[Key, Event]]:
    """The same by the subjects' numbers, in a transaction under way."""
    found: dict[int, dict[Key, Event]] = {}
    for event in counted(connection, numbers):
        found.setdefault(event.subject, {})[event.choice, event.scope] = event
    return found


Stood = dict[int, dict[Key, Event]]
"""By the number of a subject, an event for each choice and scope."""


def standing(connection: Connection, numbers: Iterable[int]) -> tuple[Stood, Stood]:
    """What is in force, and beside it the newest yes or no, by the subjects' numbers, read in one go.

    The newest yes or no may be a yes that lapsed since, or one that is not confirmed, even after a no.
    """
    force: Stood = {}
    answers: Stood = {}
    for event in _read(connection, numbers, or_(_COUNTED, _PENDING)):
        key = (event.choice, event.scope)
        if event.took:
            force.setdefault(event.subject, {})[key] = event
        if event.answer in ("yes", "no"):
            mine = answers.setdefault(event.subject, {})
            if key not in mine or _is_newer(event, mine[key]):
                mine[key] = event
    return force, answers


def counted(connection: Connection, numbers: Iterable[int]) -> Iterator[Event]:
    """Everything of these subjects that took effect, oldest first for each of them."""
    return _read(connection, numbers, _COUNTED)


_COUNTED = choice_events.c.took == 1
_PENDING = and_(choice_events.c.answer == "yes", choice_events.c.state == "Requested")


def _read(connection: Connection, numbers: Iterable[int], which: ColumnElement[bool]) -> Iterator[Event]:
    given = sorted(set(numbers))
    for start in range(0, len(given), CHUNK):
        mine = choice_events.c.subject.in_(given[start : start + CHUNK])
        query = select(choice_events).where(mine, which).order_by(choice_events.c.number)
        yield from map(event_of, connection.execute(query))


def _is_newer(event: Event, before: Event) -> bool:
    """Whether of two answers the one that came later is the newer: both may have counted, or a yes was pending."""
    if event.took and before.took:
        return True
    if event.is_automatic != before.is_automatic:
        return before.is_automatic
    return event.at > before.at or (event.at == before.at and event.answer == "no")


def history(company: Company, who: Person) -> list[Event]:
    """Everything somebody ever chose, oldest first, with what did not count."""
    return histories(company, [who]).get(who, [])


def histories(company: Company, whos: Sequence[Person]) -> dict[Person, list[Event]]:
    """The same for many, of whom those who never chose anything are missing."""
    found: dict[Person, list[Event]] = {}
    with company.state.read() as connection:
        people = {number: who for who, number in subjects.find(company, whos, connection).items()}
        numbers = sorted(people)
        for start in range(0, len(numbers), CHUNK):
            mine = choice_events.c.subject.in_(numbers[start : start + CHUNK])
            for row in connection.execute(select(choice_events).where(mine).order_by(choice_events.c.number)):
                found.setdefault(people[row.subject], []).append(event_of(row))
    return found


def of_record(company: Company, record: str) -> list[Event]:
    """The events of one record: what somebody chose at one time."""
    with company.state.read() as connection:
        query = select(choice_events).where(choice_events.c.record == record)
        return [event_of(row) for row in connection.execute(query.order_by(choice_events.c.number))]


def event_of(row: Any) -> Event:
    """An event from its row."""
    return Event(
        row.number,
        row.record,
        row.subject,
        row.choice,
        row.scope,
        row.answer,
        row.state,
        bool(row.took),
        datetime.fromisoformat(row.at),
        datetime.fromisoformat(row.received),
        row.way,
        row.by,
        row.notice,
        row.meaning,
        row.region,
        datetime.fromisoformat(row.until) if row.until is not None else None,
    )
