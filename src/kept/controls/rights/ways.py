"""Whether the ways to ask that a policy names (`through`) are open: what was looked at, and what no program can see.

`kept` is only what was tried just now, or has brought requests: the mailbox of the published address opens and is
emptied, the form is served where people are sent, the company's own application has asked for somebody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final, Generic, TypeVar

import httpx
from sqlalchemy import func, select

from kept.company import Company
from kept.controls.rights import intake
from kept.controls.rights.declare import Right
from kept.errors import KeptError
from kept.evidence.proof import Proof
from kept.mail.imap import ImapMailbox
from kept.state.tables import messages, requests

UNREAD: Final = timedelta(days=1)  # how long a mailbox may go unread; the shortest promise is "at once"
SECONDS: Final = 10.0  # until a page that doesn't answer is given up
JUST: Final = 20.0  # seconds for which what was seen counts as seen now

T = TypeVar("T")

Measured = dict[str, int | float | str | bool | None]


def prove(company: Company, right: Right) -> list[Proof]:
    """One proof for each way, in the order of the policy; ways that bring the same are looked at once."""
    looks = dict.fromkeys(_LOOKS[str(way)] for way in right.through)
    return [look(company, str(right.name)) for look in looks]


def published(company: Company) -> list[str]:
    """Where people are to write: the first e-mail address of each controller on the policy page."""
    found = (
        next((str(c["email"]) for c in party.contacts.values() if "email" in c), None)
        for party in company.policy.us()
    )
    return list(dict.fromkeys(address for address in found if address is not None))


def _email(company: Company, verb: str) -> Proof:
    """Whether mail to the published address is read: by Kept out of its mailbox, or by a pipe nobody can look into."""
    addresses = published(company)
    if not addresses:
        says = "People are to ask by e-mail, and the policy names no address of ours."
        return Proof("probe", "broken", says, {"addresses": 0})
    measured: Measured = {"addresses": len(addresses), "mailbox": bool(company.settings.get("KEPT_IMAP_URL"))}
    if not measured["mailbox"]:
        return _piped(company, addresses, measured)
    name, problem = _opened(company.settings["KEPT_IMAP_URL"])
    if problem is not None:
        says = f"The mailbox for requests can't be opened: {problem}."
        return Proof("probe", "unproven", says, measured | {"opens": False})
    last, now = intake.looked(company, name), company.clock()
    measured |= {"opens": True, "emptied": last.isoformat() if last is not None else None}
    if last is None or now - last > UNREAD:
        when = f"since {last:%Y-%m-%d %H:%M} UTC" if last is not None else "yet"
        says = f"The mailbox for requests opens, and nobody emptied it {when}: run `kept serve` or `kept mail fetch`."
        return Proof("probe", "unproven", says, measured)
    user = name.rpartition("@")[0].casefold()
    other = [one for one in addresses if one.casefold() != user]
    measured["of_another_user"] = len(other)
    if other:
        says = (
            f"The mailbox for requests opens and is emptied. That mail to {', '.join(other)} comes there can't be seen "
            "from here: its user has another name."
        )
        return Proof("probe", "unproven", says, measured)
    says = f"The mailbox of {', '.join(addresses)} opens, and was emptied last on {last:%Y-%m-%d %H:%M} UTC."
    return Proof("probe", "kept", says, measured)


def _piped(company: Company, addresses: list[str], measured: Measured) -> Proof:
    with company.state.read() as connection:
        taken, last = connection.execute(select(func.count(), func.max(messages.c.at))).one()
    measured |= {"taken": taken, "last": last}
    to = ", ".join(addresses)
    if not taken:
        says = (
            f"What is written to {to} reaches nobody Kept knows of: set KEPT_IMAP_URL, or have your mail server hand "
            "it to `kept mail receive`."
        )
        return Proof("measure", "unproven", says, measured)
    says = (
        f"{taken} messages came from a mail server, the last on {last[:10]}; whether all to {to} do can't be seen from "
        "here."
    )
    return Proof("measure", "unproven", says, measured)


def _account(company: Company, verb: str) -> Proof:
    """Whether the company's own application asks: its requests are the only sign of it that Kept has."""
    chosen = (requests.c.verb == verb) & (requests.c.channel == "account")
    with company.state.read() as connection:
        number, last = connection.execute(
            select(func.count(), func.max(requests.c.received)).where(chosen)
        ).one()
    is_open = bool(company.settings.get("KEPT_API_TOKEN"))
    measured: Measured = {"api": is_open, "requests": number, "last": last}
    if not is_open:
        says = "The API is closed, so your application can't ask for anybody: set KEPT_API_TOKEN."
        return Proof("measure", "unproven", says, measured)
    if not number:
        says = "The API is open, and no such request has come from your application yet."
        return Proof("measure", "unproven", says, measured)
    says = f"{number} requests came from people logged in to your application, the last on {last[:10]}."
    return Proof("measure", "kept", says, measured)


