"""Card numbers are found in forms, JSON, files and rows, named by their place and blotted out."""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
import zipfile
from datetime import date
from decimal import Decimal
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kept.controls.collection.card_numbers import attached, never
from kept.controls.collection.card_numbers import find as cards
from kept.controls.collection.card_numbers.attached import Unseen
from kept.controls.collection.card_numbers.never import Attached, CannotBlot, Found, blotted, in_rows, scan

CARD = "4111111111111111"
WIDE = CARD.translate({48 + digit: 0xFF10 + digit for digit in range(10)})


def zipped(members: dict[str, bytes | str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def test_every_place_is_named_by_its_path() -> None:
    value = {
        "payload": {"card": ["x", CARD], "note": f"pay with {CARD} now"},
        "two words": (CARD,),
        "number": int(CARD),
        "clean": "hello",
    }
    assert scan(value) == [
        Found("payload.card[1]", "Visa"),
        Found("payload.note", "Visa"),
        Found('["two words"][0]', "Visa"),
        Found("number", "Visa"),
    ]


@pytest.mark.parametrize(
    "value",
    [
        CARD,
        int(CARD),
        -int(CARD),
        float(CARD),
        Decimal(CARD),
        Decimal("4.111111111111111E+15"),
        CARD.encode(),
        bytearray(CARD.encode()),
        WIDE,
        f"my card {CARD[:4]} {CARD[4:8]} {CARD[8:12]} {CARD[12:]}",
        f'{{"card": {CARD}}}',
        f'{{"card": "{CARD}", "card": "none"}}',
        json.dumps({"card": WIDE}),
        json.dumps(json.dumps({"card": CARD})),
        f" [[{{}}, {{'x': 1}}], {CARD}",
        {CARD: "a key"},
        {1: {int(CARD): None}},
        {CARD},
        ["4111", "1111", "1111", "1111"],
        ["1204", "4111", "1111", "1111", "1111"],
        {"a": "room 1204 4111 1111 1111 1111"},
        '{"a": "4111 1111 1111 1111 7777"}',
        "4111-1111-1111-1111-9999",
        b"4111\r\n\r\n1111\r\n\r\n1111\r\n\r\n1111",
        "௪௧௧௧ ௧௧௧௧ ௧௧௧௧ ௧௧௧௧",
        json.dumps("𝟒𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏"),
        "<p>4111<b>1111</b><i>1111</i>1111</p>",
        "4111<br>1111<br/>1111<br />1111",
        "𝟒𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏",
        "④①①①①①①①①①①①①①①①",
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_number_is_found_and_blotted_in(value: Any) -> None:
    assert [type(place) for place in scan(value)] == [Found]
    clean = blotted(value)
    assert scan(clean) == []
    assert CARD not in repr(clean)
    assert not any(CARD in place.path for place in scan(value))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        3.5,
        math.nan,
        math.inf,
        10**400,
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("1E+999999"),
        "",
        b"",
        "plain words",
        {"a": [1, 2, {"b": ()}]},
        [4111, 1111, 1111, 1111],
        ["4111111111", "111111"],
        UUID("00000000-4111-4111-8111-676770000006"),
        date(2026, 11, 22),
        "[" * 5000,
        '{"a": 1' + "0" * 5000 + "}",
        {"card": "•••• •••• •••• 1111"},
    ],
    ids=lambda value: repr(value)[:40] if not isinstance(value, int) or value < 10**30 else "a huge number",
)
def test_nothing_is_found_and_nothing_changed_in(value: Any) -> None:
    assert scan(value) == []
    assert blotted(value) is value or repr(blotted(value)) == repr(value)


def test_blotting_keeps_the_shape() -> None:
    value = {
        "card": CARD,
        "n": int(CARD),
        "list": [1, "a"],
        "deep": {"t": ("x", f"{CARD}!")},
        "json": f'{{"n":{CARD}}}',
    }
    assert blotted(value) == {
        "card": "••••••••••••1111",
        "n": "••••••••••••1111",
        "list": [1, "a"],
        "deep": {"t": ("x", "••••••••••••1111!")},
        "json": '{"n": "••••••••••••1111"}',
    }
    assert blotted(["4111", "1111", "1111", "1111"]) == ["••••", "••••", "••••", "1111"]


def test_no_result_holds_the_number() -> None:
    value = {CARD: [Attached(f"{CARD}.txt", CARD.encode()), {f"x {CARD}": CARD}]}
    places = scan(value)
    assert len(places) >= 3
    assert CARD not in repr(places)


def test_a_value_nobody_knows_is_said_to_be_unseen() -> None:
    assert scan({"a": object()}) == [Unseen("a", "a value of type object")]


def test_data_nested_too_deep_is_unseen_and_can_not_be_blotted() -> None:
    value: Any = CARD
    for _ in range(300):
        value = [value]
    assert [place.kind for place in scan(value) if isinstance(place, Unseen)] == ["data nested too deep"]
    with pytest.raises(CannotBlot):
        blotted(value)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"]
)
def test_plain_text_of_any_encoding_is_read_and_blotted(encoding: str) -> None:
    content = f"café, le numéro est {CARD} et voilà\n".encode(encoding)
    assert scan(Attached("note.txt", content)) == [Found("note.txt", "Visa")]
    clean = blotted(Attached("note.txt", content))
    assert clean.name == "note.txt"
    assert scan(clean) == []
    decoded = clean.content.decode("cp1252" if encoding == "latin-1" else encoding)
    assert decoded == "café, le numéro est ••••••••••••1111 et voilà\n"


def docx(text: str) -> bytes:
    runs = "".join(f"<w:r><w:rPr/><w:t>{text[at : at + 3]}</w:t></w:r>" for at in range(0, len(text), 3))
    return zipped(
        {
            "[Content_Types].xml": "<Types/>",
            "word/document.xml": f"<w:document><w:p>{runs}</w:p></w:document>",
        }
    )


def xlsx(number: str) -> bytes:
    cells = f'<row r="1"><c r="A1"><v>{number}</v></c><c r="B1"><v>7</v></c></row>'
    return zipped({"xl/worksheets/sheet1.xml": f"<worksheet><sheetData>{cells}</sheetData></worksheet>"})


def mail(*, encoded: bool) -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.org", "b@example.org", "order"
    message["MIME-Version"] = "1.0"
    message.set_content("hello" if encoded else f"my card is {CARD}")
    if encoded:
        message.add_attachment(
            f"card {CARD}".encode(), maintype="application", subtype="octet-stream", filename="a.bin"
        )
    return message.as_bytes()


@pytest.mark.parametrize(
    ("name", "content", "path"),
    [
        ("a.csv", f"id,card\n1,{CARD}\n".encode(), "a.csv"),
        ("a.json", json.dumps({"x": {"card": CARD}}).encode(), "a.json.x.card"),
        ("a.html", b"<td>4111</td><p>4111<span>1111</span>11111111</p>", "a.html"),
        ("a.xml", b"<a><b>4111&#49;11111111111</b></a>", "a.xml"),
        ("a.rtf", b"{\\rtf1 card 4111 1111 1111 1111\\par}", "a.rtf"),
        ("a.docx", docx(f"card {CARD}."), "a.docx/word/document.xml"),
        ("a.xlsx", xlsx(CARD), "a.xlsx/xl/worksheets/sheet1.xml"),
        ("a.xlsx", xlsx("4.111111111111111E+15"), "a.xlsx/xl/worksheets/sheet1.xml"),
        (
            "a.odt",
            zipped({"content.xml": "<text:p>4111<text:s/>1111 1111 1111</text:p>"}),
            "a.odt/content.xml",
        ),
        ("a.zip", zipped({"in.docx": docx(CARD)}), "a.zip/in.docx/word/document.xml"),
        ("a.txt.gz", gzip.compress(CARD.encode()), "a.txt.gz"),
        ("a.eml", mail(encoded=False), "a.eml/0"),
        ("", mail(encoded=True), "/a.bin"),
        ("a.bin", CARD.encode(), "a.bin"),
    ],
)
def test_a_number_is_found_in_the_file(name: str, content: bytes, path: str) -> None:
    places = scan(Attached(name, content))
    assert Found(path, "Visa") in places
    assert not any(isinstance(place, Unseen) for place in places)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "a PDF"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "an image"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "an image"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(20), "an older Office file"),
        (b"\0\0\0\x20ftypheic" + bytes(20), "an image"),
        (b"\0\0\0\x20ftypisom" + bytes(20), "sound or video"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(20), "an archive"),
        (bytes(range(256)) * 4, "a file of unknown kind"),
        (b"PK\x03\x04 broken", "a damaged archive"),
        (b"\x1f\x8b broken", "an archive damaged or too large"),
    ],
)
def test_a_file_nobody_can_look_into_says_so(content: bytes, kind: str) -> None:
    assert scan({"file": content}) == [Unseen("file", kind)]
    assert blotted(content) == content


