"""The kinds of long work the controls do, for the workflows that make them durable."""

from __future__ import annotations

from functools import partial

from kept.company import Company
from kept.controls.registry import sentence
from kept.controls.retention.enforce import Sweep
from kept.controls.rights.access import Access
from kept.controls.rights.erase import Erase
from kept.state.workflows import Act


def kinds(company: Company) -> dict[str, Act]:
    """Every kind of act, for one company."""
    return {
        "access": Access(company, partial(sentence, company.policy)),
        "erase": Erase(company),
        "sweep": Sweep(company),
    }
