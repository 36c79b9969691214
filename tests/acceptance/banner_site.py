"""A company's site with the banner on it, the server behind it, and a maker of statistics elsewhere: three origins.

A browser finds them by name (`browsing.ARGUMENTS`); all of them are this machine.
"""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import httpx
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Error, Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from kept.company import Company, opened
from kept.controls.choices.asking import visitor_kind
from kept.controls.choices.records import history
from kept.controls.choices.records.history import Event
from kept.controls.registry import load
from kept.controls.rights.people import Person
from kept.server import banner, receipts
from kept.server.limits import Rate
from kept.server.office import Office
from tests.acceptance.company import ROOT
from tests.acceptance.serving import WAIT, Clock, until

NONCE: Final = "bm9uY2UgZm9yIHRlc3Rz"

POLICY: Final = (ROOT / "tests" / "fixtures" / "banner.yaml").read_text("utf-8")  # PORT stands for the site's


@dataclass(frozen=True)
class Seen:
    """A request that reached the site or the maker of statistics."""

    host: str
    path: str
    cookies: str


class Server:
    """An application on a port of its own, that can go away and come back."""

    def __init__(self, app: Starlette) -> None:
        self.app = app
        with socket.create_server(("127.0.0.1", 0)) as asked:
            self.port: int = asked.getsockname()[1]
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        listening = socket.create_server(("127.0.0.1", self.port))
        config = uvicorn.Config(self.app, log_level="error", access_log=False, lifespan="off")
        self._server = server = uvicorn.Server(config)
        self._thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        self._thread.start()
        until(lambda: server.started, "the server answers")

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = self._server.force_exit = True
            self._thread.join(WAIT)
        self._server = None


@dataclass
class World:
    """The three origins, and what was seen of them."""

    folder: Path
    office: Office
    clock: Clock
    kept: Server
    pages: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    reports: list[Any] = field(default_factory=list)
    site_port: int = 0

    @property
    def company(self) -> Company:
        return self.office.company

    @property
    def kept_url(self) -> str:
        return f"http://privacy.company.example:{self.kept.port}"

    @property
    def site_url(self) -> str:
        return f"http://www.company.example:{self.site_port}"

    @property
    def stats_url(self) -> str:
        return f"http://stats.example:{self.site_port}"

    def page(self, path: str = "/", body: str = "", head: str = "", *, html: str = "", **options: str) -> str:
        """Put a page on the site with the banner on it, under a strict policy for content; its URL."""
        said = "".join(f' data-{name}="{value}"' for name, value in options.items())
        script = f'<script src="{self.kept_url}/banner.js" nonce="{NONCE}" defer{said}></script>'
        text = (
            f'<!doctype html><html lang="en"{html}><head><meta charset="utf-8"><title>Lumi</title>'
            f'<meta name="viewport" content="width=device-width">{head}{script}</head>'
            f"<body><main><h1>Lamps</h1><p>Lamps for every room.</p>{body}</main></body></html>"
        )
        policy = (
            f"default-src 'none'; script-src 'nonce-{NONCE}'; connect-src {self.kept_url}; "
            f"img-src {self.stats_url}; frame-src {self.stats_url}; base-uri 'none'; report-uri /reports"
        )
        self.pages[path] = (text, {"Content-Security-Policy": policy})
        return f"{self.site_url}{path}"

    def script(self, choices: str, source: str = "s.js", more: str = "") -> str:
        """A script of the maker of statistics, that waits."""
        return (
            f'<script type="text/plain" data-kept="{choices}" data-src="{self.stats_url}/{source}" '
            f'nonce="{NONCE}"{more}></script>'
        )

    def frame(self) -> str:
        """A film of theirs in a frame, that waits for advertising."""
        return (
            f'<iframe data-kept="advertising" data-src="{self.stats_url}/frame" '
            'width="400" height="240" title="A film"></iframe>'
        )

    def asked(self, path: str) -> int:
        """How often the maker of statistics was asked for something."""
        return sum(one.host.startswith("stats.") and one.path == path for one in self.seen)

    def client(self, **headers: str) -> httpx.Client:
        """A program that speaks to Kept as a page of the site would."""
        base = f"http://127.0.0.1:{self.kept.port}"
        return httpx.Client(
            base_url=base, headers={"Origin": self.site_url} | headers, timeout=30, trust_env=False
        )

    def events(self, visitor: str) -> list[Event]:
        """Everything a visitor ever answered, oldest first."""
        kind = visitor_kind(self.company.policy)
        assert kind is not None
        return history.history(self.company, Person(kind, (visitor,)))

    def edit(self, old: str, new: str) -> None:
        """Change the policy file, as the company would."""
        file = self.folder / "policy.yaml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))


