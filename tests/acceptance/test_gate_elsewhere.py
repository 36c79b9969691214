"""The first refusal after somebody withdrew, objected, or had their data restricted or held: here and elsewhere."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kept.company import Company
from kept.controls.acts import kinds
from kept.controls.choices.records.book import New, record
from kept.controls.purposes.enforce import Gate
from kept.controls.retention import placed
from kept.controls.rights.desk import Desk
from kept.controls.rights.register import Subject
from kept.errors import TransientError
from kept.state import workflows
from tests.acceptance.choosing import POLICY, company, member

RIGHTS = (
    POLICY
    + """\
  claims:     {uses: email, ground: legal-claims}
rights:
  restrict: {through: account}
  object:   {through: account}
"""
)
SAID = ("withdraw", "object", "restrict", "hold")


def say(opened: Company, desk: Desk, word: str, number: int) -> None:
    """What somebody says, or others hold, as it is really written."""
    match word:
        case "withdraw":
            record(opened, [New(member(number), "promotions", "no", "one-click")])
        case "hold":
            placed.place(
                opened, member(number), "claims", ("email",), date(2099, 1, 1), "a lawsuit", "officer"
            )
        case _:
            scope = ("feedback",) if word == "object" else ()
            done = desk.carry_out(word, [Subject(member(number), scope=scope)], "Ines")
            assert done.problem is None, done.problem


def use(word: str) -> tuple[str, str]:
    return ("promotions" if word == "withdraw" else "feedback"), "email"


def _asks(folder: Path, state: str | None, box: Any) -> None:
    with company(folder, state=state, text=RIGHTS) as opened:
        opened.clock = lambda: datetime.now(UTC)
        gate = Gate.of(opened)
        crowd = gate.crowd(
            [member(n) for n in range(1, 5)], [("promotions", None, "email"), ("feedback", None, "email")]
        )
        for number, word in enumerate(SAID, 1):
            who, (purpose, channel) = member(number), use(word)
            at = np.array([crowd.number(purpose, None, channel)]), np.array([crowd.index(who)])
            box.send(gate.decide(purpose, person=who, channel=channel).allowed and bool(crowd.decide(*at)[0]))
            until, later = time.monotonic() + 20, True
            while (
                gate.decide(purpose, person=who, channel=channel).allowed or later
            ) and time.monotonic() < until:
                later = bool(crowd.decide(*at)[0])
                time.sleep(0.005)
            box.send(
                gate.decide(purpose, person=who, channel=channel).rule if not later else "the crowd allows it"
            )


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_somebody_says_counts_at_once_here_and_soon_in_another_process(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "lumi"
    state = request.getfixturevalue("fresh_postgresql") if kind == "postgresql" else None
    context = multiprocessing.get_context("spawn")
    with company(folder, state=state, text=RIGHTS) as opened, ExitStack() as stack:
        opened.clock = lambda: datetime.now(UTC)
        running = stack.enter_context(workflows.opened(opened.workflows, kinds(opened)))
        desk, gate = Desk.at_work(opened, running), Gate.of(opened)
        record(opened, [New(member(1), "promotions", "yes", "account")])
        uses = [("promotions", None, "email"), ("feedback", None, "email")]
        crowd = gate.crowd([member(n) for n in range(1, 5)], uses)
        ours, theirs = context.Pipe()
        child = context.Process(target=_asks, args=(folder, state, theirs))
        child.start()
        stack.callback(child.kill)
        for number, word in enumerate(SAID, 1):
            who, (purpose, channel) = member(number), use(word)
            at = np.array([crowd.number(purpose, None, channel)]), np.array([crowd.index(who)])
            assert gate.decide(purpose, person=who, channel=channel).allowed and crowd.decide(*at)[0]
            assert ours.poll(60) and ours.recv() is True
            say(opened, desk, word, number)
            rule = "choice" if word == "withdraw" else word
            assert gate.decide(purpose, person=who, channel=channel).rule == rule  # with no wait at all
            assert not crowd.decide(*at)[0]
            assert ours.poll(30) and ours.recv() == rule
        child.join(30)


def test_arrays_decide_nothing_that_nobody_can_tell(tmp_path: Path) -> None:
    folder = tmp_path / "lumi"
    with company(folder, text=RIGHTS) as opened:
        gate = Gate.of(opened)
        crowd = gate.crowd([member(n) for n in range(1, 5)])
        at = np.array([crowd.number("feedback", None, "email")]), np.array([crowd.index(member(1))])
        assert crowd.decide(*at)[0]
        opened.state.engine.dispose()
        for path in folder.glob("kept.sqlite*"):
            shutil.move(path, tmp_path / path.name)
        (folder / "kept.sqlite").mkdir()
        until, refused = time.monotonic() + 20, False
        while not refused and time.monotonic() < until:
            try:
                crowd.decide(*at)
                time.sleep(0.01)
            except TransientError:
                refused = True
        assert refused
        opened.state.engine.dispose()
        (folder / "kept.sqlite").rmdir()
        for path in tmp_path.glob("kept.sqlite*"):
            shutil.move(path, folder / path.name)
        assert crowd.decide(*at)[0]  # and all is well again


def test_arrays_are_loaded_again_when_their_time_is_over(tmp_path: Path) -> None:
    with company(tmp_path / "lumi", text=RIGHTS) as opened:
        gate = Gate.of(opened)
        crowd = gate.crowd([member(1)], lasts=timedelta(0))
        with pytest.raises(TransientError, match="too old"):
            crowd.decide(np.array([0]), np.array([0]))
