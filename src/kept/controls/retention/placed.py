"""Holds that people set: what has to stay although its person's data goes, for one purpose, until a day.

While such a hold is in force an erasure keeps the rows, no sweep takes them, and no other purpose may use the data.
Who it is about is sealed, and destroyed when the hold is over (`let_go`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.engine import Row

from kept.company import Company
from kept.controls.choices.records import book
from kept.controls.purposes.declare import Purpose
from kept.controls.rights import register
from kept.controls.rights.people import Person, known_of, person_of
from kept.datamap.edges import store_of
from kept.errors import KeptError
from kept.evidence.entry import Entry
from kept.policy.policy import Policy
from kept.state.tables import holds
from kept.stores.erasing.blanks import PREFIX
from kept.stores.walk import Hold, Walk

GROUNDS = ("legal-duty", "legal-claims")
"""The grounds on which something may stay that a person wants erased (GDPR Art. 17(3)(b), (e))."""

_CHUNK = 500  # values bound in one statement


@dataclass(frozen=True)
class Placed:
    """A hold that somebody set: on some data of one person, for a purpose, over when `until` comes.

    `person` and `why` are None once it is over, for then nobody needs to know any more.
    """

    id: str
    pseudonym: str
    purpose: str
    data: tuple[str, ...]
    by: str
    since: datetime
    until: datetime
    ended: datetime | None
    person: Person | None = field(default=None, repr=False)
    why: str | None = field(default=None, repr=False)

    def last_day(self, policy: Policy) -> date:
        """The last day on which it holds, in the policy's time zone."""
        return (self.until.astimezone(policy.timezone) - timedelta(microseconds=1)).date()


def place(
    company: Company,
    person: Person,
    purpose: str,
    data: Sequence[str],
    last: date,
    why: str,
    by: str,
) -> Placed:
    """Set a hold that is in force from now through the day `last`; durable, and on the ledger, when it returns.

    Without `data` it is on everything of this person that the purpose uses and that can be held (`holdable`).
    KeptError where the purpose is no ground for it, doesn't use the data, or the data can't be held.
    """
    policy, now = company.policy, company.clock()
    chosen = _chosen(company, person, refuse_ground(policy, purpose), data)
    until = datetime.combine(last + timedelta(days=1), time(), policy.timezone).astimezone(now.tzinfo)
    if until <= now:
        raise KeptError("that day is over", help="a hold ends on a day to come", where="--until")
    refuse_too_late(company, person)
    if not why.strip():
        raise KeptError("a hold has a reason", where="--why")
    pseudonym = company.pseudonyms.of([str(person)])[str(person)]
    made = Placed(uuid.uuid4().hex, pseudonym, purpose, chosen, by, now, until, None, person, why)
    with company.state.write() as connection:
        connection.execute(
            insert(holds).values(
                id=made.id,
                pseudonym=pseudonym,
                who=company.keys.seal("hold", str(person).encode()),
                data=" ".join(chosen),
                purpose=purpose,
                words=company.keys.seal("hold", why.encode()),
                set_by=by,
                since=now.isoformat(),
                until=until.isoformat(),
            )
        )
    book.tell(company, [person])
    company.ledger.append_many([_set(company, made)])
    return made


def refuse_too_late(company: Company, person: Person) -> None:
    """Refuse a hold on somebody whose erasure has got so far that it would hold nothing."""
    going = register.open_of(company, "erase", [person]).get(person)
    if going is None or going.act is None:
        return
    if going.awaits == "work" and len(register.of_act(company, going.act)) == 1:
        return  # the erasure sees the hold when it is tried again
    raise KeptError(
        "the erasure of this person has begun already, so a hold would hold nothing",
        help=f"`kept request undo {going.id}` brings them back where the policy lets them come back",
    )


def refuse_ground(policy: Policy, purpose: str) -> Purpose:
    """The purpose, where it may hold what a person wants erased; KeptError with the reason where it may not."""
    declared = {
        str(name): entry for name, entry in policy.section("purposes").items() if isinstance(entry, Purpose)
    }
    able = [name for name, entry in declared.items() if _grounded(entry)]
    help = "such purposes here: " + (", ".join(able) or "none")
    if purpose not in declared:
        raise KeptError(f"no purpose `{purpose}` is declared", help=help, where="--purpose")
    if not _grounded(declared[purpose]):
        grounds = ", ".join(dict.fromkeys(map(str, declared[purpose].ground.values()))) or "no ground"
        raise KeptError(
            f"`{purpose}` rests on {grounds}: only a legal duty or legal claims keep what a person wants erased "
            "(GDPR Art. 17(3)(b), (e))",
            help=help,
            where="--purpose",
        )
    return declared[purpose]


