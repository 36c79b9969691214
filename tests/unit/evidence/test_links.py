"""Links: nobody makes, alters or redirects one, they end on their date, and tell nothing about a person."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kept.evidence.keys import Keys
from kept.evidence.links import Link, Links, LinkWrong

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
KEYS = Keys(b"s" * 32, b"i" * 32, b"l" * 32)


def links(now: datetime = NOW, keys: Keys = KEYS) -> Links:
    return Links(keys, lambda: now)


def wrong(act: Callable[[], Link]) -> LinkWrong:
    with pytest.raises(LinkWrong) as raised:
        act()
    return raised.value


def test_a_link_says_what_it_was_made_for() -> None:
    token = links().make("verify", "r-7", NOW + DAY)
    link = links().read(token, "verify")
    assert (link.subject, link.expires) == ("r-7", NOW + DAY)
    assert re.fullmatch(r"[0-9a-f]{32}", link.id)
    assert re.fullmatch(r"[A-Za-z0-9_-]{60,120}", token)


def test_two_links_for_the_same_are_two() -> None:
    made = [links().make("verify", "r-7", NOW + DAY) for _ in range(2)]
    assert len({links().read(token, "verify").id for token in made}) == 2


def test_a_link_ends_on_its_date_and_says_whose_it_was() -> None:
    token = links().make("answer", "r-7", NOW + DAY)
    assert links(NOW + DAY - timedelta(seconds=1)).read(token, "answer").subject == "r-7"
    late = wrong(lambda: links(NOW + DAY).read(token, "answer"))
    assert (late.kind, late.subject) == ("expired", "r-7")
    assert "ask for a new one" in str(late) and token not in str(late)


def test_a_link_is_good_for_its_purpose_only() -> None:
    token = links().make("status", "r-7", NOW + DAY)
    assert wrong(lambda: links().read(token, "answer")).kind == "forged"


def test_a_link_of_another_company_is_no_link() -> None:
    token = links(keys=Keys(b"s" * 32, b"i" * 32, b"x" * 32)).make("verify", "r-7", NOW + DAY)
    forged = wrong(lambda: links().read(token, "verify"))
    assert (forged.kind, forged.subject) == ("forged", None)


def test_a_late_link_with_a_later_date_written_in_is_forged() -> None:
    token = links().make("verify", "r-7", NOW - DAY)
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[17:25] = int((NOW + DAY).timestamp()).to_bytes(8, "big")
    later = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert wrong(lambda: links().read(later, "verify")).kind == "forged"


@given(st.data())
def test_no_character_of_a_link_can_be_changed_cut_or_added(data: st.DataObject) -> None:
    token = links().make("verify", "request-7", NOW + DAY)
    place = data.draw(st.integers(0, len(token)))
    letter = st.sampled_from("ABCxyz0189-_+/=. \n%é\x00")
    change = data.draw(st.sampled_from(["put", "cut", "swap"]))
    if change == "put":
        other = token[:place] + data.draw(letter) + token[place:]
    elif change == "cut":
        other = token[:place]
    else:
        other = token[:place] + data.draw(letter) + token[place + 1 :]
    if other != token:
        assert wrong(lambda: links().read(other, "verify")).kind == "forged"


def test_a_link_has_one_spelling() -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = links().make("verify", "r-7", NOW + DAY)
    assert len(token) % 4 == 0
    token = links().make("verify", "r-77", NOW + DAY)  # its last letter stands for two bits, and carries six
    same = letters[letters.index(token[-1]) ^ 1]
    padded = "=" * (-len(token) % 4)
    assert base64.urlsafe_b64decode(token[:-1] + same + padded) == base64.urlsafe_b64decode(token + padded)
    assert wrong(lambda: links().read(token[:-1] + same, "verify")).kind == "forged"
    assert wrong(lambda: links().read(token + padded, "verify")).kind == "forged"


@given(st.text(max_size=600))
def test_whatever_is_sent_in_place_of_a_link_is_forged(text: str) -> None:
    assert wrong(lambda: links().read(text, "verify")).kind == "forged"


def test_a_link_used_twice_is_the_callers_to_tell() -> None:
    twice = LinkWrong("used", "r-7")
    assert "works once" in twice.message and twice.kind == "used"


def test_a_link_holds_an_id_and_no_address() -> None:
    for subject in ("é", "x" * 65):
        with pytest.raises(ValueError, match="64 ASCII characters"):
            links().make("verify", subject, NOW + DAY)


def test_links_last_as_long_as_the_keys(tmp_path: Path) -> None:
    token = Links(Keys.open(tmp_path), lambda: NOW).make("verify", "r-7", NOW + DAY)
    assert Links(Keys.open(tmp_path), lambda: NOW).read(token, "verify").subject == "r-7"


def test_a_mac_is_good_for_its_purpose_only() -> None:
    assert KEYS.mac("link verify", b"x") == KEYS.mac("link verify", b"x") != KEYS.mac("message", b"x")
    assert len(KEYS.mac("link verify", b"x")) == 32
