"""What the board says of security: connections, hashes, places, and who has access, each looked at for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher

from kept.company import Company
from kept.controls.security import access, places
from kept.controls.security.clouds import region_of_host
from kept.controls.security.passwords import Passwords
from kept.controls.security.prove import prove
from kept.evidence.proof import Proof, worst
from kept.stores.records.access import Access
from kept.stores.records.client import Client, Waiting
from kept.testing.loopback import Loopback, Reply
from tests.acceptance.choosing import Clock
from tests.acceptance.sealed import POLICY, company, customer, database, execute
from tests.conftest import MARIADB

ROOT = Path(__file__).parents[2]
GOOD = "a lantern under the seventh bridge"


def proofs(opened: Company, name: str) -> list[Proof]:
    return prove(opened, opened.policy.section("security")[name])


def with_security(*lines: str, text: str = POLICY) -> str:
    return text[: text.index("security:\n")] + "security:\n" + "".join(f"  {line}\n" for line in lines)


# Hashes.


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", MARIADB])
def test_every_value_must_be_a_slow_hash_and_the_database_counts_them(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(f"fresh_{kind}")
    database(url)
    hash = PasswordHasher().hash(GOOD)
    cheap = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(GOOD)
    with company(tmp_path, url) as opened:
        assert proofs(opened, "passwords")[0].verdict == "unproven"  # nothing to look at
        for id, value in ((1, hash), (2, "$2b$12$" + "N" * 53), (3, None), (4, "")):
            execute(opened, "INSERT INTO logins VALUES (:id, :hash)", id=id, hash=value)
        found = proofs(opened, "passwords")[0]
        assert found.verdict == "kept" and found.measured["values"] == 2 and "bcrypt" in found.says
        for id, value in (
            (5, cheap),
            (6, "hunter2 in the clear"),
            (7, "$argon2id$damaged"),
            (8, "$2b$12$damaged"),
        ):
            execute(opened, "INSERT INTO logins VALUES (:id, :hash)", id=id, hash=value)
        found = proofs(opened, "passwords")[0]
        assert found.verdict == "broken" and "hunter2" not in found.says
        assert (found.measured["slow"], found.measured["too_cheap"], found.measured["no_hash"]) == (2, 1, 3)


def test_a_hash_that_came_through_the_check_is_told_from_one_written_past_it(
    tmp_path: Path, fresh_sqlite: str
) -> None:
    database(fresh_sqlite)
    with company(tmp_path, fresh_sqlite) as opened:
        passwords = Passwords.of(opened)
        execute(opened, "INSERT INTO logins VALUES (1, :hash)", hash=passwords.hash(GOOD))
        assert [one.verdict for one in proofs(opened, "passwords")] == ["kept", "kept"]
        execute(opened, "INSERT INTO logins VALUES (2, :hash)", hash=PasswordHasher().hash("1234"))
        found = proofs(opened, "passwords")[1]
        assert found.verdict == "unproven" and found.measured["checked"] == 1
        noted = [entry for entry in opened.ledger.entries() if entry["act"] == "password"]
        assert len(noted) == 1 and noted[0]["strength"] == 3 and GOOD not in json.dumps(noted)


def test_a_weak_password_isnt_taken_for_a_checked_one_when_its_hash_is_made_anew(
    tmp_path: Path, fresh_sqlite: str
) -> None:
    database(fresh_sqlite)
    cheap = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1)
    with company(tmp_path, fresh_sqlite) as opened:
        for id, (word, verdict) in enumerate(((GOOD, "kept"), ("password1234", "unproven")), 1):
            found = Passwords.of(opened).verify(cheap.hash(word), word)
            assert found.right and found.again is not None
            execute(opened, "INSERT INTO logins VALUES (:id, :hash)", id=id, hash=found.again)
            assert [one.verdict for one in proofs(opened, "passwords")] == ["kept", verdict]


# Places.


def test_a_host_says_its_region_only_in_the_domain_of_a_cloud() -> None:
    for host, region in (
        ("shop.abc123.eu-central-1.rds.amazonaws.com", "de"),
        ("ep-cool-1.us-east-2.aws.neon.tech", "us"),
        ("ep-cool-1.germanywestcentral.azure.neon.tech", "de"),
        ("aws-0-eu-west-3.pooler.supabase.com", "fr"),
        ("0123abcd.0123.europe-west3.sql.goog", "de"),
        ("EU-CENTRAL-1.rds.amazonaws.com.", "de"),
        ("eu-central-1.shop.example", None),
        ("rds.amazonaws.com.eu-central-1.shop.example", None),
        ("shop.eu-central-9.rds.amazonaws.com", None),
        ("eu-central-1.evil-rds.amazonaws.com", None),
        ("shop.postgres.database.azure.com", None),
    ):
        assert region_of_host(host) == region, host


@pytest.mark.parametrize(
    ("host", "verdict"),
    [
        ("shop.abc.eu-central-1.rds.amazonaws.com", "kept"),
        ("shop.abc.us-east-1.rds.amazonaws.com", "broken"),
        ("192.0.2.7", "unproven"),
    ],
)
def test_a_store_is_where_its_host_says_or_nobody_can_tell(tmp_path: Path, host: str, verdict: str) -> None:
    place = "here: {places: [contact, tokens], regions: eea}"
    with company(tmp_path, f"postgresql://shop@{host}/shop", text=with_security(place)) as opened:
        assert [one.verdict for one in proofs(opened, "here")] == [verdict]  # nothing is connected for it


@pytest.mark.parametrize("other", ["host=192.0.2.7", "hostaddr=192.0.2.7", "service=elsewhere"])
def test_a_host_that_isnt_the_one_connected_to_says_no_region(tmp_path: Path, other: str) -> None:
    place = "here: {places: [contact, tokens], regions: eea}"
    url = f"postgresql://shop@shop.abc.eu-central-1.rds.amazonaws.com/shop?{other}"
    with company(tmp_path, url, text=with_security(place)) as opened:
        assert [one.verdict for one in proofs(opened, "here")] == ["unproven"]


def test_where_a_file_of_this_machine_is_only_a_person_can_confirm(tmp_path: Path, fresh_sqlite: str) -> None:
    database(fresh_sqlite)
    with company(tmp_path, fresh_sqlite, text=with_security("a: {places: contact, regions: eea}")) as opened:
        [found] = proofs(opened, "a")
        assert found.verdict == "unproven" and found.unseen


class Details(Loopback):
    """HubSpot's answer about an account."""

    said = "eu1"

    def handle(self, call: Any) -> Reply:
        assert call.path == "/account-info/v3/details"
        return Reply(200, {"portalId": 1, "dataHostingLocation": self.said}) if self.said else Reply(403)


