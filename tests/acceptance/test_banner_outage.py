"""A choice is kept in the browser and delivered later: through outages, edits, limits and lost storage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from kept.controls.choices.records.book import New, record
from kept.controls.rights.people import Person
from kept.server.limits import Rate
from tests.acceptance.banner_site import World, look, visit, world
from tests.acceptance.serving import until
from tests.acceptance.test_banner_asks import PILL, shown

pytestmark = pytest.mark.needs("chromium")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "company") as made:
        yield made


def test_a_rejection_survives_an_outage_and_a_policy_edit(browser: Browser, site: World) -> None:
    """c15t #1084, #546, #1087: refused while the server is down, the policy changed before it is back."""
    url = site.page(body=site.script("statistics"), region="fr")
    seen = visit(browser, url)
    shown(seen, "opt-in")
    site.kept.stop()
    seen.press("Refuse all")
    seen.until(PILL)
    assert len(seen.kept()["queue"]) == 1
    seen.page.reload()  # still down: not even the script comes, and nothing runs
    seen.page.wait_for_timeout(300)
    assert seen.page.evaluate("window.ran") is None

    # Reworded, and one of the choices is no more.
    site.edit("We count which pages are read, to make them better.", "We count visits.")
    _without_advertising(site)
    site.kept.start()
    seen.page.reload()
    seen.until(PILL)
    seen.delivered()
    [event] = site.events(seen.visitor)
    assert (event.choice, event.state, event.took) == ("statistics", "Refused", True)
    assert seen.page.evaluate("[window.ran, kept.allows('statistics')]") == [None, False]
    again = look(seen.context, url)
    again.until(PILL)  # and they aren't asked again
    seen.context.close()


def test_a_choice_is_delivered_while_the_page_stays_open(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(region="fr"))
    shown(seen, "opt-in")
    site.kept.stop()
    seen.press("Accept all")
    seen.until(PILL)
    site.kept.start()
    seen.delivered()
    assert {event.state for event in site.events(seen.visitor)} == {"Given"}
    seen.context.close()


def test_the_last_answer_holds_while_the_server_is_away(browser: Browser, site: World) -> None:
    """The page obeys what the browser keeps; who never answered is refused, and the page is whole."""
    url = site.page(body=site.script("statistics"), region="fr")
    seen = visit(browser, url)
    seen.press("Accept all")
    seen.until("window.ran === 1")
    seen.delivered()
    # The script itself comes from a cache or the site's own copy; what it asks is not answered.
    seen.context.route("**/banner.json*", lambda route: route.abort())
    seen.context.route("**/choices", lambda route: route.abort())
    seen.page.reload()
    seen.until(f"window.ran === 1 && {PILL}")
    seen.press("Privacy choices")
    seen.press("Refuse all")
    seen.until(f"window.ran === undefined && {PILL}")
    assert len(seen.kept()["queue"]) == 1
    seen.context.unroute("**/banner.json*")
    seen.context.unroute("**/choices")
    site.clock.on(minutes=1)
    seen.page.reload()
    seen.delivered()
    assert [event.state for event in site.events(seen.visitor)][-2:] == ["Withdrawn", "Withdrawn"]

    stranger = browser.new_context()
    stranger.route("**/banner.json*", lambda route: route.fulfill(status=503, body="{}"))
    new = look(stranger, url)
    new.page.wait_for_timeout(400)
    assert new.page.evaluate("[window.ran, kept.allows('statistics')]") == [None, False]
    assert new.page.get_by_role("heading", name="Lamps").is_visible()
    assert not [said for said in new.complaints if "status of 503" not in said]
    stranger.close()
    seen.context.close()


def test_the_same_answer_sent_twice_is_one(browser: Browser, site: World) -> None:
    """An answer whose receipt was lost is sent again, and stays one event."""
    seen = visit(browser, site.page(region="fr"))
    shown(seen, "opt-in")
    sent = []

    def lose(route: object, request: object) -> None:
        sent.append(request.post_data)  # type: ignore[attr-defined]  # Playwright's request
        if len(sent) == 1:
            with site.client() as client:
                assert client.post("/choices", content=sent[0]).status_code == 201
            route.abort()  # type: ignore[attr-defined]  # Playwright's route
        else:
            route.continue_()  # type: ignore[attr-defined]  # Playwright's route

    seen.context.route("**/choices", lose)
    seen.press("Refuse all")
    seen.delivered()
    assert len(sent) == 2 and sent[0] == sent[1]
    assert len(site.events(seen.visitor)) == 2
    seen.context.close()


