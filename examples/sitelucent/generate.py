"""Generates SiteLucent: companies, administrators, users, what they did in the app, and the cases about them.

The same people, seed and time give the same rows. As built, the company keeps every promise that stands on
its database; `plant` breaks four of them.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..shared.database import Database, opened
from ..shared.folder import exported, made, settled
from ..shared.moments import DAY, ago, seconds, time, time_or_none
from ..shared.names import PEOPLE_AT_MOST, name_of

HERE = Path(__file__).parent
PERSON = "user:1"  # whom `kept demo` names in what to try next
STAFF = 12  # of each role, numbered from 1

# Ages in days. 24 calendar months are 730 or 731 days: what is younger than RECENT is within every limit for
# a month to come, what is older than OLD is past them.
RECENT, OLD, OLDEST = 700, 740, 2_000

PAGES = (
    "board",
    "chart",
    "compare",
    "download",
    "export",
    "find",
    "map",
    "numbers",
    "place",
    "portfolio",
    "site",
    "team",
)


@dataclass
class Users:
    """Users by number, from 1: when they came, when they left (0 while active), their company's number."""

    came: array[int]
    left: array[int]
    company: array[int]

    def active(self, user: int, at: float) -> bool:
        return self.came[user] <= at and not 0 < self.left[user] <= at


