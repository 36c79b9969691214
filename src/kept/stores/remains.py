"""Looks, after an erasure, for what remains of the people: their keys and their identifiers, in every declared place.

Before: `fingerprint` takes the identifying values of a batch. After: `look` searches with them. Both send a number of
statements that depends on the schema and not on the people.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from ahocorasick_rs import BytesAhoCorasick

from kept.policy.words import TYPES
from kept.stores.clauses import Clauses
from kept.stores.collect import MANY
from kept.stores.fates import Fates
from kept.stores.reach import FEW, PEOPLE, SOME, Reach, as_keys
from kept.stores.schema import Reference
from kept.stores.sql import SQLStore
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
_REFERENCE = "reference"
_SHORT = 4  # shorter values are found everywhere
_ROWS = 10_000  # read at once


@dataclass(frozen=True)
class Fingerprint:
    """Identifying values of a batch of people, by sort: personal data, to be sealed by whoever holds it."""

    values: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Fingerprint({', '.join(f'{len(v)} × {sort}' for sort, v in self.values.items())})"

    def dumps(self) -> bytes:
        return json.dumps({sort: sorted(values) for sort, values in self.values.items()}).encode()

    def __or__(self, other: Fingerprint) -> Fingerprint:
        """The values of both."""
        sorts = dict.fromkeys((*self.values, *other.values))
        return Fingerprint(
            {sort: self.values.get(sort, frozenset()) | other.values.get(sort, frozenset()) for sort in sorts}
        )

    def only(self, values: Iterable[str]) -> Fingerprint:
        """Those of the values that are among the given ones."""
        wanted = frozenset(values)
        return Fingerprint({sort: held & wanted for sort, held in self.values.items()})

    @classmethod
    def loads(cls, sealed: bytes) -> Fingerprint:
        return cls({sort: frozenset(values) for sort, values in json.loads(sealed).items()})


@dataclass(frozen=True)
class Remain:
    """Rows that still lead to an erased person: by a key (`what` is "key") or by a value of a sort (`email` …)."""

    table: str
    column: str
    what: str
    rows: int


def fingerprint(store: SQLStore, walk: Walk, keys: Iterable[object]) -> Fingerprint:
    """The identifying values in the rows that are these people's alone to identify them by.

    Every sort that points at a person is taken, so that the search of files and logs has names too; `look` searches
    tables for the sorts in `SEARCHED` only.
    """
    people = as_keys(keys)
    with store.read(few=len(people) <= FEW) as connection:
        reach = Reach(connection, store, walk, people, together=len(people) <= MANY)
        reach.stops()
        parts: list[str] = []
        places: list[str] = []
        for number, stop in enumerate(walk.stops[: walk.own]):
            taken = [
                c
                for c, sort in stop.sorts.items()
                if TYPES.get(sort, False) and sort not in ("free-text", "health")
            ]
            if not stop.hops:
                taken += [column for column in stop.known_by if column not in taken]
            if walk.tables[stop.table].is_view:
                continue
            parts += _values_at(reach, number, taken, start=len(places))
            places += [sort_of(walk, stop.table, column) for column in taken]
        found: dict[str, set[str]] = {}
        if parts:
            for place, value in reach.run(" UNION ALL ".join(parts)):
                if len(str(value)) >= _SHORT:
                    found.setdefault(places[place], set()).add(str(value))
        reach.relations.drop()
    return Fingerprint({sort: frozenset(values) for sort, values in found.items()})


def _values_at(reach: Reach, number: int, columns: list[str], start: int) -> list[str]:
    """Queries for the values of columns in the rows of a stop, each with the number of its place."""
    say, table = reach.say, reach.walk.stops[number].table
    source = f"{reach.stop(number)} s {say.join} {say.name(table)} t ON {say.same_row(table, 't', 's')}"
    return [
        f"SELECT {place} AS place, {say.as_text(say.column('t', column))} FROM {source}"
        f" WHERE {say.column('t', column)} IS NOT NULL"
        for place, column in enumerate(columns, start=start)
    ]


def sort_of(walk: Walk, table: str, column: str) -> str:
    """The declared sort of a column; of a known-by column that no data declares, `identifier`."""
    for stop in walk.stops:
        if stop.table == table and column in stop.sorts:
            return stop.sorts[column]
    return "identifier"


def look(store: SQLStore, erasure: Erasure, keys: Iterable[object], identifiers: Fingerprint) -> list[Remain]:
    """What remains of people who were erased; empty when nothing does.

    Rows under a hold, and those between them and their person, aren't remains. Neither is a value that the own row of
    somebody else holds among its identifiers: two people who share a telephone are two.
    """
    people = as_keys(keys)
    with store.read(few=len(people) <= FEW) as connection:
        found = None
        if len(people) <= SOME and store.one_statement:
            found = _look(Reach(connection, store, erasure.walk, people, together=True), erasure, identifiers)
            if found is None:
                store.many(connection)
        if found is None:
            found = _look(Reach(connection, store, erasure.walk, people), erasure, identifiers)
    assert found is not None
    return found


def _look(reach: Reach, erasure: Erasure, identifiers: Fingerprint) -> list[Remain] | None:
    """None where it is to be done in one statement, and these people have more than few rows: held ones, perhaps."""
    reach.stops()
    fates = Fates(reach, erasure)
    looks = [
        *_rows_that_should_be_gone(fates),
        *_references_left(reach, fates),
        *_rows_of_views(reach, fates),
        *_values_left(reach, fates, identifiers),
    ]
    found = _remaining(reach, looks, few=reach.bound() if reach.together else None)
    reach.relations.drop()
    return found


@dataclass(frozen=True)
class _Look:
    """One place to look at: rows that the FROM-clause `source` gives remain."""

    table: str
    column: str
    what: str
    source: str


def _remaining(reach: Reach, looks: Sequence[_Look], few: str | None = None) -> list[Remain] | None:
    """What remains in these places; a reference into a table where one told already is not told again.

    None where the condition `few` doesn't hold.
    """
    queries = {str(i): f"SELECT COUNT(*) FROM {place.source}" for i, place in enumerate(looks)}
    if few is not None:
        queries = {
            what: f"SELECT CASE WHEN {few} THEN ({query}) ELSE 0 END" for what, query in queries.items()
        }
        queries["few"] = f"SELECT CASE WHEN {few} THEN 1 ELSE 0 END"
    counts = reach.relations.numbers(queries)
    if few is not None and not counts.pop("few"):
        return None
    found: list[Remain] = []
    for count, place in zip(counts.values(), looks, strict=True):
        if place.what != _REFERENCE:
            told = False
        else:
            told = any(r.table == place.table and r.what == "key" for r in found)
        if count and not told:
            what = "key" if place.what == _REFERENCE else place.what
            found.append(Remain(place.table, place.column, what, count))
    return found


def _rows_that_should_be_gone(fates: Fates) -> list[_Look]:
    """Rows that an erasure run now would delete."""
    return [
        _Look(
            table,
            "+".join(fates.walk.tables[table].key or fates.say.key(table)),
            "key",
            f"{fates.of(table)} f WHERE f.go = 1",
        )
        for table in fates.own
    ]


def _references_left(reach: Reach, fates: Fates) -> list[_Look]:
    """Rows that stay and still hold an erased person's key where they refer to a person, or to a row of theirs."""
    walk = reach.walk
    root = walk.root
    found: list[_Look] = []
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
            found.append(_Look(table.name, "+".join(reference.columns), _REFERENCE, f"({query}) AS q"))
    return found


