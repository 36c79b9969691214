"""The example company SiteLucent, looked at with SQL of its own."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from examples.shared.database import opened
from examples.shared.names import PEOPLE_AT_MOST, name_of
from examples.sitelucent import generate
from kept.controls.collection.declare import Collecting
from kept.controls.registry import load

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
LIMIT = "datetime('2026-11-22 09:30:00', '-24 months')"
PEOPLE = 400

PAST_LIMIT = {
    "retention.usage": f"SELECT count(*) FROM usage_events WHERE at < {LIMIT}",
    "retention.account": f"SELECT count(*) FROM users WHERE deactivated_at < {LIMIT}",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("built")
    generate.build(directory, PEOPLE, 7, now=NOW)
    return directory


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    directory = tmp_path_factory.mktemp("planted")
    generate.build(directory, PEOPLE, 7, now=NOW)
    return directory, generate.plant(directory, 7, now=NOW)


def dump(directory: Path) -> list[str]:
    with closing(sqlite3.connect(directory / "app.sqlite")) as database:
        return list(database.iterdump())


def one(directory: Path, query: str) -> int:
    with closing(sqlite3.connect(directory / "app.sqlite")) as database:
        return int(database.execute(query).fetchone()[0])


def counts(broken: dict[str, str]) -> dict[str, int]:
    """The number each description starts with."""
    return {promise: int(said.split()[0]) for promise, said in broken.items()}


def test_the_same_people_seed_and_time_give_the_same_rows(built: Path, tmp_path: Path) -> None:
    generate.build(tmp_path / "again", PEOPLE, 7, now=NOW)
    generate.build(tmp_path / "other", PEOPLE, 8, now=NOW)
    assert dump(tmp_path / "again") == dump(built)
    assert dump(tmp_path / "other") != dump(built)


def test_the_same_violations_are_planted_again(planted: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    generate.build(tmp_path, PEOPLE, 7, now=NOW)
    assert generate.plant(tmp_path, 7, now=NOW) == planted[1]
    assert dump(tmp_path) == dump(planted[0])


def test_there_are_as_many_people_and_events_as_asked_for(built: Path) -> None:
    assert one(built, "SELECT count(*) FROM users") == PEOPLE
    assert one(built, "SELECT count(*) FROM usage_events") == PEOPLE * 20
    for some in (
        "companies",
        "companies WHERE cancelled_at IS NOT NULL",
        "users WHERE deactivated_at IS NOT NULL",
        "administered",
        "errors",
        "errors WHERE closed_at IS NULL",
        "tickets",
        "set_ups",
        "plans",
        "migrations",
    ):
        assert one(built, f"SELECT count(*) FROM {some}") > 0, some


@pytest.mark.parametrize("people", [1, 2, 41])
def test_a_company_may_be_very_small(people: int, tmp_path: Path) -> None:
    generate.build(tmp_path, people, 1, now=NOW)
    assert one(tmp_path, "SELECT count(*) FROM users") == people
    broken = counts(generate.plant(tmp_path, 1, now=NOW))
    assert all(rows > 0 for rows in broken.values())
    assert broken["collection.joining"] == 1


def test_nobody_shares_a_name_or_an_address(planted: tuple[Path, dict[str, str]]) -> None:
    with closing(sqlite3.connect(planted[0] / "app.sqlite")) as database:
        rows = database.execute("SELECT first_name, last_name, email FROM users").fetchall()
    names = [name.lower() for first, last, _ in rows for name in (first, last)]
    assert len(set(names)) == len(names)
    assert {len(name) for name in names} == {8}
    assert all(re.fullmatch(r"[a-z]{8}\.[a-z]{8}@company\d+\.example", email) for _, _, email in rows)


def test_names_are_unique_far_out() -> None:
    far = [name for person in range(PEOPLE_AT_MOST - 50_000, PEOPLE_AT_MOST) for name in name_of(person)]
    near = [name for person in range(50_000) for name in name_of(person)]
    assert len(set(far + near)) == 200_000
    with pytest.raises(ValueError, match="names for"):
        name_of(PEOPLE_AT_MOST)


def test_every_foreign_key_points_at_a_row_and_is_indexed(planted: tuple[Path, dict[str, str]]) -> None:
    with closing(sqlite3.connect(planted[0] / "app.sqlite")) as database:
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            indexed = {
                database.execute(
                    "SELECT name FROM pragma_index_info(?) WHERE seqno = 0", (index,)
                ).fetchone()[0]
                for (index,) in database.execute("SELECT name FROM pragma_index_list(?)", (table,))
            }
            referring = {
                column
                for (column,) in database.execute('SELECT "from" FROM pragma_foreign_key_list(?)', (table,))
            }
            assert referring <= indexed, table


def test_as_built_nothing_is_broken(built: Path) -> None:
    for query in PAST_LIMIT.values():
        assert one(built, query) == 0
    assert one(built, "SELECT count(*) FROM users WHERE source IS NULL") == 0
    assert one(built, "SELECT count(*) FROM users WHERE source NOT IN ('user', 'administers.admin')") == 0


def test_as_built_it_stays_whole_for_a_month(built: Path) -> None:
    assert one(built, f"SELECT count(*) FROM usage_events WHERE at < datetime({LIMIT}, '+29 days')") == 0
    assert one(built, f"SELECT count(*) FROM users WHERE deactivated_at < datetime({LIMIT}, '+29 days')") == 0


def test_nobody_does_anything_before_they_came_or_after_they_left(
    planted: tuple[Path, dict[str, str]],
) -> None:
    assert one(planted[0], "SELECT count(*) FROM users WHERE deactivated_at <= created_at") == 0
    for table, at in (
        ("usage_events", "at"),
        ("errors", "opened_at"),
        ("tickets", "opened_at"),
        ("set_ups", "opened_at"),
    ):
        early_or_late = (
            f"SELECT count(*) FROM {table} AS row JOIN users ON users.id = row.user_id"
            f" WHERE row.{at} < users.created_at OR row.{at} > users.deactivated_at"
        )
        assert one(planted[0], early_or_late) == 0, table


def test_everybody_of_a_cancelled_company_is_deactivated(built: Path) -> None:
    still_active = (
        "SELECT count(*) FROM users JOIN memberships ON memberships.user_id = users.id"
        " JOIN companies ON companies.id = memberships.company_id"
        " WHERE companies.cancelled_at IS NOT NULL AND users.deactivated_at IS NULL"
    )
    assert one(built, still_active) == 0


def test_what_is_planted_is_what_plant_says(planted: tuple[Path, dict[str, str]]) -> None:
    directory, broken = planted
    assert counts(broken) == {
        "retention.usage": one(directory, PAST_LIMIT["retention.usage"]),
        "retention.account": one(directory, PAST_LIMIT["retention.account"]),
        "collection.no-more": one(directory, "SELECT count(*) FROM users WHERE birth_date IS NOT NULL"),
        "collection.joining": one(directory, "SELECT count(*) FROM users WHERE source IS NULL"),
    }
    assert all(rows > 0 for rows in counts(broken).values())
    fresh = (
        "SELECT count(*) FROM usage_events JOIN users ON users.id = user_id"
        f" WHERE deactivated_at < {LIMIT} AND at >= {LIMIT}"
    )
    assert one(directory, fresh) == 0


def test_what_people_decide_mends_what_no_rule_may(
    planted: tuple[Path, dict[str, str]],
) -> None:
    said: list[tuple[str, ...]] = []
    generate.mend(lambda column: said.append((column,)), lambda table, source: said.append((table, source)))
    assert said == [("app.users.birth_date",), ("app.users", "administers.admin")]
    joining = load(planted[0] / "policy.yaml").section("collection")["joining"]
    assert isinstance(joining, Collecting)
    assert "administers.admin" in joining.sources


def test_planted_promises_are_declared_in_the_policy(planted: tuple[Path, dict[str, str]]) -> None:
    policy = load(planted[0] / "policy.yaml")
    assert set(planted[1]) <= {promise.id for promise in policy.every_promise()}


def test_every_column_is_declared_or_its_table_is_impersonal(built: Path) -> None:
    policy = load(built / "policy.yaml")
    declared: dict[str, set[str]] = {}
    for kind in policy.people.values():
        if kind.table is not None:
            columns = {
                *kind.key_columns,
                *kind.known_by.values(),
                kind.began,
                kind.ended,
                kind.born,
                kind.region,
            }
            declared.setdefault(kind.table, set()).update(str(column) for column in columns if column)
    for link in policy.links.values():
        named = [end.column for end in link.between.values()] + [str(link.began), str(link.ended)]
        named += [part.column for part in link.when.all] if link.when else []
        declared.setdefault(link.table, set()).update(named)
    for data in policy.data.values():
        for table, sorts in data.tables.items():
            declared.setdefault(table, set()).update(map(str, sorts))
    keys_only = {"id", "user_id"}
    with closing(sqlite3.connect(built / "app.sqlite")) as database:
        tables = [
            row[0]
            for row in database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        ]
        for table in set(tables) - set(policy.stores["app"].impersonal):
            columns = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
            assert columns - declared[f"app.{table}"] <= keys_only, table


def test_all_twenty_two_clauses_stand_in_the_policy(built: Path) -> None:
    policy = load(built / "policy.yaml")
    clauses = {str(clause) for promise in policy.every_promise() for clause in promise.clause}
    assert clauses == {f"SL-{number:02}" for number in range(1, 23)}


def test_the_published_policy_differs_in_the_dead_safeguard_alone() -> None:
    folder = generate.HERE
    published = [
        line
        for line in (folder / "policy.published.yaml").read_text("utf-8").splitlines()
        if not line.startswith("#")
    ]
    ours = (folder / "policy.yaml").read_text("utf-8").splitlines()
    agreed = re.compile(r" (certified|agreement): [-0-9]+ until ended,")
    assert [line.replace("privacy-shield", "data-privacy-framework") for line in published] == [
        agreed.sub("", line) for line in ours
    ]
    assert published != ours


def test_the_settings_are_for_their_owner_alone(built: Path) -> None:
    assert (built / ".env").stat().st_mode & 0o777 == 0o600
    assert (built / ".env").read_text() == "APP_DATABASE_URL=sqlite:///app.sqlite\n"
    assert (built / "policy.yaml").read_bytes() == (generate.HERE / "policy.yaml").read_bytes()


def test_a_company_that_is_there_is_not_overwritten(built: Path) -> None:
    before = dump(built)
    with pytest.raises(FileExistsError):
        generate.build(built, 3, 1, now=NOW)
    assert dump(built) == before


@pytest.mark.parametrize("people", [0, -1, PEOPLE_AT_MOST])
def test_a_number_of_people_that_cannot_be_is_refused(people: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="people must be"):
        generate.build(tmp_path / "none", people, 1)
    assert not (tmp_path / "none").exists()


def test_postgresql_holds_the_same_company(
    fresh_postgresql: str, planted: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    generate.build(tmp_path / "company", PEOPLE, 7, now=NOW, url=fresh_postgresql)
    assert generate.plant(tmp_path / "company", 7, now=NOW, url=fresh_postgresql) == planted[1]
    assert not (tmp_path / "company" / "app.sqlite").exists()
    for table in ("users", "memberships", "usage_events", "errors", "administered"):
        query = f"SELECT * FROM {table} ORDER BY 1, 2"
        with opened(fresh_postgresql) as there, opened(planted[0] / "app.sqlite") as here:
            assert [tuple(map(str, row)) for row in there.run(query)] == [
                tuple(map(str, row)) for row in here.run(query)
            ]
