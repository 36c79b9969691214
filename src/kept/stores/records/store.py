"""What every store behind an API is to the rest of Kept: people as records, and tables that hang on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

from kept.errors import TransientError

Row = Mapping[str, object]


@dataclass(frozen=True)
class Kept:
    """What the other side keeps after an erasure: `rows` of a table, the reason as a sentence for the person.

    `until` is the first day on which nothing is kept any more; None when the other side names no day.
    """

    table: str
    rows: int
    reason: str
    until: date | None = None


@dataclass(frozen=True)
class Erased:
    """What an erasure did: rows `deleted` by table (none, where it was done before), and what is kept."""

    deleted: Mapping[str, int] = field(default_factory=dict)
    kept: tuple[Kept, ...] = ()


def is_mail(column: str) -> bool:
    """Whether a column holds e-mail addresses, by its name; these are equal whatever their capitals."""
    return "mail" in column.casefold()


class Later(TransientError):
    """The other side asks to be asked again: not before `at` (UTC)."""

    def __init__(
        self, message: str, at: datetime, *, help: str | None = None, where: str | None = None
    ) -> None:
        super().__init__(message, help=help, where=where)
        self.at = at


class Pending(Later):
    """The other side has taken the act and isn't done: the same call, with the same `act`, asks how it stands."""


class RecordStore(Protocol):
    """A place whose people are records behind an API: a HubSpot contact, a Stripe customer; the *subjects*.

    Other tables hang on the subjects; a column is a property of a record, `id` its own. Every call may raise
    TransientError (the same call may succeed later; `Later` and `Pending` say when) or TerminalError (somebody has to
    mend something, which it names). Where a call takes an `act`, it names what is being done, the same at every
    repetition and another for another request: the other side then does it once.
    """

    @property
    def name(self) -> str:
        """The store as the policy file names it."""

    @property
    def searchable(self) -> bool:
        """Whether the store can be asked who is in it.

        Where it can't (OpenDSR), `find` and `existing` take the caller's word, `count` is a TerminalError, and that
        something is gone is the other side's (signed) word.
        """

    def columns(self, table: str) -> frozenset[str]:
        """The columns of a table, for comparing with the policy file; empty where any name will do.

        TerminalError when the store has no such table.
        """

    def find(self, known_by: str, values: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The ids of the subjects whose column `known_by` equals each value; values found nowhere are left out.

        Exact; in a column with `mail` in its name whatever the capitals. Several subjects may share a value: all are
        returned.
        """

    def existing(self, subjects: Sequence[str]) -> set[str]:
        """Those of the ids that are there."""

    def identifiers(self, subjects: Sequence[str], known_by: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """What each subject is known by: `known_by` maps names to columns, the answer names to values, by subject.

        Empty values, and subjects that are gone, are left out.
        """

    def collect(
        self, subjects: Sequence[str], tables: Mapping[str, Sequence[str]], act: str = ""
    ) -> Iterator[tuple[str, str, Row]]:
        """(subject, table, row) of each row that is theirs, with the columns asked for and no others.

        A page at a time; a row that belongs to two of the subjects comes once for each. TerminalError for a table or
        column the store doesn't have.
        """

    def erase(self, subject: str, tables: Sequence[str] = (), act: str = "") -> Erased:
        """Delete the subject, and of `tables` what is theirs alone; what others share is untied from them, and kept.

        Done twice it does nothing more; after a failure half-way the same call does the rest.
        """

    def correct(
        self, subject: str, table: str, row: str | None, values: Mapping[str, str], act: str = ""
    ) -> int:
        """Write values into the subject's own record, or the `row` (an id) of theirs in another table: rows changed.

        Rows that have the values already count nothing. TerminalError when the row isn't theirs alone, or a column
        can't be written.
        """

    def count(self, table: str) -> int:
        """How many records a table has."""

    def dispose(self) -> None:
        """Close what is open; the store may be used again and opens anew."""
