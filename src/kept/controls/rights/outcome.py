"""What a request would do, and how a batch of requests stands."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from kept.company import Company
from kept.controls.rights import register
from kept.controls.rights.register import Request

Counted = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Plan:
    """What a request would do, by `store.table`; with anything `unreached` it can't be carried out at all.

    `by_hand` are the places where a member of staff has to do it, `on_device` those only the person's browser holds.
    `passed_on` are the clients whose people some of them are: they answer, and nothing is done here.
    """

    tables: Counted
    unreached: list[str]
    stays: list[str] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)
    on_device: list[str] = field(default_factory=list)
    passed_on: list[str] = field(default_factory=list)


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
    for act in dict.fromkeys(request.act for request in found if request.act is not None):
        for part, noted in company.state.notes(act).items():
            _, store, _ = part.split(" ")
            for name, counted in noted.items():
                total = counts.setdefault(f"{store}.{name}", dict.fromkeys(counted, 0))
                counts[f"{store}.{name}"] = {
                    what: total.get(what, 0) + counted.get(what, 0) for what in (*total, *counted)
                }
    return Result(found, counts, problem, time.monotonic() - began)
