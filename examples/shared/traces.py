"""What a person leaves behind, each such that it is theirs alone: addresses, numbers, texts; all of it invented.

Mail goes to `.example`, telephones have the country code 999, which nobody has, and networks are those kept for
documentation by RFC 3849.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from .names import name_of

BROWSERS = ("Firefox", "Chromium", "Safari", "Edge")
DEVICES = ("desktop", "phone", "tablet")
SENTENCES = (
    "It came in time and was well wrapped.",
    "Could you tell me when it will be there?",
    "The colours are warmer than in the picture.",
    "We would like a second one, a little larger.",
    "Please call before you come.",
    "Everything works now, thank you.",
    "The invoice shows the wrong quantity.",
    "I shall be away until the end of the month.",
)


def full_name(person: int) -> str:
    """First and last name."""
    return " ".join(name_of(person))


def email(person: int, host: str = "mail.example") -> str:
    first, last = name_of(person)
    return f"{first}.{last}@{host}".lower()


def phone(person: int) -> str:
    return f"+999 {person // 1_000_000:03} {person // 1000 % 1000:03} {person % 1000:03}"


def street(person: int) -> str:
    """A postal address in a street that bears the person's name."""
    return f"{person % 180 + 1} {name_of(person)[1]} Street, Exampletown"


def network(person: int) -> str:
    """An IP address."""
    return f"2001:db8:{person >> 16:x}:{person & 0xFFFF:x}::1"


def text(draw: random.Random, person: int, sentences: Sequence[str] = SENTENCES) -> str:
    """A few words that the person signs."""
    return f"{draw.choice(sentences)} {draw.choice(sentences)} {name_of(person)[0]}"


def token(draw: random.Random, letters: int = 24) -> str:
    """Letters and digits that mean nothing."""
    return "".join(draw.choices("abcdefghijkmnpqrstuvwxyz23456789", k=letters))
