"""PostgreSQL as a store, through psycopg 3."""

from __future__ import annotations

from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import errors
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection

from kept.errors import StoreError, TerminalError, TransientError
from kept.stores.reflection import Besides
from kept.stores.sql import SQLStore

LOCK_SECONDS = 5

# Classes and codes of SQLSTATE after which the same call may succeed later (PostgreSQL's appendix A).
_TRANSIENT = ("08", "40", "53", "57", "58", "55P03", "55006", "25P03", "25P04")
# Codes whose primary message names tables and columns only.
_NAMES_ONLY = {"42P01", "42703", "42501", "42P07", "3F000", "0A000", "55P03", "40P01", "25006"}
_HOPELESS = (
    "password authentication failed",
    "does not exist",
    "no pg_hba.conf entry",
    "no password supplied",
)


class PostgreSQLStore(SQLStore):
    """A PostgreSQL database; tables are those of the connection's search path."""

    dialect = "postgresql"

    def __init__(self, name: str, url: URL) -> None:
        self._without_address: frozenset[str] = (
            frozenset()
        )  # a ctid tells rows apart within one partition only
        settings = {"prepare_threshold": None, "connect_timeout": 5, "application_name": "kept"}
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            hide_parameters=True,
            pool_pre_ping=True,
            connect_args={key: value for key, value in settings.items() if key not in url.query},
        )
        event.listen(engine, "connect", _set_up)
        super().__init__(name, engine)

    def prepare_write(self, connection: Connection) -> None:
        connection.exec_driver_sql(
            "SELECT set_config('random_page_cost', '1.1', true),"
            f" set_config('lock_timeout', '{LOCK_SECONDS}s', true),"
            " set_config('row_security', 'off', true)"  # rows that a policy hides raise instead of being missed
        )

    def prepare_read(self, connection: Connection) -> None:
        # not READ ONLY: temporary tables can't be made in a transaction that is
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.prepare_write(connection)

    def row_address(self, table: str) -> sa.ColumnElement[Any] | None:
        without = self.shape(table).is_view or table in self._without_address
        return None if without else sa.column("ctid", _selectable=self.table(table))

    def besides(self, connection: Connection) -> Besides:
        rows = connection.exec_driver_sql(
            "SELECT relname, relispartition FROM pg_catalog.pg_class WHERE (relispartition OR relkind IN ('p', 'f'))"
            " AND pg_catalog.pg_table_is_visible(oid)"
        ).all()
        self._without_address = frozenset(name for name, _ in rows)
        return Besides(passed_over=frozenset(name for name, is_part in rows if is_part))

    def told(self, error: BaseException | None) -> StoreError:
        """By SQLSTATE; DETAIL and most primary messages quote values, so only names of things are taken from them."""
        if not isinstance(error, psycopg.Error):
            return TerminalError(f"the driver refused ({type(error).__name__})", where=self.name)
        code = error.sqlstate
        if code is None:
            lost = isinstance(error, psycopg.OperationalError)
            if lost and any(text in str(error) for text in _HOPELESS):
                return TerminalError(
                    "the server refuses the connection",
                    help="mend the user, password or database in the setting of the store's `at:`",
                    where=self.name,
                )
            if lost:
                return TransientError("the server can't be reached", where=self.name)
            return TerminalError(f"the driver refused ({type(error).__name__})", where=self.name)
        if code == "42501" and (error.diag.source_file or "").endswith("rls.c"):
            return TerminalError(
                error.diag.message_primary or "row-level security hides rows",
                help="give Kept's role BYPASSRLS or make it the owner: rows that a policy hides would be missed",
                where=self.name,
            )
        kind = TransientError if code.startswith(_TRANSIENT) else TerminalError
        if code in _NAMES_ONLY and error.diag.message_primary:
            return kind(error.diag.message_primary, where=self.name)
        named = ", ".join(
            f"{what} {which}"
            for what, which in (
                ("table", error.diag.table_name),
                ("column", error.diag.column_name),
                ("constraint", error.diag.constraint_name),
            )
            if which
        )
        said = f"PostgreSQL refused: {_words(code)} ({code})"
        return kind(f"{said}, {named}" if named else said, where=self.name)


def _words(code: str) -> str:
    """`UniqueViolation` as words."""
    try:
        name = errors.lookup(code).__name__
    except KeyError:
        return "error"
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()


def _set_up(connection: Any, _record: Any) -> None:
    """Times without a zone are UTC to Kept, whatever the server's own zone; none is too far away to be read."""
    autocommit = connection.autocommit
    connection.autocommit = True
    connection.execute("SET TIME ZONE 'UTC'")
    connection.autocommit = autocommit
    for name in ("date", "timestamp", "timestamptz"):
        connection.adapters.register_loader(name, _AnyTime)


class _AnyTime(Loader):
    """Times that Python has no value for (before Christ, after 9999, infinity) come as the text PostgreSQL writes."""

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        known = psycopg.adapters.get_loader(oid, Format.TEXT)
        assert known is not None
        self._known = known(oid, context).load

    def load(self, data: Buffer) -> Any:
        try:
            return self._known(data)
        except psycopg.DataError:
            return bytes(data).decode()
