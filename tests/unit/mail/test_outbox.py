"""Letters wait sealed, are tried again, are sent once by whoever works, and are destroyed when sent."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kept.errors import KeptError, TerminalError, TransientError
from kept.evidence.keys import Keys
from kept.mail.letter import Letter
from kept.mail.outbox import LEASE, LONGEST, TRIES, Outbox, Round, wait
from kept.mail.smtp import Misconfigured, Smtp
from kept.state.database import State

if TYPE_CHECKING:
    from tests.unit.mail.conftest import Clock, Smtpd

SENDER = "privacy@company.example"
LETTER = Letter("ada@people.example", "Your secret request", "Hello Ada, follow the link.")


class Post:
    """Hands nothing over: raises what it is told to, else notes what it was given."""

    def __init__(self, wrong: Callable[[str], KeptError | None] = lambda _: None) -> None:
        self.wrong = wrong
        self.sent: list[str] = []

    def send(self, letter: Letter, id: str, date: datetime) -> None:
        if error := self.wrong(id):
            raise error
        assert letter == LETTER
        self.sent.append(id)


@pytest.fixture
def outbox(state: State, keys: Keys, clock: Clock) -> Outbox:
    return Outbox(state, keys, clock)


def test_a_letter_waits_sealed_and_its_text_is_gone_when_it_is_sent(
    outbox: Outbox, state: State, smtpd: Smtpd, tmp_path: Path, clock: Clock
) -> None:
    box = smtpd()
    id = outbox.put("verify", LETTER, "r-1")
    files = [tmp_path / "kept.sqlite", tmp_path / "kept.sqlite-wal"]
    assert not any(
        b"Ada" in file.read_bytes() or b"ada@" in file.read_bytes() for file in files if file.exists()
    )
    with state.read() as connection:
        sealed = bytes(connection.exec_driver_sql("SELECT sealed FROM letters").scalar_one())
    assert any(sealed in file.read_bytes() for file in files)

    with Smtp(f"smtp://127.0.0.1:{box.port}", SENDER) as post:
        assert outbox.send(post) == Round(sent=1)
        assert outbox.send(post) == Round()
    assert message_from_bytes(box.raw[0])["Message-ID"] == f"<{id}@company.example>"
    assert not any(sealed in file.read_bytes() for file in files if file.exists())
    (entry,) = outbox.entries("r-1")
    assert (entry.state, entry.tries, entry.sent_at, entry.next_at) == ("sent", 1, clock(), None)


def test_a_letter_put_twice_under_one_id_is_one_letter(outbox: Outbox) -> None:
    post = Post()
    for _ in range(2):
        assert outbox.put("verify", LETTER, id="r-1.verify") == "r-1.verify"
    assert outbox.send(post) == Round(sent=1)
    outbox.put("verify", LETTER, id="r-1.verify")
    assert outbox.send(post) == Round()
    assert post.sent == ["r-1.verify"]


def test_a_letter_is_put_with_what_it_tells_of_or_not_at_all(outbox: Outbox, state: State) -> None:
    def broken() -> None:
        with state.write() as connection:
            outbox.put("verify", LETTER, connection=connection)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert outbox.entries() == ()
    with state.write() as connection:
        outbox.put("verify", LETTER, connection=connection)
    assert len(outbox.entries(state="waiting")) == 1


def test_what_may_work_later_is_tried_again_ever_more_rarely_and_given_up_after_days(
    outbox: Outbox, clock: Clock
) -> None:
    post = Post(lambda _: TransientError("the mail server can't be reached (timeout)"))
    id, began, waits = outbox.put("verify", LETTER), clock(), []
    for number in range(1, TRIES):
        assert outbox.send(post) == Round(waiting=1)
        assert outbox.send(post) == Round()  # not before its time
        (entry,) = outbox.entries()
        assert (entry.state, entry.tries, entry.problem) == (
            "waiting", number, "the mail server can't be reached (timeout)"
        )  # fmt: skip
        assert entry.next_at is not None
        waits.append(entry.next_at - clock())
        clock.now = entry.next_at
    assert waits[:4] == [timedelta(minutes=minutes) for minutes in (1, 2, 4, 8)]
    assert waits == sorted(waits) and waits[-1] == LONGEST
    assert timedelta(days=4) < clock() - began < timedelta(days=6)
    assert outbox.send(post) == Round(failed=1)
    assert [entry.state for entry in outbox.entries()] == ["failed"]
    clock.on(days=30)
    assert outbox.send(post) == Round()

    assert outbox.again(id)
    assert outbox.send(Post()) == Round(sent=1)
    assert not outbox.again(id)


def test_one_refused_letter_does_not_stop_the_others(outbox: Outbox) -> None:
    refused = outbox.put("verify", LETTER)
    others = {outbox.put("verify", LETTER) for _ in range(3)}
    post = Post(lambda id: TerminalError("refused the recipient (550)") if id == refused else None)
    assert outbox.send(post) == Round(sent=3, failed=1)
    assert set(post.sent) == others
    (entry,) = outbox.entries(state="failed")
    assert (entry.id, entry.problem) == (refused, "refused the recipient (550)")


def test_a_wrong_setting_is_no_letters_fault(outbox: Outbox, clock: Clock) -> None:
    for _ in range(3):
        outbox.put("verify", LETTER)
    with pytest.raises(Misconfigured):
        outbox.send(Post(lambda _: Misconfigured("the mail server refused user and password (535)")))
    assert [entry.state for entry in outbox.entries()] == ["waiting"] * 3
    assert sum(entry.problem is not None for entry in outbox.entries()) == 1
    clock.on(minutes=2)
    assert outbox.send(Post()) == Round(sent=3)


def test_a_letter_that_cannot_be_unsealed_is_told(outbox: Outbox, state: State, clock: Clock) -> None:
    Outbox(state, Keys(b"s" * 32, b"i" * 32, b"x" * 32), clock).put("verify", LETTER)
    assert outbox.send(Post()) == Round(failed=1)
    assert "can't be opened" in str(outbox.entries()[0].problem)


def test_the_unsent_letters_of_a_request_can_be_destroyed(outbox: Outbox) -> None:
    outbox.put("verify", LETTER, "r-1")
    kept = outbox.put("verify", LETTER, "r-2")
    assert outbox.forget("r-1") == 1
    assert outbox.forget("r-1") == 0
    post = Post()
    assert outbox.send(post) == Round(sent=1)
    assert post.sent == [kept]
    (entry,) = outbox.entries("r-1")
    assert entry.state == "failed" and not outbox.again(entry.id)


def test_many_who_send_at_once_send_each_letter_once(state: State, keys: Keys, clock: Clock) -> None:
    made = {Outbox(state, keys, clock).put("verify", LETTER) for _ in range(60)}
    posts = [Post() for _ in range(6)]

    def work(post: Post) -> Round:
        return Outbox(state, keys, clock).send(post)

    with ThreadPoolExecutor(6) as pool:
        rounds = list(pool.map(work, posts))
    sent = [id for post in posts for id in post.sent]
    assert sorted(sent) == sorted(made)
    assert sum(round.sent for round in rounds) == 60


def _killed(path: Path, port: int, when: str) -> None:
    """A process that dies with a letter in hand: before it is handed over, or after and before that is noted."""
    from tests.unit.mail.conftest import Clock

    class Dying(Smtp):
        def send(self, letter: Letter, id: str, date: datetime) -> None:
            if when == "after":
                super().send(letter, id, date)
            os.kill(os.getpid(), signal.SIGKILL)

    with Dying(f"smtp://127.0.0.1:{port}", SENDER) as post:
        Outbox(State(path), Keys(b"s" * 32, b"i" * 32, b"l" * 32), Clock()).send(post)


@pytest.mark.parametrize(("when", "copies"), [("before", 1), ("after", 2)])
def test_a_process_killed_with_a_letter_in_hand_loses_none(
    state: State, keys: Keys, clock: Clock, smtpd: Smtpd, when: str, copies: int
) -> None:
    box, outbox = smtpd(), Outbox(state, keys, clock)
    id = outbox.put("verify", LETTER)
    dying = multiprocessing.get_context("spawn").Process(target=_killed, args=(state.path, box.port, when))
    dying.start()
    dying.join(60)
    assert dying.exitcode == -signal.SIGKILL
    with Smtp(f"smtp://127.0.0.1:{box.port}", SENDER) as post:
        assert outbox.send(post) == Round()  # it may still be at it
        clock.on(seconds=LEASE.total_seconds())
        assert outbox.send(post) == Round(sent=1)
    ids = [message_from_bytes(raw)["Message-ID"] for raw in box.raw]
    assert ids == [f"<{id}@company.example>"] * copies  # twice, it is one to its reader


def test_waits_double_up_to_four_hours() -> None:
    assert [wait(tries) // timedelta(minutes=1) for tries in (1, 2, 8, 9, 10, 10**6)] == [
        1,
        2,
        128,
        240,
        240,
        240,
    ]
