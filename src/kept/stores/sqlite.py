"""SQLite as a store: one file, one writer at a time."""

from __future__ import annotations

import re
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool

from kept.errors import StoreError, TerminalError, TransientError
from kept.stores.reflection import Besides
from kept.stores.sql import SQLStore

BUSY_MILLISECONDS = 5000
_CACHE_KIB = 64 * 1024
_CHECKPOINT_PAGES = 1000  # SQLite's own default
_BULK_SECONDS = 1.0

# Messages of SQLite that name tables and columns and can't hold a value; all others are told by their code.
_SAFE = re.compile(
    r"(no such (table|column|index|function|module): [\w.]+|(UNIQUE|NOT NULL) constraint failed: [\w., ]+"
    r"|FOREIGN KEY constraint failed|database is locked|database table is locked(: \w+)?|database or disk is full"
    r"|disk I/O error|attempt to write a readonly database|file is not a database|database disk image is malformed"
    r"|database schema has changed|malformed JSON|too many SQL variables|too many connections)$"
)
_TRANSIENT = {
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_CANTOPEN",
    "SQLITE_NOMEM",
}
_ENCODINGS = {b"a\0": "utf-16-le", b"\0a": "utf-16-be"}  # how a database that isn't UTF-8 writes an `a`
_TRANSIENT |= {"SQLITE_PROTOCOL", "SQLITE_SCHEMA", "SQLITE_INTERRUPT"}


class SQLiteStore(SQLStore):
    """A SQLite file that is there already; a path without a file is an error, never a new database."""

    dialect = "sqlite"

    def __init__(self, name: str, path: Path) -> None:
        self.path = path
        self._checkpoint_pages = _CHECKPOINT_PAGES
        self._without_rowid: frozenset[str] = frozenset()

        def connect() -> sqlite3.Connection:
            address = f"file:{quote(str(path))}?mode=rw"
            connection = sqlite3.connect(
                address,
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=BUSY_MILLISECONDS / 1000,
            )
            for setting in ("foreign_keys = ON", "secure_delete = ON", "temp_store = MEMORY"):
                connection.execute(f"PRAGMA {setting}")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            # not `lower`: an index of the company's over lower(…) would be written by another function than it is read
            connection.create_function("kept_lower", 2, _lowered, deterministic=True)
            return connection

        engine = sa.create_engine("sqlite://", creator=connect, poolclass=QueuePool, hide_parameters=True)
        event.listen(engine, "begin", _begin)
        super().__init__(name, engine)

    def files(self) -> list[Path]:
        """The database and its logs, as far as they are there."""
        beside = (self.path.with_name(self.path.name + end) for end in ("", "-wal", "-shm", "-journal"))
        return [path for path in beside if path.exists()]

    def prepare_write(self, connection: Connection, *, few: bool, exact: bool) -> None:
        """`_begin` took the lock."""
        connection.exec_driver_sql(f"PRAGMA wal_autocheckpoint = {self._checkpoint_pages}")

    @contextmanager
    def in_bulk(self) -> Iterator[Callable[[], None]]:
        """The log is written back every second instead of after each commit: pages that change often go once."""
        last = time.monotonic()

        def between() -> None:
            nonlocal last
            if time.monotonic() - last > _BULK_SECONDS:
                self.write_back()
                last = time.monotonic()

        self._checkpoint_pages = 0
        try:
            yield between
        finally:
            self._checkpoint_pages = _CHECKPOINT_PAGES
            self.write_back()

    def write_back(self, how: Literal["PASSIVE", "TRUNCATE"] = "PASSIVE") -> None:
        """Copy what the log holds into the database file; nobody waits for it when PASSIVE."""
        with self.alone() as connection:
            connection.exec_driver_sql(f"PRAGMA wal_checkpoint({how})")

    def prepare_read(self, connection: Connection, *, few: bool) -> None:
        """Nothing: the first statement fixes the snapshot."""

    def row_address(self, table: str) -> sa.ColumnElement[Any] | None:
        shape = self.shape(table)
        if shape.is_view:
            return None
        names = {column.casefold() for column in shape.columns}
        free = next((alias for alias in ("rowid", "_rowid_", "oid") if alias not in names), None)
        return (
            None
            if free is None or table in self._without_rowid
            else sa.column(free, _selectable=self.table(table))
        )

    def besides(self, connection: Connection) -> Besides:
        listed = connection.exec_driver_sql("SELECT name FROM pragma_table_list WHERE wr AND schema = 'main'")
        self._without_rowid = frozenset(listed.scalars())
        types: dict[tuple[str, str], str] = {}
        broken = set()
        for name, kind in connection.exec_driver_sql(
            "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')"
        ).all():
            try:
                columns = connection.exec_driver_sql(
                    "SELECT name, type FROM pragma_table_xinfo(?)", (name,)
                ).all()
            except OperationalError as error:
                if kind != "view" or getattr(error.orig, "sqlite_errorname", "") != "SQLITE_ERROR":
                    raise  # locked, say
                broken.add(name)
            else:
                types |= {(name, column): type_ for column, type_ in columns}
        rows = connection.exec_driver_sql(
            "SELECT m.name, l.name, i.name FROM sqlite_master AS m, pragma_index_list(m.name) AS l,"
            ' pragma_index_info(l.name) AS i WHERE l."unique" AND NOT l.partial ORDER BY m.name, l.seq, i.seqno'
        )
        sets: dict[tuple[str, str], list[str]] = defaultdict(list)
        for table, index, column in rows:
            sets[table, index].append(column)
        uniques: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for (table, _), group in sets.items():
            if None not in group:  # an expression
                uniques[table].append(tuple(group))
        return Besides(types, uniques, broken=frozenset(broken))

    def told(self, error: BaseException | None) -> StoreError:
        code = str(getattr(error, "sqlite_errorname", "") or type(error).__name__)
        message = str(error)
        if code.startswith("SQLITE_CANTOPEN") and not self.path.exists():
            return TransientError(
                "its database file isn't there",
                help="restore the file, or put its place into the store's `at:`",
                where=self.name,
            )
        said = message if _SAFE.match(message) else f"SQLite refused ({code})"
        kind = (
            TransientError
            if any(code == c or code.startswith(f"{c}_") for c in _TRANSIENT)
            else TerminalError
        )
        return kind(said, where=self.name)


def _lowered(text: bytes | None, a: bytes) -> bytes | None:
    """A text in lower case, beyond ASCII as well, which is where SQLite's own `lower` ends; `Clauses.lowered` asks.

    Bytes, as the database writes its texts (`a` is how it writes an `a`): Python's SQLite refuses to hand over a text
    that isn't well-formed, and one such row would end the whole search.
    """
    if text is None or (len(a) == 1 and text.isascii()):
        return None if text is None else text.lower()
    encoding = _ENCODINGS.get(a, "utf-8")
    errors = "surrogateescape" if encoding == "utf-8" else "surrogatepass"
    try:
        return text.decode(encoding, errors).lower().encode(encoding, errors)
    except UnicodeError:  # half a character of UTF-16
        return text


def _begin(connection: Connection) -> None:
    """Writers take their lock at once, so that two can't deadlock half-way."""
    options = connection.get_execution_options()
    if options.get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("kept_write") else "BEGIN")
