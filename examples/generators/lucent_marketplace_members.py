"""LUCENT's members: who they are, how they pay and are paid, and what they put on show."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from ..shared.database import Database, Row
from ..shared.folder import uploaded
from ..shared.moments import DAY, ago, born, time, time_or_none
from ..shared.names import name_of
from ..shared.traces import email, full_name, phone, street, text

COUNTRIES = ("bd", "be", "de", "fr", "gb", "in", "us")
OLDEST = 2_400  # days: 7 years of 2,556 days at least are kept
MEMBERS = "id, name, email, phone, born_on, place, country, sells, paid_out, joined_at, identity_checked_at, closed_at"


@dataclass(frozen=True)
class Member:
    """A member by number: a third sells, a sixth is paid; a tenth are minors, in the hands of `guardian`."""

    number: int
    came: int
    closes: int
    guardian: int

    @property
    def sells(self) -> bool:
        return self.number % 3 == 1 and not self.guardian

    @property
    def is_paid(self) -> bool:
        return self.number % 6 == 1 and not self.guardian


def members(draw: random.Random, people: int, today: int) -> list[Member]:
    """Members in the order of their numbers. Of those who asked to go, the waiting period has just begun."""
    found = []
    for number in range(1, people + 1):
        came = today - OLDEST * DAY if number == 1 else ago(draw, today, 40, OLDEST)
        closes = today + 29 * DAY + draw.randrange(DAY) if number % 14 == 8 else 0
        guardian = draw.choice([1, *range(2, number, 3)]) if number % 10 == 6 else 0
        found.append(Member(number, came, closes, guardian))
    return [
        Member(m.number, max(m.came, found[m.guardian - 1].came), m.closes, _adult(found, m)) for m in found
    ]


def _adult(found: list[Member], member: Member) -> int:
    """The number of a minor's guardian: member 1 in place of somebody who is a minor too; 0 for grown-ups."""
    return 1 if member.guardian and found[member.guardian - 1].guardian else member.guardian


def insert(database: Database, draw: random.Random, members: list[Member], today: int) -> None:
    """Members and their shops, bills, addresses."""
    database.insert("members", MEMBERS, (_row(draw, member, today) for member in members))
    database.insert(
        "shops",
        "member_id, name",
        ((m.number, f"{name_of(m.number)[1]}'s {m.number}") for m in members if m.sells),
    )
    database.insert(
        "billing",
        "id, member_id, name, phone, present_address, permanent_address, at",
        (
            (
                m.number,
                m.number,
                full_name(m.number),
                phone(m.number),
                street(m.number),
                street(m.number),
                time(m.came),
            )
            for m in members
            if not m.guardian
        ),
    )
    database.insert(
        "addresses", "id, member_id, line", ((m.number, m.number, street(m.number)) for m in members)
    )


def _row(draw: random.Random, member: Member, today: int) -> Row:
    number = member.number
    return (
        number,
        full_name(number),
        email(number),
        phone(number) if number % 2 else None,
        born(draw, today, *((14, 17) if member.guardian else (19, 80))),
        "Exampletown" if number % 4 else None,
        COUNTRIES[number % len(COUNTRIES)],
        member.sells,
        member.is_paid,
        time(member.came),
        time(member.came + DAY) if member.sells else None,
        time_or_none(member.closes),
    )


def work(
    database: Database, draw: random.Random, uploads: Path, members: list[Member], categories: int, today: int
) -> None:
    """Listings and shop pages, what others said of them, who was identified, and where somebody was."""
    listings: list[Row] = []
    payouts: list[Row] = []
    pages: list[Row] = []
    for member in members:
        if not member.sells:
            continue
        for _ in range(3):
            number = len(listings) + 1
            body, at = text(draw, member.number), draw.randrange(member.came, today)
            photo = uploaded(uploads, f"listings/{number}.txt", body) if number % 5 == 1 else None
            category = draw.randrange(1, categories + 1)
            listings.append((number, member.number, category, body, photo, time(at)))
        pages.append((len(pages) + 1, member.number, text(draw, member.number), time(member.came)))
        if member.is_paid:
            payouts.append(_payout(draw, uploads, member, today))
    database.insert("listings", "id, member_id, category_id, body, photo, at", listings)
    database.insert("pages", "id, member_id, body, at", pages)
    database.insert(
        "payouts", "id, member_id, legal_name, born_on, iban, tax_no, portrait, proof, at", payouts
    )
    comments: list[Row] = []
    favourites: list[Row] = []
    positions: list[Row] = []
    for member in members:
        at, listing = draw.randrange(member.came, today), draw.randrange(1, len(listings) + 1)
        if member.number % 2:
            said = text(draw, member.number)
            comments.append((len(comments) + 1, member.number, listing, said, time(at)))
        favourites.append((len(favourites) + 1, member.number, listing, time(at)))
        if member.number % 4 == 1:
            lat, lon = round(draw.uniform(-60, 60), 5), round(draw.uniform(-180, 180), 5)
            positions.append((len(positions) + 1, member.number, lat, lon, time(at)))
    database.insert("comments", "id, member_id, listing_id, body, at", comments)
    database.insert("favourites", "id, member_id, listing_id, at", favourites)
    database.insert("positions", "id, member_id, lat, lon, at", positions)


def _payout(draw: random.Random, uploads: Path, member: Member, today: int) -> Row:
    """Proofs of identity; the account's number is of a country that has none."""
    name, number = full_name(member.number), member.number
    portrait = uploaded(uploads, f"payouts/{number}/portrait.txt", f"A portrait of {name}")
    proof = uploaded(uploads, f"payouts/{number}/proof.txt", f"A passport of {name}")
    iban, tax = f"XX00 {number:04} {draw.randrange(10**8):08}", f"T-{number:08}"
    return number, number, name, born(draw, today, 19, 80), iban, tax, portrait, proof, time(member.came)


def stripe(members: list[Member]) -> dict[str, object]:
    """Customers and payment methods as Stripe's interface tells them; its own ids, ours in `metadata`."""
    payers = [member for member in members if not member.guardian]
    customers = [
        {
            "id": f"cus_{member.number:08}",
            "object": "customer",
            "name": full_name(member.number),
            "email": email(member.number),
            "created": member.came,
            "livemode": False,
            "metadata": {"member": str(member.number)},
        }
        for member in payers
    ]
    methods = [
        {
            "id": f"pm_{member.number:08}",
            "object": "payment_method",
            "type": "card",
            "customer": f"cus_{member.number:08}",
            "card": {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2030},
            "created": member.came,
            "livemode": False,
            "metadata": {},
        }
        for member in payers
    ]
    return {"customers": customers, "payment_methods": methods}
