"""What is written to a person about their request, in plain words, and to a client whose request it is.

Each letter says what happened, what happens next, until when, and where to turn to. It is put into the outbox in the
same transaction that changes the request, so that neither is without the other. Nobody is written to where the
company has no way to send (`KEPT_SMTP_URL`) or the person left no address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from kept.company import Company
from kept.controls.rights import cases, register, tasks
from kept.controls.rights.life import client_of, offers_copy, right_of, stopped, weighs
from kept.controls.rights.register import Event, Request, Subject
from kept.errors import KeptError
from kept.laws.redress import redress
from kept.mail.letter import Letter
from kept.policy.wording import sentence_of, words_of
from kept.state.tables import events, links, requests

VERIFY_FOR = timedelta(days=7)
PAGE_FOR = timedelta(days=180)
ANSWER_DAYS = 30  # how long an answer can be downloaded
COPY_OFFERED = "offered-copy"  # the event that says so

ASKED: Mapping[str, str] = {
    "access": "to see what we hold about you",
    "export": "to take your data with you",
    "correct": "to correct what we hold about you",
    "erase": "to have your data erased",
    "restrict": "to restrict the use of your data",
    "object": "to object to the use of your data",
    "withdraw": "to withdraw your consent",
    "human-decision": "to have decisions about you taken by a person",
    "complain": "to complain about how we handle your data",
}

_OF_A_CLIENT: Mapping[str, str] = {
    "access": "to see what is held about them",
    "export": "to take their data with them",
    "correct": "to correct what is held about them",
    "erase": "to have their data erased",
    "restrict": "to restrict the use of their data",
    "object": "to object to the use of their data",
    "withdraw": "to withdraw their consent",
    "human-decision": "to have decisions about them taken by a person",
    "complain": "to complain about how their data is handled",
}

PASSED_ON = "We have passed your request on to them."
TO_BE_PASSED_ON = "A member of our staff passes your request on to them."

LetterWriter = Callable[[Company, Connection, Request, str], None]


def page_of(company: Company, request: str) -> str | None:
    """The address of a request's page, for its person; None where the company serves none."""
    if not company.public_url:
        return None
    token = company.links.make("page", request, company.clock() + PAGE_FOR)
    return f"{company.public_url}/request/{token}"


def received(
    company: Company, connection: Connection, awaits: str, verb: str, pairs: Sequence[tuple[str, Subject]]
) -> None:
    """Tell people that their requests came in, and what they have to do; pass on what is a client's."""
    for id, subject in pairs:
        passed_on = awaits == "client" and _pass_on(company, connection, verb, id, subject)
        if subject.reply is None or not company.can_write:
            continue
        if awaits == "identity":
            verify(company, connection, id, verb, subject.reply)
            if company.public_url and offers_copy(company.policy, verb, subject.who.kind):
                copy_offered(company, connection, id)
            continue
        told = {
            "confirmation": "Thank you, we have it. Before we begin, a member of our staff gets in touch with you, to "
            "make sure that it is you who asks.",
            "approval": "Thank you, we have it. A member of our staff looks at it first, then we do it.",
            "client": "We hold your data for another company and do with it as they instruct us, so it is they who "
            f"answer you. {PASSED_ON if passed_on else TO_BE_PASSED_ON}",
            "answer": "Thank you, we have it. A member of our staff will answer you.",
        }.get(awaits, "Thank you, we have it, and are working on it. We write to you when it is done.")
        _put(company, connection, "received", id, subject.reply, verb, told + _by(company, connection, id))


def verify(company: Company, connection: Connection, id: str, verb: str, address: str) -> None:
    """Ask the person, at the address on record, to say that it is they who asked: a link that works once.

    A link that was sent before for the same request works no more. Nothing is sent where no page is served.
    """
    if not company.public_url:
        return
    expires = company.clock() + VERIFY_FOR
    void(company, connection, id)
    token = company.links.make("verify", id, expires)
    link = company.links.read(token, "verify")
    connection.execute(
        insert(links).values(id=link.id, request=id, purpose="verify", expires=link.expires.isoformat())
    )
    text = (
        f"Somebody, we think you, asked us {ASKED[verb]}. We do nothing before we know that it was you.\n\n"
        f"If it was you, open this page and press the button on it. The link works once, until "
        f"{_day(company, expires)}:\n\n{company.public_url}/verify/{token}\n\n"
        "If it wasn't you, you need do nothing: nobody is told anything about you, nothing is changed, and the "
        "request lapses by itself."
    )
    right = right_of(company.policy, verb)
    if right is not None and right.offers == "copy":
        text += (
            "\n\nBefore anything of it is done you can have a copy of everything we hold about you. The page has a "
            "button for that too: press it first, and we do nothing else until you open the page again."
        )
    letter = Letter(address, f"{company.policy.name}: is it you who asked?", _signed(company, text))
    company.outbox.put("verify", letter, id, connection=connection)


def copy_offered(company: Company, connection: Connection, id: str, who: str | None = None) -> None:
    """Note, once, that the person was offered a copy before anything is done; `who` did, where no letter of ours."""
    noted = select(events.c.request).where(events.c.request == id, events.c.what == COPY_OFFERED)
    if connection.execute(noted).first() is None:
        register.happen(company, connection, [id], Event(company.clock(), COPY_OFFERED, who))


