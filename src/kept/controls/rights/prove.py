"""Measures rights: clocks, what could not be done, whether a plan reaches every place, what else an entry promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import func, select

from kept.company import Company
from kept.controls.rights import batches, besides, instruct, life, register, said, ways
from kept.controls.rights.declare import Right
from kept.controls.rights.erasing import room
from kept.controls.rights.erasing.replay import restored
from kept.controls.rights.places import places, unreached
from kept.evidence.proof import Proof
from kept.laws.region import offered
from kept.policy.entry import Promise
from kept.state.tables import events, letters, requests, tasks

CARRIED_OUT: Final = ("access", "export", "correct", "erase")
INSTRUCTIONS: Final = instruct.VERBS

BESIDES: Final = ("tells",)
"""What an entry may promise besides, and this version neither enforces nor measures."""


def prove(company: Company, promise: Promise) -> list[Proof]:
    """Measure the requests of a right, and probe that its plan reaches every place the file declares."""
    right = str(promise.name)
    assert isinstance(promise, Right)
    if right in CARRIED_OUT:
        proofs = [_clocks(company, right), _reach(company)]
        proofs += [_gone(company)] if right == "erase" else []
    elif right in INSTRUCTIONS:
        proofs = [_clocks(company, right), *said.measure(company, right)]
    elif right == "complain":
        proofs = [_clocks(company, right)]
    elif right == "pass-on":
        proofs = [_goes_on(company, promise), _passed_on(company)]
    else:
        return [Proof("measure", "unproven", f"This version of Kept does not see to `{right}`.")]
    seen: dict[str, Callable[[Company, str], Proof]] = {
        "waits": _waits,
        "confirmed_by": _confirmed,
        "approved_by": _approved,
    }
    proofs += [look(company, right) for key, look in seen.items() if getattr(promise, key)]
    proofs += ways.prove(company, promise) if promise.through else []
    proofs += [
        proof
        for key, seen_ in besides.SEEN.items()
        if getattr(promise, key)
        for proof in seen_(company, promise)
    ]
    unseen = [word for word in BESIDES if word in promise.keys]
    if unseen:
        told = ", ".join(f"`{word}`" for word in unseen)
        proofs.append(Proof("measure", "unproven", f"This version of Kept does not see to {told}."))
    return proofs


def _standing(company: Company, verb: str) -> dict[str, int]:
    """How many requests of a verb are done, open, refused, held up by a fault, and past their clock."""
    now = company.clock().isoformat()
    with company.state.read() as connection:
        counted: dict[str, int] = dict(
            connection.execute(
                select(requests.c.state, func.count())
                .where(requests.c.verb == verb)
                .group_by(requests.c.state)
            ).all()
        )
        late = connection.execute(
            select(func.count()).where(
                requests.c.verb == verb, requests.c.due < func.coalesce(requests.c.closed, now)
            )
        ).scalar_one()
    return {
        "done": counted.get("done", 0),
        "open": counted.get("open", 0),
        "refused": counted.get("refused", 0),
        "past_due": late,
    }


def _clocks(company: Company, right: str) -> Proof:
    measured = _standing(company, right)
    stuck = batches.problems(company)
    failed = sum(one.act in stuck for one in register.listing(company, verb=right)) if stuck else 0
    measured["failed"] = failed
    if measured["past_due"]:
        return Proof(
            "measure", "broken", f"{measured['past_due']} of the requests ran past their clock.", measured
        )
    if failed:
        return Proof(
            "measure", "unproven", f"{failed} of the open requests could not be carried out yet.", measured
        )
    if not any(measured.values()):
        return Proof("measure", "kept", "Nobody has asked yet, so no clock ran out.", measured)
    return Proof(
        "measure",
        "kept",
        f"{measured['done']} answered, {measured['refused']} refused, {measured['open']} open, none past its clock.",
        measured,
    )


def _goes_on(company: Company, promise: Right) -> Proof:
    """Ask of every right, for each kind named, whether a request would go to the client and nowhere else."""
    policy, kinds = company.policy, [str(kind) for kind in promise.of]
    rights = sorted({*offered(policy.laws, None), *policy.section("rights")} - {"pass-on"})
    wrong = [
        f"{kind} ({right})"
        for kind in kinds
        for right in rights
        if life.first(policy, right, kind, channel="form", confirmed=False) != "client"
        or str(life.client_of(policy, kind)) not in set(map(str, promise.to))
    ]
    measured = {"kinds": len(kinds), "rights": len(rights), "answered_here": len(wrong)}
    if wrong:
        says = f"Requests would be answered here, or go to somebody else: {', '.join(wrong)}."
        return Proof("probe", "broken", says, measured)
    missing = [reason for kind in kinds for reason in company.out_of_reach(kind)]
    if missing:
        says = f"Nobody of them can be found, so no request would get so far: {'; '.join(missing)}."
        return Proof("probe", "unproven", says, measured)
    return Proof("probe", "kept", f"A request by any of {len(rights)} rights goes to the client.", measured)


def _passed_on(company: Company) -> Proof:
    """Requests that are a client's: whether each was passed on, and whether any ran past its clock."""
    now = company.clock().isoformat()
    to_clients = select(events.c.request).where(events.c.what.in_(("passed-on", "to-pass-on")))
    late = select(func.count()).where(
        requests.c.id.in_(to_clients), requests.c.due < func.coalesce(requests.c.closed, now)
    )
    with company.state.read() as connection:
        states: dict[str, int] = dict(
            connection.execute(
                select(requests.c.state, func.count())
                .where(requests.c.id.in_(to_clients))
                .group_by(requests.c.state)
            ).all()
        )
        past = connection.execute(late).scalar_one()
        mail = select(func.count()).where(letters.c.what == "passed-on")
        failed = connection.execute(mail.where(letters.c.state == "failed")).scalar_one()
        waiting = connection.execute(mail.where(letters.c.state == "waiting")).scalar_one()
        by_hand = connection.execute(
            select(func.count()).where(tasks.c.act.in_(to_clients), tasks.c.done.is_(None))
        ).scalar_one()
    measured = {
        "open": states.pop("open", 0),
        "closed": sum(states.values()),
        "past_due": past,
        "letters_failed": failed,
        "letters_waiting": waiting,
        "tasks_open": by_hand,
    }
    if past or failed:
        says = f"{past} requests of a client's people ran past their clock, {failed} could not be passed on by letter."
        return Proof("measure", "broken", says, measured)
    if waiting or by_hand:
        says = f"{waiting} letters to clients wait to be sent, and {by_hand} requests are to be passed on by hand."
        return Proof("measure", "unproven", says, measured)
    says = f"Each request of a client's people was passed on ({measured['open']} open), none past its clock."
    return Proof("measure", "kept", says, measured)


