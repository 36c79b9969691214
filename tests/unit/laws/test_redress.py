"""Whose laws apply, why a request may be refused, and where a person can complain."""

from __future__ import annotations

import pytest

from kept.laws.law import LAWS, law, read
from kept.laws.redress import authority, redress, refusals
from kept.laws.region import EEA, applying, offered
from kept.policy import words

ALL = ("gdpr", "uk-gdpr", "ccpa", "coppa")


@pytest.mark.parametrize(
    ("region", "found"),
    [
        ("fr", ("gdpr",)),
        ("eea", ("gdpr",)),
        ("uk", ("uk-gdpr",)),
        ("gb-sct", ("uk-gdpr",)),
        ("us-ca", ("ccpa", "coppa")),
        ("us-ny", ("coppa",)),
        ("us", ("ccpa", "coppa")),  # California lies in it
        ("br", ALL),
        ("elsewhere", ALL),
        (None, ALL),
    ],
)
def test_a_persons_laws_are_those_of_their_region_and_all_where_it_tells_nothing(
    region: str | None, found: tuple[str, ...]
) -> None:
    assert applying(ALL, region) == found


def test_a_person_no_law_names_has_what_the_companys_law_gives() -> None:
    assert applying(("gdpr",), "br") == ("gdpr",)
    assert applying((), "fr") == ()


def test_what_is_offered_is_what_a_persons_laws_give() -> None:
    californian = offered(ALL, "us-ca")
    assert californian["erase"] == ("ccpa", "coppa")
    assert californian["object"] == ("ccpa",)
    assert "human-decision" not in californian
    assert offered(("gdpr", "ccpa"), None)["object"] == ("gdpr", "ccpa")
    assert all(set(offered(ALL, region)) <= set(words.RIGHTS) for region in (None, "fr", "uk", "us-ca"))


@pytest.mark.parametrize("name", LAWS)
def test_every_refusal_has_its_article_and_a_sentence_for_the_person(name: str) -> None:
    found = refusals(name)
    assert len({one.id for one in found}) == len(found) > 0
    for one in found:
        assert one.article and one.says
        assert one.says[0].islower() and not one.says.endswith(".")  # it goes after "because"
        assert set(one.rights) <= set(offered((name,), None))


def test_a_right_has_the_reasons_that_are_its_own_and_those_of_all() -> None:
    erase = {one.id: one.article for one in refusals("gdpr", "erase")}
    assert erase["legal-claims"] == "Art. 17(3)(e)"
    assert erase["manifestly-unfounded"] == "Art. 12(5)(b)"
    assert "others-rights" not in erase
    assert "legal-duty" not in {one.id for one in refusals("gdpr", "access")}
    assert {one.id for one in refusals("ccpa", "object")} == {
        "manifestly-unfounded", "manifestly-excessive", "others-rights", "legal-claims"
    }  # fmt: skip


def test_a_person_is_told_of_their_own_authority_and_of_the_court() -> None:
    french = redress("gdpr", "fr")
    assert [one.name for one in french.authorities] == ["the French CNIL"]
    assert french.sentences() == (
        "You can complain to the French CNIL (https://www.cnil.fr): GDPR Art. 12(4), 77.",
        "You can also go to court, where you live or where we are established: GDPR Art. 79.",
    )
    for nowhere in (None, "eea", "br"):
        assert [one.region for one in redress("gdpr", nowhere).authorities] == ["eea"]
    assert [one.region for one in redress("uk-gdpr", "fr").authorities] == ["uk"]
    assert [one.region for one in redress("ccpa").authorities] == ["us-ca", "us-ca-ag"]
    assert redress("ccpa").court is None


def test_every_country_of_the_eea_has_its_authority() -> None:
    found = [authority(country) for country in sorted(EEA)]
    assert len({one.name for one in found}) == len({one.site for one in found}) == 30
    assert all(one.site.startswith("https://") for one in found)


@pytest.mark.parametrize("name", LAWS)
def test_no_key_of_a_law_is_read_by_nobody(name: str) -> None:
    known = {
        "name",
        "citation",
        "article",
        "regions",
        "opt-in",
        "rights",
        "ages",
        "requests",
        "refusals",
        "redress",
        "choices",
    }
    assert set(read(f"{name}.yaml")) == known
    inside = {
        "starts": {"upon", "article"},
        "pauses": {"rights", "article"},
        "extends": {"grounds", "article"},
        "confirm": {"within", "calendar", "first-day", "rights", "article"},
        "records": {"keep", "article"},
    }
    for section, figures in read(f"{name}.yaml")["requests"].items():
        if section == "opt-outs":
            assert all(
                set(one) == {"article", "within", "calendar", "clock-article", "identity-article"}
                for one in figures.values()
            )
        else:
            assert set(figures) <= inside[section]
    assert all(set(one) <= {"rights", "article", "says"} for one in read(f"{name}.yaml")["refusals"].values())
    assert law(name).regions
