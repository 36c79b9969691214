"""A letter Kept sends to a person, as an e-mail that nobody's input can turn into another one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from kept.errors import KeptError

SUBJECT: Final = 200  # characters; a longer one is cut
ADDRESS: Final = 254  # characters, RFC 5321 §4.5.3.1.3 without the angle brackets
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BREAKS: Final = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")
_OURS: Final = [
    "to",
    "cc",
    "bcc",
    "from",
    "sender",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "return-path",
    "received",
    "auto-submitted",
    "x-auto-response-suppress",
]


@dataclass(frozen=True)
class Letter:
    """A letter to one person; KeptError for what can't be sent.

    `to` and `reply_to` are bare addresses; `text` is always there, `html` beside it. Line breaks and other
    control characters in the subject become spaces; in an address or a header they are refused.
    """

    to: str
    subject: str
    text: str
    html: str | None = None
    reply_to: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked(self.to, "the address of a letter")
        if self.reply_to is not None:
            checked(self.reply_to, "the address for answers to a letter")
        object.__setattr__(self, "subject", _BREAKS.sub(" ", self.subject).strip()[:SUBJECT])
        if not self.text.strip():
            raise KeptError("a letter has no text", help="say in plain text what its HTML says")
        for name, value in self.headers.items():
            reserved = name.lower() in _OURS or name.lower().startswith(("content-", "mime-", "resent-"))
            if reserved or not _NAME.fullmatch(name) or _CONTROL.search(value) or len(value) > 900:
                raise KeptError(
                    "a letter has a header that can't be sent",
                    help="a header is one line, and none of those that every letter has",
                )

    def message(self, sender: str, id: str, date: datetime) -> EmailMessage:
        """The letter as an e-mail, which programs are told not to answer (RFC 3834 §5).

        `id` becomes the Message-ID, at the sender's domain: a letter that had to be sent twice is one to its reader.
        """
        made = EmailMessage(policy=SMTP)
        made["From"] = _address(sender)
        made["To"] = _address(self.to)
        if self.reply_to is not None:
            made["Reply-To"] = _address(self.reply_to)
        made["Subject"] = self.subject
        made["Date"] = format_datetime(date)
        made["Message-ID"] = f"<{id}@{_address(sender).domain.encode('idna').decode('ascii')}>"
        made["Auto-Submitted"] = "auto-generated"
        made["X-Auto-Response-Suppress"] = "All"
        for name, value in self.headers.items():
            made[name] = value
        made.set_content(_sendable(self.text))
        if self.html is not None:
            made.add_alternative(_sendable(self.html), subtype="html")
        return made

    def dumps(self) -> bytes:
        """The letter as bytes, to be sealed."""
        return json.dumps(asdict(self), ensure_ascii=False).encode("utf-8", "surrogatepass")

    @classmethod
    def loads(cls, raw: bytes) -> Letter:
        """The letter that `dumps` wrote."""
        return cls(**json.loads(raw.decode("utf-8", "surrogatepass")))


def checked(address: str, what: str) -> str:
    """An address as it was, if it is one bare address (RFC 5321: local@domain); KeptError, without it, if not."""
    try:
        local, _, domain = address.rpartition("@")
        whole = (
            0 < len(local) <= 64
            and len(address) <= ADDRESS
            and "." not in (domain[:1], domain[-1:])
            and not re.search(r"[\s,;<>()\[\]:\\\"@]|\.\.", local + domain)
            and not _CONTROL.search(address)
            and bool(domain.encode("idna"))
            and bool(address.encode("utf-8"))
        )
        if whole:
            _address(address)
            return address
    except (ValueError, HeaderParseError, IndexError):  # idna, surrogates; the header parser's ways to refuse
        pass
    raise KeptError(f"{what} is not an e-mail address", help="one address such as name@company.example")


def _address(address: str) -> Address:
    local, _, domain = address.rpartition("@")
    return Address(username=local, domain=domain)


def _sendable(text: str) -> str:
    """Text without what no mail carries: NULs, and halves of characters."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
