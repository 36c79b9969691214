"""The banner asks each visitor as their region wants it, takes a no as easily as a yes, and keeps what was said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from kept.controls.choices.records import notices
from kept.controls.choices.records.book import New, record
from kept.controls.rights.people import Person
from tests.acceptance.banner_site import NONCE, Visit, World, look, visit, world

pytestmark = pytest.mark.needs("chromium")

CARD = "document.querySelector('#kept').shadowRoot.querySelector('.KIND:not([hidden])')"
PILL = "document.querySelector('#kept')?.shadowRoot.querySelector('#pill:not([hidden])')"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "company") as made:
        yield made


def shown(seen: Visit, kind: str) -> None:
    seen.until(f"document.querySelector('#kept') && {CARD.replace('KIND', kind)}")


def states(site: World, seen: Visit) -> list[tuple[str, str]]:
    return [(event.choice, event.state) for event in site.events(seen.visitor)]


@pytest.mark.parametrize("yes", [True, False])
def test_what_was_answered_is_on_record_with_what_was_shown(browser: Browser, site: World, yes: bool) -> None:
    seen = visit(browser, site.page(region="fr", language="fr"))
    seen.press("Tout accepter" if yes else "Tout refuser")
    seen.delivered()
    events = site.events(seen.visitor)
    assert {(e.choice, e.state, e.way, e.region) for e in events} == {
        (name, "Given" if yes else "Refused", "banner", "fr") for name in ("statistics", "advertising")
    }
    [notice] = {event.notice for event in events}
    assert notice is not None
    kept = notices.shown(site.company, notice)
    assert kept is not None
    assert kept["language"] == "fr" and kept["words"]["accept"] == "Tout accepter"
    assert kept["choices"]["statistics"]["text"] == "Nous comptons les pages lues, pour les améliorer."
    with site.client() as client:
        assert kept["script"] == _digest(client.get("/banner.js").content)
        assert kept["layout"] == _digest(client.get("/banner.css").content)
    seen.context.close()


def test_nobody_is_known_before_they_choose(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(region="fr"))
    shown(seen, "opt-in")
    assert seen.page.evaluate("localStorage.length") == 0
    assert seen.context.cookies() == []
    seen.context.close()


def test_refusing_is_as_easy_as_accepting(browser: Browser, site: World) -> None:
    """The same layer, the same number of clicks, the same size and the same weight, in both layers."""
    seen = visit(browser, site.page(region="fr"), reduced_motion="reduce")
    for layer in ("region", "dialog"):
        if layer == "dialog":
            seen.press("Choose one by one")
        looks = []
        for name in ("Refuse all", "Accept all"):
            button = seen.page.get_by_role(layer).get_by_role("button", name=name)
            look = button.evaluate(
                "e => Object.fromEntries([...getComputedStyle(e)].map(p => [p, getComputedStyle(e)[p]])"
                ".filter(([p]) => !/^(inset|left|right|top|bottom|perspective|transform|width|inline-size)/.test(p)))"
            )
            box = button.bounding_box()
            assert box is not None
            looks.append((look, round(box["width"]), round(box["height"]), round(box["y"])))
        assert looks[0] == looks[1]
    seen.context.close()


def test_one_by_one_each_is_off_until_switched_on(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(region="fr"))
    seen.press("Choose one by one")
    switches = seen.page.get_by_role("switch")
    assert [switches.nth(i).is_checked() for i in range(2)] == [False, False]
    seen.page.get_by_role("switch", name="Advertising").check()
    seen.press("Save my choices")
    seen.delivered()
    assert sorted(states(site, seen)) == [("advertising", "Given"), ("statistics", "Refused")]
    assert seen.page.evaluate(
        "[kept.allows('advertising'), kept.allows('statistics'), kept.allows('nothing')]"
    ) == [
        True,
        False,
        False,
    ]
    seen.context.close()


def test_closing_allows_nothing_and_is_asked_again_in_another_visit(browser: Browser, site: World) -> None:
    url = site.page(region="fr")
    seen = visit(browser, url)
    seen.press("Close without choosing: all of it stays off")
    seen.until(PILL)
    assert seen.page.evaluate("kept.allows('statistics')") is False
    assert seen.kept() == {}
    seen.page.reload()
    seen.until(PILL)  # not asked twice in one visit
    again = look(seen.context, url)  # a new tab
    shown(again, "opt-in")
    seen.context.close()


def test_the_choices_open_again_from_a_link_a_button_and_a_script(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(body='<a href="/elsewhere" data-kept-open>Cookies</a>', region="fr"))
    seen.press("Refuse all")
    seen.until(PILL)
    dialog = seen.page.get_by_role("dialog")
    for opens in (
        lambda: seen.page.get_by_role("link", name="Cookies").click(),
        lambda: seen.press("Privacy choices"),
        lambda: seen.page.evaluate("kept.open()"),
    ):
        opens()
        dialog.wait_for()
        seen.page.keyboard.press("Escape")
        dialog.wait_for(state="hidden")
    assert seen.page.url.endswith("/")
    seen.context.close()


def test_where_the_law_wants_a_way_out_all_is_on_until_it_is_taken(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(body=site.script("statistics"), region="us-ca"))
    shown(seen, "opt-out")
    seen.until("window.ran === 1")
    seen.press("Switch off")
    seen.until("window.ran === undefined")  # the page was loaded anew
    seen.delivered()
    assert sorted(states(site, seen)) == [("advertising", "Refused"), ("statistics", "Refused")]
    seen.context.close()


def test_where_people_are_only_told_they_are_told_once(browser: Browser, site: World) -> None:
    url = site.page(body=site.script("statistics"), region="br")
    seen = visit(browser, url)
    shown(seen, "notice")
    seen.until("window.ran === 1")
    seen.press("All right")
    seen.until(PILL)
    assert "visitor" not in seen.kept()
    again = look(seen.context, url)
    again.until(f"window.ran === 1 && {PILL}")
    seen.context.close()


def test_a_region_nobody_knows_is_asked_in_the_strictest_way(browser: Browser, site: World) -> None:
    for region in ("", "atlantis"):
        seen = visit(browser, site.page(region=region))
        shown(seen, "opt-in")
        seen.context.close()


@pytest.mark.parametrize(("region", "kind"), [("us-ca", "opt-out"), ("br", "notice"), ("fr", "opt-in")])
def test_the_signal_is_honoured_and_the_person_sees_it(
    browser: Browser, site: World, region: str, kind: str
) -> None:
    seen = visit(browser, site.page(body=site.script("statistics"), region=region), gpc=True)
    shown(seen, kind)
    assert seen.page.get_by_text("Off: Statistics.").is_visible()
    assert seen.page.evaluate("[window.ran, kept.allows('statistics')]") == [None, False]
    assert seen.page.evaluate("kept.allows('advertising')") is (
        kind != "opt-in"
    )  # it doesn't listen to the signal
    seen.page.get_by_role("button", name="Close").click()
    seen.until(PILL)
    assert seen.page.get_by_role("button", name="GPC signal honoured").is_visible()  # and goes on seeing it
    assert "answers" not in seen.kept() or seen.kept()["answers"] == {}  # nothing is faked
    assert seen.context.cookies() == []
    seen.context.close()


def test_a_signal_never_overwrites_an_explicit_choice(browser: Browser, site: World) -> None:
    """As orestbida #811 asks; in both orders, and without a fake cookie."""
    url = site.page(body=site.script("statistics"), region="us-ca")
    seen = visit(browser, url, gpc=True)
    seen.page.get_by_role("button", name="Choose one by one").click()
    assert seen.page.get_by_role("dialog").get_by_text("your answer counts instead").is_visible()
    seen.page.get_by_role("switch", name="Statistics").check()
    seen.press("Save my choices")
    seen.until("window.ran === 1")
    seen.delivered()
    assert states(site, seen) == [("statistics", "Given")]
    again = look(seen.context, url)  # the signal still comes with every request
    again.until("window.ran === 1")
    assert again.page.evaluate("kept.allows('statistics')")
    assert [event.way for event in site.events(seen.visitor)] == ["banner"]
    seen.context.close()

    first = visit(browser, url)  # a yes first, and the signal later
    first.page.evaluate("kept.open()")
    first.press("Accept all")
    first.delivered()
    first.context.set_extra_http_headers({"Sec-GPC": "1"})
    first.page.reload()
    first.until("window.ran === 1")
    assert first.page.evaluate("kept.allows('statistics')")
    first.context.close()


