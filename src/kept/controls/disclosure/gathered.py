"""What is disclosed, read from the stores themselves, and whether what a caller hands over is that person's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kept.company import Company
from kept.controls.choices.deciding import How
from kept.controls.collection.gate.fields import Fields
from kept.controls.disclosure.payload import Record
from kept.controls.purposes.cases import reading
from kept.controls.rights.people import Person, known_of
from kept.controls.rights.places import places
from kept.controls.rights.subjects import known_there, subjects
from kept.errors import TerminalError
from kept.policy.fact_readers import store_of
from kept.stores.collect import collect
from kept.stores.walk import Walk


def gather(
    company: Company, people: Sequence[Person], purpose: str, data: Sequence[str], allowed: Fields
) -> dict[Person, Record]:
    """The records of people: the rows of each table (`store.table`), with the columns allowed and no others, as far as
    their limits haven't passed.

    A few statements a kind, however many they are; where single rows have limits of their own, a few a person.
    TerminalError where some of it stands where Kept can't read it, or nobody can tell which rows are past their limit;
    StoreError where a store doesn't answer.
    """
    columns: dict[str, set[str]] = defaultdict(set)
    for place in allowed.places:
        columns[place.table].add(place.column)
    found: dict[Person, dict[str, Any]] = {who: {} for who in people}
    for kind in dict.fromkeys(who.kind for who in people):
        mine = [who for who in people if who.kind == kind]
        fields: dict[str, How] = {f"{table}.{c}": "as is" for table, held in columns.items() for c in held}
        plan = reading.plan(company, mine[0], purpose, data, fields)
        unread = _tables_of(company, kind, data) & columns.keys() & set(plan.elsewhere)
        if unread:
            raise TerminalError(
                f"{', '.join(sorted(unread))} can't be read from here",
                help="hand over the values, as records",
            )
        if plan.undated:
            raise TerminalError(
                f"which rows of {', '.join(plan.undated)} are past their limit can't be told",
                help="hand over the values that aren't, as records",
            )
        if plan.past:
            for who in mine:
                rows = reading.read(company, replace(plan, person=who)).rows
                found[who] = {place: [dict(row) for row in some] for place, some in rows.items()}
        else:
            _together(company, mine, data, columns, found)
    return dict(found)


def _together(
    company: Company,
    people: Sequence[Person],
    data: Sequence[str],
    columns: Mapping[str, set[str]],
    found: dict[Person, dict[str, Any]],
) -> None:
    """Read people of one kind at once."""
    kind = people[0].kind
    mine = {tuple(map(str, who.key)): who for who in people}
    reached, walk = places(company, kind), company.map.walk(kind)
    if walk is not None and any(table.partition(".")[0] == walk.store for table in columns):
        for portion in collect(company.stores[walk.store], _only(walk, columns, data), list(mine)):
            for key, row in portion.rows:
                who = mine[tuple(map(str, key))]
                found[who].setdefault(f"{walk.store}.{portion.table}", []).append(dict(row))
    for store, tables in reached.records.items():
        wanted = {
            table: [column for column in held if column in columns.get(f"{store}.{table}", ())]
            for table, held in tables.items()
        }
        wanted = {table: held for table, held in wanted.items() if held}
        ids = subjects(company, reached, list(mine), store) if wanted else {}
        whose = {subject: mine[key] for key, some in ids.items() for subject in some}
        if whose:
            for subject, table, row in company.records[store].collect(list(whose), wanted):
                found[whose[subject]].setdefault(f"{store}.{table}", []).append(dict(row))


def others(company: Company, given: Mapping[Person, Mapping[str, tuple[Any, ...]]]) -> dict[Person, str]:
    """Those of whom a record gives what somebody else is known by (another's key or e-mail address), with the column.

    `given` are values by column. A statement a kind. What a person isn't known by (a street) can't be told from
    another's.
    """
    found: dict[Person, str] = {}
    for kind in dict.fromkeys(who.kind for who in given):
        root = company.policy.people.get(kind)
        if root is None or root.table is None:
            continue
        home, table = store_of(root.table), str(root.table)
        mine = {who: at for who, at in given.items() if who.kind == kind}
        if len(root.key_columns) == 1:
            column = f"{table}.{root.key_columns[0]}"
            found |= {
                who: column
                for who, at in mine.items()
                if any(str(v) != who.key[0] for v in at.get(column, ()))
            }
        names = {f"{table}.{column}": str(name) for name, column in root.known_by.items()}
        mine = {who: at for who, at in mine.items() if at.keys() & names.keys()}
        if not mine or (home not in company.records and home not in company.stores):
            continue  # none is given; or a browser or an outside store, which nobody can ask
        keys = [who.key for who in mine]
        asked = known_there if home in company.records else None
        known = asked(company, home, kind, keys) if asked is not None else known_of(company, kind, keys)
        for who, at in mine.items():
            own = {name: _form(value) for name, value in known.get(who.key, {}).items()}
            for column in at.keys() & names.keys():
                if any(v is not None and _form(str(v)) != own.get(names[column]) for v in at[column]):
                    found[who] = column
    return found


def _form(value: str) -> str:
    """A value by which people are known, however it is written: an address in small letters, a number by its digits."""
    folded = value.casefold()
    return folded if "@" in folded else "".join(char for char in folded if char.isalnum())


def _tables_of(company: Company, kind: str, data: Sequence[str]) -> set[str]:
    policy = company.policy
    found = set()
    for name in data:
        declared = policy.data[name]
        owners = (policy.root(owner) for owner in policy.owners(declared))
        if any(root is not None and root.name == kind for root in owners):
            found |= {str(table) for table in declared.tables}
    return found


def _only(walk: Walk, columns: Mapping[str, Iterable[str]], data: Sequence[str]) -> Walk:
    """The walk with nothing in it but some columns of some data."""
    stops = tuple(
        replace(
            stop,
            columns={
                column: names
                for column, names in stop.columns.items()
                if column in columns.get(f"{walk.store}.{stop.table}", ()) and set(names) & set(data)
            },
        )
        for stop in walk.stops
    )
    return replace(walk, stops=stops)
