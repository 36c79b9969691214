"""Generates Lumnar: customers with automations and live chats, the people who write there, and visitors of the site.

The same people, seed and time give the same rows and files. As built, no limit has passed; `plant` lets three pass.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..shared.database import Database, Row, opened
from ..shared.folder import COMPANIES, exported, made, settled, uploaded
from ..shared.moments import DAY, ago, seconds, time, time_or_none
from ..shared.names import PEOPLE_AT_MOST
from ..shared.traces import email, full_name, network, street, text, token

NAME = "lumnar"
PERSON = "customer:1"  # whom `kept demo` names in what to try next
COUNTRIES = ("be", "de", "fr", "gb", "us", "in")
PAGES = ("automations", "contact", "home", "prices", "stories")
SERVICES = ("calendar", "ledger", "mailer", "tables")
STAFF = 6

# Ages in days. 13 calendar months have at least 394 days, 10 years at least 3,652; a month is left to spare.
VISITS, INVOICES = 360, 1_100
CONVERSATIONS = "id, customer_id, chatter_id, started_at, closed_at"
MESSAGES = "id, conversation_id, body, attachment, at"


@dataclass(frozen=True)
class Customer:
    """A customer by number; `left` is 0 while they are one."""

    number: int
    came: int
    left: int


def build(
    directory: Path, people: int, seed: int, *, now: datetime | None = None, url: str | None = None
) -> None:
    """The company's folder: policy file, settings, database, uploads, and what Stripe holds.

    `people` are the customers; half as many people write in their chats, and twice as many visit the site. The
    database is `app.sqlite` in the folder, or the empty PostgreSQL database at `url`. `now` is the moment the company
    is looked at. Raises FileExistsError where the folder has a database.
    """
    if not 1 <= people <= PEOPLE_AT_MOST // 8:
        raise ValueError(f"people must be from 1 to {PEOPLE_AT_MOST // 8:,}")
    draw, today = random.Random(f"build {seed}"), seconds(now)
    customers = [_customer(draw, number, today) for number in range(1, people + 1)]
    invoices = list(_invoices(draw, customers, today))
    with made(directory / "app.sqlite", COMPANIES / NAME / "schema.sql", url) as database:
        database.insert("customers", "id, name, email, country, closed_at", map(_row, customers))
        integrations = [
            (number, customer.number, token(draw, 48), _endpoint(draw, customer.number))
            for number, customer in enumerate([c for c in customers for _ in range(1 + c.number % 2)], 1)
        ]
        database.insert("integrations", "id, customer_id, token, endpoint", integrations)
        _chat(database, draw, directory / "uploads", customers, today)
        _browse(database, draw, people, today)
        database.insert("invoices", "id, customer_id, billing_address, amount, paid_at", invoices)
        database.insert(
            "investigations",
            "id, customer_id, staff_id, opened_at, closed_at",
            _investigations(draw, customers, today),
        )
    exported(directory / "stripe.json", _stripe(customers, invoices, today))
    (directory / "uploads").mkdir(exist_ok=True)
    settings = {"APP_DATABASE_URL": url or "sqlite:///app.sqlite", "UPLOADS": "uploads"}
    settled(directory, NAME, settings)


def plant(
    directory: Path, seed: int, *, now: datetime | None = None, url: str | None = None
) -> dict[str, str]:
    """Break four promises; answers by promise how many rows break each, and how.

    A fifth is broken until Kept comes: it alone can seal the tokens.
    """
    draw, today = random.Random(f"plant {seed}"), seconds(now)
    with opened(url or directory / "app.sqlite") as database:
        last = database.number("SELECT max(id) FROM customers")
        gone = [Customer(last + n, today - 900 * DAY, ago(draw, today, 40, 300)) for n in range(1, 4)]
        database.insert("customers", "id, name, email, country, closed_at", map(_row, gone))
        old = [
            (f"old{number:08}", network(draw.randrange(2**30, 2**31)), time(ago(draw, today, 400, 900)))
            for number in range(1, last // 20 + 4)
        ]
        database.insert("sessions", "visitor_id, ip, at", old)
        database.run("ALTER TABLE customers ADD COLUMN card TEXT")
        database.run("UPDATE customers SET card = '4242 4242 4242 4242' WHERE id % 10 = 1")
        cards = database.number("SELECT count(*) FROM customers WHERE card IS NOT NULL")
        tokens = database.number("SELECT count(*) FROM integrations")
    return {
        "collection.cards": f"{cards} full numbers of cards",
        "collection.no-more": f"{cards} numbers of cards in a column nobody declared",
        "retention.account": f"{len(gone)} accounts closed more than 30 days ago",
        "retention.visits": f"{len(old)} sessions older than 13 months",
        "security.tokens": f"{tokens} access tokens as the services gave them, for whoever reads the table",
    }


def mend(clear: Callable[[str], object], source: Callable[[str, str], object]) -> None:
    """The numbers of cards go: they never should have come."""
    clear("app.customers.card")


def _customer(draw: random.Random, number: int, today: int) -> Customer:
    came = ago(draw, today, 60, INVOICES) if number > 1 else today - INVOICES * DAY
    left = ago(draw, today, 0, 2) if number % 15 == 6 else 0  # within their 30 days
    return Customer(number, came, left)


def _row(customer: Customer) -> Row:
    number = customer.number
    country = COUNTRIES[number % len(COUNTRIES)]
    return number, full_name(number), email(number), country, time_or_none(customer.left)


def _endpoint(draw: random.Random, number: int) -> str:
    return f"https://{draw.choice(SERVICES)}.example/hooks/customer{number}"


def _chat(
    database: Database, draw: random.Random, uploads: Path, customers: list[Customer], today: int
) -> None:
    """Conversations of two customers with the same person, of one customer with several; some still open."""
    many = len(customers) // 2 + 1
    chatters = [(number, _chatter(number)) for number in range(1, many + 1)]
    database.insert("chatters", "id, email", chatters)
    conversations: list[Row] = []
    messages: list[Row] = []
    for number in range(1, 2 * len(customers) + 1):
        customer = customers[(number * 7) % len(customers)]
        chatter = (number - 1) % many + 1
        started = draw.randrange(customer.came, (customer.left or today) - DAY // 2)
        ended = started + draw.randrange(300, DAY // 3)
        conversations.append(
            (number, customer.number, chatter, time(started), time(ended) if number % 6 else None)
        )
        at = started
        for _ in range(draw.randrange(1, 6)):
            row = len(messages) + 1
            body = text(draw, _number(chatter))
            path = None
            if row % 9 == 4:
                path = uploaded(uploads, f"chat/{number}/{row}.txt", f"{body}\n{_chatter(chatter)}")
            messages.append((row, number, body, path, time(at)))
            at = min(at + draw.randrange(5, 600), ended)
    database.insert("conversations", CONVERSATIONS, conversations)
    database.insert("messages", MESSAGES, messages)


def _number(chatter: int) -> int:
    """The number of a chatter among all invented people, where customers come first."""
    return PEOPLE_AT_MOST // 2 + chatter


def _chatter(chatter: int) -> str:
    return email(_number(chatter))


def _browse(database: Database, draw: random.Random, people: int, today: int) -> None:
    sessions: list[Row] = []
    views: list[Row] = []
    for number in range(2 * people):
        visitor = f"s{draw.getrandbits(48):012x}{number:x}"
        at = ago(draw, today, 1, VISITS)
        sessions.append((visitor, network(2**30 + number), time(at)))
        for _ in range(draw.randrange(0, 6)):
            views.append((len(views) + 1, visitor, draw.choice(PAGES), time(at)))
            at = min(at + draw.randrange(3, 900), today)
    database.insert("sessions", "visitor_id, ip, at", sessions)
    database.insert("page_views", "id, visitor_id, page, at", views)


def _invoices(draw: random.Random, customers: list[Customer], today: int) -> Iterator[Row]:
    """An invoice for each quarter that a customer was there."""
    number = 0
    for customer in customers:
        for at in range(customer.came, customer.left or today, 91 * DAY):
            number += 1
            yield number, customer.number, street(customer.number), draw.randrange(20, 400) * 100, time(at)


def _investigations(draw: random.Random, customers: list[Customer], today: int) -> Iterator[Row]:
    for number, customer in enumerate(customers[::20], 1):
        opened_at = draw.randrange(customer.came, (customer.left or today) - DAY // 2)
        closed = time(min(opened_at + 9 * DAY, today)) if number % 2 == 0 else None
        yield number, customer.number, draw.randrange(1, STAFF + 1), time(opened_at), closed


def _stripe(customers: list[Customer], invoices: list[Row], today: int) -> dict[str, object]:
    """Customers and charges as Stripe's interface tells them; its own ids, ours in `metadata`."""
    created = {customer.number: customer.came for customer in customers}
    people = [
        {
            "id": f"cus_{customer.number:08}",
            "object": "customer",
            "name": full_name(customer.number),
            "email": email(customer.number),
            "created": customer.came,
            "livemode": False,
            "metadata": {"customer": str(customer.number)},
        }
        for customer in customers
    ]
    charges = [
        {
            "id": f"ch_{number:08}",
            "object": "charge",
            "customer": f"cus_{customer:08}",
            "amount": amount,
            "currency": "eur",
            "status": "succeeded",
            "paid": True,
            "created": created[int(str(customer))],
            "livemode": False,
            "metadata": {"invoice": str(number)},
        }
        for number, customer, _, amount, _ in invoices
    ]
    return {"customers": people, "charges": charges}
