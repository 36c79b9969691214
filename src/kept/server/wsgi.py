"""The gate of collection before a WSGI application of the company's own (Flask, Django, Bottle …).

    app = CollectionGate(app, Entrance(company, {"/register": "registering"}), asking)

The application gets the form with what was taken and nothing else, under the names the form has, and finds what was
collected, with the source to write, under `kept.collected` in its environ. A form that is refused never reaches it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

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
from kept.controls.refused import Refused
from kept.errors import KeptError

if TYPE_CHECKING:  # the types are there for checkers alone
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Asked = Callable[["WSGIEnvironment"], Asking]
"""What the application knows of whoever sends a request, from its environ."""


class CollectionGate:
    """Judges the forms of some paths before an application gets them; the rest passes untouched."""

    def __init__(self, app: WSGIApplication, entrance: Entrance, asking: Asked | None = None) -> None:
        self._app = app
        self._entrance = entrance
        self._asking = asking

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        step = self._entrance.step(environ["REQUEST_METHOD"], _path(environ))
        if step is None:
            return self._app(environ, start_response)
        try:
            passed = self._judged(step, environ)
        except KeptError as wrong:
            status, body = answer(wrong)
            headers = [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                ("Cache-Control", "no-store"),
            ]
            start_response(f"{status} {HTTPStatus(status).phrase}", headers)
            return [body]
        return self._app(_onward(environ, passed), start_response)

    def _judged(self, step: Step, environ: WSGIEnvironment) -> Passed:
        sent = Sent(
            environ.get("CONTENT_TYPE", ""),
            environ.get("HTTP_CONTENT_ENCODING", ""),
            environ.get("QUERY_STRING", ""),
            self._read(environ),
            environ.get("HTTP_SEC_GPC", "").strip() == "1",
        )
        return self._entrance.judge(step, sent, self._asking(environ) if self._asking is not None else {})

    def _read(self, environ: WSGIEnvironment) -> bytes:
        length = environ.get("CONTENT_LENGTH") or "0"
        if environ.get("HTTP_TRANSFER_ENCODING"):  # WSGI knows no body without a length (PEP 3333)
            raise Refused("no-form", "the length of the body is missing", help="send Content-Length")
        if not length.isdigit() or int(length) > self._entrance.body:
            raise TooLarge
        body: bytes = environ["wsgi.input"].read(int(length))
        if len(body) < int(length):
            raise Refused("no-form", "the body was cut short")
        return body


def _path(environ: WSGIEnvironment) -> str:
    """The path as people write it; PEP 3333 has its bytes one by one."""
    path: str = environ.get("PATH_INFO", "")
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def _onward(environ: WSGIEnvironment, passed: Passed) -> WSGIEnvironment:
    return {
        **environ,
        "wsgi.input": io.BytesIO(passed.body),
        "CONTENT_LENGTH": str(len(passed.body)),
        "CONTENT_TYPE": passed.content_type,
        "QUERY_STRING": passed.query,
        COLLECTED: passed.collected,
    }
