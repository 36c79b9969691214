"""A backup from before an erasure brings people back: they are found, and erased again from keyed hashes alone."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.company import SiteLucent


@pytest.fixture
def company(tmp_path: Path) -> SiteLucent:
    return SiteLucent.made(tmp_path / "company", people=40)


def erased_and_restored(company: SiteLucent, *keys: int) -> None:
    """These people are erased, then the database as it was before is put back."""
    backup = company.folder.parent / "backup.sqlite"
    shutil.copyfile(company.folder / "app.sqlite", backup)
    for key in keys:
        assert company.kept("request", "erase", f"user:{key}", "--by", "tester").code == 0
    shutil.copyfile(backup, company.folder / "app.sqlite")


def erasure_on_the_board(company: SiteLucent) -> dict[str, str]:
    board = company.kept("prove", "--format", "json").json()["promises"]
    [row] = [promise for promise in board if promise["id"] == "rights.erase"]
    return {proof["says"]: proof["verdict"] for proof in row["proofs"] if "erased" in proof["says"]}


def test_whoever_was_erased_is_found_and_erased_again(company: SiteLucent) -> None:
    emails = [email for (email,) in company.ask("SELECT email FROM users WHERE id IN (5, 9)")]
    assert "broken" not in erasure_on_the_board(company).values()
    erased_and_restored(company, 5, 9)
    assert "broken" in erasure_on_the_board(company).values()
    looked = company.kept("replay", "--dry-run")
    assert looked.code == 0 and "2 were erased before" in looked.out
    assert company.ask("SELECT count(*) FROM users WHERE id IN (5, 9)") == [(2,)]
    assert company.kept("replay").code == 0
    assert company.ask("SELECT count(*) FROM users WHERE id IN (5, 9)") == [(0,)]
    assert company.ask("SELECT count(*) FROM users") == [(38,)]
    assert [company.files_with(email) for email in emails] == [[], []]
    assert "broken" not in erasure_on_the_board(company).values()
    assert "0 were erased before" in company.kept("replay").out


def test_somebody_new_behind_an_old_key_is_left_to_staff(company: SiteLucent) -> None:
    erased_and_restored(company, 5)
    company.do("UPDATE users SET email = 'someone-new@mail.example' WHERE id = 5")
    replayed = company.kept("replay")
    assert (
        replayed.code == 1 and "user:5" in replayed.err and "mail.example" not in replayed.out + replayed.err
    )
    assert company.ask("SELECT count(*) FROM users WHERE id = 5") == [(1,)]
    assert "unproven" in erasure_on_the_board(company).values()


def test_who_came_anew_after_their_erasure_is_not_erased_again(company: SiteLucent) -> None:
    erased_and_restored(company, 5)
    company.do("UPDATE users SET created_at = '2999-01-01 00:00:00' WHERE id = 5")
    replayed = company.kept("replay")
    assert replayed.code == 0 and "0 were erased before" in replayed.out
    assert company.ask("SELECT count(*) FROM users WHERE id = 5") == [(1,)]


def test_kept_itself_cannot_say_who_was_erased(company: SiteLucent) -> None:
    [(first, email)] = company.ask("SELECT first_name, email FROM users WHERE id = 5")
    erased_and_restored(company, 5)
    own = b"".join(path.read_bytes() for path in company.folder.glob("[klw]*.sqlite*"))
    assert email.encode() not in own and first.encode() not in own and b"user:5" not in own


def test_an_erasure_that_nobody_validated_is_broken_on_the_board_and_a_replay_is_none(
    company: SiteLucent,
) -> None:
    def said() -> tuple[str, str]:
        board = company.kept("prove", "--format", "json").json()["promises"]
        [row] = [promise for promise in board if promise["id"] == "rights.erase"]
        [proof] = [proof for proof in row["proofs"] if "validated" in proof["says"]]
        return proof["verdict"], proof["says"]

    erased_and_restored(company, 5, 9)
    assert company.kept("replay").code == 0
    verdict, words = said()
    assert verdict == "kept" and words.startswith("All 2 requests")
    with closing(sqlite3.connect(company.folder / "kept.sqlite")) as state, state:
        state.execute(
            "DELETE FROM events WHERE rowid = (SELECT min(rowid) FROM events WHERE what = 'confirmed')"
        )
    assert said()[0] == "broken"
