"""Where values stand in a PostgreSQL database, and whether they do or are only read into bytes.

In a page of PostgreSQL's the length of a text stands before it as bytes that may look like characters: `Name 127`
before a column of twelve bytes reads `Name 1270`. Rows read as text can tell, but only of tables in which nothing else
could hold a value: pages without anything but rows that are there, columns whose text is what the files hold, indexes
of such columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from kept.stores.physical import pgdata
from kept.stores.physical.pages import Each, free_space_used, holds_deleted, holds_only_rows
from kept.stores.physical.traces import CannotLook, Finder, Trace

_SEPARATOR = "\x01"
_TEXTS = ["text", "varchar", "bpchar", "name", "char", "json", "jsonb"]
_NUMBERS = ["bool", "int2", "int4", "int8", "float4", "float8", "numeric", "money", "oid"]
_OTHERS = [
    "uuid",
    "inet",
    "cidr",
    "macaddr",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
]
_SILENT = [*_NUMBERS, *_OTHERS]  # what files hold of these is no text
# Types by name; only PostgreSQL's own mean what they are called, others may call theirs so too.
_TYPES = (
    "SELECT oid, typname, typtype, typnamespace = CAST('pg_catalog' AS regnamespace) AS is_own FROM pg_type"
)
# What files hold of each column: text as it is shown, no text, or neither can be said. An array is told by its
# elements, a domain by what it is made from.
_COLUMNS = sa.text(
    "SELECT a.attname, a.attisdropped, COALESCE(b.is_own AND b.typname = ANY(:texts), false),"
    " COALESCE(b.typtype = 'e' OR b.is_own AND b.typname = ANY(:silent), false)"
    " FROM pg_attribute a LEFT JOIN pg_type d ON d.oid = a.atttypid"
    " LEFT JOIN pg_type t ON t.oid = COALESCE(NULLIF(d.typbasetype, 0), d.oid)"
    " LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'"
    f" LEFT JOIN ({_TYPES}) b ON b.oid = COALESCE(e.oid, t.oid)"
    " WHERE a.attrelid = CAST(:table AS regclass) AND a.attnum > 0 ORDER BY a.attnum"
)
# Samples of columns of which files hold text, or nobody can say.
_SAMPLED = sa.text(
    f"SELECT {', '.join(f'CAST(s.stavalues{i} AS text)' for i in range(1, 6))} FROM {pgdata.SAMPLES} s"
    " LEFT JOIN pg_attribute a ON a.attrelid = s.starelid AND a.attnum = s.staattnum"
    f" LEFT JOIN ({_TYPES}) t ON t.oid = a.atttypid"
    " WHERE NOT COALESCE(t.typtype = 'e' OR t.is_own AND t.typname = ANY(:silent), false)"
)
_DERIVING = sa.text(
    "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam"
    " WHERE i.indrelid = CAST(:table AS regclass)"
    " AND (i.indexprs IS NOT NULL OR a.amname NOT IN ('btree', 'hash')))"
)
_IS_UTF8 = "SELECT current_setting('server_encoding') = 'UTF8'"
_MAY_SELECT = sa.text("SELECT has_table_privilege(CAST(:table AS regclass), 'SELECT')")


def search(connection: Connection, values: Sequence[str]) -> list[Trace] | CannotLook:
    """Where values stand in the database's files and in the log."""
    refused = pgdata.refusal(connection)
    if refused is not None or not values:
        return refused or []
    found = pgdata.finder(connection, values)
    pgdata.checkpoint(connection)  # the files show what is in memory
    there = {trace.where: trace for trace in pgdata.look(connection, found) if trace.count}
    samples = there.get(f"relation {pgdata.SAMPLES}")
    if samples is not None:
        now = int(connection.exec_driver_sql(pgdata.NEXT).scalar_one())
        only_rows = pgdata.inspect(connection, Finder({}), pgdata.SAMPLES, _leaves(now)) is not None
        there[samples.where] = (_sampled(connection, samples) if only_rows else None) or samples
    traces = [trace for trace in there.values() if trace.count]
    return traces + pgdata.in_log(connection, found, pgdata.segments(connection))


