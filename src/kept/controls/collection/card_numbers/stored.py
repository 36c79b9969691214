"""Full card numbers where data rests: every row of a table or so many drawn at random, and every file or as many."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.collection.card_numbers import never
from kept.controls.collection.card_numbers.attached import Unseen
from kept.controls.collection.card_numbers.never import Attached, Found
from kept.controls.collection.declare import NeverCollected
from kept.errors import KeptError
from kept.stores.schema import Table
from kept.stores.sql import SQLStore

ROWS: Final = (
    200_000  # so many rows of a table are read whole; of a larger one about as many, drawn at random
)
FILES: Final = 2_000
LARGEST: Final = 20 << 20  # bytes of a file that is read
READ: Final = ("text", "number", "other")  # sorts of columns in which a number may stand


@dataclass(frozen=True)
class Looked:
    """What was looked at, and where card numbers stand: places, never values. `gaps` couldn't be looked at."""

    rows: int = 0
    of_rows: int = 0
    files: int = 0
    found: tuple[tuple[str, int], ...] = ()
    gaps: tuple[str, ...] = ()

    def __add__(self, other: Looked) -> Looked:
        return Looked(
            self.rows + other.rows,
            self.of_rows + other.of_rows,
            self.files + other.files,
            self.found + other.found,
            self.gaps + other.gaps,
        )


def looked_for(company: Company, promise: NeverCollected) -> Looked:
    """Look into every store that can be asked, or into the tables about the people a promise names."""
    total = Looked()
    for name, declared in company.policy.stores.items():
        try:
            if name in company.schemas:
                total += _store(company, str(name), promise)
            elif name in company.files:
                total += _folder(str(name), company.files[name].folder)
            elif declared.sort != "browser":
                why = company.unreachable.get(str(name), f"what is at {declared.sort} can't be listed")
                total += Looked(gaps=(f"`{name}` was not looked into: {why}",))
        except KeptError as wrong:
            total += Looked(gaps=(f"`{name}` could not be looked into: {wrong.message}",))
    return total


def _store(company: Company, store: str, promise: NeverCollected) -> Looked:
    total, opened = Looked(), company.stores[store]
    impersonal = set(map(str, company.policy.stores[store].impersonal))
    tables = company.schemas[store].tables
    wanted = set(tables) - impersonal
    if promise.of:
        kinds = [kind for who in promise.of if (kind := company.policy.kind_of(str(who))) is not None]
        walks = [walk for kind in kinds if (walk := company.map.walk(kind)) is not None]
        wanted = {table for walk in walks if walk.store == store for table in walk.own_tables()}
    for table in sorted(wanted):
        if not tables[table].is_view:
            total += _table(opened, store, tables[table])
    return total


def _table(opened: SQLStore, store: str, shape: Table) -> Looked:
    columns = [name for name, column in shape.columns.items() if column.sort in READ]
    if not columns:
        return Looked()
    source = opened.table(shape.name)
    query = sa.select(*(source.c[name] for name in columns))
    with opened.read() as connection:
        there = int(connection.scalar(sa.select(sa.func.count()).select_from(source)) or 0)
        if there > ROWS:
            query = query.where(_drawn(opened.dialect, ROWS / there))
        counts, rows = dict.fromkeys(columns, 0), 0
        found = connection.execution_options(yield_per=5000).execute(query)
        for part in found.partitions(5000):
            rows += len(part)
            for column, values in zip(columns, zip(*part, strict=True), strict=True):
                counts[column] += never.in_rows(values)
    met = tuple((f"{store}.{shape.name}.{column}", number) for column, number in counts.items() if number)
    return Looked(rows, there, 0, met)


def _drawn(dialect: str, share: float) -> sa.ColumnElement[bool]:
    """That a row is one of a share drawn at random."""
    if dialect == "sqlite":
        return (sa.func.random().op("&")(2**53 - 1)) < int(share * 2**53)
    drawn: Any = sa.func.random() if dialect == "postgresql" else sa.func.rand()
    return drawn < share  # type: ignore[no-any-return]  # a comparison of a function is a condition


def _folder(store: str, folder: Path) -> Looked:
    """The files of a folder, however deep; what nobody can look into is said."""
    paths = list(_files(folder))
    drawn = paths if len(paths) <= FILES else random.sample(paths, FILES)
    met = dark = gone = 0
    for path in drawn:
        try:
            if path.stat().st_size > LARGEST:
                dark += 1
                continue
            places = never.scan(Attached(path.name, path.read_bytes()))
        except OSError:
            gone += 1
            continue
        met += any(isinstance(one, Found) for one in places)
        dark += any(isinstance(one, Unseen) for one in places)
    gaps = [f"{dark} files of `{store}` are of a kind nobody can look into"] if dark else []
    gaps += [f"{gone} files of `{store}` can't be read"] if gone else []
    gaps += [f"{len(paths) - FILES} files of `{store}` were not drawn"] if len(paths) > FILES else []
    return Looked(files=len(drawn), found=((store, met),) if met else (), gaps=tuple(gaps))


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from (path for name in sorted(names) if not (path := Path(place, name)).is_symlink())