def test_the_signal_in_the_browser_counts_where_the_header_is_lost(browser: Browser, site: World) -> None:
    context = browser.new_context()
    context.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})")
    seen = look(context, site.page(body=site.script("statistics"), region="br"))
    shown(seen, "notice")
    assert seen.page.evaluate("[window.ran, kept.allows('statistics')]") == [None, False]
    context.close()


def test_only_the_signal_1_counts(site: World) -> None:
    with site.client() as client:
        for value, counts in (("1", True), ("0", False), ("true", False), ("", False)):
            told = client.get("/banner.json", headers={"Sec-GPC": value}).json()
            assert told["gpc"] is counts
        assert client.get("/.well-known/gpc.json").json() == {"gpc": True, "lastUpdate": "2026-03-01"}


def test_rewording_never_asks_again(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(region="fr"))
    seen.press("Accept all")
    seen.delivered()
    site.edit("We count which pages are read, to make them better.", "We count visits.")
    seen.page.reload()
    seen.until(PILL)
    assert seen.page.evaluate("kept.allows('statistics')")
    seen.context.close()


def test_a_material_change_asks_again_about_what_it_touches_alone(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(body=site.script("statistics"), region="fr"))
    seen.press("Accept all")
    seen.until("window.ran === 1")
    seen.delivered()
    _grow(site)
    site.clock.on(minutes=5)
    seen.page.reload()
    shown(seen, "opt-in")
    assert seen.page.get_by_role("listitem").all_inner_texts() == [
        "Statistics We count which pages are read, to make them better."
    ]
    # Nothing more happens under the old yes, and what wasn't touched stands.
    assert seen.page.evaluate("[window.ran, kept.allows('statistics'), kept.allows('advertising')]") == [
        None,
        False,
        True,
    ]
    seen.press("Accept all")
    seen.until("window.ran === 1")
    seen.delivered()
    assert states(site, seen)[-1] == ("statistics", "RenewedGiven")
    assert len(states(site, seen)) == 3
    seen.context.close()


