"""The four generated companies beside SiteLucent, looked at with SQL of their own."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import psycopg
import pytest

from examples.generators import lucent_commerce, lucent_marketplace, lumensol, lumnar
from examples.shared.database import opened as database_at
from examples.shared.names import PEOPLE_AT_MOST
from kept.company import opened, stores_of
from kept.controls.registry import load
from kept.controls.retention.enforce import due
from kept.datamap.drift import drift
from kept.datamap.live import check_live
from kept.policy.source import Problems

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
PEOPLE = 120
GENERATORS = {module.NAME: module for module in (lucent_commerce, lucent_marketplace, lumensol, lumnar)}

# Rows that must be there, so that each clock, tie and shared row has a case on either side.
CASES = {
    "lucent-commerce": (
        "app: customers WHERE closed_at IS NULL",
        "app: customers WHERE closed_at IS NOT NULL",
        "app: customers WHERE born_on > '2008-11-22'",
        "app: customers GROUP BY phone HAVING count(phone) > 1",
        "app: billing WHERE payer_id = customer_id",
        "app: billing WHERE payer_id <> customer_id",
        "app: visits WHERE customer_id IS NULL",
        "app: visits WHERE customer_id IS NOT NULL",
    ),
    "lucent-marketplace": (
        "shop: members WHERE sells AND paid_out",
        "shop: members WHERE sells AND NOT paid_out",
        "shop: members WHERE NOT sells",
        "shop: members WHERE closed_at IS NULL",
        "shop: members WHERE closed_at IS NOT NULL",
        "shop: members WHERE identity_checked_at IS NULL",
        "shop: guardians JOIN members ON members.id = member_id WHERE ended_at IS NULL AND born_on > '2008-11-22'",
        "shop: guardians JOIN members ON members.id = member_id WHERE ended_at IS NOT NULL AND born_on < '2008-11-22'",
        "shop: sales WHERE closed_at IS NULL",
        "shop: sales WHERE closed_at IS NOT NULL",
        "shop: sales JOIN addresses ON addresses.id = address_id WHERE member_id NOT IN (buyer_id, seller_id)",
        "shop: sales JOIN billing ON billing.id = billing_id WHERE member_id <> buyer_id",
        "shop: disputes WHERE closed_at IS NULL",
        "shop: disputes WHERE closed_at IS NOT NULL",
        "shop: reports WHERE closed_at IS NULL",
        "shop: reports WHERE closed_at IS NOT NULL",
        "shop: cases WHERE closed_at IS NULL",
        "shop: cases WHERE closed_at IS NOT NULL",
        "shop: messages AS one JOIN messages AS two ON two.sender_id = one.recipient_id"
        " AND two.recipient_id = one.sender_id",
        "shop: messages WHERE attachment IS NOT NULL",
        "shop: applicants WHERE decided_at IS NULL",
        "shop: applicants WHERE decided_at IS NOT NULL",
        "shop: subscribers WHERE left_at IS NULL",
        "shop: subscribers WHERE left_at IS NOT NULL",
        "shop: visits WHERE member_id IS NULL",
        "shop: visits WHERE utm_source IS NOT NULL",
    ),
    "lumensol": (
        "crm: contacts WHERE left_at IS NULL",
        "crm: contacts WHERE left_at IS NOT NULL",
        "crm: contacts GROUP BY email HAVING count(*) > 1",
        "crm: orders WHERE billed_id = contact_id",
        "crm: orders WHERE billed_id <> contact_id",
        "crm: complaints WHERE closed_at IS NULL",
        "crm: complaints WHERE closed_at IS NOT NULL",
        "crm: tickets WHERE closed_at IS NULL",
        "crm: tickets WHERE closed_at IS NOT NULL",
        "crm: calls WHERE audio IS NULL",
        "crm: calls WHERE audio IS NOT NULL",
        "client: tenants WHERE email IS NULL",
        "client: tenants GROUP BY email HAVING count(email) > 1",
    ),
    "lumnar": (
        "app: customers WHERE closed_at IS NULL",
        "app: customers WHERE closed_at IS NOT NULL",
        "app: conversations WHERE closed_at IS NULL",
        "app: conversations WHERE closed_at IS NOT NULL",
        "app: conversations GROUP BY chatter_id HAVING count(DISTINCT customer_id) > 1",
        "app: conversations GROUP BY customer_id HAVING count(DISTINCT chatter_id) > 1",
        "app: messages WHERE attachment IS NOT NULL",
        "app: investigations WHERE closed_at IS NULL",
        "app: investigations WHERE closed_at IS NOT NULL",
    ),
}

# Columns that name a file: database, table, column, folder.
PATHS = {
    "lucent-marketplace": (
        ("shop", "payouts", "portrait", "uploads"),
        ("shop", "payouts", "proof", "uploads"),
        ("shop", "listings", "photo", "uploads"),
        ("shop", "messages", "attachment", "uploads"),
        ("shop", "sales", "photo", "uploads"),
    ),
    "lumensol": (("crm", "calls", "audio", "calls"),),
    "lumnar": (("app", "messages", "attachment", "uploads"),),
}


@pytest.fixture(scope="module", params=sorted(GENERATORS))
def generator(request: pytest.FixtureRequest) -> ModuleType:
    found: ModuleType = GENERATORS[request.param]
    return found


@pytest.fixture(scope="module")
def built(generator: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("built")
    generator.build(directory, PEOPLE, 7, now=NOW)
    return directory


@pytest.fixture(scope="module")
def planted(generator: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    directory = tmp_path_factory.mktemp("planted")
    generator.build(directory, PEOPLE, 7, now=NOW)
    return directory, generator.plant(directory, 7, now=NOW)


def dump(directory: Path) -> dict[str, str]:
    """Every file of a folder, databases as statements."""
    found = {}
    for file in sorted(path for path in directory.rglob("*") if path.is_file()):
        if file.suffix == ".sqlite":
            with closing(sqlite3.connect(file)) as database:
                found[file.name] = "\n".join(database.iterdump())
        else:
            found[str(file.relative_to(directory))] = file.read_text("utf-8")
    return found


def ask(file: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute(query).fetchall()


def tables(file: Path) -> list[str]:
    return [str(name) for (name,) in ask(file, "SELECT name FROM sqlite_master WHERE type = 'table'")]


def databases(directory: Path) -> Iterator[Path]:
    yield from sorted(directory.glob("*.sqlite"))


def past(directory: Path, at: datetime) -> dict[str, int]:
    """By promise, the rows that a sweep at some time would take; asked in a copy, where Kept leaves its own files."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(shutil.copytree(directory, place, dirs_exist_ok=True))
        with opened(load(copy / "policy.yaml"), copy, lambda: at) as company:
            lines, _ = due(company)
    found: dict[str, int] = {}
    for line in lines:
        found[line.promise] = found.get(line.promise, 0) + line.rows
    return {promise: rows for promise, rows in found.items() if rows}


