"""The system's Chromium as tests run it: quiet, and with every `.example` on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import Browser, Playwright

from tests.plugins.not_run import find

ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--host-resolver-rules=MAP *.example 127.0.0.1",
)


@contextmanager
def chromium(driver: Playwright) -> Iterator[Browser]:
    """The browser, until the block ends."""
    browser = driver.chromium.launch(executable_path=find("chromium"), args=list(ARGUMENTS))
    yield browser
    browser.close()
