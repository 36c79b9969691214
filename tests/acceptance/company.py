"""SiteLucent on disk, and `kept` run on it as its user would."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from examples.sitelucent.generate import build, plant
from kept.controls.rights.people import Person
from kept.controls.rights.register import Subject

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ran:
    """How a command ended: its exit code and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class SiteLucent:
    """The example company in a folder."""

    folder: Path

    @classmethod
    def made(cls, folder: Path, people: int = 60, seed: int = 3, *, planted: bool = False) -> SiteLucent:
        build(folder, people, seed)
        if planted:
            plant(folder, seed)
        return cls(folder)

    def copied(self, folder: Path) -> SiteLucent:
        shutil.copytree(self.folder, folder)
        return SiteLucent(folder)

    def kept(
        self, *arguments: str, program: tuple[str, ...] = ("-m", "kept"), file_limit: int | None = None
    ) -> Ran:
        """Run a command; with `file_limit` no file may grow beyond so many bytes, as on a disk that is full."""
        limit = (
            partial(resource.setrlimit, resource.RLIMIT_FSIZE, (file_limit, file_limit))
            if file_limit
            else None
        )
        environment = {k: v for k, v in os.environ.items() if k != "APP_DATABASE_URL"}
        environment |= {
            "KEPT_DIR": str(self.folder),
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
            "COLUMNS": "200",
        }
        done = subprocess.run(
            [sys.executable, *program, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            preexec_fn=limit,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def crash(self, spot: str, number: int, *arguments: str) -> bool:
        """Run `kept` and kill it at the place (see crashing.py); False when it ended by itself before."""
        ran = self.kept(spot, str(number), "--", *arguments, program=("-m", "tests.acceptance.crashing"))
        assert ran.code in (0, 1, -signal.SIGKILL), ran.err
        return ran.code == -signal.SIGKILL

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.folder / "app.sqlite") as database:
            return database.execute(query, values).fetchall()

    def do(self, statement: str, *values: object) -> None:
        with sqlite3.connect(self.folder / "app.sqlite") as database:
            database.execute(statement, values)
        database.close()

    def ledger(self, act: str) -> list[dict[str, Any]]:
        """Every entry of an act on the ledger."""
        with sqlite3.connect(self.folder / "ledger.sqlite") as database:
            entries = [
                json.loads(body) for (body,) in database.execute("SELECT body FROM entries ORDER BY position")
            ]
        return [entry for entry in entries if entry["act"] == act]

    def files_with(self, text: str) -> list[str]:
        """The files below the folder in which a text stands."""
        return [
            str(p.relative_to(self.folder))
            for p in self.folder.rglob("*")
            if p.is_file() and text.encode() in p.read_bytes()
        ]


def subjects(people: Iterable[Person]) -> list[Subject]:
    """Requests at the desk, with nothing said but who."""
    return [Subject(person) for person in people]
