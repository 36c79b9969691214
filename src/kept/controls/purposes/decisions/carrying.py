"""Carries out what was decided: it is on record, the cells are written or the end is set, and the person is told.

Each step is harmless when repeated, so a decision that was cut off goes on where it stopped, whoever works next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, insert, select, update

from kept.company import Company
from kept.controls.purposes.decisions import deciding, seen
from kept.controls.purposes.decisions.change import Change, purpose_of, refuse
from kept.controls.purposes.decisions.letter import letter, outcome
from kept.controls.purposes.decisions.queue import (
    ACCEPTED,
    ALTERED,
    DONE,
    KIND,
    REFUSED,
    Proposal,
    forget_erased,
    left_out,
    listing,
    one,
)
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.ends import ending, endings
from kept.controls.rights import tasks
from kept.controls.rights.answers.access import with_facts
from kept.controls.rights.people import Person, known_of
from kept.controls.rights.places import BY
from kept.errors import KeptError
from kept.evidence.entry import Entry
from kept.mail.letter import checked
from kept.state.tables import acts
from kept.state.uses import proposals
from kept.state.workflows import Workflows
from kept.stores.correct import correct
from kept.stores.corrections import Corrections

STEPS: Final = ("record", "write", "tell", "close")
LETTER: Final = "decided"
TOLD: Final = "told"


def is_due(company: Company) -> bool:
    """Whether a decision waits to be carried out; cheap, for whoever asks every few seconds."""
    waits = proposals.c.state.in_((ACCEPTED, REFUSED)) & proposals.c.told.is_(None)
    query = select(proposals.c.id).where(waits, proposals.c.problem.is_(None)).limit(1)
    with company.state.read() as connection:
        return connection.execute(query).first() is not None


def carry_on(company: Company, workflows: Workflows) -> list[str]:
    """Carry out every decision that isn't yet, and tell whoever wasn't; answers what went wrong."""
    forget_erased(company)
    waiting = [one for one in listing(company, states=(ACCEPTED, REFUSED)) if one.told is None]
    return [problem for one in waiting if (problem := carry(company, workflows, one.id)) is not None]


def carry(company: Company, workflows: Workflows, id: str) -> str | None:
    """Carry out one decision; why it couldn't be, which is noted, and tried again by whoever works next."""
    with company.state.claim(f"{KIND} {id}", wait=True) as mine:
        if not mine:
            return "another worker is at it"
        found = one(company, id)
        if found.ruling is None and not found.altered:
            return None
        try:
            if found.altered:
                raise KeptError(f"decision {id}: {ALTERED}")
            company.agree()
            purpose = purpose_of(company, found.purpose)
            if found.state == ACCEPTED and endings.sets_end(company.policy, purpose):
                _end(company, workflows, purpose, found)
            else:
                workflows.run(KIND, id, _attempt(company, found))
        except KeptError as wrong:
            with company.state.write() as connection:
                waits = (proposals.c.id == id) & proposals.c.told.is_(None)
                connection.execute(update(proposals).where(waits).values(problem=wrong.message[:2000]))
            return wrong.message
    return None


def _attempt(company: Company, found: Proposal) -> int:
    """The act of a decision, noted when it is first carried out; how often that was tried."""
    mine = acts.c.id == found.act
    with company.state.write() as connection:
        if connection.execute(select(acts.c.id).where(mine)).first() is None:
            began = company.clock().replace(microsecond=0).isoformat()
            row = {"id": found.act, "kind": KIND, "policy": company.policy.source.digest, "began": began}
            connection.execute(insert(acts).values(row))
        again = update(acts).where(mine).values(attempts=acts.c.attempts + 1)
        return int(connection.execute(again.returning(acts.c.attempts)).scalar_one())


def _end(company: Company, workflows: Workflows, purpose: Purpose, found: Proposal) -> None:
    """An end is set as `kept end` sets it: by an act of its own, which tells the person."""
    assert found.change is not None and found.ruling is not None
    deciding.record(company, found)
    done = ending.decide(
        company, workflows, deciding.as_end(company.policy, purpose, found.change, found.ruling)
    )
    if done.problem is not None:
        raise KeptError(done.problem)
    _close(company, found, DONE)