def test_hubspot_is_asked_where_it_hosts_the_account() -> None:
    with Details() as server:
        client = Client(
            "crm", Access(server.address, "t"), {}, waiting=Waiting(tries=1), refused=lambda _: None
        )
        assert places.hosted(client).region == "de"
        server.said = "na1"
        assert places.hosted(client).region == "us"
        server.said = ""
        assert places.hosted(client).region is None
        client.dispose()


# Access.


def test_roles_that_nobody_used_are_listed_and_a_review_goes_on_the_ledger(
    tmp_path: Path, fresh_postgresql: str
) -> None:
    database(fresh_postgresql)
    clock = Clock()
    role = f"report_{os.getpid()}"
    with psycopg.connect(fresh_postgresql, autocommit=True) as server:
        server.execute(f"CREATE ROLE {role} LOGIN")
        server.execute(f"GRANT SELECT ON customers TO {role}")
        server.execute(f"GRANT SELECT (token) ON integrations TO {role}")  # one column is access, too
    try:
        with company(tmp_path, fresh_postgresql, clock) as opened:
            found = {one.role: one for one in access.review(opened).roles}
            assert found[role].is_unused(clock()) is None and "2 tables, undeclared" in found[role].may
            assert found["postgres"].last == clock() and "every table" in found["postgres"].may
            assert found["web"].is_unused(clock()) is None and "for automation" in found["web"].may
            assert found["support"].is_unused(clock()) and found["support"].may == "helping"
            execute(opened, "INSERT INTO tickets VALUES (81, 1, 4, '2026-05-20', NULL)")
            assert not _support(opened).is_unused(clock())
            clock.pass_(days=91)
            assert _support(opened).is_unused(clock())
            assert access.note(opened, access.review(opened)) >= 1
            [entry] = [one for one in opened.ledger.entries() if one["act"] == "access-review"]
            assert entry["unused"] >= 1 and entry["unknown"] >= 2 and entry["days"] == 90
            assert role not in json.dumps(entry)
    finally:
        with psycopg.connect(fresh_postgresql, autocommit=True) as server:
            server.execute(f"DROP OWNED BY {role}")
            server.execute(f"DROP ROLE {role}")


