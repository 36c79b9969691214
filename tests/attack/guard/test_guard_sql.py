"""Somebody with psql and a role tries to learn what the guard hides: rows of who restricted it, columns, groups."""

from __future__ import annotations

import psycopg
import pytest

from tests.acceptance.guarded import Shop

HIDDEN = "name3", "m3@mail.example", "secret-3", "post of 3", "comment on 3"


def noticed(made: Shop, role: str, *statements: str) -> str:
    """All that a session is told: rows, notices, errors."""
    said: list[str] = []
    with made.psql(role) as connection:
        connection.add_notice_handler(
            lambda notice: said.append(
                f"{notice.message_primary} {notice.message_detail} {notice.message_hint} {notice.context}"
            )
        )
        for statement in statements:
            try:
                if statement.startswith("COPY"):
                    with connection.cursor().copy(statement) as copied:
                        said += [bytes(part).decode() for part in copied]
                    continue
                done = connection.execute(statement)
                said += [str(row) for row in (done.fetchall() if done.description else [])]
            except psycopg.Error as error:
                said.append(
                    f"{error} {error.diag.message_detail} {error.diag.message_hint} {error.diag.context}"
                )
    return "\n".join(said)


def none_of(told: str, *values: str) -> None:
    for value in values or HIDDEN:
        # `name3` is also the beginning of `name30`
        assert not any(
            told[at + len(value) : at + len(value) + 1].isdigit() is False
            for at in range(len(told))
            if told.startswith(value, at)
        ), value


LEAKY = """CREATE FUNCTION leaky(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE COST 0.0000001 AS
$$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$"""


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT name FROM members WHERE leaky(name)",
        "SELECT name FROM members WHERE leaky(email) AND id = 3",
        "SELECT p.body FROM posts p JOIN members m ON m.id = p.member_id WHERE leaky(p.body) AND leaky(m.name)",
        "SELECT body FROM comments WHERE leaky(body)",
        "SELECT name FROM members ORDER BY leaky(name)",
        "SELECT count(*) FILTER (WHERE leaky(name)) FROM members",
        "UPDATE members SET name = name WHERE leaky(name)",
        "DELETE FROM comments WHERE leaky(body) AND false",
        "UPDATE members SET name = name RETURNING leaky(email)",
        "SELECT name FROM members TABLESAMPLE SYSTEM (100) WHERE leaky(name)",
    ],
)
def test_a_cheap_function_that_tells_what_it_is_given_is_given_no_hidden_row(
    guarded: Shop, statement: str
) -> None:
    told = noticed(guarded, "web", LEAKY, statement)
    assert "permission denied" not in told
    none_of(told)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 / (id - 3) FROM members",
        "SELECT CAST(name AS integer) FROM members WHERE name LIKE 'name3'",
        "SELECT CAST(name AS integer) FROM members WHERE id = 3",
        "SELECT CAST(token AS integer) FROM members",
        "SELECT * FROM members WHERE token::int = 1",
        "INSERT INTO members SELECT * FROM members",
        "SELECT m FROM members m",
        "SELECT row_to_json(m) FROM members m",
        "SELECT (m).token FROM members m",
        "SELECT members FROM members",
        "INSERT INTO members (id, name, email, joined_at) VALUES (3, 'x', 'y', now()) ON CONFLICT (id) DO UPDATE "
        "SET name = members.token RETURNING name",
        "MERGE INTO members m USING (VALUES (3)) v (id) ON m.id = v.id WHEN MATCHED THEN UPDATE SET name = m.token",
        "COPY members TO STDOUT",
        "COPY (SELECT token FROM members) TO STDOUT",
        "COPY (SELECT name, email FROM members WHERE id = 3) TO STDOUT",
        "DECLARE c CURSOR WITH HOLD FOR SELECT token FROM members",
        "WITH x AS MATERIALIZED (SELECT token FROM members) SELECT * FROM x",
        "SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats WHERE tablename IN ('members', 'posts')",
        "SELECT stavalues1::text FROM pg_statistic",
        "SELECT * FROM addresses",
        "TABLE usage",
    ],
)
def test_errors_conflicts_copies_and_statistics_tell_nothing_hidden(guarded: Shop, statement: str) -> None:
    guarded.own("ANALYZE")
    told = noticed(guarded, "web", statement)
    none_of(told)
    assert "secret-" not in told


