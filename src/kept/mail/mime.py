"""The text inside the parts of an e-mail, found in a time that grows with its bytes and no faster."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from contextlib import suppress
from email.errors import MessageError
from email.header import decode_header
from typing import Final

TEXT: Final = 20_000  # characters of text kept
ENCODED: Final = 1 << 17  # bytes decoded of one part
HEADERS: Final = 64 << 10  # bytes of one part's headers
LINE: Final = 2000  # bytes of one header
DEPTH: Final = 6
PARTS: Final = 200

# What people write mail in. Others (UTF-7, punycode, escapes of programming languages) hide things or take their time.
_CHARSETS: Final = re.compile(
    r"utf-?8|utf-16(?:le|be)?|(?:us-)?ascii|iso-8859-\d{1,2}|latin-?1|windows-125\d|cp125\d|koi8-[ru]"
    r"|gb2312|gbk|gb18030|big5|shift_jis|euc-jp|iso-2022-jp|euc-kr"
)
# Control characters, and marks that turn the direction of writing to make text look like another.
HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)
_BLANKS: Final = re.compile(r"\s+")
_BOUNDARY: Final = re.compile(rb'boundary\s*=\s*(?:"([^"\r\n]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_CHARSET: Final = re.compile(rb'charset\s*=\s*"?([A-Za-z0-9_.:-]{1,40})', re.IGNORECASE)
_FIELD: Final = re.compile(rb"([!-9;-~]{1,76})[ \t]*:[ \t]*(.*)", re.DOTALL)


class Reading:
    """The parts of one message: text found, the rest counted."""

    def __init__(self) -> None:
        self.plain, self.html, self.dropped, self.parts, self.cut = "", "", 0, 0, False

    def part(self, fields: Mapping[bytes, bytes], body: bytes, depth: int) -> None:
        self.parts += 1
        kind = fields.get(b"content-type", b"text/plain")
        name = kind.split(b";", 1)[0].strip().lower()
        boundary = _BOUNDARY.search(kind) if name.startswith(b"multipart/") else None
        attached = fields.get(b"content-disposition", b"").strip().lower().startswith(b"attachment")
        if boundary and depth < DEPTH:
            self._inside(body, b"--" + (boundary[1] or boundary[2]).rstrip(), depth)
        elif attached or name not in (b"text/plain", b"text/html", b"text", b""):
            self.dropped += 1
        elif name == b"text/html":
            self.html = self.html or self._text(fields, body, kind)
        else:
            text = self._text(fields, body, kind)
            self.plain = (
                f"{self.plain}\n\n{text}"
                if self.plain.strip() and len(self.plain) < TEXT
                else self.plain or text
            )

    def _inside(self, body: bytes, mark: bytes, depth: int) -> None:
        """The parts between the marks; what stands before the first and after the last is nobody's (RFC 2046 §5.1)."""
        at = 0 if body.startswith(mark) else body.find(b"\n" + mark) + 1
        if at == 0 and not body.startswith(mark):
            self.dropped += 1
            return
        while True:
            begins = body.find(b"\n", at)
            if begins < 0 or body[at + len(mark) : at + len(mark) + 2] == b"--":
                return
            ends = body.find(b"\n" + mark, begins)
            if self.parts >= PARTS:
                left = body.count(b"\n" + mark, begins)
                self.dropped += max(left, 1)
                self.cut = True
                return
            fields, inner = split(body[begins + 1 : ends if ends >= 0 else len(body)])
            self.part(fields, inner, depth + 1)
            if ends < 0:
                return
            at = ends + 1

    def _text(self, fields: Mapping[bytes, bytes], body: bytes, kind: bytes) -> str:
        encoding = fields.get(b"content-transfer-encoding", b"").strip().lower()
        if len(body) > ENCODED:
            self.cut = True
            body = body[:ENCODED]
        if encoding == b"base64":
            body = _base64(body)
        elif encoding == b"quoted-printable":
            body = binascii.a2b_qp(body)
        charset = _CHARSET.search(kind)
        return decoded(body, charset[1].decode("ascii").lower() if charset else "utf-8")


def split(raw: bytes) -> tuple[dict[bytes, bytes], bytes]:
    """Headers, by name in small letters (the first of each counts), and what follows the first empty line."""
    if raw.startswith(b"\n"):
        return {}, raw[1:]
    end = raw.find(b"\n\n")
    head, body = (raw, b"") if end < 0 else (raw[:end], raw[end + 2 :])
    fields: dict[bytes, bytes] = {}
    lines = head[:HEADERS].split(b"\n")
    if lines and lines[0].startswith((b"From ", b">From ")):
        lines = lines[1:]  # the envelope, as mail servers write it into a mailbox or a pipe
    unfolded: list[bytearray] = []  # a header may go on over several lines (RFC 5322 §2.2.3)
    for line in lines:
        if line[:1] in (b" ", b"\t") and unfolded:
            unfolded[-1] += b" " + line.strip()
        else:
            unfolded.append(bytearray(line))
    for header in unfolded:
        if found := _FIELD.match(bytes(header[: LINE * 2])):
            fields.setdefault(found[1].lower(), found[2][:LINE].strip())
    return fields, body


def _base64(body: bytes) -> bytes:
    """What can be read of it: mail is cut off, and has other things between its lines."""
    clean = re.sub(rb"[^A-Za-z0-9+/]", b"", body.partition(b"=")[0])
    if len(clean) % 4 == 1:  # six bits are no byte
        clean = clean[:-1]
    return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))


def decoded(raw: bytes, charset: str) -> str:
    """Text in the charset it names, if that is one of people's; else UTF-8, else what most old mail is written in."""
    if _CHARSETS.fullmatch(charset):
        with suppress(UnicodeError, LookupError):
            return raw.decode(charset)
    with suppress(UnicodeError):
        return raw.decode("utf-8")
    return raw.decode("windows-1252", "replace")


def words(raw: bytes) -> str:
    """A header as people read it (RFC 2047), on one line."""
    text = decoded(raw, "utf-8")
    if "=?" in text:
        with suppress(MessageError, ValueError, LookupError):  # else it is shown as it came
            text = "".join(
                part if isinstance(part, str) else decoded(part, (charset or "utf-8").lower())
                for part, charset in decode_header(text)
            )
    return _BLANKS.sub(" ", HIDDEN.sub(" ", text)).strip()
