"""Whether somebody is old enough for a step: what is known of their age, and whose permission they need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kept.company import Company
from kept.controls.choices.whom import Facts, young
from kept.controls.collection.declare import Collecting
from kept.controls.collection.gate.fields import Fields
from kept.controls.collection.persons import age as ages
from kept.controls.collection.persons import wards
from kept.controls.collection.persons.age import Age
from kept.controls.refused import Refused
from kept.controls.rights.people import Person
from kept.policy.policy import Policy


def giving(policy: Policy, source: str, who: Person | None, kinds: set[str]) -> list[str]:
    """The root kinds of whoever may be giving a form: the person, else the source's, else whose data the step takes."""
    if who is not None:
        return [who.kind]
    of = policy.kind_of(source)
    root = policy.root(of) if of is not None else None
    return [str(root.name)] if root is not None else sorted(kinds)


def of_form(
    company: Company,
    step: Collecting,
    fields: Fields,
    taken: Mapping[str, Mapping[str, Any]],
    who: Person | None,
    told: Facts | None,
    region: str | None,
    age: Age | None,
    kinds: list[str],
) -> Age | None:
    """What is known of their age: the strictest of the form's birth dates and the question's answer.

    Where the policy takes nothing of people for their age, it has to be known; Refused("age-unknown") where it isn't.
    """
    policy = company.policy
    region = region or (told.region if told is not None else None)
    found = [age] if age is not None else []
    for table, columns in taken.items():
        for column, value in columns.items():
            if fields.sort(table, column).type == "birth-date":
                found += [ages.of_value(company, value, region, kind) for kind in kinds]
    strictest = min(
        found, key=lambda one: (("under", "guardian", "own").index(one.band), one.own_yes), default=None
    )
    if strictest is not None:
        return strictest
    if not any(ages.matters(policy, kind) for kind in kinds):
        return None
    if told is None or not told.there or told.unsure & young(policy):
        clause = [name for one in ages.never_anything(policy) for name in map(str, one.clause)]
        raise Refused(
            "age-unknown",
            "nobody has asked how old they are",
            clause=clause or step.clause,
            help="ask the neutral question first (`age.question`), and hand over what `age.answer` says",
        )
    return None


def refuse_young(
    company: Company,
    step: Collecting,
    fields: Fields,
    taken: Mapping[str, Mapping[str, Any]],
    who: Person | None,
    told: Facts | None,
    age: Age | None,
    guardian: Person | None,
) -> None:
    """Refused for somebody of whom nothing is collected, or whose guardian has not permitted it, or may not any more.

    What the database says counts beside what they say now. Where a step waits for a consent, one of somebody too young
    for it to count where they are is none (GDPR Art. 8(1)).
    """
    policy = company.policy
    if age is not None and age.band == "under":
        raise Refused("under-age", age.reason, clause=age.clause)
    if told is not None and told.there:
        never = next(
            (one for one in ages.never_anything(policy) if ages.kinds_of(policy, one) & told.kinds), None
        )
        if never is not None:
            raise Refused(
                "under-age",
                "nothing is collected of them",
                clause=never.clause,
                help="have them erased (`found`)",
            )
    needs = age is not None and age.band == "guardian"
    if who is not None and told is not None and told.there:
        sure = told
        if age is not None:  # they have said it just now
            sure = Facts(
                told.there, told.region, told.kinds | (age.kinds if needs else frozenset()), frozenset()
            )
        against = wards.permitted(company, who, sure)
        if against is not None:
            raise Refused("guardian", against.reason, clause=against.clause)
    elif needs and age is not None:
        addresses = [
            str(value)
            for table, columns in taken.items()
            for column, value in columns.items()
            if fields.sort(table, column).type in ("email", "username")
        ]
        if guardian is None or not wards.allowed(company, guardian, addresses):
            raise Refused(
                "guardian",
                "their guardian has to permit it first",
                clause=age.clause,
                help="a guardian permits it from their own account (`wards.allow`)",
            )
    if age is not None and not age.own_yes and step.choice and not needs:
        raise Refused(
            "own-yes",
            "where they are they are too young for their own consent to count, and no guardian gave it",
            clause=step.clause,
        )
