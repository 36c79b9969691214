"""The board: every clause of every company, the shape of its JSON, attestations that lapse, JUnit for build servers."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kept.company import opened
from kept.controls.registry import load
from kept.errors import KeptError
from kept.evidence.attestations import attest
from kept.evidence.board import Board, prove
from tests.acceptance.company import ROOT, SiteLucent

PREFIXES = {"LC": 18, "LM": 50, "LU": 21, "SL": 22, "LS": 24}


@pytest.fixture
def bare(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A company's folder with its policy and no store."""
    monkeypatch.delenv("APP_DATABASE_URL", raising=False)
    shutil.copy(ROOT / "examples" / request.param / "policy.yaml", tmp_path)
    return tmp_path


def board_of(folder: Path, now: datetime) -> Board:
    with opened(load(folder / "policy.yaml"), folder, lambda: now) as company:
        return prove(company)


@pytest.mark.parametrize(
    "bare", ["lucent-commerce", "lucent-marketplace", "lumnar", "sitelucent", "lumensol"], indirect=True
)
def test_every_clause_stands_on_the_board_and_none_is_kept_unseen(bare: Path) -> None:
    company = load(bare / "policy.yaml")
    board = board_of(bare, datetime.now(UTC))
    clauses = {re.sub(r"[a-z]$", "", clause) for row in board.rows for clause in row.promise.clause}
    [prefix] = {clause[:2] for clause in clauses}
    assert clauses == {f"{prefix}-{number:02}" for number in range(1, PREFIXES[prefix] + 1)}
    assert {row.promise.id for row in board.rows} >= {promise.id for promise in company.every_promise()}
    assert board.counts == {"kept": 0, "broken": 0, "attested": 0, "unproven": len(board.rows)}
    assert all(row.proofs and row.sentence for row in board.rows)


def test_the_json_has_the_published_shape(tmp_path: Path) -> None:
    company = SiteLucent.made(tmp_path / "company", planted=True)
    ran = company.kept("prove", "--format", "json")
    assert ran.code == 1
    board = ran.json()
    assert list(board) == ["policy", "version", "at", "counts", "promises"]
    assert list(board["counts"]) == ["kept", "broken", "attested", "unproven"]
    for promise in board["promises"]:
        assert list(promise) == ["id", "clause", "sentence", "control", "verdict", "proofs", "declared"]
        assert list(promise["declared"]) == ["file", "line"]
        for proof in promise["proofs"]:
            assert list(proof) == ["kind", "verdict", "measured", "says"]
            assert proof["kind"] in ("measure", "probe", "attest")
    lines = (company.folder / "policy.yaml").read_text().splitlines()
    for promise in board["promises"]:
        assert (
            lines[promise["declared"]["line"] - 1].strip().startswith(promise["id"].partition(".")[2] + ":")
        )


def test_nothing_personal_stands_on_the_board(tmp_path: Path) -> None:
    company = SiteLucent.made(tmp_path / "company", planted=True)
    shown = company.kept("prove", "--format", "json").out + company.kept("prove").out
    for first, last, email in company.ask("SELECT first_name, last_name, email FROM users"):
        assert first not in shown and last not in shown and email not in shown


@pytest.mark.parametrize("bare", ["lumnar"], indirect=True)
def test_an_attestation_stands_until_it_lapses_and_bears_a_name(bare: Path) -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def verdict(at: datetime) -> str:
        return next(row.verdict for row in board_of(bare, at).rows if row.promise.id == "security.buildings")

    assert verdict(now) == "unproven"
    with opened(load(bare / "policy.yaml"), bare, lambda: now) as company:
        until = attest(
            company.state, company.ledger, company.policy, "security.buildings", "Olga Officer", now
        )
        assert until == datetime(2027, 3, 2, tzinfo=UTC)
        [entry] = list(company.ledger.entries())
        assert entry["act"] == "attest" and "Olga" not in json.dumps(entry)
        for promise, name in (
            ("security.nothing", "Olga"),
            ("security.encryption", "Olga"),
            ("security.buildings", " "),
        ):
            with pytest.raises(KeptError):
                attest(company.state, company.ledger, company.policy, promise, name, now)
    assert verdict(now) == "attested"
    assert verdict(datetime(2027, 3, 1, 23, 59, tzinfo=UTC)) == "attested"
    assert verdict(until) == "unproven"


def test_junit_tells_failures_from_what_nobody_measured(tmp_path: Path) -> None:
    company = SiteLucent.made(tmp_path / "company", planted=True)
    suite = ElementTree.fromstring(company.kept("prove", "--format", "junit").out)
    assert suite.get("failures") == "4" == str(len(suite.findall("testcase/failure")))
    assert suite.get("skipped") == str(len(suite.findall("testcase/skipped")))
