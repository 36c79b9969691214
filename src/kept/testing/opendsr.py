"""A partner's system in OpenDSR's shape, signed both ways: to try a store of kind `http` against.

It answers `/discovery`, `/requests` (POST, and DELETE to cancel), `/status/ID`, `/results/ID`, and calls back. It
checks our signature over every request, and that the request is meant for it, and signs every answer. A conforming
system of a partner's own may be written after it.

`python -m kept.testing.opendsr --controller KEY` serves one; KEY is the company's public key in hex. It prints its
address, for `at`, and its own key, for `signed-by`.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kept.stores.records import opendsr
from kept.testing.loopback import Call, Loopback, Reply

_FRESH = timedelta(minutes=5)  # how old the time may be that a request without a body is signed with


@dataclass
class Asked:
    """One request as the partner has it."""

    id: str
    type: str
    identities: list[tuple[str, str]]
    callbacks: list[str]
    state: str = "pending"
    rows: Sequence[tuple[str, Mapping[str, Any]]] = ()
    deleted: Mapping[str, int] | None = None


class OpenDSR(Loopback):
    """The stand-in; `add` fills it. It answers at once, or, with `at_once=False`, when `finish` or `cancel` says so."""

    def __init__(
        self,
        controller: bytes,
        *,
        at_once: bool = True,
        types: Iterable[str] = ("access", "portability", "erasure"),
        identities: Iterable[str] = ("email", "controller_customer_id"),
        public: str | None = None,
        port: int = 0,
    ) -> None:
        """`public` is the address requests must be meant for, where it isn't the server's own."""
        super().__init__(port)
        self.public = public or self.address
        self.controller = Ed25519PublicKey.from_public_bytes(controller)
        self.key = Ed25519PrivateKey.generate()
        self.at_once = at_once
        self.types, self.identities = tuple(types), tuple(identities)
        self.people: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
        self.stays: dict[str, tuple[str, date | None]] = {}
        """Tables that an erasure keeps: the reason, and until when."""
        self.requests: dict[str, Asked] = {}
        self.expected = timedelta(hours=1)

    @property
    def public_key(self) -> str:
        """What the policy file (or its setting) says in `signed-by`."""
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def add(self, type: str, value: str, table: str, **row: Any) -> None:
        """Add a row about the person with an identity."""
        self.people.setdefault((type, value.casefold()), {}).setdefault(table, []).append(row)

    def finish(self, id: str) -> None:
        """Carry a request out, and call back."""
        asked = self.requests[id]
        if asked.state in ("pending", "in_progress"):
            found = [self.people.get(identity, {}) for identity in asked.identities]
            if asked.type == "erasure":
                asked.deleted = {}
                for tables in found:
                    for table in [table for table in tables if table not in self.stays]:
                        asked.deleted = {**asked.deleted, table: len(tables.pop(table))}
            else:
                asked.rows = [
                    (table, row) for tables in found for table, rows in tables.items() for row in rows
                ]
            self._move(asked, "completed")

    def cancel(self, id: str) -> None:
        """Refuse a request, and call back."""
        self._move(self.requests[id], "cancelled")

    def sign(self, body: bytes) -> str:
        return opendsr.signed(self.key.sign(body))

    def handle(self, call: Call) -> Reply:
        first, _, id = call.path.strip("/").partition("/")
        if first == "discovery":
            return self._signed(200, self._discovery())
        if not self._genuine(call):
            return self._error(403, "the request isn't signed by the controller")
        match call.method, first:
            case "POST", "requests":
                return self._take(call)
            case "GET", "status" if id in self.requests:
                return self._signed(200, self._status(self.requests[id]))
            case "DELETE", "requests" if id in self.requests:
                return self._withdraw(self.requests[id])
            case "GET", "results" if id in self.requests and self.requests[id].state == "completed":
                lines = (
                    json.dumps({"table": t, "row": r}, ensure_ascii=False) for t, r in self.requests[id].rows
                )
                return self._signed(200, "".join(f"{line}\n" for line in lines).encode())
            case _:
                return self._error(404, "there is no such request")

    def _take(self, call: Call) -> Reply:
        body = call.json() or {}
        try:
            id = str(UUID(str(body["subject_request_id"]), version=4))
            identities = [
                (str(one["identity_type"]), str(one["identity_value"]).casefold())
                for one in body["subject_identities"]
                if one["identity_format"] == "raw"
            ]
            asked = Asked(
                id, str(body["subject_request_type"]), identities, body.get("status_callback_urls") or []
            )
            audience = next(iter(body["extensions"].values()))["audience"]
        except (KeyError, TypeError, ValueError, AttributeError, StopIteration):
            return self._error(400, "a field is missing")
        if audience != self.public:
            return self._error(403, "the request is meant for another")
        if asked.type not in self.types or any(type not in self.identities for type, _ in identities):
            return self._error(400, "not supported, see /discovery")
        if asked.id in self.requests:
            return self._error(409, "the request is known")
        self.requests[asked.id] = asked
        if self.at_once:
            self.finish(asked.id)
        now = datetime.now(UTC)
        return self._signed(
            201,
            {
                "controller_id": "controller",
                "expected_completion_time": _time(now + self.expected),
                "received_time": _time(now),
                "encoded_request": base64.b64encode(call.body).decode(),
                "subject_request_id": asked.id,
            },
        )

    def _withdraw(self, asked: Asked) -> Reply:
        if asked.state != "pending":
            return self._error(400, "only a pending request can be withdrawn")
        asked.state = "cancelled"
        now = _time(datetime.now(UTC))
        return self._signed(
            202, {"controller_id": "controller", "subject_request_id": asked.id, "received_time": now}
        )

    def _status(self, asked: Asked) -> dict[str, Any]:
        done = asked.state == "completed"
        body: dict[str, Any] = {
            "controller_id": "controller",
            "expected_completion_time": _time(datetime.now(UTC) + self.expected),
            "subject_request_id": asked.id,
            "request_status": asked.state,
            "api_version": opendsr.VERSION,
        }
        if done and asked.deleted is not None:
            kept = [
                {
                    "table": table,
                    "rows": len(rows),
                    "reason": self.stays[table][0],
                    "until": _day(self.stays[table][1]),
                }
                for identity in asked.identities
                for table, rows in self.people.get(identity, {}).items()
                if table in self.stays
            ]
            body["results_count"] = sum(asked.deleted.values())
            body["extensions"] = {"127.0.0.1": {"deleted": asked.deleted, "kept": kept}}
        elif done:
            body["results_count"] = len(asked.rows)
            body["results_url"] = f"{self.public}/results/{asked.id}"
        return body

    def _move(self, asked: Asked, state: str) -> None:
        asked.state = state
        for url in asked.callbacks:
            self.call_back(url, asked)

    def call_back(self, url: str, asked: Asked) -> int:
        """Send the signed status to an address; its answer (0: none came)."""
        body = json.dumps({**self._status(asked), "status_callback_url": url}).encode()
        try:
            return httpx.post(url, content=body, headers=self.headers(body), trust_env=False).status_code
        except httpx.TransportError:
            return 0  # a partner may call once (OpenDSR 8.5); Kept asks by itself too

    def headers(self, body: bytes) -> dict[str, str]:
        """What stands over a body of ours."""
        return {
            "Content-Type": "application/json",
            opendsr.DOMAIN: "127.0.0.1",
            opendsr.SIGNATURE: self.sign(body),
        }

    def _genuine(self, call: Call) -> bool:
        body = call.body
        if not body:
            time = call.headers.get(opendsr.TIME.lower(), "")
            try:
                age = datetime.now(UTC) - datetime.fromisoformat(time)
            except (ValueError, TypeError):
                return False
            if abs(age) > _FRESH:
                return False
            body = opendsr.bodiless(call.method, self.public + call.path, time)
        return opendsr.genuine(self.controller, call.headers.get(opendsr.SIGNATURE.lower(), ""), body)

    def _discovery(self) -> dict[str, Any]:
        return {
            "api_version": opendsr.VERSION,
            "supported_identities": [
                {"identity_type": type, "identity_format": "raw"} for type in self.identities
            ],
            "supported_subject_request_types": list(self.types),
            "processor_certificate": None,
        }

    def _signed(self, status: int, body: Any) -> Reply:
        content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        return Reply(status, content, self.headers(content))

    def _error(self, status: int, message: str) -> Reply:
        return self._signed(status, {"error": {"code": status, "message": message}})


def _time(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def main() -> None:
    """Serve a partner's system until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m kept.testing.opendsr", description="An OpenDSR partner.")
    parser.add_argument("--controller", required=True, help="the company's public key, in hex")
    parser.add_argument("--port", type=int, default=8422)
    parser.add_argument("--later", action="store_true", help="leave requests pending")
    given = parser.parse_args()
    partner = OpenDSR(bytes.fromhex(given.controller), at_once=not given.later, port=given.port)
    sys.stdout.write(f"{partner.address}\n{partner.public_key}\n")
    sys.stdout.flush()
    partner.serve()


if __name__ == "__main__":
    main()
