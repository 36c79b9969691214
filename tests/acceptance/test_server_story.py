"""From the form to the download, in a real browser, with real letters in between."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.acceptance.company import SiteLucent
from tests.acceptance.serving import link, served

pytestmark = pytest.mark.needs("chromium")


def test_a_person_asks_through_the_form_and_downloads_what_is_held(browser: Browser, tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "company")
    [(email,)] = made.ask("SELECT email FROM users WHERE id = 2")
    with served(made.folder) as site:
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.goto(f"{site.url}/ask")
        page.get_by_label("See what we hold about you").check()
        page.get_by_label("Your e-mail address").fill(email)
        page.get_by_role("button", name="Send").click()
        assert page.get_by_role("heading", level=1).inner_text() == "Thank you"

        asked = site.box.to(email, "was you")
        page.goto(link(asked, "verify"))
        page.get_by_role("button", name="Yes, it was me").click()
        assert (
            page.get_by_role("heading", level=1).inner_text() == "You asked us to see what we hold about you."
        )

        done = site.box.to(email, "put together")
        page.goto(link(done, "request"))
        assert page.get_by_role("heading", name="It is done").count() == 1
        with page.expect_download() as downloading:
            page.get_by_role("link", name="Download your data").click()
        downloading.value.save_as(tmp_path / "answer.zip")
        with zipfile.ZipFile(tmp_path / "answer.zip") as answer:
            told = json.loads(answer.read("data.json"))
        assert told["data"]["account"]["held"]["app.users"][0]["email"] == email
        assert email not in page.content()
        page.close()
        said = site.said()
    assert email not in said and "/request/" not in said and "internal error" not in said
    held = [file for file in made.files_with(email) if not file.startswith("answers/")]
    assert held == ["app.sqlite"]  # whatever Kept keeps for itself is sealed
