"""A shop that gives data to couriers, printers, networks, authorities and a successor, each of its own."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import pytest

from kept.company import Company, opened
from kept.controls.disclosure import register
from kept.controls.disclosure.enforce import disclose
from kept.controls.refused import Refused
from kept.controls.rights.people import Person
from tests.acceptance.choosing import Clock, policy

DOCUMENT: Final = {"document": "order 7 of the court"}
POLICY: Final = """\
kept: 1
policy: Atelier
version: 2026-03-01
laws: [gdpr, ccpa]
parties:
  atelier:     {role: us, name: Atelier, authority: eea, region: eea,
                contacts: {privacy: {email: privacy@atelier.example}}}
  sister:      {role: us, name: Atelier Two, serves: ch, region: ch}
  couriers:    {role: controller, name: Couriers, region: eea, hosts: [couriers.example, "*.parcels.example"],
                contacts: {office: {email: office@couriers.example}}}
  printer:     {role: processor, name: Printer, region: us, safeguard: data-privacy-framework,
                agreement: 2026-01-01 until 2026-12-31, certified: 2025-09-01 until 2026-08-31, hosts: printer.example}
  archive:     {role: processor, name: Archive, region: in, safeguard: standard-contractual-clauses,
                agreement: 2026-01-01 until ended}
  networks:    {role: controller, name: Networks, region: eea}
  partners:    {role: controller, region: eea}
  authorities: {role: authority}
  rescue:      {role: rescue}
  successor:   {role: successor}
stores:
  shop: {at: "sqlite:///shop.sqlite", region: eea}
people:
  buyer: {in: shop.buyers, key: id, known-by: {email: email}, region: country, ended: closed_at}
  clerk: {is: staff}
data:
  contact: {of: buyer, in: {shop.buyers: {email: email, name: name, country: place, password: credential}}}
  street:  {of: buyer, says: postal address, in: {shop.buyers: {street: address}}}
  orders:  {of: buyer, in: {shop.orders: {item: transaction, at: recorded}}}
choices:
  networks: {of: buyer, ask: opt-in, with: networks}
purposes:
  delivery:  {uses: [contact, street], ground: contract}
  printing:  {uses: [contact, orders], ground: {eea: contract, elsewhere: legitimate-interest}, interest: printing}
  filing:    {uses: orders, ground: contract}
  networks:  {uses: contact, ground: consent, choice: networks}
  growing:   {uses: orders, ground: legitimate-interest, interest: growing, groups: 10}
  demands:   {uses: [contact, orders], ground: legal-duty, law: any order served}
  emergency: {uses: [contact, street], ground: vital-interest}
  takeover:  {uses: [contact, orders], ground: legitimate-interest, interest: selling the business}
  running:   {uses: contact, ground: legitimate-interest, interest: running one group}
disclosure:
  couriers:  {to: couriers, gives: [contact, street], for: delivery, clause: A-1}
  printer:   {to: printer, gives: orders, for: printing, tells: buyer, clause: A-2}
  archive:   {to: archive, gives: orders, for: filing}
  networks:  {to: networks, gives: contact, for: networks, clause: A-3}
  partners:  {to: partners, gives: orders, for: growing}
  demands:   {to: authorities, gives: [contact, orders], for: demands, clause: A-4}
  emergency: {to: rescue, gives: [contact, street], for: emergency}
  takeover:  {to: successor, gives: contact, for: takeover}
  group:     {to: sister, gives: contact, for: running, regions: eea}
  nobody-else: {never: undeclared, clause: A-8}
  no-sale:     {never: sale, clause: A-9}
"""

SCHEMA: Final = """\
CREATE TABLE buyers (id INTEGER PRIMARY KEY, email TEXT, name TEXT, country TEXT, password TEXT, street TEXT,
                     closed_at TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, buyer_id INTEGER REFERENCES buyers (id), item TEXT, at TEXT);
"""


def database(folder: Path, buyers: int = 8) -> None:
    """Buyers, every third of them in the US, each with two orders."""
    with closing(sqlite3.connect(folder / "shop.sqlite")) as raw, raw:
        raw.executescript(SCHEMA)
        for id in range(1, buyers + 1):
            country = "us" if id % 3 == 0 else "fr"
            own = (
                id,
                f"b{id}@mail.example",
                f"Buyer Nr {id}",
                country,
                f"secret-{id}",
                f"{id} Long Road",
                None,
            )
            raw.execute("INSERT INTO buyers VALUES (?, ?, ?, ?, ?, ?, ?)", own)
            for n in (1, 2):
                order = (2 * id + n, id, f"print {id}-{n}", "2026-05-01T10:00:00+00:00")
                raw.execute("INSERT INTO orders VALUES (?, ?, ?, ?)", order)


@contextmanager
def shop(
    folder: Path, clock: Clock | None = None, *, text: str = POLICY, state: str | None = None, buyers: int = 8
) -> Iterator[Company]:
    """The company, opened; a folder that is there already is opened again. The policy as it stands is all the same file
    to the board."""
    if not folder.exists():
        folder.mkdir()
        database(folder, buyers)
    environment = {"KEPT_STATE_URL": state} if state is not None else {}
    with patch.dict("os.environ", environment), opened(policy(text), folder, clock or Clock()) as found:
        yield found


def buyer(n: int) -> Person:
    return Person("buyer", (str(n),))


def rows(company: Company) -> list[register.Row]:
    return list(register.rows(company, evidence=True))


def ledger(company: Company) -> list[dict[str, Any]]:
    """Every disclosure on the ledger."""
    company.ledger.close()
    found = []
    with closing(sqlite3.connect(company.directory / "ledger.sqlite")) as raw:
        for (body,) in raw.execute("SELECT body FROM entries ORDER BY position"):
            entry = json.loads(body)
            found += [entry] if entry["act"] == "disclosed" else []
    return found


def refusal(company: Company, recipient: str, who: Person | None = None, **asked: Any) -> str:
    with pytest.raises(Refused) as refused:
        disclose(company, recipient, [who or buyer(1)], **asked)
    return refused.value.reason
