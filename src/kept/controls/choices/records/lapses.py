"""Yeses that are over: given for a time that has passed."""

from __future__ import annotations

from sqlalchemy import select

from kept.company import Company
from kept.controls.choices.records.book import New, record
from kept.controls.choices.records.states import STANDING
from kept.controls.rights.people import person_of
from kept.state.tables import choice_events, subjects

AT_ONCE = 5000


def lapse(company: Company) -> int:
    """Record that every yes whose time is over has lapsed; how many. The gate refuses them without waiting for this."""
    done = 0
    while True:
        found = due(company)
        if not found:
            return done
        record(company, found)
        done += len(found)


def due(company: Company) -> list[New]:
    """The yeses in force whose time is over and of which that is not on record yet, 5,000 at most."""
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
    query = (
        select(subjects.c.who, choice_events.c.choice, choice_events.c.scope)
        .join(subjects, subjects.c.number == choice_events.c.subject)
        .where(
            choice_events.c.until <= company.clock().isoformat(),
            choice_events.c.took == 1,
            choice_events.c.state.in_(STANDING),
            subjects.c.who.is_not(None),
            ~newer,
        )
        .limit(AT_ONCE)
    )
    with company.state.read() as connection:
        rows = connection.execute(query).all()
    people = [person_of(company.policy, company.keys.unseal("subject", who).decode()) for who, _, _ in rows]
    return [
        New(person, choice, "lapsed", "lapse", scope)
        for person, (_, choice, scope) in zip(people, rows, strict=True)
    ]
