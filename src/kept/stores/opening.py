"""Open a SQL store from its address."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from kept.errors import TerminalError
from kept.stores.mariadb import MariaDBStore
from kept.stores.postgresql import PostgreSQLStore
from kept.stores.sql import SQLStore
from kept.stores.sqlite import SQLiteStore


def open_store(name: str, url: str, folder: Path | None = None) -> SQLStore:
    """The store at `url`: `sqlite:///shop.sqlite` (relative to `folder`), `postgresql://user:password@host/db`
    or `mariadb://user:password@host/db` (`mysql://` means the same).

    Nothing is connected yet. An address that can't be read is a TerminalError, which doesn't repeat it: it may hold
    a password.
    """
    help = (
        "write sqlite:///path/to/file, postgresql://user:password@host/database"
        " or mariadb://user:password@host/database"
    )
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise TerminalError("its address can't be read", help=help, where=name) from None
    match address.get_backend_name():
        case "sqlite" if address.database and address.database != ":memory:":
            return SQLiteStore(name, (folder or Path()) / address.database)
        case "postgresql" | "postgres":
            return PostgreSQLStore(name, address)
        case "mariadb" | "mysql":
            return MariaDBStore(name, address)
        case _:
            raise TerminalError("its address is of a kind Kept doesn't open", help=help, where=name)
