"""The address on record of people: where letters about their requests go, and the only place that proves who asks."""

from __future__ import annotations

from collections.abc import Sequence

from kept.company import Company
from kept.controls.rights.people import Person
from kept.controls.rights.places import BY
from kept.stores.clauses import written
from kept.stores.own import own_rows


def of(company: Company, people: Sequence[Person]) -> dict[Person, str]:
    """The e-mail address in each person's own row or record; one that has none is missing."""
    found: dict[Person, str] = {}
    for kind in dict.fromkeys(person.kind for person in people):
        root = company.policy.root(kind)
        column = root.known_by.get(BY) if root is not None else None  # type: ignore[call-overload]  # a Name equals its text
        if root is None or root.table is None or column is None:
            continue
        keys = [person.key for person in people if person.kind == kind]
        home = str(root.table).partition(".")[0]
        if home in company.records:
            told = company.records[home].identifiers([key[0] for key in keys], {BY: str(column)})
            found |= {Person(kind, (id,)): known[BY] for id, known in told.items() if known.get(BY)}
        elif company.map.walk(kind) is not None:
            rows = own_rows(company.stores[home], company.walk(kind), keys, [str(column)])
            for key, own in rows.items():
                if len(own) == 1 and own[0][1][str(column)]:
                    found[Person(kind, tuple(map(written, key)))] = str(own[0][1][str(column)])
    return found
