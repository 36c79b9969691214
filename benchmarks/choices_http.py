"""Recorded choices over HTTP at a fixed rate: the banner's own route in a server of its own, and a lean client.

    python -m benchmarks.choices_http [--rate 1000] [--seconds 15]

The rate is fixed: each request is sent when its time has come, whether or not the last was answered, and its time
counts from when it should have been sent.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from sqlalchemy import func, select

from kept.company import Company, opened
from kept.controls.registry import load
from kept.state.tables import choice_events

ROOT: Final = Path(__file__).parents[1]
SITE: Final = "https://www.lumi.example"
CONNECTIONS: Final = 64
POLICY: Final = f"""\
kept: 1
policy: Lumi
version: 2026-03-01
laws: [gdpr]
parties:
  lumi: {{role: us, name: Lumi, authority: eea, contacts: {{privacy: {{email: privacy@lumi.example}}}}}}
stores:
  app:  {{at: "sqlite:///app.sqlite", region: eea}}
  site: {{at: "{SITE}", kind: browser}}
people:
  visitor: {{in: app.visits, key: visitor_id}}
data:
  visits: {{of: visitor, in: {{app.visits: {{page: behaviour, at: recorded}}, site.cookie: {{_lm*: identifier}}}}}}
collection:
  visits: {{optional: visits, from: visitor, choice: statistics}}
choices:
  statistics: {{of: visitor, ask: opt-in}}
purposes:
  statistics: {{uses: visits, ground: consent, choice: statistics}}
"""


def lean(office: Any) -> Any:
    """The least that takes an answer: what the banner's own route reads and checks, and no thread for each."""
    from starlette.routing import Route

    from kept.controls.choices.records.book import New, Refused
    from kept.controls.rights.people import Person
    from kept.server.banner import read_answer
    from kept.server.banner_asks import Asks

    asks = Asks.of(office.company)

    class Take:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            body, more = b"", True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
            given = read_answer(body)
            read: Any = given.choices  # yes, no or later: it lets no other word through
            who = Person(str(asks.kind), (given.visitor,))
            try:
                done = await asks.recorder.recorded(
                    [
                        New(
                            who,
                            name,
                            said,
                            "banner",
                            "",
                            given.at,
                            given.notice,
                            given.region,
                            None,
                            given.id,
                        )
                        for name, said in read.items()
                    ]
                )
                status, told = 201, {"id": given.id, "states": {one.new.choice: one.state for one in done}}
            except Refused as wrong:
                status, told = 422, {"error": wrong.message}
            answer = json.dumps(told).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": answer})

    return [Route("/choices", Take(), methods=["POST"])]


def serve(folder: Path, route: str) -> None:
    """The server, until it is ended; prints its port."""
    import uvicorn
    from starlette.applications import Starlette

    from kept.server import banner
    from kept.server.limits import Rate
    from kept.server.office import Office

    def open_() -> AbstractContextManager[Company]:
        return opened(load(folder / "policy.yaml"), folder)

    def at_work() -> NoReturn:
        raise AssertionError("nobody works here")

    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with Office(open_, at_work) as office:
        most = Rate(10**9, 1)
        routes = (
            lean(office)
            if route == "lean"
            else banner.routes(office, answers=most, asking=most, newcomers=most)
        )
        site = Starlette(routes=routes)
        sys.setswitchinterval(0.0005)
        config = uvicorn.Config(
            site, log_level="warning", access_log=False, lifespan="off", server_header=False
        )
        gc.collect()
        gc.freeze()
        print(listening.getsockname()[1], flush=True)
        uvicorn.Server(config).run(sockets=[listening])


@dataclass
class Ran:
    """What was sent and answered: seconds from when each should have been sent, in the order of the answers."""

    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    ids: set[str] = field(default_factory=set)
    seconds: float = 0.0

    def percentile(self, part: float) -> float:
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000


class Connection(asyncio.Protocol):
    """One connection kept open; answers come in the order of what was asked, one at a time."""

    def __init__(self, ran: Ran, free: list[Connection]) -> None:
        self.ran, self.free = ran, free
        self.due, self.id, self.got = 0.0, "", b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.free.append(self)

    def send(self, due: float, id: str, request: bytes) -> None:
        assert self.transport is not None
        self.due, self.id, self.got = due, id, b""
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.got += data
        head, blank, body = self.got.partition(b"\r\n\r\n")
        if not blank:
            return
        at = head.lower().index(b"content-length:") + 15
        if len(body) < int(head[at:].split(b"\r\n", 1)[0]):
            return
        self.ran.times.append(time.perf_counter() - self.due)
        status = int(head[9:12])
        self.ran.statuses[status] += 1
        if status == 201:
            self.ran.ids.add(self.id)
        self.free.append(self)


