"""Rows taken out of a store so that they can come back: removed as an erasure does, restored value for value.

An image is what an erasure is about to destroy: every row that goes, whole, and of rows that stay the cells it empties,
as they were and as it leaves them. It is personal data: whoever gets it seals it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from kept.errors import TerminalError
from kept.stores.erasing.blanks import PREFIX
from kept.stores.erasing.changes import Change
from kept.stores.erasing.erase import Counts, Erasing, trying
from kept.stores.erasing.values import Values, values_of
from kept.stores.reach import Reach, as_keys
from kept.stores.sql import SQLStore
from kept.stores.walk import Erasure

VERSION = 1


@dataclass(frozen=True)
class Rows:
    """Rows of one table that went: their columns, and each row as a list of values as `Values` writes them."""

    columns: tuple[str, ...]
    rows: tuple[list[Any], ...]


@dataclass(frozen=True)
class Cells:
    """Cells of one table that were emptied, row by row.

    `known` are the columns that find a row again: its key, or every column where the table has none. A row is their
    values (of a table without a key as they were left), then for each of `columns` whether it was emptied, what it
    held, and what it was left as; `tokens` are the columns left as a random token, whose beginning is all that is
    compared.
    """

    known: tuple[str, ...]
    columns: tuple[str, ...]
    tokens: tuple[str, ...]
    rows: tuple[list[Any], ...]


@dataclass(frozen=True)
class Images:
    """What a removal took, by table."""

    dialect: str
    rows: Mapping[str, Rows] = field(default_factory=dict)
    cells: Mapping[str, Cells] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many rows these are of."""
        rows = sum(len(held.rows) for held in self.rows.values())
        return rows + sum(len(held.rows) for held in self.cells.values())

    def dumps(self) -> bytes:
        """The same images give the same bytes."""

        def ordered(rows: Iterable[list[Any]]) -> list[list[Any]]:
            return sorted(rows, key=lambda row: json.dumps(row, ensure_ascii=False))

        said = {
            "version": VERSION,
            "dialect": self.dialect,
            "rows": {t: [held.columns, ordered(held.rows)] for t, held in sorted(self.rows.items())},
            "cells": {
                t: [held.known, held.columns, held.tokens, ordered(held.rows)]
                for t, held in sorted(self.cells.items())
            },
        }
        return zlib.compress(json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode(), 1)

    @classmethod
    def loads(cls, images: bytes, where: str) -> Images:
        said = json.loads(zlib.decompress(images))
        if said["version"] != VERSION:
            raise TerminalError(
                "these images were written by another version of Kept",
                help="restore them with the version that removed the rows",
                where=where,
            )
        rows = {t: Rows(tuple(columns), tuple(held)) for t, (columns, held) in said["rows"].items()}
        cells = {
            t: Cells(tuple(known), tuple(columns), tuple(tokens), tuple(held))
            for t, (known, columns, tokens, held) in said["cells"].items()
        }
        return cls(said["dialect"], rows, cells)


def remove(
    store: SQLStore,
    erasure: Erasure,
    keys: Iterable[object],
    keep: Callable[[bytes], None],
    before_commit: Callable[[Counts], None],
) -> Counts:
    """Erase a batch of people as `erase.erase` does, and hand what goes to `keep` before anything is committed.

    `keep` gets the bytes that `restore.restore` takes, and must have written them durably when it returns; an error of
    its leaves everything as it was. It isn't called where nothing is changed. Raises TransientError where somebody else
    changes one of the rows meanwhile, and TerminalError as `erase` does.
    """
    people = as_keys(keys)

    def carried_out(connection: sa.Connection, *, at_once: bool) -> Counts:
        values = values_of(store, connection, erasure.walk.tables)
        images = counts = None
        if at_once:
            erasing = Erasing.of_few(connection, store, erasure, people)
            images = _Taking(erasing, values).images()
            if images is not None:
                counts = erasing.at_once()
            else:
                store.many(connection)
        if images is None or counts is None:
            erasing = Erasing(Reach(connection, store, erasure.walk, people), erasure)
            images = _Taking(erasing, values).images()
            assert images is not None
            counts = erasing.by_and_by()
        if images.size:
            keep(images.dumps())
        before_commit(counts)
        erasing.reach.relations.drop()
        return counts

    return trying(store, len(people), carried_out, exact=True)


