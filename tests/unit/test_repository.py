"""What holds for the repository as a whole."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRINTED = re.compile(r"^([a-z][a-z-]*):(?!=)", re.MULTILINE)


@cache
def files() -> tuple[Path, ...]:
    """Every file that is, or would be, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(path for path in paths if path.is_file())


def texts() -> list[tuple[Path, str]]:
    return [(path, path.read_text("utf-8", errors="replace")) for path in files() if path != Path(__file__)]


@pytest.fixture(autouse=True)
def _a_checkout() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")  # an unpacked archive has no list of files that belong to it


def test_no_file_is_over_a_megabyte() -> None:
    assert [str(path) for path in files() if path.stat().st_size > 1_000_000] == []


def test_no_file_names_a_package_registry() -> None:
    registry = re.compile(
        r"py[p]i\.org|pythonh[o]sted|(extra-)?index-url\s*=|^--?(i|f|find-links|index-url)\b", re.MULTILINE
    )
    assert [str(path) for path, text in texts() if registry.search(text)] == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    path_of_a_machine = re.compile(r"/(work|root|home|Users|opt)/[a-z]")
    assert [str(path) for path, text in texts() if path_of_a_machine.search(text)] == []


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned_with_hashes_and_nothing_else(name: str) -> None:
    lines = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
    pins = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert pins
    assert [
        pin
        for pin in pins
        if not re.fullmatch(r"[a-z0-9.-]+==\S+( ; .+)?(\s+--hash=sha256:[0-9a-f]{64})+\s*", pin)
    ] == []


def test_the_two_requirements_files_pin_the_same_versions() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^\S+==\S+", (ROOT / name).read_text(), re.MULTILINE))

    assert pins("requirements.txt") <= pins("requirements-dev.txt")


def test_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    listed = re.findall(r"^make ([a-z-]+) ", shown, re.MULTILINE)
    assert listed == PRINTED.findall(makefile) == phony[1].split()


def test_imports_go_one_way() -> None:
    done = _lint_imports(ROOT / "src")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "imported", "found"),
    [
        ("stores/schema.py", "kept.controls.registry", "kept.stores is not allowed to import kept.controls"),
        ("evidence/proof.py", "kept.controls.registry", "is not allowed to import kept.controls"),
        ("evidence/proof.py", "kept.policy.source", "is not allowed to import kept.policy"),
        (
            "controls/registry.py",
            "kept.evidence.board",
            "kept.controls is not allowed to import kept.evidence.board",
        ),
        ("helpers.py", "kept.errors", "kept.helpers"),
    ],
)
def test_an_import_that_goes_the_wrong_way_is_found(
    tmp_path: Path, module: str, imported: str, found: str
) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src")
    with (tmp_path / "src/kept" / module).open("a") as wrong:
        wrong.write(f"\nimport {imported}\n")
    done = _lint_imports(tmp_path / "src")
    assert done.returncode == 1
    assert found in " ".join(done.stdout.split())


def test_every_package_that_is_imported_is_declared() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        declared = {
            re.split(r"[^A-Za-z0-9.-]", name)[0].replace(".", "-").lower()
            for name in tomllib.load(file)["project"]["dependencies"]
        }
    homes = packages_distributions()
    imported = set()
    theirs = {"asgiref", "django", "flask"}  # who asks the gate from one of these has it
    for path in (ROOT / "src").rglob("*.py"):
        names = re.findall(r"^(?:from|import) ([a-z_0-9]+)", path.read_text(), re.MULTILINE)
        framework = theirs if path.parent.name == "asking" else set()
        for name in set(names) - set(sys.stdlib_module_names) - {"kept"} - framework:
            imported |= {
                home.replace(".", "-").replace("_", "-").lower() for home in homes.get(name, [name])[:1]
            }
    assert imported - declared == set()


def _lint_imports(source: Path) -> subprocess.CompletedProcess[str]:
    command = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); "
        "from importlinter.cli import lint_imports_command; lint_imports_command()"
    )
    return subprocess.run(
        [
            sys.executable,
            "-c",
            command,
            str(source),
            "--no-cache",
            "--no-logo",
            "--config",
            str(ROOT / "pyproject.toml"),
        ],
        cwd=source.parent,
        capture_output=True,
        text=True,
        check=False,
    )
