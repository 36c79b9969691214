"""A message handed over by a mail server on standard input, as `|kept …` in an alias does."""

from __future__ import annotations

from typing import BinaryIO, Final

from kept.mail.inbox import Inbox
from kept.mail.message import LIMIT, NoMessage

# sysexits.h: what mail servers go by.
TAKEN: Final = 0
BAD_DATA: Final = 65  # EX_DATAERR: they send it back
TRY_AGAIN: Final = 75  # EX_TEMPFAIL: they keep it, and hand it over again
DRAINED: Final = 256 << 20  # bytes; no mail server lets more through
NAME: Final = "pipe"


def receive(stream: BinaryIO, inbox: Inbox, envelope: str | None = None) -> int:
    """Take one message from a stream and return the exit code; `envelope` is its sender there ("" for none).

    Nothing is lost: whatever fails but the message itself asks the server to try again, and it sends the message back
    after some days. The rest of a long message is read and dropped, so that the server isn't left with a broken pipe.
    """
    try:
        raw = stream.read(LIMIT + 1)
        left = DRAINED
        while left > 0 and (piece := stream.read(1 << 16)):
            left -= len(piece)
        inbox.take(NAME, raw, envelope)
    except NoMessage:
        return BAD_DATA
    except Exception:  # noqa: BLE001  a request is in there: the server keeps it until the fault is mended
        return TRY_AGAIN
    return TAKEN
