"""An e-mail that came in, read without trusting a byte of it.

Only the text is taken, out of at most LIMIT bytes; attachments are counted, never decoded, opened or kept. The reader
is our own and small: each part is looked at once, to a fixed depth, so that the time grows with the bytes and no
faster. The sender's address is a claim, and proves nothing about who wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from kept.errors import KeptError
from kept.mail.html import text_of
from kept.mail.mime import HIDDEN, TEXT, Reading, decoded, split, words

LIMIT: Final = 1 << 20  # bytes read of a message; text stands at its beginning, attachments after it
_BLANK_LINES: Final = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)+")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_ANGLED: Final = re.compile(r"[^<>]*<([^<>]*)>\s*")
_ADDRESS: Final = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[^\s@<>,;:\"()\[\]\\]{1,190}")
_ID: Final = re.compile(rb"<([!-;=?-~]{1,250})>")


@dataclass(frozen=True)
class Message:
    """What is left of an e-mail. `sender` is a bare address in small letters, or None; never proof of identity.

    `automatic` says why this was not written by a person just now (a list, a program's answer, a bounce), so that no
    letter is sent in return: None for a person's. `date` is UTC, as the sender says. `truncated`: there was more text
    or more message than is read.
    """

    sender: str | None
    subject: str
    text: str
    message_id: str | None
    in_reply_to: str | None
    date: datetime | None
    automatic: str | None
    attachments_dropped: int
    truncated: bool


class NoMessage(KeptError):
    """What came in is not an e-mail."""


def parse(raw: bytes, envelope: str | None = None) -> Message:
    """Read an e-mail, of which LIMIT bytes are looked at.

    `envelope` is the sender the mail server was told, "" for none (RFC 5321 §4.5.5), where the caller knows it.
    Takes anything with at least one header and raises NoMessage for the rest: never another error, whatever the bytes.
    """
    whole = raw[:LIMIT].replace(b"\r\n", b"\n")
    fields, body = split(whole)
    if not fields:
        raise NoMessage(
            "what came in is not an e-mail: it has no header", help="hand over a whole message, RFC 5322"
        )
    reading = Reading()
    reading.part(fields, body, 0)
    plain = reading.plain if reading.plain.strip() else text_of(reading.html)
    text = _BLANK_LINES.sub("\n\n", HIDDEN.sub("", plain.replace("\r", "\n"))).strip()
    return Message(
        sender=_sender(fields),
        subject=words(fields.get(b"subject", b""))[:200],
        text=text[:TEXT],
        message_id=_id(fields, b"message-id"),
        in_reply_to=_id(fields, b"in-reply-to"),
        date=_date(fields),
        automatic=automatic(fields, envelope),
        attachments_dropped=reading.dropped,
        truncated=len(raw) > LIMIT or len(text) > TEXT or reading.cut,
    )


def automatic(fields: Mapping[bytes, bytes], envelope: str | None) -> str | None:
    """Why a message is a program's: RFC 3834 §2, RFC 2919, RFC 3464; None when it seems to be a person's."""

    def value(name: bytes) -> str:
        return fields.get(name, b"").decode("ascii", "replace").strip().lower()

    sender = _sender(fields) or ""
    if value(b"auto-submitted").split(";")[0].strip() not in ("", "no"):
        return "it says that a program sent it (Auto-Submitted)"
    if (
        envelope == ""
        or value(b"return-path") == "<>"
        or value(b"content-type").startswith("multipart/report")
    ):
        return "it reports on another message (a bounce)"
    if any(name in fields for name in (b"list-id", b"list-unsubscribe", b"list-post", b"mailing-list")):
        return "it came through a mailing list"
    if value(b"precedence") in ("bulk", "junk", "list", "auto_reply"):
        return "it is a mass mailing (Precedence)"
    if any(
        name in fields for name in (b"x-autoreply", b"x-autorespond", b"x-auto-reply", b"x-failed-recipients")
    ):
        return "it is an answer by a program"
    if sender.partition("@")[0] in ("mailer-daemon", "postmaster", "noreply", "no-reply", "donotreply"):
        return "nobody reads its sender's mail"
    return None


def _sender(fields: Mapping[bytes, bytes]) -> str | None:
    """The one address in From; None where there is none, or several."""
    text = _QUOTED.sub("", HIDDEN.sub("", decoded(fields.get(b"from", b""), "utf-8")))
    outside, depth = (
        [],
        0,
    )  # of comments, which may stand in one another: counted, as a recursion could be exhausted
    for character in text:
        depth += (character == "(") - (character == ")" and depth > 0)
        if depth == 0 and character != ")":
            outside.append(character)
    said = [one for one in "".join(outside).split(",") if one.strip()]
    if len(said) != 1:
        return None
    found = _ANGLED.fullmatch(said[0])
    address = (found[1] if found else said[0]).strip()
    return address.lower() if _ADDRESS.fullmatch(address) and len(address) <= 254 else None


def _id(fields: Mapping[bytes, bytes], name: bytes) -> str | None:
    found = _ID.search(fields.get(name, b""))
    return found[1].decode("ascii") if found else None


def _date(fields: Mapping[bytes, bytes]) -> datetime | None:
    try:
        said = parsedate_to_datetime(fields.get(b"date", b"").decode("ascii", "replace")[:100])
        return (said if said.tzinfo else said.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):  # the ways of the parser to say it is no date
        return None
