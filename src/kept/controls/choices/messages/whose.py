"""Whom a link in a letter is for: Kept's own number of somebody, behind which only Kept's keys find them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from kept.company import Company
from kept.controls.choices.records import subjects
from kept.controls.rights.people import Person, person_of
from kept.state.tables import subjects as subjects_table


def numbers(company: Company, whos: Sequence[Person]) -> dict[Person, int]:
    """The number of each, made on first use."""
    found = subjects.find(company, whos)
    missing = [who for who in whos if who not in found]
    if missing:
        with company.state.write() as connection:
            made = subjects.number(company, connection, missing)
        found |= {who: number for who, (number, _) in made.items()}
    return found


def person(company: Company, number: int) -> Person | None:
    """Who has a number; None where it was never given, or its person was erased since."""
    with company.state.read() as connection:
        sealed = connection.scalar(select(subjects_table.c.who).where(subjects_table.c.number == number))
    return (
        None if sealed is None else person_of(company.policy, company.keys.unseal("subject", sealed).decode())
    )
