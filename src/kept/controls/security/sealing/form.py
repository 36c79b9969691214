"""How a sealed value is written, and the cipher inside: values in, values out, no database.

    kept1.3.Zm9v…     kept1: sealed so that two equal values look different (AES-256-GCM, NIST SP 800-38D)
    kept1s.3.Zm9v…    kept1s: sealed so that equal values look equal, to be searched (AES-SIV, RFC 5297)

3 is the generation of the store's key; the rest is base64url without padding. A value is bound to where it stands:
to its store, table, column and generation, and (but for a searchable one) to the key of its row. Moved anywhere else it
can't be opened.
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VALUE: Final = "kept1."
SEARCHED: Final = "kept1s."
KEY_BYTES: Final = 32
_NONCE: Final = 12  # bytes; NIST SP 800-38D, 8.2
_LEAST: Final = {VALUE: 12 + 16, SEARCHED: 16}  # bytes of a nonce and a tag
_WRITTEN: Final = re.compile(r"(kept1s?\.)([1-9][0-9]{0,8})\.([A-Za-z0-9_-]+)")


@dataclass(frozen=True)
class Sealed:
    """A sealed value: how (`kept1.` or `kept1s.`), by which generation of the key, and its bytes."""

    how: str
    generation: int
    body: bytes

    @classmethod
    def read(cls, text: str) -> Sealed | None:
        """What a text holds; None where it isn't written exactly as this module writes."""
        found = _WRITTEN.fullmatch(text)
        if found is None:
            return None
        how, generation, body = found.groups()
        if len(body) % 4 == 1:
            return None
        sealed = cls(how, int(generation), urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        # base64 has spare bits at its end: two texts for the same bytes would be one altered unseen
        return sealed if len(sealed.body) >= _LEAST[how] and str(sealed) == text else None

    @property
    def searched(self) -> bool:
        return self.how == SEARCHED

    def __str__(self) -> str:
        return f"{self.how}{self.generation}.{urlsafe_b64encode(self.body).decode().rstrip('=')}"

    def __repr__(self) -> str:
        return f"<Sealed, generation {self.generation}>"


def length(plain: int, generation: int = 1, *, searched: bool = False) -> int:
    """How many characters so many bytes have once they are sealed."""
    how = SEARCHED if searched else VALUE
    return len(f"{how}{generation}.") + -(-(plain + _LEAST[how]) * 4 // 3)


class StoreKey:
    """One generation of a store's key: 32 secret bytes, from which one key for each way of sealing is derived."""

    __slots__ = ("_search", "_value", "generation")

    def __init__(self, generation: int, secret: bytes) -> None:
        self.generation = generation
        self._value = AESGCM(_derived(secret, b"kept sealed value", 32))
        self._search = AESSIV(_derived(secret, b"kept searchable value", 64))

    def __repr__(self) -> str:
        return f"<StoreKey, generation {self.generation}>"

    def seal(self, plain: str, place: bytes, *, searched: bool = False) -> str:
        """Seal a text for a place (`place_of`)."""
        bound = self._bound(place)
        if searched:
            return str(Sealed(SEARCHED, self.generation, self._search.encrypt(plain.encode(), [bound])))
        nonce = secrets.token_bytes(_NONCE)
        return str(Sealed(VALUE, self.generation, nonce + self._value.encrypt(nonce, plain.encode(), bound)))

    def open(self, sealed: Sealed, place: bytes) -> str | None:
        """What was sealed; None where it was altered, or sealed for another place or with another key."""
        bound = self._bound(place)
        try:
            if sealed.searched:
                return self._search.decrypt(sealed.body, [bound]).decode()
            return self._value.decrypt(sealed.body[:_NONCE], sealed.body[_NONCE:], bound).decode()
        except InvalidTag:
            return None

    def _bound(self, place: bytes) -> bytes:
        return b"%d:%b" % (self.generation, place)


def place_of(field: str, key: tuple[str, ...] = ()) -> bytes:
    """Where a value stands, each part with its length, so that no two places are written alike."""
    return b"".join(b"%d:%b" % (len(part), part) for part in (one.encode() for one in (field, *key)))


def _derived(secret: bytes, what: bytes, size: int) -> bytes:
    return HKDF(SHA256(), size, salt=None, info=what).derive(secret)
