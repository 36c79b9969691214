"""Whether deleted content can still be read in a store's files, and making sure it can't.

Observed with PostgreSQL 18.4 (`tests/contract/test_physical.py`): after DELETE the content stands in heap, index and
log, and samples of it in `pg_statistic`. VACUUM compacts pages and leaves old bytes in their free space, and rows that
an older transaction may still see; so every page of the tables that were scrubbed is looked at, and a table with such a
page is rewritten. In the log content stays in the segment that had it, which a checkpoint after `pg_switch_wal` removes
or renames for later use, with its content. Switching on should come to overwrite a renamed segment, so it goes on while
something is found. Replication slots, an archive and backups keep older segments: what is found is reported, what lies
elsewhere can't be seen from here. Nor is a value found that PostgreSQL compressed or that stands across two pages.

SQLite zeroes what is deleted through a store (`secure_delete`); the log keeps older pages until it is truncated, and
what others deleted without zeroing stays in free space until VACUUM.

MariaDB's means stand in `kept.stores.innodb`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from ahocorasick_rs import BytesAhoCorasick
from sqlalchemy.engine import Connection

from kept.errors import TerminalError, TransientError
from kept.stores import innodb
from kept.stores.mariadb import MariaDBStore
from kept.stores.pages import free_space_used, holds_deleted
from kept.stores.postgresql import LOCK_SECONDS
from kept.stores.sql import SQLStore
from kept.stores.sqlite import SQLiteStore

SHORTEST = 4  # bytes; what is shorter is found everywhere
_CHUNK = 4 << 20
_OTHERS_SECONDS = 10.0  # for others' transactions to end
_SWITCHES = 80  # a log of 1 GB, PostgreSQL's default at most, has 64 segments

Read = Callable[[int, int], bytes]
Finder = tuple[BytesAhoCorasick, int] | None


@dataclass(frozen=True)
class Trace:
    """A place where values stand, and how many times: `file app.sqlite-wal`, `relation users`, `log 0000…3A`."""

    where: str
    count: int


@dataclass(frozen=True)
class CannotLook:
    """Nobody can say whether anything remains: this role may not read the server's files."""

    reason: str


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
        return _refusal(connection) or _in_server(connection, _server_finder(connection, values))


def search_files(paths: Iterable[Path], values: Iterable[str]) -> list[Trace]:
    """Where any of the values stands in files; a path that isn't there holds nothing."""
    return _in_files(list(paths), _long_enough(values))


def scrub(store: SQLStore, tables: Sequence[str], values: Iterable[str] = ()) -> list[Trace] | CannotLook:
    """Make what was deleted from `tables` unreadable; answers where `values` still stand (nothing asked: nowhere).

    PostgreSQL: `tables` are vacuumed, analysed and read once, and rewritten under an exclusive lock when a page still
    holds what was deleted, which is so after most deletions; the log is switched where the role may. With values the
    whole database is read besides, and what holds one is rewritten too. SQLite: the whole file is rewritten only while
    a value is found. MariaDB: `tables` are rewritten unless the server zeroes what is deleted; while a value is found
    they are rewritten all the same, and the log is renewed where the user may. TransientError when others' locks or
    long transactions are in the way, TerminalError when this role may not rewrite a table.
    """
    values = _long_enough(values)
    if isinstance(store, SQLiteStore):
        return _scrub_file(store, values)
    if isinstance(store, MariaDBStore):
        with store.alone() as connection:
            return _scrub_mariadb(store, connection, tables, values)
    with store.alone() as connection:
        connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_SECONDS}s'")
        try:
            return _scrub_server(store, connection, tables, values)
        finally:
            connection.exec_driver_sql("RESET lock_timeout")


def _long_enough(values: Iterable[str]) -> list[str]:
    kept = sorted(set(values))
    if any(len(value.encode()) < SHORTEST for value in kept):
        raise ValueError(f"a value of fewer than {SHORTEST} bytes is found everywhere")
    return kept


def _finder(patterns: Iterable[bytes]) -> Finder:
    every = sorted(set(patterns))
    return (BytesAhoCorasick(every), max(map(len, every))) if every else None


