"""Letters: no input makes another letter of one, and a plain text is always there."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kept.errors import KeptError
from kept.mail.letter import Letter, checked

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
SENDER = "privacy@company.example"
HEADERS = {
    *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Auto-Response-Suppress"),
    *("MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
}


def sent(letter: Letter) -> EmailMessage:
    raw = letter.message(SENDER, "letter-1", NOW).as_bytes()
    made = message_from_bytes(raw, policy=default)
    assert isinstance(made, EmailMessage)
    return made


def test_a_letter_is_an_e_mail_that_no_program_answers() -> None:
    made = sent(Letter("ada@people.example", "Your request", "Hello,\n\nfollow the link.\n"))
    assert made["To"] == "ada@people.example"
    assert made["From"] == SENDER
    assert made["Message-ID"] == "<letter-1@company.example>"
    assert made["Auto-Submitted"] == "auto-generated"
    assert made["Date"].datetime == NOW
    assert made.get_content().replace("\r\n", "\n") == "Hello,\n\nfollow the link.\n"


def test_html_stands_beside_the_plain_text_and_never_alone() -> None:
    made = sent(Letter("ada@people.example", "x", "Hello ✓", html="<p>Hello ✓</p>"))
    assert made.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in made.iter_parts()] == ["text/plain", "text/html"]
    with pytest.raises(KeptError, match="no text"):
        Letter("ada@people.example", "x", " \n", html="<p>Hello</p>")


@given(st.text(max_size=400), st.text(min_size=1, max_size=200))
def test_whatever_stands_in_subject_and_text_adds_no_header_and_no_recipient(subject: str, text: str) -> None:
    made = sent(Letter("ada@people.example", subject, f".{text}"))
    assert set(made.keys()) == HEADERS
    assert made["To"] == "ada@people.example"
    assert len(made.get_all("Subject", [])) == 1


def test_a_line_break_in_a_subject_is_a_space() -> None:
    made = sent(Letter("ada@people.example", "Hello\r\nBcc: eve@evil.example\n\nbody", "x"))
    assert made["Subject"] == "Hello Bcc: eve@evil.example body"
    assert made["Bcc"] is None


@pytest.mark.parametrize(
    "address",
    [
        "ada@people.example\r\nBcc: eve@evil.example",
        "ada@people.example\n",
        "ada@people.example, eve@evil.example",
        "Ada <ada@people.example>",
        "ada@people.example\x00",
        "ada@people.example\u2028x",
        "ada eve@people.example",
        "ada@@people.example",
        "@people.example",
        "ada@",
        "ada@.example",
        "ada@people..example",
        "ada",
        "",
        "a" * 65 + "@people.example",
        "a@" + "b" * 64 + ".example",
        "\ud800@people.example",
        '"ada eve"@people.example',
    ],
)
def test_an_address_is_one_bare_address_and_is_not_repeated_in_the_error(address: str) -> None:
    for to, reply_to in ((address, None), ("a@b.example", address)):
        with pytest.raises(KeptError, match="is not an e-mail address") as raised:
            Letter(to, "x", "y", reply_to=reply_to)
        assert len(address) < 4 or address not in str(raised.value)


@pytest.mark.parametrize(
    "address",
    ["ada@people.example", "a.b+c@people.example", "o'neil@people.example", "müller@bücher.example", "a@b"],
)
def test_addresses_as_people_have_them_are_taken(address: str) -> None:
    assert checked(address, "it") == address
    assert Letter(address, "x", "y").message(SENDER, "l", NOW)["To"] == address


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Bcc", "eve@evil.example"),
        ("TO", "eve@evil.example"),
        ("Content-Type", "text/html"),
        ("X-A\r\nBcc", "x"),
        ("X-A", "x\r\nBcc: eve@evil.example"),
        ("X-A:", "x"),
        ("", "x"),
        ("Résent", "x"),
        ("Resent-To", "eve@evil.example"),
        ("X-A", "x" * 1000),
    ],
)
def test_a_header_that_is_no_plain_addition_is_refused(name: str, value: str) -> None:
    with pytest.raises(KeptError, match="header that can't be sent"):
        Letter("ada@people.example", "x", "y", headers={name: value})


def test_a_letter_may_bring_a_header_of_its_own() -> None:
    made = sent(
        Letter("ada@people.example", "x", "y", headers={"List-Unsubscribe": "<https://company.example/u>"})
    )
    assert made["List-Unsubscribe"] == "<https://company.example/u>"


@given(st.text(max_size=50), st.text(min_size=1, max_size=50), st.none() | st.text(max_size=50))
def test_a_letter_is_the_same_after_it_was_sealed(subject: str, text: str, html: str | None) -> None:
    letter = Letter("ada@people.example", subject, f".{text}", html, "help@company.example", {"X-A": "b"})
    assert Letter.loads(letter.dumps()) == letter
