"""The five policy files declare all 135 promises, and none has an error."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from kept.controls import registry

EXAMPLES = Path(__file__).parents[3] / "examples"
TODAY = date(2026, 11, 22)
PROMISES = {
    "lucent-commerce": ("LC", 18),
    "lucent-marketplace": ("LM", 50),
    "lumnar": ("LU", 21),
    "sitelucent": ("SL", 22),
    "lumensol": ("LS", 24),
}


@pytest.mark.parametrize("company", PROMISES)
def test_every_promise_of_the_company_is_declared(company: str) -> None:
    letters, last = PROMISES[company]
    policy = registry.load(EXAMPLES / company / "policy.yaml")
    said = {re.sub(r"[a-z]$", "", clause) for entry in policy.entries() for clause in entry.clause}
    assert said == {f"{letters}-{number:02}" for number in range(1, last + 1)}


@pytest.mark.parametrize("company", PROMISES)
def test_the_policy_has_no_error(company: str) -> None:
    _, source, problems = registry.examine(EXAMPLES / company / "policy.yaml", today=TODAY)
    assert [problem.show(source) for problem in problems.errors] == []


def test_check_has_something_to_find_in_what_sitelucent_published() -> None:
    _, _, problems = registry.examine(EXAMPLES / "sitelucent" / "policy.published.yaml", today=TODAY)
    found = {problem.code for problem in problems.found}
    assert {"dead-safeguard", "nobody-else"} <= found


def test_every_example_has_its_story() -> None:
    assert {path.parent.name for path in EXAMPLES.glob("*/story.md")} == set(PROMISES)
