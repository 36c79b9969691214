"""`kept guard` on SiteLucent in PostgreSQL: a plan read by eye, applied, seen from psql; where there can be none."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from examples.sitelucent.generate import build
from kept.company import opened
from kept.controls.collection.card_numbers import find
from kept.controls.purposes.guard import cards, measured
from kept.controls.purposes.guard import plan as planning
from kept.controls.registry import load
from kept.errors import KeptError
from tests.acceptance.company import SiteLucent
from tests.acceptance.guarded import POLICY, shop
from tests.unit.controls.test_cards import NUMBERS

CARDS = [
    "4111111111111111",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "4111.1111.1111.1111",
    "4111_1111_1111_1111",
    "4111/1111/1111/1111",
    "4111\n1111\n1111\n1111",
    "４１１１ １１１１ １１１１ １１１１",
    "3782 822463 10005",
    "378282246310005",
    "3056 930902 5904",
    "30569309025904",
    "4222222222222",
    "6304000000000000",
    "6212345678900000003",
    "card:4111111111111111, thanks",
    "4111 1111 1111 1111 12 27",
    "room 1204 4111 1111 1111 1111",
    "5555 5555 5555 4444 and 4111 1111 1111 1111",
    "pay with 5105105105105100.",
    "6205 5000 0000 0000 004",
]
OTHERS = [
    "",
    "no digits",
    "4111111111111112",
    "4111 1111 1111 1112",
    "41111111111111111111",
    "4111 1111-1111 1111",
    "+4222222222222",
    "0.4111111111111111",
    "550e8400-e29b-41d4-a716-446655440000",
    "d41d8cd98f00b204e9800998ecf8427e",
    "GB29 NWBK 6016 1331 9268 19",
    "DE89370400440532013000",
    "1111 4111 1111 1111 1111 2222 3333",
    "0000000000000000",
    "9999999999999995",
    "100000000000009",
    "order 12345678901234567890123",
    "2026-11-22 21:00:00",
]


@dataclass(frozen=True)
class Lucent(SiteLucent):
    """SiteLucent on PostgreSQL, its roles named for this test alone."""

    url: str
    web: str
    report: str

    def ask(self, query: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url) as database:
            return database.execute(query, values or None).fetchall()


@pytest.fixture
def lucent(tmp_path: Path, fresh_postgresql: str) -> Iterator[Lucent]:
    mark = uuid.uuid4().hex[:8]
    made = Lucent(tmp_path, fresh_postgresql, f"web_{mark}", f"report_{mark}")
    build(tmp_path, 200, 3, url=fresh_postgresql)
    path = tmp_path / "policy.yaml"
    text = path.read_text("utf-8").replace("roles: {web:", f"roles: {{{made.web}:")
    path.write_text(text.replace("report: improve-app", f"{made.report}: improve-app"), "utf-8")
    (tmp_path / ".env").write_text(f"APP_DATABASE_URL={fresh_postgresql}\n", "utf-8")
    with psycopg.connect(fresh_postgresql, autocommit=True) as owner:
        owner.execute(f'CREATE ROLE "old_{mark}" LOGIN')
        owner.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "old_{mark}"')
        yield made
        for role in (made.web, made.report, f"old_{mark}"):
            if owner.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
                owner.execute(f'DROP OWNED BY "{role}" CASCADE')
                owner.execute(f'DROP ROLE "{role}"')


def test_a_plan_is_read_applied_and_taken_back_by_commands(lucent: Lucent) -> None:
    shown = lucent.kept("guard", "plan")
    assert shown.code == 1, shown.err
    for words in (
        f'CREATE ROLE "{lucent.web}" NOLOGIN;',
        "keeps: purposes.improve-app (SL-14): Improve app: we use your usage statistics",
        "groups, and no person",
        "REVOKE SELECT, REFERENCES, TRIGGER",
        "What roles can see now, and no longer will:",
        "is a superuser; nothing here binds it",
        "Not applied: `kept guard apply app` carries it out.",
    ):
        assert words in shown.out, words
    assert "old_" in shown.out.partition("What roles can see now")[2]
    ran = lucent.kept("guard", "plan", "--sql")
    assert ran.out.startswith("BEGIN;") and ran.out.rstrip().endswith("COMMIT;")

    assert "the guard stands" in lucent.kept("guard", "apply").out
    again = lucent.kept("guard", "apply", "--format", "json")
    assert again.json()["applied"] is False
    after = lucent.kept("guard", "plan", "--format", "json")
    assert after.code == 0 and after.json()["stands"] is True
    assert [entry["store"] for entry in lucent.ledger("guard")] == ["app"]

    with psycopg.connect(lucent.url, autocommit=True) as analyst:
        analyst.execute(f'SET SESSION AUTHORIZATION "{lucent.report}"')
        groups = analyst.execute("SELECT page, month, people FROM kept.usage_by_page_month").fetchall()
        assert groups and all(people >= 10 for *_, people in groups)
        for table in ("users", "usage_events", "memberships", "administered", "errors"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                analyst.execute(f"SELECT * FROM {table}")

    assert lucent.kept("guard", "remove").code == 0
    assert lucent.ask("SELECT count(*) FROM pg_roles WHERE rolname = %s", lucent.web) == [(0,)]
    assert lucent.kept("guard", "remove").code == 2
    assert lucent.kept("guard", "plan").code == 1


def test_the_migration_as_it_is_printed_does_what_apply_does(lucent: Lucent) -> None:
    printed = lucent.kept("guard", "plan", "--sql").out
    with psycopg.connect(lucent.url, autocommit=True) as owner:
        owner.execute(printed)
        owner.execute(f'SET SESSION AUTHORIZATION "{lucent.web}"')
        assert owner.execute("SELECT count(*) FROM users").fetchone() == (200,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            owner.execute("SELECT count(*) FROM usage_events")
    refused = lucent.kept("guard", "plan")
    assert refused.code == 2 and "no record of" in refused.err


def test_a_database_without_roles_is_unproven_and_has_no_guard(tmp_path: Path) -> None:
    build(tmp_path, 30, 3)
    with opened(load(tmp_path / "policy.yaml"), tmp_path) as company:
        [proof] = measured.roles(company, company.policy.section("purposes")["improve-app"])
        assert proof.verdict == "unproven" and "whoever may open the file reads all of it" in proof.says
        assert proof.unseen  # no machine can see who opens a file: somebody may confirm it
        assert measured.tried(company, company.policy.section("purposes")["improve-app"]) == []
        with pytest.raises(KeptError, match="knows no roles"):
            planning.make(company, "app")


def test_another_than_the_owner_applies_no_guard(tmp_path: Path, fresh_postgresql: str) -> None:
    with shop(tmp_path, fresh_postgresql) as made:
        made.own(f'ALTER TABLE members OWNER TO "{made.role("old")}"')
        made.own(f'ALTER ROLE "{made.role("desk")}" NOINHERIT')
        url = fresh_postgresql.replace("postgres:", f"{made.role('desk')}:")
        (tmp_path / ".env").write_text(f"APP_DATABASE_URL={url}\n", "utf-8")
        with opened(made.company.policy, tmp_path) as company, pytest.raises(KeptError, match="belongs to"):
            planning.make(company, "app")


def test_a_role_that_owns_the_tables_is_told_and_measured(tmp_path: Path, fresh_postgresql: str) -> None:
    with shop(tmp_path, fresh_postgresql) as made:
        made.own(f'ALTER TABLE members OWNER TO "{made.role("web")}"')
        plan = planning.make(made.company, "app")
        assert any(made.role("web") in line and "owns tables" in line for line in plan.unguarded)
        made.apply()
        [proof] = measured.roles(made.company, made.company.policy.section("purposes")["service"])
        assert proof.verdict == "broken" and "owns tables" in proof.says


def test_everybody_is_looked_through_where_silence_is_a_yes_for_some(
    tmp_path: Path, fresh_postgresql: str
) -> None:
    text = POLICY.replace("ask: opt-in}", "ask: {eea: opt-in, elsewhere: opt-out}}").replace(
        "known-by: {email: email}", "known-by: {email: email}, region: name"
    )
    with shop(tmp_path, fresh_postgresql, text) as made:
        made.own("UPDATE members SET name = CASE WHEN id < 31 THEN 'fr' ELSE 'us' END")
        made.apply()
        assert made.ask("news", "SELECT min(id), count(*) FROM members") == [(31, 10)]


def test_the_database_says_of_a_text_what_the_program_says(fresh_postgresql: str) -> None:
    with psycopg.connect(fresh_postgresql, autocommit=True) as owner:
        owner.execute("CREATE SCHEMA kept")
        owner.execute(cards.ISSUERS)
        owner.execute(cards.FUNCTION)
        said = {
            text: owner.execute("SELECT kept.has_card_number(%s)", (text,)).fetchone() == (True,)
            for text in (*CARDS, *OTHERS, *_written())
        }
    assert {t: it for t, it in said.items() if it != find.any_in(t)} == {}
    assert [text for text in CARDS if not said[text]] == []
    assert [text for text in OTHERS if said[text]] == []


def _written() -> list[str]:
    """Every published test number and one digit off it, in one piece and in groups, alone and in a sentence."""
    found = []
    for right in NUMBERS:
        for number in (right, right[:-1] + str((int(right[-1]) + 1) % 10)):
            groups = (4, 6, 5) if len(number) in (14, 15) else (4,) * 5
            for apart in ("", " ", "-", ".", "\n", "\u00a0", "\u2009", "\u3000", " - "):
                parts, rest = list[str](), number
                for size in groups:
                    parts, rest = [*parts, rest[:size]], rest[size:]
                text = apart.join(part for part in parts if part)
                found += [text, f"my card is {text}, thanks"]
    return found
