"""A shop on PostgreSQL with a guard, and its database as somebody sees it who opened psql in a role."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy import insert

from kept.company import Company, opened
from kept.controls.purposes.guard import applying, plan
from kept.controls.purposes.guard.plan import Plan
from kept.controls.registry import SECTIONS
from kept.controls.rights.people import Person
from kept.policy.policy import Policy
from kept.policy.read import read
from kept.policy.source import Source
from kept.state.tables import instructions

POLICY: Final = """\
kept: 1
policy: Shop
version: 2026-03-01
laws: [gdpr]
parties:
  shop: {role: us, name: Shop, authority: eea, contacts: {privacy: {email: privacy@shop.example}}}
stores:
  app:
    at: "$APP_DATABASE_URL"
    region: eea
    roles: {web_X: [service, letters], news_X: news, report_X: improve, desk_X: help}
    impersonal: [products]
people:
  member: {in: app.members, key: id, known-by: {email: email}, began: joined_at, ended: left_at}
  agent:  {is: staff}
links:
  ticket:
    in: app.tickets
    between: {member: member at member_id, agent: agent at agent_id}
    began: opened_at
    ended: closed_at
data:
  account:  {of: member, in: {app.members: {name: name, email: email, joined_at: recorded}}}
  token:    {of: member, in: {app.members: {token: credential}}}
  posts:    {of: member, in: {app.posts: {body: free-text, written_at: recorded}}}
  comments: {of: member, in: {app.comments: {body: free-text}}}
  usage:    {of: member, in: {app.usage: {page: behaviour, at: recorded}}}
collection:
  joining:  {takes: [account, token, posts, comments, usage], from: member}
  no-cards: {never: card-number, clause: SH-1}
choices:
  news: {of: member, ask: opt-in}
purposes:
  service: {uses: [account, token, posts, comments], ground: contract, clause: SH-2}
  letters: {uses: account, ground: legitimate-interest, interest: being read, clause: SH-3}
  news:    {uses: account, ground: consent, choice: news, sends: email, clause: SH-4}
  improve: {uses: usage, ground: legitimate-interest, interest: a better shop, groups: 5, clause: SH-5}
  help:    {uses: account, ground: contract, case: ticket}
  nothing: {never: undeclared, clause: SH-6}
"""

SCHEMA: Final = """\
CREATE TABLE members (id integer PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE, token text,
  joined_at timestamp NOT NULL, left_at timestamp);
CREATE TABLE posts (id integer PRIMARY KEY, member_id integer NOT NULL REFERENCES members, body text NOT NULL,
  written_at timestamp NOT NULL);
CREATE INDEX posts_member_id ON posts (member_id);
CREATE TABLE comments (id integer PRIMARY KEY, post_id integer NOT NULL REFERENCES posts, body text NOT NULL);
CREATE TABLE usage (id integer PRIMARY KEY, member_id integer NOT NULL REFERENCES members, page text NOT NULL,
  at timestamp NOT NULL);
CREATE TABLE tickets (id integer PRIMARY KEY, member_id integer NOT NULL REFERENCES members, agent_id integer NOT NULL,
  opened_at timestamp NOT NULL, closed_at timestamp);
CREATE TABLE products (id integer PRIMARY KEY, title text NOT NULL);
CREATE VIEW addresses AS SELECT id, email FROM members;
INSERT INTO members SELECT n, 'name' || n, 'm' || n || '@mail.example', 'secret-' || n, '2024-01-01', NULL
  FROM generate_series(1, 40) n;
INSERT INTO posts SELECT n, n, 'post of ' || n, '2025-01-01' FROM generate_series(1, 40) n;
INSERT INTO comments SELECT n, n, 'comment on ' || n FROM generate_series(1, 40) n;
INSERT INTO usage SELECT n, 1 + n % 40, CASE WHEN n % 40 < 4 THEN 'rare' ELSE 'shelf' END,
  timestamp '2025-03-01' + n * interval '1 minute' FROM generate_series(1, 200) n;
