"""Full card numbers are found however they are written, and little else is."""

from __future__ import annotations

import json
import random
import re
import sys
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stdnum import iban, luhn

from kept.controls.collection.card_numbers import find as cards
from kept.controls.collection.card_numbers.issuers import ISSUERS, LENGTHS, network_of

# Test numbers that the networks and those who process for them publish.
PUBLISHED = {
    "Visa": "4111111111111111 4012888888881881 4222222222222 4007000000027 4012888818888 4000056655665556",
    "Mastercard": "5555555555554444 5105105105105100 2223003122003222 2223000048400011 5200828282828210",
    "American Express": "378282246310005 371449635398431 378734493671000 370000000000002 343434343434343",
    "Diners Club": "30569309025904 38520000023237 3056930009020004 36227206271667 36259600000004",
    "Discover": "6011111111111117 6011000990139424 6011000000000012 6011981111111113 6555900000604105",
    "JCB": "3530111333300000 3566002020360505 3088000000000017 3569990010095841",
    "UnionPay": "6200000000000005 6200000000000047 6205500000000000004 6243030000000001 6221261111117766 "
    "62123456789002 621234567890003 62123456789000003 621234567890000002 6212345678900000003 8171999900000000021",
    "Maestro": "6304000000000000 6771798021000008 6759649826438453 6799990100000000019 5000550000000029 "
    "6333333333333333336 6331101999990016 5610591081018250",
    "Bancontact": "6703444444444449",
    "RuPay": "6082015309577308",
    "Troy": "9792075482365454 9792072000017956 9792020000000001",
    "Elo": "5066991111111118 5067766783888311",
    "Hipercard": "6062826786276634",
    "Verve": "5060990580000217499",
    "Dankort": "5019717010103742",
    "Mir": "2201382000000013",
    "Uzcard": "8600069195406311",
}
NUMBERS = [number for numbers in PUBLISHED.values() for number in numbers.split()]


def fours(number: str, separator: str) -> str:
    return separator.join(number[at : at + 4] for at in range(0, len(number), 4))


def as_printed(number: str, separator: str) -> str:
    if len(number) in (14, 15):
        return separator.join((number[:4], number[4:10], number[10:]))
    return fours(number, separator)


def texts_of(text: str) -> list[str]:
    return [text[span.start : span.end] for span in cards.find(text)]


@pytest.mark.parametrize("network", PUBLISHED)
def test_every_published_test_number_is_found_under_its_network(network: str) -> None:
    for number in PUBLISHED[network].split():
        spans = cards.find(number)
        assert [(span.start, span.end) for span in spans] == [(0, len(number))], number
        assert spans[0].network == network, number


SEPARATORS = {
    "space": " ",
    "dash": "-",
    "line break": "\n",
    "Windows line break": "\r\n",
    "tab": "\t",
    "dot": ".",
    "underscore": "_",
    "plus, as in a query": "+",
    "percent-encoded space": "%20",
    "no-break space": "\u00a0",
    "thin space": "\u2009",
    "narrow no-break space": "\u202f",
    "ideographic space": "\u3000",
    "en dash": "\u2013",
    "minus": "\u2212",
    "middle dot": "·",
    "entity": "&nbsp;",
    "numeric entity": "&#160;",
    "escaped line break": "\\n",
    "escaped no-break space": "\\u00a0",
    "spaced dash": " - ",
    "nothing anybody sees": "\u200b",
}


@pytest.mark.parametrize("separator", SEPARATORS.values(), ids=SEPARATORS)
@pytest.mark.parametrize("grouped", [fours, as_printed])
def test_every_published_test_number_is_found_with(separator: str, grouped: object) -> None:
    for number in NUMBERS:
        written = (fours if grouped is fours else as_printed)(number, separator)
        assert texts_of(f"my card is {written}, thanks") == [written], written


ZEROS = {
    "full-width": "０",
    "Arabic-Indic": "٠",
    "Persian": "۰",
    "Devanagari": "०",
    "Bengali": "০",
    "Gujarati": "૦",
    "Thai": "๐",
}


