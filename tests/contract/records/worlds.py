"""Each kind of record store as a small world: a real server beside it, and ways to put people into it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kept.stores.records.access import read_access
from kept.stores.records.client import Waiting
from kept.stores.records.http import HTTPStore, Partner
from kept.stores.records.hubspot import ADDRESS as HUBSPOT
from kept.stores.records.hubspot import HubSpotStore
from kept.stores.records.store import RecordStore
from kept.stores.records.stripe import ADDRESS as STRIPE
from kept.stores.records.stripe import StripeStore
from kept.testing.hubspot import TOKEN, HubSpot
from kept.testing.loopback import Loopback
from kept.testing.opendsr import OpenDSR
from tests.contract.records.proxy import StripeProxy

KEY = "sk_test_of_the_tests"

# localstripe as a process of its own: on loopback only, and without its copy of everything in the folder of the system.
_LOCALSTRIPE = """
import sys
from aiohttp import web
from localstripe import resources, server
resources.Store.dump_to_disk = lambda self: None
web.run_app(server.app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
"""


@dataclass
class Hours:
    """A clock that sleeping moves, and nothing else; every sleep is noted."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += timedelta(seconds=seconds)

    def waiting(self, tries: int = 5) -> Waiting:
        return Waiting(tries=tries, clock=lambda: self.at, sleep=self.sleep, random=lambda: 0.0)


class World(Protocol):
    hours: Hours
    people: str
    """The table of the people themselves."""
    hanging: str
    """A table that hangs on them."""
    column: str
    """A column of that."""
    reading: str
    """A pattern over `METHOD path` of what reading a person calls."""
    erasing: str
    """The same of what erases one."""
    nobody: str
    """A subject that isn't there."""

    @property
    def store(self) -> RecordStore: ...
    @property
    def server(self) -> Loopback: ...

    def person(self, email: str) -> str:
        """A new person; the subject."""

    def hang(self, subject: str, value: str) -> str:
        """A new row of theirs in `hanging`, with `value` in `column` as the store gives it back."""

    def hung(self, subject: str) -> int:
        """How many rows hang on them, as the server knows."""


class HubSpotWorld:
    people, hanging, column = "contacts", "deals", "dealname"
    reading, erasing, nobody = "batch/read", "gdpr-delete", "999999"

    def __init__(self, page: int = 500) -> None:
        self.server: HubSpot = HubSpot(page=page)
        self.hours = Hours()
        access = read_access("crm", self.server.address.replace("://", f"://{TOKEN}@"), HUBSPOT)
        self.store: HubSpotStore = HubSpotStore("crm", access, self.hours.waiting())

    def person(self, email: str) -> str:
        return self.server.add("contacts", email=email, firstname="Ada", lastname="Ōé")

    def hang(self, subject: str, value: str) -> str:
        deal = self.server.add("deals", dealname=value)
        self.server.tie("contacts", subject, "deals", deal)
        return value

    def hung(self, subject: str) -> int:
        contact = self.server.record("contacts", subject)
        return len(contact.tied) if contact else 0


class StripeWorld:
    people, hanging, column = "customers", "charges", "description"
    reading, erasing, nobody = "GET /v1/c", "DELETE", "cus_nobody"

    def __init__(self, target: str, searches: bool = False) -> None:
        self.server: StripeProxy = StripeProxy(target, searches)
        self.hours = Hours()
        access = read_access("payments", self.server.address.replace("://", f"://{KEY}@"), STRIPE)
        self.store: StripeStore = StripeStore("payments", access, self.hours.waiting())
        self.http = httpx.Client(base_url=target, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)

    def person(self, email: str) -> str:
        return str(self.post("/v1/customers", email=email, name="Ada Ōé")["id"])

    def hang(self, subject: str, value: str) -> str:
        if "card" not in self.__dict__:
            self.card = self.post("/v1/payment_methods", **{"type": "card", **CARD})["id"]
        self.post(
            "/v1/charges", customer=subject, amount="100", currency="eur", description=value, source=self.card
        )
        return value

    def hung(self, subject: str) -> int:
        found = self.http.get("/v1/charges", params={"limit": "1000"}).json()["data"]
        return sum(1 for charge in found if charge["customer"] == subject)

    def post(self, path: str, **form: str) -> dict[str, str]:
        answer = self.http.post(path, data=form)
        answer.raise_for_status()
        found: dict[str, str] = answer.json()
        return found


CARD = {
    "card[number]": "4242424242424242",
    "card[exp_month]": "12",
    "card[exp_year]": "2040",
    "card[cvc]": "123",
}


class PartnerWorld:
    people, hanging, column = "people", "parcels", "street"
    reading, erasing, nobody = "GET /results", "POST /requests", "email:nobody@example.org"

    def __init__(self, at_once: bool = True, callback: str | None = None) -> None:
        self.key = Ed25519PrivateKey.generate()
        ours = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.server: OpenDSR = OpenDSR(ours, at_once=at_once)
        self.hours = Hours()
        partner = Partner({"email": "email"}, self.server.public_key, callback=callback)
        access = read_access("parcels", self.server.address)
        self.store: HTTPStore = HTTPStore("parcels", access, partner, self.key.sign, self.hours.waiting())

    def person(self, email: str) -> str:
        self.server.add("email", email, "people", email=email)
        return f"email:{email}"

    def hang(self, subject: str, value: str) -> str:
        self.server.add("email", subject.partition(":")[2], "parcels", street=value)
        return value

    def hung(self, subject: str) -> int:
        tables = self.server.people.get(("email", subject.partition(":")[2].casefold()), {})
        return len(tables.get("parcels", ()))


@contextmanager
def localstripe(port: int) -> Iterator[str]:
    """localstripe in a process of its own; its address."""
    process = subprocess.Popen([sys.executable, "-c", _LOCALSTRIPE, str(port)])
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            with suppress(httpx.TransportError):
                httpx.get(address, trust_env=False)
                break
            if process.poll() is not None:
                raise RuntimeError("localstripe didn't start")
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(10)
