"""A mailbox on a real IMAP server: encrypted, bounded, moved in every way servers know."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from kept.errors import KeptError, TerminalError, TransientError
from kept.mail.imap import ImapMailbox
from kept.mail.message import LIMIT, parse

if TYPE_CHECKING:
    from tests.unit.mail.conftest import Certificate, Imapd


def mail(number: int, text: str = "Delete me.") -> bytes:
    return f"From: ada@people.example\r\nSubject: Mail {number}\r\n\r\n{text}\r\n".encode()


@contextmanager
def without(port: int, *capabilities: bytes) -> Iterator[int]:
    """The same server by another port, where it doesn't say that it has some capabilities."""
    listening = socket.create_server(("127.0.0.1", 0))
    talks: list[socket.socket] = []

    def carry(source: socket.socket, target: socket.socket, change: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                if change and b"CAPABILITY" in data:
                    for capability in capabilities:
                        data = re.sub(rb" " + capability + rb"\b", b"", data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            talks.extend((client, server))
            for pair in ((client, server, False), (server, client, True)):
                threading.Thread(target=carry, args=pair, daemon=True).start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    for talk in talks:
        talk.close()
    accepting.join(10)


def test_messages_come_oldest_first_and_no_more_than_asked_for(imapd: Imapd) -> None:
    for number in range(5):
        imapd.put(mail(number))
    with ImapMailbox(imapd.url) as mailbox:
        found = list(mailbox.messages(3))
    assert [parse(raw).subject for _, raw in found] == ["Mail 0", "Mail 1", "Mail 2"]
    assert found[0][1] == mail(0)
    assert imapd.inside() == [f"Mail {number}" for number in range(5)]


def test_of_a_huge_message_only_the_beginning_is_fetched(imapd: Imapd) -> None:
    imapd.put(mail(1, "x" * (3 * LIMIT)))
    with ImapMailbox(imapd.url) as mailbox:
        ((_, raw),) = mailbox.messages(10)
    assert len(raw) == LIMIT + 1
    assert parse(raw).truncated


def test_many_messages_are_listed_in_steps_and_those_marked_as_deleted_are_left_alone(
    imapd: Imapd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kept.mail.imap._STEP", 5)
    for number in range(12):
        imapd.put(mail(number, "x"))
    imapd.mark_deleted(1)
    imapd.mark_deleted(9)
    with ImapMailbox(imapd.url) as mailbox:
        subjects = [parse(raw).subject for _, raw in mailbox.messages(1000)]
    assert subjects == [f"Mail {number}" for number in range(12) if number not in (0, 8)]


@pytest.mark.parametrize("missing", [(b"MOVE",), (b"MOVE", b"UIDPLUS")])
def test_a_server_without_move_is_served_by_copy_and_never_loses_what_others_marked(
    imapd: Imapd, missing: tuple[bytes, ...]
) -> None:
    for number in range(3):
        imapd.put(mail(number))
    imapd.mark_deleted(1)  # by somebody else
    with (
        without(imapd.port, *missing) as port,
        ImapMailbox(imapd.url.replace(str(imapd.port), str(port))) as mailbox,
    ):
        for uid, _ in mailbox.messages(10):
            mailbox.done(uid)
        assert mailbox._capabilities.isdisjoint(capability.decode() for capability in missing)
    with ImapMailbox(imapd.url) as mailbox:
        assert list(mailbox.messages(10)) == []
    assert imapd.inside("-done") == ["Mail 1", "Mail 2"]
    assert "Mail 0" in imapd.inside()


def test_a_message_that_somebody_moved_meanwhile_is_not_moved_twice(imapd: Imapd) -> None:
    for number in range(2):
        imapd.put(mail(number))
    with ImapMailbox(imapd.url) as mailbox, ImapMailbox(imapd.url) as other:
        coming = mailbox.messages(10)
        found = [next(coming)]
        for uid, _ in list(other.messages(10)):
            other.done(uid)
        found += coming  # a server may go on showing what was there when the folder was opened
        for uid, _ in found:
            mailbox.done(uid)
    assert imapd.inside("-done") == ["Mail 0", "Mail 1"]


def test_mail_is_fetched_encrypted(imap_tls_port: int, certificate: Certificate) -> None:
    url = f"imap+starttls://demouser:demopass@localhost:{imap_tls_port}/INBOX"
    with ImapMailbox(url, certificate.client()) as mailbox:
        assert list(mailbox.messages(10)) == []
    with pytest.raises(TerminalError, match="certificate"), ImapMailbox(url):
        pass


def test_a_server_without_encryption_is_not_logged_in_to(imapd: Imapd) -> None:
    url = imapd.url.replace("imap://", "imap+starttls://")
    with pytest.raises(KeptError), ImapMailbox(url):
        pass


def test_a_wrong_password_stops_and_is_not_repeated(imapd: Imapd) -> None:
    with pytest.raises(TerminalError, match="user and password") as raised:
        ImapMailbox(imapd.url.replace("demopass", "hush-hush")).__enter__()
    assert "hush" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_folder_that_is_not_there_is_told(imapd: Imapd) -> None:
    with pytest.raises(TerminalError, match="no such folder"):
        ImapMailbox(imapd.url.replace(f"/{imapd.folder}?", "/nowhere?")).__enter__()


def test_a_server_that_is_away_or_says_nonsense_is_tried_again_later() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    with pytest.raises(TransientError):
        ImapMailbox(f"imap://a:b@127.0.0.1:{port}/INBOX").__enter__()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            talk, _ = listening.accept()
            with talk:
                talk.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        server = threading.Thread(target=answer)
        server.start()
        with pytest.raises(TransientError):
            ImapMailbox(f"imap://a:b@127.0.0.1:{listening.getsockname()[1]}/INBOX").__enter__()
        server.join(10)


@pytest.mark.parametrize(
    "url",
    [
        "imap://kept:hush@mail.company.example/INBOX",
        "imaps://",
        "pop3://localhost",
        "imaps://kept:hush@mail.company.example/INBOX?done=INBOX",
        "imaps://kept:hush@mail.company.example/INBOX?done=Erl%C3%A9digt",
        "imaps://kept:hush@mail.company.example/INBOX%0D%0Aa%20LOGOUT",
    ],
)
def test_a_setting_that_cannot_be_right_is_refused_without_saying_what_it_holds(url: str) -> None:
    with pytest.raises(KeptError, match="KEPT_IMAP_URL") as raised:
        ImapMailbox(url)
    assert "hush" not in str(raised.value)


def test_no_secret_is_in_a_name_or_a_repr(imapd: Imapd) -> None:
    mailbox = ImapMailbox(imapd.url)
    assert mailbox.name == f"demouser@127.0.0.1/{imapd.folder}"
    assert "demopass" not in repr(mailbox.__dict__)
