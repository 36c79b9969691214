"""Choices through the API: recorded with the words they answered to, asked before a use, tied to who logs in."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.sitelucent.generate import build
from kept.controls.choices.enforce import SURE
from kept.controls.choices.records.history import history
from kept.controls.rights.people import Person
from kept.server.api import Refused
from kept.server.choosing import visitor_of
from tests.acceptance.serving import Inside, inside

USER = Person("user", ("5",))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    folder = tmp_path_factory.mktemp("choosing") / "company"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("APP_DATABASE_URL", raising=False)
        build(folder, 30, 7, events_per_person=1)
        with inside(folder) as served:
            yield served


def post(site: Inside, path: str, **given: Any) -> tuple[int, Any]:
    with site.client(api=True) as client:
        answer = client.post(path, json=given)
    return answer.status_code, answer.json()


def test_what_somebody_chose_is_recorded_with_its_words_and_counts_at_once(site: Inside) -> None:
    asked = {"purpose": "alerts", "channel": "email", "whos": ["user:5"]}
    assert post(site, "/api/may", **asked)[1]["user:5"]["allowed"]
    status, [told] = post(
        site, "/api/choices", who="user:5", choices={"alerts": "no"}, words="Write to me when numbers change?"
    )
    assert (status, told["state"], told["took"]) == (201, "Refused", True)
    found = post(site, "/api/may", **asked)[1]["user:5"]
    assert not found["allowed"] and found["clause"] == ["SL-13"]
    with site.client(api=True) as client:
        [shown] = client.get("/api/choices", params={"who": "user:5"}).json()
        assert client.get(told["receipt"]).status_code == 200
    assert (shown["choice"], shown["answer"], shown["way"]) == ("alerts", "no", "account")
    assert len(shown["notice"]) == 64


def test_an_answer_without_the_words_it_answered_to_is_refused(site: Inside) -> None:
    status, told = post(site, "/api/choices", who="user:6", choices={"alerts": "no"})
    assert status == 422 and "words" in told["error"]
    assert history(site.company, Person("user", ("6",))) == []


def test_the_same_sent_twice_is_recorded_once_and_another_under_its_id_is_refused(site: Inside) -> None:
    given = {"who": "user:7", "choices": {"alerts": "no"}, "words": "Alerts?", "id": "ab" * 16}
    assert post(site, "/api/choices", **given)[0] == 201
    assert post(site, "/api/choices", **given)[1][0]["known"]
    status, told = post(site, "/api/choices", **given | {"choices": {"alerts": "yes"}})
    assert status == 400 and "another answer" in told["error"]
    status, told = post(site, "/api/choices", **given | {"who": "user:8", "choices": {"status": "yes"}})
    assert status == 400 and history(site.company, Person("user", ("8",))) == []
    assert len(history(site.company, Person("user", ("7",)))) == 1


def test_many_are_asked_about_in_one_call_and_strangers_are_refused_by_name(site: Inside) -> None:
    status, told = post(site, "/api/may", purpose="alerts", whos=["user:9", "user:99999", "user:10"])
    assert status == 200
    assert {who: one["allowed"] for who, one in told.items()} == {
        "user:9": True,
        "user:10": True,
        "user:99999": False,
    }


def test_an_audience_comes_line_by_line_without_those_who_said_no(site: Inside) -> None:
    post(site, "/api/choices", who="user:11", choices={"status": "no"}, words="Status?")
    with site.client(api=True) as client:
        answer = client.post("/api/audience", json={"purpose": "status", "channel": "email"})
    people = [json.loads(line) for line in answer.text.splitlines()]
    assert "user:12" in people and "user:11" not in people
    with site.client(api=True) as client:
        assert client.post("/api/audience", json={"purpose": "nonsense"}).status_code == 400


def test_without_the_token_nothing_is_answered(site: Inside) -> None:
    with site.client() as client:
        for path in ("/api/choices", "/api/may", "/api/audience", "/api/choices/login"):
            assert client.post(path, json={}).status_code == 401


def test_an_application_says_which_visitor_logged_in(site: Inside, tmp_path: Path) -> None:
    """SiteLucent's users have no choice in common with its visitors, so nothing is carried; and nothing is lost."""
    status, told = post(site, "/api/choices/login", visitor="cd" * 16, who="user:5")
    assert (status, told) == (200, [])


def test_a_visitor_by_another_word_than_their_browser_has_is_refused(site: Inside) -> None:
    for id in ("CD" * 16, "cd" * 15, "٣" * 32):
        assert post(site, "/api/choices/login", visitor=id, who="user:5")[0] == 422
        with pytest.raises(Refused):
            visitor_of(site.company, id)


def test_that_nobody_can_tell_is_said_and_is_no_mere_refusal(tmp_path: Path) -> None:
    folder = tmp_path / "company"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("APP_DATABASE_URL", raising=False)
        build(folder, 30, 7, events_per_person=1)
        with inside(folder) as served:
            asked = {"purpose": "alerts", "channel": "email", "whos": ["user:3", "user:5"]}
            told = post(served, "/api/may", **asked)[1]
            assert [one["allowed"] for one in told.values()].count(True) >= 1
            assert not any(one["unsure"] for one in told.values())
            served.company.state.engine.dispose()
            for path in folder.glob("kept.sqlite*"):
                shutil.move(path, tmp_path / path.name)
            (folder / "kept.sqlite").mkdir()
            try:
                time.sleep(SURE + 0.5)
                for whos in (["user:3", "user:5"], ["user:5"]):
                    status, told = post(served, "/api/may", **asked | {"whos": whos})
                    assert status == 200
                    assert [(one["allowed"], one["unsure"]) for one in told.values()] == [
                        (False, True)
                    ] * len(whos)
            finally:
                served.company.state.engine.dispose()
                (folder / "kept.sqlite").rmdir()
                for path in tmp_path.glob("kept.sqlite*"):
                    shutil.move(path, folder / path.name)
