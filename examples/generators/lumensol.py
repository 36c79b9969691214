"""Generates Lumensol: representatives of clients and vendors, visitors of its sites, and the tenants of its clients.

The same people, seed and time give the same rows and files. As built, no limit has passed; `plant` lets three pass.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..shared.database import Database, Row, opened
from ..shared.folder import COMPANIES, made, settled, uploaded
from ..shared.moments import DAY, ago, day, seconds, time, time_or_none
from ..shared.names import PEOPLE_AT_MOST, name_of
from ..shared.traces import BROWSERS, email, full_name, network, phone, street, text, token

NAME = "lumensol"
PERSON = "contact:1"  # whom `kept demo` names in what to try next
COUNTRIES = ("gb", "gb", "gb", "be", "nl", "us")
CITIES = ("Exampletown", "Sampleford", "Testbury")
PAGES = ("about", "analytics", "careers", "contact", "home")
STAFF = 9

# Ages in days, by how long a thing is kept: 6 months (181 days at least), 24 months (730), 3 years (1,095), 6 years
# (2,191); a month is left to spare.
CALLS, REST, LETTERS, ORDERS, OLDEST = 150, 700, 1_060, 2_150, 2_000
CONTACTS = "id, name, email, phone, business, ship_to, bill_to, username, country, since, left_at"
BROWSING = "visitor_id, country, city, ip, browser, device_id, page, at"


@dataclass(frozen=True)
class Contact:
    """A contact by number; `left` is 0 while they represent their company."""

    number: int
    came: int
    left: int


def build(
    directory: Path,
    people: int,
    seed: int,
    *,
    now: datetime | None = None,
    url: str | None = None,
    client_url: str | None = None,
) -> None:
    """The company's folder: policy file, settings, two databases, recorded calls, and the sheet of meetings.

    `people` are the contacts; there are as many visitors, and twice as many tenants. The databases are `crm.sqlite` and
    `client.sqlite` in the folder, or the empty PostgreSQL databases at `url` and `client_url`. `now` is the moment the
    company is looked at. Raises FileExistsError where the folder has a database.
    """
    if not 1 <= people <= PEOPLE_AT_MOST // 8:
        raise ValueError(f"people must be from 1 to {PEOPLE_AT_MOST // 8:,}")
    draw, today = random.Random(f"build {seed}"), seconds(now)
    contacts = [_contact(draw, number, today) for number in range(1, people + 1)]
    source = COMPANIES / NAME
    with made(directory / "crm.sqlite", source / "schema.sql", url) as database:
        database.insert("contacts", CONTACTS, map(_row, contacts))
        database.insert(
            "orders", "id, contact_id, billed_id, amount, invoice, at", _orders(draw, contacts, today)
        )
        _correspond(database, draw, contacts, today)
        _record(database, draw, directory / "calls", contacts, today)
        visits = (_visit(draw, number, ago(draw, today, 1, REST)) for number in range(1, people + 1))
        database.insert("visits", BROWSING, visits)
        for table, share in (("complaints", 15), ("tickets", 4)):
            cases = _cases(draw, contacts[::share], today)
            database.insert(table, "id, contact_id, staff_id, opened_at, closed_at", cases)
    with made(directory / "client.sqlite", source / "client.sql", client_url) as database:
        landlords = [(number, f"Housing Association {number}") for number in range(1, people // 50 + 3)]
        database.insert("landlords", "id, name", landlords)
        tenants = (_tenant(draw, number, len(landlords)) for number in range(1, 2 * people + 1))
        database.insert("tenants", "id, landlord_id, name, email, rent", tenants)
    _meet(directory / "meetings.csv", draw, contacts, today)
    (directory / "calls").mkdir(exist_ok=True)
    settings = {
        "CRM_DATABASE_URL": url or "sqlite:///crm.sqlite",
        "CLIENT_DATABASE_URL": client_url or "sqlite:///client.sqlite",
        "CALLS": "calls",
        "MEETINGS": "meetings.csv",
    }
    settled(directory, NAME, settings)


def plant(
    directory: Path, seed: int, *, now: datetime | None = None, url: str | None = None
) -> dict[str, str]:
    """Let three limits pass; answers by promise how many rows are past each, and what they are."""
    draw, today = random.Random(f"plant {seed}"), seconds(now)
    with opened(url or directory / "crm.sqlite") as database:
        last = database.number("SELECT max(id) FROM contacts")
        gone = [
            Contact(last + number, today - OLDEST * DAY, ago(draw, today, 740, 1_200))
            for number in range(1, last // 100 + 4)
        ]
        database.insert("contacts", CONTACTS, map(_row, gone))
        letter = database.number("SELECT max(id) FROM letters")
        letters = [
            (letter + number, 1, text(draw, 1), time(ago(draw, today, 1_100, 1_500)))
            for number in range(1, last // 20 + 4)
        ]
        database.insert("letters", "id, contact_id, body, at", letters)
        order = database.number("SELECT max(id) FROM orders")
        orders = [
            (order + number, 1, 1, 12_000, f"L-{order + number:07}", time(ago(draw, today, 2_200, 2_600)))
            for number in range(1, last // 20 + 4)
        ]
        database.insert("orders", "id, contact_id, billed_id, amount, invoice, at", orders)
    return {
        "retention.profile": f"{len(gone)} profiles of contacts who left more than 24 months ago",
        "retention.letters": f"{len(letters)} letters older than 3 years",
        "retention.transactions": f"{len(orders)} orders older than 6 years",
    }


def mend(clear: Callable[[str], object], source: Callable[[str, str], object]) -> None:
    """Nothing of what was planted waits for a person's decision: the sweep mends it all."""


