"""The page of commands says what the commands say, and every file of docs that is linked is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kept.cli.main import kept
from kept.cli.reference import reference

ROOT = Path(__file__).parents[3]


def test_the_page_of_commands_is_up_to_date() -> None:
    written = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert written == reference(), "run: python -m kept.cli.reference > docs/commands.md"


def test_every_command_and_option_says_what_it_does() -> None:
    said = reference()
    assert all(f"## kept {name}\n" in said for name in kept.commands)
    assert "| `--dir DIRECTORY` |  |" not in said


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_what_a_page_links_to_is_there(page: str) -> None:
    file = ROOT / page
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", file.read_text("utf-8")):
        if "://" not in link and not link.startswith("mailto:"):
            assert (file.parent / link).exists(), link


def test_the_commands_that_the_documentation_shows_exist() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for line in re.findall(r"^\$ (?:\.venv/bin/)?kept (.+)$", page.read_text("utf-8"), re.MULTILINE):
            assert line.split()[0] in kept.commands, f"{page.name}: kept {line}"
