"""The queue: what is proposed and by whom, until somebody with a name has decided it.

What is proposed and what was decided are sealed, each for its own proposal: a row that somebody changed in Kept's
database, or put in another's place, can't be read, and nothing comes of it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, select, update

from kept.company import Company
from kept.controls.purposes.decisions import seen
from kept.controls.purposes.decisions.change import Change, purpose_of, refuse
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.ends import endings
from kept.controls.rights.answers.access import with_facts
from kept.controls.rights.correct import excepted
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.state.database import insert
from kept.state.tables import acts, tasks
from kept.state.uses import proposals
from kept.stores.correct import rehearse

OPEN: Final = "open"
ACCEPTED: Final = "accepted"  # decided, and being carried out
DONE: Final = "done"
REFUSED: Final = "refused"
MOOT: Final = "moot"  # whom it was about is gone
ALL: Final = (OPEN, ACCEPTED, DONE, REFUSED, MOOT)

KIND: Final = "decide"  # of the acts that carry decisions out
ALTERED: Final = "it was altered in Kept's database: nothing comes of it"
CHUNK: Final = 1000


@dataclass(frozen=True)
class Ruling:
    """What somebody decided: `role` is `ROLE` or `ROLE:KEY`, `by` their name."""

    answer: str
    role: str
    by: str = field(repr=False)
    why: str | None = field(repr=False)


@dataclass(frozen=True)
class Proposal:
    """One decision to be taken or taken.

    `decided_by` is the name of a member of staff, or the pseudonym of whoever else decided. `proposed_by`, `change` and
    `ruling` are None once they are nobody's business any more, and where it is `altered`.
    """

    id: str
    purpose: str
    state: str
    proposed: datetime
    pseudonym: str = ""
    decided: datetime | None = None
    decided_by: str | None = None
    role: str | None = None
    told: datetime | None = None
    problem: str | None = None
    proposed_by: str | None = field(default=None, repr=False)
    change: Change | None = None
    ruling: Ruling | None = None
    altered: bool = False

    @property
    def act(self) -> str:
        """The act that carries it out."""
        return f"{KIND}-{self.id}"

    def as_json(self) -> dict[str, object]:
        """What staff sees in the queue."""
        change = self.change
        return {
            "id": self.id,
            "purpose": self.purpose,
            "state": self.state,
            "person": str(change.person) if change is not None else None,
            "set": dict(change.cells) if change is not None else None,
            "row": change.row if change is not None else None,
            "case": change.case if change is not None else None,
            "proposed": self.proposed.isoformat(timespec="seconds"),
            "proposed_by": self.proposed_by,
            "decided": self.decided.isoformat(timespec="seconds") if self.decided is not None else None,
            "decided_by": self.decided_by,
            "as": self.role,
            "carried_out": self.told is not None,
            "problem": ALTERED if self.altered else self.problem,
        }


def propose(
    company: Company,
    purpose: str,
    person: Person,
    cells: Mapping[str, str] | None = None,
    *,
    by: str,
    row: str | None = None,
    case: str | None = None,
    evidence: Mapping[str, str] | None = None,
    id: str | None = None,
) -> str:
    """Put a change into the queue, and answer its id; `by` is who or what proposes it, which may be a program.

    `id` may be the caller's own (32 hexadecimal digits): the same sent twice is proposed once. KeptError where the
    policy lets nobody decide such a thing, and where the database would not take the change.
    """
    entry = purpose_of(company, purpose)
    change = Change(person, cells or {}, row, case, evidence or {})
    if not any(map(str.isalnum, by)):
        raise KeptError("say who proposes it", where="--by")
    who = str(person)
    if id is not None and (known := _known(company, id)) is not None:
        if (known.purpose, known.pseudonym) != (purpose, company.pseudonyms.of([who])[who]):
            raise KeptError("that id is another proposal's", where="ID")
        return id
    refuse(company, entry, change)
    try_out(company, entry, change)
    pseudonym = company.pseudonyms.of([who])[who]
    id, now = id or secrets.token_hex(16), company.clock()
    made = Proposal(id, purpose, OPEN, now, pseudonym, proposed_by=by.strip(), change=change)
    written = {
        "id": id,
        "purpose": purpose,
        "pseudonym": pseudonym,
        "sealed": _sealed(company, made),
        "proposed": now.isoformat(),
        "state": OPEN,
    }
    with company.state.write() as connection:  # the same sent twice at once is one, too
        connection.execute(insert(connection, proposals).values(written).on_conflict_do_nothing())
    if _erased(company, [made]):
        forget(company, [pseudonym])
        raise KeptError("they were erased at this moment", where="WHO")
    record(company, made)
    return id


def record(company: Company, found: Proposal) -> None:
    """Put on the ledger that something was proposed; once, however often it is called."""
    entry = {
        "act": "propose",
        "proposal": found.id,
        "purpose": found.purpose,
        "sets": [str(name) for name in purpose_of(company, found.purpose).sets],
        "person": found.pseudonym,
        "policy": company.policy.source.digest,
    }
    company.ledger.append_many([(f"propose {found.id}", entry)])


def listing(company: Company, *, states: Sequence[str] = (OPEN, ACCEPTED)) -> list[Proposal]:
    """The proposals in some states, the oldest first; and any in a state that there isn't, so that none can be hid."""
    chosen = proposals.c.state.in_(states) | proposals.c.state.not_in(ALL)
    query = select(proposals).where(chosen).order_by(proposals.c.proposed)
    with company.state.read() as connection:
        rows = connection.execute(query).all()
    return [_proposal(company, row) for row in rows]


