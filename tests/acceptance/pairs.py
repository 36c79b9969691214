"""A small marketplace in which people see each other or don't, and an independent account of who sees whom.

The account (`Model`) reads the rows as the test made them: it shares no code with the gate.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from kept.company import Company, opened
from kept.controls.choices.records.book import New, record
from kept.controls.rights.people import Person
from kept.state.tables import instructions
from kept.stores.opening import open_store
from tests.acceptance.choosing import Clock, policy
from tests.mariadb import translated

ZONE: Final = ZoneInfo("Europe/Brussels")
NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
EEA_UK: Final = frozenset({"fr", "de-by", "gb", "be"})
COUNTRIES: Final = ("fr", "DE_by", "us", "us-ca", " gb ", None, "nowhere", "br")

POLICY: Final = """\
kept: 1
policy: Pairs
version: 2026-03-01
laws: [gdpr, ccpa]
timezone: Europe/Brussels
parties:
  lumi: {role: us, name: Lumi, authority: eea, contacts: {privacy: {email: privacy@lumi.example}}}
  mail: {role: controller, name: Mail, region: eea}
stores:
  shop: {at: $PAIRS, region: eea}
people:
  member:   {in: shop.members, key: id, born: born_on, region: country, began: joined_at, ended: closed_at}
  seller:   {is: member, when: sells = 1}
  minor:    {is: member, when: age < 18}
  supplier: {in: shop.suppliers, key: id}
  trust:    {is: staff}
links:
  sale:
    in: shop.sales
    between: {buyer: member at buyer_id, seller: seller at seller_id}
    began: agreed_at
    ended: closed_at
  block:        {in: shop.blocks, between: {blocker: member at member_id, blocked: member at blocked_id}}
  guardianship: {in: shop.guardians, between: {guardian: member at owner_id, ward: minor at member_id}}
  dispute:
    in: shop.disputes
    between: {buyer: member at buyer_id, handler: trust at staff_id}
    began: opened_at
    ended: closed_at
data:
  joined:    {of: member, in: {shop.members: {joined_at: time}}}
  phone:     {of: member, in: {shop.members: {phone: phone}}}
  secret:    {of: member, in: {shop.members: {secret: credential}}}
  works:     {of: member, in: {shop.works: {body: free-text, at: recorded}}}
  shop-name: {of: seller, in: {shop.members: {shop: username}}}
  address:   {of: member, in: {shop.addresses: {line: address}}}
  payment:   {of: [sale.buyer, sale.seller], in: {shop.sales: {amount: transaction}}}
  parts:     {of: [sale.buyer, sale.seller], in: {shop.parcels: {what: transaction}}}
  goods:     {of: supplier, in: {shop.suppliers: {goods: free-text}}}
choices:
  guardian: {of: minor, by: guardianship.guardian, ask: opt-in, covers: everything}
  public:   {of: member, ask: opt-out}
  open:     {of: member, ask: {eea: opt-in, uk: opt-in, elsewhere: opt-out}}
purposes:
  profile:  {uses: [joined, works, secret], ground: legitimate-interest, interest: showing}
  showing:  {uses: [joined], ground: consent, choice: open}
  dealing:  {uses: [address, payment, parts, phone], ground: contract}
  selling:  {uses: [shop-name, goods], ground: contract}
  tax:      {uses: payment, ground: legal-duty, law: tax code}
  local:    {uses: works, ground: legitimate-interest, interest: being near, regions: [eea, us-ca]}
  growing:  {uses: works, ground: legitimate-interest, interest: growing, groups: 5}
  disputes: {uses: payment, ground: contract, case: dispute}
disclosure:
  profile:    {to: anyone, gives: [joined, works, secret], for: profile, choice: public, unless: block}
  among:      {to: member, gives: joined, for: showing}
  sellers:    {to: seller, gives: joined, for: showing}
  deal:       {to: sale, gives: [address, payment, parts], for: dealing, during: sale, until: 90 days after sale.ended}
  deal-phone: {to: sale, gives: phone, for: dealing, during: sale, until: 90 days after sale.ended, needs: asked}
  badge:      {to: sale.buyer, gives: shop-name, for: selling, regions: [eea, uk]}
  mail:       {to: mail, gives: works, for: profile}
  handled:    {to: dispute.handler, gives: phone, for: dealing}
  never:      {never: undeclared, clause: LM-25}
