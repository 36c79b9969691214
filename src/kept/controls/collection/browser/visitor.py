"""Somebody whom a site has never seen, in one phase: opens its pages, presses what a person would, and looks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from kept.controls.collection.browser.sites import Phase, Phasing, Site, Visit, is_loopback
from kept.errors import KeptError

if TYPE_CHECKING:  # an optional part, loaded where it is used
    from playwright.sync_api import BrowserContext, Request, Response, Route

OPENING: Final = 15.0  # seconds for a page to come
ACTING: Final = 5.0  # seconds for the banner to ask, and for a button to be there
QUIET: Final = (
    0.4  # seconds without a request after which a page is taken to have done what it does by itself
)
LONGEST: Final = 4.0  # seconds that a page which is never quiet is watched
OWN_KEY: Final = "kept"  # what the banner itself stores an answer under
BANNER: Final = ("/banner.js", "/banner.css", "/banner.json", "/choices")


class Visitor:
    """Somebody whom the site has never seen, in one phase.

    `addresses` are the pages of the site, found by the first who comes; `until` when all has to be over.
    """

    def __init__(
        self, site: Site, phasing: Phasing, context: BrowserContext, addresses: list[str], until: float
    ) -> None:
        self.site = site
        self.addresses = addresses
        self.until = until
        self.phasing = phasing
        self.context = context
        self.words: dict[str, str] = {}
        self.at_banner: str | None = None
        self.asked: list[str] = []
        self.answered: list[Response] = []
        self.requests = 0
        self.gaps: dict[str, None] = {}
        self.cookies: dict[str, None] = {}
        self.storage: dict[str, None] = {}
        context.on("request", self._note)
        context.on("response", self._listen)
        context.route("**/*", self._route)
        self.page = context.new_page()
        self.page.on("websocket", lambda socket: self.asked.append(socket.url))
        self.page.on("dialog", lambda dialog: dialog.dismiss())

    def visit(self) -> Visit:
        phase = self.phasing.phase
        self._open(self.site.address)
        if not self.addresses:
            self.addresses += self._links()
        banner = self._has_banner()
        if banner and phase in ("refused", "accepted", "withdrawn"):
            self._answer(phase)
        pages = 1
        for address in self.addresses[1 : self.site.pages]:
            if time.monotonic() > self.until:
                self.gaps["not every page could be opened in time"] = None
                break
            self._open(address)
            pages += 1
        return Visit(
            phase,
            self.phasing.region,
            pages,
            banner,
            tuple(sorted(self.cookies)),
            tuple(sorted(self.storage)),
            tuple(sorted(self._hosts())),
            tuple(self.gaps),
        )

    def _answer(self, phase: Phase) -> None:
        """Press what a person would, and look at the first page anew where that undoes something."""
        if phase == "refused":
            self._press("refuse")
        else:
            self._press("accept")
            if not all(self._allowed() or [False]):
                self.gaps["the banner took a yes to all and doesn't allow all"] = None
            self._take_down()
        if phase == "withdrawn":
            for address in self.addresses[1 : self.site.pages]:
                self._open(address)
            self._open(self.site.address)
            self._press("refuse")
            if any(self._allowed()):
                self.gaps["the banner took a no to all and still allows something"] = None
        if (
            phase != "accepted"
        ):  # what was there before the answer, or between, is looked at in phases of its own
            self.asked.clear()
            self.cookies.clear()
            self.storage.clear()
            self._open(self.site.address)

    def _open(self, address: str) -> None:
        """Open a page and wait until it has done what it does by itself."""
        self.answered.clear()
        try:
            answer = self.page.goto(address, wait_until="load")
        except _error() as wrong:
            if address != self.site.address:
                self.gaps["a page didn't open"] = None
                return
            said = str(wrong.message).partition("\n")[0].partition(" at ")[0]
            raise KeptError(
                f"the site doesn't answer: {said}", help="see that its address is right", where=address
            ) from None
        if answer is not None and answer.status >= 400:
            if address == self.site.address:
                raise KeptError(f"the site answers with status {answer.status}", where=address)
            self.gaps[f"a page answered with status {answer.status}"] = None
        self._settle()

    def _settle(self) -> None:
        if self._has_script():
            try:
                self.page.wait_for_function(_BEGAN, timeout=ACTING * 1000)
            except _error():
                self.gaps["the banner was there, and asked nothing"] = None
        until, quiet, seen = time.monotonic() + LONGEST, time.monotonic(), self.requests
        while time.monotonic() < until and time.monotonic() - quiet < QUIET:
            self.page.wait_for_timeout(50)
            if self.requests != seen:
                quiet, seen = time.monotonic(), self.requests
        self._read_words()
        self._take_down()

    def _take_down(self) -> None:
        """The names of what is in the browser now."""
        self.cookies |= {str(cookie.get("name")): None for cookie in self.context.cookies()}
        for frame in self.page.frames:
            try:
                found: list[str] = frame.evaluate(_STORED)
            except _error():
                continue  # a frame that has no storage, or went away
            self.storage |= {name: None for name in found if name != OWN_KEY}

    def _read_words(self) -> None:
        """Which words the banner's buttons bear, and where it comes from."""
        for answer in self.answered:
            try:
                told = answer.json()
            except (ValueError, _error()):
                continue
            if isinstance(told, dict) and isinstance(told.get("words"), dict) and "notice" in told:
                self.words = {str(word): str(text) for word, text in told["words"].items()}
                self.at_banner = _origin(answer.url)
        self.answered.clear()

    def _press(self, word: str) -> None:
        """Open the banner's dialog and press the button for all of it."""
        self.page.evaluate("window.kept.open()")
        dialog = self.page.locator("#kept dialog")
        button = dialog.locator(f'[data-kept-action="{word}"]')
        if not button.count():
            button = dialog.get_by_role("button", name=self.words.get(word, word), exact=True)
        try:
            button.first.click()
        except _error():
            self.gaps[f"the banner has no button to {word} all"] = None
            return
        self.page.wait_for_timeout(100)  # a page that must forget a script loads itself anew
        try:
            self.page.wait_for_load_state("load")
        except _error():
            self.gaps["the page didn't come back after an answer"] = None
        self._settle()

    def _allowed(self) -> list[bool]:
        """What the banner says of each choice that was answered."""
        answers: list[bool] = self.page.evaluate(_ALLOWED)
        return answers

    def _has_script(self) -> bool:
        return bool(self.page.evaluate("typeof window.kept === 'object' && !!window.kept.open"))

    def _has_banner(self) -> bool:
        """Whether the banner is there and has something to ask."""
        return self._has_script() and bool(self.page.evaluate(f"!!({_BEGAN})()"))

    def _links(self) -> list[str]:
        """This page and those of the same site it leads to, each once."""
        here = urlsplit(self.page.url)
        found: list[str] = self.page.evaluate("[...document.querySelectorAll('a[href]')].map((a) => a.href)")
        parts = [urlsplit(one) for one in found]
        same = [
            urlunsplit(one._replace(fragment=""))
            for one in parts
            if (one.scheme, one.netloc) == (here.scheme, here.netloc)
        ]
        first = self.site.address
        return list(
            dict.fromkeys([first, *(one for one in same if one != urlunsplit(here._replace(fragment="")))])
        )

    def _hosts(self) -> set[str]:
        """The hosts that were asked for something and are neither the site's own nor the banner's."""
        own = urlsplit(self.site.address)
        bare = (own.hostname or "").removeprefix("www.")
        found = set()
        for address in self.asked:
            one = urlsplit(address)
            host = one.hostname or ""
            if one.scheme not in ("http", "https", "ws", "wss") or not host:
                continue
            if is_loopback(bare) or is_loopback(host):
                mine = one.netloc == own.netloc
            else:
                mine = any(host == name or host.endswith(f".{name}") for name in (bare, *self.site.own))
            if not mine and not (_origin(address) == self.at_banner and one.path in BANNER):
                found.add(host)
        return found

    def _note(self, request: Request) -> None:
        self.requests += 1
        self.asked.append(request.url)

    def _listen(self, response: Response) -> None:
        self.requests += 1
        if urlsplit(response.url).path == "/banner.json":
            self.answered.append(response)

    def _route(self, route: Route, request: Request) -> None:
        """What is asked for our region, and what keeps our answers from being counted."""
        parts = urlsplit(request.url)
        host = parts.hostname or ""
        if parts.path == "/choices" and request.method == "POST":
            route.abort()  # the banner keeps it for later, as when its server is down
        elif self.site.is_here and not self.site.knows(host):
            route.abort()  # asked for, and so taken down; nobody is reached
        elif parts.path == "/banner.json":
            query = [(name, value) for name, value in parse_qsl(parts.query) if name != "region"]
            if self.phasing.region is not None:
                query.append(("region", self.phasing.region))
            route.continue_(url=urlunsplit(parts._replace(query=urlencode(query))))
        else:
            route.continue_()


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def _error() -> Any:
    from playwright.sync_api import Error

    return Error


# The banner has asked: its dialog stands in the page.
_BEGAN: Final = "() => !!(document.getElementById('kept')?.shadowRoot?.querySelector('dialog'))"
_ALLOWED: Final = (
    "() => { try { return Object.keys(JSON.parse(localStorage.kept || '{}').answers || {}).map(window.kept.allows) }"
    " catch { return [] } }"
)
_STORED: Final = (
    "async () => { const names = []; for (const area of ['localStorage', 'sessionStorage'])"
    " try { names.push(...Object.keys(window[area])) } catch { /* denied */ }"
    " try { names.push(...(await indexedDB.databases()).map((one) => one.name)) } catch { /* denied */ }"
    " return names }"
)
