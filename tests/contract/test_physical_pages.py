"""Which tables of PostgreSQL are rewritten after a deletion, and that nothing is left in those that aren't."""

from __future__ import annotations

import random
import struct
import uuid
from collections.abc import Iterator

import psycopg
import pytest

from kept.stores.opening import open_store
from kept.stores.physical import pgdata
from kept.stores.physical.btree import BTree
from kept.stores.physical.files import scrub, search
from kept.stores.physical.pages import holds_remains
from kept.stores.sql import SQLStore
from tests.contract.company import build, rows

WHERE = "SELECT pg_relation_filepath('people')"
LATER = 1 << 30  # a transaction after all of a test


@pytest.fixture
def store(fresh_postgresql: str) -> Iterator[SQLStore]:
    opened = open_store("app", fresh_postgresql)
    yield opened
    opened.dispose()


def email(number: int) -> str:
    return f"p{number * 7919 % 100_003:06}{'x' * (number % 13)}@example.org"


def people(store: SQLStore, many: int, *, grown: bool, seed: int = 1) -> None:
    """Indexes of a text, of one with many equal, of two columns, and the key's; built at once, or grown row by row."""
    indexes = (
        "CREATE UNIQUE INDEX people_email ON people (email)",
        "CREATE INDEX people_city ON people (city)",
        "CREATE INDEX people_both ON people (tenant, email)",
        "CREATE INDEX people_other ON people (other)",
    )
    build(
        store,
        "CREATE TABLE people (id integer PRIMARY KEY, tenant integer, city text, email text, other text)",
        *(indexes if grown else ()),
    )
    numbers = list(range(many))
    random.Random(seed).shuffle(numbers)
    for start in range(0, many, 500):
        some = ", ".join(
            f"({n}, {n % 7}, 'city {n % 50}', '{email(n)}', {'NULL' if n % 3 else repr('o' + email(n))})"
            for n in numbers[start : start + 500]
        )
        build(store, f"INSERT INTO people VALUES {some}")
    build(store, *(() if grown else indexes), "ANALYZE people")


def pages(store: SQLStore, kind: str) -> list[list[bytes]]:
    """The pages of each file of the table, as they are after a checkpoint."""
    with store.alone() as connection:
        connection.exec_driver_sql("CHECKPOINT")
        whole = [
            b"".join(read(0, 1 << 28) for read in pgdata.reads(connection, file))
            for file in pgdata.files(connection, ["public.people"])
            if file.kind == kind
        ]
    return [[content[at : at + 8192] for at in range(0, len(content), 8192)] for content in whole]


def vacuum(store: SQLStore) -> None:
    with store.alone() as connection:
        connection.exec_driver_sql("VACUUM (INDEX_CLEANUP ON) people")


def is_clean(store: SQLStore) -> bool:
    if any(holds_remains(page, LATER) for file in pages(store, "table") for page in file):
        return False
    for file in pages(store, "btree"):
        tree = BTree()
        if any(tree.refuses(page) for page in file) or tree.ends():
            return False
    return True


@pytest.mark.parametrize("grown", [False, True])
def test_a_table_that_nothing_was_deleted_from_is_not_rewritten(store: SQLStore, grown: bool) -> None:
    people(store, 4000, grown=grown)
    before = rows(store, WHERE)
    assert scrub(store, ["people"], ["nobody@example.org"]) == []
    assert rows(store, WHERE) == before


@pytest.mark.parametrize("grown", [False, True])
def test_what_is_called_clean_holds_nothing_that_was_deleted(store: SQLStore, grown: bool) -> None:
    """One to thirty people at a time go; a table is called clean several times, and never with anything left."""
    people(store, 4000, grown=grown)
    draw = random.Random(2)
    left = list(range(4000))
    clean = unclean = 0
    for turn in range(30):
        gone = draw.sample(left, draw.choice([1, 1, 1, 2, 5, 30]))
        left = [number for number in left if number not in gone]
        build(store, f"DELETE FROM people WHERE id IN ({', '.join(map(str, gone))})")
        vacuum(store)
        values = [email(number) for number in gone]
        there = [t for t in _searched(store, values) if "relation public.people" in t]
        if is_clean(store):
            clean += 1
            assert not there, (turn, gone)
        else:
            unclean += 1
            assert scrub(store, ["people"], values) == []
            assert is_clean(store)
    assert clean and unclean


def _searched(store: SQLStore, values: list[str]) -> list[str]:
    found = search(store, values)
    assert isinstance(found, list)
    return [trace.where for trace in found]


def test_words_of_one_deleted_row_leave_an_index_of_words(store: SQLStore) -> None:
    people(store, 400, grown=False)
    build(
        store,
        "UPDATE people SET city = 'needlework' WHERE id = 7",
        "CREATE INDEX people_words ON people USING gin (to_tsvector('simple', city))",
    )
    scrub(store, ["people"])
    build(store, "DELETE FROM people WHERE id = 7")
    vacuum(store)
    assert "relation public.people" in _searched(store, ["needlework"])
    scrub(store, ["people"])
    assert "relation public.people" not in _searched(store, ["needlework"])


