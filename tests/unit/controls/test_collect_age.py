"""What follows from an age: under which laws, by which kinds of the policy; and how it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from kept.company import Company, opened
from kept.controls.collection.persons.age import answer, question
from kept.controls.refused import Refused, named
from kept.controls.registry import SECTIONS
from kept.policy.read import read
from kept.policy.source import Source

TODAY = date(2026, 3, 1)
HEADER = "kept: 1\npolicy: Test\nversion: 2026-01-01\nlaws: [{laws}]\nparties:\n  us: {{role: us}}\n"
KINDS = """
stores:
  app: {at: $APP}
people:
  member: {in: app.members, key: id, born: born_on}
  minor: {is: member, when: age >= 13 and age < 18}
  child: {is: member, when: age < 13}
links:
  guardianship: {in: app.guardians, between: {guardian: member at owner_id, ward: minor at member_id}}
collection:
  children: {never: anything, of: child, clause: X-1}
choices:
  guardian: {of: minor, by: guardianship.guardian, ask: opt-in, covers: everything, clause: X-2}
"""


def company(folder: Path, laws: str, facts: str) -> Iterator[Company]:
    policy, problems = read(Source("policy.yaml", HEADER.format(laws=laws) + facts), SECTIONS)
    assert policy is not None, problems.errors
    noon = datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC)
    with opened(policy, folder, lambda: noon) as found:
        yield found


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Company]:
    yield from company(tmp_path, "gdpr, coppa", KINDS)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Company]:
    yield from company(tmp_path, "gdpr, uk-gdpr, coppa", "")


@pytest.mark.parametrize(
    ("born", "band", "clause"),
    [
        ("2013-03-02", "under", ("X-1",)),  # thirteen tomorrow
        ("2013-03-01", "guardian", ("X-2",)),  # thirteen today
        ("2008-03-02", "guardian", ("X-2",)),
        ("2008-03-01", "own", ()),
        ("1896-03-02", "own", ()),
    ],
)
def test_a_birthday_counts_on_the_day(market: Company, born: str, band: str, clause: tuple[str, ...]) -> None:
    found = answer(market, born, "fr")
    assert (found.band, found.clause) == (band, clause)
    assert answer(market, date.fromisoformat(born), "fr") == found
    year, month, day = born.split("-")
    assert answer(market, {"day": day, "month": month, "year": year}, "fr") == found
    assert born not in repr(found)


def test_who_was_born_on_a_leap_day_is_older_on_the_first_of_march(tmp_path: Path) -> None:
    for company_ in company(tmp_path, "gdpr, coppa", KINDS):  # today is the first of March
        assert answer(company_, "2008-02-29", "fr").band == "own"
        assert answer(company_, "2012-02-29", "fr").kinds == {"minor"}


@pytest.mark.parametrize(
    "born",
    ["", "soon", "2026-03-02", "1890-01-01", "31.12.2001", "2001-02-30", "2001-13-01", "2001", "0000-00-00"],
)
def test_a_date_of_nobody_is_refused_and_not_repeated(market: Company, born: str) -> None:
    with pytest.raises(Refused) as refused:
        answer(market, born, "fr")
    assert refused.value.reason == "unreadable-age" and refused.value.__cause__ is None
    assert not born or born not in str(refused.value)
    with pytest.raises(Refused):
        answer(market, {"day": "1", "month": "x"}, "fr")


@pytest.mark.parametrize(
    ("region", "years", "band", "own_yes"),
    [
        ("us", 12, "under", False),  # COPPA
        ("us", 13, "own", True),
        (
            "de",
            15,
            "own",
            False,
        ),  # GDPR Art. 8(1): their own consent doesn't count, an account rests on a contract
        ("de", 16, "own", True),
        ("fr", 15, "own", True),
        ("gb", 13, "own", True),
        (None, 12, "under", False),  # unknown: the strictest of all
        (None, 15, "own", False),
        ("nowhere", 15, "own", False),
    ],
)
def test_the_law_of_the_region_counts_where_the_policy_has_no_kinds(
    plain: Company, region: str | None, years: int, band: str, own_yes: bool
) -> None:
    found = answer(plain, TODAY.replace(year=TODAY.year - years), region)
    assert (found.band, found.own_yes) == (band, own_yes)


@pytest.mark.parametrize("language", ["en", "fr", "de", "nl", "ro", "bn", "pt-BR"])
def test_the_question_hints_at_no_answer(language: str) -> None:
    asked = question(language)
    html = asked.html()
    assert list(asked.fields) == ["day", "month", "year"]
    assert asked.language == (language if language != "pt-BR" else "en")
    assert "value=" not in html and "max=" not in html and "min=" not in html
    assert not any(number in html.replace('maxlength="2"', "") for number in ("13", "14", "16", "18"))
    assert f'lang="{asked.language}"' in html and html.count("required") == 3


def test_a_message_names_a_field_only_by_a_name() -> None:
    assert named("shop.members.email") == "`shop.members.email`"
    for typed in ("ada@people.example", "4111 1111", "", "x" * 80, "Ada Somebody"):
        assert named(typed) == "a field"
