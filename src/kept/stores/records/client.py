"""Calls to an API that wait where it asks for that, try again a few times, and fail in words without a secret."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from threading import Lock
from typing import IO, Any

import httpx

from kept.errors import StoreError, TerminalError, TransientError
from kept.stores.records.access import Access
from kept.stores.records.store import Later

# At INFO httpx logs each address it calls, and an address may hold an e-mail; at DEBUG httpcore logs every header.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_LARGEST = 32 * 1024 * 1024  # bytes of one answer held in memory: the largest page of HubSpot's is about 1 MB
_TIMEOUT = httpx.Timeout(30, connect=10)  # seconds
_SPAN = timedelta(days=1)  # a vendor that asks for longer is asked again after a day


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Waiting:
    """How patient a call is: `tries` in all, waiting at most `longest` seconds between two of them.

    Waits double from `first`, each shortened by up to a half at random, so that many workers don't come back at once.
    """

    tries: int = 5
    first: float = 0.5
    longest: float = 30
    clock: Callable[[], datetime] = _now
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = secrets.SystemRandom().random

    def pause(self, attempt: int) -> float:
        """Seconds before the attempt after the given one (the first is 0)."""
        return min(self.longest, self.first * float(2**attempt)) * (1 - self.random() / 2)


@dataclass(frozen=True)
class Answer:
    """What came back: the status, the headers, the exact bytes of the body."""

    status: int
    headers: httpx.Headers
    body: bytes

    @cached_property
    def data(self) -> Any:
        """The body as JSON; None where it isn't any."""
        try:
            return json.loads(self.body) if self.body else None
        except (ValueError, RecursionError):
            return None

    def map(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it isn't one."""
        return self.data if isinstance(self.data, dict) else {}


Refused = Callable[[Answer], StoreError | None]
Window = Callable[[Answer], float | None]


class Client:
    """One API: `refused` turns an answer of its own kind into an error, `window` reads its own header of a limit.

    Every call must be one that may be made twice. 429 and 5xx, broken connections and timeouts are tried again, and
    end as TransientError (`Later` where the API says when); every other refusal is `refused`'s, or TerminalError.
    """

    def __init__(
        self,
        store: str,
        access: Access,
        headers: Mapping[str, str],
        *,
        waiting: Waiting,
        refused: Refused,
        window: Window = lambda _: None,
    ) -> None:
        self.store, self.access, self.waiting = store, access, waiting
        self._headers = dict(headers)
        self._refused, self._window = refused, window
        self._open: httpx.Client | None = None
        self._opening = Lock()

    def __repr__(self) -> str:
        return f"<Client {self.store}>"  # the headers hold a token

    def dispose(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._opening:
            opened, self._open = self._open, None
        if opened is not None:
            opened.close()

    def get(self, path: str, query: Mapping[str, str] | None = None, **rest: Any) -> Answer:
        return self.call("GET", path, query=query, **rest)

    def post(self, path: str, body: object, method: str = "POST", **rest: Any) -> Answer:
        """POST, or another method, with a JSON body."""
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        return self.call(method, path, content=content, headers={"Content-Type": "application/json"}, **rest)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None,
        allowed: tuple[int, ...] = (),
        into: IO[bytes] | None = None,
        most: int = _LARGEST,
        from_root: bool = False,
    ) -> Answer:
        """The answer of the API: 2xx, or one of the statuses `allowed`; its body goes `into` a file where given.

        `headers` may be a function, called anew for each attempt. A body of more than `most` bytes is refused. The
        path is one below the API's address, or `from_root` one of its host.
        """
        url = (self.access.origin if from_root else self.access.base) + path
        for attempt in range(self.waiting.tries):
            last = attempt + 1 == self.waiting.tries
            extra = headers() if callable(headers) else headers
            answer: Answer | None = None
            try:
                answer = self._once(method, url, query, content, extra, into, most)
            except httpx.TransportError as error:
                if last:
                    raise TransientError(
                        f"it can't be reached ({type(error).__name__})",
                        help="the same call is made again later",
                        where=self.store,
                    ) from None  # the original holds the address and the headers
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise TerminalError(
                    f"it can't be called ({type(error).__name__})", where=self.store
                ) from None  # as above
            if answer is None:
                self.waiting.sleep(self.waiting.pause(attempt))
            elif 200 <= answer.status < 300 or answer.status in allowed:
                return answer
            else:
                self._wait_or_raise(answer, attempt, last)
        raise AssertionError("the last attempt answers or raises")  # pragma: no cover

    def _wait_or_raise(self, answer: Answer, attempt: int, last: bool) -> None:
        if not _passing(answer):
            if 300 <= answer.status < 400:
                raise TerminalError(
                    "it answers with another address", help="correct the setting", where=self.store
                )
            raise self._refused(answer) or TerminalError(
                f"it refuses the call (HTTP {answer.status})", where=self.store
            )
        asked = self.asked(answer)
        pause = self.waiting.pause(attempt) if asked is None else asked
        if last or pause > self.waiting.longest:
            raise self._later(answer, asked)
        self.waiting.sleep(pause)

    def asked(self, answer: Answer) -> float | None:
        """The seconds an answer asks to be left alone: Retry-After (RFC 9110, 10.2.3), else the vendor's own."""
        said = answer.headers.get("Retry-After", "").strip()
        seconds: float | None = None
        if said.isascii() and said.isdigit():
            seconds = float(said[:9])
        elif said:
            try:
                until = parsedate_to_datetime(said)
                until = until if until.tzinfo else until.replace(tzinfo=UTC)
                seconds = (until - self.waiting.clock()).total_seconds()
            except ValueError:
                seconds = None
        if seconds is None and answer.status == 429:
            seconds = self._window(answer)
        return None if seconds is None else max(0.0, min(seconds, _SPAN.total_seconds()))

    def _later(self, answer: Answer, asked: float | None) -> TransientError:
        if answer.status == 429:
            at = self.waiting.clock() + timedelta(seconds=asked or self.waiting.longest)
            return Later(
                f"it allows no more calls until {at:%Y-%m-%d %H:%M:%S} UTC",
                at,
                help="the same call is made again then",
                where=self.store,
            )
        if asked is not None:
            at = self.waiting.clock() + timedelta(seconds=asked)
            return Later(f"it has a fault (HTTP {answer.status})", at, where=self.store)
        return TransientError(
            f"it has a fault (HTTP {answer.status})",
            help="the same call is made again later",
            where=self.store,
        )

    def _once(
        self,
        method: str,
        url: str,
        query: Mapping[str, str] | None,
        content: bytes | None,
        headers: Mapping[str, str] | None,
        into: IO[bytes] | None,
        most: int,
    ) -> Answer:
        if into is not None:
            into.seek(0)
            into.truncate()
        request = self._client().build_request(
            method,
            url,
            params=dict(query) if query else None,
            content=content,
            headers=dict(headers or {}),
        )
        with self._streamed(request) as response:
            found = bytearray()
            size = 0
            for chunk in response.iter_bytes():
                size += len(chunk)
                if size > most:
                    raise TerminalError(f"its answer is longer than {most} bytes", where=self.store)
                if into is not None and response.is_success:
                    into.write(chunk)
                else:
                    found += chunk
            return Answer(response.status_code, response.headers, bytes(found))

    @contextmanager
    def _streamed(self, request: httpx.Request) -> Iterator[httpx.Response]:
        response = self._client().send(request, stream=True)
        try:
            yield response
        finally:
            response.close()

    def _client(self) -> httpx.Client:
        with self._opening:  # workers share a store
            if self._open is None:
                # Redirects are never followed: they would carry the token to an address nobody declared.
                self._open = httpx.Client(
                    headers={"User-Agent": "kept", "Accept": "application/json"} | self._headers,
                    timeout=_TIMEOUT,
                    follow_redirects=False,
                    trust_env=not self.access.loopback,
                )
            return self._open


def _passing(answer: Answer) -> bool:
    """Whether the same call may succeed later; Stripe says it itself."""
    should = str(answer.headers.get("Stripe-Should-Retry", ""))
    if should in ("true", "false"):
        return should == "true"
    return answer.status in (408, 425, 429) or answer.status >= 500
