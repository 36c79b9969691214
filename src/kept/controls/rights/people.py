"""Who a request is about: `user:17`, or an identifier that leads to exactly one person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kept.company import Company
from kept.errors import KeptError
from kept.stores.collect import existing, find
from kept.stores.walk import Key

CANDIDATES = 5  # how many people an ambiguous identifier names before "…"


@dataclass(frozen=True)
class Person:
    """A person by the name of their root kind and their key, as text."""

    kind: str
    key: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind}:{','.join(self.key)}"


@dataclass(frozen=True)
class Found:
    """People found, and what is wrong with each WHO that led to none, by its place in the list (from 1).

    `gone` are those of the latter that name a kind and key without a row: never there, or erased already.
    """

    people: tuple[Person, ...]
    wrong: tuple[tuple[int, str], ...]
    gone: tuple[tuple[int, Person], ...] = ()


def resolve(company: Company, whos: Sequence[str]) -> Found:
    """Find the people that WHOs name; set-based, one statement for each kind or identifying column.

    An identifier that leads to several people leads to none: two people who share an address are two, so the
    candidates are named and somebody must choose. Never repeats a WHO, which may be somebody's address.
    """
    policy = company.policy
    named: dict[int, Person] = {}
    wrong: dict[int, str] = {}
    gone: dict[int, Person] = {}
    identifiers: dict[int, str] = {}
    for place, who in enumerate(whos, 1):
        kind, colon, key = who.partition(":")
        root = policy.root(kind) if colon else None
        if root is not None:
            columns = len(root.key_columns)
            parts = tuple(key.split(",", columns - 1)) if columns > 1 else (key,)
            if len(parts) != columns or not all(parts):
                wrong[place] = f"a key of `{kind}` has {columns} parts, joined by commas"
            else:
                named[place] = Person(str(root.name), parts)
        else:
            identifiers[place] = who.strip()
    for kind in sorted({person.kind for person in named.values()}):
        there = _existing(company, kind, [p.key for p in named.values() if p.kind == kind])
        for place, person in named.items():
            if person.kind == kind and person.key not in there:
                wrong[place] = f"there is no `{kind}` with that key"
                gone[place] = person
    candidates = _candidates(company, set(identifiers.values())) if identifiers else {}
    for place, identifier in identifiers.items():
        people = candidates.get(identifier, [])
        if len(people) == 1:
            named[place] = people[0]
        elif people:
            several = ", ".join(map(str, people[:CANDIDATES])) + (" …" if len(people) > CANDIDATES else "")
            wrong[place] = f"it leads to several people ({several}); name the one that is meant"
        else:
            wrong[place] = "nobody is known by it"
    chosen = dict.fromkeys(named[place] for place in sorted(named) if place not in wrong)
    return Found(tuple(chosen), tuple(sorted(wrong.items())), tuple(gone.items()))


def _existing(company: Company, kind: str, keys: Sequence[tuple[str, ...]]) -> set[tuple[str, ...]]:
    walk = company.walk(kind)
    there: Iterable[Key] = existing(company.stores[walk.store], walk, keys)
    return {tuple(map(str, key)) for key in there}


def _candidates(company: Company, values: set[str]) -> dict[str, list[Person]]:
    """Everybody known by each value, in every store that can be asked; raises when one can't be."""
    found: dict[str, list[Person]] = {value: [] for value in values}
    asked = 0
    for kind in company.root_kinds():
        person = company.policy.people[kind]
        if not person.known_by or company.map.walk(kind) is None:
            continue
        walk = company.walk(kind)
        for column in dict.fromkeys(map(str, person.known_by.values())):
            asked += 1
            for value, keys in find(company.stores[walk.store], walk, column, sorted(values)).items():
                for key in keys:
                    one = Person(kind, tuple(map(str, key)))
                    if one not in found[value]:
                        found[value].append(one)
    if not asked:
        raise KeptError("no kind of person can be found by an identifier here", help="write kind:key")
    return found
