"""Somebody is erased: their answers stay, as what nobody in particular once chose, and count for nothing any more."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, delete, update

from kept.company import Company
from kept.controls.choices.records import book, marks
from kept.controls.choices.records.history import in_force
from kept.controls.choices.records.subjects import CHUNK, index
from kept.controls.rights.people import Person
from kept.state.database import insert
from kept.state.tables import notes, subjects, verifications

FORGOTTEN: Final = "choices forgotten"  # the act whose note is another one whenever somebody was erased


def forget(company: Company, whos: Sequence[Person]) -> int:
    """Let go of who these subjects are, and of all that is in force for them; how many there were.

    Whoever decides by choices in this process learns of it before the call returns, every other process by its next
    look: the same key may be somebody else's soon.
    """
    done = 0
    indexes = sorted(index(company, who) for who in whos)
    for start in range(0, len(indexes), CHUNK):
        mine = subjects.c.person.in_(indexes[start : start + CHUNK])
        nobody = update(subjects).where(mine).values(person=None, who=None, pseudonym="")
        with company.state.write() as connection:
            marks.alone(connection)
            rows = connection.execute(nobody.returning(subjects.c.number, subjects.c.kind)).all()
            if rows:
                _clear(connection, [row.number for row in rows])
            if any(company.policy.root(row.kind) is not None for row in rows):
                _tell(connection)  # not for a claim that nobody can be asked about
        done += len(rows)
    book.tell(company, whos)
    return done


def _clear(connection: Connection, numbers: Sequence[int]) -> None:
    stood = [event for by_key in in_force(connection, numbers).values() for event in by_key.values()]
    marked = [(mark, event.subject) for event in stood if (mark := marks.mark_of(event)) is not None]
    marks.change(connection, (), marked)
    connection.execute(delete(verifications).where(verifications.c.subject.in_(numbers)))


def _tell(connection: Connection) -> None:
    """Leave word for other processes."""
    said = {"counts": json.dumps({"last": secrets.token_hex(8)})}
    writing = insert(connection, notes).values({"act": FORGOTTEN, "part": "", **said})
    connection.execute(writing.on_conflict_do_update(index_elements=["act", "part"], set_=said))
