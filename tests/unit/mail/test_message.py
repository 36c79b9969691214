"""E-mails that came in, plain and hostile: the text is read, nothing else is, and no loop starts."""

from __future__ import annotations

import base64
import zipfile
from datetime import UTC, datetime
from email.message import EmailMessage
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kept.mail.message import LIMIT, Message, NoMessage, parse
from kept.mail.mime import DEPTH, PARTS, TEXT

HEAD = b"From: Ada Love <Ada@People.example>\r\nSubject: My data\r\nMessage-ID: <a1@people.example>\r\n"


def mail(body: bytes, more: bytes = b"") -> Message:
    return parse(HEAD + more + b"\r\n" + body)


def written(**headers: str) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["Subject"] = "ada@people.example", "Hi"
    for name, value in headers.items():
        made[name.replace("_", "-")] = value
    made.set_content("Please delete my data.\n")
    return made


def test_a_plain_mail_is_read() -> None:
    more = b"Date: Sun, 22 Nov 2026 10:30:00 +0100\r\nIn-Reply-To: <l-1@company.example>\r\n"
    assert mail(b"Please delete my data.\r\n-- \r\nAda\r\n", more) == Message(
        sender="ada@people.example",
        subject="My data",
        text="Please delete my data.\n-- \nAda",
        message_id="a1@people.example",
        in_reply_to="l-1@company.example",
        date=datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
        automatic=None,
        attachments_dropped=0,
        truncated=False,
    )


def test_of_two_versions_the_plain_one_is_read_and_attachments_are_counted_unopened() -> None:
    made = written()
    made.add_alternative("<p>Please <b>erase</b> everything</p>", subtype="html")
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", b"\x00" * 5_000_000)
    made.add_attachment(packed.getvalue(), maintype="application", subtype="zip", filename="../../evil.zip")
    made.add_attachment("text as a file", filename="note.txt")
    inner = written()
    made.add_attachment(inner)
    read = parse(made.as_bytes())
    assert read.text == "Please delete my data."
    assert read.attachments_dropped == 3


def test_html_alone_is_read_as_its_text() -> None:
    page = (
        b"<html><head><title>t</title><style>p{color:red}</style></head><body><script>alert('x')</script><!-- c > d -->"
        b"<p>Please&nbsp;erase <a href='https://evil.example'>my data</a>,</p><div>1 &lt; 2 < 3</div></body></html>"
    )
    read = mail(page, b"Content-Type: text/html; charset=utf-8\r\n")
    assert read.text == "Please erase my data,\n\n1 < 2 < 3"


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "windows-1252", "utf-16", "iso-8859-15"])
@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit"])
def test_text_is_read_in_the_charset_and_coding_it_names(charset: str, encoding: str) -> None:
    raw = "Löschen Sie bitte\nmeine Daten é".encode(charset)
    if encoding == "base64":
        raw = base64.encodebytes(raw)
    elif encoding == "quoted-printable":
        raw = b"".join(b"=%02X" % byte for byte in raw)
    elif charset == "utf-16":
        return  # not a charset of mail without coding
    more = f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n"
    assert mail(raw, more.encode()).text == "Löschen Sie bitte\nmeine Daten é"


@pytest.mark.parametrize(
    "charset",
    ["punycode", "idna", "utf-7", "unicode_escape", "zip", "rot13", "nonsense", "utf-8", "iso-8859-12"],
)
def test_a_wrong_charset_is_read_as_far_as_it_can_be(charset: str) -> None:
    read = mail(b"delete \xe9 \xff", f'Content-Type: text/plain; charset="{charset}"\r\n'.encode())
    assert read.text == "delete é ÿ"


def test_encoded_words_in_a_subject_are_read_and_bring_no_line_of_their_own() -> None:
    words = b"=?utf-8?q?L=C3=B6schen?= =?utf-8?b?%s?=" % base64.b64encode(
        b"\r\nBcc: eve@evil.example\x00\xe2\x80\xaetxt"
    )
    read = parse(b"From: a@b.example\r\nSubject: " + words + b"\r\n\r\nx")
    assert read.subject == "Löschen Bcc: eve@evil.example txt"
    broken = parse(b"From: a@b.example\r\nSubject: =?utf-8?b?abc?= =?nonsense?q?=FF?= =?x\r\n\r\nx")
    assert "\n" not in broken.subject


def test_control_characters_and_marks_that_turn_the_writing_are_taken_out() -> None:
    assert mail("a\x00b\x1bc\u202ed\u200be\ufefff\tg".encode()).text == "abcdef\tg"