def told(
    connection: Connection, trace: Trace, table: str, *, clean: bool, rebuilt: bool = False
) -> Trace | None:
    """What of a trace in a table stands in its rows; None when bytes alone can tell, so that it stays found.

    Nobody writes to the table meanwhile. `clean`: its indexes hold keys of rows that are there alone, by inspection or
    because they were `rebuilt` with the table.
    """
    if pgdata.unwritten(connection, table):
        return None
    # rows that are there for everybody are marked so
    connection.exec_driver_sql(f"VACUUM (INDEX_CLEANUP ON) {table}".replace("%", "%%"))
    pgdata.checkpoint(connection)
    if table == pgdata.SAMPLES:
        only_rows = pgdata.inspect(connection, Finder({}), table, _strictly) is not None
        return _sampled(connection, trace) if only_rows else None
    values = sorted(value for value in trace.values if _is_plain(value))
    selected = _selected(connection, table, rebuilt=rebuilt)
    if not values or selected is None:
        return None
    try:
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql(
            "SET LOCAL row_security = off"
        )  # hidden rows raise instead of being missed
        connection.exec_driver_sql(f"LOCK TABLE ONLY {table} IN SHARE MODE".replace("%", "%%"))
        pgdata.checkpoint(connection)
        if not _only_rows(connection, trace, table, clean=clean):
            return None
        found = pgdata.finder(connection, values)
        known = Trace(trace.where, 0)
        for content in pgdata.windows(connection, f"SELECT {selected} FROM ONLY {table}"):
            places = found.within(content)
            known += Trace(trace.where, len(places), frozenset[str]().union(*places))
        others = sorted(trace.values.difference(values))
        if others:
            known += pgdata.relation(connection, pgdata.finder(connection, others), table)
        return known
    except (
        sa.exc.DBAPIError
    ):  # locks of others, rights that are missing, rows that a policy hides: nobody can tell
        return None
    finally:
        connection.exec_driver_sql("ROLLBACK")


def _sampled(connection: Connection, trace: Trace) -> Trace | None:
    """What of a trace in the planner's samples stands there, read as text; None where that can't be told."""
    found = pgdata.finder(connection, sorted(trace.values))
    if not connection.execute(_MAY_SELECT, {"table": pgdata.SAMPLES}).scalar():
        return None
    places: list[frozenset[str]] = []
    for row in connection.execute(_SAMPLED, {"silent": _SILENT}):
        text = "\0".join(value for value in row if value is not None)
        places += found.within(text.replace('\\"', '"').replace("\\\\", "\\").encode())
    return Trace(trace.where, len(places), frozenset[str]().union(*places))


def _is_plain(value: str) -> bool:
    """Whether it stands in a column's text as it is: arrays and JSON write some characters otherwise."""
    return value == value.rstrip() and not any(c < " " or c in '"\\' for c in value)


def _selected(connection: Connection, table: str, *, rebuilt: bool) -> str | None:
    """A row as text, between separators; None where it wouldn't show all that the table's files hold."""
    if not connection.exec_driver_sql(_IS_UTF8).scalar():
        return None
    if connection.execute(_DERIVING, {"table": table}).scalar():
        return None
    columns = connection.execute(_COLUMNS, {"table": table, "texts": _TEXTS, "silent": _SILENT}).all()
    if any(
        not (rebuilt if is_dropped else is_text or is_silent) for _, is_dropped, is_text, is_silent in columns
    ):
        return None
    quote = connection.dialect.identifier_preparer.quote_identifier
    texts = ", ".join(
        f"CAST({quote(name)} AS text)"
        for name, is_dropped, is_text, _ in columns
        if is_text and not is_dropped
    )
    return f"chr({ord(_SEPARATOR)}) || concat_ws(chr({ord(_SEPARATOR)}), {texts or 'NULL'}) || chr({ord(_SEPARATOR)})"


def _only_rows(connection: Connection, trace: Trace, table: str, *, clean: bool) -> bool:
    """Whether the table's pages hold rows alone, and its indexes, unless they are clean, nothing of the trace."""
    none = Finder({})
    if pgdata.inspect(connection, none, table, _strictly) is None:
        return False
    if clean:
        return True
    indexes = pgdata.finder(connection, sorted(trace.values))
    files = [file for file in pgdata.files(connection, [table]) if file.kind != "table"]
    return not any(indexes.look(table, pgdata.reads(connection, file)).count for file in files)


def _leaves(now: int) -> Callable[[str], Each | None]:
    """Refuses pages that hold what was deleted, as far as anybody asked about it."""
    tables = Each(lambda page: free_space_used(page) or holds_deleted(page, now))
    return lambda kind: tables if kind == "table" else None


def _strictly(kind: str) -> Each | None:
    """Refuses pages that hold anything but rows that are there for everybody."""
    return Each(lambda page: not holds_only_rows(page)) if kind == "table" else None
