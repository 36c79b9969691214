"""What a choice is for, in words somebody can decide by: the company's own, else the sentences of what waits for it."""

from __future__ import annotations

from dataclasses import dataclass

from kept.controls.choices.asking import served
from kept.controls.choices.declare import Choice
from kept.controls.registry import sentence
from kept.policy.policy import Policy


@dataclass(frozen=True)
class About:
    """Sentences on what a choice is for, and the language they are in."""

    sentences: tuple[str, ...]
    language: str


def about(policy: Policy, choice: Choice, language: str) -> About:
    """What a choice is for: what the policy file `says` in that language or in English, else its policy page."""
    for one in (language, "en"):
        if one in choice.says:
            return About((choice.says[one],), one)
    if choice.covers is not None:  # everything there is: the list would be the whole page
        return About((sentence(policy, choice),), "en")
    waits = served(policy, choice)
    found = [sentence(policy, one) for one in (*waits.purposes, *waits.collections, *waits.disclosures)]
    return About(tuple(dict.fromkeys(found)) or (sentence(policy, choice),), "en")