retention:
  account:
    keeps: [joined, phone, secret, shop-name, address, works, parts]
    until: 30 days after member.ended
    then: delete
  works:   {keeps: works, until: 12 months after recorded, then: delete}
  payment: {keeps: payment, until: 2 years after sale.ended, then: delete, hold: tax}
  goods:   {keeps: goods, until: supplier.ended, then: delete}
"""

TABLES: Final = (
    "CREATE TABLE members (id INTEGER PRIMARY KEY, country TEXT, born_on DATE, sells INTEGER NOT NULL,"
    " joined_at TIMESTAMP, closed_at TIMESTAMP, phone TEXT, shop TEXT, secret TEXT)",
    "CREATE TABLE suppliers (id INTEGER PRIMARY KEY, goods TEXT)",
    "CREATE TABLE works (id INTEGER PRIMARY KEY, member_id INTEGER REFERENCES members (id), body TEXT, at TIMESTAMP)",
    "CREATE TABLE addresses (id INTEGER PRIMARY KEY, member_id INTEGER REFERENCES members (id), line TEXT)",
    "CREATE TABLE sales (id INTEGER PRIMARY KEY, buyer_id INTEGER REFERENCES members (id),"
    " seller_id INTEGER REFERENCES members (id), amount INTEGER, agreed_at TIMESTAMP, closed_at TIMESTAMP)",
    "CREATE TABLE parcels (id INTEGER PRIMARY KEY, sale_id INTEGER REFERENCES sales (id), what TEXT)",
    "CREATE TABLE blocks (id INTEGER PRIMARY KEY, member_id INTEGER REFERENCES members (id),"
    " blocked_id INTEGER REFERENCES members (id))",
    "CREATE TABLE guardians (id INTEGER PRIMARY KEY, owner_id INTEGER REFERENCES members (id),"
    " member_id INTEGER REFERENCES members (id))",
    "CREATE TABLE disputes (id INTEGER PRIMARY KEY, buyer_id INTEGER REFERENCES members (id),"
    " staff_id INTEGER, opened_at TIMESTAMP, closed_at TIMESTAMP)",
)


def member(number: int | str) -> Person:
    return Person("member", (str(number),))


@dataclass
class World:
    """What stands in the database, row by row, and what people said."""

    members: dict[int, dict[str, Any]] = field(default_factory=dict)
    sales: list[dict[str, Any]] = field(default_factory=list)
    works: list[dict[str, Any]] = field(default_factory=list)
    parcels: list[dict[str, Any]] = field(default_factory=list)
    addresses: list[dict[str, Any]] = field(default_factory=list)
    blocks: list[dict[str, Any]] = field(default_factory=list)
    guardians: list[dict[str, Any]] = field(default_factory=list)
    public: dict[int, str] = field(default_factory=dict)
    open: dict[int, str] = field(default_factory=dict)
    allowed: set[int] = field(default_factory=set)  # minors with a guardian's yes
    restricted: set[int] = field(default_factory=set)
    objected: set[int] = field(default_factory=set)  # to `profile`


def drawn(draw: random.Random, people: int = 12, now: datetime = NOW) -> World:
    """A random world, full of edges of time."""
    world, day = World(), timedelta(days=1)
    edge = Model(world, now).sale_edge()
    for id in range(1, people + 1):
        closed = draw.choice([None, None, None, None, now - 60 * day, now - 3 * day, now, now + 5 * day])
        born = draw.choice([date(1980, 5, 31), date(1990, 1, 1), date(2012, 3, 4), date(2008, 6, 1), None])
        world.members[id] = {
            "id": id, "country": draw.choice(COUNTRIES), "born_on": born, "sells": draw.randint(0, 1),
            "joined_at": now - 400 * day, "closed_at": closed, "phone": f"+320000{id}", "shop": f"shop {id}",
            "secret": "s",
        }  # fmt: skip
        if draw.random() < 0.4:
            world.public[id] = draw.choice(["yes", "no", "no"])
        if draw.random() < 0.4:
            world.open[id] = draw.choice(["yes", "yes", "no"])
        if draw.random() < 0.1:
            world.restricted.add(id)
        if draw.random() < 0.1:
            world.objected.add(id)
        for _ in range(draw.randint(0, 2)):
            at = draw.choice([now - 10 * day, now - 500 * day, now - 364 * day])
            world.works.append({"id": len(world.works) + 1, "member_id": id, "body": "w", "at": at})
        world.addresses.append({"id": id, "member_id": id, "line": f"{id} Example Street"})
    for id, who in world.members.items():
        if who["born_on"] in (date(2012, 3, 4), date(2008, 6, 1)) and draw.random() < 0.6:
            owner = draw.randint(1, people)
            grown = world.members[owner]
            of_age = grown["born_on"] is not None and grown["born_on"].year < 2000
            if owner != id and of_age and grown["closed_at"] is None:
                world.guardians.append({"id": id, "owner_id": owner, "member_id": id})
                world.allowed.add(id)
    for number in range(1, 4 * people):
        agreed = draw.choice([now - 200 * day, now - day, now, now + day, None])
        closed = draw.choice(
            [
                None,
                now - 10 * day,
                edge,
                edge - timedelta(seconds=1),
                edge + timedelta(seconds=1),
                now - 800 * day,
            ]
        )
        buyer, seller = draw.randint(1, people), draw.choice([*range(1, people + 1), None])
        world.sales.append(
            {
                "id": number,
                "buyer_id": buyer,
                "seller_id": seller,
                "amount": 5,
                "agreed_at": agreed,
                "closed_at": closed,
            }
        )
        world.parcels.append({"id": number, "sale_id": number, "what": "a box"})
    for number in range(1, people):
        one, other = draw.randint(1, people), draw.randint(1, people)
        world.blocks.append({"id": number, "member_id": one, "blocked_id": other})
    return world


@dataclass
class Model:
    """Who sees whom, in plain words."""

    world: World
    now: datetime

    def sale_edge(self) -> datetime:
        """The first instant of the earliest day whose 90 days aren't over: what ended before it is out of sight."""
        today = self.now.astimezone(ZONE).date()
        first = today - timedelta(days=90)
        return datetime(first.year, first.month, first.day, tzinfo=ZONE).astimezone(UTC)

    def region(self, id: int) -> str | None:
        text = (self.world.members[id]["country"] or "").strip().lower().replace("_", "-")
        return text if text in ("fr", "de-by", "us", "us-ca", "gb", "br") else None

    def speaks(self, id: int) -> bool:
        """Whether nobody else has to allow it: grown up for sure, or a child whose guardian said yes."""
        born = self.world.members[id]["born_on"]
        if born is None:
            return False
        today = self.now.astimezone(ZONE).date()
        age = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
        return age >= 18 or id in self.world.allowed

    def within(self, id: int) -> bool:
        """Whether the 30 days after their end aren't over."""
        closed = self.world.members[id]["closed_at"]
        if closed is None:
            return True
        over = closed.astimezone(ZONE).date() + timedelta(days=31)
        return self.now < datetime(over.year, over.month, over.day, tzinfo=ZONE)

    def has_left(self, id: int) -> bool:
        closed = self.world.members[id]["closed_at"]
        return closed is not None and closed <= self.now

    def wants(self, id: int, purpose: str) -> bool:
        world = self.world
        if not self.speaks(id):
            return False
        if id in world.restricted and purpose in ("profile", "dealing", "selling", "local", "growing"):
            return False
        if purpose == "profile" and id in world.objected:
            return False
        if purpose == "showing":
            silent = self.region(id) in ("us", "us-ca", "br")
            return world.open.get(id, "yes" if silent else "no") == "yes"
        return True

    def blocked(self, one: int | None, other: int) -> bool:
        pairs = {
            (b["member_id"], b["blocked_id"]) for b in self.world.blocks if b["member_id"] != b["blocked_id"]
        }
        return (one, other) in pairs or (other, one) in pairs

    def counts(self, sale: dict[str, Any], *, during: bool) -> bool:
        agreed, closed = sale["agreed_at"], sale["closed_at"]
        if agreed is None or agreed > self.now or sale["buyer_id"] == sale["seller_id"]:
            return False
        return not during or closed is None or closed >= self.sale_edge()

    def dealt(self, viewer: int | None, subject: int, sale: dict[str, Any] | None = None) -> bool:
        pairs = ((viewer, subject), (subject, viewer))
        sales = self.world.sales if sale is None else [sale]
        return viewer is not None and any(
            self.counts(one, during=True) and (one["buyer_id"], one["seller_id"]) in pairs for one in sales
        )

    def sees(self, disclosure: str, viewer: int | None, subject: int) -> bool:
        world = self.world
        there = viewer is not None and viewer in world.members and not self.has_left(viewer)
        if subject not in world.members:
            return False
        match disclosure:
            case "profile":
                if world.public.get(subject) == "no" or self.blocked(viewer, subject):
                    return False
                return self.wants(subject, "profile") and self.within(subject)
            case "among" | "sellers":
                if not there or (disclosure == "sellers" and not world.members[viewer]["sells"]):  # type: ignore[index]  # there is a viewer
                    return False
                return self.wants(subject, "showing") and self.within(subject)
            case "deal":
                return self.dealt(viewer, subject) and self.wants(
                    subject, "dealing"
                )  # what was paid has another limit
            case "deal-phone":
                return False
            case "badge":
                bought = any(
                    self.counts(one, during=False)
                    and (one["buyer_id"], one["seller_id"]) == (viewer, subject)
                    for one in world.sales
                )
                near = self.region(subject) in EEA_UK
                sells = bool(world.members[subject]["sells"])
                return bought and near and sells and self.wants(subject, "selling") and self.within(subject)
        return False


