"""The short look, for whether anything is left at all, misses nothing that the long one tells of."""

from __future__ import annotations

from itertools import combinations

import pytest

from kept.stores.erasing.erase import erase
from kept.stores.erasing.leftovers import SEARCHED, anything, everywhere
from kept.stores.erasing.remains import Fingerprint, _remaining, fingerprint, look
from kept.stores.reach import Reach, as_keys
from kept.stores.sql import SQLStore
from kept.stores.walk import Erasure
from tests.contract.test_walk_remains import run, shop, the_erasure

__all__ = ["shop"]

LEFT = (
    "INSERT INTO users VALUES (1, NULL, NULL, NULL)",
    "INSERT INTO users VALUES (9, 'anna@x.org', NULL, NULL)",
    "UPDATE letters SET reply_to = 'anna@x.org'",
    "UPDATE orders SET deliver_to = '+49301234567' WHERE id = 2",
    "UPDATE users SET phone = '+49301234567' WHERE id = 2",
)
"""What brings Anna back in part, or somebody who has something of hers."""
OF_HERS = ("UPDATE orders SET user_id = 1 WHERE id = 2", "UPDATE audits SET user_id = 1 WHERE id = 1")


def at_length(store: SQLStore, erasure: Erasure, taken: Fingerprint) -> list[object]:
    """What the long look tells of, without the short one before it."""
    given = {sort: taken.values[sort] for sort in SEARCHED if taken.values.get(sort)}
    with store.read() as connection:
        reach = Reach(connection, store, erasure.walk, as_keys([1]))
        found = _remaining(reach, everywhere(reach, erasure, given)[1])
        reach.relations.drop()
    assert found is not None
    return list(found)


def something(store: SQLStore, erasure: Erasure, taken: Fingerprint) -> bool:
    given = {sort: taken.values[sort] for sort in SEARCHED if taken.values.get(sort)}
    with store.read() as connection:
        reach = Reach(connection, store, erasure.walk, as_keys([1]))
        left = reach.relations.numbers(anything(reach, given))["left"]
        reach.relations.drop()
    return left > 0


@pytest.mark.parametrize("many", [False, True])
def test_a_look_tells_the_same_whatever_is_left(
    shop: SQLStore, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if many:
        monkeypatch.setattr("kept.stores.erasing.remains.SOME", 0)
    erasure = the_erasure(shop)
    taken = fingerprint(shop, erasure.walk, [1])
    erase(shop, erasure, [1], lambda counts: None)
    told = 0
    assert look(shop, erasure, [1], taken) == at_length(shop, erasure, taken) == []
    for number in (1, 2, len(LEFT)):
        for chosen in combinations(LEFT, number):
            planted = [*chosen, *(OF_HERS if LEFT[0] in chosen else ())]
            run(shop, *planted)
            expected = at_length(shop, erasure, taken)
            assert look(shop, erasure, [1], taken) == expected
            assert something(shop, erasure, taken) or not expected
            told += len(expected)
            run(
                shop,
                "UPDATE audits SET user_id = NULL",
                "UPDATE orders SET user_id = 2, deliver_to = NULL WHERE id = 2",
                "UPDATE letters SET reply_to = 'dora@x.org'",
                "UPDATE users SET phone = NULL WHERE id = 2",
                "DELETE FROM users WHERE id IN (1, 9)",
            )
    assert told > 20


def test_people_with_many_rows_left_are_looked_for_as_many_people_are(
    shop: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    erasure = the_erasure(shop)
    taken = fingerprint(shop, erasure.walk, [1])
    expected = look(shop, erasure, [1], taken)
    monkeypatch.setattr("kept.stores.reach.ROWS", 0)
    shop.schema(refresh=True)  # the statements are written anew
    assert look(shop, erasure, [1], taken) == expected != []