def _reach(company: Company) -> Proof:
    """Plan the way to the data of every kind of person, without carrying anything out."""
    kinds = company.root_kinds()
    missing = unreached(company, kinds)
    reached = [places(company, kind) for kind in kinds]
    tables = sum(len(place.walk.own_tables()) for place in reached if place.walk is not None)
    tables += sum(len(names) for place in reached for names in place.records.values())
    by_hand = sorted(
        {f"{store}.{t}" for place in reached for store, names in place.by_hand.items() for t in names}
    )
    measured = {"kinds": len(kinds), "tables": tables, "by_hand": len(by_hand), "out_of_reach": len(missing)}
    if missing:
        return Proof(
            "probe", "unproven", "A request would not reach everything: " + "; ".join(missing) + ".", measured
        )
    if by_hand:
        return Proof(
            "probe",
            "unproven",
            f"A plan reaches {tables} declared tables; {', '.join(by_hand)} only a member of staff can see to.",
            measured,
            unseen=True,
        )
    return Proof(
        "probe",
        "kept",
        f"A plan for each of {len(kinds)} kinds of people reaches all {tables} declared tables.",
        measured,
    )


def _gone(company: Company) -> Proof:
    """Nobody who was erased is there again, as a restored backup would bring them back."""
    found = restored(company)
    measured = {"looked_at": found.looked_at, "back": len(found.people), "doubtful": len(found.doubtful)}
    if found.people:
        says = f"{len(found.people)} people who were erased are there again: `kept replay` erases them."
        return Proof("probe", "broken", says, measured)
    if found.doubtful:
        says = (
            f"{len(found.doubtful)} people have the key of somebody who was erased: `kept replay` says more."
        )
        return Proof("probe", "unproven", says, measured)
    return Proof("probe", "kept", "Nobody who was erased is there again.", measured)


def _waits(company: Company, right: str) -> Proof:
    """Nobody who is over their time can be restored: neither a key nor sealed rows are left, and none is overdue."""
    left = room.leftovers(company)
    now = company.clock()
    waiting = register.listing(company, awaits=("period",), verb=right)
    overdue = sum(one.until is not None and one.until <= now for one in waiting)
    measured = {"waiting": len(waiting), "overdue": overdue, "left": left}
    if left or overdue:
        says = f"{overdue} people wait past their time, and {left} sealed rows or keys of closed requests are left."
        return Proof("measure", "broken", says, measured)
    says = f"{len(waiting)} people may still come back; of everybody else neither a key nor a sealed row is left."
    return Proof("measure", "kept", says, measured)


def _confirmed(company: Company, right: str) -> Proof:
    return _all_have(company, right, "confirmed", "validated with the person by a named member of staff")


def _approved(company: Company, right: str) -> Proof:
    return _all_have(company, right, "approved", "approved by a named member of staff")


def _all_have(company: Company, right: str, what: str, said: str) -> Proof:
    """Every request of a person's that was carried out, or is being, has an event on record."""
    begun = (requests.c.verb == right) & requests.c.act.is_not(None)
    begun &= requests.c.channel.not_in(register.AGAIN)  # validated when it was first asked for
    noted = select(events.c.request).where(events.c.what == what)
    with company.state.read() as connection:
        total = connection.execute(select(func.count()).where(begun)).scalar_one()
        without = connection.execute(
            select(func.count()).where(begun, requests.c.id.not_in(noted))
        ).scalar_one()
    measured = {"carried_out": total, "without": without}
    if without:
        return Proof("measure", "broken", f"{without} of {total} requests were not {said}.", measured)
    says = (
        f"All {total} requests that were carried out were {said}." if total else "None was carried out yet."
    )
    return Proof("measure", "kept", says, measured)