def build(url: str, world: World) -> None:
    """Write the world into an empty database."""
    store = open_store("shop", url)
    mariadb = store.dialect == "mariadb"

    def plain(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ")
        return value.isoformat() if isinstance(value, date) else value

    with store.engine.begin() as connection:
        for statement in TABLES:
            made = statement.replace("TIMESTAMP", "DATETIME") if mariadb else statement
            connection.exec_driver_sql(translated(made) if mariadb else made)
        rows = {"members": list(world.members.values())} | {
            name: getattr(world, name)
            for name in ("sales", "works", "addresses", "parcels", "blocks", "guardians")
        }
        for table, given in rows.items():
            for row in given:
                columns = ", ".join(row)
                values = ", ".join(f":{name}" for name in row)
                connection.execute(
                    sa.text(f"INSERT INTO {table} ({columns}) VALUES ({values})"),
                    {name: plain(value) for name, value in row.items()},
                )
        connection.execute(sa.text("INSERT INTO suppliers VALUES (1, 'ink'), (2, 'paper')"))
    store.dispose()


def say(company: Company, world: World) -> None:
    """Have people say what they say in the world."""
    given = [New(member(id), "public", answer, "account") for id, answer in world.public.items()]  # type: ignore[arg-type]  # a word
    given += [New(member(id), "open", answer, "account") for id, answer in world.open.items()]  # type: ignore[arg-type]  # a word
    minors = world.allowed
    owners = {row["member_id"]: row["owner_id"] for row in world.guardians}
    given += [New(member(id), "guardian", "yes", "account", decider=member(owners[id])) for id in minors]
    if given:
        record(company, given)
    for id in world.restricted:
        instruct(company, member(id), "restrict", "*")
    for id in world.objected:
        instruct(company, member(id), "object", "profile")


def instruct(company: Company, who: Person, verb: str, scope: str) -> None:
    """Somebody says something about the use of their data."""
    row = {
        "pseudonym": company.pseudonyms.of([str(who)])[str(who)],
        "verb": verb,
        "scope": scope,
        "who": company.keys.seal("instruction", str(who).encode()),
        "since": company.clock().isoformat(),
        "ended": None,
        "request": "r",
    }
    with company.state.write() as connection:
        connection.execute(instructions.insert(), row)


@contextmanager
def company(
    folder: Path, url: str, world: World, *, clock: Clock | None = None, text: str = POLICY
) -> Iterator[Company]:
    """A company over a database that is made of a world, opened."""
    folder.mkdir(parents=True, exist_ok=True)
    build(url, world)
    with (
        patch.dict("os.environ", {"PAIRS": url, "KEPT_STATE_URL": ""}),
        opened(policy(text), folder, clock or Clock(NOW)) as found,
    ):
        say(found, world)
        yield found


def change(company: Company, statement: str, **values: object) -> None:
    """Change the company's own database, as its application would."""
    with company.stores["shop"].engine.begin() as connection:
        connection.execute(sa.text(statement), values)


def selected(
    company: Company, condition: sa.ColumnElement[bool], table: str, called: str | None = None
) -> list[int]:
    """The ids of the rows of a table that meet a condition, in order."""
    name = called or table
    query: sa.Select[Any] = sa.select(sa.literal_column(f"{name}.id")).select_from(
        sa.text(f"{table} {name}" if called else table)
    )
    with company.stores["shop"].read() as connection:
        return sorted(connection.scalars(query.where(condition)))
