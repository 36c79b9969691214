"""What the board says of disclosures: papers with their life, and a register that nobody changed behind its back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kept.company import Company
from kept.controls.disclosure import declared
from kept.controls.disclosure.declare import Disclosure
from kept.controls.disclosure.enforce import disclose
from kept.controls.disclosure.prove import _register as prove_register
from kept.controls.disclosure.prove import prove, prove_party
from kept.controls.refused import Refused
from kept.evidence.proof import Proof, worst
from kept.state.uses import disclosures
from tests.acceptance.choosing import Clock
from tests.acceptance.disclosing import DOCUMENT, POLICY, buyer, ledger, refusal, rows, shop


@pytest.fixture
def atelier(tmp_path: Path) -> Iterator[Company]:
    with shop(tmp_path / "atelier") as opened:
        yield opened


def proofs(company: Company, name: str) -> list[Proof]:
    return prove(company, company.policy.section("disclosure")[name])


def test_a_lapsed_agreement_and_certification_close_the_way(tmp_path: Path) -> None:
    clock = Clock(datetime(2026, 8, 31, 12, tzinfo=UTC))
    with shop(tmp_path / "atelier", clock) as company:
        assert disclose(company, "printer", [buyer(1)], purpose="printing").records
        clock.now = datetime(2026, 9, 1, 12, tzinfo=UTC)
        assert refusal(company, "printer", purpose="printing") == "safeguard"  # no longer certified
        clock.now = datetime(2027, 1, 2, 12, tzinfo=UTC)
        assert refusal(company, "printer", purpose="printing") == "agreement"
        assert worst(proofs(company, "printer")) == "broken"
        assert disclose(company, "archive", [buyer(1)], purpose="filing").records  # until ended
        clock.now = datetime(2025, 12, 31, 12, tzinfo=UTC)
        assert refusal(company, "archive", purpose="filing") == "agreement"  # not begun yet


def test_a_safeguard_that_fell_closes_the_way_and_is_broken_on_the_board_though_the_file_loads(
    tmp_path: Path,
) -> None:
    text = POLICY.replace("safeguard: data-privacy-framework", "safeguard: privacy-shield").replace(
        "agreement: 2026-01-01 until 2026-12-31", "agreement: 2020-01-01 until ended"
    )
    clock = Clock(datetime(2020, 7, 15, 12, tzinfo=UTC))
    with shop(tmp_path / "atelier", clock, text=text) as company:
        assert disclose(company, "printer", [buyer(1)], purpose="printing").safeguard == "privacy-shield"
        assert worst(proofs(company, "printer")) == "kept"
        clock.now = datetime(2020, 7, 16, 12, tzinfo=UTC)  # the day of Schrems II
        assert refusal(company, "printer", purpose="printing") == "safeguard"
        (broken,) = [proof for proof in proofs(company, "printer") if proof.verdict == "broken"]
        assert "fell on 2020-07-16" in broken.says and "Schrems II" in broken.says
        assert worst(prove_party(company, company.policy.parties["printer"])) == "broken"


@pytest.mark.parametrize(
    ("change", "recipient", "purpose", "says"),
    [
        (("certified: 2025-09-01 until 2026-08-31, ", ""), "printer", "printing", "certified"),
        (("agreement: 2026-01-01 until 2026-12-31, ", ""), "printer", "printing", "no agreement"),
        (
            ("region: in, safeguard: standard-contractual-clauses,", "region: in,"),
            "archive",
            "filing",
            "India",
        ),
        (
            ("role: us, name: Atelier Two, serves: ch, region: ch", "role: us, serves: ch, region: in"),
            "sister",
            "running",
            "India",
        ),
    ],
)
def test_a_paper_that_is_needed_and_that_nobody_declared_closes_the_way(
    tmp_path: Path, change: tuple[str, str], recipient: str, purpose: str, says: str
) -> None:
    text = POLICY.replace(*change)
    assert text != POLICY
    with shop(tmp_path / "atelier", text=text) as company:
        with pytest.raises(Refused, match=says):
            disclose(company, recipient, [buyer(1)], purpose=purpose)
        name = "group" if recipient == "sister" else recipient
        assert worst(proofs(company, name)) == "unproven"


def test_the_board_measures_the_register_and_what_was_changed_in_it_behind_its_back(atelier: Company) -> None:
    assert worst(proofs(atelier, "couriers")) == "unproven"  # nothing was given, so nothing shows it
    disclose(atelier, "couriers", [buyer(1)], purpose="delivery")
    assert worst(proofs(atelier, "couriers")) == "kept" == worst(proofs(atelier, "nobody-else"))
    assert {proof.verdict for proof in proofs(atelier, "no-sale") if not proof.unseen} == {"kept"}

    def change(**to: str) -> None:
        with atelier.state.write() as connection:
            connection.execute(disclosures.update().values(**to))

    change(fields="shop.buyers.email shop.buyers.password_hint")
    assert worst(proofs(atelier, "couriers")) == "broken"
    change(fields="shop.buyers.email", recipient="partners")
    assert worst(proofs(atelier, "couriers")) == "broken" == worst(proofs(atelier, "nobody-else"))
    change(recipient="couriers", purpose="sale")
    assert worst(proofs(atelier, "couriers")) == "broken"
    change(purpose="delivery", disclosure="never-declared")
    assert worst(proofs(atelier, "nobody-else")) == "broken"
    change(disclosure="couriers", safeguard="privacy-shield")
    assert "didn't stand" in next(p.says for p in proofs(atelier, "couriers") if p.verdict == "broken")


def test_a_row_that_somebody_changed_to_look_like_an_earlier_versions_is_found(atelier: Company) -> None:
    disclose(atelier, "couriers", [buyer(1)], purpose="delivery")
    change(atelier, policy="another version", recipient="nobody-declared", fields="shop.buyers.iban")
    for name in ("couriers", "nobody-else"):
        assert worst(proofs(atelier, name)) == "broken"


@pytest.mark.parametrize(
    "to",
    [
        {"ground": "consent"},
        {"safeguard": "data-privacy-framework"},
        {"safeguard": "made-up"},
        {"pseudonym": None},
        {"people": 0},
        {"by": "clerk:7"},
        {"fields": "shop.buyers.email"},
    ],
)
def test_a_row_that_says_something_else_than_the_ledger_breaks_the_promise(
    atelier: Company, to: dict[str, Any]
) -> None:
    disclose(atelier, "couriers", [buyer(1)], purpose="delivery")
    change(atelier, **to)
    assert worst(proofs(atelier, "couriers")) == "broken" == worst(proofs(atelier, "nobody-else"))


def test_a_row_that_was_taken_out_of_the_register_is_missed(atelier: Company) -> None:
    disclose(atelier, "couriers", [buyer(1), buyer(2)], purpose="delivery")
    disclose(atelier, "authorities", [buyer(1)], purpose="demands", evidence=DOCUMENT)
    assert (
        worst(proofs(atelier, "nobody-else")) == "kept"
    )  # looked at once, and what came since is looked at too
    disclose(atelier, "authorities", [buyer(2)], purpose="demands", evidence=DOCUMENT)
    with atelier.state.write() as connection:
        connection.execute(disclosures.delete().where(disclosures.c.recipient == "authorities"))
    assert worst(proofs(atelier, "nobody-else")) == "broken" == worst(proofs(atelier, "demands"))
    assert worst(proofs(atelier, "couriers")) == "kept"


def test_a_row_that_the_ledger_does_not_have_is_not_taken_for_kept(tmp_path: Path) -> None:
    clock = Clock()
    with shop(tmp_path / "atelier", clock) as company:
        disclose(company, "couriers", [buyer(1)], purpose="delivery")
        with company.state.write() as connection:
            row = dict(connection.execute(disclosures.select()).one()._mapping) | {
                "call": "another",
                "number": 99,
            }
            connection.execute(disclosures.insert(), row)
        assert worst(proofs(company, "couriers")) == "kept"  # somebody may be writing both at this moment
        clock.now += timedelta(minutes=2)
        (proof,) = [one for one in proofs(company, "couriers") if one.kind == "measure"]
        assert proof.verdict == "unproven" and "aren't on the ledger" in proof.says
        promise = company.policy.section("disclosure")["couriers"]
        assert isinstance(promise, Disclosure)
        assert prove_register(company, [promise], seen=True) == [proof]  # whatever else was seen
    with shop(
        tmp_path / "atelier", clock
    ) as company:  # the next process puts it there, and says that it came late
        disclose(company, "couriers", [buyer(2)], purpose="delivery")
        (proof,) = [one for one in proofs(company, "couriers") if one.kind == "measure"]
        assert proof.verdict == "kept" and "1 came onto the ledger late" in proof.says
        assert [entry.get("late") for entry in ledger(company)] == [None, None, True]


def test_what_an_earlier_version_declared_is_not_taken_for_kept(tmp_path: Path) -> None:
    with shop(tmp_path / "atelier") as company:
        disclose(company, "couriers", [buyer(1)], purpose="delivery")
        assert worst(proofs(company, "couriers")) == "kept"
    with shop(tmp_path / "atelier", text=f"{POLICY}# a later version\n") as company:
        assert worst(proofs(company, "couriers")) == "unproven"
        disclose(company, "couriers", [buyer(2)], purpose="delivery")
        (proof,) = [one for one in proofs(company, "couriers") if one.kind == "measure"]
        assert proof.verdict == "kept" and "Each of 1 disclosures" in proof.says and "1 more" in proof.says


def change(company: Company, **to: Any) -> None:
    """Change the register behind Kept's back."""
    with company.state.write() as connection:
        connection.execute(disclosures.update().values(**to))


def test_a_probe_that_finds_the_way_open_breaks_the_promise(
    atelier: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declared, "refuse_sale", lambda *_: None)
    assert worst(proofs(atelier, "no-sale")) == "broken"


def test_a_probe_writes_nothing(atelier: Company) -> None:
    for name in atelier.policy.section("disclosure"):
        proofs(atelier, name)
    assert rows(atelier) == [] and ledger(atelier) == []
