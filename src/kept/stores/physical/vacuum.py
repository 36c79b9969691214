"""Making what was deleted from PostgreSQL unreadable in its files.

Observed with PostgreSQL 18.4 (`tests/contract/test_physical*.py`): VACUUM compacts pages and leaves old bytes in their
free space, copies of rows that stay or what was deleted; rows that an older transaction may still see; and keys between
the pages of an index. So every page of the tables that were scrubbed is looked at, and a table with such a page is
rewritten. Switching the log on comes to overwrite with zeros what a checkpoint renamed for later use, so it goes on to
the last segment in which something was found.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from kept.errors import TerminalError, TransientError
from kept.stores.physical import content, pgdata
from kept.stores.physical.btree import BTree
from kept.stores.physical.pages import Each, free_space_used, holds_deleted, holds_remains
from kept.stores.physical.pgdata import CATALOGS
from kept.stores.physical.traces import CannotLook, Finder, Trace
from kept.stores.postgresql import LOCK_SECONDS
from kept.stores.sql import SQLStore

_OTHERS_SECONDS = 10.0  # for others' transactions to end
_ROUNDS = 3  # through the log; what is found then is kept there by a slot, an archive or a setting

# The tables that hold the named ones' rows: themselves, partitions and those that inherit; and whether VACUUM has to
# be told of one by its own name.
_HOLDING = sa.text(
    "WITH RECURSIVE named AS (SELECT unnest(CAST(CAST(:tables AS text[]) AS regclass[])) AS oid),"
    " holding AS (SELECT oid FROM named"
    " UNION SELECT i.inhrelid FROM holding h JOIN pg_inherits i ON i.inhparent = h.oid)"
    " SELECT format('%I.%I', n.nspname, c.relname), NOT c.relispartition AND c.oid NOT IN (SELECT oid FROM named)"
    " FROM holding h JOIN pg_class c ON c.oid = h.oid JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'm') ORDER BY 1"
)
# The partitioned tables among those, and those that they are partitions of: the planner has samples of them too.
_PARTITIONED = sa.text(
    "SELECT DISTINCT format('%I.%I', n.nspname, c.relname)"
    " FROM unnest(CAST(CAST(:tables AS text[]) AS regclass[])) AS t"
    " JOIN pg_class c ON c.oid = t OR c.oid IN (SELECT relid FROM pg_partition_tree(t))"
    " OR c.oid IN (SELECT relid FROM pg_partition_ancestors(t))"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'p' ORDER BY 1"
)
# Whether anybody in this database may see what a transaction before :began deleted.
_OLDER = sa.text(
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND greatest(age(backend_xmin), age(backend_xid)) > age(CAST(:began AS xid)))"
)
_FILE = sa.text("SELECT pg_relation_filepath(CAST(:table AS regclass))")
_CURRENT = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"
_MAY_SWITCH = "SELECT has_function_privilege('pg_switch_wal()', 'EXECUTE')"


def scrub(
    store: SQLStore, connection: Connection, tables: Sequence[str], values: Sequence[str]
) -> list[Trace] | CannotLook:
    """Make what was deleted from tables unreadable; where values still stand."""
    connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    try:
        return _scrub(store, connection, tables, values)
    finally:
        connection.exec_driver_sql("RESET lock_timeout")


def _scrub(
    store: SQLStore, connection: Connection, tables: Sequence[str], values: Sequence[str]
) -> list[Trace] | CannotLook:
    cleaned = _vacuum(store, connection, tables)
    may_switch = bool(connection.exec_driver_sql(_MAY_SWITCH).scalar()) and pgdata.may_checkpoint(connection)
    refused = pgdata.refusal(connection)
    if refused is not None:
        if may_switch:
            _switch(connection)
        return refused
    found = pgdata.finder(connection, values)
    began = int(connection.exec_driver_sql(pgdata.NEXT).scalar_one())
    pgdata.checkpoint(connection)
    inspected = {table: _inspected(connection, found, table, began) for table in cleaned}
    clean = {table: trace for table, trace in inspected.items() if trace is not None}
    rewritten = {table for table in cleaned if table not in clean}
    _rewrite(store, connection, sorted(rewritten), began)
    if may_switch:
        _switch(connection)
    elif rewritten:
        pgdata.checkpoint(connection)
    traces = [*clean.values(), *(_rewritten(store, connection, found, table, began) for table in rewritten)]
    if not values:
        return []
    traces += pgdata.look(connection, found, without=cleaned)
    settling = _Settling(connection, found, frozenset(clean), rewritten)
    left = settling.left([trace for trace in traces if trace.count])
    return left + _in_log(connection, found, may_switch=may_switch)


def _vacuum(store: SQLStore, connection: Connection, tables: Sequence[str]) -> list[str]:
    """VACUUM tables and the catalogues that have samples of them; by their whole names, partitions by themselves."""
    quote = store.engine.dialect.identifier_preparer.quote
    named = [quote(table) for table in tables]
    rows = connection.execute(_HOLDING, {"tables": named}).all()
    holding = [name for name, _ in rows]
    for table in [*named, *(name.replace("%", "%%") for name, is_apart in rows if is_apart)]:
        # without INDEX_CLEANUP the entries of few deleted rows may stay
        connection.exec_driver_sql(f"VACUUM (ANALYZE, INDEX_CLEANUP ON) {table}")
    if connection.exec_driver_sql("SELECT current_setting('is_superuser')").scalar() != "on":
        return holding
    for table in [*holding, *connection.execute(_PARTITIONED, {"tables": named}).scalars()]:
        _forget_samples_of_empty(connection, table)
    for catalog in CATALOGS:
        connection.exec_driver_sql(f"VACUUM (INDEX_CLEANUP ON) {catalog}")
    return [*holding, *CATALOGS]


def _forget_samples_of_empty(connection: Connection, table: str) -> None:
    """ANALYZE leaves the samples of a table's last rows, and those of its indexes, when it has none any more."""
    name = table.replace(":", r"\:")
    for samples in (
        "pg_catalog.pg_statistic WHERE (starelid = CAST(:table AS regclass) OR starelid IN"
        " (SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = CAST(:table AS regclass)))"
        f" AND NOT CASE WHEN stainherit THEN EXISTS (SELECT FROM {name}) ELSE EXISTS (SELECT FROM ONLY {name}) END",
        "pg_catalog.pg_statistic_ext_data WHERE stxoid IN"
        " (SELECT oid FROM pg_catalog.pg_statistic_ext WHERE stxrelid = CAST(:table AS regclass))"
        f" AND NOT EXISTS (SELECT FROM {name})",
    ):
        connection.execute(sa.text(f"DELETE FROM {samples}"), {"table": table})


