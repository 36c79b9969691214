"""The desk where requests come in: planned, received, carried out as durable acts, told."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from kept.company import Company
from kept.controls.rights import requests
from kept.controls.rights.access import Access, unreached
from kept.controls.rights.erase import Erase
from kept.controls.rights.people import Found, Person, resolve
from kept.errors import KeptError
from kept.state.workflows import Workflows
from kept.stores.collect import collect

Counted = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Plan:
    """What a request would do, by `store.table`; with anything `unreached` it can't be carried out at all."""

    tables: Counted
    unreached: list[str]


@dataclass(frozen=True)
class Result:
    """What was done: request ids in the order of the people, counts by `store.table`, seconds."""

    done: bool
    requests: list[str]
    counts: Counted
    problem: str | None
    seconds: float


def find(company: Company, verb: str, whos: Sequence[str]) -> Found:
    """The people that WHOs name; one whose rows are gone already is found while their request is open."""
    found = resolve(company, whos)
    waiting = requests.open_requests(company, verb, [person for _, person in found.gone])
    back = {place for place, person in found.gone if person in waiting}
    people = dict.fromkeys((*found.people, *(person for _, person in found.gone if person in waiting)))
    return Found(tuple(people), tuple((place, why) for place, why in found.wrong if place not in back))


def resume(company: Company, workflows: Workflows) -> list[Result]:
    """Carry on every request that is open: what failed before is tried again."""
    return [_run(company, workflows, verb, [act]) for verb, act in requests.open_acts(company)]


def plan(company: Company, verb: str, people: Sequence[Person]) -> Plan:
    """A dry run, with exact counts."""
    kinds = dict.fromkeys(person.kind for person in people)
    missing = unreached(company, kinds)
    if missing:
        return Plan({}, missing)
    tables: Counted = {}
    if verb == "erase":
        for kind, counts in Erase(company).rehearse(people).items():
            store = company.walk(kind).store
            tables |= {f"{store}.{table}": counted for table, counted in counts.as_json().items()}
    else:
        for kind in kinds:
            walk = company.walk(kind)
            keys = [person.key for person in people if person.kind == kind]
            for portion in collect(company.stores[walk.store], walk, keys):
                counted = tables.setdefault(f"{walk.store}.{portion.table}", {"rows": 0})
                counted["rows"] += len(portion.rows)
    return Plan(tables, [])


def carry_out(company: Company, workflows: Workflows, verb: str, people: Sequence[Person], by: str) -> Result:
    """Receive a batch of requests and carry them out; people with an open request of that verb join it.

    A failure leaves the requests open, with the reason; calling again goes on.
    """
    act: Access | Erase = workflows.kinds[verb]  # type: ignore[assignment]  # the kinds of this name
    joined = requests.open_requests(company, verb, people)
    fresh = [person for person in people if person not in joined]
    running = list(dict.fromkeys(joined.values()))
    if fresh:
        try:
            steps = act.plan(fresh)
        except KeptError as wrong:
            # What can't be planned is received all the same: its clock runs, and somebody has to mend the cause.
            failed = requests.receive(company, verb, fresh, by, [])
            requests.failed(company, failed, wrong.message)
            return Result(False, requests.ids(company, failed), {}, str(wrong), 0.0)
        running.append(requests.receive(company, verb, fresh, by, steps))
    return _run(company, workflows, verb, running)


def _run(company: Company, workflows: Workflows, verb: str, running: Sequence[str]) -> Result:
    began = time.monotonic()
    problem = None
    for act in running:
        try:
            requests.plan_again(company, act, workflows.kinds[verb])  # type: ignore[arg-type]  # Access or Erase
            workflows.run(verb, act, requests.next_attempt(company, act))
        except KeptError as wrong:
            problem = str(wrong)
            requests.failed(company, act, wrong.message)
    counts: Counted = {}
    for act in running:
        for part, noted in company.state.notes(act).items():
            _, store, _ = part.split(" ")
            counts |= {f"{store}.{table}": counted for table, counted in noted.items()}
    ids = [request for act in running for request in requests.ids(company, act)]
    return Result(problem is None, ids, counts, problem, time.monotonic() - began)
