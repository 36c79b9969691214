"""MariaDB as a store, through PyMySQL; what is tested is MariaDB 10.11.

MySQL speaks the same protocol and most of the same SQL, but opens a temporary table once a statement only, which the
walk can't do without: it is refused by name when its schema is read, rather than failing half-way.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pymysql
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection

from kept.errors import Conflict, StoreError, TerminalError, TransientError
from kept.stores.reflection import Besides, sort_of
from kept.stores.schema import Column, ColumnSort, Reference, Schema, Table
from kept.stores.sql import SQLStore

LOCK_SECONDS = 5
_SINCE = "10.6"  # the first with JSON_TABLE
EXACT = "utf8mb4_nopad_bin"
"""The collation by which two texts are the same only if each letter is, capitals and blanks at the end included."""

# Strict, so that no value is cut to fit; quotes are doubled and nothing else escapes; `||` puts texts together.
_MODE = "STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO"
_SETTINGS = (
    f"SET SESSION sql_mode = '{_MODE}', time_zone = '+00:00', innodb_lock_wait_timeout = {LOCK_SECONDS},"
    f" lock_wait_timeout = {LOCK_SECONDS}, foreign_key_checks = 1"
)
_TEMPORARY = re.compile(r"\s*CREATE TEMPORARY TABLE (\w+)")

# Numbers of errors after which the same call may succeed later (MariaDB's list of error codes).
_TRANSIENT = {
    1021: "its disk is full",
    1040: "too many connections",
    1053: "the server is shutting down",
    1114: "a table or its disk is full",
    1205: f"a row or table was locked for longer than {LOCK_SECONDS} s",
    1213: "two transactions were in each other's way",
    1020: "a row was changed by somebody else meanwhile",
    1412: "a table was altered meanwhile",
    1637: "too many transactions",
    1927: "the connection was ended",
    2002: "the server can't be reached",
    2003: "the server can't be reached",
    2006: "the server has gone away",
    2013: "the connection was lost",
    2055: "the connection was lost",
    3024: "the statement took too long",
    1969: "the statement took too long",
}
_CONFLICTS = (1020, 1213)
_REFUSED = {1044, 1045, 1049, 1130, 1698, 1251, 2059, 2061}
# What the other errors are about, in words without any of theirs, which quote values and statements.
_WORDS = {
    1048: "a column can't be null",
    1054: "there is no such column",
    1062: "a value that must be unique is there already (unique)",
    1064: "the statement can't be read",
    1142: "this user may not do that to a table",
    1143: "this user may not do that to a column",
    1146: "there is no such table",
    1264: "a number is out of the column's range",
    1265: "a value doesn't fit its column",
    1290: "the server only reads",
    1366: "a value doesn't fit its column",
    1406: "a text is too long for its column",
    1451: "a row is referred to by another one (foreign key)",
    1452: "a row refers to one that isn't there (foreign key)",
    4025: "a check of the table fails (check)",
}
# Names of tables, columns and keys, as far as the message has them where no value can stand.
_NAMES = {
    1048: re.compile(r"Column '(\w+)'"),
    1054: re.compile(r"Unknown column '([\w.]+)' in"),
    1062: re.compile(r"for key '([\w.]+)'$"),
    1142: re.compile(r"for table `?([\w`.]+?)`?$"),
    1146: re.compile(r"Table '([\w.]+)' doesn't exist"),
    1264: re.compile(r"for column `?([\w`.]+?)`? at row"),
    1406: re.compile(r"for column `?([\w`.']+?)`? at row"),
    1451: re.compile(r"\(`([\w`.]+)`, CONSTRAINT"),
    1452: re.compile(r"\(`([\w`.]+)`, CONSTRAINT"),
    4025: re.compile(r"CONSTRAINT `([\w.]+)` failed"),
}


class MariaDBStore(SQLStore):
    """A MariaDB database; tables are those of the database that the address names.

    A row of a table without a key has no address that SQL can say, so such a table is beyond reach: give it a key,
    which may be INVISIBLE to the company's own statements.
    """

    dialect = "mariadb"
    fill_locks = True

    def __init__(self, name: str, url: URL) -> None:
        if not url.database:
            raise TerminalError(
                "its address names no database",
                help="write mariadb://user:password@host/database",
                where=name,
            )
        folder = url.query.get("kept_files")
        self.folder = (
            Path(folder) if isinstance(folder, str) else None
        )  # the server's data directory, seen from here
        given = url.set(drivername="mysql+pymysql").difference_update_query(["kept_files"])
        given = given.update_query_dict({"charset": "utf8mb4"})
        engine = sa.create_engine(
            given,
            hide_parameters=True,
            pool_pre_ping=True,
            connect_args={"connect_timeout": 5, "init_command": _SETTINGS},
        )
        event.listen(engine, "before_cursor_execute", _remember)
        event.listen(engine, "checkin", _forget)
        super().__init__(name, engine)

    def prepare_write(self, connection: Connection, *, few: bool, exact: bool) -> None:
        """Each statement sees what is committed, as in PostgreSQL; `exact` locks whatever is read until the end.

        At any higher level a temporary table that is filled from a query would lock all the rows the query reads.
        """
        level = "SERIALIZABLE" if exact else "READ COMMITTED"
        connection.exec_driver_sql(f"SET TRANSACTION ISOLATION LEVEL {level}")

    def prepare_read(self, connection: Connection, *, few: bool) -> None:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT")

    def row_address(self, table: str) -> sa.ColumnElement[Any] | None:
        """InnoDB's own row id can't be asked for."""
        return None

    def besides(self, connection: Connection) -> Besides:
        return Besides()

    def reflected(self, connection: Connection, besides: Besides) -> Schema:
        """Read from information_schema in six queries, however many tables there are."""
        unfit = why_unfit(str(connection.exec_driver_sql("SELECT VERSION()").scalar_one()))
        if unfit is not None:
            raise TerminalError(
                unfit,
                help=f"move it to MariaDB {_SINCE} or later; until then declare the store `kind: outside`, without"
                " `at:`, and a member of staff is given each request about it as a task",
                where=self.name,
            )
        versioned = list(connection.exec_driver_sql(_VERSIONED).scalars())
        if versioned:
            raise TerminalError(
                f"the server keeps every row that is changed in or deleted from {', '.join(versioned)}"
                " (SYSTEM VERSIONING), so nothing there would be gone",
                help="ALTER TABLE … DROP SYSTEM VERSIONING takes the old rows away, and keeps no more",
                where=self.name,
            )
        return _schema(connection)

    def told(self, error: BaseException | None) -> StoreError:
        """By the error's number; most messages quote values, so only names of things are taken from them."""
        if not isinstance(error, pymysql.err.Error):
            return TerminalError(f"the driver refused ({type(error).__name__})", where=self.name)
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        message = str(error.args[1]) if len(error.args) > 1 else ""
        if number in _REFUSED:
            return TerminalError(
                "the server refuses the connection",
                help="mend the user, password, database or rights in the setting of the store's `at:`",
                where=self.name,
            )
        if number in _TRANSIENT:
            kind = Conflict if number in _CONFLICTS else TransientError
            return kind(_TRANSIENT[number], where=self.name)
        if number == 0 and isinstance(error, pymysql.err.InterfaceError):
            return TransientError("the connection was lost", where=self.name)
        said = _WORDS.get(number, "")
        found = _NAMES[number].search(message) if number in _NAMES else None
        named = f": {found[1].replace('`', '')}" if found else ""
        return TerminalError(
            f"MariaDB refused ({number}){f', {said}' if said else ''}{named}", where=self.name
        )


