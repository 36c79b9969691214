"""Measures rights: clocks, failed requests, and whether a plan reaches every declared place."""

from __future__ import annotations

from kept.company import Company
from kept.controls.rights import requests
from kept.controls.rights.access import unreached
from kept.evidence.proof import Proof
from kept.policy.entry import Promise

CARRIED_OUT = ("access", "erase")

# What an entry may promise besides, and this version neither enforces nor measures.
BESIDES = ("through", "waits", "offers", "confirmed-by", "by", "case", "regions", "except", "tells")


def prove(company: Company, promise: Promise) -> list[Proof]:
    """Measure the requests of a right, and probe that its plan reaches every place the file declares."""
    right = str(promise.name)
    if right not in CARRIED_OUT:
        return [Proof("measure", "unproven", f"This version of Kept does not carry out `{right}`.")]
    besides = [word for word in BESIDES if word in promise.keys]
    proofs = [_clocks(company, right), _reach(company)]
    if besides:
        told = ", ".join(f"`{word}`" for word in besides)
        proofs.append(Proof("measure", "unproven", f"This version of Kept does not see to {told}."))
    return proofs


def _clocks(company: Company, right: str) -> Proof:
    measured = requests.standing(company, right)
    if measured["past_due"]:
        return Proof(
            "measure", "broken", f"{measured['past_due']} of the requests ran past their clock.", measured
        )
    if measured["failed"]:
        return Proof(
            "measure",
            "unproven",
            f"{measured['failed']} of the open requests could not be carried out yet.",
            measured,
        )
    if not measured["done"] and not measured["open"]:
        return Proof("measure", "kept", "Nobody has asked yet, so no clock ran out.", measured)
    return Proof(
        "measure",
        "kept",
        f"{measured['done']} answered, {measured['open']} open, none past its clock.",
        measured,
    )


def _reach(company: Company) -> Proof:
    """Plan the walk for every kind of person, without carrying it out."""
    missing = unreached(company, company.root_kinds())
    reached = [kind for kind in company.root_kinds() if not company.out_of_reach(kind)]
    kinds, tables = len(reached), sum(len(company.walk(kind).own_tables()) for kind in reached)
    measured = {"kinds": kinds, "tables": tables, "out_of_reach": len(missing)}
    if missing:
        return Proof(
            "probe",
            "unproven",
            "A request would not reach everything: " + "; ".join(missing) + ".",
            measured,
        )
    return Proof(
        "probe",
        "kept",
        f"A plan for each of {kinds} kinds of people reaches all {tables} declared tables.",
        measured,
    )
