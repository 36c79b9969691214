"""A signed tree head: the ledger at one moment, in one line that whoever keeps it can hold the company to."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kept.evidence.entry import stamp
from kept.evidence.keys import Keys

_DOMAIN = b"kept tree head 1\n"
"""Stands before what is signed, so that no other signature by the same key can pass for a head's."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


@dataclass(frozen=True)
class TreeHead:
    """`size` entries have the Merkle `root` (hex), said `at` a time by the holder of `key` (Ed25519 public
    key, hex)."""

    size: int
    root: str
    at: str
    key: str
    signature: str

    @classmethod
    def signed(cls, size: int, root: bytes, at: datetime, keys: Keys) -> TreeHead:
        """A head over `size` entries, signed now."""
        said: dict[str, Any] = {"size": size, "root": root.hex(), "at": stamp(at), "key": keys.public.hex()}
        return cls(**said, signature=keys.sign(_DOMAIN + rfc8785.dumps(said)).hex())

    @classmethod
    def read(cls, data: bytes) -> TreeHead:
        """A head from its canonical JSON; ValueError when it isn't one, byte for byte."""
        try:
            found: dict[str, Any] = json.loads(data)
            head = cls(**found)
            sound = (
                type(found["size"]) is int
                and found["size"] >= 0
                and isinstance(found["at"], str)
                and _TIME.fullmatch(found["at"]) is not None
                and (
                    _is_hex(found["root"], 32)
                    and _is_hex(found["key"], 32)
                    and _is_hex(found["signature"], 64)
                )
                and head.written() == data
            )
        except (TypeError, RecursionError) as error:
            raise ValueError("not a tree head") from error
        if not sound:
            raise ValueError("not a tree head in canonical form")
        return head

    def written(self) -> bytes:
        """The head as canonical JSON."""
        return rfc8785.dumps(self.json())

    def json(self) -> dict[str, Any]:
        """The head as a plain value."""
        return asdict(self)

    def is_signed(self) -> bool:
        """Whether the signature is that of the key the head names; whose key that is, it can't say."""
        said = self.json()
        signature = said.pop("signature")
        try:
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key))
            public.verify(bytes.fromhex(signature), _DOMAIN + rfc8785.dumps(said))
        except (InvalidSignature, ValueError):
            return False
        return True


def _is_hex(text: object, size: int) -> bool:
    """Whether `text` is `size` bytes in the one way Kept writes them: lower case, no spaces."""
    return isinstance(text, str) and len(text) == 2 * size and bytes.fromhex(text).hex() == text
