"""Which answer counts. Pure: from how a choice stands, and one more answer, to whether it changes anything.

An explicit answer beats every automatic one, whenever it was given; of explicit answers the newest counts, at the same
instant the no. A grant that nobody gave themselves never overrides a no, nor brings back a yes that is over; nor does
one that a visitor gave before they logged in, whoever that no came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kept.controls.choices.records.history import Event, Key
from kept.controls.choices.records.states import AUTOMATIC, ENDS, OURS, STANDING

ENDED: Final = frozenset({"Expired", "Invalidated", "Revoked"})


@dataclass(frozen=True)
class Standing:
    """How one choice of somebody's stands: the event in force, the last yes or no of theirs that counted, and when a
    yes was last taken back by others."""

    event: Event
    answer: Event | None = None
    taken_back: datetime | None = None

    @property
    def last(self) -> Event | None:
        """Their last yes or no, also a yes that still has to be confirmed."""
        return self.event if self.event.answer in ("yes", "no") else self.answer

    def after(self, event: Event) -> Standing:
        """How it stands once one more event has taken effect."""
        return Standing(
            event,
            event if is_answer(event) else self.answer,
            event.at if event.answer in ("invalid", "revoked") else self.taken_back,
        )


def standings(counted: Iterable[Event]) -> dict[int, dict[Key, Standing]]:
    """How the choices of each subject stand, from the events that took effect, oldest first."""
    found: dict[int, dict[Key, Standing]] = {}
    for event in counted:
        add(found.setdefault(event.subject, {}), event)
    return found


def add(mine: dict[Key, Standing], event: Event) -> None:
    """One more event of a subject has taken effect."""
    key = (event.choice, event.scope)
    mine[key] = mine.get(key, Standing(event)).after(event)


def is_answer(event: Event) -> bool:
    """Whether it is a yes or a no that is final: a yes that still has to be confirmed is none yet."""
    return event.answer in ("yes", "no") and event.state != "Requested"


def counts(before: Standing | None, new: Event, *, carried: bool = False) -> bool:
    """Whether one more answer takes effect, given how the choice stands."""
    if new.way in OURS or new.answer in ENDS:
        return before is not None and _ends(before.event, new)
    if before is None:
        return True
    if new.answer not in ("yes", "no") or new.state == "Requested":
        # asked, put off, not confirmed yet: takes back nothing that was said
        said = before.event.state in STANDING or before.event.is_against
        return not said and new.at >= before.event.at
    last, grants = before.answer, new.answer == "yes"
    explicit_before = last is not None and not last.is_automatic
    if grants and before.taken_back is not None and new.at <= before.taken_back:
        return False  # what was taken back is not given again by a yes from before
    if carried and grants and (explicit_before or before.event.is_against or before.event.state in ENDED):
        return False
    if new.way in AUTOMATIC:
        open_to_it = before.event.state not in ENDED and not _is_pending(before.event)
        if explicit_before or (grants and not (open_to_it and (last is None or last.answer == "yes"))):
            return False
    elif not explicit_before:
        return True
    return last is None or new.at > last.at or (new.at == last.at and (not grants or last.answer == "yes"))


def _ends(event: Event, new: Event) -> bool:
    """Whether there is something to end: a yes, or one that was never confirmed; a lapse only once its time is over."""
    if event.state == "Requested":
        return True
    over = event.until is not None and event.until <= new.received
    return event.state in STANDING and (new.answer != "lapsed" or over)


def _is_pending(event: Event) -> bool:
    return event.state == "Requested" and event.answer == "yes" and not event.is_automatic