def test_a_browser_that_keeps_nothing_still_asks_obeys_and_sends(browser: Browser, site: World) -> None:
    seen = visit(browser, site.page(body=site.script("statistics"), region="fr"), storage=False)
    with seen.page.expect_response("**/choices") as answered:
        seen.press("Accept all")
    assert answered.value.status == 201
    seen.until("window.ran === 1")
    visitor = json.loads(answered.value.request.post_data or "")["visitor"]
    assert {event.state for event in site.events(visitor)} == {"Given"}
    assert seen.complaints == []
    seen.context.close()


def test_a_wrong_clock_in_the_browser_makes_no_wrong_time_on_record(browser: Browser, site: World) -> None:
    context = browser.new_context()
    context.add_init_script(
        "const Real = Date; Date = class extends Real { "
        "constructor(...given) { given.length ? super(...given) : super(Date.now()) } "
        "static now() { return Real.now() + 3e9 } }"
    )
    seen = look(context, site.page(region="fr"))
    seen.press("Accept all")
    seen.delivered()
    assert all(event.at == site.clock() for event in site.events(seen.visitor))
    context.close()


def test_a_refusal_holds_though_the_clock_was_set_back(browser: Browser, site: World) -> None:
    """A yes is on record; the server is away, the device's clock is set back, and the person says no."""
    url = site.page(body=site.script("statistics"), region="fr")
    with site.client() as client:
        client.get("/banner.json?language=en&region=fr")
    site.clock.on(hours=3)  # what is shown has been shown for long
    context = browser.new_context()
    context.add_init_script(
        "const Real = Date; Date = class extends Real { "
        "constructor(...given) { given.length ? super(...given) : super(Date.now()) } "
        "static now() { return Real.now() + +(document.cookie.match(/shift=(-?\\d+)/) || [0, 0])[1] } }"
    )
    seen = look(context, url)
    seen.press("Accept all")
    seen.until("window.ran === 1")
    seen.delivered()
    site.clock.on(minutes=5)
    for path in ("**/banner.json*", "**/choices"):
        context.route(path, lambda route: route.abort())
    seen.page.evaluate("document.cookie = 'shift=-3600000;path=/'")
    seen.page.reload()
    seen.until(f"window.ran === 1 && {PILL}")
    seen.press("Privacy choices")
    seen.press("Refuse all")
    seen.until(f"window.ran === undefined && {PILL}")
    [sent] = seen.kept()["queue"]
    for path in ("**/banner.json*", "**/choices"):
        context.unroute(path)
    site.clock.on(minutes=2)
    seen.page.reload()
    seen.delivered()
    [first, last] = [event for event in site.events(seen.visitor) if event.choice == "statistics"]
    assert (first.state, last.state, last.took) == ("Given", "Withdrawn", True)
    assert last.record == sent["id"] and first.at <= last.at <= site.clock()
    site.clock.on(minutes=2)
    seen.page.reload()
    seen.until(PILL)
    assert seen.page.evaluate("[window.ran, kept.allows('statistics')]") == [None, False]
    context.close()


def test_an_own_no_yields_to_no_older_yes_of_the_servers(browser: Browser, site: World) -> None:
    """The no was not taken there, for whatever reason: here it holds, until something later is said elsewhere."""
    seen = visit(browser, site.page(body=site.script("statistics"), region="fr"))
    seen.press("Accept all")
    seen.until("window.ran === 1")
    seen.delivered()
    site.clock.on(minutes=5)
    now = site.clock().isoformat()
    refusal = {"error": "no", "reason": "unknown-notice", "now": now}
    origin = {"Access-Control-Allow-Origin": site.site_url}
    seen.context.route("**/choices", lambda route: route.fulfill(status=422, json=refusal, headers=origin))
    seen.press("Privacy choices")
    seen.press("Refuse all")
    seen.delivered()
    seen.context.unroute("**/choices")
    seen.page.evaluate(  # as a clock that was set back would have it
        "() => { const own = JSON.parse(localStorage.kept); for (const c of Object.values(own.answers)) "
        "c.at = new Date(Date.now() - 36e5).toISOString(); localStorage.kept = JSON.stringify(own) }"
    )
    for _ in range(2):
        site.clock.on(minutes=5)
        seen.page.reload()
        seen.until(PILL)
        assert seen.page.evaluate("[window.ran, kept.allows('statistics')]") == [None, False]
    record(site.company, [New(Person("visitor", (seen.visitor,)), "statistics", "yes", "staff", region="fr")])
    site.clock.on(minutes=5)
    seen.page.reload()
    seen.until("window.ran === 1")  # a later yes, that was given elsewhere
    seen.context.close()


