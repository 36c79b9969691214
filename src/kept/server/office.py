"""The company as the server works with it: held open for the pages, opened afresh for what looks into its stores."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from kept.company import Company
from kept.controls.acts import kinds
from kept.controls.rights.desk import Desk
from kept.errors import KeptError
from kept.state.workflows import Workflows

Open = Callable[[], AbstractContextManager[Company]]
Work = Callable[[], AbstractContextManager[tuple[Company, Workflows]]]

LOG = logging.getLogger("kept.serve")


class Office:
    """Where pages, API and worker get the company from. Use it in a `with` block.

    `stamp` changes when the policy file or a setting does: then the company is opened anew, so that a page never shows
    what is no longer promised. A file that can't be read leaves the one before in place.
    """

    def __init__(self, open_: Open, at_work: Work, stamp: Callable[[], object] = lambda: None) -> None:
        self._open = open_
        self.at_work = at_work
        self._stamp = stamp
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._company: Company | None = None
        self._seen: object = None
        self.bell = threading.Event()

    def __enter__(self) -> Office:
        self._seen = self._stamp()
        self._company = self._stack.enter_context(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def company(self) -> Company:
        """The company, for what stands in Kept's own state and the policy; its stores may have gone since."""
        with self._lock:
            seen = self._stamp()
            if seen != self._seen:
                self._seen = seen
                try:
                    # The old one stays open: somebody may be reading from it.
                    self._company = self._stack.enter_context(self._open())
                except KeptError:
                    LOG.error("the policy file was changed and can't be read; the one before is served")
            assert self._company is not None
            return self._company

    @contextmanager
    def fresh(self) -> Iterator[Company]:
        """The company with its stores as they are now: one that didn't answer a minute ago may do so again."""
        with self._open() as company:
            yield company

    @contextmanager
    def desk(self) -> Iterator[Desk]:
        """A desk that receives and decides, and leaves the carrying out to the worker, who is called afterwards."""
        with self._open() as company:
            yield Desk(company, kinds(company))
        self.bell.set()
