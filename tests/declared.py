"""Policies for tests that need facts only: the five sections as YAML, the header written here."""

from __future__ import annotations

from kept.controls.registry import SECTIONS
from kept.policy.policy import Policy
from kept.policy.read import read
from kept.policy.source import Source

_HEADER = "kept: 1\npolicy: Test\nversion: 2026-01-01\nlaws: [gdpr]\nparties:\n  us: {role: us}\n"


def declared(facts: str) -> Policy:
    """The policy with these facts; what `check` would say of its missing promises is of no concern here."""
    policy, problems = read(Source("policy.yaml", _HEADER + facts), SECTIONS)
    assert policy is not None, [problem.message for problem in problems.errors]
    return policy
