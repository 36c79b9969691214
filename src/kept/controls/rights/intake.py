"""What people send by themselves, through the form or by e-mail: sealed at once, looked at a moment later.

Whoever sends something learns nothing from the answer: it is the same, and comes as fast, for an address that is known
and one that isn't. Only then is the sender looked up. Exactly one person with a clear wish is a request, which waits
for them to prove who they are through a link to their address *on record*; what only a member of staff can make sense
of is a task of theirs; from an unknown address a form is only counted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal

from sqlalchemy import Connection, Select, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from kept.company import Company
from kept.controls.rights import addresses, correct, letters, register, tasks
from kept.controls.rights.desk import Desk
from kept.controls.rights.people import BY_HAND, Person, resolve
from kept.controls.rights.places import BY
from kept.controls.rights.register import Event, Request, Subject
from kept.errors import KeptError, TransientError
from kept.mail.imap import ImapMailbox
from kept.mail.inbox import Collected, Inbox, collect
from kept.mail.message import Message
from kept.mail.wish import wish
from kept.state.tables import acts, notes

FORM: Final = "ask"
MAIL: Final = "mail"
ROUND: Final = 200  # arrivals looked at in one go
WORDS: Final = 4000  # characters of somebody's own words that staff are shown
MAILS_A_DAY: Final = 5  # tasks for staff that one address can cause
STRANGERS_A_DAY: Final = 100  # tasks for staff that all unknown addresses can cause
LETTERS_A_DAY: Final = 3  # about one request, on somebody's asking
_COUNTS: Final = "intake"  # the "act" under which the notes of the counts stand
_LOOKED: Final = "mailbox"  # and of the looks into the mailbox
_OFTEN: Final = timedelta(minutes=10)  # between two notes of a look
RETRY: Final = timedelta(seconds=30)
RETRY_MOST: Final = timedelta(hours=1)

Outcome = Literal["received", "joined", "task", "counted", "waits"]


@dataclass(frozen=True)
class Arrival:
    """What somebody sent: from which address (a claim), which right, and what they said, if anything."""

    channel: Literal["form", "email"]
    sender: str
    verb: str | None
    words: str = ""

    def dumps(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def loads(cls, text: bytes) -> Arrival:
        return cls(**json.loads(text))


class Taken(Exception):
    """Somebody else has done it meanwhile."""


def put(company: Company, connection: Connection, arrival: Arrival) -> None:
    """Keep what came in, sealed, until it is looked at; it is as durable as the transaction."""
    connection.execute(
        insert(acts).values(
            id=register.new_id(),
            kind=FORM if arrival.channel == "form" else MAIL,
            policy=company.policy.source.digest,
            began=company.clock().isoformat(),
            attempts=0,
            detail=company.keys.seal("arrival", arrival.dumps()),
        )
    )


def handle(company: Company, connection: Connection, message: Message) -> str | None:
    """What is done about an e-mail, in the transaction that notes it as taken (`kept.mail.inbox.Handle`).

    A program's message (a bounce, a list, an answer while away) is counted, and gets no letter, ever. No request is
    made yet, so none is named.
    """
    if message.automatic is not None or message.sender is None:
        _count(company, connection, "automatic" if message.automatic else "no sender")
        return None
    said = f"{message.subject}\n\n{message.text}".strip()
    put(company, connection, Arrival("email", message.sender, wish(said), said))
    return None


def inbox(company: Company) -> Inbox:
    """Where e-mails to a company come in."""
    return Inbox(company.state, company.keys, company.clock, partial(handle, company))


def fetch(company: Company) -> Collected | None:
    """Take the messages of the mailbox (`KEPT_IMAP_URL`); None where the company has none."""
    url = company.settings.get("KEPT_IMAP_URL")
    if not url:
        return None
    with ImapMailbox(url) as mailbox:
        found = collect(mailbox, inbox(company))
        _looked(company, mailbox.name)
        return found


def looked(company: Company, mailbox: str) -> datetime | None:
    """When a mailbox was last emptied without an error, to within ten minutes; None for never."""
    at = company.state.notes(_LOOKED).get(_place(company, mailbox), {}).get("at")
    return datetime.fromisoformat(at) if at is not None else None


def _looked(company: Company, mailbox: str) -> None:
    now, last = company.clock(), looked(company, mailbox)
    if last is None or now - last >= _OFTEN:
        company.state.note(_LOOKED, _place(company, mailbox), {"at": now.isoformat()})


def _place(company: Company, mailbox: str) -> str:
    return company.keys.mac("mailbox", mailbox.encode()).hex()[:32]


@dataclass(frozen=True)
class Waiting:
    """How much came in that nobody has looked at, and what stands in the way of it."""

    number: int
    problem: str | None


def waiting(company: Company) -> Waiting:
    """What waits to be looked at."""
    chosen = acts.c.kind.in_((FORM, MAIL)) & acts.c.ended.is_(None)
    with company.state.read() as connection:
        number, problem = connection.execute(
            select(func.count(), func.max(acts.c.problem)).where(chosen)
        ).one()
    return Waiting(number, problem)


def is_due(company: Company) -> bool:
    """Whether something is to be looked at now; cheap."""
    with company.state.read() as connection:
        return connection.execute(_due(company).limit(1)).first() is not None


def look(desk: Desk) -> dict[Outcome, int]:
    """Look at what came in: how many became what. What fails for a while waits, a little longer each time."""
    company, done = desk.company, dict[Outcome, int]()
    with company.state.read() as connection:
        rows = connection.execute(_due(company).limit(ROUND)).all()
    for id, sealed, attempts in rows:
        try:
            outcome = _look(desk, id, Arrival.loads(company.keys.unseal("arrival", sealed)))
        except Taken:
            continue
        except KeptError as wrong:
            _later(company, id, attempts, wrong)
            outcome = "waits"
        done[outcome] = done.get(outcome, 0) + 1
    return done


def again(desk: Desk, request: Request, address: str | None = None) -> bool:
    """Write to a person again: a new link while they must prove who they are, else the page of their request.

    At most LETTERS_A_DAY a day about one request, so that nobody can have another flooded; whether it was written.
    `address` is the one on record, where the request itself has none.
    """
    company = desk.company
    if not request.is_open or not company.can_write or not company.public_url:
        return False
    address = request.subject(company).reply or address
    since = company.clock() - timedelta(days=1)
    sent = [e for e in register.history(company, request.id) if e.what == "reminded" and e.at > since]
    if address is None or len(sent) >= LETTERS_A_DAY:
        return False
    with company.state.write() as connection:
        if request.awaits == "identity":
            letters.verify(company, connection, request.id, request.verb, address)
        else:
            letters.joined(company, connection, request, address)
        register.happen(company, connection, [request.id], Event(company.clock(), "reminded"))
    return True


def settle(desk: Desk, request: Request, changes: Sequence[tuple[str, str]], who: str) -> Request:
    """A member of staff has put into columns and values what a person wants corrected; the request goes on."""
    company = desk.company
    if request.verb != "correct" or request.awaits != "answer":
        raise KeptError("this is no correction that waits for staff to say what is right", where=request.id)
    subject = replace(request.subject(company), changes=tuple(changes))
    correct.split(company, subject)
    register.change(
        company,
        [request.id],
        Event(company.clock(), "settled", who),
        subject=company.keys.seal("request", subject.dumps()),
        awaits="work",
    )
    return register.get(company, request.id)


def _look(desk: Desk, id: str, arrival: Arrival) -> Outcome:
    """What one arrival becomes, all of it in the transaction in which it is put away."""
    company = desk.company
    silent = _silent(company)
    if silent:
        raise TransientError(f"nobody can be looked up: {'; '.join(silent)}")
    known, several = _known(company, arrival.sender)
    if known is None:
        return _unknown(company, id, arrival, several=several)
    address = addresses.of(company, [known]).get(known)
    if arrival.verb is None:
        return _task(company, id, arrival, "It isn't clear which right they use.", known)
    if address is None or not company.public_url or not company.can_write:
        why = "Kept can't write to them (KEPT_PUBLIC_URL, KEPT_SMTP_URL), so make sure who asks."
        return _task(company, id, arrival, why, known)
    joined = register.open_of(company, arrival.verb, [known]).get(known)
    if joined is not None:
        _away(company, id)
        again(desk, joined, address)
        return "joined"
    subject = Subject(known, address, arrival.words or None)
    try:
        desk.receive(
            arrival.verb, subject, "kept", channel=arrival.channel, along=partial(_made, company, id, known)
        )
    except TransientError:
        raise
    except KeptError as wrong:
        return _task(company, id, arrival, f"It can't be taken in: {wrong.message}.", known)
    return "received"


def _known(company: Company, sender: str) -> tuple[Person | None, bool]:
    """The one person with an address; else whether there are several."""
    if not company.root_kinds() or ":" in sender:
        return None, False
    try:
        found = resolve(company, [sender])
    except TransientError:
        raise
    except KeptError:  # nobody can be found by an address here
        return None, False
    return (found.people[0] if found.people else None), bool(found.several)


def _unknown(company: Company, id: str, arrival: Arrival, *, several: bool) -> Outcome:
    """Nobody, or several: no letter goes out. Staff see what they can do something about, within limits."""
    unasked = _unasked(company)
    if arrival.channel == "form" and not several and not unasked:
        with company.state.write() as connection:
            _put_away(connection, id)
            _count(company, connection, "unknown")
        return "counted"
    why = "The address is not known."
    if several:
        why = "The address leads to several people."
    elif unasked:
        why = f"The address is not known where Kept can look; {', '.join(unasked)} can't be asked."
    return _task(company, id, arrival, why, None)


def _task(company: Company, id: str, arrival: Arrival, why: str, person: Person | None) -> Outcome:
    """Something for a member of staff: who wrote, what they said, and why no program goes on with it."""
    now = company.clock()
    due = now + tasks.USUAL
    with company.state.write() as connection:
        _put_away(connection, id)
        own = _count(
            company, connection, f"from {company.keys.mac('sender', arrival.sender.encode()).hex()[:32]}"
        )
        all_ = _count(company, connection, "strangers") if person is None else 0
        if own > MAILS_A_DAY or all_ > STRANGERS_A_DAY:
            _count(company, connection, "too many")
            today = f"{now:%Y-%m-%d}"
            told = "see whether there is a request among them: more came than Kept makes tasks of"
            place = f"the mailbox and the form, {today}"
            tasks.give(company, f"too many {today}", place, [], told, due, connection)
            return "counted"
        verb = f" {letters.ASKED[arrival.verb]}" if arrival.verb is not None else ""
        said = arrival.words[:WORDS] + (" …" if len(arrival.words) > WORDS else "")
        what = f"see what somebody asks{verb} and enter it (`kept request`). {why}\n{said}\n"
        whom = [arrival.sender] if person is None else [arrival.sender, str(person)]
        place = "the form" if arrival.channel == "form" else "the mailbox"
        tasks.give(company, id, place, whom, what, due, connection)
    return "task"


def alone(company: Company, person: Person, connection: Connection) -> None:
    """See, in the transaction that made a request, that its person has no other of the same verb open; else Taken."""
    pseudonym = company.pseudonyms.of([str(person)], connection=connection)[str(person)]
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        connection.execute(select(func.pg_advisory_xact_lock(int(pseudonym[:15], 16))))
    verbs = register.verbs_open(connection, pseudonym)
    if len(verbs) != len(set(verbs)):
        raise Taken  # the same was asked twice at the same instant: who looks again finds the other, and joins it


def _made(company: Company, id: str, person: Person, connection: Connection) -> None:
    """Put the arrival away in the transaction that makes its request; nothing is made twice."""
    _put_away(connection, id)
    alone(company, person, connection)


def _silent(company: Company) -> list[str]:
    company.map  # noqa: B018  whoever doesn't answer is noted when the map is made
    return company.silent()


def _unasked(company: Company) -> list[str]:
    """Stores with people who could be known by an address, if they could be asked."""
    found = []
    for kind in company.root_kinds():
        person = company.policy.people[kind]
        home = str(person.table).partition(".")[0]
        reached = home in company.records or company.map.walk(kind) is not None
        if BY in person.known_by and not reached and company.policy.stores[home].sort not in BY_HAND:
            found.append(home)
    return list(dict.fromkeys(found))


def _away(company: Company, id: str) -> None:
    with company.state.write() as connection:
        _put_away(connection, id)


def _put_away(connection: Connection, id: str) -> None:
    if not connection.execute(delete(acts).where(acts.c.id == id)).rowcount:
        raise Taken


def _later(company: Company, id: str, attempts: int, wrong: KeptError) -> None:
    after = min(RETRY * (1 << min(attempts, 10)), RETRY_MOST)
    with company.state.write() as connection:
        connection.execute(
            update(acts)
            .where(acts.c.id == id)
            .values(
                attempts=attempts + 1,
                retry=(company.clock() + after).isoformat(),
                problem=wrong.message[:2000],
            )
        )


def _due(company: Company) -> Select[Any]:
    """Id, sealed text and attempts of what is to be looked at now."""
    now = company.clock().isoformat()
    chosen = acts.c.kind.in_((FORM, MAIL)) & acts.c.ended.is_(None)
    return (
        select(acts.c.id, acts.c.detail, acts.c.attempts)
        .where(chosen, acts.c.retry.is_(None) | (acts.c.retry <= now))
        .order_by(acts.c.began)
    )


def _count(company: Company, connection: Connection, what: str) -> int:
    """Count something of today; answers the number. Counts of single senders go after a week."""
    today: datetime = company.clock()
    part = f"{today:%Y-%m-%d} {what}"
    chosen = (notes.c.act == _COUNTS) & (notes.c.part == part)
    insert_ = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    made = connection.execute(
        insert_(notes).values(act=_COUNTS, part=part, counts='{"number": 0}').on_conflict_do_nothing()
    )
    if made.rowcount:
        old = f"{today - timedelta(days=7):%Y-%m-%d}"
        connection.execute(delete(notes).where(notes.c.act == _COUNTS, notes.c.part < old))
    held = connection.execute(select(notes.c.counts).where(chosen).with_for_update()).scalar_one()
    number: int = json.loads(held)["number"] + 1
    connection.execute(update(notes).where(chosen).values(counts=json.dumps({"number": number})))
    return number
