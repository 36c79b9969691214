"""Drift between a policy and its database, and what an undeclared column looks like."""

from __future__ import annotations

import pytest

from kept.datamap.drift import Difference, drift, undeclared_columns, undeclared_tables
from kept.datamap.looks import looks_like
from kept.stores.sql import SQLStore
from tests.declared import declared
from tests.unit.datamap.test_graph import schema

FACTS = """
stores:
  app: {at: $APP, region: eea, impersonal: [plans]}
people:
  user: {in: app.users, key: id, known-by: {email: email}, ended: closed_at}
  closed: {is: user, when: state = closed}
links:
  friend: {in: app.friends, between: {one: user at one_id, other: user at other_id}, began: since}
data:
  account: {of: user, in: {app.users: {name: name}}}
"""
TABLES = """
users: id*, email, name, closed_at, state, plan_id -> plans.id, shoe_size, ip
friends: id*, one_id -> users.id, other_id -> users.id, since, why
plans: id*, price
prices: id*, amount
letters: id*, user_id -> users.id, text
"""


def test_columns_that_no_fact_names_and_that_tie_nothing_are_undeclared() -> None:
    found = undeclared_columns(declared(FACTS), {"app": schema(TABLES)})
    assert [str(column) for column in found] == ["app.friends.why", "app.users.shoe_size", "app.users.ip"]
    assert {column.kinds for column in found} == {frozenset({"user"})}


def test_tables_that_hang_on_a_person_are_undeclared() -> None:
    assert undeclared_tables(declared(FACTS), {"app": schema(TABLES)}) == ["app.letters"]


def test_drift_tells_what_either_side_lacks() -> None:
    facts = FACTS.replace("{name: name}", "{surname: name}, app.orders: {item: transaction}")
    found = drift(declared(facts), {"app": schema(TABLES)})
    assert Difference("missing-column", "app", "users", "surname") in found
    assert Difference("missing-table", "app", "orders") in found
    assert Difference("undeclared-table", "app", "letters") in found
    assert Difference("undeclared-column", "app", "users", "ip", "ip-address") in found
    assert Difference("undeclared-column", "app", "users", "shoe_size") in found


def test_without_drift_there_is_nothing_to_tell() -> None:
    tables = (
        TABLES.replace(", shoe_size, ip", "")
        .replace(", why", "")
        .replace("letters: id*, user_id -> users.id, text", "")
    )
    assert drift(declared(FACTS), {"app": schema(tables)}) == []


def test_a_hint_comes_from_the_values_and_tells_none_of_them(store: SQLStore) -> None:
    with store.write() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT, closed_at DATE, state TEXT, extra TEXT)"
        )
        connection.exec_driver_sql(
            "INSERT INTO users VALUES (1, 'a@x.org', 'A', NULL, 'x', 'secret.person@example.org')"
        )
        connection.exec_driver_sql(
            "CREATE TABLE friends (id INTEGER PRIMARY KEY, one_id INTEGER, other_id INTEGER, since DATE)"
        )
    found = drift(declared(FACTS), {"app": store.schema(refresh=True)}, {"app": store})
    assert found == [Difference("undeclared-column", "app", "users", "extra", "email")]
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    ("column", "values", "sort"),
    [
        ("contactEmail", (), "email"),
        ("e_mail", (), "email"),
        ("user_name", (), "username"),
        ("ip_addr", (), "ip-address"),
        ("shipping", (), None),
        ("zippy", (), None),
        ("field_7", ("anna@example.org", "ben@example.com"), "email"),
        ("field_7", ("192.0.2.7", "2001:db8::7"), "ip-address"),
        ("field_7", ("DE89370400440532013000",), "bank-account"),
        ("field_7", ("+49 30 901820",), "phone"),
        ("field_7", ("4111 1111 1111 1111",), "card-number"),
        ("field_7", ("4111 1111 1111 1112",), None),
        ("field_7", ("1984-02-29",), "birth-date"),
        ("field_7", ("2024-02-29", "12.5", ""), None),
    ],
)
def test_a_column_looks_like_what_it_holds_or_else_what_it_is_called(
    column: str, values: tuple[str, ...], sort: str | None
) -> None:
    assert looks_like(column, values) == sort