def _contact(draw: random.Random, number: int, today: int) -> Contact:
    came = ago(draw, today, 60, OLDEST) if number > 1 else today - OLDEST * DAY
    left = draw.randrange(max(came + DAY, today - REST * DAY), today) if number % 9 == 4 else 0
    return Contact(number, came, left)


def _row(contact: Contact) -> Row:
    number = contact.number
    business = number // 3
    shared = number - 1 if number % 30 == 8 else number  # two representatives with one address
    return (
        number,
        full_name(number),
        email(shared, f"company{business}.example"),
        phone(number),
        f"Company {business}",
        street(number),
        street(shared),
        name_of(number)[1].lower(),
        COUNTRIES[number % len(COUNTRIES)],
        time(contact.came),
        time_or_none(contact.left),
    )


def _within(draw: random.Random, contact: Contact, today: int, most: int) -> int:
    """A moment while somebody was a contact, at most so many days ago; 0 where there is none."""
    begin, end = max(contact.came, today - most * DAY), contact.left or today
    return draw.randrange(begin, end) if begin < end else 0


def _orders(draw: random.Random, contacts: list[Contact], today: int) -> Iterator[Row]:
    """Orders in any year kept; one in five is billed to somebody else."""
    number = 0
    for contact in contacts:
        for _ in range(1 + contact.number % 4):
            number += 1
            billed = draw.randrange(1, len(contacts) + 1) if number % 5 == 2 else contact.number
            at = time(_within(draw, contact, today, ORDERS))
            yield number, contact.number, billed, draw.randrange(50, 900) * 100, f"L-{number:07}", at


def _correspond(database: Database, draw: random.Random, contacts: list[Contact], today: int) -> None:
    """Letters, reviews, surveys, social profiles and what is publicly said of contacts."""
    for table, columns, share, most in (
        ("letters", "body", 1, LETTERS),
        ("reviews", "body", 4, REST),
        ("surveys", "answers", 3, REST),
        ("social", "handle", 5, REST),
        ("public_facts", "fact, source_url", 6, REST),
    ):
        rows: list[Row] = []
        for contact in contacts:
            at = _within(draw, contact, today, most)
            if contact.number % share == 0 and at:
                rows.append((len(rows) + 1, contact.number, *_said(draw, table, contact.number), time(at)))
        if not rows:
            rows.append((1, 1, *_said(draw, table, 1), time(today - DAY)))
        database.insert(table, f"id, contact_id, {columns}, at", rows)


def _said(draw: random.Random, table: str, number: int) -> tuple[str, ...]:
    match table:
        case "social":
            return (f"@{''.join(name_of(number))}",)
        case "public_facts":
            return f"{full_name(number)} spoke at a fair.", f"https://news.example/fairs/{number}"
        case _:
            return (text(draw, number),)


def _record(
    database: Database, draw: random.Random, folder: Path, contacts: list[Contact], today: int
) -> None:
    """Calls, some of which were recorded, and chats."""
    calls: list[Row] = []
    chats: list[Row] = []
    for contact in contacts:
        at = _within(draw, contact, today, CALLS)
        if not at:
            continue
        if contact.number % 2:
            number = len(calls) + 1
            path = None
            if contact.number % 4 == 1:
                said = f"A recording of {full_name(contact.number)}"
                path = uploaded(folder, f"{day(at)}/{number}.txt", said)
            calls.append((number, contact.number, path, time(at)))
        else:
            chats.append((len(chats) + 1, contact.number, text(draw, contact.number), time(at)))
    database.insert("calls", "id, contact_id, audio, at", calls)
    database.insert("chats", "id, contact_id, transcript, at", chats)


def _cases(draw: random.Random, contacts: list[Contact], today: int) -> Iterator[Row]:
    """A case about each of these contacts; every third is open."""
    for number, contact in enumerate(contacts, 1):
        opened_at = _within(draw, contact, today, REST) or contact.came
        closed = time(min(opened_at + draw.randrange(600, 20 * DAY), today)) if number % 3 else None
        yield number, contact.number, draw.randrange(1, STAFF + 1), time(opened_at), closed


def _visit(draw: random.Random, number: int, at: int) -> Row:
    visitor, device = f"l{draw.getrandbits(48):012x}{number:x}", token(draw, 16)
    place, address = draw.choice(CITIES), network(2**30 + number)
    country = COUNTRIES[number % len(COUNTRIES)]
    return visitor, country, place, address, draw.choice(BROWSERS), device, draw.choice(PAGES), time(at)


def _tenant(draw: random.Random, number: int, landlords: int) -> Row:
    """A tenant; every fourth has left no address, and some share one with the tenant before."""
    person = PEOPLE_AT_MOST // 2 + number
    address = email(person - 1 if number % 20 == 3 else person) if number % 4 else None
    return (
        number,
        draw.randrange(1, landlords + 1),
        full_name(person),
        address,
        draw.randrange(300, 1_500) * 100,
    )


def _meet(file: Path, draw: random.Random, contacts: list[Contact], today: int) -> None:
    """Notes of meetings, as the sheet in which they are kept would be saved."""
    with file.open("w", encoding="utf-8", newline="") as written:
        sheet = csv.writer(written)
        sheet.writerow(["contact_id", "notes", "held_on"])
        for contact in contacts[::3]:
            at = _within(draw, contact, today, LETTERS)
            if at:
                sheet.writerow([contact.number, text(draw, contact.number), day(at)])
