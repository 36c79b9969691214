"""Yeses that are over: given for a time that has passed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from kept.company import Company
from kept.controls.choices.declare import Choice
from kept.controls.choices.records.book import New, record
from kept.controls.choices.records.history import Event, event_of
from kept.controls.choices.records.states import STANDING
from kept.controls.rights.people import person_of
from kept.state.tables import choice_events, subjects

AT_ONCE: Final = 5000
NOTE: Final = "lapses"  # of the note up to when every lapse is on record
CLOCKS: Final = timedelta(days=1)  # how far two machines' clocks may be apart


def lapse(company: Company) -> int:
    """Record that every yes whose time is over has lapsed; how many. The gate refuses them without waiting for this."""
    done, now = 0, company.clock()
    while True:
        found = due(company)
        if not found:
            company.state.note(NOTE, "upto", {"at": now.isoformat()})
            return done
        took = sum(one.took for one in record(company, found))
        if not took:
            return done  # somebody else was at it meanwhile; the next pass looks again
        done += took


def due(company: Company) -> list[New]:
    """The yeses in force whose time is over and of which that is not on record yet, 5,000 at most."""
    choices = company.policy.section("choices").values()
    known = [str(choice.name) for choice in choices if isinstance(choice, Choice)]
    query = (
        over(company, company.clock())
        .join(subjects, subjects.c.number == choice_events.c.subject)
        .where(subjects.c.who.is_not(None), choice_events.c.choice.in_(known))
        .add_columns(subjects.c.who)
        .limit(AT_ONCE)
    )
    with company.state.read() as connection:
        rows = connection.execute(query).all()
    return [
        New(
            person_of(company.policy, company.keys.unseal("subject", row.who).decode()),
            row.choice,
            "lapsed",
            "lapse",
            row.scope,
        )
        for row in rows
    ]


def unrecorded(company: Company, connection: Connection, now: datetime) -> Sequence[Event]:
    """The same as events, all of them, in a transaction under way: the marks still say yes for these."""
    return [event_of(row) for row in connection.execute(over(company, now))]


def over(company: Company, now: datetime) -> Select[Any]:
    """The events in force that are a yes whose time is over; not older ones, of which it is on record."""
    later = choice_events.alias()
    newer = (
        select(later.c.number)
        .where(
            later.c.subject == choice_events.c.subject,
            later.c.choice == choice_events.c.choice,
            later.c.scope == choice_events.c.scope,
            later.c.took == 1,
            later.c.number > choice_events.c.number,
        )
        .exists()
    )
    upto = company.state.notes(NOTE).get("upto", {}).get("at")
    since = (datetime.fromisoformat(upto) - CLOCKS).isoformat() if upto is not None else ""
    return select(choice_events).where(
        choice_events.c.until > since,
        choice_events.c.until <= now.isoformat(),
        choice_events.c.took == 1,
        choice_events.c.state.in_(STANDING),
        ~newer,
    )
