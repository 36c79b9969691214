"""Everybody can answer the banner: by keyboard, by ear, in each language, dark, large, from right to left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types
from playwright.sync_api import Browser

from kept.server.banner_asks import LANGUAGES, texts
from tests.acceptance.banner_site import Visit, World, visit, world
from tests.acceptance.test_banner_asks import PILL, shown

pytestmark = pytest.mark.needs("chromium")

PICTURES = os.environ.get("KEPT_PICTURES")  # a folder for pictures of every state, to look at
STATES = {"opt-in": ("fr", False), "opt-out": ("us-ca", True), "notice": ("br", False)}
FOCUSED = (
    "(() => { let e = document.activeElement; "
    "while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement; return e })()"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world") / "company") as made:
        yield made


def sound(seen: Visit, name: str) -> None:
    """No fault that axe-core knows, nothing to scroll sideways, and every target large enough."""
    seen.page.wait_for_timeout(300)  # until the card has risen
    found = Axe().run(seen.page)
    assert found.violations_count == 0, found.generate_report()
    assert seen.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    for target in seen.page.locator("#kept button:visible, #kept a:visible, #kept input:visible").all():
        box = target.bounding_box()
        assert box is not None and box["width"] >= 24 and box["height"] >= 24
    if PICTURES:
        seen.page.screenshot(path=f"{PICTURES}/{name}.png")


def focused(seen: Visit) -> Any:
    """The words of what has the focus, or its tag where it has none."""
    return seen.page.evaluate(
        f"(e => e === document.body ? 'BODY' : e.getAttribute('aria-label') || e.innerText || e.tagName)({FOCUSED})"
    )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("state", STATES)
def test_no_state_in_any_language_has_a_fault(
    browser: Browser, site: World, state: str, language: str, tmp_path: Path
) -> None:
    region, gpc = STATES[state]
    words = texts(tmp_path)[language]
    url = site.page(body=site.frame(), region=region, language=language)
    seen = visit(browser, url, gpc=gpc, viewport={"width": 1000, "height": 800})
    shown(seen, state)
    place = seen.page.locator("#kept")
    assert place.get_attribute("lang") == language
    assert place.get_attribute("dir") == words["direction"] == ("rtl" if language == "ar" else "ltr")
    sound(seen, f"{state}-{language}")
    if state == "opt-in":
        seen.press(words["choose"])
        seen.page.get_by_role("dialog", name=words["choices"]).wait_for()
        sound(seen, f"choices-{language}")
        seen.page.get_by_role("dialog").get_by_role("button", name=words["refuse"]).click()
        seen.until(PILL)
        sound(seen, f"button-{language}")
    seen.context.close()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dark", {"color_scheme": "dark", "viewport": {"width": 1000, "height": 800}}),
        ("phone", {"viewport": {"width": 360, "height": 740}}),
        ("phone-dark", {"color_scheme": "dark", "viewport": {"width": 360, "height": 740}}),
        (
            "zoomed",
            {"viewport": {"width": 640, "height": 400}, "device_scale_factor": 2},
        ),  # 1280 × 800 at 200 %
        ("zoomed-phone", {"viewport": {"width": 320, "height": 256}}),  # 1280 × 1024 at 400 %: WCAG 1.4.10
        ("forced", {"forced_colors": "active", "viewport": {"width": 1000, "height": 800}}),
    ],
)
def test_no_state_has_a_fault_in_another_light_or_size(
    browser: Browser, site: World, state: str, name: str, options: dict[str, Any]
) -> None:
    region, gpc = STATES[state]
    seen = visit(
        browser,
        site.page(body="" if "320" in str(options) else "<p>.</p>", region=region),
        gpc=gpc,
        **options,
    )
    shown(seen, state)
    sound(seen, f"{state}-{name}")
    seen.press("Choose one by one")
    seen.page.get_by_role("dialog").wait_for()
    sound(seen, f"choices-{state}-{name}")
    for button in (
        "Refuse all",
        "Accept all",
        "Save my choices",
    ):  # all can be reached, however small the window
        seen.page.get_by_role("dialog").get_by_role("button", name=button).scroll_into_view_if_needed()
        assert seen.page.get_by_role("dialog").get_by_role("button", name=button).is_visible()
    seen.context.close()


def test_the_first_layer_traps_nobody(browser: Browser, site: World) -> None:
    """As orestbida #785, klaro #543: who goes by keyboard may go on to the page, as who has a mouse may."""
    seen = visit(browser, site.page(body='<a href="/x">Floor lamps</a>', region="fr"))
    shown(seen, "opt-in")
    region = seen.page.get_by_role("region", name="Privacy choices")
    assert region.count() == 1 and seen.page.get_by_role("dialog").count() == 0
    assert focused(seen) == "BODY"  # the page keeps its focus
    assert (
        seen.page.get_by_role("status").inner_text()
        == "At the start of this page you are asked about the use of your data."
    )
    passed = []
    for _ in range(7):
        seen.page.keyboard.press("Tab")
        passed.append(focused(seen))
    assert passed[:6] == [
        "Close without choosing: all of it stays off",
        "Privacy policy",
        "Refuse all",
        "Accept all",
        "Choose one by one",
        "Floor lamps",
    ]
    seen.page.get_by_role("link", name="Floor lamps").click(trial=True)  # and nothing lies over the page
    seen.context.close()


