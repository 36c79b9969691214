"""Whose data may be counted for a purpose: whom the gate would allow it of, one by one, read a page at a time.

What isn't known to be allowed is left out: people are named who may be counted, not those who may not.
"""

from __future__ import annotations

from kept.company import Company
from kept.controls.choices.messages.roster import pages
from kept.controls.disclosure.declare import Disclosure
from kept.controls.purposes.enforce import Gate
from kept.controls.purposes.groups.promised import given
from kept.controls.purposes.groups.scope import Scope
from kept.controls.refused import Refused
from kept.controls.rights.people import Person
from kept.errors import TransientError


def everybody(company: Company, asked: Scope) -> dict[str, list[tuple[str, ...]]]:
    """By kind, the keys of everybody whose rows may be counted for a question."""
    kinds = dict.fromkeys(way.walk.kind for way in asked.ways)
    question = asked.question
    return {kind: counted(company, question.purpose, question.data, kind, asked.promise) for kind in kinds}


def counted(
    company: Company, purpose: str, data: str, kind: str, promise: Disclosure | None = None
) -> list[tuple[str, ...]]:
    """The keys of everybody of a root kind whose data the purpose may use now, and the promise may give.

    Choices, objections, restrictions, holds, regions and limits that count from the person are looked at; an error
    where it can't be told of anybody, for an answer is never short for that. A few statements for each page of people.
    """
    gate = Gate.of(company)
    found: list[tuple[str, ...]] = []
    for page in pages(company, kind):
        allowed: list[Person] = []
        for who, decided in gate.countable(purpose, page, data).items():
            if decided.unsure:
                raise TransientError(
                    f"nobody can tell who may be counted: {decided.reason}", help="ask again later"
                )
            if decided.rule == "alone":
                raise Refused("groups", f"`{purpose}` can't be asked about groups: {decided.reason}")
            if decided.allowed:
                allowed.append(who)
        found += [tuple(map(str, who.key)) for who in given(company, promise, allowed)]
    return found