def test_the_same_people_seed_and_time_give_the_same_rows_and_files(
    generator: ModuleType, built: Path, tmp_path: Path
) -> None:
    generator.build(tmp_path / "again", PEOPLE, 7, now=NOW)
    generator.build(tmp_path / "other", PEOPLE, 8, now=NOW)
    assert dump(tmp_path / "again") == dump(built)
    assert dump(tmp_path / "other") != dump(built)


def test_every_table_has_rows(built: Path) -> None:
    for file in databases(built):
        for table in tables(file):
            assert ask(file, f"SELECT count(*) FROM {table}") != [(0,)], table


def test_each_clock_tie_and_shared_row_has_a_case_on_either_side(generator: ModuleType, built: Path) -> None:
    for case in CASES[generator.NAME]:
        store, _, rows = case.partition(": ")
        assert ask(built / f"{store}.sqlite", f"SELECT 1 FROM {rows} LIMIT 1"), case


@pytest.mark.parametrize("people", [1, 2, 41])
def test_a_company_may_be_very_small(generator: ModuleType, people: int, tmp_path: Path) -> None:
    generator.build(tmp_path, people, 1, now=NOW)
    assert past(tmp_path, NOW) == {}
    assert all(int(said.split()[0]) > 0 for said in generator.plant(tmp_path, 1, now=NOW).values())


def test_every_foreign_key_points_at_a_row_and_is_indexed(planted: tuple[Path, dict[str, str]]) -> None:
    for file in databases(planted[0]):
        assert ask(file, "PRAGMA foreign_key_check") == []
        assert ask(file, "PRAGMA integrity_check") == [("ok",)]
        for table in tables(file):
            indexes = [index for (index,) in ask(file, f"SELECT name FROM pragma_index_list('{table}')")]
            indexed = {
                row
                for index in indexes
                for row in ask(file, f"SELECT name FROM pragma_index_info('{index}') WHERE seqno = 0")
            }
            indexed |= set(ask(file, f"SELECT name FROM pragma_table_info('{table}') WHERE pk = 1"))
            referring = set(ask(file, f"SELECT \"from\" FROM pragma_foreign_key_list('{table}')"))
            assert referring <= indexed, table


def test_as_built_no_limit_has_passed_nor_will_for_four_weeks(built: Path) -> None:
    assert past(built, NOW) == {}
    assert past(built, NOW + timedelta(days=28)) == {}


