"""The key in a case is SQL, a pattern, another writing of a number, or no text at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from kept.controls.purposes.cases import assigned, opening
from kept.controls.purposes.enforce import Gate
from kept.controls.rights.people import Person
from tests.acceptance.cased import desk, user

NUMBERS = (
    "81 OR 1=1",
    "81; DROP TABLE errors",
    "81--",
    "81'",
    '81"',
    "81/**/",
    "(SELECT 81)",
    ":given",
    "%(given)s",
    "%",
    "_1",
    "8%",
    "*",
    "081",
    "+81",
    "-81",
    " 81",
    "81 ",
    "81.0",
    "8.1e1",
    "8_1",
    "0x51",
    "\uff18\uff11",  # digits of full width
    "\u0668\u0661",  # Arabic digits
    "81\x00",
    "81\n",
    "\ud800",
    "NaN",
    "inf",
    "9" * 30,
    "8" * 100_000,
    "True",
    "null",
    "81,",
    "[81]",
)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_other_writing_of_a_key_names_the_case(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    app = request.getfixturevalue("fresh_postgresql") if kind == "postgresql" else None
    with desk(tmp_path / "desk", app=app) as company:
        gate = Gate.of(company)
        for number in NUMBERS:
            for name in ("error", "case"):
                case = f"{name}:{number}"
                decision = gate.decide("mending", person=user(1), by="engineer:4", case=case)
                assert not decision.allowed and not decision.unsure, ascii(case[:40])
        assert gate.decide("mending", person=user(1), by="engineer:4", case="error:81").allowed


def test_a_key_that_is_sql_names_its_own_row_and_no_other(tmp_path: Path) -> None:
    with desk(tmp_path / "desk") as company:
        reader, key = Person("reader", ("o'brien; --",)), "x' OR '1'='1"
        assert assigned.why_not(company, ["query"], f"query:{key}", reader, "agent:a'b") is None
        assert assigned.why_not(company, ["query"], f"query:{key}", reader, "agent:a''b") == assigned.ANOTHERS
        assert assigned.why_not(company, ["query"], "query:x", reader, "agent:a'b") == "there is no such case"
        other = Person("reader", ("7",))
        assert assigned.why_not(company, ["query"], f"query:{key}", other, "agent:a'b") == assigned.ANOTHER


def test_the_id_of_a_case_of_kepts_own_is_no_pattern(tmp_path: Path) -> None:
    with desk(tmp_path / "desk") as company:
        made = opening.open_case(company, "error", user(1), "engineer:4", "odd", "Ines")
        for id in ("%", "_" * 32, made.id[:-1] + "_", made.id.upper(), f"{made.id}'--", "' OR '1'='1", ""):
            assert opening.of_id(company, id) is None, id
