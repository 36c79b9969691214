"""Runs `kept` and kills it (SIGKILL) at a chosen place: `python -m tests.acceptance.crashing SPOT N -- ARGS`.

Spots: `before` and `after` the Nth step of an act; `noted`, when a step has noted what it is about to commit and has
not committed; `committed`, when the store has committed and nobody has heard of it; `state`, when Kept's own database
has; `recorded`, when the ledger has; `put`, when a letter is in the outbox and its transaction isn't over; `filed`,
when the answers are in their folder; `forgotten`, when the secrets behind pseudonyms are destroyed. Counted from 1; a
run with fewer places than N ends by itself.
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
from kept.controls.rights.acting import Acting
from kept.controls.rights.answers.archives import Archives
from kept.evidence.ledger import Ledger
from kept.evidence.pseudonyms import Pseudonyms
from kept.mail.outbox import Outbox
from kept.state.database import State
from kept.stores.sql import SQLStore

SPOTS = ("before", "after", "noted", "committed", "state", "recorded", "put", "filed", "forgotten")
AFTER: dict[str, tuple[type, str]] = {
    "noted": (State, "note"),
    "recorded": (Ledger, "append_many"),
    "put": (Outbox, "put"),
    "filed": (Archives, "write"),
    "forgotten": (Pseudonyms, "forget"),
}
"""Spots right behind the end of a method."""


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
        for kind in (Sweep, Acting):
            kind.step = _stepping(kind.step, spot, countdown)  # type: ignore[method-assign]
    elif spot in AFTER:
        owner, name = AFTER[spot]
        setattr(owner, name, _ticking(getattr(owner, name), countdown))
    else:
        database: Any = {"committed": SQLStore, "state": State}[spot]
        database.write = _writing(database.write, countdown)


def _writing(writing: Callable[..., Any], countdown: Countdown) -> Callable[..., Any]:
    @contextmanager
    def write(self: object, **how: bool) -> Iterator[Connection]:
        with writing(self, **how) as connection:
            yield connection
        countdown.tick()

    return write


def _ticking(done: Callable[..., Any], countdown: Countdown) -> Callable[..., Any]:
    def counted(*given: Any, **named: Any) -> Any:
        found = done(*given, **named)
        countdown.tick()
        return found

    return counted


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
