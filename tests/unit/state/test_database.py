"""Kept's own database: the migrations make what the tables say, all or nothing, and notes are overwritten."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData

from kept.errors import TransientError
from kept.evidence import pseudonyms
from kept.state import database, tables
from kept.state.database import State


def test_the_newest_migration_is_the_one_that_a_start_asks_for() -> None:
    scripts = ScriptDirectory(str(Path(database.__file__).parent / "migrations"))
    assert scripts.get_current_head() == database.HEAD


def test_the_migrations_make_exactly_the_tables_that_are_declared(tmp_path: Path) -> None:
    state = State(tmp_path / "kept.sqlite")
    declared = MetaData()
    for metadata in (tables.metadata, pseudonyms.metadata):
        for table in metadata.tables.values():
            table.to_metadata(declared)
    with state.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), declared) == []
    state.close()


def test_a_second_start_finds_what_the_first_made(tmp_path: Path) -> None:
    for number in range(2):
        state = State(tmp_path / "kept.sqlite")
        state.note("act", "part", {"rows": number})
        assert state.notes("act") == {"part": {"rows": number}}
        state.close()


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    State(tmp_path / "kept.sqlite").close()
    assert (tmp_path / "kept.sqlite").stat().st_mode & 0o077 == 0


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "kept.sqlite").write_text("not a database, whatever its name says " * 40)
    with pytest.raises(Exception, match="Kept's own database"):
        State(tmp_path / "kept.sqlite")


def test_a_locked_file_is_a_matter_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_MILLISECONDS", 50)
    state = State(tmp_path / "kept.sqlite")
    with sqlite3.connect(tmp_path / "kept.sqlite", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransientError):
            state.note("act", "part", {})
    state.close()
