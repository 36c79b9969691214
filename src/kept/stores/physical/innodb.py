"""MariaDB's files: which ones may hold a store's content, and what makes deleted content leave them.

Observed with MariaDB 10.11 (`tests/contract/test_physical.py`): after DELETE a row stands in its page until the purge,
and after it where the server doesn't run with `innodb_immediate_scrub_data_uncompressed`, which writes zeros over it
and over freed pages of the undo log. `ALTER TABLE … FORCE` writes a table anew and lets its old file go. The redo log
is a ring that keeps everything until it comes round; giving it another size (from 10.9) makes a new one.
No statement reads these files as PostgreSQL's do, so Kept looks into the data directory itself, where it can be read.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from kept.stores.mariadb import MariaDBStore

_PURGE_SECONDS = 3.0
_DENIED = {1044, 1142, 1143, 1227, 1290, 1370}
_STEP = 4 << 20  # the redo log's sizes differ by so much; its own unit is 4 KiB
_ENCODINGS = {
    "latin1": "cp1252",
    "ucs2": "utf-16-be",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
}


class Unreadable(Exception):
    """Why nobody can say what the files hold."""


def encodings(connection: Connection) -> set[str]:
    """How the texts of this database are written in its files."""
    found = connection.exec_driver_sql(
        "SELECT DISTINCT character_set_name FROM information_schema.columns WHERE table_schema = DATABASE()"
    ).scalars()
    return {"utf-8", *(_ENCODINGS[name] for name in found if name in _ENCODINGS)}


def files(store: MariaDBStore, connection: Connection) -> list[Path]:
    """The files that may hold this database's content, written as memory has them; raises Unreadable.

    Table spaces, undo and redo log, temporary tables, the binary log; not those of the server's other databases.
    """
    database, folder, log = connection.exec_driver_sql(
        "SELECT DATABASE(), @@datadir, IF(@@log_bin, @@log_bin_basename, '')"
    ).one()
    where = store.folder or Path(folder)
    tables = _plain_tables(connection)
    with _written(connection, tables):
        if not all((where / database / f"{table}.cfg").exists() for table in tables):
            raise Unreadable(
                "the server's data directory can't be read from here: run Kept on its machine as a user who may, or"
                " mount the directory and add ?kept_files=/where/it/is to the store's address"
            )
    places = [path for path in sorted(where.iterdir()) if path.is_file()]
    places += sorted(path for path in (where / database).iterdir() if path.is_file())
    if log:
        beside = Path(log)
        logs = sorted(beside.parent.glob(f"{beside.name}.*"))
        if not logs:
            raise Unreadable("the server keeps a binary log, which can't be read from here")
        places += [path for path in logs if path not in places]
    for path in places:
        try:
            path.open("rb").close()
        except PermissionError:
            raise Unreadable(f"this user may not read the server's file {path.name}") from None
    return places


def _plain_tables(connection: Connection) -> list[str]:
    """The tables whose files show their content; Unreadable where some don't."""
    rows = connection.exec_driver_sql(
        "SELECT table_name, engine, CONCAT(COALESCE(create_options, ''), ' ', COALESCE(row_format, ''))"
        " FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type <> 'VIEW'"
        " AND COALESCE(engine, '') <> 'SEQUENCE'"
    ).all()
    hidden = [name for name, _, how in rows if any(word in how.lower() for word in ("compress", "encrypt"))]
    if hidden or connection.exec_driver_sql("SELECT @@innodb_encrypt_tables").scalar() != "OFF":
        raise Unreadable("tables are compressed or encrypted, so their files don't show what they hold")
    plain = [name for name, engine, how in rows if engine == "InnoDB" and "partitioned" not in how]
    if not plain:
        raise Unreadable("no table of InnoDB tells whether the data directory is the one at hand")
    return plain


@contextmanager
def _written(connection: Connection, tables: Sequence[str]) -> Iterator[None]:
    """What memory holds of the tables is in their files; meanwhile a `.cfg` stands beside each, and nobody writes."""
    quote = connection.engine.dialect.identifier_preparer.quote_identifier
    listed = ", ".join(quote(table) for table in tables).replace("%", "%%")
    try:
        connection.exec_driver_sql(f"FLUSH TABLES {listed} FOR EXPORT")
    except sa.exc.DBAPIError as error:
        if error.orig is None or error.orig.args[0] not in _DENIED:
            raise
        raise Unreadable("this user may not flush tables to files (grant RELOAD and LOCK TABLES)") from None
    try:
        yield
    finally:
        connection.exec_driver_sql("UNLOCK TABLES")


def scrubs(connection: Connection) -> bool:
    """Whether the server writes zeros over what was deleted."""
    return bool(
        connection.exec_driver_sql("SELECT @@GLOBAL.innodb_immediate_scrub_data_uncompressed").scalar()
    )


def await_purge(connection: Connection) -> None:
    """Wait a little for deleted rows to leave their pages; long transactions of others keep them there."""
    until = time.monotonic() + _PURGE_SECONDS
    history = "SELECT count FROM information_schema.innodb_metrics WHERE name = 'trx_rseg_history_len'"
    while time.monotonic() < until:
        try:
            left = connection.exec_driver_sql(history).scalar()
        except sa.exc.DBAPIError:  # needs PROCESS: what is found in the files decides either way
            return
        if not left:
            return
        time.sleep(0.1)


def rewrite(connection: Connection, tables: Sequence[str]) -> bool:
    """Write tables anew; False where this user may not."""
    quote = connection.engine.dialect.identifier_preparer.quote_identifier
    for table in tables:
        try:
            connection.exec_driver_sql(f"ALTER TABLE {quote(table).replace('%', '%%')} FORCE")
        except sa.exc.DBAPIError as error:
            if error.orig is None or error.orig.args[0] not in _DENIED:
                raise
            return False
    return True


def renew_log(connection: Connection) -> None:
    """Have the server begin its redo log anew, at its size, as far as this user may and the version can."""
    size = int(connection.exec_driver_sql("SELECT @@innodb_log_file_size").scalar_one())
    for wanted in (size + _STEP, size):
        try:
            connection.exec_driver_sql(f"SET GLOBAL innodb_log_file_size = {wanted}")
        except sa.exc.DBAPIError:  # not a superuser, or before 10.9: what is found in the log is told
            return
