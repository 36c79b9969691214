"""A receipt as its person gets it: the page in a real browser, the file checked offline, the export of them all."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import httpx
import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types
from playwright.sync_api import Browser, Page
from starlette.applications import Starlette
from starlette.responses import Response

from examples.sitelucent.generate import build
from kept.company import Company, opened
from kept.controls.choices.records import book, notices
from kept.controls.choices.records.book import New
from kept.controls.choices.records.forgetting import forget
from kept.controls.choices.records.receipt import receipt, verify
from kept.controls.registry import load
from kept.controls.rights.people import Person
from kept.server import receipts
from kept.server.guard import Guard
from kept.server.office import Office
from kept.server.site import STYLES, _style
from tests.acceptance.company import SiteLucent
from tests.acceptance.serving import WAIT, Clock, until

PICTURES = os.environ.get("KEPT_PICTURES")  # a folder for pictures of every page, to look at
WORDS = {
    "en": "May we count visits? Nothing is counted without a yes.",
    "fr": "Pouvons-nous compter les visites ? Rien n'est compté sans un oui.",
    "ar": "هل يمكننا عد الزيارات؟ لا شيء يُعد من دون موافقتك.",
}


@dataclass(frozen=True)
class Serving:
    """A company whose receipts are served on this machine."""

    url: str
    company: Company
    clock: Clock

    def answered(
        self, visitor: str, answer: Literal["yes", "no"], language: str = "en", way: str = "banner"
    ) -> str:
        """Have a visitor answer; the path of their receipt."""
        self.clock.on(hours=1)
        shown = notices.of_words(
            self.company.policy,
            WORDS[language],
            choices=["statistics"],
            language=language,
            kind="banner",
            region="fr",
        )
        notice = notices.keep(self.company, shown) if way == "banner" else None
        who = Person("visitor", (visitor,))
        new = New(who, "statistics", answer, way, notice=notice, region="fr")
        [done] = book.record(self.company, [new])
        return receipts.path_of(self.company, done.record)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", trust_env=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder, clock = tmp_path_factory.mktemp("receipts") / "company", Clock()
    build(folder, 5, 3)
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with (folder / ".env").open("a") as settings:
        settings.write(f"KEPT_PUBLIC_URL={url}\n")

    def open_() -> AbstractContextManager[Company]:
        return opened(load(folder / "policy.yaml"), folder, clock)

    def fault(path: str, wrong: Exception) -> Response:
        return Response(type(wrong).__name__, 500)

    with open_() as company, Office(open_, _no_work) as office:
        app = Guard(Starlette(routes=[*map(_style, STYLES), *receipts.routes(office)]), fault)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        until(lambda: server.started, "the server answers")
        yield Serving(url, company, clock)
        server.should_exit = True
        thread.join(WAIT)
    listening.close()


def _no_work() -> NoReturn:
    raise AssertionError("receipts start no work")


def sound(page: Page, name: str) -> None:
    """No script, no fault that axe-core knows, on a phone and in the dark."""
    assert page.locator("script, iframe, [style], [onclick]").count() == 0
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for width in (360, 1100):
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            if width == 360 or scheme == "light":
                found = Axe().run(page)
                assert found.violations_count == 0, found.generate_report()
            assert page.evaluate(
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            )
            if PICTURES:
                page.screenshot(path=f"{PICTURES}/{name}-{width}-{scheme}.png", full_page=True)
    assert page.locator("h1").count() == 1 and page.locator("main").count() == 1


@pytest.mark.needs("chromium")
def test_a_person_reads_what_they_chose_and_keeps_it(
    browser: Browser, served: Serving, tmp_path: Path
) -> None:
    path = served.answered("1" * 32, "yes", "fr")
    served.answered("1" * 32, "no", way="page")
    page = browser.new_page(accept_downloads=True)
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(f"{served.url}{path}")
    answer = page.locator("section.now").inner_text()
    assert "You said yes" in answer and "Since then: You took your yes back" in answer
    quoted = page.locator("blockquote")
    assert WORDS["fr"] in quoted.inner_text() and quoted.get_attribute("lang") == "fr"
    assert "Stats" in page.locator("dl.told").first.inner_text()
    about = page.locator("main").inner_text()
    assert "told here from our policy as it is today" in about
    assert "It is the file under which you answered." in about
    assert page.get_by_role("link", name="the French CNIL").count() == 1
    sound(page, "receipt")
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download the receipt").click()
    file = tmp_path / downloading.value.suggested_filename
    downloading.value.save_as(file)
    assert file.name.startswith("kept-receipt-") and file.suffix == ".json"
    key = served.company.keys.public.hex()
    assert key in page.content()
    assert [one.state for one in verify(file.read_bytes(), key).answers] == ["ConsentGiven"]
    page.close()
    assert all(url.startswith(served.url) for url in asked) and complaints == []


@pytest.mark.needs("chromium")
def test_words_from_right_to_left_stand_so_on_the_page(browser: Browser, served: Serving) -> None:
    page = browser.new_page()
    page.goto(f"{served.url}{served.answered('2' * 32, 'no', 'ar')}")
    assert page.locator("blockquote").evaluate("one => getComputedStyle(one).direction") == "rtl"
    assert "You said no" in page.locator("section.now").inner_text()
    sound(page, "receipt-ar")
    page.close()


def test_a_receipt_is_kept_by_no_cache_and_found_by_no_search_engine(served: Serving) -> None:
    path = served.answered("3" * 32, "yes")
    for one in (path, f"{path}.json"):
        answer = served.get(one)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store" and answer.headers["X-Robots-Tag"] == "noindex"
        assert "script-src" not in answer.headers["Content-Security-Policy"]
    assert served.get(f"{path}.json").headers["Content-Disposition"].startswith("attachment; filename=")


def test_a_link_that_is_not_ours_or_too_old_shows_nothing(served: Serving) -> None:
    path = served.answered("4" * 32, "yes")
    changed = f"{path[:-1]}{'A' if path[-1] != 'A' else 'B'}"
    for one in (changed, f"{changed}.json", "/receipt/nonsense"):
        assert served.get(one).status_code == 404
    page = served.company.links.make("page", "0" * 32, served.clock.now.replace(year=2100))
    assert served.get(f"/receipt/{page}").status_code == 404
    now = served.clock.now
    served.clock.on(days=731)
    assert served.get(path).status_code == served.get(f"{path}.json").status_code == 410
    served.clock.now = now
    assert served.get(path).status_code == 200


def test_somebody_erased_has_no_page_any_more_and_their_file_still_proves_what_it_says(
    served: Serving,
) -> None:
    path = served.answered("5" * 32, "yes")
    data = served.get(f"{path}.json").content
    forget(served.company, [Person("visitor", ("5" * 32,))])
    assert served.get(path).status_code == served.get(f"{path}.json").status_code == 410
    assert verify(data, served.company.keys.public.hex()).trusted


def test_what_a_notice_holds_is_shown_as_words_and_never_as_markup(served: Serving) -> None:
    shown = notices.of_words(
        served.company.policy, "<script>alert(1)</script>", choices=["statistics"], kind="banner"
    )
    notice = notices.keep(served.company, shown)
    who = Person("visitor", ("6" * 32,))
    [done] = book.record(served.company, [New(who, "statistics", "no", "banner", notice=notice)])
    text = served.get(receipts.path_of(served.company, done.record)).text
    assert "<script" not in text and "&lt;script&gt;" in text


def test_kept_consents_and_kept_verify_on_a_command_line(tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "company", people=5)
    assert made.kept("consents").json() == []
    assert made.kept("consents", "--format", "dpv").json()["@graph"] == []
    with opened(load(made.folder / "policy.yaml"), made.folder) as company:
        ann, visitor = Person("user", ("1",)), Person("visitor", ("7" * 32,))
        given = [New(ann, "alerts", "no", "page"), New(visitor, "statistics", "yes", "api")]
        done = book.record(company, given)
        data = receipt(company, done[1].record)
        key = company.keys.public.hex()
    everybody = made.kept("consents").json()
    assert [one["events"][0]["event_state"] for one in everybody] == ["ConsentRefused", "ConsentGiven"]
    [(email,)] = made.ask("SELECT email FROM users WHERE id = 1")
    assert made.kept("consents", "user:1").json() == made.kept("consents", email).json() == everybody[:1]
    assert made.kept("consents", f"visitor:{'7' * 32}").json() == everybody[1:]
    assert email not in made.kept("consents", email).out
    unknown = made.kept("consents", "nobody@example.org")
    assert unknown.code == 2 and "nobody is known by it" in unknown.err
    graph = made.kept("consents", "--format", "dpv").json()
    assert [one["@type"] for one in graph["@graph"]] == ["dpv:ConsentRecord"] * 2

    file = tmp_path / "receipt.json"
    file.write_text(made.kept("choice", "receipt", done[1].record).out)
    assert made.kept("verify", str(file)).code == 0
    file.write_bytes(data)
    away = SiteLucent(tmp_path / "nowhere")  # checked where the company is not
    away.folder.mkdir()
    assert "signed by the key you named" in away.kept("verify", str(file), "--key", key).out
    assert "compare it with the one published" in away.kept("verify", str(file)).out
    told = away.kept("verify", str(file), "--key", key, "--format", "json").json()
    assert told["trusted"] is True and told["answers"][0]["state"] == "ConsentGiven"
    assert away.kept("verify", str(file), "--since", str(file)).code == 2
    file.write_bytes(data.replace(b"ConsentGiven", b"ConsentGivem", 1))
    refused = away.kept("verify", str(file), "--key", key)
    assert refused.code == 1 and "its signature is wrong" in refused.err
    assert list(away.folder.iterdir()) == []
    assert json.loads(data)["key"] == key
