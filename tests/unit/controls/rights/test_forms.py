"""Rows as JSON, CSV and HTML: whatever a database holds, in a form that can be read back."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from kept.controls.rights.answers.forms import (
    CHARACTERS,
    Slot,
    as_json,
    csv_rows,
    json_rows,
    page_rows,
    shown,
    texts,
)


def test_json_keeps_what_json_has_and_writes_the_rest_as_text() -> None:
    row = {
        "none": None,
        "yes": True,
        "number": 7,
        "exact": Decimal("12.50"),
        "at": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "day": date(2026, 1, 31),
        "bytes": b"\x00\xff",
        "inside": {"a": [1, None]},
        "text": 'Zoë "x" \x01',
    }
    assert json.loads(json_rows([row])) == row | {
        "exact": "12.50",
        "at": "2026-01-31T12:00:00+00:00",
        "day": "2026-01-31",
        "bytes": "AP8=",
    }


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_has_no_word_for_becomes_text(number: float) -> None:
    def never(word: str) -> None:
        raise AssertionError(word)

    [row, other] = json.loads(
        b"[" + json_rows([{"a": number, "b": [number]}, {"a": 1}]) + b"]", parse_constant=never
    )
    assert row == {"a": str(number), "b": [str(number)]} and other == {"a": 1}


def test_half_a_character_pair_does_not_break_the_file() -> None:
    assert json.loads(as_json("a\ud800b")) == "a\ud800b"
    assert csv_rows([["a\ud800b"]]) == b"a\\ud800b\r\n"


def test_a_spreadsheet_runs_no_cell_and_numbers_stay_numbers() -> None:
    cells = ["=1+1", "+cmd", "-2.5", "@sum", "\tx", "-", "plain", "a,b", 'q"q', "two\nlines", ""]
    [read] = csv.reader(io.StringIO(csv_rows([cells]).decode(), newline=""))
    assert read == ["'=1+1", "'+cmd", "-2.5", "'@sum", "'\tx", "'-", "plain", "a,b", 'q"q', "two\nlines", ""]


def test_a_row_without_a_column_has_an_empty_cell_there() -> None:
    assert texts([{"b": 1}, {"a": "x", "b": None}], ("a", "b")) == [["", "1"], ["x", ""]]


def test_a_page_shows_values_as_text_never_as_markup() -> None:
    page = page_rows([["<script>", "a&b", "'\""], ["1", "2", "3"]]).decode()
    assert page.count("<tr>") == 2 and page.count("<td>") == 6
    assert "<script" not in page and "&lt;script&gt;" in page and "a&amp;b" in page


def test_a_value_with_control_characters_moves_no_cell() -> None:
    page = page_rows([["a\0b", "c\1d"], ["e", "f"]]).decode()
    assert page.count("<tr>") == 2 and page.count("<td>") == 4
    assert "\0" not in page and "\1" not in page


def test_a_long_value_is_cut_on_the_page_and_says_so() -> None:
    page = page_rows([["x" * (CHARACTERS + 7)]]).decode()
    assert "x" * CHARACTERS in page and "x" * (CHARACTERS + 1) not in page and "7 more characters" in page


def test_an_empty_group_has_no_rows() -> None:
    assert page_rows([]) == b"" and csv_rows([]) == b"" and json_rows([]) == b""


def test_a_csv_has_a_name_that_leads_nowhere_else() -> None:
    assert Slot("tie works for", "app.users", ()).csv_name == "tie-works-for/app.users.csv"
    assert Slot("../../x", "a/b", ()).csv_name == "..-..-x/a-b.csv"


def test_a_json_column_reads_as_json_in_a_cell() -> None:
    assert shown({"a": [1, "ü"]}) == '{"a": [1, "ü"]}'
