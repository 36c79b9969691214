"""Somebody asks under a word that looks like the role of whose case it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from kept.controls.purposes.cases import opening
from kept.controls.purposes.cases.looks import look
from kept.controls.purposes.enforce import Gate
from tests.acceptance.cased import desk, user

WORDS = (
    "Engineer:4",
    "engineer :4",
    " engineer:4",
    "ENGINEER:4",
    "engineer\u200b:4",
    "\u0435ngineer:4",  # a Cyrillic е
    "engineer\n:4",
    "agent:4",
    "staff:4",
    "user:4",
    "user:1",
    "error.engineer:4",
    "error.user:1",
    "engineer;senior:4",
)


@pytest.mark.parametrize("by", WORDS)
def test_a_word_like_a_role_is_no_role(tmp_path: Path, by: str) -> None:
    with desk(tmp_path / "desk") as company:
        made = opening.open_case(company, "error", user(1), "engineer:4", "odd", "Ines")
        for case in ("error:81", made.case):
            assert not look(company, "mending", None, user(1), by=by, case=case).decision.allowed
            assert not Gate.of(company).decide("mending", person=user(1), by=by, case=case).allowed
