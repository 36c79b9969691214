"""Proves what the policy says of uses: that no other happens, and that what a purpose decides is on record."""

from __future__ import annotations

from kept.company import Company
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.ends import endings, measured
from kept.evidence.proof import Proof
from kept.policy.entry import Promise


def prove(company: Company, promise: Promise) -> list[Proof]:
    """Measure a purpose that sets an end; of the others nothing is measured yet."""
    if isinstance(promise, Purpose) and endings.sets_end(company.policy, promise):
        return measured.measure(company, promise)
    return []