@pytest.mark.parametrize("zero", ZEROS.values(), ids=ZEROS)
@pytest.mark.parametrize("separator", ["", " ", "-", "\n", "　"])
def test_every_published_test_number_is_found_in_digits_that_are(zero: str, separator: str) -> None:
    for number in NUMBERS:
        written = fours(number, separator).translate({48 + digit: ord(zero) + digit for digit in range(10)})
        assert texts_of(f"কার্ড {written} ধন্যবাদ") == [written], number
        data = f"কার্ড {written} ধন্যবাদ".encode()
        assert [data[span.start : span.end].decode() for span in cards.find(data)] == [written], number


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "Please charge {} today.",
        "abc{}def",
        "https://example.org/pay?card={}&amount=3",
        "https://example.org/{}/receipt",
        '{{"card": "{}"}}',
        '{{"card": {}}}',
        '"{{\\"note\\":\\"{}\\"}}"',
        "a,5,{},7,b",
        "{}.0",
        "({})",
        "<b>{}</b>",
        "LIKE '%{}%'",
        "100%{}",
        "№{}",
        "é{}é",
        "12/27 {} 123",
    ],
)
def test_a_number_is_found_in_the_middle_of(around: str) -> None:
    for number in NUMBERS:
        text = around.format(number)
        start = text.index(number)
        assert [span[:2] for span in cards.find(text)] == [(start, start + len(number))], text
        at = len(text[:start].encode())
        assert [span[:2] for span in cards.find(text.encode())] == [(at, at + len(number))], text
        assert cards.any_in(text)
        assert cards.any_in(text.encode())


BESIDE = {
    "a room before": "room 1204 {}",
    "a PIN before": "pin 1234 {} thanks",
    "four more behind": "{} 7777",
    "one on each side": "1204 {} 7777",
    "two before": "room 1204 pin 99 1234 5678 {}",
    "two behind": "{} 7777 8888",
    "a year and an expiry": "2026 {} 1227 123",
}


@pytest.mark.parametrize("separator", [" ", "-", "\n", "\u00a0", "    ", "\r\n\r\n", "."])
@pytest.mark.parametrize("around", BESIDE.values(), ids=BESIDE)
def test_one_or_two_other_fours_beside_a_card_do_not_hide_it(around: str, separator: str) -> None:
    for number in NUMBERS:
        if len(number) < 13:
            continue
        for written in {fours(number, separator), as_printed(number, separator)}:
            text = around.replace(" ", separator).format(written)
            start = text.index(written)
            # `find` gives one of two that overlap, as the last digits of a room with the first of a card may be one
            # by chance; blotting takes both.
            assert cards.any_in(text), text
            assert sum(one.isdigit() for one in cards.blot(text)[start : start + len(written)]) <= 4, text


def test_cards_in_a_row_are_found_however_many_and_whatever_stands_beside_each() -> None:
    card = "4111 1111 1111 1111"
    for many in (2, 3, 6, 40):
        assert len(cards.find(" ".join([card] * many))) == many
        assert len(cards.find(" ".join([f"1204 {card} 1227"] * many))) == many
        assert len(cards.find("room 1204 " + " ".join([card] * many))) == many


WIDE_GAPS = (
    "    ",
    "\u00a0" * 4,
    " " * 32,
    "\r\n\r\n",
    "\n\n\n",
    " \r\n \r\n  ",
    "\t" * 5,
    "&nbsp;" * 4,
    "%20" * 4,
)


@pytest.mark.parametrize("gap", WIDE_GAPS, ids=repr)
def test_a_gap_may_be_wide(gap: str) -> None:
    for number in NUMBERS:
        for written in (fours(number, gap), as_printed(number, gap)):
            assert texts_of(f"my card is {written}, thanks") == [written], written
            assert not cards.any_in(cards.blot(written))
    assert texts_of(f"4111{gap}1111 1111 1111") == [f"4111{gap}1111 1111 1111"]


DECIMAL = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Nd"]
SCRIPTS = ["".join(DECIMAL[at : at + 10]) for at in range(10, len(DECIMAL), 10)]