def _inspected(connection: Connection, found: Finder, table: str, began: int) -> Trace | None:
    """Where values stand in a table; None as soon as a page still holds what was deleted before `began`."""

    kinds = {file.kind for file in pgdata.files(connection, [table])}
    if "other" in kinds or pgdata.unwritten(connection, table):
        return (
            None  # summaries of rows that are gone look like those of others; files may be older than memory
        )

    def inspection(kind: str) -> pgdata.Inspection | None:
        if kind == "btree":
            return BTree()
        if kind == "table" and kinds <= {"table", "btree"}:
            return Each(lambda page: holds_remains(page, began))
        if (
            kind == "table"
        ):  # keys of rows that are gone stay in other kinds of index: free space tells that some are
            return Each(lambda page: free_space_used(page) or holds_deleted(page, began))
        return Each(lambda page: free_space_used(page, 4)) if kind == "index" else None

    return pgdata.inspect(connection, found, table, inspection)


def _rewrite(store: SQLStore, connection: Connection, tables: Sequence[str], began: int) -> None:
    """Rewrite tables whose pages hold what was deleted before transaction `began`."""
    if tables:
        _outlast(connection, began)
    for table in sorted(tables, key=lambda table: (table in CATALOGS, table)):
        if not rewrite(connection, table):
            raise TerminalError(
                f"deleted rows can still be read in the pages of {table}, and this role may not rewrite it",
                help="make Kept's role a member of the table's owner, or grant it MAINTAIN (from PostgreSQL 17)",
                where=store.name,
            )


