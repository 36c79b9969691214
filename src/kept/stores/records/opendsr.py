"""What is said between Kept and another company's system, in OpenDSR's shape: requests, answers, signatures.

OpenDSR 2.0 (github.com/opengdpr/OpenDSR): `/discovery`, `/requests`, `/status`, callbacks; statuses pending,
in_progress, completed, cancelled. It leaves signing in with the partner open and the form of results too; Kept uses
- Ed25519 (RFC 8032) over the exact bytes of a body, in Base64 in the header X-OpenDSR-Signature, both ways; where there
  is no body, over `METHOD address`, a line feed, and the time in X-OpenDSR-Time;
- results as JSON lines, `{"table": …, "row": {…}}` each;
- extensions under the partner's domain: in a request `audience`, the partner's address, so that one partner can't
  pass our request on to another; in a status `deleted` {table: rows}, `kept` [{table, rows, reason, until}].
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kept.errors import TerminalError
from kept.stores.records.store import Erased, Kept

SIGNATURE: Final = "X-OpenDSR-Signature"
DOMAIN: Final = "X-OpenDSR-Processor-Domain"
TIME: Final = "X-OpenDSR-Time"
VERSION: Final = "2.0"
STATUSES: Final = ("pending", "in_progress", "completed", "cancelled")

_KEY = re.compile(r"[A-Za-z0-9_-]{43}=?")


class Forged(TerminalError):
    """An answer or a callback that the partner didn't sign, or not for this."""


@dataclass(frozen=True)
class Status:
    """How a request stands with the partner, as the partner signed it."""

    request: str
    state: str
    expected: datetime | None
    results: str | None
    count: int
    erased: Erased | None

    @property
    def open(self) -> bool:
        return self.state in ("pending", "in_progress")


def public_key(store: str, text: str) -> Ed25519PublicKey:
    """A partner's key: 32 bytes in Base64 for addresses (RFC 4648, 5), 43 characters."""
    if not _KEY.fullmatch(text.strip()):
        raise TerminalError(
            "the partner's public key can't be read",
            help="write the 32 bytes of its Ed25519 key in URL-safe Base64, 43 characters",
            where=store,
        )
    return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(text.strip().rstrip("=") + "="))


def signed(signature: bytes) -> str:
    """A signature as it stands in a header."""
    return base64.b64encode(signature).decode()


def bodiless(method: str, address: str, time: str) -> bytes:
    """What is signed where there is no body."""
    return f"{method} {address}\n{time}".encode()


def genuine(key: Ed25519PublicKey, header: str, body: bytes | memoryview) -> bool:
    """Whether a header is the key's signature over a body."""
    try:
        key.verify(base64.b64decode(header, validate=True), body)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def request_id(signature: bytes) -> str:
    """A random-looking UUID of version 4 out of a signature, so that the same request has the same id again."""
    return str(UUID(bytes=sha256(signature).digest()[:16], version=4))


def request(
    id: str,
    type: str,
    identity: tuple[str, str],
    *,
    audience: str,
    regulation: str,
    submitted: datetime,
    callback: str | None,
) -> bytes:
    """A request about one identity (type, value), as the exact bytes that are signed and sent (OpenDSR 7.1)."""
    body: dict[str, object] = {
        "regulation": regulation,
        "subject_request_id": id,
        "subject_request_type": type,
        "submitted_time": submitted.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "subject_identities": [
            {"identity_type": identity[0], "identity_value": identity[1], "identity_format": "raw"}
        ],
        "api_version": VERSION,
        "extensions": {urlsplit(audience).hostname or "": {"audience": audience}},
    }
    if callback is not None:
        body["status_callback_urls"] = [callback]
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def status(store: str, body: bytes, id: str | None = None) -> Status:
    """A status out of a body whose signature was checked; `id` is the request that was asked about."""
    try:
        found = json.loads(body)
        state, request = str(found["request_status"]), str(UUID(str(found["subject_request_id"])))
        count = int(found.get("results_count") or 0)
        results = found.get("results_url")
        extensions = found.get("extensions") or {}
        erased = next((e for one in extensions.values() if (e := _erased(one)) is not None), None)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise TerminalError(
            "its status can't be read", help="the partner has to mend it", where=store
        ) from None
    if state not in STATUSES:
        raise TerminalError("its status is none of OpenDSR's", help="the partner has to mend it", where=store)
    if id is not None and request != id:
        raise Forged("its answer is about another request", where=store)
    expected = _time(found.get("expected_completion_time"))
    return Status(request, state, expected, str(results) if results else None, max(0, count), erased)


def _erased(extension: Any) -> Erased | None:
    if not isinstance(extension, Mapping) or not ("deleted" in extension or "kept" in extension):
        return None
    kept = tuple(
        Kept(
            str(one["table"]),
            int(one["rows"]),
            str(one["reason"]),
            date.fromisoformat(one["until"]) if one.get("until") else None,
        )
        for one in extension.get("kept") or ()
    )
    return Erased({str(table): int(rows) for table, rows in (extension.get("deleted") or {}).items()}, kept)


def _time(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