def test_what_is_planted_is_what_kept_finds(planted: tuple[Path, dict[str, str]]) -> None:
    directory, broken = planted
    said = {promise: int(told.split()[0]) for promise, told in broken.items()}
    if "collection.no-more" in said:
        cards = ask(directory / "app.sqlite", "SELECT count(*) FROM customers WHERE card IS NOT NULL")
        assert cards == [(said.pop("collection.no-more"),)] == [(said.pop("collection.cards"),)]
    if "security.tokens" in said:
        tokens = ask(
            directory / "app.sqlite", "SELECT count(*) FROM integrations WHERE token NOT LIKE 'sealed%'"
        )
        assert tokens == [(said.pop("security.tokens"),)]
    assert past(directory, NOW) == said
    assert all(rows > 0 for rows in said.values())


def test_file_and_database_agree(built: Path) -> None:
    policy, problems = load(built / "policy.yaml"), Problems()
    with stores_of(policy, built) as stores:
        check_live(policy, stores.sql, stores.unreachable, problems)
        differences = drift(policy, {name: store.schema() for name, store in stores.sql.items()}, stores.sql)
    assert [problem.message for problem in problems.found] == []
    assert differences == []


def test_nobody_shares_a_name(built: Path) -> None:
    names: list[str] = []
    for file in databases(built):
        for table in ("customers", "members", "contacts", "tenants", "applicants"):
            if table in tables(file):
                names += [str(name) for (name,) in ask(file, f"SELECT name FROM {table}")]
    words = [word for name in names for word in name.split()]
    assert words and len(set(words)) == len(words)
    assert all(re.fullmatch(r"[A-Z][a-z]{7}", word) for word in words)


def test_every_path_in_a_row_names_a_file_and_every_file_has_its_row(
    generator: ModuleType, built: Path
) -> None:
    named: dict[str, set[str]] = {}
    for store, table, column, folder in PATHS.get(generator.NAME, ()):
        rows = ask(built / f"{store}.sqlite", f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL")
        assert rows, (table, column)
        named.setdefault(folder, set()).update(str(path) for (path,) in rows)
    for folder, paths in named.items():
        found = {path.relative_to(built / folder).as_posix() for path in (built / folder).rglob("*.txt")}
        assert found == paths


def test_what_stripe_holds_hangs_together(generator: ModuleType, built: Path) -> None:
    file = built / "stripe.json"
    if "payments" not in (policy := load(built / "policy.yaml")).stores and "stripe" not in policy.stores:
        assert not file.exists()
        return
    held = json.loads(file.read_text("utf-8"))
    customers = {customer["id"] for customer in held.pop("customers")}
    [records] = held.values()
    assert records and {record["customer"] for record in records} <= customers


def test_a_company_that_is_there_is_not_overwritten(generator: ModuleType, built: Path) -> None:
    before = dump(built)
    with pytest.raises(FileExistsError):
        generator.build(built, 3, 1, now=NOW)
    assert dump(built) == before


def test_the_settings_are_for_their_owner_alone(generator: ModuleType, built: Path) -> None:
    assert (built / ".env").stat().st_mode & 0o777 == 0o600
    policy = Path(__file__).parents[3] / "examples" / generator.NAME / "policy.yaml"
    assert (built / "policy.yaml").read_bytes() == policy.read_bytes()


@pytest.mark.parametrize("people", [0, -1, PEOPLE_AT_MOST])
def test_a_number_of_people_that_cannot_be_is_refused(
    generator: ModuleType, people: int, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="people must be"):
        generator.build(tmp_path / "none", people, 1)
    assert not (tmp_path / "none").exists()


@pytest.fixture
def second_postgresql(fresh_postgresql: str, postgresql_url: str) -> Iterator[str]:
    """A second database beside a test's own, for the company that has two."""
    name = "second_" + fresh_postgresql.partition("/test_")[2].partition("?")[0]
    with psycopg.connect(postgresql_url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"'.encode())
        yield postgresql_url.replace("/postgres?", f"/{name}?")
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def test_postgresql_holds_the_same_company(
    generator: ModuleType,
    fresh_postgresql: str,
    second_postgresql: str,
    planted: tuple[Path, dict[str, str]],
    tmp_path: Path,
) -> None:
    own = {"url": fresh_postgresql}
    urls = {file.stem: fresh_postgresql for file in databases(planted[0])}
    if generator is lumensol:
        own["client_url"] = urls["client"] = second_postgresql
    generator.build(tmp_path, PEOPLE, 7, now=NOW, **own)
    assert generator.plant(tmp_path, 7, now=NOW, url=fresh_postgresql) == planted[1]
    assert not list(databases(tmp_path))
    for store, url in urls.items():
        file = planted[0] / f"{store}.sqlite"
        for table in tables(file):
            query = f"SELECT * FROM {table} ORDER BY 1, 2"
            with database_at(url) as there, database_at(file) as here:
                assert [_plain(row) for row in there.run(query)] == [_plain(row) for row in here.run(query)]


def _plain(row: tuple[object, ...]) -> list[str]:
    """A row's values as text, true and false as SQLite keeps them."""
    return [str(int(value)) if isinstance(value, bool) else str(value) for value in row]
