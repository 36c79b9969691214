"""Words of the page."""

from __future__ import annotations

import pytest

from kept.policy.wording import a, by_region, channels, joined, listed, plural, sentence_of
from kept.policy.words import applicable, covers, region_name


def test_lists_read_as_people_write_them() -> None:
    assert joined(["a"]) == "a"
    assert joined(["a", "b", "c"]) == "a, b and c"
    assert joined(["a", "b and c"]) == "a, and b and c"
    assert listed(["own-name", "sale.buyer"], "or") == "own name or buyer"


def test_channels_share_their_preposition() -> None:
    assert channels(["email", "post"], "or") == "by e-mail or post"
    assert channels(["email", "site"]) == "by e-mail and on our site"


@pytest.mark.parametrize(("word", "said"), [("user", "a user"), ("order", "an order"), ("hour", "a hour")])
def test_articles_follow_the_sound_most_of_the_time(word: str, said: str) -> None:
    assert a(word) == said


def test_plurals() -> None:
    assert [plural("child"), plural("company"), plural("buyer"), plural("works-for.user")] == [
        "children",
        "companies",
        "buyers",
        "users",
    ]


def test_values_by_region_are_grouped() -> None:
    assert by_region({"elsewhere": "yes"}) == "yes"
    assert (
        by_region({"eea": "yes", "uk": "yes", "elsewhere": "no"}) == "in the EEA and the UK yes; elsewhere no"
    )


def test_a_text_becomes_a_sentence() -> None:
    assert [sentence_of("doors are locked"), sentence_of("Really?")] == ["Doors are locked.", "Really?"]


def test_the_narrowest_region_holds() -> None:
    rules = {"eea": "a", "fr": "b", "us": "c", "us-ca": "d", "elsewhere": "e"}
    assert [applicable(rules, region) for region in ("fr", "de", "us-ca", "us-ny", "jp")] == [
        "b",
        "a",
        "d",
        "c",
        "e",
    ]
    assert covers("uk", "gb")
    assert not covers("eea", "ch")
    assert [region_name(region) for region in ("us-ca", "us", "de", "eea")] == [
        "California",
        "the United States",
        "Germany",
        "the EEA",
    ]
