"""Processes of `kept` that start in a fifth of a second: forked from one that has read the program already.

Each is a process of its own, killed as any other; only the second that Python takes to read the modules is saved.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from functools import cache
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from kept.cli.main import main
from tests.acceptance import crashing

LONGEST = 120.0  # seconds a command may take on a machine that is busy with other things


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "tests.acceptance.crashing",
            "kept.state.migrations.upgrade",
            "dbos",
            "psycopg",
            "sqlalchemy.dialects.sqlite",
        ]
    )
    return context


def start(folder: Path, *arguments: str, spot: str = "", number: int = 0) -> ForkServerProcess:
    """Begin a command on the company in a folder; with a `spot` it is killed there (see `crashing`)."""
    process = _context().Process(target=_kept, args=(folder, arguments, spot, number), daemon=True)
    process.start()
    return process


def ended(process: ForkServerProcess) -> int:
    """Its exit code, once it has one; a signal is negative."""
    process.join(LONGEST)
    assert process.exitcode is not None, "it never ended"
    code = process.exitcode
    process.close()
    return code


def said(folder: Path) -> str:
    """What the commands on this company printed so far."""
    path = _output(folder)
    return path.read_text() if path.exists() else ""


def _output(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.out")


def _kept(folder: Path, arguments: tuple[str, ...], spot: str, number: int) -> None:
    os.environ.pop("APP_DATABASE_URL", None)
    os.environ |= {"KEPT_DIR": str(folder), "COLUMNS": "200"}
    output = os.open(_output(folder), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if spot:
        crashing.arm(spot, crashing.Countdown(number))
    sys.argv = ["kept", *arguments]
    main()
