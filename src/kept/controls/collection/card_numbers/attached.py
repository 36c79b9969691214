"""The text in files people hand in, as far as the standard library can read it; what it can't read is named.

Read: plain text, CSV, JSON, HTML, XML, RTF's plain runs, e-mail with its attachments, gzip, and zip archives, with
them .docx, .xlsx, .pptx, .odt, .ods. Not read: PDF, images, sound, video, older Office files, other archives, what is
encrypted or too large. A file of which a part can't be read yields both its text and `Unseen`.
"""

from __future__ import annotations

import email
import email.policy
import gzip
import html
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from email.message import EmailMessage

LARGEST = 64 * 1024 * 1024  # bytes of one file, unpacked
ALTOGETHER = 256 * 1024 * 1024  # bytes of everything packed in one file
_MEMBERS = 4096
_DEPTH = 4  # files within files


@dataclass(frozen=True)
class Unseen:
    """A place nobody looked into: where it is, and what is there ("an image")."""

    path: str
    kind: str


@dataclass(frozen=True)
class Text:
    """What a part of a file says, markup and all, and where it is."""

    path: str
    text: str


@dataclass
class _Left:
    """What may still be unpacked of one file."""

    bytes: int = ALTOGETHER
    members: int = _MEMBERS


_MAGIC = (
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"II*\0", "an image"),
    (b"MM\0*", "an image"),
    (b"BM", "an image"),
    (b"\0\0\x01\0", "an image"),
    (b"\xd0\xcf\x11\xe0", "an older Office file"),
    (b"7z\xbc\xaf", "an archive"),
    (b"Rar!", "an archive"),
    (b"\xfd7zXZ", "an archive"),
    (b"BZh", "an archive"),
    (b"\x28\xb5\x2f\xfd", "an archive"),
    (b"ID3", "sound"),
    (b"OggS", "sound"),
    (b"fLaC", "sound"),
    (b"\x1aE\xdf\xa3", "video"),
    (b"SQLite format 3\0", "a database"),
)


def _kind(content: bytes) -> str | None:
    """What nobody can look into, by how it begins; None: perhaps text."""
    if b"%PDF-" in content[:1024]:
        return "a PDF"
    if content[:4] == b"RIFF":
        return "an image" if content[8:12] == b"WEBP" else "sound or video"
    if content[4:8] == b"ftyp":
        return "an image" if content[8:11] in (b"hei", b"avi", b"mif") else "sound or video"
    for magic, kind in _MAGIC:
        if content.startswith(magic):
            return None if magic == b"BM" and _decoded(content) else kind
    return None


_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1b\x1c\x1d\x1e\x1f")


def _decoded(content: bytes) -> tuple[str, str] | None:
    """Text and the name of its encoding (UTF-8, UTF-16, UTF-32, else Windows' Latin); None: no text."""
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            try:
                return content.decode(encoding), encoding
            except UnicodeDecodeError:
                return None
    if b"\0" in content:
        first, second = content[:4096:2].count(0), content[1:4096:2].count(0)
        many = min(len(content), 4096) // 2
        for zeros, others, encoding in ((second, first, "utf-16-le"), (first, second, "utf-16-be")):
            if zeros > 0.3 * many and others < 0.05 * many:
                try:
                    return content.decode(encoding), encoding
                except UnicodeDecodeError:
                    return None
        return None
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        controls = len(content) - len(content.translate(None, _CONTROLS))
        return None if controls > len(content) // 50 else (content.decode("latin-1"), "latin-1")


def decoded(content: bytes) -> tuple[str, str] | None:
    """The characters of a plain text and the name of their encoding; None: not plain text."""
    if _kind(content) or content[:2] == b"\x1f\x8b" or content[:4] == b"PK\x03\x04":
        return None
    return _decoded(content)


