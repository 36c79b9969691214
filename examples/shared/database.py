"""The database a generated company is written to: SQLite from a path, PostgreSQL from an address."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg

Row = Sequence[object]


class Database(ABC):
    """One transaction on a database: statements, and many rows at once."""

    @abstractmethod
    def run(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """One statement; `?` stands for a value. Answers its rows, none where it has none."""

    @abstractmethod
    def insert(self, table: str, columns: str, rows: Iterable[Row]) -> None:
        """Rows into a table, as fast as the database takes them; `columns` are parted by commas."""

    def number(self, query: str, *values: object) -> int:
        """The one number a query answers; 0 for nothing."""
        value = self.run(query, *values)[0][0]
        return int(str(value)) if value is not None else 0


class SQLite(Database):
    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def run(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        return self.connection.execute(statement, values).fetchall()

    def insert(self, table: str, columns: str, rows: Iterable[Row]) -> None:
        places = ", ".join("?" * len(columns.split(",")))
        self.connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)


class PostgreSQL(Database):
    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection

    def run(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        if values:
            statement = statement.replace("%", "%%").replace("?", "%s")
        cursor = self.connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def insert(self, table: str, columns: str, rows: Iterable[Row]) -> None:
        with (
            self.connection.cursor() as cursor,
            cursor.copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as copy,
        ):
            for row in rows:
                copy.write_row(row)


@contextmanager
def opened(place: Path | str) -> Iterator[Database]:
    """A database in one transaction, committed at the end; nothing is written when something goes wrong."""
    if isinstance(place, str):
        with psycopg.connect(place) as server:
            yield PostgreSQL(server)
        return
    with closing(sqlite3.connect(place, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")
        yield SQLite(connection)
        connection.execute("COMMIT")
