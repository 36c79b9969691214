"""Who asks: a member of staff, somebody for themselves, or somebody whom a link ties to the person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kept.company import Company
from kept.controls.choices.guardians import ties
from kept.controls.choices.whom import Facts
from kept.controls.rights.people import Person
from kept.policy.policy import STAFF, Policy


@dataclass(frozen=True)
class By:
    """Who asks, as `ROLE` or `ROLE:KEY`: a kind of staff, a kind of person for themselves, or the end of a link.

    `key` is what the company's rows know them by: the staff's column of a case, the person's own key.
    """

    role: str
    key: str | None = None

    @classmethod
    def of(cls, text: str) -> By:
        role, colon, key = text.partition(":")
        return cls(role, key if colon else None)


def is_role(policy: Policy, role: str) -> bool:
    """Whether a word is one for who asks: a kind of person or staff, or the end of a link."""
    link, dot, end = role.partition(".")
    if dot:
        return link in policy.links and end in policy.links[link].between
    return role == STAFF or role in policy.people


def roles(policy: Policy, by: Iterable[str]) -> Iterator[str]:
    """The words under which a use may be asked for: those it names, and every kind that is one of them.

    Where it names none: the staff's, and each kind of person's, for themselves.
    """
    wanted = {str(one) for one in by}
    if not wanted:
        yield from (STAFF, *map(str, policy.people))
        return
    yield from wanted
    for kind in policy.people:
        if wanted & set(policy.chain(str(kind))):
            yield str(kind)


def staff(policy: Policy) -> frozenset[str]:
    """The words for staff."""
    return frozenset({STAFF, *(str(kind) for kind in policy.people if policy.is_staff(str(kind)))})


def why_not(company: Company, who: By, person: Person | None, told: Facts | None) -> str | None:
    """Why somebody may not ask about a person: staff may, others about themselves, or those they are tied to now.

    `told` is what is known of the person. StoreError where the rows that say so can't be read.
    """
    policy = company.policy
    if policy.is_staff(who.role):
        return None
    if who.role not in policy.people:
        return _not_tied(company, who, person)
    own = person is not None and who.key is not None and str(person) == f"{person.kind}:{who.key}"
    surely = told.kinds - told.unsure if told is not None else frozenset[str]()
    return None if own and who.role in surely else f"`{who.role}` may for themselves only"


def _not_tied(company: Company, who: By, person: Person | None) -> str | None:
    name, _, end = who.role.partition(".")
    link = company.policy.links[name]
    at = next(place for one, place in link.between.items() if str(one) == end)
    if person is None or who.key is None:
        return f"nobody says which `{who.role}` asks, and about whom"
    root = company.policy.root(str(at.kind))
    me = Person(str(root.name) if root is not None else str(at.kind), (who.key,))
    if any(person in tie.others.values() for tie in ties(company, link, end, [me])):
        return None
    return f"no `{name}` ties them to this person now"