def test_views_functions_and_temporary_tables_of_ones_own_give_no_more(guarded: Shop) -> None:
    told = noticed(
        guarded,
        "web",
        "CREATE VIEW mine AS SELECT id, token FROM members",
        "SELECT * FROM mine",
        "CREATE VIEW names AS SELECT id, name FROM members",
        "SELECT * FROM names WHERE id = 3",
        "CREATE TEMPORARY TABLE copied AS SELECT id, name, email FROM members",
        "SELECT * FROM copied WHERE id = 3",
        "CREATE FUNCTION f() RETURNS SETOF text LANGUAGE sql AS 'SELECT token FROM members'",
        "SELECT f()",
        "DO $$ BEGIN EXECUTE 'SELECT token FROM members'; END $$",
        "CREATE TRIGGER mine BEFORE UPDATE ON members FOR EACH ROW EXECUTE FUNCTION leaky()",
        "CREATE TABLE refers (id integer REFERENCES members)",
    )
    none_of(told)
    assert "secret-" not in told
    assert told.count("permission denied") >= 4


def test_a_view_that_stood_before_shows_nothing_to_another_role(guarded: Shop) -> None:
    noticed(
        guarded,
        "web",
        "CREATE VIEW passed AS SELECT id, name FROM members",
        "GRANT SELECT ON passed TO PUBLIC",
    )
    none_of(noticed(guarded, "report", "SELECT * FROM passed WHERE id = 3"))


def test_roles_and_settings_cannot_be_changed_to_see_more(guarded: Shop) -> None:
    other = guarded.role("news")
    told = noticed(
        guarded,
        "report",
        f'SET ROLE "{other}"',
        "SET ROLE postgres",
        "SET row_security = off",
        "SELECT name FROM members",
        "ALTER TABLE members DISABLE ROW LEVEL SECURITY",
        f'ALTER POLICY "kept_{guarded.role("web")}" ON members USING (true)',
        f'GRANT SELECT ON members TO "{guarded.role("report")}"',
        f'ALTER ROLE "{guarded.role("report")}" BYPASSRLS',
    )
    assert told.count("permission denied") + told.count("must be owner") >= 5
    none_of(told)
    off = noticed(guarded, "web", "SET row_security = off", "SELECT name FROM members")
    assert "would be affected by row-level security" in off
    none_of(off)


def test_names_of_ones_own_in_the_search_path_change_nothing(guarded: Shop) -> None:
    """What the guard calls is bound when it is made, or looked for in `pg_catalog` alone."""
    told = noticed(
        guarded,
        "web",
        "CREATE TEMPORARY TABLE refused_member (reading smallint, id integer)",
        "CREATE TEMPORARY TABLE seen (at timestamptz)",
        "CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$",
        "CREATE FUNCTION public.eq(integer, integer) RETURNS boolean LANGUAGE sql AS 'SELECT false'",
        "CREATE OPERATOR public.= (FUNCTION = public.eq, LEFTARG = integer, RIGHTARG = integer)",
        "SET search_path = pg_temp, public, pg_catalog",
        "SELECT name FROM members",
        "SELECT body FROM comments",
        "SELECT name FROM members WHERE id OPERATOR(pg_catalog.=) 3",
    )
    assert "name4" in told and "comment on 4" in told
    none_of(told)


def test_the_guards_own_objects_cannot_be_written_replaced_or_read_beyond_ones_reading(guarded: Shop) -> None:
    told = noticed(
        guarded,
        "web",
        "DELETE FROM kept.refused_member",
        "INSERT INTO kept.granted_member VALUES (1, 3)",
        "UPDATE kept.seen SET at = 'infinity'",
        "CREATE TABLE kept.mine (id integer)",
        "DROP TABLE kept.refused_member",
        "CREATE OR REPLACE FUNCTION kept.has_card_number(text) RETURNS boolean LANGUAGE sql AS 'SELECT false'",
        "ALTER TABLE members DISABLE TRIGGER ALL",
        "SELECT * FROM kept.granted_member",
        "SELECT * FROM kept.usage_by_page_month",
        "SELECT * FROM kept.refused_member",
        "SELECT kept.has_card_number('4111111111111111')",
    )
    assert told.count("permission denied") + told.count("must be owner") >= 11
    assert guarded.ask("news", "SELECT DISTINCT reading FROM kept.granted_member") != []
    guarded.refused("report", "SELECT * FROM kept.refused_member")


