"""A value that is only read into the bytes of a PostgreSQL table's rows is not taken for one that stands there."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from kept.stores.opening import open_store
from kept.stores.physical.files import CannotLook, Trace, scrub, search
from kept.stores.sql import SQLStore
from tests.contract.company import build, rows

# the length of twelve bytes with their header is written as 0x1b, of 23 as 0x31, which is `1`
FALSE = "Name 1271"


@pytest.fixture
def store(fresh_postgresql: str) -> Iterator[SQLStore]:
    opened = open_store("app", fresh_postgresql)
    yield opened
    opened.dispose()


def people(store: SQLStore) -> None:
    build(store, "CREATE TABLE people (id integer PRIMARY KEY, name text, note text)")
    build(
        store,
        "INSERT INTO people SELECT i, 'Name ' || i, repeat('y', 23) FROM generate_series(100, 300) AS i",
    )


def values(found: list[Trace] | CannotLook, where: str = "relation public.people") -> frozenset[str]:
    assert isinstance(found, list)
    return frozenset().union(*(trace.values for trace in found if trace.where == where))


def test_the_length_of_the_next_column_is_not_taken_for_a_character(store: SQLStore) -> None:
    people(store)
    assert values(search(store, [FALSE])) == {FALSE}
    assert scrub(store, ["people"], [FALSE]) == []


def test_tables_that_nothing_was_deleted_from_are_not_rewritten_for_it(store: SQLStore) -> None:
    people(store)
    before = rows(store, "SELECT pg_relation_filepath('people')")
    assert scrub(store, ["people"], [FALSE]) == []
    assert rows(store, "SELECT pg_relation_filepath('people')") == before


def test_a_table_that_was_not_named_is_looked_at_too(store: SQLStore) -> None:
    people(store)
    assert scrub(store, [], [FALSE]) == []


def test_what_stands_in_a_row_stays_found_beside_what_only_seems_to(store: SQLStore) -> None:
    people(store)
    assert values(scrub(store, ["people"], [FALSE, "Name 128", "Name 2000"])) == {"Name 128"}
    build(store, "UPDATE people SET name = 'Name 1271, once' WHERE id = 200")
    assert values(scrub(store, ["people"], [FALSE])) == {FALSE}


def test_a_deleted_row_that_cannot_go_yet_stays_found(store: SQLStore, fresh_postgresql: str) -> None:
    people(store)
    build(store, f"UPDATE people SET name = '{FALSE}' WHERE id = 200")
    with psycopg.connect(fresh_postgresql) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT 1")
        build(store, "DELETE FROM people WHERE id = 200")
        assert values(scrub(store, [], [FALSE])) == {FALSE}
    assert scrub(store, ["people"], [FALSE]) == []


def test_a_key_that_only_parts_pages_of_an_index_is_found_and_goes(store: SQLStore) -> None:
    """The first key of a page stays in the page above it when its row is gone."""
    build(store, "CREATE TABLE people (id integer PRIMARY KEY, email text)")
    build(
        store, "INSERT INTO people SELECT i, 'p' || i || '@example.org' FROM generate_series(1000, 3000) AS i"
    )
    build(store, "CREATE INDEX people_email ON people (email)")
    keys = [f"p{i}@example.org" for i in range(1000, 3001)]
    build(store, "DELETE FROM people WHERE id % 10 <> 0")
    with store.alone() as connection:
        connection.exec_driver_sql("VACUUM (FREEZE) people")
    gone = [key for key in keys if int(key[1:5]) % 10]
    left = values(search(store, gone))
    assert left
    assert scrub(store, [], sorted(left)) == []


@pytest.mark.parametrize(
    "column",
    ["bytea", "bytea[]", "tsvector", "text GENERATED ALWAYS AS (name || id) STORED"],
)
def test_where_rows_as_text_would_not_show_all_a_value_stays_found_or_is_shown(
    store: SQLStore, column: str
) -> None:
    build(store, f"CREATE TABLE people (id integer PRIMARY KEY, name text, note {column})")
    build(store, "INSERT INTO people (id, name) VALUES (1, 'Name 127')")
    expected = "Name 1271"
    if "GENERATED" not in column:
        expected = "needle"
        note = "{needle}" if column.endswith("[]") else "needle"
        build(store, f"UPDATE people SET note = '{note}'")
    assert values(scrub(store, ["people"], [expected])) == {expected}


@pytest.mark.parametrize(
    ("column", "written"),
    [("text[]", "'{\"so called\",x}'"), ("jsonb", '\'{"a": "so called"}\''), ("char(30)", "'so called'")],
)
def test_a_value_inside_a_row_is_found_in_every_kind_of_column(
    store: SQLStore, column: str, written: str
) -> None:
    build(store, f"CREATE TABLE people (id integer PRIMARY KEY, name text, note {column})")
    build(store, "INSERT INTO people SELECT i, 'Name ' || i FROM generate_series(100, 300) AS i")
    build(store, f"UPDATE people SET note = {written} WHERE id = 200")
    assert values(scrub(store, ["people"], ["so called"])) == {"so called"}


def test_an_index_over_an_expression_keeps_a_value_found(store: SQLStore) -> None:
    build(store, "CREATE TABLE people (id integer PRIMARY KEY, name text)")
    build(store, "INSERT INTO people VALUES (1, 'ADA NEEDLE')", "CREATE INDEX ON people (lower(name))")
    assert values(scrub(store, ["people"], ["ada needle"])) == {"ada needle"}


def test_a_value_inside_a_longer_one_that_stays_is_found_without_rewriting(store: SQLStore) -> None:
    people(store)
    build(store, "CREATE INDEX people_name ON people (name)", "DELETE FROM people WHERE id = 150")
    scrub(store, ["people"])
    before = rows(store, "SELECT pg_relation_filepath('people')")
    assert values(scrub(store, ["people"], ["ame 151", "Name 150"])) == {"ame 151"}
    assert rows(store, "SELECT pg_relation_filepath('people')") == before


def test_each_place_says_which_values_stand_there(store: SQLStore) -> None:
    people(store)
    build(store, "CREATE TABLE leads AS SELECT name FROM people WHERE id IN (150, 151)")
    found = search(store, ["Name 150", "Name 152", "Name 999"])
    assert values(found) == {"Name 150", "Name 152"}
    assert values(found, "relation public.leads") == {"Name 150"}


def test_what_stands_in_the_log_alone_is_told_and_overwritten(store: SQLStore) -> None:
    people(store)
    with store.alone() as connection:
        connection.exec_driver_sql("SELECT pg_logical_emit_message(false, 'app', 'needle in the log')")
    found = search(store, ["needle in the log"])
    assert isinstance(found, list) and {trace.where.split()[0] for trace in found} == {"log"}
    assert scrub(store, [], ["needle in the log"]) == []
    assert search(store, ["needle in the log"]) == []


@pytest.mark.parametrize("column", ["public.money", "public.money[]"])
def test_a_type_of_the_applications_called_like_a_number_may_hold_text(store: SQLStore, column: str) -> None:
    people(store)
    written = "CAST(ROW(5, 'ann@example.org') AS public.money)"
    row = f"ARRAY[{written}]" if column.endswith("[]") else written
    with store.alone() as connection:  # of such a type SQLAlchemy would warn
        connection.exec_driver_sql("CREATE TYPE public.money AS (amount numeric, payer text)")
        connection.exec_driver_sql(f"CREATE TABLE payments (id integer, paid {column})")
        connection.exec_driver_sql(f"INSERT INTO payments VALUES (1, {row})")
    found = scrub(store, ["people"], ["ann@example.org"])
    assert values(found, "relation public.payments") == {"ann@example.org"}


def test_a_value_in_a_row_of_an_unlogged_table_is_found(store: SQLStore) -> None:
    """A checkpoint doesn't write its pages before PostgreSQL 19."""
    people(store)
    build(
        store,
        "CREATE UNLOGGED TABLE waiting (id integer, note text)",
        "INSERT INTO waiting VALUES (1, 'mail to ann@example.org')",
    )
    assert values(search(store, ["ann@example.org"]), "relation public.waiting") == {"ann@example.org"}
    found = scrub(store, ["people"], ["ann@example.org"])
    assert values(found, "relation public.waiting") == {"ann@example.org"}
    build(store, "DELETE FROM waiting")
    assert scrub(store, ["people", "waiting"], ["ann@example.org"]) == []


def test_a_role_that_may_not_read_an_unlogged_table_says_so(store: SQLStore, fresh_postgresql: str) -> None:
    people(store)
    build(store, "CREATE UNLOGGED TABLE waiting (id integer, note text)")
    role = "looks_" + uuid.uuid4().hex[:8]
    with psycopg.connect(fresh_postgresql, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN IN ROLE pg_read_server_files, pg_checkpoint")
        for function in (
            "pg_read_binary_file(text, bigint, bigint, boolean)",
            "pg_stat_file(text, boolean)",
            "pg_ls_waldir()",
        ):
            admin.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {role}")
        try:
            limited = open_store("app", fresh_postgresql.replace("postgres:@", f"{role}:@"))
            found = search(limited, ["ann@example.org"])
            limited.dispose()
            version = int(rows(store, "SELECT current_setting('server_version_num')")[0][0])
            assert version >= 190000 or (isinstance(found, CannotLook) and "public.waiting" in found.reason)
        finally:
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")
