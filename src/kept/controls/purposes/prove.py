"""Proves what the policy says of uses: that no other happens, and that what a purpose decides is on record.

Three things are looked at: what the gate refuses, who could read the data past the gate, and what was done with it.
"""

from __future__ import annotations

from kept.company import Company
from kept.controls.purposes.cases import measured as cases
from kept.controls.purposes.decisions import measured as decisions
from kept.controls.purposes.declare import NeverUsed, Purpose
from kept.controls.purposes.ends import endings
from kept.controls.purposes.ends import measured as ends
from kept.controls.purposes.groups import measured as groups
from kept.controls.purposes.guard import measured as guard
from kept.controls.purposes.tried import tried, undeclared
from kept.evidence.proof import Proof
from kept.policy.entry import Promise
from kept.policy.fact_readers import store_of


def prove(company: Company, promise: Promise) -> list[Proof]:
    """The proofs of one purpose, or of what never happens."""
    if isinstance(promise, NeverUsed):
        proofs = [undeclared(company, promise)] if "undeclared" in promise.never else []
        return proofs + (
            decisions.machine_alone(company, promise) if "machine-alone" in promise.never else []
        )
    assert isinstance(promise, Purpose)
    if endings.sets_end(company.policy, promise):
        proofs = ends.measure(company, promise)
    else:
        proofs = decisions.measure(company, promise) if promise.sets else []
    if promise.uses:
        proofs.append(tried(company, promise))
        proofs += cases.measure(company, promise)
        proofs += groups.measure(company, promise)
        proofs += guard.roles(company, promise)
        proofs += guard.tried(company, promise)
        proofs += [_elsewhere(store) for store in _elsewheres(company, promise)]
    return proofs


def _elsewheres(company: Company, purpose: Purpose) -> list[str]:
    """The stores with data that a purpose uses which are no databases of the company's own."""
    policy = company.policy
    tables = [table for name in purpose.uses if name in policy.data for table in policy.data[name].tables]
    found = dict.fromkeys(str(store_of(table)) for table in tables)
    return [store for store in found if not policy.stores[store].is_sql]


def _elsewhere(store: str) -> Proof:
    """Where people use a tool of another company's, no program of ours stands between them and the data."""
    says = f"What is done with the data in `{store}` is seen by nobody here: people use that tool directly."
    return Proof("measure", "unproven", says, {"store": store}, unseen=True)
