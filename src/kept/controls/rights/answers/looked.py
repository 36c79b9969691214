"""Who on the staff looked at somebody's data, in the answer to what is held about them: what for, what at, and when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kept.company import Company
from kept.controls.purposes.cases import recorded
from kept.controls.rights.people import Person
from kept.policy.wording import words_of
from kept.stores.walk import Key

DATA = "who looked at it"
PLACE = "kept.looks"
COLUMNS = ("at", "purpose", "role", "by", "columns", "masked")
NAMES: dict[str, tuple[str, ...]] = dict.fromkeys(COLUMNS, (DATA,))
SOMEBODY = "a named member of staff"
"""Who it was is on record; the person learns the role, for staff are people too (GDPR Art. 15(4))."""


def rows(company: Company, kind: str, keys: Iterable[Key]) -> list[tuple[Key, Mapping[str, object]]]:
    """Every look at these people, oldest first."""
    people = {Person(kind, tuple(map(str, key))): key for key in keys}
    found = recorded.of(company, list(people))
    return [(key, _row(seen)) for who, key in people.items() for seen in found.get(who, ())]


def _row(seen: recorded.Seen) -> dict[str, object]:
    told = (seen.at.isoformat(), seen.purpose, words_of(seen.role), SOMEBODY)
    columns = (", ".join(seen.fields), ", ".join(seen.masked) or None)
    return dict(zip(COLUMNS, (*told, *columns), strict=True))
