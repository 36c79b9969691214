"""SiteLucent's public site, and a day on which its app and its people ask Kept before they write to anybody.

`site/` are the pages, `stats/` what the maker of the statistics serves. What is here is what any company says to Kept:
it records what somebody chose, and asks before it sends.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.choices.messages.sending import sending
from kept.controls.choices.records import notices
from kept.controls.choices.records.book import New, record
from kept.controls.rights.people import Person

HERE: Final = Path(__file__).parent
ADDRESS: Final = "WEBSITE_URL"  # the setting in which the policy finds the site
PRIVACY: Final = "https://privacy.sitelucent.example"  # where Kept is, as the pages say it
STATISTICS: Final = "stats.example"  # the host of the statistics, served from `stats/`
FILLED: Final = "/hit"

WAITING: Final = (
    '<script type="text/plain" data-kept="statistics" data-src="https://stats.example/s.js"></script>'
)
AT_ONCE: Final = '<script src="https://stats.example/s.js"></script>'

ASKED: Final = (
    "Would you like to hear from us by e-mail when we have something new, four times a year at most? You can leave the "
    "list at any time."
)
SWITCHED: Final = "Alerts about your data: on or off. We send one when a figure leaves the range you set."
USERS: Final = 200  # who gets messages in the demo


def build(directory: Path) -> None:
    """The site's pages, in the company's folder."""
    for folder in ("site", "stats"):
        shutil.copytree(HERE / folder, directory / folder, dirs_exist_ok=True)


def plant(directory: Path) -> Mapping[str, str]:
    """Somebody pastes the statistics' own tag into a page, so that it loads before anybody chose."""
    _replace(directory, WAITING, AT_ONCE)
    what = "1 page loads the statistics before anybody chose"
    return {"collection.site-visits": what, "choices.statistics": what}


def mend(directory: Path) -> None:
    """The tag waits for the choice again."""
    _replace(directory, AT_ONCE, WAITING)


def live(company: Company) -> dict[str, int]:
    """People answer, and messages go to those who may have them; how many of each purpose went."""
    leads, users = _leads(company), _users(company)
    _answers(company, leads, users)
    went = {"contact-list": len(sending(company, leads, "contact-list", "email"))}
    for purpose in ("reset", "status", "alerts"):
        went[purpose] = len(sending(company, users, purpose, "email"))
    leaving = [who for who in leads if int(who.key[0]) % 3 == 1][:1]
    record(company, [New(who, "contact-list", "no", "letter", by="representative 3") for who in leaving])
    went["contact-list"] += len(sending(company, leaving, "contact-list", "email"))  # to nobody
    return went


def _answers(company: Company, leads: Sequence[Person], users: Sequence[Person]) -> None:
    """In the follow-up every lead is asked once; some say yes. Some users have switched alerts off."""
    asked = notices.keep(
        company, notices.of_words(company.policy, ASKED, choices=["contact-list"], kind="letter")
    )
    switch = notices.keep(
        company, notices.of_words(company.policy, SWITCHED, choices=["alerts"], kind="page")
    )
    said = [
        New(
            who,
            "contact-list",
            "yes" if int(who.key[0]) % 3 == 1 else "no",
            "letter",
            notice=asked,
            by="representative 3",
        )
        for who in leads
        if int(who.key[0]) % 3
    ]
    said += [New(who, "alerts", "no", "account", notice=switch) for who in users[::10]]
    record(company, said)


def _leads(company: Company) -> list[Person]:
    there = company.records["crm"].existing([str(number) for number in range(1, USERS)])
    return [Person("lead", (one,)) for one in sorted(there, key=int)]


def _users(company: Company) -> list[Person]:
    query = "SELECT id FROM users WHERE deactivated_at IS NULL ORDER BY id LIMIT :most"
    with company.stores["app"].read() as connection:
        return [Person("user", (str(id),)) for id in connection.scalars(sa.text(query), {"most": USERS})]


def _replace(directory: Path, old: str, new: str) -> None:
    file = directory / "site" / "index.html"
    file.write_text(file.read_text("utf-8").replace(old, new), "utf-8")
