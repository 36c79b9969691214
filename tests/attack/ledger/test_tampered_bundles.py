"""Every tamper is found, and the first entry it touches is named."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kept.errors import KeptError
from kept.evidence.bundle import Verified, verify_bundle
from kept.evidence.heads import TreeHead
from kept.evidence.keys import Keys
from kept.evidence.ledger import Ledger
from kept.evidence.parts import Tampered
from tests.attack.ledger.make_bundles import FORKS, TAMPERS, Bundle, tamper

# What is found: the range in which the first touched entry lies (None: no entry is touched), and the words.
EXPECTED: dict[str, tuple[int | None, int | None, str]] = {
    "entry-altered": (17, 17, r"entry 17 \(now “erase”, 2026-01-01T00:00:00\.000000Z\) was altered"),
    "entry-altered-with-its-leaf": (10, 19, "one of the entries 10 to 19 was altered, dropped or moved"),
    "leaf-altered": (17, 17, "the leaf hash of entry 17 was altered"),
    "entry-dropped": (17, 17, "entry 17 was dropped"),
    "entries-dropped": (17, 17, "3 entries from 17 were dropped"),
    "entry-dropped-with-its-leaf": (10, 19, "one of the entries 10 to 19 was altered, dropped or moved"),
    "end-cut-off": (30, 35, "entry 35, or one from 30 on was dropped: .* covers 40 entries, here are 35"),
    "end-of-entries-cut-off": (35, 35, "entry 35 was dropped: entries.jsonl ends before it"),
    "entries-swapped": (17, 17, "entries 17 and 23 were swapped"),
    "neighbours-swapped": (17, 17, "entries 17 and 18 were swapped"),
    "entries-swapped-with-their-leaves": (10, 19, "one of the entries 10 to 19"),
    "entry-moved": (17, 17, "reordered: entry 23 stands at 17"),
    "entry-duplicated": (17, 17, "a copy of entry 3 was inserted before entry 17"),
    "entry-overwritten-by-another": (17, 17, "entry 17 was replaced by a copy of entry 3"),
    "entry-inserted": (17, 17, "an entry that was never recorded was inserted before entry 17"),
    "entry-appended-with-its-leaf": (40, 40, "entry 40 and what follows were added"),
    "entry-appended": (40, 40, "entry 40 and what follows were added"),
    "entry-reformatted": (17, 17, "entry 17 .* was altered"),
    "entry-oversized": (17, 17, "entry 17 was altered"),
    "signed-with-another-key": (None, None, "signed with the key .*, not with the one you trust"),
    "rewritten-and-signed-with-another-key": (None, None, "not with the one you trust"),
    "key-replaced": (None, None, "not with the one you trust"),
    "key-garbled": (None, None, "isn't 64 hex digits"),
    "head-altered": (20, 20, "head 2 .* its signature is wrong; nothing from entry 20 on"),
    "heads-forged": (10, 10, "head 1 .* its signature is wrong; nothing from entry 10 on"),
    "head-by-another-key": (30, 30, "names another key than the bundle"),
    "head-garbled": (20, 20, "head 2 was altered: it isn't a tree head"),
    "last-head-dropped": (30, 30, "entry 30 and what follows were added: no signed head covers them"),
    "middle-head-dropped": (None, None, "the consistency proof up to the head over 30 entries doesn't fit"),
    "heads-dropped": (None, None, "no signed head, so it proves nothing"),
    "heads-reordered": (None, None, "a head before was dropped or moved"),
    "head-repeated": (None, None, r"head 2 .* stands after one over 20: heads were repeated or reordered"),
    "proof-altered": (None, None, "the consistency proof up to the head over 30 entries doesn't fit"),
    "proof-added": (None, None, "more consistency proofs than heads"),
    "part-added": (None, None, r"the bundle holds evil\[2J.sh"),
    "part-twice": (None, None, "stands in the bundle twice"),
    "part-missing": (None, None, "the bundle lacks key"),
    "zip-bomb": (None, None, "compressed or encrypted"),
    "manifest-altered": (None, None, "manifest.json was altered"),
    "forked-after-a-head": (10, 19, "history forked: the head over 20 entries .* and the one over 30"),
    "forked-at-the-last-head": (
        None,
        None,
        "history forked: head 4 .* and the one before cover as many entries",
    ),
    "rewritten-and-signed-again": (
        None,
        None,
        "history forked: its first 40 entries aren't those of the head you hold",
    ),
    "newest-entries-and-heads-left-out": (30, 30, "entry 30 is missing: the head you hold covers 40 entries"),
}


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """The company's keys."""
    return Keys.open(tmp_path / "keys")


@pytest.fixture
def good(tmp_path: Path, keys: Keys) -> Path:
    """A good bundle: 40 entries, heads over 10, 20, 30 and 40."""
    path = tmp_path / "good.zip"
    with Ledger.open(tmp_path / "ledger.sqlite", keys, lambda: datetime(2026, 1, 1, tzinfo=UTC)) as ledger:
        for start in range(0, 40, 10):
            ledger.append_many(
                [(None, {"act": "erase", "n": n, "rows": 7}) for n in range(start, start + 10)]
            )
            ledger.head()
        ledger.export(path)
    return path


def _verify(path: Path, keys: Keys, good: Path) -> Verified:
    held = verify_bundle(good).head
    return verify_bundle(path, trusted_key=keys.public.hex(), known_head=held)


def test_the_good_bundle_is_good(good: Path, keys: Keys) -> None:
    verified = _verify(good, keys, good)
    assert (verified.size, verified.heads, verified.acts, verified.trusted) == (40, 4, {"erase": 40}, True)
    assert "--key" not in str(verified)


