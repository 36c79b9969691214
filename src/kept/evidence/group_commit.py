"""Group commit without a timer: while one caller commits, others queue, and the next commit takes all of
them.

No thread of its own: whoever finds nobody committing leads, so a caller alone goes straight to the database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from threading import Lock
from typing import Generic, TypeVar

from kept.errors import TransientError

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Call(Generic[Item, Result]):
    """One caller's item, and what became of it. `wake` is held until it is done, or the caller must lead."""

    __slots__ = ("done", "error", "item", "leads", "result", "wake")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.result: list[Result] = []
        self.error: BaseException | None = None
        self.done = False
        self.leads = False
        self.wake = Lock()
        self.wake.acquire()


class GroupCommit(Generic[Item, Result]):
    """Calls `commit` with everything queued, one call at a time; each caller gets its own result.

    `commit` gives as many results as it gets items, in their order. When it fails, everyone it was for gets
    the error, and the next caller starts afresh.
    """

    def __init__(self, commit: Callable[[Sequence[Item]], Sequence[Result]]) -> None:
        self._commit = commit
        self._mutex = Lock()
        self._queue: list[_Call[Item, Result]] = []
        self._busy = False

    def submit(self, item: Item) -> Result:
        """Give `item` to a commit, and return its result once that is over."""
        call: _Call[Item, Result] = _Call(item)
        with self._mutex:
            self._queue.append(call)
            if not self._busy:
                self._busy = call.leads = True
        if not call.leads:
            self._wait(call)
        if not call.done:
            self._lead(call)
        if call.error is not None:
            raise call.error
        return call.result[0]

    def _wait(self, call: _Call[Item, Result]) -> None:
        try:
            call.wake.acquire()
        except BaseException:  # Ctrl-C while waiting: step out of the queue, or pass on the lead
            with self._mutex:
                if call in self._queue:
                    self._queue.remove(call)
                if call.leads:
                    self._hand_over()
            raise

    def _lead(self, mine: _Call[Item, Result]) -> None:
        with self._mutex:
            calls, self._queue = self._queue, []
        try:
            results = self._commit([call.item for call in calls])
            for call, result in zip(calls, results, strict=True):
                call.result.append(result)
        except BaseException as error:  # noqa: BLE001  # those who wait must hear of it, or they wait forever
            for call in calls:
                call.error = error if call is mine else _for_another(error)
        with self._mutex:
            for call in calls:
                call.done = True
                call.wake.release()
            self._hand_over()

    def _hand_over(self) -> None:
        """The first in the queue leads next; called with the mutex held."""
        self._busy = bool(self._queue)
        if self._queue:
            self._queue[0].leads = True
            self._queue[0].wake.release()


def _for_another(error: BaseException) -> Exception:
    """The error for a caller in another thread: a copy, since each raises its own; Ctrl-C is the leader's
    alone."""
    if isinstance(error, Exception):
        return copy(error)
    return TransientError("the commit was interrupted", help="do it again")
