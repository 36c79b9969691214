"""A company that seals what its customers entrust to it: tokens, and contacts that are searched by e-mail address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import sqlalchemy as sa

from kept.company import Company, opened
from kept.controls.rights.people import Person
from kept.controls.security.sealing.sealer import Sealer
from kept.stores.opening import open_store
from kept.stores.sql import SQLStore
from tests.acceptance.choosing import Clock, policy

POLICY: Final = """\
kept: 1
policy: Vault
version: 2026-03-01
laws: [gdpr]
parties:
  vault: {role: us, name: Vault, authority: eea, contacts: {privacy: {email: privacy@vault.example}}}
stores:
  app: {at: $APP_DATABASE_URL, region: eea, roles: {web: automation}, impersonal: plans}
people:
  customer: {in: app.customers, key: id}
  support:  {is: staff}
links:
  ticket:
    in: app.tickets
    between: {customer: customer at customer_id, support: support at agent_id}
    began: opened_at
    ended: closed_at
data:
  contact:  {of: customer, in: {app.customers: {name: name, email: email}}}
  tokens:
    of: customer
    in: {app.integrations: {token: credential, endpoint: technical, made_at: recorded}}
  password: {of: customer, in: {app.logins: {hash: credential}}}
choices:
  selling: {of: customer, ask: opt-in}
purposes:
  automation: {uses: [tokens, contact], ground: contract}
  helping:    {uses: [tokens, contact], ground: contract, case: ticket}
  passing-on: {uses: tokens, ground: contract}
  selling:    {uses: [tokens, contact], ground: consent, choice: selling}
security:
  tokens:    {seals: tokens, for: [automation, helping, selling]}
  contacts:  {seals: contact, for: [automation, helping], searchable: email}
  passwords: {hashes: password, strength: 3}
"""

SCHEMA: Final = (
    "CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR(400), email VARCHAR(400) NOT NULL UNIQUE)",
    "CREATE TABLE integrations (shop VARCHAR(20), number INTEGER, customer_id INTEGER NOT NULL REFERENCES"
    " customers (id), token VARCHAR(400) NOT NULL, endpoint VARCHAR(400), made_at TIMESTAMP NULL,"
    " PRIMARY KEY (shop, number))",
    "CREATE TABLE logins (customer_id INTEGER PRIMARY KEY REFERENCES customers (id), hash VARCHAR(400))",
    "CREATE TABLE tickets (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers (id),"
    " agent_id INTEGER, opened_at TIMESTAMP NULL, closed_at TIMESTAMP NULL)",
    "CREATE TABLE plans (id INTEGER PRIMARY KEY)",
)
TOKEN: Final = "app.integrations.token"
ENDPOINT: Final = "app.integrations.endpoint"
EMAIL: Final = "app.customers.email"
NAME: Final = "app.customers.name"


def database(url: str, customers: int = 12) -> None:
    """Customers, each with two integrations whose tokens stand open."""
    store = open_store("app", url)
    with store.alone() as connection:
        for statement in SCHEMA:
            connection.execute(sa.text(statement))
    with store.write() as connection:
        for id in range(1, customers + 1):
            _put(connection, "customers", id=id, name=f"Name {id}", email=f"c{id}@mail.example")
            for shop in ("north", "south"):
                endpoint = None if id % 3 == 0 else f"https://{id}.shop.example"
                row = {"shop": shop, "number": id, "customer_id": id, "token": secret(shop, id)}
                _put(connection, "integrations", **row, endpoint=endpoint)
    store.dispose()


def _put(connection: sa.Connection, table: str, **values: object) -> None:
    columns = ", ".join(values)
    connection.execute(
        sa.text(f"INSERT INTO {table} ({columns}) VALUES ({', '.join(f':{c}' for c in values)})"), values
    )


def secret(shop: str, id: int) -> str:
    return f"token-{shop}-{id}"


@contextmanager
def company(
    folder: Path, url: str, clock: Clock | None = None, *, text: str = POLICY, state: str | None = None
) -> Iterator[Company]:
    """The company, opened on its database."""
    with (
        patch.dict("os.environ", {"APP_DATABASE_URL": url, "KEPT_STATE_URL": state or ""}),
        opened(policy(text), folder, clock or Clock()) as found,
    ):
        yield found


def customer(id: int) -> Person:
    return Person("customer", (str(id),))


def execute(opened: Company, statement: str, **values: object) -> None:
    with opened.stores["app"].write() as connection:
        connection.execute(sa.text(statement), values)


def ask(opened: Company, query: str, **values: object) -> list[tuple[Any, ...]]:
    store: SQLStore = opened.stores["app"]
    with store.read() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query), values)]


def tokens(opened: Company) -> dict[tuple[str, int], str]:
    """What stands in the column of tokens, by the key of its row."""
    rows = ask(opened, "SELECT shop, number, token FROM integrations")
    return {(shop, number): token for shop, number, token in rows}


def readable(opened: Company) -> bool:
    """Whether every token opens, and to what was sealed."""
    sealer = Sealer.of(opened)
    column = sealer.columns[TOKEN]
    return all(sealer.opened(column, key, text) == secret(*key) for key, text in tokens(opened).items())
