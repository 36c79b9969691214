"""A program signs as a person: under its own name, disguised in other letters, or with nothing that can be seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from kept.controls.purposes.decisions import queue
from kept.controls.purposes.decisions.names import is_name, is_same_role, may_be_one
from kept.errors import KeptError
from tests.acceptance.decided import bazaar, decide, entries, renaming

MACHINES = (
    "",
    " ",
    "\u200b",
    "\u3164\u3164",  # letters nobody sees
    "\u2800",
    "-",
    "42",
    "A",
    "\U0001f916",
    "system",
    "SYSTEM",
    "System 2",
    "s y s t e m",
    "s.y.s.t.e.m",
    "sys-tem",
    "s\u200bystem",
    "\u0455\u0443\u0455t\u0435m",  # Cyrillic
    "\uff53\uff59\uff53\uff54\uff45\uff4d",  # wide
    "\U0001d4fc\U0001d502\U0001d4fc\U0001d4fd\U0001d4ee\U0001d4f6",  # mathematical
    "s\u0301ystem",
    "5y5t3m",
    "b0t",
    "system@bazaar.example",
    "no-reply@bazaar.example",
    "the decision engine",
    "AI assistant",
    "GPT-4",
    "gpt-4o",
    "ChatGPT",
    "bot v2",
    "assistant-7b",
    "cron job 7x",
    "moderation-bot",
    "renaming service",
    "the web page",
    "J K",
    "root",
    "cron job 7",
    "trust",
    "Trust staff",
    "member",
    "Bazaar",
    "null",
    "Robin\x00Reed",
    "Robin\nReed",
    "\u202edeeR niboR",  # runs backwards
    "x" * 300,
)

PEOPLE = (
    "Robin Reed",
    "Kim",
    "李明",
    "Bot Dylan",
    "Иван Петров",
    "Jean-Luc O'Neill",
    "محمد علي",
    "r.reed@bazaar.example",
    "Systema Nowak",
)


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_nothing_that_is_no_name_decides(tmp_path: Path, answer: str) -> None:
    made = bazaar(tmp_path / "bazaar")
    with made.opened() as company:
        id = renaming(company)
        for name in MACHINES:
            if name == "Robin\nReed":  # one line by the time it is looked at: a name
                continue
            with pytest.raises(KeptError):
                decide(company, id, answer, by=name)  # type: ignore[arg-type]  # either
        assert queue.one(company, id).state == queue.OPEN and not entries(company, "decide")


def test_machines_are_told_from_people(tmp_path: Path) -> None:
    with bazaar(tmp_path / "bazaar").opened() as company:
        assert [name for name in MACHINES if is_name(company.policy, name)] == []
        assert [name for name in PEOPLE if not is_name(company.policy, name)] == []


@pytest.mark.parametrize(
    "other",
    [
        "robin reed",
        "REED, Robin",
        "Robin  Reed",
        "R\u043ebin Reed",  # a Cyrillic o
        "Rob\u200bin Reed",
        "Ro\u0301bin Re\u00e9d",
        "Robin Reed (trust)",
        "Robin",
        "robin.reed@bazaar.example",
        "Robin Reed 2",
        "R. Reed",
        "Reed, R",
        "Robin R.",
        "trust:4",
        "Trust: 4",
        "trust\u200b:4",
    ],
)
def test_nobody_decides_on_their_own_proposal_under_another_spelling(tmp_path: Path, other: str) -> None:
    made = bazaar(tmp_path / "bazaar")
    with made.opened() as company:
        id = renaming(company, by=other)
        for answer in ("yes", "no"):
            with pytest.raises(KeptError, match="proposed themselves"):
                decide(company, id, answer)
        decide(company, id, role="trust:5", by="Kim Alder")  # somebody else may


def test_two_people_are_two() -> None:
    assert not may_be_one("Robin Reed", "R. Alder") and not may_be_one("A. Reed", "Robin Reed")
    assert not may_be_one("Robin Reed", "Robin Alder") and not may_be_one("Kim Alder", "Robin Reed")
    assert not is_same_role("trust:4", "trust:44") and not is_same_role("trust:4", "sales:4")
