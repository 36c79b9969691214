"""The letter that asks for a second yes: one link, no advertising, its words kept and on the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select

from kept.company import Company
from kept.controls.choices.declare import Choice
from kept.controls.choices.guardians import guardians
from kept.controls.choices.messages.about import about
from kept.controls.choices.messages.words import Words, words
from kept.controls.choices.records import notices
from kept.controls.choices.records.history import Event
from kept.controls.rights import addresses
from kept.controls.rights.people import Person
from kept.controls.rights.places import BY
from kept.errors import KeptError, TransientError
from kept.mail.letter import Letter, checked
from kept.state.tables import choice_events, links, notes

CONFIRM_FOR: Final = timedelta(hours=48)
A_DAY: Final = 3  # letters to one person
PURPOSE: Final = "confirm"


@dataclass(frozen=True)
class Pending:
    """A yes that waits for its second: of the subject with this number, to what, in one record."""

    number: int
    who: Person
    record: str
    events: tuple[Event, ...]


def write(company: Company, pending: Pending, language: str | None = None) -> tuple[bool, str | None]:
    """Put the letter for a pending yes into the outbox, once; whether it goes out, and why not."""
    address = _address(company, pending)
    if address is None:
        return False, "there is no e-mail address of theirs"
    shown = what_was_shown(company, pending)
    spoken = words(language or str(shown.get("language", "")))
    title, text = _letter(company, pending, spoken, shown)
    notice = _notice(company, pending, spoken, shown, {"subject": title, "text": text})
    expires = company.clock() + CONFIRM_FOR
    token = company.links.make(PURPOSE, f"{pending.number} {pending.record}", expires)
    link = company.links.read(token, PURPOSE)
    until = spoken.minute(link.expires, company.policy.timezone)
    at = spoken.day(pending.events[0].at, company.policy.timezone)
    filled = text.replace("{day}", at).replace("{until}", until)
    letter = Letter(address, title, filled.replace("{link}", f"{company.public_url}/confirm/{token}"))
    with company.state.write() as connection:
        if _written(connection, pending):
            return True, None
        if _today(company, connection, pending.number) >= A_DAY:
            return False, f"{A_DAY} letters went to them today already"
        connection.execute(
            insert(links).values(
                id=link.id, request=pending.record, purpose=PURPOSE, expires=link.expires.isoformat()
            )
        )
        connection.execute(
            insert(notes).values(act=link.id, part="letter", counts=json.dumps({"notice": notice}))
        )
        id = sha256(f"{PURPOSE} {pending.number} {pending.record}".encode()).hexdigest()[:32]
        company.outbox.put(PURPOSE, letter, pending.record, id=id, connection=connection)
    on_ledger(company, link.id, pending, notice)
    return True, None


def described(company: Company, pending: Pending) -> list[tuple[str, str]]:
    """Title and text of what they said yes to: in the company's own words where it asked in those."""
    return _said(company, pending, what_was_shown(company, pending))


def decider(company: Company, who: Person, event: Event) -> Person | None:
    """The guardian who gave the first yes, where one has to."""
    choice = company.policy.section("choices").get(event.choice)
    if not isinstance(choice, Choice) or not choice.by:
        return None
    of = guardians(company, choice, [who]).get(who, {})
    return next((guard for guard, pseudonym in of.items() if pseudonym == event.by), None)


def what_was_shown(company: Company, pending: Pending) -> Mapping[str, Any]:
    """What the first yes answered to; empty where nobody kept it."""
    notice = pending.events[0].notice
    return (notices.shown(company, notice) or {}) if notice is not None else {}


def on_ledger(company: Company, link: str, pending: Pending, notice: str) -> None:
    """That a second yes was asked for, by which record and in which words; the same twice is one entry."""
    pseudonym = company.pseudonyms.of([str(pending.who)])[str(pending.who)]
    entry = {
        "act": "ask-twice",
        "record": pending.record,
        "link": link,
        "letter": notice,
        "person": pseudonym,
    }
    company.ledger.append_many([(f"ask-twice {link}", entry)])