def rewrite(connection: Connection, table: str, how: str = "FULL") -> bool:
    """Write a table and its indexes anew; False where this role may not."""
    before = connection.execute(_FILE, {"table": table}).scalar()
    connection.exec_driver_sql(f"VACUUM ({how}) {table}".replace("%", "%%"))
    return bool(connection.execute(_FILE, {"table": table}).scalar() != before)


def _rewritten(store: SQLStore, connection: Connection, found: Finder, table: str, began: int) -> Trace:
    """Where values stand in a table that was rewritten; TransientError when it still has what was deleted."""
    # only what was deleted before: others write on, and leave their own in free space
    tables = Each(lambda page: holds_deleted(page, began))
    trace = pgdata.inspect(connection, found, table, lambda kind: tables if kind == "table" else None)
    if trace is None:
        raise TransientError(
            f"deleted rows of {table} are kept for transactions that began before",
            help="try again when long transactions are over",
            where=store.name,
        )
    return trace


def _outlast(connection: Connection, began: int) -> None:
    """Wait a while for transactions that may still see what was deleted before `began`: no rewriting leaves that out.

    DBOS always has one that is up to a second old, where its tables stand in this database.
    """
    until = time.monotonic() + _OTHERS_SECONDS
    while connection.execute(_OLDER, {"began": str(began % (1 << 32))}).scalar() and time.monotonic() < until:
        time.sleep(0.02)


@dataclass(frozen=True)
class _Settling:
    """Decides what is left of traces in relations: asks rows where bytes can't tell, rewrites what isn't clean."""

    connection: Connection
    found: Finder
    clean: frozenset[str]
    rewritten: set[str]

    def left(self, traces: Sequence[Trace]) -> list[Trace]:
        """The traces that stay."""
        there = {trace.where.removeprefix("relation "): trace for trace in traces}
        before = len(self.rewritten)
        left = [self._settle(trace, table) for table, trace in there.items() if table not in CATALOGS]
        if len(self.rewritten) > before:  # and analysed, so that their samples are others now
            self.rewritten.difference_update(CATALOGS)
            pgdata.checkpoint(self.connection)
            there |= {table: pgdata.relation(self.connection, self.found, table) for table in CATALOGS}
        left += [self._settle(there[table], table) for table in CATALOGS if table in there]
        return [trace for trace in left if trace.count]

    def _settle(self, trace: Trace, table: str) -> Trace:
        if trace.count and table not in self.rewritten:
            known = content.told(self.connection, trace, table, clean=table in self.clean)
            if known is not None:
                return known
            if not rewrite(self.connection, table, "FULL, ANALYZE"):
                return trace
            self.rewritten.add(table)
            pgdata.checkpoint(self.connection)
            trace = pgdata.relation(self.connection, self.found, table)
        if not trace.count:
            return trace
        known = content.told(self.connection, trace, table, clean=True, rebuilt=True)
        return trace if known is None else known


def _in_log(connection: Connection, found: Finder, *, may_switch: bool) -> list[Trace]:
    """Where values stand in the log, after switching on over every segment for later use that has one."""
    clean = set[str]()
    for last in range(_ROUNDS - 1, -1, -1):
        names = pgdata.segments(connection)
        current = str(connection.exec_driver_sql(_CURRENT).scalar_one())
        left = []
        ahead = 0
        for name in reversed(names):
            if name in clean and name > current:
                continue  # nobody has written there since
            traces = pgdata.in_log(connection, found, [name])
            left += traces
            clean.discard(name)
            if not traces:
                clean.add(name)
            elif name > current and may_switch and last:
                ahead = sum(1 for other in names if current < other <= name)
                break  # all before it is overwritten too
        if not left or not may_switch or not last:
            return left
        for _ in range(ahead):
            _begin_segment(connection)
        _switch(connection)
    return left


def _switch(connection: Connection) -> None:
    """Begin a new segment of the log and let go of the old ones."""
    _begin_segment(connection)
    pgdata.checkpoint(connection)


def _begin_segment(connection: Connection) -> None:
    """A message first, for without one nothing happens."""
    connection.exec_driver_sql("SELECT pg_logical_emit_message(false, 'kept', '')")
    connection.exec_driver_sql("SELECT pg_switch_wal()")
