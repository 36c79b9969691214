"""How the evidence keeps its tables: engines for SQLite and PostgreSQL, and what their errors mean."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError, TimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from kept.errors import KeptError, StoreError, TerminalError, TransientError

WAIT = 5.0
"""Seconds to wait for another process's write on SQLite."""

_GLANCE = 3
"""Milliseconds SQLite itself waits for the write lock before we ask again: left alone it sleeps up to 100 ms at a
time, and beside a process that appends without pause it finds the lock taken for seconds."""

_MAKING = 0x6B657074  # "kept": one process at a time makes tables

_TRANSIENT = {
    sqlite3.SQLITE_BUSY: "it is locked by another process",
    sqlite3.SQLITE_LOCKED: "it is locked by another process",
    sqlite3.SQLITE_PROTOCOL: "it is locked by another process",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk could not be written or read",
    sqlite3.SQLITE_NOMEM: "memory ran out",
    sqlite3.SQLITE_INTERRUPT: "it was interrupted",
}
_TERMINAL = {
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_NOTADB: "the file is damaged, or isn't a database",
    sqlite3.SQLITE_CANTOPEN: "the file can't be opened or made",
    sqlite3.SQLITE_READONLY: "the file can't be written",
    sqlite3.SQLITE_PERM: "the file can't be written",
}


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def open_engine(place: str | Path) -> Engine:
    """An engine for a path or a URL (sqlite:///… or postgresql://…) whose writes are durable once committed.

    A transaction begun on a connection with the execution option `writes=True` holds SQLite's write lock from
    its start, so what it reads is what it writes upon.
    """
    url = _url(place)
    if url.get_backend_name() == "sqlite":
        _touch(Path(url.database or ""))
        engine = create_engine(url, connect_args={"timeout": WAIT}, hide_parameters=True)
        event.listen(engine, "connect", _connected)
        event.listen(engine, "begin", _begun)
        return engine
    options = "-c synchronous_commit=on"
    return create_engine(url, connect_args={"options": options}, pool_pre_ping=True, hide_parameters=True)


@contextmanager
def said(where: str) -> Iterator[None]:
    """Turn a database's errors into Kept's: Transient when the same call may succeed later, else Terminal."""
    try:
        yield
    except sqlite3.Error as error:  # from a PRAGMA at connecting, which SQLAlchemy doesn't wrap
        raise _meant(error, where) from error
    except DBAPIError as error:
        passing = isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated
        raise _meant(error.orig, where, passing) from error
    except TimeoutError as error:
        raise TransientError("no connection became free in time", where=where) from error


def _meant(original: BaseException | None, where: str, passing: bool = False) -> StoreError:
    """What a database's error means; neither its statement nor its values are repeated."""
    if isinstance(original, sqlite3.Error):
        code = getattr(original, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _TRANSIENT:
            return TransientError(
                _TRANSIENT[code], help="mend that and try again; nothing was written", where=where
            )
        name = getattr(original, "sqlite_errorname", type(original).__name__)
        return TerminalError(_TERMINAL.get(code, f"the database refused ({name})"), where=where)
    state = getattr(original, "sqlstate", None) or type(original).__name__
    if passing:
        return TransientError(f"the database can't do it now ({state})", help="try again later", where=where)
    return TerminalError(f"the database refused ({state})", where=where)


def _url(place: str | Path) -> URL:
    if isinstance(place, Path) or "://" not in place:
        return URL.create("sqlite", database=str(place))
    try:
        url = make_url(place)
    except ArgumentError as error:
        raise KeptError("the address of the ledger's database isn't a URL") from error
    match url.get_backend_name():
        case "sqlite":
            if not url.database or url.database == ":memory:" or "mode=memory" in url.database:
                raise KeptError("a ledger can't be kept in memory", help="use sqlite:///PATH")
            return url
        case "postgresql":
            return url.set(drivername="postgresql+psycopg")
        case other:
            raise KeptError(f"a ledger can't be kept in {other}", help="use sqlite:///PATH or postgresql://…")


def _touch(path: Path) -> None:
    """Make the file readable by its owner only; SQLite gives its -wal and -shm files the same mode."""
    try:
        fresh = not path.exists()
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if fresh:  # the name of the file must outlast a power cut too
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
    except OSError as error:
        raise TerminalError(f"the file can't be opened or made: {error.strerror}", where=path.name) from error


def create(engine: Engine, metadata: MetaData) -> None:
    """Make the tables that are missing; several processes may do so at once."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MAKING})")
        metadata.create_all(connection)


def _connected(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # BEGIN is ours, see _begun
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA secure_delete = ON")
    cursor.execute("PRAGMA temp_store = MEMORY")
    cursor.close()


def writer(engine: Engine) -> Connection:
    """A connection to write on, again and again; to be invalidated, not given back."""
    connection = engine.connect().execution_options(writes=True)
    if connection.dialect.name == "sqlite":
        raw = connection.connection.cursor()
        raw.execute(f"PRAGMA busy_timeout = {_GLANCE}")
        raw.close()
    return connection


def _begun(connection: Connection) -> None:
    if not connection.get_execution_options().get("writes", False):
        connection.exec_driver_sql("BEGIN")
        return
    until = time.monotonic() + WAIT
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            return
        except OperationalError as error:
            busy = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > until:
                raise
            time.sleep(random.uniform(0.0005, 0.002))  # noqa: S311  # so that two who wait don't keep step
