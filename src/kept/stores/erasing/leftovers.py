"""The places where something may remain of people who were erased, each as the FROM-clause of a query.

`remains.look` asks how many rows each of them has. `given` is always what is looked for: values of people, by sort.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kept.stores.clauses import Clauses
from kept.stores.erasing.fates import Fates
from kept.stores.reach import PEOPLE, Reach
from kept.stores.schema import Reference
from kept.stores.walk import Erasure, Walk, goes_along

# Sorts whose values point at one person wherever they stand. A name, an address or a birth date doesn't: others have
# the same, and a search for it would find the living.
SEARCHED = (
    "email",
    "phone",
    "username",
    "national-id",
    "tax-number",
    "bank-account",
    "identifier",
    "card-number",
)
REFERENCE = "reference"  # a row that stays refers to somebody, or to a row of theirs


@dataclass(frozen=True)
class Place:
    """One place to look at: rows that the FROM-clause `source` gives remain.

    `what` is as in `remains.Remain`, or REFERENCE.
    """

    table: str
    column: str
    what: str
    source: str


def anything(reach: Reach, given: Mapping[str, frozenset[str]]) -> dict[str, str]:
    """A query for how many rows have anything to do with the people: where there is none, nothing remains of them.

    Most often nothing does, and this is seen in a fraction of the time of finding out what does: only rows that refer
    to the people, since all others are theirs through such, and all that hold a value, be it somebody else's as well.
    """
    walk, say = reach.walk, reach.say
    sources = reach.straight()
    for table in walk.tables.values():
        for reference in () if table.is_view else table.references:
            if reference.to == walk.root.table and set(reference.to_columns) == set(walk.root.person):
                sources.append(_from_people(reach, reference))
    for number, (sort, columns) in enumerate(columns_by_sort(walk).items()):
        if sort in given:
            name, values = f"kept_look_{number}", f"values_{number}"
            query = f"SELECT j.v FROM {say.listed(values)}"
            reach.make(name, query, index="v", **{values: say.listing(given[sort])})
            sources += [holding(reach, reach.of(name), table, column) for table, column in columns]
    counts = (f"(SELECT COUNT(*) FROM {source})" for source in dict.fromkeys(sources))
    return {"left": f"SELECT {' + '.join(counts)}"}


def everywhere(
    reach: Reach, erasure: Erasure, given: Mapping[str, frozenset[str]]
) -> tuple[Fates, list[Place]]:
    """Every place to look at, and the fates of what is still there."""
    reach.stops()
    fates = Fates(reach, erasure)
    looks = [
        *_rows_that_should_be_gone(fates),
        *_references_left(reach, fates),
        *_rows_of_views(reach, fates),
        *values_left(reach, fates, given),
    ]
    if reach.together:
        reach.bound()
    return fates, looks


def _rows_that_should_be_gone(fates: Fates) -> list[Place]:
    """Rows that an erasure run now would delete."""
    return [
        Place(
            table,
            "+".join(fates.walk.tables[table].key or fates.say.key(table)),
            "key",
            f"{fates.of(table)} f WHERE f.go = 1",
        )
        for table in fates.own
    ]


def _references_left(reach: Reach, fates: Fates) -> list[Place]:
    """Rows that stay and still hold an erased person's key where they refer to a person, or to a row of theirs."""
    walk = reach.walk
    root = walk.root
    found: list[Place] = []
    for table in walk.tables.values():
        if table.is_view:
            continue
        for reference in table.references:
            if reference.to == root.table and set(reference.to_columns) == set(root.person):
                query = _to_people(reach, fates, reference)
            elif reference.to in fates.numbers and not goes_along(walk, reference):
                query = _to_gone(reach, fates, reference)
            else:
                continue
            found.append(Place(table.name, "+".join(reference.columns), REFERENCE, f"({query}) AS q"))
    return found


def _from_people(reach: Reach, reference: Reference) -> str:
    """The FROM-clause of rows `t` that refer to people `s` of the batch."""
    say = reach.say
    values = [f"s.k{reach.walk.root.person.index(column)}" for column in reference.to_columns]
    match = say.refers(reference, "t", "s", values=values)
    return f"{reach.of(PEOPLE)} s {say.join} {say.name(reference.table)} t ON {match}"


def _to_people(reach: Reach, fates: Fates, reference: Reference) -> str:
    table = reference.table
    owning = any(
        hop.reference == reference for i in fates.stops_at(table) for hop in reach.walk.stops[i].hops
    )
    source = _from_people(reach, reference)
    return f"SELECT 1 FROM {source} WHERE NOT {_accounted(fates, table, 't')}" + (
        "" if owning else f" AND NOT {_stays(reach, fates)}"
    )


def _rows_of_views(reach: Reach, fates: Fates) -> list[Place]:
    """Declared views that still give rows for the people: over tables that nobody declared, and so nobody emptied.

    Views that refer to the person's key are seen so; not those that refer to another row of theirs, which is gone.
    """
    walk = reach.walk
    found: list[Place] = []
    for stop in walk.stops[: walk.own]:
        if not walk.tables[stop.table].is_view:
            continue
        for hop in stop.hops:
            if hop.reference.to != walk.root.table or hop.forward:
                continue
            if set(hop.reference.to_columns) == set(walk.root.person):
                rows = f"{_to_people(reach, fates, hop.reference)} AND NOT {_stays(reach, fates)}"
                found.append(Place(stop.table, "+".join(hop.reference.columns), "key", f"({rows}) AS q"))
    return found


