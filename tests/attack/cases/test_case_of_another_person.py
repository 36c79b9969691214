"""A case about one person is used to look at another."""

from __future__ import annotations

from pathlib import Path

from kept.controls.purposes.cases import opening
from kept.controls.purposes.cases.looks import look
from kept.controls.rights.people import Person
from tests.acceptance.cased import desk, entries, user


def test_a_case_shows_nobody_but_the_one_it_is_about(tmp_path: Path) -> None:
    with desk(tmp_path / "desk") as company:
        assert look(company, "mending", None, user(1), by="engineer:4", case="error:81").rows
        made = opening.open_case(company, "error", user(1), "engineer:4", "odd", "Ines")
        others = [
            user(2),
            user(3),
            Person("reader", ("1",)),
            Person("user", ("01",)),
            Person("user", ("1", "1")),
        ]
        for other in others:
            for case in ("error:81", made.case):
                seen = look(company, "mending", None, other, by="engineer:4", case=case)
                assert not seen.decision.allowed and not seen.rows, (other, case)
        assert len(entries(company, "look")) == 1 and len(entries(company, "look-refused")) == 2 * len(others)


def test_a_row_about_nobody_is_about_nobody(tmp_path: Path) -> None:
    """What stands for no value in a program is no key of anybody's."""
    with desk(tmp_path / "desk") as company:
        for name in ("None", "", "null"):
            seen = look(company, "mending", None, Person("user", (name,)), by="engineer:4", case="error:87")
            assert not seen.decision.allowed
        reader = Person("reader", ("None",))  # who is called so
        assert not look(company, "lending", None, reader, by="agent:None", case="query:n").decision.allowed
