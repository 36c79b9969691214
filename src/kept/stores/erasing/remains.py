"""Looks, after an erasure, for what remains of the people: their keys and their identifiers, in every declared place.

Before: `fingerprint` takes the identifying values of a batch. After: `look` searches with them, in the places that
`leftovers` names. The number of statements that both send doesn't grow with the people.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from ahocorasick_rs import BytesAhoCorasick

from kept.policy.words import TYPES
from kept.stores.clauses import Clauses
from kept.stores.collect import MANY, fetched
from kept.stores.erasing.blanks import PREFIX
from kept.stores.erasing.fates import Fates
from kept.stores.erasing.leftovers import (
    REFERENCE,
    SEARCHED,
    Place,
    anything,
    as_text,
    bound_values,
    columns_by_sort,
    everywhere,
    holding,
    in_any_case,
    sort_of,
    values_left,
)
from kept.stores.reach import FEW, SOME, Reach, as_keys, reached
from kept.stores.sql import SQLStore
from kept.stores.walk import Erasure, Key, Walk

_SHORT = 4  # shorter values are found everywhere
_ROWS = 10_000  # read at once
_BEFORE = " ,;:<>()[]\"'\n\t\0="  # what stands before an identifier in a letter, a list, JSON or a log


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
        together = len(people) <= MANY
        reach, (query, places) = reached(
            connection, store, walk, people, "fingerprint", _identifying, together=together
        )
        found: dict[str, set[str]] = {}
        if query:
            seen: set[tuple[Any, ...]] = set()
            for part in fetched(reach.run(query)):
                seen.update(part)
            for place, value in seen:
                text = str(value)
                if len(text) >= _SHORT and not text.startswith(PREFIX):  # a token of ours is nobody's
                    found.setdefault(places[place], set()).add(text)
        reach.relations.drop()
    return Fingerprint({sort: frozenset(values) for sort, values in found.items()})


def _identifying(reach: Reach) -> tuple[str, list[str]]:
    """A query for the identifying values, each with the number of its place, and the sort of each place."""
    reach.stops()
    walk = reach.walk
    parts: list[str] = []
    places: list[str] = []
    for number, stop in enumerate(walk.stops[: walk.own]):
        if walk.tables[stop.table].is_view:
            continue
        taken = [
            c
            for c, sort in stop.sorts.items()
            if TYPES.get(sort, False) and sort not in ("free-text", "health")
        ]
        if not stop.hops:
            taken += [column for column in stop.known_by if column not in taken]
        parts += _values_at(reach, number, taken, start=len(places))
        places += [sort_of(walk, stop.table, column) for column in taken]
    return " UNION ALL ".join(parts), places


def _values_at(reach: Reach, number: int, columns: list[str], start: int) -> list[str]:
    """Queries for the values of columns in the rows of a stop, each with the number of its place."""
    say, stop = reach.say, reach.walk.stops[number]
    table = stop.table
    if reach.together and reach.once(stop):
        [source] = reach.ways(stop)
    else:
        source = f"{reach.stop(number)} s {say.join} {say.name(table)} t ON {say.same_row(table, 't', 's')}"
    values = [
        (place, say.as_text(say.column("t", column))) for place, column in enumerate(columns, start=start)
    ]
    if say.one_statement and len(columns) > 1:
        each = ", ".join(f"({place}, {value})" for place, value in values)
        beside = f"CROSS JOIN LATERAL (VALUES {each}) AS v(place, value)"
        return [f"SELECT v.place, v.value FROM {source} {beside} WHERE v.value IS NOT NULL"]
    return [
        f"SELECT {place} AS place, {value} FROM {source} WHERE {value} IS NOT NULL" for place, value in values
    ]


def look(store: SQLStore, erasure: Erasure, keys: Iterable[object], identifiers: Fingerprint) -> list[Remain]:
    """What remains of people who were erased; empty when nothing does.

    Rows under a hold, and those between them and their person, aren't remains. Neither is a value that the own row of
    somebody else holds among its identifiers: two people who share a telephone are two.
    """
    people = as_keys(keys)
    given = {sort: identifiers.values[sort] for sort in SEARCHED if identifiers.values.get(sort)}
    with store.read(few=len(people) <= FEW) as connection:
        found = None
        if len(people) <= SOME and store.one_statement:
            found = _look_at_once(connection, store, erasure, people, given)
            if found is None:
                store.many(connection)
        if found is None:
            reach = Reach(connection, store, erasure.walk, people)
            found = []
            if erasure.holds or reach.relations.numbers(anything(reach, given))["left"]:
                found = _remaining(reach, everywhere(reach, erasure, given)[1])
            reach.relations.drop()
    assert found is not None
    return found


def _look_at_once(
    connection: sa.Connection,
    store: SQLStore,
    erasure: Erasure,
    people: Sequence[Key],
    given: Mapping[str, frozenset[str]],
) -> list[Remain] | None:
    """None where these people have more than few rows: held ones, perhaps."""
    none = dict.fromkeys(given, frozenset[str]())
    bound = bound_values(Clauses(store, erasure.walk.tables), erasure.walk, given)
    if not erasure.holds:
        what: Hashable = ("anything", *given)
        reach, queries = reached(
            connection, store, erasure.walk, people, what, lambda r: anything(r, none), together=True
        )
        if not reach.with_values(bound).relations.numbers(queries)["left"]:
            return []
    what = ("look", erasure.shape, *given)
    reach, (fates, looks) = reached(
        connection, store, erasure.walk, people, what, lambda r: everywhere(r, erasure, none), together=True
    )
    return _remaining(reach.with_values(bound | fates.bounds(erasure)), looks)


def _remaining(reach: Reach, looks: Sequence[Place]) -> list[Remain] | None:
    """What remains in these places; a reference into a table where one told already is not told again.

    None where it is asked in one statement, and the rows turn out not to be few.
    """
    few = "EXISTS (SELECT 1 FROM kept_few)" if reach.together else None
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
        if place.what != REFERENCE:
            told = False
        else:
            told = any(r.table == place.table and r.what == "key" for r in found)
        if count and not told:
            what = "key" if place.what == REFERENCE else place.what
            found.append(Remain(place.table, place.column, what, count))
    return found


def living(store: SQLStore, walk: Walk, identifiers: Fingerprint) -> set[str]:
    """Which of the values stand in a declared column of the same sort now: somebody's who stays, or held."""
    found: set[str] = set()
    with store.read() as connection:
        reach = Reach(connection, store, walk, [])
        for sort, columns in columns_by_sort(walk).items():
            if identifiers.values.get(sort):
                name = f"kept_value_{list(columns_by_sort(walk)).index(sort)}"
                source = reach.say.listed("values")
                given = reach.say.listing(identifiers.values[sort])
                reach.make(name, f"SELECT j.v FROM {source}", index="v", values=given)
                for table, column in columns:
                    source = holding(reach, reach.of(name), table, column)
                    found.update(str(value) for (value,) in reach.run(f"SELECT DISTINCT j.v FROM {source}"))
        reach.relations.drop()
    return found


