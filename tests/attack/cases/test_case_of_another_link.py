"""The case of one link is used for a purpose that needs another."""

from __future__ import annotations

from pathlib import Path

import pytest

from kept.controls.purposes.cases import opening
from kept.controls.purposes.cases.looks import look
from tests.acceptance.cased import desk, user


@pytest.mark.parametrize(
    "case", ["ticket:12", "visit:2026-06-01,7", "query:q7", "works:1", "errors:81", "Error:81"]
)
def test_an_open_case_of_another_link_is_no_reason(tmp_path: Path, case: str) -> None:
    with desk(tmp_path / "desk") as company:
        for by in ("engineer:4", "agent:07", "staff:ines"):
            assert not look(company, "mending", None, user(1), by=by, case=case).decision.allowed


def test_a_case_of_kepts_own_is_one_of_its_link_alone(tmp_path: Path) -> None:
    with desk(tmp_path / "desk") as company:
        made = opening.open_case(company, "ticket", user(1), "agent:07", "odd", "Ines", ticket="error:81")
        assert look(company, "helping", None, user(1), by="agent:07", case=made.case).decision.allowed
        assert not look(company, "mending", None, user(1), by="agent:07", case=made.case).decision.allowed
        for alike in (f"ticket:{made.id}", f"error:{made.id}", made.id, f"case:case:{made.id}"):
            assert not look(company, "helping", None, user(1), by="agent:07", case=alike).decision.allowed, (
                alike
            )
