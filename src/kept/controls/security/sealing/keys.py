"""The keys of a store's sealed columns: one for each generation, wrapped by the company's own, in Kept's state."""

from __future__ import annotations

import secrets
import time
from threading import Lock
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from kept.company import Company
from kept.controls.security.sealing.form import KEY_BYTES, StoreKey
from kept.errors import KeptError, TransientError
from kept.evidence.entry import Entry
from kept.state.database import insert
from kept.state.uses import store_keys

FRESH: Final = 1.0
"""Seconds for which a process takes it that no newer key was made."""


class StoreKeys:
    """The generations of one store's key. The newest seals; those before it only open, until they are destroyed."""

    def __init__(self, company: Company, store: str) -> None:
        self.company, self.store = company, store
        self._lock = Lock()
        self._known: dict[int, StoreKey] = {}
        self._destroyed: frozenset[int] = frozenset()
        self._until = 0.0

    def newest(self) -> StoreKey:
        """The key that seals; made where there is none yet."""
        self._look()
        known = self._known  # another thread may put a newer one in its place
        return known[max(known)] if known else self.make()

    def of(self, generation: int) -> StoreKey:
        """The key of a generation; KeptError where it was destroyed, or never was."""
        self._look()
        found = self._known.get(generation)
        if found is None:
            self._look(again=True)  # made by another process a moment ago
            found = self._known.get(generation)
        if found is None:
            gone = generation in self._destroyed
            raise KeptError(
                f"a value is sealed with key {generation} of `{self.store}`, which "
                f"{'was destroyed' if gone else 'never was'}",
                help="it stood in a copy from before, or was put there by somebody else" if gone else None,
                where=self.store,
            )
        return found

    def living(self) -> list[StoreKey]:
        """Every key that still opens something, oldest first."""
        self._look()
        known = self._known
        return [known[generation] for generation in sorted(known)]

    def make(self, generation: int | None = None) -> StoreKey:
        """Make the next generation, or this one; where another process was first, its key counts."""
        number = generation if generation is not None else self._next()
        secret = self.company.keys.seal(self._purpose(number), secrets.token_bytes(KEY_BYTES))
        row = {"store": self.store, "number": number, "wrapped": secret}
        row["since"] = self.company.clock().isoformat()
        with self.company.state.write() as connection:
            connection.execute(insert(connection, store_keys).values(row).on_conflict_do_nothing())
        self.note()
        self._look(again=True)
        return self._known[number]

    def destroy(self, generation: int) -> None:
        """Destroy a key: what it sealed can't be opened any more, wherever a copy of it is. Done twice, it is once."""
        mine = (store_keys.c.store == self.store) & (store_keys.c.number == generation)
        gone = update(store_keys).where(mine, store_keys.c.retired.is_(None))
        with self.company.state.write() as connection:
            connection.execute(gone.values(wrapped=b"", retired=self.company.clock().isoformat()))
        self.scrub()
        self.note()
        self._look(again=True)

    def scrub(self) -> None:
        """Nothing of a destroyed key stays in the files of Kept's state."""
        state = self.company.state
        state.checkpoint()
        if not state.is_server:
            return
        try:
            with state.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM FULL store_keys")
        except SQLAlchemyError as wrong:
            raise TransientError(
                f"what is left of a destroyed key could not be made unreadable ({type(wrong).__name__})",
                help="run the command again",
                where=state.where,
            ) from None

    def since(self, generation: int) -> str:
        """When a key was made."""
        mine = (store_keys.c.store == self.store) & (store_keys.c.number == generation)
        with self.company.state.read() as connection:
            return str(connection.execute(select(store_keys.c.since).where(mine)).scalar_one())

    def _next(self) -> int:
        self._look(again=True)
        return max((*self._known, *self._destroyed), default=0) + 1

    def _look(self, *, again: bool = False) -> None:
        """Read what keys there are, if it wasn't done a moment ago."""
        now = time.monotonic()
        if now < self._until and not again:
            return
        with self._lock:
            columns = (store_keys.c.number, store_keys.c.wrapped, store_keys.c.retired)
            with self.company.state.read() as connection:
                rows = connection.execute(select(*columns).where(store_keys.c.store == self.store)).all()
            live = {number: bytes(wrapped) for number, wrapped, retired in rows if retired is None}
            self._known = {
                number: self._known.get(number) or self._opened(number, wrapped)
                for number, wrapped in live.items()
            }
            self._destroyed = frozenset(number for number, _, retired in rows if retired is not None)
            self._until = now + FRESH

    def _opened(self, number: int, wrapped: bytes) -> StoreKey:
        return StoreKey(number, self.company.keys.unseal(self._purpose(number), wrapped))

    def _purpose(self, number: int) -> str:
        return f"store key {self.store} {number}"

    def note(self) -> None:
        """Put on the ledger, once for each, which keys were made and destroyed: also what a crash kept from it."""
        columns = select(store_keys.c.number, store_keys.c.retired).where(store_keys.c.store == self.store)
        with self.company.state.read() as connection:
            rows = connection.execute(columns.order_by(store_keys.c.number)).all()
        entries: list[tuple[str, Entry]] = [
            (
                f"seal-key {self.store} {number} {state}",
                {"act": "seal-key", "store": self.store, "generation": number, "state": state},
            )
            for number, retired in rows
            for state in ("made", *(("destroyed",) if retired is not None else ()))
        ]
        self.company.ledger.append_many(entries)
