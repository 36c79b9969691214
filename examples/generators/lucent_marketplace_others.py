"""People who are near LUCENT and no members: browsers, subscribers of the newsletter, applicants, suppliers."""

from __future__ import annotations

import random

from ..shared.database import Database, Row
from ..shared.moments import DAY, ago, time, time_or_none
from ..shared.names import PEOPLE_AT_MOST
from ..shared.traces import email, full_name, network, text
from .lucent_marketplace_members import COUNTRIES, Member

# Ages in days, by how long a thing is kept: 13 months (394 days at least), 6 months (181), 7 years (2,556); a month is
# left to spare.
BROWSED, DECIDED, DELIVERED = 360, 150, 2_500
VISITS = "visitor_id, member_id, country, ip, page, utm_source, at"
SUBSCRIBERS = "id, email, at, left_at"
APPLICANTS = "id, name, email, cv, at, decided_at"
PAGES = ("basket", "home", "listing", "search", "shop")
WAYS = ("letter", "search", "social")

# Numbers of invented people from which each sort of person is counted; members come first.
SUBSCRIBING, APPLYING, SUPPLYING = PEOPLE_AT_MOST // 2, PEOPLE_AT_MOST * 5 // 8, PEOPLE_AT_MOST * 6 // 8


def browse(database: Database, draw: random.Random, members: list[Member], today: int) -> None:
    """A browser for each member, every third of another one or of nobody known, and what was looked at in each."""
    visits: list[Row] = []
    events: list[Row] = []
    for number in range(len(members) + len(members) // 3 + 1):
        member = members[number] if number < len(members) else None
        visitor = f"m{draw.getrandbits(48):012x}{number:x}"
        at = ago(draw, today, 1, BROWSED)
        if member is not None:
            at = max(at, member.came)
        visits.append(visit(draw, visitor, member.number if member is not None else None, at))
        for _ in range(draw.randrange(1, 8)):
            events.append((len(events) + 1, visitor, draw.choice(PAGES), time(at)))
            at = min(at + draw.randrange(5, 900), today)
    database.insert("visits", VISITS, visits)
    database.insert("events", "id, visitor_id, page, at", events)


def visit(draw: random.Random, visitor: str, member: int | None, at: int) -> Row:
    """A browser's first visit."""
    address = network(member if member is not None else draw.randrange(2**30, 2**31))
    way = draw.choice(WAYS) if at % 3 == 0 else None
    return visitor, member, draw.choice(COUNTRIES), address, draw.choice(PAGES), way, time(at)


def others(database: Database, draw: random.Random, people: int, today: int) -> None:
    """Subscribers, some about to leave; applicants, decided on or not; suppliers with deliveries and payments."""
    some = people // 5 + 2
    database.insert(
        "subscribers",
        SUBSCRIBERS,
        (
            subscriber(n, ago(draw, today, 2, 900), today + 29 * DAY if n % 6 == 2 else 0)
            for n in range(1, some + 1)
        ),
    )
    applicants = []
    for number in range(1, some + 1):
        at = ago(draw, today, 1, DECIDED)
        decided = draw.randrange(at, today) if number % 3 else 0
        applicants.append(applicant(draw, number, at, decided))
    database.insert("applicants", APPLICANTS, applicants)
    few = people // 20 + 2
    suppliers = ((n, email(SUPPLYING + n, f"supplier{n}.example")) for n in range(1, few + 1))
    database.insert("suppliers", "id, email", suppliers)
    deliveries: list[Row] = []
    payments: list[Row] = []
    for number in range(1, few + 1):
        for at in range(ago(draw, today, 400, DELIVERED), today, 180 * DAY):
            row = len(deliveries) + 1
            deliveries.append((row, number, time(at), full_name(SUPPLYING + number)))
            payments.append((row, number, draw.randrange(100, 900) * 100, time(min(at + 14 * DAY, today))))
    database.insert("deliveries", "id, supplier_id, received_at, signed_by", deliveries)
    database.insert("supplier_payments", "id, supplier_id, amount, at", payments)


def subscriber(number: int, at: int, left: int) -> Row:
    return number, email(SUBSCRIBING + number), time(at), time_or_none(left)


def applicant(draw: random.Random, number: int, at: int, decided: int) -> Row:
    person = APPLYING + number
    return number, full_name(person), email(person), text(draw, person), time(at), time_or_none(decided)