@pytest.mark.parametrize(
    ("field", "sender"),
    [
        (b"From: ada@people.example", "ada@people.example"),
        (b'From: "Love, Ada" <ada@people.example>', "ada@people.example"),
        (b"From: ada@people.example\r\nFrom: eve@evil.example", "ada@people.example"),
        (b"From: ada@people.example, eve@evil.example", None),
        (b"From: ada@people.example (a (nested) note, with eve@evil.example)", "ada@people.example"),
        (b'From: "eve@evil.example" <ada@people.example>', "ada@people.example"),
        (b"From: <eve@evil.example> <ada@people.example>", None),
        (b"From: ada@people.example <eve@evil.example", None),
        (b"From: <>", None),
        (b"From: Ada", None),
        (b"From: ada@people.example\x00@evil.example", None),
        (b"From: " + b"a" * 500 + b"@b.example", None),
        (b"From: =?utf-8?b?YWRhQHBlb3BsZS5leGFtcGxl?=", None),
        (b"Subject: x", None),
    ],
)
def test_a_sender_is_one_address_or_none(field: bytes, sender: str | None) -> None:
    assert parse(field + b"\r\n\r\nx").sender == sender


@pytest.mark.parametrize(
    "field",
    [
        b"Auto-Submitted: auto-replied",
        b"Auto-Submitted: auto-generated; x=y",
        b"AUTO-SUBMITTED: Auto-Notified",
        b"List-Id: <news.company.example>",
        b"List-Unsubscribe: <https://x.example>",
        b"Precedence: Bulk",
        b"Precedence: list",
        b"X-Autoreply: yes",
        b"Return-Path: <>",
        b"X-Failed-Recipients: a@b.example",
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=x",
        b"Sender: x\r\nPrecedence:\r\n junk",
    ],
)
def test_mail_that_programs_send_is_known_so_that_no_loop_starts(field: bytes) -> None:
    assert mail(b"x", field + b"\r\n").automatic is not None


def test_a_bounce_is_known_by_its_empty_envelope_and_a_robot_by_its_name() -> None:
    assert parse(HEAD + b"\r\nx", envelope="").automatic is not None
    assert parse(HEAD + b"\r\nx", envelope="ada@people.example").automatic is None
    assert parse(b"From: MAILER-DAEMON@x.example\r\n\r\nx").automatic is not None
    assert mail(b"x", b"Auto-Submitted: no\r\n").automatic is None


def test_kepts_own_letters_are_known_as_a_programs() -> None:
    from kept.mail.letter import Letter

    letter = Letter("a@b.example", "x", "y").message("privacy@company.example", "l", datetime.now(UTC))
    assert parse(letter.as_bytes()).automatic is not None


@pytest.mark.parametrize(
    "raw", [b"", b"\r\n", b"hello", b"\x00" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\n\nFrom: a@b.example"]
)
def test_what_has_no_header_is_no_mail(raw: bytes) -> None:
    with pytest.raises(NoMessage):
        parse(raw)


def test_a_mail_handed_over_with_its_envelope_line_is_read() -> None:
    assert (
        parse(b"From ada@people.example Sun Nov 22 09:30:00 2026\n" + HEAD + b"\nx").sender
        == "ada@people.example"
    )


def nested(depth: int) -> bytes:
    head = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(depth))
    return b"From: a@b.example\n" + head + b"Content-Type: text/plain\n\ndeep\n"