def build(
    directory: Path,
    people: int,
    seed: int,
    events_per_person: int = 20,
    *,
    now: datetime | None = None,
    url: str | None = None,
) -> None:
    """A company's folder: its policy file, its settings (.env), its database with `people` users.

    The database is `app.sqlite` in the folder, or the empty PostgreSQL database at `url`. `now` is the moment
    the company is looked at, by default this one. Raises FileExistsError where the folder has a database.
    """
    if not 1 <= people <= PEOPLE_AT_MOST - 1_000_000:
        raise ValueError(f"people must be from 1 to {PEOPLE_AT_MOST - 1_000_000:,}")
    directory.mkdir(parents=True, exist_ok=True)
    draw = random.Random(f"build {seed}")
    today = seconds(now)
    with made(directory / "app.sqlite", HERE / "schema.sql", url) as database:
        users = _people(database, draw, people, today)
        database.insert(
            "usage_events", "id, user_id, page, at", _usage(draw, users, people * events_per_person, today)
        )
        for table, staff, share in (
            ("errors", "engineer_id", 8),
            ("tickets", "agent_id", 12),
            ("set_ups", "admin_id", 40),
        ):
            cases = _cases(draw, users, people // share + 1, today)
            database.insert(table, f"id, user_id, {staff}, opened_at, closed_at", cases)
        plans = enumerate((("Start", 5), ("Team", 40), ("Group", 400)), 1)
        database.insert("plans", "id, title, seats", [(number, *plan) for number, plan in plans])
        database.insert("migrations", "version, applied_at", [("0001", time(today - OLDEST * DAY))])
    _contact_requests(directory / "crm.json", draw, people, today)
    settled(directory, "sitelucent", {"APP_DATABASE_URL": url or "sqlite:///app.sqlite"})


def plant(
    directory: Path, seed: int, *, now: datetime | None = None, url: str | None = None
) -> dict[str, str]:
    """Break four promises, once per folder; answers by id how many rows now break each, and how.

    Usage past its 24 months; accounts deactivated longer ago than that, their usage as old; a birth date for
    some users, in a column nobody declared; one account of which nobody knows who entered it.
    """
    draw = random.Random(f"plant {seed}")
    today = seconds(now)
    with opened(url or directory / "app.sqlite") as database:
        people = database.number("SELECT count(*) FROM users")
        database.run(
            "UPDATE users SET source = NULL WHERE id = (SELECT max(users.id) FROM users"
            " LEFT JOIN memberships ON memberships.user_id = users.id AND memberships.role = 'admin'"
            " WHERE users.deactivated_at IS NULL AND (memberships.user_id IS NULL OR users.id = 1))"
        )
        unsourced = database.number("SELECT count(*) FROM users WHERE source IS NULL")
        accounts, old_usage = _expired(database, draw, people, today)
        old_usage += _stale(database, draw, people // 4 + 20, today)
        database.run("ALTER TABLE users ADD COLUMN birth_date TEXT")
        database.run(
            "UPDATE users SET birth_date = CAST(1950 + (id * 7 + ?) % 50 AS TEXT) || '-0'"
            " || CAST(1 + id % 9 AS TEXT) || '-1' || CAST((id * 3 + ?) % 10 AS TEXT) WHERE id % 10 = 1",
            seed % 50,
            seed % 10,
        )
        undeclared = database.number("SELECT count(*) FROM users WHERE birth_date IS NOT NULL")
    return {
        "collection.joining": f"{unsourced} account without a source",
        "collection.no-more": f"{undeclared} birth dates in a column nobody declared",
        "retention.account": f"{accounts} accounts deactivated more than 24 months ago",
        "retention.usage": f"{old_usage} usage rows older than 24 months",
    }


def mend(clear: Callable[[str], object], source: Callable[[str, str], object]) -> None:
    """What SiteLucent's people decide once they have seen the board, and no rule may decide for them.

    The birth dates go: nobody needs them. The account came with a list from its company's administrator.
    """
    clear("app.users.birth_date")
    source("app.users", "administers.admin")


def _people(database: Database, draw: random.Random, people: int, today: int) -> Users:
    """Companies and users. User N founds company N, as its administrator; user 1 has always been there."""
    companies = people // 40 + 1
    cancelled = [
        ago(draw, today, 10, RECENT - 20) if company % 25 == 3 else 0 for company in range(companies + 1)
    ]
    founded = [0, today - OLDEST * DAY] + [ago(draw, today, 800, OLDEST) for _ in range(companies - 1)]
    users = Users(array("q", [0]), array("q", [0]), array("q", [0]))
    for user in range(1, people + 1):
        company = user if user <= companies else draw.randrange(1, companies + 1)
        ends = cancelled[company]
        came = (
            founded[company] if user <= companies else draw.randrange(founded[company], (ends or today) - DAY)
        )
        left = ends
        if company != user and draw.random() < 0.12:
            left = draw.randrange(max(came, today - (RECENT - 10) * DAY), (ends or today) - DAY // 2)
        users.came.append(came)
        users.left.append(left)
        users.company.append(company)
    database.insert("companies", "id, cancelled_at", _companies(cancelled))
    database.insert(
        "users", "id, first_name, last_name, email, source, created_at, deactivated_at", _users(draw, users)
    )
    database.insert("memberships", "user_id, company_id, role", _memberships(draw, users))
    return users


def _contact_requests(file: Path, draw: random.Random, people: int, today: int) -> None:
    """What the contact form sent to the CRM: a lead for every 25 users, and the enquiry a colleague follows up.

    The CRM is HubSpot's, which no database here stands for: these are its contacts and deals, in its own shape, as
    `kept.testing.hubspot` takes them.
    """
    contacts, deals = [], []
    for number in range(1, people // 25 + 2):
        first, last = name_of(PEOPLE_AT_MOST - number)
        asked = ago(draw, today, 1, 300)
        closed = _at(asked + draw.randrange(1, 30) * DAY) if number % 4 else None
        contact = {"firstname": first, "lastname": last, "email": f"{first}.{last}@mail.example".lower()}
        contact |= {"phone": f"+32 2 555 {number % 100:02} {number % 97:02}", "createdate": _at(asked)}
        contact |= {"source": "lead"}  # a property of the company's own: who entered it
        contacts.append({"id": str(number), "properties": contact})
        deal = {"dealname": "Contact request", "hubspot_owner_id": str(draw.randrange(1, STAFF + 1))}
        tied = {"contacts": {"results": [{"id": str(number)}]}}
        deals.append(
            {
                "id": str(number),
                "properties": {**deal, "createdate": _at(asked), "closedate": closed},
                "associations": tied,
            }
        )
    exported(file, {"contacts": contacts, "deals": deals})


def _at(moment: int) -> str:
    """A moment as HubSpot writes it."""
    return f"{time(moment).replace(' ', 'T')}.000Z"


def _companies(cancelled: list[int]) -> Iterator[tuple[object, ...]]:
    for company, at in enumerate(cancelled[1:], 1):
        yield f"company{company}", time_or_none(at)


def _users(draw: random.Random, users: Users) -> Iterator[tuple[object, ...]]:
    for user in range(1, len(users.came)):
        own = users.company[user] == user or draw.random() < 0.3
        yield _user(user, users.company[user], own, users.came[user], users.left[user])


def _user(user: int, company: int, own: bool, came: int, left: int) -> tuple[object, ...]:
    first, last = name_of(user)
    email = f"{first}.{last}@company{company}.example".lower()
    return (
        user,
        first,
        last,
        email,
        "user" if own else "administers.admin",
        time(came),
        time_or_none(left),
    )


def _memberships(draw: random.Random, users: Users) -> Iterator[tuple[object, ...]]:
    for user in range(1, len(users.came)):
        company = users.company[user]
        admin = company == user or draw.random() < 0.02
        yield user, f"company{company}", "admin" if admin else "member"


def _usage(draw: random.Random, users: Users, events: int, today: int) -> Iterator[tuple[object, ...]]:
    """Events in the order they happened, each by somebody who was active then."""
    begin = today - RECENT * DAY
    step = RECENT * DAY / max(events, 1)
    number, random_number, pages = len(users.came) - 1, draw.random, len(PAGES)
    for event in range(events):
        at = begin + (event + random_number()) * step
        user = _active(draw, users, number, at)
        yield event + 1, user, PAGES[int(random_number() * pages)], time(int(at))


def _active(draw: random.Random, users: Users, number: int, at: float) -> int:
    """Somebody who was active then; user 1 always was."""
    for _ in range(20):
        user = 1 + int(draw.random() * number)
        if users.active(user, at):
            return user
    return 1


def _cases(draw: random.Random, users: Users, cases: int, today: int) -> Iterator[tuple[object, ...]]:
    """Cases in the order they were opened, each closed within two weeks; the last is open."""
    begin = today - RECENT * DAY
    step = RECENT * DAY / cases
    for case in range(cases):
        opened_at = int(begin + (case + draw.random()) * step)
        closed_at = opened_at + draw.randrange(600, 14 * DAY)
        user = _active(draw, users, len(users.came) - 1, opened_at)
        closed = time(closed_at) if closed_at < today and case < cases - 1 else None
        yield case + 1, user, draw.randrange(1, STAFF + 1), time(opened_at), closed


def _expired(database: Database, draw: random.Random, people: int, today: int) -> tuple[int, int]:
    """Accounts deactivated more than 24 months ago, with usage from before that; how many of each."""
    companies = database.number("SELECT count(*) FROM companies")
    event = database.number("SELECT max(id) FROM usage_events")
    users, members, events = [], [], []
    for user in range(people + 1, people + people // 200 + 4):
        company = draw.randrange(1, companies + 1)
        left = ago(draw, today, OLD, 1_200)
        came = left - draw.randrange(60 * DAY, 700 * DAY)
        users.append(_user(user, company, True, came, left))
        members.append((user, f"company{company}", "member"))
        for _ in range(10):
            event += 1
            events.append((event, user, draw.choice(PAGES), time(draw.randrange(came, left))))
    database.insert("users", "id, first_name, last_name, email, source, created_at, deactivated_at", users)
    database.insert("memberships", "user_id, company_id, role", members)
    database.insert("usage_events", "id, user_id, page, at", events)
    return len(users), len(events)


def _stale(database: Database, draw: random.Random, rows: int, today: int) -> int:
    """Usage past its limit, by users who were there then and whose accounts stay; how many rows."""
    came = time(today - 1_000 * DAY)
    within = time(today - RECENT * DAY)
    found = database.run(
        "SELECT id FROM users WHERE created_at <= ?"
        " AND (deactivated_at IS NULL OR deactivated_at >= ?) ORDER BY id",
        came,
        within,
    )
    event = database.number("SELECT max(id) FROM usage_events")
    events = [
        (event + row, draw.choice(found)[0], draw.choice(PAGES), time(ago(draw, today, OLD, 1_000)))
        for row in range(1, rows + 1)
    ]
    database.insert("usage_events", "id, user_id, page, at", events)
    return len(events)
