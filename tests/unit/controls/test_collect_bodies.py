"""Bodies read as forms and written again: what goes in comes out, and what can be read two ways isn't read."""

from __future__ import annotations

import email
import email.policy
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kept.controls.collection.card_numbers.never import Attached
from kept.controls.collection.gate.bodies import MOST, File, alike, query, read, write
from kept.controls.refused import Refused

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda name: "%22" not in name and "%0" not in name and "\\" not in name
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=60)
FILES = st.builds(File, NAMES, st.binary(max_size=200), st.just("image/png"))
FORMS = st.dictionaries(NAMES, TEXTS | st.lists(TEXTS, min_size=2, max_size=3), max_size=5)
MULTIPART = 'multipart/form-data; boundary="b"'


def part(*headers: str, content: bytes = b"x") -> bytes:
    return b"--b\r\n" + "\r\n".join(headers).encode() + b"\r\n\r\n" + content + b"\r\n--b--\r\n"


@given(FORMS)
def test_a_form_that_is_written_is_read_again(form: dict[str, Any]) -> None:
    body, kind = write("urlencoded", form, "application/x-www-form-urlencoded; charset=latin-1")
    assert read(kind, body).form == form == query(body)
    body, kind = write("json", form, "application/json; charset=utf-16")
    assert kind == "application/json" and read(kind, body).form == form == json.loads(body)


@given(st.dictionaries(NAMES, TEXTS | FILES | st.lists(FILES, min_size=2, max_size=3), max_size=5))
def test_a_multipart_form_that_is_written_is_read_again(form: dict[str, Any]) -> None:
    body, kind = write("multipart", form, MULTIPART)
    assert read(kind, body).form == form


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for kind in (MULTIPART, "application/json", "application/x-www-form-urlencoded"):
        for sent in (body, b"--b\r\n" + body + b"\r\n--b--"):
            with suppress(Refused):
                read(kind, sent)


def test_another_reader_finds_the_same_in_what_is_written() -> None:
    form = {"a": "ä\r\nb", "f": File('n"1.png', b"\x00\r\n--b--\xff", "image/png")}
    body, kind = write("multipart", form, MULTIPART)
    message = email.message_from_bytes(
        f"Content-Type: {kind}\r\n\r\n".encode() + body, policy=email.policy.HTTP
    )
    first, second = message.iter_parts()
    assert first.get_payload(decode=True) == "ä\r\nb".encode()
    assert (
        second.get_payload(decode=True) == b"\x00\r\n--b--\xff" and second.get_content_type() == "image/png"
    )


@pytest.mark.parametrize(
    "body",
    [
        part("Content-Disposition: form-data"),
        part('Content-Disposition: form-data; name="a"; name="b"'),
        part("Content-Disposition: form-data; name=\"a\"; filename*=UTF-8''x"),
        part('Content-Disposition: form-data; name="a"', 'Content-Disposition: form-data; name="b"'),
        part('Content-Disposition: form-data; name="a"', " folded: x"),
        part('Content-Disposition: form-data; name="a"', "Content-Transfer-Encoding: base64"),
        part('Content-Disposition: form-data; name="a"', "Content-Type: multipart/mixed; boundary=c"),
        part('Content-Disposition: attachment; name="a"'),
        part('Content-Disposition: form-data; name="a"', content=b"\xff"),
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx',  # no end
        b'--bb\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--bb--',
        b'--b\nContent-Disposition: form-data; name="a"\n\nx\n--b--\n',
    ],
)
def test_parts_that_may_be_read_two_ways_are_refused(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        read(MULTIPART, body)
    assert refused.value.reason == "no-form"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"a": 1, "a": 2}'),
        ("application/json", b'{"a": {"b": 1, "b": 2}}'),
        ("application/json", b'{"a": NaN}'),
        ("application/json", b"[" * 100_000),
        ("application/json", b'"a"'),
        ("application/json", '{"a": 1}'.encode("utf-16")),
        ("application/x-www-form-urlencoded", b"a=%ff"),
        ("application/x-www-form-urlencoded", b"a=1&" * (MOST + 1)),
        ("application/x-www-form-urlencoded", b"a" * 200 + b"=1"),
        ("multipart/form-data", b"--b--"),
        ("text/plain", b"a=1"),
        ("", b"a=1"),
    ],
)
def test_what_is_no_form_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        read(kind, body)
    assert refused.value.reason == "no-form"


def test_a_file_keeps_its_type_when_a_number_was_blotted_out_in_it() -> None:
    before, after = File("a.txt", b"4111", "text/plain"), Attached("a.txt", b"****")
    assert alike(after, before) == File("a.txt", b"****", "text/plain")
    assert alike([after, "x"], [before, "x"]) == [File("a.txt", b"****", "text/plain"), "x"]
