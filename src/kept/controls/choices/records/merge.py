"""A visitor logs in: what they chose without a name becomes theirs, and nothing is lost or widened by it.

What somebody said under their name is never overridden by a yes given on a device that others may use too; a no given
there after their last yes counts. The visitor's own answers stay the device's (GDPR Art. 7(1), 25).
"""

from __future__ import annotations

from kept.company import Company
from kept.controls.choices.asking import choices_of
from kept.controls.choices.records.book import New, Recorded, record
from kept.controls.choices.records.history import Event, current
from kept.controls.rights.people import Person


def merge(company: Company, visitor: Person, person: Person) -> list[Recorded]:
    """Carry a visitor's answers over to the person they turned out to be; harmless when repeated."""
    both = current(company, [visitor, person])
    theirs = {str(choice.name) for choice in choices_of(company.policy, person.kind)}
    carried = [
        _carried(person, event)
        for key, event in both.get(visitor, {}).items()
        if event.choice in theirs and carries(both.get(person, {}).get(key), event)
    ]
    return record(company, carried) if carried else []


def carries(own: Event | None, visitor: Event) -> bool:
    """Whether a visitor's answer counts for the person, whose `own` answer to the same may stand."""
    if visitor.answer not in ("yes", "no") or visitor.state == "Requested":
        return False
    if own is None or (own.is_automatic and not visitor.is_automatic):
        return True
    return visitor.is_against and not visitor.is_automatic and not own.is_against and visitor.at > own.at


def _carried(person: Person, event: Event) -> New:
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
    )
