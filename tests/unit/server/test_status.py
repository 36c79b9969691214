"""A request in its person's words: each state, the clock with its article, who was told, what stays and why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from kept.controls.registry import load
from kept.controls.rights.letters import ASKED
from kept.controls.rights.register import Awaits, Event, Request, State
from kept.policy.policy import Policy
from kept.server.status import Status, status

ROOT = Path(__file__).parents[3]
AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
OPEN = Request(
    id="1" * 32,
    verb="access",
    act=None,
    pseudonym="p" * 64,
    channel="form",
    law="gdpr",
    region=None,
    state="open",
    awaits="work",
    until=None,
    received=AT,
    identified=AT,
    extended=None,
    due=datetime(2026, 12, 23, tzinfo=UTC),
    closed=None,
    warned=None,
)
DONE = replace(OPEN, state="done", awaits=None, closed=AT + timedelta(days=2))


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load(ROOT / "examples" / "lucent-marketplace" / "policy.yaml")


def shown(
    policy: Policy,
    request: Request,
    *history: Event,
    told: tuple[dict[str, str], ...] = (),
    has_answer: bool = False,
    held_up: bool = False,
) -> Status:
    return status(policy, request, history, told, has_answer=has_answer, held_up=held_up)


@pytest.mark.parametrize("awaits", get_args(Awaits))
def test_whatever_a_request_awaits_is_said_and_until_when_it_is_answered(
    policy: Policy, awaits: Awaits
) -> None:
    found = shown(policy, replace(OPEN, awaits=awaits, until=AT + timedelta(days=30)))
    assert found.is_open and found.heading and found.says
    assert found.clock == ("You have our answer by 22 December 2026 (GDPR Art. 12(3)).",)


@pytest.mark.parametrize("verb", ASKED)
@pytest.mark.parametrize("state", get_args(State))
def test_every_right_has_words_in_every_state(policy: Policy, verb: str, state: State) -> None:
    request = replace(OPEN, verb=verb) if state == "open" else replace(DONE, verb=verb, state=state)
    found = shown(policy, request)
    assert found.asked == f"You asked us {ASKED[verb]}."
    assert found.says and found.heading and found.history


def test_an_extension_says_when_and_why(policy: Policy) -> None:
    late = replace(OPEN, extended=AT, due=datetime(2027, 2, 23, tzinfo=UTC))
    found = shown(policy, late, Event(AT, "extended", "Ada", "there are many requests"))
    assert found.clock == (
        "You have our answer by 22 February 2027 (GDPR Art. 12(3)).",
        "On 22 November 2026 we told you that it takes longer. The reason: There are many requests.",
    )
    assert "Ada" not in str(found)


def test_a_clock_that_stands_still_says_so(policy: Policy) -> None:
    found = shown(policy, replace(OPEN, awaits="clarification", due=None))
    assert "doesn't run" in found.clock[0]


def test_an_answer_is_offered_until_it_expires_and_missed_after(policy: Policy) -> None:
    found = shown(policy, DONE, has_answer=True)
    assert found.download and found.expires == "24 December 2026"
    gone = shown(policy, DONE, Event(AT + timedelta(days=40), "expired"))
    assert not gone.download and "was removed" in gone.says
    assert [what for _, _, what in gone.history][-1] == "The answer was removed."
    assert not shown(policy, replace(DONE, verb="erase"), has_answer=True).download


def test_who_was_told_is_named_and_whether_they_answered(policy: Policy) -> None:
    party = next(iter(policy.parties))
    told = (
        {"party": party, "how": "letter", "state": "sent", "at": ""},
        {"party": "gone-since", "how": "opendsr", "state": "completed", "at": ""},
        {"party": "other", "how": "pigeon", "state": "flew", "at": ""},
    )
    found = shown(policy, DONE, told=told).told
    assert found[0] == (
        policy.parties[party].label,
        "We wrote to them and asked them to do the same. They have not answered yet.",
    )
    assert found[1] == ("gone-since", "They did it too.") and found[2] == ("other", "We told them.")


def test_what_stays_is_said_with_its_ground_and_end(policy: Policy) -> None:
    held = {"held": {"shop.messages": 3, "shop.members": 1}, "payments": []}
    kept = {
        "stripe": [{"table": "charges", "rows": 2, "reason": "tax law requires it", "until": "2036-11-22"}]
    }
    found = shown(policy, replace(DONE, verb="erase", outcome={"stays": held | kept})).stays
    assert any("We still keep" in one and "until" in one for one in found)
    assert any("empty frame" in one for one in found)
    assert any("until 22 November 2036: tax law requires it." in one for one in found)


def test_a_refusal_says_why_by_which_article_and_where_to_complain(policy: Policy) -> None:
    outcome = {"reason": "x", "article": "Art. 12(6)", "says": "we can't tell who you are"}
    found = shown(policy, replace(DONE, state="refused", outcome=outcome))
    assert found.refusal == "We can't tell who you are (GDPR Art. 12(6))."
    assert any("complain" in one for one in found.redress)


def test_a_fault_that_holds_it_up_is_not_hidden(policy: Policy) -> None:
    assert "stands in the way" in shown(policy, OPEN, held_up=True).says


def test_what_can_be_done_depends_on_how_far_it_is(policy: Policy) -> None:
    first = shown(policy, replace(OPEN, awaits="identity"))
    assert first.can_ask_link and first.can_undo and not first.can_come_back
    under_way = shown(policy, replace(OPEN, act="a"))
    assert not (under_way.can_ask_link or under_way.can_undo or under_way.can_come_back)
    hidden = shown(policy, replace(OPEN, act="a", awaits="period", until=AT))
    assert hidden.can_come_back and not hidden.can_undo
    over = shown(policy, DONE)
    assert not (over.can_ask_link or over.can_undo or over.can_come_back)
