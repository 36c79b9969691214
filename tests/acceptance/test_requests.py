"""Access and erasure of one person and of many, on SQLite and PostgreSQL, through the same door as the commands."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from examples.sitelucent.generate import build
from kept.company import Company, opened
from kept.controls.acts import kinds
from kept.controls.registry import load
from kept.controls.rights.desk import Desk
from kept.controls.rights.planning import plan
from kept.state import workflows
from tests.acceptance.company import SiteLucent, subjects


@pytest.fixture(params=["sqlite", "postgresql"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SiteLucent with 60 people, its database of either kind."""
    monkeypatch.delenv("APP_DATABASE_URL", raising=False)
    url = request.getfixturevalue("fresh_postgresql") if request.param == "postgresql" else None
    build(tmp_path / "company", 60, 3, url=url)
    return tmp_path / "company"


@contextmanager
def at_work(folder: Path) -> Iterator[tuple[Company, workflows.Workflows]]:
    with (
        opened(load(folder / "policy.yaml"), folder) as company,
        workflows.opened(folder / "workflows.sqlite", kinds(company)) as running,
    ):
        yield company, running


def ask(company: Company, query: str) -> list[tuple[Any, ...]]:
    with company.stores["app"].read() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


@contextmanager
def statements(company: Company) -> Iterator[list[str]]:
    """Every statement sent to the company's database meanwhile."""
    sent: list[str] = []

    def note(*given: Any) -> None:
        sent.append(given[2])

    event.listen(company.stores["app"].engine, "before_cursor_execute", note)
    yield sent
    event.remove(company.stores["app"].engine, "before_cursor_execute", note)


def test_access_answers_with_everything_and_nobody_elses(folder: Path) -> None:
    with at_work(folder) as (company, running):
        found = Desk.at_work(company, running).find("access", ["user:2"])
        result = Desk.at_work(company, running).carry_out(
            "access", subjects(found.people), "tester", confirmed=True
        )
        assert result.done, result.problem
        [request] = result.ids
        with zipfile.ZipFile(company.answers / f"{request}.zip") as answer:
            told = json.loads(answer.read("data.json"))
            page = answer.read("index.html").decode()
            usage = list(csv.DictReader(io.StringIO(answer.read("usage/app.usage_events.csv").decode())))
        [(first, email)] = ask(company, "SELECT first_name, email FROM users WHERE id = 2")
        events = ask(company, "SELECT count(*) FROM usage_events WHERE user_id = 2")[0][0]
        others = {name for (name,) in ask(company, "SELECT email FROM users WHERE id <> 2")}
    [account] = told["data"]["account"]["held"]["app.users"]
    assert account["email"] == email and account["first_name"] == first
    assert len(usage) == len(told["data"]["usage"]["held"]["app.usage_events"]) == events
    assert not any(other in page or other in json.dumps(told) for other in others)
    for data in ("account", "usage"):
        assert told["data"][data]["why"] and told["data"][data]["source"] and told["data"][data]["until"]
    assert email in page and "24 months" in page


def test_erasure_removes_everything_of_one_and_nothing_of_others(folder: Path) -> None:
    tables = ("users", "usage_events", "memberships", "errors", "tickets", "set_ups")
    with at_work(folder) as (company, running):
        key = {"users": "id"}
        kept = {
            t: ask(company, f"SELECT * FROM {t} WHERE {key.get(t, 'user_id')} <> 2 ORDER BY 1, 2")
            for t in tables
        }
        [(email,)] = ask(company, "SELECT email FROM users WHERE id = 2")
        found = Desk.at_work(company, running).find("erase", [email])
        assert [str(person) for person in found.people] == ["user:2"]
        result = Desk.at_work(company, running).carry_out(
            "erase", subjects(found.people), "tester", confirmed=True
        )
        assert result.done, result.problem
        for table in tables:
            assert ask(company, f"SELECT count(*) FROM {table} WHERE {key.get(table, 'user_id')} = 2") == [
                (0,)
            ]
            assert ask(company, f"SELECT * FROM {table} ORDER BY 1, 2") == kept[table]
        again = Desk.at_work(company, running).find("erase", ["user:2"])
        assert again.people == () and again.wrong[0][0] == 1
        [entry] = [e for e in company.ledger.entries() if e["act"] == "erase"]
        assert set(entry) == {"act", "at", "batch", "person", "remains", "request"}
        assert company.pseudonyms.find(["user:2"]) == {}
        assert company.pseudonyms.erased({"user:2": [email]})["user:2"].surely
        assert not company.pseudonyms.erased({"user:2": ["someone-else@mail.example"]})["user:2"].surely


