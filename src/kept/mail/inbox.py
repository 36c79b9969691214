"""Messages that came in, each handled once, from whichever side they come."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, Literal, Protocol

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from kept.errors import TransientError
from kept.evidence.keys import Keys
from kept.mail.message import Message, parse
from kept.state.database import State
from kept.state.tables import messages

ROUND: Final = 100  # messages of one round

Outcome = Literal["taken", "known"]
Handle = Callable[[Connection, Message], str | None]
"""What is done about a message, in the transaction that notes it as taken: all of it through that connection, or not at
all. Gives the id of the request it made or joined, if any. `message.automatic` tells what must get no letter back."""


class Inbox:
    """Takes messages, and knows again those it has taken."""

    def __init__(self, state: State, keys: Keys, clock: Callable[[], datetime], handle: Handle) -> None:
        self._state = state
        self._keys = keys
        self._clock = clock
        self._handle = handle

    def take(self, mailbox: str, raw: bytes, envelope: str | None = None) -> Outcome:
        """Handle a message, or find that it was handled before; a crash at any instant does one or the other.

        `mailbox` names where it came from. Raises NoMessage for what is no e-mail, and whatever `handle` raises: then
        nothing is noted and the same message may come again.
        """
        message = parse(raw, envelope)
        key = self._key(mailbox, message)
        with self._state.write() as connection:
            insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
            row = {"id": key, "at": self._clock().astimezone(UTC).isoformat()}
            made = connection.execute(
                insert(messages).values(row).on_conflict_do_nothing().returning(messages.c.id)
            )
            if made.first() is None:
                return "known"
            request = self._handle(connection, message)
            if request is not None:
                connection.execute(update(messages).where(messages.c.id == key).values(request=request))
        return "taken"

    def check(self) -> None:
        """Raise StoreError where Kept's state can't be used: then what went wrong is no fault of a message's."""
        with self._state.write() as connection:
            connection.execute(select(messages.c.id).limit(1)).all()

    def _key(self, mailbox: str, message: Message) -> str:
        """The Message-ID, and what was written: nobody can make a message vanish by using its Message-ID before it,
        and a program that always writes the same one loses nothing. UIDs are left out: they change
        when a mailbox is moved.
        """
        said = [
            mailbox,
            message.message_id,
            message.sender,
            message.date.isoformat() if message.message_id is None and message.date else None,
            message.subject,
            message.text,
        ]
        return self._keys.mac("message", sha256(json.dumps(said).encode()).digest()).hex()


class Mailbox(Protocol):
    """A folder of messages on a mail server; `kept.mail.imap.ImapMailbox` is one."""

    @property
    def name(self) -> str:
        """The same for the same mailbox, with no secret in it."""

    def messages(self, limit: int) -> Iterator[tuple[str, bytes]]:
        """Messages that nobody took from it yet, oldest first: each with a handle for the other two methods."""

    def done(self, handle: str) -> None:
        """Put a message where it isn't seen again."""

    def aside(self, handle: str) -> None:
        """Put a message where staff look at it."""


@dataclass(frozen=True)
class Collected:
    """What became of the messages of one round; `aside`: put where staff look at them, as nothing could be done."""

    taken: int = 0
    known: int = 0
    aside: int = 0


def collect(mailbox: Mailbox, inbox: Inbox, limit: int = ROUND) -> Collected:
    """Take what is in a mailbox: handled first, moved after, so that a crash between the two loses and doubles nothing.

    Raises StoreError (and leaves the rest for the next round) where the mail server or Kept's state fails.
    """
    done = {"taken": 0, "known": 0, "aside": 0}
    for handle, raw in mailbox.messages(limit):
        try:
            outcome: str = inbox.take(mailbox.name, raw)
        except TransientError:
            raise
        except Exception:  # noqa: BLE001 - whatever is wrong with one message, those after it are somebody's requests too
            inbox.check()
            outcome = "aside"
        if outcome == "aside":
            mailbox.aside(handle)
        else:
            mailbox.done(handle)
        done[outcome] += 1
    return Collected(**done)