class _Taking:
    """Reads what an erasure that is decided will destroy."""

    def __init__(self, erasing: Erasing, values: Values) -> None:
        self.erasing, self.say, self.values = erasing, erasing.say, values

    def images(self) -> Images | None:
        """None where they are asked for in one statement, and the rows turn out not to be few."""
        own, changes = self.erasing.fates.own, self._changes()
        queries = {("rows", table): self._rows(table) for table in own}
        queries |= {("cells", table): self._cells(table, change) for table, change in changes.items()}
        asked: dict[str, str] = {}
        if self.erasing.reach.together:
            may = "EXISTS (SELECT 1 FROM kept_may)"
            asked = self.erasing.questions()
            queries = {place: (read, f"{rest} AND {may}") for place, (read, rest) in queries.items()}
            numbers = [self.values.flag(f"({query})") for query in asked.values()]
            queries["asked", ""] = (numbers, "")
        found = self.values.read(self.erasing.reach.relations, queries)
        if asked:
            [answers] = found["asked", ""]
            answered = dict(zip(asked, map(int, answers), strict=True))
            self.erasing.refuse(answered)
            if not answered["few"]:
                return None
        rows = {
            table: Rows(self.values.columns(table), tuple(found["rows", table]))
            for table in own
            if found["rows", table]
        }
        cells = {
            table: Cells(
                self._known(table),
                tuple(change.columns()),
                tuple(column for column in change.columns() if _token(change, column)),
                tuple(found["cells", table]),
            )
            for table, change in changes.items()
            if found["cells", table]
        }
        return Images(self.say.store.dialect, rows, cells)

    def _changes(self) -> dict[str, Change]:
        return {table: change for table, change in self.erasing.changes.planned.items() if change.columns()}

    def _known(self, table: str) -> tuple[str, ...]:
        return self.erasing.reach.walk.tables[table].key or self.values.columns(table)

    def _rows(self, table: str) -> tuple[list[str], str]:
        """What to read of the rows that go, and the rest of the query."""
        say, fates = self.say, self.erasing.fates
        source = f"{fates.of(table)} f {say.join} {say.name(table)} t ON {say.same_row(table, 't', 'f')}"
        read = [
            self.values.written(table, column, say.column("t", column))
            for column in self.values.columns(table)
        ]
        return read, f"FROM {source} WHERE f.go = 1"

    def _cells(self, table: str, change: Change) -> tuple[list[str], str]:
        say, values, target = self.say, self.values, self.say.name(table)
        held = {column: f"{target}.{say.name(column)}" for column in values.columns(table)}
        left = dict(held)
        read: list[str] = []
        for column, chosen in change.columns().items():
            whens = " ".join(f"WHEN u.c{i} = 1 THEN {_left(change, i)}" for i in chosen)
            left[column] = f"CASE {whens} ELSE {held[column]} END"
            emptied = " OR ".join(f"u.c{i} = 1" for i in chosen)
            read += [
                values.flag(f"CASE WHEN {emptied} THEN 1 ELSE 0 END"),
                values.written(table, column, held[column]),
                values.written(table, column, left[column]),
            ]
        keyed = self.erasing.reach.walk.tables[table].key
        known = [values.written(table, c, held[c] if keyed else left[c]) for c in self._known(table)]
        where = self.erasing.changes.same(table, target)
        return known + read, f"FROM {change.relation} u {say.join} {target} ON {where} WHERE 1 = 1"


def _left(change: Change, number: int) -> str:
    value = change.slots[number].value
    assert value is not None
    return f"'{PREFIX}'" if value.startswith(f"'{PREFIX}") else value


def _token(change: Change, column: str) -> bool:
    return any((change.slots[i].value or "").startswith(f"'{PREFIX}") for i in change.columns()[column])
