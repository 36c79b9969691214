"""Who stands in a SQL store and was erased before, known by keyed hashes alone: everybody is hashed and looked up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from kept.company import Company
from kept.controls.rights.people import Person
from kept.evidence.pseudonyms import Gone
from kept.stores.clauses import Clauses, written
from kept.stores.erasing.blanks import PREFIX
from kept.stores.expiring.clocks import format_seen, moment
from kept.stores.walk import Walk

CHUNK = 5000  # people looked up at once
MARGIN = timedelta(days=2)  # a day without its hour, in any time zone, is no further off


@dataclass(frozen=True)
class Erased:
    """Somebody who stands there and was erased before; `gone` says how sure that is.

    `proven`: nobody else can have come to their key, for their own row began before they were erased, or holds a token
    that an erasure put there.
    """

    person: Person
    gone: Gone
    proven: bool


def erased(company: Company, walk: Walk, *, nameless: bool = False) -> Iterator[tuple[int, list[Erased]]]:
    """How many were looked at, and who of them was erased before; parts of at most 5000 people.

    Of everybody, or with `nameless` of those who are known by nothing any more. Whoever began after they were erased is
    somebody new, or the same who came anew, and left out.
    """
    for part in _everybody(company, walk, nameless=nameless):
        found = company.pseudonyms.erased({str(Person(walk.kind, one.key)): one.values for one in part})
        there = []
        for one in part:
            person = Person(walk.kind, one.key)
            gone = found.get(str(person))
            if gone is None or (one.began is not None and one.began > gone.at):
                continue
            proven = one.emptied or (one.began is not None and one.began <= gone.at - MARGIN)
            there.append(Erased(person, gone, proven))
        yield len(part), there


@dataclass(frozen=True)
class _One:
    """A person's key, the values they are known by, when they began, and whether an erasure `emptied` their row."""

    key: tuple[str, ...]
    values: list[str]
    began: datetime | None
    emptied: bool


def _everybody(company: Company, walk: Walk, *, nameless: bool) -> Iterator[list[_One]]:
    store, root = company.stores[walk.store], walk.root
    declared = company.policy.people[walk.kind]
    known_by = [str(column) for column in declared.known_by.values()]
    began = str(declared.began) if declared.began is not None else None
    say = Clauses(store, walk.tables)
    columns = [*root.person, *known_by, *([began] if began is not None else [])]
    query = f"SELECT {', '.join(say.column('t', column) for column in columns)} FROM {say.name(root.table)} t"
    if nameless and known_by:
        query += f" WHERE {' AND '.join(_blank(say, column) for column in known_by)}"
    keys, end = len(root.person), len(root.person) + len(known_by)
    with store.read() as connection:
        clock = format_seen(store, connection, root.table, began) if began is not None else None
        result = connection.execute(
            sa.text(query), execution_options={"stream_results": True, "yield_per": CHUNK}
        )
        for rows in result.partitions(CHUNK):
            yield [
                _One(
                    tuple(written(value) for value in row[:keys]),
                    [str(value) for value in row[keys:end] if value and not _token(value)],
                    moment(clock, row[end]) if clock is not None else None,
                    any(map(_token, row[keys:end])),
                )
                for row in rows
            ]


def _token(value: object) -> bool:
    return str(value).startswith(PREFIX)


def _blank(say: Clauses, column: str) -> str:
    """That a person is known by nothing in a column, as far as SQL can say it in every database."""
    text = say.text(say.column("t", column))
    return f"({text} IS NULL OR {text} IN ('', '0') OR {text} LIKE '{PREFIX}%')"