def address_of(company: Company, who: Person) -> str | None:
    """The e-mail address on record of somebody; None where they have none, or what stands there is none.

    TransientError where their store doesn't answer.
    """
    found = addresses.of(company, [who]).get(who)
    if found is None:
        root = company.policy.root(who.kind)
        home = str(root.table).partition(".")[0] if root is not None and BY in root.known_by else ""
        if home in company.unreachable:
            raise TransientError("nobody can say their e-mail address now", where=home)
        return None
    try:
        return checked(found, "what stands as their address")
    except KeptError:  # what stands there is none
        return None


def _address(company: Company, pending: Pending) -> str | None:
    """Where the letter goes: to the person, or to the guardian who answered for them."""
    event = pending.events[0]
    to = decider(company, pending.who, event) if event.by is not None else None
    return address_of(company, to or pending.who)


def _choices(company: Company, pending: Pending, shown: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    names = list(dict.fromkeys(event.choice for event in pending.events))
    first = pending.events[0]
    known = dict(shown.get("choices", {}))
    missing = [name for name in names if name not in known]
    language = str(shown.get("language", "en"))
    known |= notices.describe(company.policy, missing, language=language, region=first.region)
    return {name: known[name] for name in names}


def _said(company: Company, pending: Pending, shown: Mapping[str, Any]) -> list[tuple[str, str]]:
    choices, words_ = _choices(company, pending, shown), shown.get("words", {})
    if words_.get("text"):
        return [(", ".join(one["title"] for one in choices.values()), str(words_["text"]))]
    found = []
    for name, one in choices.items():
        choice = company.policy.section("choices").get(name)
        told = words_.get("for", {}).get(name)
        if told is None and isinstance(choice, Choice):
            told = about(company.policy, choice, str(shown.get("language", "en"))).sentences
        found.append((one["title"], " ".join(told or (one["text"],))))
    return found


def _letter(company: Company, pending: Pending, spoken: Words, shown: Mapping[str, Any]) -> tuple[str, str]:
    """Subject and text, with {day}, {until} and {link} left to be filled in."""
    us = company.policy.us()
    name = us[0].label if us else company.policy.name
    asked = "\n\n".join(f"{title}\n{text}" for title, text in _said(company, pending, shown))
    kept = {name: f"{{{name}}}" for name in ("day", "until", "link")}
    return spoken("letter-subject", us=name), spoken("letter", us=name, choices=asked, **kept)


def _notice(
    company: Company, pending: Pending, spoken: Words, shown: Mapping[str, Any], text: Mapping[str, str]
) -> str:
    """Keep the words of the letter; what differs from person to person isn't among them."""
    policy = company.policy
    return notices.keep(
        company,
        {
            "kind": "letter",
            "language": spoken.language,
            "region": pending.events[0].region,
            "words": dict(text),
            "layout": None,
            "script": None,
            "policy": policy.source.digest,
            "version": policy.version.isoformat(),
            "controllers": [party.label for party in policy.us()],
            "choices": _choices(company, pending, shown),
        },
    )


def _written(connection: Connection, pending: Pending) -> bool:
    query = (
        select(links.c.id)
        .join(choice_events, choice_events.c.record == links.c.request)
        .where(
            links.c.request == pending.record,
            links.c.purpose == PURPOSE,
            choice_events.c.subject == pending.number,
        )
    )
    return connection.execute(query.limit(1)).first() is not None


def _today(company: Company, connection: Connection, number: int) -> int:
    """How many letters went to somebody within the last 24 hours."""
    theirs = select(choice_events.c.record).where(
        choice_events.c.subject == number, choice_events.c.state == "Requested"
    )
    recent = (company.clock() - timedelta(days=1) + CONFIRM_FOR).isoformat()
    query = select(func.count()).where(
        links.c.request.in_(theirs), links.c.purpose == PURPOSE, links.c.expires > recent
    )
    return int(connection.scalar(query) or 0)
