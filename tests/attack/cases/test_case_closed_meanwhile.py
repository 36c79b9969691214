"""A case is closed after it was decided, at each moment until the rows are handed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kept.controls.purposes.cases import opening, reading, recorded
from kept.controls.purposes.cases.looks import look
from tests.acceptance.cased import change, desk, entries, user

CLOSED = "UPDATE errors SET closed_at = '2026-05-31 10:00:00' WHERE id = 81"


@pytest.mark.parametrize("kind", ["a row", "kept", "tied to a row"])
@pytest.mark.parametrize(("module", "name"), [(reading, "plan"), (recorded, "record"), (reading, "read")])
@pytest.mark.parametrize("before", [True, False])
def test_nothing_is_shown_of_a_case_that_was_closed_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, before: bool, kind: str
) -> None:
    with desk(tmp_path / "desk") as company:
        ticket = "error:81" if kind == "tied to a row" else None
        made = opening.open_case(company, "error", user(1), "engineer:4", "odd", "Ines", ticket=ticket)
        case = "error:81" if kind == "a row" else made.case
        step = getattr(module, name)

        def close() -> None:
            if kind == "kept":
                opening.close(company, made.id, "Ines")
            else:
                change(CLOSED)

        def meanwhile(*given: Any) -> Any:
            if before:
                close()
            found = step(*given)
            if not before:
                close()
            return found

        monkeypatch.setattr(module, name, meanwhile)
        seen = look(company, "mending", None, user(1), by="engineer:4", case=case)
        assert not seen.decision.allowed and not seen.rows and seen.id is not None
        assert len(entries(company, "look")) == 1 and entries(company, "look-refused")[0]["look"] == seen.id
