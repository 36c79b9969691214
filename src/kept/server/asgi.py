"""The gate of collection before an ASGI application of the company's own (Starlette, FastAPI, Django, Quart …).

    app = CollectionGate(app, Entrance(company, {"/register": "registering"}), asking)

The application gets the form with what was taken and nothing else, under the names the form has, and finds what was
collected, with the source to write, under `kept.collected` in its scope. A form that is refused never reaches it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kept.controls.collection.gate.entrance import (
    COLLECTED,
    Asking,
    Entrance,
    Passed,
    Sent,
    Step,
    TooLarge,
    answer,
)
from kept.errors import KeptError

Asked = Callable[[Scope], Asking]
"""What the application knows of whoever sends a request, from its scope: its session, the language, the region."""


class CollectionGate:
    """Judges the forms of some paths before an application gets them; the rest passes untouched."""

    def __init__(self, app: ASGIApp, entrance: Entrance, asking: Asked | None = None) -> None:
        self._app = app
        self._entrance = entrance
        self._asking = asking

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        step = self._step(scope)
        if step is None:
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
            if body is None:
                return  # whoever sent it is gone
            passed = await run_in_threadpool(partial(self._judged, step, scope, body))
        except KeptError as wrong:
            await _refuse(wrong, send)
            return
        await self._app(_onward(scope, passed), _replay(passed.body, receive), send)

    def _step(self, scope: Scope) -> Step | None:
        if scope["type"] != "http":
            return None
        path: str = scope["path"]
        root: str = scope.get("root_path", "")
        if root and path.startswith(f"{root}/"):
            path = path[len(root) :]
        return self._entrance.step(scope["method"], path)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body, as far as the entrance takes one; None where the sender has gone."""
        length = _header(scope, b"content-length")
        if length and (not length.isdigit() or int(length) > self._entrance.body):
            raise TooLarge
        parts, left, more = [], self._entrance.body, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return None
            part: bytes = message.get("body", b"")
            left -= len(part)
            if left < 0:
                raise TooLarge
            parts.append(part)
            more = message.get("more_body", False)
        return b"".join(parts)

    def _judged(self, step: Step, scope: Scope, body: bytes) -> Passed:
        sent = Sent(
            _header(scope, b"content-type"),
            _header(scope, b"content-encoding"),
            scope.get("query_string", b"").decode("latin-1"),
            body,
            _header(scope, b"sec-gpc") == "1",
        )
        return self._entrance.judge(step, sent, self._asking(scope) if self._asking is not None else {})


def _header(scope: Scope, name: bytes) -> str:
    """A header, its values joined: one that came twice is no content type of ours."""
    found = [value for key, value in scope["headers"] if key.lower() == name]
    return b", ".join(found).decode("latin-1").strip()


def _onward(scope: Scope, passed: Passed) -> Scope:
    ours = (b"content-length", b"content-type", b"transfer-encoding")
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in ours]
    headers.append((b"content-length", str(len(passed.body)).encode()))
    if passed.content_type:
        headers.append((b"content-type", passed.content_type.encode("latin-1")))
    query = passed.query.encode("ascii")
    return {**scope, "headers": headers, "query_string": query, COLLECTED: passed.collected}


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(wrong: KeptError, send: Send) -> None:
    status, body = answer(wrong)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
