"""Tests whose part of the system is missing are reported in the last lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins.not_run import PROGRAMS

ROOT = Path(__file__).parents[2]

TWO_TESTS = """
import pytest

@pytest.mark.needs("chromium")
def test_the_browser() -> None:
    assert True

def test_the_rest() -> None:
    assert True
"""


def run(folder: Path, programs: Path, text: str = TWO_TESTS) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(text)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            str(ROOT / "pyproject.toml"),
            "-p",
            "no:cacheprovider",
            str(folder),
        ],
        cwd=ROOT,
        env=os.environ | {"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(
    any(Path(program).is_absolute() and Path(program).exists() for program in PROGRAMS["chromium"]),
    reason="a browser in a fixed place can't be hidden by PATH",
)
def test_a_test_whose_part_is_missing_is_not_run_and_the_last_lines_say_so(tmp_path: Path) -> None:
    done = run(tmp_path, programs=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "not run: 1 test needs chromium (Debian: apt-get install chromium" in done.stdout
    assert "1 passed, 1 skipped" in done.stdout.splitlines()[-1]


def test_a_test_whose_part_is_there_is_run(tmp_path: Path) -> None:
    (tmp_path / "chromium").write_text("#!/bin/sh\n")
    (tmp_path / "chromium").chmod(0o755)
    done = run(tmp_path, programs=tmp_path)
    assert "2 passed" in done.stdout.splitlines()[-1]
    assert "not run" not in done.stdout


def test_an_unknown_part_is_an_error_in_the_test(tmp_path: Path) -> None:
    done = run(tmp_path, tmp_path, TWO_TESTS.replace("chromium", "chromnium"))
    assert done.returncode == 1
    assert "KeyError: 'chromnium'" in done.stdout
