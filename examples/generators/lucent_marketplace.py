"""Generates LUCENT, the marketplace: members who buy and sell, children and guardians, people who are neither.

The same people, seed and time give the same rows and files. As built, no limit has passed; `plant` lets four pass.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from ..shared.database import opened
from ..shared.folder import COMPANIES, exported, made, settled
from ..shared.moments import DAY, ago, seconds, time
from ..shared.names import PEOPLE_AT_MOST
from ..shared.traces import text
from . import lucent_marketplace_deals as deals
from . import lucent_marketplace_members as membership
from . import lucent_marketplace_others as others

NAME = "lucent-marketplace"
PERSON = "member:1"  # whom `kept demo` names in what to try next
CATEGORIES = ("books", "clothes", "furniture", "instruments", "tools", "toys")


def build(
    directory: Path, people: int, seed: int, *, now: datetime | None = None, url: str | None = None
) -> None:
    """The company's folder: policy file, settings, database, uploads, and what Stripe holds.

    `people` are the members; there are a third as many browsers that are nobody's, and some subscribers, applicants and
    suppliers. The database is `shop.sqlite` in the folder, or the empty PostgreSQL database at `url`. `now` is the
    moment the company is looked at. Raises FileExistsError where the folder has a database.
    """
    if not 1 <= people <= PEOPLE_AT_MOST // 8:
        raise ValueError(f"people must be from 1 to {PEOPLE_AT_MOST // 8:,}")
    draw, today = random.Random(f"build {seed}"), seconds(now)
    uploads = directory / "uploads"
    with made(directory / "shop.sqlite", COMPANIES / NAME / "schema.sql", url) as database:
        database.insert("categories", "id, title", enumerate(CATEGORIES, 1))
        database.insert("migrations", "version, applied_at", [("0001", time(today - 3_000 * DAY))])
        members = membership.members(draw, people, today)
        membership.insert(database, draw, members, today)
        membership.work(database, draw, uploads, members, len(CATEGORIES), today)
        deals.deal(database, draw, uploads, members, today)
        deals.talk(database, draw, uploads, members, today)
        deals.mind(database, draw, members, today)
        others.browse(database, draw, members, today)
        others.others(database, draw, people, today)
    exported(directory / "stripe.json", membership.stripe(members))
    settings = {"SHOP_DATABASE_URL": url or "sqlite:///shop.sqlite", "UPLOADS": "uploads"}
    settled(directory, NAME, settings)


def plant(
    directory: Path, seed: int, *, now: datetime | None = None, url: str | None = None
) -> dict[str, str]:
    """Let four limits pass; answers by promise how many rows are past each, and what they are."""
    draw, today = random.Random(f"plant {seed}"), seconds(now)
    with opened(url or directory / "shop.sqlite") as database:
        people = database.number("SELECT count(*) FROM members")
        case = database.number("SELECT max(id) FROM cases") + 1
        closed = time(ago(draw, today, 100, 200)), time(ago(draw, today, 10, 90))
        database.insert("cases", "id, member_id, staff_id, opened_at, closed_at", [(case, 1, 1, *closed)])
        note = database.number("SELECT max(id) FROM case_notes")
        notes = [(note + number, case, text(draw, 1), closed[0]) for number in range(1, 4)]
        database.insert("case_notes", "id, case_id, body, at", notes)
        visits = [
            others.visit(draw, f"old{number:08}", None, ago(draw, today, 400, 900))
            for number in range(1, people // 20 + 4)
        ]
        database.insert("visits", others.VISITS, visits)
        applicant = database.number("SELECT max(id) FROM applicants")
        applicants = [
            others.applicant(draw, applicant + number, ago(draw, today, 400, 500), ago(draw, today, 190, 390))
            for number in range(1, people // 100 + 3)
        ]
        database.insert("applicants", others.APPLICANTS, applicants)
        subscriber = database.number("SELECT max(id) FROM subscribers")
        subscribers = [
            others.subscriber(subscriber + number, ago(draw, today, 300, 900), ago(draw, today, 3, 90))
            for number in range(1, people // 50 + 3)
        ]
        database.insert("subscribers", others.SUBSCRIBERS, subscribers)
    return {
        "retention.testimony": f"{len(notes)} notes of an investigation that is closed",
        "retention.visits": f"{len(visits)} visits older than 13 months",
        "retention.application": f"{len(applicants)} applications decided on more than 6 months ago",
        "retention.newsletter": f"{len(subscribers)} addresses of subscribers who left",
    }


def mend(clear: Callable[[str], object], source: Callable[[str, str], object]) -> None:
    """Nothing of what was planted waits for a person's decision: the sweep mends it all."""
