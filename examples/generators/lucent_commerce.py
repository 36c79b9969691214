"""Generates Lucent Commerce: shops' people who sign up, pay, come and go, and the browsers they come with.

The same people, seed and time give the same rows. As built, no limit has passed; `plant` lets three pass.
"""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..shared.database import Database, Row, opened
from ..shared.folder import COMPANIES, made, settled
from ..shared.moments import DAY, ago, born, seconds, time, time_or_none
from ..shared.names import PEOPLE_AT_MOST, name_of
from ..shared.traces import BROWSERS, DEVICES, email, full_name, network, phone, street

NAME = "lucent-commerce"
PERSON = "customer:1"  # whom `kept demo` names in what to try next
PAGES = ("apps", "home", "prices", "questions", "reviews", "sign-up")
EVENTS = ("compared", "installed", "opened", "searched", "watched")

# Ages in days. 14 calendar months have at least 424 days, 7 years at least 2,555; a month is left to spare.
VISITS, BILLS, OLDEST = 390, 2_500, 2_400
CUSTOMERS = "id, name, email, phone, born_on, plan_id, created_at, closed_at"
BILLING = "id, customer_id, payer_id, address, company, paid_at"
BROWSING = "visitor_id, customer_id, ip, browser, device, page, at"


@dataclass(frozen=True)
class Customer:
    """A customer by number; `left` is 0 while the account is open."""

    number: int
    came: int
    left: int


def build(
    directory: Path, people: int, seed: int, *, now: datetime | None = None, url: str | None = None
) -> None:
    """The company's folder: its policy file, its settings (.env), its database with `people` customers.

    The database is `app.sqlite` in the folder, or the empty PostgreSQL database at `url`. `now` is the moment the
    company is looked at. Raises FileExistsError where the folder has a database.
    """
    if not 1 <= people <= PEOPLE_AT_MOST // 4:
        raise ValueError(f"people must be from 1 to {PEOPLE_AT_MOST // 4:,}")
    draw, today = random.Random(f"build {seed}"), seconds(now)
    with made(directory / "app.sqlite", COMPANIES / NAME / "schema.sql", url) as database:
        plans = enumerate((("Free", 0), ("Shop", 900), ("Chain", 4900)), 1)
        database.insert("plans", "id, title, price", [(number, *plan) for number, plan in plans])
        database.insert("migrations", "version, applied_at", [("0001", time(today - OLDEST * DAY))])
        customers = [_customer(draw, number, today) for number in range(1, people + 1)]
        database.insert("customers", CUSTOMERS, (_row(draw, customer, today) for customer in customers))
        database.insert("logins", "customer_id, hash", ((c.number, _hash(draw)) for c in customers))
        database.insert("billing", BILLING, _bills(draw, customers, today))
        _browse(database, draw, customers, today)
        profiles = ((c.number, f"@{''.join(name_of(c.number))}", time(c.came)) for c in customers[::5])
        database.insert("social_profiles", "customer_id, handle, fetched_at", profiles)
    settled(directory, NAME, {"APP_DATABASE_URL": url or "sqlite:///app.sqlite"})


def plant(
    directory: Path, seed: int, *, now: datetime | None = None, url: str | None = None
) -> dict[str, str]:
    """Let three limits pass; answers by promise how many rows are past each, and what they are."""
    draw, today = random.Random(f"plant {seed}"), seconds(now)
    with opened(url or directory / "app.sqlite") as database:
        last = database.number("SELECT max(id) FROM customers")
        gone = []
        for number in range(last + 1, last + last // 100 + 4):
            left = ago(draw, today, 40, 300)
            gone.append(Customer(number, left - draw.randrange(60 * DAY, 700 * DAY), left))
        database.insert("customers", CUSTOMERS, (_row(draw, customer, today) for customer in gone))
        database.insert("logins", "customer_id, hash", ((c.number, _hash(draw)) for c in gone))
        bill = database.number("SELECT max(id) FROM billing")
        bills = [
            (bill + extra, 1, 1, street(1), "company1", time(ago(draw, today, 2_560, 3_000)))
            for extra in range(1, last // 50 + 4)
        ]
        database.insert("billing", BILLING, bills)
        visits = [
            _visit(draw, f"old{extra:08}", 1 if extra % 2 else None, ago(draw, today, 430, 900))
            for extra in range(1, last // 20 + 4)
        ]
        database.insert("visits", BROWSING, visits)
    return {
        "retention.account": f"{2 * len(gone)} rows of accounts closed more than 30 days ago, and their logins",
        "retention.billing": f"{len(bills)} bills paid more than 7 years ago",
        "retention.usage": f"{len(visits)} visits older than 14 months",
    }


def mend(clear: Callable[[str], object], source: Callable[[str, str], object]) -> None:
    """Nothing of what was planted waits for a person's decision: the sweep mends it all."""


def _customer(draw: random.Random, number: int, today: int) -> Customer:
    came = ago(draw, today, 60 if number > 1 else OLDEST - 10, OLDEST)
    left = ago(draw, today, 0, 2) if number % 12 == 5 else 0  # within their 30 days
    return Customer(number, came, left)


def _row(draw: random.Random, customer: Customer, today: int) -> Row:
    number = customer.number
    house = number - 1 if number % 10 == 4 else number  # the telephone of somebody else at the same shop
    return (
        number,
        full_name(number),
        email(number),
        phone(house) if number % 3 else None,
        born(draw, today, 14 if number % 25 == 7 else 19, 80),
        draw.randrange(1, 4),
        time(customer.came),
        time_or_none(customer.left),
    )


def _hash(draw: random.Random) -> str:
    """A password's hash as argon2 writes it; of no password, so that nothing signs in with it."""
    salt, found = (b64encode(draw.randbytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m=65536,t=3,p=4${salt}${found}"


def _bills(draw: random.Random, customers: list[Customer], today: int) -> Iterator[Row]:
    """A bill a year and customer; some are paid by another customer, from that one's address."""
    bill = 0
    for customer in customers:
        first = max(customer.came, today - BILLS * DAY)
        for at in range(first, customer.left or today, 365 * DAY):
            bill += 1
            payer = draw.randrange(1, len(customers) + 1) if bill % 6 == 2 else customer.number
            yield bill, customer.number, payer, street(payer), f"company{customer.number // 3}", time(at)


def _browse(database: Database, draw: random.Random, customers: list[Customer], today: int) -> None:
    """Two browsers for each customer, most of them known to be theirs, and what was done in each."""
    visits: list[Row] = []
    events: list[Row] = []
    for number in range(2 * len(customers)):
        customer = customers[number // 2]
        begin = max(customer.came, today - VISITS * DAY)
        end = customer.left or today
        at = draw.randrange(begin, max(end - DAY, begin + 1))
        visitor = f"v{draw.getrandbits(48):012x}{number:x}"
        visits.append(_visit(draw, visitor, customer.number if number % 4 else None, at))
        for _ in range(draw.randrange(1, 8)):
            at = min(at + draw.randrange(5, DAY // 4), today)
            events.append((len(events) + 1, visitor, draw.choice(EVENTS), time(at)))
    database.insert("visits", BROWSING, visits)
    database.insert("events", "id, visitor_id, name, at", events)


def _visit(draw: random.Random, visitor: str, customer: int | None, at: int) -> Row:
    address = network(customer if customer is not None else draw.randrange(2**30, 2**31))
    return (
        visitor,
        customer,
        address,
        draw.choice(BROWSERS),
        draw.choice(DEVICES),
        draw.choice(PAGES),
        time(at),
    )
