"""Correction over a small shop, the same for every database: what is changed, and each refusal."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from kept.datamap.graph import build_map
from kept.errors import TerminalError, TransientError
from kept.stores.correct import correct, rehearse
from kept.stores.corrections import Change, Corrections, Refused
from kept.stores.sql import SQLStore
from kept.stores.typed import Misfit
from kept.stores.walk import Walk
from tests.contract.company import build, rows
from tests.declared import declared

FACTS = """
stores:
  app: {at: $APP, region: eea, references: {app.visits.email: app.users.email}}
people:
  user: {in: app.users, key: id, known-by: {email: email}}
  lead: {in: app.leads, key: id, known-by: {email: email}}
links:
  sale: {in: app.sales, between: {buyer: user at buyer_id, seller: user at seller_id}}
data:
  account:  {of: user, in: {app.users: {email: email, name: name, age: technical, is_adult: technical, born: birth-date, seen_at: recorded, settings: preference, credit: financial, nick: username}}}
  address:  {of: user, in: {app.addresses: {line: address}}}
  cards:    {of: user, in: {app.cards: {number: card-token}}}
  orders:   {of: user, in: {app.orders: {item: transaction}}}
  notes:    {of: user, in: {app.notes: {body: free-text}}}
  codes:    {of: user, in: {app.codes: {code: identifier}}}
  sold:     {of: [sale.buyer, sale.seller], in: {app.sales: {amount: transaction}}}
  wish:     {of: sale.buyer, in: {app.sales: {wish: free-text}}}
  visits:   {of: user, in: {app.visits: {page: behaviour}}}
  enquiry:  {of: lead, in: {app.leads: {email: email, phone: phone}}}
  contact:  {of: [user, lead], in: {app.letters: {body: free-text}}}
