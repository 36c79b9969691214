"""Erases people from a store: one transaction, the same number of statements for one person or a thousand.

First everything is found and decided; what can't be done refuses before anything has changed. Then references to
rows that go are emptied and shared rows cleared, then rows are deleted, those that refer before those referred to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import sqlalchemy as sa

from kept.errors import Conflict, TerminalError
from kept.stores.erasing.changes import Changes
from kept.stores.erasing.fates import Fates
from kept.stores.order import deletion_order
from kept.stores.reach import FEW, Reach, as_keys, reached
from kept.stores.relations import unchecked
from kept.stores.schema import Reference
from kept.stores.sql import SQLStore
from kept.stores.walk import Erasure, Key

Done = TypeVar("Done", covariant=True)
_CONFLICTS = 5  # with other transactions, after which it is left for later
_NOT_AT_ONCE = ("27000", "0A000")  # PostgreSQL's triggered data change violation, feature not supported


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

    def carried_out(connection: sa.Connection, *, at_once: bool) -> Counts:
        counts = None
        if at_once:
            counts = Erasing.of_few(connection, store, erasure, people).at_once()
            if counts is None:
                store.many(connection)
        if counts is None:
            erasing = Erasing(Reach(connection, store, erasure.walk, people), erasure)
            counts = erasing.by_and_by()
            erasing.reach.relations.drop()
        before_commit(counts)
        return counts

    return trying(store, len(people), carried_out)


class Carry(Protocol[Done]):
    """What is done in one transaction, at once or by and by."""

    def __call__(self, connection: sa.Connection, *, at_once: bool) -> Done: ...


def trying(store: SQLStore, people: int, carry: Carry[Done], *, exact: bool = False) -> Done:
    """Carry out at once what concerns few people, and by and by where the database doesn't allow that.

    A trigger of the company's may change a row that the same statement changes, or a rule replace a deletion. What
    another transaction was in the way of is done again a few times: the company's application goes on meanwhile.
    """
    for _ in range(_CONFLICTS):
        try:
            return _tried(store, people, carry, exact=exact)
        except Conflict:
            continue
    return _tried(store, people, carry, exact=exact)


def _tried(store: SQLStore, people: int, carry: Carry[Done], *, exact: bool) -> Done:
    if people <= FEW and store.one_statement and not store.has_triggers:
        try:
            with store.write(few=True, exact=exact) as connection:
                return carry(connection, at_once=True)
        except NotAtOnce:
            pass
    with store.write(exact=exact) as connection:
        return carry(connection, at_once=False)


class NotAtOnce(Exception):
    """The database refuses to do it in one statement; nothing was changed."""


class Erasing:
    """An erasure that is decided: its fates and changes as relations of one transaction, still to be carried out.

    Of few people `at_once`, in one statement which does nothing where their rows turn out to be many, or a column
    can't be emptied; else `by_and_by`.
    """

    def __init__(self, reach: Reach, erasure: Erasure) -> None:
        self.reach, self.say, self.erasure = reach, reach.say, erasure
        reach.stops()
        self.fates = Fates(reach, erasure)
        self.changes = Changes(reach, self.fates)
        if reach.together:
            self.few = reach.bound()
            stuck = "".join(f" AND ({query}) = 0" for query in self._stuck().values())
            reach.make("kept_may", f"SELECT 1 AS may FROM kept_few WHERE 1 = 1{stuck}")
            self._at_once = self._written_at_once()

    @classmethod
    def of_few(
        cls, connection: sa.Connection, store: SQLStore, erasure: Erasure, people: Sequence[Key]
    ) -> Erasing:
        """An erasure to be carried out at once; its statements are written once for any people and cut-offs."""
        what = ("erase", erasure.shape)
        reach, erasing = reached(
            connection, store, erasure.walk, people, what, lambda r: cls(r, erasure), together=True
        )
        again = copy(erasing)
        again.reach = reach.with_values(erasing.fates.bounds(erasure))
        return again

    def questions(self) -> dict[str, str]:
        """Queries for whether the people's rows are few, and how many need what can't be done."""
        stuck = {
            what: f"SELECT CASE WHEN {self.few} THEN ({query}) ELSE 0 END"
            for what, query in self._stuck().items()
        }
        return {"few": f"SELECT CASE WHEN {self.few} THEN 1 ELSE 0 END", **stuck}

    def _stuck(self) -> dict[str, str]:
        return {
            what: query
            for change in self.changes.planned.values()
            for what, query in change.counts().items()
            if what.startswith("stuck ")
        }

    def refuse(self, numbers: Mapping[str, int]) -> None:
        """TerminalError where a change can't be made."""
        places = [place for change in self.changes.planned.values() for place in change.stuck(numbers)]
        if places:
            raise TerminalError(
                f"{', '.join(places)} can't be emptied, and rows that stay would still point at erased people",
                help="nothing was changed: let the column be empty in the database, or declare whose its rows are",
                where=self.say.store.name,
            )

    def _counting(self) -> dict[str, str]:
        counting = {
            what: query
            for change in self.changes.planned.values()
            for what, query in change.counts().items()
            if not what.startswith("stuck ")
        }
        for table in self.fates.own:
            if table in self.fates.may_stay:
                counting[f"held {table}"] = f"SELECT COUNT(*) FROM {self.fates.of(table)} f WHERE f.stay = 1"
        return counting

    def _counts(self, numbers: Mapping[str, int]) -> Counts:
        tables = {
            table: Count(
                *(numbers.get(f"{what} {table}", 0) for what in ("deleted", "unlinked", "cleared", "held"))
            )
            for table in self.erasure.walk.tables
        }
        return Counts({table: count for table, count in tables.items() if count != Count()})

    def at_once(self) -> Counts | None:
        """Change and delete in one statement: PostgreSQL checks keys when it is over, so circles go too.

        None, with nothing done, where the rows of these people aren't few; NotAtOnce where one statement can't.
        """
        statement, asked = self._at_once
        try:
            row = self.reach.run(statement).one()
        except sa.exc.DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) in _NOT_AT_ONCE:
                raise NotAtOnce from None
            raise
        numbers = dict(zip(asked, map(int, row), strict=True))
        self.refuse(numbers)
        return self._counts(numbers) if numbers["few"] else None

    def _written_at_once(self) -> tuple[str, tuple[str, ...]]:
        """The statement, and what each of the numbers is that it gives."""
        may = "EXISTS (SELECT 1 FROM kept_may)"  # asked once, before anything is read for it
        parts = [
            f"kept_did_{n} AS ({statement} AND {may})" for n, statement in enumerate(self._updates().values())
        ]
        queries = self.questions() | {
            what: f"SELECT CASE WHEN {may} THEN ({query}) ELSE 0 END"
            for what, query in self._counting().items()
        }
        for table in self.fates.own:
            name = f"kept_did_{len(parts)}"
            gone = f"DELETE FROM {self.say.name(table)} WHERE {self._chosen(table)} AND {may} RETURNING 1"
            parts.append(f"{name} AS ({gone})")
            queries[f"deleted {table}"] = f"SELECT COUNT(*) FROM {name}"
        chosen = ", ".join(f"({query})" for query in queries.values())
        return f"WITH {', '.join(parts)} SELECT {chosen}", tuple(queries)

    def by_and_by(self) -> Counts:
        """Change and delete, table by table."""
        counting = self._counting()
        numbers = self.reach.relations.numbers(counting | self._stuck())
        self.refuse(numbers)
        for statement in self._updates().values():
            self.reach.run(statement)
        numbers |= self._delete()
        self._refuse_undone()
        return self._counts(numbers)

    def _refuse_undone(self) -> None:
        """TerminalError where what was emptied is there again: a trigger of the company's may have filled it."""
        say = self.say
        undone = {
            table: change.undone(
                f"{change.relation} u {say.join} {say.name(table)} t ON {say.same_row(table, 't', 'u')}"
            )
            for table, change in self.changes.planned.items()
            if change.columns()
        }
        numbers = self.reach.relations.numbers(undone)
        left = [f"{rows} rows of {table}" for table, rows in numbers.items() if rows]
        if left:
            raise TerminalError(
                f"{', '.join(left)} hold again what was emptied in them",
                help="nothing was changed: a trigger of the database fills them; let it leave empty columns alone",
                where=say.store.name,
            )

    def _updates(self) -> dict[str, str]:
        found = {table: self.changes.statement(change) for table, change in self.changes.planned.items()}
        return {table: statement for table, statement in found.items() if statement is not None}

    def _delete(self) -> dict[str, int]:
        """Delete the rows that go: tables that refer to each other in a circle together, the others one by one."""
        say = self.say
        result: dict[str, int] = {}
        for group in deletion_order(self.reach.walk.tables, self.fates.own):
            statements = {f"deleted {table}": self._deletion(table) for table in group}
            if len(group) > 1 and say.one_statement:
                rest = ", ".join(f"d{i} AS ({s} RETURNING 1)" for i, s in enumerate(statements.values()))
                counts = ", ".join(f"(SELECT COUNT(*) FROM d{i})" for i in range(len(group)))
                row = self.reach.run(f"WITH {rest} SELECT {counts}").one()
                result.update(zip(statements, map(int, row), strict=True))
                continue
            if len(group) > 1 and say.sqlite:
                self.reach.run("PRAGMA defer_foreign_keys = ON")
            with unchecked(self.reach.relations, self._among(group)):
                for what, statement in statements.items():
                    result[what] = self.reach.run(statement).rowcount
        return result

    def _among(self, group: Sequence[str]) -> dict[Reference, str]:
        """What refers, in the database, to rows of tables that go together in a circle, with what it refers to."""
        tables, fates, say = self.reach.walk.tables, self.fates, self.say
        own = [r for t in group for r in tables[t].references if r.to in group and r.declared == "database"]
        found = {}
        for reference in self.erasure.references if own else ():
            if reference.to in group and reference.declared == "database":
                chosen = ", ".join(f"p.{say.name(c)} AS r{i}" for i, c in enumerate(reference.to_columns))
                same = say.same_row(reference.to, "p", "f")
                source = f"{fates.of(reference.to)} f {say.join} {say.name(reference.to)} p ON {same}"
                found[reference] = f"SELECT {chosen} FROM {source} WHERE f.go = 1"
        return found

    def _deletion(self, table: str) -> str:
        straight = self.reach.deletion(table) if self.fates.simple(table) else None
        return straight or self.say.deleting(table, self.fates.of(table), "f.go = 1")

    def _chosen(self, table: str) -> str:
        keys = self.say.key(table)
        own = ", ".join(f"f.k{i}" for i in range(len(keys)))
        return f"({', '.join(keys)}) IN (SELECT {own} FROM {self.fates.of(table)} f WHERE f.go = 1)"
