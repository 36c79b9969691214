"""Measures what people said about the use of their data: whether the gate, and the guard in the database, go by it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from sqlalchemy import select

from kept.company import Company
from kept.controls.choices.deciding import Decision
from kept.controls.choices.enforce import Gate
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.guard.plan import recorded
from kept.controls.purposes.tried import some_people
from kept.controls.rights import instruct
from kept.controls.rights.people import Person, person_of
from kept.errors import KeptError
from kept.evidence.proof import Measured, Proof
from kept.state.tables import instructions

PEOPLE: Final = 20  # on whom it is tried


def measure(company: Company, verb: str) -> list[Proof]:
    """The proofs of one instruction: what was said is refused at the gate, and where an application reads past it."""
    if verb == "human-decision":
        says = "Whether a machine decides where Kept's queue of decisions isn't used, nobody here can see."
        return [Proof("measure", "unproven", says, dict(instruct.standing(company, verb)), unseen=True)]
    return [_gate(company, verb), *_guards(company)]


def _gate(company: Company, verb: str) -> Proof:
    """Try every use that is forbidden, by those who forbade it, and by others as if they had."""
    gate, tried, allowed, unsure = Gate.of(company), 0, list[str](), 0
    whos = [*_who_said(company, verb), *some_people(company, PEOPLE)][: 2 * PEOPLE]
    for who in whos:
        known = gate.basis(who)
        if isinstance(known, Decision):
            unsure += 1
            continue
        for scope in _scopes(company, verb, who):
            said = replace(known, said=[*known.said, (verb, scope)], standing={}, decided={})
            for purpose in _forbidden(company, verb, scope):
                tried += 1
                found = gate.rulings.decide(said, purpose, None)
                allowed += [purpose] if found.allowed else []
    in_force = sum(instruct.standing(company, verb).values())
    measured: Measured = {"in_force": in_force, "trials": tried, "allowed": len(allowed), "unsure": unsure}
    if allowed:
        says = f"The gate lets through what people forbade: {', '.join(sorted(set(allowed)))}."
        return Proof("probe", "broken", says, measured)
    if not tried:
        says = "There is nobody at hand on whom it could be tried, or no use that it forbids."
        return Proof("probe", "unproven", says, measured)
    says = f"{in_force} instructions are in force; {tried} uses that one forbids were tried at the gate, all refused."
    return Proof("probe", "kept", says, measured)


def _guards(company: Company) -> Iterator[Proof]:
    """Where an application reads without asking, only a guard in the database stops it."""
    for name in company.stores:
        try:
            stands = recorded(company, name) is not None
        except KeptError as wrong:
            yield Proof(
                "measure", "unproven", f"Nobody can say whether a guard stands in `{name}`: {wrong.message}"
            )
            continue
        if stands:
            yield Proof(
                "measure", "kept", f"The guard in `{name}` goes by it too, whoever reads.", {"store": name}
            )
        else:
            says = (
                f"No guard stands in `{name}`: an application that doesn't ask the gate isn't stopped there."
            )
            yield Proof("measure", "unproven", says, {"store": name})


def _who_said(company: Company, verb: str) -> list[Person]:
    query = select(instructions.c.who).where(
        instructions.c.verb == verb, instructions.c.ended.is_(None), instructions.c.who.is_not(None)
    )
    with company.state.read() as connection:
        sealed = connection.scalars(query.limit(PEOPLE)).all()
    whos = dict.fromkeys(company.keys.unseal("instruction", one).decode() for one in sealed)
    return [person_of(company.policy, who) for who in whos]


def _scopes(company: Company, verb: str, who: Person) -> tuple[str, ...]:
    return instruct.scopes(company.policy, verb, who.kind, ())


def _forbidden(company: Company, verb: str, scope: str) -> list[str]:
    """The purposes that an instruction forbids."""
    return [
        str(one.name)
        for one in company.policy.section("purposes").values()
        if isinstance(one, Purpose)
        and one.uses
        and (
            (verb == "restrict" and not set(map(str, one.ground.values())) <= set(instruct.RESTRICTED_EXCEPT))
            or (verb == "object" and scope == one.name)
            or (verb == "withdraw" and scope in map(str, one.choice))
        )
    ]
