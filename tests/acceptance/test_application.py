"""Kept as an application of the company's uses it: one import, one folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import kept
from examples.sitelucent.generate import build
from kept.application import Application
from kept.controls.collection.enforce import Refused
from kept.errors import KeptError


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