def test_a_parting_key_whose_row_is_gone_is_not_called_clean(store: SQLStore) -> None:
    people(store, 4000, grown=False)
    [index] = [
        file for file in pages(store, "btree") if any(email(17).encode() in p for p in file) and len(file) > 5
    ][:1]
    [parting] = [struct.unpack_from("<H", index[1], 24)[0] & 0x7FFF]
    key = index[1][parting + 9 : parting + 40].split(b"@")[0].decode()
    gone = next(n for n in range(4000) if email(n).startswith(key))
    build(store, f"DELETE FROM people WHERE id = {gone}")
    vacuum(store)
    assert not is_clean(store)
    assert scrub(store, ["people"]) == []
    assert "relation public.people" not in _searched(store, [email(gone)])


@pytest.mark.parametrize("kind", ["table", "btree"])
def test_a_text_in_free_space_is_not_called_clean(store: SQLStore, kind: str) -> None:
    people(store, 4000, grown=False)
    build(store, "DELETE FROM people WHERE id IN (5, 6, 2000)")
    vacuum(store)
    for file in pages(store, kind):
        for number, page in enumerate(file):
            start, end = struct.unpack_from("<HH", page, 12)
            if end - start < 64:
                continue
            for at in (start + 8, end - 24):
                soiled = page[:at] + b"ada.needle@x.org" + page[at + 16 :]
                if kind == "table":
                    assert holds_remains(soiled, LATER)
                    continue
                tree = BTree()
                seen = [*file[:number], soiled, *file[number + 1 :]]
                assert any(tree.refuses(one) for one in seen) or tree.ends()


def test_a_page_that_is_read_while_it_is_written_raises_nothing() -> None:
    draw = random.Random(3)
    for _ in range(300):
        page = bytearray(draw.randbytes(8192))
        struct.pack_into(
            "<HHH", page, 12, draw.choice([24, 400, 8000, 65535]), draw.choice([0, 500, 9000]), 8176
        )
        holds_remains(bytes(page), LATER)
        BTree().refuses(bytes(page))


@pytest.mark.parametrize("kind", ["brin", "spgist"])
def test_a_table_with_an_index_that_cannot_be_inspected_is_rewritten(store: SQLStore, kind: str) -> None:
    """The last page goes with its only row, so that the table's pages don't tell that one was deleted."""
    build(
        store,
        "CREATE TABLE people (id integer, email text, note text)",
        "ALTER TABLE people ALTER note SET STORAGE PLAIN",
        f"CREATE INDEX ON people USING {kind} (email)" + " WITH (pages_per_range = 1)" * (kind == "brin"),
        "INSERT INTO people SELECT i, 'p' || i, repeat('x', 1600) FROM generate_series(1, 20) AS i",
        "INSERT INTO people VALUES (1000, 'zz.ann@example.org', repeat('x', 4000))",
        "DELETE FROM people WHERE id = 1000",
    )
    before = rows(store, WHERE)
    scrub(store, ["people"])
    assert rows(store, WHERE) != before
    assert "relation public.people" not in _searched(store, ["zz.ann@example.org"])


def test_rows_deleted_from_an_unlogged_table_are_not_written_later(
    store: SQLStore, fresh_postgresql: str
) -> None:
    build(
        store,
        "CREATE UNLOGGED TABLE people (id integer PRIMARY KEY, email text)",
        "CREATE INDEX ON people (email)",
        "INSERT INTO people SELECT i, 'p' || i FROM generate_series(1, 30) AS i",
        "INSERT INTO people VALUES (1000, 'ann@example.org')",
        "DELETE FROM people WHERE id = 1000",
    )
    assert scrub(store, ["people"], ["ann@example.org"]) == []
    copy = "copy_" + uuid.uuid4().hex[:8]
    with psycopg.connect(fresh_postgresql, autocommit=True) as admin:
        # writes everything from memory, as the end of the server would
        admin.execute(f"CREATE DATABASE {copy} TEMPLATE template0 STRATEGY file_copy")
        admin.execute(f"DROP DATABASE {copy}")
    assert _searched(store, ["ann@example.org"]) == []


@pytest.mark.parametrize("kind", ["", "partitioned"])
def test_samples_of_an_empty_tables_expressions_and_partitions_go(store: SQLStore, kind: str) -> None:
    whole = "CREATE TABLE people (id integer, email text)"
    build(
        store,
        *(
            (
                f"{whole} PARTITION BY RANGE (id)",
                "CREATE TABLE people_low PARTITION OF people FOR VALUES FROM (0) TO (99)",
            )
            if kind
            else (whole,)
        ),
        "CREATE INDEX ON people (lower(email))",
        "INSERT INTO people SELECT i % 2, 'ANN@EXAMPLE.ORG' FROM generate_series(1, 6) AS i",
        "ANALYZE people",
    )
    values = ["ann@example.org", "ANN@EXAMPLE.ORG"]
    assert "relation pg_catalog.pg_statistic" in _searched(store, values)
    build(store, "DELETE FROM people")
    scrub(store, ["people"])
    assert "relation pg_catalog.pg_statistic" not in _searched(store, values)


def test_tables_that_inherit_from_one_are_scrubbed_with_it(store: SQLStore) -> None:
    build(
        store,
        "CREATE TABLE people (id integer, email text)",
        "CREATE TABLE members (since integer) INHERITS (people)",
        "CREATE TABLE founders () INHERITS (members)",
        "INSERT INTO founders SELECT i, 'bob@example.org', 1 FROM generate_series(1, 5) AS i",
        "INSERT INTO founders VALUES (1000, 'ann@example.org', 1)",
        "ANALYZE founders",
        "DELETE FROM people WHERE id = 1000",
    )
    scrub(store, ["people"])
    assert [where for where in _searched(store, ["ann@example.org"]) if where.startswith("relation")] == []
