"""Proves what the policy says of uses: that no other happens, and that what a purpose decides is on record."""

from __future__ import annotations

from kept.company import Company
from kept.controls.purposes.declare import NeverUsed, Purpose
from kept.controls.purposes.ends import endings
from kept.controls.purposes.ends import measured as ends
from kept.controls.purposes.tried import tried, undeclared
from kept.evidence.proof import Proof
from kept.policy.entry import Promise
from kept.policy.fact_readers import store_of


def prove(company: Company, promise: Promise) -> list[Proof]:
    """What the gate refuses is tried; who could read the data past the gate, and what was done with it, is measured."""
    if isinstance(promise, NeverUsed):
        return [undeclared(company, promise)] if "undeclared" in promise.never else []
    assert isinstance(promise, Purpose)
    proofs = ends.measure(company, promise) if endings.sets_end(company.policy, promise) else []
    if promise.uses:
        proofs.append(tried(company, promise))
        proofs += [_elsewhere(company, store) for store in _stores(company, promise, sql=False)]
    return proofs


def _stores(company: Company, purpose: Purpose, *, sql: bool) -> list[str]:
    """The stores with data that a purpose uses."""
    policy = company.policy
    tables = [table for name in purpose.uses if name in policy.data for table in policy.data[name].tables]
    found = dict.fromkeys(str(store_of(table)) for table in tables)
    return [store for store in found if policy.stores[store].is_sql is sql]


def _elsewhere(company: Company, store: str) -> Proof:
    """Where people use a tool of another company's, no program of ours stands between them and the data."""
    says = f"What is done with the data in `{store}` is seen by nobody here: people use that tool directly."
    return Proof("measure", "unproven", says, {"store": store}, unseen=True)
