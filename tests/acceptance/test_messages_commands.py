"""`kept choice`, `kept may`, `kept audience`: what staff write down for people, and what it changes."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from examples.generators import lucent_marketplace
from tests.acceptance.connected import Connected
from tests.acceptance.serving import inside


@pytest.fixture
def shop(tmp_path: Path) -> Connected:
    lucent_marketplace.build(tmp_path / "company", 60, 3)
    return Connected(tmp_path / "company")


def test_what_a_party_must_agree_to_waits_for_both(shop: Connected) -> None:
    said = ("yes", "--words", "Shall we show your goods elsewhere?", "--by", "Ada")
    assert shop.run("choice", "set", "member:1", "off-site", *said).code == 0
    ran = shop.run("may", "off-site", "member:1")
    assert ran.code == 1 and "LUCENT has not agreed" in ran.out
    ran = shop.run("choice", "set", "member:1", "off-site", *said, "--as", "lucent")
    assert (ran.code, ran.out.split(",")[0]) == (0, "off-site (with lucent): Given")
    assert shop.run("may", "off-site", "member:1").code == 0
    assert shop.run("audience", "off-site").out == "member:1\n"
    shown = json.loads(shop.run("choice", "show", "member:1", "--format", "json").out)
    assert [(one["scope"], one["way"], one["by"]) for one in shown] == [
        ("", "staff", "Ada"),
        ("with lucent", "staff", "Ada"),
    ]
    assert shop.run("choice", "set", "member:1", "off-site", *said, "--as", "stripe").code == 2


def test_a_choice_by_channel_is_set_for_one_or_for_all(shop: Connected) -> None:
    said = ("yes", "--words", "May we tell you of offers?", "--by", "Ada")
    assert shop.run("choice", "set", "member:2", "promotions", *said, "--scope", "push").code == 0
    assert shop.run("may", "promotions", "member:2", "--channel", "push").code == 0
    assert shop.run("may", "promotions", "member:2", "--channel", "email").code == 1
    assert shop.run("choice", "set", "member:2", "promotions", "no", "--by", "Ada").code == 0
    ran = shop.run("may", "promotions", "member:2", "--channel", "push", "--format", "json")
    assert ran.code == 1 and json.loads(ran.out)["choice"] == "promotions"
    told = shop.run("choice", "show", "member:2").out.splitlines()
    assert len(told) == 3 and all("by Ada" in line for line in told)


def test_a_permission_is_written_down_for_the_guardian_and_for_nobody_else(shop: Connected) -> None:
    with sqlite3.connect(shop.folder / "shop.sqlite") as database:
        owner, ward = database.execute(
            "SELECT owner_id, member_id FROM guardians WHERE ended_at IS NULL ORDER BY owner_id"
        ).fetchone()
    said = ("guardian", "yes", "--words", "Do you allow this account?", "--by", "Ada")
    assert shop.run("may", "service-news", f"member:{ward}").code == 1
    assert shop.run("choice", "set", f"member:{ward}", *said).code == 2
    assert shop.run("choice", "set", f"member:{ward}", *said, "--guardian", "member:2").code == 2
    assert shop.run("choice", "set", f"member:{ward}", *said, "--guardian", f"member:{owner}").code == 0
    assert shop.run("may", "service-news", f"member:{ward}").code == 0


def test_what_needs_a_letter_is_not_written_down_where_none_can_be_sent(shop: Connected) -> None:
    ran = shop.run("choice", "set", "member:2", "newsletter", "yes", "--words", "Shall we?", "--by", "Ada")
    assert ran.code == 2 and "KEPT_SMTP_URL and KEPT_PUBLIC_URL" in ran.err
    assert shop.run("choice", "show", "member:2").out == "Nothing was ever chosen.\n"
    for wrong in (
        ("choice", "set", "member:2", "nonsense", "no", "--by", "Ada"),
        ("choice", "set", "member:9999", "newsletter", "no", "--by", "Ada"),
        ("choice", "set", "member:2", "location", "yes", "--words", "?", "--by", "Ada", "--region", "moon"),
        ("choice", "set", "member:2", "promotions", "no", "--by", "Ada", "--scope", "pigeon"),
        ("choice", "link", "member:2"),
        ("audience", "nonsense"),
        ("audience", "newsletter", "--channel", "pigeon"),
    ):
        ran = shop.run(*wrong)
        assert (ran.code, ran.out) == (2, ""), wrong


def test_the_link_to_somebodys_page_opens_it_and_no_other(shop: Connected) -> None:
    with inside(shop.folder) as served, served.client() as client:
        first, second = (shop.run("choice", "link", f"member:{number}").out.strip() for number in (2, 3))
        served.clock.on(minutes=1)
        assert first != second
        assert client.get(first).status_code == 200
        assert client.get(f"{served.url}/preferences/{first.rpartition('/')[2][::-1]}").status_code == 404
