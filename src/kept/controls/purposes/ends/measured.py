"""Measures the purposes that set an end: who is left over, who ended with nobody's decision on record, who was told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import Select, func, select

from kept.company import Company
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.ends import ending, endings
from kept.controls.purposes.ends.ending import KIND, LETTER
from kept.controls.purposes.ends.endings import Ends
from kept.evidence.proof import Proof
from kept.state.tables import acts, letters, notes, tasks
from kept.stores import ended

AGAIN = 3  # measurements, while people end meanwhile


def measure(company: Company, promise: Purpose) -> list[Proof]:
    """What shows whether a purpose that sets an end is kept."""
    found = endings.ends(company, promise)
    if promise.upon is not None:
        found = endings.come(company, found, company.clock())
    proofs = [_left_over(company, found)] if promise.upon is not None else []
    proofs.append(_on_record(company, found))
    return proofs + (_told(company, found) if promise.tells else [])


def _left_over(company: Company, found: Ends) -> Proof:
    """Everybody whose end has come must have it."""
    store, now = company.stores[found.store], company.clock()
    left = ended.due(store, found.ending, now)
    strange = ended.unreadable(store, found.ending, now)
    measured = {"left_over": left, "unreadable_clocks": strange}
    if left:
        says = f"`{found.purpose.upon}` has come for {left} people, and nothing ended for them; `kept work` sees to it."
        return Proof("measure", "broken", says, measured)
    if strange:
        says = (
            f"{strange} clocks of `{found.purpose.upon}` hold no time, so nobody can say whose end has come."
        )
        return Proof("measure", "unproven", says, measured)
    return Proof("measure", "kept", f"Nobody is left for whom `{found.purpose.upon}` has come.", measured)


def _on_record(company: Company, found: Ends) -> Proof:
    """Every end must have a record of Kept's; what was there before Kept has none, and nobody can tell how it came."""
    since, now = _since(company), company.clock()
    store, moments = company.stores[found.store], _moments(company, found)
    for _ in range(AGAIN):
        standing = ended.standing(store, found.ending, moments, since or now, now)
        before, moments = moments, _moments(company, found)
        if moments == before:  # else somebody ended while it was measured
            break
    unfinished = sum(
        len(detail.people)
        for _, detail in ending.unfinished(company)
        if endings.same_end(company.policy, found, detail.purpose)
    )
    measured = {
        "ended": standing.ended,
        "without_record": standing.since,
        "before_kept": standing.before,
        "announced": standing.announced,
        "unfinished": unfinished,
    }
    if standing.since and since is not None:
        says = (
            f"{standing.since} people ended since {since:%Y-%m-%d} with no decision on record, so nobody can say who "
            "decided it, and whether they were told."
        )
        return Proof("measure", "broken", says, measured)
    if standing.since or standing.before or standing.announced:
        says = (
            f"{standing.since + standing.before} people ended before Kept was at work here, and for "
            f"{standing.announced} an end to come is set with no decision on record: nobody can say who decided it, "
            "and whether they were told."
        )
        return Proof(
            "measure", "unproven", says, measured, unseen=not standing.since and not standing.announced
        )
    if unfinished:
        says = f"The end of {unfinished} people is being set, and not on the ledger yet; `kept work` goes on with it."
        return Proof("measure", "unproven", says, measured)
    return Proof("measure", "kept", f"Of {standing.ended} people who ended, each is on record.", measured)


def _told(company: Company, found: Ends) -> list[Proof]:
    """Everybody whose end Kept set must have been told; nothing to measure where there is nobody."""
    name, now = str(found.purpose.name), company.clock().isoformat()
    of = select(notes.c.act).join(acts, acts.c.id == notes.c.act)
    of = of.where(acts.c.kind == KIND, notes.c.part == name)
    unfinished = sum(len(one.people) for _, one in ending.unfinished(company) if one.purpose == name)
    with company.state.read() as connection:
        noted = [json.loads(counts) for counts in connection.scalars(of.with_only_columns(notes.c.counts))]
        if not noted and not unfinished:
            return []
        states: dict[str, int] = {row.state: row.number for row in connection.execute(_letters(of))}
        open_tasks = select(func.count()).where(tasks.c.act.in_(of), tasks.c.done.is_(None))
        by_hand = connection.execute(open_tasks).scalar_one()
        late = connection.execute(open_tasks.where(tasks.c.due < now)).scalar_one()
        given = connection.execute(select(func.count()).where(tasks.c.act.in_(of))).scalar_one()
    sent, waits, failed = (states.get(state, 0) for state in ("sent", "waiting", "failed"))
    measured = {"sent": sent, "waiting": waits, "failed": failed, "tasks_open": by_hand, "tasks_late": late}
    measured["lost"] = max(0, sum(one["letters"] for one in noted) - sum(states.values()))
    measured["lost"] += max(0, sum(bool(one["by_hand"]) for one in noted) - given)
    measured["unfinished"] = unfinished
    if failed or late:
        says = f"{failed} letters could not be delivered to the mail server, {late} tasks to tell people are late."
        return [Proof("measure", "broken", says, measured)]
    if waits or by_hand:
        says = f"{waits} letters wait to be sent, and {by_hand} tasks to tell people are open."
        return [Proof("measure", "unproven", says, measured)]
    if unfinished or measured["lost"]:
        says = (
            f"{unfinished} people whose end is being set are yet to be told, and of {measured['lost']} letters and "
            "tasks there is no trace but that they were made."
        )
        return [Proof("measure", "unproven", says, measured)]
    return [
        Proof(
            "measure", "kept", "Everybody whose end was set here was written to or told by staff.", measured
        )
    ]


def _letters(of: Select[tuple[str]]) -> Select[tuple[str, int]]:
    mine = letters.c.request.in_(of) & (letters.c.what == LETTER)
    return select(letters.c.state, func.count().label("number")).where(mine).group_by(letters.c.state)


def _moments(company: Company, found: Ends) -> Mapping[datetime, int]:
    """The moments at which Kept set ends in this column, and of how many people each."""
    at_them = Counter[datetime]()
    ended_at = select(acts.c.began, notes.c.part, notes.c.counts).join(notes, notes.c.act == acts.c.id)
    with company.state.read() as connection:
        for began, purpose, counts in connection.execute(ended_at.where(acts.c.kind == KIND)):
            if endings.same_end(company.policy, found, purpose):
                at_them[datetime.fromisoformat(began).astimezone(UTC)] += json.loads(counts)["people"]
    for at, detail in ending.unfinished(company):  # after those that are over: none is counted twice
        if endings.same_end(company.policy, found, detail.purpose):
            at_them[at] += len(detail.people)
    return {at: number for at, number in at_them.items() if number}


def _since(company: Company) -> datetime | None:
    """When Kept first did anything for this company; None while it hasn't."""
    with company.state.read() as connection:
        first = connection.execute(select(func.min(acts.c.began))).scalar()
    return datetime.fromisoformat(first).astimezone(UTC) if first else None
