"""Erasing again who was erased before: a backup brought them back, or what a hold kept is free to go.

Nothing waits any more, and nobody is written to: they were answered the first time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from kept.company import Company
from kept.controls.retention import holds, placed
from kept.controls.rights import clocks, register
from kept.controls.rights.acting import Legs
from kept.controls.rights.batches import Batches
from kept.controls.rights.erasing.erase import Erase
from kept.controls.rights.erasing.erased import CHUNK
from kept.controls.rights.erasing.remnants import LOOK, freed
from kept.controls.rights.people import Person
from kept.controls.rights.register import Subject
from kept.errors import KeptError, TransientError
from kept.evidence.entry import Entry
from kept.laws.clock import Times

_WITHIN = (
    "erase",
    "files",
    "clean",
)  # what an erasure does in databases, the only places where a hold keeps anything


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


def without_holds(company: Company, erasing: Erase, people: Sequence[Person]) -> Again:
    """Plan erasures of what only holds kept; raises where they can't be carried out in full.

    Nobody is told again and no member of staff is given the same task again: all that was done the first time.
    """
    planned = prepare(company, erasing, people)
    groups = tuple(
        (group, [[step for leg in legs for step in leg if step.partition(" ")[0] in _WITHIN]])
        for group, legs in planned.groups
    )
    return Again(groups, planned.pseudonyms)


def set_holds_that_ended(company: Company, erasing: Erase) -> str | None:
    """Let go of the holds that somebody set and whose end has come; what stands in the way, if anything.

    Who was erased while a hold was in force gets an erasure of what only it kept, ready to be carried out; of anybody
    else only the hold ends. What can't be begun leaves the holds as they are, and the next time goes on.
    """
    over = placed.over(company)
    busy = register.pseudonyms_open(company, "erase", [one.pseudonym for one in over])
    over = [one for one in over if one.pseudonym not in busy]  # let go once that is closed, and erased then
    if not over:
        return None
    try:
        placed.note_ends(company, over)
        people = sorted(placed.erased_meanwhile(company, over), key=str)
        going = register.open_of(company, "erase", people)
        again = without_holds(company, erasing, [person for person in people if person not in going])
        with company.state.write() as connection:
            if len(placed.let_go(company, connection, over)) < len(over):
                raise TransientError("another worker is letting go of holds")
            begin(company, connection, erasing.batches, again, "kept", "hold-ended")
    except KeptError as wrong:
        return f"what holds kept that are over can't be let go: {wrong}"
    company.state.checkpoint()
    return None


def holds_that_ended(company: Company, erasing: Erase) -> str | None:
    """Let go of whatever only holds kept that are over; what stands in the way, if anything.

    The holds that somebody set are asked each time. Those of the policy end row by row, without a word of whom: for
    them, once a day of the policy's and for each version of it, the frames of erased people are looked at. Those of
    which nothing shows whose they are stay, are noted, and seen on the board (`kept.controls.rights.erasing.replay`).
    """
    found = [set_holds_that_ended(company, erasing)]
    if holds.end(company.policy):
        found.append(_frames(company, erasing))
    return "\n".join(problem for problem in found if problem is not None) or None


def _frames(company: Company, erasing: Erase) -> str | None:
    policy = company.policy
    day = company.clock().astimezone(policy.timezone).date().isoformat()
    looked = {"day": day, "policy": policy.source.digest}

    def done() -> bool:
        return looked.items() <= company.state.notes(LOOK).get("frames", {}).items()

    if done():
        return None
    with company.state.claim(LOOK, wait=False) as mine:
        if not mine or done():
            return None
        doubtful, begun, free = 0, 0, list[Person]()
        try:
            for part in freed(company):
                doubtful += len(part.doubtful)
                free += part.people
                if len(free) >= CHUNK:  # thousands in one act cost little more than a few
                    _begin_freed(company, erasing, free, f"{day} {looked['policy']} {begun}")
                    begun, free = begun + 1, []
            _begin_freed(company, erasing, free, f"{day} {looked['policy']} {begun}")
        except KeptError as wrong:
            return f"what holds of the policy kept that are over can't be let go: {wrong}"
        company.state.note(LOOK, "frames", {**looked, "doubtful": doubtful})
    return None


def _begin_freed(company: Company, erasing: Erase, people: Sequence[Person], part: str) -> None:
    """Begin erasures of what holds of the policy kept of these people, but of whom one is open already."""
    going = register.open_of(company, "erase", people) if people else {}
    free = [person for person in people if person not in going]
    if not free:
        return
    planned = without_holds(company, erasing, free)
    entry: Entry = {"act": "holds over", "people": len(free), "policy": company.policy.source.digest}
    company.ledger.append_many([(f"holds over {part}", entry)])
    with company.state.write() as connection:
        begin(company, connection, erasing.batches, planned, "kept", "hold-ended")
