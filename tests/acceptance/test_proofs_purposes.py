"""Purposes are proven by what is tried and measured; what nobody can see rests on a name, for as long as it stands."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kept.company import Company, opened
from kept.controls.choices.deciding import Decision
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.enforce import Gate
from kept.controls.purposes.tried import trials, tried
from kept.controls.registry import load
from kept.evidence.attestations import attest
from kept.evidence.board import prove
from tests.acceptance.company import SiteLucent

LATER = timedelta(days=400)


def purpose(company: Company, name: str) -> Purpose:
    found = company.policy.section("purposes")[name]
    assert isinstance(found, Purpose)
    return found


def test_every_use_beyond_a_purpose_is_tried_on_real_people_and_refused(tmp_path: Path) -> None:
    company = SiteLucent.made(tmp_path / "company")
    with opened(load(company.folder / "policy.yaml"), company.folder) as found:
        made = trials(found, purpose(found, "improve-app"))
        assert {one.what for one in made} >= {"`account` used for it", "asked by a stranger"}
        assert not any(one.said.allowed for one in made)
        assert tried(found, purpose(found, "improve-app")).verdict == "kept"


def test_a_gate_that_lets_too_much_through_breaks_the_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = SiteLucent.made(tmp_path / "company")
    with opened(load(company.folder / "policy.yaml"), company.folder) as found:
        monkeypatch.setattr(Gate, "decide", lambda *_, **__: Decision(True, "whatever"))
        proof = tried(found, purpose(found, "analyse-error"))
        assert proof.verdict == "broken" and "asked by a stranger" in proof.says


def test_refusals_because_nobody_can_tell_prove_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = SiteLucent.made(tmp_path / "company")
    with opened(load(company.folder / "policy.yaml"), company.folder) as found:
        monkeypatch.setattr(Gate, "decide", lambda *_, **__: Decision(False, "who knows", unsure=True))
        assert tried(found, purpose(found, "analyse-error")).verdict == "unproven"


def test_what_nobody_can_see_is_attested_while_a_name_stands_for_it(tmp_path: Path) -> None:
    company = SiteLucent.made(tmp_path / "company")
    now = datetime.now(UTC)
    with opened(load(company.folder / "policy.yaml"), company.folder, lambda: now) as found:

        def row() -> tuple[str, list[str]]:
            one = next(row for row in prove(found).rows if row.promise.id == "retention.visits")
            return one.verdict, [proof.kind for proof in one.proofs]

        assert row()[0] == "unproven"
        attest(found.state, found.ledger, found.policy, "retention.visits", "Robin Reed", now)
        assert row() == ("attested", ["attest"])
        found.clock = lambda: now + LATER
        assert row()[0] == "unproven" and len(row()[1]) > 1


def test_a_name_never_covers_what_a_machine_can_see(tmp_path: Path) -> None:
    """Who ended before Kept was at work, somebody vouches for; whoever ends past Kept later breaks the promise."""
    company = SiteLucent.made(tmp_path / "company")
    assert company.kept("sweep").code == 0

    def verdict(found: Company) -> str:
        return next(row.verdict for row in prove(found).rows if row.promise.id == "purposes.deactivating")

    with opened(load(company.folder / "policy.yaml"), company.folder) as found:
        attest(
            found.state, found.ledger, found.policy, "purposes.deactivating", "Robin Reed", datetime.now(UTC)
        )
        assert verdict(found) == "attested"
        with sqlite3.connect(company.folder / "app.sqlite") as database:
            database.execute(
                "UPDATE users SET deactivated_at = datetime('now') WHERE id ="
                " (SELECT min(id) FROM users WHERE deactivated_at IS NULL)"
            )
        assert verdict(found) == "broken"
