"""Whoever said yes somewhere else (a banner, a page, an app) and has still to be asked for the second one by letter."""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, select

from kept.company import Company
from kept.controls.choices.asking import ask_of
from kept.controls.choices.declare import Choice
from kept.controls.choices.messages import whose
from kept.controls.choices.messages.letter import CONFIRM_FOR, PURPOSE, Pending, write
from kept.controls.choices.records.history import Event, event_of
from kept.controls.choices.records.states import EXPLICIT
from kept.errors import StoreError
from kept.state.tables import choice_events, links

LOOKED: Final = "confirming"  # of the note up to which event it is known who has to be written to
AT_ONCE: Final = 500


def is_due(company: Company) -> bool:
    """Whether somebody may have said yes since it was last looked at who has to be written to."""
    if not company.can_write or not company.public_url or not _needed(company):
        return False
    with company.state.read() as connection:
        last = int(connection.scalar(select(func.max(choice_events.c.number))) or 0)
    return last > _upto(company)


def write_due(company: Company) -> int:
    """Write to everybody whose yes came from elsewhere (a banner, a page, an app) and waits; to how many.

    Whoever has no address, or was written to three times today, is left alone: they can say yes once more. Where a
    store doesn't say somebody's address, everybody else is written to, and then its error is raised.
    """
    written = 0
    while is_due(company):
        last, found = _due(company)
        failed: list[tuple[int, StoreError]] = []
        for pending in found:
            try:
                written += write(company, pending)[0]
            except StoreError as wrong:
                failed.append((pending.events[0].number, wrong))
        upto = min([last, *(number - 1 for number, _ in failed)])
        company.state.note(LOOKED, "events", {"upto": upto})
        if failed:
            raise failed[0][1]
    return written


def _due(company: Company) -> tuple[int, list[Pending]]:
    """Up to which event it is looked at, and the yeses up to there that nobody was written to about."""
    newer = choice_events.alias()
    since = (company.clock() - CONFIRM_FOR).isoformat()
    overtaken = (
        select(newer.c.number)
        .where(
            newer.c.subject == choice_events.c.subject,
            newer.c.choice == choice_events.c.choice,
            newer.c.scope == choice_events.c.scope,
            newer.c.number > choice_events.c.number,
            newer.c.answer.in_(("yes", "no")),
            newer.c.way.in_(EXPLICIT),
        )
        .exists()
    )
    told = (
        select(links.c.id)
        .where(links.c.request == choice_events.c.record, links.c.purpose == PURPOSE)
        .exists()
    )
    with company.state.read() as connection:
        last = int(connection.scalar(select(func.max(choice_events.c.number))) or 0)
        query = (
            select(choice_events)
            .where(
                choice_events.c.number > _upto(company),
                choice_events.c.number <= last,
                choice_events.c.state == "Requested",
                choice_events.c.answer == "yes",
                choice_events.c.way.in_(EXPLICIT),
                choice_events.c.received >= since,
                ~overtaken,
                ~told,
            )
            .order_by(choice_events.c.number)
            .limit(AT_ONCE)
        )
        events = [event_of(row) for row in connection.execute(query)]
    if len(events) == AT_ONCE:  # the last record may go on beyond them; a record's events follow one another
        cut = next(one.number for one in events if one.record == events[-1].record)
        if cut > events[0].number:
            last, events = cut - 1, [one for one in events if one.number < cut]
        else:
            last = events[-1].number
    groups: dict[tuple[int, str], list[Event]] = {}
    for event in events:
        groups.setdefault((event.subject, event.record), []).append(event)
    found = []
    for (number, record_), group in groups.items():
        who = whose.person(company, number)
        if who is not None:
            found.append(Pending(number, who, record_, tuple(group)))
    return last, found


def _upto(company: Company) -> int:
    return int(company.state.notes(LOOKED).get("events", {}).get("upto", 0))


def _needed(company: Company) -> bool:
    """Whether the policy asks for two yeses anywhere."""
    choices = company.policy.section("choices").values()
    return any(
        isinstance(one, Choice) and ask_of(company.policy, one, None) == "double-opt-in" for one in choices
    )
