"""The end of people in their own rows: set once, written as the column's clocks are, for whoever it is due."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kept.errors import TerminalError
from kept.policy.grammar import Comparison, Test
from kept.stores.ended import due, end, hindrances, standing, unreadable
from kept.stores.ending import By, Ended, Ending, Standing, Tie, Upon
from kept.stores.opening import open_store
from kept.stores.schema import Reference
from kept.stores.sql import SQLStore
from tests.conftest import MARIADB, empty_store
from tests.contract.company import build, rows
from tests.mariadb import speak

NOW = datetime(2026, 11, 22, 9, 30, 15, 123456, tzinfo=UTC)
USERS = Ending("users", ("id",), "ended_at", address="email", like="began_at")
TIE = Tie(
    Reference("members", ("user_id",), "users", ("id",), "file"),
    Reference("members", ("firm_id",), "firms", ("id",), "file"),
    Test((Comparison("role", "=", "member"),)),
    "left_at",
)
UPON = replace(USERS, upon=Upon((TIE,), "closed_at", NOW))


@pytest.fixture
def mariadb(fresh_mariadb: str) -> Iterator[SQLStore]:
    store = open_store("app", fresh_mariadb)
    speak(store.engine)
    yield store
    store.dispose()


@pytest.fixture(params=["postgresql", MARIADB])
def server(request: pytest.FixtureRequest) -> Iterator[SQLStore]:
    """A database that several write to at once, and where each locks rows of its own."""
    yield from empty_store(request)


def made(store: SQLStore, time: str = "TIMESTAMP", *more: str) -> None:
    build(
        store,
        f"CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, began_at {time}, ended_at {time})",
        "CREATE TABLE firms (id INTEGER PRIMARY KEY, closed_at TIMESTAMP)",
        "CREATE TABLE members (user_id INTEGER, firm_id INTEGER, role TEXT, left_at TIMESTAMP)",
        *more,
    )


def nobody(done: list[Ended]) -> None:
    """Nothing to note."""


@contextmanager
def counted(store: SQLStore) -> Iterator[list[str]]:
    sent: list[str] = []

    def note(*given: Any) -> None:
        sent.append(given[2])

    sa.event.listen(store.engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(store.engine, "before_cursor_execute", note)


def ids(done: list[Ended]) -> set[str]:
    return {one.key[0] for one in done}


def ended(store: SQLStore) -> set[int]:
    return {
        id
        for (id,) in rows(
            store, "SELECT id FROM users WHERE ended_at IS NOT NULL AND CAST(ended_at AS TEXT) <> ''"
        )
    }


def test_an_end_is_set_once_and_whoever_has_one_keeps_it(store: SQLStore) -> None:
    made(
        store,
        "TIMESTAMP",
        "INSERT INTO users VALUES (1, 'a@x.example', NULL, NULL), (2, NULL, NULL, '2020-01-01 00:00:00')",
    )
    assert end(store, USERS, NOW, nobody, whos=[("1",), ("2",), ("3",)]) == [Ended(("1",), "a@x.example")]
    assert end(store, USERS, NOW + timedelta(days=1), nobody, whos=[("1",), ("2",)]) == []
    assert hindrances(store, USERS, NOW, [("1",), ("3",)]) == {("1",): "ended already", ("3",): "gone"}
    assert str(rows(store, "SELECT ended_at FROM users ORDER BY id")[1][0]).startswith("2020-01-01 00:00:00")


def test_nothing_is_changed_where_the_note_could_not_be_taken(store: SQLStore) -> None:
    made(store, "TIMESTAMP", "INSERT INTO users VALUES (1, NULL, NULL, NULL)")

    def fail(done: list[Ended]) -> None:
        assert ids(done) == {"1"}
        raise KeyError

    with pytest.raises(KeyError):
        end(store, USERS, NOW, fail, whos=[("1",)])
    assert ended(store) == set()


def test_after_a_crash_only_those_it_was_committed_for_are_answered_again(store: SQLStore) -> None:
    made(
        store,
        "TIMESTAMP",
        *(f"INSERT INTO users VALUES ({i}, 'u{i}@x.example', NULL, NULL)" for i in range(1, 5)),
    )
    end(store, USERS, NOW, nobody, whos=[("1",)])
    build(
        store, "UPDATE users SET ended_at = '2026-11-22 09:31:00' WHERE id = 2"
    )  # by somebody else meanwhile
    done = end(store, USERS, NOW, nobody, whos=[("1",), ("2",), ("3",)], noted=[("1",), ("2",), ("3",)])
    assert ids(done) == {"1", "3"} and ended(store) == {1, 2, 3}


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ("'2026-01-31 12:00:00'", "2026-11-22 09:30:15"),
        ("'2026-01-31T12:00:00'", "2026-11-22T09:30:15"),
        ("'2026-01-31T12:00:00.25Z'", "2026-11-22T09:30:15Z"),
        ("'2026-01-31 12:00:00+00:00'", "2026-11-22 09:30:15+00:00"),
        ("'2026-01-31'", "2026-11-22"),
        ("1769860800", 1795339815),
        ("1769860800000", 1795339815000),
    ],
)
@pytest.mark.parametrize("place", ["ended_at", "began_at"])
def test_in_sqlite_an_end_is_written_as_other_clocks_are(
    fresh_sqlite: str, sample: str, expected: object, place: str
) -> None:
    store = open_store("app", fresh_sqlite)
    made(
        store,
        "TIMESTAMP",
        f"INSERT INTO users (id, {place}) VALUES (1, {sample})",
        "INSERT INTO users (id) VALUES (2)",
    )
    end(store, USERS, NOW, nobody, whos=[("2",)])
    assert rows(store, "SELECT ended_at FROM users WHERE id = 2") == [(expected,)]
    assert standing(store, USERS, {NOW: 1}, NOW - timedelta(days=400), NOW).before == 0
    found = standing(store, USERS, {NOW: 1}, NOW - timedelta(days=400), NOW)
    assert (found.ended, found.since) == ((2, 1) if place == "ended_at" else (1, 0))
    store.dispose()


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("TIMESTAMP", "2026-11-22 09:30:15"),
        ("TEXT", "2026-11-22 09:30:15"),
        ("INTEGER", 1795339815),
        ("DATE", "2026-11-22"),
        ("", "2026-11-22 09:30:15"),
    ],
)
def test_in_an_empty_sqlite_table_an_end_is_written_as_its_type_suggests(
    fresh_sqlite: str, time: str, expected: object
) -> None:
    store = open_store("app", fresh_sqlite)
    made(store, time, "INSERT INTO users (id, ended_at) VALUES (1, '')")
    assert ids(end(store, USERS, NOW, nobody, whos=[("1",)])) == {"1"}
    assert rows(store, "SELECT ended_at FROM users") == [(expected,)]
    store.dispose()


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("TIMESTAMP", datetime.fromisoformat("2026-11-22T09:30:15")),
        ("TIMESTAMP(0) WITH TIME ZONE", datetime(2026, 11, 22, 9, 30, 15, tzinfo=UTC)),
        ("DATE", date(2026, 11, 22)),
    ],
)
def test_in_postgresql_an_end_is_written_as_the_type_wants(
    fresh_postgresql: str, time: str, expected: object
) -> None:
    store = open_store("app", fresh_postgresql)
    made(store, time, "INSERT INTO users (id) VALUES (1), (2)")
    end(store, USERS, NOW, nobody, whos=[("1",)])
    assert rows(store, "SELECT ended_at FROM users WHERE id = 1") == [(expected,)]
    assert ids(end(store, USERS, NOW, nobody, whos=[("1",)], noted=[("1",)])) == {"1"}
    found = standing(store, USERS, {NOW: 1}, NOW, NOW)
    assert (found.ended, found.since, found.before) == (1, 0, 0)
    store.dispose()


@pytest.mark.needs("mariadb")
@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("DATETIME", datetime.fromisoformat("2026-11-22T09:30:15")),
        ("DATETIME(6)", datetime.fromisoformat("2026-11-22T09:30:15")),
        ("TIMESTAMP NULL", datetime.fromisoformat("2026-11-22T09:30:15")),
        ("DATE", date(2026, 11, 22)),
    ],
)
def test_in_mariadb_an_end_is_written_as_the_type_wants(
    mariadb: SQLStore, time: str, expected: object
) -> None:
    made(mariadb, time, "INSERT INTO users (id) VALUES (1), (2), (3)")
    build(mariadb, "UPDATE users SET ended_at = '2026-11-25' WHERE id = 2")
    assert ids(end(mariadb, USERS, NOW, nobody, whos=[("1",)])) == {"1"}
    assert rows(mariadb, "SELECT ended_at FROM users WHERE id = 1") == [(expected,)]
    assert ids(end(mariadb, USERS, NOW, nobody, whos=[("1",)], noted=[("1",)])) == {"1"}
    assert standing(mariadb, USERS, {NOW: 1}, NOW - timedelta(days=9), NOW) == Standing(2, 0, 0, 1)
    assert standing(mariadb, USERS, {}, NOW - timedelta(days=9), NOW) == Standing(2, 1, 0, 1)
    build(mariadb, "UPDATE firms SET closed_at = NULL", "INSERT INTO firms VALUES (1, '2026-11-22 09:30:14')")
    build(mariadb, "INSERT INTO members VALUES (3, 1, 'Member', NULL)")
    assert ids(end(mariadb, UPON, NOW, nobody)) == {"3"}


@pytest.mark.needs("mariadb")
def test_a_day_that_is_none_is_neither_an_end_nor_room_for_one(mariadb: SQLStore) -> None:
    build(
        mariadb,
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, began_at DATETIME,"
        " ended_at DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00')",
        "CREATE TABLE firms (id INTEGER PRIMARY KEY, closed_at DATE NOT NULL DEFAULT '0000-00-00')",
        "CREATE TABLE members (user_id INTEGER, firm_id INTEGER, role TEXT, left_at DATETIME)",
        "INSERT INTO users (id) VALUES (1)",
        "INSERT INTO firms (id) VALUES (1)",
        "INSERT INTO members VALUES (1, 1, 'member', NULL)",
    )
    assert hindrances(mariadb, USERS, NOW, [("1",)]) == {("1",): "ended already"}
    assert end(mariadb, USERS, NOW, nobody, whos=[("1",)]) == [] and due(mariadb, USERS, NOW) == 0
    assert standing(mariadb, USERS, {}, NOW - timedelta(days=9), NOW) == Standing(1, 0, 1, 0)
    assert unreadable(mariadb, UPON, NOW) == 1


@pytest.mark.needs("mariadb")
def test_in_mariadb_whoever_decides_is_told_letter_by_letter(mariadb: SQLStore) -> None:
    made(
        mariadb,
        "DATETIME",
        "CREATE TABLE bosses (name VARCHAR(20) COLLATE utf8mb4_nopad_bin PRIMARY KEY, gone DATETIME)",
        "CREATE TABLE leads (boss VARCHAR(20) COLLATE utf8mb4_nopad_bin, user_id INTEGER)",
        "INSERT INTO users (id) VALUES (1), (2)",
        "INSERT INTO bosses (name) VALUES ('ada'), ('Ada'), ('ada ')",
        "INSERT INTO leads VALUES ('ada', 1), ('Ada', 2), ('ada ', 2)",
    )
    tie = Tie(
        Reference("leads", ("user_id",), "users", ("id",), "file"),
        Reference("leads", ("boss",), "bosses", ("name",), "file"),
    )
    both = replace(tie, ended=None)
    by = replace(USERS, by=By((tie, both), "ada", "gone"))
    assert ids(end(mariadb, by, NOW, nobody, whos=[("1",), ("2",)])) == {"1"}


@pytest.mark.needs("mariadb")
def test_in_mariadb_keys_of_any_kind_are_found_again_and_a_table_without_one_is_refused(
    mariadb: SQLStore,
) -> None:
    build(
        mariadb,
        "CREATE TABLE `order` (`a:b` VARCHAR(20) CHARACTER SET latin1, `50%` DECIMAL(40, 5), raw VARBINARY(4),"
        " `group` DATETIME, PRIMARY KEY (`a:b`, `50%`))",
        "INSERT INTO `order` VALUES ('Zoë', 1234567890123456789012345.5, x'00ff', NULL), ('zoé', 7, NULL, NULL)",
        "CREATE TABLE bare (id INTEGER, gone DATETIME, UNIQUE (id))",
        "INSERT INTO bare VALUES (1, NULL)",
    )
    odd = Ending("order", ("a:b", "50%"), "group")
    key = ("Zoë", "1234567890123456789012345.50000")
    assert hindrances(mariadb, odd, NOW, [key]) == {}
    assert end(mariadb, odd, NOW, nobody, whos=[key]) == [Ended(key, None)]
    assert end(mariadb, odd, NOW, nobody, whos=[key], noted=[key]) == [Ended(key, None)]
    assert rows(mariadb, "SELECT `group` IS NULL FROM `order` WHERE raw IS NULL") == [(1,)]
    with pytest.raises(TerminalError, match="rows of bare can't be told apart"):
        end(mariadb, Ending("bare", ("id",), "gone"), NOW, nobody, whos=[("1",)])
    assert rows(mariadb, "SELECT gone FROM bare") == [(None,)]


WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND datname = current_database()",
    "mariadb": "SELECT CAST(variable_value AS INT) FROM information_schema.global_status"
    " WHERE variable_name = 'INNODB_ROW_LOCK_CURRENT_WAITS'",
}


def meanwhile(server: SQLStore, change: str, **given: Any) -> list[Ended]:
    """What `end` answers where another transaction has carried out a change, and commits once `end` waits for it."""
    with ThreadPoolExecutor(1) as pool:
        with server.write() as other:
            other.execute(sa.text(change))
            answer = pool.submit(end, server, USERS, NOW, nobody, **given)
            for _ in range(400):
                with server.alone() as looking:
                    waits = looking.exec_driver_sql(WAITING[server.dialect]).scalar_one()
                if waits or answer.done():
                    break
                time.sleep(0.01)
            assert waits
        return answer.result()


def test_whose_end_is_being_committed_when_the_act_goes_on_is_answered_again(server: SQLStore) -> None:
    """The process that sent the COMMIT is gone, the server is still at it."""
    made(server, "TIMESTAMP", "INSERT INTO users (id) VALUES (1), (2)")
    change = r"UPDATE users SET ended_at = '2026-11-22 09\:30\:15' WHERE id = 1"
    done = meanwhile(server, change, whos=[("1",), ("2",)], noted=[("1",), ("2",)])
    assert ids(done) == {"1", "2"} and len(done) == 2


def test_whom_somebody_else_ends_in_the_same_moment_is_left_to_them(server: SQLStore) -> None:
    made(server, "TIMESTAMP", "INSERT INTO users (id) VALUES (1), (2)")
    done = meanwhile(server, "UPDATE users SET ended_at = '2026-11-01' WHERE id = 1", whos=[("1",), ("2",)])
    assert ids(done) == {"2"}
    assert str(rows(server, "SELECT ended_at FROM users WHERE id = 1")[0][0]) == "2026-11-01 00:00:00"


def test_rows_of_others_that_are_locked_hinder_nobody(server: SQLStore) -> None:
    made(
        server,
        "TIMESTAMP",
        "INSERT INTO firms VALUES (1, '2026-11-01'), (2, NULL)",
        "INSERT INTO users (id) VALUES (1), (2), (3)",
        "INSERT INTO members VALUES (1, 1, 'member', NULL), (2, 2, 'member', NULL), (3, 2, 'member', NULL)",
    )
    with server.write() as other:
        other.execute(sa.text("UPDATE users SET email = 'x' WHERE id = 2"))
        other.execute(sa.text("UPDATE members SET role = 'admin' WHERE user_id <> 1"))
        assert ids(end(server, USERS, NOW, nobody, whos=[("3",)])) == {"3"}
        assert ids(end(server, UPON, NOW, nobody)) == {"1"}


def test_who_may_decide_is_tied_now_and_has_no_end_themselves(store: SQLStore) -> None:
    made(
        store,
        "TIMESTAMP",
        "CREATE VIEW leads AS SELECT a.user_id AS admin_id, b.user_id AS user_id FROM members a JOIN members b"
        " ON a.firm_id = b.firm_id WHERE a.role = 'admin' AND a.user_id <> b.user_id",
        "INSERT INTO users (id) VALUES (1), (2), (3)",
        "INSERT INTO members VALUES (1, 1, 'admin', NULL), (2, 1, 'member', NULL), (3, 2, 'member', NULL)",
    )
    tie = Tie(
        Reference("leads", ("user_id",), "users", ("id",), "file"),
        Reference("leads", ("admin_id",), "users", ("id",), "file"),
    )
    by = replace(USERS, by=By((tie,), "1", "ended_at"))
    assert hindrances(store, by, NOW, [("2",), ("3",), ("1",)]) == {("3",): "not meant", ("1",): "not meant"}
    assert ids(end(store, by, NOW, nobody, whos=[("2",), ("3",), ("1",)])) == {"2"}
    build(
        store,
        "UPDATE users SET ended_at = NULL",
        "UPDATE users SET ended_at = '2026-01-01 00:00:00' WHERE id = 1",
    )
    assert end(store, by, NOW, nobody, whos=[("2",)]) == []


def test_ends_are_told_apart_by_when_they_are_and_whether_they_are_on_record(store: SQLStore) -> None:
    made(
        store,
        "TIMESTAMP",
        "INSERT INTO users (id, ended_at) VALUES (1, NULL), (2, '2020-01-01 00:00:00'), (3, '2026-11-20 00:00:00')",
        "INSERT INTO users (id, ended_at) VALUES (4, '2026-12-20 00:00:00'), (5, '2026-11-21 00:00:00')",
    )
    on_record = datetime(2026, 11, 21, tzinfo=UTC)
    found = standing(store, USERS, {on_record: 1}, NOW - timedelta(days=5), NOW)
    assert found == Standing(ended=4, since=1, before=1, announced=1)


def test_more_ends_at_one_moment_than_are_on_record_are_not_all_on_record(store: SQLStore) -> None:
    made(store, "DATE")
    build(
        store,
        "INSERT INTO users (id, ended_at) VALUES (1, '2026-11-20'), (2, '2026-11-20'), (3, '2026-11-20')",
        "INSERT INTO users (id, ended_at) VALUES (4, '2026-11-21')",
    )
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    moments = {noon: 1, noon + timedelta(hours=1): 1, noon + timedelta(days=1): 2}
    begun = noon - timedelta(days=3)
    assert standing(store, USERS, moments, begun, NOW) == Standing(4, since=1, before=0, announced=0)
    # what ended on the first day may have ended before Kept was at work
    assert standing(store, USERS, moments, noon, NOW) == Standing(4, since=0, before=1, announced=0)


def test_a_tie_whose_own_end_is_no_time_is_counted_as_nobody_can_say_whom_it_keeps(fresh_sqlite: str) -> None:
    store = open_store("app", fresh_sqlite)
    made(
        store,
        "TIMESTAMP",
        "INSERT INTO firms VALUES (1, '2026-11-01 00:00:00'), (2, NULL)",
        "INSERT INTO users (id) VALUES (1)",
        "INSERT INTO members VALUES (1, 1, 'member', NULL), (1, 2, 'member', 'last year'), (1, 2, 'x', '')",
        "INSERT INTO members VALUES (2, 2, 'member', '2026-01-01 00:00:00'), (2, 2, 'x', '2026-01-01 00:00:00')",
    )
    assert due(store, UPON, NOW) == 0 and unreadable(store, UPON, NOW) == 1
    store.dispose()


def test_a_kind_of_its_own_is_told_by_its_test(store: SQLStore) -> None:
    made(store, "TIMESTAMP", "INSERT INTO users (id, email) VALUES (1, 'x'), (2, 'y')")
    some = replace(USERS, only=(Test((Comparison("email", "=", "x"),)),))
    assert ids(end(store, some, NOW, nobody, whos=[("1",), ("2",)])) == {"1"}


def test_upon_a_firms_end_those_tied_to_it_alone_end(store: SQLStore) -> None:
    made(
        store,
        "TIMESTAMP",
        "INSERT INTO firms VALUES (1, '2026-11-01 00:00:00'), (2, NULL)",
        "INSERT INTO firms VALUES (3, '2027-01-01 00:00:00'), (4, '2026-10-01 00:00:00')",
        f"INSERT INTO users (id) VALUES {', '.join(f'({i})' for i in range(1, 11))}",
        "INSERT INTO members VALUES (1, 1, 'member', NULL), (2, 2, 'member', NULL), (3, 3, 'member', NULL)",
        "INSERT INTO members VALUES (4, 1, 'member', NULL), (4, 2, 'member', NULL)",  # another that lives
        "INSERT INTO members VALUES (5, 1, 'member', NULL), (5, 2, 'admin', NULL)",  # one that lives, in another role
        "INSERT INTO members VALUES (6, 1, 'member', NULL), (6, 2, 'member', '2026-01-01 00:00:00')",  # left that one
        "INSERT INTO members VALUES (7, 1, 'admin', NULL)",  # what ties is a member's role
        "INSERT INTO members VALUES (8, 1, 'member', '2026-01-01 00:00:00')",  # had left before
        "INSERT INTO members VALUES (9, 1, 'member', NULL), (9, 4, 'member', NULL)",  # two that have ended
    )
    assert due(store, UPON, NOW) == 3
    assert ids(end(store, UPON, NOW, nobody)) == {"1", "6", "9"}
    assert due(store, UPON, NOW) == 0 and end(store, UPON, NOW, nobody) == []
    found = standing(store, UPON, {}, NOW - timedelta(seconds=1), NOW)
    assert (found.ended, found.since, found.before) == (3, 3, 0)


def test_a_clock_that_is_no_time_ends_nobody_and_is_counted(fresh_sqlite: str) -> None:
    store = open_store("app", fresh_sqlite)
    made(
        store,
        "TIMESTAMP",
        "INSERT INTO firms VALUES (1, '2026-11-01 00:00:00'), (2, '2026-11-01 00:00:00'), (3, 'soon')",
        "INSERT INTO users (id) VALUES (1), (2)",
        "INSERT INTO members VALUES (1, 3, 'member', NULL), (2, 1, 'member', NULL)",
    )
    assert unreadable(store, UPON, NOW) == 1
    assert ids(end(store, UPON, NOW, nobody)) == {"2"}
    store.dispose()


def test_the_statements_are_as_many_for_one_as_for_a_thousand(store: SQLStore) -> None:
    made(
        store, "TIMESTAMP", "INSERT INTO firms VALUES (1, '2026-11-01 00:00:00'), (2, '2026-11-01 00:00:00')"
    )
    build(
        store, "INSERT INTO users (id) VALUES (5000)", "INSERT INTO members VALUES (5000, 1, 'member', NULL)"
    )
    end(store, replace(USERS), NOW, nobody, whos=[("1",)])
    numbers = []
    for people in (1, 1000):
        with counted(store) as sent:
            done = end(store, UPON, NOW, nobody)
        assert len(done) == people
        numbers.append(len(sent))
        values = ", ".join(f"({i})" for i in range(1, 1001))
        ties = ", ".join(f"({i}, 2, 'member', NULL)" for i in range(1, 1001))
        if people == 1:
            build(store, f"INSERT INTO users (id) VALUES {values}", f"INSERT INTO members VALUES {ties}")
    assert numbers[1] <= numbers[0] <= 12


TIES = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.integers(1, 3),
        st.sampled_from(["member", "admin"]),
        st.sampled_from([None, -3, 3]),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    firms=st.lists(st.sampled_from([None, -2, 2]), min_size=3, max_size=3),
    ties=TIES,
    over=st.sets(st.integers(1, 4)),
)
def test_who_ends_is_who_a_simple_model_says(
    store: SQLStore, firms: list[int | None], ties: list[tuple[int, int, str, int | None]], over: set[int]
) -> None:
    def day(by: int | None) -> str:
        return "NULL" if by is None else f"'{(NOW + timedelta(days=by)):%Y-%m-%d %H:%M:%S}'"

    build(store, *(f"DROP TABLE IF EXISTS {table}" for table in ("users", "firms", "members")))
    made(
        store,
        "TIMESTAMP",
        *(f"INSERT INTO firms VALUES ({i}, {day(by)})" for i, by in enumerate(firms, 1)),
        *(
            f"INSERT INTO users VALUES ({i}, NULL, NULL, {day(-9 if i in over else None)})"
            for i in range(1, 5)
        ),
        *(f"INSERT INTO members VALUES ({u}, {f}, '{role}', {day(left)})" for u, f, role, left in ties),
    )

    def closed(firm: int) -> bool:
        by = firms[firm - 1]
        return by is not None and by < 0

    expected = set()
    for user in set(range(1, 5)) - over:
        live = [(firm, role) for u, firm, role, left in ties if u == user and (left is None or left > 0)]
        if any(closed(firm) and role == "member" for firm, role in live) and all(
            closed(firm) for firm, _ in live
        ):
            expected.add(str(user))
    assert due(store, UPON, NOW) == len(expected)
    assert ids(end(store, UPON, NOW, nobody)) == expected
