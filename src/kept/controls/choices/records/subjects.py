"""Whom choices are about: a number for each person or visitor, behind which only Kept's keys find them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from kept.company import Company
from kept.controls.rights.people import Person
from kept.state.database import insert
from kept.state.tables import subjects

CHUNK = 5000


def index(company: Company, who: Person) -> bytes:
    """Where somebody is found in the table: HMAC-SHA256, which can't be turned back."""
    return bytes.fromhex(company.keys.index(str(who)))


def find(company: Company, whos: Sequence[Person], connection: Connection | None = None) -> dict[Person, int]:
    """The numbers of those who have one; makes none."""
    by_index = {index(company, who): who for who in whos}
    if connection is not None:
        return _find(connection, by_index)
    with company.state.read() as reading:
        return _find(reading, by_index)


def number(company: Company, connection: Connection, whos: Sequence[Person]) -> dict[Person, tuple[int, str]]:
    """The number and the pseudonym of each, made on first use in the transaction under way."""
    by_index = {index(company, who): who for who in whos}
    found = _numbered(connection, by_index)
    missing = [who for who in dict.fromkeys(whos) if who not in found]
    if missing:
        pseudonyms = company.pseudonyms.of([str(who) for who in missing], connection=connection)
        rows = [
            {
                "person": index(company, who),
                "kind": who.kind,
                "who": company.keys.seal("subject", str(who).encode()),
                "pseudonym": pseudonyms[str(who)],
            }
            for who in missing
        ]
        connection.execute(insert(connection, subjects).on_conflict_do_nothing(), rows)
        found |= _numbered(connection, {one: who for one, who in by_index.items() if who not in found})
    return found


def _find(connection: Connection, by_index: dict[bytes, Person]) -> dict[Person, int]:
    return {who: number for who, (number, _) in _numbered(connection, by_index).items()}


def _numbered(connection: Connection, by_index: dict[bytes, Person]) -> dict[Person, tuple[int, str]]:
    found: dict[Person, tuple[int, str]] = {}
    given = list(by_index)
    for start in range(0, len(given), CHUNK):
        query = select(subjects.c.person, subjects.c.number, subjects.c.pseudonym).where(
            subjects.c.person.in_(given[start : start + CHUNK])
        )
        for person, number_, pseudonym in connection.execute(query):
            found[by_index[bytes(person)]] = (number_, pseudonym)
    return found
