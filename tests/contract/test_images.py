"""Removed people come back value for value, or not at all and with the reason."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from sqlalchemy import Connection

from kept.datamap.graph import build_map
from kept.errors import TerminalError
from kept.stores.erasing.erase import Counts
from kept.stores.erasing.images import remove
from kept.stores.erasing.restore import Restored, restore
from kept.stores.sql import SQLStore
from kept.stores.sqlite import SQLiteStore
from kept.stores.walk import Erasure, Hold
from tests.acceptance.model import World
from tests.acceptance.test_random_graphs import (  # noqa: F401 fixtures
    EXAMPLES,
    SETTINGS,
    mariadb,
    postgresql,
    sqlite,
)
from tests.acceptance.worlds import build, facts, worlds
from tests.contract.test_walk import shop, the_map  # noqa: F401 a fixture
from tests.declared import declared


def hashed(store: SQLStore) -> dict[str, str]:
    """A hash over every column of every row, in order, by table; in SQLite with the storage class of each value."""
    found = {}
    for name, table in store.schema().tables.items():
        if table.is_view:
            continue
        columns = [f'"{column}"' for column in table.columns]
        if isinstance(store, SQLiteStore):
            read = [
                f"typeof({c}), CASE typeof({c}) WHEN 'text' THEN CAST({c} AS BLOB) ELSE {c} END"
                for c in columns
            ]
        elif store.dialect == "postgresql":
            read = [f"{c}::text" for c in columns]
        else:
            read = [f"HEX(CAST({c} AS BINARY))".replace('"', "`") for c in columns]
        quoted = f"`{name}`" if store.dialect == "mariadb" else f'"{name}"'
        with store.read() as connection:
            rows = connection.exec_driver_sql(f"SELECT {', '.join(read)} FROM {quoted}").all()
        found[name] = hashlib.sha256("\n".join(sorted(map(repr, map(tuple, rows)))).encode()).hexdigest()
    return found


def removed(store: SQLStore, erasure: Erasure, *people: object) -> list[bytes]:
    kept: list[bytes] = []
    remove(store, erasure, people, kept.append, lambda counts: None)
    return kept


def restored(store: SQLStore, erasure: Erasure, images: bytes) -> Restored:
    return restore(store, erasure.walk.tables, images, lambda restored: None)


def the_erasure(store: SQLStore, *holds: Hold) -> Erasure:
    erasure = the_map(store).erasure("user", holds)
    assert erasure is not None
    return erasure


@pytest.mark.parametrize("people", [(1,), (1, 2), (1, *range(100, 140))])
def test_everything_is_as_before_when_a_person_comes_back(shop: SQLStore, people: tuple[int, ...]) -> None:  # noqa: F811
    before, erasure = hashed(shop), the_erasure(shop)
    [images] = removed(shop, erasure, *people)
    assert hashed(shop) != before
    assert b"anna" not in images
    done = restored(shop, erasure, images)
    assert hashed(shop) == before
    assert done.rows["users"] == len([p for p in people if p < 4]) and not done.changed_since


def test_restoring_twice_changes_nothing(shop: SQLStore) -> None:  # noqa: F811
    before, erasure = hashed(shop), the_erasure(shop)
    [images] = removed(shop, erasure, 1)
    assert restored(shop, erasure, images).changed
    again = restored(shop, erasure, images)
    assert not again.changed and again.there["users"] == 1
    assert hashed(shop) == before


def test_the_same_rows_give_the_same_bytes(shop: SQLStore) -> None:  # noqa: F811
    erasure = the_erasure(shop)
    [first] = removed(shop, erasure, 1, 2)
    restored(shop, erasure, first)
    assert removed(shop, erasure, 1, 2) == [first]


def test_who_is_not_there_has_no_image(shop: SQLStore) -> None:  # noqa: F811
    assert removed(shop, the_erasure(shop), 99) == []


def test_an_image_that_cannot_be_kept_leaves_everything_as_it_was(shop: SQLStore) -> None:  # noqa: F811
    before = hashed(shop)

    def full(images: bytes) -> None:
        raise OSError("the disk of the waiting room is full")

    with pytest.raises(OSError, match="disk"):
        remove(shop, the_erasure(shop), [1], full, lambda counts: None)
    assert hashed(shop) == before


def test_the_image_is_kept_before_anything_is_committed(shop: SQLStore) -> None:  # noqa: F811
    before, order = hashed(shop), list[str]()

    def keep(images: bytes) -> None:
        order.append("kept")
        if shop.dialect != "sqlite":
            assert hashed(shop) == before, "another connection still sees the rows"

    def note(counts: Counts) -> None:
        order.append("noted")

    remove(shop, the_erasure(shop), [1], keep, note)
    assert order == ["kept", "noted"]


def test_what_somebody_else_wrote_since_is_left_and_counted(shop: SQLStore) -> None:  # noqa: F811
    erasure = the_erasure(shop)
    [images] = removed(shop, erasure, 1)
    with shop.write() as connection:
        connection.exec_driver_sql("UPDATE audits SET user_id = 3 WHERE id = 1")
    done = restored(shop, erasure, images)
    assert done.changed_since == {"audits": 1}
    with shop.read() as connection:
        assert connection.exec_driver_sql("SELECT user_id FROM audits WHERE id = 1").scalar() == 3


def test_a_key_that_is_taken_refuses_the_whole(shop: SQLStore) -> None:  # noqa: F811
    erasure = the_erasure(shop)
    [images] = removed(shop, erasure, 1)
    with shop.write() as connection:
        connection.exec_driver_sql("INSERT INTO users VALUES (9, 'anna@x.org', 'Other', NULL, NULL, NULL)")
    before = hashed(shop)
    with pytest.raises(TerminalError, match="taken by another row: 1 of users"):
        restored(shop, erasure, images)
    assert hashed(shop) == before


def test_a_parent_that_is_gone_refuses_the_whole(shop: SQLStore) -> None:  # noqa: F811
    erasure = the_erasure(shop)
    [images] = removed(shop, erasure, 1)
    with shop.write() as connection:
        connection.exec_driver_sql("UPDATE cards SET billing_id = NULL")
        connection.exec_driver_sql("UPDATE users SET address_id = NULL")
        connection.exec_driver_sql("UPDATE orders SET shipping_id = NULL")
        connection.exec_driver_sql("DELETE FROM addresses WHERE id = 2")
    before = hashed(shop)
    with pytest.raises(TerminalError, match="a row they refer to is gone: 1 of cards"):
        restored(shop, erasure, images)
    assert hashed(shop) == before


ODD = {
    "sqlite": (
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT UNIQUE, name, price REAL, twice AS (price * 2))",
        "INSERT INTO users VALUES (1, 'a@x.org', CAST(x'ff00fe41' AS TEXT), 1e308 * 10),"
        " (2, 'b@x.org', x'00ff', 0.1), (3, 'c@x.org', '7', -0.0), (4, 'd@x.org', 7, 3), (5, NULL, 7.0, 5e-324),"
        " (6, 'e' || char(0) || 'f', 9223372036854775807, NULL)",
    ),
    "postgresql": (
        "CREATE TYPE mood AS ENUM ('sad', 'so:so')",
        "CREATE DOMAIN code AS char(5)",
        "CREATE TABLE users (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text UNIQUE, name varchar(40),"
        " price double precision, exact numeric, small real, raw bytea, list text[], grid integer[], held json,"
        " better jsonb, at timestamptz, wall timestamp, day date, span interval, feels mood, fixed char(6), tag code,"
        " net inet, uid uuid, bits bit varying, tsv tsvector, ranges int4range, cash boolean, xs char(3)[],"
        " twice double precision GENERATED ALWAYS AS (price * 2) STORED)",
        "INSERT INTO users (email, name, price, exact, small, raw, list, grid, held, better, at, wall, day, span,"
        " feels, fixed, tag, net, uid, bits, tsv, ranges, cash, xs) VALUES"
        " ('a@x.org', E'tab\\tline\\nquote\"\\\\', 0.1::float8 + 0.2, 1.10, 1.1::real / 3, '\\x00ff',"
        ' \'{"a,b",NULL,""}\','
        ' \'{{1,2},{3,NULL}}\', \'{"b": 1,  "a": 1, "a": 2}\', \'{"z": 1.00, "u": "\\u00e9"}\','
        " '2026-03-29 01:59:59.123456+01', 'infinity', '0044-03-15 BC', '1 year -2 days 03:00:00.000001', 'so:so',"
        " 'a b  ', 'x', '10.0.0.1/8', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', B'1010', 'cats ate:2A rats',"
        " '[1,5)', true, '{\"a  \",b}'),"
        " ('b@x.org', '', 'NaN', 'NaN', '-Infinity', '', '{}', '{}', 'null', 'null', '-infinity', '0001-01-01 BC',"
        " 'infinity', '-1 mons', 'sad', '', '', '::1', NULL, '', '', 'empty', false, NULL), (NULL"
        + ", NULL" * 23
        + ")",
    ),
    "mariadb": (
        "CREATE TABLE users (id INT AUTO_INCREMENT PRIMARY KEY, email VARCHAR(80) UNIQUE, latin VARCHAR(20) CHARACTER"
        " SET latin1, fixed CHAR(6), small FLOAT, price DOUBLE, exact DECIMAL(20,4), big BIGINT UNSIGNED, tiny TINYINT,"
        " raw VARBINARY(20), more BLOB, bits BIT(10), yes BOOLEAN, at TIMESTAMP(6) NULL, wall DATETIME(3), day DATE,"
        " hour TIME(2), year YEAR, mood ENUM('sad', 'so:so'), moods SET('a', 'b'), held JSON, uid UUID, net INET6,"
        " place POINT, twice DOUBLE AS (price * 2) STORED)",
        "INSERT INTO users (email, latin, fixed, small, price, exact, big, tiny, raw, more, bits, yes, at, wall, day,"
        " hour, year, mood, moods, held, uid, net, place) VALUES"
        " ('a@x.org', 'Zoë', 'a b  ', 0.1, 0.1 + 2e-17, 1.10, 18446744073709551615, -128, x'00ff', x'', b'1010000001',"
        " TRUE, '2026-03-29 01:59:59.123456', '9999-12-31 23:59:59.999', '0001-01-01', '-838:59:58.25', 1999, 'so:so',"
        " 'a,b', '{\"z\": 1.00,  \"a\": \"é\"}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '::1', POINT(1, 2.5)),"
        " ('b@x.org', '', '', -1.17549e-38, 8e307, -0.0001, 0, 0, NULL, NULL, b'0', FALSE, NULL, NULL, '0000-00-00',"
        " '00:00:00', 0, 'sad', '', 'null', NULL, '::ffff:10.0.0.1', NULL), ('C@x.org'" + ", NULL" * 22 + ")",
    ),
}


def test_values_of_every_type_come_back(store: SQLStore) -> None:
    with store.write() as connection:
        for statement in ODD[store.dialect]:
            connection.exec_driver_sql(statement.replace("%", "%%"))
    store.schema(refresh=True)
    text = """
