"""A company whose staff work on cases: errors, tickets whose test must hold, visits with a key of two columns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import sqlalchemy as sa

from kept.company import Company, opened
from kept.controls.rights.people import Person
from kept.stores.opening import open_store
from tests.acceptance.choosing import Clock, policy

POLICY: Final = """\
kept: 1
policy: Desk
version: 2026-03-01
laws: [gdpr]
parties:
  desk: {role: us, name: Desk, authority: eea, contacts: {privacy: {email: privacy@desk.example}}}
stores:
  app: {at: $APP_DATABASE_URL, region: eea}
people:
  user:     {in: app.users, key: id, known-by: {email: email}, began: joined_at, ended: left_at}
  reader:   {in: app.readers, key: name}
  engineer: {is: staff}
  senior:   {is: engineer}
  agent:    {is: staff}
links:
  error:
    in: app.errors
    between: {user: user at user_id, engineer: engineer at engineer_id}
    began: opened_at
    ended: closed_at
  ticket:
    in: app.tickets
    between: {user: user at user_id, agent: agent at agent_id}
    when: kind = question
    began: opened_at
    ended: closed_at
  visit:  {in: app.visits, between: {user: user at user_id, handler: staff at staff_id}, ended: over_at}
  query:  {in: app.queries, between: {reader: reader at reader, agent: agent at agent}, ended: closed_at}
data:
  account: {of: user, in: {app.users: {email: email, secret: credential, joined_at: recorded}}}
  usage:   {of: user, in: {app.events: {page: behaviour, at: recorded}}}
  asked:   {of: user, in: {app.tickets: {words: free-text}}}
  reading: {of: reader, in: {app.readers: {book: behaviour}}}
purposes:
  sign-in:  {uses: account, ground: contract}
  mending:  {uses: usage, ground: legitimate-interest, interest: mending, case: error}
  helping:  {uses: [account, usage, asked], ground: contract, case: [ticket, visit]}
  lending:  {uses: reading, ground: contract, case: query}
  auditing: {uses: account, ground: legal-duty, law: the audit act, by: agent, needs: reason, tells: user}
  trends:   {uses: usage, ground: legitimate-interest, interest: trends, groups: 10}
retention:
  account: {keeps: account, until: 12 months after user.ended, then: delete}
  usage:   {keeps: usage, until: 2 months after recorded, then: delete}
  asked:   {keeps: asked, until: 1 months after ticket.ended, then: delete}
"""

SCHEMA: Final = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(200), secret VARCHAR(200), joined_at {time},"
    " left_at {time})",
    "CREATE TABLE readers (name VARCHAR(200) PRIMARY KEY, book VARCHAR(200))",
    "CREATE TABLE errors (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), engineer_id INTEGER,"
    " opened_at {time}, closed_at {time})",
    "CREATE TABLE tickets (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), agent_id VARCHAR(40),"
    " kind VARCHAR(40), words VARCHAR(200), opened_at {time}, closed_at {time})",
    "CREATE TABLE visits (day VARCHAR(40), number INTEGER, user_id INTEGER REFERENCES users (id), staff_id VARCHAR(40),"
    " over_at {time}, PRIMARY KEY (day, number))",
    "CREATE TABLE queries (id VARCHAR(200) PRIMARY KEY, reader VARCHAR(200) REFERENCES readers (name),"
    " agent VARCHAR(200), closed_at {time})",
    "CREATE TABLE events (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), page VARCHAR(200), at {time})",
)

ROWS: Final = (
    "INSERT INTO users VALUES (1, 'u1@mail.example', 'hunter', '2025-01-01 00:00:00', NULL)",
    "INSERT INTO users VALUES (2, 'u2@mail.example', 'hunter', '2025-01-01 00:00:00', NULL)",
    "INSERT INTO users VALUES (3, 'u3@mail.example', 'hunter', '2025-01-01 00:00:00', NULL)",
    "INSERT INTO readers VALUES ('o''brien; --', 'Emma'), ('None', 'Ulysses'), ('007', 'Persuasion'), ('7', 'Kim')",
    "INSERT INTO errors VALUES (81, 1, 4, '2026-05-30 10:00:00', NULL)",
    "INSERT INTO errors VALUES (82, 2, 4, '2026-05-30 10:00:00', NULL)",
    "INSERT INTO errors VALUES (83, 1, 5, '2026-05-30 10:00:00', NULL)",
    "INSERT INTO errors VALUES (84, 1, 4, '2026-05-01 10:00:00', '2026-05-02 10:00:00')",
    "INSERT INTO errors VALUES (85, 1, 4, '2026-06-02 10:00:00', NULL)",
    "INSERT INTO errors VALUES (86, 1, NULL, '2026-05-30 10:00:00', NULL)",
    "INSERT INTO errors VALUES (87, NULL, 4, '2026-05-30 10:00:00', NULL)",
    "INSERT INTO errors VALUES (88, 1, 4, NULL, NULL)",
    "INSERT INTO errors VALUES (89, 1, 4, '2026-05-30 10:00:00', '2026-07-01 10:00:00')",
    "INSERT INTO tickets VALUES (12, 1, '07', 'question', 'how so', '2026-05-30 10:00:00', NULL)",
    "INSERT INTO tickets VALUES (13, 1, '07', 'praise', 'so good', '2026-05-30 10:00:00', NULL)",
    "INSERT INTO tickets VALUES (14, 1, '07', 'question', 'long ago', '2026-01-01 10:00:00', '2026-01-02 10:00:00')",
    "INSERT INTO visits VALUES ('2026-06-01', 7, 1, 'ines', NULL), ('a,b%', 8, 1, 'ines', NULL)",
    "INSERT INTO queries VALUES ('x'' OR ''1''=''1', 'o''brien; --', 'a''b', NULL), ('n', NULL, NULL, NULL),"
    " ('q7', '7', '7', NULL), ('q007', '007', '007', NULL)",
    "INSERT INTO events VALUES (1, 1, 'board', '2026-05-20 10:00:00'), (2, 1, 'chart', '2026-01-20 10:00:00'),"
    " (3, 2, 'other', '2026-05-20 10:00:00'), (4, 1, 'lost', NULL)",
)


@contextmanager
def desk(
    folder: Path, clock: Clock | None = None, *, app: str | None = None, state: str = "", text: str = POLICY
) -> Iterator[Company]:
    """The company, opened, its database made on first use; `app` is the database's address, else a file's."""
    folder.mkdir(parents=True, exist_ok=True)
    url = app or f"sqlite:///{folder / 'app.sqlite'}"
    if not (folder / "made").exists():
        (folder / "app.sqlite").touch()
        do(url, *(one.format(time="TIMESTAMP" if app else "TEXT") for one in SCHEMA), *ROWS)
        (folder / "made").touch()
    settings = {"APP_DATABASE_URL": url, "KEPT_STATE_URL": state}
    with patch.dict("os.environ", settings), opened(policy(text), folder, clock or Clock()) as found:
        yield found


def do(url: str, *statements: str) -> None:
    """Change the company's database, as its own application would."""
    store = open_store("app", url, Path())
    try:
        with store.engine.begin() as connection:
            for one in statements:
                connection.execute(sa.text(one.replace(":", r"\:")))
    finally:
        store.dispose()


def change(*statements: str) -> None:
    """The same, of the company that is open."""
    do(os.environ["APP_DATABASE_URL"], *statements)


def user(id: int) -> Person:
    return Person("user", (str(id),))


def entries(company: Company, act: str) -> list[dict[str, Any]]:
    """What the ledger has of an act."""
    return [entry for entry in company.ledger.entries() if entry["act"] == act]
