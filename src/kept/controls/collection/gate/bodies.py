"""The bodies of requests as forms, and forms as bodies again: URL-encoded, multipart, JSON.

What goes on is written anew from what was read, never cut out of what came: an application that reads a body otherwise
than Kept does can't find in it what Kept didn't see. RFC 7578 for multipart, the URL standard for URL-encoded forms.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlencode

from kept.controls.collection.card_numbers.never import Attached
from kept.controls.refused import Refused

MOST: Final = 1000  # fields of one form
LONGEST: Final = 100  # characters of a field's name

Kind = Literal["urlencoded", "multipart", "json", "empty"]

_PARAMETER: Final = re.compile(rb';[ \t]*([A-Za-z*]+)[ \t]*=[ \t]*(?:"((?:[^"\\\r\n]|\\.)*)"|([^;"\s]*))')
_BOUNDARY: Final = re.compile(
    r'boundary="?([0-9A-Za-z\'()+_,./:=? -]{0,69}[0-9A-Za-z\'()+_,./:=?-])"?', re.IGNORECASE
)
_TYPE: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,60}/[A-Za-z0-9!#$&^_.+-]{1,60}")


@dataclass(frozen=True)
class File(Attached):
    """A file of a form, with the type the browser said it has."""

    type: str = "application/octet-stream"


@dataclass(frozen=True)
class Body:
    """A form and how it was written. A field given several times is a list of its values."""

    kind: Kind
    form: Mapping[str, Any] = field(repr=False)


def read(content_type: str, body: bytes) -> Body:
    """The form of a body; Refused("no-form") for a kind of body that is none, or one that can't be read."""
    kind = content_type.partition(";")[0].strip().lower()
    if not body:
        return Body("empty", {})
    if kind == "application/x-www-form-urlencoded":
        return Body("urlencoded", _gathered(_pairs(_utf8(body))))
    if kind == "multipart/form-data":
        found = _BOUNDARY.search(content_type)
        if found is None:
            raise _unread("the boundary of its parts is missing")
        return Body("multipart", _gathered(_parts(body, found[1].encode("ascii"))))
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return Body("json", _object(body))
    raise Refused(
        "no-form",
        "this kind of body can't be looked into",
        help="send application/x-www-form-urlencoded, multipart/form-data or application/json",
    )


def query(text: bytes | str) -> dict[str, Any]:
    """The form in the query of an address."""
    return _gathered(_pairs(text.decode("latin-1") if isinstance(text, bytes) else text))


def write(kind: Kind, form: Mapping[str, Any], content_type: str) -> tuple[bytes, str]:
    """The body of a form, and its content type; `content_type` is the one it came with."""
    if kind == "json":
        plain = content_type.partition(";")[
            0
        ].strip()  # whatever it said of its characters: they are UTF-8 now
        return json.dumps(dict(form), ensure_ascii=False).encode(), plain
    if kind == "multipart":
        boundary = f"kept-{secrets.token_hex(16)}"
        return _multipart(form, boundary), f'multipart/form-data; boundary="{boundary}"'
    if kind == "empty":
        return b"", content_type
    return written(form).encode("ascii"), "application/x-www-form-urlencoded"


def written(form: Mapping[str, Any]) -> str:
    """A form as the query of an address, or a URL-encoded body."""
    return urlencode([(name, value) for name, values in form.items() for value in _each(values)])


def alike(value: Any, before: Any) -> Any:
    """A value as it goes on, with the type that a file had before a number was blotted out in it."""
    if isinstance(value, list) and isinstance(before, list):
        return [alike(one, other) for one, other in zip(value, before, strict=True)]
    if isinstance(before, File) and isinstance(value, Attached):
        return File(value.name, value.content, before.type)
    return value


def _each(values: Any) -> Iterable[Any]:
    return values if isinstance(values, list) else [values]


def _utf8(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise _unread("it isn't UTF-8") from None


def _unread(why: str) -> Refused:
    return Refused("no-form", f"the form can't be read: {why}")


def _pairs(text: str) -> list[tuple[str, Any]]:
    try:
        return list(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST, errors="strict"))
    except ValueError:  # too many, or no UTF-8
        raise _unread("it has too many fields, or isn't UTF-8") from None