stores:
  app: {at: $APP, region: eea}
people:
  user: {in: app.users, key: id, known-by: {email: email}}
data:
  account: {of: user, in: {app.users: {email: email}}}
"""
    erasure = build_map(declared(text), {"app": store.schema()}).erasure("user")
    assert erasure is not None
    before = hashed(store)
    [images] = removed(store, erasure, *range(1, 7))
    assert hashed(store) != before
    restored(store, erasure, images)
    assert hashed(store) == before


def comes_back(store: SQLStore, world: World) -> None:
    build(store, world)
    map_ = build_map(declared(facts(world)), {"app": store.schema()})
    holds = [Hold(t, columns, None, None) for t, columns in world.held.items()]
    erasure = map_.erasure("people", holds)
    assert erasure is not None
    key = world.keys["people"]
    people = [tuple(world.rows["people"][i][c] for c in key) for i in world.erased]
    before, kept = hashed(store), list[bytes]()
    try:
        remove(store, erasure, people, kept.append, lambda counts: None)
    except TerminalError:
        assert hashed(store) == before and not kept
        return
    if not kept:
        assert hashed(store) == before
        return
    after = hashed(store)
    done = restored(store, erasure, kept[0])
    assert hashed(store) == before and not done.changed_since
    assert not restored(store, erasure, kept[0]).changed
    assert removed(store, erasure, *people) == kept
    assert hashed(store) == after


@settings(SETTINGS, max_examples=EXAMPLES)
@given(world=worlds())
def test_random_people_come_back_in_sqlite(sqlite: SQLStore, world: World) -> None:  # noqa: F811
    comes_back(sqlite, world)


@settings(SETTINGS, max_examples=max(10, EXAMPLES // 6))
@given(world=worlds())
def test_random_people_come_back_in_postgresql(postgresql: SQLStore, world: World) -> None:  # noqa: F811
    comes_back(postgresql, world)


@settings(SETTINGS, max_examples=max(10, EXAMPLES // 6))
@given(world=worlds())
def test_random_batches_come_back_in_postgresql(postgresql: SQLStore, world: World) -> None:  # noqa: F811
    with pytest.MonkeyPatch.context() as bounds:
        bounds.setattr("kept.stores.erasing.erase.FEW", 0)
        comes_back(postgresql, world)


@pytest.mark.needs("mariadb")
@settings(SETTINGS, max_examples=max(10, EXAMPLES // 6))
@given(world=worlds())
def test_random_people_come_back_in_mariadb(mariadb: SQLStore, world: World) -> None:  # noqa: F811
    comes_back(mariadb, world)


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)  # elsewhere whoever writes second waits
def test_what_another_transaction_was_in_the_way_of_is_done_again_with_what_it_wrote(shop: SQLStore) -> None:  # noqa: F811
    """The company's application goes on: a row that it changes under way is looked at anew and kept as it is."""
    erasure, kept = the_erasure(shop), list[bytes]()

    def changed(store: SQLStore) -> None:
        with store.engine.connect() as other, other.begin():
            other.exec_driver_sql("UPDATE users SET name = 'Anna the Second' WHERE id = 1")

    seen = shop.prepare_write

    def prepared(connection: Connection, *, few: bool, exact: bool) -> None:
        seen(connection, few=few, exact=exact)
        if not kept and not done:  # our snapshot is taken, and then somebody else is faster
            connection.exec_driver_sql("SELECT 1 FROM users WHERE id = 1").all()
            done.append(True)
            changed(shop)

    done: list[bool] = []
    shop.prepare_write = prepared  # type: ignore[method-assign]
    try:
        remove(shop, erasure, [1], kept.append, lambda counts: None)
    finally:
        del shop.prepare_write
    assert done == [True] and len(kept) >= 1
    restored(shop, erasure, kept[-1])
    with shop.read() as connection:
        assert connection.exec_driver_sql("SELECT name FROM users WHERE id = 1").scalar() == "Anna the Second"
