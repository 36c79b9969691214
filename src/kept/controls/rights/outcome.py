"""How a batch of requests stands."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kept.company import Company
from kept.controls.rights import register
from kept.controls.rights.register import Request

Counted = dict[str, dict[str, int]]

UNCOUNTED: Final = ("access", "export")
"""What changes nothing, and so counts nothing."""


@dataclass(frozen=True)
class Result:
    """How a batch stands: the requests in the order of the people, counts by `store.table`, what went wrong."""

    requests: list[Request]
    counts: Counted
    problem: str | None
    seconds: float

    @property
    def ids(self) -> list[str]:
        """The ids of the requests."""
        return [request.id for request in self.requests]

    @property
    def done(self) -> bool:
        """Whether every request is closed as asked."""
        return self.problem is None and all(request.state == "done" for request in self.requests)


def result_of(company: Company, ids: Sequence[str], problem: str | None, began: float) -> Result:
    """How requests stand now, with what their acts counted; `began` is on the clock of `time.monotonic`."""
    found = register.of_ids(company, ids)
    counts: Counted = {}
    acts = list(dict.fromkeys(one.act for one in found if one.act is not None and one.verb not in UNCOUNTED))
    for parts in company.state.notes_of(acts).values():
        for part, noted in parts.items():
            _, store, _ = part.split(" ")
            for name, counted in noted.items():
                total = counts.setdefault(f"{store}.{name}", dict.fromkeys(counted, 0))
                counts[f"{store}.{name}"] = {
                    what: total.get(what, 0) + counted.get(what, 0) for what in (*total, *counted)
                }
    return Result(found, counts, problem, time.monotonic() - began)
