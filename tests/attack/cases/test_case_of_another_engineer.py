"""A case is used by somebody it isn't assigned to."""

from __future__ import annotations

from pathlib import Path

from kept.controls.purposes.cases import opening
from kept.controls.purposes.cases.looks import look
from tests.acceptance.cased import desk, entries, user

OTHERS = (
    "engineer:5",
    "engineer:44",
    "engineer:",
    "engineer",
    "engineer:*",
    "engineer:4,5",
    "engineer:None",
    "",
    ":4",
)


def test_a_case_is_of_use_to_its_own_engineer_alone(tmp_path: Path) -> None:
    with desk(tmp_path / "desk") as company:
        made = opening.open_case(company, "error", user(1), "engineer:4", "odd", "Ines")
        for by in (*OTHERS, None):
            for case in ("error:81", "error:86", made.case):
                seen = look(company, "mending", None, user(1), by=by, case=case)
                assert not seen.decision.allowed and not seen.rows, (by, case)
        assert not entries(company, "look")


def test_a_case_that_is_nobodys_yet_is_nobodys(tmp_path: Path) -> None:
    with desk(tmp_path / "desk") as company:
        for by in ("engineer:None", "engineer:null", "engineer:", "engineer:0"):
            assert not look(company, "mending", None, user(1), by=by, case="error:86").decision.allowed, by
