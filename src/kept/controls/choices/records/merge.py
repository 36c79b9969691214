"""A visitor logs in: what they chose without a name becomes theirs, and nothing is lost or widened by it.

What somebody said under their name is never overridden by a yes given on a device that others may use too; a no given
there after their last yes counts. The visitor's own answers stay the device's (GDPR Art. 7(1), 25).
"""

from __future__ import annotations

from kept.company import Company
from kept.controls.choices.asking import choices_of
from kept.controls.choices.declare import Choice
from kept.controls.choices.records.book import New, Recorded, record, scopes
from kept.controls.choices.records.effect import is_answer
from kept.controls.choices.records.history import Event, current
from kept.controls.rights.people import Person


def merge(company: Company, visitor: Person, person: Person) -> list[Recorded]:
    """Carry a visitor's answers over to the person they turned out to be; harmless when repeated.

    What is on record of the person already is left out of what is returned.
    """
    found = current(company, [visitor]).get(visitor, {})
    theirs = {str(choice.name): choice for choice in choices_of(company.policy, person.kind)}
    carried = [
        _carried(company, person, event)
        for event in found.values()
        if event.choice in theirs and carries(company, theirs[event.choice], event)
    ]
    return [one for one in record(company, carried) if not one.known] if carried else []


def carries(company: Company, choice: Choice, event: Event) -> bool:
    """Whether a visitor's answer becomes the person's: a yes or a no, and no yes that is somebody else's to give."""
    return (
        is_answer(event)
        and event.scope in scopes(company, choice)
        and event.state != "Expired"
        and not (choice.by and event.answer == "yes")
    )


def _carried(company: Company, person: Person, event: Event) -> New:
    return New(
        person,
        event.choice,
        "yes" if event.answer == "yes" else "no",
        event.way,
        event.scope,
        at=event.at,
        notice=event.notice,
        region=event.region,
        by=event.by,
        record=company.keys.mac("merge", f"{event.record} {person}".encode()).hex()[:32],
        carried=True,
    )