def test_digits_of_every_script_that_unicode_knows_are_read() -> None:
    assert len(SCRIPTS) > 60
    for script in SCRIPTS:
        assert [unicodedata.decimal(digit) for digit in script] == list(range(10))
        for separator in ("", " ", "-"):
            written = fours("4111111111111111", separator).translate(
                {48 + digit: script[digit] for digit in range(10)}
            )
            for text in (written, f"é {written}.", f"😀{written}"):
                assert texts_of(text) == [written], text
                data = text.encode()
                assert [data[one.start : one.end].decode() for one in cards.find(data)] == [written], text
                assert cards.any_in(text) and cards.any_in(data)
            assert (
                cards.blot(written)
                == written[:-4].translate(dict.fromkeys(map(ord, script), "•")) + written[-4:]
            )
        for escaped in (
            quote(written),
            json.dumps(written)[1:-1],
            "".join(f"&#{ord(char)};" if char.isdigit() else char for char in written),
        ):
            assert cards.any_in(escaped) and cards.any_in(escaped.encode()), escaped
            assert not cards.any_in(cards.blot(escaped))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("4111 1111\n1111 1111", 1),  # a line that wraps
        ("4111-1111-\n1111-1111", 1),
        ("4111 1111 1111 1111 1227 123", 1),  # expiry and code
        ("4111 1111 1111 1111 90210", 1),
        ("2026 4111 1111 1111 1111", 1),
        ("4111 1111 1111 1111\n5555 5555 5555 4444\n", 2),
        ("4111 1111 1111 1111 5555 5555 5555 4444", 2),
        ("4111111111111111 5555555555554444", 2),
        ("41111111 11111111", 1),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", 1),
        ("41-11-11-11-11-11-11-11", 1),
        ("4222 222 222 222", 1),
        ("3782 822463 10005 12/27", 1),
        ("&#52;111111111111111", 1),
        ("%34%31%31%31111111111111", 1),
        ("\\uff14\\uff11\\uff11\\uff11111111111111", 1),
        ("41\u00ad11\u200b11111111\ufeff1111", 1),
        ("4111" + "\u200b" * 5000 + "111111111111", 1),
        (("\u200b" * 19).join("4111111111111111"), 1),
        (("\u200b" * 400).join("4111111111111111"), 1),
        ("1354 10014 004955", 1),  # UATP, only in groups
        ("US12 4111 1111 1111 1111", 1),  # looks like an IBAN, and is none
    ],
)
def test_numbers_are_found_as_people_write_them(text: str, found: int) -> None:
    assert len(cards.find(text)) == found
    assert len(cards.find(text.encode())) == found
    assert not cards.any_in(cards.blot(text))


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # a wrong check digit
        "9999999999999995",  # nobody's range, right check digit
        "411111111111111111111111",  # 24 digits
        "4111 1111 1111 1111 1111 1111 1111",  # 28, in fours
        "9999 9999 9999 4111 1111 1111 1111",
        "9999 9999 4111 1111 1111 1111 9999",
        "5018 0000 0009 1234",  # 12 digits that are a card, and four more
        "1234 5018 0000 0009",
        "4111 1111-1111 1111",  # separators mixed
        "4111,1111,1111,1111",
        "4111 1111 --1111 1111",
        "4111" + " " * 33 + "1111 1111 1111",
        "> 4111 1111\n> 1111 1111",  # a quoted mail
        "0.4111111111111111",
        "+4222222222222",
        "550e8400-e29b-41d4-a716-676770000005",
        "00000000-4111-1111-1111-411111111111",
        "1700000000000 1700000000000000 1700000000000000000",
        "2026-11-22 14:20:33.123456",
        "20261122142033",
        "135410014004955",
        "4111 1111 **** 1111",
        "",
    ],
)
def test_what_is_not_a_card_number_is_not_found(text: str) -> None:
    assert cards.find(text) == []
    assert cards.find(text.encode()) == []
    assert cards.blot(text) == text


def test_the_last_twelve_digits_of_a_uuid_are_found_only_by_themselves() -> None:
    assert cards.find("676770000005")
    assert not cards.find("550e8400-e29b-41d4-a716-676770000005")