INSERT INTO usage SELECT 1000 + n, n, 'today', now() AT TIME ZONE 'UTC' FROM generate_series(1, 30) n;
INSERT INTO tickets VALUES (1, 1, 7, '2025-01-01', NULL);
INSERT INTO products VALUES (1, 'tea');
"""


@dataclass
class Shop:
    """The shop, opened; `roles` are its database roles by what they are called in the policy above."""

    company: Company
    url: str
    mark: str
    plan: Plan | None = None
    made: list[str] = field(default_factory=list)

    def role(self, name: str) -> str:
        return f"{name}_{self.mark}"

    def apply(self) -> Plan:
        """As somebody does who reads the plan first."""
        self.plan = plan.make(self.company, "app")
        plan.show(self.company, self.plan)
        return applying.apply(self.company, "app", "tester")

    def own(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """As the owner."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            done = connection.execute(statement, values or None)
            return done.fetchall() if done.description else []

    @contextmanager
    def psql(self, role: str) -> Iterator[psycopg.Connection]:
        """A session in which somebody is a role, and nothing but that."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'SET SESSION AUTHORIZATION "{self.role(role)}"')
            yield connection

    def ask(self, role: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self.psql(role) as connection:
            done = connection.execute(statement, values or None)
            return done.fetchall() if done.description else []

    def refused(self, role: str, statement: str) -> str:
        """The database's words where it refuses; fails where it doesn't."""
        try:
            rows = self.ask(role, statement)
        except psycopg.errors.InsufficientPrivilege as error:
            return str(error)
        raise AssertionError(f"not refused: {rows}")

    def instruct(self, number: int, verb: str, scope: str = "*") -> None:
        """Somebody restricts or objects: the row that such a request leaves."""
        who = member(number)
        pseudonym = self.company.pseudonyms.of([str(who)])[str(who)]
        with self.company.state.write() as connection:
            connection.execute(
                insert(instructions).values(
                    pseudonym=pseudonym,
                    verb=verb,
                    scope=scope,
                    who=self.company.keys.seal("instruction", str(who).encode()),
                    since=datetime.now(UTC).isoformat(),
                    request=uuid.uuid4().hex,
                )
            )

    def lifted(self, number: int) -> None:
        """And takes it back."""
        pseudonym = self.company.pseudonyms.of([str(member(number))])[str(member(number))]
        with self.company.state.write() as connection:
            now = datetime.now(UTC).isoformat()
            mine = instructions.c.pseudonym == pseudonym
            connection.execute(instructions.update().where(mine).values(ended=now, who=None))


def member(number: int) -> Person:
    return Person("member", (str(number),))


def policy(mark: str, text: str = POLICY) -> Policy:
    found, problems = read(Source("policy.yaml", text.replace("_X", f"_{mark}")), SECTIONS)
    assert found is not None, [problem.message for problem in problems.errors]
    return found


@contextmanager
def shop(folder: Path, url: str, text: str = POLICY, schema: str = SCHEMA) -> Iterator[Shop]:
    """The shop in an empty database, its roles with the rights that roles have where nobody thought about them."""
    mark = uuid.uuid4().hex[:8]
    (folder / ".env").write_text(f"APP_DATABASE_URL={url}\n", "utf-8")
    roles = [f"{name}_{mark}" for name in ("web", "news", "report", "desk", "old")]
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(schema)
        for role in roles:
            owner.execute(f'CREATE ROLE "{role}" LOGIN')
            owner.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "{role}"')
            owner.execute(f'GRANT CREATE ON SCHEMA public TO "{role}"')
    with ExitStack() as stack:
        stack.callback(_drop, url, roles)
        company = stack.enter_context(opened(policy(mark, text), folder))
        yield Shop(company, url, mark)


def _drop(url: str, roles: list[str]) -> None:
    """Roles belong to the whole server."""
    with psycopg.connect(url, autocommit=True) as owner:
        for role in roles:
            owner.execute(f'DROP OWNED BY "{role}" CASCADE')
            owner.execute(f'DROP ROLE "{role}"')
