"""Durable acts: what was noted isn't done again, what wasn't is, and what the record of an act costs."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from kept.errors import TransientError
from kept.state.workflows import opened

STEPS = ("one", "two", "three")


class Counting:
    """An act of three steps; `at` is where something befalls it."""

    def __init__(self, at: str = "", *, killed: bool = False) -> None:
        self.at = at
        self.killed = killed
        self.done: list[str] = []

    def steps(self, act: str, leg: int) -> Sequence[str]:
        return STEPS if leg == 0 else STEPS[:leg]

    def step(self, act: str, name: str) -> None:
        if name == self.at and self.killed:
            os.kill(os.getpid(), signal.SIGKILL)
        if name == self.at:
            raise TransientError("the disk is full")
        self.done.append(name)


def recorded(file: Path) -> tuple[int, list[str]]:
    """How many steps are noted, and how each act stands."""
    with closing(sqlite3.connect(file)) as record:
        [(steps,)] = record.execute("SELECT count(*) FROM operation_outputs").fetchall()
        return steps, [status for (status,) in record.execute("SELECT status FROM workflow_status")]


def killed_at(step: str, file: Path) -> None:
    """Run an act in a process of its own, which is killed in one of its steps."""
    lines = (
        "from pathlib import Path",
        "from kept.state.workflows import opened",
        "from tests.unit.state.test_workflows import Counting",
        f"with opened(Path({str(file)!r}), {{'count': Counting({step!r}, killed=True)}}) as running:",
        "    running.run('count', 'a')",
    )
    ended = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=os.environ | {"PYTHONPATH": ":".join(sys.path)}
    )
    assert ended.returncode == -signal.SIGKILL


def test_the_last_step_is_noted_with_the_act_and_not_by_itself(tmp_path: Path) -> None:
    act = Counting()
    with opened(tmp_path / "workflows.sqlite", {"count": act}) as running:
        running.run("count", "a")
    assert act.done == list(STEPS)
    assert recorded(tmp_path / "workflows.sqlite") == (2, ["SUCCESS"])


def test_an_act_of_one_step_notes_no_step_and_one_of_none_ends(tmp_path: Path) -> None:
    act = Counting()
    with opened(tmp_path / "workflows.sqlite", {"count": act}) as running:
        running.run("count", "a", leg=1)
        assert act.done == ["one"]
        act.steps = lambda act, leg: ()  # type: ignore[method-assign]  # the act is over meanwhile
        running.run("count", "b")
    assert act.done == ["one"]
    assert recorded(tmp_path / "workflows.sqlite") == (0, ["SUCCESS", "SUCCESS"])


@pytest.mark.parametrize("step", STEPS)
def test_after_a_kill_the_next_start_does_what_was_not_noted_and_no_more(tmp_path: Path, step: str) -> None:
    file = tmp_path / "workflows.sqlite"
    killed_at(step, file)
    assert recorded(file) == (STEPS.index(step), ["PENDING"])
    act = Counting()
    with opened(file, {"count": act}):
        assert act.done == list(STEPS[STEPS.index(step) :])
    assert recorded(file) == (2, ["SUCCESS"])


def test_an_act_that_cannot_be_finished_at_the_start_keeps_nobody_from_working(tmp_path: Path) -> None:
    file = tmp_path / "workflows.sqlite"
    killed_at("two", file)
    act = Counting("two")
    with opened(file, {"count": act}) as running:
        assert recorded(file) == (2, ["ERROR"])
        act.at = ""
        running.run("count", "a", attempt=2)
    assert act.done == list(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_an_error_reaches_whoever_asked_and_the_next_attempt_begins_anew(tmp_path: Path, step: str) -> None:
    act = Counting(step)
    with opened(tmp_path / "workflows.sqlite", {"count": act}) as running:
        with pytest.raises(TransientError, match="the disk is full"):
            running.run("count", "a", attempt=1)
        act.at, act.done = "", []
        running.run("count", "a", attempt=2)
    assert act.done == list(STEPS)
    assert sorted(recorded(tmp_path / "workflows.sqlite")[1]) == ["ERROR", "SUCCESS"]


def test_the_record_keeps_a_log_ahead_of_writing(tmp_path: Path) -> None:
    file = tmp_path / "workflows.sqlite"
    with opened(file, {"count": Counting()}) as running:
        running.run("count", "a")
    with closing(sqlite3.connect(file)) as record:
        assert record.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert file.stat().st_mode & 0o077 == 0
