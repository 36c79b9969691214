"""Double opt-in: a yes that counts once its person has opened the link in a letter and pressed the button there.

What is kept: when and how they first said yes with the words of the form (the event and its notice), the words of the
letter (a notice too, on the ledger), and the second yes with its time. The letter has one link and no advertising. A
yes that is never confirmed comes to nothing by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, select, update

from kept.company import Company
from kept.controls.choices.asking import ask_of
from kept.controls.choices.declare import Choice
from kept.controls.choices.messages import whose
from kept.controls.choices.messages.letter import PURPOSE, Pending, address_of, decider, on_ledger, write
from kept.controls.choices.records import notices
from kept.controls.choices.records.book import WITH, New, Recorded, record
from kept.controls.choices.records.history import Event, Key, in_force, of_record
from kept.controls.choices.records.states import STANDING
from kept.errors import KeptError
from kept.evidence.links import Link, LinkWrong
from kept.state.tables import links

Over = Literal["refused", "changed", "gone"]


class Overtaken(KeptError):
    """A second yes that comes too late: since then they said no, what they said yes to changed, or nobody is there."""

    def __init__(self, why: Over) -> None:
        super().__init__("this yes can't be confirmed any more", help="it has to be given anew")
        self.why = why


@dataclass(frozen=True)
class Asked:
    """What became of a yes: how it is recorded, and whether a letter asks for the second one."""

    recorded: tuple[Recorded, ...]
    written: bool
    why_not: str | None = None


def ask(company: Company, new: New, *, language: str | None = None) -> Asked:
    """Record a yes; where it has to be given twice, write the letter that asks for the second.

    `language` of the letter: that of the notice where it is left out. KeptError, and nothing recorded, where a letter
    is needed and can't be sent: no mail server, no pages served, no address of theirs on record. No more than three
    letters a day go to one person; a yes beyond that is recorded, and not written about.
    """
    choice = company.policy.section("choices").get(new.choice)
    needed = (
        isinstance(choice, Choice)
        and new.answer == "yes"
        and not new.scope.startswith(WITH)
        and ask_of(company.policy, choice, new.region) == "double-opt-in"
    )
    if needed:
        _can_write(company)
        if new.decider is None and address_of(company, new.who) is None:
            raise KeptError(
                "there is no e-mail address of theirs to send the letter to",
                help="the kind of person needs `known-by: {email: …}`, and this one an address there",
                where=f"choices.{new.choice}",
            )
    done = tuple(record(company, [new]))
    waiting = [one for one in done if one.state == "Requested"]
    if not waiting:
        return Asked(done, written=False)
    number = whose.numbers(company, [new.who])[new.who]
    record_ = of_record(company, done[0].record)
    events = tuple(event for event in record_ if event.subject == number and _asks(event))
    return Asked(done, *write(company, Pending(number, new.who, done[0].record, events), language))


def read(company: Company, token: str) -> tuple[Link, Pending]:
    """What a link asks to confirm; LinkWrong where it is forged, expired or used, Overtaken where it is too late."""
    link = company.links.read(token, PURPOSE)
    number, _, record_ = link.subject.partition(" ")
    with company.state.read() as connection:
        row = connection.execute(select(links.c.request, links.c.used).where(links.c.id == link.id)).first()
    if row is None or row.request != record_:
        raise LinkWrong("forged")
    if row.used is not None:
        raise LinkWrong("used", link.subject)
    who = whose.person(company, int(number))
    if who is None:
        raise Overtaken("gone")
    events = [one for one in of_record(company, record_) if one.subject == int(number) and _asks(one)]
    with company.state.read() as connection:
        now = in_force(connection, [int(number)]).get(int(number), {})
    if all(_stands_since(now, one) for one in events):
        raise LinkWrong("used", link.subject)  # by another letter about the same
    left = tuple(one for one in events if not _no_since(now, one))
    if not left:
        raise Overtaken("refused")
    meant = tuple(one for one in left if _still(company, one))
    if not meant:
        raise Overtaken("changed")
    return link, Pending(int(number), who, record_, meant)


def follow(company: Company, token: str) -> list[Recorded]:
    """The button was pressed: the second yes, recorded in the transaction that marks the link used."""
    link, pending = read(company, token)
    letter = str(company.state.notes(link.id)["letter"]["notice"])
    now = company.clock()

    def use(connection: Connection) -> None:
        marked = connection.execute(
            update(links).where(links.c.id == link.id, links.c.used.is_(None)).values(used=now.isoformat())
        )
        if marked.rowcount != 1:
            raise LinkWrong("used", link.subject)

    given = [
        New(
            pending.who,
            event.choice,
            "yes",
            "confirmed",
            event.scope,
            at=now,
            notice=event.notice or letter,
            region=event.region,
            by=event.by,
            record=link.id,
            decider=decider(company, pending.who, event),
        )
        for event in pending.events
    ]
    done = record(company, given, along=use)
    on_ledger(company, link.id, pending, letter)
    return done


def _can_write(company: Company) -> None:
    missing = [name for name in ("KEPT_SMTP_URL", "KEPT_PUBLIC_URL") if not company.settings.get(name)]
    if missing:
        raise KeptError(
            "a yes that has to be confirmed needs a letter with a link, and none can be sent",
            help=f"set {' and '.join(missing)}",
        )


def _asks(event: Event) -> bool:
    return event.answer == "yes" and event.state == "Requested"


def _stands_since(now: Mapping[Key, Event], event: Event) -> bool:
    last = now.get((event.choice, event.scope))
    return last is not None and last.state in STANDING and last.number > event.number


def _no_since(now: Mapping[Key, Event], event: Event) -> bool:
    last = now.get((event.choice, event.scope))
    return last is not None and last.number > event.number and last.is_against


def _still(company: Company, event: Event) -> bool:
    """Whether the choice is there, and about what it was when no notice says what it was about."""
    choice = company.policy.section("choices").get(event.choice)
    if not isinstance(choice, Choice):
        return False
    described_ = notices.describe(company.policy, [event.choice], language="en", region=event.region)
    return event.notice is not None or described_[event.choice]["meaning"] == event.meaning
