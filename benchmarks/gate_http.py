"""The gate over HTTP: decisions a second with as many as it takes, and how long each takes at a fixed rate.

    python -m benchmarks.gate_http [--rate 2000] [--seconds 10] [--people 2000] [--strangers 0.0]

One process serves SiteLucent as `kept serve` does; this one asks on 64 connections kept open. At a fixed rate each
question is sent when its time has come, whether or not the last was answered, and its time counts from when it should
have been sent. `--strangers` is the part of the questions about somebody of whom nothing is remembered yet. Beside it,
with the same questions: the same web server with an application that decides nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from benchmarks.choices_http import CONNECTIONS, ROOT, Connection, Ran
from examples.sitelucent.generate import build
from kept.company import Company, opened
from kept.controls.registry import load

TOKEN: Final = "a-token-for-benchmarks-only"
PURPOSES: Final = (("alerts", "email"), ("status", "email"), ("reset", "email"), ("sign-in", None))


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """The least that answers: no token, no question, always the same."""
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def serve(folder: Path, *, decides: bool) -> None:
    """The server, until it is ended; prints its port."""
    import uvicorn

    from kept.server.office import Office
    from kept.server.site import site

    def open_() -> AbstractContextManager[Company]:
        return opened(load(folder / "policy.yaml"), folder)

    def at_work() -> NoReturn:
        raise AssertionError("nobody works here")

    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with Office(open_, at_work) as office:
        config = uvicorn.Config(
            site(office) if decides else bare,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
        )
        sys.setswitchinterval(0.0005)
        gc.collect()
        gc.freeze()
        print(listening.getsockname()[1], flush=True)
        uvicorn.Server(config).run(sockets=[listening])


def question(person: int, chosen: random.Random) -> bytes:
    """One question; a third about one channel, and so on: what an application asks."""
    purpose, channel = chosen.choice(PURPOSES)
    asked: dict[str, object] = {"purpose": purpose, "data": "account", "person": f"user:{person}"}
    if channel is not None and chosen.random() < 0.5:
        asked["channel"] = channel
    body = json.dumps(asked).encode()
    return (
        b"POST /api/decide HTTP/1.1\r\nHost: privacy.site.example\r\nAuthorization: Bearer %s\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (TOKEN.encode(), len(body), body)
    )


@dataclass
class Decided(Ran):
    """The same, with how many were allowed, and how many nobody could tell."""

    allowed: int = 0
    unsure: int = 0

    def __str__(self) -> str:
        return f"{dict(self.statuses)}, {self.allowed:,} allowed, {self.unsure:,} unsure"


class Asker(Connection):
    """A connection that looks at what is answered, too."""

    def __init__(self, decided: Decided, free: list[Connection]) -> None:
        super().__init__(decided, free)
        self.decided = decided

    def data_received(self, data: bytes) -> None:
        before = len(self.ran.times)
        super().data_received(data)
        if len(self.ran.times) > before:
            self.decided.allowed += b'"allowed":true' in self.got
            self.decided.unsure += b'"unsure":true' in self.got


async def drive(port: int, questions: Sequence[bytes], rate: int | None) -> Decided:
    """Ask them all, so many a second; None: the next as soon as a connection is free."""
    ran, free = Decided(), list[Connection]()
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: Asker(ran, free), "127.0.0.1", port)
    gc.collect()
    gc.freeze()
    began, sent, total = time.perf_counter(), 0, len(questions)
    limit = began + 120
    while len(ran.times) < total and time.perf_counter() < limit:
        now = time.perf_counter()
        while sent < total and free and (rate is None or began + sent / rate <= now):
            free.pop(0).send(now if rate is None else began + sent / rate, "", questions[sent])
            sent += 1
        await asyncio.sleep(0)  # on a core of its own: a timer would be a millisecond late
    ran.seconds = time.perf_counter() - began
    return ran


@contextmanager
def served(folder: Path, *options: str) -> Iterator[int]:
    """A server in a process of its own, and its port."""
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gate_http", "--serve", str(folder), *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield int(server.stdout.readline())
    finally:
        server.terminate()
        server.wait(30)


def ask(port: int, questions: Sequence[bytes], rate: int | None) -> Decided:
    gc.unfreeze()
    return asyncio.run(drive(port, questions, rate))


def measure(rate: int, seconds: float, people: int, strangers: float) -> tuple[Decided, Decided]:
    """All runs, each against a server of its own; what they took, printed."""
    chosen, known = random.Random(7), max(1, people // 2)
    news = [question(n, chosen) for n in range(1, known + 1)]
    most = [question(chosen.randint(1, known), chosen) for _ in range(int(2 * rate * seconds))]
    fresh = iter(range(known + 1, people + 1))  # strangers, as long as they last
    asked = [
        question(next(fresh, 1) if chosen.random() < strangers else chosen.randint(1, known), chosen)
        for _ in range(int(rate * seconds))
    ]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "sitelucent"
        build(folder, people, 7, events_per_person=1)
        with (folder / ".env").open("a") as settings:
            settings.write(f"KEPT_API_TOKEN={TOKEN}\n")
        with served(folder, "--bare") as port:
            ask(port, news, rate)
            bare, bare_fixed = ask(port, most, None), ask(port, asked, rate)
        with served(folder) as port:
            first, full, fixed = ask(port, news, rate), ask(port, most, None), ask(port, asked, rate)
    for what, one in (
        (f"the first {known:,} questions, each about somebody unknown, at {rate:,}/s", first),
        ("as many as it takes (at least 4,000/s)", full),
        ("as many as a server takes that decides nothing", bare),
        (f"at a fixed {rate:,}/s, {strangers:.0%} about strangers (p99 at most 5 ms)", fixed),
        (f"at a fixed {rate:,}/s, of a server that decides nothing", bare_fixed),
    ):
        print(
            f"{what}: {len(one.times) / one.seconds:,.0f}/s, p50 {one.percentile(0.5):.2f} ms, "
            f"p99 {one.percentile(0.99):.2f} ms, worst {one.percentile(1):.0f} ms; {one}"
        )
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return full, fixed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--people", type=int, default=4000)
    parser.add_argument("--strangers", type=float, default=0.0)
    parser.add_argument("--serve", type=Path)
    parser.add_argument("--bare", action="store_true")
    given = parser.parse_args()
    if given.serve is not None:
        serve(given.serve, decides=not given.bare)
    else:
        measure(given.rate, given.seconds, given.people, given.strangers)


if __name__ == "__main__":
    main()
