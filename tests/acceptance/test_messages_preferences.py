"""The page of preferences over real HTTP: every choice, changed without log-in, each change bound to what was shown."""

from __future__ import annotations

import html
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update

from examples.generators import lucent_marketplace
from kept.controls.choices.messages import leave, preferences
from kept.controls.choices.records import notices
from kept.controls.choices.records.book import New, record
from kept.controls.choices.records.history import Event, history
from kept.controls.rights.people import Person
from kept.state.tables import choice_events
from tests.acceptance.serving import Inside, inside, link
from tests.acceptance.test_messages import allowed

READER = Person("subscriber", ("1",))
NAMES = ("newsletter", "promotions.email", "promotions.push", "contact.feedback", "advertising", "location")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Inside]:
    lucent_marketplace.build(tmp_path / "company", 60, 3)
    with inside(tmp_path / "company") as shop:
        yield shop


def member(shop: Inside, where: str = "born_on < '2000-01-01' AND country = 'fr' AND sells = 0") -> Person:
    with sqlite3.connect(shop.folder / "shop.sqlite") as database:
        query = f"SELECT id FROM members WHERE {where} AND closed_at IS NULL ORDER BY id"
        found = database.execute(query).fetchone()
    return Person("member", (str(found[0]),))


class Opened:
    """A page somebody has open: its form, as a browser would send it."""

    def __init__(self, client: httpx.Client, url: str, **headers: str) -> None:
        self.client, self.url, self.headers = client, url, headers
        answer = client.get(url, headers=headers)
        assert answer.status_code == 200, answer.text
        self.text = html.unescape(answer.text)
        self.fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', self.text))
        radios = re.findall(r'<input type="radio" name="([^"]+)" value="(\w+)"( checked)?>', self.text)
        self.offered = list(dict.fromkeys(name for name, _, _ in radios))
        self.marked = {name: value for name, value, checked in radios if checked}

    def send(self, do: str = "save", **marked: str) -> httpx.Response:
        named = {name.replace("__", "."): value for name, value in marked.items()}
        data = self.fields | self.marked | named | {"do": do}
        return self.client.post(self.url, data=data, headers=self.headers, follow_redirects=True)


def page_of(shop: Inside, who: Person) -> str:
    return str(preferences.page_of(shop.company, who))


def since(shop: Inside, who: Person, number: int) -> list[Event]:
    return history(shop.company, who)[number:]


def test_the_page_shows_every_choice_with_nothing_marked_that_nobody_chose(shop: Inside) -> None:
    who = member(shop)
    with shop.client() as client:
        page = Opened(client, page_of(shop, who))
        reader = Opened(client, page_of(shop, READER))
    assert page.offered == [*NAMES[:4], "advertising", "location", "public-activity"]
    assert page.marked == {"contact.feedback": "yes", "public-activity": "yes"}  # on until they say no
    assert reader.offered == ["newsletter"] and reader.marked == {}
    assert "Service news: by e-mail (needed for the service you use)." in page.text
    assert "<script" not in page.text and "Set-Cookie" not in page.text


def test_only_what_somebody_changed_is_recorded_and_bound_to_what_they_saw(shop: Inside) -> None:
    who = member(shop)
    with shop.client() as client:
        told = Opened(client, page_of(shop, who)).send(promotions__push="yes", contact__feedback="no").text
        assert "Your choices are saved." in told
        page = Opened(client, page_of(shop, who))
        assert page.marked["promotions.push"] == "yes" and page.marked["contact.feedback"] == "no"
        assert "You changed nothing" in page.send().text
    events = history(shop.company, who)
    assert [(one.choice, one.scope, one.state, one.way) for one in events] == [
        ("promotions", "push", "Given", "page"),
        ("contact", "feedback", "Refused", "page"),
    ]
    shown = notices.shown(shop.company, str(events[0].notice))
    assert shown is not None
    assert (shown["kind"], shown["language"], shown["region"]) == ("page", "en", "fr")
    assert shown["choices"]["promotions"]["ask"] == "opt-in" and len(shown["layout"]) == 64
    assert who.key[0] not in str(shown["words"])
    assert allowed(shop, who, "promotions", "push") and not allowed(shop, who, "promotions", "email")
    assert not allowed(shop, who, "feedback", "email")


