"""What others chose and said since this process last looked: read in two statements, and measured."""

from __future__ import annotations

import time
import uuid
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, func, select

from kept.company import Company
from kept.controls.choices.records.forgetting import FORGOTTEN
from kept.state.database import insert
from kept.state.tables import choice_events, choice_readers, holds, instructions, notes
from kept.state.tables import subjects as subjects_table

REPORTS: Final = 5.0  # seconds between two notes of how far this process has read
KEPT: Final = timedelta(days=30)  # that the note of a process that has ended stays
MANY: Final = 10_000  # changes after which it is cheaper to forget everything

_NEWS: Final = (
    select(choice_events.c.number, choice_events.c.received, subjects_table.c.person)
    .join(subjects_table, subjects_table.c.number == choice_events.c.subject)
    .order_by(choice_events.c.number)
    .limit(MANY + 1)
)
_LAST: Final = select(func.coalesce(func.max(choice_events.c.number), 0))
_STAMP: Final = select(
    *(
        select(of(column)).scalar_subquery()
        for table, columns in ((instructions, ("since", "ended")), (holds, ("since", "until", "ended")))
        for column in (table.c[name] for name in columns)
        for of in (func.count, func.max)
    ),
    select(notes.c.counts).where(notes.c.act == FORGOTTEN).scalar_subquery(),
)
"""Another one when somebody restricted, objected or was put under a hold, or took that back; or was erased."""


class News:
    """What one process has read of the changes of all, and how long it took to learn of one at the most."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.asked = 0
        self.events = 0
        self.longest = 0  # milliseconds in which it could have decided by what was no longer so
        self.position = -1
        self._stamp: tuple[Any, ...] = ()
        self._seen: datetime | None = None
        self._id, self._since = uuid.uuid4().hex, company.clock()
        self._reported = float("-inf")

    def read(self, *, idle: bool, sure: float) -> list[bytes] | None:
        """The indexes of those whose choices changed since the last call; None: anybody's may have.

        `idle`: nothing is remembered, so nothing need be read. `sure` is for how many seconds after a look something is
        decided by it, so nothing that changed before a pause counts as learned late.
        """
        began = self.company.clock()
        with self.company.state.read() as connection:
            stamp = tuple(connection.execute(_STAMP).one())
            whole = idle or self.position < 0
            rows = (
                [] if whole else connection.execute(_NEWS.where(choice_events.c.number > self.position)).all()
            )
            if whole or len(rows) > MANY:
                self.position = int(connection.scalar(_LAST) or 0)
                rows, whole = [], True
        self._measure(rows, sure)
        if rows:
            self.position = rows[-1].number
        self._seen = began
        if whole or stamp != self._stamp:
            self._stamp = stamp
            return None
        return [bytes(row.person) for row in rows if row.person is not None]

    def _measure(self, rows: Any, sure: float) -> None:
        now = self.company.clock()
        known = now if self._seen is None else min(now, self._seen + timedelta(seconds=sure))
        for row in rows:
            self.events += 1
            late = (known - datetime.fromisoformat(row.received)).total_seconds()
            self.longest = max(self.longest, round(late * 1000))

    def report(self) -> None:
        """Note now and then how far this process has read, and the longest it took: what the board measures."""
        if time.monotonic() - self._reported < REPORTS:
            return
        self._reported, now = time.monotonic(), self.company.clock()
        row = {
            "id": self._id,
            "since": self._since.isoformat(),
            "seen": now.isoformat(),
            "position": self.position,
            "asked": self.asked,
            "events": self.events,
            "longest": self.longest,
        }
        with self.company.state.write() as connection:
            writing = insert(connection, choice_readers).values(row)
            changed = {name: writing.excluded[name] for name in row if name not in ("id", "since")}
            connection.execute(writing.on_conflict_do_update(index_elements=["id"], set_=changed))
            old = choice_readers.c.seen < (now - KEPT).isoformat()
            connection.execute(delete(choice_readers).where(old))