@contextmanager
def world(folder: Path, *, answers: Rate = banner.ANSWERS, newcomers: Rate = banner.NEW) -> Iterator[World]:
    """Serve all three until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    seen: list[Seen] = []
    clock = Clock()

    async def site(asked: Request) -> Response:
        host = asked.headers["host"]
        if asked.url.path == "/reports":
            made.reports.append(json.loads(await asked.body()))
            return Response(status_code=204)
        seen.append(Seen(host, asked.url.path, asked.headers.get("cookie", "")))
        if not host.startswith("stats."):
            text, headers = made.pages.get(asked.url.path, ("", {}))
            return HTMLResponse(text, 200 if text else 404, headers)
        if asked.url.path.endswith(".js"):
            return Response(STATS, media_type="text/javascript")
        if asked.url.path == "/frame":
            return HTMLResponse('<!doctype html><html lang="en"><title>Film</title><p>A film.')
        return Response(PIXEL, media_type="image/gif")

    servers = Server(Starlette(routes=[Route("/{rest:path}", site, methods=["GET", "POST"])]))
    servers.start()
    text = POLICY.replace("PORT", str(servers.port))
    (folder / "policy.yaml").write_text(text)
    (folder / ".env").write_text(f"KEPT_PUBLIC_URL=http://privacy.company.example:{servers.port}\n")
    with sqlite3.connect(folder / "app.sqlite") as database:
        database.execute("CREATE TABLE visits (visitor_id TEXT PRIMARY KEY, page TEXT, at TIMESTAMP)")
        database.execute("CREATE TABLE tastes (visitor_id TEXT REFERENCES visits, taste TEXT, at TIMESTAMP)")
    database.close()

    def open_() -> AbstractContextManager[Company]:
        return opened(load(folder / "policy.yaml"), folder, clock)

    def at_work() -> NoReturn:
        raise AssertionError("nobody works here")

    with Office(open_, at_work, lambda: (folder / "policy.yaml").read_bytes()) as office:
        kept = Server(
            Starlette(routes=[*banner.routes(office, answers, newcomers=newcomers), *receipts.routes(office)])
        )
        made = World(folder, office, clock, kept, seen=seen, site_port=servers.port)
        kept.start()
        try:
            yield made
        finally:
            kept.stop()
            servers.stop()


STATS: Final = """
window.ran = (window.ran || 0) + 1;
document.cookie = "_utm_id=1; path=/; domain=company.example";
document.cookie = "_utm_here=1";
try { localStorage.stats_id = "1"; } catch { /* denied */ }
"""
PIXEL: Final = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)


@dataclass
class Visit:
    """Somebody's browser on the site, and what went wrong in it."""

    context: BrowserContext
    page: Page
    complaints: list[str]
    requests: list[str]

    @property
    def visitor(self) -> str:
        """The number their browser made."""
        return str(self.kept()["visitor"])

    def kept(self) -> Any:
        """What the browser keeps; empty where it keeps nothing."""
        return self.page.evaluate("JSON.parse(localStorage.kept || '{}')")

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def until(self, condition: str) -> None:
        """Wait for a condition of the page, which may be loaded anew meanwhile."""
        # Playwright's own `wait_for_function` evaluates text in the page, which the page's policy forbids.
        for _ in range(300):
            try:
                if self.page.evaluate(f"!!({condition})"):
                    return
            except Error as wrong:
                if "context was destroyed" not in wrong.message:
                    raise
            self.page.wait_for_timeout(50)
        raise AssertionError(f"it didn't happen: {condition}")

    def settle(self) -> None:
        """Give everything that might still load the time to."""
        self.page.wait_for_timeout(500)

    def delivered(self) -> None:
        """Wait until the server has what was chosen."""
        self.until("localStorage.kept && JSON.parse(localStorage.kept).queue.length === 0")


def visit(browser: Browser, url: str, *, gpc: bool = False, storage: bool = True, **options: Any) -> Visit:
    """Open a page as somebody who was never there."""
    headers = {"Sec-GPC": "1"} if gpc else {}
    context = browser.new_context(extra_http_headers=headers, **options)
    if gpc:
        context.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})")
    if not storage:
        context.add_init_script(
            "for (const area of ['localStorage', 'sessionStorage']) Object.defineProperty(window, area, "
            "{get() { throw new DOMException('denied', 'SecurityError') }})"
        )
    return look(context, url)


def look(context: BrowserContext, url: str) -> Visit:
    """Open a page in one more tab of a browser."""
    page = context.new_page()
    made = Visit(context, page, [], [])
    page.on("console", lambda message: made.complaints.append(message.text))
    page.on("pageerror", lambda error: made.complaints.append(str(error)))
    page.on("request", lambda request: made.requests.append(request.url))
    page.goto(url)
    return made
