"""Any bit flipped anywhere in a bundle: found, or without any effect on what is proven."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kept.errors import KeptError
from kept.evidence.bundle import verify_bundle
from kept.evidence.keys import Keys
from kept.evidence.ledger import Ledger
from kept.evidence.parts import HASH, Tampered, opened


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good bundle of a dozen entries and three heads."""
    folder = tmp_path_factory.mktemp("good")
    with Ledger.open(
        folder / "l.sqlite", Keys.open(folder), lambda: datetime(2026, 1, 1, tzinfo=UTC)
    ) as ledger:
        for start in range(0, 12, 4):
            ledger.append_many([(None, {"act": "erase", "n": n}) for n in range(start, start + 4)])
            ledger.head()
        ledger.export(folder / "good.zip")
    return folder / "good.zip"


def _flip(good: Path, bit: int) -> Path:
    data = bytearray(good.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    bad = good.with_name("bad.zip")
    bad.write_bytes(data)
    return bad


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_a_bit_flipped_in_a_part_is_found_where_it_is(good: Path, data: st.DataObject) -> None:
    with opened(good) as parts:
        windows = dict(parts._windows)
    name = data.draw(st.sampled_from(sorted(windows)))
    start, size = windows[name]
    offset = data.draw(st.integers(0, size - 1))
    bit = data.draw(st.integers(0, 7))
    with pytest.raises(KeptError) as raised:
        verify_bundle(_flip(good, (start + offset) * 8 + bit))
    if name == "manifest.json" and "format version" in raised.value.message:
        return  # it says that it is of a newer format: refused, but nothing can be said about it
    assert isinstance(raised.value, Tampered)
    if name == "leaves.bin":
        assert raised.value.index == offset // HASH
    if name == "entries.jsonl":
        with zipfile.ZipFile(good) as archive:
            entry = archive.read(name)[:offset].count(b"\n")
        assert raised.value.index == entry
    if name == "heads.jsonl":
        with zipfile.ZipFile(good) as archive:
            head = archive.read(name)[:offset].count(b"\n")
        assert raised.value.index == head * 4


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_a_bit_flipped_around_the_parts_changes_nothing_that_is_proven(
    good: Path, data: st.DataObject
) -> None:
    bit = data.draw(st.integers(0, good.stat().st_size * 8 - 1))
    expected = verify_bundle(good)
    found: object
    try:
        found = verify_bundle(_flip(good, bit))
    except KeptError as error:
        found = error
    assert found == expected or isinstance(found, Tampered) or "format version" in str(found)


def test_no_bit_flipped_in_the_end_record_is_more_than_tampering(good: Path) -> None:
    """It says where the list of parts stands: altered, every part seems to begin elsewhere, even before the file."""
    expected, size = verify_bundle(good), good.stat().st_size * 8
    for bit in range(size - 22 * 8, size):
        try:
            assert verify_bundle(_flip(good, bit)) == expected
        except Tampered:
            continue
