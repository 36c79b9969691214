"""Somebody is erased: their answers stay, as what nobody in particular once chose, and count for nothing any more."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, update

from kept.company import Company
from kept.controls.choices.records import marks
from kept.controls.choices.records.history import in_force
from kept.controls.choices.records.subjects import CHUNK, index
from kept.controls.rights.people import Person
from kept.state.tables import subjects, verifications


def forget(company: Company, whos: Sequence[Person]) -> int:
    """Let go of who these subjects are, and of all that is in force for them; how many there were."""
    done = 0
    indexes = sorted(index(company, who) for who in whos)
    for start in range(0, len(indexes), CHUNK):
        mine = subjects.c.person.in_(indexes[start : start + CHUNK])
        nobody = update(subjects).where(mine).values(person=None, who=None, pseudonym="")
        with company.state.write() as connection:
            numbers = list(connection.scalars(nobody.returning(subjects.c.number)))
            if numbers:
                _clear(connection, numbers)
        done += len(numbers)
    return done


def _clear(connection: Connection, numbers: Sequence[int]) -> None:
    stood = [event for by_key in in_force(connection, numbers).values() for event in by_key.values()]
    marked = [(mark, event.subject) for event in stood if (mark := marks.mark_of(event)) is not None]
    marks.change(connection, (), marked)
    connection.execute(delete(verifications).where(verifications.c.subject.in_(numbers)))
