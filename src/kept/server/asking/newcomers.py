"""People of whom nothing is remembered: one thread reads all who came while it last read, and no loop waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Final

from kept.controls.choices.deciding import Decision
from kept.controls.choices.enforce import SURE, Gate
from kept.controls.rights.people import Person
from kept.server.guard import told

AT_ONCE: Final = 1000  # people read together

Waiting = asyncio.Future[Decision | None]


class Newcomers:
    """Reads people into the gate's memory, for any number of loops and threads."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._lock = threading.Lock()
        self._waiting: list[tuple[Person, Waiting]] = []
        self._reads = False
        self._began = float("-inf")

    async def read(self, person: Person) -> Decision | None:
        """Wait until somebody is remembered: None, or the refusal where nobody can tell."""
        waiting: Waiting = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting.append((person, waiting))
            # One that hangs in a database is left alone: whoever comes now may be luckier.
            idle = not self._reads or time.monotonic() > self._began + SURE
            if idle:
                self._reads, self._began = True, time.monotonic()
        if idle:
            threading.Thread(target=self._read, name="kept-newcomers", daemon=True).start()
        try:
            return await asyncio.wait_for(waiting, 2 * SURE)
        except TimeoutError:
            return _unsure("a database doesn't answer in time")

    def _read(self) -> None:
        while True:
            with self._lock:
                now, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                self._reads, self._began = bool(now), time.monotonic()
            if not now:
                return
            answer: Decision | None
            try:
                found = self._gate.bases(list(dict.fromkeys(person for person, _ in now)))
                answer = found if isinstance(found, Decision) else None
            except Exception as wrong:  # noqa: BLE001  # whatever it is: those who wait must hear of it
                told(wrong)
                answer = _unsure("this is a fault of Kept's own")
            for _, waiting in now:
                with contextlib.suppress(RuntimeError):  # its loop has ended, and nobody waits there
                    waiting.get_loop().call_soon_threadsafe(_answer, waiting, answer)


def _answer(waiting: Waiting, answer: Decision | None) -> None:
    if not waiting.done():
        waiting.set_result(answer)


def _unsure(why: str) -> Decision:
    return Decision(False, f"nobody can tell: {why}", unsure=True, rule="unsure")