def test_a_number_in_plain_characters_of_a_pdf_is_found_and_the_pdf_is_unseen_all_the_same() -> None:
    content = b"%PDF-1.7\n/Title (" + CARD.encode() + b")"
    assert set(scan(content)) == {Unseen("", "a PDF"), Found("", "Visa")}
    with pytest.raises(CannotBlot) as refused:
        blotted(content)
    assert CARD not in str(refused.value)


def test_an_image_within_an_office_file_is_unseen_and_its_text_is_read() -> None:
    content = zipped(
        {"word/document.xml": f"<w:p><w:t>{CARD}</w:t></w:p>", "word/media/a.png": b"\x89PNG\r\n\x1a\n"}
    )
    assert set(scan(Attached("a.docx", content))) == {
        Found("a.docx/word/document.xml", "Visa"),
        Unseen("a.docx/word/media/a.png", "an image"),
    }
    with pytest.raises(CannotBlot):
        blotted(Attached("a.docx", content))


def test_a_number_an_e_mail_carries_encoded_can_not_be_blotted() -> None:
    content = mail(encoded=True)
    assert base64.b64encode(f"card {CARD}".encode())[:12] in content
    with pytest.raises(CannotBlot):
        blotted(content)
    assert scan(blotted(mail(encoded=False))) == []


