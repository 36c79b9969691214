"""The register of requests, in Kept's own state: who asked for what, what each request awaits, how it ended.

Nothing readable stands in it but pseudonyms, states and times; who it is and what they said is sealed while the
request is open and destroyed when it is closed.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection, bindparam, func, insert, select, update
from sqlalchemy.engine import Row

from kept.company import Company
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.state.tables import acts, events, requests

CHUNK = 500  # values bound in one statement

State = Literal["open", "done", "refused", "withdrawn", "lapsed"]
Awaits = Literal[
    "identity",
    "confirmation",
    "approval",
    "clarification",
    "answer",
    "client",
    "work",
    "tasks",
    "period",
    "clean",
]

AGAIN: Final = ("replay", "hold-ended", "found")
"""Channels by which nobody asks anew: somebody who was erased before is erased again."""

_RECEIVING: Final = 0x6B726563  # "krec": PostgreSQL's lock for whoever makes requests that may join others

AWAITED: Final[Mapping[str, str]] = {
    "identity": "the person to follow the link that was sent to the address on record",
    "confirmation": "a member of staff to validate it with the person",
    "approval": "a member of staff to approve it",
    "clarification": "the person to say what exactly is meant",
    "answer": "a member of staff to answer it",
    "client": "the client, whose instructions rule, to answer it",
    "work": "being carried out",
    "tasks": "what a member of staff does by hand",
    "period": "the end of the time in which the person may come back",
    "clean": "files to be made clean of what was deleted",
}


@dataclass(frozen=True)
class Subject:
    """Who a request is about, and what they ask: sealed while the request is open.

    `reply` is where letters to the person go; `changes` are what a correction writes, `table.column` and value;
    `scope` are the purposes or choices an objection or a withdrawal names.
    """

    who: Person
    reply: str | None = None
    words: str | None = None
    changes: tuple[tuple[str, str], ...] = ()
    scope: tuple[str, ...] = ()

    def dumps(self) -> bytes:
        return json.dumps(
            [self.who.kind, self.who.key, self.reply, self.words, self.changes, self.scope]
        ).encode()

    @classmethod
    def loads(cls, text: bytes) -> Subject:
        kind, key, reply, words, changes, scope = json.loads(text)
        told = tuple((column, value) for column, value in changes)
        return cls(Person(kind, tuple(key)), reply, words, told, tuple(scope))


@dataclass(frozen=True)
class Request:
    """One line of the register; `due` is None while the clock hasn't started or stands still."""

    id: str
    verb: str
    act: str | None
    pseudonym: str
    channel: str
    law: str | None
    region: str | None
    state: State
    awaits: Awaits | None
    until: datetime | None
    received: datetime
    identified: datetime | None
    extended: datetime | None
    due: datetime | None
    warned: datetime | None
    closed: datetime | None
    outcome: Mapping[str, Any] = field(default_factory=dict)
    sealed: bytes | None = None

    @property
    def is_open(self) -> bool:
        return self.state == "open"

    def subject(self, company: Company) -> Subject:
        """Who it is about; KeptError when the request is closed, for then nobody knows any more."""
        if self.sealed is None:
            raise KeptError("this request is closed; who it was about is no longer known", where=self.id)
        return Subject.loads(company.keys.unseal("request", self.sealed))


@dataclass(frozen=True)
class Event:
    """Something that happened to a request; `words` are what staff wrote."""

    at: datetime
    what: str
    who: str | None = None
    words: str | None = None


def new_id() -> str:
    return uuid.uuid4().hex


def line(
    company: Company, id: str, verb: str, pseudonym: str, subject: Subject, **values: Any
) -> dict[str, Any]:
    """A row of the register; times as datetimes."""
    row: dict[str, Any] = {
        "id": id,
        "verb": verb,
        "pseudonym": pseudonym,
        "subject": company.keys.seal("request", subject.dumps()),
        "state": "open",
        "act": None,
        "position": 0,
        **values,
    }
    return {key: _written(value) for key, value in row.items()}


