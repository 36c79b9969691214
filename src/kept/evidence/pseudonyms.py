"""Who a ledger entry is about, without saying it: a pseudonym for each person that can be forgotten.

A person is found by an index (`Keys.index`), behind which lies a random secret; the pseudonym comes from the
secret alone. Once the secret is destroyed, nobody (Kept included) can tie old entries to the person, and the
entries stay valid.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime

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


@dataclass(frozen=True)
class Gone:
    """A person was erased `at`. Unless `surely` only their key says so, which may be somebody else's by now: a value
    they are known by would say it too, and doesn't. A `frame` was known by something and is known by nothing now: what
    a hold left of them.
    """

    at: datetime
    surely: bool
    frame: bool


class Pseudonyms:
    """The pseudonyms of people in one database; every method takes any number of people in a few
    statements."""

    def __init__(self, engine: Engine, keys: Keys, clock: Callable[[], datetime] = now) -> None:
        self._engine = engine
        self._keys = keys
        self._clock = clock

    def of(
        self,
        whos: Sequence[str],
        known: Mapping[str, str] | None = None,
        *,
        connection: Connection | None = None,
    ) -> dict[str, str]:
        """A pseudonym (64 hex digits) for each person, made on first use; `known` are those `find` gave just now.

        With the `connection` of a transaction under way on the same database they are made in that, and last only if
        it does.
        """
        named = dict(self.find(whos) if known is None else known)
        indexes = self._indexes([who for who in whos if who not in named])
        if indexes:
            missing = sorted(set(indexes.values()))
            with (
                said(_WHERE),
                self._engine.begin() if connection is None else nullcontext(connection) as writing,
            ):
                found = _made(writing, missing)
            named |= {who: _pseudonym(found[index]) for who, index in indexes.items()}
        return {who: named[who] for who in whos}

    def find(self, whos: Sequence[str]) -> dict[str, str]:
        """The pseudonyms of those who have one; makes none."""
        indexes = self._indexes(whos)
        with said(_WHERE), self._engine.connect() as connection:
            found = _secrets(connection, indexes.values())
        return {who: _pseudonym(found[index]) for who, index in indexes.items() if index in found}

    def forget(self, whos: Mapping[str, Iterable[str]]) -> None:
        """Destroy the secrets of these people, and note that they were erased, for a backup restored later.

        With each person come the values they were known by (an e-mail address): what stands behind a key may be
        somebody else later, and only both together are the person again (`erased`).
        """
        indexes = sorted(set(self._indexes(list(whos)).values()))
        known = {who: list(values) for who, values in whos.items()}
        noted = sorted(
            {*indexes}
            | {self._known(who, value) for who, values in known.items() for value in values}
            | {self._known(who, "") for who, values in known.items() if values}
        )
        at = self._clock()
        with said(_WHERE):
            with self._engine.begin() as connection:
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql("PRAGMA secure_delete = ON")
                for part in _parts(indexes):
                    connection.execute(delete(persons).where(persons.c["index"].in_(part)))
                for part in _parts(noted):
                    _note_erased(connection, [{"index": index, "at": at} for index in part])
            self._scrub()

    def erased(self, whos: Mapping[str, Iterable[str]]) -> dict[str, Gone]:
        """Which of these people were erased before: whoever of them a restored backup brings back must go again."""
        indexes = self._indexes(list(whos))
        gone = self._noted(indexes.values())
        again = {who: gone[index] for who, index in indexes.items() if index in gone}
        known = {who: {self._known(who, value) for value in whos[who]} for who in again}
        nameless = {who: self._known(who, "") for who in again if not known[who]}
        met = self._noted({index for found in known.values() for index in found} | set(nameless.values()))
        return {
            who: Gone(at, not known[who] or bool(known[who] & met.keys()), nameless.get(who) in met)
            for who, at in again.items()
        }

    def any_erased(self) -> bool:
        """Whether anybody was erased so far."""
        with said(_WHERE), self._engine.connect() as connection:
            return connection.execute(select(erased.c["index"]).limit(1)).first() is not None

    def _noted(self, indexes: Iterable[str]) -> dict[str, datetime]:
        """Which of these stand among what was noted of erased people, and since when."""
        gone: dict[str, datetime] = {}
        with said(_WHERE), self._engine.connect() as connection:
            for part in _parts(sorted(set(indexes))):
                rows = connection.execute(select(erased).where(erased.c["index"].in_(part)))
                gone.update((index, at if at.tzinfo else at.replace(tzinfo=UTC)) for index, at in rows)
        return gone

    def _known(self, who: str, value: str) -> str:
        """Where it is noted that a person was known by a value, whatever its capitals."""
        return self._keys.index(f"{who}\n{value.casefold()}")

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


def _made(connection: Connection, indexes: Sequence[str]) -> dict[str, bytes]:
    """New secrets behind these indexes; where another process was first, its own."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    adding = insert(persons).on_conflict_do_nothing().returning(persons.c["index"], persons.c.secret)
    found: dict[str, bytes] = {}
    for part in _parts(indexes):
        rows = connection.execute(
            adding,
            [{"index": i, "secret": secrets.token_bytes(32)} for i in part],
            execution_options={"insertmanyvalues_page_size": _MANY},
        )
        found.update((index, bytes(secret)) for index, secret in rows)
    others = [index for index in indexes if index not in found]
    return found | (_secrets(connection, others) if others else {})


def _note_erased(connection: Connection, rows: list[dict[str, object]]) -> None:
    """Whoever comes back and is erased again was erased when they last were."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    noting = insert(erased)
    connection.execute(
        noting.on_conflict_do_update(index_elements=["index"], set_={"at": noting.excluded.at}), rows
    )


def _parts(indexes: Sequence[str]) -> Iterator[Sequence[str]]:
    return (indexes[start : start + _MANY] for start in range(0, len(indexes), _MANY))