def _count(finder: Finder, read: Read) -> int:
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


def _in_files(paths: Sequence[Path], values: Sequence[str], besides: Iterable[str] = ()) -> list[Trace]:
    encodings = {"utf-8", *besides, *(_encoding(path) for path in paths)}
    finder = _finder(one for value in values for encoding in encodings if (one := _encoded(value, encoding)))
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


def _encoded(value: str, encoding: str) -> bytes:
    """Nothing where an encoding has no such letters."""
    try:
        return value.encode(encoding)
    except UnicodeEncodeError:
        return b""


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


# PostgreSQL.

_SAMPLES = "pg_catalog.pg_statistic"
_CATALOGS = (_SAMPLES, "pg_catalog.pg_statistic_ext_data")  # samples of values
# Every table, with its indexes and outsourced values under its name.
_EVERYTHING = sa.text(
    "WITH tables AS (SELECT c.oid, c.reltoastrelid, format('%I.%I', n.nspname, c.relname) AS name"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm')"
    " AND c.relpersistence <> 't' AND (n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
    " OR c.oid IN (CAST('pg_catalog.pg_statistic' AS regclass), CAST('pg_catalog.pg_largeobject' AS regclass),"
    " CAST('pg_catalog.pg_statistic_ext_data' AS regclass))))"
    ", owned AS (SELECT oid, name FROM tables"
    " UNION ALL SELECT reltoastrelid, name FROM tables WHERE reltoastrelid <> 0)"
    ", files AS (SELECT name, pg_relation_filepath(oid) AS path FROM owned"
    " UNION ALL SELECT o.name, pg_relation_filepath(i.indexrelid) FROM owned o JOIN pg_index i ON i.indrelid = o.oid)"
    " SELECT name, path FROM files WHERE path IS NOT NULL ORDER BY 1, 2"
)
# The tables that hold the named ones' rows.
_HOLDING = sa.text(
    "SELECT DISTINCT format('%I.%I', n.nspname, c.relname)"
    " FROM unnest(CAST(CAST(:tables AS text[]) AS regclass[])) AS t"
    " JOIN pg_class c ON c.oid = t OR c.oid IN (SELECT relid FROM pg_partition_tree(t))"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') ORDER BY 1"
)
# One table's own files. Pages of other kinds of index have content where others have free space.
_FILES = sa.text(
    "WITH owned AS (SELECT oid FROM pg_class WHERE oid = CAST(:table AS regclass)"
    " UNION ALL SELECT reltoastrelid FROM pg_class WHERE oid = CAST(:table AS regclass) AND reltoastrelid <> 0)"
    " SELECT pg_relation_filepath(oid), false FROM owned UNION ALL SELECT pg_relation_filepath(i.indexrelid), true"
    " FROM owned o JOIN pg_index i ON i.indrelid = o.oid JOIN pg_class c ON c.oid = i.indexrelid"
    " JOIN pg_am a ON a.oid = c.relam WHERE a.amname IN ('btree', 'hash', 'gin', 'gist')"
)
# Whether anybody in this database may see what a transaction before :began deleted.
_OLDER = sa.text(
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND greatest(age(backend_xmin), age(backend_xid)) > age(CAST(:began AS xid)))"
)
_FILE = sa.text("SELECT pg_relation_filepath(CAST(:table AS regclass))")
_MAY_READ = (
    "SELECT has_function_privilege('pg_read_binary_file(text,bigint,bigint,boolean)', 'EXECUTE')"
    " AND has_function_privilege('pg_stat_file(text,boolean)', 'EXECUTE')"
    " AND has_function_privilege('pg_ls_waldir()', 'EXECUTE')"
)
_MAY_CHECKPOINT = "SELECT pg_has_role('pg_checkpoint', 'USAGE')"  # superusers have every role
_MAY_SWITCH = "SELECT has_function_privilege('pg_switch_wal()', 'EXECUTE')"


