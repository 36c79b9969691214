"""A list of contacts of its own (SL-11): whoever wrote to the company isn't on it unless they said so, by itself."""

from __future__ import annotations

from pathlib import Path

from kept.controls.choices.messages import leave
from kept.controls.choices.messages.sending import sending
from kept.controls.rights.people import Person
from tests.acceptance.company import SiteLucent
from tests.acceptance.connected import with_hubspot
from tests.acceptance.serving import inside

LEADS = [Person("lead", (str(number),)) for number in (1, 2, 3)]


def test_a_lead_is_on_the_contact_list_by_a_yes_of_its_own_and_off_it_at_one_click(tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "company")
    with with_hubspot(made) as company:
        assert company.hubspot is not None
        address = company.hubspot.objects["contacts"]["1"].properties["email"]
        asked = company.run("may", "follow-up", "lead:1", "--channel", "email")
        assert asked.code == 1 and "open case, `enquiry`" in asked.out  # what they asked for, and nobody else
        assert company.run("may", "contact-list", address).code == 1
        words = "May we also tell you what is new, once a month?"
        ran = company.run("choice", "set", address, "contact-list", "yes", "--words", words, "--by", "Ada")
        assert ran.code == 0 and "contact-list: Given" in ran.out
        with inside(made.folder) as shop, shop.client() as client:
            shop.clock.on(minutes=5)
            assert sending(shop.company, LEADS, "contact-list", "email") == [LEADS[0]]
            assert sending(shop.company, LEADS, "follow-up", "email") == LEADS
            own = leave.headers(shop.company, LEADS[0], "contact-list")["List-Unsubscribe"].strip("<>")
            assert client.post(own, data={"List-Unsubscribe": "One-Click"}).status_code == 200
            assert sending(shop.company, LEADS, "contact-list", "email") == []
            assert sending(shop.company, LEADS, "follow-up", "email") == LEADS
            assert leave.headers(shop.company, LEADS[0], "follow-up") == {}
        assert "contact-list" in company.run("choice", "show", "lead:1").out


def test_a_yes_without_the_words_it_answers_is_not_written_down(tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "company")
    with with_hubspot(made) as company:
        ran = company.run("choice", "set", "lead:1", "contact-list", "yes", "--by", "Ada")
        assert ran.code == 2 and "a yes is to something" in ran.err
        assert company.run("choice", "show", "lead:1").out == "Nothing was ever chosen.\n"
        assert company.run("choice", "set", "lead:1", "contact-list", "no", "--by", "Ada").code == 0
        assert company.run("may", "nonsense", "lead:1").code == 2
        assert company.run("choice", "link", "lead:1").code == 2  # no pages are served