def one(company: Company, id: str) -> Proposal:
    """A proposal by its id; KeptError where there is none."""
    found = _known(company, id)
    if found is None:
        raise KeptError("there is no such proposal", help="`kept decide list` names them", where="ID")
    return found


def forget(company: Company, pseudonyms: Sequence[str]) -> None:
    """Let go of what was proposed about people who are erased: it is moot, and nothing of it can be read any more."""
    mine = proposals.c.pseudonym.in_(pseudonyms)
    now = company.clock().isoformat()
    with company.state.write() as connection:
        ids = list(connection.scalars(select(proposals.c.id).where(mine)))
        unfinished = mine & proposals.c.state.in_((OPEN, ACCEPTED))
        connection.execute(update(proposals).where(unfinished).values(state=MOOT))
        gone = {"sealed": None, "ruling": None, "problem": None, "told": now}
        connection.execute(update(proposals).where(mine, proposals.c.told.is_(None)).values(gone))
        theirs = [f"{KIND}-{id}" for id in ids]
        connection.execute(delete(tasks).where(tasks.c.act.in_(theirs), tasks.c.done.is_(None)))
        over = update(acts).where(acts.c.id.in_(theirs), acts.c.ended.is_(None))
        connection.execute(over.values(ended=now, problem=None))
        for act in theirs:
            company.outbox.forget(act, connection)
        seen.let_go(connection, ids)


def forget_erased(company: Company) -> None:
    """Let go of what was proposed of somebody while they were being erased."""
    gone = _erased(company, listing(company))
    if gone:
        forget(company, [one.pseudonym for one in gone])


def _erased(company: Company, some: Sequence[Proposal]) -> list[Proposal]:
    """Of these proposals those about somebody whose pseudonym was destroyed, whoever has their key by now."""
    known = company.pseudonyms.find([str(one.change.person) for one in some if one.change is not None])
    return [
        one for one in some if one.change is not None and known.get(str(one.change.person)) != one.pseudonym
    ]


def sealed_ruling(company: Company, id: str, ruling: Ruling) -> bytes:
    """A ruling as it is kept until it is carried out; good for this proposal only."""
    told = {"answer": ruling.answer, "role": ruling.role, "by": ruling.by, "why": ruling.why}
    return company.keys.seal(f"ruling {id}", json.dumps(told).encode())


def _known(company: Company, id: str) -> Proposal | None:
    with company.state.read() as connection:
        row = connection.execute(select(proposals).where(proposals.c.id == id)).first()
    return _proposal(company, row) if row is not None else None


def waiting(company: Company, connection: Connection, found: Proposal) -> Proposal | None:
    """Another decision about the same, which is yet to be carried out: of two, none may undo the newer."""
    query = select(proposals).where(proposals.c.pseudonym == found.pseudonym, proposals.c.state == ACCEPTED)
    for row in connection.execute(query.where(proposals.c.told.is_(None), proposals.c.id != found.id)):
        other = _proposal(company, row)
        if other.change is None or found.change is None or found.change.is_about_the_same(other.change):
            return other
    return None


def try_out(company: Company, purpose: Purpose, change: Change) -> None:
    """See that the database would take the change, by making it in a transaction that is rolled back."""
    for store, cells in change.by_store(company).items():
        walk = with_facts(company.policy, company.walk(change.person.kind))
        rehearse(company.stores[store], walk, change.person.key, cells, excepted=left_out(company, purpose))


def left_out(company: Company, purpose: Purpose) -> frozenset[str]:
    """The data that nobody corrects on request, but what this purpose decides about."""
    if endings.sets_end(company.policy, purpose):
        return frozenset()
    return frozenset(excepted(company.policy)) - set(map(str, purpose.sets))


def _sealed(company: Company, made: Proposal) -> bytes:
    change = made.change
    assert change is not None
    told = {
        "purpose": made.purpose,
        "pseudonym": made.pseudonym,
        "by": made.proposed_by,
        "kind": change.person.kind,
        "key": list(change.person.key),
        "cells": dict(change.cells),
        "row": change.row,
        "case": change.case,
        "evidence": dict(change.evidence),
    }
    return company.keys.seal(f"proposal {made.id}", json.dumps(told).encode())


def _proposal(company: Company, row: Row[tuple[Any, ...]]) -> Proposal:
    found = Proposal(
        row.id,
        row.purpose,
        row.state,
        datetime.fromisoformat(row.proposed),
        row.pseudonym,
        _time(row.decided),
        row.decided_by,
        row.role,
        _time(row.told),
        row.problem,
    )
    if row.told is not None or row.state == MOOT:
        return found
    try:
        return _opened(company, row, found)
    except KeptError:  # sealed by nobody here, or for another proposal
        return replace(found, altered=True)


def _opened(company: Company, row: Row[tuple[Any, ...]], found: Proposal) -> Proposal:
    told = json.loads(company.keys.unseal(f"proposal {row.id}", row.sealed or b""))
    change = Change(
        Person(told["kind"], tuple(told["key"])), told["cells"], told["row"], told["case"], told["evidence"]
    )
    ruling = None
    if row.ruling is not None:
        ruling = Ruling(**json.loads(company.keys.unseal(f"ruling {row.id}", row.ruling)))
    answered = {OPEN: None, ACCEPTED: "yes", REFUSED: "no"}.get(row.state)
    known = (
        told["purpose"] == row.purpose
        and told["pseudonym"] == row.pseudonym
        and row.state in (OPEN, ACCEPTED, REFUSED)
        and answered == (ruling.answer if ruling is not None else None)
        and (ruling is None or ruling.role.partition(":")[0] == row.role)
    )
    if not known:
        return replace(found, altered=True)
    return replace(found, proposed_by=told["by"], change=change, ruling=ruling)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
