"""Whether a case is somebody's reason to look at a person: open now, about them, and theirs to work on.

A row is remembered for a second at most from when it was asked for, so that a case that is closed in the company's own
tables is no reason any more a second later; one that Kept keeps, at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from kept.company import Company
from kept.controls.purposes.cases import opening, rows
from kept.controls.purposes.cases.opening import KEPT
from kept.controls.purposes.cases.rows import Tie
from kept.controls.rights.people import Person
from kept.errors import TransientError

REMEMBERED: Final = 1.0  # seconds
MOST: Final = 10_000  # rows remembered

ANOTHER: Final = "the case is about somebody else"
ANOTHERS: Final = "the case is another's to work on"
OVER: Final = "the case is over"

_Asked = tuple[str, Person]


class _Memory:
    """The rows of a company that were asked for just now."""

    def __init__(self) -> None:
        self.known: dict[_Asked, tuple[float, Tie]] = {}

    @classmethod
    def of(cls, company: Company) -> _Memory:
        found = company.memory.get(cls)
        if found is None:
            found = company.memory.setdefault(cls, cls())
        return found  # type: ignore[no-any-return]  # what stands under its class


def why_not(
    company: Company, links: Sequence[str], case: str | None, person: Person | None, by: str | None
) -> str | None:
    """Why a case (`error:81`, or `case:ID` for one that Kept keeps) of one of these links is no reason for `by`
    (`engineer:4`) to look at a person.

    None where it is. StoreError where the rows that say so can't be read.
    """
    wanted = " or ".join(f"`{name}`" for name in links)
    name, _, number = (case or "").partition(":")
    is_kept = name == KEPT and KEPT not in company.policy.links
    if not number or (name not in links and not is_kept):
        return f"it needs an open case, {wanted}"
    if person is None:
        return "nobody is named"
    role, _, key = (by or "").partition(":")
    if is_kept:
        return _why_not_kept(company, links, wanted, number, person, role, key)
    found = _tie(company, name, number, person)
    if found is None:
        return "there is no such case"
    if person not in found.people:
        return ANOTHER
    if not key or not found.is_of(company.policy, role, key):
        return ANOTHERS
    return found.why_over(company.clock())


def look_again(company: Company, case: str | None, person: Person) -> None:
    """Forget what is remembered of a case, and of the row it is tied to: what is decided next is decided on the rows
    as they are then."""
    known, (name, _, id) = _Memory.of(company).known, (case or "").partition(":")
    known.pop((case or "", person), None)
    if (
        name == KEPT
        and KEPT not in company.policy.links
        and (found := opening.of_id(company, id)) is not None
    ):
        known.pop((found.ticket or "", person), None)


def _why_not_kept(
    company: Company, links: Sequence[str], wanted: str, id: str, person: Person, role: str, key: str
) -> str | None:
    found = opening.of_id(company, id)
    if found is None:
        return "there is no such case"
    if found.link not in links:
        return f"it needs an open case, {wanted}"
    if found.closed is not None or found.person is None:
        return OVER
    if found.person != person:
        return ANOTHER
    if not key or (found.role, found.staff) != (role, key):
        return ANOTHERS
    if found.until <= company.clock():
        return OVER
    if found.ticket is not None:
        name, _, number = found.ticket.partition(":")
        row = _tie(company, name, number, person) if name in company.policy.links else None
        if row is None or person not in row.people or row.why_over(company.clock()) is not None:
            return "the case is over: what it was opened from is"
    return None


def _tie(company: Company, name: str, number: str, person: Person) -> Tie | None:
    memory, asked = _Memory.of(company).known, (f"{name}:{number}", person)
    began = time.monotonic()
    known = memory.get(asked)
    if known is not None and began < known[0]:
        return known[1]
    found = rows.tie(company, name, number, person)
    took = time.monotonic() - began
    if took > REMEMBERED and str(company.policy.links[name].table).partition(".")[0] in company.stores:
        raise TransientError("a database doesn't answer in time")  # what it says may have changed since
    if len(memory) >= MOST:
        memory.clear()
    if found is not None:  # what isn't there yet may be there in a moment
        memory[asked] = (began + REMEMBERED, found)
    return found