def test_the_same_question_twice_and_its_difference_give_no_person(guarded: Shop) -> None:
    before = guarded.ask(
        "report", "SELECT page, month, people, rows FROM kept.usage_by_page_month ORDER BY 1, 2"
    )
    guarded.ask("old", "INSERT INTO usage VALUES (7000, 1, 'rare', '2025-03-02')")
    after = guarded.ask(
        "report", "SELECT page, month, people, rows FROM kept.usage_by_page_month ORDER BY 1, 2"
    )
    assert before == after and all(people >= 5 for _, _, people, _ in after)
    assert [page for page, *_ in after] == ["shelf"]
    for part in ("people", "rows"):
        sums = guarded.ask("report", f"SELECT sum({part}), count(*) FROM kept.usage_by_page_month")
        assert sums == [(sum(row[2 if part == "people" else 3] for row in after), len(after))]


def test_a_plan_tells_no_more_of_a_hidden_person_than_of_nobody(guarded: Shop) -> None:
    """Neither estimates nor rows removed by the guard's condition differ between who is hidden and who isn't there."""
    guarded.own("ANALYZE")

    def plan(number: int) -> str:
        rows = guarded.ask("web", f"EXPLAIN (COSTS ON) SELECT body FROM posts WHERE member_id = {number}")
        return "\n".join(line for (line,) in rows).replace(f"= {number})", "= ?)")

    assert plan(3) == plan(900)


def test_the_key_of_a_hidden_row_is_all_that_a_conflict_tells(guarded: Shop) -> None:
    """A unique key says that it is taken: that much nobody can hide from who may insert. The row isn't shown."""
    told = noticed(
        guarded,
        "web",
        "INSERT INTO members (id, name, email, joined_at) VALUES (3, 'x', 'y', now())",
        "INSERT INTO posts VALUES (3, 1, 'x', now())",
        "INSERT INTO members (id, name, email, joined_at) VALUES (3, 'x', 'y', now()) ON CONFLICT (id) DO UPDATE "
        "SET name = 'taken' RETURNING name, email",
    )
    none_of(told)
    assert guarded.own("SELECT name FROM members WHERE id = 3") == [("name3",)]


def test_what_the_guard_answers_a_role_is_the_same_of_who_is_hidden_and_who_is_not_there(
    guarded: Shop,
) -> None:
    numbers = [
        n
        for (n,) in guarded.own(
            "SELECT number FROM (SELECT substr(relname, 8)::int AS number FROM pg_class"
            " WHERE relname LIKE 'filter_%' AND relkind = 'r') x ORDER BY 1"
        )
    ]
    asked = 0
    for number in numbers:
        try:
            said = guarded.ask(
                "web", f"SELECT kept.may_{number}(3), kept.may_{number}(900), kept.may_{number}(4)"
            )
        except psycopg.errors.InsufficientPrivilege:
            continue  # a reading of another role's
        asked += 1
        assert said == [(False, False, True)]
    assert asked > 0
    for number in numbers:  # a role without such a reading asks nobody
        assert "permission denied" in guarded.refused("report", f"SELECT kept.may_{number}(3)")


def test_a_masked_value_is_never_read_so_no_time_tells_it(guarded: Shop) -> None:
    view = f'kept."members_for_{guarded.role("web")}"'
    told = noticed(
        guarded,
        "web",
        LEAKY,
        f"SELECT token FROM {view} WHERE leaky(token) AND id < 5",
        f"SELECT token FROM {view} WHERE token = 'secret-4'",
        f"SELECT token FROM {view} WHERE token LIKE 'secret%'",
        f"SELECT max(token), min(token), count(DISTINCT token) FROM {view}",
    )
    assert "secret-" not in told
    assert told.count("saw •••") == 3  # 1, 2 and 4: who is hidden isn't even masked
    [(wanted,)] = guarded.own(f"SELECT pg_get_viewdef('{view}'::regclass)")
    assert wanted.count("token") == 2  # whether there is one, and the name of the column


