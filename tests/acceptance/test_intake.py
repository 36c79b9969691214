"""What comes in by itself: the form, the mailbox, the pipe. Who is known, what becomes of it, what nobody learns."""

from __future__ import annotations

import imaplib
import re
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from examples.generators import lucent_marketplace
from kept.company import Company
from kept.controls.acts import kinds
from kept.controls.rights import intake, register, tasks
from kept.controls.rights.desk import Desk
from kept.errors import TransientError
from kept.mail.pipe import receive
from tests.acceptance.company import ROOT, SiteLucent
from tests.acceptance.serving import Inside, Served, free_port, inside, link, served, text, until


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Inside]:
    made = SiteLucent.made(tmp_path / "company")
    with inside(made.folder) as shop:
        yield shop


def address(shop: Inside | Served, number: int) -> str:
    [(email,)] = SiteLucent(shop.folder).ask("SELECT email FROM users WHERE id = ?", number)
    return str(email)


def mail(sender: str, subject: str, says: str, *headers: str, number: int = 1) -> bytes:
    head = [f"From: {sender}", f"Subject: {subject}", f"Message-ID: <m{number}@mail.example>", *headers]
    return ("\r\n".join(head) + f"\r\n\r\n{says}\r\n").encode()


def take(shop: Inside, raw: bytes, envelope: str | None = None) -> int:
    """Hand a message to the pipe, and let the worker look at it."""
    code = receive(BytesIO(raw), intake.inbox(shop.company), envelope)
    shop.work()
    return code


def requests(company: Company) -> list[register.Request]:
    return register.listing(company, state=None)


# ── E-mail ──


def test_a_mail_from_a_known_address_with_a_clear_wish_is_a_request_that_awaits_its_person(
    shop: Inside,
) -> None:
    email = address(shop, 2)
    assert take(shop, mail(f"Somebody <{email.upper()}>", "Hello", "Please delete my account.")) == 0
    [request] = requests(shop.company)
    assert (request.verb, request.channel, request.awaits) == ("erase", "email", "identity")
    assert request.subject(shop.company).words == "Hello\n\nPlease delete my account."
    letter = shop.box.to(email, "was you")  # the address on record, as it stands there
    assert "to have your data erased" in text(letter)
    assert tasks.listing(shop.company) == []


def test_the_same_message_twice_is_one_request_and_another_one_joins_it(shop: Inside) -> None:
    email = address(shop, 2)
    for number in (1, 1, 2):
        take(shop, mail(email, "x", "Please delete my account.", number=number))
    assert len(requests(shop.company)) == 1
    assert (
        len(shop.box.letters) == 2
    )  # the second message brings a new link, and the first link works no more
    with shop.client() as client:
        first, second = (link(letter, "verify") for letter in shop.box.letters)
        assert client.get(first).status_code == 409
        assert client.get(second).status_code == 200


def test_a_known_sender_who_wants_something_unclear_is_a_task_and_gets_no_letter(shop: Inside) -> None:
    take(shop, mail(address(shop, 2), "Question", "What about my invoice of last week?"))
    assert requests(shop.company) == [] and shop.box.letters == []
    [task] = tasks.listing(shop.company)
    assert task.whom == (address(shop, 2), "user:2") and "my invoice" in (task.what or "")


def test_an_unknown_sender_is_a_task_and_no_letter_goes_to_a_stranger(shop: Inside) -> None:
    take(shop, mail("stranger@mail.example", "Hi", "Delete my data."))
    assert requests(shop.company) == [] and shop.box.letters == []
    [task] = tasks.listing(shop.company)
    assert task.whom == ("stranger@mail.example",)
    assert "to have your data erased" in (task.what or "")
    tasks.do(shop.company, task.id, "Ada")
    assert SiteLucent(shop.folder).files_with("stranger@mail.example") == []


