"""Statements are written once for a schema and a walk; the people and the moments are bound to them each time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kept.stores.collect import collect, existing
from kept.stores.erasing.erase import Erasing, erase
from kept.stores.erasing.remains import fingerprint, look
from kept.stores.reach import Reach
from kept.stores.relations import Together
from kept.stores.sql import SQLStore
from kept.stores.walk import Hold
from tests.contract.company import rows
from tests.contract.test_walk_remains import run, shop, the_erasure

__all__ = ["shop"]


def held_until(year: int) -> Hold:
    return Hold("orders", ("item", "deliver_to"), "at", datetime(year, 1, 1, tzinfo=UTC))


def test_each_erasure_goes_by_its_own_cut_off(shop: SQLStore) -> None:
    run(shop, "UPDATE orders SET at = '2026-01-01 00:00:00' WHERE id = 2")
    erase(shop, the_erasure(shop, held_until(2020)), [1], lambda counts: None)
    assert [row[0] for row in rows(shop, "SELECT id FROM orders ORDER BY id")] == [1, 2], "held"
    erase(shop, the_erasure(shop, held_until(2030)), [2], lambda counts: None)
    assert [row[0] for row in rows(shop, "SELECT id FROM orders ORDER BY id")] == [1], "the hold is over"
    assert (
        look(shop, the_erasure(shop, held_until(2020)), [1], fingerprint(shop, the_erasure(shop).walk, []))
        == []
    )


def test_each_person_gets_their_own_rows(shop: SQLStore) -> None:
    walk = the_erasure(shop).walk
    for _ in range(2):
        for person, name in ((1, "anna@x.org"), (2, "ben@x.org"), (3, "cleo@x.org")):
            [[key, row]] = next(collect(shop, walk, [person])).rows
            assert (key, row["email"]) == ((person,), name)
            assert list(existing(shop, walk, [person])) == [(person,)]
            assert fingerprint(shop, walk, [person]).values["email"] == {name}


def test_an_equal_walk_is_served_by_what_was_written_and_another_is_not(shop: SQLStore) -> None:
    walk = the_erasure(shop).walk
    whole = list(collect(shop, walk, [1]))
    assert list(collect(shop, replace(walk), [1])) == whole
    narrowed = replace(
        walk, stops=(replace(walk.root, columns={"email": walk.root.columns["email"]}), *walk.stops[1:])
    )
    [[_, row]] = next(collect(shop, narrowed, [1])).rows
    assert dict(row) == {"email": "anna@x.org"}


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_what_is_remembered_holds_nothing_of_the_people(shop: SQLStore) -> None:
    erasure = the_erasure(shop)
    taken = fingerprint(shop, erasure.walk, [1])
    list(collect(shop, erasure.walk, [1]))
    look(shop, erasure, [1], taken)
    erase(shop, erasure, [1], lambda counts: None)
    remembered = list(shop._written.values())
    reaches = [part for entry in remembered for part in entry if isinstance(part, Reach)]
    reaches += [part.reach for entry in remembered for part in entry if isinstance(part, Erasing)]
    assert len(reaches) >= 5
    for reach in reaches:
        assert isinstance(reach.relations, Together)
        assert set(map(str, reach.relations.values.values())) <= {"{}"}
    assert "anna" not in repr([reach.relations.__dict__ for reach in reaches])
