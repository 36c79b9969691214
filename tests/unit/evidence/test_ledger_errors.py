"""What goes wrong with a ledger: every caller hears of it, nothing is half written, and it works again."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from kept.errors import KeptError, TerminalError, TransientError
from kept.evidence.keys import Keys
from kept.evidence.ledger import Ledger
from kept.evidence.merkle import Frontier, leaf_hash


def root(ledger: Ledger, size: int | None = None) -> bytes:
    """The root from the stored bytes alone."""
    frontier = Frontier()
    for body, _ in ledger.stored(0, size):
        frontier.push(leaf_hash(body))
    return frontier.root()


def test_a_locked_ledger_tells_every_caller_and_works_again_afterwards(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kept.evidence.database.WAIT", 0.2)
    with Ledger.open(tmp_path / "ledger.sqlite", keys) as ledger:
        ledger.append({"act": "before"})
        other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(4) as pool:
            waiting = [pool.submit(ledger.append, {"act": "a"}, f"k{n}") for n in range(4)]
            errors = [one.exception() for one in waiting]
        assert all(isinstance(error, TransientError) and "locked" in str(error) for error in errors)
        assert ledger.size == 1
        other.execute("COMMIT")
        other.close()
        assert ledger.append({"act": "a"}, "k0") == 1
        assert bytes.fromhex(ledger.head().root) == root(ledger)


def test_a_full_disk_writes_nothing_and_the_next_append_works(tmp_path: Path, keys: Keys) -> None:
    """SQLite's own limit of pages gives the very error that a full disk gives (SQLITE_FULL)."""
    with Ledger.open(tmp_path / "ledger.sqlite", keys) as ledger:
        ledger.append({"act": "before"})
        assert ledger._writer is not None
        pages = ledger._writer.exec_driver_sql("PRAGMA page_count").scalar_one()
        ledger._writer.exec_driver_sql(f"PRAGMA max_page_count = {pages + 3}")
        ledger._writer.rollback()
        with pytest.raises(TransientError, match="the disk is full"):
            ledger.append_many([(f"k{n}", {"act": "a", "fill": "x" * 1_000}) for n in range(100)])
        assert ledger.size == 1
        assert ledger.append({"act": "after"}) == 1
        assert bytes.fromhex(ledger.head().root) == root(ledger)


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(TerminalError, match="damaged, or isn't a database"):
        Ledger.open(tmp_path / "ledger.sqlite", keys)
    with pytest.raises(TerminalError, match="can't be opened or made"):
        Ledger.open(tmp_path / "nowhere" / "ledger.sqlite", keys)
    for address in ("sqlite://", "sqlite:///:memory:", "mysql://there/db", "://"):
        with pytest.raises(KeptError, match=r"can't be kept in|isn't a URL"):
            Ledger.open(address, keys)


def test_a_damaged_page_is_found_and_the_ledger_still_answers(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path, keys) as ledger:
        ledger.append_many([(None, {"act": "a", "fill": "x" * 500}) for _ in range(200)])
    with path.open("r+b") as file:
        file.seek(4096 * 10)
        file.write(b"\xff" * 4096 * 30)
    with pytest.raises(TerminalError, match="damaged"), Ledger.open(path, keys) as ledger:
        list(ledger.stored())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE entries SET leaf = zeroblob(32) WHERE position = 299", "does not fit them"),
        ("UPDATE subtrees SET hash = zeroblob(32)", "does not fit them"),
        ("DELETE FROM entries WHERE position = 270", "missing from its middle"),
        ("DELETE FROM entries WHERE position >= 290", "missing from its middle"),
        (
            "UPDATE heads SET body = replace(body, '\"size\":300', '\"size\":299')",
            "can't be read|does not fit",
        ),
        ("UPDATE heads SET body = x'00'", "can't be read"),
    ],
)
def test_a_ledger_changed_behind_kepts_back_is_not_appended_to(
    tmp_path: Path, keys: Keys, change: str, says: str
) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path, keys) as ledger:
        ledger.append_many([(None, {"act": "a", "n": n}) for n in range(300)])
        ledger.head()
    with sqlite3.connect(path) as other:
        other.execute(change)
    other.close()
    with pytest.raises(TerminalError, match=says):
        Ledger.open(path, keys)


def test_an_entry_deleted_from_the_middle_is_named(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path, keys) as ledger:
        ledger.append_many([(None, {"act": "a", "n": n}) for n in range(300)])
        with sqlite3.connect(path) as other:
            other.execute("DELETE FROM entries WHERE position = 17")
        other.close()
        with pytest.raises(TerminalError, match="entry 17 is gone"):
            ledger.export(tmp_path / "bundle.zip")
    assert not list(tmp_path.glob("*bundle.zip*"))


def test_a_ledger_cut_while_it_is_open_is_noticed(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path, keys) as ledger:
        ledger.append_many([(None, {"act": "a"}) for _ in range(10)])
        with sqlite3.connect(path) as other:
            other.execute("DELETE FROM entries WHERE position > 4")
        other.close()
        with pytest.raises(TerminalError, match="has 5 entries, but had 10"):
            ledger.append({"act": "b"})


def test_another_key_does_not_sign_the_same_ledger(tmp_path: Path, keys: Keys) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite", keys) as ledger:
        ledger.append({"act": "a"})
    with pytest.raises(TerminalError, match="signed with another key"):
        Ledger.open(tmp_path / "ledger.sqlite", Keys.open(tmp_path / "others"))


def test_an_unreachable_server_is_transient_and_its_address_stays_secret(keys: Keys) -> None:
    with pytest.raises(TransientError) as raised:
        Ledger.open("postgresql://kept:hunter2@127.0.0.1:1/ledger", keys)
    assert "hunter2" not in str(raised.value)


def test_a_server_that_drops_the_connection_is_transient_once(fresh_postgresql: str, keys: Keys) -> None:
    with Ledger.open(fresh_postgresql, keys) as ledger, Ledger.open(fresh_postgresql, keys) as other:
        ledger.append({"act": "a"})
        with other._engine.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                    " AND datname = current_database()"
                )
            )
        with pytest.raises(TransientError):
            ledger.append({"act": "b"})
        assert ledger.append({"act": "c"}) == 1


def test_an_error_in_a_commit_reaches_the_caller_without_values(tmp_path: Path, keys: Keys) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite", keys) as ledger:
        ledger.append({"act": "a"})
        with sqlite3.connect(tmp_path / "ledger.sqlite") as other:
            other.execute("DROP TABLE heads")
            other.execute("DROP TABLE entries")
        other.close()
        with pytest.raises(TerminalError, match="the database refused") as raised:
            ledger.append({"act": "a", "who": "f00d" * 16})
        assert "f00d" not in str(raised.value)


def test_the_file_is_its_owners_alone(tmp_path: Path, keys: Keys) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite", keys) as ledger:
        ledger.append({"act": "a"})
        assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("ledger.sqlite*")} == {0o600}