def test_one_stranger_makes_at_most_five_tasks_a_day_and_staff_learn_of_the_rest(shop: Inside) -> None:
    for number in range(12):
        take(shop, mail("stranger@mail.example", f"Nr {number}", "Delete my data.", number=number))
    found = tasks.listing(shop.company)
    assert sum(task.place == "the mailbox" for task in found) == intake.MAILS_A_DAY
    assert sum("more came than" in (task.what or "") for task in found) == 1
    shop.clock.on(days=1)
    take(shop, mail("stranger@mail.example", "Nr 99", "Delete my data.", number=99))
    assert sum(task.place == "the mailbox" for task in tasks.listing(shop.company)) == intake.MAILS_A_DAY + 1


@pytest.mark.parametrize(
    ("header", "envelope"),
    [("Auto-Submitted: auto-replied", None), ("List-Id: <x.example>", None), ("X-Nothing: at all", "")],
)
def test_a_programs_message_gets_no_letter_and_makes_no_request(
    shop: Inside, header: str, envelope: str | None
) -> None:
    take(shop, mail(address(shop, 2), "Delete", "Please delete my account.", header), envelope)
    assert requests(shop.company) == [] and shop.box.letters == [] and tasks.listing(shop.company) == []


def test_two_people_with_one_address_are_a_task_and_neither_is_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "company"
    lucent_marketplace.build(folder, 50, 3)
    with inside(folder) as shop:
        with shop.company.stores["shop"].write() as connection:
            [email] = connection.exec_driver_sql("SELECT email FROM subscribers ORDER BY id LIMIT 1").one()
            connection.exec_driver_sql("UPDATE suppliers SET email = ? WHERE id = 2", (email,))
        take(shop, mail(email, "x", "Please delete my account."))
        assert shop.ask("erase", email).status_code == 303
        shop.work()
        assert requests(shop.company) == [] and shop.box.letters == []
        found = tasks.listing(shop.company)
        assert all("several people" in (task.what or "") for task in found)
        assert {task.place for task in found} == {"the mailbox", "the form"}


def test_what_comes_in_while_the_database_is_away_waits_and_says_so(shop: Inside) -> None:
    email, database = address(shop, 2), shop.folder / "app.sqlite"
    database.rename(shop.folder / "away")
    take(shop, mail(email, "x", "Please delete my account."))
    waits = intake.waiting(shop.company)
    assert waits.number == 1 and waits.problem is not None and email not in waits.problem
    assert "1 that came in" in SiteLucent(shop.folder).kept("request", "list").out
    database.unlink(missing_ok=True)
    (shop.folder / "away").rename(database)
    shop.clock.on(hours=1)
    shop.work()
    assert intake.waiting(shop.company).number == 0
    assert [request.verb for request in requests(shop.company)] == ["erase"]


def test_what_was_looked_at_by_two_workers_at_once_is_one_request(shop: Inside) -> None:
    arrival = intake.Arrival("email", address(shop, 2), "access", "x")
    company = shop.company
    with company.state.write() as connection:
        intake.put(company, connection, arrival)
        intake.put(company, connection, arrival)
    other = Desk(company, kinds(company))
    taking = other.receive

    def interrupted(*given: object, **named: object) -> register.Request:
        other.receive = taking  # type: ignore[method-assign]  # once: another worker comes first
        intake.look(Desk(company, kinds(company)))
        return taking(*given, **named)  # type: ignore[arg-type]

    other.receive = interrupted  # type: ignore[method-assign]
    intake.look(other)
    intake.look(other)
    assert len(requests(company)) == 1 and intake.waiting(company).number == 0


HOSTILE = "=?utf-8?q?Delete_my_account_=3Cscript=3Ealert=281=29=3C/script=3E_=1B[31m_$=28touch_x=29?="


