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
    guarded.refused("old", "DELETE FROM comments WHERE id = 1")  # a condition reads
    guarded.ask("old", "DELETE FROM comments")  # nobody took that right away
    assert guarded.own("SELECT count(*) FROM comments") == [(0,)]


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


CATALOGUE = {
    "tables": "SELECT c.oid::regclass::text, relkind, relowner, relrowsecurity, relforcerowsecurity FROM pg_class c"
    " WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
    "rights": "SELECT c.oid::regclass::text, x.grantor::regrole::text, x.grantee::regrole::text, x.privilege_type,"
    " x.is_grantable FROM pg_class c, aclexplode(coalesce(relacl, acldefault('r', relowner))) x"
    " WHERE relnamespace = 'public'::regnamespace ORDER BY 1, 2, 3, 4",
    "rights of columns": "SELECT attrelid::regclass::text, attname, x.* FROM pg_attribute a, aclexplode(attacl) x"
    " WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace) ORDER BY 1, 2, 4, 5",
    "policies": "SELECT polrelid::regclass::text, polname, polcmd, polpermissive, polroles::text,"
    " pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid) FROM pg_policy ORDER BY 1, 2",
    "triggers": "SELECT tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
    " ORDER BY 1",
    "functions": "SELECT oid::regprocedure::text, proacl::text FROM pg_proc"
    " WHERE pronamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
    "schemas": "SELECT nspname, x.* FROM pg_namespace, aclexplode(nspacl) x WHERE nspname !~ '^pg_' ORDER BY 1, 3, 4",
    "roles": "SELECT rolname, rolcanlogin FROM pg_roles ORDER BY 1",
    "members": "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members ORDER BY 1, 2",
}


def catalogue(made: Shop) -> dict[str, list[tuple[object, ...]]]:
    return {what: made.own(query) for what, query in CATALOGUE.items()}


def test_the_whole_catalogue_is_the_same_before_and_after(free: Shop) -> None:
    web, old = free.role("web"), free.role("old")
    for statement in (
        "GRANT SELECT ON members TO PUBLIC",
        f'GRANT SELECT (email), UPDATE (email), REFERENCES (id) ON members TO "{old}" WITH GRANT OPTION',
        f'GRANT SELECT ON addresses TO "{web}"',
        "ALTER TABLE posts ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE posts FORCE ROW LEVEL SECURITY",
        f'CREATE POLICY mine ON posts FOR SELECT TO "{web}" USING (id > 3)',
        "CREATE MATERIALIZED VIEW copies AS SELECT id, name FROM members",
        "CREATE VIEW asking WITH (security_invoker) AS SELECT id FROM members",
        f'GRANT SELECT ON copies, asking TO "{web}"',
    ):
        free.own(statement)
    before = catalogue(free)
    free.apply()
    assert [what for what, rows in catalogue(free).items() if rows != before[what]] != []
    applying.remove(free.company, "app", "tester")
    assert catalogue(free) == before


def test_a_migration_that_drops_what_was_guarded_leaves_a_guard_that_can_be_replaced_and_removed(
    guarded: Shop,
) -> None:
    guarded.own("DROP TABLE comments")
    guarded.own("ALTER TABLE usage DROP COLUMN page CASCADE")
    guarded.own(f'DROP OWNED BY "{guarded.role("old")}"')
    applying.remove(guarded.company, "app", "tester")
    assert guarded.own("SELECT 1 FROM pg_namespace WHERE nspname = 'kept'") == []
    assert guarded.own("SELECT 1 FROM pg_policy") == []
    assert guarded.ask("report", "SELECT count(token) FROM members") == [(40,)]


def test_a_role_that_the_guard_made_and_somebody_uses_is_not_dropped_with_it(free: Shop) -> None:
    desk = free.role("desk")
    free.own(f'DROP OWNED BY "{desk}"')
    free.own(f'DROP ROLE "{desk}"')
    free.apply()
    assert free.plan is not None and free.plan.made == (desk,)
    free.own(f'GRANT "{desk}" TO "{free.role("old")}"')
    free.own(f'GRANT SELECT ON members TO "{free.role("old")}"')  # so that there is something to do anew
    free.apply()
    applying.remove(free.company, "app", "tester")
    members = "SELECT 1 FROM pg_auth_members WHERE roleid = %s::regrole AND member = %s::regrole"
    assert free.own(members, desk, free.role("old")) == [(1,)]


