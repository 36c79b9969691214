"""`kept serve` as a process of its own, beside a real mail server, on this machine alone."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import TypeVar

import httpx
import uvicorn
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from kept.company import Company, opened
from kept.controls.acts import kinds
from kept.controls.registry import load
from kept.server.office import Office
from kept.server.site import site
from kept.server.worker import Worker
from kept.state import workflows
from tests.acceptance.company import ROOT

T = TypeVar("T")

WAIT = 60.0  # seconds until something that must happen is given up
TOKEN = "a-token-for-tests-only"


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
    return port


def until(look: Callable[[], T | None], what: str) -> T:
    """What a look finds, as soon as it finds something."""
    for _ in range(int(WAIT / 0.05)):
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"it didn't happen: {what}")


@dataclass
class Postbox:
    """A mail server that keeps what it is sent."""

    letters: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.letters.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"

    def to(self, address: str, says: str) -> EmailMessage:
        """The newest letter to an address with some words in it, once it is there."""

        def look() -> EmailMessage | None:
            return next(
                (one for one in reversed(self.letters) if one["To"] == address and says in text(one)), None
            )

        return until(look, f"a letter that says {says!r}")


def text(letter: EmailMessage) -> str:
    return str(letter.get_content())


def link(letter: EmailMessage, page: str) -> str:
    """The address of a page of ours in a letter."""
    [found] = re.findall(rf"http://127\.0\.0\.1:\d+/{page}/[A-Za-z0-9_-]+", text(letter))
    return str(found)


@contextmanager
def postbox() -> Iterator[tuple[Postbox, str]]:
    """A mail server, and its KEPT_SMTP_URL."""
    box, port = Postbox(), free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield box, f"smtp://127.0.0.1:{port}"
    finally:
        controller.stop()


@dataclass(frozen=True)
class Served:
    """A company that is served, and where its letters arrive."""

    folder: Path
    url: str
    box: Postbox
    process: subprocess.Popen[bytes]
    log: Path

    def client(self, *, api: bool = False) -> httpx.Client:
        headers = {"Authorization": f"Bearer {TOKEN}"} if api else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def said(self) -> str:
        return self.log.read_text()


@contextmanager
def served(folder: Path, *options: str, ends: int = 0, **settings: str) -> Iterator[Served]:
    """Serve the company in a folder until the block ends; then it ends with this code: in order, unless killed."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with postbox() as (box, smtp):
        written = {
            "KEPT_PUBLIC_URL": url,
            "KEPT_SMTP_URL": smtp,
            "KEPT_SENDER": "privacy@company.example",
            "KEPT_API_TOKEN": TOKEN,
        } | settings
        with (folder / ".env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in written.items() if value)
        environment = {
            k: v for k, v in os.environ.items() if k != "APP_DATABASE_URL" and not k.startswith("KEPT_")
        }
        environment["PYTHONPATH"] = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
        log = folder.parent / "serve.log"
        with log.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "kept", "serve", "--dir", str(folder), "--port", str(port), *options],
                cwd=ROOT,
                env=environment,
                stderr=said,
                stdout=said,
            )
        try:
            until(lambda: _answers(port) or process.poll() is not None, "the server answers")
            assert process.poll() is None, log.read_text()
            yield Served(folder, url, box, process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(WAIT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
        assert code == ends, log.read_text()


@dataclass
class Clock:
    """A clock that goes on when told."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def on(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass(frozen=True)
class Inside:
    """A company that is served in this process, by a clock of the test's own, and works when told."""

    folder: Path
    url: str
    box: Postbox
    office: Office
    worker: Worker
    clock: Clock

    @property
    def company(self) -> Company:
        return self.office.company

    def client(self, *, api: bool = False) -> httpx.Client:
        headers = {"Authorization": f"Bearer {TOKEN}"} if api else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def work(self) -> None:
        """Everything that is due, letters last; twice, for what the first round made due."""

        def rounds() -> None:
            for _ in range(2):
                for duty in self.worker.duties:
                    duty.at = 0.0
                self.worker.once()

        with ThreadPoolExecutor(
            1
        ) as thread:  # as in life: Playwright runs a loop in this one, which DBOS won't share
            thread.submit(rounds).result()

    def ask(self, verb: str, address: str, words: str = "") -> httpx.Response:
        """Fill in the form and send it."""
        with self.client() as client:
            [token] = re.findall(r'name="form" value="([^"]+)"', client.get("/ask").text)
            return client.post("/ask", data={"verb": verb, "address": address, "words": words, "form": token})


@contextmanager
def inside(folder: Path, clock: Clock | None = None, **settings: str) -> Iterator[Inside]:
    """Serve the company in a folder from this process."""
    clock, listening = clock or Clock(), socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with postbox() as (box, smtp):
        written = {
            "KEPT_PUBLIC_URL": url,
            "KEPT_SMTP_URL": smtp,
            "KEPT_SENDER": "privacy@company.example",
            "KEPT_API_TOKEN": TOKEN,
        } | settings
        with (folder / ".env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in written.items() if value)

        def open_() -> AbstractContextManager[Company]:
            return opened(load(folder / "policy.yaml"), folder, clock)

        @contextmanager
        def at_work() -> Iterator[tuple[Company, workflows.Workflows]]:
            with open_() as company, workflows.opened(company.workflows, kinds(company)) as running:
                yield company, running

        with Office(open_, at_work) as office:
            server = uvicorn.Server(
                uvicorn.Config(site(office), log_level="error", access_log=False, lifespan="off")
            )
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
            thread.start()
            until(lambda: server.started, "the server answers")
            try:
                yield Inside(folder, url, box, office, Worker(office), clock)
            finally:
                server.should_exit = True
                thread.join(WAIT)
    listening.close()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
