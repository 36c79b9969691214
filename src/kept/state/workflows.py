"""Durable acts: what takes several steps goes on after a `kill -9` where it stopped.

DBOS keeps which act has begun and which of its steps are over; it is handed the act's kind and id, never more, because
it stores what it is given. Each step is idempotent, so one that was cut off is simply done again.

The last step of a leg is carried out by the workflow itself: its end and the workflow's are one, and noting both would
only cost two more transactions. A crash between the step and the note finds the workflow unfinished, and the step is
done again, as any step is that was cut off before it was noted.

What is noted in a file survives a killed process, and may miss its last moments after a power cut. Kept's own state,
which is on the disk itself, then still has the act open: it is begun anew by whoever works next.
"""

from __future__ import annotations

import fcntl
import logging
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Protocol

from dbos import DBOS, DBOSConfig, SetWorkflowID
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from kept.errors import KeptError, TransientError

LIMIT = 1000  # unfinished acts recovered at one start
WAIT_SECONDS = 30.0  # for another process to end its work
BUSY_MILLISECONDS = 30_000


class Act(Protocol):
    """A kind of long work: which steps it has, and one step of it. Both are called again after a crash.

    An act may go on in legs with months between them, each a workflow of its own.
    """

    def steps(self, act: str, leg: int) -> Sequence[str]:
        """The steps of a leg, in order; the same whenever asked, and none once a later leg has begun."""

    def step(self, act: str, name: str) -> None:
        """Do one step; harmless when it was done before."""


class Workflows:
    """The durable acts of one company; made by `opened` only, and one at a time in a process, as DBOS is."""

    def __init__(self, kinds: Mapping[str, Act]) -> None:
        self.kinds = kinds

    def run(self, kind: str, act: str, attempt: int = 1, leg: int = 0) -> None:
        """Carry out a leg of an act; an attempt that was begun before is joined, not begun again."""
        with _errors(), SetWorkflowID(f"{kind}:{act}:{attempt}"):
            _act(kind, act, leg)


_open: Workflows | None = None


@contextmanager
def opened(place: Path | str, kinds: Mapping[str, Act]) -> Iterator[Workflows]:
    """Workflows kept in the SQLite file at a path, or in PostgreSQL at a URL.

    In a file acts that a crash left unfinished are finished first. On a server other workers are at work meanwhile,
    and whoever claims an act that a dead worker left (`State.claim`) begins it anew.
    """
    if _open is not None:
        raise RuntimeError("one company's workflows at a time in a process")
    config: DBOSConfig = {
        "name": "kept",
        "system_database_url": f"sqlite:///{place}" if isinstance(place, Path) else place,
        "application_version": "1",
        "executor_id": "local" if isinstance(place, Path) else uuid.uuid4().hex,
        "log_level": "CRITICAL",
        "notification_listener_polling_interval_sec": 0.05,  # slept through when it is shut down; asks nothing
    }
    alone: AbstractContextManager[None] = nullcontext()
    if isinstance(place, Path):
        place.touch(mode=0o600)
        alone = _alone(place.with_suffix(".lock"))
        config["system_database_engine"] = _engine(place)
    with alone, _launched(config, Workflows(kinds)) as running:
        yield running


def _engine(file: Path) -> Engine:
    """DBOS's own way to its SQLite file, but with a log ahead of writing: it would sync the disk three times a step."""
    engine = create_engine(f"sqlite:///{file}", hide_parameters=True)
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = "IMMEDIATE"  # as DBOS has it: whoever will write says so when they begin
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # the disk itself only when the log is folded in


@contextmanager
def _launched(config: DBOSConfig, running: Workflows) -> Iterator[Workflows]:
    global _open
    logging.getLogger("dbos").setLevel(
        logging.CRITICAL
    )  # errors reach the caller; tracebacks may carry values
    _open = running
    try:
        with _errors():
            DBOS(config=config)
            DBOS.launch()
            mine = config["executor_id"]
            # DBOS puts what it finds pending into a queue of its own, which takes up to a second.
            for one in DBOS.list_workflows(status=["PENDING", "ENQUEUED"], executor_id=mine, limit=LIMIT):
                with suppress(KeptError):  # its act stays open: whoever works next tries again, and notes it
                    DBOS.retrieve_workflow(one.workflow_id).get_result(polling_interval_sec=0.02)
        yield running
    finally:
        DBOS.destroy()
        _open = None
        if (engine := config.get("system_database_engine")) is not None:
            engine.dispose()


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time works on a company: another's acts look unfinished while it is at them.

    The lock is the system's (flock), so that a killed process lets go of it.
    """
    lock.touch(mode=0o600)
    with lock.open("a") as file:
        for _ in range(int(WAIT_SECONDS / 0.1)):
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.1)
        else:
            raise TransientError(
                "another kept is at work on this company",
                help="run it again when that is done",
                where=lock.name,
            )
        yield


@contextmanager
def _errors() -> Iterator[None]:
    """What goes wrong in DBOS's own database, in Kept's words; the errors of steps pass as they are."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as wrong:
        raise TransientError(
            f"the record of unfinished work could not be used ({type(wrong).__name__})",
            help="see that its disk has room and no other program holds it, then run the command again",
            where="workflows.sqlite",
        ) from None


@DBOS.step(name="kept.step")
def _step(kind: str, act: str, name: str) -> None:
    assert _open is not None
    _open.kinds[kind].step(act, name)


@DBOS.workflow(name="kept.act")
def _act(kind: str, act: str, leg: int) -> None:
    assert _open is not None
    names = _open.kinds[kind].steps(act, leg)
    for name in names[:-1]:
        _step(kind, act, name)
    for name in names[-1:]:
        _open.kinds[kind].step(act, name)