def _refusal(connection: Connection) -> CannotLook | None:
    if not connection.exec_driver_sql(_MAY_READ).scalar():
        return CannotLook(
            "this role may not read the server's files (grant pg_read_server_files and EXECUTE on"
            " pg_read_binary_file, pg_stat_file and pg_ls_waldir to let Kept look)"
        )
    if not connection.exec_driver_sql(_MAY_CHECKPOINT).scalar():
        return CannotLook("this role may not write the server's memory to its files (grant pg_checkpoint)")
    return None


def _server_finder(connection: Connection, values: Sequence[str]) -> Finder:
    patterns = [value.encode() for value in values]
    if values and connection.exec_driver_sql("SHOW server_encoding").scalar() != "UTF8":
        encoded = sa.text(
            "SELECT convert_to(v, getdatabaseencoding()) FROM unnest(CAST(:values AS text[])) AS v"
        )
        patterns += connection.execute(encoded, {"values": list(values)}).scalars()
    return _finder(patterns)


def _in_server(connection: Connection, finder: Finder) -> list[Trace]:
    if finder is None:
        return []
    connection.exec_driver_sql("CHECKPOINT")  # the files show what is in memory
    counts: dict[str, int] = {}
    for name, path in connection.execute(_EVERYTHING).all():
        for part in _parts(connection, path):
            counts[name] = counts.get(name, 0) + _count(finder, _reader(connection, part))
    if counts.get(_SAMPLES) and not _holds_more_than_rows(connection, _SAMPLES):
        counts[_SAMPLES] = _in_samples(connection, finder)
    found = [Trace(f"relation {name}", count) for name, count in counts.items() if count]
    return found + _in_log(connection, finder)


def _holds_more_than_rows(connection: Connection, table: str) -> bool:
    """Whether pages of a table hold anything but rows that are there: what was deleted, bytes in free space."""
    now = int(
        connection.exec_driver_sql(
            "SELECT CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text)"
        ).scalar_one()
    )
    return any(
        free_space_used(page, 4 if is_index else 0) or (not is_index and holds_deleted(page, now))
        for page, is_index in _pages(connection, table)
    )


def _in_samples(connection: Connection, finder: Finder) -> int:
    """How often a value stands in the planner's samples, read as text.

    Samples of one column stand side by side in a page, each with a binary length before it that may look like a
    character: `Name 127` before a sample of twelve bytes reads `Name 1270`.
    """
    if finder is None:
        return 0
    columns = ", ".join(f"CAST(stavalues{i} AS text)" for i in range(1, 6))
    count = 0
    for row in connection.exec_driver_sql(f"SELECT {columns} FROM {_SAMPLES}"):
        text = "\0".join(value for value in row if value is not None)
        text = text.replace('\\"', '"').replace("\\\\", "\\")
        count += sum(1 for _ in finder[0].find_matches_as_indexes(text.encode(), overlapping=True))
    return count


def _in_log(connection: Connection, finder: Finder) -> list[Trace]:
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


def _scrub_server(
    store: SQLStore, connection: Connection, tables: Sequence[str], values: Sequence[str]
) -> list[Trace] | CannotLook:
    quote = store.engine.dialect.identifier_preparer.quote
    named = [quote(table) for table in tables]
    holding = list(connection.execute(_HOLDING, {"tables": named}).scalars())
    for table in named:
        # without INDEX_CLEANUP the entries of few deleted rows may stay
        connection.exec_driver_sql(f"VACUUM (ANALYZE, INDEX_CLEANUP ON) {table}")
    if connection.exec_driver_sql("SELECT current_setting('is_superuser')").scalar() == "on":
        for table in holding:
            _forget_samples_of_empty(connection, table)
        for catalog in _CATALOGS:
            connection.exec_driver_sql(f"VACUUM (INDEX_CLEANUP ON) {catalog}")
        holding += _CATALOGS
    refused = _refusal(connection)
    if refused is None:
        began = int(
            connection.exec_driver_sql(
                "SELECT CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text)"
            ).scalar_one()
        )
        _rewrite_unclean(store, connection, holding, began)
    may_switch = bool(connection.exec_driver_sql(_MAY_SWITCH).scalar())
    may_switch &= bool(connection.exec_driver_sql(_MAY_CHECKPOINT).scalar())
    if may_switch:
        _switch(connection)
    finder = _server_finder(connection, values)
    if refused is not None or finder is None:
        return refused or []
    found = _in_server(connection, finder)
    if not found:
        return found
    left = {trace.where.removeprefix("relation ") for trace in found if trace.where.startswith("relation ")}
    for table in sorted(left, key=lambda name: (name.startswith("pg_catalog."), name)):
        connection.exec_driver_sql(f"VACUUM (FULL, ANALYZE) {table}")  # passed over where the role may not
    for _ in range(_SWITCHES if may_switch else 0):
        if not _in_log(connection, finder):
            break
        _switch(connection)
    return _in_server(connection, finder)


