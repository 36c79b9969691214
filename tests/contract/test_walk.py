"""Access and erasure over a small shop, the same for every database: each kind of edge, each refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from kept.datamap.graph import DataMap, build_map
from kept.errors import TerminalError, TransientError
from kept.stores.collect import collect, existing, find
from kept.stores.erasing.erase import Count, Counts, erase
from kept.stores.sql import SQLStore
from kept.stores.walk import Hold, Walk
from tests.declared import declared

FACTS = """
stores:
  app: {at: $APP, region: eea, impersonal: [plans, audits], references: {app.visits.email: app.users.email, app.events.payload->user->id: app.users.id, app.notes.subject_id: {to: app.users.id, when: subject = user}}}
people:
  user: {in: app.users, key: id, known-by: {email: email}, ended: closed_at}
  engineer: {is: staff}
links:
  sale:  {in: app.sales, between: {buyer: user at buyer_id, seller: user at seller_id}, ended: closed_at}
  error: {in: app.errors, between: {user: user at user_id, engineer: engineer at engineer_id}}
  post:  {in: app.posts, between: {author: user at author_id}, erased: {author: anonymise}}
data:
  account:  {of: user, in: {app.users: {email: email, name: name}}}
  address:  {of: user, in: {app.addresses: {line: address}}}
  orders:   {of: user, in: {app.orders: {item: transaction, at: recorded}, app.cards: {number: card-number}}}
  mail:     {of: user, in: {app.messages: {body: free-text}}}
  sold:     {of: [sale.buyer, sale.seller], in: {app.sales: {amount: transaction}}}
  wish:     {of: sale.buyer, in: {app.sales: {wish: free-text}}}
  delivery: {of: sale.buyer, in: {app.deliveries: {street: address}}}
  visits:   {of: user, in: {app.visits: {page: behaviour}}}
  events:   {of: user, in: {app.events: {payload: behaviour}}}
  notes:    {of: user, in: {app.notes: {body: free-text}}}
  posts:    {of: post.author, in: {app.posts: {title: free-text}}}