def _form(company: Company, verb: str) -> Proof:
    """Whether the form answers at the address that people are sent to."""
    missing = [name for name in ("KEPT_PUBLIC_URL", "KEPT_SMTP_URL") if not company.settings.get(name)]
    if missing:
        says = f"The form is closed: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set."
        return Proof("probe", "unproven", says, {"set": False})
    status, text = _answer(f"{company.public_url}/ask")
    if status is None:
        says = f"The form doesn't answer at KEPT_PUBLIC_URL ({text}): run `kept serve` behind it."
        return Proof("probe", "unproven", says, {"set": True, "answers": False})
    offered = status == 200 and f'name="verb" value="{verb}"' in text
    measured: Measured = {"set": True, "answers": True, "status": status, "offered": offered}
    if not offered:
        says = f"What answers at KEPT_PUBLIC_URL is no form that offers `{verb}` (HTTP {status})."
        return Proof("probe", "unproven", says, measured)
    return Proof("probe", "kept", f"The form is served where people are sent, and offers `{verb}`.", measured)


def _opened(url: str) -> tuple[str, str | None]:
    """The name of a mailbox that was opened just now, or what stands in the way."""

    def look() -> tuple[str, str | None]:
        try:
            with ImapMailbox(url) as mailbox:
                return mailbox.name, None
        except KeptError as wrong:
            return "", wrong.message

    return _MAILBOXES.seen(url, look)


def _answer(url: str) -> tuple[int | None, str]:
    """Status and text of a page of ours; no status, and the sort of error, where none answers."""

    def look() -> tuple[int | None, str]:
        try:
            answer = httpx.get(url, timeout=SECONDS, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL) as wrong:
            return None, type(wrong).__name__
        return answer.status_code, answer.text

    return _PAGES.seen(url, look)


class Recent(Generic[T]):
    """What was seen a moment ago: a board asks for every right, and a server that is down takes its time each time."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, T]] = {}

    def seen(self, what: str, look: Callable[[], T]) -> T:
        """What a look found less than JUST seconds ago, else finds now."""
        last = self._found.get(what)
        if last is None or time.monotonic() - last[0] > JUST:
            found = look()
            last = time.monotonic(), found
            self._found = {what: last}
        return last[1]


_MAILBOXES: Final = Recent[tuple[str, str | None]]()
_PAGES: Final = Recent[tuple[int | None, str]]()


def _by_staff(company: Company, verb: str) -> Proof:
    """By phone or post no program is asked: staff enter what comes in."""
    contacts = [c for party in company.policy.us() for c in party.contacts.values()]
    measured: Measured = {"contacts": sum("phone" in c or "post" in c for c in contacts)}
    says = "What comes by phone or post a member of staff enters (`kept request`): whether they do no program sees."
    return Proof("measure", "unproven", says, measured)


_LOOKS: Final[Mapping[str, Callable[[Company, str], Proof]]] = {
    "email": _email,
    "account": _account,
    "app": _account,
    "form": _form,
    "phone": _by_staff,
    "post": _by_staff,
}
