"""What an erased person is told of what stays: the data, the ground, the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from kept.controls.registry import load
from kept.controls.rights.erasing.stays import stays

EXAMPLES = Path(__file__).parents[4] / "examples"


def test_held_rows_are_told_with_ground_law_and_end() -> None:
    [stay] = stays(load(EXAMPLES / "lumnar/policy.yaml"), "customer", {"app.invoices": 3, "app.customers": 0})
    assert (stay.data, stay.places, stay.rows, stay.purposes) == (
        ("payment",),
        ("app.invoices",),
        3,
        ("tax",),
    )
    assert stay.articles == ("GDPR Art. 17(3)(b)",)
    assert stay.sentence == (
        "We still keep your billing address and transactions until 10 years after we recorded it, because the law "
        "requires it (accounting act). Meanwhile nobody may use it for anything but “tax”."
    )


def test_nothing_held_is_nothing_told() -> None:
    policy = load(EXAMPLES / "lucent-marketplace/policy.yaml")
    assert stays(policy, "member", {}) == () == stays(policy, "member", {"shop.sales": 0})


def test_each_hold_on_a_table_is_told_with_its_own_end() -> None:
    told = stays(load(EXAMPLES / "lucent-marketplace/policy.yaml"), "member", {"shop.sales": 2})
    assert [stay.purposes for stay in told] == [("tax",), ("claims",)]
    assert [stay.data for stay in told] == [("payment",), ("payment",)]
    assert "until 7 years after the sale ends" in told[0].sentence
    assert "until the dispute ends" in told[1].sentence
    assert told[1].articles == ("GDPR Art. 17(3)(e)",)


def test_a_row_between_a_held_row_and_its_person_is_told_too() -> None:
    policy = load(EXAMPLES / "lumnar/policy.yaml")
    told = stays(policy, "customer", {"app.invoices": 1, "app.customers": 1})
    assert [stay.between for stay in told] == [False, True]
    assert told[1].places == ("app.customers",) and told[1].sentence.startswith("One record of yours stays")
    [several] = stays(policy, "customer", {"app.customers": 2})
    assert several.sentence.startswith("2 records of yours stay as empty frames")


@pytest.mark.parametrize("kind", ["visitor", "applicant"])
def test_a_hold_of_other_people_is_not_told(kind: str) -> None:
    told = stays(load(EXAMPLES / "lucent-marketplace/policy.yaml"), kind, {"shop.sales": 1})
    assert all(stay.between for stay in told)