def void(company: Company, connection: Connection, id: str) -> None:
    """Links to say "it was me" that were sent for a request work no more."""
    connection.execute(
        update(links)
        .where(links.c.request == id, links.c.purpose == "verify", links.c.used.is_(None))
        .values(used=company.clock().isoformat())
    )


def joined(company: Company, connection: Connection, request: Request, address: str) -> None:
    """Tell somebody who asks again that it is under way already."""
    text = (
        "You asked us for the same once more. The request you made before is still open, so we go on with that one; "
        "you needn't do anything." + _by(company, connection, request.id)
    )
    _put(company, connection, "joined", request.id, address, request.verb, text)


def extended(company: Company, connection: Connection, request: Request, why: str) -> None:
    """Tell that it takes longer, and why (GDPR Art. 12(3))."""
    told = f"It takes us longer than we hoped, and we are sorry. The reason: {sentence_of(why)}"
    law = request.law or company.policy.laws[0]
    sentences = [told + _by(company, connection, request.id), *redress(law, request.region).sentences()]
    _to(company, connection, "extended", request, "\n\n".join(sentences))


def asked(company: Company, connection: Connection, request: Request, question: str) -> None:
    """Ask the person what exactly they mean."""
    text = (
        f"So that we do what you mean, please tell us:\n\n{question}\n\n"
        f"Please write to {contact(company)}. We go on as soon as we have your answer."
    )
    _to(company, connection, "asked", request, text)


def answered(company: Company, connection: Connection, request: Request, words: str) -> None:
    """The answer of a member of staff, in their words."""
    law = request.law or company.policy.laws[0]
    where = " ".join(redress(law, request.region).sentences())
    _to(
        company,
        connection,
        "answered",
        request,
        f"Our answer:\n\n{words}\n\nIf it doesn't satisfy you: {where}",
    )


def refused(
    company: Company, connection: Connection, request: Request, outcome: Mapping[str, str], words: str | None
) -> None:
    """Tell why it is refused, and where the person can go against that (GDPR Art. 12(4)).

    KeptError where the policy promises that it isn't refused for such a reason: then nothing is told or refused.
    """
    _may_be_refused(company, request, outcome["reason"])
    law = request.law or company.policy.laws[0]
    told = [f"We can't do what you asked, because {outcome['says']} ({outcome['article']})."]
    told += [words] if words else []
    told += ["If you think that is wrong, write to us. You can also go further:"]
    told += redress(law, request.region).sentences()
    _to(company, connection, "refused", request, "\n\n".join(told))


def _may_be_refused(company: Company, request: Request, reason: str) -> None:
    """Refuse to refuse what the policy gives without weighing: `always`, and a restriction during an open `case`."""
    policy, right = company.policy, right_of(company.policy, request.verb)
    if right is None or request.sealed is None or not weighs(policy, request.verb, reason):
        return
    subject = request.subject(company)
    always = stopped(policy, request.verb, subject.scope)
    if always:
        raise KeptError(
            f"an objection to {', '.join(f'`{name}`' for name in always)} is never weighed: the policy stops it, "
            "whatever the reason (GDPR Art. 21(3))",
            help="let it be carried out; about other uses of the data you can write to the person",
            where=request.id,
        )
    if right.case and cases.has_open(company, right.case, subject.who):
        raise KeptError(
            f"the policy gives `{request.verb}` while a case is open ({', '.join(right.case)}), and one is",
            help="let it be carried out; it can be lifted when the case is closed",
            where=request.id,
        )


def done(company: Company, connection: Connection, request: Request, outcome: Mapping[str, object]) -> None:
    """Tell that it is done, and what stays."""
    expires = company.clock() + timedelta(days=ANSWER_DAYS)
    where = (
        f"You can download it from the page of your request until {_day(company, expires)}; then we remove it."
        if company.public_url
        else "A member of our staff hands it over to you."
    )
    told = {
        "access": f"Everything we hold about you is put together. {where}",
        "export": f"Your data is ready to take with you. {where}",
        "correct": "It is corrected, and everybody who got the old from us was told.",
        "erase": "Your data is erased, we have looked afterwards that nothing is left, and everybody who got it from "
        "us was told.",
        "restrict": "The restriction holds from now on: your data may be stored, and used for nothing but what the law "
        "still allows. We write to you before that ends.",
        "object": "Your objection holds from now on.",
        "withdraw": "Your consent is withdrawn, from now on.",
        "human-decision": "It is on record from now on: a person decides what has legal or like effect on you.",
    }.get(request.verb, "It is done, and holds from now on.")
    if outcome.get("by_word"):
        told += " Where we can't look ourselves, at a partner of ours, they confirmed that it is gone."
    if request.channel == "link":
        told += " If you still want your data erased, open the link in our first letter once more when you have it."
    if outcome.get("stays"):
        told += " Some of it has to stay for a while: what, why and until when "
        told += "stands on the page of your request." if company.public_url else "you can ask us."
    _to(company, connection, "done", request, told)


