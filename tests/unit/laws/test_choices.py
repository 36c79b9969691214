"""What laws say of choices, as data: how one is asked, how soon again, and whose own yes counts."""

from __future__ import annotations

import pytest

from kept.laws.choices import (
    ASKS,
    Asked,
    asks_again,
    child,
    choices,
    least,
    naming,
    own_yes,
    signal,
)
from kept.laws.law import LAWS, Age, read
from kept.laws.period import Period
from kept.laws.region import EEA

ALL = LAWS
EUROPE = ("gdpr", "uk-gdpr")


@pytest.mark.parametrize("name", LAWS)
def test_every_figure_about_choices_has_an_article(name: str) -> None:
    given = choices(name)
    ages = [given.own_yes, *given.places.values(), *([given.child] if given.child else [])]
    assert all(age.article for age in ages)
    assert all(asked.article for asked in given.asked.values())
    assert all(signal.article for signal in given.signals.values())
    assert given.asks_again is None or given.asks_again.article
    assert {asked.ask for asked in given.asked.values()} <= set(ASKS)


def test_an_unknown_law_is_not_guessed() -> None:
    with pytest.raises(KeyError):
        choices("lgpd")


def test_every_state_of_the_eea_has_its_age_inside_what_the_gdpr_allows() -> None:
    places = choices("gdpr").places
    assert set(places) == EEA
    assert {age.age for age in places.values()} == {13, 14, 15, 16}


@pytest.mark.parametrize(
    ("laws", "region", "years"),
    [
        (ALL, "de", 16),
        (ALL, "fr", 15),
        (ALL, "dk", 15),
        (ALL, "at", 14),
        (ALL, "be", 13),
        (ALL, "es-ct", 14),  # Catalonia is in Spain
        (ALL, "eea", 16),  # somewhere in it
        (ALL, "gb", 13),
        (ALL, "gb-sct", 13),
        (ALL, "us", 13),
        (ALL, "us-ca", 13),
        (ALL, "jp", 16),  # no law of these names it: the highest
        (ALL, None, 16),
        (("uk-gdpr",), None, 13),
        (("coppa", "ccpa"), None, 13),
        (("gdpr",), "gb", 16),
    ],
)
def test_a_persons_own_yes_counts_from_the_age_of_their_region(
    laws: tuple[str, ...], region: str | None, years: int
) -> None:
    assert own_yes(laws, region).age == years


def test_under_13_nothing_is_collected_without_a_parent_in_the_us_and_where_nobody_knows() -> None:
    assert child(ALL, "us-ca") == child(ALL, "us") == child(ALL, None) == Age(13, "16 CFR 312.5(a)(1)")
    assert child(ALL, "fr") is None
    assert child(EUROPE, None) is None


@pytest.mark.parametrize(
    ("region", "laws"),
    [
        ("fr", ("gdpr",)),
        ("gb", ("uk-gdpr",)),
        ("us-ca", ("ccpa", "coppa")),
        ("us-ny", ("coppa",)),
        ("us", ("ccpa", "coppa")),  # it may be California
        ("jp", ()),
        (None, ALL),
    ],
)
def test_a_law_names_its_regions_and_those_they_may_be_in(region: str | None, laws: tuple[str, ...]) -> None:
    assert naming(ALL, region) == laws


@pytest.mark.parametrize(
    ("region", "about", "age", "ask"),
    [
        ("fr", "consent", None, "opt-in"),
        ("fr", "cookies", None, "opt-in"),
        ("fr", "location", None, "opt-in"),
        ("fr", "objection", None, "opt-out"),
        ("fr", "sale", None, None),
        ("gb", "marketing", None, "opt-in"),
        ("us-ca", "consent", None, None),
        ("us-ca", "cookies", None, None),
        ("us-ca", "sale", None, "opt-out"),
        ("us-ca", "sale", 16, "opt-out"),
        ("us-ca", "sale-by-minor", 15, "opt-in"),
        ("us-ca", "location", None, "opt-out"),
        ("us-ny", "parent", None, "opt-in"),
        ("us-ny", "sale", None, None),
        ("jp", "consent", None, None),
        (None, "consent", None, "opt-in"),
    ],
)
def test_the_least_a_law_wants(region: str | None, about: str, age: int | None, ask: str | None) -> None:
    found = least(ALL, region, {about}, age)
    assert (found and found.ask) == ask


def test_the_strictest_of_what_waits_decides_and_is_cited() -> None:
    assert least(ALL, "fr", {"objection", "cookies"}) == Asked("opt-in", "Directive 2002/58/EC Art. 5(3)")
    assert least(ALL, "fr", ()) is None


def test_a_minor_of_california_opts_in_to_a_sale() -> None:
    assert least(ALL, "us-ca", {"sale", "sale-by-minor"}, 15) == Asked("opt-in", "§ 1798.120(c)", under=16)


@pytest.mark.parametrize(
    ("laws", "region", "months"),
    [
        (ALL, "fr", 6),
        (ALL, "gb", 6),
        (ALL, "us-ca", 12),
        (ALL, "us", 12),
        (ALL, "us-ny", 6),  # no law says: no sooner than where one does
        (ALL, "jp", 6),
        (ALL, None, 12),
        (EUROPE, None, 6),
        (("coppa",), None, 6),
    ],
)
def test_nobody_who_refused_is_asked_sooner_than_the_law_says(
    laws: tuple[str, ...], region: str | None, months: int
) -> None:
    assert asks_again(laws, region).after == Period(months, "months")


def test_the_signal_is_a_choice_in_california_and_must_be_seen_honoured() -> None:
    gpc = signal(ALL, "us-ca", "gpc")
    assert gpc is not None and gpc.seen == "11 CCR 7025(c)(6)"
    assert signal(ALL, None, "gpc") == gpc
    assert signal(ALL, "fr", "gpc") is None
    assert signal(EUROPE, None, "gpc") is None


@pytest.mark.parametrize("name", LAWS)
def test_no_key_about_choices_is_read_by_nobody(name: str) -> None:
    given = read(f"{name}.yaml")["choices"]
    assert set(given) <= {"asked", "signals", "asks-again", "own-yes", "child"}
    assert set(given.get("asks-again", {})) <= {"after", "article"}
    looked_at = {
        "consent",
        "cookies",
        "location",
        "marketing",
        "objection",
        "parent",
        "sale",
        "sale-by-minor",
    }
    assert set(given["asked"]) <= looked_at
