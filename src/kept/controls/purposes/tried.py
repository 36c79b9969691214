"""Tries at the gate what a purpose must not do, on people who are really there; nothing of them is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import sqlalchemy as sa

from kept.company import Company
from kept.controls.choices.deciding import Decision
from kept.controls.purposes.declare import NeverUsed, Purpose
from kept.controls.purposes.enforce import Gate
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.evidence.proof import Measured, Proof
from kept.policy.fact_readers import store_of
from kept.stores.clauses import written

PEOPLE = 20  # of each kind, on whom a use is tried
STRANGER = "a-role-that-nobody-declared"


@dataclass(frozen=True)
class Trial:
    """A use that had to be refused, what was wrong with it, and what the gate said."""

    what: str
    said: Decision


def trials(company: Company, purpose: Purpose) -> list[Trial]:
    """Every way in which a use of this purpose could leave what is declared, tried on real people where there are any.

    A refusal because nobody could tell counts for nothing, so it isn't among them.
    """
    gate, name = Gate.of(company), str(purpose.name)
    people = list(_people(company, purpose))
    somebody: list[Person | None] = [*people[:1]] or [None]
    found = [
        Trial(f"`{other}` used for it", gate.decide(name, str(other), person=who))
        for other in company.policy.data
        if other not in purpose.uses
        for who in somebody
    ]
    found += [Trial("asked by a stranger", gate.decide(name, person=who, by=STRANGER)) for who in people]
    return [one for one in found if not one.said.unsure]


def tried(company: Company, purpose: Purpose) -> Proof:
    """That every use beyond what is declared is refused."""
    made = trials(company, purpose)
    wrong = sorted({one.what for one in made if one.said.allowed})
    measured: Measured = {"trials": len(made), "allowed": sum(one.said.allowed for one in made)}
    if wrong:
        return Proof("probe", "broken", f"The gate let through: {'; '.join(wrong)}.", measured)
    if not made or not any(_people(company, purpose)):
        says = "There is nobody at hand on whom a use beyond what is declared could be tried."
        return Proof("probe", "unproven", says, measured, unseen=not _in_databases(company, purpose))
    kinds = " and ".join(sorted({one.what for one in made if "`" not in one.what}))
    says = f"{len(made)} uses beyond what is declared were tried at the gate, and all refused, also {kinds}."
    return Proof("probe", "kept", says, measured)


def undeclared(company: Company, promise: NeverUsed) -> Proof:
    """That a purpose nobody declared, and every pair of purpose and data that isn't declared, is refused."""
    gate = Gate.of(company)
    purposes = [one for one in company.policy.section("purposes").values() if isinstance(one, Purpose)]
    made = [
        Trial(f"`{name}` used for `{one.name}`", gate.decide(str(one.name), str(name)))
        for one in purposes
        for name in company.policy.data
        if name not in one.uses
    ]
    made += [Trial(f"`{name}` used for nothing", gate.decide("", str(name))) for name in company.policy.data]
    wrong = [one.what for one in made if one.said.allowed]
    measured: Measured = {"trials": len(made), "allowed": len(wrong)}
    if wrong:
        return Proof("probe", "broken", f"The gate let through: {'; '.join(wrong[:5])}.", measured)
    if not made or not any(store not in company.unreachable for store in company.stores):
        return Proof("probe", "unproven", "There is no database at hand whose data could be used.", measured)
    return Proof(
        "probe", "kept", f"{len(made)} uses that nobody declared were tried, and all refused.", measured
    )


def _in_databases(company: Company, purpose: Purpose) -> bool:
    """Whether any of its data stands in a database of the company's own."""
    policy = company.policy
    tables = [table for name in purpose.uses if name in policy.data for table in policy.data[name].tables]
    return any(policy.stores[store_of(table)].is_sql for table in tables)


def _people(company: Company, purpose: Purpose) -> Iterator[Person]:
    """Some of those whose data it uses, from the databases that can be asked."""
    policy = company.policy
    kinds = {
        kind for name in purpose.uses if name in policy.data for kind in policy.owners(policy.data[name])
    }
    yield from _some(company, {str(root.name) for kind in kinds if (root := policy.root(kind)) is not None})


def some_people(company: Company, most: int) -> list[Person]:
    """Some people of each kind, from the databases that can be asked."""
    return list(islice(_some(company, set(company.root_kinds())), most))


def _some(company: Company, roots: set[str]) -> Iterator[Person]:
    for kind in sorted(roots):
        walk = company.map.walk(kind)
        if walk is None or walk.store not in company.stores:
            continue
        source = company.stores[walk.store].table(walk.root.table)
        query = sa.select(*(source.c[column] for column in walk.root.person)).limit(PEOPLE)
        try:
            with company.stores[walk.store].read() as connection:
                rows = connection.execute(query).all()
        except KeptError:  # the proofs of that store say so
            continue
        yield from (Person(kind, tuple(map(written, row))) for row in rows)
