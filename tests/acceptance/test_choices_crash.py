"""A process that records what people choose is killed at every place it can be: nothing that was answered is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from kept.company import Company
from kept.controls.choices.records import history, marks, subjects
from kept.controls.choices.records.book import New, record, whole_ledger
from kept.state.tables import choice_events
from tests.acceptance.choosing import company, visitor
from tests.acceptance.test_choices_state import _marks_are_what_events_say

ROOT = Path(__file__).parents[2]
PLACES = (
    "before the events",
    "before the marks",
    "before the commit",
    "before the ledger",
    "in the ledger",
    "after",
)
ANSWERS = 6


def main(folder: str, state: str, place: str, number: str) -> None:
    """Record answers one after another, and die at a place, the time it comes by that has this number."""
    left = int(number)

    def dies(at: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any, **named: Any) -> Any:
            nonlocal left
            if at == place:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return call(*given, **named)

        return called

    from kept.controls.choices.records import book, writing
    from kept.evidence.ledger import Ledger

    subjects.make = dies("before the events", subjects.make)
    marks.change = dies("before the marks", marks.change)
    write = writing.Writing.write

    def written(self: Any) -> Any:
        done = write(self)
        dies("before the commit", lambda: None)()
        return done

    writing.Writing.write = written  # type: ignore[method-assign]
    book._after = dies("before the ledger", book._after)
    Ledger._commit = dies("in the ledger", Ledger._commit)  # type: ignore[method-assign]
    with company(Path(folder), state=state or None) as opened:
        for one in range(ANSWERS):
            record(
                opened,
                [New(visitor(one % 4), "ads", "no" if one % 2 else "yes", "banner", record=f"{one:032x}")],
            )
            print(one, flush=True)  # only now has it been answered
            dies("after", lambda: None)()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_nothing_answered_is_lost_wherever_the_process_is_killed(
    kind: str, place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    state = request.getfixturevalue("fresh_postgresql") if kind == "postgresql" else None
    folder = tmp_path / "lumi"
    with company(folder, state=state) as opened:
        record(opened, [New(visitor(7), "ads", "yes", "banner")])
    ran = subprocess.run(
        [sys.executable, "-m", "tests.acceptance.test_choices_crash", str(folder), state or "", place, "3"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    answered = [int(line) for line in ran.stdout.split()]
    assert answered == list(range(3 if place == "after" else 2))
    with company(folder, state=state) as opened:
        whole = _records(opened)
        assert {f"{one:032x}" for one in answered} <= whole
        assert (f"{2:032x}" in whole) == (place in ("before the ledger", "in the ledger", "after"))
        _marks_are_what_events_say(opened, None)
        on_ledger = {entry["record"] for entry in opened.ledger.entries()}
        assert {f"{one:032x}" for one in answered} <= on_ledger
        whole_ledger(opened)
        assert {entry["record"] for entry in opened.ledger.entries()} == whole
        size = opened.ledger.size
        assert whole_ledger(opened) == 0 and opened.ledger.size == size  # each once
        # whoever was not answered sends the same again
        [again] = record(opened, [New(visitor(2), "ads", "yes", "banner", record=f"{2:032x}")])
        assert again.known == (f"{2:032x}" in whole)
        assert history.current(opened, [visitor(2)])[visitor(2)]["ads", ""].state == "Given"
        assert opened.ledger.size == size + (not again.known)
        _marks_are_what_events_say(opened, None)


def _records(opened: Company) -> set[str]:
    with opened.state.read() as connection:
        return set(connection.scalars(select(choice_events.c.record)))


if __name__ == "__main__":
    main(*sys.argv[1:])
