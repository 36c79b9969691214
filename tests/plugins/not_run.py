"""Tests that need a part of the system say so; where it is missing they are not run, and the last lines tell.

@pytest.mark.needs("chromium")
def test_the_page_sets_no_cookie() -> None: ...
"""

from __future__ import annotations

import shutil
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

# Each part: the programs that provide it, and how a person gets it. scripts/system-parts.sh installs them.
PROGRAMS = {
    "chromium": (
        "chromium",
        "chromium-browser",
        "google-chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ),
    "mariadb": ("mariadbd", "/usr/sbin/mariadbd"),
}
ADVICE = {
    "chromium": "Debian: apt-get install chromium; macOS: brew install --cask chromium",
    "mariadb": "Debian: apt-get install mariadb-server-core mariadb-client-core; macOS: brew install mariadb",
}
_missing: Counter[str] = Counter()


@cache
def find(part: str) -> Path | None:
    """Where a part of the system is, or None where it is missing; an unknown part is an error in the test."""
    for program in PROGRAMS[part]:
        found = shutil.which(program)
        if found:
            return Path(found)
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for part in mark.args:
            if find(part) is None:
                _missing[part] += 1
                pytest.skip(f"not run: needs {part}")  # told again in the last lines, see below


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for part, count in sorted(_missing.items()):
        tests = "1 test needs" if count == 1 else f"{count} tests need"
        terminalreporter.write_line(f"not run: {tests} {part} ({ADVICE[part]})", yellow=True)