class Decide:
    """The act `decide`: `record` it, `write` what was decided, `tell` the person, `close`."""

    def __init__(self, company: Company) -> None:
        self.company = company

    def steps(self, act: str, leg: int) -> Sequence[str]:
        found = one(self.company, act)
        if found.ruling is None:
            return ()
        return tuple(step for step in STEPS if step != "write" or found.state == ACCEPTED)

    def step(self, act: str, name: str) -> None:
        company, found = self.company, one(self.company, act)
        if found.change is None or found.ruling is None:
            return
        match name:
            case "record":
                deciding.record(company, found)
            case "write":
                self._write(found, found.change)
            case "tell":
                self._tell(found, found.change)
            case _:
                _close(company, found, DONE if found.state == ACCEPTED else REFUSED)

    def _write(self, found: Proposal, change: Change) -> None:
        company, purpose = self.company, purpose_of(self.company, found.purpose)
        if company.ledger.keyed([f"decided {found.id}"]):
            return  # what has become of the cells since is others' decision
        refuse(company, purpose, change)
        walk = with_facts(company.policy, company.walk(change.person.kind))
        done: dict[str, Corrections] = {}
        for store, cells in change.by_store(company).items():

            def note(done: Corrections, store: str = store) -> None:
                # Nothing changed means that a run before this one committed: what it noted is the truth.
                if done.changed:
                    company.state.note(found.act, store, done.as_json())
                    seen.mark(company, found.id, store, done)

            there, key = company.stores[store], change.person.key
            done[store] = correct(there, walk, key, cells, note, excepted=left_out(company, purpose))
        seen.settle(company, found.id, done)
        entry: Entry = {
            "act": "decided",
            "proposal": found.id,
            "purpose": found.purpose,
            "person": found.pseudonym,
            "counts": company.state.notes(found.act),
        }
        company.ledger.append_many([(f"decided {found.id}", entry)])

    def _tell(self, found: Proposal, change: Change) -> None:
        """Write to the person; whom no letter can reach, a member of staff tells, and whoever else is to be told."""
        company, purpose = self.company, purpose_of(self.company, found.purpose)
        if TOLD in company.state.notes(found.act):
            return
        policy, due = company.policy, company.clock() + tasks.USUAL
        what = f"tell them what was decided (`{found.purpose}`): " + outcome(found, change)
        address = address_of(company, change.person) if company.can_write else None
        told: dict[str, int] = {}
        by_hand: dict[str, str] = {}
        for who in map(str, purpose.tells):
            theirs = who in policy.people and policy.related(change.person.kind, who)
            if theirs and address is not None:
                told["letters"] = 1
            else:
                by_hand["a letter" if theirs else f"a word to {who}"] = (
                    str(change.person) if theirs else f"{who}, about {change.person}"
                )
                told["by_hand"] = len(by_hand)

        def write(connection: Connection) -> None:
            mine = select(proposals.c.id).where(proposals.c.id == found.id, proposals.c.told.is_(None))
            if connection.execute(mine.with_for_update()).first() is None:
                return  # they were erased meanwhile, and a letter to them would stay
            if address is not None and "letters" in told:
                made = letter(company, purpose, found, change, address)
                company.outbox.put(LETTER, made, found.act, id=f"decided-{found.id}", connection=connection)
            for place, whom in by_hand.items():
                tasks.give(company, found.act, place, [whom], what, due, connection)

        company.state.note(found.act, TOLD, told, along=write)


def address_of(company: Company, person: Person) -> str | None:
    """Where somebody can be written to; None where nobody can tell, or it is no address."""
    if company.map.walk(person.kind) is None:
        return None
    address = known_of(company, person.kind, [person.key]).get(person.key, {}).get(BY)
    if address is None:
        return None
    try:
        return checked(address, "an address on record")
    except KeptError:
        return None


def _close(company: Company, found: Proposal, state: str) -> None:
    """Over: what was proposed is nobody's business any more but the person's, who is told."""
    told = company.state.notes(found.act).get(TOLD)
    if told:
        entry = {"act": "decision told", "proposal": found.id, "person": found.pseudonym, **told}
        company.ledger.append_many([(f"decision told {found.id}", entry)])
    now = company.clock().isoformat()
    with company.state.write() as connection:
        mine = (proposals.c.id == found.id) & proposals.c.state.in_((ACCEPTED, REFUSED))
        gone = {"sealed": None, "ruling": None, "problem": None}
        connection.execute(update(proposals).where(mine).values(state=state, told=now, **gone))
        connection.execute(update(acts).where(acts.c.id == found.act).values(ended=now, problem=None))
