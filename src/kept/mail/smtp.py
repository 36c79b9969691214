"""Sending through the company's mail server."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Final

from kept.errors import KeptError, TerminalError, TransientError
from kept.mail.address import Server, served
from kept.mail.letter import Letter, checked

TIMEOUT: Final = 30.0  # seconds for each answer of the server
WHERE: Final = "the mail server"
PORTS: Final = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


class Misconfigured(TerminalError):
    """No letter can be sent before somebody mends the setting: no fault of a letter's own."""


class Smtp:
    """A way to send letters; the connection is kept from one letter to the next. Use it in a `with` block."""

    def __init__(self, url: str, sender: str, context: ssl.SSLContext | None = None) -> None:
        """`url` is KEPT_SMTP_URL: `smtps://user:password@host`, `smtp+starttls://…`, or `smtp://` to this machine.

        `sender` is the address letters come from. KeptError for a setting that can't be right, or that would carry
        letters or a password over a network unencrypted.
        """
        self._server: Server = served(url, "KEPT_SMTP_URL", PORTS, plain="smtp")
        self._sender = checked(sender, "the address letters are sent from")
        self._context = context or ssl.create_default_context()
        self._connection: smtplib.SMTP | None = None

    def __enter__(self) -> Smtp:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Say goodbye to the server."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(smtplib.SMTPException, OSError):
                connection.quit()
            connection.close()

    def send(self, letter: Letter, id: str, date: datetime) -> None:
        """Hand a letter over; when this returns, the server has it.

        Raises TransientError when the same may work later, Misconfigured when the setting is wrong, and TerminalError
        when this letter won't be taken. None of them holds an address: what servers say may, so only its number stays.
        """
        try:
            message = letter.message(self._sender, id, date)
            connection = self._connected()
            try:
                connection.send_message(message, self._sender, [letter.to])
            except smtplib.SMTPRecipientsRefused as refused:
                raise _refused("the recipient", *next(iter(refused.recipients.values()))) from None
            except smtplib.SMTPSenderRefused as refused:
                raise _refused("the sender", refused.smtp_code, refused.smtp_error, setting=True) from None
            except smtplib.SMTPResponseException as refused:
                raise _refused("the letter", refused.smtp_code, refused.smtp_error) from None
            except smtplib.SMTPNotSupportedError:
                raise TerminalError(
                    "the mail server can't carry an address in this script",
                    help="use a server with SMTPUTF8 (RFC 6531), or another address of this person",
                    where=WHERE,
                ) from None
        except KeptError:
            self.close()
            raise
        except (smtplib.SMTPException, OSError) as lost:
            self.close()
            raise TransientError(
                f"the connection broke while a letter was handed over ({type(lost).__name__})", where=WHERE
            ) from None

    def _connected(self) -> smtplib.SMTP:
        """The connection, still alive; a new one where the old one is not. Asked before a letter, never repeated in
        the middle of one: after that nobody knows whether the server took it."""
        if self._connection is not None:
            with suppress(smtplib.SMTPException, OSError):
                if self._connection.noop()[0] == 250:
                    return self._connection
            self.close()
        try:
            self._connection = self._opened()
        except ssl.SSLCertVerificationError:
            raise Misconfigured(
                "the mail server's certificate is not valid for its name",
                help="see that KEPT_SMTP_URL names the server as its certificate does",
                where=WHERE,
            ) from None
        except smtplib.SMTPAuthenticationError as refused:
            raise _refused("user and password", refused.smtp_code, refused.smtp_error, setting=True) from None
        except smtplib.SMTPNotSupportedError:
            raise Misconfigured(
                "the mail server offers no encryption, or no log-in",
                help="see what it asks for, and write KEPT_SMTP_URL as smtps:// or smtp+starttls://",
                where=WHERE,
            ) from None
        except UnicodeError:
            raise Misconfigured(
                "user or password of the mail server can't be sent as they are",
                help="see that KEPT_SMTP_URL holds them in plain ASCII",
                where=WHERE,
            ) from None
        except smtplib.SMTPResponseException as refused:
            raise _refused("the connection", refused.smtp_code, refused.smtp_error, setting=True) from None
        except (smtplib.SMTPException, OSError) as lost:
            raise TransientError(
                f"the mail server can't be reached ({type(lost).__name__})", where=WHERE
            ) from None
        return self._connection

    def _opened(self) -> smtplib.SMTP:
        server = self._server
        # Our name to the server is the sender's domain: smtplib would ask the network's name servers for one.
        name = self._sender.rpartition("@")[2].encode("idna").decode("ascii")
        if server.scheme == "smtps":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, name, timeout=TIMEOUT, context=self._context
            )
        else:
            connection = smtplib.SMTP(server.host, server.port, name, timeout=TIMEOUT)
        try:
            if server.scheme == "smtp+starttls":
                connection.starttls(context=self._context)
            if server.user:
                try:
                    connection.login(server.user, server.password)
                except smtplib.SMTPServerDisconnected:
                    raise Misconfigured(
                        "the mail server hung up at the log-in",
                        help="see that KEPT_SMTP_URL holds user and password, percent-encoded",
                        where=WHERE,
                    ) from None
        except BaseException:  # whatever it is, Ctrl-C too: nobody gets this connection, so it is closed here
            connection.close()
            raise
        return connection


def _refused(
    what: str, code: int, said: bytes | str, setting: bool = False
) -> TransientError | TerminalError:
    """The error for a refusal by number: 4xx may work later, 5xx won't (RFC 5321 §4.2.1, RFC 3463)."""
    words = said.decode("ascii", "replace") if isinstance(said, bytes) else said
    status = words.split(" ")[0].split("\n")[0]
    number = f"{code} {status}" if status.replace(".", "").isdigit() and len(status) <= 9 else str(code)
    message = f"the mail server refused {what} ({number})"
    if code < 500:
        return TransientError(message, where=WHERE)
    if setting:
        return Misconfigured(message, help="see that KEPT_SMTP_URL and the sender are right", where=WHERE)
    return TerminalError(message, help="see that the address on record is right", where=WHERE)