def _grounded(purpose: Purpose) -> bool:
    return bool(purpose.ground) and set(map(str, purpose.ground.values())) <= set(GROUNDS)


def holdable(company: Company, kind: str, data: str) -> str | None:
    """Why some data of people of a kind can't be held; None where it can.

    An erasure can only leave out rows of the database its people stand in: a record behind an API goes whole, and
    what is erased by hand is out of Kept's sight.
    """
    policy, walk = company.policy, company.map.walk(kind)
    tables = [str(table) for table in policy.data[data].tables]
    if walk is None or not rows(walk, [data]):
        return f"`{data}` stands in no database that people of kind `{kind}` are reached in"
    apart = [t for t in tables if store_of(t) != walk.store and policy.stores[store_of(t)].sort != "browser"]
    if apart:
        return f"`{data}` stands in {', '.join(apart)} too, where an erasure can't leave it out"
    return None


def _chosen(company: Company, person: Person, purpose: Purpose, data: Sequence[str]) -> tuple[str, ...]:
    policy, name = company.policy, purpose.name
    theirs = [
        str(used)
        for used in purpose.uses
        if any(policy.related(owner, person.kind) for owner in policy.owners(policy.data[used]))
    ]
    for one in data:
        if one not in theirs:
            raise KeptError(
                f"`{name}` uses no `{one}` of such people",
                help=f"it uses {', '.join(theirs) or 'none of their data'}",
                where="--data",
            )
    wrong = {one: why for one in data or theirs if (why := holdable(company, person.kind, one)) is not None}
    chosen = tuple(dict.fromkeys(one for one in data or theirs if one not in wrong))
    if not chosen or (data and wrong):
        raise KeptError(
            "; ".join(wrong.values()) or f"`{name}` uses none of the data of such people",
            help="hold what stands in the database only: --data NAME",
            where="--data",
        )
    return chosen


def rows(walk: Walk, data: Iterable[str]) -> tuple[Hold, ...]:
    """The rows with some data, as holds without an end: what an erasure in this walk keeps."""
    wanted, found = set(data), dict[str, list[str]]()
    for stop in walk.stops[: walk.own]:
        columns = [column for column, names in stop.columns.items() if wanted & set(names)]
        if columns and not walk.tables[stop.table].is_view:
            found.setdefault(stop.table, []).extend(columns)
    return tuple(Hold(table, tuple(dict.fromkeys(columns))) for table, columns in found.items())


# Which are in force.


def listing(company: Company, *, everything: bool = False) -> list[Placed]:
    """The holds in force, by their ends; with `everything` those that are over too."""
    query = select(holds).order_by(holds.c.until, holds.c.id)
    if not everything:
        query = query.where(holds.c.ended.is_(None), holds.c.until > company.clock().isoformat())
    with company.state.read() as connection:
        return [_read(company, row) for row in connection.execute(query)]


def of(company: Company, people: Sequence[Person]) -> dict[Person, tuple[Placed, ...]]:
    """The holds in force on each of these people, erased or not; whoever has none is missing.

    A person who was erased has no pseudonym any more, so theirs are found by unsealing all; anybody else's by theirs.
    """
    found: dict[Person, dict[str, Placed]] = {}
    in_force = (holds.c.ended.is_(None), holds.c.until > company.clock().isoformat())
    with company.state.read() as connection:
        if not people or connection.execute(select(holds.c.id).where(*in_force).limit(1)).first() is None:
            return {}
    whos = {str(person): person for person in people}
    by_pseudonym = {pseudonym: whos[who] for who, pseudonym in company.pseudonyms.find(list(whos)).items()}
    pseudonyms = list(by_pseudonym)
    with company.state.read() as connection:
        for start in range(0, len(pseudonyms), _CHUNK):
            part = pseudonyms[start : start + _CHUNK]
            for row in connection.execute(select(holds).where(*in_force, holds.c.pseudonym.in_(part))):
                found.setdefault(by_pseudonym[row.pseudonym], {})[row.id] = _read(company, row)
    gone = company.pseudonyms.erased(dict.fromkeys(whos, ()))
    for placed in listing(company) if gone else ():
        if placed.person is not None and str(placed.person) in gone:
            found.setdefault(placed.person, {})[placed.id] = placed
    return {person: tuple(ids[id] for id in sorted(ids)) for person, ids in found.items()}


def purposes_of(placed: Iterable[Placed]) -> dict[str, set[str]]:
    """For each held data the purposes that hold it: nothing else may use it."""
    found: dict[str, set[str]] = {}
    for one in placed:
        for data in one.data:
            found.setdefault(data, set()).add(one.purpose)
    return found