def _gathered(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, list[Any]] = {}
    for number, (name, value) in enumerate(pairs):
        if number >= MOST or len(name) > LONGEST:
            raise _unread("it has too many fields, or one with too long a name")
        found.setdefault(name, []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


def _object(body: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):  # one reader takes the first, another the last
            raise _unread("a name stands twice in an object")
        return found

    def no_number(_: str) -> Any:
        raise _unread("it holds what is no number")

    try:
        found = json.loads(_utf8(body), object_pairs_hook=once, parse_constant=no_number)
    except (ValueError, RecursionError):
        raise _unread("it is no JSON") from None
    if not isinstance(found, dict):
        raise _unread("it is no object")
    if len(found) > MOST or any(len(name) > LONGEST for name in found):
        raise _unread("it has too many fields, or one with too long a name")
    return found


# Multipart.


def _parts(body: bytes, boundary: bytes) -> list[tuple[str, Any]]:
    """The parts between the boundaries, in order; whatever stands before the first and after the last is let go."""
    between = b"\r\n--" + boundary
    sections = (b"\r\n" + body).split(between)
    if len(sections) < 2 or not sections[-1].lstrip(b" \t").startswith(b"--"):
        raise _unread("its parts don't end")
    if len(sections) - 2 > MOST:
        raise _unread("it has too many fields")
    found = []
    for section in sections[1:-1]:
        head, line, rest = section.partition(b"\r\n")
        if head.strip(b" \t") or not line:
            raise _unread("a part doesn't begin as one")
        if rest.startswith(b"\r\n"):
            raise _unread("a part has no name")
        headers, empty, content = rest.partition(b"\r\n\r\n")
        if not empty:
            raise _unread("a part has no end of its headers")
        found.append(_part(headers, content))
    return found


def _part(headers: bytes, content: bytes) -> tuple[str, Any]:
    lines: dict[bytes, bytes] = {}
    for line in headers.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon or name.strip().lower() in lines or name[:1] in b" \t":
            raise _unread("a header of a part can't be read")
        lines[name.strip().lower()] = value.strip()
    said = lines.get(b"content-disposition", b"")
    if said.partition(b";")[0].strip().lower() != b"form-data":
        raise _unread("a part is no field of a form")
    if lines.get(b"content-transfer-encoding", b"binary").lower() not in (b"7bit", b"8bit", b"binary"):
        raise _unread("a part is encoded once more")  # RFC 7578 §4.7: nobody should
    given: dict[str, str] = {}
    for one in _PARAMETER.finditer(said):
        parameter = one[1].decode("ascii").lower()
        if parameter in given:
            raise _unread("a part has two names")
        given[parameter] = _named(one[2] if one[2] is not None else one[3])
    if "name" not in given or "filename*" in given or "name*" in given:
        raise _unread("a part has no plain name")  # RFC 7578 §4.2: filename* must not be used
    kind = lines.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip()
    if "filename" in given:
        plain = kind if _TYPE.fullmatch(kind) else "application/octet-stream"
        return given["name"], File(given["filename"], content, plain)
    if kind.lower() not in ("", "text/plain", "application/json"):
        raise _unread("a part is neither a text nor a file")
    return given["name"], _utf8(content)


def _named(value: bytes) -> str:
    """A name as browsers write it: UTF-8, with `"` and line breaks percent-encoded; others write a backslash."""
    text = _utf8(re.sub(rb'\\(["\\])', rb"\1", value))
    return text.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def _multipart(form: Mapping[str, Any], boundary: str) -> bytes:
    parts = []
    for name, values in form.items():
        for value in _each(values):
            head = f'Content-Disposition: form-data; name="{_escaped(name)}"'
            content = str(value).encode()
            if isinstance(value, Attached):
                kind = value.type if isinstance(value, File) else "application/octet-stream"
                head += f'; filename="{_escaped(value.name)}"\r\nContent-Type: {kind}'
                content = value.content
            parts.append(f"--{boundary}\r\n{head}\r\n\r\n".encode() + content + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def _escaped(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