def test_whoever_refused_is_not_asked_again_within_six_months(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(region="fr"))
    seen.press("Refuse all")
    seen.delivered()
    _grow(site)
    for days, asked in ((170, False), (20, True)):
        site.clock.on(days=days)
        told = _told(site, seen)
        assert told["must"] is asked and told["state"] == "refused"
    # The browser keeps to it by itself, whatever the server says.
    seen.page.evaluate(
        "() => { const own = JSON.parse(localStorage.kept); for (const c of Object.values(own.answers)) "
        "c.at = new Date(Date.now() - 170 * 864e5).toISOString(); localStorage.kept = JSON.stringify(own) }"
    )
    seen.page.reload()
    seen.until(PILL)
    assert seen.page.evaluate("kept.allows('statistics')") is False
    seen.context.close()


def test_a_yes_given_back_elsewhere_is_gone_here_on_the_next_page(browser: Browser, site: World) -> None:
    url = site.page(body=site.script("statistics"), region="fr")
    seen = visit(browser, url)
    seen.press("Accept all")
    seen.until("window.ran === 1")
    seen.delivered()
    site.clock.on(minutes=5)
    with site.client() as client:
        told = client.get(f"/banner.json?visitor={seen.visitor}").json()
        sent = {
            "id": "f" * 32,
            "visitor": seen.visitor,
            "notice": told["notice"],
            "at": told["now"],
            "region": None,
            "choices": {"statistics": "no"},
        }
        assert client.post("/choices", content=json.dumps(sent)).status_code == 201
    site.clock.on(minutes=5)
    seen.page.reload()
    seen.until(PILL)
    assert seen.page.evaluate("[window.ran, kept.allows('statistics')]") == [None, False]
    seen.context.close()


