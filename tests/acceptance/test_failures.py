"""A store that is down, locked or full, a policy edited: a clear error, `unproven`, and the next run finishes."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kept.company import opened
from kept.controls.registry import load
from kept.evidence import board
from tests.acceptance.company import SiteLucent


@pytest.fixture
def company(tmp_path: Path) -> SiteLucent:
    return SiteLucent.made(tmp_path / "company", planted=True)


def _verdicts(company: SiteLucent) -> dict[str, str]:
    return {p["id"]: p["verdict"] for p in company.kept("prove", "--format", "json").json()["promises"]}


def test_a_store_that_is_away_proves_nothing_and_loses_nothing(company: SiteLucent) -> None:
    away = company.folder / "app.sqlite"
    elsewhere = away.rename(company.folder.parent / "away.sqlite")
    verdicts = _verdicts(company)
    assert "kept" not in verdicts.values() and "broken" not in verdicts.values()
    erasing = company.kept("request", "erase", "user:2", "--by", "tester")
    assert erasing.code in (1, 2, 3)
    assert "app" in erasing.err and "Traceback" not in erasing.err
    assert not away.exists(), "a missing database must never be made anew"
    elsewhere.rename(away)
    assert company.kept("request", "erase", "user:2", "--by", "tester").code == 0
    assert _verdicts(company)["retention.usage"] == "broken"


def test_a_locked_database_stops_a_sweep_with_words_and_the_next_run_finishes(company: SiteLucent) -> None:
    holder = sqlite3.connect(company.folder / "app.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    before = company.ask("SELECT count(*) FROM usage_events")
    swept = company.kept("sweep")
    assert swept.code == 3 and "locked" in swept.err
    assert company.ask("SELECT count(*) FROM usage_events") == before
    holder.close()
    assert company.kept("sweep").code == 0
    assert _verdicts(company)["retention.usage"] == "kept"
    assert len(company.ledger("sweep")) == 2


def test_a_locked_database_leaves_an_erasure_open_and_resume_finishes_it(company: SiteLucent) -> None:
    holder = sqlite3.connect(company.folder / "app.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    erasing = company.kept("request", "erase", "user:2", "--by", "tester")
    assert erasing.code == 1 and "locked" in erasing.err and "stays open" in erasing.err
    assert company.ask("SELECT count(*) FROM users WHERE id = 2") == [(1,)]
    holder.close()
    assert company.kept("work").code == 0
    assert company.ask("SELECT count(*) FROM users WHERE id = 2") == [(0,)]
    assert len(company.ledger("erase")) == 1


@pytest.mark.parametrize("command", [("sweep",), ("request", "erase", "user:2", "--by", "tester")])
def test_a_full_disk_stops_with_words_at_any_point_and_the_next_run_finishes(
    company: SiteLucent, tmp_path: Path, command: tuple[str, ...]
) -> None:
    stopped = 0
    for number, size in enumerate((2_000, 30_000, 60_000, 90_000, 130_000, 200_000, 230_000)):
        full = company.copied(tmp_path / f"full-{number}")
        ran = full.kept(*command, file_limit=size)
        stopped += ran.code != 0
        assert "Traceback" not in ran.err and "internal error" not in ran.err
        if ran.code:
            assert ran.err.strip()
        full.kept("work")
        assert full.kept(*command).code == 0 or command[0] == "request"
        if command[0] == "sweep":
            assert _verdicts(full)["retention.usage"] == "kept"
            assert len(full.ledger("sweep")) == 2
        else:
            assert full.ask("SELECT count(*) FROM users WHERE id = 2") == [(0,)]
            assert len(full.ledger("erase")) == 1
    assert stopped >= 3


def test_a_policy_edited_while_it_is_proven_proves_nothing(
    company: SiteLucent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APP_DATABASE_URL", raising=False)
    file = company.folder / "policy.yaml"
    with opened(load(file), company.folder) as sitelucent:
        file.write_text(file.read_text().replace("24 months after recorded", "99 months after recorded"))
        shown = board.prove(sitelucent)
    assert {row.verdict for row in shown.rows} == {"unproven"}
    assert "changed while" in shown.rows[0].proofs[0].says


def test_a_clock_that_cannot_be_read_is_never_counted_as_kept(company: SiteLucent) -> None:
    assert company.kept("sweep").code == 0
    assert _verdicts(company)["retention.usage"] == "kept"
    company.do("UPDATE usage_events SET at = 'last spring' WHERE id = 1")
    assert _verdicts(company)["retention.usage"] == "unproven"


def test_a_left_over_copy_of_the_address_fails_the_erasure(company: SiteLucent) -> None:
    """Fault 6 of the peer: an address under another label stayed."""
    company.do("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")
    company.do("INSERT INTO notes SELECT 1, 'call ' || email FROM users WHERE id = 2")
    erasing = company.kept("request", "erase", "user:2", "--by", "tester")
    assert erasing.code == 1 and "files still hold" in erasing.err
    assert company.ledger("erase") == []
    company.do("DELETE FROM notes")
    assert company.kept("work").code == 0
    assert len(company.ledger("erase")) == 1


def test_an_identifier_that_two_people_share_is_nobodys(company: SiteLucent) -> None:
    company.do("CREATE TABLE leads (id INTEGER PRIMARY KEY, email TEXT)")
    company.do("INSERT INTO leads SELECT 9, email FROM users WHERE id = 2")
    file = company.folder / "policy.yaml"
    text = file.read_text()
    text = text.replace(
        "people:\n",
        "people:\n  prospect: {in: app.leads, key: id, known-by: {email: email}}\n",
    ).replace(
        "data:\n",
        "data:\n  prospects: {of: prospect, in: {app.leads: {email: email}}}\n",
    )
    text = text.replace("retention:\n", "retention:\n  prospects: {keeps: prospects, until: forever}\n")
    file.write_text(text)
    [(email,)] = company.ask("SELECT email FROM users WHERE id = 2")
    asked = company.kept("request", "access", email)
    assert asked.code == 2
    assert "user:2" in asked.err and "prospect:9" in asked.err and email not in asked.err


def test_no_secret_and_no_value_stands_in_what_is_printed(company: SiteLucent) -> None:
    settings = company.folder / ".env"
    settings.write_text("APP_DATABASE_URL=postgresql://kept:hush-hush@127.0.0.1:1/none\n")
    for arguments in (
        ("prove",),
        ("check",),
        ("map",),
        ("sweep",),
        ("request", "erase", "user:2", "--by", "tester"),
        ("--help",),
    ):
        ran = company.kept(*arguments)
        assert "hush-hush" not in ran.out + ran.err
        assert "Traceback" not in ran.err
    for path in company.folder.rglob("*"):
        if path.is_file() and path != settings:
            assert b"hush-hush" not in path.read_bytes()


def test_two_commands_at_once_wait_for_each_other(company: SiteLucent) -> None:
    """What one process has under way looks unfinished to another, which must not finish it as well."""
    due = {
        line["place"]: line["rows"]
        for line in company.kept("sweep", "--dry-run", "--format", "json").json()["swept"]
    }
    with ThreadPoolExecutor(3) as pool:
        ran = list(pool.map(lambda _: company.kept("sweep"), range(3)))
    assert [one.code for one in ran] == [0, 0, 0], [one.err for one in ran]
    assert {entry["place"]: entry["rows"] for entry in company.ledger("sweep")} == due
    assert len(company.ledger("sweep")) == 2


def test_a_policy_that_contradicts_itself_is_measured_and_changes_nothing(company: SiteLucent) -> None:
    file = company.folder / "policy.yaml"
    file.write_text(
        file.read_text().replace("ended: deactivated_at}", "ended: deactivated_at, when: id > 3}", 1)
    )
    for command in (("sweep",), ("request", "erase", "user:2", "--by", "tester")):
        ran = company.kept(*command)
        assert ran.code == 2 and "test-without-is" in ran.err
    assert company.ask("SELECT count(*) FROM users WHERE id = 2") == [(1,)]
    assert _verdicts(company)["retention.usage"] == "broken"


def test_a_safeguard_that_died_stops_nobody_from_using_a_right(company: SiteLucent) -> None:
    file = company.folder / "policy.yaml"
    file.write_text(file.read_text().replace("data-privacy-framework", "privacy-shield"))
    assert company.kept("check").code == 1
    assert company.kept("request", "erase", "user:2", "--by", "tester").code == 0


def test_a_sweep_that_could_not_ask_a_store_says_so(company: SiteLucent) -> None:
    (company.folder / "app.sqlite").rename(company.folder.parent / "away.sqlite")
    for command in (("sweep",), ("sweep", "--dry-run"), ("sweep", "--dry-run", "--format", "json")):
        ran = company.kept(*command)
        assert ran.code == 3 and "not everything was looked at: app" in ran.err


def test_nothing_is_swept_while_a_table_hangs_on_people_and_nobody_declared_it(company: SiteLucent) -> None:
    company.do(
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), text TEXT)"
    )
    before = company.ask("SELECT count(*) FROM usage_events")
    ran = company.kept("sweep")
    assert ran.code == 2 and "app.notes hangs on a person" in ran.err
    assert company.ask("SELECT count(*) FROM usage_events") == before
    assert _verdicts(company)["collection.no-more"] == "broken"
    assert company.kept("check").code == 1
    assert company.kept("map").code == 1
