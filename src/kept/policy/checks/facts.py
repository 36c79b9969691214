"""The checks of all five sections of facts, and of the file as a whole."""

from __future__ import annotations

from datetime import date

from kept.policy.checks import data, links, parties, people, stores, text
from kept.policy.policy import Policy
from kept.policy.source import Problems


def check(policy: Policy, problems: Problems, today: date) -> None:
    """Report contradictions and gaps of the facts."""
    text.check(policy, problems)
    parties.check(policy, problems, today)
    stores.check(policy, problems)
    people.check(policy, problems)
    links.check(policy, problems)
    data.check(policy, problems)
