"""Puts rows back that `images.remove` took: all of them, or none and the reason.

A person who comes back must not come back in part, unnoticed: where a row's key is taken, or a row it refers to is
gone, the whole is refused and nothing changed. The images are still there, so somebody can mend it and try again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from kept.errors import TerminalError
from kept.stores.clauses import Clauses
from kept.stores.erasing.blanks import PREFIX
from kept.stores.erasing.images import Cells, Images, Rows
from kept.stores.erasing.values import values_of
from kept.stores.order import deletion_order
from kept.stores.reach import ROWS
from kept.stores.relations import Relations, Temporary, Together
from kept.stores.schema import Reference, Table
from kept.stores.sql import SQLStore

_CHECKS = {
    "sqlite": ("PRAGMA defer_foreign_keys = ON", ""),
    "mariadb": ("SET SESSION foreign_key_checks = 0", "SET SESSION foreign_key_checks = 1"),
}
_TAKEN = "a key or another value that must be unique is taken by another row"


@dataclass(frozen=True)
class Restored:
    """What came back, by table; tables where nothing did are left out.

    `rows` are rows put back, `there` rows that were there already (a restoration before this one put them back);
    `cells` are rows whose emptied cells have their old values again, `changed_since` cells that hold something else
    than the removal left in them, or whose row is gone: those were left alone.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    there: Mapping[str, int] = field(default_factory=dict)
    cells: Mapping[str, int] = field(default_factory=dict)
    changed_since: Mapping[str, int] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether anything was changed: a second time says no."""
        return bool(self.rows or self.cells)

    def as_json(self) -> dict[str, dict[str, int]]:
        return {
            "rows": dict(self.rows),
            "there": dict(self.there),
            "cells": dict(self.cells),
            "changed_since": dict(self.changed_since),
        }


def restore(
    store: SQLStore, tables: Mapping[str, Table], images: bytes, before_commit: Callable[[Restored], None]
) -> Restored:
    """Put back what `images.remove` gave to its `keep`, in one transaction; `before_commit` as for `erase`.

    `tables` are those of the walk. Raises TerminalError with nothing changed where rows can't come back, telling how
    many of which table. A second time changes nothing: rows that are there with the same values are left, and a table
    without a key gets its rows only where a row of another table came back with them (or none has a key, and no row
    like it is there).
    """
    taken = Images.loads(images, store.name)
    if taken.dialect != store.dialect:
        raise TerminalError(
            f"these rows were taken from a {taken.dialect} database",
            help="restore them there",
            where=store.name,
        )
    few = taken.size <= ROWS
    with store.write(few=few, exact=True) as connection:
        restoring = _Restoring(connection, store, tables, taken, few=few)
        restored = restoring.run()
        before_commit(restored)
        restoring.relations.drop()
    return restored


class _Restoring:
    def __init__(
        self,
        connection: sa.Connection,
        store: SQLStore,
        tables: Mapping[str, Table],
        taken: Images,
        *,
        few: bool,
    ) -> None:
        gone = [table for table in (*taken.rows, *taken.cells) if table not in tables]
        if gone:
            raise TerminalError(
                f"the table {gone[0]} isn't there any more", help="bring it back first", where=store.name
            )
        self.store, self.tables, self.taken = store, tables, taken
        self.say = Clauses(store, tables)
        self.relations: Relations = (
            Together(connection, self.say, few=few)
            if self.say.one_statement
            else Temporary(connection, self.say)
        )
        self.values = values_of(store, connection, tables)
        self.staged: dict[str, str] = {}
        for number, (table, rows) in enumerate(taken.rows.items()):
            name = f"kept_image_{number}"
            self._must_have(table, rows.columns)
            self.values.stage(self.relations, name, [(table, c) for c in rows.columns], rows.rows)
            self.staged[table] = self.relations.of(name)

    def _must_have(self, table: str, columns: tuple[str, ...]) -> None:
        missing = [column for column in columns if column not in self.values.columns(table)]
        if missing:
            raise TerminalError(
                f"there is no column {table}.{missing[0]} any more",
                help="bring it back first",
                where=self.store.name,
            )

    def run(self) -> Restored:
        keyed = {table: rows for table, rows in self.taken.rows.items() if self.tables[table].key}
        counts = self.relations.numbers(
            {f"there {table}": self._there(table, rows) for table, rows in keyed.items()}
            | self._taken()
            | self._orphaned()
        )
        there = {table: counts[f"there {table}"] for table in keyed}
        # a second time: every row that can be told from others is back already
        if keyed and all(there[table] == len(rows.rows) for table, rows in keyed.items()):
            return Restored(there=_counted(there))
        self._refuse_any(_TAKEN, "taken ", counts)
        self._refuse_any("a row they refer to is gone", "orphaned ", counts)
        inserted = self._insert(compare=not keyed)
        missing = {
            table: len(rows.rows) - inserted[table] - there.get(table, 0)
            for table, rows in keyed.items()
            if inserted[table] + there.get(table, 0) < len(rows.rows)
        }
        if missing:  # by a rule over several columns, which the schema doesn't tell
            self._refuse(_TAKEN, missing)
        cells, changed_since = self._put_back()
        return Restored(_counted(inserted), _counted(there), cells, changed_since)

    def _refuse(self, why: str, tables: Mapping[str, int]) -> None:
        places = ", ".join(f"{count} of {table}" for table, count in tables.items())
        raise TerminalError(
            f"rows can't come back, {why}: {places}",
            help="nothing was changed: make room for them, or bring back what they refer to, and restore again",
            where=self.store.name,
        )

    def _names(self, table: str) -> list[str]:
        return [self.say.name(column) for column in self.taken.rows[table].columns]

    def _same(self, table: str, columns: tuple[str, ...]) -> str:
        """That a row `t` holds the values of the staged row `i`."""
        return " AND ".join(
            self.values.same(self.say.column("t", column), f"i.c{n}") for n, column in enumerate(columns)
        )

    def _there(self, table: str, rows: Rows) -> str:
        key = " AND ".join(
            f"{self.say.column('t', column)} = i.c{rows.columns.index(column)}"
            for column in self.tables[table].key
        )
        return (
            f"SELECT COUNT(*) FROM {self.staged[table]} i {self.say.join} {self.say.name(table)} t ON {key}"
            f" WHERE {self._same(table, rows.columns)}"
        )

    def _refuse_any(self, why: str, begins: str, counts: Mapping[str, int]) -> None:
        """Refuse where one of the counts that begin so, each with a number and its table, isn't nothing."""
        tables: dict[str, int] = {}
        for what, count in counts.items():
            if what.startswith(begins) and count:
                table = what.split(" ", 2)[2]
                tables[table] = max(count, tables.get(table, 0))
        if tables:
            self._refuse(why, tables)

    def _taken(self) -> dict[str, str]:
        """Queries for rows whose key, or another value of which there can be one, another row has."""
        queries = {}
        for table, rows in self.taken.rows.items():
            shape = self.tables[table]
            alone = [(column,) for column in rows.columns if shape.columns[column].unique]
            for number, unique in enumerate(dict.fromkeys((*([shape.key] if shape.key else []), *alone))):
                equal = " AND ".join(
                    f"{self.say.column('t', column)} = i.c{rows.columns.index(column)}" for column in unique
                )
                queries[f"taken {number} {table}"] = (
                    f"SELECT COUNT(*) FROM {self.staged[table]} i {self.say.join} {self.say.name(table)} t ON {equal}"
                    f" WHERE NOT ({self._same(table, rows.columns)})"
                )
        return queries

    def _orphaned(self) -> dict[str, str]:
        """Queries for rows whose parent is neither in the store nor among the images."""
        return {
            f"orphaned {number} {table}": self._orphans(table, reference)
            for table in self.taken.rows
            for number, reference in enumerate(self.tables[table].references)
            if reference.declared == "database" and reference.to in self.tables
        }

    def _orphans(self, table: str, reference: Reference) -> str:
        columns = self.taken.rows[table].columns
        own = [f"i.c{columns.index(column)}" for column in reference.columns]
        theirs = [self.say.column("p", column) for column in reference.to_columns]
        there = " AND ".join(f"{a} = {b}" for a, b in zip(theirs, own, strict=True))
        conditions = [f"{column} IS NOT NULL" for column in own]
        conditions.append(f"NOT EXISTS (SELECT 1 FROM {self.say.name(reference.to)} p WHERE {there})")
        parent = self.taken.rows.get(reference.to)
        if parent is not None:
            places = [f"p.c{parent.columns.index(column)}" for column in reference.to_columns]
            along = " AND ".join(f"{a} = {b}" for a, b in zip(places, own, strict=True))
            conditions.append(f"NOT EXISTS (SELECT 1 FROM {self.staged[reference.to]} p WHERE {along})")
        return f"SELECT COUNT(*) FROM {self.staged[table]} i WHERE {' AND '.join(conditions)}"

    def _insert(self, *, compare: bool) -> dict[str, int]:
        """Parents before children; in PostgreSQL all in one statement, whose end is when keys are checked.

        MariaDB checks row by row, also rows that refer to each other: there what `_orphaned` found is the check, and
        the rows it read are locked.
        """
        order = [table for group in deletion_order(self.tables, self.taken.rows) for table in group][::-1]
        statements = {}
        for table in order:
            columns = self.taken.rows[table].columns
            taken = ", ".join(f"i.c{n}" for n in range(len(columns)))
            target = f"{self.say.name(table)} ({', '.join(self._names(table))})"
            given = " OVERRIDING SYSTEM VALUE" if self.store.dialect == "postgresql" else ""
            new, taken_already = self._unless_there
            like = f"SELECT 1 FROM {self.say.name(table)} t WHERE {self._same(table, columns)}"
            where = f"NOT EXISTS ({like})" if compare else "1 = 1"
            statements[table] = (
                f"{new} {target}{given} SELECT {taken} FROM {self.staged[table]} i WHERE {where}"
                f" ORDER BY i.n{taken_already}"
            )
        if not statements:
            return {}
        if not self.say.one_statement:
            before, after = _CHECKS[self.store.dialect]
            self.relations.run(before)
            try:
                return {
                    table: self.relations.run(statement).rowcount for table, statement in statements.items()
                }
            finally:
                if after:
                    self.relations.run(after)
        parts = [
            f"kept_did_{n} AS ({statement} RETURNING 1)" for n, statement in enumerate(statements.values())
        ]
        counts = ", ".join(f"(SELECT COUNT(*) FROM kept_did_{n})" for n in range(len(parts)))
        row = self.relations.run(f"WITH {', '.join(parts)} SELECT {counts}").one()
        return dict(zip(statements, map(int, row), strict=True))

    @property
    def _unless_there(self) -> tuple[str, str]:
        """How an INSERT begins and ends that leaves out a row whose key is taken."""
        if self.say.mariadb:
            return "INSERT IGNORE INTO", ""
        return "INSERT INTO", " ON CONFLICT DO NOTHING"

    # Cells of rows that stayed.

    def _put_back(self) -> tuple[dict[str, int], dict[str, int]]:
        cells: dict[str, int] = {}
        changed_since: dict[str, int] = {}
        for number, (table, held) in enumerate(self.taken.cells.items()):
            self._must_have(table, (*held.known, *held.columns))
            name = f"kept_cells_{number}"
            shape = [(table, column) for column in held.known]
            for column in held.columns:
                shape += [(table, ""), (table, column), (table, column)]
            self.values.stage(self.relations, name, shape, held.rows)
            emptied = sum(
                int(row[len(held.known) + 3 * n]) for row in held.rows for n in range(len(held.columns))
            )
            back, rows = self._update(table, held, self.relations.of(name))
            if rows:
                cells[table] = rows
            if back < emptied:
                changed_since[table] = emptied - back
        return cells, changed_since

    def _update(self, table: str, held: Cells, staged: str) -> tuple[int, int]:
        """How many cells were as they were left and got their old values, and how many rows had one."""
        say, start = self.say, len(held.known)
        matching = self._matching(table, held, staged)
        back = []
        for n, column in enumerate(held.columns):
            here, left = say.column("t", column), f"u.c{start + 3 * n + 2}"
            back.append(f"(u.c{start + 3 * n} = 1 AND {self._left(held, column, here, left)})")
        any_of = " OR ".join(back)
        counts = ", ".join(
            f"COALESCE(SUM(CASE WHEN {condition} THEN 1 ELSE 0 END), 0)" for condition in (*back, any_of)
        )
        *found, rows = self.relations.run(f"SELECT {counts} FROM {matching}").one()
        new = ", ".join(
            f"CASE WHEN {condition} THEN u.c{start + 3 * n + 1} ELSE {say.column('t', column)} END AS v{n}"
            for n, (column, condition) in enumerate(zip(held.columns, back, strict=True))
        )
        address = ", ".join(f"{here} AS a{i}" for i, here in enumerate(self._address(table)))
        target = say.name(table)
        assigned = ", ".join(
            f"{say.assigned(target, column)} = w.v{n}" for n, column in enumerate(held.columns)
        )
        same = " AND ".join(f"{target}.{column} = w.a{i}" for i, column in enumerate(say.key(table)))
        chosen = f"SELECT {address}, {new} FROM {matching} WHERE {any_of}"
        self.relations.run(say.changing(target, assigned, f"({chosen}) AS w", same))
        return sum(map(int, found)), int(rows)

    def _left(self, held: Cells, column: str, here: str, left: str) -> str:
        """That a cell is as the removal left it."""
        if column in held.tokens:
            return f"{here} LIKE '{PREFIX}%'"
        return self.values.same(here, left)

    def _address(self, table: str) -> list[str]:
        keys = self.say.key(table)
        keyed = bool(self.tables[table].key)
        return [f"t.{column}" if keyed else f"t.kept_a{i}" for i, column in enumerate(keys)]

    def _matching(self, table: str, held: Cells, staged: str) -> str:
        """FROM-clause of the staged rows `u` with the rows `t` they are of: by key, or by all they were left as.

        Rows without a key that can't be told apart are paired by number, so that each finds one of its own.
        """
        say, target = self.say, self.say.name(table)
        if self.tables[table].key:
            key = " AND ".join(f"{say.column('t', column)} = u.c{n}" for n, column in enumerate(held.known))
            return f"{staged} u {say.join} {target} t ON {key}"
        mine = ", ".join(
            f"'{PREFIX}'" if column in held.tokens else self.values.told_apart(f"x.c{n}")
            for n, column in enumerate(held.known)
        )
        theirs = ", ".join(
            self._prefix(column, held, self.values.told_apart(say.column("x", column)))
            for column in held.known
        )
        whole = " AND ".join(
            self._left(held, column, say.column("t", column), f"u.c{n}")
            for n, column in enumerate(held.known)
        )
        address = ", ".join(f"x.{column} AS kept_a{i}" for i, column in enumerate(say.key(table)))
        numbered = (
            f"(SELECT x.*, ROW_NUMBER() OVER (PARTITION BY {mine} ORDER BY x.n) AS kept_n FROM {staged} x) u"
        )
        rows = (
            f"(SELECT x.*, {address}, ROW_NUMBER() OVER (PARTITION BY {theirs}) AS kept_n FROM {target} x) t"
        )
        return f"{numbered} JOIN {rows} ON u.kept_n = t.kept_n AND {whole}"

    def _prefix(self, column: str, held: Cells, here: str) -> str:
        if column not in held.tokens:
            return here
        own = self.say.column("x", column)
        return f"CASE WHEN {own} LIKE '{PREFIX}%' THEN '{PREFIX}' ELSE {own} END"


def _counted(numbers: Mapping[str, int]) -> dict[str, int]:
    return {table: count for table, count in numbers.items() if count}
