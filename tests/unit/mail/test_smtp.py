"""Sending through a real SMTP server: encrypted, refused, cut off."""

from __future__ import annotations

import socket
import threading
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from typing import TYPE_CHECKING

import pytest

from kept.errors import KeptError, TerminalError, TransientError
from kept.mail.letter import Letter
from kept.mail.smtp import Misconfigured, Smtp

if TYPE_CHECKING:
    from tests.unit.mail.conftest import Certificate, Smtpd

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
SENDER = "privacy@company.example"
LETTER = Letter("ada@people.example", "Your request", "Hello,\n.\nfollow the link.\n")


def test_a_letter_arrives_as_it_was_written(smtpd: Smtpd) -> None:
    box = smtpd()
    with Smtp(f"smtp://127.0.0.1:{box.port}", SENDER) as post:
        post.send(LETTER, "l-1", NOW)
        post.send(LETTER, "l-2", NOW)
    assert box.recipients == ["ada@people.example"] * 2
    assert len(box.sessions) == 1  # one connection for both
    first = message_from_bytes(box.raw[0], policy=default)
    assert first["Message-ID"] == "<l-1@company.example>"
    assert first.get_content().replace("\r\n", "\n") == LETTER.text


@pytest.mark.parametrize(("tls", "scheme"), [("starttls", "smtp+starttls"), ("implicit", "smtps")])
def test_a_letter_travels_encrypted(smtpd: Smtpd, certificate: Certificate, tls: str, scheme: str) -> None:
    box = smtpd(tls=tls)
    user = "kept:p%40ss%2Fword@" if tls == "starttls" else ""
    with Smtp(f"{scheme}://{user}localhost:{box.port}", SENDER, certificate.client()) as post:
        post.send(LETTER, "l-1", NOW)
    assert len(box.raw) == 1


def test_a_certificate_nobody_vouches_for_stops_the_mail(smtpd: Smtpd) -> None:
    box = smtpd(tls="implicit")
    with (
        Smtp(f"smtps://localhost:{box.port}", SENDER) as post,
        pytest.raises(Misconfigured, match="certificate"),
    ):
        post.send(LETTER, "l-1", NOW)
    assert box.raw == []


def test_a_server_without_encryption_gets_neither_letter_nor_password(
    smtpd: Smtpd, certificate: Certificate
) -> None:
    box = smtpd()
    url = f"smtp+starttls://kept:secret@127.0.0.1:{box.port}"
    with Smtp(url, SENDER, certificate.client()) as post, pytest.raises(Misconfigured, match="no encryption"):
        post.send(LETTER, "l-1", NOW)
    assert box.raw == []


def test_a_wrong_password_is_a_wrong_setting_and_is_never_repeated(
    smtpd: Smtpd, certificate: Certificate
) -> None:
    box = smtpd(tls="starttls")
    url = f"smtp+starttls://kept:hush-hush@localhost:{box.port}"
    with Smtp(url, SENDER, certificate.client()) as post, pytest.raises(Misconfigured) as raised:
        post.send(LETTER, "l-1", NOW)
    assert raised.value.message == "the mail server refused user and password (535 5.7.8)"
    assert "hush" not in repr(post.__dict__)


@pytest.mark.parametrize(
    ("at_rcpt", "at_data", "error", "message"),
    [
        ("550 5.1.1 <ada@people.example> unknown", None, TerminalError, "the recipient (550 5.1.1)"),
        ("452 4.2.2 ada@people.example is full", None, TransientError, "the recipient (452 4.2.2)"),
        (None, "554 5.7.1 spam from ada@people.example", TerminalError, "the letter (554 5.7.1)"),
        (None, "451 try later", TransientError, "the letter (451)"),
    ],
)
def test_a_refusal_is_told_by_its_number_without_the_address(
    smtpd: Smtpd, at_rcpt: str | None, at_data: str | None, error: type[KeptError], message: str
) -> None:
    box = smtpd()
    box.at_rcpt, box.at_data = at_rcpt, at_data
    with Smtp(f"smtp://127.0.0.1:{box.port}", SENDER) as post:
        with pytest.raises(error) as raised:
            post.send(LETTER, "l-1", NOW)
        assert raised.value.message == f"the mail server refused {message}"
        assert "ada" not in str(raised.value)
        box.at_rcpt = box.at_data = None
        post.send(LETTER, "l-1", NOW)
    assert len(box.raw) == 1


def test_a_server_that_is_away_is_tried_again_later(smtpd: Smtpd) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    with Smtp(f"smtp://127.0.0.1:{port}", SENDER) as post:
        with pytest.raises(TransientError, match="can't be reached"):
            post.send(LETTER, "l-1", NOW)
        box = smtpd(port=port)
        post.send(LETTER, "l-1", NOW)
    assert len(box.raw) == 1


def test_a_connection_that_breaks_in_the_middle_is_no_sent_letter() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            talk, _ = listening.accept()
            with talk, talk.makefile("rwb", buffering=0) as lines:
                lines.write(b"220 here\r\n")
                for line in lines:
                    if line.upper().startswith(b"DATA"):
                        return  # gone, before it took anything
                    lines.write(b"250 yes\r\n")

        server = threading.Thread(target=answer)
        server.start()
        port = listening.getsockname()[1]
        with Smtp(f"smtp://127.0.0.1:{port}", SENDER) as post, pytest.raises(TransientError, match="broke"):
            post.send(LETTER, "l-1", NOW)
        server.join(10)


def test_an_address_in_another_script_is_refused_where_the_server_cannot_carry_it(smtpd: Smtpd) -> None:
    letter = Letter("müller@people.example", "x", "y")
    box = smtpd(enable_SMTPUTF8=False)
    with Smtp(f"smtp://127.0.0.1:{box.port}", SENDER) as post, pytest.raises(TerminalError, match="script"):
        post.send(letter, "l-1", NOW)
    other = smtpd(enable_SMTPUTF8=True)
    with Smtp(f"smtp://127.0.0.1:{other.port}", SENDER) as post:
        post.send(letter, "l-1", NOW)
    assert other.recipients == ["müller@people.example"]


@pytest.mark.parametrize(
    "url",
    [
        "smtp://mail.company.example",
        "smtp://kept:hush@10.0.0.1",
        "smtp://127.0.0.1.evil.example",
        "http://localhost",
        "localhost:25",
        "smtps://",
        "smtps://kept:hush@host:port",
        "smtps://kept:hu%0D%0Ash@mail.company.example",
        "",
    ],
)
def test_a_setting_that_cannot_be_right_is_refused_without_saying_what_it_holds(url: str) -> None:
    with pytest.raises(KeptError, match="KEPT_SMTP_URL") as raised:
        Smtp(url, SENDER)
    assert "hush" not in str(raised.value) and "company" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["smtp://localhost", "smtp://127.0.0.2:26", "smtp://[::1]", "smtps://mail.company.example"]
)
def test_only_this_machine_is_spoken_to_in_the_clear(url: str) -> None:
    Smtp(url, SENDER).close()
