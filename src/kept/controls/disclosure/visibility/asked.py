"""What has to be asked for before it is seen, such as a phone number: who asked, about whom, in which words, on record.

It stands in the register of disclosures and on the ledger before anything is shown, and holds from then on for as long
as the disclosure itself does. The words are sealed; who is meant is found by Kept's keys alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import rfc8785
from sqlalchemy import Connection, select

from kept.company import Company
from kept.controls.choices.records import subjects
from kept.controls.choices.whom import Facts
from kept.controls.conditions import VERIFIED
from kept.controls.disclosure import register
from kept.controls.disclosure.declared import ground_of
from kept.controls.disclosure.visibility.seeing import Seeing
from kept.controls.rights.people import Person, person_of
from kept.state.tables import subjects as subjects_table
from kept.state.uses import disclosures

SEEN: Final = "seen"  # the way by which it left, in the register
CHUNK: Final = 500


def words(seeing: Seeing) -> tuple[str, ...]:
    """What somebody has to say for it to be on record: all that is needed but what is verified of the person."""
    return tuple(sorted(need for need in seeing.needs if need not in VERIFIED))


def put(
    company: Company,
    seeing: Seeing,
    viewer: Person,
    subject: Person,
    told: Facts,
    fields: Sequence[str],
    evidence: Mapping[str, str],
) -> None:
    """Put on record that somebody asked for another's data; durable when it returns, and once however often said."""
    if is_on_record(company, seeing, viewer, subject):
        return
    pseudonyms = company.pseudonyms.of([str(viewer), str(subject)])
    by, about = pseudonyms[str(viewer)], pseudonyms[str(subject)]
    entry = register.Entry(
        disclosure=str(seeing.entry.name),
        recipient=seeing.audiences[0].word,
        purpose=str(seeing.purpose.name),
        ground=ground_of(seeing.purpose, told.region),
        fields=tuple(sorted(fields)),
        way=SEEN,
        call=_call(seeing, by, about),
        pseudonym=about,
        evidence=dict(evidence),
        by=by,
    )

    def number(connection: Connection) -> None:
        subjects.number(company, connection, [subject])

    register.enter(company, [entry], along=number)


def is_on_record(company: Company, seeing: Seeing, viewer: Person, subject: Person) -> bool:
    """Whether somebody has asked for another's data with all that a disclosure needs."""
    found = company.pseudonyms.find([str(viewer), str(subject)])
    if str(viewer) not in found or str(subject) not in found:
        return False
    call = _call(seeing, found[str(viewer)], found[str(subject)])
    with company.state.read() as connection:
        return (
            connection.execute(select(disclosures.c.number).where(disclosures.c.call == call)).first()
            is not None
        )


def people(company: Company, seeing: Seeing, viewer: Person) -> list[Person]:
    """Everybody whose data somebody has asked for with all that a disclosure needs."""
    by = company.pseudonyms.find([str(viewer)]).get(str(viewer))
    if by is None:
        return []
    query = select(disclosures.c.pseudonym, disclosures.c.call).where(
        disclosures.c.disclosure == str(seeing.entry.name),
        disclosures.c.recipient == seeing.audiences[0].word,
        disclosures.c.by == by,
        disclosures.c.way == SEEN,
    )
    found = list[Person]()
    with company.state.read() as connection:
        rows = connection.execute(query).all()
        about = sorted({who for who, call in rows if who is not None and call == _call(seeing, by, who)})
        for start in range(0, len(about), CHUNK):
            named = select(subjects_table.c.who).where(
                subjects_table.c.pseudonym.in_(about[start : start + CHUNK]),
                subjects_table.c.who.is_not(None),
            )
            sealed: Sequence[Any] = connection.scalars(named).all()
            found += [
                person_of(company.policy, company.keys.unseal("subject", who).decode()) for who in sealed
            ]
    return found


def _call(seeing: Seeing, by: str, about: str) -> str:
    """The name under which it stands in the register: the same for the same two, disclosure and needs."""
    return sha256(rfc8785.dumps([str(seeing.entry.name), list(words(seeing)), by, about])).hexdigest()
