"""Seals what stands open in a store, and seals anew what an older key sealed, while the applications go on.

Both walk a table by its key, a few hundred rows in a transaction. A row is changed only if it still holds what was
read, so whatever an application writes meanwhile stays, and comes with the next round. Nothing has to be remembered:
what is left to do can be seen in the rows, so a walk that was killed goes on where it stopped when it is run again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.security.sealing.columns import SealedColumn
from kept.controls.security.sealing.form import SEARCHED, VALUE
from kept.controls.security.sealing.sealer import Sealer
from kept.errors import Conflict, KeptError, StoreError, TerminalError, TransientError
from kept.stores.erasing.blanks import PREFIX
from kept.stores.schema import Table
from kept.stores.sql import SQLStore

BATCH: Final = 500  # rows in one transaction
ROUNDS: Final = 20
ATTEMPTS: Final = 5
GRACE: Final = timedelta(minutes=10)
"""How long an old key stays after a newer one seals: a transaction that was begun before may still write with it."""

Progress = Callable[[str, int], None]


def _silent(_field: str, _rows: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Resealed:
    """What a walk did: values sealed, and those that can't be opened (altered, or moved from elsewhere), by column.

    After a rotation also the keys destroyed, those that are to follow, and when they can be.
    """

    values: dict[str, int]
    spoilt: dict[str, int] = field(default_factory=dict)
    destroyed: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    due: datetime | None = None


class Unsealable(TerminalError):
    """A column that can't hold sealed values, so that what is in it stands open."""


@dataclass(frozen=True)
class Place:
    """A sealed column as it stands in a database. What an erasure left empty is nothing to seal."""

    column: SealedColumn
    store: SQLStore
    shape: Table
    table: sa.TableClause = field(compare=False)

    @classmethod
    def of(cls, company: Company, column: SealedColumn) -> Place:
        """StoreError where it can't be sealed there: no such column, none of text, or rows without a key."""
        company.map  # noqa: B018  whoever doesn't answer is noted when the map is made
        store = company.stores.get(column.store)
        if store is None or column.store in company.unreachable:
            raise TransientError(
                company.unreachable.get(column.store, "its kind of store can't be sealed by Kept"),
                where=column.store,
            )
        shape = store.shape(column.table)
        about = shape.columns.get(column.column)
        if about is None or shape.is_view:
            raise TerminalError("there is no such column in a table", where=column.field)
        tied = column.column in shape.key or any(column.column in one.columns for one in shape.references)
        if about.sort != "text" or tied:
            why = "it is a key or refers to other rows" if tied else f"it is of type {about.type}, not text"
            raise Unsealable(f"the column can't be sealed: {why}", where=column.field)
        if not shape.key:
            raise Unsealable("its rows have no key to bind sealed values to", where=column.field)
        return cls(column, store, shape, store.table(column.table))

    @property
    def value(self) -> sa.ColumnElement[Any]:
        return self.table.c[self.column.column]

    @property
    def keys(self) -> list[sa.ColumnElement[Any]]:
        return [self.table.c[name] for name in self.shape.key]

    @property
    def full(self) -> sa.ColumnElement[bool]:
        """That there is something in it."""
        filled = self.value.is_not(None) & (self.value != "")
        unique = self.shape.columns[self.column.column].unique
        return filled & (sa.func.substr(self.value, 1, len(PREFIX)) != PREFIX) if unique else filled

    def sealed(self, generation: int | None = None) -> sa.ColumnElement[bool]:
        """That it is sealed, by a generation of the key."""
        how = SEARCHED if self.column.searched else VALUE
        begins = how if generation is None else f"{how}{generation}."
        return sa.func.substr(self.value, 1, len(begins)) == begins


def places(company: Company, store: str) -> list[Place]:
    """The sealed columns of a store; KeptError where the policy seals nothing there."""
    columns = [one for one in Sealer.of(company).columns.values() if one.store == store]
    if not columns:
        raise KeptError(f"the policy seals nothing in `{store}`", help="add {seals: …, for: …} to `security`")
    return [Place.of(company, column) for column in columns]


def stores(company: Company) -> list[str]:
    """The stores of which the policy seals something."""
    return sorted({one.store for one in Sealer.of(company).columns.values()})


def apply(company: Company, store: str, progress: Progress = _silent) -> Resealed:
    """Seal every value of a store's sealed columns that stands open."""
    found = Resealed({})
    for place in places(company, store):
        _until_none(company, place, ~place.sealed(), found, progress)
    _note(company, "seal", store, found)
    return found


