"""A member of staff is named as a number that only some would take for theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kept.controls.purposes.cases import assigned
from kept.controls.rights.people import Person
from tests.acceptance.cased import desk, user


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_key_of_staff_is_compared_letter_by_letter(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    app = request.getfixturevalue("fresh_postgresql") if kind == "postgresql" else None
    with desk(tmp_path / "desk", app=app) as company:
        for key in (
            "04",
            "4.0",
            "0x4",
            "0b100",
            "0o4",
            "+4",
            "4 ",
            " 4",
            "4e0",
            "\uff14",
            "\u0664",
            "IV",
            "4\n",
        ):
            said = assigned.why_not(company, ["error"], "error:81", user(1), f"engineer:{key}")
            assert said == assigned.ANOTHERS, ascii(key)
        for key in ("7", "007", "0o7", "07 "):
            said = assigned.why_not(company, ["ticket"], "ticket:12", user(1), f"agent:{key}")
            assert said == assigned.ANOTHERS, key
        # texts that are one number to a database that compares loosely
        reader = Person("reader", ("007",))
        assert assigned.why_not(company, ["query"], "query:q007", reader, "agent:007") is None
        assert assigned.why_not(company, ["query"], "query:q007", reader, "agent:7") == assigned.ANOTHERS
        assert assigned.why_not(company, ["query"], "query:q7", reader, "agent:7") == assigned.ANOTHER
