"""Before a message goes out: may it, and a note that it did, by which the board measures later.

The sending is the company's own. A message that needs no choice (an invoice, a new password) passes, unless its person
had the use of their data restricted, or isn't there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import insert

from kept.company import Company
from kept.controls.choices.deciding import Decision
from kept.controls.choices.enforce import Gate
from kept.controls.choices.records import subjects
from kept.controls.purposes.declare import Purpose
from kept.controls.rights.people import Person
from kept.errors import KeptError, TransientError
from kept.state.tables import sends

AT_ONCE: Final = 20_000
TRIES: Final = 5
PAUSE: Final = 0.5  # seconds


def may_send(company: Company, who: Person, purpose: str, channel: str) -> Decision:
    """Whether a message may go to somebody now; one that may is noted as sent.

    To ask without sending, `Gate.of(company).may`. KeptError for a purpose that sends nothing by this channel.
    """
    _sends(company, purpose, channel)
    decision = Gate.of(company).may(who, purpose, channel)
    if decision.allowed:
        _note(company, {who: decision}, purpose, channel)
    return decision


def sending(company: Company, whos: Sequence[Person], purpose: str, channel: str) -> list[Person]:
    """Those of a list to whom a message may go now, in its order and each once; all of them are noted as sent.

    TransientError, and nothing noted, where it can't be found out for a while: nobody may be left out without a word.
    """
    _sends(company, purpose, channel)
    allowed: dict[Person, Decision] = {}
    for start in range(0, len(whos), AT_ONCE):
        found = _decided(company, whos[start : start + AT_ONCE], purpose, channel)
        allowed |= {who: decision for who, decision in found.items() if decision.allowed}
    if allowed:
        _note(company, allowed, purpose, channel)
    return list(allowed)


def _decided(
    company: Company, whos: Sequence[Person], purpose: str, channel: str
) -> Mapping[Person, Decision]:
    gate = Gate.of(company)
    why = "nobody can say how their choices stand"
    for _ in range(TRIES):
        found = gate.may_all(whos, purpose, channel)
        unsure = next((one for one in found.values() if one.unsure), None)
        if unsure is None:
            return found
        why = unsure.reason
        time.sleep(PAUSE)
    raise TransientError(why, help="nobody was let through; ask again")


def _sends(company: Company, purpose: str, channel: str) -> None:
    entry = company.policy.section("purposes").get(purpose)
    if not isinstance(entry, Purpose):
        raise KeptError(f"no purpose `{purpose}` is declared", where="purposes")
    if channel not in map(str, entry.sends):
        known = ", ".join(map(str, entry.sends)) or "none"
        raise KeptError(f"`{purpose}` sends nothing by {channel}", help=f"channels: {known}", where=entry.id)


def _note(company: Company, allowed: Mapping[Person, Decision], purpose: str, channel: str) -> None:
    at = company.clock().isoformat()
    with company.state.write() as connection:
        numbered = subjects.number(company, connection, list(allowed))
        rows = [
            {
                "subject": numbered[who][0],
                "purpose": purpose,
                "channel": channel,
                "at": at,
                "event": decision.event,
            }
            for who, decision in allowed.items()
        ]
        connection.execute(insert(sends), rows)
