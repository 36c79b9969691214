"""`kept scan`: what a site sets and whom it reaches, seen in a real browser, against the file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from kept.company import Company, opened
from kept.controls.choices.declare import Choice
from kept.controls.collection.browser import chromium as browser
from kept.controls.collection.browser import scan, seen
from kept.controls.collection.browser.scan import Finding, Scan
from kept.controls.collection.browser.sites import Phasing, Site
from kept.controls.registry import load
from kept.errors import KeptError
from kept.state.tables import choice_events, scans, subjects
from kept.testing.pages import Pages
from tests.acceptance.banner_site import World, world
from tests.acceptance.company import ROOT

pytestmark = pytest.mark.needs("chromium")


def everybody_is_asked(site: World, how: str, *, only: str = "") -> None:
    """Write another way of asking into the policy, of every choice or of one."""
    file = site.folder / "policy.yaml"
    before, _, after = (
        file.read_text().partition(f"  {only}:\n    of: visitor") if only else ("", "", file.read_text())
    )
    after = re.sub(r"\bask: (\{[^}]*\}|[a-z-]+)", f"ask: {how}", after, count=1 if only else 0)
    file.write_text(f"{before}  {only}:\n    of: visitor{after}" if only else after)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[World]:
    """A site on which everybody is asked first, and two pages that hold their statistics back."""
    with world(tmp_path / "company") as made:
        everybody_is_asked(made, "opt-in")
        made.page(
            "/",
            made.script("statistics") + '<a href="/two">two</a> <a href="https://elsewhere.example/">far</a>',
        )
        made.page("/two", made.script("statistics"))
        with (made.folder / ".env").open("a") as settings:
            settings.write("KEPT_SCAN_HOSTS=*.example=127.0.0.1\n")
        yield made


def scanned(site: World, pages: int = 1) -> Scan:
    with company(site) as found:
        return scan.scan(found, "site", pages=pages)


def company(site: World) -> AbstractContextManager[Company]:
    return opened(load(site.folder / "policy.yaml"), site.folder, site.clock)


def told(done: Scan) -> set[tuple[str, str, str, tuple[str, ...]]]:
    return {(one.phase, one.sort, one.name, one.waits) for one in done.findings}


def test_a_site_that_waits_is_clean_in_every_phase(site: World) -> None:
    done = scanned(site, pages=2)
    assert done.findings == () and done.gaps == () and done.banner
    assert [visit.phase for visit in done.visits] == ["before", "refused", "accepted", "withdrawn"]
    assert all(visit.pages == 2 for visit in done.visits)
    assert done.seen("accepted") == ({"_utm_id", "_utm_here"}, {"stats.example"})
    for phase in ("before", "refused", "withdrawn"):
        assert done.seen(phase) == (set(), set())
    with company(site) as found:
        assert scan.newest(found, "site") == done
        [entry] = [one for one in found.ledger.entries() if one["act"] == "scan"]
        assert entry["findings"] == [] and entry["pages"] == 8


def test_whoever_looks_is_nobody_who_chose(site: World) -> None:
    scanned(site)
    with company(site) as found, found.state.read() as connection:
        for table in (choice_events, subjects):
            assert connection.scalar(select(func.count()).select_from(table)) == 0


def test_what_loads_before_the_choice_is_told_in_every_phase_but_after_a_yes(site: World) -> None:
    site.page("/", "<img src='" + site.stats_url + "/pixel.gif' alt=''>")
    done = scanned(site)
    assert told(done) == {
        (phase, "host", "stats.example", ("statistics",)) for phase in ("before", "refused", "withdrawn")
    }


def test_cookies_of_the_server_are_told_by_name_and_never_by_value(site: World) -> None:
    text, headers = site.pages["/"]
    site.pages["/"] = (text, headers | {"Set-Cookie": "_utm_server=a-secret-value; HttpOnly"})
    done = scanned(site)
    waits = {("before", "cookie", "_utm_server", ("statistics",))}
    assert waits <= told(done) and ("withdrawn", "cookie", "_utm_server", ("statistics",)) in told(done)
    site.pages["/"] = (text, headers | {"Set-Cookie": "mystery=a-secret-value"})
    done = scanned(site)
    assert told(done) == {
        (phase, "cookie", "mystery", ()) for phase in ("before", "refused", "accepted", "withdrawn")
    }
    assert "a-secret-value" not in json.dumps(done.as_json())
    assert "nobody declared it" in str(done.findings[0])


def test_a_site_without_the_banner_is_seen_before_any_choice_only_and_proves_nothing(site: World) -> None:
    site.pages["/"] = ("<!doctype html><title>Lumi</title><h1>Lamps</h1>", {})
    done = scanned(site)
    assert not done.banner and len(done.gaps) == 1 and "no banner" in done.gaps[0]
    assert [visit.pages for visit in done.visits] == [1, 0, 0, 0]
    assert proof(site) == "unproven"


def test_where_silence_is_a_yes_the_signal_and_a_no_are_looked_at(site: World) -> None:
    site.edit(
        "    ask: opt-in\n    signals: gpc",
        "    ask: {eea: opt-in, uk: opt-in, elsewhere: opt-out}\n    signals: gpc",
    )
    done = scanned(site)
    assert done.findings == () and done.gaps == ()
    phases = [(visit.phase, visit.region is None) for visit in done.visits]
    assert phases[:4] == [("before", True), ("refused", True), ("accepted", True), ("withdrawn", True)]
    assert [phase for phase, _ in phases[4:]] == ["before", "signal", "refused", "accepted", "withdrawn"]
    by_phase = {visit.phase: visit for visit in done.visits[4:]}
    assert by_phase["before"].hosts == ("stats.example",)
    assert by_phase["signal"].hosts == by_phase["refused"].hosts == by_phase["withdrawn"].hosts == ()


def proof(site: World, later: timedelta = timedelta()) -> str:
    site.clock.on(seconds=later.total_seconds())
    with company(site) as found:
        choice = found.policy.section("choices")["statistics"]
        assert isinstance(choice, Choice)
        return seen.of_choice(found, choice, seen.stores_of(found.policy, choice)).verdict


def test_a_look_counts_for_a_day_and_for_the_policy_it_was_made_under(site: World) -> None:
    assert proof(site) == "unproven"
    scanned(site)
    assert proof(site) == "kept"
    site.edit("version: 2026-03-01", "version: 2026-03-02")
    assert proof(site) == "unproven"
    site.edit("version: 2026-03-02", "version: 2026-03-01")
    assert proof(site) == "kept"
    assert proof(site, timedelta(hours=25)) == "unproven"


def test_the_newest_look_is_kept_and_no_older_one(site: World) -> None:
    scanned(site)
    site.page("/", "<img src='" + site.stats_url + "/pixel.gif' alt=''>")
    site.clock.on(seconds=5)
    scanned(site)
    assert proof(site) == "broken"
    with company(site) as found, found.state.read() as connection:
        assert connection.scalar(select(func.count()).select_from(scans)) == 1


def test_the_command_says_what_was_seen_and_exits_by_it(site: World) -> None:
    good = kept(site, "scan", "--format", "json", "--pages", "1")
    assert good.returncode == 0, good.stderr
    [done] = json.loads(good.stdout)
    assert done["store"] == "site" and done["findings"] == []
    site.page("/", "<img src='" + site.stats_url + "/pixel.gif' alt=''>")
    bad = kept(site, "scan", "site", "--pages", "1")
    assert bad.returncode == 1
    assert (
        "not allowed: a request to `stats.example` before any choice: it waits for statistics" in bad.stdout
    )
    wrong = kept(site, "scan", "app")
    assert wrong.returncode == 2 and "no store of kind `browser`" in wrong.stderr


def test_the_board_looks_first_where_it_is_asked_to(site: World) -> None:
    board = json.loads(kept(site, "prove", "--scan", "--format", "json").stdout)
    [statistics] = [one for one in board["promises"] if one["id"] == "choices.statistics"]
    [seen_] = [one for one in statistics["proofs"] if "visits" in one["measured"]]
    assert seen_["verdict"] == "kept" and seen_["measured"]["visits"] == 4


def kept(site: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "KEPT_DIR": str(site.folder),
    }
    return subprocess.run(
        [sys.executable, "-m", "kept", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_site_of_this_machine_is_looked_at_without_leaving_it(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        "<!doctype html><title>Far</title><img src='http://192.0.2.1/a.png'><img src='http://far.invalid/b.png'>"
    )
    with Pages(tmp_path) as pages:
        place = Site(f"{pages.address}/")
        assert place.is_here and not place.knows("192.0.2.1")
        [visit] = browser.visits(place, [Phasing("before", None)])
    assert visit.hosts == ("192.0.2.1", "far.invalid") and not visit.banner


def test_a_site_that_doesnt_answer_is_an_error_and_no_scan(site: World) -> None:
    site.pages.clear()
    with company(site) as found:
        with pytest.raises(KeptError, match="the site"):
            scan.scan(found, "site")
        assert scan.newest(found, "site") is None


def test_without_a_browser_there_is_no_scan_and_the_help_says_why(
    site: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(browser, "PROGRAMS", ("chromium",))
    with company(site) as found, pytest.raises(KeptError, match="no Chromium"):
        scan.scan(found, "site")


def test_a_finding_says_where_and_why() -> None:
    one = Finding("signal", "us-ca", "storage", "stats_id", ("statistics",))
    assert str(one) == (
        "the stored `stats_id` with the Global Privacy Control signal in California: it waits for statistics"
    )