def test_a_hostile_subject_and_attachment_become_a_request_and_nothing_of_it_is_run_or_readable(
    shop: Inside,
) -> None:
    email = address(shop, 2)
    body = (
        f"From: {email}\r\nSubject: {HOSTILE}\r\nMessage-ID: <h@mail.example>\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nPlease delete my account. {{ 7 * 7 }} secret-words\r\n"
        '--b\r\nContent-Type: application/x-sh; name="../../x.sh"\r\nContent-Disposition: attachment; '
        'filename="../../x.sh"\r\n\r\ntouch x; hostile-attachment\r\n--b--\r\n'
    ).encode()
    assert take(shop, body) == 0
    [request] = requests(shop.company)
    assert request.verb == "erase"
    made = SiteLucent(shop.folder)
    for trace in ("secret-words", "hostile-attachment", "<script>"):
        assert made.files_with(trace) == []
    assert not list(shop.folder.rglob("x.sh")) and not (ROOT / "x").exists()
    shown = made.kept("request", "show", request.id)
    assert "\x1b" not in shown.out and "secret-words" in shown.out
    letter = shop.box.to(email, "was you")
    assert "script" not in text(letter) and "script" not in str(letter["Subject"])
    with shop.client() as client:
        assert "script" not in client.get(link(letter, "verify")).text


def test_a_hostile_mail_of_a_stranger_is_a_task_that_prints_no_control_characters(shop: Inside) -> None:
    take(shop, mail("evil@mail.example", HOSTILE, "\x1b[2J\x07 Delete \u202e my data"))
    told = SiteLucent(shop.folder).kept("task", "list").out
    assert "evil@mail.example" in told
    assert not any(character in told for character in "\x1b\x07\u202e")


def test_the_pipe_takes_a_message_and_asks_to_try_again_while_the_company_can_not_be_opened(
    tmp_path: Path,
) -> None:
    made = SiteLucent.made(tmp_path / "company")

    def piped(raw: bytes) -> int:
        command = [sys.executable, "-m", "kept", "mail", "receive", "--dir", str(made.folder)]
        environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, input=raw, env=environment, capture_output=True, timeout=60).returncode

    raw = mail("ada@mail.example", "x", "Delete my data.")
    assert piped(raw) == 0
    assert piped(b"this is no e-mail") == 65
    (made.folder / "policy.yaml").rename(made.folder / "away.yaml")
    assert piped(raw) == 75


