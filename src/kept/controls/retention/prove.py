"""Measures retention: rows past their limit, the oldest row, and clocks that can't be read."""

from __future__ import annotations

from kept.company import Company
from kept.controls.retention.declare import Retention
from kept.controls.retention.limits import Gap, past, terms
from kept.errors import KeptError
from kept.evidence.proof import Measured, Proof
from kept.policy.entry import Promise


def prove(company: Company, promise: Promise) -> list[Proof]:
    """One measure for each table the promise speaks of; a table that can't be asked is unproven."""
    assert isinstance(promise, Retention)
    proofs = []
    for term in terms(company, promise, company.clock()):
        if isinstance(term, Gap):
            proofs.append(Proof("measure", "unproven", f"`{term.place}` is not measured: {term.reason}."))
            continue
        if not term.expiries():
            proofs.append(
                Proof("measure", "unproven", f"`{term.place}` has no column that could be emptied.")
            )
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
        }
        if seen.rows:
            proofs.append(
                Proof(
                    "measure", "broken", f"{seen.rows} rows of `{term.place}` are past their limit.", measured
                )
            )
        elif seen.unreadable:
            proofs.append(
                Proof(
                    "measure",
                    "unproven",
                    f"{seen.unreadable} rows of `{term.place}` have a clock that can't be read.",
                    measured,
                )
            )
        else:
            proofs.append(Proof("measure", "kept", f"No row of `{term.place}` is past its limit.", measured))
    return proofs
