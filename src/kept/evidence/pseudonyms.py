"""Who a ledger entry is about, without saying it: a pseudonym for each person that can be forgotten.

A person is found by an index (`Keys.index`), behind which lies a random secret; the pseudonym comes from the
secret alone. Once the secret is destroyed, nobody (Kept included) can tie old entries to the person, and the
entries stay valid.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Engine,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from kept.errors import TransientError
from kept.evidence.database import now, said
from kept.evidence.keys import Keys

metadata = MetaData()

persons = Table(
    "persons",
    metadata,
    Column("index", String(64), primary_key=True),
    Column("secret", LargeBinary, nullable=False),
)
erased = Table(
    "erased",
    metadata,
    Column("index", String(64), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
)

_MANY = 10_000
"""People in one statement: below what SQLite (32,766) and PostgreSQL (65,535) take as bound values."""
_WHERE = "pseudonyms"


class Pseudonyms:
    """The pseudonyms of people in one database; every method takes any number of people in a few
    statements."""

    def __init__(self, engine: Engine, keys: Keys, clock: Callable[[], datetime] = now) -> None:
        self._engine = engine
        self._keys = keys
        self._clock = clock

    def of(self, whos: Sequence[str]) -> dict[str, str]:
        """A pseudonym (64 hex digits) for each person, made on first use."""
        indexes = self._indexes(whos)
        with said(_WHERE):
            with self._engine.connect() as connection:
                found = _secrets(connection, indexes.values())
            missing = sorted(set(indexes.values()) - found.keys())
            if missing:
                with self._engine.begin() as connection:
                    for part in _parts(missing):
                        _insert(
                            connection,
                            persons,
                            [{"index": i, "secret": secrets.token_bytes(32)} for i in part],
                        )
                    found |= _secrets(connection, missing)
        return {who: _pseudonym(found[index]) for who, index in indexes.items()}

    def find(self, whos: Sequence[str]) -> dict[str, str]:
        """The pseudonyms of those who have one; makes none."""
        indexes = self._indexes(whos)
        with said(_WHERE), self._engine.connect() as connection:
            found = _secrets(connection, indexes.values())
        return {who: _pseudonym(found[index]) for who, index in indexes.items() if index in found}

    def forget(self, whos: Sequence[str]) -> None:
        """Destroy the secrets of these people, and note that they were erased, for a backup restored
        later."""
        indexes = sorted(set(self._indexes(whos).values()))
        at = self._clock()
        with said(_WHERE):
            with self._engine.begin() as connection:
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql("PRAGMA secure_delete = ON")
                for part in _parts(indexes):
                    connection.execute(delete(persons).where(persons.c["index"].in_(part)))
                    _insert(connection, erased, [{"index": index, "at": at} for index in part])
            self._scrub()

    def erased(self, whos: Sequence[str]) -> set[str]:
        """Which of these people were erased before: whoever of them a restored backup brings back must go
        again."""
        indexes = self._indexes(whos)
        gone: set[str] = set()
        with said(_WHERE), self._engine.connect() as connection:
            for part in _parts(sorted(set(indexes.values()))):
                gone.update(connection.scalars(select(erased.c["index"]).where(erased.c["index"].in_(part))))
        return {who for who, index in indexes.items() if index in gone}

    def _indexes(self, whos: Sequence[str]) -> dict[str, str]:
        return {who: self._keys.index(who) for who in whos}

    def _scrub(self) -> None:
        """Nothing of a deleted secret stays in the files: SQLite's log is emptied, PostgreSQL's table
        rewritten."""
        if self._engine.dialect.name == "sqlite":
            raw = self._engine.raw_connection()
            try:
                busy, *_ = raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                raw.close()
            if busy:
                raise TransientError(
                    "the secrets are deleted, but the log that still holds them is being read",
                    help="do it again; it is safe to",
                    where=_WHERE,
                )
        else:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM FULL persons")


def _pseudonym(secret: bytes) -> str:
    return hmac.digest(secret, b"kept person", "sha256").hex()


def _secrets(connection: Connection, indexes: Iterable[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in _parts(sorted(set(indexes))):
        rows = connection.execute(
            select(persons.c["index"], persons.c.secret).where(persons.c["index"].in_(part))
        )
        found.update((index, bytes(secret)) for index, secret in rows)
    return found


def _insert(connection: Connection, table: Table, rows: list[dict[str, object]]) -> None:
    """Insert what isn't there yet; another process may insert the same people at the same time."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(insert(table).on_conflict_do_nothing(), rows)


def _parts(indexes: Sequence[str]) -> Iterator[Sequence[str]]:
    return (indexes[start : start + _MANY] for start in range(0, len(indexes), _MANY))
