"""Acts of requests: what is carried out in one go for a batch of people, and what it has to remember meanwhile.

An act goes on in legs: a leg is the steps up to something that only time or a person can bring (a period that ends, a
task done by hand). Each leg is a durable workflow of its own, so months may lie between two of them, and a policy or a
version of Kept may change meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from kept.company import Company
from kept.controls.rights import register
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.state.tables import acts, requests

RETRY = 60.0  # seconds until what failed for a while is tried again; doubled each time
LONGEST = 3600.0


@dataclass
class Detail:
    """What an act needs to know to go on after a crash: sealed while it is open, destroyed when it is closed.

    `requests` are the ids in the order of `people`; `legs` the steps, leg by leg, of which `leg` is the one under way.
    """

    people: dict[str, list[tuple[str, ...]]]
    requests: list[str]
    legs: list[list[str]]
    leg: int = 0
    subjects: dict[str, Any] = field(default_factory=dict)  # of requests that say more than who
    traces: dict[str, Any] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)  # answers given before that an erasure has removed

    def persons(self) -> list[Person]:
        """Every person, in the order of `requests`."""
        return [Person(kind, key) for kind, keys in self.people.items() for key in keys]

    def whos(self) -> list[str]:
        return [str(person) for person in self.persons()]


class Batches:
    """The open acts of one company. What this process wrote itself it needn't read again."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self._known: dict[str, Detail] = {}
        self._fresh: set[str] = set()  # begun here and not tried yet: the attempt was counted when it began

    def begin(
        self,
        connection: Connection,
        verb: str,
        of: Sequence[tuple[str, Person]],
        legs: Sequence[Sequence[str]],
        by: str,
    ) -> tuple[str, list[str]]:
        """Note an act for requests (id, person); answers the act's id, and the requests in the act's order."""
        grouped: dict[str, list[tuple[str, Person]]] = {}
        for id, person in of:
            grouped.setdefault(person.kind, []).append((id, person))
        ordered = [id for pairs in grouped.values() for id, _ in pairs]
        detail = Detail(
            {kind: [person.key for _, person in pairs] for kind, pairs in grouped.items()},
            ordered,
            [list(leg) for leg in legs],
        )
        act = register.new_id()
        connection.execute(
            insert(acts).values(
                id=act,
                kind=verb,
                policy=self.company.policy.source.digest,
                by=self.company.keys.seal("by", by.encode()),
                began=self.company.clock().isoformat(),
                attempts=1,
                detail=self._sealed(detail),
            )
        )
        self._known[act] = detail
        self._fresh.add(act)
        return act, ordered

    def detail(self, act: str) -> Detail | None:
        """What an open act remembers; None when it is closed or was never begun."""
        if act not in self._known:
            with self.company.state.read() as connection:
                sealed = connection.execute(select(acts.c.detail).where(acts.c.id == act)).scalar()
            if sealed is None:
                return None
            detail = Detail(**json.loads(self.company.keys.unseal("act", sealed)))
            # JSON has no tuples
            detail.people = {kind: [tuple(key) for key in keys] for kind, keys in detail.people.items()}
            self._known[act] = detail
        return self._known[act]

    def must(self, act: str) -> Detail:
        """What an open act remembers; KeptError when it is closed."""
        detail = self.detail(act)
        if detail is None:
            raise KeptError("this request is closed, or was never made", where=act)
        return detail

    def remember(self, act: str, **values: Any) -> None:
        """Keep what a step found out, sealed, for the steps after it; `values` go to the act's other columns."""
        with self.company.state.write() as connection:
            self._remember(connection, act, values)

    def _remember(self, connection: Connection, act: str, values: Mapping[str, Any]) -> None:
        sealed = self._sealed(self._known[act])
        connection.execute(update(acts).where(acts.c.id == act).values(detail=sealed, **values))

    def wait(
        self,
        act: str,
        awaits: register.Awaits,
        until: datetime | None = None,
        *,
        write: Callable[[Connection], None] | None = None,
    ) -> None:
        """A leg is over: its requests await something, and the next leg comes when that is there."""
        with self.company.state.write() as connection:
            if write is not None:
                write(connection)
            connection.execute(update(acts).where(acts.c.id == act).values(problem=None, retry=None))
            connection.execute(
                update(requests)
                .where(requests.c.act == act, requests.c.state == "open")
                .values(awaits=awaits, until=until.isoformat() if until else None)
            )

    def go_on(
        self,
        act: str,
        legs: Sequence[Sequence[str]] | None = None,
        *,
        write: Callable[[Connection], None] | None = None,
    ) -> int:
        """Begin the next leg (or other ones): its requests are at work again; answers the attempt's number."""
        detail = self.must(act)
        if legs is not None:
            detail.legs[detail.leg + 1 :] = [list(leg) for leg in legs]
        detail.leg += 1
        with self.company.state.write() as connection:
            if write is not None:
                write(connection)
            self._remember(connection, act, {"problem": None, "retry": None})
            connection.execute(
                update(requests)
                .where(requests.c.act == act, requests.c.state == "open")
                .values(awaits="work", until=None)
            )
            return self._count(connection, act)

    def next_attempt(self, act: str) -> int:
        """Count one more attempt at an act; answers its number."""
        if act in self._fresh:
            self._fresh.discard(act)
            return 1
        with self.company.state.write() as connection:
            return self._count(connection, act)

    def _count(self, connection: Connection, act: str) -> int:
        number: int = connection.execute(
            update(acts)
            .where(acts.c.id == act)
            .values(attempts=acts.c.attempts + 1)
            .returning(acts.c.attempts)
        ).scalar_one()
        return number

    def failed(self, act: str, problem: str, *, passing: bool, at: datetime | None = None) -> None:
        """The act could not be carried out: it stays open with the reason.

        What is `passing` is tried again, `at` the time a store named, else later each time.
        """
        self.forget(act)
        with self.company.state.write() as connection:
            attempts = connection.execute(select(acts.c.attempts).where(acts.c.id == act)).scalar_one()
            wait = timedelta(seconds=min(LONGEST, RETRY * 2 ** min(attempts - 1, 16)))
            retry = (at or self.company.clock() + wait) if passing else None
            connection.execute(
                update(acts)
                .where(acts.c.id == act)
                .values(problem=problem[:2000], retry=retry.isoformat() if retry else None)
            )

    def close(
        self,
        act: str,
        outcomes: Mapping[str, Mapping[str, object]],
        state: register.State = "done",
        *,
        write: Callable[[Connection], None] | None = None,
    ) -> None:
        """Every request of the act is over; what was sealed is destroyed. `write` writes letters about it first."""
        now = self.company.clock().isoformat()
        with self.company.state.write() as connection:
            if write is not None:
                write(connection)
            register.close(self.company, connection, outcomes, state)
            connection.execute(
                update(acts)
                .where(acts.c.id == act)
                .values(ended=now, detail=None, by=None, problem=None, retry=None)
            )
        self.forget(act)

    def forget(self, act: str | None = None) -> None:
        """Read an act (or all) anew the next time: somebody else may have gone on with it."""
        self._fresh -= {act} if act is not None else self._fresh.copy()
        if act is None:
            self._known.clear()
        else:
            self._known.pop(act, None)

    def _sealed(self, detail: Detail) -> bytes:
        return self.company.keys.seal("act", json.dumps(asdict(detail)).encode())


def problems(company: Company) -> dict[str, str]:
    """Why open acts could not be carried out so far, by act."""
    query = select(acts.c.id, acts.c.problem).where(acts.c.ended.is_(None), acts.c.problem.is_not(None))
    with company.state.read() as connection:
        return dict(connection.execute(query).all())


def unfinished(company: Company, now: datetime | None = None) -> list[tuple[str, str]]:
    """Every open act whose requests await nothing but work, oldest first: its verb, its id.

    With `now` those that failed are left out until their time to be tried again has come.
    """
    waiting = select(requests.c.act).where(requests.c.state == "open", requests.c.awaits == "work")
    query = (
        select(acts.c.kind, acts.c.id)
        .where(acts.c.ended.is_(None), acts.c.id.in_(waiting))
        .order_by(acts.c.began)
    )
    if now is not None:
        query = query.where(acts.c.problem.is_(None) | (acts.c.retry <= now.isoformat()))
    with company.state.read() as connection:
        return [(kind, act) for kind, act in connection.execute(query)]
