"""Warnings before the clock of a request runs out: told to staff once at each moment, by letter and on the list."""

from __future__ import annotations

from datetime import datetime

from kept.company import Company
from kept.controls.rights import register
from kept.controls.rights.register import Request
from kept.laws.clock import warnings
from kept.mail.letter import Letter


def due_soon(company: Company) -> list[Request]:
    """Open requests of which staff has to be warned now: a moment to warn has come since they were last told."""
    now = company.clock()
    return [one for one in register.listing(company) if _last(one, now) is not None]


def warn(company: Company) -> list[Request]:
    """Write to the first controller's address about every request that is due soon, in one letter."""
    found = due_soon(company)
    if not found:
        return []
    now = company.clock()
    with company.state.write() as connection:
        register.write(connection, [one.id for one in found], warned=now)
        contacts = (contact for party in company.policy.us() for contact in party.contacts.values())
        address = next((contact["email"] for contact in contacts if "email" in contact), None)
        if address is not None and company.can_write:
            lines = [f"{one.id}  {one.verb}, due before {one.due:%Y-%m-%d}: {_awaits(one)}" for one in found]
            text = (
                "Time runs out for these requests:\n\n"
                + "\n".join(lines)
                + "\n\n`kept request list` says more.\n"
            )
            letter = Letter(address, f"{company.policy.name}: {len(found)} requests are due soon", text)
            company.outbox.put("warning", letter, connection=connection)
    return found


def _last(request: Request, now: datetime) -> datetime | None:
    """The last moment to warn that has come and that nobody was told of."""
    if request.due is None:
        return None
    start = request.extended or request.identified or request.received
    come = [at for at in warnings(start, request.due) if at <= now]
    return come[-1] if come and (request.warned is None or request.warned < come[-1]) else None


def _awaits(request: Request) -> str:
    return f"it awaits {register.AWAITED[request.awaits]}" if request.awaits else "open"
