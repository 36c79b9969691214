"""A receipt that was altered is refused, and it is said why; each tamper has its name."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.sitelucent.generate import build
from kept.cli.main import main
from kept.company import opened
from kept.controls.choices.records import book, notices
from kept.controls.choices.records.receipt import Verified, receipt, verify
from kept.controls.registry import load
from kept.controls.rights.people import Person
from kept.evidence.keys import Keys
from kept.evidence.parts import Tampered
from tests.attack.receipts.make_receipts import FORGER, LIES, TAMPERS, rewritten, signed


@dataclass(frozen=True)
class Given:
    """A good receipt, and the keys of the company that gave it."""

    data: bytes
    keys: Keys

    @property
    def key(self) -> str:
        return self.keys.public.hex()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """The receipt of a visitor who was asked, said yes, and whose yes stands among other answers."""
    folder = tmp_path_factory.mktemp("receipts") / "company"
    build(folder, 5, 3)
    with opened(load(folder / "policy.yaml"), folder) as company:
        asked = notices.of_words(company.policy, "May we count visits?", choices=["statistics"], region="fr")
        notice, visitor = notices.keep(company, asked), Person("visitor", ("a" * 32,))
        book.record(company, [book.New(visitor, "statistics", "asked", "banner", notice=notice, region="fr")])
        [yes] = book.record(
            company, [book.New(visitor, "statistics", "yes", "banner", notice=notice, region="fr")]
        )
        for number in range(9):
            other = Person("visitor", (f"{number:032x}",))
            book.record(company, [book.New(other, "statistics", "no", "banner", notice=notice)])
        return Given(receipt(company, yes.record), company.keys)


def test_a_good_receipt_is_sound_with_and_without_the_key(good: Given) -> None:
    for key in (None, good.key, good.key.upper()):
        verified = verify(good.data, key)
        assert verified.trusted is (key is not None)
        assert [(one.choice, one.state) for one in verified.answers] == [("statistics", "ConsentGiven")]
        assert verified.controllers == ("SiteLucent",)


@pytest.mark.parametrize("with_key", [True, False])
@pytest.mark.parametrize("name", TAMPERS)
def test_a_tampered_receipt_is_refused_with_the_reason(name: str, with_key: bool, good: Given) -> None:
    tamper, why = TAMPERS[name]
    bad = tamper(good.data)
    assert bad != good.data
    with pytest.raises(Tampered, match=why):
        verify(bad, good.key if with_key else None)


@pytest.mark.parametrize("name", LIES)
def test_a_receipt_that_contradicts_itself_is_refused_though_the_company_signed_it(
    name: str, good: Given
) -> None:
    lie, why = LIES[name]
    told = json.loads(good.data)
    assert signed(told, good.keys) == good.data  # what is signed here is signed as a receipt is
    lie(told, good.keys)
    with pytest.raises(Tampered, match=why):
        verify(signed(told, good.keys), good.key)


def test_a_receipt_made_up_whole_passes_only_for_the_key_that_made_it(good: Given) -> None:
    forged = rewritten(good.data, FORGER)
    verified = verify(forged)
    assert not verified.trusted and "compare it with the one published" in str(verified)
    with pytest.raises(Tampered, match="not with the one you trust"):
        verify(forged, good.key)


def test_every_single_byte_counts(good: Given) -> None:
    """Each byte changed (those around the body in three ways): never sound, and never anything but a refusal."""
    around = len(good.data) - 400  # format, key and signature stand behind the body
    for place in range(len(good.data)):
        changes = (1, 0x20, 0x80)
        for change in changes if place >= around else changes[place % 3 :][:1]:
            bad = bytearray(good.data)
            bad[place] ^= change
            found = _verified(bytes(bad))
            assert found is None, f"byte {place} ^ {change:#x}: {found}"


def test_every_shorter_receipt_is_refused(good: Given) -> None:
    assert [size for size in range(len(good.data)) if _verified(good.data[:size]) is not None] == []


def _verified(data: bytes) -> Verified | None:
    try:
        return verify(data)
    except Tampered:
        return None


@pytest.mark.parametrize(
    "name", ["answer-turned-round", "line-end-added", "cut-off", "signed-by-another-key"]
)
def test_kept_verify_exits_with_1_and_says_why(
    name: str,
    good: Given,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tamper, _ = TAMPERS[name]
    path = tmp_path / "receipt.json"
    for data, code, says in ((good.data, 0, "good: receipt"), (tamper(good.data), 1, "error: the receipt")):
        path.write_bytes(data)
        monkeypatch.setattr(sys, "argv", ["kept", "verify", str(path), "--key", good.key])
        ended = 0
        try:
            main()
        except SystemExit as wrong:
            ended = int(wrong.code or 0)
        printed = capsys.readouterr()
        assert ended == code, printed.err
        assert says in printed.out + printed.err or "error: this isn't a receipt" in printed.err
