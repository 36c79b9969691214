"""The kinds of long work the controls do, for the workflows that make them durable."""

from __future__ import annotations

from functools import partial

from kept.company import Company
from kept.controls.purposes.decisions import queue
from kept.controls.purposes.decisions.carrying import Decide
from kept.controls.purposes.ends.ending import KIND, End
from kept.controls.registry import sentence
from kept.controls.retention.enforce import Sweep
from kept.controls.rights.answers.access import Access
from kept.controls.rights.answers.export import Export
from kept.controls.rights.batches import Batches
from kept.controls.rights.correct import Correct
from kept.controls.rights.erasing.erase import Erase
from kept.controls.rights.instruct import VERBS, Instruct
from kept.state.workflows import Act


def kinds(company: Company) -> dict[str, Act]:
    """Every kind of act, for one company."""
    batches = Batches(company)
    told = partial(sentence, company.policy)
    return {
        "access": Access(company, batches, told),
        "export": Export(company, batches, told),
        "correct": Correct(company, batches),
        "erase": Erase(company, batches),
        **{verb: Instruct(company, batches, verb=verb) for verb in VERBS},
        "sweep": Sweep(company),
        KIND: End(company),
        queue.KIND: Decide(company),
    }
