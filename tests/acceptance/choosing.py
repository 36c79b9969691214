"""A company whose people choose: members, some of them minors with guardians, and visitors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from unittest.mock import patch

from kept.company import Company, opened
from kept.controls.registry import SECTIONS
from kept.controls.rights.people import Person
from kept.policy.policy import Policy
from kept.policy.read import read
from kept.policy.source import Source

START: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)

POLICY: Final = """\
kept: 1
policy: Lumi
version: 2026-03-01
laws: [gdpr, ccpa]
parties:
  lumi:   {role: us, name: Lumi, authority: eea, contacts: {privacy: {email: privacy@lumi.example}}}
  lucent: {role: controller, name: Lucent, region: eea}
stores:
  app:  {at: "sqlite:///app.sqlite", region: eea}
  site: {at: "https://www.lumi.example", kind: browser}
people:
  member:  {in: app.members, key: id, known-by: {email: email}, born: born_on, region: country, ended: closed_at}
  seller:  {is: member, when: sells = 1}
  minor:   {is: member, when: age < 18}
  visitor: {in: app.visits, key: visitor_id}
links:
  guardianship:
    in: app.guardians
    between: {guardian: member at owner_id, ward: minor at member_id}
    began: permitted_at
    ended: ended_at
data:
  email:    {of: member, in: {app.members: {email: email, country: place, born_on: birth-date}}}
  works:    {of: seller, in: {app.works: {title: free-text}}}
  place:    {of: member, in: {app.places: {spot: precise-location}}}
  activity: {of: [member, visitor], in: {app.visits: {page: behaviour}, site.cookie: {_lm*: identifier}}}
choices:
  guardian:   {of: minor, by: guardianship.guardian, ask: opt-in, covers: everything}
  newsletter: {of: member, ask: double-opt-in}
  promotions: {of: member, ask: opt-in, each: channel}
  contact:    {of: member, ask: opt-out, each: purpose}
  ads:        {of: [member, visitor], ask: {eea: opt-in, uk: opt-in, elsewhere: opt-out}, signals: gpc}
  location:   {of: member, ask: opt-in, signals: device}
  off-site:   {of: seller, with: lucent, ask: opt-in}
  trial:      {of: member, ask: opt-in, lapses: 30 days}
purposes:
  service:    {uses: [email, works, place, activity], ground: contract, sends: email}
  newsletter: {uses: email, ground: consent, choice: newsletter, sends: email}
  promotions: {uses: email, ground: consent, choice: promotions, sends: [email, push]}
  feedback:   {uses: email, ground: legitimate-interest, interest: learning, choice: contact, sends: email}
  surveys:    {uses: email, ground: legitimate-interest, interest: learning, choice: contact, sends: email}
  ads:
    uses: [activity, email]
    ground: {eea: consent, uk: consent, elsewhere: legitimate-interest}
    interest: being known
    choice: ads
  local-ads:  {uses: place, ground: consent, choice: [ads, location]}
  off-site:   {uses: works, ground: consent, choice: off-site, sends: email}
  trial:      {uses: email, ground: consent, choice: trial, sends: email}
"""

SCHEMA: Final = """\
CREATE TABLE members (id INTEGER PRIMARY KEY, email TEXT, country TEXT, born_on TEXT, sells INTEGER NOT NULL,
                      closed_at TEXT);
CREATE TABLE works (id INTEGER PRIMARY KEY, member_id INTEGER REFERENCES members (id), title TEXT);
CREATE TABLE places (id INTEGER PRIMARY KEY, member_id INTEGER REFERENCES members (id), spot TEXT);
CREATE TABLE visits (visitor_id TEXT PRIMARY KEY, member_id INTEGER REFERENCES members (id), page TEXT);
CREATE TABLE guardians (id INTEGER PRIMARY KEY, owner_id INTEGER REFERENCES members (id),
                        member_id INTEGER REFERENCES members (id), permitted_at TEXT, ended_at TEXT);
"""


@dataclass
class Clock:
    """A clock that is set by hand."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **by: float) -> None:
        self.now += timedelta(**by)


def policy(text: str = POLICY) -> Policy:
    """The policy; what `check` would say of it besides is of no concern here."""
    found, problems = read(Source("policy.yaml", text), SECTIONS)
    assert found is not None and not problems.errors, [problem.message for problem in problems.errors]
    return found


def database(folder: Path, members: int = 12) -> None:
    """The company's own database: members in several countries, sellers, minors with guardians, some who have left."""
    countries = ("fr", "US", "us-ca", "gb", None, "nowhere", "br")
    with closing(sqlite3.connect(folder / "app.sqlite")) as raw, raw:
        raw.executescript(SCHEMA)
        raw.executemany(
            "INSERT INTO members VALUES (?, ?, ?, ?, ?, ?)",
            [
                (
                    id,
                    f"m{id}@mail.example",
                    countries[id % len(countries)],
                    ("2012-03-04" if id % 5 == 0 else None if id % 11 == 0 else "1980-01-01"),
                    id % 3 == 0,
                    ("2025-01-01" if id % 8 == 0 else "2099-01-01" if id % 9 == 0 else None),
                )
                for id in range(1, members + 1)
            ],
        )
        raw.executemany(
            "INSERT INTO guardians (owner_id, member_id, permitted_at, ended_at) VALUES (?, ?, ?, ?)",
            [(1, id, "2026-01-01", "2026-02-01" if id % 3 == 0 else None) for id in range(5, members + 1, 5)],
        )


@contextmanager
def company(
    folder: Path, clock: Clock | None = None, *, state: str | None = None, text: str = POLICY
) -> Iterator[Company]:
    """The company, opened; `state` is the address of a PostgreSQL database for Kept's state, else a file."""
    if not (folder / "app.sqlite").exists():
        folder.mkdir(parents=True, exist_ok=True)
        database(folder)
    with (
        patch.dict("os.environ", {"KEPT_STATE_URL": state or ""}),
        opened(policy(text), folder, clock or Clock()) as found,
    ):
        yield found


def enrol(folder: Path, *ids: int, country: str | None = None) -> None:
    """More members, grown-up, in the company's own database."""
    with closing(sqlite3.connect(folder / "app.sqlite")) as raw, raw:
        raw.executemany(
            "INSERT INTO members VALUES (?, ?, ?, '1980-01-01', 0, NULL)",
            [(id, f"m{id}@mail.example", country) for id in ids],
        )


def member(id: int) -> Person:
    return Person("member", (str(id),))


def visitor(id: int) -> Person:
    return Person("visitor", (f"{id:032x}",))


def execute(folder: Path, statement: str, *values: object) -> None:
    """Change the company's own database."""
    with closing(sqlite3.connect(folder / "app.sqlite")) as raw, raw:
        raw.execute(statement, values)
