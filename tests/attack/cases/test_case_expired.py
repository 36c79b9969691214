"""A case is used after its end, before its beginning, or with its clock turned."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from kept.controls.purposes.cases import opening
from kept.controls.purposes.cases.looks import look
from tests.acceptance.cased import change, desk, user
from tests.acceptance.choosing import Clock


def test_a_case_that_is_over_shows_nobody(tmp_path: Path) -> None:
    clock = Clock()
    with desk(tmp_path / "desk", clock) as company:
        kept = opening.open_case(
            company, "error", user(1), "engineer:4", "odd", "Ines", lasts=timedelta(hours=1)
        )
        clock.pass_(hours=1)
        for case in ("error:84", "error:85", "error:88", kept.case):
            seen = look(company, "mending", None, user(1), by="engineer:4", case=case)
            assert not seen.decision.allowed and not seen.rows, case


def test_an_end_that_is_no_time_ends_it(tmp_path: Path) -> None:
    with desk(tmp_path / "desk") as company:
        for end in ("never", "0000-00-00", "infinity", " ", "9999-99-99"):
            change(f"UPDATE errors SET closed_at = '{end}' WHERE id = 81")
            assert not look(company, "mending", None, user(1), by="engineer:4", case="error:81").rows, end


def test_a_case_that_is_over_cannot_be_opened_again_by_its_id(tmp_path: Path) -> None:
    with desk(tmp_path / "desk") as company:
        kept = opening.open_case(company, "error", user(1), "engineer:4", "odd", "Ines")
        opening.close(company, kept.id, "Ines")
        for case in (
            kept.case,
            kept.case.upper(),
            f"case:{kept.id} ",
            f"case:{kept.id[:-1]}",
            "case:%",
            "case:",
        ):
            assert not look(company, "mending", None, user(1), by="engineer:4", case=case).decision.allowed, (
                case
            )