def contained(store: SQLStore, walk: Walk, identifiers: Fingerprint) -> set[str]:
    """Which of the values stand inside a longer one in a declared column now: `Maria` in somebody's `Mariana`.

    Sorts that point at one person (`SEARCHED`) are found so in identifying columns only: an address in somebody
    else's letter is still that person's. Columns of the values' own sorts come first, and nothing is read any more once
    all are found, which is so mostly; where one isn't, every declared table is read once.
    """
    found: set[str] = set()
    everything = sorted({value for values in identifiers.values.values() for value in values})
    vague = sorted({v for sort, values in identifiers.values.items() if sort not in SEARCHED for v in values})
    with store.read() as connection:
        say = Clauses(store, walk.tables)
        by_sort = columns_by_sort(walk)
        for sort in sorted(by_sort, key=lambda sort: not identifiers.values.get(sort)):
            pointing = TYPES.get(sort, False) and sort not in ("free-text", "health")
            wanted = [value for value in (everything if pointing else vague) if value not in found]
            if not wanted:
                continue
            finder = BytesAhoCorasick([value.encode() for value in wanted])
            for table, column in by_sort[sort]:
                query = f"SELECT {as_text(say, walk, table, column)} FROM {say.name(table)} t"
                result = connection.execute(sa.text(query), execution_options={"yield_per": _ROWS})
                for part in result.scalars().partitions():
                    text = "\0".join(str(value) for value in part if value is not None).encode()
                    hits = finder.find_matches_as_indexes(text, overlapping=True)
                    found.update(wanted[number] for number, _start, _end in hits)
                    if found.issuperset(wanted):
                        break
                result.close()
                if found.issuperset(wanted):
                    break
    return found


def bounded(value: str) -> list[str]:
    """An identifier behind each separator that may precede it, to search for one that `contained` tells of.

    `ann@example.org` stands inside `joann@example.org`, and ` ann@example.org` doesn't: a hit of one of these is no
    part of an identifier that is longer to the left, as longer ones mostly are. One that is longer to the right only
    is hit as well. Missed is the identifier where no separator comes before it: at the beginning of a column, where
    the bytes before it are the database's own or the end of another column.
    """
    return [before + value for before in _BEFORE]


def emails_there(store: SQLStore, walk: Walk, identifiers: Fingerprint) -> set[str]:
    """Which of the e-mail addresses stand in a declared column in any case, whoever's; every such column is read."""
    emails = identifiers.values.get("email")
    if not emails:
        return set()
    with store.read() as connection:
        reach = Reach(connection, store, walk, [])
        query = f"SELECT {reach.say.lowered('j.v')} AS v, j.v AS written FROM {reach.say.listed('emails')}"
        reach.make("kept_emails", query, index="v", emails=reach.say.listing(emails))
        columns = columns_by_sort(walk).get("email", [])
        places = [in_any_case(reach, reach.of("kept_emails"), table, column) for table, column in columns]
        found = {
            str(value)
            for place in places
            for (value,) in reach.run(f"SELECT DISTINCT j.written FROM {place}")
        }
        reach.relations.drop()
    return found


def otherwise_written(
    store: SQLStore, erasure: Erasure, keys: Iterable[object], identifiers: Fingerprint
) -> list[Remain]:
    """Rows that hold an erased person's e-mail address in other capitals, and aren't another person's.

    What `look` does along indexes as the values are written, without regard to case.
    """
    there = emails_there(store, erasure.walk, identifiers)
    if not there:  # mostly; only else it is asked whose each is
        return []
    with store.read() as connection:
        reach = Reach(connection, store, erasure.walk, as_keys(keys))
        reach.stops()
        fates = Fates(reach, erasure)
        found = _remaining(reach, values_left(reach, fates, {"email": frozenset(there)}, any_case=True))
        reach.relations.drop()
    return found or []
