"""The pages people see, in a real browser: nothing comes from elsewhere, nothing runs, and a phone can show them."""

from __future__ import annotations

import threading
import time
import zipfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page

from kept.company import opened
from kept.controls.registry import load, sentence
from kept.evidence.board import prove
from kept.policy.page import page as make_page
from kept.server.app import app
from tests.acceptance.company import ROOT, SiteLucent

pytestmark = pytest.mark.needs("chromium")


def look(browser: Browser, url: str, *, width: int) -> tuple[Page, list[str], list[str]]:
    """The page at a URL, what it asked for, and what the browser complained of."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    return page, asked, complaints


def sound(page: Page) -> None:
    """What every page of ours has: one h1, a language, named headings, no sideways scrolling."""
    assert page.locator("h1").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("main").count() == 1
    assert page.locator("script, iframe, form").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.locator("h1:empty, h2:empty, h3:empty").count() == 0
    assert page.locator("th:not([scope])").count() == 0


@pytest.mark.parametrize("width", [360, 1100])
def test_the_board_shows_each_promise_and_loads_nothing_from_elsewhere(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.delenv("APP_DATABASE_URL", raising=False)
    made = SiteLucent.made(tmp_path / "company", planted=True)
    with opened(load(made.folder / "policy.yaml"), made.folder) as company:
        board = prove(company)
    server = uvicorn.Server(
        uvicorn.Config(app(lambda: {"Now": board}), port=0, log_level="error", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    for _ in range(500):
        if server.started:
            break
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    page, asked, complaints = look(browser, f"http://127.0.0.1:{port}/", width=width)
    sound(page)
    assert complaints == []
    assert all(url.startswith(f"http://127.0.0.1:{port}/") for url in asked)
    assert page.locator("li.promise").count() == len(board.rows)
    assert page.locator("li.is-broken").count() == board.counts["broken"] == 4
    page.close()
    server.should_exit = True
    thread.join(10)


@pytest.mark.parametrize("company", sorted(path.parent.name for path in ROOT.glob("examples/*/policy.yaml")))
def test_every_policy_page_can_be_read_on_a_phone(browser: Browser, tmp_path: Path, company: str) -> None:
    policy = load(ROOT / "examples" / company / "policy.yaml")
    file = tmp_path / "page.html"
    shown = make_page(policy, partial(sentence, policy), datetime.now(UTC).date())
    file.write_text(shown.html(), "utf-8")
    page, asked, complaints = look(browser, file.as_uri(), width=360)
    sound(page)
    assert asked == [file.as_uri()] and complaints == []
    page.close()


def test_an_answer_can_be_read_on_a_phone(browser: Browser, tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "company")
    asked_for = made.kept("request", "access", "user:2", "--format", "json")
    with zipfile.ZipFile(asked_for.json()["answers"][0]) as answer:
        answer.extract("index.html", tmp_path)
    page, asked, complaints = look(browser, (tmp_path / "index.html").as_uri(), width=360)
    sound(page)
    assert len(asked) == 1 and complaints == []
    assert page.get_by_text("24 months").count() >= 1
    page.close()
