"""What people chose and refused, in the answer to what is held about them: when, how, and whether it counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kept.company import Company
from kept.controls.choices.records.history import Event, histories
from kept.controls.rights.people import Person
from kept.stores.walk import Key

DATA = "what you chose"
PLACE = "kept.choices"
COLUMNS = ("choice", "for", "answer", "state", "counts", "chosen at", "received at", "how", "region", "shown")
NAMES: dict[str, tuple[str, ...]] = dict.fromkeys(COLUMNS, (DATA,))


def rows(company: Company, kind: str, keys: Iterable[Key]) -> list[tuple[Key, Mapping[str, object]]]:
    """Every answer of these people, oldest first; what was shown by its SHA-256."""
    people = {Person(kind, tuple(map(str, key))): key for key in keys}
    found = histories(company, list(people))
    return [(key, _row(event)) for who, key in people.items() for event in found.get(who, ())]


def _row(event: Event) -> dict[str, object]:
    told = (event.choice, event.scope, event.answer, event.state, event.took, event.at, event.received)
    return dict(zip(COLUMNS, (*told, event.way, event.region, event.notice), strict=True))
