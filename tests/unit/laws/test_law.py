"""The laws as data: every figure has its article."""

from __future__ import annotations

from datetime import date

import pytest

from kept.laws.law import LAWS, adequate, clock, law, safeguard
from kept.laws.period import Period
from kept.policy import words

TODAY = date(2026, 11, 22)


@pytest.mark.parametrize("name", LAWS)
def test_every_figure_of_a_law_has_an_article(name: str) -> None:
    for right in law(name).rights.values():
        assert right.article
        assert (right.clock is None) == (right.clock_article is None)
        assert (right.acknowledged is None) == (right.acknowledged_article is None)
    assert all(age.article for age in law(name).ages.values())


@pytest.mark.parametrize("name", LAWS)
def test_a_law_speaks_the_words_of_the_language(name: str) -> None:
    assert set(law(name).rights) <= set(words.RIGHTS)
    assert set(law(name).regions) <= words.regions()


def test_an_answer_is_due_in_a_calendar_month_or_in_45_days() -> None:
    assert clock("gdpr", "access") == Period(1, "months")
    assert law("gdpr").rights["erase"].extension == Period(2, "months")
    assert clock("ccpa", "erase") == Period(45, "days")
    assert clock("gdpr", "withdraw") is None
    assert clock("gdpr", "no-retaliation") is None


def test_an_unknown_law_is_not_guessed() -> None:
    with pytest.raises(KeyError):
        law("lgpd")


def test_the_privacy_shield_fell_on_the_day_of_the_judgment() -> None:
    shield = safeguard("privacy-shield")
    assert shield.stands(date(2020, 7, 15))
    assert not shield.stands(date(2020, 7, 16))
    assert safeguard("data-privacy-framework").stands(TODAY)
    assert not safeguard("data-privacy-framework").stands(date(2023, 7, 9))


def test_every_safeguard_of_the_language_is_known() -> None:
    assert all(safeguard(word).article for word in words.SAFEGUARDS)


def test_adequacy_is_a_decision_with_its_dates() -> None:
    european = adequate("gdpr")
    assert set(european) | set(adequate("uk-gdpr")) <= words.regions()
    assert european["uk"].stands(date(2031, 12, 27))
    assert not european["uk"].stands(date(2031, 12, 28))
    assert european["br"].stands(TODAY)
    assert not european["br"].stands(date(2025, 12, 31))
    assert all(decision.decision for decision in european.values())
    assert "us" not in european
    assert adequate("ccpa") == {}
