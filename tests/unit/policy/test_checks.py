"""What checks ask of one law and not of another, and figures that turn with the day."""

from __future__ import annotations

from datetime import date

from kept.controls.registry import SECTIONS, check
from kept.policy.read import read
from kept.policy.source import Source
from tests.fixtures.policies.write_generated import BAD, ROOT

TODAY = date(2026, 11, 22)


def codes(name: str, *changes: tuple[str, str], today: date = TODAY) -> list[str]:
    """What is told of a bad policy after some changes to its text."""
    text = (ROOT / BAD / f"{name}.yaml").read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    policy, problems = read(Source("policy.yaml", text), SECTIONS)
    assert policy is not None
    problems.found.extend(check(policy, today=today).found)
    return [problem.code for problem in problems.in_order()]


def test_a_policy_without_a_mistake_has_none() -> None:
    assert codes("unknown-table") == []


def test_an_american_policy_is_not_measured_by_european_law() -> None:
    american = ("laws: gdpr", "laws: ccpa")
    for name in (
        "no-authority",
        "no-contact",
        "told-too-late",
        "public-without-choice",
        "opt-out-for-consent",
    ):
        assert codes(name) != []
        assert [code for code in codes(name, american) if code != "rights-missing"] == []


def test_an_american_policy_owes_what_american_law_gives() -> None:
    assert codes("unknown-table", ("laws: gdpr", "laws: ccpa")) == ["rights-missing"]
    assert (
        codes(
            "unknown-table",
            ("laws: gdpr", "laws: ccpa"),
            ("  export: {}", "  export: {}\n  no-retaliation: {}"),
        )
        == []
    )


def test_a_right_offered_elsewhere_only_is_not_offered() -> None:
    assert codes("unknown-table", ("restrict: {}", "restrict: {regions: us}")) == ["rights-missing"]
    assert codes("unknown-table", ("restrict: {}", "restrict: {regions: [eea, us]}")) == []


def test_a_safeguard_dies_on_its_day() -> None:
    agreement = ("2019-01-01 until ended", "2019-01-01 until ended")
    assert "dead-safeguard" not in codes("dead-safeguard", agreement, today=date(2020, 7, 15))
    assert "dead-safeguard" in codes("dead-safeguard", agreement, today=date(2020, 7, 16))


def test_an_agreement_lasts_until_the_end_of_its_last_day() -> None:
    assert codes("agreement-lapsed", today=date(2025, 1, 1)) == []
    assert codes("agreement-lapsed", today=date(2025, 1, 2)) == ["agreement-lapsed"]


def test_adequate_countries_need_no_safeguard_while_the_decision_stands() -> None:
    british = ("region: us", "region: uk")
    assert codes("no-safeguard", british) == []
    assert codes("no-safeguard", british, today=date(2032, 1, 1)) == ["no-safeguard"]
    assert codes("no-safeguard", ("region: us", "region: ch")) == []
    assert codes("no-safeguard", ("region: us", "region: fr")) == []


def test_for_an_unknown_region_the_strictest_answer_counts() -> None:
    asked = ("ask: {us: opt-in, elsewhere: opt-out}", "ask: {us: opt-out, elsewhere: opt-in}")
    assert codes("opt-out-for-consent-elsewhere") == ["opt-out-for-consent"]
    assert codes("opt-out-for-consent-elsewhere", asked) == []
    french = ("ask: {us: opt-in, elsewhere: opt-out}", "ask: {fr: opt-out, elsewhere: opt-in}")
    assert codes("opt-out-for-consent-elsewhere", french) == ["opt-out-for-consent"]


def test_a_clients_data_follows_the_clients_instructions() -> None:
    clients = ("ended: left_at}", "ended: left_at, controller: client}")
    party = ("parties:\n", "parties:\n  client: {role: client}\n")
    assert (
        codes("no-limit", clients, party, ("rights:\n", "rights:\n  pass-on: {of: user, to: client}\n")) == []
    )


def test_a_ground_for_each_region_is_one_ground_for_each_person() -> None:
    grounds = ("ground: [contract, consent]", "ground: {eea: consent, elsewhere: contract}, choice: news")
    assert codes("two-grounds", grounds) == []