def rotate(
    company: Company,
    store: str,
    *,
    grace: timedelta = GRACE,
    progress: Progress = _silent,
) -> Resealed:
    """Make a new key, seal everything with it, and destroy the old ones once nothing can need them any more.

    Run again while an old key is left, it goes on with that rotation rather than begin another. With a `grace` of
    nothing the old key goes at once: only where no application is at work. While a value can't be opened no key goes:
    it may be one that somebody moved, and can move back.
    """
    keys, there = Sealer.of(company).keys(store), places(company, store)
    keys.scrub()  # what a rotation killed at its very end may have left, in the files and off the ledger
    keys.note()
    living = keys.living()
    newest = keys.make() if len(living) < 2 else living[-1]
    old = [key.generation for key in keys.living() if key.generation != newest.generation]
    due = datetime.fromisoformat(keys.since(newest.generation)) + grace
    found, waits = Resealed({}), bool(old) and company.clock() < due  # before the walk: its last look counts
    for place in there:
        rest = place.sealed() & ~place.sealed(newest.generation)
        _until_none(company, place, rest, found, progress)
    _note(company, "reseal", store, found)
    if waits or any(found.spoilt.values()):
        return replace(found, waiting=tuple(old), due=due)
    for generation in old:
        keys.destroy(generation)
    return replace(found, destroyed=tuple(old))


def _until_none(
    company: Company, place: Place, which: sa.ColumnElement[bool], found: Resealed, progress: Progress
) -> None:
    """Walk again and again until no row is left; TransientError where an application keeps writing such rows."""
    field = place.column.field
    found.values[field] = 0
    for _ in range(ROUNDS):
        changed, left, found.spoilt[field] = _walked(company, place, which, progress)
        found.values[field] += changed
        if not left:
            return
    raise TransientError(
        "an application keeps writing values that aren't sealed with the newest key",
        help="see that it seals what it writes, then run the command again",
        where=place.column.field,
    )


def _walked(
    company: Company, place: Place, which: sa.ColumnElement[bool], progress: Progress
) -> tuple[int, bool, int]:
    """Once through the table: values changed, whether there may be more, and values that can't be opened."""
    sealer, done, seen, spoilt = Sealer.of(company), 0, 0, 0
    last: tuple[Any, ...] | None = None
    change = sa.update(place.table).values({place.column.column: sa.bindparam("new")})
    change = change.where(place.value == sa.bindparam("old"))
    for number, column in enumerate(place.keys):
        change = change.where(column == sa.bindparam(f"key{number}"))
    while True:
        page = sa.select(*place.keys, place.value.label("sealed")).where(place.full, which)
        page = page.order_by(*place.keys).limit(BATCH)
        read, changed, shut, last = _page(
            sealer, place, page if last is None else page.where(_after(place, last)), change
        )
        if not read:
            return done, seen > spoilt, spoilt
        seen, done, spoilt = seen + read, done + changed, spoilt + shut
        progress(place.column.field, done)


def _page(
    sealer: Sealer, place: Place, page: sa.Select[Any], change: sa.Update
) -> tuple[int, int, int, tuple[Any, ...] | None]:
    """One transaction: rows read, values changed, values that can't be opened, and the last key.

    Where an application and this were in each other's way, it gives way, and tries again.
    """
    for attempt in range(ATTEMPTS):
        try:
            with place.store.write() as connection:
                rows = connection.execute(page).all()
                new, spoilt = [], 0
                for *key, text in rows:
                    try:
                        sealed = sealer.resealed(place.column, tuple(key), text)
                    except StoreError:
                        raise
                    except KeptError:  # altered, moved, or sealed with a key that is gone
                        spoilt += 1
                        continue
                    values = {f"key{number}": part for number, part in enumerate(key)}
                    new.append({"new": sealed, "old": text, **values})
                changed = connection.execute(change, new).rowcount if new else 0
            return len(rows), changed, spoilt, tuple(rows[-1][:-1]) if rows else None
        except Conflict:
            if attempt + 1 == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")  # pragma: no cover


def _after(place: Place, last: tuple[Any, ...]) -> sa.ColumnElement[bool]:
    """Behind a key, in the order of all its columns."""
    behind: sa.ColumnElement[bool]
    if len(last) == 1:
        behind = place.keys[0] > last[0]
    else:
        behind = sa.tuple_(*place.keys) > sa.tuple_(*map(sa.literal, last))
    return behind


def _note(company: Company, act: str, store: str, found: Resealed) -> None:
    if any(found.values.values()):
        company.ledger.append({"act": act, "store": store, "values": dict(found.values)})
