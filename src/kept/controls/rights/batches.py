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
from kept.errors import KeptError, TransientError
from kept.state.tables import acts, requests
from kept.stores.records.store import Later

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
    traces: dict[str, Any] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)  # answers given before that an erasure has removed

    @property
    def waited(self) -> bool:
        """Whether its people were hidden first, and could come back for a time."""
        return bool(self.legs) and "hide" in self.legs[0]

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

    def halves(self, act: str) -> list[str]:
        """Part an act that could not begin into two, so that one person holds up no other; none where it has begun.

        Both are open, and planned anew when they are carried out. An act of one person isn't parted, nor one that has
        noted or changed anything.
        """
        self.forget(act)
        detail = self.must(act)
        if len(detail.requests) < 2 or detail.leg or detail.traces or self.company.state.notes(act):
            return []
        pairs = list(zip(detail.requests, detail.persons(), strict=True))
        found: list[str] = []
        with self.company.state.write() as connection:
            kind, sealed = connection.execute(select(acts.c.kind, acts.c.by).where(acts.c.id == act)).one()
            by = self.company.keys.unseal("by", sealed).decode()
            for part in (pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]):
                half, ordered = self.begin(connection, kind, part, [], by)
                register.place(connection, half, ordered)
                found.append(half)
            self._end(connection, [act])
        self.forget(act)
        return found

    def detail(self, act: str) -> Detail | None:
        """What an open act remembers; None when it is closed or was never begun."""
        if act not in self._known:
            with self.company.state.read() as connection:
                sealed = connection.execute(select(acts.c.detail).where(acts.c.id == act)).scalar()
            if sealed is None:
                return None
            self._known[act] = self._unsealed(sealed)
        return self._known[act]

    def awaiting_clean(self) -> dict[str, Detail]:
        """What every act remembers whose requests await clean files, oldest first."""
        waiting = select(requests.c.act).where(requests.c.state == "open", requests.c.awaits == "clean")
        query = select(acts.c.id, acts.c.detail).where(acts.c.ended.is_(None), acts.c.id.in_(waiting))
        with self.company.state.read() as connection:
            rows = connection.execute(query.order_by(acts.c.began)).all()
        self._known |= {act: self._unsealed(sealed) for act, sealed in rows}
        return {act: self._known[act] for act, _ in rows}

    def must(self, act: str) -> Detail:
        """What an open act remembers; KeptError when it is closed."""
        detail = self.detail(act)
        if detail is None:
            raise KeptError("this request is closed, or was never made", where=act)
        return detail

    def remember(self, act: str) -> None:
        """Keep what a step found out, sealed, for the steps after it."""
        with self.company.state.write() as connection:
            self._remember(connection, act)

    def note(self, act: str, part: str, counts: Mapping[str, Any]) -> None:
        """Note what a step is about to commit, and keep what it found out, in one transaction (`State.note`)."""
        self.company.state.note(act, part, counts, along=lambda connection: self._remember(connection, act))

    def _remember(self, connection: Connection, act: str) -> None:
        sealed = self._sealed(self._known[act])
        connection.execute(update(acts).where(acts.c.id == act).values(detail=sealed))

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
            self._remember(connection, act)
            connection.execute(
                update(requests)
                .where(requests.c.act == act, requests.c.state == "open")
                .values(awaits="work", until=None)
            )
            return self._count(connection, act)

    def next_attempt(self, act: str) -> int:
        """Count one more attempt at an act, for which it has no problem so far; answers its number."""
        if act in self._fresh:
            self._fresh.discard(act)
            return 1
        with self.company.state.write() as connection:
            return self._count(connection, act)

    def _count(self, connection: Connection, act: str) -> int:
        number: int = connection.execute(
            update(acts)
            .where(acts.c.id == act)
            .values(attempts=acts.c.attempts + 1, problem=None, retry=None)
            .returning(acts.c.attempts)
        ).scalar_one()
        return number

    def failed(self, act: str, wrong: KeptError) -> None:
        """An act could not be carried out: it stays open with the reason, and its leg is to be done again.

        What is passing is tried again, at the time a store named, else later each time; the rest when staff say so.
        """
        self.forget(act)
        with self.company.state.write() as connection:
            attempts = connection.execute(select(acts.c.attempts).where(acts.c.id == act)).scalar_one()
            retry = None
            if isinstance(wrong, TransientError):
                wait = timedelta(seconds=min(LONGEST, RETRY * 2 ** min(attempts - 1, 16)))
                named = wrong.at if isinstance(wrong, Later) else None
                retry = (named or self.company.clock() + wait).isoformat()
            connection.execute(
                update(acts).where(acts.c.id == act).values(problem=wrong.message[:2000], retry=retry)
            )
            connection.execute(
                update(requests)
                .where(requests.c.act == act, requests.c.state == "open", requests.c.awaits == "clean")
                .values(awaits="work")
            )

    def close(
        self,
        several: Sequence[str],
        outcomes: Mapping[str, Mapping[str, object]],
        state: register.State = "done",
        *,
        write: Callable[[Connection], None] | None = None,
    ) -> None:
        """Every request of these acts is over; what was sealed is destroyed. `write` writes letters first."""
        with self.company.state.write() as connection:
            if write is not None:
                write(connection)
            register.close(self.company, connection, outcomes, state)
            self._end(connection, several)
        for act in several:
            self.forget(act)

    def _end(self, connection: Connection, several: Sequence[str]) -> None:
        over = {"ended": self.company.clock().isoformat(), "detail": None, "by": None, "problem": None}
        for part in register.parts(several):
            connection.execute(update(acts).where(acts.c.id.in_(part)).values(**over, retry=None))

    def forget(self, act: str | None = None) -> None:
        """Read an act (or all) anew the next time: somebody else may have gone on with it."""
        self._fresh -= {act} if act is not None else self._fresh.copy()
        if act is None:
            self._known.clear()
        else:
            self._known.pop(act, None)

    def _unsealed(self, sealed: bytes) -> Detail:
        detail = Detail(**json.loads(self.company.keys.unseal("act", sealed)))
        # JSON has no tuples
        detail.people = {kind: [tuple(key) for key in keys] for kind, keys in detail.people.items()}
        return detail

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
