"""A SQL database as a store: its shape, its transactions, its errors in words that hold no value and no secret."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from kept.errors import StoreError, TerminalError
from kept.stores.reflection import Besides, reflect
from kept.stores.schema import Schema, Table

Written = TypeVar("Written")
_WRITTEN = 64  # kept at a time


class SQLStore(ABC):
    """One database of the company's, through SQLAlchemy Core.

    Every use goes through `write()` or `read()`; what goes wrong there comes out as TransientError (down, locked,
    disk full: try again later) or TerminalError (somebody has to mend it), naming the store and never a value.
    """

    dialect: ClassVar[Literal["sqlite", "postgresql", "mariadb"]]
    one_statement: ClassVar[bool] = False
    """Whether one statement may change several tables, and costs a round trip: better one than many."""
    fill_locks: ClassVar[bool] = False
    """Whether a table that is filled from a query locks the rows it reads, unless each statement sees the newest."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine
        self.broken_views: frozenset[str] = frozenset()
        self.has_triggers = False  # the company's own, as far as the store tells
        self._schema: Schema | None = None
        self._tables: dict[str, sa.TableClause] = {}
        self._written: dict[Hashable, Any] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"  # the URL may hold a password

    def schema(self, refresh: bool = False) -> Schema:
        """Tables and views with columns, keys, references and indexes; read once, again when `refresh`.

        Views over something that is no longer there are left out; their names stand in `broken_views`.
        """
        if self._schema is None or refresh:
            with self.read() as connection:
                besides = self.besides(connection)
                self._schema = self.reflected(connection, besides)
            self.broken_views = besides.broken
            self._tables = {}
            self._written = {}
        return self._schema

    def shape(self, table: str) -> Table:
        """One table of the schema; TerminalError when it isn't there."""
        found = self.schema().tables.get(table)
        if found is None:
            raise TerminalError(f"there is no table {table}", where=self.name)
        return found

    def table(self, name: str) -> sa.TableClause:
        """The table for SQLAlchemy's statements; its values come and go as the driver has them."""
        if name not in self._tables:
            self._tables[name] = sa.table(name, *(sa.column(column) for column in self.shape(name).columns))
        return self._tables[name]

    def once(self, key: Hashable, write: Callable[[], Written]) -> Written:
        """What `write` gives, written once for each key and reading of the schema: statements, and never a value."""
        known = self._written
        try:
            return known[key]  # type: ignore[no-any-return]  # what was written under this key
        except KeyError:
            made = write()
        if len(known) >= _WRITTEN:
            self._written = known = {}
        known[key] = made
        return made

    @contextmanager
    def write(self, *, few: bool = False, exact: bool = False) -> Iterator[Connection]:
        """One transaction: committed when the block ends, rolled back when it raises.

        `few`: its statements are about few people and sent again and again (`prepared`). `exact`: it sees one state
        of the database, a TransientError tells of a row that somebody else has changed since, and a value that is
        made text and a value again is the same.
        """
        with self.telling(), self.engine.connect() as connection:
            connection = connection.execution_options(kept_write=True)
            with connection.begin():
                self.prepare_write(connection, few=few, exact=exact)
                yield connection

    @contextmanager
    def read(self, *, few: bool = False) -> Iterator[Connection]:
        """One consistent snapshot; temporary tables may be made, nothing of it stays. `few` as in `write`."""
        with self.telling(), self.engine.connect() as connection, connection.begin() as transaction:
            self.prepare_read(connection, few=few)
            try:
                yield connection
            finally:
                self.end_read(connection, transaction)

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """Statements that stand outside a transaction: VACUUM, CHECKPOINT, checkpoints of a log."""
        with self.telling(), self.engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def in_bulk(self) -> Iterator[Callable[[], None]]:
        """Around many writing transactions in a row; yields what to call between them, when no lock is held."""
        yield lambda: None

    def files(self) -> list[Path]:
        """The files of this store on this machine; none for a server."""
        return []

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Turn the driver's errors into Kept's; the original, which may quote values, is not chained."""
        try:
            yield
        except DBAPIError as error:
            raise self.told(error.orig) from None
        except SQLAlchemyError as error:
            raise TerminalError(
                f"the statement can't be run ({type(error).__name__})", where=self.name
            ) from None

    @abstractmethod
    def told(self, error: BaseException | None) -> StoreError:
        """The driver's error in Kept's words."""

    @abstractmethod
    def prepare_write(self, connection: Connection, *, few: bool, exact: bool) -> None:
        """What a writing transaction starts with."""

    @abstractmethod
    def prepare_read(self, connection: Connection, *, few: bool) -> None:
        """What a reading transaction starts with."""

    def end_read(self, connection: Connection, transaction: sa.Transaction) -> None:
        """How a reading transaction ends."""
        transaction.rollback()

    @contextmanager
    def prepared(self, connection: Connection) -> Iterator[None]:
        """Statements sent inside are parsed and planned once for each connection, where the server can."""
        yield

    def many(self, connection: Connection) -> None:  # noqa: B027 not every database plans otherwise for few
        """The transaction, begun for few people, turns out to be about many rows."""

    @abstractmethod
    def row_address(self, table: str) -> sa.ColumnElement[Any] | None:
        """Where a row stands (`rowid`, `ctid`), for tables without a key; None when the table has no such thing."""

    def reflected(self, connection: Connection, besides: Besides) -> Schema:
        """The shape of the database, read from its catalogue."""
        return reflect(connection, besides)

    @abstractmethod
    def besides(self, connection: Connection) -> Besides:
        """What reflection leaves out."""
