"""What happens between LUCENT's members: sales, disputes, messages, reviews, guardianships, cases."""

from __future__ import annotations

import random
from pathlib import Path

from ..shared.database import Database, Row
from ..shared.folder import uploaded
from ..shared.moments import DAY, time
from ..shared.traces import text
from .lucent_marketplace_members import Member

STAFF = 7
OPEN = 4  # every fourth case is open
ITEMS = ("a chair", "a drum", "a jacket", "a lamp", "a saw", "three books")
CASE = "opened_at, closed_at"


def deal(database: Database, draw: random.Random, uploads: Path, members: list[Member], today: int) -> None:
    """Two sales for each member who buys, and disputes over some of them, open and settled."""
    sellers = [member for member in members if member.sells]
    sales: list[Row] = []
    disputes: list[Row] = []
    for buyer in [*members, *members]:
        seller = draw.choice(sellers)
        if seller is buyer:
            continue
        number = len(sales) + 1
        agreed = draw.randrange(max(buyer.came, seller.came), today - DAY)
        closed = min(agreed + draw.randrange(2, 30) * DAY, today) if number % 7 else 0
        address = draw.choice(members).number if number % 9 == 4 else buyer.number  # a present
        item = f"{draw.choice(ITEMS)}, {number}"
        photo = uploaded(uploads, f"sales/{number}.txt", item) if number % 8 == 1 else None
        sales.append(
            (
                number,
                buyer.number,
                seller.number,
                address,
                buyer.guardian or buyer.number,  # a parent pays
                item,
                photo,
                draw.randrange(3, 300) * 100,
                "paid" if closed else "waiting",
                time(agreed),
                time(closed) if closed else None,
            )
        )
        if number % 11 == 1:
            opened = min(agreed + 3 * DAY, today - 600)
            settled = time(min(opened + 20 * DAY, today)) if len(disputes) % OPEN else None
            parties = (buyer.number, seller.number, draw.randrange(1, STAFF + 1))
            disputes.append((len(disputes) + 1, number, *parties, time(opened), settled))
    columns = (
        "id, buyer_id, seller_id, address_id, billing_id, item, photo, amount, paid, agreed_at, closed_at"
    )
    database.insert("sales", columns, sales)
    database.insert("disputes", f"id, sale_id, buyer_id, seller_id, staff_id, {CASE}", disputes)


def talk(database: Database, draw: random.Random, uploads: Path, members: list[Member], today: int) -> None:
    """Conversations, follows, blocks and reviews between pairs of members."""
    messages: list[Row] = []
    follows: list[Row] = []
    blocks: list[Row] = []
    reviews: list[Row] = []
    sellers = [member for member in members if member.sells]
    for one in members:
        other = draw.choice(members)
        if other is one:
            continue
        at = draw.randrange(max(one.came, other.came), today)
        for turn in range(draw.randrange(1, 5)):
            writer, reader = (one, other) if turn % 2 == 0 else (other, one)
            number = len(messages) + 1
            body = text(draw, writer.number)
            path = uploaded(uploads, f"messages/{number}.txt", body) if number % 10 == 1 else None
            messages.append((number, writer.number, reader.number, body, path, time(at)))
            at = min(at + draw.randrange(60, DAY), today)
        if one.number % 2:
            follows.append((len(follows) + 1, one.number, other.number, time(at)))
        if one.number % 13 == 5:
            blocks.append((one.number, other.number))
        seller = draw.choice(sellers)
        if one.number % 3 == 2 and seller is not one:
            since = draw.randrange(max(one.came, seller.came), today)
            body = text(draw, one.number)
            reviews.append((len(reviews) + 1, one.number, seller.number, body, time(since)))
    database.insert("messages", "id, sender_id, recipient_id, body, attachment, at", messages)
    database.insert("follows", "id, member_id, followed_id, at", follows)
    database.insert("blocks", "member_id, blocked_id", blocks)
    database.insert("reviews", "id, author_id, seller_id, body, at", reviews)


def mind(database: Database, draw: random.Random, members: list[Member], today: int) -> None:
    """Guardians of minors and, ended, of some who came of age; reports, and investigations with what was told in them.

    What somebody told in an investigation is gone once it is closed, so only open ones have notes.
    """
    listings = database.number("SELECT count(*) FROM listings")
    guardians: list[Row] = []
    reports: list[Row] = []
    cases: list[Row] = []
    notes: list[Row] = []
    for member in members:
        if member.guardian:
            at = time(member.came)
            guardians.append((len(guardians) + 1, member.guardian, member.number, at, None))
        elif member.number % 20 == 5:
            ended = time(draw.randrange(member.came + DAY, today))
            guardians.append((len(guardians) + 1, 1, member.number, time(member.came), ended))
        opened = draw.randrange(member.came, today - DAY)
        closed = min(opened + draw.randrange(1, 40) * DAY, today)
        if member.number % 8 == 3:
            number, staff = len(reports) + 1, draw.randrange(1, STAFF + 1)
            listing = draw.randrange(1, listings + 1)
            ends = time(closed) if number % OPEN else None
            reports.append((number, member.number, listing, staff, time(opened), ends))
        if member.number % 12 == 2:
            number, staff = len(cases) + 1, draw.randrange(1, STAFF + 1)
            ends = time(closed) if number % 2 == 0 else None
            cases.append((number, member.number, staff, time(opened), ends))
            if ends is None:
                notes.append((len(notes) + 1, number, text(draw, member.number), time(opened + 3_600)))
    database.insert("guardians", "id, owner_id, member_id, permitted_at, ended_at", guardians)
    database.insert("reports", f"id, author_id, listing_id, staff_id, {CASE}", reports)
    database.insert("cases", f"id, member_id, staff_id, {CASE}", cases)
    database.insert("case_notes", "id, case_id, body, at", notes)