def waiting(company: Company, connection: Connection, request: Request, until: datetime) -> None:
    """Tell that the person is gone from sight, and until when they can come back."""
    right = right_of(company.policy, request.verb)
    first = right is not None and right.offers == "copy"
    copy = " If you want a copy of it after all, come back, and ask for the copy first." if first else ""
    _to(
        company,
        connection,
        "waiting",
        request,
        f"Your data is out of use now. Until {_day(company, until - timedelta(seconds=1))} you can change your mind "
        f"on the page of your request, and everything comes back as it was.{copy} After that it is erased for good, "
        "and we write to you again.",
    )


def came_back(company: Company, connection: Connection, request: Request) -> None:
    """Tell that everything is as it was."""
    _to(
        company,
        connection,
        "came-back",
        request,
        "You changed your mind, and we are glad. Your data is back as it was.",
    )


def contact(company: Company) -> str:
    """Where people turn to: the first e-mail address of the company itself, else its name."""
    us = company.policy.us()
    found = (c["email"] for party in us for c in party.contacts.values() if "email" in c)
    return next(found, us[0].label if us else company.policy.name)


def _pass_on(company: Company, connection: Connection, verb: str, id: str, subject: Subject) -> bool:
    """Hand a request to the client whose data it is about (GDPR Art. 28(3)(e)); where no letter can, staff has to.

    Answers whether a letter does.
    """
    name = client_of(company.policy, subject.who.kind)
    assert name is not None
    client = company.policy.parties[name]
    address = next((contact["email"] for contact in client.contacts.values() if "email" in contact), None)
    now = company.clock()
    if address is None or not company.can_write:
        label = words_of(name)
        what, place = f"pass on `{verb}` (request {id})", f"a letter to {label}"
        tasks.give(company, id, place, [str(subject.who)], what, now + tasks.USUAL, connection)
        register.happen(company, connection, [id], Event(now, "to-pass-on", label))
        return False
    text = (
        f"A person whose data we hold for you asks {_OF_A_CLIENT[verb]}. It is for you to answer, and the clock is "
        f"running. Please tell us when you have answered.\n\nPerson: {subject.who}\nRequest: {id}"
        + _by(company, connection, id, "It is to be answered by {day}.")
    )
    if subject.reply:
        text += f"\nAddress on record: {subject.reply}"
    if subject.changes:
        text += "\n\nWhat is right:\n" + "\n".join(f"{column}: {given}" for column, given in subject.changes)
    if subject.scope:
        text += f"\n\nWhat it is about: {', '.join(subject.scope)}"
    if subject.words:
        text += f"\n\nIn their words:\n{subject.words}"
    letter = Letter(
        address, f"{company.policy.name}: a request that is yours to answer", _signed(company, text)
    )
    company.outbox.put("passed-on", letter, id, connection=connection)
    register.happen(company, connection, [id], Event(now, "passed-on", words_of(name)))
    return True


def _to(company: Company, connection: Connection, what: str, request: Request, text: str) -> None:
    if not company.can_write or request.sealed is None:
        return
    address = request.subject(company).reply
    if address is not None:
        _put(company, connection, what, request.id, address, request.verb, text)


def _put(
    company: Company, connection: Connection, what: str, id: str, address: str, verb: str, text: str
) -> None:
    page = page_of(company, id)
    body = f"You asked us {ASKED[verb]}.\n\n{text}"
    if page is not None:
        body += f"\n\nHow it stands, and what was done, you see here at any time:\n{page}"
    letter = Letter(address, f"{company.policy.name}: your request", _signed(company, body))
    company.outbox.put(what, letter, id, connection=connection)


def _by(
    company: Company, connection: Connection, id: str, says: str = "You have our answer by {day}."
) -> str:
    """Until when a request is answered; nothing while its clock stands still."""
    due = connection.execute(select(requests.c.due).where(requests.c.id == id)).scalar()
    if due is None:
        return ""
    last = datetime.fromisoformat(due) - timedelta(seconds=1)  # due is the midnight after the last day
    return " " + says.format(day=_day(company, last))


def _signed(company: Company, text: str) -> str:
    us = company.policy.us()
    name, address = us[0].label if us else company.policy.name, contact(company)
    turn = f"\n\nIf anything is unclear, write to {address}." if "@" in address else ""
    return f"Hello,\n\n{text}{turn}\n\n{name}\n"


def _day(company: Company, at: datetime) -> str:
    local = at.astimezone(company.policy.timezone)
    return f"{local.day} {local:%B %Y}"


def lifted(company: Company, connection: Connection, request: Request, address: str, why: str) -> None:
    """Tell that what they said no longer holds, and why: before it is so (GDPR Art. 18(3))."""
    text = (
        f"On {request.received:%Y-%m-%d} you asked us {ASKED[request.verb]}. From today that no longer holds. "
        f"The reason: {why}\n\nIf you don't agree, ask us again, or write to us."
    )
    letter = Letter(
        address, f"{company.policy.name}: what you asked us no longer holds", _signed(company, text)
    )
    company.outbox.put("lifted", letter, request.id, connection=connection)