def _to_people(reach: Reach, fates: Fates, reference: Reference) -> str:
    say, table = reach.say, reference.table
    values = [f"s.k{reach.walk.root.person.index(column)}" for column in reference.to_columns]
    match = say.refers(reference, "t", "s", values=values)
    source = f"{reach.of(PEOPLE)} s {say.join} {say.name(table)} t ON {match}"
    owning = any(
        hop.reference == reference for i in fates.stops_at(table) for hop in reach.walk.stops[i].hops
    )
    return f"SELECT 1 FROM {source} WHERE NOT {_accounted(fates, table, 't')}" + (
        "" if owning else f" AND NOT {_stays(reach, fates)}"
    )


def _rows_of_views(reach: Reach, fates: Fates) -> list[_Look]:
    """Declared views that still give rows for the people: over tables that nobody declared, and so nobody emptied.

    Views that refer to the person's key are seen so; not those that refer to another row of theirs, which is gone.
    """
    walk = reach.walk
    found: list[_Look] = []
    for stop in walk.stops[: walk.own]:
        if not walk.tables[stop.table].is_view:
            continue
        for hop in stop.hops:
            if hop.reference.to != walk.root.table or hop.forward:
                continue
            if set(hop.reference.to_columns) == set(walk.root.person):
                rows = f"{_to_people(reach, fates, hop.reference)} AND NOT {_stays(reach, fates)}"
                found.append(_Look(stop.table, "+".join(hop.reference.columns), "key", f"({rows}) AS q"))
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


def living(store: SQLStore, walk: Walk, identifiers: Fingerprint) -> set[str]:
    """Which of the values stand in a declared column of the same sort now: somebody's who stays, or held."""
    found: set[str] = set()
    with store.read() as connection:
        reach = Reach(connection, store, walk, [])
        for sort, columns in _places(walk).items():
            if identifiers.values.get(sort):
                name = f"kept_value_{list(_places(walk)).index(sort)}"
                source = reach.say.listed("values")
                given = reach.say.listing(identifiers.values[sort])
                reach.make(name, f"SELECT j.v FROM {source}", index="v", values=given)
                for table, column in columns:
                    source = _holding(reach, reach.of(name), table, column)
                    found.update(str(value) for (value,) in reach.run(f"SELECT DISTINCT j.v FROM {source}"))
        reach.relations.drop()
    return found


