"""Runs `kept` and kills it (SIGKILL) while ends are set: `python -m tests.acceptance.ending_crashes SPOT N -- ARGS`.

Spots: `before` and `after` the Nth step of the act; `begun`, when the act is noted and nothing is done; `noted`, when
it is noted whom it is about and the company's database hasn't committed (odd N) or what was committed is settled
(even N); `committed`, when that database has committed and nobody has heard of it; `written`, when N letters are in
the outbox of a transaction that isn't over. Counted from 1; a run with fewer places than N ends by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from kept.cli.main import main
from kept.controls.purposes.ends import ending
from kept.controls.purposes.ends.ending import End
from kept.mail.outbox import Outbox
from kept.stores.sql import SQLStore
from tests.acceptance.crashing import Countdown


def arm(spot: str, countdown: Countdown) -> None:
    """Put the countdown where `spot` says."""
    if spot in ("before", "after"):
        stepping = End.step

        def step(self: End, act: str, name: str) -> None:
            if spot == "before":
                countdown.tick()
            stepping(self, act, name)
            if spot == "after":
                countdown.tick()

        End.step = step  # type: ignore[method-assign]
    elif spot == "begun":
        ending._begin = _ticking(ending._begin, countdown)
    elif spot == "noted":
        ending._remember = _ticking(ending._remember, countdown)
    elif spot == "written":
        Outbox.put = _ticking(Outbox.put, countdown)  # type: ignore[method-assign]
    else:
        writing = SQLStore.write

        @contextmanager
        def write(self: SQLStore, **given: Any) -> Iterator[Connection]:
            with writing(self, **given) as connection:
                yield connection
            countdown.tick()

        SQLStore.write = write  # type: ignore[method-assign]


def _ticking(done: Callable[..., Any], countdown: Countdown) -> Callable[..., Any]:
    def counted(*given: Any, **named: Any) -> Any:
        found = done(*given, **named)
        countdown.tick()
        return found

    return counted


if __name__ == "__main__":
    spot, number, _, *arguments = sys.argv[1:]
    arm(spot, Countdown(int(number)))
    sys.argv = ["kept", *arguments]
    main()
