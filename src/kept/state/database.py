"""Kept's own database: opened, brought up to date, and asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, text
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from kept.errors import TerminalError, TransientError
from kept.state.tables import notes

BUSY_MILLISECONDS = 5000
HEAD = "0001"  # the newest migration; a test compares it with the folder


class State:
    """Kept's own database. Every transaction is durable when it ends."""

    def __init__(self, path: Path) -> None:
        """Open the state at `path`, made if missing; TransientError when locked or full, TerminalError when damaged."""
        self.path = path
        fresh = not path.exists()
        if fresh:
            path.touch(mode=0o600)
        self.engine: Engine = create_engine(f"sqlite:///{path}", hide_parameters=True)
        event.listen(self.engine, "connect", _prepare)
        event.listen(self.engine, "begin", _begin)
        with self._errors():
            self._upgrade()

    def _upgrade(self) -> None:
        with self.engine.execution_options(kept_write=True).begin() as connection:
            here = None
            if inspect(connection).has_table("alembic_version"):
                here = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            if here != HEAD:
                from kept.state.migrations.upgrade import (
                    upgrade,
                )  # Alembic costs 0.2 s; most starts don't need it

                upgrade(connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction; durable when the block ends."""
        with self._errors(), self.engine.execution_options(kept_write=True).begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as wrong:
            raise TransientError(
                f"Kept's own database could not be used: {wrong.orig}",
                help="see that its disk has room and no other program holds it, then run the command again",
                where=str(self.path.name),
            ) from None
        except SQLAlchemyError as wrong:
            raise TerminalError(
                f"Kept's own database is not as it should be ({type(wrong).__name__})",
                help="restore it from a backup",
                where=str(self.path.name),
            ) from None

    def note(self, act: str, part: str, counts: Mapping[str, Any]) -> None:
        """Durably note what a step is about to commit; a repeated step that still finds work overwrites its note."""
        row = {"act": act, "part": part, "counts": json.dumps(dict(counts), sort_keys=True)}
        statement = insert(notes).values(row)
        with self.write() as connection:
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["act", "part"], set_={"counts": row["counts"]}
                )
            )

    def notes(self, act: str) -> dict[str, dict[str, Any]]:
        """What the steps of an act noted, by part."""
        with self.read() as connection:
            rows = connection.execute(select(notes.c.part, notes.c.counts).where(notes.c.act == act)).all()
        return {part: json.loads(counts) for part, counts in rows}

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file, so that nothing deleted stays in it."""
        with (
            self._errors(),
            self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        ):
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self.engine.dispose()


def _begin(connection: Connection) -> None:
    # Python's own way of beginning leaves out CREATE TABLE: half a migration would stay after a crash.
    connection.exec_driver_sql(
        "BEGIN IMMEDIATE" if connection.get_execution_options().get("kept_write") else "BEGIN"
    )


def _prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    # What a request leaves behind must not be readable in free pages: requests are sealed, and still.
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        f"busy_timeout={BUSY_MILLISECONDS}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
