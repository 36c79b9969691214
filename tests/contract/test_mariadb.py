"""What is MariaDB's own: how its texts compare, what it checks row by row, what it locks, what it can't be asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from kept.datamap.graph import build_map
from kept.errors import TerminalError
from kept.stores.collect import collect, existing, find
from kept.stores.erasing.erase import Counts, erase
from kept.stores.erasing.remains import Fingerprint, Remain, fingerprint, look
from kept.stores.expiring.due import Expiry, Overdue
from kept.stores.expiring.expiry import expire, overdue
from kept.stores.mariadb import why_unfit
from kept.stores.opening import open_store
from kept.stores.sql import SQLStore
from kept.stores.walk import Erasure
from tests.contract.company import build, rows
from tests.declared import declared

pytestmark = pytest.mark.needs("mariadb")

FACTS = """
stores:
  app: {at: $APP, region: eea, references: {app.visits.email: app.users.email, app.logs.who: app.users.id}}
people:
  user: {in: app.users, key: id, known-by: {email: email}}
data:
  account: {of: user, in: {app.users: {email: email, nick: username}}}
  visits:  {of: user, in: {app.visits: {page: behaviour}}}
  logs:    {of: user, in: {app.logs: {line: free-text}}}
"""
TABLES = (
    "CREATE TABLE users (id BIGINT UNSIGNED PRIMARY KEY, email VARCHAR(80) COLLATE utf8mb4_general_ci UNIQUE,"
    " nick VARCHAR(20) CHARACTER SET latin1, `order` INT, referrer BIGINT UNSIGNED,"
    " FOREIGN KEY (referrer) REFERENCES users (id))",
    "CREATE TABLE visits (id INT PRIMARY KEY, email VARCHAR(90) COLLATE utf8mb4_unicode_ci, page TEXT, INDEX (email))",
    "CREATE TABLE logs (id INT PRIMARY KEY, who VARCHAR(30) CHARACTER SET latin1, line TEXT, INDEX (who))",
    "INSERT INTO users VALUES (1, 'ada@x.org', 'Zoë', 1, NULL), (2, 'bo@x.org', 'bo', 2, 1),"
    " (3, 'cy@x.org', NULL, 3, 2), (18446744073709551615, 'di@x.org', 'di', 4, NULL)",
    "INSERT INTO visits VALUES (1, 'Ada@x.org', '/a'), (2, 'bo@x.org', '/b')",
    "INSERT INTO logs VALUES (1, '1', 'one'), (2, '2', 'two'), (3, '18446744073709551615', 'most')",
)


@pytest.fixture
def store(fresh_mariadb: str) -> Iterator[SQLStore]:
    opened = open_store("app", fresh_mariadb)
    build(opened, *TABLES)
    yield opened
    opened.dispose()


def the_erasure(store: SQLStore) -> Erasure:
    found = build_map(declared(FACTS), {"app": store.schema()})
    assert [p.message for p in found.problems if p.severity == "error"] == []
    erasure = found.erasure("user")
    assert erasure is not None
    return erasure


def erased(store: SQLStore, *people: object) -> Counts:
    return erase(store, the_erasure(store), people, lambda counts: None)


def test_columns_of_several_character_sets_and_collations_compare(store: SQLStore) -> None:
    found = {
        portion.table: [tuple(row.values()) for _, row in portion.rows]
        for portion in collect(store, the_erasure(store).walk, [1])
    }
    assert found == {"users": [("ada@x.org", "Zoë")], "visits": [("/a",)], "logs": [("one",)]}


def test_numbers_that_a_key_cannot_hold_are_nobodys(store: SQLStore) -> None:
    walk = the_erasure(store).walk
    strange = [-1, 18446744073709551616, "7x", 1.5, "18446744073709551615"]
    assert existing(store, walk, strange) == {("18446744073709551615",): [(18446744073709551615,)]}
    assert find(store, walk, "nick", ["zo" * 30, "Zoë", "日本"]) == {"Zoë": [(1,)]}


@pytest.mark.parametrize("odd", ["a\\' OR 1 = 1 -- ", "'); DROP", "50% :x %s", 'tab\t"\u2028\U0001f642'])
def test_a_value_is_a_value_whatever_its_letters(store: SQLStore, odd: str) -> None:
    walk = the_erasure(store).walk
    assert find(store, walk, "email", [odd]) == {}
    with store.write() as connection:
        connection.execute(sa.text("UPDATE users SET email = :odd WHERE id = 2"), {"odd": odd})
    assert find(store, walk, "email", [odd]) == {odd: [(2,)]}
    assert fingerprint(store, walk, [2]).values["email"] == {odd}
    assert erased(store, 2).tables["users"].deleted == 1
    assert len(rows(store, "SELECT id FROM users")) == 3


def test_rows_that_refer_to_each_other_go_together(store: SQLStore) -> None:
    counts = erased(store, 1, 2, 3)
    assert counts.tables["users"].deleted == 3
    assert rows(store, "SELECT id FROM users") == [(18446744073709551615,)]
    assert rows(store, "SELECT @@foreign_key_checks") == [(1,)]


def test_who_refers_to_a_row_that_goes_and_stays_is_cut_loose(store: SQLStore) -> None:
    erased(store, 1, 3)
    assert rows(store, "SELECT id, referrer FROM users ORDER BY id")[0] == (2, None)


def test_keys_stay_checked_after_an_erasure_and_after_one_that_fails(store: SQLStore) -> None:
    erased(store, 1, 2)
    with pytest.raises(RuntimeError), store.write() as connection:  # noqa: PT012  # the block is the transaction
        connection.exec_driver_sql("SET SESSION foreign_key_checks = 0")
        raise RuntimeError
    with pytest.raises(TerminalError, match="foreign key"):
        build(store, "UPDATE users SET referrer = 99 WHERE id = 3")


def test_a_remain_is_the_same_letter_by_letter_and_not_as_the_collation_has_it(store: SQLStore) -> None:
    facts = FACTS.replace("page: behaviour", "page: username")
    erasure = build_map(declared(facts), {"app": store.schema()}).erasure("user")
    assert erasure is not None
    taken = Fingerprint({"username": frozenset({"Müller"})})
    build(store, "INSERT INTO visits VALUES (9, 'eve@x.org', 'MULLER')")
    assert look(store, erasure, [77], taken) == []
    build(store, "UPDATE visits SET page = 'Müller' WHERE id = 9")
    assert look(store, erasure, [77], taken) == [Remain("visits", "page", "username", 1)]


def test_reading_locks_nothing_and_sees_one_moment(store: SQLStore, fresh_mariadb: str) -> None:
    other, walk = open_store("other", fresh_mariadb), the_erasure(store).walk
    portions = collect(store, walk, [1, 2])
    first = next(portions)
    assert [row["email"] for _, row in first.rows] == ["ada@x.org", "bo@x.org"]
    with other.write() as connection:
        connection.exec_driver_sql("SET innodb_lock_wait_timeout = 1")
        connection.exec_driver_sql("UPDATE users SET nick = 'x'")
        connection.exec_driver_sql("DELETE FROM visits")
    assert [row for portion in portions if portion.table == "visits" for _, row in portion.rows] == [
        {"page": "/a"},
        {"page": "/b"},
    ]
    other.dispose()


def test_no_temporary_table_is_left_behind_not_even_by_an_error(store: SQLStore) -> None:
    fingerprint(store, the_erasure(store).walk, [1])

    def fail(counts: Counts) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        erase(store, the_erasure(store), [1], fail)
    for _ in range(2):
        assert erased(store, 99) == Counts()
    assert rows(store, "SELECT count(*) FROM users") == [(4,)]


def test_a_table_without_a_key_is_refused_and_an_invisible_key_is_one(store: SQLStore) -> None:
    build(
        store,
        "CREATE TABLE moods (user_id BIGINT UNSIGNED, mood TEXT, FOREIGN KEY (user_id) REFERENCES users (id))",
    )
    build(store, "INSERT INTO moods VALUES (1, 'glad'), (1, 'glad'), (2, 'sad')")
    facts = FACTS + "  moods: {of: user, in: {app.moods: {mood: free-text}}}\n"

    def erasure() -> Erasure:
        found = build_map(declared(facts), {"app": store.schema(refresh=True)}).erasure("user")
        assert found is not None
        return found

    with pytest.raises(TerminalError, match="rows of moods can't be told apart"):
        erase(store, erasure(), [1], lambda counts: None)
    build(store, "ALTER TABLE moods ADD COLUMN row INT NOT NULL AUTO_INCREMENT PRIMARY KEY INVISIBLE")
    assert erase(store, erasure(), [1], lambda counts: None).tables["moods"].deleted == 2
    assert rows(store, "SELECT * FROM moods") == [(2, "sad")]


def test_each_type_of_time_has_the_same_cutoff_and_a_day_that_is_none_is_told(store: SQLStore) -> None:
    cutoff = datetime(2024, 2, 1, tzinfo=UTC)
    for number, kind in enumerate(("DATETIME", "DATETIME(6)", "TIMESTAMP", "DATE")):
        name = f"log{number}"
        build(store, f"CREATE TABLE {name} (id INT PRIMARY KEY, at {kind} NULL, INDEX (at))")
        build(store, f"INSERT INTO {name} VALUES (1, '2024-01-31'), (2, '2024-02-01'), (3, NULL)")
        zero = kind != "TIMESTAMP"
        if zero:
            build(store, f"INSERT INTO {name} VALUES (4, '0000-00-00')")
        expiry = Expiry(name, "at", cutoff)
        assert overdue(store, expiry) == Overdue(1, datetime(2024, 1, 31, tzinfo=UTC), int(zero)), kind
        assert sum(done.rows for done in expire(store, expiry, before_commit=lambda done: None)) == 1
        assert rows(store, f"SELECT count(*) FROM {name} WHERE id IN (2, 3, 4)") == [(2 + zero,)]


def test_the_servers_own_zone_and_mode_do_not_matter(store: SQLStore) -> None:
    build(store, "CREATE TABLE log (id INT PRIMARY KEY, at TIMESTAMP NULL)")
    build(store, "INSERT INTO log VALUES (1, '2024-01-31 23:30:00')")
    with store.alone() as connection:
        before = connection.exec_driver_sql("SELECT @@GLOBAL.time_zone, @@GLOBAL.sql_mode").one()
        connection.exec_driver_sql("SET GLOBAL time_zone = '-05:00', GLOBAL sql_mode = ''")
    store.dispose()
    try:
        assert overdue(store, Expiry("log", "at", datetime(2024, 2, 1, tzinfo=UTC))).rows == 1
        with pytest.raises(TerminalError, match="too long"):
            build(store, f"UPDATE users SET nick = '{'x' * 21}' WHERE id = 1")
    finally:
        with store.alone() as connection:
            connection.execute(sa.text("SET GLOBAL time_zone = :zone, GLOBAL sql_mode = :mode"),
                               {"zone": before[0], "mode": before[1]})  # fmt: skip


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("8.0.36", "it is MySQL 8.0.36, which Kept can't walk"),
        ("5.7.44-log", "it is MySQL 5.7.44,"),
        ("8.0.36-28", "it is MySQL 8.0.36,"),
        ("10.5.23-MariaDB-1:10.5.23+maria~deb11", "it is MariaDB 10.5, which can't read a list"),
        ("5.5.68-MariaDB", "it is MariaDB 5.5,"),
    ],
)
def test_a_server_that_kept_cannot_work_with_is_told_by_its_version(version: str, why: str) -> None:
    assert str(why_unfit(version)).startswith(why)


@pytest.mark.parametrize(
    "version", ["10.6.0-MariaDB", "10.11.6-MariaDB-0+deb12u1", "5.5.5-10.11.6-MariaDB-log", "11.4.2-mariadb"]
)
def test_a_version_from_mariadb_10_6_on_is_taken(version: str) -> None:
    assert why_unfit(version) is None


def test_what_to_do_instead_is_said_with_the_refusal(
    store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kept.stores.mariadb._SINCE", "99.0")
    with pytest.raises(TerminalError) as refused:
        store.schema(refresh=True)
    assert "move it to MariaDB 99.0 or later" in str(refused.value.help)
    assert "kind: outside" in str(refused.value.help)


def test_a_table_that_keeps_what_is_deleted_is_refused_until_it_keeps_no_more(store: SQLStore) -> None:
    with pytest.raises(TerminalError, match=r"deleted from log, moods \(SYSTEM VERSIONING\)"):
        build(
            store,
            "CREATE TABLE moods (id INT PRIMARY KEY, mood TEXT) WITH SYSTEM VERSIONING",
            "CREATE TABLE log (id INT PRIMARY KEY, at TIMESTAMP NULL) WITH SYSTEM VERSIONING",
        )
    with store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE moods DROP SYSTEM VERSIONING")
        connection.exec_driver_sql("ALTER TABLE log DROP SYSTEM VERSIONING")
    assert {"moods", "log"} <= set(store.schema(refresh=True).tables)


def test_a_json_column_and_an_enumeration_are_told_by_what_they_are(store: SQLStore) -> None:
    build(
        store,
        "CREATE TABLE kinds (id INT PRIMARY KEY, held JSON, plain LONGTEXT, mood ENUM('int', 'date'), yes BOOLEAN,"
        " small TINYINT, made YEAR, at TIME, uid UUID, raw VARBINARY(9))",
    )
    sorts = {name: column.sort for name, column in store.shape("kinds").columns.items()}
    assert sorts == {
        "id": "number", "held": "json", "plain": "text", "mood": "text", "yes": "boolean", "small": "number",
        "made": "number", "at": "other", "uid": "text", "raw": "bytes",
    }  # fmt: skip
