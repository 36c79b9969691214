"""The ledger: durable, idempotent, the same tree whoever appended, and usable after any error."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from kept.errors import KeptError
from kept.evidence.entry import LIMIT
from kept.evidence.keys import Keys
from kept.evidence.ledger import HEAD_AGE, HEAD_ENTRIES, Ledger
from kept.evidence.merkle import (
    Frontier,
    consistency,
    inclusion,
    leaf_hash,
    subtrees,
    verify_consistency,
    verify_inclusion,
)


def root(ledger: Ledger, size: int | None = None) -> bytes:
    """The root from the stored bytes alone."""
    frontier = Frontier()
    for body, _ in ledger.stored(0, size):
        frontier.push(leaf_hash(body))
    return frontier.root()


def test_entries_come_back_as_they_were_given_with_the_time(ledger: Ledger) -> None:
    assert ledger.append({"act": "sweep", "rows": 12, "of": {"ü": [True, None, 0.5]}}) == 0
    assert ledger.append({"act": "erase"}) == 1
    assert list(ledger.entries()) == [
        {"act": "sweep", "at": "2026-01-31T09:30:00.000000Z", "rows": 12, "of": {"ü": [True, None, 0.5]}},
        {"act": "erase", "at": "2026-01-31T09:30:02.000000Z"},
    ]
    assert list(ledger.entries(1, 2)) == [{"act": "erase", "at": "2026-01-31T09:30:02.000000Z"}]
    assert ledger.size == 2


def test_what_is_stored_is_canonical_json_and_its_leaf_hash(ledger: Ledger) -> None:
    ledger.append({"z": 1, "act": "sweep", "é": "\n", "a": 2})
    [(body, leaf)] = ledger.stored()
    assert body == '{"a":2,"act":"sweep","at":"2026-01-31T09:30:00.000000Z","z":1,"é":"\\n"}'.encode()
    assert leaf == leaf_hash(body)


def test_what_was_appended_under_a_key_is_found_by_it(ledger: Ledger) -> None:
    for n in range(3):
        ledger.append({"act": "access", "n": n}, f"access {n}")
    ledger.append({"act": "sweep"})
    found = ledger.keyed(["access 2", "access 0", "access 7"])
    assert {key: entry["n"] for key, entry in found.items()} == {"access 0": 0, "access 2": 2}
    assert ledger.keyed([]) == {}


def test_the_same_key_writes_once(ledger: Ledger) -> None:
    assert ledger.append({"act": "erase", "n": 1}, key="act-1") == 0
    assert ledger.append({"act": "erase", "n": 2}, key="act-1") == 0
    assert ledger.append_many([("act-2", {"act": "a"}), (None, {"act": "b"}), ("act-2", {"act": "c"})]) == [
        1,
        2,
        1,
    ]
    assert ledger.append_many([("act-1", {"act": "d"}), ("act-3", {"act": "e"})]) == [0, 3]
    assert [(e["act"], e.get("n")) for e in ledger.entries()] == [
        ("erase", 1),
        ("a", None),
        ("b", None),
        ("e", None),
    ]
    assert ledger.append_many([]) == []


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({}, 'needs "act"'),
        ({"act": ""}, 'needs "act"'),
        ({"act": "a", "at": "now"}, 'must not bring its own "at"'),
        ({"act": "a", "n": math.nan}, "isn't finite, at n"),
        ({"act": "a", "deep": [{"n": -math.inf}]}, r"isn't finite, at deep\[0\]\.n"),
        ({"act": "a", "n": 2**53}, "2⁵³ or more, at n"),
        ({"act": "a", "n": 1e300}, "2⁵³ or more, at n"),
        ({"act": "a", "n": datetime(2026, 1, 1, tzinfo=UTC)}, "holds a datetime, at n"),
        ({"act": "a", "n": b"x"}, "holds a bytes, at n"),
        ({"act": "a", "n": {1: 2}}, "key that isn't text, at n"),
        ({"act": "a", "n": "\ud800"}, "isn't valid Unicode"),
        ({"act": "a", "\ud800": 1}, "isn't valid Unicode"),
        ({"act": "a", "n": "x" * LIMIT}, "more than 65,536"),
    ],
)
def test_what_is_not_json_or_too_large_is_refused(
    tmp_path: Path, keys: Keys, entry: dict[str, Any], says: str
) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite", keys) as ledger:
        with pytest.raises(KeptError, match=says):
            ledger.append(entry)
        with pytest.raises(KeptError, match=says):
            ledger.append_many([(None, {"act": "good"}), (None, entry)])
        assert ledger.size == 0


def test_nesting_without_end_and_keys_without_end_are_refused(tmp_path: Path, keys: Keys) -> None:
    nested: list[Any] = []
    nested.append(nested)
    with Ledger.open(tmp_path / "ledger.sqlite", keys) as ledger:
        with pytest.raises(KeptError, match="nested too deeply"):
            ledger.append({"act": "a", "n": nested})
        for key in ("", "k" * 256):
            with pytest.raises(KeptError, match="not 1 to 255"):
                ledger.append({"act": "a"}, key=key)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
slow = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@slow
@given(st.lists(st.dictionaries(st.text().filter(lambda k: k not in ("at", "act")), json_values, max_size=4)))
def test_any_json_comes_back_and_is_canonical_already(
    tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    with Ledger.open(folder / "ledger.sqlite", Keys.open(folder / "keys")) as ledger:
        ledger.append_many([(None, {**value, "act": "a"}) for value in values])
        for value, entry, (body, _) in zip(values, ledger.entries(), ledger.stored(), strict=True):
            assert {**value, "act": "a", "at": entry["at"]} == entry
            assert rfc8785.dumps(entry) == body


@slow
@given(st.lists(st.integers(0, 60), max_size=12), st.data())
def test_any_batching_gives_the_same_tree_and_every_proof_verifies(
    tmp_path_factory: pytest.TempPathFactory, batches: list[int], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("batches")
    fixed = datetime(2026, 1, 1, tzinfo=UTC)
    with Ledger.open(folder / "ledger.sqlite", Keys.open(folder / "keys"), lambda: fixed) as ledger:
        number = 0
        for batch in batches:
            ledger.append_many([(None, {"act": "a", "n": number + n}) for n in range(batch)])
            number += batch
        bodies = [f'{{"act":"a","at":"2026-01-01T00:00:00.000000Z","n":{n}}}'.encode() for n in range(number)]
        assert [body for body, _ in ledger.stored()] == bodies
        leaves = [leaf_hash(body) for body in bodies]
        head = ledger.head()
        assert (head.size, bytes.fromhex(head.root)) == (number, root(ledger))
        old = data.draw(st.integers(0, number))
        path = ledger.consistency(old, number)
        assert path == consistency(old, number, subtrees(leaves))
        assert verify_consistency(old, number, path, root(ledger, old), root(ledger))
        if old:
            index = data.draw(st.integers(0, old - 1))
            path = ledger.inclusion(index, old)
            assert path == inclusion(index, old, subtrees(leaves))
            assert verify_inclusion(leaves[index], index, old, path, root(ledger, old))


def test_proofs_span_many_stored_subtrees(ledger: Ledger) -> None:
    ledger.append_many([(None, {"act": "a", "n": n}) for n in range(1_700)])
    leaves = [leaf for _, leaf in ledger.stored()]
    for index, size in ((0, 1_700), (255, 256), (256, 1_537), (1_699, 1_700), (700, 1_024)):
        assert verify_inclusion(leaves[index], index, size, ledger.inclusion(index, size), root(ledger, size))
    for old, new in ((1, 1_700), (256, 1_700), (1_023, 1_024), (1_025, 1_699), (1_700, 1_700), (0, 9)):
        path = ledger.consistency(old, new)
        assert verify_consistency(old, new, path, root(ledger, old), root(ledger, new))
    with pytest.raises(KeptError, match="1700 entries, not 1701"):
        ledger.inclusion(0, 1_701)


def test_a_head_is_signed_once_for_a_size_and_says_whose_it_is(ledger: Ledger, keys: Keys) -> None:
    empty = ledger.head()
    assert (empty.size, empty.key) == (0, keys.public.hex())
    ledger.append({"act": "a"})
    head = ledger.head()
    assert head == ledger.head()
    assert head.is_signed()
    assert list(ledger.heads()) == [empty, head]
    assert set(head.json()) == {"size", "root", "at", "key", "signature"}


def test_heads_are_signed_along_the_way(tmp_path: Path, keys: Keys) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    with Ledger.open(tmp_path / "ledger.sqlite", keys, lambda: at) as ledger:
        for _ in range(HEAD_ENTRIES + 2):
            ledger.append({"act": "a"})
        assert [head.size for head in ledger.heads()] == [1, HEAD_ENTRIES + 1]
        at += HEAD_AGE - timedelta(seconds=1)
        ledger.append({"act": "b"})
        at += timedelta(seconds=1)
        ledger.append({"act": "c"})
        assert [head.size for head in ledger.heads()] == [1, HEAD_ENTRIES + 1, HEAD_ENTRIES + 4]


def test_a_ledger_goes_on_where_it_stopped(place: str, keys: Keys, clock: Callable[[], datetime]) -> None:
    for start in range(0, 600, 150):
        with Ledger.open(place, keys, clock) as ledger:
            assert ledger.append_many([(None, {"act": "a"}) for _ in range(150)])[0] == start
    with Ledger.open(place, keys, clock) as ledger:
        assert bytes.fromhex(ledger.head().root) == root(ledger)


def test_two_who_append_in_turns_build_one_tree(
    place: str, keys: Keys, clock: Callable[[], datetime]
) -> None:
    with Ledger.open(place, keys, clock) as one, Ledger.open(place, keys, clock) as two:
        assert [who.append({"act": "a"}) for who in (one, two) * 10] == list(range(20))
        two.append_many([(None, {"act": "b"}) for _ in range(700)])
        assert two.append({"act": "c"}, key="k") == 720
        assert one.append({"act": "c"}, key="k") == 720
        assert one.head() == two.head() == one.head()
        assert bytes.fromhex(one.head().root) == root(two)


def test_many_threads_get_an_index_each(ledger: Ledger) -> None:
    def some(thread: int) -> list[int]:
        return [ledger.append({"act": "a", "by": thread, "n": n}, key=f"{thread}-{n}") for n in range(40)]

    with ThreadPoolExecutor(8) as pool:
        indexes = [index for one in pool.map(some, range(8)) for index in one]
    assert sorted(indexes) == list(range(320))
    entries = list(ledger.entries())
    assert all(
        (entries[indexes[t * 40 + n]]["by"], entries[indexes[t * 40 + n]]["n"]) == (t, n)
        for t in range(8)
        for n in range(40)
    )
    assert bytes.fromhex(ledger.head().root) == root(ledger)


def test_a_commit_takes_whatever_queued_meanwhile(tmp_path: Path, keys: Keys) -> None:
    """Eight callers wait behind a lock that another process holds; once it goes, few commits serve them
    all."""
    with Ledger.open(tmp_path / "ledger.sqlite", keys) as ledger:
        commits: list[object] = []
        event.listen(ledger._engine, "commit", commits.append)
        other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        threads = [threading.Thread(target=ledger.append, args=({"act": "a"},)) for _ in range(8)]
        for thread in threads:
            thread.start()
        while len(ledger._commits._queue) < 7:
            pass
        other.execute("COMMIT")
        other.close()
        for thread in threads:
            thread.join()
        assert ledger.size == 8
        assert len(commits) == 2