def test_a_new_role_somewhere_on_the_server_is_no_change_of_the_guard(guarded: Shop) -> None:
    service = guarded.company.policy.section("purposes")["service"]
    name = f"stranger_{guarded.mark}"
    guarded.own(f'CREATE ROLE "{name}"')
    try:
        assert applying.apply(guarded.company, "app", "tester").stands
        assert measured.roles(guarded.company, service)[0].verdict == "kept"
        guarded.own(f'GRANT "{guarded.role("web")}" TO "{name}"')
        [reads] = measured.roles(guarded.company, service)
        assert reads.verdict == "unproven" and name in reads.says
    finally:
        guarded.own(f'DROP ROLE "{name}"')


@pytest.mark.parametrize("right", ["web", "postgres", "pg_read_all_data", "REPLICATION"])
def test_whoever_may_take_the_name_of_a_reader_is_told_without_inheriting(guarded: Shop, right: str) -> None:
    service = guarded.company.policy.section("purposes")["service"]
    name = f"stranger_{guarded.mark}"
    guarded.own(f'CREATE ROLE "{name}" NOINHERIT LOGIN BYPASSRLS')
    try:
        assert measured.roles(guarded.company, service)[0].verdict == "kept"  # it reads nothing
        given = guarded.role(right) if right == "web" else right
        done = f'ALTER ROLE "{name}" {right}' if right.isupper() else f'GRANT "{given}" TO "{name}"'
        guarded.own(done)
        [reads] = measured.roles(guarded.company, service)
        assert reads.verdict == "unproven" and name in reads.says
    finally:
        guarded.own(f'DROP ROLE "{name}"')


def test_who_may_become_what_nothing_binds_is_named_in_the_plan(free: Shop) -> None:
    free.own(f'ALTER ROLE "{free.role("old")}" NOINHERIT')
    free.own(f'GRANT postgres TO "{free.role("old")}"')
    free.own(f'ALTER ROLE "{free.role("desk")}" REPLICATION')
    free.own(f'GRANT pg_read_server_files TO "{free.role("news")}"')
    lines = planning.make(free.company, "app").unguarded
    for name, words in (
        ("old", "is a member of postgres"),
        ("desk", "REPLICATION"),
        ("news", "pg_read_server_files"),
    ):
        assert any(free.role(name) in line and words in line for line in lines), (name, lines)


def test_a_masked_view_does_not_pass_by_a_policy_of_the_companys_own(free: Shop) -> None:
    free.own("ALTER TABLE members ENABLE ROW LEVEL SECURITY")
    free.own("CREATE POLICY mine ON members USING (id < 10)")
    free.apply()
    view = f'kept."members_for_{free.role("web")}"'
    assert free.own("SELECT to_regclass(%s)::text", view) == [(None,)]
    assert free.plan is not None and any("token masked" in line for line in free.plan.unguarded)


def test_a_reference_may_be_wider_than_the_key(tmp_path: Path, fresh_postgresql: str) -> None:
    wide = SCHEMA.replace("member_id integer NOT NULL REFERENCES", "member_id bigint NOT NULL REFERENCES")
    with shop(tmp_path, fresh_postgresql, schema=wide) as made:
        made.instruct(3, "restrict")
        made.apply()
        assert made.ask("web", "SELECT count(*) FROM posts") == [(39,)]
        assert made.ask("web", "SELECT count(*) FROM comments") == [(39,)]


def test_a_guard_that_was_told_nothing_for_too_long_is_not_proven(guarded: Shop) -> None:
    service = guarded.company.policy.section("purposes")["service"]
    guarded.own("UPDATE kept.seen SET at = now() - interval '61 minutes'")
    [late] = measured.roles(guarded.company, service)
    assert late.verdict == "unproven" and "kept serve" in late.says
    Carrier(guarded.company).once()
    assert measured.roles(guarded.company, service)[0].verdict == "kept"


def test_it_is_tried_for_whom_a_yes_is_missing_too(guarded: Shop) -> None:
    news = guarded.company.policy.section("purposes")["news"]
    record(guarded.company, [New(member(5), "news", "yes", "account", notice=None)])
    Carrier(guarded.company).once()
    [before] = measured.tried(guarded.company, news)
    assert before.verdict == "kept" and int(before.measured["tries"] or 0) > 20
    guarded.own(f'ALTER POLICY "kept_{guarded.role("news")}" ON members USING (true)')
    [after] = measured.tried(guarded.company, news)
    assert after.verdict == "broken" and "somebody it may not (members)" in after.says


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
        assert made.replaces and "DROP SCHEMA kept CASCADE;" in made.sql().partition("CREATE SCHEMA kept;")[0]
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
