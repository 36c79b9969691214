"""Whether the gate can answer out of its memory: then it is asked where the question came in, else in a thread."""

from __future__ import annotations

import time
from typing import Final

from kept.controls.choices.deciding import Decision
from kept.controls.choices.enforce import EVERY, SURE
from kept.controls.purposes.enforce import Gate
from kept.controls.purposes.gate.uses import Names
from kept.controls.rights.people import Person

MARGIN: Final = 0.05  # seconds that may go by between this question and the gate's own


def is_at_hand(
    gate: Gate,
    purpose: str,
    data: Names = None,
    *,
    person: Person | None = None,
    by: str | None = None,
    channel: str | None = None,
) -> bool:
    """Whether a decision asks no database. Where it says so wrongly an answer is late, and never another."""
    use = gate.uses.known.get((purpose, data, channel)) or gate.uses.find(purpose, data, channel)
    if isinstance(use, Decision):
        return True
    if not use.simple or (by is not None and "." in by.partition(":")[0]):
        return False  # cases, links and evidence stand in rows that only a database has
    return person is None or is_known(gate, person)


def is_known(gate: Gate, person: Person) -> bool:
    """Whether all that decisions about somebody rest on is remembered, and young enough."""
    choices, now = gate.choices, time.monotonic()
    known = choices.known.get(person)
    return known is not None and now < known.until - MARGIN and now - choices.fresh < SURE - EVERY - MARGIN
