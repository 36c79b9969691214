"""Invented people: each has a first and a last name nobody else has, so a trace of one is theirs alone."""

from __future__ import annotations

SYLLABLES = [consonant + vowel for consonant in "bdfghjklmnprstvwz" for vowel in "aeiou"]
PEOPLE_AT_MOST = len(SYLLABLES) ** 4 // 2

# Consecutive numbers become names that look nothing alike: n → n·STEP + START, one to one since STEP has no
# factor in common with the number of names.
_STEP, _START = 28_657_003, 4_181_377


def name_of(person: int) -> tuple[str, str]:
    """First and last name of a person; all names have eight letters, so none stands inside another."""
    if not 0 <= person < PEOPLE_AT_MOST:
        raise ValueError(f"there are names for {PEOPLE_AT_MOST:,} people, from number 0")
    return _name(2 * person), _name(2 * person + 1)


def _name(number: int) -> str:
    number = (number * _STEP + _START) % len(SYLLABLES) ** 4
    parts = []
    for _ in range(4):
        number, syllable = divmod(number, len(SYLLABLES))
        parts.append(SYLLABLES[syllable])
    return "".join(parts).capitalize()
