"""An answer to a choice as it comes in, and as it is on record."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kept.controls.choices.records.states import Answer, State
from kept.controls.rights.people import Person
from kept.errors import KeptError

WITH: Final = "with "  # of the scope in which a party's own agreement stands: `with lucent`


class Refused(KeptError):
    """An answer that isn't recorded; `reason` is a word for programs."""

    def __init__(self, reason: str, message: str, help: str | None = None) -> None:
        super().__init__(message, help=help)
        self.reason = reason


@dataclass(frozen=True)
class New:
    """One answer to one choice. `at` is when it was given, for what arrives late; left out it is now, and never before
    what they said last, by whatever server's clock. `record` (32 hex digits) makes the same sent twice the same;
    `decider` is the guardian who answers for somebody; `by` a member of staff or a party. `carried`: a visitor's answer
    that becomes a person's at log-in, and yields to what they said themselves; `meaning` is what it was about then.
    `home` is where the company's database has somebody, whatever `region` they gave: set when it is checked.
    """

    who: Person
    choice: str
    answer: Answer
    way: str
    scope: str = ""
    at: datetime | None = None
    notice: str | None = None
    region: str | None = None
    by: str | None = None
    record: str | None = None
    decider: Person | None = None
    carried: bool = False
    meaning: str | None = None
    home: str | None = None


@dataclass(frozen=True)
class Recorded:
    """An answer that is on record: its state, and whether it `took` effect; `known` when it had been before."""

    new: New
    number: int
    record: str
    state: State
    took: bool
    known: bool


def reaches(other: str, scope: str, today: Collection[str]) -> bool:
    """Whether what was said in another scope says something in this one: the policy was edited since.

    It asked for all at once and asks one by one now (`today` are its scopes), or the other way round; or it asks for
    nothing of the other name any more.
    """
    if other == scope or other.startswith(WITH) or scope.startswith(WITH):
        return False
    return "" in (other, scope) or other not in today