def test_the_second_layer_keeps_the_focus_and_gives_it_back(browser: Browser, site: World) -> None:
    """klaro #523, #543: `aria-modal`, the focus moves in, stays in, and returns to where it came from."""
    seen = visit(browser, site.page(body='<a href="/x">Floor lamps</a>', region="fr"))
    shown(seen, "opt-in")
    seen.page.get_by_role("button", name="Choose one by one").focus()
    seen.page.keyboard.press("Enter")
    dialog = seen.page.get_by_role("dialog", name="Your privacy choices")
    dialog.wait_for()
    assert dialog.get_attribute("aria-modal") == "true"
    assert focused(seen) == "Your privacy choices"
    passed = []
    for _ in range(18):
        seen.page.keyboard.press("Tab")
        passed.append(focused(seen))
    # Never the page behind it; between the last and the first the browser's own controls have their turn.
    assert set(passed) - {"BODY"} == {
        "Close",
        "INPUT",
        "Privacy policy",
        "Refuse all",
        "Accept all",
        "Save my choices",
    }
    assert passed.count("Close") >= 2
    seen.page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert focused(seen) == "Choose one by one"
    seen.page.keyboard.press("Escape")
    seen.until(PILL)
    assert focused(seen) == "Privacy choices" and seen.kept() == {}  # nothing was chosen

    seen.page.keyboard.press("Enter")
    dialog.wait_for()
    seen.page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert focused(seen) == "Privacy choices"
    seen.page.get_by_role("link", name="Floor lamps").focus()
    seen.page.evaluate("kept.open()")
    dialog.wait_for()
    seen.page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert focused(seen) == "Floor lamps"
    seen.context.close()


def test_everything_can_be_done_by_keyboard_and_is_said(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(region="fr"))
    shown(seen, "opt-in")
    for key in ("Tab", "Tab", "Tab", "Tab", "Tab", "Enter", "Tab", "Space"):
        seen.page.keyboard.press(key)
    assert seen.page.get_by_role("switch", name="Statistics").is_checked()
    while focused(seen) != "Save my choices":
        seen.page.keyboard.press("Tab")
    outline = seen.page.evaluate(
        f"getComputedStyle({FOCUSED}).outlineStyle + getComputedStyle({FOCUSED}).outlineWidth"
    )
    assert outline == "solid3px"
    seen.page.keyboard.press("Enter")
    seen.until(PILL)
    assert seen.page.get_by_role("status").inner_text() == "Your choice is saved."
    assert focused(seen) == "Privacy choices"
    seen.delivered()
    assert sorted((event.choice, event.state) for event in site.events(seen.visitor)) == [
        ("advertising", "Refused"),
        ("statistics", "Given"),
    ]
    seen.context.close()


def test_a_screen_reader_hears_what_each_thing_is(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(region="us-ca"), gpc=True)
    shown(seen, "opt-out")
    tree = seen.page.get_by_role("region").aria_snapshot()
    assert (
        'region "Privacy choices"' in tree
        and 'button "Switch off"' in tree
        and "Global Privacy Control" in tree
    )
    seen.press("Choose one by one")
    tree = seen.page.get_by_role("dialog").aria_snapshot()
    assert 'dialog "Your privacy choices"' in tree and 'switch "Statistics"' in tree
    assert 'switch "Advertising" [checked]' in tree
    seen.context.close()


def test_nothing_moves_for_who_wants_less_motion(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(region="fr"), reduced_motion="reduce")
    shown(seen, "opt-in")
    card = "document.querySelector('#kept').shadowRoot.querySelector('.opt-in')"
    assert seen.page.evaluate(f"getComputedStyle({card}).animationName") == "none"
    seen.context.close()


def test_the_style_of_the_page_stays_out_of_the_banner(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(region="fr"), reduced_motion="reduce")
    shown(seen, "opt-in")
    before = seen.page.get_by_role("button", name="Accept all").bounding_box()
    seen.page.evaluate(
        "() => { const style = new CSSStyleSheet(); "
        "style.replaceSync('button, h2, p { font: 60px serif !important; display: none !important }'); "
        "document.adoptedStyleSheets = [style] }"
    )
    assert seen.page.get_by_role("button", name="Accept all").bounding_box() == before
    seen.context.close()


def test_the_language_is_the_options_else_the_pages_else_the_browsers(browser: Browser, site: World) -> None:
    for options, html, browsers, expected in (
        ({"language": "de-AT"}, ' lang="fr"', "nl-NL", "de"),
        ({}, "", "nl-NL", "en"),
        ({"language": "xx"}, "", "nl-NL", "en"),
    ):
        seen = visit(browser, site.page(region="fr", html=html, **options), locale=browsers)
        shown(seen, "opt-in")
        assert seen.page.locator("#kept").get_attribute("lang") == expected
        seen.context.close()
    url = site.page(region="fr")
    text, headers = site.pages["/"]
    site.pages["/"] = (text.replace('<html lang="en">', "<html>"), headers)
    seen = visit(browser, url, locale="nl-NL")
    shown(seen, "opt-in")
    assert seen.page.locator("#kept").get_attribute("lang") == "nl"
    seen.context.close()
