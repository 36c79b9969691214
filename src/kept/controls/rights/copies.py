"""A copy before an erasure (`offers: copy`): offered to whoever asks, and made before anything goes.

It is offered in the letter that asks whether it was they, and on the page behind its link: the erasure begins when its
person says so there, with the copy or without. Whoever has logged in to the company's own application is offered it
there, as the application says (`copy_offered`).
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from sqlalchemy import Connection, select

from kept.company import Company
from kept.controls.rights import intake, letters, register
from kept.controls.rights.desk import Desk
from kept.controls.rights.letters import ANSWER_DAYS
from kept.controls.rights.life import offers_copy
from kept.controls.rights.people import Person
from kept.controls.rights.register import Event, Request, Subject
from kept.state.tables import requests

ASKED = "copy-asked"
VERB = "access"
COPIES = ("access", "export")


def is_offered(company: Company, request: Request) -> bool:
    """Whether the person of an open request has to be offered a copy before it is carried out."""
    return request.is_open and offers_copy(company.policy, request.verb, request.subject(company).who.kind)


def of(company: Company, pseudonym: str) -> Request | None:
    """The copy that a person has asked for: one that is being made, else the newest that can still be downloaded."""
    query = (
        select(requests.c.id)
        .where(requests.c.pseudonym == pseudonym, requests.c.verb.in_(COPIES))
        .where(requests.c.state.in_(("open", "done")))
        .order_by(requests.c.received.desc())
    )
    with company.state.read() as connection:
        ids = list(connection.scalars(query))
    found = register.of_ids(company, ids)
    making = [one for one in found if one.is_open and one.awaits != "identity"]
    there = [one for one in found if is_there(company, one)]
    return next(iter((*making, *there)), None)


def offered(company: Company, connection: Connection, person: Person, verb: str, who: str) -> None:
    """Note that a person was offered a copy before their open request of this verb is done, and who did."""
    pseudonym = company.pseudonyms.of([str(person)], connection=connection)[str(person)]
    query = select(requests.c.id).where(
        requests.c.pseudonym == pseudonym, requests.c.verb == verb, requests.c.state == "open"
    )
    for id in connection.scalars(query).all():
        letters.copy_offered(company, connection, id, who)


def is_there(company: Company, request: Request) -> bool:
    """Whether a copy can be downloaded now."""
    if request.state != "done" or request.verb not in COPIES or request.closed is None:
        return False
    over = request.closed + timedelta(days=ANSWER_DAYS) <= company.clock()
    return not over and (company.answers / f"{request.id}.zip").is_file()


def ask(desk: Desk, request: Request) -> Request:
    """The copy of a person who wants one before they are erased, and has just proven who they are.

    Who has an open request for it joins that one; the erasure awaits its person as before.
    """
    company, subject = desk.company, request.subject(desk.company)
    person, address = subject.who, subject.reply
    for _ in range(2):  # the second time when it was asked twice at the same instant
        joined = register.open_of(company, VERB, [person]).get(person)
        if joined is not None and joined.awaits == "identity":
            joined = desk.met(joined, None, along=partial(_joined, company, joined, request))
        if joined is not None:
            return joined
        try:
            return desk.receive(
                VERB,
                Subject(person, address),
                "the person",
                channel="link",
                along=partial(_made, company, person, request),
            )
        except intake.Taken:
            continue
    return register.open_of(company, VERB, [person])[person]


def _made(company: Company, person: Person, request: Request, connection: Connection) -> None:
    intake.alone(company, person, connection)
    register.happen(company, connection, [request.id], Event(company.clock(), ASKED))


def _joined(company: Company, joined: Request, request: Request, connection: Connection) -> None:
    letters.void(company, connection, joined.id)
    register.happen(company, connection, [request.id], Event(company.clock(), ASKED))