def _support(opened: Company) -> access.Role:
    [found] = [one for one in access.review(opened).roles if one.role == "support"]
    return found


@pytest.mark.needs("mariadb")
def test_the_log_ins_of_a_mariadb_are_listed(tmp_path: Path, fresh_mariadb: str) -> None:
    database(fresh_mariadb)
    with company(tmp_path, fresh_mariadb) as opened:
        found = {one.role: one for one in access.review(opened).roles}
        assert any("root" in name and one.last is not None for name, one in found.items())


@pytest.mark.needs("mariadb")
def test_a_log_in_is_not_taken_for_one_of_a_like_name_nor_left_out_for_a_single_column(
    tmp_path: Path, fresh_mariadb: str
) -> None:
    database(fresh_mariadb)
    here, like = f"a_{os.getpid()}", f"ax{os.getpid()}"
    with company(tmp_path, fresh_mariadb) as opened:
        address = opened.stores["app"].engine.url
        with opened.stores["app"].engine.connect() as root:
            for name in (here, like):
                root.execute(sa.text(f"CREATE USER '{name}'@'%' IDENTIFIED BY 'x'"))
                root.execute(sa.text(f"GRANT SELECT (email) ON customers TO '{name}'@'%'"))
            try:
                with sa.create_engine(address.set(username=here, password="x")).connect():
                    roles = access.review(opened).roles
                found = {one.role.split("'")[1]: one for one in roles if "'" in one.role}
                assert found[here].last is not None and found[like].last is None
                assert "1 tables" in found[like].may
            finally:
                for name in (here, like):
                    root.execute(sa.text(f"DROP USER '{name}'@'%'"))


def test_the_command_lists_who_has_access_and_confirms_a_promise(tmp_path: Path, fresh_sqlite: str) -> None:
    database(fresh_sqlite)
    rule = "reviews: {attests: access is reviewed, attest: support every 3 months}"
    (tmp_path / "policy.yaml").write_text(with_security(rule))
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "APP_DATABASE_URL": fresh_sqlite,
        "KEPT_DIR": str(tmp_path),
    }

    def kept(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kept", "access-review", *arguments]
        return subprocess.run(
            command, env=environment, cwd=ROOT, timeout=120, check=False, capture_output=True, text=True
        )

    listed = kept("--format", "json")
    assert listed.returncode == 0, listed.stderr
    roles = {one["role"]: one for one in json.loads(listed.stdout)["roles"]}
    assert roles["support"]["unused"] and roles["support"]["may"] == "helping"
    assert roles["web"]["unused"] is None  # no database says it
    confirmed = kept("--name", "Ada Example", "--promise", "security.reviews")
    assert confirmed.returncode == 0 and "Confirmed until" in confirmed.stdout, confirmed.stderr
    assert "unused" in confirmed.stdout and "is a file" in confirmed.stdout
    assert kept("--promise", "security.reviews").returncode == 2


def test_nothing_measured_holds_anything_of_a_person(tmp_path: Path, fresh_sqlite: str) -> None:
    database(fresh_sqlite)
    rules = ("tokens: {seals: tokens, for: automation}", "all: {encrypts: connections}")
    with company(tmp_path, fresh_sqlite, text=with_security(*rules)) as opened:
        told = json.dumps(
            [[p.says, dict(p.measured)] for name in ("tokens", "all") for p in proofs(opened, name)]
        )
        assert "token-north" not in told and "mail.example" not in told and str(customer(1)) not in told
        assert worst(proofs(opened, "tokens")) == "broken"  # they stand open
