"""Every mistake a policy can have: one file each, and what is said of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fixtures.policies.write_generated import BAD, GUIDE, ROOT, said

NAMES = sorted(path.stem for path in (ROOT / BAD).glob("*.yaml"))
SHOWN = re.compile(r"^(?:error|finding)\[([a-z-]+)\]", re.MULTILINE)
RAISED = re.compile(r"(?:problems\.(?:error|finding)\(\s*|code=)\"([a-z-]+)\"")
SOURCES = [*(ROOT / "src/kept/policy").rglob("*.py"), *(ROOT / "src/kept/controls").rglob("declare.py")]


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_policy_is_told_as_written_beside_it(name: str) -> None:
    assert said(BAD / f"{name}.yaml") == (ROOT / BAD / f"{name}.txt").read_text("utf-8")


def test_every_problem_that_can_be_told_has_a_policy_that_shows_it() -> None:
    raised = {code for source in SOURCES for code in RAISED.findall(source.read_text("utf-8"))}
    shown = {code for name in NAMES for code in SHOWN.findall(_text(name))}
    assert raised - shown == {"too-long"}  # a megabyte is no fixture: see test_read.py
    assert shown >= {"unknown-table", "unknown-column", "undeclared-table", "not-a-clock"}


def test_every_bad_policy_shows_one_mistake() -> None:
    several = {name: codes for name in NAMES if len(codes := SHOWN.findall(_text(name))) > 1}
    assert several == {"alias": ["anchor", "alias"], "contradiction-forever": ["forever", "contradiction"]}


def test_every_code_the_guide_names_is_told() -> None:
    guide = GUIDE.read_text("utf-8").partition("| what is wrong | code |")[2].partition("\n\n")[0]
    named = {
        code for row in guide.splitlines() for code in re.findall(r"`([a-z-]+)`", row.rpartition(" | ")[2])
    }
    assert len(named) > 40
    assert named <= {code for name in NAMES for code in SHOWN.findall(_text(name))}


def test_every_problem_says_what_to_do() -> None:
    silent = [name for name in NAMES if " = help: " not in _text(name)]
    assert silent == []


def _text(name: str) -> str:
    path: Path = ROOT / BAD / f"{name}.txt"
    return path.read_text("utf-8") if path.exists() else ""
