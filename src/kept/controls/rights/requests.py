"""Requests in Kept's own state: received, under way, closed; nothing readable but pseudonyms, states and times."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

from sqlalchemy import bindparam, func, insert, select, update

from kept.company import Company
from kept.controls.rights.declare import Right
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.laws.law import clock
from kept.policy.grammar import Period
from kept.state.tables import acts, requests

CHUNK = 500  # values bound in one statement


@dataclass
class Detail:
    """What an act needs to know to go on after a crash: sealed while it is open, destroyed when it is closed."""

    people: dict[str, list[tuple[str, ...]]]
    requests: list[str]
    steps: list[str]
    traces: dict[str, Any] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)  # answers given before that an erasure has removed

    def whos(self) -> list[str]:
        """Every person as `kind:key`, in the order of `requests`."""
        return [str(Person(kind, key)) for kind, keys in self.people.items() for key in keys]


def receive(company: Company, verb: str, people: Sequence[Person], by: str, steps: Sequence[str]) -> str:
    """Note one act for a batch of people, with a request for each; returns the act's id."""
    now = company.clock()
    grouped: dict[str, list[tuple[str, ...]]] = {}
    for person in people:
        grouped.setdefault(person.kind, []).append(person.key)
    act = uuid.uuid4().hex
    detail = Detail(grouped, [uuid.uuid4().hex for _ in people], list(steps))
    whos = detail.whos()
    pseudonyms = company.pseudonyms.of(whos)
    due = _due(company, verb).end(now, company.policy.timezone).isoformat()
    rows = [
        {
            "id": request,
            "act": act,
            "position": position,
            "verb": verb,
            "pseudonym": pseudonyms[who],
            "state": "received",
            "received": now.isoformat(),
            "due": due,
        }
        for position, (request, who) in enumerate(zip(detail.requests, whos, strict=True))
    ]
    with company.state.write() as connection:
        connection.execute(
            insert(acts).values(
                id=act,
                kind=verb,
                policy=company.policy.source.digest,
                by=company.keys.seal("by", by.encode()),
                began=now.isoformat(),
                detail=_sealed(company, detail),
            )
        )
        connection.execute(insert(requests), rows)
    return act


def _due(company: Company, verb: str) -> Period:
    """How long there is to answer: the policy's `within` (`at once` counts as a day), else the law's shortest."""
    right = company.policy.section("rights").get(verb)
    if isinstance(right, Right) and right.within is not None:
        return right.within if right.within.amount else Period(1, "days")
    legal = [period for law in company.policy.laws if (period := clock(law, verb)) is not None]
    return min(legal, key=lambda period: period.after(date(2001, 1, 1)), default=Period(1, "months"))


def _sealed(company: Company, detail: Detail) -> bytes:
    return company.keys.seal("act", json.dumps(detail.__dict__).encode())


def open_requests(company: Company, verb: str, people: Sequence[Person]) -> dict[Person, str]:
    """Which of these people have an open request of that verb, and the act it is part of."""
    pseudonyms = {
        pseudonym: who for who, pseudonym in company.pseudonyms.find([str(p) for p in people]).items()
    }
    by_name = {str(person): person for person in people}
    found: dict[Person, str] = {}
    values = list(pseudonyms)
    with company.state.read() as connection:
        for start in range(0, len(values), CHUNK):
            rows = connection.execute(
                select(requests.c.pseudonym, requests.c.act).where(
                    requests.c.pseudonym.in_(values[start : start + CHUNK]),
                    requests.c.verb == verb,
                    requests.c.state != "done",
                )
            )
            found.update({by_name[pseudonyms[pseudonym]]: act for pseudonym, act in rows})
    return found


def open_acts(company: Company) -> list[tuple[str, str]]:
    """Every act of requests that isn't closed, oldest first: its verb, its id."""
    query = (
        select(acts.c.kind, acts.c.id)
        .where(acts.c.ended.is_(None), acts.c.kind != "sweep")
        .order_by(acts.c.began)
    )
    with company.state.read() as connection:
        return [(kind, act) for kind, act in connection.execute(query)]


class Planner(Protocol):
    """What knows the steps for a batch of people."""

    def plan(self, people: Sequence[Person]) -> list[str]:
        """The steps; raises TerminalError where the batch can't be carried out in full."""


