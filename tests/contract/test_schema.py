"""What a store says of its tables, the same for every database."""

from __future__ import annotations

import sqlalchemy as sa

from kept.stores.schema import Reference
from kept.stores.sql import SQLStore
from tests.contract.company import build

SHOP = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(80) NOT NULL UNIQUE, born DATE, joined TIMESTAMP,"
    " active BOOLEAN NOT NULL, note TEXT)",
    "CREATE TABLE shops (country TEXT, code TEXT, owner INTEGER REFERENCES users (id), PRIMARY KEY (country, code))",
    "CREATE TABLE sales (number INTEGER NOT NULL, country TEXT, code TEXT, buyer INTEGER NOT NULL"
    " REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED, UNIQUE (number),"
    " FOREIGN KEY (country, code) REFERENCES shops (country, code))",
    "CREATE INDEX sales_buyer ON sales (buyer)",
    "CREATE INDEX sales_some ON sales (country) WHERE number > 5",
    "CREATE VIEW active_users AS SELECT id, email FROM users WHERE active",
)


def test_a_schema_has_tables_views_keys_references_and_indexes(store: SQLStore) -> None:
    build(store, *SHOP)
    tables = store.schema().tables
    assert sorted(tables) == ["active_users", "sales", "shops", "users"]
    users = tables["users"]
    assert {c.name: c.sort for c in users.columns.values()} == {
        "id": "number", "email": "text", "born": "date", "joined": "time", "active": "boolean", "note": "text",
    }  # fmt: skip
    assert [c.name for c in users.columns.values() if c.nullable] == ["born", "joined", "note"]
    assert [c.name for c in users.columns.values() if c.unique] == ["id", "email"]
    assert users.key == ("id",)
    assert ("email",) in users.indexes
    assert tables["active_users"].is_view and not users.is_view
    assert list(tables["active_users"].columns) == ["id", "email"]
    sales = tables["sales"]
    assert sales.key == ("number",)
    assert ("buyer",) in sales.indexes and ("country",) not in sales.indexes
    assert tables["shops"].key == ("country", "code")
    assert set(sales.references) == {
        Reference("sales", ("buyer",), "users", ("id",), deferrable=store.dialect != "mariadb"),
        Reference(
            "sales", ("country", "code"), "shops", ("country", "code"), deferrable=store.dialect == "sqlite"
        ),
    }


def test_a_schema_is_read_once_until_asked_again(store: SQLStore) -> None:
    build(store, *SHOP)
    before = store.schema()
    with store.write() as connection:
        connection.exec_driver_sql("CREATE TABLE more (id INTEGER PRIMARY KEY)")
    assert store.schema() is before
    assert "more" in store.schema(refresh=True).tables


def test_the_schema_takes_few_queries_however_many_tables(store: SQLStore) -> None:
    if store.dialect == "sqlite":
        return  # PRAGMAs are per table there, and cost microseconds
    counted: list[str] = []
    sa.event.listen(
        store.engine, "before_cursor_execute", lambda c, cur, statement, *rest: counted.append(statement)
    )
    build(store, *SHOP)
    counted.clear()
    store.schema(refresh=True)
    few = len(counted)
    build(
        store,
        *(f"CREATE TABLE t{i} (id INTEGER PRIMARY KEY, u INTEGER REFERENCES users (id))" for i in range(20)),
    )
    counted.clear()
    store.schema(refresh=True)
    assert len(counted) == few