def _stays(reach: Reach, fates: Fates) -> str:
    """That the own row of a person `s` of the batch stays: what only refers to it needn't be cut."""
    say, root = reach.say, reach.walk.root
    own = " AND ".join(f"r.{say.name(column)} = s.k{i}" for i, column in enumerate(root.person))
    fate = f"{fates.of(root.table)} f {say.join} {say.name(root.table)} r ON {say.same_row(root.table, 'r', 'f')}"
    return f"EXISTS (SELECT 1 FROM {fate} WHERE f.stay = 1 AND {own})"


def _to_gone(reach: Reach, fates: Fates, reference: Reference) -> str:
    say, table = reach.say, reference.table
    source = (
        f"{fates.of(reference.to)} f {say.join} {say.name(reference.to)} p ON {say.same_row(reference.to, 'p', 'f')}"
        f" {say.join} {say.name(table)} t ON {say.refers(reference, 't', 'p')}"
    )
    return f"SELECT 1 FROM {source} WHERE f.go = 1 AND NOT {_accounted(fates, table, 't')}"


def _accounted(fates: Fates, table: str, alias: str) -> str:
    """That a row is known: it goes (and was told already), or is held."""
    if table not in fates.numbers:
        return "1 = 0"
    same = fates.say.same_row(table, alias, "g")
    return f"EXISTS (SELECT 1 FROM {fates.of(table)} g WHERE {same} AND (g.go = 1 OR g.stay = 1))"


def sort_of(walk: Walk, table: str, column: str) -> str:
    """The declared sort of a column; of a known-by column that no data declares, `identifier`."""
    for stop in walk.stops:
        if stop.table == table and column in stop.sorts:
            return stop.sorts[column]
    return "identifier"


def columns_by_sort(walk: Walk) -> dict[str, list[tuple[str, str]]]:
    """Every declared (table, column), by its sort."""
    places: dict[str, list[tuple[str, str]]] = {}
    for table, column in dict.fromkeys((s.table, c) for s in walk.stops for c in (*s.sorts, *s.known_by)):
        places.setdefault(sort_of(walk, table, column), []).append((table, column))
    return places


def bound_values(say: Clauses, walk: Walk, given: Mapping[str, frozenset[str]]) -> dict[str, object]:
    """The values of each sort as the statements bind them."""
    places = enumerate(columns_by_sort(walk))
    return {f"values_{number}": say.listing(given[sort]) for number, sort in places if sort in given}


def values_left(
    reach: Reach, fates: Fates, given: Mapping[str, frozenset[str]], *, any_case: bool = False
) -> list[Place]:
    """Declared columns of the same sort that hold one of the values, given by sort."""
    found: list[Place] = []
    for number, (sort, columns) in enumerate(columns_by_sort(reach.walk).items()):
        if sort not in given:
            continue
        name, values = f"kept_value_{number}", f"values_{number}"
        others = _known_by_others(reach, sort, any_case=any_case)
        query = f"SELECT j.v FROM {reach.say.listed(values)}" + (f" WHERE {others}" if others else "")
        reach.make(name, query, index="v", **{values: reach.say.listing(given[sort])})
        given_here = reach.of(name)
        if any_case:
            given_here = f"(SELECT DISTINCT {reach.say.lowered('v')} AS v FROM {given_here} x)"
        for table, column in columns:
            known = f" WHERE NOT {_accounted(fates, table, 't')}" if table in fates.numbers else ""
            source = in_any_case if any_case else holding
            found.append(Place(table, column, sort, source(reach, given_here, table, column) + known))
    return found


def as_text(say: Clauses, walk: Walk, table: str, column: str) -> str:
    held = say.column("t", column)
    if walk.tables[table].columns[column].sort == "text" and not say.mariadb:
        return held
    return say.text(held)


def in_any_case(reach: Reach, name: str, table: str, column: str) -> str:
    """The FROM-clause of rows `t` that hold a value `j`, which is in lower case, in any case."""
    held = as_text(reach.say, reach.walk, table, column)
    return f"{reach.say.name(table)} t {reach.say.join} {name} AS j ON {reach.say.lowered(held)} = j.v"


def holding(reach: Reach, name: str, table: str, column: str) -> str:
    """The FROM-clause of rows `t` that hold a value `j`: from the values along an index, else once over the rows."""
    indexed = any(index[0] == column for index in reach.walk.tables[table].indexes)
    ways = [f"{name} j", f"{reach.say.name(table)} t"]
    source = f" {reach.say.join} ".join(ways if indexed else ways[::-1])
    return f"{source} ON {reach.say.holds_text('t', reach.walk.tables[table].columns[column], 'j.v')}"


def _known_by_others(reach: Reach, sort: str, *, any_case: bool) -> str:
    """That nobody else is known by a value `j`, nor has it in their own row where nobody is known by such."""
    walk, say = reach.walk, reach.say
    parts = []
    for number, stop in enumerate(walk.stops):
        if stop.hops:
            continue
        same = [
            c for c in dict.fromkeys((*stop.known_by, *stop.sorts)) if sort_of(walk, stop.table, c) == sort
        ]
        for column in [c for c in same if c in stop.known_by] or same:
            else_s = f" AND NOT {_in_batch(reach, 't')}" if number == 0 else ""
            same_value = say.holds_text("t", walk.tables[stop.table].columns[column], "j.v")
            if any_case:
                held = as_text(say, walk, stop.table, column)
                same_value = f"{say.lowered(held)} = {say.lowered('j.v')}"
            theirs = f"SELECT 1 FROM {say.name(stop.table)} t WHERE {same_value}{else_s}"
            parts.append(f"NOT EXISTS ({theirs})")
    return " AND ".join(parts)


def _in_batch(reach: Reach, alias: str) -> str:
    match = " AND ".join(
        f"{reach.say.column(alias, c)} = q.k{i}" for i, c in enumerate(reach.walk.root.person)
    )
    return f"EXISTS (SELECT 1 FROM {reach.of(PEOPLE)} q WHERE {match})"