def add(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put lines of the register in; all of the same columns."""
    connection.execute(insert(requests), rows)


def get(company: Company, id: str) -> Request:
    """One request; KeptError for an id nobody has."""
    found = of_ids(company, [id])
    if not found:
        raise KeptError("there is no such request", help="`kept request list` names them")
    return found[0]


def beginning(company: Company, start: str) -> list[Request]:
    """The requests whose id begins so, two at most: enough to tell that it isn't one."""
    if not start.isalnum():
        return []
    query = select(requests).where(requests.c.id.startswith(start)).limit(2)
    with company.state.read() as connection:
        return [_read(row) for row in connection.execute(query)]


def of_ids(company: Company, ids: Sequence[str]) -> list[Request]:
    """Requests by their ids, in that order; unknown ones left out."""
    found: dict[str, Request] = {}
    if not ids:
        return []
    with company.state.read() as connection:
        for part in parts(ids):
            rows = connection.execute(select(requests).where(requests.c.id.in_(part)))
            found.update((row.id, _read(row)) for row in rows)
    return [found[id] for id in ids if id in found]


def of_act(company: Company, act: str) -> list[Request]:
    """The requests of an act, in the order of its people."""
    query = select(requests).where(requests.c.act == act).order_by(requests.c.position)
    with company.state.read() as connection:
        return [_read(row) for row in connection.execute(query)]


def listing(
    company: Company, *, state: State | None = "open", awaits: Iterable[Awaits] = (), verb: str | None = None
) -> list[Request]:
    """Requests of a state (None: all), oldest due first."""
    query = select(requests).order_by(requests.c.due.is_(None), requests.c.due, requests.c.received)
    query = query.where(requests.c.state == state) if state is not None else query
    query = query.where(requests.c.awaits.in_(list(awaits))) if awaits else query
    query = query.where(requests.c.verb == verb) if verb is not None else query
    with company.state.read() as connection:
        return [_read(row) for row in connection.execute(query)]


def ready(connection: Connection, verb: str, most: int) -> list[Request]:
    """Requests that only have to be carried out and that no act has; another worker doesn't see them meanwhile."""
    query = (
        select(requests)
        .where(requests.c.state == "open", requests.c.awaits == "work")
        .where(requests.c.act.is_(None), requests.c.verb == verb)
        .order_by(requests.c.due.is_(None), requests.c.due, requests.c.id)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    return [_read(row) for row in connection.execute(query)]


def place(connection: Connection, act: str, ids: Sequence[str]) -> None:
    """Requests belong to an act from now on, in this order."""
    statement = (
        update(requests).where(requests.c.id == bindparam("one")).values(act=act, position=bindparam("at"))
    )
    connection.execute(statement, [{"one": id, "at": at} for at, id in enumerate(ids)])


def is_at_work(company: Company, act: str) -> bool:
    """Whether an act has requests that only have to be carried out."""
    query = select(func.count()).where(
        requests.c.act == act, requests.c.state == "open", requests.c.awaits == "work"
    )
    with company.state.read() as connection:
        return bool(connection.execute(query).scalar_one())


def open_of(company: Company, verb: str, people: Sequence[Person]) -> dict[Person, Request]:
    """Which of these people have an open request of that verb."""
    known = company.pseudonyms.find([str(person) for person in people])
    with company.state.read() as connection:
        return open_among(connection, verb, {known[str(who)]: who for who in people if str(who) in known})


def open_among(connection: Connection, verb: str, people: Mapping[str, Person]) -> dict[Person, Request]:
    """The same for people by their pseudonyms, inside a transaction."""
    found: dict[Person, Request] = {}
    for part in parts(list(people)):
        chosen = (requests.c.verb == verb) & (requests.c.state == "open") & requests.c.pseudonym.in_(part)
        rows = connection.execute(select(requests).where(chosen))
        found.update((people[row.pseudonym], _read(row)) for row in rows)
    return found


def pseudonyms_open(company: Company, verb: str, pseudonyms: Sequence[str]) -> set[str]:
    """Those of the pseudonyms whose person has an open request of a verb."""
    found: set[str] = set()
    for part in parts(pseudonyms) if pseudonyms else ():
        chosen = (requests.c.verb == verb) & (requests.c.state == "open") & requests.c.pseudonym.in_(part)
        with company.state.read() as connection:
            found.update(connection.scalars(select(requests.c.pseudonym).where(chosen)))
    return found


def alone(connection: Connection) -> None:
    """Nobody else puts requests into the register that may join others, until this transaction ends."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        connection.execute(select(func.pg_advisory_xact_lock(_RECEIVING)))


def verbs_open(connection: Connection, pseudonym: str) -> list[str]:
    """What a person has asked for that is still open, inside a transaction."""
    chosen = (requests.c.pseudonym == pseudonym) & (requests.c.state == "open")
    return list(connection.scalars(select(requests.c.verb).where(chosen)))


def is_due(company: Company) -> bool:
    """Whether there is anything for `Desk.work` to do now; cheap, for whoever asks every few seconds.

    What somebody has to mend first is not due by itself.
    """
    now = company.clock().isoformat()
    stuck = select(acts.c.id).where(
        acts.c.id == requests.c.act, acts.c.problem.is_not(None), func.coalesce(acts.c.retry, "~") > now
    )
    ready = (requests.c.awaits == "work") & (requests.c.act.is_(None) | ~stuck.exists())
    ready |= requests.c.awaits == "clean"
    over = requests.c.awaits.in_(("identity", "period")) & (requests.c.until <= now)
    query = select(requests.c.id).where(requests.c.state == "open", ready | over).limit(1)
    with company.state.read() as connection:
        return connection.execute(query).first() is not None


def change(company: Company, ids: Sequence[str], *events_: Event, **values: Any) -> None:
    """Write values into open requests, with what happened to each; a closed one stays as it is."""
    with company.state.write() as connection:
        write(connection, ids, **values)
        for event in events_:
            happen(company, connection, ids, event)


def write(connection: Connection, ids: Sequence[str], **values: Any) -> None:
    """Write values into open requests."""
    written = {key: _written(value) for key, value in values.items()}
    for part in parts(ids) if written else ():
        chosen = requests.c.id.in_(part) & (requests.c.state == "open")
        connection.execute(update(requests).where(chosen).values(written))


def happen(company: Company, connection: Connection, ids: Sequence[str], event: Event) -> None:
    """Note what happened to requests."""
    if not ids:
        return
    sealed = company.keys.seal("event", event.words.encode()) if event.words else None
    number = (
        select(func.coalesce(func.max(events.c.number), 0) + 1)
        .where(events.c.request == bindparam("of"))
        .scalar_subquery()
    )
    values = {"at": event.at.isoformat(), "what": event.what, "who": event.who, "words": sealed}
    connection.execute(
        insert(events).values(request=bindparam("of"), number=number, **values), [{"of": id} for id in ids]
    )


def history(company: Company, id: str) -> list[Event]:
    """What happened to a request, in order."""
    query = select(events).where(events.c.request == id).order_by(events.c.number)
    with company.state.read() as connection:
        rows = connection.execute(query).all()
    return [
        Event(
            datetime.fromisoformat(row.at),
            row.what,
            row.who,
            company.keys.unseal("event", row.words).decode() if row.words else None,
        )
        for row in rows
    ]


def close(
    company: Company,
    connection: Connection,
    outcomes: Mapping[str, Mapping[str, object]],
    state: State = "done",
) -> None:
    """Requests are over; who they were about is destroyed. One statement, however many."""
    if not outcomes:
        return
    connection.execute(
        update(requests)
        .where(requests.c.id == bindparam("request"), requests.c.state == "open")
        .values(
            state=state,
            awaits=None,
            until=None,
            subject=None,
            closed=company.clock().isoformat(),
            outcome=bindparam("told"),
        ),
        [{"request": id, "told": json.dumps(dict(outcome))} for id, outcome in outcomes.items()],
    )


def _read(row: Row[Any]) -> Request:
    def time(text: str | None) -> datetime | None:
        return datetime.fromisoformat(text) if text is not None else None

    return Request(
        id=row.id,
        verb=row.verb,
        act=row.act,
        pseudonym=row.pseudonym,
        channel=row.channel,
        law=row.law,
        region=row.region,
        state=row.state,
        awaits=row.awaits,
        until=time(row.until),
        received=datetime.fromisoformat(row.received),
        identified=time(row.identified),
        extended=time(row.extended),
        due=time(row.due),
        warned=time(row.warned),
        closed=time(row.closed),
        outcome=json.loads(row.outcome) if row.outcome else {},
        sealed=row.subject,
    )


def _written(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Values in portions that one statement takes."""
    return (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
