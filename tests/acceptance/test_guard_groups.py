"""The groups that a role sees in PostgreSQL: each month counted once, and told to nobody in two ways."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from threading import Thread

import psycopg
import pytest

from kept.company import opened
from kept.controls.purposes.groups.asked import answer
from kept.controls.purposes.groups.question import Question
from kept.controls.purposes.guard import applying
from kept.controls.purposes.guard import plan as planning
from kept.controls.purposes.guard.published import PUBLISHED, publish, publish_due
from kept.controls.refused import Refused
from tests.acceptance.guarded import POLICY, SCHEMA, Shop, policy, shop


@pytest.fixture
def free(tmp_path: Path, fresh_postgresql: str) -> Iterator[Shop]:
    """The shop without a guard."""
    with shop(tmp_path, fresh_postgresql) as made:
        yield made


@pytest.fixture
def guarded(free: Shop) -> Shop:
    free.apply()
    return free


def test_the_analyst_sees_groups_and_no_person(guarded: Shop) -> None:
    groups = guarded.ask("report", "SELECT page, month::text, people, rows FROM kept.usage_by_page_month")
    assert groups == [("shelf", "2025-03-01", 36, 180)]  # `rare` has four people, and this month isn't over
    for table in ("members", "usage", "posts", "comments", "tickets", "addresses"):
        assert "permission denied" in guarded.refused("report", f"SELECT count(*) FROM {table}")


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
    assert guarded.plan is not None
    publish(guarded.company, "app", guarded.plan.digest)
    assert guarded.ask("report", "SELECT * FROM kept.usage_by_page_month") == before


def test_kept_groups_answers_of_what_the_guard_counted_and_of_nothing_else(guarded: Shop) -> None:
    """Two counts of one month, with a member less in one of them, could be subtracted."""
    guarded.own("DELETE FROM usage WHERE member_id = 20")
    asked = Question(
        purpose="improve", data="usage", by=("page",), since=date(2025, 3, 1), until=date(2025, 4, 1)
    )
    (group,) = answer(guarded.company, asked, "analyst").groups
    assert (group.labels, group.value) == (("shelf",), 36)
    for other in (replace(asked, every="week"), replace(asked, by=())):
        with pytest.raises(Refused, match="could be subtracted"):
            answer(guarded.company, other, "analyst")


def test_a_month_that_was_told_in_another_way_stays_out_of_the_guard(free: Shop) -> None:
    asked = Question(
        purpose="improve", data="usage", every="week", since=date(2025, 3, 3), until=date(2025, 3, 31)
    )
    answer(free.company, asked, "analyst")
    free.apply()
    assert free.ask("report", "SELECT * FROM kept.usage_by_page_month") == []


def test_a_role_called_like_a_party_gets_no_groups_that_nobody_promised_it(
    tmp_path: Path, fresh_postgresql: str
) -> None:
    """Who stands behind such a name is a party, and nothing is declared to be given to it."""
    name = f"partner{uuid.uuid4().hex[:8]}"
    text = POLICY.replace(
        "parties:\n", f"parties:\n  {name}: {{role: processor, name: Partner, region: us}}\n"
    )
    text = text.replace("report_X: improve", f"report_X: improve, {name}: improve")
    with shop(tmp_path, fresh_postgresql, text) as made:
        plan = made.apply()
        assert any(f"`{name}`, for improve: no groups of" in line for line in plan.unguarded)
        granted = "SELECT pg_catalog.has_table_privilege(%s, 'kept.usage_by_page_month', 'SELECT')"
        assert made.own(granted, name) == [(False,)] and made.own(granted, made.role("report")) == [(True,)]
        assert made.ask("report", "SELECT page, people FROM kept.usage_by_page_month") == [("shelf", 36)]
        applying.remove(made.company, "app", "tester")


def test_two_who_publish_at_once_put_each_group_in_once(guarded: Shop) -> None:
    assert guarded.plan is not None
    groups = "SELECT * FROM kept.usage_by_page_month"
    before = guarded.ask("report", groups)
    with psycopg.connect(guarded.url) as other:
        other.execute("DELETE FROM kept.usage_by_page_month")
        other.execute("INSERT INTO kept.usage_by_page_month VALUES (%s, %s, %s, %s)", before[0])
        publishing = Thread(target=publish, args=(guarded.company, "app", guarded.plan.digest))
        publishing.start()
        waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        until = time.monotonic() + 30
        while not guarded.own(waits)[0][0] and publishing.is_alive() and time.monotonic() < until:
            time.sleep(0.05)
        other.commit()
        publishing.join(30)
    assert guarded.ask("report", groups) == before


def test_a_month_whose_rows_are_gone_stays_as_it_was_told(guarded: Shop) -> None:
    assert guarded.plan is not None
    before = guarded.ask("report", "SELECT * FROM kept.usage_by_page_month")
    for gone in ("at < '2025-04-01'", "true"):
        guarded.own(f"DELETE FROM usage WHERE {gone}")
        publish(guarded.company, "app", guarded.plan.digest)
        assert guarded.ask("report", "SELECT * FROM kept.usage_by_page_month") == before


def test_a_file_that_was_edited_tells_an_older_guard_nothing_new(guarded: Shop, tmp_path: Path) -> None:
    """Who reads the tables that stand is another than the file says: they would get what nobody has on record."""
    text = POLICY.replace("report_X: improve", "old_X: improve")
    with opened(policy(guarded.mark, text), tmp_path) as company:
        company.state.note(PUBLISHED, "app", {})
        guarded.own("DELETE FROM kept.usage_by_page_month")
        size = company.ledger.size
        publish_due(company)
        assert company.ledger.size == size
    assert guarded.ask("report", "SELECT * FROM kept.usage_by_page_month") == []


@pytest.mark.parametrize("at", ["-infinity", "0044-03-15 BC", "infinity", "0001-01-01"])
def test_a_time_that_is_none_of_ours_keeps_no_month_from_being_told(
    tmp_path: Path, fresh_postgresql: str, at: str
) -> None:
    schema = SCHEMA + f"INSERT INTO usage VALUES (9000, 1, 'shelf', '{at}');"
    with shop(tmp_path, fresh_postgresql, schema=schema) as made:
        made.apply()
        assert made.ask("report", "SELECT page, people FROM kept.usage_by_page_month") == [("shelf", 36)]


@pytest.mark.parametrize(
    ("column", "more", "name"),
    [("month", "", None), ("page", ", app.visits: {page: behaviour, at: recorded}", "usage_by_page_month")],
)
def test_no_name_of_a_table_or_column_keeps_the_guard_from_standing(
    tmp_path: Path, fresh_postgresql: str, column: str, more: str, name: str | None
) -> None:
    text = POLICY.replace(
        "app.usage: {page: behaviour, at: recorded}",
        f"app.usage: {{{column}: behaviour, at: recorded}}{more}",
    )
    schema = SCHEMA.replace("page text NOT NULL", f"{column} text NOT NULL")
    schema += "CREATE TABLE visits (id integer PRIMARY KEY, member_id integer NOT NULL REFERENCES members, page text,\n"
    schema += "  at timestamp NOT NULL);"
    with shop(tmp_path, fresh_postgresql, text, schema) as made:
        made.apply()
        told = [
            row[0] for row in made.own("SELECT relname FROM pg_class WHERE relname LIKE '%month' ORDER BY 1")
        ]
        assert told == ([name, f"visits_{name}"] if name else [])


def test_the_worker_puts_in_a_month_once_it_is_over(guarded: Shop) -> None:
    entries = guarded.company.ledger.size
    publish_due(guarded.company)
    assert guarded.company.ledger.size == entries  # nothing is due
    guarded.company.state.note(PUBLISHED, "app", {"plan": "another", "until": "2025-01"})
    guarded.own("DELETE FROM kept.usage_by_page_month")
    publish_due(guarded.company)
    assert guarded.ask("report", "SELECT page, people, rows FROM kept.usage_by_page_month") == [
        ("shelf", 36, 180)
    ]


def test_a_guard_that_replaces_another_counts_no_month_again(guarded: Shop, tmp_path: Path) -> None:
    query = "SELECT * FROM kept.usage_by_page_month ORDER BY page, month"
    before = guarded.ask("report", query)
    assert before
    guarded.own("DELETE FROM usage WHERE member_id = 20")
    other = policy(guarded.mark, POLICY.replace("web_X: [service, letters]", "web_X: letters"))
    with opened(other, tmp_path) as company:
        planning.show(company, planning.make(company, "app"))
        applying.apply(company, "app", "tester")
        assert guarded.ask("report", query) == before


def test_a_month_counted_by_one_way_of_grouping_is_not_told_by_another(guarded: Shop, tmp_path: Path) -> None:
    """By page, and then the same month by page and shop, could be subtracted."""
    guarded.own("ALTER TABLE usage ADD shop text NOT NULL DEFAULT 'one'")
    text = POLICY.replace("{page: behaviour, at", "{page: behaviour, shop: behaviour, at")
    with opened(policy(guarded.mark, text), tmp_path) as company:
        planning.show(company, planning.make(company, "app"))
        applying.apply(company, "app", "tester")
        assert guarded.ask("report", "SELECT * FROM kept.usage_by_page_shop_month") == []
