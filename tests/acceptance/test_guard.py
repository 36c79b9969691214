"""A guard in PostgreSQL: what each role sees, what people choose carried over, and how it is taken away again."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from kept.company import opened
from kept.controls.choices.records.book import New, record
from kept.controls.choices.records.forgetting import FORGOTTEN
from kept.controls.purposes.guard import applying, measured
from kept.controls.purposes.guard import plan as planning
from kept.controls.purposes.guard.carry import Carrier, carried
from kept.controls.purposes.guard.carrying import Carrying
from kept.errors import KeptError
from tests.acceptance.guarded import POLICY, SCHEMA, Shop, member, policy, shop


@pytest.fixture
def free(tmp_path: Path, fresh_postgresql: str) -> Iterator[Shop]:
    """The shop without a guard."""
    with shop(tmp_path, fresh_postgresql) as made:
        yield made


@pytest.fixture
def guarded(free: Shop) -> Shop:
    free.apply()
    return free


def test_a_role_sees_the_columns_of_its_purposes_and_no_others(guarded: Shop) -> None:
    assert guarded.ask("web", "SELECT id, name, email, joined_at, left_at FROM members WHERE id = 3")
    assert "permission denied" in guarded.refused("web", "SELECT token FROM members")
    assert "permission denied" in guarded.refused("web", "SELECT * FROM members")
    assert "permission denied" in guarded.refused("web", "SELECT page FROM usage")
    assert guarded.ask("web", "SELECT title FROM products") == [("tea",)]


def test_what_is_masked_stands_in_a_view_without_its_value(guarded: Shop) -> None:
    view = f'kept."members_for_{guarded.role("web")}"'
    assert guarded.ask("web", f"SELECT name, token FROM {view} WHERE id = 3") == [("name3", "•••")]
    guarded.refused("news", f"SELECT token FROM {view}")


def test_the_analyst_sees_groups_and_no_person(guarded: Shop) -> None:
    groups = guarded.ask("report", "SELECT page, month::text, people, rows FROM kept.usage_by_page_month")
    assert groups == [("shelf", "2025-03-01", 36, 180)]  # `rare` has four people, and this month isn't over
    for table in ("members", "usage", "posts", "comments", "tickets", "addresses"):
        assert "permission denied" in guarded.refused("report", f"SELECT count(*) FROM {table}")


def test_a_purpose_that_needs_a_case_opens_no_row_to_a_role(guarded: Shop) -> None:
    guarded.refused("desk", "SELECT name FROM members WHERE id = 1")
    assert any("kept look" in line for line in planning.make(guarded.company, "app").unguarded)


def test_a_restriction_hides_every_row_of_theirs_wherever_it_hangs(guarded: Shop) -> None:
    guarded.instruct(3, "restrict")
    Carrier(guarded.company).once()
    assert guarded.ask("web", "SELECT count(*) FROM members") == [(39,)]
    assert guarded.ask("web", "SELECT count(*) FROM posts WHERE member_id = 3") == [(0,)]
    assert guarded.ask("web", "SELECT count(*) FROM comments WHERE post_id = 3") == [(0,)]
    assert guarded.ask("web", "SELECT count(*) FROM comments") == [(39,)]


def test_an_objection_to_one_purpose_leaves_the_rows_that_another_needs(guarded: Shop) -> None:
    guarded.instruct(4, "object", "letters")
    Carrier(guarded.company).once()
    assert guarded.ask("web", "SELECT id FROM members WHERE id = 4") == [(4,)]  # `service` still may


def test_where_a_yes_is_needed_only_who_said_yes_is_seen_and_not_after_a_no(guarded: Shop) -> None:
    carrier = Carrier(guarded.company)
    assert guarded.ask("news", "SELECT id FROM members") == []
    record(guarded.company, [New(member(5), "news", "yes", "account", notice=None)])
    carrier.once()
    assert guarded.ask("news", "SELECT id FROM members") == [(5,)]
    record(guarded.company, [New(member(5), "news", "no", "account")])
    assert carrier.once() == 1  # nobody else was looked at
    assert guarded.ask("news", "SELECT id FROM members") == []


def test_a_restriction_that_is_lifted_shows_them_again(guarded: Shop) -> None:
    carrier = Carrier(guarded.company)
    carrier.once()
    guarded.instruct(3, "restrict")
    assert carrier.once() == 1
    assert guarded.ask("web", "SELECT id FROM members WHERE id = 3") == []
    guarded.lifted(3)
    assert carrier.once() == 1
    assert guarded.ask("web", "SELECT id FROM members WHERE id = 3") == [(3,)]


def test_whoever_was_erased_stands_on_no_list_any_more(guarded: Shop) -> None:
    carrier = Carrier(guarded.company)
    guarded.instruct(3, "restrict")
    carrier.once()
    assert guarded.own("SELECT DISTINCT id FROM kept.refused_member") == [(3,)]
    guarded.lifted(3)
    guarded.company.state.note(FORGOTTEN, "subjects", {"people": 1})  # as an erasure leaves it
    carrier.once()
    assert guarded.own("SELECT id FROM kept.refused_member") == []


def test_a_thread_carries_a_choice_over_by_itself(guarded: Shop) -> None:
    carrying = Carrying(lambda: guarded.company)
    carrying.start()
    try:
        record(guarded.company, [New(member(6), "news", "yes", "account", notice=None)])
        for _ in range(100):
            if guarded.ask("news", "SELECT id FROM members") == [(6,)]:
                break
            time.sleep(0.1)
        assert guarded.ask("news", "SELECT id FROM members") == [(6,)]
    finally:
        carrying.stop()


def test_what_rests_on_a_yes_is_closed_when_nothing_was_carried_over_for_too_long(guarded: Shop) -> None:
    record(guarded.company, [New(member(5), "news", "yes", "account", notice=None)])
    Carrier(guarded.company).once()
    guarded.own("UPDATE kept.seen SET at = now() - interval '61 minutes'")
    assert guarded.ask("news", "SELECT id FROM members") == []
    assert guarded.ask("web", "SELECT count(*) FROM members") == [(40,)]  # no yes is asked for that
    Carrier(guarded.company).once()
    assert guarded.ask("news", "SELECT id FROM members") == [(5,)]
    at = carried(guarded.company, "app")
    assert at is not None and at > datetime.now(UTC) - timedelta(minutes=5)


def test_whoever_objected_is_counted_in_no_group(free: Shop) -> None:
    for number in range(1, 41):
        if number > 8:
            free.instruct(number, "object", "improve")
    free.apply()
    assert (
        free.ask("report", "SELECT page, people FROM kept.usage_by_page_month") == []
    )  # 4 of 8 are `rare`'s
    free.lifted(9)


def test_a_month_is_counted_once(guarded: Shop) -> None:
    before = guarded.ask("report", "SELECT * FROM kept.usage_by_page_month")
    guarded.own("DELETE FROM usage WHERE member_id = 20")
    Carrier(guarded.company).once()
    assert guarded.ask("report", "SELECT * FROM kept.usage_by_page_month") == before


def test_card_numbers_are_refused_whoever_writes(guarded: Shop) -> None:
    for statement in (
        "INSERT INTO posts VALUES (99, 1, 'mine is 4111 1111 1111 1111', now())",
        "UPDATE posts SET body = '378282246310005' WHERE id = 1",
    ):
        with pytest.raises(psycopg.errors.CheckViolation) as wrong:
            guarded.own(statement)
        assert "4111" not in str(wrong.value) and "3782" not in str(wrong.value)
    guarded.own("UPDATE posts SET body = 'order 4111 1111 1111 1112' WHERE id = 1")


def test_writing_stays_as_it_was(guarded: Shop) -> None:
    guarded.ask("web", "INSERT INTO posts VALUES (100, 1, 'hello', now())")
    guarded.ask("old", "INSERT INTO usage VALUES (5000, 1, 'shelf', now())")
    guarded.ask("web", "UPDATE members SET name = 'new' WHERE id = 2")
    assert guarded.own("SELECT name FROM members WHERE id = 2") == [("new",)]
    guarded.instruct(2, "restrict")
    Carrier(guarded.company).once()
    guarded.ask("web", "UPDATE members SET name = 'newer' WHERE id = 2")
    assert guarded.own("SELECT name FROM members WHERE id = 2") == [
        ("new",)
    ]  # restricted: stored, and no more


def test_applied_twice_it_changes_nothing(guarded: Shop) -> None:
    before = guarded.own("SELECT xmin::text, relname FROM pg_class WHERE relnamespace = 'kept'::regnamespace")
    assert applying.apply(guarded.company, "app", "tester").stands
    assert before == guarded.own(
        "SELECT xmin::text, relname FROM pg_class WHERE relnamespace = 'kept'::regnamespace"
    )
    entries = [e for e in _acts(guarded) if e["act"] == "guard"]
    assert len(entries) == 1 and entries[0]["by"] == "tester"


def test_removed_it_leaves_what_stood_before(free: Shop) -> None:
    def stands() -> list[object]:
        return [
            free.own(
                "SELECT c.relname, x.grantee::regrole::text, x.privilege_type, x.is_grantable, relrowsecurity"
                " FROM pg_class c, aclexplode(relacl) x WHERE relnamespace = 'public'::regnamespace ORDER BY 1, 2, 3"
            ),
            free.own("SELECT polname FROM pg_policy"),
            free.own("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"),
            free.own("SELECT nspname FROM pg_namespace ORDER BY 1"),
        ]

    free.own(f'GRANT SELECT (email), UPDATE (email) ON members TO "{free.role("report")}" WITH GRANT OPTION')
    columns = "SELECT attname, attacl::text FROM pg_attribute WHERE attrelid = 'members'::regclass AND attacl <> '{}'"
    before, of_columns = stands(), free.own(columns)
    free.apply()
    assert stands() != before
    applying.remove(free.company, "app", "tester")
    assert stands() == before
    assert free.own(columns) == of_columns
    with pytest.raises(KeptError, match="no guard"):
        applying.remove(free.company, "app", "tester")


def test_only_the_plan_that_was_shown_is_applied(free: Shop) -> None:
    with pytest.raises(KeptError, match="no plan of it was shown"):
        applying.apply(free.company, "app", "tester")
    planning.show(free.company, planning.make(free.company, "app"))
    free.own(f'GRANT SELECT ON members TO "{free.role("desk")}" WITH GRANT OPTION')
    with pytest.raises(KeptError, match="changed since"):
        applying.apply(free.company, "app", "tester")
    assert free.own("SELECT 1 FROM pg_namespace WHERE nspname = 'kept'") == []


def test_a_changed_policy_replaces_the_guard_and_removal_still_finds_the_way_back(
    guarded: Shop, tmp_path: Path
) -> None:
    other = policy(guarded.mark, POLICY.replace("web_X: [service, letters]", "web_X: letters"))
    with opened(other, tmp_path) as company:
        made = planning.make(company, "app")
        assert made.replaces
        planning.show(company, made)
        applying.apply(company, "app", "tester")
        assert "permission denied" in guarded.refused("web", "SELECT body FROM posts")
        assert guarded.ask("web", "SELECT count(*) FROM members") == [(40,)]
        applying.remove(company, "app", "tester")
    assert guarded.ask("old", "SELECT count(*) FROM members") == [(40,)]
    assert guarded.ask("report", "SELECT count(token) FROM members") == [(40,)]


def test_a_policy_of_the_companys_own_still_counts(free: Shop) -> None:
    free.own("ALTER TABLE members ENABLE ROW LEVEL SECURITY")
    free.own("CREATE POLICY mine ON members USING (id < 10)")
    free.apply()
    assert free.ask("web", "SELECT count(*) FROM members") == [(9,)]
    free.instruct(3, "restrict")
    Carrier(free.company).once()
    assert free.ask("web", "SELECT count(*) FROM members") == [(8,)]


def test_parts_of_a_table_are_closed_as_the_table_is(tmp_path: Path, fresh_postgresql: str) -> None:
    parted = SCHEMA.replace(
        "CREATE TABLE usage (id integer PRIMARY KEY, member_id integer NOT NULL REFERENCES members, page text"
        " NOT NULL,\n  at timestamp NOT NULL);",
        "CREATE TABLE usage (id integer NOT NULL, member_id integer NOT NULL REFERENCES members, page text NOT"
        " NULL,\n  at timestamp NOT NULL) PARTITION BY RANGE (at);\n"
        "CREATE TABLE usage_all PARTITION OF usage DEFAULT;",
    )
    assert "usage_all" in parted
    with shop(tmp_path, fresh_postgresql, schema=parted) as made:
        made.apply()
        assert "permission denied" in made.refused("report", "SELECT page FROM usage_all")
        assert made.ask("report", "SELECT people FROM kept.usage_by_page_month") == [(36,)]


def test_the_grants_are_measured_with_and_without_a_guard(free: Shop) -> None:
    service = free.company.policy.section("purposes")["service"]
    [before] = measured.roles(free.company, service)
    assert before.verdict == "broken" and "for none of its purposes" in before.says
    free.apply()
    [after] = measured.roles(free.company, service)
    assert after.verdict == "kept", after
    free.own(f'GRANT SELECT (email) ON members TO "{free.role("old")}"')
    [later] = measured.roles(free.company, service)
    assert later.verdict == "broken" and "no longer what was applied" in later.says
    applying.remove(free.company, "app", "tester")
    for name in ("web", "news", "report", "desk"):
        free.own(f'REVOKE SELECT ON ALL TABLES IN SCHEMA public FROM "{free.role(name)}"')
    [stranger] = measured.roles(free.company, service)
    assert stranger.verdict == "unproven" and free.role("old") in stranger.says


def test_it_is_tried_from_outside(free: Shop) -> None:
    service = free.company.policy.section("purposes")["service"]
    [before] = measured.tried(free.company, service)
    assert before.verdict == "broken" and "members.token" in before.says
    free.instruct(3, "restrict")
    free.apply()
    [after] = measured.tried(free.company, service)
    assert after.verdict == "kept" and int(after.measured["tries"] or 0) > 5
    free.own(f'ALTER POLICY "kept_{free.role("web")}" ON members USING (true)')
    [later] = measured.tried(free.company, service)
    assert later.verdict == "broken" and "somebody it may not" in later.says


def _acts(made: Shop) -> list[dict[str, object]]:
    with sqlite3.connect(made.company.directory / "ledger.sqlite") as database:
        return [
            json.loads(body) for (body,) in database.execute("SELECT body FROM entries ORDER BY position")
        ]
