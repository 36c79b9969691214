"""What can still be read in a store's files after a deletion."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from kept.stores import physical
from kept.stores.opening import open_store
from kept.stores.physical import CannotLook, Trace, scrub, search, search_files
from kept.stores.sql import SQLStore
from tests.contract.company import build

EMAIL = "ada.needle@example.org"


def people(store: SQLStore, many: int = 300) -> None:
    build(store, "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, note TEXT)")
    build(store, "CREATE INDEX people_email ON people (email)")
    values = ", ".join(f"({i}, 'somebody{i}@example.org', 'x')" for i in range(many))
    build(store, f"INSERT INTO people VALUES {values}")
    build(store, f"UPDATE people SET email = '{EMAIL}' WHERE id = {many // 2}")


def test_a_value_that_stands_in_a_row_is_found(store: SQLStore) -> None:
    people(store)
    found = search(store, [EMAIL])
    assert isinstance(found, list) and sum(trace.count for trace in found) >= 2
    assert search(store, ["nobody.at.all@example.org"]) == []


@pytest.mark.parametrize("many", [1, 7, 300, 5000])
def test_nothing_of_a_deleted_row_is_left_after_scrubbing(store: SQLStore, many: int) -> None:
    people(store, many)
    build(store, f"DELETE FROM people WHERE id = {many // 2}")
    assert scrub(store, ["people"], [EMAIL]) == []
    assert search(store, [EMAIL]) == []


def test_long_values_kept_outside_the_table_are_found_and_scrubbed(store: SQLStore) -> None:
    people(store)
    note = "".join(f"{i * 7919 % 100003:06}" for i in range(20_000))
    build(store, f"UPDATE people SET note = '{note}' WHERE id = 3")
    if store.dialect == "postgresql":
        build(
            store,
            "ALTER TABLE people ALTER note SET STORAGE EXTERNAL",
            f"UPDATE people SET note = '{note}x' WHERE id = 3",
        )
    assert search(store, [note[3000:3040]]) != []
    build(store, "UPDATE people SET note = NULL WHERE id = 3")
    assert scrub(store, ["people"], [note[3000:3040]]) == []


def test_what_others_deleted_without_zeroing_is_scrubbed_too(fresh_sqlite: str) -> None:
    import sqlite3

    store = open_store("app", fresh_sqlite)
    people(store)
    store.dispose()
    with sqlite3.connect(fresh_sqlite.removeprefix("sqlite:///")) as app:
        app.execute("PRAGMA secure_delete = OFF")
        app.execute("DELETE FROM people WHERE id = 150")
    app.close()
    assert search(store, [EMAIL]) != []
    assert scrub(store, ["people"], [EMAIL]) == []


def test_a_role_that_may_not_look_says_so(fresh_postgresql: str) -> None:
    with psycopg.connect(fresh_postgresql, autocommit=True) as server:
        server.execute("DROP ROLE IF EXISTS kept_plain")
        server.execute("CREATE ROLE kept_plain LOGIN")
        server.execute("GRANT CREATE ON SCHEMA public TO kept_plain")
    store = open_store("app", fresh_postgresql.replace("postgres:@", "kept_plain:@"))
    people(store)
    found = search(store, [EMAIL])
    assert isinstance(found, CannotLook) and "pg_read_server_files" in found.reason
    assert isinstance(scrub(store, ["people"], [EMAIL]), CannotLook)
    store.dispose()


def test_values_too_short_to_mean_anything_are_refused(store: SQLStore) -> None:
    with pytest.raises(ValueError, match="found everywhere"):
        search(store, ["Ada"])


def test_values_across_the_edge_of_a_piece_are_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(physical, "_CHUNK", 16)
    for at in range(70):
        path = tmp_path / "dump"
        path.write_bytes(b"." * at + b"needle" + b"." * 40 + b"needle.and.thread")
        assert search_files([path, tmp_path / "missing"], ["needle", "needle.and.thread"]) == [
            Trace("file dump", 3)
        ]
