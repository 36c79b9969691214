"""Letters wait in Kept's state, sealed, until the mail server has them; then the text is destroyed.

A letter is sent at least once. It is sent twice only where a process was killed between the server's "250" and the note
of it, or took longer over one letter than its LEASE; both then carry the same Message-ID, by which mail programs know
them as one.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from kept.errors import KeptError, TransientError
from kept.evidence.keys import Keys
from kept.mail.letter import Letter
from kept.mail.smtp import Misconfigured
from kept.state.database import State
from kept.state.tables import letters

LEASE: Final = timedelta(minutes=15)  # whoever took a letter and is silent for so long was killed
FIRST: Final = timedelta(minutes=1)
LONGEST: Final = timedelta(hours=4)
TRIES: Final = 38  # with these waits some five days, as mail servers do (RFC 5321 §4.5.4.1)
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,39}")
_SEAL: Final = "letter"


class Post(Protocol):
    """What hands a letter over; `kept.mail.smtp.Smtp` does."""

    def send(self, letter: Letter, id: str, date: datetime) -> None:
        """Returns when it is handed over; raises TransientError, Misconfigured or another KeptError."""


@dataclass(frozen=True)
class Entry:
    """A letter as staff see it: never its text or address."""

    id: str
    request: str | None
    what: str
    state: str
    tries: int
    next_at: datetime | None
    sent_at: datetime | None
    problem: str | None


@dataclass(frozen=True)
class Round:
    """What became of the letters of one round of sending."""

    sent: int = 0
    waiting: int = 0
    failed: int = 0


class Outbox:
    """The letters of one company."""

    def __init__(self, state: State, keys: Keys, clock: Callable[[], datetime]) -> None:
        self._state = state
        self._keys = keys
        self._clock = clock

    def put(
        self,
        what: str,
        letter: Letter,
        request: str | None = None,
        *,
        id: str | None = None,
        connection: Connection | None = None,
    ) -> str:
        """Let a letter wait; returns its id. `what` is a word such as `verify`, for staff.

        With a `connection` it is written in that transaction, so that what the letter says and the letter are one. The
        same `id` (at most 40 letters, digits, `.`, `-`) twice is one letter: the first stays, sent or not.
        """
        id = id or uuid.uuid4().hex
        if not _ID.fullmatch(id):
            raise ValueError("a letter's id has at most 40 letters, digits, `.` and `-`")
        row = {
            "id": id,
            "request": request,
            "what": what,
            "sealed": self._keys.seal(f"{_SEAL} {id}", letter.dumps()),
            "state": "waiting",
            "tries": 0,
            "next_at": _text(self._clock()),
        }
        with self._state.write() if connection is None else nullcontext(connection) as writing:
            insert = sqlite.insert if writing.dialect.name == "sqlite" else postgresql.insert
            writing.execute(insert(letters).values(row).on_conflict_do_nothing())
        return id

    def send(self, post: Post, limit: int = 1000) -> Round:
        """Send what is due, oldest first. Any number of processes may do so at once: each letter is one's.

        A letter the server won't take is `failed`, with the reason in its `problem`; one that may work later waits, a
        minute at first and at most four hours. Misconfigured ends the round: it is no letter's fault, all wait, and it
        is raised after what it stopped is noted.
        """
        done = {"sent": 0, "waiting": 0, "failed": 0}
        try:
            for _ in range(limit):
                taken = self._taken()
                if taken is None:
                    break
                done[self._handed(post, *taken)] += 1
        finally:
            if done["sent"]:
                self._state.checkpoint()  # not even sealed does the text stay in the log
        return Round(**done)

    def entries(self, request: str | None = None, state: str | None = None) -> tuple[Entry, ...]:
        """Letters as staff see them: of one request, or in one state, or all."""
        asked = select(
            letters.c.id,
            letters.c.request,
            letters.c.what,
            letters.c.state,
            letters.c.tries,
            letters.c.next_at,
            letters.c.sent_at,
            letters.c.problem,
        ).order_by(letters.c.next_at, letters.c.sent_at, letters.c.id)
        if request is not None:
            asked = asked.where(letters.c.request == request)
        if state is not None:
            asked = asked.where(letters.c.state == state)
        with self._state.read() as connection:
            rows = connection.execute(asked).all()
        return tuple(
            Entry(id, of, what, where, tries, _time(next_at), _time(sent_at), problem)
            for id, of, what, where, tries, next_at, sent_at, problem in rows
        )

    def again(self, id: str) -> bool:
        """Let a failed letter wait once more, from the start; False where there is none with its text."""
        with self._state.write() as connection:
            found = connection.execute(
                update(letters)
                .where(letters.c.id == id, letters.c.state == "failed", letters.c.sealed.is_not(None))
                .values(state="waiting", tries=0, next_at=_text(self._clock()))
            )
        return found.rowcount == 1

    def forget(self, request: str, connection: Connection | None = None) -> int:
        """Destroy the texts of a request's letters that weren't sent; they are `failed` from then on. How many."""
        with self._state.write() if connection is None else nullcontext(connection) as writing:
            found = writing.execute(
                update(letters)
                .where(letters.c.request == request, letters.c.sealed.is_not(None))
                .values(sealed=None, state="failed", next_at=None, problem="withdrawn before it was sent")
            )
        return found.rowcount

    def _handed(self, post: Post, id: str, sealed: bytes, tries: int) -> str:
        """Hand one letter over and note what became of it: the state it is in then."""
        try:
            letter = Letter.loads(self._keys.unseal(f"{_SEAL} {id}", sealed))
            post.send(letter, id, self._clock())
        except (TransientError, Misconfigured) as wrong:
            state = "failed" if tries >= TRIES else "waiting"
            next_at = None if state == "failed" else _text(self._clock() + wait(tries))
            self._note(id, state=state, next_at=next_at, problem=wrong.message)
            if isinstance(wrong, Misconfigured):
                raise
            return state
        except KeptError as wrong:
            self._note(id, state="failed", next_at=None, problem=wrong.message)
            return "failed"
        with self._state.write() as connection:  # whatever happened to the row meanwhile: it was sent
            connection.execute(
                update(letters)
                .where(letters.c.id == id)
                .values(state="sent", next_at=None, sent_at=_text(self._clock()), sealed=None, problem=None)
            )
        return "sent"

    def _taken(self) -> tuple[str, bytes, int] | None:
        """The next letter that is due, taken for LEASE: no other process sees it as due until then."""
        now = self._clock()
        due = (
            select(letters.c.id)
            .where(letters.c.state == "waiting", letters.c.next_at <= _text(now))
            .order_by(letters.c.next_at, letters.c.id)
            .limit(1)
        )
        with self._state.read() as connection:
            if connection.scalar(due) is None:
                return None
        with self._state.write() as connection:
            row = connection.execute(
                update(letters)
                .where(letters.c.id.in_(due.with_for_update(skip_locked=True)))
                .values(tries=letters.c.tries + 1, next_at=_text(now + LEASE))
                .returning(letters.c.id, letters.c.sealed, letters.c.tries)
            ).first()
        return None if row is None else (row.id, row.sealed or b"", row.tries)

    def _note(self, id: str, **values: object) -> None:
        with self._state.write() as connection:
            connection.execute(
                update(letters).where(letters.c.id == id, letters.c.state == "waiting").values(**values)
            )


def wait(tries: int) -> timedelta:
    """How long a letter waits after so many tries: one minute, two, four … four hours at most."""
    return min(FIRST * (1 << min(tries - 1, 16)), LONGEST)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