def contained(store: SQLStore, walk: Walk, identifiers: Fingerprint) -> set[str]:
    """Which of the values stand inside a longer one in a declared column now: `Maria` in somebody's `Mariana`.

    Sorts that point at one person (`SEARCHED`) are found so in identifying columns only: an address in somebody
    else's letter is still that person's. Every declared table is read once, whatever the number of values.
    """
    found: set[str] = set()
    everything = sorted({value for values in identifiers.values.values() for value in values})
    vague = sorted({v for sort, values in identifiers.values.items() if sort not in SEARCHED for v in values})
    with store.read() as connection:
        say = Clauses(store, walk.tables)
        for sort, columns in _places(walk).items():
            wanted = everything if TYPES.get(sort, False) and sort not in ("free-text", "health") else vague
            if not wanted:
                continue
            finder = BytesAhoCorasick([value.encode() for value in wanted])
            for table, column in columns:
                query = f"SELECT {_text(say, walk, table, column)} FROM {say.name(table)} t"
                result = connection.execute(sa.text(query), execution_options={"yield_per": _ROWS})
                for part in result.scalars().partitions():
                    text = "\0".join(str(value) for value in part if value is not None).encode()
                    hits = finder.find_matches_as_indexes(text, overlapping=True)
                    found.update(wanted[number] for number, _start, _end in hits)
    return found


def otherwise_written(
    store: SQLStore, erasure: Erasure, keys: Iterable[object], identifiers: Fingerprint
) -> list[Remain]:
    """Rows that hold an erased person's e-mail address in other capitals; every e-mail column is read once.

    What `look` does along indexes as the values are written, without regard to case.
    """
    if not identifiers.values.get("email"):
        return []
    with store.read() as connection:
        reach = Reach(connection, store, erasure.walk, as_keys(keys))
        reach.stops()
        fates = Fates(reach, erasure)
        emails = Fingerprint({"email": identifiers.values["email"]})
        found = _remaining(reach, _values_left(reach, fates, emails, any_case=True))
        reach.relations.drop()
    return found or []


def _places(walk: Walk) -> dict[str, list[tuple[str, str]]]:
    """Every declared (table, column), by its sort."""
    places: dict[str, list[tuple[str, str]]] = {}
    for table, column in dict.fromkeys((s.table, c) for s in walk.stops for c in (*s.sorts, *s.known_by)):
        places.setdefault(sort_of(walk, table, column), []).append((table, column))
    return places


def _values_left(
    reach: Reach, fates: Fates, identifiers: Fingerprint, *, any_case: bool = False
) -> list[_Look]:
    """Declared columns of the same sort that hold one of the values."""
    found: list[_Look] = []
    for number, (sort, columns) in enumerate(_places(reach.walk).items()):
        if sort not in SEARCHED or not identifiers.values.get(sort):
            continue
        name, given = f"kept_value_{number}", f"values_{number}"
        others = _known_by_others(reach, sort, any_case=any_case)
        query = f"SELECT j.v FROM {reach.say.listed(given)}" + (f" WHERE {others}" if others else "")
        reach.make(name, query, index="v", **{given: reach.say.listing(identifiers.values[sort])})
        for table, column in columns:
            known = f" WHERE NOT {_accounted(fates, table, 't')}" if table in fates.numbers else ""
            source = _in_any_case if any_case else _holding
            found.append(_Look(table, column, sort, source(reach, reach.of(name), table, column) + known))
    return found


def _text(say: Clauses, walk: Walk, table: str, column: str) -> str:
    held = say.column("t", column)
    if walk.tables[table].columns[column].sort == "text" and not say.mariadb:
        return held
    return say.text(held)


def _in_any_case(reach: Reach, name: str, table: str, column: str) -> str:
    """The FROM-clause of rows `t` that hold a value `j` in any case."""
    held = _text(reach.say, reach.walk, table, column)
    values = f"(SELECT DISTINCT lower(v) AS v FROM {name} x) AS j"
    return f"{reach.say.name(table)} t {reach.say.join} {values} ON lower({held}) = j.v"


def _holding(reach: Reach, name: str, table: str, column: str) -> str:
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
                same_value = f"lower({_text(say, walk, stop.table, column)}) = lower(j.v)"
            theirs = f"SELECT 1 FROM {say.name(stop.table)} t WHERE {same_value}{else_s}"
            parts.append(f"NOT EXISTS ({theirs})")
    return " AND ".join(parts)


def _in_batch(reach: Reach, alias: str) -> str:
    match = " AND ".join(
        f"{reach.say.column(alias, c)} = q.k{i}" for i, c in enumerate(reach.walk.root.person)
    )
    return f"EXISTS (SELECT 1 FROM {reach.of(PEOPLE)} q WHERE {match})"
