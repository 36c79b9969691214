"""The look after an erasure: it finds every leftover that is planted, and nothing where there is none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kept.datamap.graph import build_map
from kept.stores.erasing.erase import erase
from kept.stores.erasing.remains import (
    Fingerprint,
    Remain,
    bounded,
    contained,
    fingerprint,
    living,
    look,
    otherwise_written,
)
from kept.stores.opening import open_store
from kept.stores.sql import SQLStore
from kept.stores.walk import Erasure, Hold
from tests.declared import declared

FACTS = """
stores:
  app: {at: $APP, region: eea, impersonal: [audits]}
people:
  user: {in: app.users, key: id, known-by: {email: email}}
  subscriber: {in: app.subscribers, key: id, known-by: {email: email}}
data:
  account: {of: user, in: {app.users: {email: email, name: name, phone: phone}}}
  orders:  {of: user, in: {app.orders: {deliver_to: phone, item: transaction, at: recorded}}}
  letters: {of: subscriber, in: {app.subscribers: {email: email}, app.letters: {reply_to: email}}}
"""
TABLES = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT, phone TEXT)",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER, deliver_to TEXT, item TEXT, at TIMESTAMP,"
    " FOREIGN KEY (user_id) REFERENCES users (id))",
    "CREATE TABLE subscribers (id INTEGER PRIMARY KEY, email TEXT)",
    "CREATE TABLE letters (id INTEGER PRIMARY KEY, subscriber_id INTEGER REFERENCES subscribers (id), reply_to TEXT)",
    "CREATE TABLE audits (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id))",
    "INSERT INTO users VALUES (1, 'anna@x.org', 'Anna', '+49301111111'), (2, 'ben@x.org', 'Anna', '+49301111111'),"
    " (3, 'cleo@x.org', 'Cleo', '+49303333333')",
    "INSERT INTO orders VALUES (1, 1, '+49301234567', 'tea', '2026-01-01 00:00:00'),"
    " (2, 2, '+49302222222', 'cup', NULL)",
    "INSERT INTO subscribers VALUES (1, 'anna@x.org'), (2, 'dora@x.org')",
    "INSERT INTO letters VALUES (1, 2, 'dora@x.org')",
    "INSERT INTO audits VALUES (1, 1)",
)


@pytest.fixture
def shop(store: SQLStore) -> SQLStore:
    run(store, *TABLES)
    store.schema(refresh=True)
    return store


def run(store: SQLStore, *statements: str) -> None:
    with store.write() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def the_erasure(store: SQLStore, *holds: Hold) -> Erasure:
    erasure = build_map(declared(FACTS), {"app": store.schema()}).erasure("user", holds)
    assert erasure is not None
    return erasure


def after(
    store: SQLStore, people: Iterable[object], *planted: str, holds: tuple[Hold, ...] = ()
) -> list[Remain]:
    """Erase, plant, look."""
    people = list(people)
    erasure = the_erasure(store, *holds)
    taken = fingerprint(store, erasure.walk, people)
    erase(store, erasure, people, lambda counts: None)
    run(store, *planted)
    return look(store, erasure, people, Fingerprint.loads(taken.dumps()))


def test_before_an_erasure_everything_remains(shop: SQLStore) -> None:
    erasure = the_erasure(shop)
    found = look(shop, erasure, [1], fingerprint(shop, erasure.walk, [1]))
    assert {(remain.table, remain.what) for remain in found} >= {
        ("users", "key"),
        ("orders", "key"),
        ("audits", "key"),
    }


def test_nothing_remains_though_another_has_the_same_name_telephone_and_address(shop: SQLStore) -> None:
    assert after(shop, [1]) == [], (
        "Ben has her telephone and name; a subscriber is known by her e-mail address"
    )


def test_the_own_row_is_found(shop: SQLStore) -> None:
    assert Remain("users", "id", "key", 1) in after(
        shop, [1], "INSERT INTO users VALUES (1, NULL, NULL, NULL)"
    )


def test_a_key_is_found_in_a_table_that_is_not_the_persons(shop: SQLStore) -> None:
    planted = ("INSERT INTO users VALUES (1, NULL, NULL, NULL)", "UPDATE audits SET user_id = 1 WHERE id = 1")
    assert Remain("audits", "user_id", "key", 1) in after(shop, [1], *planted)


def test_a_value_is_found_in_somebody_elses_row(shop: SQLStore) -> None:
    planted = "UPDATE letters SET reply_to = 'cleo@x.org'"
    assert after(shop, [3], planted) == [Remain("letters", "reply_to", "email", 1)]


def test_a_value_of_a_further_table_is_found_there(shop: SQLStore) -> None:
    planted = "UPDATE orders SET deliver_to = '+49301234567' WHERE id = 2"
    assert after(shop, [1], planted) == [Remain("orders", "deliver_to", "phone", 1)]


def test_held_rows_are_no_remains(shop: SQLStore) -> None:
    hold = Hold("orders", ("item", "deliver_to"), "at", datetime(2020, 1, 1, tzinfo=UTC))
    assert after(shop, [1, 3], holds=(hold,)) == []


def test_people_with_many_held_rows_are_looked_for_as_many_people_are(
    shop: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kept.stores.reach.ROWS", 0)
    hold = Hold("orders", ("item", "deliver_to"), "at", datetime(2020, 1, 1, tzinfo=UTC))
    planted = "UPDATE orders SET deliver_to = '+49301111111' WHERE id = 2"
    assert after(shop, [1, 3], holds=(hold,)) == []
    assert after(shop, [2], planted, holds=(hold,)) == []
    assert after(shop, [3], "UPDATE letters SET reply_to = 'cleo@x.org'") == []


def test_a_fingerprint_shows_no_value_and_tells_which_values_still_live(shop: SQLStore) -> None:
    walk = the_erasure(shop).walk
    taken = fingerprint(shop, walk, [1])
    assert taken.values["email"] == {"anna@x.org"} and taken.values["phone"] == {
        "+49301111111",
        "+49301234567",
    }
    assert "anna" not in repr(taken)
    erase(shop, the_erasure(shop), [1], lambda counts: None)
    assert living(shop, walk, taken) == {"anna@x.org", "Anna", "+49301111111"}


def test_an_address_in_other_capitals_is_found_beyond_ascii_too(shop: SQLStore) -> None:
    run(shop, "UPDATE users SET email = 'jörg@x.org' WHERE id = 3")
    erasure = the_erasure(shop)
    taken = fingerprint(shop, erasure.walk, [3])
    erase(shop, erasure, [3], lambda counts: None)
    assert otherwise_written(shop, erasure, [3], taken) == []
    run(shop, "UPDATE letters SET reply_to = 'JÖRG@X.org'")
    assert otherwise_written(shop, erasure, [3], taken) == [Remain("letters", "reply_to", "email", 1)]


def test_an_address_that_another_is_known_by_in_other_capitals_beyond_ascii_is_no_remain(
    shop: SQLStore,
) -> None:
    run(
        shop,
        "UPDATE users SET email = 'jörg@x.org' WHERE id = 3",
        "UPDATE subscribers SET email = 'JÖRG@x.org' WHERE id = 1",
    )
    erasure = the_erasure(shop)
    taken = fingerprint(shop, erasure.walk, [3])
    erase(shop, erasure, [3], lambda counts: None)
    assert otherwise_written(shop, erasure, [3], taken) == []


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_sqlite_finds_other_capitals_in_each_encoding_beside_what_is_no_text(
    tmp_path: Path, encoding: str
) -> None:
    with sqlite3.connect(tmp_path / "shop.sqlite") as made:
        made.execute(f"PRAGMA encoding = '{encoding}'")
        made.execute("CREATE TABLE sign (x)")
    made.close()
    store = open_store("app", f"sqlite:///{tmp_path / 'shop.sqlite'}")
    run(store, *TABLES, "UPDATE users SET email = 'jörg@x.org' WHERE id = 3")
    # letters in Latin-1, half a character, an empty text, bytes and none
    odd = ("CAST(x'4AD65247' AS TEXT)", "CAST(x'00D8' AS TEXT)", "CAST(x'00' AS TEXT)", "''", "x'D6'", "NULL")
    run(store, *(f"INSERT INTO letters (reply_to) VALUES ({one})" for one in odd))
    store.schema(refresh=True)
    erasure = the_erasure(store)
    taken = fingerprint(store, erasure.walk, [3])
    erase(store, erasure, [3], lambda counts: None)
    assert otherwise_written(store, erasure, [3], taken) == []
    run(store, "UPDATE letters SET reply_to = 'JÖRG@X.org' WHERE id = 1")
    assert otherwise_written(store, erasure, [3], taken) == [Remain("letters", "reply_to", "email", 1)]
    store.dispose()


def test_an_index_of_the_companys_over_lower_stays_whole(tmp_path: Path) -> None:
    file = tmp_path / "shop.sqlite"
    sqlite3.connect(file).close()
    store = open_store("app", f"sqlite:///{file}")
    run(store, *TABLES, "CREATE INDEX low ON users (lower(email))")
    run(store, "UPDATE users SET email = 'JÖRG@x.org' WHERE id = 3")
    store.dispose()
    plain = sqlite3.connect(file)
    assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    plain.close()


def test_an_identifier_inside_a_longer_one_is_told_apart_by_what_stands_before_it(shop: SQLStore) -> None:
    run(
        shop,
        "UPDATE users SET email = 'ann@x.org' WHERE id = 1",
        "UPDATE users SET email = 'joann@x.org' WHERE id = 2",
    )
    erasure = the_erasure(shop)
    taken = fingerprint(shop, erasure.walk, [1]).only(["ann@x.org"])
    erase(shop, erasure, [1], lambda counts: None)
    assert contained(shop, erasure.walk, taken) == {"ann@x.org"}
    looked_for = bounded("ann@x.org")
    assert len(looked_for) == len(set(looked_for)) and all(one[1:] == "ann@x.org" for one in looked_for)
    by_itself = (
        "call ann@x.org",
        "<ann@x.org>",
        '{"to":"ann@x.org"}',
        "to=ann@x.org",
        "To:\nann@x.org, b@x.org",
    )
    for letter in by_itself:
        assert any(one in letter for one in looked_for), letter
    assert not any(one in "call joann@x.org, <mary-ann@x.org>" for one in looked_for)
