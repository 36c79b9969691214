"""No part of the work grows with people who aren't concerned: every statement goes by an index."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from kept.datamap.graph import build_map
from kept.stores.collect import collect, existing, find
from kept.stores.erasing.erase import erase
from kept.stores.erasing.remains import fingerprint, look
from kept.stores.sql import SQLStore
from kept.stores.walk import Erasure
from tests.declared import declared

PEOPLE = 5_000
FACTS = """
stores:
  app: {at: $APP, region: eea, impersonal: [audits]}
people:
  user: {in: app.users, key: id, known-by: {email: email}}
links:
  sale: {in: app.sales, between: {buyer: user at buyer_id, seller: user at seller_id}}
data:
  account:  {of: user, in: {app.users: {email: email, name: name}}}
  address:  {of: user, in: {app.addresses: {line: address}}}
  usage:    {of: user, in: {app.events: {page: behaviour}, app.parts: {text: free-text}}}
  mail:     {of: user, in: {app.messages: {body: free-text}}}
  sold:     {of: [sale.buyer, sale.seller], in: {app.sales: {amount: transaction}}}
"""
TABLES = (
    "CREATE TABLE addresses (id INTEGER PRIMARY KEY, line TEXT)",
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT,"
    " address_id INTEGER REFERENCES addresses (id))",
    "CREATE TABLE events (user_id INTEGER NOT NULL REFERENCES users (id), n INTEGER, page TEXT,"
    " PRIMARY KEY (user_id, n))",
    "CREATE TABLE parts (id INTEGER PRIMARY KEY, user_id INTEGER, n INTEGER, text TEXT,"
    " FOREIGN KEY (user_id, n) REFERENCES events (user_id, n))",
    "CREATE TABLE messages (id INTEGER PRIMARY KEY, sender_id INTEGER REFERENCES users (id),"
    " recipient_id INTEGER REFERENCES users (id), body TEXT)",
    "CREATE TABLE sales (id INTEGER PRIMARY KEY, buyer_id INTEGER REFERENCES users (id),"
    " seller_id INTEGER REFERENCES users (id), amount INTEGER)",
    "CREATE TABLE audits (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id))",
    *(
        f"CREATE INDEX i{n} ON {place}"
        for n, place in enumerate(
            ("users (address_id)", "parts (user_id, n)", "messages (sender_id)", "messages (recipient_id)",
             "sales (buyer_id)", "sales (seller_id)", "audits (user_id)")
        )
    ),
)  # fmt: skip
SERIES = {
    "sqlite": "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {n})",
    "postgresql": "WITH s(i) AS (SELECT generate_series(1, {n}))",
    "mariadb": "WITH s(i) AS (SELECT seq FROM seq_1_to_{n})",
}
FILL = (
    "INSERT INTO addresses {s} SELECT i, 'line ' || i FROM s",
    "INSERT INTO users {s} SELECT i, 'p' || i || '@x.org', 'P' || i, i FROM s",
    "INSERT INTO events {s} SELECT i, k.k, '/' FROM s, (SELECT 1 AS k UNION ALL SELECT 2) AS k",
    "INSERT INTO parts {s} SELECT i, i, 1, 'part' FROM s",
    "INSERT INTO messages {s} SELECT i, i, i % {n} + 1, 'hello' FROM s",
    "INSERT INTO sales {s} SELECT i, i, i % {n} + 1, 5 FROM s",
    "INSERT INTO audits {s} SELECT i, i FROM s",
)


@pytest.fixture
def many(store: SQLStore) -> SQLStore:
    with store.write() as connection:
        for statement in TABLES:
            connection.exec_driver_sql(statement)
        for statement in FILL:
            series = SERIES[store.dialect].format(n=PEOPLE)
            connection.exec_driver_sql(
                statement.replace("%", "%" if store.dialect == "sqlite" else "%%").format(s=series, n=PEOPLE)
            )
    with store.alone() as connection:
        all_of_them = ", ".join(t.split()[2] for t in TABLES if t.startswith("CREATE TABLE"))
        connection.exec_driver_sql(
            f"ANALYZE TABLE {all_of_them}" if store.dialect == "mariadb" else "ANALYZE"
        )
    store.schema(refresh=True)
    return store


def the_erasure(store: SQLStore) -> Erasure:
    found = build_map(declared(FACTS), {"app": store.schema()})
    assert not [p for p in found.problems if p.severity == "error"]
    erasure = found.erasure("user")
    assert erasure is not None
    return erasure


def scans(store: SQLStore, act: Callable[[], object]) -> list[str]:
    """Steps of the query plans of all statements sent that walk a whole table of the company's."""
    found: list[str] = []
    tables = set(store.schema().tables)

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        verb = statement.lstrip().split()[0].upper()
        if verb not in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "CREATE") or statement.startswith(
            "CREATE INDEX"
        ):
            return
        if statement.endswith("WHERE 1 = 0"):  # gives a temporary table its columns, and reads no row
            return
        query = re.sub(r"^CREATE TEMPORARY TABLE .*? AS SELECT", "SELECT", statement)
        raw = connection.connection.driver_connection
        if store.dialect == "sqlite":
            named = {alias: table for table, alias in re.findall(rf"\b({'|'.join(tables)}) (\w+)\b", query)}
            for *_, detail in raw.execute(f"EXPLAIN QUERY PLAN {query}", parameters).fetchall():
                scanned = re.match(r"SCAN (\w+)", detail) or re.match(r"SEARCH (\w+) USING AUTOMATIC", detail)
                if scanned and (scanned[1] in tables or scanned[1] in named):
                    found.append(f"{detail} in {query}")
        elif store.dialect == "mariadb":
            if "LIMIT 0" in query or statement.startswith(
                "INSERT"
            ):  # shapes, and values that were read before
                return
            named = {alias: table for table, alias in re.findall(rf"`({'|'.join(tables)})` (\w+)\b", query)}
            with raw.cursor() as other:
                other.execute(f"EXPLAIN {query}", parameters)
                for _, _, table, way, *_ in other.fetchall():
                    if way in ("ALL", "index") and (table in tables or table in named):
                        found.append(f"{way} of {table} in {query}")
        else:
            with raw.cursor() as other:
                for (line,) in other.execute(f"EXPLAIN {query}", parameters or None).fetchall():
                    scanned = re.search(r"Seq Scan on (\w+)", line)
                    if scanned and scanned[1] in tables:
                        found.append(f"{line} in {query}")

    sa.event.listen(store.engine, "before_cursor_execute", explain)
    try:
        act()
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", explain)
    return found


