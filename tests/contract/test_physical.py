"""What can still be read in a store's files after a deletion."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from kept.errors import TerminalError, TransientError
from kept.stores.opening import open_store
from kept.stores.physical import traces
from kept.stores.physical.files import CannotLook, Trace, scrub, search, search_files
from kept.stores.sql import SQLStore
from tests.contract.company import build, rows

EMAIL = "ada.needle@example.org"


NOTE = "pilgrimage to a far away well "
_READING = (
    "pg_read_binary_file(text, bigint, bigint, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_ls_waldir()",
)


def places(found: list[Trace] | CannotLook) -> set[str]:
    assert isinstance(found, list)
    return {trace.where for trace in found}


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
    if store.dialect == "mariadb":
        build(store, "ALTER TABLE people MODIFY note LONGTEXT")
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
    assert isinstance(search(store, []), CannotLook)
    build(store, "DELETE FROM people")
    assert isinstance(scrub(store, ["people"]), CannotLook)
    with store.read() as connection:
        size = connection.execute(sa.text("SELECT pg_relation_size('people')")).scalar()
    assert size == 0  # what can be done was done
    store.dispose()


@pytest.fixture
def mariadb(fresh_mariadb: str) -> Iterator[SQLStore]:
    store = open_store("app", fresh_mariadb)
    build(
        store,
        "CREATE TABLE people (id INTEGER PRIMARY KEY, email VARCHAR(190), note LONGTEXT, INDEX (email))",
    )
    build(store, *(f"INSERT INTO people VALUES ({i}, 'somebody{i}@example.org', 'x')" for i in range(30)))
    yield store
    with store.alone() as connection:
        connection.exec_driver_sql("SET GLOBAL innodb_immediate_scrub_data_uncompressed = ON")
    store.dispose()


@pytest.mark.needs("mariadb")
@pytest.mark.parametrize("zeroing", ["ON", "OFF"])
def test_a_deleted_row_leaves_mariadbs_files_whether_or_not_it_zeroes_them(
    mariadb: SQLStore, zeroing: str
) -> None:
    with mariadb.alone() as connection:
        connection.exec_driver_sql(f"SET GLOBAL innodb_immediate_scrub_data_uncompressed = {zeroing}")
    build(mariadb, f"UPDATE people SET note = '{NOTE}', email = '{EMAIL}' WHERE id = 7")
    assert {"file people.ibd", "file ib_logfile0"} <= places(search(mariadb, [EMAIL]))
    build(mariadb, "DELETE FROM people WHERE id = 7")
    assert "file ib_logfile0" in places(search(mariadb, [EMAIL]))
    assert scrub(mariadb, ["people"], [EMAIL]) == []
    assert search(mariadb, [EMAIL, NOTE[:20]]) == []


@pytest.mark.needs("mariadb")
def test_what_another_table_of_mariadb_holds_is_found_and_stays(mariadb: SQLStore) -> None:
    build(
        mariadb,
        "CREATE TABLE leads (id INTEGER PRIMARY KEY, email VARCHAR(80) CHARACTER SET latin1)",
        "INSERT INTO leads VALUES (1, 'zoë.needle@example.org')",
    )
    assert places(scrub(mariadb, ["people"], ["zoë.needle@example.org"])) >= {"file leads.ibd"}


@pytest.mark.needs("mariadb")
def test_a_mariadb_whose_files_cannot_be_read_or_shown_says_so(mariadb: SQLStore, fresh_mariadb: str) -> None:
    with mariadb.alone() as connection:
        connection.exec_driver_sql("CREATE OR REPLACE USER kept_plain@localhost")
        connection.exec_driver_sql(
            "GRANT SELECT, DELETE, CREATE TEMPORARY TABLES ON *.* TO kept_plain@localhost"
        )
    plain = open_store("app", fresh_mariadb.replace("root@", "kept_plain@"))
    found = search(plain, [EMAIL])
    assert isinstance(found, CannotLook) and "RELOAD" in found.reason
    assert isinstance(scrub(plain, ["people"], [EMAIL]), CannotLook)
    elsewhere = open_store("app", f"{fresh_mariadb}&kept_files=/nowhere")
    found = search(elsewhere, [EMAIL])
    assert isinstance(found, CannotLook) and "kept_files" in found.reason
    build(mariadb, "CREATE TABLE packed (id INTEGER PRIMARY KEY) ROW_FORMAT=COMPRESSED")
    found = search(mariadb, [EMAIL])
    assert isinstance(found, CannotLook) and "compressed" in found.reason
    for opened in (plain, elsewhere):
        opened.dispose()


@pytest.fixture
def postgresql(fresh_postgresql: str) -> Iterator[SQLStore]:
    store = open_store("app", fresh_postgresql)
    yield store
    store.dispose()


def test_what_was_deleted_is_gone_without_being_named(postgresql: SQLStore) -> None:
    people(postgresql, 2000)
    build(
        postgresql,
        "CREATE INDEX words ON people USING gin (to_tsvector('simple', note))",
        f"UPDATE people SET note = '{NOTE}' WHERE id % 7 = 0",
        "DELETE FROM people WHERE id % 7 = 0",
    )
    with postgresql.alone() as connection:
        connection.exec_driver_sql("VACUUM people")
    assert "relation public.people" in places(search(postgresql, [NOTE[:20]]))
    assert scrub(postgresql, ["people"]) == []
    assert "relation public.people" not in places(search(postgresql, [NOTE[:20]]))


def test_a_table_without_deleted_rows_is_not_rewritten(postgresql: SQLStore) -> None:
    people(postgresql, 2000)
    scrub(postgresql, ["people"])
    before = rows(postgresql, "SELECT pg_relation_filepath('people')")
    scrub(postgresql, ["people"])
    assert rows(postgresql, "SELECT pg_relation_filepath('people')") == before


def test_partitions_are_rewritten_too(postgresql: SQLStore) -> None:
    build(
        postgresql,
        "CREATE TABLE visits (id INTEGER, note TEXT) PARTITION BY RANGE (id)",
        "CREATE TABLE visits_low PARTITION OF visits FOR VALUES FROM (0) TO (10)",
        f"INSERT INTO visits SELECT i, '{NOTE}' || i FROM generate_series(1, 9) AS i",
        "DELETE FROM visits WHERE id < 5",
    )
    scrub(postgresql, ["visits"])
    assert {"relation public.visits", "relation public.visits_low"}.isdisjoint(
        places(search(postgresql, [f"{NOTE}3"]))
    )
    assert rows(postgresql, "SELECT count(*) FROM visits") == [(5,)]


def test_rows_that_an_older_transaction_may_see_are_not_called_gone(
    postgresql: SQLStore, fresh_postgresql: str
) -> None:
    people(postgresql)
    with psycopg.connect(fresh_postgresql) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT 1")
        build(postgresql, "DELETE FROM people WHERE id = 150")
        with pytest.raises(TransientError, match=r"deleted rows of public\.people"):
            scrub(postgresql, ["people"])
    assert scrub(postgresql, ["people"]) == []
    assert "relation public.people" not in places(search(postgresql, [EMAIL]))


@pytest.mark.parametrize("deleted", ["id % 2 = 0", "true"])
def test_samples_of_deleted_values_leave_the_statistics(postgresql: SQLStore, deleted: str) -> None:
    people(postgresql, 20)  # so few that PostgreSQL doesn't compress the samples
    build(postgresql, "ANALYZE people", f"DELETE FROM people WHERE {deleted}")
    assert "relation pg_catalog.pg_statistic" in places(search(postgresql, ["somebody4@example.org"]))
    assert scrub(postgresql, ["people"]) == []
    assert "relation pg_catalog.pg_statistic" not in places(search(postgresql, ["somebody4@example.org"]))


def test_values_in_other_tables_and_schemas_are_found(postgresql: SQLStore) -> None:
    people(postgresql)
    build(
        postgresql,
        "CREATE SCHEMA crm",
        "CREATE TABLE crm.leads AS SELECT email FROM people WHERE id = 150",
        "CREATE TABLE sent (line TEXT)",
        f"INSERT INTO sent VALUES ('to {EMAIL}')",
        "DELETE FROM people WHERE id = 150",
        "DELETE FROM sent",
    )
    found = scrub(postgresql, ["people"], [EMAIL])
    assert "relation crm.leads" in places(found)
    assert {"relation public.people", "relation public.sent"}.isdisjoint(places(found))


def test_a_role_that_may_not_rewrite_a_table_says_so(postgresql: SQLStore, fresh_postgresql: str) -> None:
    people(postgresql)
    with psycopg.connect(fresh_postgresql, autocommit=True) as server:
        server.execute("DROP ROLE IF EXISTS kept_looks")
        server.execute("CREATE ROLE kept_looks LOGIN IN ROLE pg_read_server_files, pg_checkpoint")
        server.execute("GRANT SELECT, DELETE ON people TO kept_looks")
        for function in _READING:
            server.execute(f"GRANT EXECUTE ON FUNCTION {function} TO kept_looks")
        server.execute("DELETE FROM people WHERE id = 150")
        server.execute("VACUUM people")
    store = open_store("app", fresh_postgresql.replace("postgres:@", "kept_looks:@"))
    with pytest.raises(TerminalError, match="may not rewrite"):
        scrub(store, ["people"])
    store.dispose()


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_values_are_found_in_the_encoding_of_the_file(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "app.sqlite"
    with sqlite3.connect(path) as app:
        app.execute(f"PRAGMA encoding = '{encoding}'")
        app.execute("CREATE TABLE outbox (body TEXT)")
        app.execute("INSERT INTO outbox VALUES (?)", (f"To: {EMAIL}",))
    app.close()
    store = open_store("app", f"sqlite:///{path}")
    assert search(store, [EMAIL]) == [Trace("file app.sqlite", 1, frozenset({EMAIL}))]
    assert search_files([path], [EMAIL]) == [Trace("file app.sqlite", 1, frozenset({EMAIL}))]
    assert scrub(store, ["outbox"], [EMAIL]) == [Trace("file app.sqlite", 1, frozenset({EMAIL}))]
    build(store, "DELETE FROM outbox")
    assert scrub(store, ["outbox"], [EMAIL]) == []


def test_values_are_found_in_the_encoding_of_the_server(fresh_postgresql: str) -> None:
    latin = fresh_postgresql.replace("/test_", "/latin_")
    name = latin.split("/latin_")[1].split("?")[0]
    with psycopg.connect(fresh_postgresql, autocommit=True) as server:
        server.execute(f"CREATE DATABASE \"latin_{name}\" TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
        store = open_store("app", latin)
        build(store, "CREATE TABLE people (name TEXT)", "INSERT INTO people VALUES ('Zoë Müller')")
        assert "relation public.people" in places(search(store, ["Zoë Müller"]))
        store.dispose()
        server.execute(f'DROP DATABASE "latin_{name}" WITH (FORCE)')


def test_values_too_short_to_mean_anything_are_refused(store: SQLStore) -> None:
    with pytest.raises(ValueError, match="found everywhere"):
        search(store, ["Ada"])


def test_values_across_the_edge_of_a_piece_are_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "CHUNK", 16)
    for at in range(70):
        path = tmp_path / "dump"
        path.write_bytes(b"." * at + b"needle" + b"." * 40 + b"needle.and.thread")
        assert search_files([path, tmp_path / "missing"], ["needle", "needle.and.thread"]) == [
            Trace("file dump", 3, frozenset({"needle", "needle.and.thread"}))
        ]


def test_the_length_of_a_neighbour_is_not_taken_for_a_character(fresh_postgresql: str) -> None:
    """Samples of a column: `Name 127`, then a length that reads `0`, then the next; nobody is called `Name 1270`."""
    store = open_store("app", fresh_postgresql)
    build(store, "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)")
    names = ", ".join(f"({i}, 'Name {i}')" for i in range(100, 1000))
    build(store, f"INSERT INTO people VALUES {names}", "ANALYZE people")
    with store.read() as connection:
        sampled = connection.exec_driver_sql(
            "SELECT CAST(CAST(histogram_bounds AS text) AS text[]) FROM pg_stats WHERE tablename = 'people'"
            " AND attname = 'name'"
        ).scalar_one()
    false = [f"{name}0" for name in sampled[:-1]]
    assert scrub(store, ["people"], false) == []
    assert search(store, [f"{sampled[1]}"]) != []
    store.dispose()