def test_a_digest_with_a_card_number_s_digits_in_it_is_not_found() -> None:
    inside = "ab4111111111111111cd"
    assert cards.find(inside)
    for length in (32, 40, 64, 128):
        assert not cards.find(inside.ljust(length, "e"))
        assert not cards.find(inside.upper().ljust(length, "E"))
    assert not cards.find("6" + inside + "abc")  # an ObjectId
    assert cards.find("abcd4111111111111111beef")


def test_ibans_are_not_found() -> None:
    chosen = random.Random(4)
    made = could = 0
    while made < 3000:
        country, length = chosen.choice(
            [("BE", 16), ("DE", 22), ("NO", 15), ("NL", 18), ("FR", 27), ("ES", 24)]
        )
        account = ("INGB" if country == "NL" else "") + "".join(chosen.choices("0123456789", k=length))
        account = account[: length - 4]
        check = 98 - int("".join(str(int(one, 36)) for one in account + country + "00")) % 97
        number = f"{country}{check:02}{account}"
        if not iban.is_valid(number):
            continue
        made += 1
        for written in (number, fours(number, " ")):
            could += cards.any_in(f"to {written[2:]} please")
            assert not cards.find(f"to {written} please"), written
    assert could  # else nothing was tried


def test_random_order_numbers_outside_every_range_are_never_found() -> None:
    chosen = random.Random(1)
    outside = inside = 0
    while outside < 100_000:
        number = b"%016d" % chosen.randrange(10**16)
        if network_of(number, spaced=True) is None:
            outside += 1
            assert not cards.any_in(number)
            assert not cards.any_in(fours(number.decode(), " "))
        else:
            inside += cards.any_in(number)
    assert inside  # of those in a range one in ten passes


# --- an independent model: every position, every length, every way of grouping, python-stdnum's Luhn ---

_RANGES = [
    (low, high or low, issuer)
    for issuer in ISSUERS
    for low, _, high in (part.partition("-") for part in issuer.starts.split())
]


def by_hand(digits: str, *, spaced: bool) -> bool:
    return luhn.is_valid(digits) and any(
        low <= digits[: len(low)] <= high and len(digits) in issuer.lengths and (spaced or not issuer.spaced)
        for low, high, issuer in _RANGES
    )


def naive(text: str) -> list[tuple[int, int]]:
    """Numbers in one piece, and single groups of fours that nothing touches, found at each position by itself."""
    found = []
    for start in range(len(text)):
        for length in LENGTHS:
            end = start + length
            digits = text[start:end]
            if (
                len(digits) == length
                and digits.isdigit()
                and not text[start - 1 : start].isdigit()
                and not text[end : end + 1].isdigit()
                and not re.search(r"\d\.$", text[:start])
                and not (length <= 13 and text[start - 1 : start] == "+")
                and by_hand(digits, spaced=False)
            ):
                found.append((start, end))
    return found


_CARD = st.sampled_from(NUMBERS)
_PIECES = st.one_of(
    _CARD,
    st.from_regex(r"[0-9]{1,22}", fullmatch=True),
    st.sampled_from(["abc", "+", ".", "x", ", ", ": ", "|", "é", "’", "₀", "\x80"]),
    st.text(max_size=4),
)


@given(st.lists(_PIECES, max_size=8).map("|".join))
@example("0.4111111111111111|+4222222222222")
@settings(max_examples=400, deadline=None)
def test_numbers_in_one_piece_are_those_a_naive_search_finds(text: str) -> None:
    spans = {span[:2] for span in cards.find(text)}
    expected = {place for place in naive(text) if text[place[0] : place[1]].isascii()}
    assert expected <= spans
    for start, end in spans - expected:  # in groups, in other digits, or with what nobody sees in between
        assert not (text[start:end].isascii() and text[start:end].isdigit())