def test_a_dry_run_counts_what_the_erasure_then_does_and_changes_nothing(folder: Path) -> None:
    with at_work(folder) as (company, running):
        people = Desk.at_work(company, running).find("erase", ["user:3", "user:4"]).people
        before = ask(company, "SELECT count(*), sum(id) FROM usage_events")
        planned = plan(company, "erase", subjects(people))
        assert ask(company, "SELECT count(*), sum(id) FROM usage_events") == before
        result = Desk.at_work(company, running).carry_out("erase", subjects(people), "tester", confirmed=True)
        assert result.done and result.counts == planned.tables


def test_the_number_of_statements_does_not_grow_with_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APP_DATABASE_URL", raising=False)
    build(tmp_path, 1100, 3, events_per_person=3)
    with at_work(tmp_path) as (company, running):
        numbers = {}
        for verb in ("access", "erase"):
            for first, people in ((1100, 1), (1, 1000)):
                desk = Desk.at_work(company, running)
                found = desk.find(verb, [f"user:{key}" for key in range(first, first + people)])
                assert len(found.people) == people
                with statements(company) as sent:
                    result = desk.carry_out(verb, subjects(found.people), "tester", confirmed=True)
                assert result.done, result.problem
                numbers[verb, people] = len(sent)
        assert numbers["erase", 1] == numbers["erase", 1000]
        assert (
            numbers["access", 1000] <= 2 * numbers["access", 1]
        )  # an answer holds 500 people in memory at a time
        assert ask(company, "SELECT count(*) FROM users") == [(99,)]


def test_an_erased_person_stands_in_no_file_of_the_company(tmp_path: Path) -> None:
    company = SiteLucent.made(tmp_path / "company", people=200, seed=7)
    [(first, last, email)] = company.ask("SELECT first_name, last_name, email FROM users WHERE id = 77")
    assert company.kept("request", "access", email).code == 0
    assert company.kept("request", "erase", "user:77", "--dry-run").code == 0
    assert company.files_with(email)
    done = company.kept("request", "erase", "user:77", "--by", "tester", "--format", "json")
    assert done.code == 0, done.err
    assert done.json()["state"] == "done"
    for words in (first, last, email):
        assert company.files_with(words) == []
    assert email not in done.out + done.err


def test_a_file_of_people_is_carried_out_for_those_who_are_known(tmp_path: Path) -> None:
    company = SiteLucent.made(tmp_path / "company")
    people = tmp_path / "people.txt"
    people.write_text("user:5\nuser:9999\nnobody@nowhere.example\nuser:6\n")
    ran = company.kept("request", "erase", f"@{people}", "--by", "tester", "--format", "json")
    assert ran.code == 1
    assert ran.json()["people"] == 2 and [wrong["line"] for wrong in ran.json()["unknown"]] == [2, 3]
    assert company.ask("SELECT count(*) FROM users WHERE id IN (5, 6)") == [(0,)]
    assert "nowhere" not in ran.out + ran.err


def test_what_nobody_declared_is_told_all_the_same(tmp_path: Path) -> None:
    company = SiteLucent.made(tmp_path / "company")
    company.do("ALTER TABLE users ADD COLUMN birth_date TEXT")
    company.do("UPDATE users SET birth_date = '1970-01-31' WHERE id = 2")
    answer = company.kept("request", "access", "user:2", "--format", "json").json()["answers"][0]
    with zipfile.ZipFile(answer) as opened_answer:
        told = json.loads(opened_answer.read("data.json"))
    assert told["data"]["not declared"]["held"]["app.users"] == [{"birth_date": "1970-01-31"}]


def test_a_kind_that_is_none_is_told_from_an_unknown_address(tmp_path: Path) -> None:
    company = SiteLucent.made(tmp_path / "company")
    ran = company.kept("request", "access", "banana:1")
    assert ran.code == 2 and "no kind of person (known: user, lead, visitor)" in ran.err
    assert "nobody is known by it" in company.kept("request", "access", "nobody@mail.example").err
