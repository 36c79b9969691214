"""Checks of people: a place and a key, tests that can be told, every age once."""

from __future__ import annotations

from kept.policy.facts import PersonKind
from kept.policy.grammar import Test
from kept.policy.policy import STAFF, Policy
from kept.policy.source import Problems

OLDEST = 200


def check(policy: Policy, problems: Problems) -> None:
    """Report what is wrong with people."""
    for person in policy.people.values():
        _place(policy, person, problems)
    for root in policy.people.values():
        if root.table is not None and root.born is not None:
            _ages(policy, root, problems)


def _place(policy: Policy, person: PersonKind, problems: Problems) -> None:
    if person.table is not None and person.is_a is not None:
        problems.error(
            "contradiction",
            f"`{person.name}` has a table of its own and is also `{person.is_a}`",
            person.is_a.span,
            help="keep `in` or `is`",
        )
    elif person.table is not None and "key" not in person.keys:
        problems.error(
            "no-key",
            f"`{person.name}` has no key",
            person.span,
            help="add key: the column that tells one from another",
        )
    elif person.table is not None and person.when is not None:
        problems.error(
            "test-without-is",
            f"`{person.name}` has a table of its own and a test, so some rows of the table would be nobody's",
            person.at("when"),
            help=f"declare everybody in the table, and `{{is: {person.name}, when: …}}` for some of them",
        )
    elif person.is_a is not None and person.is_a != STAFF:
        chain = policy.chain(person.name)
        last = policy.people.get(chain[-1])
        if last is not None and last.is_a in chain:  # told once, at the first of them
            if person.name != min(chain):
                return
            problems.error(
                "is-cycle",
                f"`{person.name}` is itself in the end: {' is '.join((*chain, chain[0]))}",
                person.is_a.span,
                help="one of them has a table: give it `in` and `key`",
            )
            return
        if "when" not in person.keys:
            problems.error(
                "no-test",
                f"nothing tells which `{person.is_a}` is a `{person.name}`",
                person.span,
                help=f"add when: a test on the columns of `{person.is_a}`",
            )
    if person.when is not None and any(part.of_age for part in person.when.all):
        root = policy.root(person.name)
        if root is not None and root.born is None:
            problems.error(
                "no-birth-date",
                f"`{root.name}` does not say where the birth date stands, so nobody's age is known",
                person.at("when"),
                help=f"add born: the column, to `{root.name}`",
            )
    if (
        person.controller is not None
        and person.controller in policy.parties
        and policy.parties[person.controller].role == "us"
    ):
        problems.error(
            "contradiction",
            f"`{person.controller}` is us: their data is no client's",
            person.controller.span,
            help="leave `controller` out",
        )


def _ages(policy: Policy, root: PersonKind, problems: Problems) -> None:
    """Two kinds for one age, or none: only of kinds that age alone tells apart."""
    kinds = [
        (person, _interval(person.when))
        for person in policy.people.values()
        if person is not root
        and policy.root(person.name) is root
        and person.when is not None
        and all(part.of_age for part in person.when.all)
    ]
    for index, (person, (low, high)) in enumerate(kinds):
        for other, (other_low, other_high) in kinds[:index]:
            if max(low, other_low) < min(high, other_high):
                problems.error(
                    "ages-overlap",
                    f"at {max(low, other_low)} one is both `{other.name}` and `{person.name}`",
                    person.at("when"),
                    help="let one begin where the other ends",
                )
    bounds = [high for _, (_, high) in kinds if high < OLDEST] + [low for _, (low, _) in kinds]
    for age in range(max(bounds, default=0)):
        if not any(low <= age < high for _, (low, high) in kinds):
            problems.finding(
                "age-gap",
                f"no kind covers a `{root.name}` of {age}",
                kinds[-1][0].at("when"),
                help="say what holds for every age below the highest one named",
                law=policy.cite("Art. 8(1)"),
            )
            return


def _interval(test: Test) -> tuple[int, int]:
    """The ages a test lets through, as [low, high)."""
    low, high = 0, OLDEST
    for part in test.all:
        age = int(part.value or 0)
        if part.operator in (">", ">=", "="):
            low = max(low, age + (part.operator == ">"))
        if part.operator in ("<", "<=", "="):
            high = min(high, age + (part.operator != "<"))
    return low, high
