"""Whether deleted content can still be read in a store's files, and making sure it can't.

Observed with PostgreSQL 18.4 (`tests/contract/test_physical.py`): after DELETE the content stands in heap, index and
log; VACUUM takes it out of heap and index files as it compacts their pages (where a page is left with nothing to
compact over it, only VACUUM FULL does); in the log it stays in the segment that had it, which a checkpoint after
`pg_switch_wal` removes or renames for later use, with its content. Switching on should come to overwrite a renamed
segment, so it goes on while something is found. Replication slots, an archive and backups keep older segments: what is
found is reported, what lies elsewhere can't be seen from here.

SQLite zeroes what is deleted through a store (`secure_delete`); the log keeps older pages until it is truncated, and
what others deleted without zeroing stays in free space until VACUUM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from ahocorasick_rs import BytesAhoCorasick
from sqlalchemy.engine import Connection

from kept.errors import TransientError
from kept.stores.sql import SQLStore
from kept.stores.sqlite import SQLiteStore

SHORTEST = 4  # bytes; what is shorter is found everywhere
_CHUNK = 4 << 20
_SWITCHES = 80  # a log of 1 GB, PostgreSQL's default at most, has 64 segments

Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Trace:
    """A place where values stand, and how many times: `file app.sqlite-wal`, `relation users`, `log 0000…3A`."""

    where: str
    count: int


@dataclass(frozen=True)
class CannotLook:
    """Nobody can say whether anything remains: this role may not read the server's files."""

    reason: str


def search(
    store: SQLStore, values: Iterable[str], tables: Sequence[str] | None = None
) -> list[Trace] | CannotLook:
    """Where any of the values stands in the store's files (UTF-8), also where no query shows it.

    SQLite: the database and what lies beside it. PostgreSQL: the tables (all of them when none are named) with their
    indexes and outsourced values, and the log. A live row that rightly has the value counts too, so ask for what only
    the person had. ValueError when a value has fewer than four bytes.
    """
    finder = _finder(values)
    if isinstance(store, SQLiteStore):
        return _in_files([Path(f"{store.path}{end}") for end in ("", "-wal", "-journal", "-shm")], finder)
    with store.alone() as connection:
        return _in_server(store, connection, finder, tables)


def search_files(paths: Iterable[Path], values: Iterable[str]) -> list[Trace]:
    """Where any of the values stands in files; a path that isn't there holds nothing."""
    return _in_files(paths, _finder(values))


def scrub(store: SQLStore, tables: Sequence[str], values: Iterable[str] = ()) -> list[Trace] | CannotLook:
    """Make what was deleted from `tables` unreadable; answers what is left of `values` (nothing asked: nothing found).

    Light means first; the whole file or table is rewritten only while a value is still found. PostgreSQL's log is
    switched where the role may. TransientError when readers keep SQLite's log from being truncated.
    """
    values = sorted(set(values))
    if isinstance(store, SQLiteStore):
        return _scrub_file(store, values)
    return _scrub_server(store, tables, values)


def _finder(values: Iterable[str]) -> tuple[BytesAhoCorasick, int] | None:
    patterns = sorted({value.encode() for value in values})
    if any(len(pattern) < SHORTEST for pattern in patterns):
        raise ValueError(f"a value of fewer than {SHORTEST} bytes is found everywhere")
    return (BytesAhoCorasick(patterns), max(map(len, patterns))) if patterns else None


def _count(finder: tuple[BytesAhoCorasick, int] | None, read: Read) -> int:
    """How often a value begins in a stream that is read piece by piece, each overlapping the one before."""
    if finder is None:
        return 0
    automaton, longest = finder
    found, at, rest = 0, 0, b""
    while piece := read(at, _CHUNK):
        at += len(piece)
        window = rest + piece
        # what begins in the last bytes may go on in the next piece, and is counted there
        hits = automaton.find_matches_as_indexes(window, overlapping=True)
        edge = len(window) - (longest - 1)
        found += sum(1 for _, start, _end in hits if start < edge)
        rest = window[max(0, edge) :]
    return found + sum(1 for _ in automaton.find_matches_as_indexes(rest, overlapping=True))


# SQLite and any file.


def _in_files(paths: Iterable[Path], finder: tuple[BytesAhoCorasick, int] | None) -> list[Trace]:
    found = []
    for path in paths:
        try:
            with path.open("rb") as file:
                count = _count(finder, lambda _at, size, file=file: file.read(size))  # type: ignore[misc]  # bound now
        except FileNotFoundError:
            continue
        if count:
            found.append(Trace(f"file {path.name}", count))
    return found


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


# PostgreSQL.

