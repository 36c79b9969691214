"""Kept for an application of several processes: opened in each at its first question, never carried over a fork."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from contextlib import ExitStack
from pathlib import Path

from kept.application import Application, opened
from kept.errors import KeptError

_LOCK = threading.Lock()
_OPEN: dict[tuple[int, Path], tuple[Application, ExitStack]] = {}


def privacy(setting: object, name: str) -> Application:
    """The company's promises by a setting: what `kept.opened` gave, or the folder with policy.yaml.

    A folder is opened once in a process, and closed when that ends. KeptError where it can't be, and for any other
    setting, called by its `name`: whoever can't be asked lets nobody through.
    """
    if isinstance(setting, Application):
        return setting
    if not isinstance(setting, str | Path) or not str(setting):
        raise KeptError(
            f"{name} is not set", help="set it to the folder with policy.yaml, or to what is opened"
        )
    place = (os.getpid(), Path(setting).absolute())
    found = _OPEN.get(place)
    if found is None:
        with _LOCK:
            found = _OPEN.get(place)
            if found is None:
                stack = ExitStack()
                found = _OPEN[place] = (stack.enter_context(opened(place[1])), stack)
    return found[0]


async def privacy_beside(setting: object, name: str) -> Application:
    """The same in a loop, which doesn't wait while a folder is opened."""
    if isinstance(setting, Application):
        return setting
    return await asyncio.to_thread(privacy, setting, name)


@atexit.register
def close() -> None:
    """Close what this process has opened; what another one had before a fork is that one's."""
    for place in [one for one in _OPEN if one[0] == os.getpid()]:
        _OPEN.pop(place)[1].close()


def _forked() -> None:
    """A lock that another thread held at the moment of a fork would never be let go of in the child."""
    global _LOCK
    _LOCK = threading.Lock()


os.register_at_fork(after_in_child=_forked)
