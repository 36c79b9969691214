"""A mail server on this machine (aiosmtpd) that takes letters for everybody, and a company that sends through it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Postbox:
    """What came, in order: to whom, and the message."""

    port: int = 0
    letters: list[tuple[str, EmailMessage]] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 aiosmtpd's name
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.letters += [(to, message) for to in envelope.rcpt_tos]
        return "250 OK"

    def to(self, address: str) -> list[str]:
        """The texts of the letters to somebody."""
        return [message.get_content() for to, message in self.letters if to == address]

    def used_by(self, folder: Path) -> None:
        """Have the company in a folder send its letters here."""
        with (folder / ".env").open("a") as settings:
            settings.write(
                f"\nKEPT_SMTP_URL=smtp://127.0.0.1:{self.port}\nKEPT_SENDER=kept@company.example\n"
            )


@contextmanager
def postbox() -> Iterator[Postbox]:
    """The server, while the block lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        box = Postbox(free.getsockname()[1])
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