def test_a_reference_to_a_hidden_row_tells_its_key_and_nothing_else(guarded: Shop) -> None:
    """Whoever may insert rows that refer to a table learns which keys there are; never what stands there."""
    told = noticed(
        guarded,
        "web",
        "INSERT INTO posts VALUES (801, 3, 'x', now())",
        "INSERT INTO posts VALUES (802, 900, 'x', now())",
        "SELECT m.name, m.email FROM posts p JOIN members m ON m.id = p.member_id WHERE p.id = 801",
        "SELECT body FROM posts WHERE id = 801",
        "INSERT INTO posts VALUES (803, 3, 'x', now()) RETURNING body",
        "DELETE FROM members WHERE id = 3 RETURNING name",
        "CREATE TABLE mine (id integer REFERENCES members ON DELETE CASCADE)",
    )
    none_of(told)
    assert "permission denied for table members" in told  # to refer to it from a table of one's own
    assert guarded.own("SELECT name FROM members WHERE id = 3") == [("name3",)]


def test_what_a_unique_column_holds_is_told_by_no_row(guarded: Shop) -> None:
    """That an address is taken, the database says to whoever may insert it; of whom, it doesn't."""
    told = noticed(
        guarded,
        "web",
        "INSERT INTO members (id, name, email, joined_at) VALUES (950, 'x', 'm3@mail.example', now())",
        "INSERT INTO members (id, name, email, joined_at) VALUES (950, 'x', 'm3@mail.example', now())"
        " ON CONFLICT (email) DO UPDATE SET left_at = now() RETURNING id, name",
        "INSERT INTO members (id, name, email, joined_at) VALUES (950, 'x', 'm3@mail.example', now())"
        " ON CONFLICT DO NOTHING RETURNING id, name",
    )
    none_of(told, "name3", "secret-3", "(3,", "id)=(3)")
    assert guarded.own("SELECT left_at FROM members WHERE id = 3") == [(None,)]


def test_what_is_written_without_a_condition_tells_and_changes_no_hidden_row(guarded: Shop) -> None:
    told = noticed(
        guarded,
        "web",
        "UPDATE members SET name = 'all' RETURNING id, name, email",
        "DELETE FROM comments RETURNING body",
        "COPY members (name, email) TO STDOUT",
        "COPY posts (body) TO STDOUT",
    )
    none_of(told)
    assert "m4@mail.example" in told and "post of 4" in told
    assert guarded.own("SELECT name FROM members WHERE id = 3") == [("name3",)]
    assert guarded.own("SELECT body FROM comments") == [("comment on 3",)]


def test_a_transaction_held_open_does_not_stay_fresh(guarded: Shop) -> None:
    """What rests on a yes counts the time of each statement, not of the transaction it is in."""
    [(policy,)] = guarded.own(
        "SELECT pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polname = %s",
        f"kept_{guarded.role('news')}",
    )
    assert "statement_timestamp()" in policy and "now()" not in policy
    with guarded.psql("news") as session:
        session.execute("BEGIN")
        assert session.execute("SELECT id FROM members").fetchall() == [(5,)]
        guarded.own(
            "UPDATE kept.seen SET at = statement_timestamp() - interval '60 minutes' + interval '1 second'"
        )
        for _ in range(60):
            if not session.execute("SELECT id, pg_sleep(0.1) FROM members").fetchall():
                break
        assert session.execute("SELECT id FROM members").fetchall() == []


def test_the_functions_of_a_longer_way_are_for_those_whose_rows_it_decides(guarded: Shop) -> None:
    ways = guarded.own(
        "SELECT proname FROM pg_proc WHERE proname LIKE 'way%' AND pronamespace = 'kept'::regnamespace"
    )
    assert ways
    for (name,) in ways:
        assert guarded.ask("web", f'SELECT kept."{name}"(4), kept."{name}"(3), kept."{name}"(900)') == [
            (True, False, False)
        ]
        guarded.refused("report", f'SELECT kept."{name}"(4)')


def test_whoever_becomes_a_member_of_a_role_is_bound_as_it_is(guarded: Shop) -> None:
    guarded.own(f'GRANT "{guarded.role("web")}" TO "{guarded.role("report")}"')
    told = noticed(
        guarded,
        "report",
        "SELECT id, name, email FROM members WHERE id IN (3, 4)",
        f'SET ROLE "{guarded.role("web")}"',
        "SELECT id, name, email FROM members WHERE id IN (3, 4)",
        "SELECT token FROM members",
    )
    none_of(told)
    assert told.count("name4") == 2 and "permission denied" in told