"""  # noqa: E501 a policy reads in whole lines

TABLES = (
    "CREATE TABLE addresses (id INTEGER PRIMARY KEY, line TEXT)",
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(40) NOT NULL UNIQUE, name TEXT NOT NULL, age SMALLINT,"
    " is_adult BOOLEAN, born DATE, seen_at TIMESTAMP, settings JSON, credit NUMERIC(8, 2) CHECK (credit >= 0),"
    " nick VARCHAR(5), address_id INTEGER REFERENCES addresses (id))",
    "CREATE TABLE cards (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), number TEXT,"
    " billing_id INTEGER REFERENCES addresses (id))",
    "CREATE TABLE orders (user_id INTEGER NOT NULL REFERENCES users (id), nr INTEGER NOT NULL, item TEXT,"
    " PRIMARY KEY (user_id, nr))",
    "CREATE TABLE notes (user_id INTEGER REFERENCES users (id), body TEXT)",
    "CREATE TABLE codes (code TEXT PRIMARY KEY, user_id INTEGER REFERENCES users (id))",
    "CREATE TABLE uses (id INTEGER PRIMARY KEY, code TEXT REFERENCES codes (code) {cascade})",
    "CREATE TABLE sales (id INTEGER PRIMARY KEY, buyer_id INTEGER REFERENCES users (id),"
    " seller_id INTEGER REFERENCES users (id), amount INTEGER, wish TEXT)",
    "CREATE TABLE visits (id INTEGER PRIMARY KEY, email TEXT, page TEXT)",
    "CREATE TABLE leads (id INTEGER PRIMARY KEY, email TEXT, phone TEXT)",
    "CREATE TABLE letters (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id),"
    " lead_id INTEGER REFERENCES leads (id), body TEXT)",
)
ROWS = (
    "INSERT INTO addresses VALUES (1, 'Rue A 1'), (2, 'Rue B 2')",
    "INSERT INTO users VALUES (1, 'anna@x.org', 'Ana', 33, {true}, '1990-01-31', '2026-01-31 12:00:00',"
    " '{{\"a\": 1}}', 10.50, 'an', 1), (2, 'ben@x.org', 'Ben', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2)",
    "INSERT INTO cards VALUES (1, 1, '4111', 1), (2, 2, '5500', 1)",
    "INSERT INTO orders VALUES (1, 1, 'tea'), (1, 2, 'tea'), (1, 3, 'pot'), (2, 1, 'cup')",
    "INSERT INTO notes VALUES (1, 'likes tee'), (2, 'likes cups')",
    "INSERT INTO codes VALUES ('A1', 1), ('B1', 2)",
    "INSERT INTO uses VALUES (1, 'A1'), (2, 'B1')",
    "INSERT INTO sales VALUES (1, 1, 2, 10, 'gift rap'), (2, 2, 1, 20, 'quick'), (3, 1, NULL, 30, 'slow')",
    "INSERT INTO visits VALUES (1, 'anna@x.org', '/')",
    "INSERT INTO leads VALUES (1, 'lee@x.org', '1')",
    "INSERT INTO letters VALUES (1, 1, NULL, 'dear sirr'), (2, 1, 1, 'dear madamm')",
)
TABLE_NAMES = (
    "addresses",
    "users",
    "cards",
    "orders",
    "notes",
    "codes",
    "uses",
    "sales",
    "visits",
    "leads",
    "letters",
)


@pytest.fixture
def shop(store: SQLStore) -> SQLStore:
    return made(store)


def made(store: SQLStore, cascade: str = "") -> SQLStore:
    true = "TRUE" if store.dialect == "postgresql" else "1"
    build(
        store,
        *(statement.format(cascade=cascade) for statement in TABLES),
        *(statement.format(true=true) for statement in ROWS),
    )
    return store


def walk_of(store: SQLStore, kind: str = "user") -> Walk:
    walk = build_map(declared(FACTS), {"app": store.schema()}).walk(kind)
    assert walk is not None
    return walk


def everything(store: SQLStore) -> dict[str, list[str]]:
    return {table: sorted(map(repr, rows(store, f"SELECT * FROM {table}"))) for table in TABLE_NAMES}


def done(store: SQLStore, *changes: Change, key: object = "1", excepted: Sequence[str] = ()) -> Corrections:
    return correct(store, walk_of(store), key, changes, lambda _: None, excepted=excepted)


def refused(
    store: SQLStore, *changes: Change, why: str, key: object = "1", excepted: Sequence[str] = ()
) -> str:
    """What the refusal says; nothing of the store has changed, and no value is in it."""
    before = everything(store)
    with pytest.raises(TerminalError, match=why) as refusal:
        done(store, *changes, key=key, excepted=excepted)
    assert everything(store) == before
    told = str(refusal.value)
    for change in changes:
        assert not any(str(value) in told for value in (change.new, change.old) if len(str(value)) > 2)
    return told


def test_a_correction_changes_its_cell_and_nothing_else(shop: SQLStore) -> None:
    before = everything(shop)
    result = done(shop, Change("users", "name", "Anna"))
    assert rows(shop, "SELECT name FROM users ORDER BY id") == [("Anna",), ("Ben",)]
    assert result.as_json() == {"users": {"corrected": 1}}
    assert [(cell.old, cell.new, cell.row) for cell in result.cells] == [("Ana", "Anna", (1,))]
    assert "Ana" not in repr(result)
    done(shop, Change("users", "name", "Ana"))
    assert everything(shop) == before


def test_a_second_run_changes_nothing(shop: SQLStore) -> None:
    changes = (
        Change("users", "name", "anna"),
        Change("users", "credit", "11.25"),
        Change("users", "settings", '{"b": [1]}'),
        Change("orders", "item", "kettle", old="pot"),
        Change("notes", "body", "likes tea"),
        Change("orders", "item", "coffee", row=("1", "2")),
        Change("sales", "wish", "gift wrap", row=(1,)),
    )
    assert len(done(shop, *changes).cells) == len(changes)
    after = everything(shop)
    assert not done(shop, *changes).changed
    assert everything(shop) == after


def test_capitals_and_an_empty_cell_count_as_a_change(shop: SQLStore) -> None:
    assert done(shop, Change("users", "name", "ANA")).changed
    assert done(shop, Change("users", "nick", None)).changed
    assert done(shop, Change("users", "nick", "ann", old=None)).changed
    assert rows(shop, "SELECT name, nick FROM users WHERE id = 1") == [("ANA", "ann")]


def test_values_are_typed_by_their_column(shop: SQLStore) -> None:
    done(
        shop,
        Change("users", "age", "34"),
        Change("users", "is_adult", "no"),
        Change("users", "born", "1991-02-28"),
        Change("users", "seen_at", "2026-02-01T13:00:00+01:00"),
        Change("users", "credit", "7.5"),
    )
    query = (
        "SELECT age, is_adult, CAST(born AS TEXT), CAST(seen_at AS TEXT), credit + 1 FROM users WHERE id = 1"
    )
    [(age, adult, born, seen, credit)] = rows(shop, query)
    assert (age, bool(adult), born, seen, float(credit)) == (
        34,
        False,
        "1991-02-28",
        "2026-02-01 12:00:00",
        8.5,
    )


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("age", "old"),
        ("age", "3.5"),
        ("age", "40000000000000000000"),
        ("is_adult", "perhaps"),
        ("born", "31 February"),
        ("born", "1990-01-31T10:00:00"),
        ("seen_at", "yesterday"),
        ("settings", "{not json"),
        ("credit", "NaN"),
        ("nick", "longer than five"),
        ("name", None),
        ("name", "Ann\0a"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(shop: SQLStore, column: str, value: object) -> None:
    refused(shop, Change("users", column, value), why=column)
    with pytest.raises(Misfit):
        done(shop, Change("users", column, value))


def test_what_the_database_refuses_is_refused_with_everything_else_of_it(shop: SQLStore) -> None:
    name = Change("users", "name", "Anna Maria")
    build(shop, "DELETE FROM visits")
    refused(shop, name, Change("users", "email", "ben@x.org"), why="(?i)unique")
    refused(shop, name, Change("users", "credit", "-77.75"), why="(?i)check|refused")


def test_a_column_or_table_nobody_declared_is_refused(shop: SQLStore) -> None:
    for table, column in (
        ("users", "password"),
        ("users", "address_id"),
        ("plans", "name"),
        ("leads", "phone"),
    ):
        refused(shop, Change(table, column, "12345"), why="isn't declared")


def test_excepted_data_is_refused(shop: SQLStore) -> None:
    refused(shop, Change("users", "name", "Anna"), why="`account`", excepted=("account",))


def test_another_persons_row_is_refused(shop: SQLStore) -> None:
    refused(shop, Change("orders", "item", "teapot", row=(2, 1)), why="isn't theirs")
    refused(shop, Change("orders", "item", "teapot", old="cup"), why="no row of theirs")
    refused(shop, Change("users", "name", "Benn", row=("2",)), why="isn't theirs")
    refused(shop, Change("users", "name", "Nobody"), key="99", why="can't be found")


def test_several_rows_without_saying_which_are_refused(shop: SQLStore) -> None:
    refused(shop, Change("orders", "item", "teapot"), why="several rows")
    refused(shop, Change("orders", "item", "teapot", old="tea"), why="several rows")
    refused(shop, Change("orders", "item", "teapot", old="tea", row=(1, 3)), why="something else by now")
    assert done(shop, Change("orders", "item", "teapot", old="tea", row=(1, 2))).changed
    query = "SELECT item FROM orders WHERE user_id = 1 ORDER BY nr"
    assert rows(shop, query) == [("tea",), ("teapot",), ("pot",)]


def test_two_changes_of_one_cell_are_refused(shop: SQLStore) -> None:
    refused(shop, Change("users", "name", "Anna"), Change("users", "name", "Hanna"), why="same cell")


def test_an_address_that_anothers_card_is_billed_to_is_not_changed_for_them(shop: SQLStore) -> None:
    refused(shop, Change("addresses", "line", "Rue A 11"), why="somebody else too")
    build(shop, "UPDATE cards SET billing_id = 2 WHERE id = 2")
    assert done(shop, Change("addresses", "line", "Rue A 11")).changed


def test_of_a_sale_the_buyer_corrects_what_is_theirs_alone(shop: SQLStore) -> None:
    assert done(shop, Change("sales", "wish", "gift wrap", row=(1,))).changed
    refused(shop, Change("sales", "wish", "slower", row=(2,)), why="isn't theirs")
    refused(shop, Change("sales", "amount", "1111", row=(1,)), why="somebody else too")
    assert done(shop, Change("sales", "amount", "31", row=(3,))).changed


def test_a_row_that_is_about_a_person_of_another_kind_too_is_refused(shop: SQLStore) -> None:
    assert done(shop, Change("letters", "body", "dear sir", row=(1,))).changed
    refused(shop, Change("letters", "body", "dear madam", row=(2,)), why="somebody else too")


def test_what_says_whose_a_row_is_cannot_be_corrected(shop: SQLStore) -> None:
    facts = FACTS.replace(
        "app.orders: {item: transaction}", "app.orders: {item: transaction, user_id: identifier}"
    )
    walk = build_map(declared(facts), {"app": shop.schema()}).walk("user")
    assert walk is not None
    with pytest.raises(Refused, match="says whose"):
        correct(shop, walk, 1, [Change("orders", "user_id", "2", row=(1, 1))], lambda _: None)


def test_an_identifier_that_other_rows_refer_to_is_refused_until_they_do_not(shop: SQLStore) -> None:
    refused(shop, Change("users", "email", "anna@y.org"), why="rows of visits refer to it")
    build(shop, "DELETE FROM visits")
    assert done(shop, Change("users", "email", "anna@y.org")).changed


@pytest.mark.parametrize("cascade", ["", "ON UPDATE CASCADE"])
def test_a_key_others_refer_to_is_refused_unless_the_database_takes_them_along(
    store: SQLStore, cascade: str
) -> None:
    made(store, cascade)
    change = Change("codes", "code", "A2345", row=("A1",))
    if not cascade:
        refused(store, change, why="rows of uses refer to it")
        return
    assert done(store, change).changed
    assert rows(store, "SELECT code FROM uses ORDER BY id") == [("A2345",), ("B1",)]
    assert not done(store, change).changed


def test_a_rehearsal_shows_old_and_new_and_changes_nothing(shop: SQLStore) -> None:
    before = everything(shop)
    changes = [Change("users", "name", "Anna"), Change("orders", "item", "kettle", old="pot")]
    told = rehearse(shop, walk_of(shop), "1", changes)
    assert [(c.table, c.row, c.old, c.new) for c in told.cells] == [
        ("users", (1,), "Ana", "Anna"),
        ("orders", (1, 3), "pot", "kettle"),
    ]
    assert everything(shop) == before
    with pytest.raises(Refused):
        rehearse(shop, walk_of(shop), "1", [Change("orders", "item", "kettle")])


def test_what_is_said_before_commit_can_still_stop_it(shop: SQLStore) -> None:
    before = everything(shop)

    def stop(told: Corrections) -> None:
        assert told.as_json() == {"users": {"corrected": 1}}
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        correct(shop, walk_of(shop), "1", [Change("users", "name", "Anna")], stop)
    assert everything(shop) == before


def test_a_value_the_database_would_round_is_refused(shop: SQLStore) -> None:
    if shop.dialect == "sqlite":
        assert done(shop, Change("users", "credit", "7.125")).changed  # SQLite keeps every digit
    else:
        refused(shop, Change("users", "credit", "7.125"), why="something else than what was given")


def test_a_view_is_not_written_to(store: SQLStore) -> None:
    build(
        store,
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT)",
        "CREATE VIEW letters AS SELECT id AS user_id, email AS line FROM users",
        "INSERT INTO users VALUES (1, 'anna@x.org')",
    )
    facts = (
        "stores: {app: {at: $APP, references: {app.letters.user_id: app.users.id}}}\n"
        "people: {user: {in: app.users, key: id}}\n"
        "data: {mail: {of: user, in: {app.letters: {line: email}}}}\n"
    )
    walk = build_map(declared(facts), {"app": store.schema()}).walk("user")
    assert walk is not None
    with pytest.raises(Refused, match="is a view"):
        correct(store, walk, 1, [Change("letters", "line", "x")], lambda _: None)


def test_a_cell_that_somebody_is_writing_is_tried_again_later(shop: SQLStore) -> None:
    with shop.write() as other:
        other.execute(sa.text("UPDATE users SET name = 'Hanna' WHERE id = 1"))
        with pytest.raises(TransientError):
            done(shop, Change("users", "name", "Anna"))
    assert rows(shop, "SELECT name FROM users WHERE id = 1") == [("Hanna",)]