@pytest.mark.parametrize("name", [*TAMPERS, *FORKS])
def test_a_tampered_bundle_is_refused_and_the_first_entry_named(
    name: str, good: Path, keys: Keys, tmp_path: Path
) -> None:
    tamper(name, good, tmp_path / "bad.zip", keys)
    index, until, says = EXPECTED[name]
    with pytest.raises(Tampered, match=says) as raised:
        _verify(tmp_path / "bad.zip", keys, good)
    assert (raised.value.index, raised.value.until) == (index, until)
    assert raised.value.exit_code == 1


@pytest.mark.parametrize("name", ["signed-with-another-key", "rewritten-and-signed-with-another-key"])
def test_a_forger_with_a_key_of_their_own_passes_unless_the_key_is_known_and_that_is_said(
    name: str, good: Path, tmp_path: Path
) -> None:
    tamper(name, good, tmp_path / "bad.zip")
    verified = verify_bundle(tmp_path / "bad.zip")
    assert not verified.trusted
    assert "nothing shows whose key that is" in str(verified)


@pytest.mark.parametrize("name", ["rewritten-and-signed-again", "newest-entries-and-heads-left-out"])
def test_a_company_that_rewrites_all_passes_unless_a_head_is_held(
    name: str, good: Path, keys: Keys, tmp_path: Path
) -> None:
    tamper(name, good, tmp_path / "bad.zip", keys)
    assert verify_bundle(tmp_path / "bad.zip", trusted_key=keys.public.hex()).trusted


def test_a_held_head_by_somebody_else_is_refused(good: Path, keys: Keys) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for held in (
        TreeHead.signed(40, bytes(32), at, Keys(*[bytes(32)] * 3)),
        TreeHead(40, "00" * 32, "2026", keys.public.hex(), "00" * 64),
    ):
        with pytest.raises(Tampered, match="head you hold was not signed with the key"):
            verify_bundle(good, known_head=held)


@pytest.mark.parametrize("size", [0, 1, 7, 10, 39, 40])
def test_a_head_held_from_any_time_fits_a_good_bundle(
    good: Path, keys: Keys, tmp_path: Path, size: int
) -> None:
    with Ledger.open(tmp_path / "again.sqlite", keys, lambda: datetime(2026, 1, 1, tzinfo=UTC)) as ledger:
        ledger.append_many([(None, {"act": "erase", "n": n, "rows": 7}) for n in range(size)])
        assert verify_bundle(good, known_head=ledger.head()).size == 40


def test_a_forger_with_a_key_of_their_own_reaches_neither_the_terminal_nor_memory(
    good: Path, tmp_path: Path
) -> None:
    bundle = Bundle(good)
    bundle.entries = [b'{"act":"%d\\u001b[2J"}\n' % n for n in range(20)]
    bundle.entries += [b'{"act":"%s"}\n' % (b"x" * 60_000) for n in range(20)]
    bundle.resign(Keys(bytes(32), bytes(32), bytes(32)))
    bundle.parts["key"] = bundle.heads[0].key.encode() + b"\n"
    bundle.write(tmp_path / "bad.zip")
    assert verify_bundle(tmp_path / "bad.zip").acts == {"(others)": 40}
    bundle.entries[0] = b"[" * 60_000 + b"\n"
    bundle.resign(Keys(bytes(32), bytes(32), bytes(32)))
    bundle.write(tmp_path / "bad.zip")
    with pytest.raises(Tampered, match="entry 0 isn't a ledger entry"):
        verify_bundle(tmp_path / "bad.zip")
    with pytest.raises(ValueError, match="not a tree head"):
        TreeHead.read(TreeHead(1, "00" * 32, "\x1b[2J", "00" * 32, "00" * 64).written())


def test_a_file_that_is_no_bundle_or_only_half_of_one_is_refused(good: Path, tmp_path: Path) -> None:
    whole = good.read_bytes()
    for data in (
        b"",
        b"PK",
        b"hello" * 100,
        whole[: len(whole) // 2],
        whole[:-1],
        b"#!/bin/sh\n" + whole,
        whole + b"x",
    ):
        (tmp_path / "bad.zip").write_bytes(data)
        with pytest.raises(Tampered):
            verify_bundle(tmp_path / "bad.zip")
    with pytest.raises(KeptError, match="no such file"):
        verify_bundle(tmp_path / "missing.zip")
    with pytest.raises(KeptError, match="can't be read"):
        verify_bundle(tmp_path)


def test_bytes_hidden_between_the_parts_are_found(good: Path, tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(good) as source,
        (tmp_path / "bad.zip").open("w+b") as file,
        zipfile.ZipFile(file, "w") as archive,
    ):
        for name in source.namelist():
            archive.writestr(zipfile.ZipInfo(name), source.read(name))
            file.write(b"hidden")
            archive.start_dir = file.tell()
    with pytest.raises(Tampered, match="bytes in the bundle that belong to no part"):
        verify_bundle(tmp_path / "bad.zip")


def test_a_newer_format_is_not_called_tampered(good: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(tmp_path / "new.zip", "w") as archive:
        for name in source.namelist():
            data = source.read(name)
            archive.writestr(zipfile.ZipInfo(name), data.replace(b'"version":1', b'"version":2'))
    with pytest.raises(KeptError, match="format version 2, newer than") as raised:
        verify_bundle(tmp_path / "new.zip")
    assert not isinstance(raised.value, Tampered)
