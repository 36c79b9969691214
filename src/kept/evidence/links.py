"""Links that are sent to a person: signed, for one purpose, until a date, and telling nothing about whom they are for.

A token is the link's id, its subject, its end and a MAC over them and the purpose, under a key that only Kept has.
The subject is an id of Kept's own (a request's), never a person's. That a link works once is for the caller to hold:
the row of the table `links` with this id is marked used in the transaction that does what the link is for, and whoever
finds it marked raises LinkWrong("used", …).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from kept.errors import KeptError
from kept.evidence.keys import Keys

Kind = Literal["expired", "forged", "used"]

_FORM: Final = 1  # of the token; another form gets another number
_ID = 16  # random bytes: nobody guesses a link, not even one who knows all others
_MAC = 32
_HEAD: Final = struct.Struct(f">B{_ID}sQ")
_LONGEST = 400  # characters; the longest subject below makes 184
_SUBJECT = 64  # characters
_SAYS: Final = {
    "expired": "this link is no longer valid: its time is over",
    "forged": "this is not a link of ours, or it was altered",
    "used": "this link was used before, and works once",
}


class LinkWrong(KeptError):
    """A link that doesn't count, and why; never with the link. `subject` is known of a link that is really ours."""

    def __init__(self, kind: Kind, subject: str | None = None) -> None:
        super().__init__(
            _SAYS[kind],
            help="copy the whole link from the letter"
            if kind == "forged"
            else "ask for a new one, where you made the request",
        )
        self.kind: Kind = kind
        self.subject = subject


@dataclass(frozen=True)
class Link:
    """What a link that counts says. `id` (32 hex digits) is its key in the table `links`; `expires` is UTC."""

    id: str
    subject: str
    expires: datetime


class Links:
    """Makes the links of one company and reads them back."""

    def __init__(self, keys: Keys, clock: Callable[[], datetime]) -> None:
        self._keys = keys
        self._clock = clock

    def make(self, purpose: str, subject: str, expires: datetime) -> str:
        """A token for a URL: letters, digits, `-` and `_`. `read` gives its id, for the row of the table `links`.

        `subject`: an id of at most 64 ASCII characters; `expires` has a zone, and counts to the second, rounded down.
        """
        if not subject.isascii() or len(subject) > _SUBJECT:
            raise ValueError("a link is for an id of at most 64 ASCII characters")
        id, seconds = secrets.token_bytes(_ID), int(expires.timestamp())
        body = _HEAD.pack(_FORM, id, seconds) + subject.encode("ascii")
        return _spelt(body + self._mac(purpose, body))

    def read(self, token: str, purpose: str) -> Link:
        """What a token says; LinkWrong when it is forged (altered, made for another purpose) or expired."""
        body, mac = _taken_apart(token)
        if not hmac.compare_digest(mac, self._mac(purpose, body)):
            raise LinkWrong("forged")
        _, id, seconds = _HEAD.unpack(body[: _HEAD.size])
        link = Link(id.hex(), body[_HEAD.size :].decode("ascii"), datetime.fromtimestamp(seconds, UTC))
        if self._clock() >= link.expires:
            raise LinkWrong("expired", link.subject)
        return link

    def _mac(self, purpose: str, body: bytes) -> bytes:
        return self._keys.mac(f"link {purpose}", body)


def _taken_apart(token: str) -> tuple[bytes, bytes]:
    """The body and the MAC; base64 has several spellings of the same bytes, and only ours is taken."""
    if len(token) > _LONGEST or not token.isascii():
        raise LinkWrong("forged")
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise LinkWrong("forged") from None
    if _spelt(raw) != token or len(raw) < _HEAD.size + _MAC or raw[0] != _FORM:
        raise LinkWrong("forged")
    return raw[:-_MAC], raw[-_MAC:]


def _spelt(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