def test_no_to_everything_refuses_all_that_is_not_refused_and_a_second_time_nothing(shop: Inside) -> None:
    who = member(shop)
    with shop.client() as client:
        url = page_of(shop, who)
        Opened(client, url).send(location="no")
        Opened(client, url).send(do="refuse")
        assert set(Opened(client, url).marked.values()) == {"no"}
        assert "You changed nothing" in Opened(client, url).send(do="refuse").text
    assert [one.state for one in history(shop.company, who)] == ["Refused"] * 7


def test_a_page_that_lay_open_gives_nothing_back_that_was_left_meanwhile(shop: Inside) -> None:
    who = member(shop)
    record(shop.company, [New(who, "promotions", "yes", "account")])
    with shop.client() as client:
        page = Opened(client, page_of(shop, who))
        shop.clock.on(minutes=5)
        own = leave.headers(shop.company, who, "promotions")["List-Unsubscribe"].strip("<>")
        client.post(own, data={"List-Unsubscribe": "One-Click"})
        shop.clock.on(minutes=5)
        assert page.marked["promotions.email"] == "yes"
        assert page.send(location="yes").status_code == 200
    assert [one.state for one in since(shop, who, 2)] == ["Withdrawn", "Given"]
    assert not allowed(shop, who, "promotions", "email")


def test_a_form_is_taken_from_its_own_page_alone_and_once(shop: Inside) -> None:
    who, other = member(shop), READER
    with shop.client() as client:
        mine, theirs = Opened(client, page_of(shop, who)), Opened(client, page_of(shop, other))
        theirs.url = mine.url  # somebody else's form, sent to my page
        assert theirs.send(newsletter="yes").status_code == 403
        mine.fields["notice"] = "0" * 64
        assert mine.send(location="yes").status_code == 403
        assert "open for too long" in Opened(client, mine.url).client.post(mine.url, data={"a": "b"}).text
        assert history(shop.company, who) == []
        good = Opened(client, mine.url)
        for _ in range(2):
            assert good.send(location="yes").status_code == 200
        assert len(history(shop.company, who)) == 1
        shop.clock.on(hours=3)
        assert good.send(location="no").status_code == 403
        shop.clock.on(days=366)
        assert client.get(mine.url).status_code == 410
        assert client.get(mine.url + "x").status_code == 404


def test_a_yes_that_counts_twice_waits_for_the_link_in_a_letter(shop: Inside) -> None:
    with shop.client() as client:
        told = Opened(client, page_of(shop, READER) + "?language=de").send(newsletter="yes").text
        assert "Ihr Ja gilt, sobald Sie den Link in diesem Brief öffnen" in told
        assert not allowed(shop, READER, "newsletter", "email")
        shop.work()
        [letter] = shop.box.letters
        assert letter["Subject"] == "LUCENT: bitte bestätigen"
        client.post(link(letter, "confirm"))
        assert Opened(client, page_of(shop, READER)).marked == {"newsletter": "yes"}
    assert allowed(shop, READER, "newsletter", "email")


def test_the_browsers_signal_is_honoured_shown_and_beaten_by_what_they_choose_themselves(
    shop: Inside,
) -> None:
    who = member(shop, "born_on < '2000-01-01' AND country = 'us' AND sells = 0")
    gpc = {"Sec-GPC": "1"}
    assert allowed(shop, who, "advertising")
    with shop.client() as client:
        url = page_of(shop, who)
        assert "Your browser sends" not in Opened(client, url).text
        for value in ("0", "true", "1, 1"):
            client.get(url, headers={"Sec-GPC": value})
        assert allowed(shop, who, "advertising")
        for _ in range(2):
            page = Opened(client, url, **gpc)
            assert "Your browser sends the Global Privacy Control signal, and we honour it" in page.text
            assert page.marked["advertising"] == "no"
        assert [(one.state, one.way) for one in history(shop.company, who)] == [("Refused", "signal")]
        assert not allowed(shop, who, "advertising")
        shop.clock.on(minutes=1)
        page.send(advertising="yes")
        assert allowed(shop, who, "advertising")
        shop.clock.on(minutes=1)
        page = Opened(client, url, **gpc)
        assert page.marked["advertising"] == "yes" and "counts more" in page.text
        assert allowed(shop, who, "advertising", signals=frozenset({"gpc"}))
        assert len(history(shop.company, who)) == 2


