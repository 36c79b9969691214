"""Measures decisions: nothing was changed past the queue, each has a person's name, and whom it is about was told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import func, select

from kept.company import Company
from kept.controls.collection.declare import Collecting
from kept.controls.purposes.decisions import seen
from kept.controls.purposes.decisions.change import deciding
from kept.controls.purposes.decisions.deciding import ANSWERED, refuse, roles
from kept.controls.purposes.decisions.names import is_name
from kept.controls.purposes.decisions.queue import ACCEPTED, DONE, OPEN, REFUSED, Proposal, Ruling, listing
from kept.controls.purposes.declare import NeverUsed, Purpose
from kept.errors import KeptError
from kept.evidence.proof import Measured, Proof
from kept.state.tables import events, letters, tasks

OLD: Final = timedelta(days=30)  # after which a proposal that nobody decided is told of
CHUNK: Final = 1000
PSEUDONYM: Final = re.compile("[0-9a-f]{64}")


def measure(company: Company, purpose: Purpose) -> list[Proof]:
    """What shows whether what a purpose sets is decided by people, and by nobody else."""
    return [_unchanged(company, purpose), _queue(company, purpose), tried(company, purpose)]


def machine_alone(company: Company, promise: NeverUsed) -> list[Proof]:
    """Every decision that was carried out has a person's name, and stands on the ledger so."""
    decided = listing(company, states=(ACCEPTED, DONE, REFUSED))
    alone = len(nameless(company, decided)) + _ended_by_nobody(company)
    by_itself = [str(one.name) for one in deciding(company.policy) if one.upon is not None]
    measured: Measured = {
        "decisions": len(decided),
        "without_a_person": alone,
        "by_themselves": len(by_itself),
    }
    if alone:
        return [Proof("measure", "broken", f"{alone} decisions have no person on record.", measured)]
    if by_itself:
        says = f"Upon an event, and by nobody's decision, the policy sets: {', '.join(by_itself)}."
        return [Proof("measure", "unproven", says, measured, unseen=True)]
    unseen = Proof(
        "measure",
        "unproven",
        "What an application decides without Kept's queue, nobody here can see.",
        unseen=True,
    )
    if not decided:
        return [unseen]
    says = f"Each of {len(decided)} decisions has the name of the person who took it."
    return [Proof("measure", "kept", says, measured), unseen]


def _ended_by_nobody(company: Company) -> int:
    """How many ends that `kept end` set for staff were decided by something that is no person's name."""
    ended = select(events.c.who, func.count()).where(events.c.what == "ended", events.c.who.is_not(None))
    with company.state.read() as connection:
        found = connection.execute(ended.group_by(events.c.who)).all()
    return sum(number for who, number in found if not is_name(company.policy, who))


def nameless(company: Company, decided: Sequence[Proposal]) -> list[Proposal]:
    """The decisions of which it is not on record which person took them."""
    over = [one for one in decided if one.told is not None and one.state in (DONE, REFUSED)]
    entries: dict[str, dict[str, Any]] = {}
    for start in range(0, len(over), CHUNK):
        entries |= company.ledger.keyed([f"decide {one.id}" for one in over[start : start + CHUNK]])
    found = []
    for one in decided:
        entry = entries.get(f"decide {one.id}")
        by = one.decided_by or ""
        staff = company.policy.is_staff(one.role or "")
        said = entry is not None and entry["by"] == by and entry["answer"] == ANSWERED.get(one.state)
        by_a_person = is_name(company.policy, by) if staff else bool(PSEUDONYM.fullmatch(by))
        if one.altered or not by_a_person or (one.told is not None and not said):
            found.append(one)
    return found


def _unchanged(company: Company, purpose: Purpose) -> Proof:
    theirs = [str(name) for name in purpose.sets if _is_posted(company, str(name))]
    if theirs:
        says = f"Authors change their own `{', '.join(theirs)}` too, so nobody can tell a change from a decision."
        return Proof("measure", "unproven", says, unseen=True)
    found = seen.look(company, purpose)
    measured: Measured = {
        "rows": found.rows,
        "without_decision": found.strange,
        "new": found.new,
        "emptied": found.emptied,
        "marked": found.marked,
    }
    what = ", ".join(map(str, purpose.sets))
    if found.strange:
        says = (
            f"{found.strange} of {found.rows} rows of `{what}` were changed with nobody's decision on record."
        )
        return Proof("measure", "broken", says, measured)
    if found.marked:
        says = (
            f"{found.marked} rows of `{what}` are being changed by a decision; `kept work` goes on with it."
        )
        return Proof("measure", "unproven", says, measured)
    if found.gaps:
        return Proof("measure", "unproven", "; ".join(found.gaps) + ".", measured)
    if not found.rows or found.new == found.rows:
        says = f"The {found.rows} rows of `{what}` were never looked at before: from now on a change is seen."
        return Proof("measure", "unproven", says, measured)
    new = f"; {found.new} are new" if found.new else ""
    says = (
        f"Of {found.rows - found.new} rows of `{what}` seen before, none was changed without a decision{new}."
    )
    return Proof("measure", "kept", says, measured)


