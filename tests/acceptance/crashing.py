"""Runs `kept` and kills it (SIGKILL) at a chosen place: `python -m tests.acceptance.crashing SPOT N -- ARGS`.

Spots: `before` and `after` the Nth step of an act; `noted`, when a step has noted what it is about to commit and has
not committed; `committed`, when the store has committed and nobody has heard of it. Counted from 1; a run with fewer
places than N ends by itself.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from kept.cli.main import main
from kept.controls.retention.enforce import Sweep
from kept.controls.rights.access import Access
from kept.controls.rights.erase import Erase
from kept.state.database import State
from kept.stores.sql import SQLStore


class Countdown:
    """Kills this process when it is asked the Nth time."""

    def __init__(self, number: int) -> None:
        self.left = number

    def tick(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def arm(spot: str, countdown: Countdown) -> None:
    """Put the countdown where `spot` says."""
    if spot in ("before", "after"):
        for kind in (Sweep, Erase, Access):
            kind.step = _stepping(kind.step, spot, countdown)  # type: ignore[method-assign]
    elif spot == "noted":
        noting = State.note

        def note(self: State, *given: Any) -> None:
            noting(self, *given)
            countdown.tick()

        State.note = note  # type: ignore[method-assign,assignment]
    else:
        writing = SQLStore.write

        @contextmanager
        def write(self: SQLStore) -> Iterator[Connection]:
            with writing(self) as connection:
                yield connection
            countdown.tick()

        SQLStore.write = write  # type: ignore[method-assign]


def _stepping(step: Callable[..., None], spot: str, countdown: Countdown) -> Callable[..., None]:
    def counted(self: object, act: str, name: str) -> None:
        if spot == "before":
            countdown.tick()
        step(self, act, name)
        if spot == "after":
            countdown.tick()

    return counted


if __name__ == "__main__":
    spot, number, _, *arguments = sys.argv[1:]
    arm(spot, Countdown(int(number)))
    sys.argv = ["kept", *arguments]
    main()