def _forget_samples_of_empty(connection: Connection, table: str) -> None:
    """ANALYZE leaves the samples of a table's last rows when it has none any more."""
    empty = f"NOT EXISTS (SELECT FROM {table})".replace(":", r"\:")
    for samples in (
        "pg_catalog.pg_statistic WHERE starelid = CAST(:table AS regclass)",
        "pg_catalog.pg_statistic_ext_data WHERE stxoid IN"
        " (SELECT oid FROM pg_catalog.pg_statistic_ext WHERE stxrelid = CAST(:table AS regclass))",
    ):
        connection.execute(sa.text(f"DELETE FROM {samples} AND {empty}"), {"table": table})


def _rewrite_unclean(store: SQLStore, connection: Connection, tables: Sequence[str], began: int) -> None:
    """Rewrite the tables whose pages still hold what was deleted before transaction `began`."""
    connection.exec_driver_sql("CHECKPOINT")
    unclean = [
        table
        for table in tables
        if any(
            free_space_used(page, 4 if is_index else 0) or (not is_index and holds_deleted(page, began))
            for page, is_index in _pages(connection, table)
        )
    ]
    if unclean:
        _outlast(connection, began)
    for table in unclean:
        before = connection.execute(_FILE, {"table": table}).scalar()
        connection.exec_driver_sql(f"VACUUM (FULL) {table}")
        if connection.execute(_FILE, {"table": table}).scalar() == before:
            raise TerminalError(
                f"deleted rows can still be read in the pages of {table}, and this role may not rewrite it",
                help="make Kept's role a member of the table's owner, or grant it MAINTAIN (from PostgreSQL 17)",
                where=store.name,
            )
    connection.exec_driver_sql("CHECKPOINT")
    for table in unclean:
        # only what was deleted before: others write on, and leave their own in free space
        if any(holds_deleted(page, began) for page, is_index in _pages(connection, table) if not is_index):
            raise TransientError(
                f"deleted rows of {table} are kept for transactions that began before",
                help="try again when long transactions are over",
                where=store.name,
            )


def _outlast(connection: Connection, began: int) -> None:
    """Wait a while for transactions that may still see what was deleted before `began`: no rewriting leaves that out.

    DBOS always has one that is up to a second old, where its tables stand in this database.
    """
    until = time.monotonic() + _OTHERS_SECONDS
    while connection.execute(_OLDER, {"began": str(began % (1 << 32))}).scalar() and time.monotonic() < until:
        time.sleep(0.02)


def _pages(connection: Connection, table: str) -> Iterator[tuple[bytes, bool]]:
    """Each page of a table's files, and whether it is an index's."""
    size = int(connection.exec_driver_sql("SELECT current_setting('block_size')").scalar_one())
    for path, is_index in connection.execute(_FILES, {"table": table}).all():
        for part in _parts(connection, path):
            read, at = _reader(connection, part), 0
            while piece := read(at, _CHUNK):
                at += len(piece)
                for start in range(0, len(piece), size):
                    yield piece[start : start + size], is_index


def _switch(connection: Connection) -> None:
    """Begin a new segment of the log and let go of the old ones; a message first, for without one nothing happens."""
    connection.exec_driver_sql("SELECT pg_logical_emit_message(false, 'kept', '')")
    connection.exec_driver_sql("SELECT pg_switch_wal()")
    connection.exec_driver_sql("CHECKPOINT")