_LINE = re.compile(
    r"</?(?:p|br|div|li|tr|h[1-6]|w:p|w:br|w:tab|w:cr|a:p|a:br|text:p|text:h|text:line-break|text:tab|text:s)\b[^<>]*>",
    re.IGNORECASE,
)
_CELL = re.compile(r"</?(?:td|th|c|v|si|row|cell|table:table-cell)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_SCIENTIFIC = re.compile(r"(?<![0-9.])[0-9](?:\.[0-9]{1,20})?[eE]\+?1[0-9](?![0-9])")
_CELLS_APART = "\x1e"  # stands in no number


def without_markup(text: str) -> str:
    """What HTML or XML says: tags gone (a paragraph ends a line, a cell ends a number), entities and 4.1E+15 read."""
    text = _LINE.sub("\n", _CELL.sub(_CELLS_APART, text))
    text = html.unescape(_TAG.sub("", text))
    return _SCIENTIFIC.sub(lambda found: f"{Decimal(found[0]):f}", text)


def _is_mail(name: str, content: bytes) -> bool:
    head = content[:4096]
    return name.lower().endswith((".eml", ".mht", ".mhtml")) or (
        re.match(rb"(?:[A-Za-z][A-Za-z0-9-]*: )", head) is not None
        and re.search(rb"^(?:mime-version|received|message-id): ", head, re.IGNORECASE | re.MULTILINE)
        is not None
    )


def texts(name: str, content: bytes) -> Iterator[Text | Unseen]:
    """The texts of a file, and what of it can't be read; paths are relative to it, "" the file itself."""
    yield from _texts("", name, content, _Left(), 0)


def _texts(path: str, name: str, content: bytes, left: _Left, depth: int) -> Iterator[Text | Unseen]:
    if len(content) > LARGEST:
        yield Unseen(path, "a file too large to look into")
        return
    if depth > _DEPTH:
        yield Unseen(path, "a file within too many files")
        return
    if content[:4] == b"PK\x03\x04" or content[:4] == b"PK\x05\x06":
        yield from _archive(path, content, left, depth)
    elif content[:2] == b"\x1f\x8b":
        unpacked = _unpacked(content, left)
        if unpacked is None:
            yield Unseen(path, "an archive damaged or too large")
        else:
            yield from _texts(path, name.removesuffix(".gz"), unpacked, left, depth + 1)
    elif (kind := _kind(content)) is not None:
        yield Unseen(path, kind)
        yield Text(path, content.decode("latin-1"))  # what stands in it as plain characters
    elif _is_mail(name, content):
        yield from _mail(path, content, left, depth)
    elif (read := _decoded(content)) is not None:
        yield Text(path, read[0])
    else:
        yield Unseen(path, "a file of unknown kind")
        yield Text(path, content.decode("latin-1"))


def _unpacked(content: bytes, left: _Left) -> bytes | None:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(min(LARGEST, left.bytes) + 1)
    except (OSError, EOFError, zlib.error):
        return None
    left.bytes -= len(unpacked)
    return unpacked if left.bytes >= 0 and len(unpacked) <= LARGEST else None


def _archive(path: str, content: bytes, left: _Left, depth: int) -> Iterator[Text | Unseen]:
    """The members of a zip, an Office file among them."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (
        zipfile.BadZipFile,
        ValueError,
        NotImplementedError,
    ):  # the last: several disks, or a newer format
        yield Unseen(path, "a damaged archive")
        return
    with archive:
        for member in archive.infolist():
            place = f"{path}/{member.filename}"
            if member.is_dir():
                continue
            left.members -= 1
            if left.members < 0 or left.bytes <= 0:
                yield Unseen(path, "an archive too large to look into")
                return
            if member.flag_bits & 1:
                yield Unseen(place, "an encrypted file")
                continue
            try:
                with archive.open(member) as file:
                    unpacked = file.read(min(LARGEST, left.bytes) + 1)
            # NotImplementedError is what zipfile raises of a way of packing it doesn't know.
            except (zipfile.BadZipFile, zlib.error, NotImplementedError, OSError, EOFError, RuntimeError):
                yield Unseen(place, "a damaged file")
                continue
            left.bytes -= len(unpacked)
            if left.bytes < 0 or len(unpacked) > LARGEST:
                yield Unseen(place, "a file too large to look into")
                continue
            yield from _texts(place, member.filename, unpacked, left, depth + 1)


def _mail(path: str, content: bytes, left: _Left, depth: int) -> Iterator[Text | Unseen]:
    """An e-mail: its headers, its texts and what is attached."""
    message = email.message_from_bytes(content, _class=EmailMessage, policy=email.policy.default)
    yield Text(path, "\n".join(f"{name}: {value}" for name, value in message.items()))
    for number, part in enumerate(message.walk()):
        left.members -= 1
        if left.members < 0:
            yield Unseen(path, "an e-mail of too many parts")
            return
        if part.is_multipart():
            continue
        payload = part.get_payload(decode=True)
        if not isinstance(payload, bytes):
            continue
        name = part.get_filename() or ""
        charset = part.get_content_charset()
        if part.get_content_maintype() == "text" and charset and not name:
            try:
                payload = payload.decode(charset, "replace").encode()
            except LookupError:
                yield Unseen(f"{path}/{number}", "text in an unknown encoding")
        yield from _texts(f"{path}/{name or number}", name, payload, left, depth + 1)