def test_access_goes_by_indexes(many: SQLStore) -> None:
    walk = the_erasure(many).walk
    assert scans(many, lambda: list(collect(many, walk, [7]))) == []
    assert scans(many, lambda: find(many, walk, "email", ["p7@x.org"])) == []
    assert scans(many, lambda: existing(many, walk, [7])) == []


def test_erasure_goes_by_indexes(many: SQLStore) -> None:
    erasure = the_erasure(many)
    assert scans(many, lambda: erase(many, erasure, [7], lambda counts: None)) == []


def test_the_look_after_an_erasure_goes_by_indexes(many: SQLStore) -> None:
    erasure = the_erasure(many)
    taken = fingerprint(many, erasure.walk, [7])
    erase(many, erasure, [7], lambda counts: None)
    assert scans(many, lambda: look(many, erasure, [7], taken)) == []


def steps(store: SQLStore, act: Callable[[], object]) -> int:
    """How many hundreds of steps SQLite's machine takes for all statements sent: a plan doesn't tell all it reads."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    def watch(connection: Any, *rest: Any) -> None:
        connection.connection.driver_connection.set_progress_handler(count, 100)

    sa.event.listen(store.engine, "before_cursor_execute", watch)
    try:
        act()
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", watch)
    return taken


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_the_work_for_one_person_is_less_than_one_look_at_every_other(many: SQLStore) -> None:
    erasure = the_erasure(many)
    taken = fingerprint(many, erasure.walk, [7])
    most = PEOPLE * 3 // 100
    assert steps(many, lambda: list(collect(many, erasure.walk, [7]))) < most
    assert steps(many, lambda: erase(many, erasure, [7], lambda counts: None)) < most
    assert steps(many, lambda: look(many, erasure, [7], taken)) < most


def test_a_missing_index_would_be_seen(many: SQLStore) -> None:
    with many.write() as connection:
        if many.dialect == "mariadb":  # it needs the index for the foreign key, or makes another
            connection.exec_driver_sql("ALTER TABLE audits DROP FOREIGN KEY audits_ibfk_1, DROP INDEX i6")
        else:
            connection.exec_driver_sql("DROP INDEX i6")
    found = scans(many, lambda: erase(many, the_erasure(many), [7], lambda counts: None))
    assert found and all("audits" in step for step in found)
