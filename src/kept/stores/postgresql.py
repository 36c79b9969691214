"""PostgreSQL as a store, through psycopg 3."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import errors
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection

from kept.errors import Conflict, StoreError, TerminalError, TransientError
from kept.stores.reflection import Besides
from kept.stores.sql import SQLStore

LOCK_SECONDS = 5
IDLE_SECONDS = 5.0
"""A connection that wasn't used for so long is asked whether it still is one."""
_SETTINGS = {
    "random_page_cost": "1.1",
    "jit": "off",
    "lock_timeout": f"{LOCK_SECONDS}s",
    "row_security": "off",  # rows that a policy hides raise instead of being missed
    "plan_cache_mode": "force_generic_plan",  # what is sent again and again is planned once
}
_MANY = {"plan_cache_mode": "auto"}
_EXACT = {
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "3",
}

# Classes and codes of SQLSTATE after which the same call may succeed later (PostgreSQL's appendix A).
_TRANSIENT = ("08", "40", "53", "57", "58", "55P03", "55006", "25P03", "25P04")
_CONFLICTS = ("40001", "40P01")  # serialization failure, deadlock
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
    one_statement = True

    def __init__(self, name: str, url: URL) -> None:
        self._without_address: frozenset[str] = (
            frozenset()
        )  # a ctid tells rows apart within one partition only
        settings = {"prepare_threshold": None, "connect_timeout": 5, "application_name": "kept"}
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            hide_parameters=True,
            connect_args={key: value for key, value in settings.items() if key not in url.query},
        )
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "checkin", _left)
        event.listen(engine, "checkout", _taken)
        super().__init__(name, engine)

    def prepare_write(self, connection: Connection, *, few: bool, exact: bool) -> None:
        self._prepare(connection, few=few, snapshot=exact, settings=_EXACT if exact else {})

    def prepare_read(self, connection: Connection, *, few: bool) -> None:
        # not READ ONLY: temporary tables can't be made in a transaction that is
        self._prepare(connection, few=few, snapshot=True, settings={})

    def _prepare(
        self, connection: Connection, *, few: bool, snapshot: bool, settings: dict[str, str]
    ) -> None:
        """How BEGIN is to be said, and what differs from the settings that the connection has for good.

        Behind a pooler it has none of its own, so every transaction brings them all.
        """
        info, driver = connection.connection.info, connection.connection.driver_connection
        assert driver is not None
        info.pop("kept_prepared", None)
        driver.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ if snapshot else None
        wanted = ({} if info["kept_direct"] else _SETTINGS) | ({} if few else _MANY) | settings
        if wanted:
            connection.exec_driver_sql(_set(wanted))

    def many(self, connection: Connection) -> None:
        connection.exec_driver_sql(_set(_MANY))

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """As any store's; what runs for minutes may wait for its locks."""
        with super().alone() as connection:
            if not connection.connection.info["kept_direct"]:
                yield connection
                return
            connection.exec_driver_sql("SET lock_timeout = DEFAULT")
            try:
                yield connection
            finally:
                if not connection.invalidated:
                    connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_SECONDS}s'")

    @contextmanager
    def prepared(self, connection: Connection) -> Iterator[None]:
        """Not behind a pooler, which may give the next transaction a server that knows no such statement."""
        info, driver = connection.connection.info, connection.connection.driver_connection
        assert driver is not None
        before = driver.prepare_threshold
        if info.get("kept_direct"):
            driver.prepare_threshold, info["kept_prepared"] = 0, True
        try:
            yield
        except sa.exc.NotSupportedError as error:
            if "cached plan" not in str(error.orig):
                raise
            connection.invalidate()  # what was prepared is of no use any more; another connection prepares anew
            raise TransientError("a column has another type than a moment ago", where=self.name) from None
        finally:
            driver.prepare_threshold = before

    def end_read(self, connection: Connection, transaction: sa.Transaction) -> None:
        """Rolled back, but where nothing but prepared queries were sent: the driver forgets those on ROLLBACK."""
        if connection.invalidated or not connection.connection.info.pop("kept_prepared", False):
            transaction.rollback()
            return
        driver = connection.connection.driver_connection
        assert driver is not None
        if driver.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS:
            transaction.commit()
        else:
            transaction.rollback()

    def row_address(self, table: str) -> sa.ColumnElement[Any] | None:
        without = self.shape(table).is_view or table in self._without_address
        return None if without else sa.column("ctid", _selectable=self.table(table))

    def besides(self, connection: Connection) -> Besides:
        rows = connection.exec_driver_sql(
            "SELECT relname, relispartition FROM pg_catalog.pg_class WHERE (relispartition OR relkind IN ('p', 'f'))"
            " AND pg_catalog.pg_table_is_visible(oid)"
        ).all()
        self._without_address = frozenset(name for name, _ in rows)
        self.has_triggers = bool(
            connection.exec_driver_sql(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid"
                " WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND pg_catalog.pg_table_is_visible(c.oid))"
            ).scalar()
        )
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
        kind: type[StoreError] = TransientError if code.startswith(_TRANSIENT) else TerminalError
        kind = Conflict if code in _CONFLICTS else kind
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


def _set_up(connection: Any, record: Any) -> None:
    """Times without a zone are UTC to Kept, whatever the server's own zone; none is too far away to be read.

    A pooler in between tells another process than the one that answers.
    """
    autocommit = connection.autocommit
    connection.autocommit = True
    connection.execute("SET TIME ZONE 'UTC'")
    [answering] = connection.execute("SELECT pg_backend_pid()").fetchone()
    record.info["kept_direct"] = answering == connection.info.backend_pid
    if record.info["kept_direct"]:
        connection.execute(_set(_SETTINGS, "false"))
    connection.autocommit = autocommit
    for name in ("date", "timestamp", "timestamptz"):
        connection.adapters.register_loader(name, _AnyTime)


def _set(settings: Mapping[str, str], local: str = "true") -> str:
    return "SELECT " + ", ".join(f"set_config('{name}', '{to}', {local})" for name, to in settings.items())


def _left(_connection: Any, record: Any) -> None:
    record.info["kept_left"] = time.monotonic()


def _taken(connection: Any, record: Any, _proxy: Any) -> None:
    """See that a pooled connection still is one, without asking the server where nothing speaks against it.

    A server that goes away says so, or closes the socket, and then there is something to read; one that can't do
    either is found by asking when the connection wasn't used for a while.
    """
    left = record.info.get("kept_left")
    if left is None:
        return  # it is new
    try:
        waiting = select.poll()
        waiting.register(connection.fileno(), select.POLLIN)
        if time.monotonic() - left > IDLE_SECONDS or waiting.poll(0):
            connection.execute("SELECT 1")
            connection.rollback()
    except psycopg.Error:
        raise sa.exc.DisconnectionError from None


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
