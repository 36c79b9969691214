"""What people read about their choices, in every language there is a file of."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from kept.controls.choices.messages.words import languages, picked, words
from kept.controls.choices.records.states import WAYS
from kept.policy.words import CHANNELS, GROUNDS

OTHERS = sorted(set(languages()) - {"en"})


def test_there_are_six_languages_and_each_says_its_own_name() -> None:
    assert set(languages()) >= {"en", "fr", "de", "nl", "bn", "ro"}
    assert len(set(languages().values())) == len(languages())


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_has_every_text_with_every_value_and_none_left_in_english(language: str) -> None:
    english, other = words("en"), words(language)
    assert other.texts.keys() == english.texts.keys()
    for key, text in english.texts.items():
        assert sorted(re.findall(r"{\w+}", other.texts[key])) == sorted(re.findall(r"{\w+}", text)), key
        assert other.texts[key] != text or key in ("day", "no"), key
    assert {group: set(part) for group, part in other.parts.items()} == {
        group: set(part) for group, part in english.parts.items()
    }
    assert len(other.months) == 12 and len(other.digits) == 10


def test_every_way_channel_and_ground_has_a_name() -> None:
    assert set(words("en").parts["ways"]) == set(WAYS)
    assert set(words("en").parts["channels"]) == set(CHANNELS)
    assert set(words("en").parts["grounds"]) == set(GROUNDS)
    assert words("en").part("channels", "carrier-pigeon") == "carrier pigeon"


def test_days_are_written_as_people_write_them() -> None:
    at, zone = datetime(2026, 3, 1, 23, 30, tzinfo=UTC), ZoneInfo("Europe/Berlin")
    written = {language: words(language).day(at, zone) for language in ("en", "de", "fr", "bn")}
    assert written == {"en": "2 March 2026", "de": "2. März 2026", "fr": "2 mars 2026", "bn": "২ মার্চ ২০২৬"}
    assert words("en").minute(at, zone) == "2 March 2026, 00:30 CET"


@pytest.mark.parametrize(
    ("asked", "accepted", "is_"),
    [
        ("fr", "de", "fr"),
        (None, "", "en"),
        (None, "de-AT, en;q=0.9", "de"),
        (None, "en;q=0.5, nl;q=0.8", "nl"),
        (None, "xx, yy;q=0.9, ro;q=0.1", "ro"),
        (None, "de;q=0, *", "en"),
        (None, ";;;,,q=,fr;q=x", "en"),
        ("../fr", "../../etc", "en"),
    ],
)
def test_the_language_is_picked_by_name_or_by_the_browser(asked: str | None, accepted: str, is_: str) -> None:
    assert picked(asked, accepted) == is_
