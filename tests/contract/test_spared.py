"""Rows of people who are spared stay, whatever their clocks say: as many people as there are, along any path."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kept.stores.expiring.due import Expiry, Spared, Step
from kept.stores.expiring.expiry import expire, overdue, overdue_together
from kept.stores.schema import Reference
from kept.stores.sql import SQLStore
from tests.contract.company import build, rows

CUTOFF = datetime(2025, 1, 1, tzinfo=UTC)
OLD, NEW = "2020-01-01 00:00:00", "2026-01-01 00:00:00"

OF_ORDER = Step(Reference("orders", ("user_a", "user_b"), "users", ("a", "b")))
OF_LINE = Step(Reference("items", ("order_id",), "orders", ("id",)))
TO_PLACE = Step(Reference("orders", ("place_id",), "places", ("id",)), back=True)
PATHS = {
    "users": (),
    "orders": (OF_ORDER,),
    "items": (OF_LINE, OF_ORDER),
    "places": (TO_PLACE, OF_ORDER),  # a place is whose order refers to it
}


@pytest.fixture
def house(store: SQLStore) -> SQLStore:
    build(
        store,
        "CREATE TABLE users (a INTEGER, b TEXT, at TIMESTAMP, PRIMARY KEY (a, b))",
        "CREATE TABLE places (id INTEGER PRIMARY KEY, at TIMESTAMP)",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, user_a INTEGER, user_b TEXT, place_id INTEGER, at TIMESTAMP)",
        "CREATE TABLE items (id INTEGER PRIMARY KEY, order_id INTEGER, at TIMESTAMP)",
    )
    return store


def fill(store: SQLStore, table: str, found: list[tuple[Any, ...]]) -> None:
    with store.write() as connection:
        connection.execute(sa.text(f"DELETE FROM {table}"))
        for row in found:
            names = [f"v{i}" for i in range(len(row))]
            connection.execute(
                sa.text(f"INSERT INTO {table} VALUES ({', '.join(f':{name}' for name in names)})"),
                dict(zip(names, row, strict=True)),
            )


users = st.sampled_from([(1, "x"), (1, "y"), (2, "x"), (None, None)])
at = st.sampled_from([OLD, NEW, None])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    orders=st.lists(st.tuples(users, st.none() | st.integers(1, 3), at), max_size=6),
    lines=st.lists(st.tuples(st.none() | st.integers(0, 7), at), max_size=6),
    spared=st.sets(st.sampled_from([("1", "x"), ("1", "y"), ("2", "x"), ("3", "z"), ("no number", "x")])),
)
def test_spared_rows_agree_with_a_model(
    house: SQLStore, orders: list[Any], lines: list[Any], spared: set[tuple[str, str]]
) -> None:
    fill(house, "users", [(1, "x", OLD), (1, "y", NEW), (2, "x", OLD)])
    fill(house, "places", [(i, OLD) for i in (1, 2, 3)])
    fill(house, "orders", [(i, *of, place, when) for i, (of, place, when) in enumerate(orders)])
    fill(house, "items", [(i, order, when) for i, (order, when) in enumerate(lines)])

    def is_spared(of: tuple[Any, Any]) -> bool:
        return (str(of[0]), str(of[1])) in spared

    theirs = {i for i, (of, _, _) in enumerate(orders) if is_spared(of)}
    left: dict[str, list[tuple[Any, ...]]] = {
        "users": [(1, "x"), (1, "y"), (2, "x")],
        "orders": [(i,) for i, (_, _, when) in enumerate(orders) if when != OLD or i in theirs],
        "items": [(i,) for i, (order, when) in enumerate(lines) if when != OLD or order in theirs],
        "places": [(i,) for i in (1, 2, 3) if any(orders[o][1] == i for o in theirs)],
    }
    left["users"] = [(a, b) for a, b in left["users"] if is_spared((a, b)) or (a, b) == (1, "y")]
    for table in ("items", "places", "orders", "users"):
        key = "a, b" if table == "users" else "id"
        all_ = len(rows(house, f"SELECT 1 FROM {table} WHERE at = '{OLD}'"))
        expiry = Expiry(
            table, "at", CUTOFF, spared=(Spared("users", ("a", "b"), (PATHS[table],), tuple(sorted(spared))),)
        )
        going = len(rows(house, f"SELECT 1 FROM {table}")) - len(left[table])
        found = overdue(house, expiry)
        assert (found.rows, found.spared) == (going, all_ - going)
        assert overdue_together(house, [expiry]) == going
        if table == "places":  # taken last, after what leads to it was looked at
            continue
        if table == "orders":
            spare = Spared("users", ("a", "b"), (PATHS["places"],), tuple(sorted(spared)))
            assert sum(
                d.rows
                for d in expire(
                    house, Expiry("places", "at", CUTOFF, spared=(spare,)), before_commit=lambda d: None
                )
            ) == 3 - len(left["places"])
            assert rows(house, "SELECT id FROM places ORDER BY id") == left["places"]
        assert sum(done.rows for done in expire(house, expiry, before_commit=lambda done: None)) == going
        assert rows(house, f"SELECT {key} FROM {table} ORDER BY {key}") == left[table]


def test_thousands_are_spared_by_as_many_statements_as_one(house: SQLStore) -> None:
    fill(house, "users", [(i, "x", NEW) for i in range(5000)])
    fill(house, "orders", [(i, i, "x", None, OLD) for i in range(5000)])
    fill(house, "items", [(i, i, OLD) for i in range(5000)])
    sent: list[int] = []
    for spared in (range(1), range(4000)):
        keys = tuple((str(i), "x") for i in spared)
        expiry = Expiry("items", "at", CUTOFF, spared=(Spared("users", ("a", "b"), (PATHS["items"],), keys),))
        count = [0]

        def note(*given: Any, count: list[int] = count) -> None:
            count[0] += 1

        sa.event.listen(house.engine, "before_cursor_execute", note)
        found = overdue(house, expiry)
        sa.event.remove(house.engine, "before_cursor_execute", note)
        sent.append(count[0])
        assert (found.rows, found.spared) == (5000 - len(keys), len(keys))
    assert sent[0] == sent[1]
    assert sum(done.rows for done in expire(house, expiry, before_commit=lambda done: None)) == 1000
