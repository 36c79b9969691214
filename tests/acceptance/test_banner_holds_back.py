"""Nothing that waits for a choice loads before it, and what came with a yes goes with it; under a strict policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.acceptance.banner_site import NONCE, World, visit, world
from tests.acceptance.test_banner_asks import PILL, shown

pytestmark = pytest.mark.needs("chromium")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "company") as made:
        yield made


def everything(site: World) -> str:
    """One of each sort of thing that waits."""
    return (
        site.script("statistics")
        + f'<script type="text/plain" data-kept="statistics" nonce="{NONCE}">window.inline = 1</script>'
        + site.frame()
        + f'<img data-kept="statistics" data-src="{site.stats_url}/pixel.gif" alt="" width="1" height="1">'
        + f'<img data-kept="statistics, advertising" data-src="{site.stats_url}/both.gif" alt="" width="1" height="1">'
        + f'<link rel="icon" data-kept="statistics" data-href="{site.stats_url}/linked.gif">'
    )


def test_nothing_loads_before_the_choice_and_all_of_it_after(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(body=everything(site), region="fr"))
    shown(seen, "opt-in")
    seen.settle()
    own = {f"{site.kept_url}/banner.{kind}" for kind in ("js", "css", "json")}
    assert {url.partition("?")[0] for url in seen.requests} == own | {f"{site.site_url}/"}
    assert not any(one.host.startswith("stats.") for one in site.seen)
    seen.press("Accept all")
    seen.until(f"window.ran === 1 && window.inline === 1 && {PILL}")
    seen.settle()
    for path in ("/s.js", "/frame", "/pixel.gif", "/both.gif"):
        assert site.asked(path) == 1, path
    assert seen.page.locator("link[rel=icon]").get_attribute("href") == f"{site.stats_url}/linked.gif"
    seen.delivered()
    assert site.reports == [] and seen.complaints == []
    seen.context.close()


def test_what_needs_two_choices_waits_for_both(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(body=everything(site), region="fr"))
    seen.press("Choose one by one")
    seen.page.get_by_role("switch", name="Statistics").check()
    seen.press("Save my choices")
    seen.until("window.ran === 1")
    seen.settle()
    assert site.asked("/pixel.gif") == 1 and site.asked("/both.gif") == 0 and site.asked("/frame") == 0
    seen.context.close()


def test_what_is_added_later_waits_too(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(region="fr"))
    shown(seen, "opt-in")
    add = f"""() => {{
        const script = document.createElement("script"), around = document.createElement("div");
        Object.assign(script, {{ type: "text/plain", nonce: "{NONCE}" }});
        Object.assign(script.dataset, {{ kept: "statistics", src: "{site.stats_url}/s.js" }});
        around.append(script);
        document.body.append(around);
        const image = new Image();
        Object.assign(image.dataset, {{ kept: "statistics", src: "{site.stats_url}/pixel.gif" }});
        document.body.append(image);
    }}"""
    seen.page.evaluate(add)
    seen.page.wait_for_timeout(200)
    assert site.asked("/s.js") == site.asked("/pixel.gif") == 0
    seen.press("Accept all")
    seen.until("window.ran === 1")
    seen.page.evaluate(add)
    seen.until("window.ran === 2")
    seen.settle()
    assert site.reports == []
    seen.context.close()


def test_a_frame_says_what_it_waits_for_and_is_shown_for_that_choice_alone(
    browser: Browser, site: World
) -> None:
    seen = visit(browser, site.page(body=everything(site), region="fr"))
    shown(seen, "opt-in")
    frame = seen.page.locator("iframe")
    assert not frame.is_visible()
    before = seen.page.get_by_text("It is shown only if you allow this: Advertising.")
    assert before.is_visible() and seen.page.get_by_text(site.stats_url.removeprefix("http://")).is_visible()
    place = seen.page.evaluate(
        "(() => { const box = document.querySelector('iframe').previousElementSibling.getBoundingClientRect(); "
        "return [Math.round(box.width), Math.round(box.height)] })()"
    )
    assert place == [404, 244]  # the frame's, border included: nothing moves
    seen.press("Allow and show")
    frame.wait_for(state="visible")
    assert seen.page.frame_locator("iframe").get_by_text("A film.").is_visible()
    seen.delivered()
    assert [(event.choice, event.state) for event in site.events(seen.visitor)] == [("advertising", "Given")]
    assert site.asked("/s.js") == 0
    assert seen.page.get_by_role("listitem").all_inner_texts() == [
        "Statistics We count which pages are read, to make them better."
    ]  # what wasn't answered is still asked
    seen.context.close()


def test_a_withdrawal_removes_cookies_storage_frames_and_what_ran(browser: Browser, site: World) -> None:
    url = site.page("/lamps/floor/tall", body=everything(site), region="fr")
    seen = visit(browser, url)
    seen.press("Accept all")
    seen.until(f"window.ran === 1 && {PILL}")
    seen.page.evaluate(
        "() => { document.cookie = '_utm_deep=1; path=/lamps/floor'; document.cookie = '_utm_slash=1; path=/lamps/';"
        " document.cookie = 'basket=1; path=/'; sessionStorage.stats_tab = 1; localStorage.basket = 1 }"
    )
    names = {cookie.get("name") for cookie in seen.context.cookies()}
    assert names == {"_utm_id", "_utm_here", "_utm_deep", "_utm_slash", "basket"}
    seen.delivered()
    requests = site.asked("/s.js"), site.asked("/frame")
    seen.press("Privacy choices")
    seen.press("Refuse all")
    seen.until(f"window.ran === undefined && {PILL}")
    assert [cookie.get("name") for cookie in seen.context.cookies()] == ["basket"]
    assert seen.page.evaluate("Object.keys(localStorage).sort()") == ["basket", "kept"]
    assert seen.page.evaluate("sessionStorage.stats_tab") is None
    assert seen.page.get_by_role("button", name="Allow and show").is_visible()
    assert (site.asked("/s.js"), site.asked("/frame")) == requests
    seen.delivered()
    assert [event.state for event in site.events(seen.visitor)] == [
        "Given",
        "Given",
        "Withdrawn",
        "Withdrawn",
    ]
    seen.page.reload()
    seen.until(PILL)
    assert (site.asked("/s.js"), site.asked("/frame")) == requests
    assert site.reports == [] and seen.complaints == []
    seen.context.close()


def test_a_frame_goes_back_to_its_place_without_loading_the_page_anew(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(body=site.frame(), region="fr"))
    seen.press("Accept all")
    seen.page.locator("iframe").wait_for(state="visible")
    seen.page.evaluate("window.same = true")
    seen.press("Privacy choices")
    seen.press("Refuse all")
    seen.page.get_by_role("button", name="Allow and show").wait_for()
    assert len(seen.page.frames) == 2 and seen.page.frames[1].url in ("", "about:blank")
    assert seen.page.evaluate("window.same") is True
    seen.context.close()


def test_a_script_slipped_into_the_page_is_not_given_its_nonce(browser: Browser, site: World) -> None:
    """What waits for a yes must not become a way past the content-security policy."""
    slipped = f'<p><script type="text/plain" data-kept="statistics" data-src="{site.stats_url}/evil.js"></script></p>'
    slipped += '<iframe data-kept="statistics" data-src="javascript:parent.evil=1" title="x"></iframe>'
    seen = visit(browser, site.page(body=slipped + site.script("statistics"), region="fr"))
    seen.press("Accept all")
    seen.until("window.ran === 1")
    seen.settle()
    assert site.asked("/evil.js") == 0
    assert seen.page.evaluate("window.evil") is None and seen.page.locator("iframe[src]").count() == 0
    seen.context.close()


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize(
    "broken",
    [
        '<p><img alt="" data-kept="statistics" data-src="http://["></p>',
        '<p><iframe title="x" data-kept="statistics" data-src="http://["></iframe></p>',
    ],
)
def test_one_broken_address_stops_neither_the_rest_nor_a_withdrawal(
    browser: Browser, site: World, broken: str, after: bool
) -> None:
    body = site.script("statistics")
    seen = visit(browser, site.page(body=body + broken if after else broken + body, region="us-ca"))
    shown(seen, "opt-out")
    seen.until("window.ran === 1")
    seen.press("Switch off")
    seen.until(f"window.ran === undefined && {PILL}")
    seen.delivered()
    assert {event.state for event in site.events(seen.visitor)} == {"Refused"}
    seen.context.close()


def test_without_javascript_all_is_refused_and_the_page_can_be_used(browser: Browser, site: World) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.page(body=everything(site), region="us-ca"))
    page.wait_for_load_state("networkidle")
    assert not any(one.host.startswith("stats.") for one in site.seen)
    assert page.get_by_role("heading", name="Lamps").is_visible()
    assert page.locator("#kept").count() == 0
    context.close()


def test_a_choice_the_policy_does_not_have_allows_nothing(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(body=site.script("statistcs") + site.script(""), region="br"))
    shown(seen, "notice")
    seen.press("All right")
    seen.page.wait_for_timeout(300)
    assert site.asked("/s.js") == 0
    seen.context.close()


def test_scripts_run_in_the_order_in_which_they_stand(browser: Browser, site: World) -> None:
    order = [
        '<script type="text/plain" data-kept="statistics" data-type="module" '
        f'nonce="{NONCE}">window.type = "module"</script>',
        site.script("statistics", "first.js"),
        site.script("statistics", "second.js", ' id="tag" data-key="7"'),
    ]
    seen = visit(browser, site.page(body="".join(order), region="br"))
    seen.until("window.ran === 2 && window.type === 'module'")
    assert seen.page.evaluate("document.querySelectorAll('#tag').length") == 1
    assert seen.page.evaluate("document.querySelector('#tag').dataset.key") == "7"
    paths = [one.path for one in site.seen if one.host.startswith("stats.")]
    assert sorted(paths) == ["/first.js", "/second.js"]
    seen.context.close()


def test_nothing_on_the_page_moves(browser: Browser, site: World) -> None:
    watch = (
        "window.moved = []; new PerformanceObserver(list => moved.push(...list.getEntries().map(e => e.value)))"
        ".observe({type: 'layout-shift', buffered: true})"
    )
    context = browser.new_context()
    context.add_init_script(watch)
    page = context.new_page()
    for region in ("fr", "us-ca", "br"):
        page.goto(site.page(body=everything(site), region=region))
        page.locator("#kept h2").first.wait_for()
        page.wait_for_timeout(400)
        assert page.evaluate("moved") == []
    context.close()