_RELATIONS = sa.text(
    "WITH named AS (SELECT c.oid, c.relname, c.reltoastrelid FROM pg_class c"
    " JOIN pg_class t ON c.oid = t.oid OR c.oid IN (SELECT relid FROM pg_partition_tree(t.oid))"
    " WHERE t.oid = ANY (CAST(CAST(:tables AS text[]) AS regclass[])))"
    ", owned AS (SELECT oid, relname FROM named"
    " UNION SELECT reltoastrelid, relname FROM named WHERE reltoastrelid <> 0)"
    " SELECT relname, pg_relation_filepath(oid) FROM owned WHERE pg_relation_filepath(oid) IS NOT NULL"
    " UNION SELECT o.relname, pg_relation_filepath(i.indexrelid) FROM owned o JOIN pg_index i ON i.indrelid = o.oid"
    " WHERE pg_relation_filepath(i.indexrelid) IS NOT NULL ORDER BY 1, 2"
)
_MAY_READ = (
    "SELECT has_function_privilege('pg_read_binary_file(text,bigint,bigint,boolean)', 'EXECUTE')"
    " AND has_function_privilege('pg_stat_file(text,boolean)', 'EXECUTE')"
    " AND has_function_privilege('pg_ls_waldir()', 'EXECUTE')"
)
_MAY_CHECKPOINT = "SELECT pg_has_role('pg_checkpoint', 'USAGE')"  # superusers have every role
_MAY_SWITCH = "SELECT has_function_privilege('pg_switch_wal()', 'EXECUTE')"


def _in_server(
    store: SQLStore,
    connection: Connection,
    finder: tuple[BytesAhoCorasick, int] | None,
    tables: Sequence[str] | None,
) -> list[Trace] | CannotLook:
    if finder is None:
        return []
    if not connection.exec_driver_sql(_MAY_READ).scalar():
        return CannotLook(
            "this role may not read the server's files (grant pg_read_server_files and EXECUTE on"
            " pg_read_binary_file, pg_stat_file and pg_ls_waldir to let Kept look)"
        )
    if not connection.exec_driver_sql(_MAY_CHECKPOINT).scalar():
        return CannotLook("this role may not write the server's memory to its files (grant pg_checkpoint)")
    connection.exec_driver_sql("CHECKPOINT")  # the files show what is in memory
    if tables is None:
        tables = [name for name, table in store.schema().tables.items() if not table.is_view]
    quote = store.engine.dialect.identifier_preparer.quote
    named = connection.execute(_RELATIONS, {"tables": [quote(table) for table in tables]}).all()
    counts: dict[str, int] = {}
    for name, path in named:
        for part in _parts(connection, path):
            counts[name] = counts.get(name, 0) + _count(finder, _reader(connection, part))
    return [Trace(f"relation {name}", count) for name, count in counts.items() if count] + _in_log(
        connection, finder
    )


def _in_log(connection: Connection, finder: tuple[BytesAhoCorasick, int]) -> list[Trace]:
    segments = connection.exec_driver_sql("SELECT name FROM pg_ls_waldir() ORDER BY name").scalars().all()
    counts = {name: _count(finder, _reader(connection, f"pg_wal/{name}")) for name in segments}
    return [Trace(f"log {name}", count) for name, count in counts.items() if count]


def _parts(connection: Connection, path: str) -> Iterator[str]:
    """A relation's files: one for each gigabyte."""
    number = 0
    part = path
    while (
        connection.execute(sa.text("SELECT (pg_stat_file(:path, true)).size"), {"path": part}).scalar()
        is not None
    ):
        yield part
        number += 1
        part = f"{path}.{number}"


def _reader(connection: Connection, path: str) -> Read:
    piece = sa.text("SELECT pg_read_binary_file(:path, :at, :size, true)")

    def read(at: int, size: int) -> bytes:
        return bytes(connection.execute(piece, {"path": path, "at": at, "size": size}).scalar() or b"")

    return read


def _scrub_server(store: SQLStore, tables: Sequence[str], values: Sequence[str]) -> list[Trace] | CannotLook:
    quote = store.engine.dialect.identifier_preparer.quote
    with store.alone() as connection:
        for table in tables:
            connection.exec_driver_sql(f"VACUUM {quote(table)}")
        may_switch = bool(connection.exec_driver_sql(_MAY_SWITCH).scalar())
        may_switch &= bool(connection.exec_driver_sql(_MAY_CHECKPOINT).scalar())
        if may_switch:
            _switch(connection)
        finder = _finder(values)
        found = _in_server(store, connection, finder, tables)
        if isinstance(found, CannotLook) or finder is None:
            return found
        left = {
            trace.where.removeprefix("relation ") for trace in found if trace.where.startswith("relation ")
        }
        for table in tables:
            if table in left:
                connection.exec_driver_sql(f"VACUUM FULL {quote(table)}")
        for _ in range(_SWITCHES if may_switch else 0):
            if not _in_log(connection, finder):
                break
            _switch(connection)
        return _in_server(store, connection, finder, tables) if found else []


def _switch(connection: Connection) -> None:
    """Begin a new segment of the log and let go of the old ones; a message first, for without one nothing happens."""
    connection.exec_driver_sql("SELECT pg_logical_emit_message(false, 'kept', '')")
    connection.exec_driver_sql("SELECT pg_switch_wal()")
    connection.exec_driver_sql("CHECKPOINT")
