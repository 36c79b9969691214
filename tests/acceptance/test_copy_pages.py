"""The pages on which somebody is offered a copy before they are erased, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from examples.generators import lucent_marketplace
from tests.acceptance.serving import inside, link
from tests.acceptance.test_server_pages import sound

pytestmark = pytest.mark.needs("chromium")


def test_the_pages_of_the_offer_have_no_fault(browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "company"
    lucent_marketplace.build(folder, 30, 3)
    with inside(folder) as shop:
        with shop.company.stores["shop"].read() as connection:
            query = "SELECT email FROM applicants WHERE id = 2"
            email = str(connection.exec_driver_sql(query).scalar_one())
        shop.ask("erase", email)
        shop.work()
        verify = link(shop.box.to(email, "was you"), "verify")
        page = browser.new_page()
        page.goto(verify)
        page.get_by_role("button", name="a copy first").click()
        page.wait_for_url("**/request/*")
        page.goto(verify)
        assert page.get_by_role("button", name="without the copy").count() == 1
        sound(page, "copy-making")
        shop.work()
        page.goto(verify)
        sound(page, "copy-there")
        page.get_by_role("link", name="download it").click()
        assert page.get_by_role("link", name="Download your data").count() == 1
        page.goto(verify)
        page.get_by_role("button", name="Yes, it was me").click()
        page.wait_for_url("**/request/*")
        assert page.get_by_text("You asked for a copy first.").count() == 1
        page.close()
