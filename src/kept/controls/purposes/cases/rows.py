"""What a row of the company's says of a case: whom it is about, whose it is to work on, since when, and until when."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote

from kept.company import Company
from kept.controls.choices import whom
from kept.controls.rights.people import Person
from kept.controls.rights.places import places
from kept.controls.rights.subjects import subjects
from kept.errors import TerminalError, TransientError
from kept.policy.facts import Link
from kept.policy.policy import Policy
from kept.stores.clauses import Clauses, written
from kept.stores.schema import Table
from kept.stores.sql import SQLStore

LONGEST: Final = 200  # characters of what names a row
_PART: Final = r"(?:[0-9-]{1,20}|[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
PLAIN: Final = re.compile(
    rf"{_PART}(?:,{_PART}){{0,3}}"
)  # numbers, dates, random ids: nothing that says who one is
_NUMBER: Final = re.compile(r"-?[0-9]{1,40}")
_MILLISECONDS: Final = 100_000_000_000  # as seconds this is the year 5138


@dataclass(frozen=True)
class Tie:
    """A row of a link with a staff end. `staff` are kinds of staff, each with the key in its column; `began` and
    `ended` stand as the row has them, None where the link has no such column."""

    people: frozenset[Person]
    staff: frozenset[tuple[str, str]]
    began: tuple[object] | None
    ended: tuple[object] | None

    def why_over(self, now: datetime) -> str | None:
        """Why it is no open case at a moment: not begun, or over; what nobody can read counts against it."""
        if self.began is not None:
            begun = moment(self.began[0])
            if begun is None or begun > now:
                return "the case has not begun"
        if self.ended is not None and self.ended[0] not in (None, ""):
            end = moment(self.ended[0])
            if end is None or end <= now:
                return "the case is over"
        return None

    def is_of(self, policy: Policy, role: str, key: str) -> bool:
        """Whether it is to work on for somebody who asks under a role, by exactly their key."""
        return any(key == mine and role in roles(policy, kind) for kind, mine in self.staff)


def roles(policy: Policy, kind: str) -> set[str]:
    """The words under which a kind of staff may ask: its own, and those of the kinds that are one."""
    return {kind} | {str(one) for one in policy.people if kind in policy.chain(str(one))}


def tie(company: Company, name: str, number: str, person: Person) -> Tie | None:
    """The row of a link by its table's key, as it is written there (parts of a key with commas between them).

    None where there is none, or the link's test doesn't hold for it; of a store behind an API only rows of that person
    are looked at. StoreError where nobody can say.
    """
    link = company.policy.links[name]
    if not number or len(number) > LONGEST or not number.isprintable():
        return None  # whatever else stands there, no database has to read it
    place, _, table = str(link.table).partition(".")
    if place in company.records:
        return _of_records(company, link, place, table, number, person)
    company.map  # noqa: B018  whoever doesn't answer is noted when the map is made
    store = company.stores.get(place)
    if store is None or place in company.unreachable:
        why = company.unreachable.get(place, "it can't be asked")
        raise TransientError(f"nobody can see whose case it is: {why}", where=place)
    return _of_table(company, link, store, store.shape(table), number)


def named(company: Company, case: str) -> str:
    """A case as it stands on record: a key that might say who somebody is as a number that only these keys give."""
    name, _, number = case.partition(":")
    return case if PLAIN.fullmatch(number) else f"{name}:#{company.keys.index(case)[:32]}"


def moment(value: object) -> datetime | None:
    """A time as a column has it, UTC where it names no zone; a number counts from 1970. None for what is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value / (1000 if abs(value) >= _MILLISECONDS else 1), UTC)
        except (ValueError, OverflowError, OSError):
            return None
    return whom.moment(value)


def _of_table(company: Company, link: Link, store: SQLStore, shape: Table, number: str) -> Tie | None:
    if not shape.key:
        raise TerminalError(
            f"the rows of {shape.name} have no key, so no case can be named", where=store.name
        )
    key = tuple(unquote(part) for part in number.split(",")) if len(shape.key) > 1 else (number,)
    tested = link.when.all if link.when is not None else ()
    wanted = list(dict.fromkeys((*shape.key, *_columns(link))))
    for column in (*wanted, *(part.column for part in tested)):
        if column not in shape.columns:
            raise TerminalError(f"there is no column {shape.name}.{column}", where=store.name)
    if any(part.of_age for part in tested):
        raise TerminalError(f"nobody can tell of a row of `{link.name}` how old it is", where=store.name)
    say = Clauses(store, {shape.name: shape})
    shapes = [shape.columns[column] for column in shape.key]
    if any(
        one.sort == "number" and not _NUMBER.fullmatch(part) for one, part in zip(shapes, key, strict=False)
    ):
        return None  # what only Python takes for a number, the database mustn't have to read
    chosen = ", ".join(say.column("t", column) for column in wanted)
    match = [f"{say.column('t', column)} = j.v{i}" for i, column in enumerate(shape.key)]
    match += [say.test(link.when, "t", shape.name)] if link.when is not None else []
    query = f"SELECT {chosen} FROM {say.unpacked(shapes)} {say.join} {say.name(shape.name)} t ON {' AND '.join(match)}"
    with store.read() as connection:
        found = say.run(connection, query, **say.given(shapes, [(0, key)])).all()
    rows = [dict(zip(wanted, row, strict=True)) for row in found]
    # `07` is row 7 to the database, and so is ` 7`: a case has one name, which the ledger knows it by
    rows = [row for row in rows if tuple(written(row[column]) for column in shape.key) == key]
    return _tie(company.policy, link, rows[0]) if len(rows) == 1 else None


def _of_records(
    company: Company, link: Link, place: str, table: str, number: str, person: Person
) -> Tie | None:
    there = company.records[place]
    if link.when is not None or not there.searchable:
        raise TerminalError(f"nobody can ask {place} for one `{link.name}`", where=place)
    root = company.policy.root(person.kind)
    if root is None or root.table is None:
        return None
    ids = subjects(company, places(company, person.kind), [person.key], place)[person.key]
    for _, _, row in there.collect(ids, {table: ["id", *_columns(link)]}):
        if str(row["id"]) == number:
            return _tie(company.policy, link, row)
    return None


def _columns(link: Link) -> list[str]:
    named = [at.column for at in link.between.values()]
    return [str(one) for one in (*named, link.began, link.ended) if one is not None]


def _tie(policy: Policy, link: Link, row: Mapping[str, object]) -> Tie:
    people: set[Person] = set()
    staff: set[tuple[str, str]] = set()
    for at in link.between.values():
        value = row[str(at.column)]
        if value is None or value == "":
            continue  # nobody, and no word that stands for it
        root = policy.root(str(at.kind))
        if policy.is_staff(str(at.kind)):
            staff.add((str(at.kind), written(value)))
        elif root is not None and len(root.key_columns) == 1:
            people.add(Person(str(root.name), (written(value),)))
    began = (row[str(link.began)],) if link.began is not None else None
    ended = (row[str(link.ended)],) if link.ended is not None else None
    return Tie(frozenset(people), frozenset(staff), began, ended)
