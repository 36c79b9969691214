"""Attestations: what no machine can see, confirmed by a named person until a date."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import insert, select

from kept.errors import KeptError
from kept.evidence.ledger import Ledger
from kept.evidence.proof import Proof
from kept.policy.entry import Entry
from kept.policy.policy import Policy
from kept.policy.source import did_you_mean
from kept.state.database import State
from kept.state.tables import attestations


def attest(
    state: State, ledger: Ledger, policy: Policy, promise_id: str, name: str, now: datetime
) -> datetime:
    """Record that `name` confirms a promise; returns when the attestation lapses.

    Raises KeptError for a promise that doesn't exist, or one whose `attest:` doesn't let anybody confirm it.
    """
    promises = {entry.id: entry for entry in policy.entries()}
    promise = promises.get(promise_id)
    if promise is None:
        raise KeptError(
            f'"{promise_id}" is not a promise of this policy', help=did_you_mean(promise_id, promises)
        )
    if promise.attest is None:
        raise KeptError(
            f"`{promise_id}` is not for anybody to attest",
            help="add `attest: officer every 12 months` to it in the policy file, or let it be measured",
        )
    if not name.strip():
        raise KeptError("an attestation needs the name of who gives it", help='add --name "First Last"')
    period = promise.attest.period
    until = period.end(now, policy.timezone)
    with state.write() as connection:
        connection.execute(
            insert(attestations).values(
                promise=promise_id, name=name.strip(), at=now.isoformat(), until=until.isoformat()
            )
        )
    # The name stays in Kept's state; the ledger says that somebody of the declared kind confirmed, and until when.
    ledger.append(
        {"act": "attest", "promise": promise_id, "as": str(promise.attest.kind), "until": until.isoformat()}
    )
    return until


def standing(state: State, promise: Entry, now: datetime) -> Proof:
    """The latest attestation of a promise, as a proof: attested while it stands, unproven before and after."""
    assert promise.attest is not None
    latest = (
        select(attestations.c.name, attestations.c.at, attestations.c.until)
        .where(attestations.c.promise == promise.id)
        .order_by(attestations.c.id.desc())
        .limit(1)
    )
    with state.read() as connection:
        row = connection.execute(latest).first()
    who = str(promise.attest.kind)
    if row is None:
        return Proof(
            "attest", "unproven", f"Nobody has attested it yet: `kept attest {promise.id}` is for the {who}."
        )
    name, at, until = row
    measured = {"name": name, "at": at, "until": until}
    if datetime.fromisoformat(until) <= now:
        return Proof("attest", "unproven", f"{name}'s attestation lapsed on {until[:10]}.", measured)
    return Proof("attest", "attested", f"Attested by {name} on {at[:10]}, until {until[:10]}.", measured)