def test_a_yes_that_came_too_late_to_count_does_not_count_here(browser: Browser, site: World) -> None:
    """The server's answer says what is in force: a no from elsewhere, later than this yes."""
    seen = visit(browser, site.page(body=site.script("statistics"), region="fr"))
    seen.press("Refuse all")
    seen.delivered()
    site.clock.on(hours=1)
    record(site.company, [New(Person("visitor", (seen.visitor,)), "statistics", "no", "staff", region="fr")])
    seen.press("Privacy choices")
    seen.press("Accept all")
    seen.delivered()
    seen.until(f"!window.ran && !kept.allows('statistics') && {PILL}")
    assert {name: one["answer"] for name, one in seen.kept()["answers"].items()} == {
        "statistics": "no",
        "advertising": "yes",
    }
    seen.context.close()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, "no backend"),
        (403, "<h1>Forbidden</h1>"),
        (408, ""),
        (404, '{"kind": "Status", "reason": "NotFound"}'),
        (200, "<h1>Please log in to this network</h1>"),
    ],
)
def test_only_kept_itself_ends_an_answer(browser: Browser, site: World, status: int, body: str) -> None:
    """What a proxy, a firewall or a portal says instead leaves it in the queue, and it is sent again."""
    seen = visit(browser, site.page(region="us-ca"))
    shown(seen, "opt-out")
    turned_away: list[int] = []

    def turn_away(route: object) -> None:
        turned_away.append(status)
        headers = {"Access-Control-Allow-Origin": site.site_url}
        route.fulfill(status=status, body=body, headers=headers)  # type: ignore[attr-defined]  # Playwright's route

    seen.context.route("**/choices", turn_away)
    seen.press("Switch off")
    until(lambda: bool(seen.page.evaluate("1")) and len(turned_away) > 1, "it is sent again")
    assert len(seen.kept()["queue"]) == 1 and site.events(seen.visitor) == []
    seen.context.unroute("**/choices")
    seen.page.reload()
    seen.delivered()
    assert {event.state for event in site.events(seen.visitor)} == {"Refused"}
    seen.context.close()


def test_a_flood_from_one_address_is_limited_without_losing_an_honest_answer(
    browser: Browser, tmp_path: Path
) -> None:
    with world(tmp_path / "flooded", answers=Rate(20, 5)) as site:
        url = site.page(region="fr")
        seen = visit(browser, url)
        shown(seen, "opt-in")
        with site.client() as client:
            flood = [client.post("/choices", content="x") for _ in range(200)]
            assert [one.status_code for one in flood].count(400) < 60
            turned_away = next(one for one in flood if one.status_code == 429)
            assert turned_away.json()["reason"] == "too-many" and int(turned_away.headers["Retry-After"]) > 0
            seen.press("Refuse all")
            until(lambda: seen.kept().get("queue") is not None, "the answer is kept")
        seen.delivered()
        assert {event.state for event in site.events(seen.visitor)} == {"Refused"}
        seen.context.close()


def _without_advertising(site: World) -> None:
    """The company does no advertising any more, and says so in its policy."""
    file = site.folder / "policy.yaml"
    lines, kept, skipping = file.read_text().splitlines(), [], False
    for line in lines:
        if line == "  advertising:":
            skipping = True
        elif skipping and not line.startswith("    "):
            skipping = False
        if not skipping and not line.lstrip().startswith(("tastes:", "advertising: {uses")):
            kept.append(line)
    file.write_text("\n".join(kept) + "\n")
