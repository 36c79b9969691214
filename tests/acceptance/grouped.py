"""A company with purchases, for answers about groups: written by a test, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from kept.company import Company, opened
from kept.controls.registry import SECTIONS
from kept.controls.rights.people import Person
from kept.policy.policy import Policy
from kept.policy.read import read
from kept.policy.source import Source
from kept.stores.opening import open_store

NOW: Final = datetime(2026, 7, 10, 12, tzinfo=UTC)

POLICY: Final = """\
kept: 1
policy: Corner
version: 2026-03-01
laws: [gdpr]
parties:
  corner: {role: us, name: Corner, authority: eea, contacts: {privacy: {email: privacy@corner.example}}}
  lab:    {role: processor, name: Lab, region: eea, agreement: 2025-01-01 until ended}
  mill:   {role: processor, name: Mill, region: eea, agreement: 2025-01-01 until ended}
stores:
  app: {at: $CORNER_URL, region: eea, impersonal: [plans]}
people:
  member:  {in: app.members, key: id, known-by: {email: email}, ended: left_at}
  visitor: {in: app.visits, key: visitor_id}
  company: {in: app.companies, key: id, kind: organisation}
  analyst: {is: staff}
links:
  works-for: {in: app.jobs, between: {member: member at member_id, company: company at company_id}, when: role = member}
  sale:
    in: app.sales
    between: {buyer: member at buyer_id, seller: member at seller_id}
    began: at
data:
  account: {of: member, in: {app.members: {email: email, city: place, note: free-text}}}
  buying:
    of: member
    in: {app.buying: {page: behaviour, amount: transaction, spent: financial, said: free-text, at: recorded}}
  trade:   {of: [sale.buyer, sale.seller], in: {app.sales: {page: behaviour, amount: transaction, at: recorded}}}
  seen:    {of: [member, visitor], in: {app.visits: {page: behaviour, at: recorded}}}
  mood:    {of: member, in: {app.moods: {mood: preference}}}
choices:
  counting: {of: [member, visitor], ask: opt-out}
purposes:
  serve:   {uses: [account, buying, trade, seen, mood], ground: contract}
  improve:
    uses: [buying, trade, seen, mood]
    ground: legitimate-interest
    interest: better
    choice: counting
    groups: 5
  study:   {uses: buying, ground: legitimate-interest, interest: knowing, groups: 8}
  inside:  {uses: buying, ground: legitimate-interest, interest: knowing, groups: 5, by: analyst}
  look:    {uses: buying, ground: contract}
disclosure:
  lab: {to: lab, gives: [buying, seen], for: improve}
retention:
  buying: {keeps: buying, until: 24 months after recorded, then: delete}
"""

TABLES: Final = (
    "CREATE TABLE members (id INTEGER PRIMARY KEY, email VARCHAR(80), city VARCHAR(40), note VARCHAR(80),"
    " left_at TIMESTAMP NULL)",
    "CREATE TABLE companies (id INTEGER PRIMARY KEY)",
    "CREATE TABLE jobs (member_id INTEGER REFERENCES members (id), company_id INTEGER REFERENCES companies (id),"
    " role VARCHAR(20), PRIMARY KEY (member_id, company_id))",
    "CREATE TABLE buying (id INTEGER PRIMARY KEY, member_id INTEGER REFERENCES members (id), page VARCHAR(40),"
    " amount INTEGER NULL, spent DOUBLE PRECISION NULL, said VARCHAR(80), at TIMESTAMP NULL)",
    "CREATE TABLE sales (id INTEGER PRIMARY KEY, buyer_id INTEGER REFERENCES members (id),"
    " seller_id INTEGER REFERENCES members (id), page VARCHAR(40), amount INTEGER NULL, at TIMESTAMP NULL)",
    "CREATE TABLE visits (visitor_id VARCHAR(40) PRIMARY KEY, member_id INTEGER REFERENCES members (id),"
    " page VARCHAR(40), at TIMESTAMP NULL)",
    "CREATE TABLE moods (id INTEGER PRIMARY KEY, member_id INTEGER REFERENCES members (id), mood VARCHAR(20))",
    "CREATE INDEX buying_member ON buying (member_id)",
)


@dataclass(frozen=True)
class Bought:
    """One row of `buying`."""

    member: int
    page: str | None
    amount: int | None
    at: datetime
    spent: float | None = None


class Clock:
    """A clock a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, days: float) -> None:
        self.now += timedelta(days=days)


def member(number: int) -> Person:
    return Person("member", (str(number),))


@dataclass
class Corner:
    """The company, opened, and its database."""

    company: Company
    clock: Clock
    engine: sa.Engine

    def do(self, statement: str, *rows: Mapping[str, object]) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), [dict(row) for row in rows] or [{}])

    def join(self, numbers: Iterable[int], companies: dict[int, tuple[int, ...]] | None = None) -> None:
        """Members, and whom they work for."""
        rows = [{"n": n, "e": f"member{n}@corner.example", "c": f"city{n % 3}"} for n in numbers]
        self.do("INSERT INTO members (id, email, city, note) VALUES (:n, :e, :c, 'likes rain')", *rows)
        jobs = companies or {}
        known = sorted({one for some in jobs.values() for one in some})
        if known:
            self.do("INSERT INTO companies (id) VALUES (:n)", *({"n": n} for n in known))
            told = [{"m": m, "c": c} for m, some in jobs.items() for c in some]
            self.do("INSERT INTO jobs (member_id, company_id, role) VALUES (:m, :c, 'member')", *told)

    def buy(self, bought: Iterable[Bought]) -> None:
        with self.engine.begin() as connection:
            last = connection.execute(sa.text("SELECT COALESCE(MAX(id), 0) FROM buying")).scalar_one()
        rows = [
            {
                "i": last + i,
                "m": one.member,
                "p": one.page,
                "a": one.amount,
                "s": one.spent,
                "t": one.at.replace(tzinfo=None).isoformat(" ", "seconds"),
            }
            for i, one in enumerate(bought, 1)
        ]
        if rows:
            self.do(
                "INSERT INTO buying (id, member_id, page, amount, spent, at) VALUES (:i, :m, :p, :a, :s, :t)",
                *rows,
            )


@contextmanager
def corner(
    folder: Path, url: str | None = None, text: str = POLICY, clock: Clock | None = None
) -> Iterator[Corner]:
    """The company in a folder, on SQLite or on the database at `url`; its tables are made where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    address = url or f"sqlite:///{folder / 'corner.sqlite'}"
    (folder / ".env").write_text(f"CORNER_URL={address}\n")
    (folder / "policy.yaml").write_text(text)
    clock = clock or Clock()
    if url is None:
        (folder / "corner.sqlite").touch()
    store = open_store("app", address, folder)
    if not store.schema().tables:
        with store.engine.begin() as connection:
            for statement in TABLES:
                connection.execute(sa.text(statement))
    with opened(policy(text), folder, clock) as company:
        try:
            yield Corner(company, clock, store.engine)
        finally:
            store.dispose()


def policy(text: str = POLICY) -> Policy:
    found, problems = read(Source("policy.yaml", text), SECTIONS)
    assert found is not None and not problems.errors, [problem.message for problem in problems.errors]
    return found


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
