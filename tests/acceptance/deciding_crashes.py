"""Runs `kept` and kills it (SIGKILL) while decisions are carried out: `… deciding_crashes SPOT N -- ARGS`.

Spots: `before` the Nth step of the act; `marked`, when the rows are marked and the company's database
hasn't committed; `committed`, when it has and nobody has heard of it; `settled`, when the rows are read again and the
ledger has nothing; `state`, when Kept's own database has committed; `recorded`, when the ledger has; `put`, when a
letter is in the outbox and its transaction isn't over; `end-…`, a spot of ending_crashes.py. Counted from 1; a run
with fewer places ends by itself.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from kept.cli.main import main
from kept.controls.purposes.decisions import seen
from kept.controls.purposes.decisions.carrying import Decide
from tests.acceptance import crashing, ending_crashes
from tests.acceptance.crashing import Countdown

SPOTS: Final = ("before", "marked", "committed", "settled", "state", "recorded", "put")


def arm(spot: str, countdown: Countdown) -> None:
    """Put the countdown where `spot` says."""
    if spot.startswith("end-"):
        ending_crashes.arm(spot.removeprefix("end-"), countdown)
    elif spot == "before":
        Decide.step = crashing._stepping(Decide.step, spot, countdown)  # type: ignore[method-assign]
    elif spot in ("marked", "settled"):
        owner: Any = seen
        name = {"marked": "mark", "settled": "settle"}[spot]
        setattr(owner, name, crashing._ticking(getattr(owner, name), countdown))
    else:
        crashing.arm(spot, countdown)


if __name__ == "__main__":
    spot, number, _, *arguments = sys.argv[1:]
    arm(spot, Countdown(int(number)))
    sys.argv = ["kept", *arguments]
    main()
