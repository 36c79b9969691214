"""Of whom an erasure would still take something: as each database then does it, for whatever holds that end."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from kept.stores.erasing.erase import Counts, erase
from kept.stores.erasing.losing import losing
from kept.stores.sql import SQLStore
from kept.stores.walk import Erasure, Hold
from tests.contract.test_walk import ROWS, erased, rows, shop, the_map

__all__ = ["shop"]  # a fixture

HELD, OVER = datetime(2018, 1, 1, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC)


def erasure(store: SQLStore, *holds: Hold) -> Erasure:
    found = the_map(store).erasure("user", holds)
    assert found is not None
    return found


def orders(cutoff: datetime) -> Hold:
    return Hold("orders", ("item",), "at", cutoff)


def named(store: SQLStore, meant: Erasure, people: list[int]) -> list[object]:
    return [key for (key,) in losing(store, meant, people)]


def test_nothing_is_lost_while_the_hold_lasts_and_everything_when_it_is_over(shop: SQLStore) -> None:
    assert named(shop, erasure(shop, orders(HELD)), [1, 2, 3]) == [1, 2, 3], "nobody is erased yet"
    erased(shop, [1, 2], orders(HELD))
    before = [rows(shop, table) for table in ROWS]
    assert named(shop, erasure(shop, orders(HELD)), [2, 1]) == []
    assert named(shop, erasure(shop, orders(OVER)), [2, 1, 3]) == [2, 1, 3]
    assert named(shop, erasure(shop, orders(OVER)), []) == []
    assert [rows(shop, table) for table in ROWS] == before, "it only looks"


def test_only_the_person_of_whom_something_goes_is_named(shop: SQLStore) -> None:
    erased(shop, [1, 2], orders(HELD))
    only_anna = orders(datetime(2026, 1, 6, tzinfo=UTC))
    with shop.write() as connection:
        connection.execute(sa.text("UPDATE orders SET at = '2027-01-05 10\\:00\\:00' WHERE user_id = 2"))
    assert named(shop, erasure(shop, only_anna), [1, 2]) == [1]


def test_a_value_that_came_back_into_a_frame_is_seen(shop: SQLStore) -> None:
    erased(shop, [1, 2], orders(HELD))
    with shop.write() as connection:
        connection.exec_driver_sql("UPDATE users SET name = 'Anna' WHERE id = 1")
    assert named(shop, erasure(shop, orders(HELD)), [1, 2]) == [1]


@pytest.mark.parametrize("seed", range(8))
def test_erasing_whom_it_names_leaves_nobody_of_whom_something_would_go(shop: SQLStore, seed: int) -> None:
    draw = random.Random(seed)
    possible = [
        orders(HELD),
        Hold("sales", ("amount",), "closed_at", HELD),
        Hold("messages", ("body",)),
        Hold("users", ("name",)),
        Hold("deliveries", ("street",)),
        Hold("cards", ("number",)),
    ]
    held = draw.sample(possible, draw.choice([1, 2, 3]))
    people = draw.sample([1, 2, 3], draw.choice([1, 2, 3]))
    erased(shop, people, *held)
    later = erasure(shop, *draw.sample(held, draw.randrange(len(held))))
    found = named(shop, later, people)

    def erase_them(of: list[int]) -> Counts:
        return erase(shop, later, of, lambda counts: None)

    others = [person for person in people if person not in found]
    counts = erase_them([person for person in people if person in found]) if found else Counts()
    assert bool(found) == any(count.deleted or count.cleared for count in counts.tables.values())
    assert named(shop, later, people) == []
    assert not others or not erase_them(others).changed
    assert not erase_them(people).changed
