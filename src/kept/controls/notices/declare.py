"""What people are told: of changes, and on the page itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from kept.laws.law import law
from kept.policy import words
from kept.policy.entry import Promise, key
from kept.policy.expression_readers import period
from kept.policy.grammar import Period
from kept.policy.policy import Policy
from kept.policy.readers import Many, Reference, Region, Word
from kept.policy.source import Name, Problems, Span
from kept.policy.wording import (
    capitalised,
    channels,
    is_organisation,
    joined,
    people_words,
    region_words,
    words_of,
)

STATEMENTS = ("scope", "leaving-site", "provisions", "cookies", "authority")


@dataclass(frozen=True, kw_only=True)
class Announcing(Promise):
    """`{announces: material, through: [email, site], before: 30 days}`."""

    verbs: ClassVar = ("announces",)

    announces: Name = key(Word(("material", "any"), "which changes: material or any"), required=True)
    through: tuple[Name, ...] = key(Many(Word(words.CHANNELS, "a channel")), required=True, default=())
    before: Period | None = key(period())


@dataclass(frozen=True, kw_only=True)
class Stating(Promise):
    """`{states: leaving-site}`."""

    verbs: ClassVar = ("states",)

    states: tuple[Name, ...] = key(
        Many(Word(STATEMENTS, "something the page states")), required=True, default=()
    )
    regions: tuple[Name, ...] = key(Many(Region()), default=())
    each: Name | None = key(Word(("party",), "what there is one of each for"))


@dataclass(frozen=True, kw_only=True)
class Naming(Promise):
    """`{names: lumnar.privacy}`."""

    verbs: ClassVar = ("names",)

    names: tuple[Name, ...] = key(Many(Reference("contacts")), required=True, default=())


BRANCHES = (Announcing, Stating, Naming)


def check(policy: Policy, problems: Problems, today: date) -> None:
    """Report changes nobody hears of, or hears of too late, and provisions for people nobody serves."""
    announcing = [
        promise for promise in policy.section("notices").values() if isinstance(promise, Announcing)
    ]
    if not announcing:
        first = next(iter(policy.section("notices").values()), None)
        problems.finding(
            "no-announcement",
            "people have no way to hear of changes",
            first.span if first else Span(1, 1),
            help="add to notices: {announces: material, through: [email, site], before: 30 days}",
            law=policy.cite("Art. 12(1), 13(3)"),
        )
    for notice in announcing:
        if notice.before is None and policy.european():
            problems.finding(
                "told-too-late",
                f"`{notice.name}` does not say that people hear of a change before it takes effect",
                notice.span,
                help="add before: 30 days; using the service on is no consent",
                law=policy.cite("Art. 13(3)"),
            )
    served = [region for party in policy.us() for region in party.serves]
    for promise in policy.section("notices").values():
        for region in (
            promise.regions if isinstance(promise, Stating) and "provisions" in promise.states else ()
        ):
            if (
                served
                and "elsewhere" not in served
                and not any(words.covers(area, region) for area in served)
            ):
                problems.finding(
                    "region-unserved",
                    f"there are provisions for {words.region_name(region)}, and no controller serves it",
                    region.span,
                    help="add it to a controller's serves, or leave it out",
                    law=policy.cite("Art. 13(1)(a)"),
                )
    _every_region_has_provisions(policy, problems)


def _every_region_has_provisions(policy: Policy, problems: Problems) -> None:
    for promise in policy.section("notices").values():
        if isinstance(promise, Stating) and "provisions" in promise.states:
            for name in policy.european():
                area = law(name).regions[0]
                if (
                    promise.regions
                    and not any(words.covers(region, area) for region in promise.regions)
                    and "elsewhere" not in promise.regions
                ):
                    problems.finding(
                        "provisions-missing",
                        f"`{promise.name}` leaves out {words.region_name(area)}, whose law the policy is under",
                        promise.at("regions"),
                        help=f"add {area}",
                        law=f"{law(name).short} Art. 3",
                    )


def sentence(policy: Policy, promise: Announcing | Stating | Naming) -> str:
    """The promise as the policy page says it."""
    if isinstance(promise, Announcing):
        which = "changes that matter" if promise.announces == "material" else "every change"
        before = (
            f", at least {promise.before} before they take effect"
            if promise.before and promise.before.amount
            else ""
        )
        if promise.announces == "any":
            before = before.replace("they take", "it takes")
        return f"We tell you of {which} to this policy {channels(promise.through)}{before}."
    if isinstance(promise, Naming):
        return " ".join(f"{contact_words(policy, name)}." for name in promise.names)
    return " ".join(_stated(policy, promise, word) for word in promise.states)


def contact_words(policy: Policy, name: str) -> str:
    """`Write to the privacy contact of SiteLucent: privacy@…` from `sitelucent.privacy`."""
    party, _, word = name.partition(".")
    label = policy.parties[party].label if party in policy.parties else party
    contact = (
        next((dict(details) for key, details in policy.parties[party].contacts.items() if key == word), {})
        if party in policy.parties
        else {}
    )
    who = ", ".join(filter(None, (contact.get("name"), contact.get("title"))))
    how = ", ".join(filter(None, (contact.get("email"), contact.get("phone"), contact.get("post"))))
    return (
        f"{who or capitalised(words_of(word))} at {label}: {how}"
        if how
        else f"{who or capitalised(words_of(word))} at {label}"
    )


def _stated(policy: Policy, promise: Stating, word: str) -> str:
    us = joined(party.label for party in policy.us())
    if word == "scope":
        covered = [
            people_words(policy, kind)
            for kind, person in policy.people.items()
            if person.table and not is_organisation(policy, person) and not person.controller
        ]
        several = len(policy.us()) > 1
        neither = (
            f"{us or 'we'} neither {'own' if several else 'owns'} nor {'manage' if several else 'manages'}"
        )
        return f"This policy covers {joined(covered)}. It does not cover companies that {neither}."
    if word == "leaving-site":
        return "When you follow a link to somebody else's site, that site's own policy holds there, not this one."
    if word == "provisions":
        where = region_words(promise.regions) or "each region"
        return f"You get the rules of the place you live in; this page has provisions for {where}."
    if word == "cookies":
        return (
            "Each of our companies has a page of its own about its cookies."
            if promise.each
            else "This page lists every cookie we set."
        )
    named = [words.authority(party.authority) for party in policy.us() if party.authority]
    return (
        f"You can complain to a supervisory authority: {joined(dict.fromkeys(named), 'or')}."
        if named
        else "You can complain to a supervisory authority."
    )