HOSTILE = {
    "deeply nested parts": nested(5000),
    "one boundary for all": b"From: a@b.example\nContent-Type: multipart/mixed; boundary=b\n\n"
    + b"--b\nContent-Type: multipart/mixed; boundary=b\n\n" * 20_000,
    "a hundred thousand parts": b"From: a@b.example\nContent-Type: multipart/mixed; boundary=b\n\n"
    + b"--b\n\nx\n" * 130_000,
    "parts without end": b"From: a@b.example\nContent-Type: multipart/mixed; boundary=b\n\n"
    + b"--b\n" * 200_000,
    "a boundary of blanks": b'From: a@b.example\nContent-Type: multipart/mixed; boundary=" "\n\n'
    + b"--\n" * 200_000,
    "one endless header": b"From: a@b.example\nSubject: " + b"x" * LIMIT,
    "endless folded header": b"From: a@b.example\nSubject: x\n" + b" y\n" * 300_000,
    "many headers": b"From: a@b.example\n" + b"X-A: y\n" * 150_000 + b"\nx",
    "many recipients in From": b"From: " + b"a@b.example, " * 80_000 + b"\n\nx",
    "many quotes in From": b"From: " + b'"\\' * 400_000 + b"\n\nx",
    "many brackets in From": b"From: " + b"(" * 400_000 + b"\n\nx",
    "many encoded words": b"From: a@b.example\nSubject: " + b"=?utf-8?q?x?= " * 70_000 + b"\n\nx",
    "almost encoded words": b"From: a@b.example\nSubject: " + b"=?" * 400_000 + b"\n\nx",
    "open tags": b"From: a@b.example\nContent-Type: text/html\n\n" + b"<" * LIMIT,
    "open comments": b"From: a@b.example\nContent-Type: text/html\n\n" + b"<!--" * (LIMIT // 4),
    "open scripts": b"From: a@b.example\nContent-Type: text/html\n\n" + b"<script>" * (LIMIT // 8),
    "closed scripts": b"From: a@b.example\nContent-Type: text/html\n\n" + b"<style></style>" * (LIMIT // 15),
    "entities": b"From: a@b.example\nContent-Type: text/html\n\n" + b"&#x26;" * (LIMIT // 6),
    "capital i with a dot": b"From: a@b.example\nContent-Type: text/html; charset=utf-8\n\n"
    + "İ<script>".encode() * 50_000,
    "soft line breaks": b"From: a@b.example\nContent-Transfer-Encoding: quoted-printable\n\n"
    + b"=\n" * (LIMIT // 2),
    "broken base64": b"From: a@b.example\nContent-Transfer-Encoding: base64\n\n" + b"=A!" * (LIMIT // 3),
    "blank lines": b"From: a@b.example\n\n" + b"\n \t" * (LIMIT // 3),
    "blanks": b"From: a@b.example\n\n" + b" " * LIMIT + b"x",
    "a date of digits": b"From: a@b.example\nDate: " + b"9" * 100_000 + b"\n\nx",
    "a long content type": b"From: a@b.example\nContent-Type: multipart/mixed; "
    + b"boundary " * 100_000
    + b"\n\nx",
    "nothing but zeros after it": b"From: a@b.example\n\n" + b"\x00" * (2 * LIMIT),
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_mail_is_read_to_an_end_in_bounded_space(raw: bytes) -> None:
    read = parse(raw)  # a reader that recurses dies of it, one that goes back never ends
    assert len(read.text) <= TEXT and len(read.subject) <= 200


def test_parts_in_parts_are_read_to_a_fixed_depth() -> None:
    assert parse(nested(DEPTH)).text == "deep"
    deeper = parse(nested(DEPTH + 1))
    assert (deeper.text, deeper.attachments_dropped) == ("", 1)


def test_thousands_of_attachments_are_counted_up_to_a_bound_and_the_rest_in_one() -> None:
    raw = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nDelete me\r\n"
    raw += b"--b\r\nContent-Disposition: attachment\r\n\r\nx\r\n" * 5000 + b"--b--\r\n"
    read = parse(raw)
    assert read.text == "Delete me"
    assert read.attachments_dropped > PARTS and read.truncated


def test_a_mail_longer_than_is_read_says_so() -> None:
    attachment = b"--b\r\nContent-Type: image/png\r\n\r\n" + b"A" * (3 * LIMIT)
    read = mail(b"--b\r\n\r\nDelete me\r\n" + attachment, b"Content-Type: multipart/mixed; boundary=b\r\n")
    assert (read.text, read.attachments_dropped, read.truncated) == ("Delete me", 1, True)
    assert mail(b"x" * (TEXT + 1)).truncated
    assert not mail(b"x" * TEXT).truncated


@given(st.binary(max_size=3000))
def test_whatever_the_bytes_they_are_read_or_refused(raw: bytes) -> None:
    for whole in (raw, HEAD + raw, HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + raw):
        try:
            read = parse(whole)
        except NoMessage:
            continue
        assert "\x00" not in read.text + read.subject and "\n" not in read.subject


pieces = st.sampled_from(
    [
        b"--b\n",
        b"--b--\n",
        b"\n",
        b"Content-Type: text/html\n",
        b"Content-Type: multipart/mixed; boundary=b\n",
        b"Content-Type: multipart/alternative; boundary=c\n",
        b"--c\n",
        b"Content-Transfer-Encoding: base64\n",
        b"QUJD\n",
        b"Content-Disposition: attachment\n",
        b"<p>x",
        b"text\n",
        b" folded\n",
        b"Subject: =?utf-8?b?/w==?=\n",
        b"\x00",
    ]
)


@given(st.lists(pieces, max_size=60))
def test_parts_in_any_disorder_are_read(found: list[bytes]) -> None:
    read = parse(b"From: a@b.example\nContent-Type: multipart/mixed; boundary=b\n" + b"".join(found))
    assert read.sender == "a@b.example"
