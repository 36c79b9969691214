"""Who a request is about: `user:17`, or an identifier that leads to exactly one person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from kept.company import Company
from kept.errors import KeptError, TerminalError
from kept.policy.policy import Policy
from kept.policy.readers import NAME
from kept.stores.clauses import written
from kept.stores.collect import find
from kept.stores.own import own_rows

BY_HAND = ("outside", "sheet")
"""Kinds of store that no program can ask."""

CANDIDATES = 5  # how many people an ambiguous identifier names before "…"


@dataclass(frozen=True)
class Person:
    """A person by the name of their root kind and their key as it stands in their own row, as text."""

    kind: str
    key: tuple[str, ...]

    def __str__(self) -> str:
        """`user:7`; the parts of a key of several columns with commas between them, a comma in a part as %2C."""
        parts = self.key
        if len(parts) > 1:
            parts = tuple(part.replace("%", "%25").replace(",", "%2C") for part in parts)
        return f"{self.kind}:{','.join(parts)}"


def person_of(policy: Policy, who: str) -> Person:
    """The person that `str` wrote."""
    kind, _, key = who.partition(":")
    root = policy.root(kind)
    several = root is not None and len(root.key_columns) > 1
    return Person(kind, tuple(unquote(part) for part in key.split(",")) if several else (key,))


@dataclass(frozen=True)
class Found:
    """People found, and what is wrong with each WHO that led to none, by its place in the list (from 1).

    `gone` are those of the latter that name a kind and key without a row: never there, or erased already; `several`
    the places of identifiers that lead to more than one person.
    """

    people: tuple[Person, ...]
    wrong: tuple[tuple[int, str], ...]
    gone: tuple[tuple[int, Person], ...] = ()
    several: frozenset[int] = frozenset()


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
            parts = tuple(unquote(part) for part in key.split(",")) if columns > 1 else (key,)
            if len(parts) != columns or not all(parts):
                wrong[place] = (
                    f"a key of `{kind}` has {columns} parts, joined by commas (a comma in a part is %2C)"
                    if columns > 1
                    else f"a key of `{kind}` stands behind the colon"
                )
            else:
                named[place] = Person(str(root.name), parts)
        elif colon and NAME.fullmatch(kind):
            known = ", ".join(company.root_kinds())
            wrong[place] = f"what stands before the colon is no kind of person (known: {known})"
        else:
            identifiers[place] = who.strip()
    for kind in sorted({person.kind for person in named.values()}):
        home = str(company.policy.people[kind].table).partition(".")[0]
        wanted = [p.key for p in named.values() if p.kind == kind]
        stored_keys = _stored(company, kind, home, wanted)
        for place, person in [(place, person) for place, person in named.items() if person.kind == kind]:
            stored = stored_keys.get(person.key, [])
            if len(stored) == 1:
                named[place] = Person(kind, stored[0])
            elif stored:
                wrong[place] = f"{len(stored)} rows have that key, so it names nobody"
            else:
                wrong[place] = f"there is no `{kind}` with that key"
                gone[place] = person
    candidates = _candidates(company, set(identifiers.values())) if identifiers else {}
    for place, identifier in identifiers.items():
        people = candidates.get(identifier, [])
        if len(people) == 1:
            named[place] = people[0]
        elif people:
            wrong[place] = f"it leads to several people ({_several(people)}); name the one that is meant"
        else:
            wrong[place] = "nobody is known by it"
    chosen = dict.fromkeys(named[place] for place in sorted(named) if place not in wrong)
    several = frozenset(place for place, one in identifiers.items() if len(candidates.get(one, ())) > 1)
    return Found(tuple(chosen), tuple(sorted(wrong.items())), tuple(gone.items()), several)


def is_missing(company: Company, person: Person) -> bool:
    """Whether nobody has that key now: never there, or erased already; False where nobody can tell."""
    try:
        return bool(resolve(company, [str(person)]).gone)
    except KeptError:
        return False


def _stored(
    company: Company, kind: str, home: str, keys: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], list[tuple[str, ...]]]:
    """The keys, as the store has them, that each of these keys leads to."""
    if home in company.records:
        there = company.records[home].existing([key[0] for key in keys])
        return {key: [key] for key in keys if key[0] in there}
    if company.policy.stores[home].sort in BY_HAND:
        return {key: [key] for key in keys}  # nobody can ask; a member of staff looks
    return {key: [own for own, _ in found] for key, found in _own(company, kind, keys).items()}


def _several(people: Sequence[Person]) -> str:
    """Candidates by their keys; how many they are where a key isn't a number, for it may be somebody's address."""
    if all(part.isdecimal() for person in people for part in person.key):
        return ", ".join(map(str, people[:CANDIDATES])) + (" …" if len(people) > CANDIDATES else "")
    kinds = Counter(person.kind for person in people)
    return ", ".join(f"{number} of kind `{kind}`" for kind, number in kinds.items())


def _own(
    company: Company, kind: str, keys: Sequence[tuple[str, ...]], columns: Sequence[str] = ()
) -> dict[tuple[str, ...], list[tuple[tuple[str, ...], Mapping[str, object]]]]:
    """The keys and some columns of the own rows that each of these keys leads to."""
    walk = company.walk(kind)
    rows = own_rows(company.stores[walk.store], walk, keys, columns)
    return {
        tuple(map(str, asked)): [(tuple(map(written, key)), row) for key, row in found]
        for asked, found in rows.items()
    }


def must_be_there(company: Company, kind: str, keys: Sequence[tuple[str, ...]]) -> None:
    """Refuse people whose key doesn't lead to exactly one row of their own: whatever was done would miss them."""
    found = _own(company, kind, keys)
    refuse_lost(company, kind, keys, {key for key, own in found.items() if len(own) == 1})


