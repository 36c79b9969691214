"""Leaving a kind of message by one click (RFC 8058): the headers of a letter, and what a click does.

The link says which choice it takes back, and of whom by a number of Kept's own. Mailbox providers follow it with a
POST, without log-in, cookie or page; whoever merely opens it sees a button. Both do the same, once or more often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from kept.company import Company
from kept.controls.choices.declare import Choice
from kept.controls.choices.messages import whose
from kept.controls.choices.records.book import New, record, scopes
from kept.controls.choices.records.history import current
from kept.controls.purposes.declare import Purpose
from kept.controls.rights.people import Person
from kept.errors import KeptError

LEAVE_FOR: Final = timedelta(days=731)  # two years
PURPOSE: Final = "leave"
CHANNEL: Final = "email"
ONE_CLICK: Final = "List-Unsubscribe=One-Click"


@dataclass(frozen=True)
class Leaving:
    """What a link takes back, and of whom; both empty where nothing is left to take back."""

    who: Person | None
    choice: Choice | None
    scope: str = ""


def headers(company: Company, who: Person, purpose: str) -> dict[str, str]:
    """The two headers of a letter to somebody, to be signed under DKIM; none for what is sent without a choice.

    KeptError for an unknown purpose, one that sends no e-mail, and where no pages are served.
    """
    return headers_of(company, [who], purpose)[who]


def headers_of(company: Company, whos: Sequence[Person], purpose: str) -> dict[Person, dict[str, str]]:
    """The same for many people, each their own."""
    place = taken_back(company, purpose)
    if place is None:
        return {who: {} for who in whos}
    if not company.public_url:
        raise KeptError("nobody could follow the link: no pages are served", help="set KEPT_PUBLIC_URL")
    expires = company.clock() + LEAVE_FOR
    return {
        who: {
            "List-Unsubscribe": f"<{company.public_url}/leave/{_token(company, number, place, expires)}>",
            "List-Unsubscribe-Post": ONE_CLICK,
        }
        for who, number in whose.numbers(company, whos).items()
    }


def taken_back(company: Company, purpose: str) -> tuple[str, str] | None:
    """Which choice, in which scope, a leave from a purpose's letters takes back; None where none is behind it.

    Of several the one that the fewest other purposes wait for: a leave takes as little along as it can.
    """
    purposes = [one for one in company.policy.section("purposes").values() if isinstance(one, Purpose)]
    entry = next((one for one in purposes if one.name == purpose), None)
    if entry is None:
        raise KeptError(f"no purpose `{purpose}` is declared", where="purposes")
    if CHANNEL not in map(str, entry.sends):
        raise KeptError(f"`{purpose}` sends no e-mail", help="only letters have headers", where=entry.id)
    if not entry.choice:
        return None
    name = min(entry.choice, key=lambda name: sum(name in one.choice for one in purposes))
    choice = company.policy.section("choices")[name]
    assert isinstance(choice, Choice)
    return str(name), {"channel": CHANNEL, "purpose": purpose}.get(str(choice.each), "")


def read(company: Company, token: str) -> Leaving:
    """What a link takes back; LinkWrong when it is forged or too old."""
    number, _, place = company.links.read(token, PURPOSE).subject.partition(" ")
    who = whose.person(company, int(number))
    for choice in company.policy.section("choices").values():
        if isinstance(choice, Choice):
            for scope in scopes(company, choice):
                if _place(str(choice.name), scope) == place:
                    return Leaving(who, choice, scope)
    return Leaving(who, None)


def leave(company: Company, token: str, way: str = "one-click") -> Leaving:
    """Take the choice back at once; the same again changes nothing. LinkWrong when the link is forged or too old."""
    leaving = read(company, token)
    if leaving.who is None or leaving.choice is None:
        return leaving
    who, name = leaving.who, str(leaving.choice.name)
    now = current(company, [who]).get(who, {}).get((name, leaving.scope))
    if now is None or not now.is_against or now.is_automatic:
        same = (
            f"{PURPOSE} {token} {now.number if now is not None else 0}"  # two clicks at once are one record
        )
        id = sha256(same.encode()).hexdigest()[:32]
        record(company, [New(who, name, "no", way, leaving.scope, record=id)])
    return leaving


def _token(company: Company, number: int, place: tuple[str, str], expires: datetime) -> str:
    return company.links.make(PURPOSE, f"{number} {_place(*place)}", expires)


def _place(choice: str, scope: str) -> str:
    """A choice and its scope, short enough for a link whatever their names."""
    return sha256(f"{choice}\n{scope}".encode()).hexdigest()[:16]
