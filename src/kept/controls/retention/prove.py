"""Measures retention: rows past their limit, the oldest row, and clocks that can't be read."""

from __future__ import annotations

from kept.company import Company
from kept.controls.retention.declare import Retention
from kept.controls.retention.limits import Gap, past, terms
from kept.controls.retention.spared import sparing
from kept.errors import KeptError
from kept.evidence.proof import Measured, Proof
from kept.policy.entry import Promise

SPARED = "their people had the use of their data restricted, or somebody set a hold on it"


def prove(company: Company, promise: Promise) -> list[Proof]:
    """One measure for each table the promise speaks of; a table that can't be asked is unproven."""
    assert isinstance(promise, Retention)
    proofs = []
    for term in terms(company, promise, company.clock(), sparing(company)):
        if isinstance(term, Gap):
            says = f"`{term.place}` is not measured: {term.reason}."
            proofs.append(Proof("measure", "unproven", says, unseen=_is_elsewhere(company, term.place)))
            continue
        try:
            seen = past(company, term)
        except KeptError as wrong:
            proofs.append(
                Proof("measure", "unproven", f"`{term.place}` could not be measured: {wrong.message}")
            )
            continue
        measured: Measured = {
            "place": term.place,
            "rows_past_limit": seen.rows,
            "oldest": seen.oldest.isoformat() if seen.oldest else None,
            "unreadable": seen.unreadable,
            "unstarted": seen.unstarted,
            "spared": seen.spared,
        }
        spared = f" {seen.spared} more are spared: {SPARED}." if seen.spared else ""
        if seen.rows:
            why = f" {' and '.join(term.stuck)} can't be emptied." if term.stuck else ""
            says = f"{seen.rows} rows of `{term.place}` are past their limit.{why}{spared}"
            proofs.append(Proof("measure", "broken", says, measured))
        elif seen.unreadable:
            says = f"{seen.unreadable} rows of `{term.place}` have a clock that can't be read.{spared}"
            proofs.append(Proof("measure", "unproven", says, measured))
        elif seen.unstarted:
            says = f"{seen.unstarted} rows of `{term.place}` have no clock that could ever pass.{spared}"
            proofs.append(Proof("measure", "unproven", says, measured))
        else:
            says = f"No row of `{term.place}` is past its limit."
            if seen.spared:
                says = (
                    f"No row of `{term.place}` is past its limit but {seen.spared} that are spared: {SPARED}."
                )
            proofs.append(Proof("measure", "kept", says, measured))
    if promise.at_least is not None:
        says = f"Nothing measures that nothing of it goes earlier than {promise.at_least}."
        proofs.append(Proof("measure", "unproven", says, unseen=True))
    if promise.then == "destroy":
        says = (
            "Whether what was destroyed can still be read in files is looked at when it is swept, not here."
        )
        proofs.append(Proof("measure", "unproven", says))
    return proofs


def _is_elsewhere(company: Company, place: str) -> bool:
    """Whether a table stands where no program of the company's can look for rows past a limit."""
    store = company.policy.stores.get(place.partition(".")[0])
    return store is not None and not store.is_sql and store.sort != "files"
