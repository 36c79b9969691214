"""Messages that come in are handled once, from a mailbox or a pipe, whatever crashes and whatever they hold."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection, insert, select

from kept.errors import KeptError, StoreError, TransientError
from kept.evidence.keys import Keys
from kept.mail.imap import ImapMailbox
from kept.mail.inbox import Collected, Inbox, collect
from kept.mail.message import LIMIT, Message, NoMessage
from kept.mail.pipe import BAD_DATA, TAKEN, TRY_AGAIN, receive
from kept.state.database import State
from kept.state.tables import messages, tasks

if TYPE_CHECKING:
    from tests.unit.mail.conftest import Clock, Imapd


def mail(number: int, text: str = "Please delete my data.", subject: str | None = None) -> bytes:
    head = f"From: ada@people.example\r\nSubject: {subject or f'Mail {number}'}\r\n"
    head += f"Message-ID: <m{number}@people.example>\r\n"
    return f"{head}\r\n{text}\r\n".encode()


def handle(connection: Connection, message: Message) -> str | None:
    """What is done about a message here: a task for staff, in the same transaction."""
    if "poison" in message.text:
        raise ValueError("poison")
    if "later" in message.text:
        raise TransientError("the state is locked")
    if "doubled" in message.text:
        connection.execute(insert(messages).values(id="x", at="x"))
        connection.execute(insert(messages).values(id="x", at="x"))
    if "refused" in message.text:
        raise KeptError("no such right")
    if message.automatic:
        return None
    made = {"id": message.message_id, "act": message.subject, "place": "mail", "due": "2026-12-22"}
    connection.execute(insert(tasks).values(made))
    return f"request of {message.message_id}"


@pytest.fixture
def inbox(state: State, keys: Keys, clock: Clock) -> Inbox:
    return Inbox(state, keys, clock, handle)


def done(state: State) -> list[str]:
    with state.read() as connection:
        return list(connection.scalars(select(tasks.c.act).order_by(tasks.c.act)))


def test_a_message_is_handled_once_however_often_it_comes(inbox: Inbox, state: State) -> None:
    assert [inbox.take("a", mail(1)) for _ in range(3)] == ["taken", "known", "known"]
    assert done(state) == ["Mail 1"]
    with state.read() as connection:
        row = connection.execute(select(messages)).one()
    assert row.request == "request of m1@people.example"
    assert len(row.id) == 64 and "people" not in row.id


def test_what_is_noted_of_a_message_tells_nothing_without_the_keys(
    state: State, clock: Clock, inbox: Inbox, keys: Keys
) -> None:
    inbox.take("a", mail(1))
    other = Inbox(state, Keys(b"s" * 32, b"i" * 32, b"x" * 32), clock, lambda connection, message: None)
    assert other.take("a", mail(1)) == "taken"


def test_a_redelivered_copy_with_other_marks_of_its_way_is_the_same(inbox: Inbox) -> None:
    assert inbox.take("a", mail(1)) == "taken"
    assert inbox.take("a", b"Received: from relay.example\r\n" + mail(1)) == "known"


def test_nobody_makes_a_message_vanish_by_using_its_message_id_first(
    state: State, keys: Keys, clock: Clock
) -> None:
    inbox = Inbox(state, keys, clock, handle_freely)
    assert inbox.take("a", mail(1, subject="From eve").replace(b"m1@", b"m2@")) == "taken"
    assert inbox.take("a", mail(2)) == "taken"


def test_one_message_id_used_by_two_senders_is_two_messages(state: State, keys: Keys, clock: Clock) -> None:
    inbox = Inbox(state, keys, clock, handle_freely)
    assert inbox.take("a", mail(1)) == "taken"
    assert inbox.take("a", mail(1).replace(b"ada@people", b"bob@people")) == "taken"


def handle_freely(connection: Connection, message: Message) -> str | None:
    return None


def test_messages_without_message_id_are_told_apart_by_what_they_say(
    state: State, keys: Keys, clock: Clock
) -> None:
    inbox = Inbox(state, keys, clock, handle_freely)
    plain = b"From: ada@people.example\r\nDate: Sun, 22 Nov 2026 10:30:00 +0100\r\n\r\nDelete me\r\n"
    assert inbox.take("a", plain) == "taken"
    assert inbox.take("a", plain) == "known"
    assert inbox.take("a", plain.replace(b"22 Nov", b"23 Nov")) == "taken"
    assert inbox.take("a", plain.replace(b"Delete", b"Correct")) == "taken"


def test_what_is_done_about_a_message_and_its_note_are_one(inbox: Inbox, state: State) -> None:
    with pytest.raises(ValueError, match="poison"):
        inbox.take("a", mail(1, "poison"))
    with state.read() as connection:
        assert connection.execute(select(messages)).all() == []
    with pytest.raises(NoMessage):
        inbox.take("a", b"no mail at all")


def test_many_who_take_the_same_message_handle_it_once(state: State, keys: Keys, clock: Clock) -> None:
    def take(number: int) -> str:
        return Inbox(state, keys, clock, handle).take("a", mail(number % 5))

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(take, range(40)))
    assert outcomes.count("taken") == 5
    assert len(done(state)) == 5


def test_a_mailbox_is_emptied_into_another_folder(imapd: Imapd, inbox: Inbox, state: State) -> None:
    for number in range(3):
        imapd.put(mail(number))
    with ImapMailbox(imapd.url) as mailbox:
        assert collect(mailbox, inbox) == Collected(taken=3)
    with ImapMailbox(imapd.url) as mailbox:
        assert collect(mailbox, inbox) == Collected()
    assert done(state) == ["Mail 0", "Mail 1", "Mail 2"]
    assert imapd.inside() == []
    assert imapd.inside("-done") == ["Mail 0", "Mail 1", "Mail 2"]
    assert not any("Seen" in line for line in imapd.inside("-done", flags=True))  # staff haven't read them


def test_a_message_nothing_can_be_done_about_is_put_aside_and_stops_no_other(
    imapd: Imapd, inbox: Inbox, state: State
) -> None:
    for number, text in enumerate(("poison", "refused", "doubled", "Delete me")):
        imapd.put(mail(number, text))
    with ImapMailbox(imapd.url) as mailbox:
        assert collect(mailbox, inbox) == Collected(taken=1, aside=3)
    assert imapd.inside("-aside") == ["Mail 0", "Mail 1", "Mail 2"]
    assert done(state) == ["Mail 3"]


def test_a_damaged_state_puts_no_message_aside(imapd: Imapd, inbox: Inbox, state: State) -> None:
    imapd.put(mail(1))
    state.checkpoint()
    state.engine.dispose()
    assert state.path is not None
    with state.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (state.path.stat().st_size - 4096))
    with ImapMailbox(imapd.url) as mailbox, pytest.raises(StoreError):
        collect(mailbox, inbox)
    assert imapd.inside() == ["Mail 1"]


def test_when_the_state_fails_messages_stay_where_they_are(imapd: Imapd, inbox: Inbox) -> None:
    for number, text in enumerate(("Delete me", "later", "Delete me")):
        imapd.put(mail(number, text))
    with ImapMailbox(imapd.url) as mailbox, pytest.raises(TransientError):
        collect(mailbox, inbox)
    assert imapd.inside() == ["Mail 1", "Mail 2"]


def test_a_message_taken_before_a_crash_is_only_moved_after_it(
    imapd: Imapd, inbox: Inbox, state: State
) -> None:
    imapd.put(mail(1))
    with ImapMailbox(imapd.url) as mailbox:
        assert inbox.take(mailbox.name, mail(1)) == "taken"  # and then the process died
    with ImapMailbox(imapd.url) as mailbox:
        assert collect(mailbox, inbox) == Collected(known=1)
    assert (done(state), imapd.inside(), imapd.inside("-done")) == (["Mail 1"], [], ["Mail 1"])


def _killed(path: str, url: str, step: int) -> None:
    """Collects a mailbox and dies at the given one of its steps."""
    from pathlib import Path

    left = [step]

    def count() -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    class Dying(ImapMailbox):
        def done(self, handle: str) -> None:
            count()
            super().done(handle)
            count()

    def dying(connection: Connection, message: Message) -> str | None:
        count()
        made = handle(connection, message)
        count()
        return made

    from tests.unit.mail.conftest import Clock

    keys = Keys(b"s" * 32, b"i" * 32, b"l" * 32)
    with Dying(url) as mailbox:
        collect(mailbox, Inbox(State(Path(path)), keys, Clock(), dying))


def test_a_kill_at_any_step_loses_and_doubles_nothing(imapd: Imapd, inbox: Inbox, state: State) -> None:
    for number in range(3):
        imapd.put(mail(number))
    killed = 0
    for step in (0, 1, 2, 3, 5, 2):
        dying = multiprocessing.get_context("spawn").Process(
            target=_killed, args=(str(state.path), imapd.url, step)
        )
        dying.start()
        dying.join(60)
        killed += dying.exitcode == -signal.SIGKILL
    assert killed >= 4
    with ImapMailbox(imapd.url) as mailbox:
        collect(mailbox, inbox)
    assert done(state) == ["Mail 0", "Mail 1", "Mail 2"]
    assert (imapd.inside(), imapd.inside("-done")) == ([], ["Mail 0", "Mail 1", "Mail 2"])


class Pipe:
    """A mail server that hands a message over."""

    def __init__(self, raw: bytes) -> None:
        self.stream = BytesIO(raw)

    def into(self, inbox: Inbox, envelope: str | None = None) -> int:
        return receive(self.stream, inbox, envelope)


def test_a_mail_server_is_told_how_its_message_fared(inbox: Inbox, state: State) -> None:
    assert Pipe(mail(1)).into(inbox, "ada@people.example") == TAKEN == 0
    assert Pipe(mail(1)).into(inbox) == TAKEN
    assert Pipe(b"no mail").into(inbox) == BAD_DATA == 65
    assert Pipe(b"").into(inbox) == BAD_DATA
    for text in ("later", "poison", "refused"):
        assert Pipe(mail(2, text)).into(inbox) == TRY_AGAIN == 75
    assert done(state) == ["Mail 1"]


def test_a_bounce_handed_over_is_taken_and_nothing_is_made_of_it(inbox: Inbox, state: State) -> None:
    assert Pipe(mail(1)).into(inbox, envelope="") == TAKEN
    assert done(state) == []


def test_a_huge_message_is_read_to_its_end_and_kept_to_its_text(inbox: Inbox, state: State) -> None:
    pipe = Pipe(mail(1) + b"x" * (5 * LIMIT))
    assert pipe.into(inbox) == TAKEN
    assert pipe.stream.read() == b""
    assert done(state) == ["Mail 1"]


def test_a_stream_that_breaks_is_tried_again(inbox: Inbox) -> None:
    class Broken(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("gone")

    assert receive(Broken(), inbox) == TRY_AGAIN


def test_a_state_that_is_locked_is_tried_again(
    inbox: Inbox, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    with state.engine.connect() as other:
        other.exec_driver_sql("PRAGMA busy_timeout=1")
    state.engine.dispose()
    monkeypatch.setattr("kept.state.database.BUSY_MILLISECONDS", 50)
    assert state.path is not None
    holder = State(state.path)
    with holder.write():
        assert Pipe(mail(1)).into(inbox) == TRY_AGAIN
    holder.close()
    assert Pipe(mail(1)).into(inbox) == TAKEN
