"""Kept's own database: opened, brought up to date, asked; a file of its own, or PostgreSQL for many workers."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from kept.errors import KeptError, TerminalError, TransientError
from kept.state.tables import notes

BUSY_MILLISECONDS = 5000
CLAIM_SECONDS = 60.0  # how long somebody waits for another worker to end an act
CLAIM_AGAIN = 0.05  # seconds until somebody who waits asks again
HEAD = "0001"  # the newest migration; a test compares it with the folder
_MANY = 1000  # acts asked for at once
_MAKING = 0x6B737461  # "ksta": one process at a time brings the tables up to date
_ACTS = 0x6B616374  # "kact": the first half of an act's lock


class State:
    """Kept's own database. Every transaction is durable when it ends."""

    def __init__(self, place: Path | str) -> None:
        """Open the state at a path (made if missing) or a `postgresql://` URL, and bring its tables up to date.

        TransientError when it is locked, full or can't be reached, TerminalError when damaged.
        """
        self.path = place if isinstance(place, Path) else None
        if isinstance(place, Path):
            if not place.exists():
                place.touch(mode=0o600)
            self.where = place.name
            self.engine: Engine = create_engine(f"sqlite:///{place}", hide_parameters=True)
            event.listen(self.engine, "connect", _prepare)
            event.listen(self.engine, "begin", _begin)
        else:
            self.where = "KEPT_STATE_URL"
            self.engine = _server(place)
        self._writing = self.engine.execution_options(kept_write=True)
        with self._errors():
            self._upgrade()

    @property
    def is_server(self) -> bool:
        """Whether many processes may work on it at once."""
        return self.path is None

    def _upgrade(self) -> None:
        with self._writing.begin() as connection:
            if self.is_server:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_MAKING})"))
            here = None
            if inspect(connection).has_table("alembic_version"):
                here = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            if here != HEAD:
                from kept.state.migrations.upgrade import (
                    upgrade,
                )  # Alembic costs 0.2 s; most starts don't need it

                upgrade(connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction; durable when the block ends."""
        with self._errors(), self._writing.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def claim(self, what: str, *, wait: bool, seconds: float = CLAIM_SECONDS) -> Iterator[bool]:
        """Be the only one who works on something, an act by its id; False when another does.

        With `wait` the other one has so many seconds to end. On a server the claim is a lock of the connection's, so
        that a killed worker lets go of it. A file has one process at work anyway (`kept.state.workflows`).
        """
        if not self.is_server:
            yield True
            return
        lock = f"{_ACTS}, {zlib.crc32(what.encode()) - 2**31}"
        until = time.monotonic() + (seconds if wait else 0)
        with (
            self._errors(),
            self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        ):
            # Asked again and again, for a statement that waits in the server keeps a snapshot, and what was deleted
            # meanwhile could not be made unreadable: whoever waits would hold up the one they wait for.
            while not (
                mine := bool(connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({lock})").scalar())
            ):
                if time.monotonic() >= until:
                    break
                time.sleep(CLAIM_AGAIN)
            try:
                yield mine
            finally:
                if mine:
                    connection.exec_driver_sql(f"SELECT pg_advisory_unlock({lock})")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError) as wrong:
            said = f": {wrong.orig}" if not self.is_server else f" ({type(wrong.orig).__name__})"
            raise TransientError(
                f"Kept's own database could not be used{said}",
                help="see that its disk has room and no other program holds it, then run the command again",
                where=self.where,
            ) from None
        except SQLAlchemyError as wrong:
            raise TerminalError(
                f"Kept's own database is not as it should be ({type(wrong).__name__})",
                help="restore it from a backup",
                where=self.where,
            ) from None

    def note(
        self,
        act: str,
        part: str,
        counts: Mapping[str, Any],
        *,
        along: Callable[[Connection], None] | None = None,
    ) -> None:
        """Durably note what a step is about to commit; a repeated step that still finds work overwrites its note.

        `along` writes in the same transaction.
        """
        row = {"act": act, "part": part, "counts": json.dumps(dict(counts), sort_keys=True)}
        with self.write() as connection:
            statement = insert(connection, notes).values(row)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["act", "part"], set_={"counts": row["counts"]}
                )
            )
            if along is not None:
                along(connection)

    def notes(self, act: str) -> dict[str, dict[str, Any]]:
        """What the steps of an act noted, by part."""
        return self.notes_of([act])[act]

    def notes_of(self, acts: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
        """What the steps of each act noted, by part."""
        found: dict[str, dict[str, dict[str, Any]]] = {act: {} for act in acts}
        with self.read() as connection:
            for start in range(0, len(acts), _MANY):
                chosen = select(notes).where(notes.c.act.in_(acts[start : start + _MANY]))
                for row in connection.execute(chosen):
                    found[row.act][row.part] = json.loads(row.counts)
        return found

    def checkpoint(self) -> None:
        """Fold the write-ahead log of a file into it, so that nothing deleted stays there."""
        if self.is_server:
            return
        with (
            self._errors(),
            self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        ):
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self.engine.dispose()


def insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that can say what happens `on_conflict`, for either kind of database."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def _server(url: str) -> Engine:
    help = "write postgresql://user:password@host/database, or leave the setting out"
    try:
        address = make_url(url)
    except ArgumentError:
        raise KeptError(
            "the setting is not the address of a database", help=help, where="KEPT_STATE_URL"
        ) from None
    if address.get_backend_name() not in ("postgresql", "postgres"):
        raise KeptError("Kept's state stands in PostgreSQL or in a file", help=help, where="KEPT_STATE_URL")
    return create_engine(
        address.set(drivername="postgresql+psycopg"),
        connect_args={"options": "-c synchronous_commit=on", "application_name": "kept"},
        pool_pre_ping=True,
        hide_parameters=True,
    )


def _begin(connection: Connection) -> None:
    # Python's own way of beginning leaves out CREATE TABLE: half a migration would stay after a crash.
    connection.exec_driver_sql(
        "BEGIN IMMEDIATE" if connection.get_execution_options().get("kept_write") else "BEGIN"
    )


def _prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    # What a request leaves behind must not be readable in free pages: requests are sealed, and still.
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        f"busy_timeout={BUSY_MILLISECONDS}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
