"""The outermost layer: bodies have a limit, and what goes wrong is said and logged without anybody's data.

Plain ASGI, as what wraps every answer must not slow it down.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kept.errors import KeptError

LOG: Final = logging.getLogger("kept.serve")
BODY: Final = 256 << 10  # bytes; the longest form or JSON that makes sense is a tenth of it

Fault = Callable[[str, Exception], Response]
"""From the path and what went wrong to what is answered."""


class TooMuch(KeptError):
    """The body is longer than it may be."""

    def __init__(self) -> None:
        super().__init__("what was sent is too long", help="send less of it")


class Guard:
    """Wraps an application; `fault` says in the site's way what went wrong."""

    def __init__(self, app: ASGIApp, fault: Fault, body: int = BODY) -> None:
        self._app = app
        self._fault = fault
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = False

        async def sending(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, await self._limited(scope, receive), sending)
        except TooMuch as wrong:
            await self._fault(scope["path"], wrong)(scope, receive, send)
        except Exception as wrong:  # noqa: BLE001  the last resort: its own text and traceback may hold a personal value
            told(wrong)
            if not began:  # else the answer is on its way, or cut off
                await self._fault(scope["path"], wrong)(scope, receive, send)

    async def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """What reads the body; one whose length isn't told is read first, as far as it may go."""
        headers = dict(scope["headers"])
        if b"transfer-encoding" not in headers:
            length = headers.get(b"content-length", b"0")
            if not length.isdigit() or int(length) > self._body:
                raise TooMuch
            return receive
        read: list[Message] = []
        left, more = self._body, True
        while more:
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise TooMuch
            read.append(message)
            more = message["type"] == "http.request" and message.get("more_body", False)

        async def replay() -> Message:
            return read.pop(0) if read else await receive()

        return replay


def told(wrong: Exception) -> None:
    """Log a fault of Kept's own by its kind and place, never by its text."""
    frame = traceback.extract_tb(wrong.__traceback__)[-1]
    place = f"{frame.name} ({os.path.basename(frame.filename)}:{frame.lineno})"
    LOG.error("internal error: %s in %s", type(wrong).__name__, place)