# Their end.


def end(company: Company, id: str, by: str) -> Placed:
    """A hold is over from now on, because somebody says so; what it kept goes when `kept work` comes by (`let_go`)."""
    found = beginning(company, id)
    if found.ended is not None or found.until <= company.clock():
        raise KeptError("that hold is over already", where=found.id)
    now = company.clock()
    company.ledger.append_many([_set(company, found), _end(company, found, by)])
    with company.state.write() as connection:
        connection.execute(
            update(holds).where(holds.c.id == found.id, holds.c.ended.is_(None)).values(until=now.isoformat())
        )
    return beginning(company, found.id)


def over(company: Company) -> list[Placed]:
    """The holds whose end has come and that still know whom they are about."""
    query = select(holds).where(holds.c.ended.is_(None), holds.c.until <= company.clock().isoformat())
    with company.state.read() as connection:
        return [_read(company, row) for row in connection.execute(query.order_by(holds.c.until, holds.c.id))]


def note_ends(company: Company, placed: Sequence[Placed]) -> None:
    """Put on the ledger, once for each, that holds were set and are over."""
    company.ledger.append_many(
        [item for one in placed for item in (_set(company, one), _end(company, one, "kept"))]
    )


def let_go(company: Company, connection: Connection, placed: Sequence[Placed]) -> list[str]:
    """Holds are over: whom they were about, and why, is destroyed; the ids of those that this call ended."""
    now, ended = company.clock().isoformat(), list[str]()
    ids = [one.id for one in placed]
    for start in range(0, len(ids), _CHUNK):
        chosen = (holds.c.id.in_(ids[start : start + _CHUNK]), holds.c.ended.is_(None))
        over = update(holds).where(*chosen).values(ended=now, who=None, words=None)
        ended += connection.scalars(over.returning(holds.c.id))
    return ended


def beginning(company: Company, start: str) -> Placed:
    """The hold whose id begins so; KeptError where that is none, or several."""
    with company.state.read() as connection:
        found = connection.execute(
            select(holds).where(holds.c.id.startswith(start, autoescape=True)).limit(2)
        ).all()
    if len(found) != 1:
        said = "there is no such hold" if not found else "several holds begin so"
        raise KeptError(said, help="`kept hold list --all` names them")
    return _read(company, found[0])


def told(policy: Policy, placed: Iterable[Placed]) -> list[dict[str, object]]:
    """Holds as the outcome of a request notes them: purpose, data, and the last day (ISO 8601)."""
    return [
        {"purpose": one.purpose, "data": list(one.data), "until": one.last_day(policy).isoformat()}
        for one in placed
    ]


def _set(company: Company, placed: Placed) -> tuple[str, Entry]:
    entry: Entry = {
        "act": "hold",
        "hold": placed.id,
        "person": placed.pseudonym,
        "purpose": placed.purpose,
        "data": list(placed.data),
        "until": placed.last_day(company.policy).isoformat(),
        "by": placed.by,
        "policy": company.policy.source.digest,
    }
    return f"hold {placed.id}", entry


def _end(company: Company, placed: Placed, by: str) -> tuple[str, Entry]:
    return f"hold end {placed.id}", {
        "act": "hold end",
        "hold": placed.id,
        "person": placed.pseudonym,
        "by": by,
    }


def _read(company: Company, row: Row[tuple[object, ...]]) -> Placed:
    return Placed(
        row.id,
        row.pseudonym,
        row.purpose,
        tuple(row.data.split()),
        row.set_by,
        datetime.fromisoformat(row.since),
        datetime.fromisoformat(row.until),
        datetime.fromisoformat(row.ended) if row.ended else None,
        person_of(company.policy, company.keys.unseal("hold", row.who).decode()) if row.who else None,
        company.keys.unseal("hold", row.words).decode() if row.words else None,
    )


def erased_meanwhile(company: Company, placed: Sequence[Placed]) -> set[Person]:
    """Which of the people of these holds were erased, so that only holds kept what is left of them.

    By the key and, where they are known by something, by that too: what stands behind a key may be somebody else by
    now.
    """
    people = {one.person for one in placed if one.person is not None}
    known: dict[str, list[str]] = {}
    for kind in {person.kind for person in people}:
        values = known_of(company, kind, [person.key for person in people if person.kind == kind])
        known |= {
            str(Person(kind, key)): [value for value in found.values() if not value.startswith(PREFIX)]
            for key, found in values.items()
        }
    gone = company.pseudonyms.erased(known)
    return {person for person in people if (one := gone.get(str(person))) is not None and one.surely}
