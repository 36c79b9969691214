"""The person is erased while somebody looks at them, and another one gets their key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kept.company import Company
from kept.controls.choices.records.forgetting import forget
from kept.controls.purposes.cases import opening, reading, recorded
from kept.controls.purposes.cases.looks import look
from tests.acceptance.cased import change, desk, entries, user

GONE = (
    "DELETE FROM errors WHERE user_id = 1",
    "DELETE FROM tickets WHERE user_id = 1",
    "DELETE FROM visits WHERE user_id = 1",
    "DELETE FROM events WHERE user_id = 1",
    "DELETE FROM users WHERE id = 1",
)
AGAIN = (
    "INSERT INTO users VALUES (1, 'new@mail.example', 'other', '2026-06-01 00:00:00', NULL)",
    "INSERT INTO events VALUES (9, 1, 'theirs', '2026-06-01 10:00:00')",
)


def erase(company: Company) -> None:
    """What an erasure does at its end: the rows first, then what says who somebody was."""
    change(*GONE)
    forget(company, [user(1)])
    opening.forget(company, list(company.pseudonyms.find(["user:1"]).values()))
    company.pseudonyms.forget({"user:1": ["u1@mail.example"]})


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("comes", [False, True])
@pytest.mark.parametrize(("module", "name"), [(recorded, "record"), (reading, "read")])
def test_nobody_is_shown_who_was_erased_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, comes: bool, kept: bool
) -> None:
    with desk(tmp_path / "desk") as company:
        made = opening.open_case(company, "error", user(1), "engineer:4", "odd", "Ines")
        step = getattr(module, name)

        def meanwhile(*given: Any) -> Any:
            found = step(*given)
            erase(company)
            if comes:
                change(*AGAIN)
            return found

        monkeypatch.setattr(module, name, meanwhile)
        case = made.case if kept else "error:81"
        seen = look(company, "mending", None, user(1), by="engineer:4", case=case)
        assert not seen.decision.allowed and not seen.rows
        assert company.pseudonyms.find(["user:1"]) == {} and len(entries(company, "look")) == 1


def test_a_case_about_somebody_erased_is_none_about_who_gets_their_key(tmp_path: Path) -> None:
    with desk(tmp_path / "desk") as company:
        made = opening.open_case(company, "error", user(1), "engineer:4", "odd", "Ines")
        assert look(company, "mending", None, user(1), by="engineer:4", case=made.case).rows
        erase(company)
        change(*AGAIN)
        seen = look(company, "mending", None, user(1), by="engineer:4", case=made.case)
        assert not seen.decision.allowed and not seen.rows
        assert recorded.of(company, [user(1)]) == {}  # the looks were at somebody else
