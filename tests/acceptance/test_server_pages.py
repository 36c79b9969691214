"""The pages of people, in a real browser: no fault that axe-core knows, no script, and a phone can show them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types
from playwright.sync_api import Browser, Page

from examples.generators import lucent_marketplace
from kept.controls.rights import register
from tests.acceptance.company import SiteLucent
from tests.acceptance.serving import Inside, inside, link

pytestmark = pytest.mark.needs("chromium")

PICTURES = os.environ.get("KEPT_PICTURES")  # a folder for pictures of every page, to look at
WIDTHS = (360, 1100)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """A marketplace, where whoever is erased may come back for 30 days."""
    folder = tmp_path_factory.mktemp("marketplace")
    lucent_marketplace.build(folder, 50, 3)
    with inside(folder) as served:
        yield served


def sound(page: Page, name: str) -> None:
    """What every page of ours has, in both colours and on a phone."""
    assert page.locator("script, iframe, [style], [onclick]").count() == 0  # before axe-core adds its own
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for width in WIDTHS:
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            if width == min(WIDTHS) or scheme == "light":
                found = Axe().run(page)
                assert found.violations_count == 0, found.generate_report()
            assert page.evaluate(
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            )
            if PICTURES:
                page.screenshot(path=f"{PICTURES}/{name}-{width}-{scheme}.png", full_page=True)
    assert page.locator("h1").count() == 1 and page.locator("main").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"


def test_every_page_of_a_request_has_no_fault_and_asks_nobody_else(browser: Browser, shop: Inside) -> None:
    page = browser.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    [email] = _addresses(shop, "subscriber", 1)

    page.goto(f"{shop.url}/ask")
    sound(page, "ask")
    page.get_by_role("button", name="Send").click()
    assert page.get_by_role("alert").locator("li").count() == 2
    sound(page, "ask-wrong")
    page.get_by_label("Have your data erased").check()
    page.get_by_label("Your e-mail address").fill(email)
    page.get_by_role("button", name="Send").click()
    sound(page, "thanks")

    shop.work()
    verify = link(shop.box.to(email, "was you"), "verify")
    page.goto(verify)
    sound(page, "verify")
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.textContent") != "It was me: no copy, begin":
        page.keyboard.press("Tab")  # past the offer of a copy
    page.keyboard.press("Enter")
    page.wait_for_url("**/request/*")
    sound(page, "working")
    own = page.url
    page.goto(verify)
    assert page.get_by_role("heading", level=1).inner_text() == "This link was used before"
    sound(page, "used")
    page.goto(f"{shop.url}/verify/nonsense")
    sound(page, "forged")

    shop.work()
    page.goto(own)
    assert page.get_by_role("heading", name="Your data is out of use").count() == 1
    sound(page, "period")
    page.get_by_role("button", name="Come back").click()
    shop.work()
    page.goto(own)
    assert page.get_by_role("heading", name="You came back").count() == 1
    sound(page, "came-back")
    assert _addresses(shop, "subscriber", 1) == [email]
    assert all(url.startswith(shop.url) for url in asked)
    assert [said for said in complaints if "status of 4" not in said] == []  # the browser notes each 4xx
    page.close()


def test_the_page_of_a_refused_and_of_a_late_request_says_why_and_where_to_complain(
    browser: Browser, tmp_path: Path
) -> None:
    made = SiteLucent.made(tmp_path / "company")
    [(email,)] = made.ask("SELECT email FROM users WHERE id = 3")
    with inside(made.folder) as shop, shop.client(api=True) as api:
        page = browser.new_page()
        new = api.post("/api/requests", json={"verb": "erase", "who": "user:3", "proven": True}).json()
        assert new["awaits"] == "confirmation"
        extended = api.post(
            f"/api/requests/{new['id']}/extend", json={"by": "Ada", "words": "there are many requests"}
        )
        page.goto(new["page"])
        if extended.status_code == 200:  # where the policy promises no shorter time
            assert page.get_by_text("there are many requests").count() == 1
        sound(page, "confirmation")
        told = api.post(f"/api/requests/{new['id']}/refuse", json={"by": "Ada", "reason": "legal-claims"})
        assert told.status_code == 200, told.text
        page.goto(new["page"])
        assert page.get_by_text("Art. 17(3)(e)").count() == 1
        assert page.get_by_text("You can complain to").count() == 1
        sound(page, "refused")
        assert email not in page.content()
        new = api.post("/api/requests", json={"verb": "access", "who": "user:3", "proven": True}).json()
        shop.work()
        page.goto(new["page"])
        sound(page, "done")
        assert register.get(shop.company, new["id"]).state == "done"
        page.close()


def _addresses(shop: Inside, kind: str, number: int) -> list[str]:
    root = shop.company.policy.people[kind]
    table = str(root.table).partition(".")[2]
    with shop.company.stores["shop"].read() as connection:
        rows = connection.exec_driver_sql(f"SELECT email FROM {table} ORDER BY id LIMIT {number}").all()
    return [email for (email,) in rows]
