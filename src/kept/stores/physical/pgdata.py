"""PostgreSQL's files, read through the server: every table's, index's and the log's.

Observed with PostgreSQL 18.4 (`tests/contract/test_physical.py`): after DELETE content stands in heap, index and log,
and samples of it in `pg_statistic`. A checkpoint after `pg_switch_wal` removes a segment of the log or renames it for
later use, with its content. Replication slots, an archive and backups keep older segments: what is found is reported,
what lies elsewhere can't be seen from here. Nor is a value found that PostgreSQL compressed or that stands across two
pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from kept.stores.physical.traces import CannotLook, Finder, Read, Trace

SAMPLES = "pg_catalog.pg_statistic"
CATALOGS = (SAMPLES, "pg_catalog.pg_statistic_ext_data")  # samples of values
NEXT = "SELECT CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text)"  # the transaction that comes next
_WINDOW = 1 << 20  # bytes of rows that are looked at at once
_ROUNDS = 3  # of looking again for files that others made meanwhile

# Every table, with its indexes and outsourced values under its name. Pages of the other kinds of index have content
# where these have free space.
_FILES = (
    "WITH tables AS (SELECT c.oid, c.reltoastrelid, format('%%I.%%I', n.nspname, c.relname) AS name"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm')"
    " AND c.relpersistence <> 't' AND (n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
    " OR c.oid IN (CAST('pg_catalog.pg_statistic' AS regclass), CAST('pg_catalog.pg_largeobject' AS regclass),"
    " CAST('pg_catalog.pg_statistic_ext_data' AS regclass))))"
    ", owned AS (SELECT oid, name FROM tables"
    " UNION ALL SELECT reltoastrelid, name FROM tables WHERE reltoastrelid <> 0)"
    ", files AS (SELECT name, pg_relation_filepath(oid) AS path, 'table' AS kind FROM owned"
    " UNION ALL SELECT o.name, pg_relation_filepath(i.indexrelid),"
    " CASE WHEN a.amname = 'btree' THEN 'btree' WHEN a.amname IN ('hash', 'gin', 'gist') THEN 'index' ELSE 'other' END"
    " FROM owned o JOIN pg_index i ON i.indrelid = o.oid JOIN pg_class c ON c.oid = i.indexrelid"
    " JOIN pg_am a ON a.oid = c.relam)"
    " SELECT name, path, kind FROM files WHERE path IS NOT NULL"
)
_MAY_READ = (
    "SELECT has_function_privilege('pg_read_binary_file(text,bigint,bigint,boolean)', 'EXECUTE')"
    " AND has_function_privilege('pg_stat_file(text,boolean)', 'EXECUTE')"
    " AND has_function_privilege('pg_ls_waldir()', 'EXECUTE')"
)
_FLUSHES_UNLOGGED = 190000  # the version from which a checkpoint can write unlogged tables too
# Unlogged tables, the rows of which have to be read instead of their files.
_UNLOGGED = (
    "SELECT format('%%I.%%I', n.nspname, c.relname) AS name, c.oid FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND c.relpersistence = 'u'"
)
_HIDDEN = (
    f"SELECT name FROM ({_UNLOGGED}) AS unlogged"
    " WHERE NOT has_table_privilege(oid, 'SELECT') OR row_security_active(oid) ORDER BY 1 LIMIT 1"
)
_MAY_CHECKPOINT = "SELECT pg_has_role('pg_checkpoint', 'USAGE')"  # superusers have every role


@dataclass(frozen=True, order=True)
class File:
    """One file of a relation, its first gigabyte named by `path`."""

    relation: str
    path: str
    kind: Literal["table", "btree", "index", "other"]


def refusal(connection: Connection) -> CannotLook | None:
    """Why this role can't tell what the files hold; None where it can."""
    if not connection.exec_driver_sql(_MAY_READ).scalar():
        return CannotLook(
            "this role may not read the server's files (grant pg_read_server_files and EXECUTE on"
            " pg_read_binary_file, pg_stat_file and pg_ls_waldir to let Kept look)"
        )
    if not may_checkpoint(connection):
        return CannotLook("this role may not write the server's memory to its files (grant pg_checkpoint)")
    hidden = None if _writes_all(connection) else connection.exec_driver_sql(_HIDDEN).scalar()
    if hidden is not None:
        return CannotLook(
            f"this role may not read all rows of {hidden}, which is unlogged (grant SELECT on it)"
        )
    return None


def checkpoint(connection: Connection) -> None:
    """Write what the server has in memory to its files, with unlogged tables where its version can."""
    options = " (FLUSH_UNLOGGED)" if _writes_all(connection) else ""
    connection.exec_driver_sql(f"CHECKPOINT{options}")


def _writes_all(connection: Connection) -> bool:
    version = connection.exec_driver_sql("SELECT current_setting('server_version_num')").scalar_one()
    return int(version) >= _FLUSHES_UNLOGGED


def unwritten(connection: Connection, name: str) -> bool:
    """Whether a checkpoint leaves a relation's pages in memory, so that its files may be older than its rows."""
    if _writes_all(connection):
        return False
    asked = f"SELECT EXISTS (SELECT FROM ({_UNLOGGED}) AS unlogged WHERE name = %(name)s)"
    return bool(connection.exec_driver_sql(asked, {"name": name}).scalar())


def may_checkpoint(connection: Connection) -> bool:
    return bool(connection.exec_driver_sql(_MAY_CHECKPOINT).scalar())