@given(
    st.sampled_from([issuer for issuer in ISSUERS if not issuer.spaced]),
    st.integers(0, 10**20 - 1),
    st.data(),
)
@settings(max_examples=400, deadline=None)
def test_a_number_made_in_any_range_is_found_and_with_a_wrong_check_digit_is_not(
    issuer: object, rest: int, data: st.DataObject
) -> None:
    assert isinstance(issuer, type(ISSUERS[0]))
    part = data.draw(st.sampled_from(issuer.starts.split()))
    low, _, high = part.partition("-")
    prefix = str(data.draw(st.integers(int(low), int(high or low))))
    length = data.draw(st.sampled_from(issuer.lengths))
    digits = f"{prefix}{rest:020}"[: length - 1]
    number = digits + luhn.calc_check_digit(digits)
    wrong = digits + str((int(number[-1]) + data.draw(st.integers(1, 9))) % 10)
    separator = data.draw(st.sampled_from(["", " ", "-", "\n", "\u2009"]))
    assert texts_of(f"a {fours(number, separator)} b") == [fours(number, separator)]
    if separator == "":
        assert texts_of(f"a {wrong} b") == []


_MIXED = st.lists(
    st.one_of(
        _CARD,
        _CARD.map(lambda number: fours(number, " ")),
        _CARD.map(lambda number: as_printed(number, "\u2013")),
        st.sampled_from(
            [
                " ",
                "\n",
                "-",
                "–",
                "\u200b",
                "é",
                "১",
                "４",
                "4",
                "1234",
                "%20",
                "%34",
                "&#49;",
                "\\n",
                "·",
                "😀",
            ]
        ),
        st.text(max_size=3),
    ),
    max_size=12,
).map("".join)


@given(_MIXED)
@example("4111111111111111\u200b")
@example("1111\u200b%204111 1111 1111 1111")
@example("4111\u200b1111 %31&#49; x")
@settings(max_examples=500, deadline=None)
def test_bytes_and_text_agree_on_every_place(text: str) -> None:
    if any(0xD800 <= ord(char) < 0xE000 for char in text):
        return
    data = text.encode()
    in_text = [
        (len(text[: s.start].encode()), len(text[: s.end].encode()), s.network) for s in cards.find(text)
    ]
    assert [tuple(span) for span in cards.find(data)] == in_text
    assert cards.any_in(text) == cards.any_in(data) == bool(in_text)


@given(_MIXED)
@example("4111–1111–1111–1111\u200b%204111 1111 1111 1111")
@settings(max_examples=500, deadline=None)
def test_nothing_is_left_after_blotting_and_all_else_stays(text: str) -> None:
    spans = cards.find(text)
    blotted = cards.blot(text)
    assert not cards.any_in(blotted)
    assert cards.blot(blotted) == blotted
    if not spans:
        assert blotted == text
    if not re.search(r"[%&\\]", text):
        assert len(blotted) == len(text)
        assert all(new in (old, cards.DOT) for old, new in zip(text, blotted, strict=True))


def test_the_last_four_digits_and_the_separators_stay() -> None:
    assert cards.blot("to 4111-1111-1111-1111!") == "to ••••-••••-••••-1111!"
    assert cards.blot("４１１１１１１１１１１１１１１１") == "••••••••••••１１１１"
    assert cards.blot("q=4111%201111%201111%201111") == "q=••••%20••••%20••••%201111"
    assert cards.blot("%34%31%31%31111111111111") == "••••••••••••1111".replace("•" * 12, "•" * 12)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_can_be_looked_at(data: bytes) -> None:
    around = data + b"x 5555555555554444 x" + data
    places = [span[:2] for span in cards.find(around)]
    assert any(around[start:end] == b"5555555555554444" for start, end in places)


def test_text_made_to_be_slow_comes_to_an_end() -> None:
    # Each is long enough that a search whose work grows with the square of the length would not end.
    for text in (
        "9999 " * 40_000,
        ("9999" + " " * 32) * 10_000,
        ("4" + " " * 32) * 10_000,
        "4111\r\n\r\n" * 5_000,
        "4 " * 100_000,
        "41 " * 60_000,
        "9999–" * 40_000,
        "%39" * 60_000,
        "ক 9999" * 40_000,
        "9" + "\u200b" * 200_000,
        "DE89" * 50_000,
    ):
        assert cards.find(text) == []
        assert cards.find(text.encode()) == []
    assert not cards.any_in(cards.blot(("4111 1111 1111 1111 " * 2 + "9999 ") * 2_000))
