"""Messages: the second yes by letter, the leave by one click, and the check before sending; real letters, real HTTP."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from examples.generators import lucent_marketplace
from kept.controls.choices.deciding import Decision
from kept.controls.choices.enforce import Gate
from kept.controls.choices.messages import confirm, due, leave, preferences
from kept.controls.choices.messages.letter import CONFIRM_FOR
from kept.controls.choices.messages.sending import may_send, sending
from kept.controls.choices.records import notices
from kept.controls.choices.records.book import New, record
from kept.controls.choices.records.forgetting import forget
from kept.controls.choices.records.history import history
from kept.controls.rights.people import Person
from kept.errors import KeptError, TransientError
from kept.state.tables import choice_events, links, sends
from tests.acceptance.connected import Connected
from tests.acceptance.serving import Inside, inside, link, text, until

READER = Person("subscriber", ("1",))
MEMBER = Person("member", ("1",))
ASKED = "Shall we write to you once a week?"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Inside]:
    lucent_marketplace.build(tmp_path / "company", 20, 3)
    with inside(tmp_path / "company") as shop:
        yield shop


def address(shop: Inside, who: Person) -> str:
    with sqlite3.connect(shop.folder / "shop.sqlite") as database:
        query = f"SELECT email FROM {who.kind}s WHERE id = ?"
        [(found,)] = database.execute(query, who.key).fetchall()
    return str(found)


def asked(shop: Inside, who: Person = READER, language: str = "en", way: str = "form") -> str:
    """A yes in a form, and the link in the letter that follows."""
    shown = notices.of_words(shop.company.policy, ASKED, choices=["newsletter"], language=language)
    notice = notices.keep(shop.company, shown)
    before = len(shop.box.letters)
    done = confirm.ask(shop.company, New(who, "newsletter", "yes", way, notice=notice))
    assert (done.written, done.why_not) == (True, None)
    shop.work()
    [letter] = shop.box.letters[before:]
    assert letter["To"] == address(shop, who)
    return link(letter, "confirm")


def confirmed(shop: Inside, who: Person = READER) -> None:
    with shop.client() as client:
        assert client.post(asked(shop, who)).status_code == 200


def allowed(
    shop: Inside, who: Person, purpose: str, channel: str | None = None, signals: frozenset[str] = frozenset()
) -> bool:
    """What the gate decides, once it can: on a machine at its limit it may take a while, and refuses meanwhile."""

    def look() -> Decision | None:
        decision = Gate.of(shop.company).may(who, purpose, channel, signals=signals)
        return None if decision.unsure else decision

    return until(look, "the gate can decide").allowed


def may(shop: Inside, who: Person = READER, purpose: str = "newsletter") -> bool:
    return allowed(shop, who, purpose, "email")


def states(shop: Inside, who: Person = READER) -> list[tuple[str, str, str]]:
    return [(one.choice, one.state, one.way) for one in history(shop.company, who)]


def test_kept_audience_newsletter_before_and_after_a_one_click_leave(tmp_path: Path) -> None:
    lucent_marketplace.build(tmp_path / "company", 20, 3)
    with inside(tmp_path / "company") as shop, shop.client() as client:
        company = Connected(shop.folder)
        assert company.run("audience", "newsletter").out == ""
        ran = company.run(
            *("choice", "set", "subscriber:1", "newsletter", "yes", "--words", ASKED, "--by", "Ada")
        )
        assert ran.code == 0 and "newsletter: Requested" in ran.out
        assert company.run("audience", "newsletter").out == ""
        shop.clock.on(minutes=10)
        shop.work()
        page = link(shop.box.to(address(shop, READER), ASKED), "confirm")
        assert "Do you confirm your yes?" in client.get(page).text
        assert company.run("audience", "newsletter").out == ""
        client.post(page)
        assert company.run("audience", "newsletter", "--channel", "email").out == "subscriber:1\n"
        shown = company.run("audience", "newsletter", "--addresses").out
        assert shown == f"subscriber:1\t{address(shop, READER)}\n"
        assert company.run("may", "newsletter", "subscriber:1").code == 0

        shop.clock.on(minutes=10)
        own = leave.headers(shop.company, READER, "newsletter")["List-Unsubscribe"].strip("<>")
        assert client.post(own, data={"List-Unsubscribe": "One-Click"}).status_code == 200
        assert company.run("audience", "newsletter").out == ""
        refused = company.run("may", "newsletter", "subscriber:1")
        assert (refused.code, refused.out) == (1, "no: they said no to `newsletter` (LM-22, LM-23)\n")
        told = company.run("choice", "show", "subscriber:1").out
        assert re.findall(r"Requested|Given|Withdrawn", told) == ["Requested", "Given", "Withdrawn"]


def test_opening_the_link_confirms_nothing_and_its_button_does_once(shop: Inside) -> None:
    page = asked(shop)
    with shop.client() as client:
        for _ in range(3):
            assert client.get(page).status_code == 200
        client.head(page)
        assert not may(shop)
        done = client.post(page)
        assert done.status_code == 200 and "Thank you, it is confirmed" in done.text
        assert may(shop)
        for again in (client.post(page), client.get(page)):
            assert again.status_code == 409 and "This link was used before" in again.text
    assert states(shop) == [("newsletter", "Requested", "form"), ("newsletter", "Given", "confirmed")]


def test_the_words_of_form_and_letter_and_both_times_are_kept(shop: Inside) -> None:
    page = asked(shop)
    shop.clock.on(hours=3)
    with shop.client() as client:
        client.post(page)
    first, second = history(shop.company, READER)
    assert (second.at - first.at).total_seconds() == 3 * 3600
    assert first.notice == second.notice
    form = notices.shown(shop.company, str(first.notice))
    assert form is not None and form["words"] == {"text": ASKED}
    [entry] = [one for one in shop.company.ledger.entries() if one["act"] == "ask-twice"]
    assert (entry["record"], entry["link"]) == (first.record, second.record)
    letter = notices.shown(shop.company, entry["letter"])
    assert letter is not None and letter["kind"] == "letter"
    [sent] = shop.box.letters
    said = letter["words"]["text"].split("{")[0]
    assert said and text(sent).replace("\r\n", "\n").startswith(said)
    assert sent["Subject"] == letter["words"]["subject"]
    assert address(shop, READER) not in str(letter)


def test_the_letter_has_one_link_and_speaks_the_language_of_the_form(shop: Inside) -> None:
    asked(shop, language="fr")
    [sent] = shop.box.letters
    assert sent["Subject"] == "LUCENT : veuillez confirmer"
    assert len(re.findall("https?://", text(sent))) == 1
    assert sent["List-Unsubscribe"] is None


def test_a_link_is_too_old_after_48_hours_and_a_forged_one_is_no_link(shop: Inside) -> None:
    page = asked(shop)
    with shop.client() as client:
        shop.clock.on(hours=47, minutes=59)
        assert client.get(page).status_code == 200
        shop.clock.on(minutes=1)
        for late in (client.get(page), client.post(page)):
            assert late.status_code == 410 and "This link is too old" in late.text
        assert client.post(page[:-1] + ("A" if page[-1] != "A" else "B")).status_code == 404
        assert client.get(f"{shop.url}/confirm/nonsense").status_code == 404
        other = shop.company.links.make("verify", "1 x", shop.clock() + CONFIRM_FOR)
        assert client.post(f"{shop.url}/confirm/{other}").status_code == 404
    assert not may(shop)


def test_a_no_that_came_after_the_letter_stands(shop: Inside) -> None:
    page = asked(shop)
    shop.clock.on(minutes=1)
    record(shop.company, [New(READER, "newsletter", "no", "page")])
    shop.clock.on(minutes=1)
    with shop.client() as client:
        for answer in (client.get(page), client.post(page)):
            assert answer.status_code == 410 and "You said no in the meantime" in answer.text
    assert not may(shop)


def test_of_two_letters_about_the_same_either_confirms_and_the_other_is_used_then(shop: Inside) -> None:
    first = asked(shop)
    shop.clock.on(hours=1)
    second = asked(shop)
    with shop.client() as client:
        assert client.post(first).status_code == 200
        assert client.post(second).status_code == 409
    assert [state for _, state, _ in states(shop)] == ["Requested", "Requested", "Given"]


def test_nobody_gets_more_than_three_such_letters_a_day(shop: Inside) -> None:
    for _ in range(3):
        asked(shop)
        shop.clock.on(hours=1)
    fourth = confirm.ask(shop.company, New(READER, "newsletter", "yes", "form"))
    assert not fourth.written and fourth.why_not is not None
    shop.work()
    assert len(shop.box.letters) == 3
    asked(shop, Person("subscriber", ("2",)))  # somebody else is not held up
    shop.clock.on(hours=22)
    asked(shop)


def test_a_yes_that_came_another_way_gets_its_letter_from_the_worker_and_an_import_gets_none(
    shop: Inside,
) -> None:
    record(shop.company, [New(READER, "newsletter", "yes", "banner")])
    record(shop.company, [New(Person("subscriber", ("2",)), "newsletter", "yes", "import")])
    shop.work()
    shop.work()
    [letter] = shop.box.letters
    assert letter["To"] == address(shop, READER)
    with shop.client() as client:
        client.post(link(letter, "confirm"))
    assert may(shop)


def test_without_an_address_nothing_is_recorded_and_the_error_says_why(shop: Inside) -> None:
    with sqlite3.connect(shop.folder / "shop.sqlite") as database:
        database.execute("UPDATE subscribers SET email = '' WHERE id = 1")
    with pytest.raises(KeptError, match="no e-mail address of theirs"):
        confirm.ask(shop.company, New(READER, "newsletter", "yes", "form"))
    assert states(shop) == []


def test_a_yes_is_not_confirmed_for_more_than_what_was_asked(shop: Inside) -> None:
    confirm.ask(shop.company, New(READER, "newsletter", "yes", "form"))
    shop.work()
    with shop.company.state.write() as connection:  # the policy was another when they were asked
        connection.execute(update(choice_events).values(meaning="0" * 64))
    with shop.client() as client:
        answer = client.post(link(shop.box.letters[0], "confirm"))
    assert answer.status_code == 410 and "changed" in answer.text
    assert not may(shop)


def test_an_interrupted_confirmation_leaves_the_link_usable(
    shop: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = asked(shop)
    with monkeypatch.context() as patch:  # the disk fails while the link is marked
        patch.setattr(confirm, "update", lambda table: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            confirm.follow(shop.company, page.rpartition("/")[2])
    assert not may(shop) and len(states(shop)) == 1
    with shop.client() as client:
        assert client.post(page).status_code == 200
    assert may(shop)


def one_click(shop: Inside, who: Person = READER, purpose: str = "newsletter") -> str:
    headers = leave.headers(shop.company, who, purpose)
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    [found] = re.findall(r"^<(http://127\.0\.0\.1:\d+/leave/[A-Za-z0-9_-]+)>$", headers["List-Unsubscribe"])
    return str(found)


@pytest.mark.parametrize("multipart", [False, True])
def test_one_click_leaves_at_once_without_cookie_or_page_however_often(shop: Inside, multipart: bool) -> None:
    confirmed(shop)
    own = one_click(shop)
    shop.clock.on(minutes=1)
    with shop.client() as client:
        for _ in range(3):
            assert client.get(own).status_code == 200
        assert may(shop)
        for _ in range(3):
            if multipart:
                answer = client.post(own, files={"List-Unsubscribe": (None, "One-Click")})
            else:
                answer = client.post(own, data={"List-Unsubscribe": "One-Click"})
            assert answer.status_code == 200 and "set-cookie" not in answer.headers
            assert answer.headers["content-type"].startswith("text/plain")
            assert not may(shop)
    assert states(shop)[2:] == [("newsletter", "Withdrawn", "one-click")]


def test_what_is_no_one_click_leaves_nothing(shop: Inside) -> None:
    confirmed(shop)
    own = one_click(shop)
    bodies: list[tuple[str, bytes]] = [
        ("application/x-www-form-urlencoded", b""),
        ("application/x-www-form-urlencoded", b"List-Unsubscribe=Two-Clicks"),
        ("application/x-www-form-urlencoded", b"List-Unsubscribe=One-Click&List-Unsubscribe=No"),
        ("application/x-www-form-urlencoded", b"&".join(b"a=%d" % n for n in range(99))),
        ("application/json", b'{"List-Unsubscribe": "One-Click"}'),
        ("multipart/form-data", b"List-Unsubscribe=One-Click"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n--x--"),
        ("text/plain", b"List-Unsubscribe=One-Click"),
    ]
    with shop.client() as client:
        for kind, body in bodies:
            answer = client.post(own, content=body, headers={"content-type": kind})
            assert answer.status_code == 400, (kind, body)
        forged = own[:-1] + ("A" if own[-1] != "A" else "B")
        assert client.post(forged, data={"List-Unsubscribe": "One-Click"}).status_code == 404
    assert may(shop)


def test_an_old_link_leaves_again_whoever_came_back_and_two_years_later_it_is_too_old(shop: Inside) -> None:
    confirmed(shop)
    own = one_click(shop)
    with shop.client() as client:
        for _ in range(2):
            shop.clock.on(days=2)
            client.post(own, data={"List-Unsubscribe": "One-Click"})
            assert not may(shop)
            shop.clock.on(minutes=1)
            confirmed(shop)
            assert may(shop)
        shop.clock.on(days=731)
        assert client.post(own, data={"List-Unsubscribe": "One-Click"}).status_code == 410


def test_a_leave_takes_just_its_choice_and_its_channel(shop: Inside) -> None:
    record(shop.company, [New(MEMBER, "promotions", "yes", "account")])
    confirmed(shop, MEMBER)
    shop.clock.on(minutes=1)
    with shop.client() as client:
        client.post(one_click(shop, MEMBER, "promotions"), data={"List-Unsubscribe": "One-Click"})
    assert not allowed(shop, MEMBER, "promotions", "email")
    assert allowed(shop, MEMBER, "promotions", "push")
    assert allowed(shop, MEMBER, "newsletter", "email")
    assert allowed(shop, MEMBER, "feedback", "email")


def test_what_is_always_sent_has_nothing_to_leave_and_what_sends_no_letter_has_no_headers(
    shop: Inside,
) -> None:
    assert leave.headers(shop.company, MEMBER, "service-news") == {}
    with pytest.raises(KeptError, match="sends no e-mail"):
        leave.headers(shop.company, MEMBER, "advertising")
    with pytest.raises(KeptError, match="no purpose"):
        leave.headers(shop.company, MEMBER, "nonsense")
    many = leave.headers_of(shop.company, [READER, Person("subscriber", ("2",))], "newsletter")
    assert len({one["List-Unsubscribe"] for one in many.values()}) == 2


def test_links_of_somebody_who_was_erased_answer_kindly(shop: Inside) -> None:
    second = asked(shop)
    own, page = one_click(shop), preferences.page_of(shop.company, READER)
    forget(shop.company, [READER])
    before = shop.company.ledger.size
    with shop.client() as client:
        assert client.post(own, data={"List-Unsubscribe": "One-Click"}).status_code == 200
        for answer in (client.get(own), client.get(str(page)), client.get(second), client.post(second)):
            assert answer.status_code == 410 and "There is nothing left to do" in answer.text
    assert shop.company.ledger.size == before


def test_a_message_that_may_go_is_noted_with_the_answer_it_stands_on(shop: Inside) -> None:
    confirmed(shop)
    readers = [READER, Person("subscriber", ("2",)), READER, Person("subscriber", ("999",))]
    assert sending(shop.company, readers, "newsletter", "email") == [READER]
    assert may_send(shop.company, READER, "newsletter", "email").allowed
    assert not may_send(shop.company, readers[1], "newsletter", "email").allowed
    members = [Person("member", (str(number),)) for number in range(1, 4)]
    assert sending(shop.company, members, "service-news", "email") == members
    with shop.company.state.read() as connection:
        rows = connection.execute(select(sends.c.purpose, sends.c.channel, sends.c.event)).all()
    yes = next(one.number for one in history(shop.company, READER) if one.state == "Given")
    assert rows == [("newsletter", "email", yes)] * 2 + [("service-news", "email", None)] * 3
    with pytest.raises(KeptError, match="sends nothing by sms"):
        sending(shop.company, members, "service-news", "sms")


def test_a_leave_holds_for_the_very_next_message(shop: Inside) -> None:
    confirmed(shop)
    assert sending(shop.company, [READER], "newsletter", "email") == [READER]
    shop.clock.on(seconds=1)
    with shop.client() as client:
        client.post(one_click(shop), data={"List-Unsubscribe": "One-Click"})
    assert sending(shop.company, [READER], "newsletter", "email") == []


def test_a_list_that_nobody_can_decide_on_is_an_error_and_no_empty_list(shop: Inside) -> None:
    confirmed(shop)
    assert sending(shop.company, [READER], "newsletter", "email") == [READER]
    state, aside = shop.folder / "kept.sqlite", shop.folder / "aside"
    shop.company.state.engine.dispose()
    state.rename(aside)
    state.mkdir()
    time.sleep(1.2)  # what was known is too old by then
    with pytest.raises(TransientError, match="nobody can say"):
        sending(shop.company, [READER], "newsletter", "email")
    state.rmdir()
    aside.rename(state)
    assert sending(shop.company, [READER], "newsletter", "email") == [READER]


def test_a_letter_waits_while_nobody_is_told_twice(shop: Inside) -> None:
    done = confirm.ask(shop.company, New(READER, "newsletter", "yes", "form"))
    assert done.written and due.write_due(shop.company) == 0
    with shop.company.state.read() as connection:
        assert len(connection.execute(select(links.c.id)).all()) == 1


def test_while_nobody_can_say_an_address_the_letter_waits_and_goes_out_afterwards(shop: Inside) -> None:
    record(shop.company, [New(READER, "newsletter", "yes", "banner")])
    database = shop.folder / "shop.sqlite"
    database.rename(shop.folder / "elsewhere")
    shop.work()
    assert shop.box.letters == []
    (shop.folder / "elsewhere").rename(database)
    shop.work()
    with shop.client() as client:
        client.post(link(shop.box.to(address(shop, READER), "LUCENT"), "confirm"))
    assert may(shop)


def test_a_state_of_many_workers_asks_twice_leaves_and_notes_what_is_sent_just_so(
    tmp_path: Path, fresh_postgresql: str
) -> None:
    lucent_marketplace.build(tmp_path / "company", 20, 3)
    url = fresh_postgresql.replace("postgresql+psycopg://", "postgresql://")
    with inside(tmp_path / "company", KEPT_STATE_URL=url) as shop, shop.client() as client:
        record(shop.company, [New(READER, "newsletter", "yes", "banner")])
        shop.work()
        page = link(shop.box.to(address(shop, READER), "LUCENT"), "confirm")
        assert [client.post(page).status_code for _ in range(2)] == [200, 409]
        assert sending(shop.company, [READER, MEMBER], "newsletter", "email") == [READER]
        shop.clock.on(minutes=1)
        for _ in range(2):
            client.post(one_click(shop), data={"List-Unsubscribe": "One-Click"})
        assert sending(shop.company, [READER, MEMBER], "newsletter", "email") == []
        own = client.get(str(preferences.page_of(shop.company, READER)))
        assert "You said no on" in own.text
        assert [state for _, state, _ in states(shop)] == ["Requested", "Given", "Withdrawn"]
        shop.work()


def test_a_yes_that_lapsed_is_ended_by_the_worker(shop: Inside) -> None:
    confirmed(shop)
    over = (shop.clock() - timedelta(minutes=1)).isoformat()
    with shop.company.state.write() as connection:
        connection.execute(update(choice_events).where(choice_events.c.state == "Given").values(until=over))
    shop.work()
    assert states(shop)[-1] == ("newsletter", "Expired", "lapse")
    assert len([one for one in shop.company.ledger.entries() if one["act"] == "choose"]) == 3
