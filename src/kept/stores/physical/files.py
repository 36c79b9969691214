"""Whether deleted content can still be read in a store's files, and making sure it can't.

SQLite zeroes what is deleted through a store (`secure_delete`); the log keeps older pages until it is truncated, and
what others deleted without zeroing stays in free space until VACUUM.

MariaDB's means stand in `kept.stores.physical.innodb`, PostgreSQL's in `kept.stores.physical.vacuum`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sqlalchemy.engine import Connection

from kept.errors import TransientError
from kept.stores.mariadb import MariaDBStore
from kept.stores.physical import content, innodb, vacuum
from kept.stores.physical.traces import CannotLook, Finder, Trace
from kept.stores.sql import SQLStore
from kept.stores.sqlite import SQLiteStore

__all__ = ["SHORTEST", "CannotLook", "Trace", "scrub", "search", "search_files"]

SHORTEST = 4  # bytes; what is shorter is found everywhere


def search(store: SQLStore, values: Iterable[str]) -> list[Trace] | CannotLook:
    """Where any of the values stands in the store's files, also where no query shows it; without values nowhere.

    SQLite: the database and what lies beside it. PostgreSQL: every table of the database in every schema, with indexes,
    outsourced values, large objects and statistics, and the log; all of it is read once. MariaDB: the files of its data
    directory, where that can be read from here. A live row that rightly has
    the value counts too, so ask for what only the person had. ValueError when a value has fewer than four bytes.
    """
    values = _long_enough(values)
    if isinstance(store, SQLiteStore):
        return _in_files([Path(f"{store.path}{end}") for end in ("", "-wal", "-journal", "-shm")], values)
    if isinstance(store, MariaDBStore):
        with store.alone() as connection:
            return _in_mariadb(store, connection, values)
    with store.alone() as connection:
        return content.search(connection, values)


def search_files(paths: Iterable[Path], values: Iterable[str]) -> list[Trace]:
    """Where any of the values stands in files; a path that isn't there holds nothing."""
    return _in_files(list(paths), _long_enough(values))


def scrub(store: SQLStore, tables: Sequence[str], values: Iterable[str] = ()) -> list[Trace] | CannotLook:
    """Make what was deleted from `tables` unreadable; answers where `values` still stand (nothing asked: nowhere).

    PostgreSQL: `tables` are vacuumed, analysed and read once, and rewritten under an exclusive lock when a page still
    holds what was deleted, which is rare after few deletions and common after many; the log is switched where the role
    may. With values the whole database is read besides; where one is found, its rows are read to tell whether it only
    seems so, or what holds it is rewritten too. SQLite: the whole file is rewritten only while a value is found.
    MariaDB: `tables` are rewritten unless the server zeroes what is deleted; while a value is found they are rewritten
    all the same, and the log is renewed where the user may. TransientError when others' locks or long transactions are
    in the way, TerminalError when this role may not rewrite a table.
    """
    values = _long_enough(values)
    if isinstance(store, SQLiteStore):
        return _scrub_file(store, values)
    if isinstance(store, MariaDBStore):
        with store.alone() as connection:
            return _scrub_mariadb(store, connection, tables, values)
    with store.alone() as connection:
        return vacuum.scrub(store, connection, tables, values)


def _long_enough(values: Iterable[str]) -> list[str]:
    kept = sorted(set(values))
    if any(len(value.encode()) < SHORTEST for value in kept):
        raise ValueError(f"a value of fewer than {SHORTEST} bytes is found everywhere")
    return kept


# SQLite and any file.


def _in_files(paths: Sequence[Path], values: Sequence[str], besides: Iterable[str] = ()) -> list[Trace]:
    finder = Finder.of(values, {"utf-8", *besides, *(_encoding(path) for path in paths)})
    found = []
    for path in paths:
        try:
            with path.open("rb") as file:
                trace = finder.look(f"file {path.name}", [lambda _at, size, file=file: file.read(size)])  # type: ignore[misc]  # bound now
        except FileNotFoundError:
            continue
        if trace.count:
            found.append(trace)
    return found


def _encoding(path: Path) -> str:
    """How texts are written: a SQLite database says so in its header (sqlite.org/fileformat), others in UTF-8."""
    try:
        with path.open("rb") as file:
            header = file.read(60)
    except FileNotFoundError:
        return "utf-8"
    said = int.from_bytes(header[56:60], "big") if header.startswith(b"SQLite format 3\0") else 1
    return {2: "utf-16-le", 3: "utf-16-be"}.get(said, "utf-8")


def _scrub_file(store: SQLiteStore, values: Sequence[str]) -> list[Trace]:
    _truncate_log(store)
    found = search(store, values)
    if found:
        with store.alone() as connection:
            connection.exec_driver_sql("PRAGMA temp_store = FILE")  # the whole database would stand in memory
            try:
                connection.exec_driver_sql("VACUUM")
            finally:
                connection.exec_driver_sql("PRAGMA temp_store = MEMORY")
        _truncate_log(store)
        found = search(store, values)
    assert isinstance(found, list)
    return found


def _truncate_log(store: SQLiteStore) -> None:
    with store.alone() as connection:
        busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
    if busy:
        raise TransientError(
            "its log can't be emptied while others read",
            help="try again when long reads are over",
            where=store.name,
        )


# MariaDB.


def _in_mariadb(
    store: MariaDBStore, connection: Connection, values: Sequence[str]
) -> list[Trace] | CannotLook:
    try:
        paths = innodb.files(store, connection)
    except innodb.Unreadable as reason:
        return CannotLook(str(reason))
    return _in_files(paths, values, innodb.encodings(connection))


def _scrub_mariadb(
    store: MariaDBStore, connection: Connection, tables: Sequence[str], values: Sequence[str]
) -> list[Trace] | CannotLook:
    tables = [table for table in tables if not store.shape(table).is_view]
    innodb.await_purge(connection)
    written = innodb.scrubs(connection) or innodb.rewrite(connection, tables)
    found = _in_mariadb(store, connection, values)
    if isinstance(found, CannotLook):
        return found
    if not written:
        return CannotLook("this user may not write tables anew (grant ALTER, CREATE and INSERT on them)")
    if not values:
        innodb.renew_log(connection)  # what it holds can't be told
    if not found:
        return found
    innodb.rewrite(connection, tables)
    innodb.renew_log(connection)
    return _in_mariadb(store, connection, values)