def test_an_archive_that_unpacks_to_more_than_is_looked_into_is_unseen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attached, "LARGEST", 1_000_000)
    bomb = zipped({"a.txt": b"0 " * 2_000_000, "b.txt": CARD})
    assert len(bomb) < 50_000
    assert scan(bomb) == [Unseen("/a.txt", "a file too large to look into"), Found("/b.txt", "Visa")]
    assert scan(gzip.compress(b"0 " * 2_000_000)) == [Unseen("", "an archive damaged or too large")]
    assert scan(b"0 " * 1_000_000) == [Unseen("", "a file too large to look into")]


def test_files_within_files_have_an_end() -> None:
    content = CARD.encode()
    for _ in range(10):
        content = zipped({"in.zip": content})
    (place,) = scan(content)
    assert isinstance(place, Unseen)
    assert place.kind == "a file within too many files"


# --- rows ---


def test_rows_with_a_number_are_counted_once_each() -> None:
    rows = [
        "a",
        f"{CARD} and {CARD}",
        None,
        int(CARD),
        7,
        CARD.encode(),
        {"x": [CARD]},
        WIDE,
        '{"a": "\\uff14"}',
    ]
    assert in_rows(rows) == 5
    assert in_rows(rows * 1000) == 5000
    assert in_rows([]) == 0
    assert in_rows(iter([CARD])) == 1


def test_rows_that_together_would_make_a_number_make_none() -> None:
    assert in_rows(["4111", "1111", "1111", "1111"]) == 0
    assert in_rows(["4111 1111 1111", "1111"]) == 0
    assert in_rows(["41111111", "11111111"]) == 0
    assert in_rows(["4111\x1e", CARD, "\x1e"]) == 1


_ROW = st.one_of(
    st.none(),
    st.integers(),
    st.sampled_from(
        [CARD, int(CARD), WIDE, "5555 5555 5555 4444", f"<b>{CARD[:5]}</b>{CARD[5:]}", f"[{CARD}]", "4111"]
    ),
    st.text(max_size=8),
    st.from_regex(r"[0-9 -]{0,40}", fullmatch=True),
    st.binary(max_size=8),
)


@given(st.lists(_ROW, max_size=12))
@settings(max_examples=400, deadline=None)
def test_counting_rows_at_once_is_counting_them_one_by_one(rows: list[Any]) -> None:
    assert in_rows(rows) == sum(bool(never.found(row)) for row in rows)


_JSON = st.recursive(
    st.one_of(_ROW, st.booleans(), st.floats()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_JSON)
@settings(max_examples=400, deadline=None)
def test_nothing_is_found_in_what_was_blotted_and_what_holds_nothing_stays(value: Any) -> None:
    if never.found(value):
        assert never.found(blotted(value)) == []
    else:
        assert repr(blotted(value)) == repr(value)


def test_health_is_no_word_this_filter_knows() -> None:
    assert "card-number" in never.WORDS
    assert "health" not in never.WORDS
    assert scan("I have diabetes") == []
    assert not cards.any_in("I have diabetes")
