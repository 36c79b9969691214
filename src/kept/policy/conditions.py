"""The one block of conditions, the same in `collection`, `purposes` and `disclosure`; all must hold."""

from __future__ import annotations

from dataclasses import dataclass

from kept.policy import words
from kept.policy.entry import Promise, key
from kept.policy.expression_readers import Expression
from kept.policy.expressions import Malformed
from kept.policy.policy import Policy
from kept.policy.readers import Many, Reference, Region, Word
from kept.policy.source import Name, Problems


def _floor(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise Malformed(
            f'"{text}" is not the size of a group', help="write a whole number from 2 on", code="bad-number"
        )
    return int(text)


@dataclass(frozen=True, kw_only=True)
class Conditional(Promise):
    """A promise with conditions: a standing yes, an open case, who may, during what, where, in groups of how many."""

    choice: tuple[Name, ...] = key(Many(Reference("choices")), default=())
    case: tuple[Name, ...] = key(Many(Reference("links")), default=())
    by: tuple[Name, ...] = key(Many(Reference("people", "ends")), default=())
    during: Name | None = key(Reference("links"))
    unless: tuple[Name, ...] = key(Many(Reference("links", "choices")), default=())
    regions: tuple[Name, ...] = key(Many(Region()), default=())
    groups: int | None = key(Expression(_floor, "the size of the smallest group", r"^([2-9]|[1-9]\d+)$"))
    needs: tuple[Name, ...] = key(Many(Word(words.NEEDS, "a kind of evidence")), default=())


def check_conditions(policy: Policy, promise: Conditional, problems: Problems) -> None:
    """Report conditions that can't be met."""
    for name in promise.case:
        check_case(policy, name, problems)


def check_case(policy: Policy, name: Name, problems: Problems) -> None:
    """Report a case without staff, or one that never closes."""
    link = policy.links.get(name)
    if link is None:
        return
    if not policy.is_case(link):
        problems.error(
            "not-a-case",
            f"`{name}` has no end that is staff, so nobody can have such a case",
            name.span,
            help=f"add an end to `{name}`: {{handler: staff at column}}",
        )
    elif link.ended is None:
        problems.finding(
            "never-closes",
            f"`{name}` has no `ended`: once opened, a case is a reason to look forever",
            name.span,
            help=f"add ended: the column with the time it was closed, to `{name}`",
            law=policy.cite("Art. 5(1)(f)"),
        )