def test_a_mailbox_is_emptied_and_its_messages_become_requests(tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "company")
    port = free_port()
    command = "import sys; from pymap.main import main; sys.exit(main())"
    server = subprocess.Popen(
        [sys.executable, "-c", command, "--host", "127.0.0.1", "--port", str(port), "--no-tls", "dict"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def opened() -> imaplib.IMAP4 | None:
            try:
                return imaplib.IMAP4("127.0.0.1", port, timeout=10)
            except OSError:
                return None

        box = until(opened, "the mailbox opens")
        box.login("demouser", "demopass")
        box.create("requests")
        url = f"imap://demouser:demopass@127.0.0.1:{port}/requests"
        with served(made.folder, "--no-work", KEPT_IMAP_URL=url) as site:
            email = address(site, 2)
            raw = mail(email, "x", "Please send me a copy of my personal data.")
            assert box.append("requests", "", "", raw)[0] == "OK"
            ran = made.kept("mail", "fetch")
            assert ran.code == 0 and "1 messages taken" in ran.out, ran.err
            assert made.kept("mail", "fetch").out.startswith("0 messages taken")
            made.kept("work")
            box.logout()
            assert "to see what we hold" in text(site.box.to(email, "was you"))
    finally:
        server.kill()
        server.wait()


# ── The form ──


def test_the_form_answers_the_same_for_an_address_that_is_known_and_one_that_is_not(shop: Inside) -> None:
    known, unknown = shop.ask("access", address(shop, 2)), shop.ask("access", "nobody@mail.example")
    for answer in (known, unknown):
        answer.headers.pop("date", None)
    assert (known.status_code, known.content, dict(known.headers)) == (
        unknown.status_code,
        unknown.content,
        dict(unknown.headers),
    )
    assert intake.waiting(shop.company).number == 2  # the same work was done for both
    shop.work()
    assert [request.verb for request in requests(shop.company)] == ["access"]
    assert len(shop.box.letters) == 1
    assert SiteLucent(shop.folder).files_with("nobody@mail.example") == []
    assert (
        _unknown(shop.company) == 0
    )  # in this policy somebody may be known in a store nobody can ask: a task
    assert [task.place for task in tasks.listing(shop.company)] == ["the form"]


def _unknown(company: Company) -> int:
    return sum("unknown" in part for part in company.state.notes("intake"))


def test_an_address_with_a_kind_of_person_in_it_leads_to_nobody(shop: Inside) -> None:
    answer = shop.ask("access", "user:2")
    assert answer.status_code == 400 and "not an e-mail address" in answer.text
    assert intake.waiting(shop.company).number == 0


def test_words_are_shown_again_escaped_when_the_form_was_wrong(shop: Inside) -> None:
    answer = shop.ask("access", '"><script>alert(1)</script>', "</textarea><script>x</script>")
    assert answer.status_code == 400
    assert "<script>" not in answer.text and "&lt;script&gt;" in answer.text


def test_who_fills_in_what_people_do_not_see_is_thanked_and_nothing_is_kept(shop: Inside) -> None:
    with shop.client() as client:
        [token] = re.findall(r'name="form" value="([^"]+)"', client.get("/ask").text)
        filled = {"verb": "erase", "address": address(shop, 2), "form": token, "website": "http://x.example"}
        answer = client.post("/ask", data=filled)
    assert answer.status_code == 303 and answer.headers["location"].endswith("/ask/sent")
    assert intake.waiting(shop.company).number == 0


def test_asking_again_and_again_writes_at_most_three_more_letters_a_day(shop: Inside) -> None:
    for _ in range(8):
        assert shop.ask("erase", address(shop, 2)).status_code == 303
        shop.work()
    assert len(requests(shop.company)) == 1
    assert len(shop.box.letters) == 1 + intake.LETTERS_A_DAY


def test_more_than_a_person_would_ask_is_turned_away_from_one_place(shop: Inside) -> None:
    told = [shop.ask("access", f"nobody{number}@mail.example").status_code for number in range(25)]
    assert told[:20] == [303] * 20 and set(told[20:]) == {429}


def test_a_correction_in_the_persons_own_words_waits_for_staff_who_say_which_column(shop: Inside) -> None:
    email, company = address(shop, 2), shop.company
    assert shop.ask("correct", email).status_code == 400  # it must be said what is wrong
    shop.ask("correct", email, "My name is Augusta, not what you have.")
    shop.work()
    with shop.client() as client:
        assert client.post(link(shop.box.to(email, "was you"), "verify")).status_code == 303
    [request] = requests(company)
    assert request.awaits == "answer"
    made = SiteLucent(shop.folder)
    assert "My name is Augusta" in made.kept("request", "show", request.id).out
    settled = made.kept(
        "request", "settle", request.id, "--set", "app.users.first_name=Augusta", "--by", "Ada"
    )
    assert settled.code == 0, settled.err
    shop.work()
    assert register.get(company, request.id).state == "done"
    assert made.ask("SELECT first_name FROM users WHERE id = 2") == [("Augusta",)]


def test_a_company_that_can_not_write_offers_no_form_and_makes_tasks_of_mails(tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "company")
    with inside(made.folder, KEPT_SMTP_URL="") as shop, shop.client() as client:
        answer = client.get("/ask")
        assert answer.status_code == 503 and "support@sitelucent.example" in answer.text
        take(shop, mail(address(shop, 2), "x", "Please delete my account."))
        [task] = tasks.listing(shop.company)
        assert "make sure who asks" in (task.what or "")
        assert requests(shop.company) == []


def test_what_fails_for_a_while_is_tried_again_later_each_time(shop: Inside) -> None:
    wrong = TransientError("a store is away")
    company = shop.company
    with company.state.write() as connection:
        intake.put(company, connection, intake.Arrival("form", address(shop, 2), "access"))
    desk = Desk(company, kinds(company))

    def fails(*_: object, **__: object) -> register.Request:
        raise wrong

    desk.receive = fails  # type: ignore[method-assign]
    waits = []
    for _ in range(4):
        seconds = 0
        while not intake.is_due(company):
            shop.clock.on(seconds=1)
            seconds += 1
        waits.append(seconds)
        assert intake.look(desk) == {"waits": 1}
    assert waits == [0, 30, 60, 120]
