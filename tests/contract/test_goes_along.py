"""Rows that go with the row they refer to: by the map, which asks for no column to be empty, and in the database."""

from __future__ import annotations

from typing import Any

from kept.datamap.graph import DataMap, build_map
from kept.stores.erasing.erase import erase
from kept.stores.erasing.remains import Fingerprint, look
from kept.stores.sql import SQLStore
from tests.contract.company import build, rows
from tests.declared import declared

VISITS = """
stores:
  app: {at: $APP, region: eea}
people:
  visitor:  {in: app.visits, key: visitor_id}
  customer: {in: app.customers, key: id}
data:
  account: {of: customer, in: {app.customers: {name: name}}}
  usage:
    of: [visitor, customer]
    in: {app.visits: {page: behaviour}, app.events: {name: behaviour}}
"""

SALES = """
stores:
  app: {at: $APP, region: eea}
people:
  user: {in: app.users, key: id}
links:
  sale: {in: app.sales, between: {buyer: user at buyer_id, seller: user at seller_id}, erased: {seller: remove}}
data:
  account:  {of: user, in: {app.users: {name: name}}}
  delivery: {of: sale.buyer, in: {app.deliveries: {street: address}}}
"""


def problems(found: DataMap) -> list[str]:
    return [problem.code for problem in found.problems if problem.severity == "error"]


def erased(found: DataMap, store: SQLStore, kind: str, key: Any) -> None:
    erasure = found.erasure(kind)
    assert erasure is not None
    erase(store, erasure, [key], lambda counts: None)
    assert look(store, erasure, [key], Fingerprint()) == []


def visits(store: SQLStore) -> DataMap:
    build(
        store,
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)",
        "CREATE TABLE visits (visitor_id TEXT PRIMARY KEY, customer_id INTEGER REFERENCES customers (id), page TEXT)",
        "CREATE TABLE events (id INTEGER PRIMARY KEY, visitor_id TEXT NOT NULL REFERENCES visits (visitor_id),"
        " name TEXT)",
        "INSERT INTO customers VALUES (1, 'Ada'), (2, 'Bo')",
        "INSERT INTO visits VALUES ('a', 1, 'home'), ('b', 1, 'cart'), ('c', 2, 'home'), ('d', NULL, 'home')",
        "INSERT INTO events VALUES (1, 'a', 'x'), (2, 'a', 'y'), (3, 'b', 'x'), (4, 'c', 'x'), (5, 'd', 'x')",
    )
    return build_map(declared(VISITS), {"app": store.schema()})


def test_events_of_a_visit_that_two_kinds_of_people_own_go_with_it(store: SQLStore) -> None:
    found = visits(store)
    assert problems(found) == []
    erased(found, store, "visitor", "a")
    assert rows(store, "SELECT visitor_id FROM visits ORDER BY 1") == [("b",), ("c",), ("d",)]
    assert rows(store, "SELECT id FROM events ORDER BY 1") == [(3,), (4,), (5,)]
    assert rows(store, "SELECT count(*) FROM customers") == [(2,)]


def test_a_visit_stays_for_its_visitor_when_the_customer_goes(store: SQLStore) -> None:
    found = visits(store)
    erased(found, store, "customer", 1)
    assert rows(store, "SELECT visitor_id, customer_id FROM visits ORDER BY 1") == [
        ("a", None),
        ("b", None),
        ("c", 2),
        ("d", None),
    ]
    assert rows(store, "SELECT id FROM events ORDER BY 1") == [(1,), (2,), (3,), (4,), (5,)]


def test_rows_that_one_end_owns_do_not_go_along_with_a_link_that_another_end_removes(store: SQLStore) -> None:
    build(
        store,
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)",
        "CREATE TABLE sales (id INTEGER PRIMARY KEY, buyer_id INTEGER NOT NULL REFERENCES users (id),"
        " seller_id INTEGER NOT NULL REFERENCES users (id))",
        "CREATE TABLE deliveries (id INTEGER PRIMARY KEY, sale_id INTEGER NOT NULL REFERENCES sales (id), street TEXT)",
        "INSERT INTO users VALUES (1, 'Ada'), (2, 'Bo')",
        "INSERT INTO sales VALUES (1, 1, 2)",
        "INSERT INTO deliveries VALUES (1, 1, 'Elm street')",
    )
    found = build_map(declared(SALES), {"app": store.schema()})
    assert problems(found) == ["cannot-unlink"], (
        "a delivery is the buyer's, and the sale goes with the seller"
    )
