"""Rows of people who never said yes to a collection that waits for one: counted from the rows, not from the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from pyroaring import BitMap

from kept.company import Company
from kept.controls.choices import meaning as meanings_of
from kept.controls.choices.asking import ASKED, ask_of, visitor_kind
from kept.controls.choices.declare import Choice
from kept.controls.choices.records import marks, subjects
from kept.controls.choices.records.states import STANDING
from kept.controls.choices.whom import facts
from kept.controls.collection.browser.seen import at_rest
from kept.controls.collection.declare import Collecting
from kept.controls.collection.gate.fields import OURS
from kept.controls.collection.gate.location import PRECISE
from kept.controls.rights.people import Person
from kept.policy.facts import Data
from kept.state.tables import choice_events, meanings
from kept.stores.clauses import written
from kept.stores.conditions import value
from kept.stores.walk import Stop, Walk

PAGE: Final = 5000


@dataclass(frozen=True)
class Rows:
    """How many people have rows of a collection, how many of them without a yes, and what couldn't be looked at."""

    people: int
    without: int
    tables: int
    gaps: tuple[str, ...] = ()


def without_yes(company: Company, choice: Choice, collection: Collecting) -> Rows:
    """Count the people with rows of what a step collects, and those of them whose yes is missing.

    Of a precise location the yes must stand now (it has to go with the permission); of anything else it must have been
    given once. Where nobody's answer to the choice was ever recorded here, nobody can tell who said yes elsewhere.
    Raises StoreError where a store fails.
    """
    policy = company.policy
    people, without, tables = 0, 0, 0
    gaps: dict[str, None] = {}
    visitors = visitor_kind(policy)
    for name in dict.fromkeys((*collection.takes, *collection.optional)):
        data = policy.data[name]
        precise = any(sort.type == PRECISE for columns in data.tables.values() for sort in columns.values())
        yes = _standing(company, choice, collection) if precise else _ever(company, choice)
        for table in at_rest(policy, data):
            store = table.partition(".")[0]
            if store not in company.schemas:
                why = company.unreachable.get(store, "its kind of store is not measured yet")
                gaps[f"`{table}` can't be asked: {why}"] = None
                continue
            kinds = dict.fromkeys(
                str(root.name) for kind in policy.owners(data) if (root := policy.root(kind)) is not None
            )
            for kind in kinds:
                if kind == visitors:
                    gaps[
                        f"whose rows of `{table}` are whose is between the site and its visitors, by numbers that"
                        " Kept doesn't know"
                    ] = None
                    continue
                ways = _ways(company, data, table, kind)
                if ways is None:
                    gaps[
                        f"rows of `{table}` lead to people of kind `{kind}` in a way that isn't followed"
                    ] = None
                    continue
                tables += 1
                for page in _people(company, store, kind, ways):
                    people += len(page)
                    without += _lacking(company, choice, page, yes)
    if without and not _is_in_use(company, choice):
        gap = (
            f"{without} of {people} people have rows, and no answer to `{choice.name}` was ever recorded here"
        )
        return Rows(people, 0, tables, (gap, *gaps))
    return Rows(people, without, tables, tuple(gaps))


def _is_in_use(company: Company, choice: Choice) -> bool:
    query = sa.select(choice_events.c.number).where(choice_events.c.choice == str(choice.name)).limit(1)
    with company.state.read() as connection:
        return connection.scalar(query) is not None


def _standing(company: Company, choice: Choice, collection: Collecting) -> BitMap:
    """Who has a yes now, given for what the collection takes."""
    about = meanings_of.about(company.policy, "collection", str(collection.name))
    with company.state.read() as connection:
        found = marks.read(connection, [str(choice.name)])
        bodies = _bodies(connection, {mark.meaning for mark in found} - {marks.NO})
    yes = BitMap()
    for mark, bits in found.items():
        body = bodies.get(mark.meaning)
        if (
            not mark.scope
            and body is not None
            and meanings_of.covers(body, "collection", str(collection.name), about)
        ):
            yes |= bits
    return yes


def _bodies(connection: sa.Connection, ids: set[str]) -> dict[str, Any]:
    query = sa.select(meanings.c.id, meanings.c.body).where(meanings.c.id.in_(sorted(ids)))
    return {row.id: json.loads(row.body) for row in connection.execute(query)}


def _ever(company: Company, choice: Choice) -> BitMap:
    """Who ever said yes."""
    query = (
        sa.select(choice_events.c.subject)
        .where(choice_events.c.choice == str(choice.name), choice_events.c.state.in_(STANDING))
        .distinct()
    )
    with company.state.read() as connection:
        return BitMap(connection.scalars(query))


def _ways(
    company: Company, data: Data, table: str, kind: str
) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]] | None:
    """By which columns of the table a row names its person, and which columns then hold something of the data."""
    walk, plain = company.map.walk(kind), table.partition(".")[2]
    if walk is None:
        return None
    columns = tuple(
        str(name)
        for place, sorts in data.tables.items()
        if place == table
        for name, sort in sorts.items()
        if sort.type not in OURS
    )
    found = []
    for number in walk.of_table(plain):
        stop = walk.stops[number]
        if not set(columns) <= set(stop.columns):
            continue
        keys = _keys(walk, stop)
        if keys is None:
            return None
        found += [(plain, key, columns) for key in keys]
    return found or None


def _keys(walk: Walk, stop: Stop) -> list[tuple[str, ...]] | None:
    """The columns that hold a person's key; None where another table stands between."""
    if not stop.hops:
        return [stop.person]
    keys = []
    for hop in stop.hops:
        reference = hop.reference
        plain = not (hop.forward or reference.path or reference.when)
        if hop.parent != 0 or not plain or reference.to_columns != walk.root.person:
            return None
        keys.append(reference.columns)
    return keys


def _people(
    company: Company, store: str, kind: str, ways: Sequence[tuple[str, tuple[str, ...], tuple[str, ...]]]
) -> Iterator[list[Person]]:
    """Those with rows that hold something, each once for each way, some thousand at a time."""
    opened = company.stores[store]
    for table, key, columns in ways:
        source, shape = opened.table(table), opened.shape(table)
        filled = sa.or_(
            *(
                sa.and_(source.c[one].is_not(None), sa.cast(source.c[one], sa.Text) != value(""))
                for one in columns
                if one in shape.columns
            )
        )
        query = sa.select(*(source.c[one] for one in key)).distinct().where(filled)
        query = query.where(*(source.c[one].is_not(None) for one in key))
        with opened.read() as connection:
            rows = connection.execution_options(yield_per=PAGE).execute(query)
            for part in rows.partitions(PAGE):
                yield [Person(kind, tuple(written(one) for one in row)) for row in part]


def _lacking(company: Company, choice: Choice, page: Sequence[Person], yes: BitMap) -> int:
    """How many of these people have no yes, where one is needed of them."""
    numbers = subjects.find(company, page)
    missing = [who for who in page if numbers.get(who, 0) not in yes]
    everywhere = {
        ask_of(company.policy, choice, region) in ASKED
        for region in (None, *(str(one) for one in choice.ask if one != "elsewhere"))
    }
    if everywhere == {True} or not missing:
        return len(missing)
    told = facts(company, missing)
    return sum(ask_of(company.policy, choice, told[who].region) in ASKED for who in missing)