def finder(connection: Connection, values: Sequence[str]) -> Finder:
    """What finds values in the server's own encoding, and in UTF-8."""
    written: dict[bytes, tuple[str, ...]] = {value.encode(): (value,) for value in values}
    if values and connection.exec_driver_sql("SHOW server_encoding").scalar() != "UTF8":
        encoded = sa.text(
            "SELECT v, convert_to(v, getdatabaseencoding()) FROM unnest(CAST(:values AS text[])) AS v"
        )
        for value, pattern in connection.execute(encoded, {"values": list(values)}):
            written[bytes(pattern)] = (*written.get(bytes(pattern), ()), value)
    return Finder(written)


def files(connection: Connection, relations: Iterable[str] | None = None) -> list[File]:
    """The files of some relations, or of all that may hold the company's content, in the order of their names."""
    if relations is None:
        rows = connection.exec_driver_sql(_FILES).all()
    else:
        only = f"{_FILES} AND name = ANY(%(names)s)"
        rows = connection.exec_driver_sql(only, {"names": sorted(relations)}).all()
    return sorted(File(*row) for row in rows)


def look(connection: Connection, found: Finder, without: Iterable[str] = ()) -> list[Trace]:
    """How often values stand in each relation but those named; a file that appears meanwhile is read too."""
    counted: dict[str, Trace] = {}
    passed, seen = set(without), set[File]()
    for _ in range(_ROUNDS):
        now = [file for file in files(connection) if file.relation not in passed and file not in seen]
        if not now:
            break
        for file in now:
            trace = found.look(f"relation {file.relation}", reads(connection, file))
            counted[file.relation] = counted.get(file.relation, Trace(trace.where, 0)) + trace
        seen.update(now)
    return [_with_rows(connection, found, trace, name) for name, trace in counted.items()]


def relation(connection: Connection, found: Finder, name: str) -> Trace:
    """How often values stand in one relation."""
    parts = (read for file in files(connection, [name]) for read in reads(connection, file))
    return _with_rows(connection, found, found.look(f"relation {name}", parts), name)


def _with_rows(connection: Connection, found: Finder, trace: Trace, name: str) -> Trace:
    """A trace with what stands in rows that no checkpoint writes; what was deleted from these can't be seen."""
    if not found or not unwritten(connection, name):
        return trace
    pieces = windows(connection, f"SELECT * FROM ONLY {name}")
    places = [place for piece in pieces for place in found.within(piece)]
    return Trace(trace.where, max(trace.count, len(places)), trace.values.union(*places))


class Inspection(Protocol):
    """Looks at the pages of one file in their order."""

    def refuses(self, page: bytes) -> bool:
        """Whether a page holds what it may not."""

    def ends(self) -> bool:
        """Whether the file is refused, now that all pages were read."""


def inspect(
    connection: Connection, found: Finder, relation: str, inspection: Callable[[str], Inspection | None]
) -> Trace | None:
    """How often values stand in a relation; None as soon as a page, of a file of a kind, is refused."""
    size = int(connection.exec_driver_sql("SELECT current_setting('block_size')").scalar_one())
    trace = Trace(f"relation {relation}", 0)
    for file in files(connection, [relation]):
        looking = _Looking(inspection(file.kind), size)
        trace += found.look(trace.where, (looking.through(read) for read in reads(connection, file)))
        if looking.refused or (looking.inspection is not None and looking.inspection.ends()):
            return None
    return _with_rows(connection, found, trace, relation)


class _Looking:
    """Reads a file and has its pages inspected; nothing more is read once one is refused."""

    def __init__(self, inspection: Inspection | None, size: int) -> None:
        self.inspection, self.size, self.refused = inspection, size, False

    def through(self, read: Read) -> Read:
        return lambda at, many: b"" if self.refused else self._passed(read(at, many))

    def _passed(self, piece: bytes) -> bytes:
        if self.inspection is not None:
            whole = range(0, len(piece) - self.size + 1, self.size)
            refuses = self.inspection.refuses
            self.refused = any(refuses(piece[start : start + self.size]) for start in whole)
        return b"" if self.refused else piece


def reads(connection: Connection, file: File) -> Iterator[Read]:
    """The parts of a file, one for each gigabyte."""
    number, part = 0, file.path
    size = sa.text("SELECT (pg_stat_file(:path, true)).size")
    while connection.execute(size, {"path": part}).scalar() is not None:
        yield reader(connection, part)
        number += 1
        part = f"{file.path}.{number}"


def reader(connection: Connection, path: str) -> Read:
    """What reads a file of the server's; one that is gone has nothing to read."""
    driver: Any = connection.connection.driver_connection

    def read(at: int, size: int) -> bytes:
        try:
            # as it is: written as hexadecimal digits it takes five times as long
            with driver.cursor(binary=True) as cursor:
                cursor.execute("SELECT pg_read_binary_file(%s, %s, %s, true)", (path, at, size))
                [piece] = cursor.fetchone()
        except psycopg.Error as error:
            raise sa.exc.DBAPIError(None, None, error) from None
        return piece or b""

    return read


def segments(connection: Connection) -> list[str]:
    """The files of the log by name, which is in the order of time; those kept for later use last."""
    return list(connection.exec_driver_sql("SELECT name FROM pg_ls_waldir() ORDER BY name").scalars())


def in_log(connection: Connection, found: Finder, names: Sequence[str]) -> list[Trace]:
    """Where values stand in files of the log."""
    traces = [found.look(f"log {name}", [reader(connection, f"pg_wal/{name}")]) for name in names]
    return [trace for trace in traces if trace.count]


def windows(connection: Connection, query: str) -> Iterator[bytes]:
    """The rows of a query, which are texts between separators, many at a time."""
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT binary)") as copy:
            rows: list[bytes] = []
            size = 0
            for row in copy:
                rows.append(bytes(row))
                size += len(rows[-1])
                if size >= _WINDOW:
                    yield b"".join(rows)
                    rows, size = [], 0
            yield b"".join(rows)
    except psycopg.Error as error:
        raise sa.exc.DBAPIError(None, None, error) from None