"""  # noqa: E501 a policy reads in whole lines

TABLES = (
    "CREATE TABLE addresses (id INTEGER PRIMARY KEY, line TEXT)",
    "CREATE TABLE plans (id INTEGER PRIMARY KEY)",
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT NOT NULL,"
    " address_id INTEGER REFERENCES addresses (id), referrer_id INTEGER REFERENCES users (id), closed_at TIMESTAMP)",
    "CREATE TABLE cards (user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE, nr INTEGER NOT NULL,"
    " number TEXT, billing_id INTEGER REFERENCES addresses (id), PRIMARY KEY (user_id, nr))",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), card_user INTEGER,"
    " card_nr INTEGER, item TEXT NOT NULL, at TIMESTAMP, shipping_id INTEGER REFERENCES addresses (id),"
    " FOREIGN KEY (card_user, card_nr) REFERENCES cards (user_id, nr))",
    "CREATE TABLE messages (sender_id INTEGER REFERENCES users (id) ON DELETE CASCADE,"
    " recipient_id INTEGER REFERENCES users (id) ON DELETE CASCADE, body TEXT)",
    "CREATE TABLE sales (id INTEGER PRIMARY KEY, buyer_id INTEGER REFERENCES users (id),"
    " seller_id INTEGER REFERENCES users (id), amount INTEGER, wish TEXT, closed_at TIMESTAMP)",
    "CREATE TABLE deliveries (id INTEGER PRIMARY KEY, sale_id INTEGER NOT NULL REFERENCES sales (id), street TEXT)",
    "CREATE TABLE errors (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id),"
    " engineer_id INTEGER NOT NULL)",
    "CREATE TABLE audits (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id) ON DELETE CASCADE)",
    "CREATE TABLE visits (id INTEGER PRIMARY KEY, email TEXT, page TEXT)",
    "CREATE TABLE events (id INTEGER PRIMARY KEY, payload TEXT)",
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, subject TEXT, subject_id TEXT, body TEXT)",
    "CREATE TABLE posts (id INTEGER PRIMARY KEY, author_id INTEGER REFERENCES users (id), title TEXT)",
)
ROWS: dict[str, list[tuple[Any, ...]]] = {
    "addresses": [(1, "Rue A 1"), (2, "Rue B 2"), (3, "Rue C 3")],
    "users": [
        (1, "anna@x.org", "Anna", 1, None, None),
        (2, "ben@x.org", "Ben", 2, 1, None),
        (3, "cleo@x.org", "Cleo", 3, None, None),
    ],
    "cards": [(1, 1, "4111", 2), (2, 1, "5500", 1)],
    "orders": [
        (1, 1, 1, 1, "tea", "2026-01-05 10:00:00", 1),
        (2, 1, 2, 1, "pot", "2019-01-05 10:00:00", 3),
        (3, 2, 1, 1, "cup", "2026-01-05 10:00:00", 2),
    ],
    "messages": [(1, 2, "to Ben"), (1, 1, "to self"), (2, 3, "to Cleo"), (None, 1, "to Anna")],
    "sales": [(1, 1, 2, 10, "gift wrap", None), (2, 3, 1, 20, "quick", None), (3, 1, None, 30, "slow", None)],
    "deliveries": [(1, 1, "Rue A 1"), (2, 2, "Rue C 3")],
    "errors": [(1, 1, 7), (2, 2, 7)],
    "audits": [(1, 1), (2, 2)],
    "visits": [(1, "anna@x.org", "/"), (2, "ben@x.org", "/tea")],
    "events": [(1, '{"user": {"id": 1}}'), (2, '{"user": {"id": "2"}}'), (3, "not json")],
    "notes": [(1, "user", "1", "likes tea"), (2, "shop", "1", "a shop"), (3, "user", "2", "likes cups")],
    "posts": [(1, 1, "Tea"), (2, 2, "Cups")],
}  # fmt: skip


@pytest.fixture
def shop(store: SQLStore) -> SQLStore:
    with store.write() as connection:
        for statement in TABLES:
            connection.exec_driver_sql(statement)
        for table, rows in ROWS.items():
            for row in rows:
                values = ", ".join("NULL" if v is None else repr(v) for v in row)
                if store.dialect == "postgresql" and "not json" in values:
                    continue
                connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({values})".replace("%", "%%"))
    store.schema(refresh=True)
    return store


def the_map(store: SQLStore, facts: str = FACTS) -> DataMap:
    return build_map(declared(facts), {"app": store.schema()})


def the_walk(store: SQLStore) -> Walk:
    walk = the_map(store).walk("user")
    assert walk is not None
    return walk


def rows(store: SQLStore, table: str) -> list[tuple[Any, ...]]:
    with store.read() as connection:
        return sorted((tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table}")), key=repr)


def erased(store: SQLStore, people: Iterable[object], *holds: Hold, facts: str = FACTS) -> Counts:
    erasure = the_map(store, facts).erasure("user", holds)
    assert erasure is not None
    return erase(store, erasure, people, lambda counts: None)


def test_the_shop_is_declared_without_a_problem(shop: SQLStore) -> None:
    assert [p.message for p in the_map(shop).problems if p.severity == "error"] == []


def test_access_returns_what_belongs_to_each_person_and_the_columns_declared_for_them(shop: SQLStore) -> None:
    found: dict[Any, list[Any]] = {}
    for portion in collect(shop, the_walk(shop), [1, 3]):
        for person, row in portion.rows:
            found.setdefault((person[0], portion.table), []).append(tuple(row.values()))
    assert found[1, "users"] == [("anna@x.org", "Anna")]
    assert sorted(found[1, "messages"]) == [("to Anna",), ("to Ben",), ("to self",)]
    assert found[3, "messages"] == [("to Cleo",)]
    assert sorted(found[1, "sales"]) == [(10, "gift wrap"), (20,), (30, "slow")], (
        "the wish is the buyer's alone"
    )
    assert found[3, "sales"] == [(20, "quick")]
    assert sorted(found[1, "addresses"]) == [("Rue A 1",), ("Rue B 2",), ("Rue C 3",)]
    assert found[1, "deliveries"] == [("Rue A 1",)]
    assert found[1, "visits"] == [("/",)] and found[1, "notes"] == [("likes tea",)]
    assert [len(found[1, "events"]), len(found[1, "posts"])] == [1, 1]
    assert (3, "visits") not in found


def test_access_comes_in_portions_ordered_by_person(shop: SQLStore) -> None:
    portions = [p for p in collect(shop, the_walk(shop), [3, 1, 2]) if p.table == "orders"]
    assert [person for p in portions for person, _ in p.rows] == [(1,), (1,), (2,)]


def test_erasing_one_person_leaves_every_row_of_the_others(shop: SQLStore) -> None:
    counts = erased(shop, [1])
    assert [row[0] for row in rows(shop, "users")] == [2, 3]
    assert rows(shop, "users")[0][:5] == (2, "ben@x.org", "Ben", 2, None), "the referrer is unlinked"
    assert [row[0] for row in rows(shop, "addresses")] == [1, 2, 3], "Ben's card is billed to Anna's address"
    assert rows(shop, "cards") == [(2, 1, "5500", 1)]
    assert [(r[0], r[2], r[3]) for r in rows(shop, "orders")] == [(3, None, None)], (
        "not deleted by the card's cascade"
    )
    assert rows(shop, "messages") == [(2, 3, "to Cleo"), (None, 2, "to Ben")]
    assert [r[:5] for r in rows(shop, "sales")] == [(1, None, 2, 10, None), (2, 3, None, 20, "quick")]
    assert rows(shop, "deliveries") == [(2, 2, "Rue C 3")]
    assert rows(shop, "errors") == [(2, 2, 7)]
    assert rows(shop, "audits") == [(1, None), (2, 2)], "not deleted by the user's cascade"
    assert [r[0] for r in rows(shop, "visits")] == [2]
    assert 1 not in [r[0] for r in rows(shop, "events")]
    assert [r[0] for r in rows(shop, "notes")] == [2, 3]
    assert rows(shop, "posts") == [(1, None, None), (2, 2, "Cups")], "anonymised, as the file says"
    assert counts.tables["messages"] == Count(deleted=2, unlinked=1)
    assert counts.tables["sales"] == Count(deleted=1, unlinked=2, cleared=1)
    assert counts.tables["audits"] == Count(unlinked=1)


def test_erasing_everybody_who_shares_a_row_erases_the_row(shop: SQLStore) -> None:
    erased(shop, [1, 2])
    assert [row[0] for row in rows(shop, "addresses")] == [3]
    assert rows(shop, "messages") == [(None, 3, "to Cleo")]
    assert [row[0] for row in rows(shop, "sales")] == [2]


def test_what_hangs_on_a_shared_row_that_is_removed_goes_along_though_others_shared_it(
    shop: SQLStore,
) -> None:
    facts = FACTS.replace("seller_id}, ended", "seller_id}, erased: {buyer: remove}, ended")
    facts = facts.replace("{of: sale.buyer, in: {app.deliveries", "{of: user, in: {app.deliveries")
    erased(shop, [1], facts=facts)
    assert [row[:4] for row in rows(shop, "sales")] == [(2, 3, None, 20)]
    assert rows(shop, "deliveries") == [(2, 2, "Rue C 3")], "the seller's claim went with the sale"


def test_a_second_run_finds_nothing_to_change(shop: SQLStore) -> None:
    assert erased(shop, [1]).changed
    assert not erased(shop, [1]).changed


def test_people_who_are_not_there_and_keys_that_are_none_change_nothing(shop: SQLStore) -> None:
    assert erased(shop, [99, "no-number", (1, 2), None]) == Counts()
    assert existing(shop, the_walk(shop), [1, 99, "x"]) == {(1,): [(1,)]}


def test_rows_of_a_person_whose_own_row_is_gone_are_found_by_their_key(shop: SQLStore) -> None:
    with shop.write() as connection:
        connection.exec_driver_sql("INSERT INTO notes VALUES (9, 'user', '77', 'left over')")
    assert erased(shop, [77]).tables == {"notes": Count(deleted=1)}


def test_held_rows_stay_with_what_lies_between_them_and_their_person_and_nothing_else(shop: SQLStore) -> None:
    hold = Hold("orders", ("item",), "at", datetime(2020, 1, 1, tzinfo=UTC))
    counts = erased(shop, [1], hold)
    [anna] = [row for row in rows(shop, "users") if row[0] == 1]
    assert anna[1].startswith("erased-") and anna[2] == "", "unique text gets a token, other text nothing"
    assert [(r[0], r[1], r[4]) for r in rows(shop, "orders")] == [(1, 1, "tea"), (3, 2, "cup")]
    assert rows(shop, "errors") == [(2, 2, 7)] and rows(shop, "audits") == [(1, 1), (2, 2)]
    assert rows(shop, "messages") == [(2, 3, "to Cleo"), (None, 2, "to Ben")], "no way leads to the held row"
    assert counts.tables["orders"] == Count(deleted=1, held=1, unlinked=2)
    assert counts.tables["users"].held == 1 and counts.tables["users"].deleted == 0
    assert not erased(shop, [1], hold).changed


def test_a_hold_on_a_shared_row_keeps_both_ends(shop: SQLStore) -> None:
    erased(shop, [1], Hold("sales", ("amount",), None, None))
    assert [r[:5] for r in rows(shop, "sales")] == [
        (1, 1, 2, 10, None),
        (2, 3, 1, 20, "quick"),
        (3, 1, None, 30, None),
    ]


def test_the_clock_of_a_hold_may_stand_in_the_row_of_the_person(shop: SQLStore) -> None:
    with shop.write() as connection:
        connection.exec_driver_sql("UPDATE users SET closed_at = '2018-01-01 00:00:00' WHERE id = 1")
    day = datetime(2020, 1, 1, tzinfo=UTC)
    holds = the_map(shop).holds("user", "orders", "user.ended", day)
    assert {(hold.table, hold.clock, len(hold.path)) for hold in holds} == {
        ("orders", "closed_at", 1),
        ("cards", "closed_at", 1),
    }
    erased(shop, [1, 2], *holds)
    assert [row[1] for row in rows(shop, "orders")] == [2], "Anna's time is over, Ben's hasn't begun"


def test_a_column_that_must_not_be_empty_refuses_before_anything_has_changed(shop: SQLStore) -> None:
    with shop.write() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE reviews (id INTEGER PRIMARY KEY, of_user INTEGER NOT NULL REFERENCES users (id))"
        )
        connection.exec_driver_sql("INSERT INTO reviews VALUES (1, 1)")
    shop.schema(refresh=True)
    facts = FACTS.replace("[plans, audits]", "[plans, audits, reviews]")
    [problem] = [p for p in the_map(shop, facts).problems if p.severity == "error"]
    assert problem.code == "cannot-unlink" and "app.reviews.of_user" in problem.message
    before = {table: rows(shop, table) for table in ROWS}
    with pytest.raises(TerminalError, match=r"reviews\.of_user"):
        erased(shop, [1], facts=facts)
    assert {table: rows(shop, table) for table in ROWS} == before
    erased(shop, [2], facts=facts)


def test_an_error_while_noting_rolls_everything_back(shop: SQLStore) -> None:
    erasure = the_map(shop).erasure("user")
    assert erasure is not None

    def full(counts: Counts) -> None:
        raise OSError("the disk of the notes is full")

    before = {table: rows(shop, table) for table in ROWS}
    with pytest.raises(OSError, match="disk"):
        erase(shop, erasure, [1], full)
    assert {table: rows(shop, table) for table in ROWS} == before
    assert erased(shop, [1]).changed


def test_identifiers_find_their_people(shop: SQLStore) -> None:
    found = find(
        shop, the_walk(shop), "email", ["Anna@X.org", "ben@x.org", "nobody@x.org", "x'; DROP TABLE users; --"]
    )
    assert found == {"Anna@X.org": [(1,)], "ben@x.org": [(2,)]}


def test_an_erasure_sends_as_many_statements_for_a_thousand_people_as_for_forty(shop: SQLStore) -> None:
    with shop.write() as connection:
        for i in range(10, 1100):
            connection.exec_driver_sql(f"INSERT INTO users VALUES ({i}, 'p{i}@x.org', 'P{i}', 2, 2, NULL)")
            connection.exec_driver_sql(f"INSERT INTO messages VALUES ({i}, {i - 9 if i > 20 else 2}, 'm')")
    some = _statements(shop, lambda: erased(shop, [1, *range(1011, 1051)]))
    assert _statements(shop, lambda: erased(shop, range(10, 1010))) == some
    assert len(rows(shop, "users")) == 1093 - 1041


def test_a_collection_sends_as_many_statements_for_a_thousand_people_as_for_one(shop: SQLStore) -> None:
    walk = the_walk(shop)
    list(collect(shop, walk, [1]))  # the first one asks for the sizes of the tables
    one = _statements(shop, lambda: list(collect(shop, walk, [1])))
    assert _statements(shop, lambda: list(collect(shop, walk, range(1000)))) == one


def _statements(store: SQLStore, act: Callable[[], object]) -> int:
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "set_config(" not in statement:  # what a transaction starts with
            sent.append(statement)

    sa.event.listen(store.engine, "before_cursor_execute", note)
    try:
        act()
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", note)
    return len(sent)


def test_one_person_is_erased_in_one_statement_where_a_statement_can_change_several_tables(
    shop: SQLStore,
) -> None:
    sent = _statements(shop, lambda: erased(shop, [1]))
    assert sent == 1 if shop.dialect == "postgresql" else sent > 2


def test_a_thousand_accesses_are_as_many_statements_as_there_are_tables(shop: SQLStore) -> None:
    walk = the_walk(shop)
    tables = len([t for t in walk.own_tables() if any(walk.stops[i].columns for i in walk.of_table(t))])
    sent = _statements(
        shop, lambda: [existing(shop, walk, range(1000)), list(collect(shop, walk, range(1000)))]
    )
    if shop.dialect == "postgresql":
        assert sent <= tables + 4


def all_of(store: SQLStore, people: Iterable[object]) -> list[str]:
    portions = collect(store, the_walk(store), people)
    return sorted(repr((p.table, person, row)) for p in portions for person, row in p.rows)


@pytest.mark.parametrize("fetched_at_most", [0, 3])
def test_what_may_be_large_comes_through_a_cursor_and_is_the_same(
    shop: SQLStore, monkeypatch: pytest.MonkeyPatch, fetched_at_most: int
) -> None:
    with shop.write() as connection:
        for i in range(10, 30):
            connection.exec_driver_sql(f"INSERT INTO visits VALUES ({i}, 'anna@x.org', '/{i}')")
    expected = all_of(shop, [1, 2, 3])
    assert len([row for row in expected if "visits" in row]) == 22
    monkeypatch.setattr("kept.stores.collect._fitting", lambda size, rows: fetched_at_most)
    monkeypatch.setattr("kept.stores.collect._MEASURE_SECONDS", -1.0)
    assert all_of(shop, [1, 2, 3]) == expected


def test_few_people_with_many_rows_are_erased_as_many_people_are(
    shop: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = _statements(shop, lambda: erased(shop, [2]))
    monkeypatch.setattr("kept.stores.reach.ROWS", 5)
    shop.schema(refresh=True)  # the statements are written anew
    sent = _statements(shop, lambda: erased(shop, [1]))
    assert sent > one if shop.dialect == "postgresql" else sent == one
    assert [row[0] for row in rows(shop, "users")] == [3]
    assert not erased(shop, [1]).changed


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_a_trigger_that_changes_the_same_rows_is_no_obstacle(shop: SQLStore) -> None:
    with shop.write() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN UPDATE users SET name = name || '!' WHERE id = OLD.user_id; RETURN OLD; END$$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER noted BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION noted()"
        )
    counts = erased(shop, [1])
    assert counts.tables["orders"].deleted == 2 and counts.tables["users"].deleted == 1
    assert [row[0] for row in rows(shop, "users")] == [2, 3]


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_a_column_that_gets_another_type_meanwhile_is_transient(shop: SQLStore) -> None:
    walk = the_walk(shop)
    before = len(list(collect(shop, walk, [1])))
    with shop.write() as connection:
        connection.exec_driver_sql("ALTER TABLE sales ALTER COLUMN amount TYPE bigint")
    with pytest.raises(TransientError, match="another type"):
        list(collect(shop, walk, [1]))
    assert len(list(collect(shop, walk, [1]))) == before


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_what_was_prepared_for_few_people_is_used_again(shop: SQLStore) -> None:
    walk = the_walk(shop)
    list(collect(shop, walk, [1]))
    list(collect(shop, walk, [2]))
    with shop.read(few=True) as connection, shop.prepared(connection):
        [first] = connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").one()
    list(collect(shop, walk, [3]))
    with shop.read(few=True) as connection, shop.prepared(connection):
        [second] = connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").one()
    assert first == second > 5
