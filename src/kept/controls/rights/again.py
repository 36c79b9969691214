"""Erasing again who was erased before: a backup brought them back, or what a hold kept is free to go.

Nothing waits any more, and nobody is written to: they were answered the first time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from kept.company import Company
from kept.controls.retention import placed
from kept.controls.rights import clocks, register
from kept.controls.rights.acting import Legs
from kept.controls.rights.batches import Batches
from kept.controls.rights.erase import Erase
from kept.controls.rights.people import Person
from kept.controls.rights.register import Subject
from kept.errors import KeptError, TransientError
from kept.laws.clock import Times


@dataclass(frozen=True)
class Again:
    """Erasures that are ready to be put into the register: people by act, each with the legs of that act."""

    groups: tuple[tuple[tuple[Person, ...], Legs], ...]
    pseudonyms: Mapping[str, str]


def prepare(company: Company, erasing: Erase, people: Sequence[Person]) -> Again:
    """Plan erasures that wait for nothing; raises where they can't be carried out in full."""
    groups = tuple((tuple(group), erasing.plan_again(group)) for group in erasing.apart(people))
    return Again(groups, company.pseudonyms.of([str(person) for person in people]))


def begin(
    company: Company, connection: Connection, batches: Batches, again: Again, by: str, channel: str
) -> tuple[list[str], list[str]]:
    """Put them into the register; the ids of their requests, and of the acts to run."""
    now = company.clock()
    ids: list[str] = []
    acts: list[str] = []
    for group, legs in again.groups:
        of = [(register.new_id(), person) for person in group]
        act, ordered = batches.begin(connection, "erase", of, legs, by)
        rows = [
            register.line(
                company,
                id,
                "erase",
                again.pseudonyms[str(person)],
                Subject(person),
                channel=channel,
                received=now,
                identified=now,
                due=clocks.due(company.policy, "erase", None, Times(now, now)),
                awaits="work",
                act=act,
                position=ordered.index(id),
            )
            for id, person in of
        ]
        register.add(connection, rows)
        ids += [id for id, _ in of]
        acts.append(act)
    return ids, acts


def holds_that_ended(company: Company, erasing: Erase) -> str | None:
    """Let go of the holds whose end has come; what stands in the way, if anything.

    Who was erased while a hold was in force gets an erasure of what only it kept, ready to be carried out; of anybody
    else only the hold ends. What can't be begun leaves the holds as they are, and the next time goes on.
    """
    over = placed.over(company)
    if not over:
        return None
    try:
        placed.note_ends(company, over)
        people = sorted(placed.erased_meanwhile(company, over), key=str)
        going = register.open_of(company, "erase", people)
        again = prepare(company, erasing, [person for person in people if person not in going])
        with company.state.write() as connection:
            if len(placed.let_go(company, connection, over)) < len(over):
                raise TransientError("another worker is letting go of holds")
            begin(company, connection, erasing.batches, again, "kept", "hold-ended")
    except KeptError as wrong:
        return f"what holds kept that are over can't be let go: {wrong}"
    company.state.checkpoint()
    return None
