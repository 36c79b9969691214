"""A site of the company's in a real browser: what is set and who is reached, before anybody chose and after.

Only names are taken down: of cookies, of what is stored, of hosts. What a scan answers in the banner is not sent, so
that nobody is counted who wasn't there.
"""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kept.controls.collection.browser.sites import Phasing, Site, Visit
from kept.controls.collection.browser.visitor import ACTING, OPENING, Visitor
from kept.errors import TerminalError

if TYPE_CHECKING:  # an optional part, loaded where it is used
    from playwright.sync_api import Browser

PROGRAMS: Final = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def chromium() -> Path | None:
    """The system's Chromium; None where there is none."""
    return next((Path(found) for program in PROGRAMS if (found := shutil.which(program))), None)


def missing() -> str | None:
    """Why nothing can be looked at in a browser here; None where it can."""
    if importlib.util.find_spec("playwright") is None:
        return "nothing here can drive a browser (pip install 'kept[browser]')"
    return None if chromium() is not None else "there is no Chromium on this machine"


def visits(site: Site, phases: Sequence[Phasing]) -> list[Visit]:
    """Go through the phases, each as somebody who was never there.

    Where the site has no banner of Kept's only the first is possible, and the others say so. TerminalError where there
    is no browser, or the site doesn't answer.
    """
    program = chromium()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise TerminalError(
            "nothing here can drive a browser", help="install it: pip install 'kept[browser]'"
        ) from None
    if program is None:
        raise TerminalError(
            "there is no Chromium on this machine",
            help="Debian: apt-get install chromium; macOS: brew install --cask chromium",
        )

    def drive() -> list[Visit]:
        from playwright.sync_api import Error

        try:
            with sync_playwright() as driver:
                browser = driver.chromium.launch(
                    executable_path=program, args=_arguments(site), timeout=OPENING * 2000
                )
                try:
                    return _Looking(site, browser).through(phases)
                finally:
                    browser.close()
        except Error as wrong:
            said = str(wrong.message).partition("\n")[0]
            raise TerminalError(f"the browser can't go on: {said}") from None

    # The browser's driver has a loop of its own, which no other of this thread's may meet.
    with ThreadPoolExecutor(1, thread_name_prefix="kept-browser") as thread:
        return thread.submit(drive).result()


def _arguments(site: Site) -> list[str]:
    rules = [f"MAP {name} {place}" for name, place in site.found.items()]
    quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    if site.is_here:
        rules += ["MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1", "EXCLUDE localhost", "EXCLUDE [::1]"]
        quiet.append("--no-proxy-server")
    return [*quiet, *([f"--host-resolver-rules={', '.join(rules)}"] if rules else [])]


class _Looking:
    """One browser's way through a site."""

    def __init__(self, site: Site, browser: Browser) -> None:
        self.site = site
        self.browser = browser
        self.addresses: list[str] = []
        self.until = time.monotonic() + site.seconds

    def through(self, phases: Sequence[Phasing]) -> list[Visit]:
        done: list[Visit] = []
        for phasing in phases:
            if time.monotonic() > self.until:
                late = f"the time for a scan, {self.site.seconds:.0f} s, was over"
                done.append(Visit(phasing.phase, phasing.region, 0, False, gaps=(late,)))
            elif phasing.phase in ("before", "signal") or any(one.banner for one in done):
                with self._fresh(phasing) as visitor:
                    done.append(visitor.visit())
            else:
                none = "the site has no banner of Kept's, so nobody could be taken to have chosen"
                done.append(Visit(phasing.phase, phasing.region, 0, False, gaps=(none,)))
        return done

    @contextmanager
    def _fresh(self, phasing: Phasing) -> Iterator[Visitor]:
        headers = {"Sec-GPC": "1"} if phasing.phase == "signal" else {}
        context = self.browser.new_context(extra_http_headers=headers, service_workers="block")
        try:
            context.set_default_timeout(ACTING * 1000)
            context.set_default_navigation_timeout(OPENING * 1000)
            if phasing.phase == "signal":
                context.add_init_script(
                    "Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})"
                )
            yield Visitor(self.site, phasing, context, self.addresses, self.until)
        finally:
            context.close()