def plan_again(company: Company, act: str, planner: Planner) -> None:
    """Plan an act that could not be planned when it was received; one that has its steps keeps them."""
    detail = detail_of(company, act)
    if not detail.steps:
        detail.steps = planner.plan(
            [Person(kind, key) for kind, keys in detail.people.items() for key in keys]
        )
        remember(company, act, detail)


def detail_of(company: Company, act: str) -> Detail:
    """The sealed detail of an open act; KeptError when it is closed or unknown."""
    with company.state.read() as connection:
        sealed = connection.execute(select(acts.c.detail).where(acts.c.id == act)).scalar()
    if sealed is None:
        raise KeptError("this request is closed, or was never made", where=act)
    detail = Detail(**json.loads(company.keys.unseal("act", sealed)))
    detail.people = {
        kind: [tuple(key) for key in keys] for kind, keys in detail.people.items()
    }  # JSON has no tuples
    return detail


def remember(company: Company, act: str, detail: Detail) -> None:
    """Keep what a step found out, sealed, for the steps after it."""
    with company.state.write() as connection:
        connection.execute(update(acts).where(acts.c.id == act).values(detail=_sealed(company, detail)))


def is_open(company: Company, act: str) -> bool:
    with company.state.read() as connection:
        return connection.execute(select(acts.c.ended).where(acts.c.id == act)).scalar() is None


def ids(company: Company, act: str) -> list[str]:
    """The requests of an act, in the order of its people."""
    with company.state.read() as connection:
        return list(
            connection.scalars(
                select(requests.c.id).where(requests.c.act == act).order_by(requests.c.position)
            )
        )


def answered(company: Company, act: str) -> list[str]:
    """Every request ever answered with an access zip for the people of this act."""
    own = select(requests.c.pseudonym).where(requests.c.act == act)
    with company.state.read() as connection:
        return list(
            connection.scalars(
                select(requests.c.id).where(requests.c.verb == "access", requests.c.pseudonym.in_(own))
            )
        )


def next_attempt(company: Company, act: str) -> int:
    """Count one more attempt at an act; returns its number, from 1."""
    with company.state.write() as connection:
        number: int = connection.execute(
            update(acts)
            .where(acts.c.id == act)
            .values(attempts=acts.c.attempts + 1)
            .returning(acts.c.attempts)
        ).scalar_one()
    return number


def failed(company: Company, act: str, problem: str) -> None:
    """The act could not be carried out: its requests stay open, with the reason."""
    with company.state.write() as connection:
        connection.execute(update(acts).where(acts.c.id == act).values(problem=problem[:2000]))
        connection.execute(update(requests).where(requests.c.act == act).values(state="failed"))


def close(company: Company, act: str, outcomes: Mapping[str, Mapping[str, object]]) -> None:
    """Every request of the act is done; what was sealed is destroyed."""
    now = company.clock().isoformat()
    rows = [{"request": request, "told": json.dumps(dict(outcome))} for request, outcome in outcomes.items()]
    with company.state.write() as connection:
        if rows:
            connection.execute(
                update(requests)
                .where(requests.c.id == bindparam("request"))
                .values(state="done", closed=now, outcome=bindparam("told")),
                rows,
            )
        connection.execute(
            update(acts).where(acts.c.id == act).values(ended=now, detail=None, by=None, problem=None)
        )


def pseudonyms_of(company: Company, act: str) -> dict[str, str]:
    """The pseudonym each request of an act is about, by request."""
    with company.state.read() as connection:
        rows = connection.execute(select(requests.c.id, requests.c.pseudonym).where(requests.c.act == act))
        return dict(rows.all())


def standing(company: Company, verb: str) -> dict[str, int]:
    """How many requests of a verb are done, open, failed, and past their clock."""
    now = company.clock().isoformat()
    with company.state.read() as connection:
        states: dict[str, int] = dict(
            connection.execute(
                select(requests.c.state, func.count())
                .where(requests.c.verb == verb)
                .group_by(requests.c.state)
            ).all()
        )
        late = connection.execute(
            select(func.count()).where(
                requests.c.verb == verb, requests.c.due < func.coalesce(requests.c.closed, now)
            )
        ).scalar_one()
    done, failures = states.get("done", 0), states.get("failed", 0)
    return {"done": done, "open": sum(states.values()) - done, "failed": failures, "past_due": late}
