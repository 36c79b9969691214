"""One act of choosing: what somebody answered at one time, under one record id, and how those choices have stood."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Table, select

from kept.company import Company
from kept.controls.choices.records import subjects
from kept.controls.choices.records.history import Event, event_of
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.state.tables import choice_events, meanings, notices
from kept.state.tables import subjects as subjects_table

HISTORY: Final = (
    100  # events told of beside a record's own, the newest: whoever switches back and forth adds no end
)
PAGE: Final = 500  # people whose choices are in memory at once

_ABOUT: Final = select(subjects_table.c.number, subjects_table.c.kind, subjects_table.c.pseudonym)

Bodies = Mapping[str, Mapping[str, Any]]
"""Canonical JSON that was kept once, by its SHA-256 (hex)."""


@dataclass(frozen=True)
class Choosing:
    """What was chosen under one id. `kind` is the root kind of whoever it is about, and `person` their pseudonym (None
    when they were erased). `own` are the events of the id, `events` these and others of the same choices, oldest
    first. `shown` and `meant`: the notices and the meanings of its own events."""

    record: str
    kind: str
    person: str | None
    own: tuple[Event, ...]
    events: tuple[Event, ...]
    shown: Bodies
    meant: Bodies


def of_record(company: Company, record: str) -> Choosing | None:
    """What was chosen under an id; None where nothing was. Costs five statements, whatever was chosen."""
    with company.state.read() as connection:
        query = select(choice_events).where(choice_events.c.record == record)
        own = [event_of(row) for row in connection.execute(query.order_by(choice_events.c.number))]
        if not own:
            return None
        if len({event.subject for event in own}) > 1:
            raise KeptError(
                "this record id was used for two people, so what stands under it is shown to neither"
            )
        about = connection.execute(_ABOUT.where(subjects_table.c.number == own[0].subject)).one()
        others = (
            select(choice_events)
            .where(
                choice_events.c.subject == own[0].subject,
                choice_events.c.choice.in_(sorted({event.choice for event in own})),
            )
            .order_by(choice_events.c.number.desc())
            .limit(HISTORY)
        )
        beside = [event_of(row) for row in connection.execute(others)]
        shown = _bodies(connection, notices, _notices(own))
        meant = _bodies(connection, meanings, _meanings(own))
    return Choosing(record, about.kind, about.pseudonym or None, tuple(own), _with(own, beside), shown, meant)


def of_people(company: Company, whos: Sequence[Person] | None = None) -> Iterator[Choosing]:
    """Everything that these people ever chose, or everybody, one act after the other; a page of people in memory."""
    known: dict[str, dict[str, Mapping[str, Any]]] = {"notices": {}, "meanings": {}}
    for numbers in _pages(company, whos):
        with company.state.read() as connection:
            rows = connection.execute(_ABOUT.where(subjects_table.c.number.in_(numbers)))
            about = {row.number: row for row in rows}
            query = select(choice_events).where(choice_events.c.subject.in_(numbers))
            events = [event_of(row) for row in connection.execute(query.order_by(choice_events.c.number))]
            for table, ids in ((notices, _notices(events)), (meanings, _meanings(events))):
                missing = sorted(set(ids) - set(known[table.name]))
                known[table.name] |= _bodies(connection, table, missing)
        yield from _choosings(events, about, known["notices"], known["meanings"])


def _choosings(
    events: Sequence[Event], about: Mapping[int, Any], shown: Bodies, meant: Bodies
) -> Iterator[Choosing]:
    """Events of several people as acts of choosing, person by person."""
    theirs: dict[int, list[Event]] = {}
    for event in events:
        theirs.setdefault(event.subject, []).append(event)
    for subject, mine in theirs.items():
        acts: dict[str, list[Event]] = {}
        for event in mine:
            acts.setdefault(event.record, []).append(event)
        for record, own in acts.items():
            yield Choosing(
                record,
                about[subject].kind,
                about[subject].pseudonym or None,
                tuple(own),
                _with(own, mine),
                {id: shown[id] for id in _notices(own) if id in shown},
                {id: meant[id] for id in _meanings(own) if id in meant},
            )


def _pages(company: Company, whos: Sequence[Person] | None) -> Iterator[list[int]]:
    """Subjects by number, a page at a time; everybody where nobody is named."""
    if whos is not None:
        numbers = sorted(subjects.find(company, whos).values())
        yield from (numbers[start : start + PAGE] for start in range(0, len(numbers), PAGE))
        return
    last = 0
    while True:
        query = select(subjects_table.c.number).where(subjects_table.c.number > last)
        with company.state.read() as connection:
            page = list(connection.scalars(query.order_by(subjects_table.c.number).limit(PAGE)))
        if not page:
            return
        yield page
        last = page[-1]


def _with(own: Sequence[Event], others: Iterable[Event]) -> tuple[Event, ...]:
    """A record's events among the newest of the same choices, oldest first."""
    about = {(event.choice, event.scope) for event in own}
    same = sorted(
        (event for event in others if (event.choice, event.scope) in about), key=lambda event: event.number
    )
    found = {event.number: event for event in (*own, *same[-HISTORY:])}
    return tuple(found[number] for number in sorted(found))


def _notices(events: Iterable[Event]) -> list[str]:
    return list(dict.fromkeys(event.notice for event in events if event.notice is not None))


def _meanings(events: Iterable[Event]) -> list[str]:
    return list(dict.fromkeys(event.meaning for event in events))


def _bodies(connection: Connection, table: Table, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    rows = connection.execute(select(table.c.id, table.c.body).where(table.c.id.in_(ids)))
    return {id: json.loads(body) for id, body in rows}
