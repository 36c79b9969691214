"""Whether what somebody hands over could be a person at all, before any database is asked."""

from __future__ import annotations

from typing import Any, Final, TypeGuard

from kept.controls.rights.people import Person
from kept.policy.policy import Policy

LONGEST: Final = 500  # characters of a part of a key, or of who asks: longer ones are nobody's


def is_one(policy: Policy, given: Any) -> TypeGuard[Person]:
    """Whether it could be somebody: of a kind that people stand in a table as, with a key of as many parts.

    A kind that some of them are (`seller`) is no such kind: their choices stand under the root's (`member`).
    """
    if not isinstance(given, Person):
        return False
    kind: Any = given.kind
    key: Any = given.key
    if not isinstance(kind, str) or not isinstance(key, tuple):
        return False
    root = policy.root(kind)
    if root is None or root.name != kind or len(key) != (len(root.key_columns) or 1):
        return False
    return all(map(_is_part, key))


def _is_part(part: Any) -> bool:
    return (
        isinstance(part, str)
        and 0 < len(part) <= LONGEST
        and "\0" not in part
        and not any("\ud800" <= letter <= "\udfff" for letter in part)
    )