def test_another_tab_follows_at_once(browser: Browser, site: World) -> None:
    url = site.page(body=site.script("statistics"), region="fr")
    seen = visit(browser, url)
    shown(seen, "opt-in")
    other = look(seen.context, url)
    other.press("Accept all")
    seen.until(f"window.ran === 1 && {PILL}")
    other.press("Privacy choices")
    other.press("Refuse all")
    seen.until(f"window.ran === undefined && {PILL}")
    seen.context.close()


def test_the_person_finds_the_receipt_of_their_choice(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(region="fr"))
    assert seen.page.evaluate("kept.visitor") is None
    seen.press("Choose one by one")
    assert seen.page.get_by_role("link", name="Receipt for my last choice").count() == 0
    seen.page.get_by_role("dialog").get_by_role("button", name="Refuse all").click()
    seen.delivered()
    assert seen.page.evaluate("kept.visitor") == seen.visitor
    seen.press("Privacy choices")
    seen.page.get_by_role("link", name="Receipt for my last choice").click()
    seen.page.wait_for_url("**/receipt/*")
    assert seen.page.get_by_text("You said no").count() >= 1
    seen.context.close()


def test_a_yes_that_has_to_be_confirmed_does_not_stand_yet(browser: Browser, site: World) -> None:
    site.edit(
        "ask: {eea: opt-in, uk: opt-in, us-ca: opt-out, elsewhere: notice}\n    signals",
        "ask: double-opt-in\n    signals",
    )
    url = site.page(body=site.script("statistics"), region="fr")
    seen = visit(browser, url)
    seen.press("Accept all")
    seen.delivered()
    assert ("statistics", "Requested") in states(site, seen)
    seen.page.reload()
    seen.until(PILL)
    assert seen.page.evaluate("[window.ran, kept.allows('statistics'), kept.allows('advertising')]") == [
        None,
        False,
        True,
    ]
    seen.context.close()


def test_a_yes_that_was_confirmed_once_confirms_no_other(browser: Browser, site: World) -> None:
    """Confirmed, taken back, given again: the second yes waits for its own confirmation, in every tab."""
    site.edit(
        "ask: {eea: opt-in, uk: opt-in, us-ca: opt-out, elsewhere: notice}\n    says:\n      en: Films",
        "ask: double-opt-in\n    says:\n      en: Films",
    )
    url = site.page(body=site.frame(), region="fr")
    seen = visit(browser, url)
    seen.press("Accept all")
    seen.delivered()
    site.clock.on(minutes=1)
    who = Person("visitor", (seen.visitor,))
    record(site.company, [New(who, "advertising", "yes", "confirmed", region="fr")])
    site.clock.on(minutes=1)
    seen.page.reload()
    seen.until("kept.allows('advertising')")
    other = look(seen.context, url)
    other.until("kept.allows('advertising')")

    seen.press("Privacy choices")
    seen.press("Accept all")  # said once more while it stands: there is nothing to confirm
    seen.delivered()
    assert seen.page.evaluate("kept.allows('advertising')")
    site.clock.on(minutes=1)
    seen.press("Privacy choices")
    seen.press("Refuse all")
    seen.delivered()
    frames = site.asked("/frame")
    site.clock.on(minutes=1)
    seen.press("Privacy choices")
    seen.press("Accept all")
    seen.delivered()
    other.until("kept.allows('statistics')")
    for tab in (seen, other):
        assert tab.page.evaluate("[kept.allows('statistics'), kept.allows('advertising')]") == [True, False]
    seen.settle()
    assert site.asked("/frame") == frames
    seen.page.reload()
    seen.until(PILL)
    assert not seen.page.evaluate("kept.allows('advertising')")
    seen.context.close()


