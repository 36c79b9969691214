"""Agreements and safeguards by their days: what a party lacks, and whether it closes the way."""

from __future__ import annotations

from datetime import date

import pytest

from kept.controls.disclosure.papers import lacking
from kept.controls.registry import check
from tests.acceptance.choosing import policy
from tests.acceptance.disclosing import POLICY

DAY = date(2026, 6, 1)


def lacks(party: str, day: date = DAY, laws: str = "[gdpr, ccpa]") -> list[tuple[str, str]]:
    text = POLICY.replace(
        "  rescue:      {role: rescue}\n", f"  rescue: {{role: rescue}}\n  it: {{{party}}}\n"
    )
    made = policy(text.replace("laws: [gdpr, ccpa]", f"laws: {laws}"))
    return [(lack.paper, lack.state) for lack in lacking(made, made.parties["it"], day)]


@pytest.mark.parametrize(
    ("party", "expected"),
    [
        ("role: controller, region: eea", []),
        ("role: controller, region: jp", []),  # an adequacy decision covers it
        ("role: controller, region: in", [("safeguard", "missing")]),
        ("role: controller", [("safeguard", "unknown")]),
        ("role: authority", []),
        ("role: successor", []),
        ("role: processor, region: eea", [("agreement", "missing")]),
        ("role: processor, region: eea, agreement: 2026-06-01 until 2026-06-01", []),
        ("role: processor, region: eea, agreement: 2026-06-02 until ended", [("agreement", "dead")]),
        ("role: processor, region: eea, agreement: 2025-01-01 until 2026-05-31", [("agreement", "dead")]),
        ("role: controller, region: us, safeguard: privacy-shield", [("safeguard", "dead")]),
        ("role: controller, region: us, safeguard: data-privacy-framework", [("safeguard", "missing")]),
        (
            "role: controller, region: us, safeguard: data-privacy-framework, certified: 2026-01-01 until 2026-12-31",
            [],
        ),
        (
            "role: controller, region: in, safeguard: data-privacy-framework, certified: 2026-01-01 until 2026-12-31",
            [("safeguard", "missing")],
        ),
        ("role: controller, region: [eea, in], safeguard: adequacy", [("safeguard", "missing")]),
        ("role: controller, region: in, safeguard: standard-contractual-clauses", [("safeguard", "missing")]),
        (
            "role: controller, region: in, safeguard: standard-contractual-clauses, agreement: 2026-01-01 until ended",
            [],
        ),
        ("role: controller, region: in, safeguard: binding-corporate-rules", []),
        # what covers some places only covers nobody of whom nobody says where they are
        ("role: controller, safeguard: adequacy", [("safeguard", "missing")]),
        (
            "role: controller, safeguard: data-privacy-framework, certified: 2026-01-01 until 2026-12-31",
            [("safeguard", "missing")],
        ),
        # signed before there were these clauses
        (
            "role: controller, region: in, safeguard: standard-contractual-clauses, agreement: 2021-06-26 until ended",
            [("safeguard", "missing")],
        ),
        (
            "role: controller, region: in, safeguard: standard-contractual-clauses, agreement: 2021-06-27 until ended",
            [],
        ),
    ],
)
def test_what_a_party_lacks(party: str, expected: list[tuple[str, str]]) -> None:
    assert lacks(party) == expected


def test_the_framework_stands_from_its_day_on() -> None:
    party = "role: controller, region: us, safeguard: data-privacy-framework, certified: 2023-01-01 until 2026-12-31"
    assert lacks(party, date(2023, 7, 9)) == [("safeguard", "dead")] and lacks(party, date(2023, 7, 10)) == []


def test_outside_europe_no_law_asks_for_them_and_what_is_declared_still_ends() -> None:
    assert lacks("role: processor, region: in", laws="ccpa") == []
    assert lacks("role: processor, region: in, agreement: 2020-01-01 until 2021-01-01", laws="ccpa") == [
        ("agreement", "dead")
    ]


@pytest.mark.parametrize(
    ("party", "code"),
    [
        (
            "role: controller, region: in, safeguard: standard-contractual-clauses, agreement: 2019-01-01 until ended",
            "no-clauses",
        ),
        (
            "role: controller, region: [us, in], safeguard: data-privacy-framework, certified: 2026-01-01 until ended",
            "wrong-safeguard",
        ),
        ("role: controller, region: eea, hosts: com", "bad-host"),
        ('role: controller, region: eea, hosts: ["*.com"]', "bad-host"),
    ],
)
def test_the_file_is_told_what_the_way_out_would_refuse(party: str, code: str) -> None:
    made = policy(
        POLICY.replace("  rescue:      {role: rescue}\n", f"  rescue: {{role: rescue}}\n  it: {{{party}}}\n")
    )
    assert code in {one.code for one in check(made, today=DAY).found}
