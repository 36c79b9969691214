"""Somebody decides in a role they haven't, in another's case, or about somebody who isn't theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kept.controls.purposes.decisions import deciding, queue
from kept.errors import KeptError, TransientError
from tests.acceptance.decided import bazaar, decide, entries, member, renaming

ROLES = (
    "",
    ":4",
    "Trust:4",
    "TRUST",
    "trust\u200b:4",
    "trust :4",
    "tru\u0455t:4",  # a Cyrillic s
    "trust;sales:4",
    "trust:",
    "trust:4\x00",
    "staff:4",
    "sales:4",
    "member:1",
    "member:4",
    "report.moderator:4",
    "report.author:1",
    "firm.admin:3",
    "bazaar",
    "'; DROP TABLE proposals; --",
)


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_a_word_like_a_role_decides_nothing(tmp_path: Path, answer: deciding.Answer) -> None:
    with bazaar(tmp_path / "bazaar").opened() as company:
        id = renaming(company)
        for role in ROLES:
            with pytest.raises(KeptError):
                decide(company, id, answer, role=role)
        assert queue.one(company, id).state == queue.OPEN and not entries(company, "decide")


@pytest.mark.parametrize("answer", ["yes", "no"])
@pytest.mark.parametrize(
    ("case", "role"),
    [
        (None, "trust:4"),
        ("report:81", "trust:5"),  # another moderator's
        ("report:81", "trust"),
        ("report:81", "sales:4"),
        ("report:82", "trust:4"),  # about somebody else
        ("report:83", "trust:4"),
        ("report:99", "trust:4"),
        ("report:081", "trust:4"),
        ("case:81", "trust:4"),
        ("firm:1", "trust:4"),
    ],
)
def test_another_case_is_no_reason(
    tmp_path: Path, case: str | None, role: str, answer: deciding.Answer
) -> None:
    made = bazaar(tmp_path / "bazaar")
    with made.opened() as company:
        id = queue.propose(
            company, "moderating", member(1), {"app.posts.body": ""}, row="12", case=case, by="a filter"
        )
        with pytest.raises(KeptError):
            decide(company, id, answer, role=role)
        assert queue.one(company, id).state == queue.OPEN


def test_a_case_that_is_over_is_a_reason_to_leave_a_post_alone_and_not_to_hide_it(tmp_path: Path) -> None:
    made = bazaar(tmp_path / "bazaar")
    with made.opened() as company:
        cells = {"app.posts.body": ""}
        id = queue.propose(company, "moderating", member(1), cells, row="12", case="report:81", by="a filter")
        made.do("UPDATE reports SET closed_at = '2026-06-01 10:00:00' WHERE id = 81")
        with pytest.raises(KeptError, match="the case is over"):
            decide(company, id)
        assert decide(company, id, "no").state == queue.REFUSED


def test_a_restriction_lets_no_stranger_say_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bazaar(tmp_path / "bazaar")
    assert made.kept("request", "restrict", "member:4", "--by", "Ada").code in (0, 1)
    with made.opened() as company:
        id = queue.propose(company, "endorsing", member(4), {"app.shops.stars": "7"}, by="a page")
        for role in ("firm.admin:1", "firm.admin:4", "firm.admin", "member:1", "member:3"):
            for answer in ("yes", "no"):
                with pytest.raises(KeptError):
                    decide(company, id, answer, role=role)
        assert decide(company, id, "no", role="firm.admin:3", by="Kim Alder").state == queue.REFUSED


def test_an_administrator_does_not_decide_on_what_they_proposed_as_a_member(tmp_path: Path) -> None:
    with bazaar(tmp_path / "bazaar").opened() as company:
        for by in ("member:3", "firm.admin:3"):
            id = queue.propose(company, "closing", member(4), by=by)
            with pytest.raises(KeptError, match="proposed themselves"):
                decide(company, id, role="firm.admin:3", by="Kim Alder")
            decide(company, id, "no", by="Robin Reed")


def test_where_nobody_can_tell_nothing_is_decided(tmp_path: Path) -> None:
    made = bazaar(tmp_path / "bazaar")
    with made.opened() as company:
        given: dict[str, Any] = {"row": "12", "case": "report:81", "by": "a filter"}
        id = queue.propose(company, "moderating", member(1), {"app.posts.body": ""}, **given)
        made.do("ALTER TABLE reports RENAME TO complaints")
        for answer in ("yes", "no"):
            with pytest.raises(TransientError):
                decide(company, id, answer)
        assert queue.one(company, id).state == queue.OPEN