@pytest.mark.parametrize("says", [True, False])
def test_the_banner_says_what_each_choice_is_for(browser: Browser, site: World, says: bool) -> None:
    """In the file's words, else in the sentences of what waits for it; the second layer says both; it is on record."""
    own = "We count which pages are read, to make them better."
    if not says:
        text = (site.folder / "policy.yaml").read_text()
        start, end = (
            text.index("    says:\n      en: We count"),
            text.index("  advertising:\n    of: visitor"),
        )
        (site.folder / "policy.yaml").write_text(text[:start] + text[end:])
    seen = visit(browser, site.page(region="fr"))
    first = seen.page.get_by_role("listitem").first.inner_text()
    assert first.startswith("Statistics ")
    with site.client() as client:
        told = client.get("/banner.json?language=en&region=fr").json()
    [statistics, _] = told["choices"]
    assert first == f"Statistics {statistics['text']}"
    assert "nothing happens without a yes" not in first and ((statistics["text"] == own) is says)
    seen.press("Choose one by one")
    described = seen.page.get_by_role("dialog").locator("#d-statistics").inner_text()
    assert [line for line in described.splitlines() if line] == statistics["for"]
    assert (statistics["for"][0] == own) is says and len(statistics["for"]) > 1
    notice = notices.shown(site.company, told["notice"])
    assert notice is not None and notice["words"]["for"]["statistics"] == statistics["for"]
    assert notice["choices"]["statistics"]["text"] == statistics["text"]
    seen.context.close()


def test_what_is_said_in_another_language_is_marked_as_such(browser: Browser, site: World) -> None:
    site.edit("      fr: Nous comptons les pages lues, pour les améliorer.\n", "")
    seen = visit(browser, site.page(region="fr", language="fr"))
    shown(seen, "opt-in")
    languages = seen.page.locator("#kept li span").evaluate_all("all => all.map(e => e.lang)")
    assert languages == ["en", "fr"]
    seen.context.close()


def test_a_page_with_a_link_of_its_own_needs_no_button_but_shows_the_signal(
    browser: Browser, site: World
) -> None:
    url = site.page(body="<button data-kept-open>Cookies</button>", region="fr", button="off")
    for gpc in (False, True):
        seen = visit(browser, url, gpc=gpc)
        shown(seen, "opt-in")
        seen.press("Close without choosing: all of it stays off")
        assert seen.page.get_by_role("button", name="Privacy choices").count() == int(gpc)
        seen.press("Cookies")
        seen.page.get_by_role("dialog").wait_for()
        seen.context.close()


def test_google_is_told_in_consent_mode_what_stands(browser: Browser, site: World) -> None:
    options = "analytics_storage=statistics ad_storage=advertising ad_personalization=statistics,advertising"
    seen = visit(browser, site.page(region="fr", google=options))
    seen.press("Choose one by one")
    seen.page.get_by_role("switch", name="Statistics").check()
    seen.press("Save my choices")
    seen.delivered()
    said = seen.page.evaluate("dataLayer.map(one => [...one])")
    denied = {"analytics_storage": "denied", "ad_storage": "denied", "ad_personalization": "denied"}
    assert said[0] == ["consent", "default", denied | {"wait_for_update": 500}]
    assert said[-1] == ["consent", "update", denied | {"analytics_storage": "granted"}]
    assert seen.page.evaluate("Object.prototype.toString.call(dataLayer[0])") == "[object Arguments]"
    seen.context.close()


def test_a_page_learns_of_every_change(browser: Browser, site: World) -> None:
    listen = "said = []; document.addEventListener('kept:change', e => said.push(e.detail))"
    head = f"<script nonce='{NONCE}'>{listen}</script>"
    seen = visit(browser, site.page(head=head, region="fr"))
    seen.press("Accept all")
    seen.until("said.length === 2")
    off, on = ({"statistics": value, "advertising": value} for value in (False, True))
    assert seen.page.evaluate("said") == [off, on]
    seen.context.close()


def _grow(site: World) -> None:
    """Statistics are about more than they were."""
    site.edit(
        "{page: behaviour, at: recorded}, site.cookie: {_utm*",
        "{page: behaviour, ip: ip-address, at: recorded}, site.cookie: {_utm*",
    )


def _told(site: World, seen: Visit) -> Any:
    with site.client() as client:
        told = client.get(f"/banner.json?region=fr&visitor={seen.visitor}").json()
    return next(one for one in told["choices"] if one["name"] == "statistics")


def _digest(body: bytes) -> str:
    return sha256(body).hexdigest()
