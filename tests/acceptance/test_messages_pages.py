"""The pages that letters lead to, in a real browser: no fault that axe-core knows, no script, and fit for a phone."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types
from playwright.sync_api import Browser, Page

from examples.generators import lucent_marketplace
from kept.controls.choices.messages import confirm, leave, preferences
from kept.controls.choices.messages.words import words
from kept.controls.choices.records.book import New, record
from kept.controls.rights.people import Person
from tests.acceptance.serving import Inside, inside, link
from tests.acceptance.test_messages import allowed

pytestmark = pytest.mark.needs("chromium")

PICTURES = os.environ.get("KEPT_PICTURES")  # a folder for pictures of every page, to look at
WIDTHS = (360, 1100)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    folder = tmp_path_factory.mktemp("marketplace")
    lucent_marketplace.build(folder, 60, 3)
    with inside(folder) as served:
        yield served


def sound(page: Page, name: str, language: str) -> None:
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
                page.screenshot(path=f"{PICTURES}/{name}-{language}-{width}-{scheme}.png", full_page=True)
    assert page.locator("h1").count() == 1 and page.locator("main").count() == 1
    assert page.locator("html").get_attribute("lang") == language


@pytest.mark.parametrize(("language", "number"), [("en", 2), ("bn", 3)])
def test_preferences_are_changed_by_keyboard_in_a_page_without_fault(
    browser: Browser, shop: Inside, language: str, number: int
) -> None:
    who, say = Person("member", (str(number),)), words(language)
    context = browser.new_context(java_script_enabled=True, extra_http_headers={"Sec-GPC": "1"})
    page, asked = context.new_page(), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{preferences.page_of(shop.company, who)}?language={language}")
    assert page.get_by_role("heading", level=1).inner_text() == say("title")
    sound(page, "preferences", language)
    save, refuse = (
        page.get_by_role("button", name=say("save")),
        page.get_by_role("button", name=say("refuse")),
    )
    look = "e => { const s = getComputedStyle(e); return [s.color, s.backgroundColor, s.font, s.border] }"
    assert save.evaluate(look) == refuse.evaluate(look)  # as easy to refuse as to agree, and as plain to see
    assert save.bounding_box()["height"] == refuse.bounding_box()["height"]  # type: ignore[index]  # they are shown

    push = page.get_by_role("group", name=say.part("channels", "push")).get_by_label(say("yes"), exact=True)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "promotions.push":
            break
    page.keyboard.press("Space")
    assert push.is_checked()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.value") == "save":
            break
    page.keyboard.press("Enter")
    page.get_by_role("status").wait_for()
    assert page.get_by_role("status").inner_text() == say("saved")
    assert allowed(shop, who, "promotions", "push")
    sound(page, "preferences-saved", language)
    shop.clock.on(minutes=1)
    page.get_by_role("button", name=say("refuse")).click()
    page.get_by_role("status").wait_for()
    assert not allowed(shop, who, "promotions", "push")
    assert page.locator("input[type=radio][value=no]:checked").count() == 7
    assert page.locator("input[type=radio][value=yes]:checked").count() == 0
    assert all(url.startswith(shop.url) for url in asked)
    context.close()


@pytest.mark.parametrize(("language", "number"), [("fr", 1), ("de", 2)])
def test_confirming_and_leaving_work_without_javascript_and_have_no_fault(
    browser: Browser, shop: Inside, language: str, number: int
) -> None:
    reader, say = Person("subscriber", (str(number),)), words(language)
    context = browser.new_context()
    page = context.new_page()
    confirm.ask(shop.company, New(reader, "newsletter", "yes", "form"), language=language)
    shop.work()
    with sqlite3.connect(shop.folder / "shop.sqlite") as database:
        [(address,)] = database.execute("SELECT email FROM subscribers WHERE id = ?", reader.key).fetchall()
    page.goto(f"{link(shop.box.to(address, 'LUCENT'), 'confirm')}?language={language}")
    sound(page, "confirm", language)
    assert not allowed(shop, reader, "newsletter", "email")
    page.get_by_role("button", name=say("confirm-button")).click()
    assert page.get_by_role("heading", level=1).inner_text() == say("confirmed-title")
    sound(page, "confirmed", language)
    assert allowed(shop, reader, "newsletter", "email")

    shop.clock.on(minutes=1)
    own = leave.headers(shop.company, reader, "newsletter")["List-Unsubscribe"].strip("<>")
    page.goto(f"{own}?language={language}")
    sound(page, "leave", language)
    assert allowed(shop, reader, "newsletter", "email")
    page.get_by_role("button", name=say("leave-button")).click()
    assert page.get_by_role("heading", level=1).inner_text() == say("left-title")
    sound(page, "left", language)
    assert not allowed(shop, reader, "newsletter", "email")
    page.get_by_role("link", name=say("to-preferences")).click()
    assert page.get_by_role("heading", level=1).inner_text() == say("title")
    assert page.locator("html").get_attribute("lang") == language
    page.goto(f"{shop.url}/leave/nonsense?language={language}")
    sound(page, "forged", language)
    context.close()

    plain = browser.new_context(java_script_enabled=False)
    page = plain.new_page()
    page.goto(f"{preferences.page_of(shop.company, reader)}?language={language}")
    shop.clock.on(minutes=1)
    page.get_by_label(say("yes"), exact=True).check()
    page.get_by_role("button", name=say("save")).click()
    assert say("confirm-by-letter") in page.get_by_role("status").inner_text()
    plain.close()


def test_a_guardian_sees_and_ends_a_permission_on_a_page_without_fault(
    browser: Browser, shop: Inside
) -> None:
    with sqlite3.connect(shop.folder / "shop.sqlite") as database:
        owner, ward = database.execute(
            "SELECT owner_id, member_id FROM guardians g JOIN members m ON m.id = g.member_id "
            "WHERE g.ended_at IS NULL AND m.closed_at IS NULL ORDER BY owner_id"
        ).fetchone()
    guardian, minor = Person("member", (str(owner),)), Person("member", (str(ward),))
    record(shop.company, [New(minor, "guardian", "yes", "account", decider=guardian)])
    shop.clock.on(minutes=1)
    page = browser.new_page()
    page.goto(f"{preferences.page_of(shop.company, minor)}?language=nl")
    assert page.get_by_text(words("nl")("by-guardian")).count() == 1
    sound(page, "minor", "nl")
    page.goto(f"{preferences.page_of(shop.company, guardian)}?language=ro")
    sound(page, "guardian", "ro")
    page.get_by_role("button", name=words("ro")("ward-end")).click()
    assert page.get_by_text(words("ro")("ward-no")).count() == 1
    assert not allowed(shop, minor, "service-news", "email")
    page.close()