def why_unfit(version: str) -> str | None:
    """What Kept can't do with a server that says it is of this version; None where it is one Kept works with."""
    found = re.search(r"(\d+)\.(\d+)[.\d]*-mariadb", version, re.IGNORECASE)
    if found is None and "mariadb" not in version.lower():
        name = version.partition("-")[0]
        return f"it is MySQL {name}, which Kept can't walk: it opens a temporary table once a statement only"
    if found is not None and (int(found[1]), int(found[2])) < tuple(map(int, _SINCE.split("."))):
        return f"it is MariaDB {found[1]}.{found[2]}, which can't read a list that it is given (JSON_TABLE)"
    return None


def _remember(
    connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> None:
    """Temporary tables outlive a transaction, even one that is rolled back, and so does a setting: note them."""
    found = _TEMPORARY.match(statement)
    if found:
        connection.connection.info.setdefault("kept_temporary", set()).add(found[1])
    if "foreign_key_checks" in statement:
        connection.connection.info["kept_unchecked"] = True


def _forget(connection: Any, record: Any) -> None:
    """Leave a connection as it was found, for whoever gets it next."""
    names, unchecked = record.info.pop("kept_temporary", None), record.info.pop("kept_unchecked", False)
    if connection is None:
        return
    try:
        with connection.cursor() as cursor:
            if names:
                cursor.execute(f"DROP TEMPORARY TABLE IF EXISTS {', '.join(sorted(names))}")
            if unchecked:
                cursor.execute("SET SESSION foreign_key_checks = 1")
    except pymysql.err.Error:
        record.invalidate()  # the server took them with the connection


_COLUMNS = (
    "SELECT c.table_name, c.column_name, c.data_type, c.column_type, c.is_nullable, c.collation_name,"
    " c.is_generated, c.extra, t.table_type FROM information_schema.columns c JOIN information_schema.tables t"
    " ON t.table_schema = c.table_schema AND t.table_name = c.table_name"
    " WHERE c.table_schema = DATABASE() ORDER BY c.table_name, c.ordinal_position"
)
_VERSIONED = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
    " AND table_type = 'SYSTEM VERSIONED' ORDER BY table_name"
)
_CHECKS = (
    "SELECT table_name, check_clause FROM information_schema.check_constraints"
    " WHERE constraint_schema = DATABASE() AND check_clause LIKE '%%json_valid%%'"
)
_INDEXES = (
    "SELECT table_name, index_name, non_unique, column_name, sub_part FROM information_schema.statistics"
    " WHERE table_schema = DATABASE() ORDER BY table_name, index_name = 'PRIMARY' DESC, index_name, seq_in_index"
)
_REFERENCES = (
    "SELECT table_name, constraint_name, column_name, referenced_table_name, referenced_column_name"
    " FROM information_schema.key_column_usage WHERE table_schema = DATABASE()"
    " AND referenced_table_schema = DATABASE() ORDER BY table_name, constraint_name, ordinal_position"
)
_JSON = re.compile(r"json_valid\(`(.+?)`\)")