def _is_posted(company: Company, data: str) -> bool:
    """Whether people may give some data, and change it, as they like: a post, a profile."""
    return any(
        isinstance(one, Collecting) and data in one.optional
        for one in company.policy.section("collection").values()
    )


def _queue(company: Company, purpose: Purpose) -> Proof:
    every = [
        one
        for one in listing(company, states=(OPEN, ACCEPTED, DONE, REFUSED))
        if one.purpose == str(purpose.name)
    ]
    decided = [one for one in every if one.state != OPEN]
    alone, altered = len(nameless(company, decided)), sum(one.altered for one in every)
    failed, late, by_hand = _told(company, [one.act for one in decided])
    is_open = [one for one in every if one.state == OPEN]
    long = sum(one.proposed < company.clock() - OLD for one in is_open)
    waits = sum(one.told is None for one in decided)
    measured: Measured = {
        "decided": len(decided),
        "without_a_person": alone,
        "altered": altered,
        "open": len(is_open),
        "open_for_long": long,
        "not_carried_out": waits,
        "letters_failed": failed,
        "tasks_late": late,
        "tasks_open": by_hand,
    }
    if alone or altered:
        says = f"{alone} decisions have no person on record, and {altered} were altered in Kept's database."
        return Proof("measure", "broken", says, measured)
    if failed or late:
        says = (
            f"{failed} letters about decisions could not be delivered, {late} tasks to tell people are late."
        )
        return Proof("measure", "broken", says, measured)
    if waits or by_hand:
        says = f"{waits} decisions are not carried out yet, and {by_hand} tasks of telling somebody are open."
        return Proof("measure", "unproven", says, measured)
    waited = f", {long} of them for more than {OLD.days} days" if long else ""
    if not decided:
        says = f"Nothing was decided yet; {len(is_open)} proposals are open{waited}."
        return Proof("measure", "unproven", says, measured, unseen=True)
    says = f"{len(decided)} decisions, each by a person on record; {len(is_open)} proposals are open{waited}."
    return Proof("measure", "kept", says, measured)


def _told(company: Company, acts: Sequence[str]) -> tuple[int, int, int]:
    """How many letters failed, how many tasks are late, and how many are open."""
    failed = late = by_hand = 0
    now = company.clock().isoformat()
    with company.state.read() as connection:
        for start in range(0, len(acts), CHUNK):
            part = acts[start : start + CHUNK]
            letter = (
                letters.c.request.in_(part) & (letters.c.state == "failed") & letters.c.sealed.is_not(None)
            )
            mine = tasks.c.act.in_(part) & tasks.c.done.is_(None)
            failed += connection.execute(select(func.count()).where(letter)).scalar_one()
            by_hand += connection.execute(select(func.count()).where(mine)).scalar_one()
            late += connection.execute(select(func.count()).where(mine, tasks.c.due < now)).scalar_one()
    return failed, late, by_hand


def tried(company: Company, purpose: Purpose) -> Proof:
    """That a program, a stranger, whoever proposed it and somebody without a reason can't decide."""
    allowed_roles = sorted(roles(company.policy, purpose))
    role = next((one for one in allowed_roles if company.policy.is_staff(one)), allowed_roles[0])
    proposal = Proposal("", str(purpose.name), OPEN, company.clock(), proposed_by="Kim Alder")
    attempts = [
        ("a program", role, "system", "for a reason"),
        ("a program in disguise", role, "\u0405y\u0455tem\u200b 2", "for a reason"),
        ("a role in place of a name", role, role, "for a reason"),
        ("a stranger", "a-role-that-nobody-declared", "Robin Reed", "for a reason"),
        ("whoever proposed it", role, "ALDER, Kim", "for a reason"),
    ]
    if "reason" in purpose.needs:
        attempts.append(("somebody without a reason", role, "Robin Reed", " "))
    passed = []
    for what, as_, by, why in attempts:
        try:
            refuse(company, purpose, proposal, Ruling("yes", as_, by, why))
        except KeptError:
            continue
        passed.append(what)
    measured: Measured = {"trials": len(attempts), "allowed": len(passed)}
    if passed:
        return Proof("probe", "broken", f"These could have decided: {', '.join(passed)}.", measured)
    says = f"These tried to decide, and were refused: {', '.join(what for what, *_ in attempts)}."
    return Proof("probe", "kept", says, measured)