def request(notice: str, id: str) -> bytes:
    body = json.dumps(
        {
            "id": id,
            "visitor": secrets.token_hex(16),
            "notice": notice,
            "at": datetime.now(UTC).isoformat(),
            "region": "fr",
            "choices": {"statistics": "yes"},
        }
    ).encode()
    return (
        b"POST /choices HTTP/1.1\r\nHost: privacy.lumi.example\r\nOrigin: "
        + SITE.encode()
        + b"\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: "
        + str(len(body)).encode()
        + b"\r\n\r\n"
        + body
    )


async def drive(port: int, notice: str, rate: int, seconds: float) -> Ran:
    """Send `rate` answers a second for so long."""
    ran, free = Ran(), list[Connection]()
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: Connection(ran, free), "127.0.0.1", port)
    total = int(rate * seconds)
    prepared = [(id, request(notice, id)) for id in (secrets.token_hex(16) for _ in range(total))]
    gc.collect()
    gc.freeze()
    waiting: list[tuple[float, str, bytes]] = []
    began, sent = time.perf_counter(), 0
    limit = began + seconds + 30
    while len(ran.times) < total and time.perf_counter() < limit:
        now = time.perf_counter()
        while sent < total and began + sent / rate <= now:
            waiting.append((began + sent / rate, *prepared[sent]))
            sent += 1
        while waiting and free:
            free.pop(0).send(*waiting.pop(0))  # each in turn: one that rests is closed by the server
        await asyncio.sleep(0.0005)
    ran.seconds = time.perf_counter() - began
    return ran


def company(folder: Path) -> str:
    """The company's folder, and the SHA-256 of what its visitors are shown."""
    import sqlite3

    from kept.controls.choices.records import notices

    (folder / "policy.yaml").write_text(POLICY)
    with sqlite3.connect(folder / "app.sqlite") as database:
        database.execute("CREATE TABLE visits (visitor_id TEXT PRIMARY KEY, page TEXT, at TEXT)")
    database.close()
    with opened(load(folder / "policy.yaml"), folder) as found:
        return notices.keep(
            found, notices.of_words(found.policy, "May we count visits?", choices=["statistics"])
        )


def measure(rate: int, seconds: float, route: str = "banner") -> Ran:
    """One run against a server of its own; what it took, printed."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        notice = company(folder)
        server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.choices_http", "--serve", str(folder), "--route", route],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            asyncio.run(drive(port, notice, min(rate, 200), 2))
            gc.unfreeze()
            ran = asyncio.run(drive(port, notice, rate, seconds))
        finally:
            server.terminate()
            server.wait(30)
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
        with opened(load(folder / "policy.yaml"), folder) as found:
            with found.state.read() as connection:
                stored = set(connection.scalars(select(choice_events.c.record)))
                events = connection.scalar(select(func.count()).select_from(choice_events))
            ledger = {entry["record"] for entry in found.ledger.entries() if entry["act"] == "choose"}
    print(
        f"choices over HTTP at a fixed {rate:,}/s: {len(ran.times) / ran.seconds:,.0f}/s answered, "
        f"p50 {ran.percentile(0.5):.1f} ms, p99 {ran.percentile(0.99):.1f} ms (limit 10), "
        f"worst {ran.percentile(1):.0f} ms; {dict(ran.statuses)}"
    )
    print(
        f"  of {len(ran.ids):,} answered 201: {len(ran.ids & stored):,} on record, {len(ran.ids & ledger):,} on the "
        f"ledger ({events:,} events in all)"
    )
    each = (used.ru_utime + used.ru_stime) / (len(ran.times) + 400) * 1000
    print(
        f"  processor of the server, its start included: {each:.2f} ms an answer; "
        f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    return ran


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--route", choices=("banner", "lean"), default="banner")
    parser.add_argument("--serve", type=Path)
    given = parser.parse_args()
    if given.serve is not None:
        serve(given.serve, given.route)
    else:
        measure(given.rate, given.seconds, given.route)


if __name__ == "__main__":
    main()