def _schema(connection: Connection) -> Schema:
    json = {
        (table, column)
        for table, clause in connection.exec_driver_sql(_CHECKS)
        for column in _JSON.findall(str(clause))
    }
    unique, keys, searched = _indexes(connection)
    references = _references(connection)
    columns: dict[str, dict[str, Column]] = defaultdict(dict)
    views: set[str] = set()
    for table, column, kind, written, nullable, collation, *_, table_type in connection.exec_driver_sql(
        _COLUMNS
    ):
        if table_type == "SEQUENCE":
            continue
        if table_type != "BASE TABLE":
            views.add(table)
        sort: ColumnSort = "json" if (table, column) in json else _sort(kind, written)
        columns[table][column] = Column(
            column, written, sort, nullable == "YES", (column,) in unique.get(table, ()), collation
        )
    tables = {}
    for name, made in sorted(columns.items()):
        sets = [group for group in unique.get(name, ()) if not any(made[c].nullable for c in group)]
        key = keys.get(name) or next(iter(sets), ())
        tables[name] = Table(
            name, made, key, tuple(references.get(name, ())), tuple(searched.get(name, ())), name in views
        )
    return Schema(tables)


def _sort(kind: str, written: str) -> ColumnSort:
    """MariaDB's BOOLEAN is `tinyint(1)`; an enumeration's words are no types."""
    if written.startswith("tinyint(1)"):
        return "boolean"
    special: Mapping[str, ColumnSort] = {"set": "text", "year": "number", "bit": "other"}
    return special.get(kind) or sort_of(kind)


def _indexes(
    connection: Connection,
) -> tuple[dict[str, list[tuple[str, ...]]], dict[str, tuple[str, ...]], dict[str, list[tuple[str, ...]]]]:
    """Sets of columns that are unique, primary keys, and what can be searched by, each by table."""
    parts: dict[tuple[str, str], list[tuple[str, bool]]] = defaultdict(list)
    repeated: dict[tuple[str, str], bool] = {}
    for table, index, non_unique, column, prefix in connection.exec_driver_sql(_INDEXES):
        parts[table, index].append((column, prefix is not None))
        repeated[table, index] = bool(non_unique)
    unique: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    keys: dict[str, tuple[str, ...]] = {}
    searched: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for (table, index), members in parts.items():
        group = tuple(column for column, _ in members)
        if None in group:  # an expression
            continue
        if group not in searched[table]:
            searched[table].append(group)
        if index == "PRIMARY":
            keys[table] = group
        if not repeated[table, index] and not any(prefix for _, prefix in members):
            unique[table].append(group)
    return unique, keys, searched


def _references(connection: Connection) -> dict[str, list[Reference]]:
    """InnoDB checks each key row by row and defers none."""
    pairs: dict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)
    for table, name, column, to, to_column in connection.exec_driver_sql(_REFERENCES):
        pairs[table, name, to].append((column, to_column))
    found: dict[str, list[Reference]] = defaultdict(list)
    for (table, _, to), both in pairs.items():
        columns, to_columns = zip(*both, strict=True)
        found[table].append(Reference(table, tuple(columns), to, tuple(to_columns)))
    return found


_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_NAMED = re.compile(r"(\w+)(?:\((\d+)\))?")


def integer_range(column: Column) -> tuple[int, int] | None:
    """The least and the largest number a column of whole numbers holds; None for other columns."""
    found = _NAMED.match(column.type.casefold())
    bits = _BITS.get(found[1]) if found else None
    if bits is None:
        return None
    return (
        (0, 2**bits - 1)
        if "unsigned" in column.type.casefold()
        else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )


def room(column: Column) -> int | None:
    """How many letters a column holds, where its type says so."""
    found = _NAMED.match(column.type.casefold())
    return int(found[2]) if found and found[2] and found[1] in ("char", "varchar") else None
