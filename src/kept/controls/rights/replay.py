"""After a backup was restored: whoever was erased since is there again, is found, and goes again.

Who was erased is known by keyed hashes alone (`Pseudonyms.erased`), so every person there is hashed and looked up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from kept.company import Company
from kept.controls.rights.people import Person
from kept.stores.blanks import PREFIX
from kept.stores.clauses import Clauses, written
from kept.stores.clocks import format_seen, moment
from kept.stores.sql import SQLStore
from kept.stores.walk import Walk

CHUNK = 5000  # people looked up at once


@dataclass(frozen=True)
class Restored:
    """People who were erased and are there again; of the `doubtful` only the key says so, which somebody else may have.

    Who began after they were erased is somebody new, or the same who came anew, and neither.
    """

    people: tuple[Person, ...]
    doubtful: tuple[Person, ...]
    looked_at: int


def restored(company: Company) -> Restored:
    """Look through everybody who stands in a SQL store."""
    people: list[Person] = []
    doubtful: list[Person] = []
    looked_at = 0
    if not company.pseudonyms.any_erased():
        return Restored((), (), 0)
    for kind in company.root_kinds():
        walk = company.map.walk(kind)
        if walk is None:
            continue
        declared = company.policy.people[kind]
        known_by = [str(column) for column in declared.known_by.values()]
        began = str(declared.began) if declared.began is not None else None
        for part in _everybody(company.stores[walk.store], walk, known_by, began):
            looked_at += len(part)
            found = company.pseudonyms.erased({str(Person(kind, one.key)): one.values for one in part})
            for one in part:
                person = Person(kind, one.key)
                gone = found.get(str(person))
                if gone is not None and not gone.frame and (one.began is None or one.began <= gone.at):
                    (people if gone.surely else doubtful).append(person)
    return Restored(tuple(people), tuple(doubtful), looked_at)


@dataclass(frozen=True)
class _One:
    key: tuple[str, ...]
    values: list[str]
    began: datetime | None


def _everybody(store: SQLStore, walk: Walk, known_by: list[str], began: str | None) -> Iterator[list[_One]]:
    """The key, the identifying values and the beginning of everybody, a chunk at a time."""
    say, root = Clauses(store, walk.tables), walk.root
    columns = [*root.person, *known_by, *([began] if began is not None else [])]
    query = f"SELECT {', '.join(say.column('t', column) for column in columns)} FROM {say.name(root.table)} t"
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
                    [str(value) for value in row[keys:end] if value and not str(value).startswith(PREFIX)],
                    moment(clock, row[end]) if clock is not None else None,
                )
                for row in rows
            ]