def test_a_minor_sees_the_permission_and_only_the_guardian_ends_it(shop: Inside) -> None:
    with sqlite3.connect(shop.folder / "shop.sqlite") as database:
        owner, ward = database.execute(
            "SELECT owner_id, member_id FROM guardians g JOIN members m ON m.id = g.member_id "
            "JOIN members o ON o.id = g.owner_id "
            "WHERE g.ended_at IS NULL AND m.closed_at IS NULL AND o.closed_at IS NULL ORDER BY 1"
        ).fetchone()
    guardian, minor = Person("member", (str(owner),)), Person("member", (str(ward),))
    record(shop.company, [New(minor, "guardian", "yes", "account", decider=guardian)])
    assert allowed(shop, minor, "service-news", "email")
    shop.clock.on(minutes=1)
    with shop.client() as client:
        own = Opened(client, page_of(shop, minor))
        assert "Your guardian allowed it on" in own.text and "guardian" not in own.offered
        own.send(guardian="no")
        own.send(do=re.findall(r'value="(end [^"]+)"', Opened(client, page_of(shop, guardian)).text)[0])
        own.send(do="refuse")
        assert allowed(shop, minor, "service-news", "email")
        theirs = Opened(client, page_of(shop, guardian))
        [button] = re.findall(r'<button name="do" value="(end [^"]+)">', theirs.text)
        assert "You allowed it on" in theirs.text
        shop.clock.on(minutes=1)
        assert "Your choices are saved." in theirs.send(do=button).text
        assert "Your permission doesn't stand" in Opened(client, page_of(shop, guardian)).text
        assert "hasn't allowed it" in Opened(client, page_of(shop, minor)).text
    assert not allowed(shop, minor, "service-news", "email")
    assert history(shop.company, guardian) == []


def test_what_was_withdrawn_by_a_request_is_shown_and_not_given_back_here(shop: Inside) -> None:
    who = member(shop)
    record(shop.company, [New(who, "location", "yes", "account")])
    with shop.client(api=True) as api, shop.client() as client:
        asked = api.post(
            "/api/requests",
            json={"verb": "withdraw", "who": str(who), "scope": ["location"], "proven": True},
        )
        assert asked.status_code in (200, 201), asked.text
        shop.work()
        page = Opened(client, page_of(shop, who))
        assert "You had this withdrawn by a request" in page.text and "location" not in page.offered
        page.send(location="yes")
    assert not allowed(shop, who, "local-content")


def test_a_yes_to_less_than_it_is_about_now_is_asked_anew_and_nothing_is_marked(shop: Inside) -> None:
    who = member(shop)
    record(shop.company, [New(who, "location", "yes", "account")])
    with shop.company.state.write() as connection:  # the policy was another when they said so
        connection.execute(update(choice_events).values(meaning="0" * 64))
    with shop.client() as client:
        page = Opened(client, page_of(shop, who))
        assert "It is about more now, and that more needs a new yes." in page.text
        assert "location" not in page.marked
        shop.clock.on(minutes=1)
        page.send(location="yes")
        assert Opened(client, page_of(shop, who)).marked["location"] == "yes"
    assert allowed(shop, who, "local-content")


def test_the_language_is_the_one_asked_for_else_the_browsers(shop: Inside) -> None:
    url = page_of(shop, READER)
    with shop.client() as client:
        for asked, accepted, lang, title in [
            ("", "fr-CA,fr;q=0.9,en;q=0.8", "fr", "Vos choix"),
            ("?language=bn", "fr", "bn", "আপনার পছন্দ"),
            ("?language=xx", "da, ro;q=0.5", "ro", "Alegerile dumneavoastră"),
            ("?language=../en", "*;q=nonsense", "en", "Your choices"),
            ("", "nl;q=0, de;q=0.1", "de", "Ihre Entscheidungen"),
        ]:
            shown = client.get(url + asked, headers={"Accept-Language": accepted}).text
            assert f'<html lang="{lang}" dir="ltr">' in shown and f"<h1>{title}</h1>" in shown
