"""A real browser for the tests that look at pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.acceptance.browsing import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium; a test that asks for it has the mark `needs("chromium")`."""
    with sync_playwright() as driver, chromium(driver) as browser:
        yield browser
