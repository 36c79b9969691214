"""What is disclosed, read from the stores themselves, and whether what a caller hands over is that person's."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from kept.company import Company
from kept.controls.choices.deciding import How
from kept.controls.collection.gate.fields import Fields
from kept.controls.disclosure.payload import Record
from kept.controls.purposes.cases import reading
from kept.controls.rights.people import Person, known_of, resolve
from kept.controls.rights.places import places
from kept.controls.rights.subjects import known_there, subjects
from kept.errors import TerminalError
from kept.policy.fact_readers import store_of
from kept.stores.collect import collect
from kept.stores.walk import Walk

PHONE: Final = "phone"  # what people are known by that is written in many ways
_MAIL: Final = re.compile(r"[^\s@:]+@[^\s@:]+\.[^\s@:]+")


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
                help="hand over the values, from a program: disclose(…, records=…)",
            )
        if plan.undated:
            raise TerminalError(
                f"which rows of {', '.join(plan.undated)} are past their limit can't be told",
                help="hand over those that aren't, from a program: disclose(…, records=…)",
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
    """Those of whom a record gives what somebody else is known by (another's key or e-mail address), or several rows
    where each is a person, with the column.

    `given` are values by column. A statement a kind. What a person isn't known by (a street) can't be told from
    another's.
    """
    found: dict[Person, str] = {}
    for kind in dict.fromkeys(who.kind for who in given):
        root = company.policy.people.get(kind)
        if root is None or root.table is None:
            continue
        table = str(root.table)
        mine = {who: at for who, at in given.items() if who.kind == kind}
        keys = [f"{table}.{column}" for column in root.key_columns]
        for who, at in mine.items():
            wrong = [
                column for column, values in at.items() if column.startswith(f"{table}.") and len(values) > 1
            ]
            wrong += [
                column
                for column, part in zip(keys, who.key, strict=True)
                if any(str(value) != part for value in at.get(column, ()))
            ]
            if wrong:
                found[who] = wrong[0]
        names = {f"{table}.{column}": str(name) for name, column in root.known_by.items()}
        mine = {who: at for who, at in mine.items() if at.keys() & names.keys()}
        known = _known(company, kind, mine)
        if known is None:
            continue  # a browser or an outside store, which nobody can ask
        for who, at in mine.items():
            own = {name: _form(name, value) for name, value in known.get(who.key, {}).items()}
            for column in at.keys() & names.keys():
                name = names[column]
                if any(v is not None and _form(name, str(v)) != own.get(name) for v in at[column]):
                    found[who] = column
    return found


def strangers(company: Company, given: Mapping[Person, Mapping[str, tuple[Any, ...]]]) -> dict[Person, str]:
    """Those of whom a record gives an e-mail address by which somebody else is known, in whatever column, with it."""
    asked: dict[str, list[tuple[Person, str]]] = {}
    for who, at in given.items():
        for column, values in at.items():
            for value in values:
                if isinstance(value, str) and _MAIL.fullmatch(value.strip()):
                    asked.setdefault(value.strip(), []).append((who, column))
    if not asked or not any(root.known_by for root in company.policy.people.values()):
        return {}
    own = identifiers(company, list(given))
    wanted = [text for text, at in asked.items() if any(text.casefold() not in own[who] for who, _ in at)]
    told = resolve(company, wanted)
    nobodys = {place for place, _ in told.wrong} - told.several
    return {
        who: column
        for place, text in enumerate(wanted, 1)
        if place not in nobodys
        for who, column in asked[text]
        if text.casefold() not in own[who]
    }


def identifiers(company: Company, people: Sequence[Person]) -> dict[Person, frozenset[str]]:
    """By what each of these people is known (an e-mail address, a login), in small letters, as far as it can be asked.
    A statement a kind."""
    found: dict[Person, frozenset[str]] = dict.fromkeys(people, frozenset())
    for kind in dict.fromkeys(who.kind for who in people):
        mine = [who for who in people if who.kind == kind]
        known = _known(company, kind, mine) or {}
        found |= {who: frozenset(map(str.casefold, known.get(who.key, {}).values())) for who in mine}
    return found


def _known(
    company: Company, kind: str, people: Iterable[Person]
) -> Mapping[tuple[str, ...], Mapping[str, str]] | None:
    """By which values people of a kind are known, by name; None where nobody can ask their store."""
    root, keys = company.policy.people.get(kind), [who.key for who in people]
    if root is None or root.table is None or not root.known_by or not keys:
        return {}
    home = store_of(root.table)
    if home in company.records:
        return known_there(company, home, kind, keys)
    return known_of(company, kind, keys) if home in company.stores else None


def _form(name: str, value: str) -> str:
    """A value by which people are known, however it is written: an address in small letters, a number by its digits."""
    folded = value.strip().casefold()
    return "".join(char for char in folded if char.isalnum()) if name == PHONE else folded


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
