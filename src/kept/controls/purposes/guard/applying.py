"""A guard applied and taken away: each in one transaction, on record, and never another plan than was shown."""

from __future__ import annotations

import json

import sqlalchemy as sa

from kept.company import Company
from kept.controls.purposes.guard import catalogue
from kept.controls.purposes.guard.carry import Carrier
from kept.controls.purposes.guard.plan import SHOWN, Plan, database, make, recorded, run, undo
from kept.controls.purposes.guard.published import publish
from kept.controls.purposes.guard.readings import personal
from kept.errors import KeptError, TerminalError
from kept.evidence.entry import JSON
from kept.state.database import insert
from kept.state.uses import guards


def apply(company: Company, store: str, by: str) -> Plan:
    """Make the database what the plan shown last says; the plan. Applied again, nothing is changed.

    KeptError where no plan was shown, or where the file or the database is another one than it was shown for.
    """
    place, plan = database(company, store), make(company, store)
    if plan.stands:
        return plan
    shown = company.state.notes(SHOWN).get(store, {}).get("digest")
    if shown != plan.digest:
        why = (
            "no plan of it was shown"
            if shown is None
            else "file or database changed since its plan was shown"
        )
        raise KeptError(why, help=f"run `kept guard plan {store}`, read it, then apply", where=store)
    before, tables = recorded(company, store), personal(company.policy, store)
    carrier = Carrier(company)
    decided = carrier.decided(store)
    with place.write() as connection:
        if before is not None and catalogue.read(connection, tables).own:
            undo(place, connection, before.undo)
        tables = tuple(t for t in tables if t in company.schemas[store].tables)
        if catalogue.read(connection, tables).print != plan.before:
            raise KeptError(
                "the database changed while the guard was being applied; nothing was done",
                help=f"run `kept guard plan {store}` again",
                where=store,
            )
        run(place, connection, plan.statements)
        carrier.put(store, connection, decided)
        _record(company, plan, catalogue.read(connection, tables).print, by)
    Carrier(company).once()  # whatever anybody chose since it was decided who stands on the lists
    publish(company, store, plan.digest)
    return plan


def remove(company: Company, store: str, by: str) -> int:
    """Take a guard away: rights, policies and roles are as they were before it; how many statements that took."""
    place, before = database(company, store), recorded(company, store)
    tables = personal(company.policy, store)
    if before is None:
        raise KeptError("no guard of Kept's stands there", where=store)
    with place.write() as connection:
        stands = bool(catalogue.read(connection, tables).own)
        if stands:
            undo(place, connection, before.undo)
            if catalogue.read(connection, tables).own:
                raise TerminalError("the schema `kept` could not be dropped", where=store)
    with company.state.write() as state:
        state.execute(sa.delete(guards).where(guards.c.store == store))
    entry = {"act": "guard", "store": store, "plan": None, "policy": before.policy, "by": by}
    company.ledger.append_many([(f"guard {store} removed {company.clock().isoformat()}", entry)])
    return len(before.undo) if stands else 0


def _record(company: Company, plan: Plan, after: str, by: str) -> None:
    """Written before the database commits: a record of a guard that isn't there does no harm, the reverse would."""
    entry: dict[str, JSON] = {
        "act": "guard",
        "store": plan.store,
        "plan": plan.digest,
        "policy": plan.policy,
        "statements": len(plan.statements),
        "by": by,
    }
    key = f"guard {plan.store} {plan.digest} {company.clock().isoformat()}"
    company.ledger.append_many([(key, entry)])
    body = {
        "statements": plan.statements,
        "undo": plan.undo,
        "made": plan.made,
        "print": after,
    }
    now = company.clock().isoformat()
    row = {
        "store": plan.store,
        "policy": plan.policy,
        "plan": plan.digest,
        "body": json.dumps(body).encode(),
        "applied": now,
        "by": by,
        "seen": now,
    }
    with company.state.write() as connection:
        writing = insert(connection, guards).values(row)
        changed = {name: row[name] for name in row if name != "store"}
        connection.execute(writing.on_conflict_do_update(index_elements=["store"], set_=changed))
