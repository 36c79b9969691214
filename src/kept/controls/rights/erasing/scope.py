"""What erasing a person takes in: their rows, what is held of them, and, counted exactly, what would go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kept.company import Company
from kept.controls.retention import placed
from kept.controls.retention.holds import holds
from kept.controls.rights.answers.access import facts
from kept.controls.rights.people import Person
from kept.stores.erasing.erase import Count, Counts, erase
from kept.stores.walk import Erasure


def erasure(company: Company, kind: str, held: Sequence[str] = ()) -> Erasure:
    """What erasing a person of a kind means, holds included; `held` is the data that holds set on them keep.

    What the facts alone say of a person (`known-by`, `born`, `region`) goes from a row that stays as data does.
    """
    walk = company.walk(kind)
    undeclared = {c: s for c, s in facts(company.policy, walk).items() if c not in walk.root.columns}
    root = replace(
        walk.root,
        columns={**dict.fromkeys(undeclared, (kind,)), **walk.root.columns},
        sorts={**undeclared, **walk.root.sorts},
    )
    return Erasure(
        replace(walk, stops=(root, *walk.stops[1:])),
        (*placed.rows(walk, held), *holds(company.policy, company.map, kind, company.clock())),
    )


def held_data(company: Company, people: Sequence[Person]) -> dict[Person, tuple[str, ...]]:
    """The data that holds set on these people keep; nobody on whom none is set."""
    on = placed.of(company, people)
    return {person: tuple(sorted(placed.purposes_of(found))) for person, found in on.items()}


def by_held(company: Company, people: Sequence[Person]) -> dict[tuple[str, ...], list[Person]]:
    """People by the data that is held of them: those of whom the same is go together."""
    held = held_data(company, people)
    groups: dict[tuple[str, ...], list[Person]] = {}
    for person in people:
        groups.setdefault(held.get(person, ()), []).append(person)
    return groups


def rehearse(company: Company, people: Sequence[Person]) -> dict[str, Counts]:
    """What an erasure would do, by kind, counted exactly by doing it in a transaction that is rolled back."""
    counted: dict[str, Counts] = {}

    class Rehearsed(Exception):
        """Ends the transaction without committing it."""

    def stop(counts: Counts) -> None:
        counted[kind] = _together(counted.get(kind, Counts()), counts)
        raise Rehearsed

    for data, group in by_held(company, people).items():
        for kind in dict.fromkeys(person.kind for person in group):
            if company.map.walk(kind) is None:
                continue
            meant = erasure(company, kind, data)
            keys = [person.key for person in group if person.kind == kind]
            try:
                erase(company.stores[meant.walk.store], meant, keys, stop)
            except Rehearsed:
                continue
    return counted


def _together(one: Counts, other: Counts) -> Counts:
    """The counts of two groups of people as one."""
    tables = dict.fromkeys((*one.tables, *other.tables))
    pairs = {table: (one.tables.get(table, Count()), other.tables.get(table, Count())) for table in tables}
    return Counts(
        {
            table: Count(**{what: number + vars(more)[what] for what, number in vars(count).items()})
            for table, (count, more) in pairs.items()
        }
    )