def refuse_lost(
    company: Company, kind: str, keys: Sequence[tuple[str, ...]], found: Container[tuple[str, ...]]
) -> None:
    """Refuse when not everybody was found."""
    lost = sum(key not in found for key in keys)
    if lost:
        raise TerminalError(
            f"{lost} of {len(keys)} people of kind `{kind}` can't be found by their key",
            help="their row is gone, or what is declared as the key does not name one row",
            where=company.walk(kind).store,
        )


def known_of(
    company: Company, kind: str, keys: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], dict[str, str]]:
    """By which values people in a SQL store are known, by name; those without one row of their own are missing."""
    walk = company.walk(kind)
    there = walk.tables[walk.root.table].columns
    columns = {
        str(name): str(column)
        for name, column in company.policy.people[kind].known_by.items()
        if str(column) in there
    }
    found = _own(company, kind, keys, list(dict.fromkeys(columns.values())))
    return {
        key: {name: str(own[0][1][column]) for name, column in columns.items() if own[0][1][column]}
        for key, own in found.items()
        if len(own) == 1
    }


def _candidates(company: Company, values: set[str]) -> dict[str, list[Person]]:
    """Everybody known by each value, in every store that can be asked; raises when one can't be."""
    found: dict[str, list[Person]] = {value: [] for value in values}
    asked = 0
    for kind in company.root_kinds():
        person = company.policy.people[kind]
        home = str(person.table).partition(".")[0]
        if home in company.records and "email" in person.known_by:
            asked += 1
            column = str(person.known_by["email"])  # type: ignore[index]  # a Name equals its text
            for value, ids in company.records[home].find(column, sorted(values)).items():
                found[value] += [Person(kind, (id,)) for id in ids]
        if not person.known_by or company.map.walk(kind) is None:
            continue
        walk = company.walk(kind)
        for column in dict.fromkeys(map(str, person.known_by.values())):
            asked += 1
            for value, keys in find(company.stores[walk.store], walk, column, sorted(values)).items():
                for key in keys:
                    one = Person(kind, tuple(map(written, key)))
                    if one not in found[value]:
                        found[value].append(one)
    if not asked:
        raise KeptError("no kind of person can be found by an identifier here", help="write kind:key")
    return found
