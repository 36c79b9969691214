"""Somebody is found to be too young: they are erased, promptly, as the policy promises, and it is on record.

Nothing waits: not the period in which a person may come back, nor a copy, nor a confirmation, for nobody asked.
"""

from __future__ import annotations

from datetime import datetime

from kept.company import Company
from kept.controls.acts import kinds
from kept.controls.retention.declare import Retention
from kept.controls.rights import life, register
from kept.controls.rights.desk import Desk
from kept.controls.rights.erasing import again
from kept.controls.rights.erasing.erase import Erase
from kept.controls.rights.people import Person, resolve
from kept.controls.rights.register import Event, Request
from kept.errors import KeptError
from kept.policy.grammar import Clock

CHANNEL = "found"


def found(company: Company, who: Person, by: str, why: str) -> Request:
    """Open the erasure of somebody who is too young; the worker, or `kept work`, carries it out.

    `by` is the member of staff who found out or was told (by a parent, say), `why` their words: sealed, and destroyed
    with the request's. It is due at the end of the policy's clock `… after found`, or else when the law wants an
    erasure done. An erasure that they asked for and that has not begun is replaced. KeptError where nobody is there.
    """
    company.agree()
    if life.client_of(company.policy, who.kind) is not None:
        raise KeptError(
            "their data is held for a client, who decides; write to the client", where=str(who.kind)
        )
    there = resolve(company, [str(who)])
    if there.wrong:
        raise KeptError(there.wrong[0][1], where="WHO")
    [person] = there.people
    desk = Desk(company, kinds(company))
    erasing = desk.carrier.act("erase")
    assert isinstance(erasing, Erase)
    open_ = register.open_of(company, "erase", [person]).get(person)
    if open_ is not None and open_.act is not None:
        if open_.awaits == "period":
            raise KeptError(
                "they are out of use already, and wait for the end of the period in which they may come back",
                help="call that off first (`kept request undo`), then say again that they were found",
                where=open_.id,
            )
        return open_  # being carried out
    planned, now = again.prepare(company, erasing, [person]), company.clock()
    promise, until = _promise(company, person, now)
    with company.state.write() as connection:
        if open_ is not None:
            event = Event(now, "withdrawn", by, "Their data is erased without waiting.")
            register.happen(company, connection, [open_.id], event)
            register.close(company, connection, {open_.id: {}}, "withdrawn")
        [id], _ = again.begin(company, connection, desk.batches, planned, by, CHANNEL)
        if until is not None:
            register.write(connection, [id], due=until)
        register.happen(company, connection, [id], Event(now, CHANNEL, by, why))
    request = register.get(company, id)
    entry = {"act": "found", "person": request.pseudonym, "request": id, "by": by}
    due = {"due": request.due.isoformat()} if request.due is not None else {}
    company.ledger.append(entry | due | ({"promise": promise} if promise else {}), key=f"found {id}")
    return request


def _promise(company: Company, person: Person, now: datetime) -> tuple[str | None, datetime | None]:
    """The promise whose clock starts now, and its end; of several the first to end."""
    policy, ends = company.policy, []
    for promise in policy.section("retention").values():
        if isinstance(promise, Retention) and isinstance(promise.until, Clock):
            clock = promise.until
            about = [str(name) for name in promise.keeps if name in policy.people]
            if clock.event.moment == "found" and any(policy.related(person.kind, kind) for kind in about):
                end = clock.period.end(now, policy.timezone) if clock.period is not None else now
                ends.append((end, promise.id))
    if not ends:
        return None, None
    end, name = min(ends)
    return name, end
