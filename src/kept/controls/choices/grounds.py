"""Reading what decisions about people rest on: a fixed number of statements, however many people they are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select

from kept.company import Company
from kept.controls.choices.asking import visitor_kind
from kept.controls.choices.deciding import Basis, Rulings
from kept.controls.choices.guardians import guardians
from kept.controls.choices.records import subjects
from kept.controls.choices.records.history import Event, Key, standing
from kept.controls.choices.whom import Facts
from kept.controls.choices.whom import about as about
from kept.controls.rights.instruct import in_force as said_by
from kept.controls.rights.people import Person
from kept.state.tables import instructions, meanings

CHUNK: Final = 5000


def read(company: Company, whos: Sequence[Person], rulings: Rulings) -> dict[Person, Basis]:
    """What decisions about these people rest on; `until` is in how many seconds one of their yeses lapses.

    StoreError where something of it can't be read.
    """
    with company.state.read() as connection:
        numbered = subjects.known(company, connection, whos)
        events, answers = standing(connection, [number for number, _ in numbered.values()])
        learn(connection, rulings, (event.meaning for mine in events.values() for event in mine.values()))
    told = about(company, whos)
    said = _said(company, whos, {who: events.get(number, {}) for who, (number, _) in numbered.items()})
    guards = _guards(company, rulings, told)
    now = company.clock()
    found = {}
    for who in whos:
        mine = events.get(numbered[who][0], {}) if who in numbered else {}
        ends = [
            (one.until - now).total_seconds()
            for one in mine.values()
            if one.until is not None and one.until > now
        ]
        found[who] = Basis(
            mine,
            told[who],
            said.get(who, ()),
            guards.get(who, {}),
            min(ends, default=float("inf")),
            unplaced=unplaced(company, who.kind),
            answers=answers.get(numbered[who][0], {}) if who in numbered else {},
        )
    return found


def learn(connection: Connection, rulings: Rulings, digests: Iterable[str]) -> None:
    """Read what choices were about that nobody has read yet."""
    missing = sorted(set(digests) - rulings.meanings.keys())
    for start in range(0, len(missing), CHUNK):
        query = select(meanings).where(meanings.c.id.in_(missing[start : start + CHUNK]))
        rulings.meanings |= {row.id: json.loads(row.body) for row in connection.execute(query)}


def unplaced(company: Company, kind: str) -> bool:
    """Whether no database says where people of a kind are: they are visitors, or records behind an API."""
    return kind == visitor_kind(company.policy) or company.map.walk(kind) is None


def _said(
    company: Company, whos: Sequence[Person], events: Mapping[Person, Mapping[Key, Event]]
) -> dict[Person, list[tuple[str, str]]]:
    """What each of them said about the use of their data, without what they took back with a later yes."""
    said = said_by(company, whos)
    withdrawn = [who for who, all_ in said.items() if any(verb == "withdraw" for verb, _ in all_)]
    if not withdrawn:
        return said
    since: dict[tuple[str, str], datetime] = {}
    pseudonyms = company.pseudonyms.find([str(who) for who in withdrawn])
    given = sorted(pseudonyms.values())
    with company.state.read() as connection:
        for start in range(0, len(given), CHUNK):
            query = select(instructions).where(
                instructions.c.pseudonym.in_(given[start : start + CHUNK]),
                instructions.c.verb == "withdraw",
                instructions.c.ended.is_(None),
            )
            for row in connection.execute(query):
                since[row.pseudonym, row.scope] = datetime.fromisoformat(row.since)
    for who in withdrawn:
        yeses = {
            (pseudonyms[str(who)], choice): event.at
            for (choice, _), event in events.get(who, {}).items()
            if event.answer == "yes" and not event.is_automatic
        }
        said[who] = [
            (verb, scope)
            for verb, scope in said[who]
            if verb != "withdraw"
            or (place := (pseudonyms[str(who)], scope)) not in yeses
            or yeses[place] <= since.get(place, yeses[place])
        ]
    return said


def _guards(
    company: Company, rulings: Rulings, told: Mapping[Person, Facts]
) -> dict[Person, dict[str, frozenset[str]]]:
    """By choice that somebody else answers for: the pseudonyms of whoever may, for each person it concerns."""
    found: dict[Person, dict[str, frozenset[str]]] = {}
    for choice in rulings.choices.values():
        theirs = [
            who for who, one in told.items() if choice.by and one.there and rulings.concerns(choice, one)
        ]
        if theirs:
            by = guardians(company, choice, theirs)
            for who in theirs:
                found.setdefault(who, {})[str(choice.name)] = frozenset(by.get(who, {}).values())
    return found
