"""Kept as an application of the company's uses it: one import, one folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

import kept
from examples.sitelucent.generate import build
from kept.application import Application
from kept.controls.choices.records import book, history
from kept.controls.collection.enforce import Refused
from kept.controls.rights.people import Person
from kept.errors import KeptError
from tests.acceptance.choosing import POLICY, SCHEMA, START, Clock, company


@pytest.fixture(scope="module")
def privacy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder = tmp_path_factory.mktemp("application") / "company"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("APP_DATABASE_URL", raising=False)
        build(folder, 30, 7, events_per_person=1)
        with kept.opened(folder) as found:
            yield found


def test_a_no_is_met_by_the_next_question_and_by_the_next_sending(privacy: Application) -> None:
    assert privacy.may("user:3", "alerts", "email").allowed
    [told] = privacy.choose("user:3", {"alerts": "no"}, "Write to me when numbers change?")
    assert told.state == "Refused"
    refused = privacy.may("user:3", "alerts", "email")
    assert not refused.allowed and refused.clause == ("SL-13",)
    assert [str(who) for who in privacy.sending(["user:3", "user:4"], "alerts", "email")] == ["user:4"]
    people = {str(who) for who in privacy.audience("alerts", "email")}
    assert "user:4" in people and "user:3" not in people


def test_a_visitor_is_asked_first_and_is_nobody_elses_choice(privacy: Application) -> None:
    visitor = privacy.visitor("ab" * 16)
    assert not privacy.may(visitor, "improve-site").allowed
    privacy.choose(visitor, {"statistics": "yes"}, "May we count your visit?", way="form")
    assert privacy.may(visitor, "improve-site").allowed
    assert not privacy.may(privacy.visitor("cd" * 16), "improve-site").allowed
    assert privacy.login("ab" * 16, "user:3") == []  # users have no such choice: nothing is widened


def test_a_form_brings_what_its_step_declares_and_nothing_else(privacy: Application) -> None:
    form = {"first_name": "Ada", "last_name": "Byron", "email": "ada@example.org", "shoe_size": "38"}
    found = privacy.collect("joining", form, source="user")
    assert found.taken["app.users"]["source"] == "user" and list(found.dropped) == ["shoe_size"]
    with pytest.raises(Refused):
        privacy.collect("joining", form, source="user", strict=True)


def test_whoever_nobody_knows_is_said_so(privacy: Application) -> None:
    with pytest.raises(KeptError):
        privacy.person("nobody@example.org")
    assert not privacy.may("user:99999", "alerts", "email").allowed


def test_an_answer_is_of_whoever_has_the_key_as_the_database_writes_it(tmp_path: Path) -> None:
    """Keys that ignore case: `member:Ada` is `ada`, and a no under one name isn't lost under the other."""
    folder = tmp_path / "lumi"
    folder.mkdir()
    schema = SCHEMA.replace("members (id INTEGER PRIMARY KEY", "members (id TEXT COLLATE NOCASE PRIMARY KEY")
    schema = schema.replace("member_id INTEGER", "member_id TEXT").replace(
        "owner_id INTEGER", "owner_id TEXT"
    )
    with closing(sqlite3.connect(folder / "app.sqlite")) as raw, raw:
        raw.executescript(schema)
        raw.execute("INSERT INTO members VALUES ('ada', 'a@mail.example', 'US', '1980-01-01', 0, NULL)")
    whole = POLICY.replace(
        "contact:    {of: member, ask: opt-out, each: purpose}", "contact: {of: member, ask: opt-out}"
    )
    with company(folder, text=whole) as opened:
        privacy = Application(opened)
        assert privacy.may("member:ada", "surveys", "email").allowed
        assert not privacy.may("member:Ada", "surveys", "email").allowed  # nobody is written so
        [told] = privacy.choose("member:Ada", {"contact": "no"}, "May we ask you things?")
        assert str(told.new.who) == "member:ada"
        assert not privacy.may("member:ada", "surveys", "email").allowed
        privacy.choose(privacy.visitor("ab" * 16), {"ads": "no"}, "Ads?", way="form", region="us")
        [carried] = privacy.login("ab" * 16, Person("member", ("ADA",)))
        assert str(carried.new.who) == "member:ada" and not privacy.may("member:ada", "ads").allowed
        for who in ("member:bob", Person("member", ("bob",))):
            for answer in ("yes", "no"):
                with pytest.raises(book.Refused) as refused:
                    privacy.choose(who, {"contact": answer}, "May we?")
                assert refused.value.reason == "nobody"
            with pytest.raises(book.Refused):
                privacy.login("ab" * 16, who)


def test_a_visitor_is_named_as_their_browser_writes_it_or_not_at_all(privacy: Application) -> None:
    for id in ("AB" * 16, "ab" * 15, "ab" * 17, " " + "ab" * 16, "٣" * 32, ""):
        for asked in (
            lambda id=id: privacy.visitor(id),
            lambda id=id: privacy.login(id, "user:3"),
            lambda id=id: privacy.may(f"visitor:{id}", "improve-site"),
            lambda id=id: privacy.choose(Person("visitor", (id,)), {"statistics": "no"}, "May we?"),
        ):
            with pytest.raises(KeptError):
                asked()


def test_what_was_said_on_paper_is_entered_with_its_own_day(tmp_path: Path) -> None:
    clock = Clock()
    with company(tmp_path / "lumi", clock) as opened:
        privacy, signed = Application(opened), START - timedelta(days=3)
        told = privacy.choose("member:3", {"location": "yes"}, "May we?", way="letter", by="clerk", at=signed)
        assert [one.took for one in told] == [True]
        [event] = history.history(opened, Person("member", ("3",)))
        assert event.at == signed and event.received == START
