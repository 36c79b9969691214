"""A visitor logs in: what they chose without a name becomes theirs, and nothing is lost or widened by it.

A yes given on a device that others may use too overrides no no of theirs, becomes one person's and nobody else's, and
is asked for twice where that is how people are asked where they are. A no given there after their last yes counts, for
everybody who logs in. The visitor's own answers stay the device's (GDPR Art. 7(1), 25).
"""

from __future__ import annotations

import contextlib

from kept.company import Company
from kept.controls.choices.asking import choices_of
from kept.controls.choices.declare import Choice
from kept.controls.choices.records import subjects
from kept.controls.choices.records.answers import New, Recorded, Refused
from kept.controls.choices.records.book import record_each
from kept.controls.choices.records.checked import Rules, scopes
from kept.controls.choices.records.effect import is_answer
from kept.controls.choices.records.history import Event, current
from kept.controls.rights.people import Person


def merge(company: Company, visitor: Person, person: Person) -> list[Recorded]:
    """Carry a visitor's answers over to the person they turned out to be; harmless when repeated.

    What is on record of the person already is left out of what is returned, and what can't become theirs: a yes that
    became somebody else's, or that is nobody's. The rest is recorded all the same.
    """
    found = current(company, [visitor]).get(visitor, {})
    theirs = {str(choice.name): choice for choice in choices_of(company.policy, person.kind)}
    carried: list[New] = []
    for event in found.values():
        if event.choice in theirs and carries(company, theirs[event.choice], event):
            with contextlib.suppress(Refused):  # nobody can have such a key
                carried.append(_carried(company, Rules.of(company).person(person, event.choice), event))
    return [one for one in record_each(company, carried) if not one.known]


def carries(company: Company, choice: Choice, event: Event) -> bool:
    """Whether a visitor's answer becomes the person's: a yes or a no, and no yes that is somebody else's to give."""
    return (
        is_answer(event)
        and event.scope in scopes(company, choice)
        and event.state != "Expired"
        and not (choice.by and event.answer == "yes")
    )


def _carried(company: Company, person: Person, event: Event) -> New:
    """The person's own answer. A record is of one subject: so a yes has the same id for everybody, and is the first
    one's; a no has one for each, by their number, which nobody who has their key after them inherits."""
    same = event.record
    if event.answer == "no":
        same = f"{event.record} {subjects.numbered(company, person)}"
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
        record=company.keys.mac("merge", same.encode()).hex()[:32],
        carried=True,
        meaning=event.meaning,
    )
