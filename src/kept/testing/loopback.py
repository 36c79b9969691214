"""A small HTTP server on this machine, for a stand-in to answer through, with faults on demand."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

_LARGEST = 64 * 1024 * 1024  # bytes of a request


@dataclass(frozen=True)
class Call:
    """One request as it came: `path` undecoded, `query` decoded, `body` the exact bytes."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def target(self) -> str:
        """`METHOD path`, what faults and counts are matched against."""
        return f"{self.method} {self.path}"

    def json(self) -> Any:
        try:
            return json.loads(self.body) if self.body else None
        except ValueError:
            return None


@dataclass(frozen=True)
class Reply:
    """What is answered: bytes as they are, anything else as JSON."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def bytes(self) -> bytes:
        if self.body is None:
            return b""
        return (
            self.body if isinstance(self.body, bytes) else json.dumps(self.body, ensure_ascii=False).encode()
        )


@dataclass
class Fault:
    """What goes wrong the next `times` calls whose `METHOD path` matches a pattern, after `skip` good ones."""

    path: str
    times: int
    skip: int
    reply: Reply | None
    """None: the connection breaks."""
    done: bool
    """Whether the call has its effect before the answer is lost."""


class Loopback:
    """A server that answers with `handle`, on a free port of 127.0.0.1, from `start` (or `with`) to `stop`."""

    def __init__(self, port: int = 0) -> None:
        self.calls: list[Call] = []
        """Every call, in order."""
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        self._server = _Server(("127.0.0.1", port), _handler(self._answer))
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """`http://127.0.0.1:port`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def handle(self, call: Call) -> Reply:
        """What the stand-in answers."""
        raise NotImplementedError

    def fail(
        self,
        status: int,
        path: str = "",
        times: int = 1,
        skip: int = 0,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> None:
        """Answer the next calls with a status, without effect."""
        self.faults.append(Fault(path, times, skip, Reply(status, body, headers or {}), done=False))

    def cut(self, path: str = "", times: int = 1, skip: int = 0, done: bool = False) -> None:
        """Break the connection of the next calls; `done`: after they had their effect."""
        self.faults.append(Fault(path, times, skip, None, done))

    def count(self, path: str = "") -> int:
        """How many calls match a pattern over `METHOD path`."""
        return sum(1 for call in self.calls if re.search(path, call.target))

    def start(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering and let go of the port."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()

    def serve(self) -> None:
        """Answer until interrupted; for a command line."""
        try:
            self._server.serve_forever()
        except KeyboardInterrupt:
            self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answer(self, call: Call) -> Reply | None:
        with self.lock:
            self.calls.append(call)
            fault = self._fault(call)
            if fault is None:
                return self.handle(call)
            if fault.done:
                self.handle(call)
            return fault.reply

    def _fault(self, call: Call) -> Fault | None:
        for fault in self.faults:
            if fault.times and re.search(fault.path, call.target):
                if fault.skip:
                    fault.skip -= 1
                    return None
                fault.times -= 1
                return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is nothing to print."""


def _handler(answer: Callable[[Call], Reply | None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def parse_request(self) -> bool:
            parsed = super().parse_request()
            if parsed:
                setattr(self, f"do_{self.command}", self._reply)
            return parsed

        def _reply(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 <= length <= _LARGEST:
                self.close_connection = True
                return
            body = self.rfile.read(length)
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = answer(Call(self.command, parts.path, query, headers, body))
            if reply is None:
                self.close_connection = True
                return
            content = reply.bytes()
            self.send_response(reply.status)
            headers = {"Content-Type": "application/json", "Content-Length": str(len(content))}
            for name, value in (headers | dict(reply.headers)).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Addresses may hold identifiers: nothing is logged."""

    return Handler
