"""The public site of an example company, while `kept demo` runs: its pages, Kept behind them, a browser to look."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Protocol

from kept.cli.company import at_work
from kept.company import Company, opened
from kept.controls.collection.browser import chromium as browser
from kept.controls.collection.browser import scan
from kept.controls.registry import load
from kept.errors import KeptError
from kept.testing.pages import Pages

PAGES = 2  # of a site that are opened in each phase of a scan: one that is broken, one that never was


class Website(Protocol):
    """What the module `website` of an example company offers, where it has a public site."""

    ADDRESS: str
    """The setting in which the policy finds the site."""
    PRIVACY: str
    """The address of Kept as the pages write it."""
    STATISTICS: str
    """A host of somebody else's, that nothing but this machine knows."""
    FILLED: str
    """The path that host takes what it is sent at."""

    def build(self, directory: Path) -> None:
        """Put the pages into the company's folder."""

    def plant(self, directory: Path) -> Mapping[str, str]:
        """Break promises on the site; returns what was done, by promise id."""

    def mend(self, directory: Path) -> None:
        """Undo it."""

    def live(self, company: Company) -> Mapping[str, int]:
        """A day on which people choose, and messages go out; how many of each purpose."""


@contextmanager
def standing(place: Path, website: Website, say: Callable[[str], None]) -> Iterator[None]:
    """The company's site, Kept behind it and the other company its pages speak to, all of this machine, meanwhile."""
    import uvicorn  # half a second that no other command should wait for

    from kept.server.office import Office
    from kept.server.site import site

    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        kept_at = f"http://127.0.0.1:{listening.getsockname()[1]}"
        other = stack.enter_context(Pages(place / "stats", takes=(website.FILLED,)))
        told = {website.PRIVACY: kept_at, f"https://{website.STATISTICS}": f"http://{website.STATISTICS}"}
        pages = stack.enter_context(Pages(place / "site", told))
        stack.enter_context(setting(place, website.ADDRESS, f"{pages.address}/"))
        stack.enter_context(setting(place, "KEPT_SITES", pages.address))
        host = f"{website.STATISTICS}={other.address.removeprefix('http://')}"
        stack.enter_context(setting(place, scan.FOUND_AT, host))
        office = stack.enter_context(
            Office(lambda: opened(load(place / "policy.yaml"), place), partial(at_work, place))
        )
        config = uvicorn.Config(site(office), log_level="error", access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        say(f"  the company's site: {pages.address}/ while this command runs, with Kept's banner on it")
        try:
            yield
        finally:
            server.should_exit = server.force_exit = True
            thread.join(10)


def can_look(say: Callable[[str], None]) -> bool:
    why = browser.missing()
    if why is not None:
        say(f"  the site isn't looked at: {why}. What only a browser sees stays unproven")
    return why is None


def look(company: Company, say: Callable[[str], None]) -> None:
    """Look at every site of the company's; what goes wrong is said, and stays unproven."""
    for store in scan.browser_stores(company.policy):
        try:
            done = scan.scan(company, store, pages=PAGES)
        except KeptError as wrong:
            say(f"  {store} could not be looked at: {wrong}")
        else:
            say(f"  {store} was looked at in a browser: {len(done.findings)} things it may not do")


@contextmanager
def setting(place: Path, name: str, value: str) -> Iterator[None]:
    """A setting for this process and, where it has a value, for the company's other commands meanwhile."""
    file, before = place / ".env", os.environ.get(name)
    line = f"{name}={value}\n"
    os.environ[name] = value
    if value:
        with file.open("a", encoding="utf-8") as settings:
            settings.write(line)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
        if value:
            file.write_text(file.read_text("utf-8").replace(line, ""), "utf-8")
