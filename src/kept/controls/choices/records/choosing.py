"""One act of choosing: what somebody answered at one time, under one record id, and how those choices have stood."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, Table, exists, func, or_, select

from kept.company import Company
from kept.controls.choices.records import subjects
from kept.controls.choices.records.history import Event, event_of
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.state.tables import choice_events, meanings, notices
from kept.state.tables import subjects as subjects_table

HISTORY: Final = 100
"""How many events that took effect are told of beside a record's own, the newest: whoever switches back and forth adds
no end. The event in force of each choice and scope is always among them."""
PAGE: Final = 500  # people whose choices are in memory at once

_ABOUT: Final = select(subjects_table.c.number, subjects_table.c.kind, subjects_table.c.pseudonym)

Bodies = Mapping[str, Mapping[str, Any]]
"""Canonical JSON that was kept once, by its SHA-256 (hex)."""


@dataclass(frozen=True)
class Choosing:
    """What was chosen under one id. `kind` is the root kind of whoever it is about, and `person` their pseudonym (None
    when they were erased). `own` are the events of the id, whether or not they took effect; `events` these and, of the
    same choices and scopes, others that did (`HISTORY`), oldest first. `shown` and `meant`: the notices and the
    meanings of its own events."""

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
        beside = [event_of(row) for row in connection.execute(_beside(record, own[0].subject))]
        shown = _bodies(connection, notices, _notices(own))
        meant = _bodies(connection, meanings, _meanings(own))
    return Choosing(record, about.kind, about.pseudonym or None, tuple(own), _with(own, beside), shown, meant)


def _beside(record: str, subject: int) -> Select[Any]:
    """The events that took effect on the choices of a record: the newest of all, and the newest of each, in force."""
    mine = choice_events.alias()
    newest = choice_events.c.number.desc()
    same = exists().where(
        mine.c.record == record,
        mine.c.choice == choice_events.c.choice,
        mine.c.scope == choice_events.c.scope,
    )
    each = (choice_events.c.choice, choice_events.c.scope)
    placed = (
        select(
            choice_events,
            func.row_number().over(order_by=newest).label("of_all"),
            func.row_number().over(partition_by=each, order_by=newest).label("of_its_own"),
        )
        .where(choice_events.c.subject == subject, choice_events.c.took == 1, same)
        .subquery()
    )
    return select(placed).where(or_(placed.c.of_all <= HISTORY, placed.c.of_its_own == 1))


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
    """A record's events among those that took effect on the same choices, oldest first: the newest and those in force.

    What took no effect is told of in the record it belongs to alone: a device that reports every hour what changes
    nothing must not push an answer out.
    """
    about = {(event.choice, event.scope) for event in own}
    took = sorted(
        (event for event in others if event.took and (event.choice, event.scope) in about),
        key=lambda event: event.number,
    )
    in_force = {(event.choice, event.scope): event for event in took}
    found = {event.number: event for event in (*own, *took[-HISTORY:], *in_force.values())}
    return tuple(found[number] for number in sorted(found))


def _notices(events: Iterable[Event]) -> list[str]:
    return list(dict.fromkeys(event.notice for event in events if event.notice is not None))


def _meanings(events: Iterable[Event]) -> list[str]:
    return list(dict.fromkeys(event.meaning for event in events))


def _bodies(connection: Connection, table: Table, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    rows = connection.execute(select(table.c.id, table.c.body).where(table.c.id.in_(ids)))
    return {id: json.loads(body) for id, body in rows}
