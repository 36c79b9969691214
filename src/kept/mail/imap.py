"""A mailbox on an IMAP server (RFC 3501, RFC 9051), out of which messages are taken."""

from __future__ import annotations

import imaplib
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Final

from kept.errors import KeptError, TerminalError, TransientError
from kept.mail.address import served
from kept.mail.message import LIMIT

TIMEOUT: Final = 30.0  # seconds for each answer of the server
PORTS: Final = {"imaps": 993, "imap+starttls": 143, "imap": 143}
WHERE: Final = "the mailbox"
DONE: Final = "Kept"
ASIDE: Final = "Kept-aside"
_STEP: Final = 100  # messages listed at once
_UID: Final = re.compile(rb"\bUID (\d+)")


class ImapMailbox:
    """One folder on a server. Use it in a `with` block; messages that are done with move to another folder."""

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        """`url` is KEPT_IMAP_URL: `imaps://user:password@host/INBOX`, `imap+starttls://…`, or `imap://` here.

        `?done=FOLDER` and `?aside=FOLDER` name the folders messages move to (made when missing): those taken, and
        those staff must look at. KeptError for a setting that can't be right or would carry mail unencrypted.
        """
        self._server = served(url, "KEPT_IMAP_URL", PORTS, plain="imap")
        self._folder = self._server.path or "INBOX"
        self._done = self._server.options.get("done", DONE)
        self._aside = self._server.options.get("aside", ASIDE)
        folders = (self._folder, self._done, self._aside)
        if len(set(folders)) < 3 or not all(folder and folder.isascii() for folder in folders):
            raise KeptError(
                "KEPT_IMAP_URL names a folder twice, or one whose name is not plain ASCII",
                help="write it as imaps://user:password@host/INBOX?done=Kept&aside=Kept-aside",
                where="KEPT_IMAP_URL",
            )
        self._context = context or ssl.create_default_context()
        self._connection: imaplib.IMAP4 | None = None
        self._count = 0
        self._capabilities: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return f"{self._server.user}@{self._server.host}/{self._folder}"

    def __enter__(self) -> ImapMailbox:
        """Log in and select the folder. TransientError when it can't be reached, TerminalError when it refuses."""
        try:
            with _errors():
                self._open()
        except KeptError:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Say goodbye; never expunges what others have marked."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(imaplib.IMAP4.error, OSError):
                connection.logout()

    def messages(self, limit: int) -> Iterator[tuple[str, bytes]]:
        """At most `limit` messages of the folder, oldest first: UID, and the first LIMIT bytes and one (so that one
        sees that there were more)."""
        for uid in self._uids(limit):
            with _errors():
                raw = self._fetched(uid)
            if raw is not None:
                yield uid, raw

    def done(self, handle: str) -> None:
        self._move(handle, self._done)

    def aside(self, handle: str) -> None:
        self._move(handle, self._aside)

    def _open(self) -> None:
        server = self._server
        if server.scheme == "imaps":
            connection: imaplib.IMAP4 = imaplib.IMAP4_SSL(
                server.host, server.port, ssl_context=self._context, timeout=TIMEOUT
            )
        else:
            connection = imaplib.IMAP4(server.host, server.port, timeout=TIMEOUT)
        self._connection = connection
        if server.scheme == "imap+starttls":
            connection.starttls(self._context)
        try:
            connection.login(_quoted(server.user), server.password)
        except imaplib.IMAP4.abort:
            raise
        except (imaplib.IMAP4.error, UnicodeError):
            raise TerminalError(
                "the mail server refused user and password",
                help="see that KEPT_IMAP_URL holds them, percent-encoded",
                where=WHERE,
            ) from None
        _, said = connection.capability()  # those after the log-in: more than a stranger is told
        self._capabilities = frozenset(
            b" ".join(part for part in said if part).decode("ascii").upper().split()
        )
        found, counted = connection.select(_quoted(self._folder))
        if found != "OK":
            raise TerminalError(
                "the mail server has no such folder, or won't open it",
                help="see that KEPT_IMAP_URL ends in the folder's name",
                where=WHERE,
            )
        self._count = int(counted[0] or 0)

    def _uids(self, limit: int) -> list[str]:
        """UIDs of messages not marked as deleted; listed in steps, since a search in one has no end to its line."""
        found: list[str] = []
        for first in range(1, self._count + 1, _STEP):
            with _errors():
                _, lines = self._open_connection().fetch(
                    f"{first}:{min(first + _STEP - 1, self._count)}", "(UID FLAGS)"
                )
            for line in lines:
                if not isinstance(line, bytes):
                    continue
                uid = _UID.search(line)
                if uid and rb"\Deleted" not in line:
                    found.append(uid[1].decode("ascii"))
            if len(found) >= limit:
                break
        return found[:limit]

    def _fetched(self, uid: str) -> bytes | None:
        """The beginning of a message, which stays unread; None when somebody took it meanwhile."""
        _, parts = self._open_connection().uid("FETCH", uid, f"(BODY.PEEK[]<0.{LIMIT + 1}>)")
        for part in parts:
            if isinstance(part, tuple) and b"BODY[]" in part[0].upper():
                return bytes(part[1])
        return None

    def _move(self, uid: str, folder: str) -> None:
        """RFC 6851 where the server has it; else copied and marked as deleted, and removed alone with RFC 4315."""
        with _errors():
            connection = self._open_connection()
            verb = "MOVE" if "MOVE" in self._capabilities else "COPY"
            said, _ = connection.uid(verb, uid, _quoted(folder))
            if said != "OK":
                connection.create(_quoted(folder))
                said, _ = connection.uid(verb, uid, _quoted(folder))
            if said != "OK":
                raise TerminalError(
                    f"the mail server won't move messages to the folder {folder}",
                    help="make the folder, or name another in KEPT_IMAP_URL",
                    where=WHERE,
                )
            if verb == "COPY":
                connection.uid("STORE", uid, "+FLAGS.SILENT", r"(\Deleted)")
                if "UIDPLUS" in self._capabilities:
                    connection.uid("EXPUNGE", uid)

    def _open_connection(self) -> imaplib.IMAP4:
        if self._connection is None:
            raise TransientError("the mailbox is not open", where=WHERE)
        return self._connection


@contextmanager
def _errors() -> Iterator[Any]:
    """What goes wrong between us and the server, without what it says: that may hold a password or an address."""
    try:
        yield
    except ssl.SSLCertVerificationError:
        raise TerminalError(
            "the mail server's certificate is not valid for its name",
            help="see that KEPT_IMAP_URL names the server as its certificate does",
            where=WHERE,
        ) from None
    except (imaplib.IMAP4.error, OSError) as lost:
        raise TransientError(f"the mailbox can't be read now ({type(lost).__name__})", where=WHERE) from None


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
