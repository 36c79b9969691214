"""Writing what people choose: every answer an event of its own, durable before it is answered, and on the ledger.

What happened is recorded whether or not it changes anything; `effect` says what counts. Whoever decides by choices in
this process learns of it before the call returns.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, Protocol
from weakref import WeakSet

from sqlalchemy import Connection, select
from sqlalchemy.engine import URL

from kept.company import Company
from kept.controls.choices.records.answers import WITH as WITH
from kept.controls.choices.records.answers import New as New
from kept.controls.choices.records.answers import Recorded as Recorded
from kept.controls.choices.records.answers import Refused as Refused
from kept.controls.choices.records.checked import Rules
from kept.controls.choices.records.checked import scopes as scopes
from kept.controls.choices.records.history import event_of
from kept.controls.choices.records.writing import Writing, entry
from kept.controls.rights.people import Person
from kept.evidence.group_commit import GroupCommit
from kept.state.tables import choice_events
from kept.state.tables import subjects as subjects_table

LEDGER: Final = "choices"  # of the note up to which event the ledger is known to be whole
PAGE: Final = 5000


class Listener(Protocol):
    """Who has to know at once whose choices changed."""

    def learn(self, whos: Iterable[Person]) -> None: ...


_LISTENERS: dict[URL, WeakSet[Listener]] = {}


def listen(company: Company, listener: Listener) -> None:
    """Tell a listener, while it lives, of all that this process records for a company, however often it is opened."""
    _LISTENERS.setdefault(company.state.engine.url, WeakSet()).add(listener)


def tell(company: Company, whos: Iterable[Person]) -> None:
    """Whose choices changed, for all in this process that listen."""
    some = set(whos)
    for listener in list(_LISTENERS.get(company.state.engine.url, ())):
        listener.learn(some)


def record(
    company: Company, given: Sequence[New], *, along: Callable[[Connection], None] | None = None
) -> list[Recorded]:
    """Record answers, all or none, in one transaction; Refused says why one can't be. On return they are on disk.

    `along` writes in the same transaction; where it raises, nothing of it stays.
    """
    ready = Rules.of(company).all_checked(given)
    with company.state.write() as connection:
        writing = Writing(company, connection, [ready])
        [done] = writing.write()
        if isinstance(done, Refused):
            raise done  # nothing of the transaction stays
        if along is not None:
            along(connection)
    _after(company, writing, [done])
    company.ledger.append_many(writing.entries)
    return done


def record_each(company: Company, given: Sequence[New]) -> list[Recorded]:
    """Record answers in one transaction, each by itself: what is refused of them is left out, and sinks no other."""
    groups: list[list[New]] = []
    for new in given:
        with contextlib.suppress(Refused):
            groups.append(Rules.of(company).all_checked([new]))
    done = [one for one in _commit(company, groups) if not isinstance(one, Refused)] if groups else []
    return [one for group in done for one in group]


class Recorder:
    """Records for many at once, threads or coroutines: whoever waits shares the next commit (`GroupCommit`)."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self._rules = Rules.of(company)
        self._commits: GroupCommit[list[New], list[Recorded] | Refused] = GroupCommit(self._commit)
        self._mutex = Lock()
        self._waiting: list[_Waiting] = []
        self._writer = ThreadPoolExecutor(1, "kept-recorder")

    def record(self, given: Sequence[New]) -> list[Recorded]:
        """As `record` does; what is refused of one caller's is refused to that caller alone."""
        done = self._commits.submit(self._rules.all_checked(given))
        if isinstance(done, Refused):
            raise done
        return done

    async def recorded(self, given: Sequence[New]) -> list[Recorded]:
        """The same for a coroutine, without a thread for each: one thread writes for all that wait.

        What the company's own database has to say (who is there, who may give a minor's yes) is asked in the thread of
        the loop; of visitors it is asked nothing.
        """
        ready = self._rules.all_checked(given)
        mine = _Waiting(ready, asyncio.get_running_loop().create_future())
        with self._mutex:
            self._waiting.append(mine)
            is_first = len(self._waiting) == 1  # the writer hasn't been called yet for what queues up
        if is_first:
            self._writer.submit(self._write)
        done = await mine.future
        if isinstance(done, Refused):
            raise done
        return done  # type: ignore[no-any-return]  # what `_commit` gives

    def _write(self) -> None:
        with self._mutex:
            waiting, self._waiting = self._waiting, []
        try:
            results: list[Any] = self._commit([one.given for one in waiting])
        except Exception as wrong:  # noqa: BLE001  # those who wait must hear of it, or they wait forever
            results = [wrong] * len(waiting)
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
        for one, result in zip(waiting, results, strict=True):
            by_loop.setdefault(one.future.get_loop(), []).append((one.future, result))
        for loop, answers in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits in it any more
                loop.call_soon_threadsafe(_answer, answers)

    def _commit(self, groups: Sequence[list[New]]) -> list[list[Recorded] | Refused]:
        return _commit(self.company, groups)


def _commit(company: Company, groups: Sequence[Sequence[New]]) -> list[list[Recorded] | Refused]:
    """Groups of answers in one transaction, each whole or not at all."""
    with company.state.write() as connection:
        writing = Writing(company, connection, groups)
        results = writing.write()
    _after(company, writing, [done for done in results if not isinstance(done, Refused)])
    company.ledger.append_many(writing.entries)
    return results


@dataclass
class _Waiting:
    """A coroutine that waits for its answers to be on disk."""

    given: list[New]
    future: asyncio.Future[Any]


def _answer(answers: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in answers:
        if future.done():
            continue  # whoever waited has gone; what they said is on record
        if isinstance(result, Exception) and not isinstance(result, Refused):
            future.set_exception(copy(result))
        else:
            future.set_result(result)


def _after(company: Company, writing: Writing, done: Sequence[Sequence[Recorded]]) -> None:
    """What was committed is known to this process."""
    writing.remember()
    tell(company, {one.new.who for group in done for one in group if not one.known})


def whole_ledger(company: Company) -> int:
    """See that every event is on the ledger, whatever a crash kept from it; how many were looked at."""
    upto, looked = int(company.state.notes(LEDGER).get("ledger", {}).get("upto", 0)), 0
    while True:
        with company.state.read() as connection:
            items = _entries(connection, upto)
        if not items:
            return looked
        company.ledger.append_many([item for _, item in items])
        upto, looked = items[-1][0], looked + len(items)
        company.state.note(LEDGER, "ledger", {"upto": upto})


def _entries(connection: Connection, after: int) -> list[tuple[int, tuple[str, dict[str, Any]]]]:
    """The next page of events as entries of the ledger, each with its number."""
    query = (
        select(choice_events, subjects_table.c.pseudonym)
        .join(subjects_table, subjects_table.c.number == choice_events.c.subject)
        .where(choice_events.c.number > after)
        .order_by(choice_events.c.number)
        .limit(PAGE)
    )
    return [(row.number, entry(event_of(row), row.pseudonym)) for row in connection.execute(query)]
