"""Cases that Kept keeps: opened with a reason, for one member of staff by name, about one person, over by themselves.

Such a case is on the ledger before anybody can use it. Who it is about, and why it was opened, is sealed, and destroyed
when it is over.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, insert, select, update

from kept.company import Company
from kept.controls.purposes.cases import rows
from kept.controls.rights.people import Person, person_of
from kept.errors import KeptError, StoreError
from kept.evidence.entry import Entry
from kept.policy.facts import Link
from kept.state.uses import cases

KEPT: Final = "case"  # what stands before the colon of a case that Kept keeps
USUAL: Final = timedelta(days=2)
LONGEST: Final = timedelta(days=30)
ITSELF: Final = "kept"  # who closes a case that ends by itself
ERASED: Final = "erasure"
_SEAL: Final = "case"
_CHUNK: Final = 500  # values bound in one statement


@dataclass(frozen=True)
class Kept:
    """A case that Kept keeps. `person` and `why` are None once it is over, for then nobody needs to know any more."""

    id: str
    link: str
    pseudonym: str
    role: str
    staff: str
    ticket: str | None
    opened: datetime
    opened_by: str
    until: datetime
    closed: datetime | None
    closed_by: str | None
    person: Person | None = field(default=None, repr=False)
    why: str | None = field(default=None, repr=False)

    @property
    def case(self) -> str:
        """How it is named where a use is asked for."""
        return f"{KEPT}:{self.id}"


def open_case(
    company: Company,
    link: str,
    person: Person,
    staff: str,
    why: str,
    by: str,
    *,
    ticket: str | None = None,
    lasts: timedelta = USUAL,
) -> Kept:
    """Open a case of a link (`error`) about a person, for `staff` (`engineer:4`); durable, and on the ledger.

    Tied to a `ticket`, a row of a link with a staff end (`ticket:12`), it is over when that is, and in any case after
    `lasts`, 30 days at most. KeptError says what is wrong; StoreError that the ticket can't be looked at.
    """
    declared = _declared(company, link)
    role, key = _assigned(company, declared, staff)
    roots = {root.name for at in declared.between.values() if (root := company.policy.root(str(at.kind)))}
    if person.kind not in roots:
        raise KeptError(f"`{link}` is about no `{person.kind}`", where="WHO")
    if not why.strip() or len(why) > 2000:
        raise KeptError("a case has a reason, of 2,000 characters at most", where="--why")
    if not by.strip() or len(by) > 200:
        raise KeptError("somebody opens it, by name", where="--by")
    if not timedelta() < lasts <= LONGEST:
        raise KeptError(
            f"a case is open for {LONGEST.days} days at most", help="open another one then", where="--until"
        )
    now = company.clock()
    if ticket is not None:
        _refuse_ticket(company, ticket, person, now)
    pseudonym = company.pseudonyms.of([str(person)])[str(person)]
    made = Kept(
        uuid.uuid4().hex, link, pseudonym, role, key, ticket, now, by, now + lasts, None, None, person, why
    )
    entry: Entry = {
        "act": "case",
        "case": made.id,
        "link": link,
        "person": pseudonym,
        "role": role,
        "staff": key,
        "ticket": rows.named(company, ticket) if ticket is not None else None,
        "until": made.until.isoformat(),
        "by": by,
        "policy": company.policy.source.digest,
    }
    company.ledger.append_many([(f"case {made.id}", entry)])
    with company.state.write() as connection:
        connection.execute(
            insert(cases).values(
                id=made.id,
                link=link,
                pseudonym=pseudonym,
                who=company.keys.seal(_SEAL, str(person).encode()),
                role=role,
                staff=key,
                ticket=ticket,
                words=company.keys.seal(_SEAL, why.encode()),
                opened=now.isoformat(),
                opened_by=by,
                until=made.until.isoformat(),
            )
        )
    if _erased(company, [made]):
        forget(company, [pseudonym])
        raise KeptError("they were erased at this moment", where="WHO")
    return made


def close(company: Company, start: str, by: str) -> Kept:
    """Close the case whose id begins so, from now on; KeptError where that is none, several, or over already."""
    with company.state.read() as connection:
        begins = select(cases).where(cases.c.id.startswith(start, autoescape=True)).limit(2)
        found = connection.execute(begins).all() if start else []
    if len(found) != 1:
        said = "there is no such case" if not found else "several cases begin so"
        raise KeptError(said, help="`kept case list --all` names them")
    id = found[0].id
    if not _close(company, [cases.c.id == id], by):
        raise KeptError("that case is over already", where=id)
    finish(company)
    closed = of_id(company, id)
    assert closed is not None
    return closed


def end_due(company: Company) -> int:
    """Close every case whose end has come, and those whose ticket is over or whose person was erased; how many.

    Nobody could use them any more anyway; now who they were about is destroyed too. One whose ticket can't be looked at
    stays until its own end.
    """
    now = company.clock()
    done = _close(company, [cases.c.until <= now.isoformat()], ITSELF)
    open_ = listing(company)
    erased = _erased(company, open_)  # while one was being opened
    for start in range(0, len(erased), _CHUNK):
        part = [one.id for one in erased[start : start + _CHUNK]]
        done += _close(company, [cases.c.id.in_(part)], ERASED)
    for one in open_:
        if one.ticket is not None and one.person is not None:
            name, _, number = one.ticket.partition(":")
            try:
                row = rows.tie(company, name, number, one.person) if name in company.policy.links else None
            except StoreError:
                continue  # nobody can use it meanwhile, and it is looked at again
            if row is None or one.person not in row.people or row.why_over(now) == "the case is over":
                done += _close(company, [cases.c.id == one.id], ITSELF)
    finish(company)
    return done


def forget(company: Company, pseudonyms: Sequence[str]) -> None:
    """These people are erased: the cases about them are over, and nobody can tell from one whom it was about."""
    _close(company, [cases.c.pseudonym.in_(pseudonyms)], ERASED)
    finish(company)


def of_id(company: Company, id: str) -> Kept | None:
    """A case by its whole id, open or over."""
    if not id.isascii() or not id.isalnum():
        return None
    with company.state.read() as connection:
        row = connection.execute(select(cases).where(cases.c.id == id)).first()
    return _read(company, row) if row is not None and row.id == id else None


def listing(company: Company, *, everything: bool = False) -> list[Kept]:
    """The cases that nobody has closed, by their ends; with `everything` those that are over too."""
    query = select(cases).order_by(cases.c.until, cases.c.id)
    if not everything:
        query = query.where(cases.c.closed.is_(None))
    with company.state.read() as connection:
        return [_read(company, row) for row in connection.execute(query)]


def finish(company: Company) -> None:
    """Put on the ledger, once for each, that cases are over, and then destroy who they were about.

    A ticket whose key might say who that was stays as a number, as it stands on the ledger. What a crash leaves between
    the two is done by the next call.
    """
    left = (cases.c.closed.is_not(None), cases.c.who.is_not(None) | cases.c.words.is_not(None))
    with company.state.read() as connection:
        found = connection.execute(select(cases).where(*left)).all()
    entries: list[tuple[str, Entry]] = [
        (
            f"case end {row.id}",
            {"act": "case end", "case": row.id, "person": row.pseudonym, "by": row.closed_by},
        )
        for row in found
    ]
    company.ledger.append_many(entries)
    for start in range(0, len(found), _CHUNK):
        ids = [row.id for row in found[start : start + _CHUNK]]
        with company.state.write() as connection:
            connection.execute(update(cases).where(cases.c.id.in_(ids)).values(who=None, words=None))
            for row in found[start : start + _CHUNK]:
                if row.ticket is not None and (ticket := rows.named(company, row.ticket)) != row.ticket:
                    connection.execute(update(cases).where(cases.c.id == row.id).values(ticket=ticket))


def _erased(company: Company, some: Sequence[Kept]) -> list[Kept]:
    """Of these cases those about somebody whose pseudonym was destroyed, whoever has their key by now."""
    known = company.pseudonyms.find([str(one.person) for one in some if one.person is not None])
    return [one for one in some if one.person is not None and known.get(str(one.person)) != one.pseudonym]


def _close(company: Company, which: Sequence[ColumnElement[bool]], by: str) -> int:
    now = company.clock().isoformat()
    closing = update(cases).where(cases.c.closed.is_(None), *which).values(closed=now, closed_by=by)
    with company.state.write() as connection:
        return int(connection.execute(closing).rowcount)


def _declared(company: Company, link: str) -> Link:
    links = company.policy.links
    able = ", ".join(str(name) for name, one in links.items() if company.policy.is_case(one)) or "none"
    if link not in links or not company.policy.is_case(links[link]):
        raise KeptError("that is no link with a member of staff at one end", help=f"such links: {able}")
    if KEPT in links:
        raise KeptError(
            f"a link is called `{KEPT}`, so a case of Kept's own could be taken for one of its rows"
        )
    return links[link]


def _assigned(company: Company, link: Link, staff: str) -> tuple[str, str]:
    """The role and key of who gets the case."""
    role, _, key = staff.partition(":")
    kinds = [str(at.kind) for at in link.between.values() if company.policy.is_staff(str(at.kind))]
    able = sorted(set().union(*(rows.roles(company.policy, kind) for kind in kinds)))
    if role not in able:
        raise KeptError(f"a case of `{link.name}` is for {', '.join(able)}", where="--for")
    if not is_name(key):
        raise KeptError(f"a case is one member of staff's: {role}:KEY", where="--for")
    return role, key


def is_name(key: str) -> bool:
    """Whether a key can name a member of staff, on the ledger too."""
    return bool(key) and key == key.strip() and len(key) <= 100 and key.isprintable()


def _refuse_ticket(company: Company, ticket: str, person: Person, now: datetime) -> None:
    name, _, number = ticket.partition(":")
    link = company.policy.links.get(name)
    if link is None or not company.policy.is_case(link) or len(ticket) > rows.LONGEST:
        raise KeptError("a ticket is a row of a link with a staff end: LINK:KEY", where="--ticket")
    row = rows.tie(company, name, number, person)
    why = "there is no such ticket"
    if row is not None:
        why = row.why_over(now) or "" if person in row.people else "the ticket is about somebody else"
    if why:
        raise KeptError(why, where="--ticket")


def _read(company: Company, row: Row[Any]) -> Kept:
    opened = {"who": row.who, "words": row.words}
    said = {
        name: company.keys.unseal(_SEAL, sealed).decode() if sealed else None
        for name, sealed in opened.items()
    }
    return Kept(
        row.id,
        row.link,
        row.pseudonym,
        row.role,
        row.staff,
        row.ticket,
        datetime.fromisoformat(row.opened),
        row.opened_by,
        datetime.fromisoformat(row.until),
        datetime.fromisoformat(row.closed) if row.closed else None,
        row.closed_by,
        person_of(company.policy, said["who"]) if said["who"] else None,
        said["words"],
    )
