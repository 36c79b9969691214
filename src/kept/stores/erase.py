"""Erases people from a store: one transaction, the same number of statements for one person or a thousand.

First everything is found and decided; what can't be done refuses before anything has changed. Then references to
rows that go are emptied and shared rows cleared, then rows are deleted, those that refer before those referred to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from kept.errors import TerminalError
from kept.stores.changes import Change, Changes
from kept.stores.fates import Fates
from kept.stores.order import deletion_order
from kept.stores.reach import Reach, as_keys
from kept.stores.sql import SQLStore
from kept.stores.walk import Erasure


@dataclass(frozen=True)
class Count:
    """Rows of one table: `deleted`; `unlinked` (a reference emptied) and `cleared` (a value blanked), a row may be
    both; `held` rows stay under a hold, or because they lie between a held row and its person.
    """

    deleted: int = 0
    unlinked: int = 0
    cleared: int = 0
    held: int = 0


@dataclass(frozen=True)
class Counts:
    """What an erasure did, by table; tables where nothing was found are left out."""

    tables: Mapping[str, Count] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether anything was changed: a second run over the same people says no."""
        return any(count.deleted or count.unlinked or count.cleared for count in self.tables.values())

    def as_json(self) -> dict[str, dict[str, int]]:
        return {table: dict(vars(count)) for table, count in self.tables.items()}


def erase(
    store: SQLStore, erasure: Erasure, keys: Iterable[object], before_commit: Callable[[Counts], None]
) -> Counts:
    """Erase a batch of people; `before_commit` is called with the counts after the changes and before COMMIT.

    Raises TerminalError, with nothing changed, where a column would have to be emptied that can't be.
    """
    people = as_keys(keys)
    with store.write() as connection:
        reach = Reach(connection, store, erasure.walk, by_person=False)
        reach.people(people)
        reach.stops()
        fates = Fates(reach, erasure)
        fates.fill()
        changes = Changes(reach, fates)
        planned = {
            table: change for table in erasure.walk.tables if (change := changes.plan(table)) is not None
        }
        _refuse(store, list(planned.values()))
        for change in planned.values():
            reach.run(change.statement)
        deleted = _delete(reach, fates)
        held = {table: _held(reach, fates, table) for table in fates.own if table in fates.may_stay}
        counts = Counts(
            {
                table: count
                for table in erasure.walk.tables
                if (
                    count := Count(
                        deleted.get(table, 0),
                        planned[table].unlinked if table in planned else 0,
                        planned[table].cleared if table in planned else 0,
                        held.get(table, 0),
                    )
                )
                != Count()
            }
        )
        before_commit(counts)
        reach.drop()
    return counts


def _refuse(store: SQLStore, planned: list[Change]) -> None:
    stuck = [place for change in planned for place in change.impossible]
    if stuck:
        raise TerminalError(
            f"{', '.join(stuck)} can't be emptied, and rows that stay would still point at erased people",
            help="nothing was changed: let the column be empty in the database, or declare whose its rows are",
            where=store.name,
        )


def _held(reach: Reach, fates: Fates, table: str) -> int:
    found = reach.run(f"SELECT COUNT(*) FROM {fates.of(table)} WHERE stay = 1").scalar_one()
    return int(found)


def _delete(reach: Reach, fates: Fates) -> dict[str, int]:
    """Delete the rows that go: tables that refer to each other in a circle together, the others one by one."""
    say = reach.say
    result: dict[str, int] = {}
    for group in deletion_order(reach.walk.tables, fates.own):
        statements = {
            table: f"DELETE FROM {say.name(table)} WHERE {_chosen(reach, fates, table)}" for table in group
        }
        if len(group) > 1 and not say.sqlite:
            # PostgreSQL checks keys when the whole statement is over, so a circle goes in one
            rest = ", ".join(f"d{i} AS ({s} RETURNING 1)" for i, s in enumerate(statements.values()))
            counts = ", ".join(f"(SELECT COUNT(*) FROM d{i})" for i in range(len(group)))
            row = reach.run(f"WITH {rest} SELECT {counts}").one()
            result.update(zip(group, map(int, row), strict=True))
            continue
        if len(group) > 1:
            reach.run("PRAGMA defer_foreign_keys = ON")
        for table, statement in statements.items():
            result[table] = reach.run(statement).rowcount
    return result


def _chosen(reach: Reach, fates: Fates, table: str) -> str:
    keys = reach.say.key(table)
    own = ", ".join(f"k{i}" for i in range(len(keys)))
    return f"({', '.join(keys)}) IN (SELECT {own} FROM {fates.of(table)} WHERE go = 1)"
