"""Data leaving for a party or another person: what, to whom, for which purpose."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import ClassVar, Final

from kept.controls.phrases import conditions
from kept.controls.purposes.declare import Purpose
from kept.laws.law import law, safeguard
from kept.policy import words
from kept.policy.checks.clocks import check_clock
from kept.policy.checks.parties import reachable
from kept.policy.conditions import Conditional, check_conditions
from kept.policy.entry import Promise, key
from kept.policy.expression_readers import clock
from kept.policy.facts import Party
from kept.policy.grammar import Clock
from kept.policy.policy import Policy
from kept.policy.readers import Many, Reference, Word
from kept.policy.source import Name, Problems
from kept.policy.wording import (
    clock_words,
    data_words,
    joined,
    own_words,
    region_words,
    who_words,
    words_of,
)


@dataclass(frozen=True, kw_only=True)
class Disclosure(Conditional):
    """`{to: couriers, gives: [address, own-name], for: delivery}`."""

    verbs: ClassVar = ("to",)

    to: tuple[Name, ...] = key(
        Many(Reference("parties", "people", "ends", "links", "anyone")), required=True, default=()
    )
    gives: tuple[Name, ...] = key(Many(Reference("data")), required=True, default=())
    purpose: Name = key(Reference("purposes"), name="for", required=True)
    until: Clock | None = key(clock())
    tells: tuple[Name, ...] = key(Many(Reference("people", "ends")), default=())


@dataclass(frozen=True, kw_only=True)
class NeverDisclosed(Promise):
    """`{never: sale}`."""

    verbs: ClassVar = ("never",)

    never: tuple[Name, ...] = key(
        Many(Word(("undeclared", "sale"), "a disclosure that never happens")), required=True, default=()
    )


# Words of a purpose's name that make it a sale, and those that do where data, or a list, is what is dealt in.
SOLD: Final = re.compile(
    r"sales?|resale|resell(s|ing)?|resold|broker(s|age|ing)?|moneti[sz](e|es|ed|ing|ation)"
)
DEALT: Final = re.compile(
    r"sell(s|ing)?|sold|trad(e|es|ed|ing)|rent(s|al|ed|ing)?|leas(e|es|ed|ing)|auction(s|ed|ing)?|barter(s|ed|ing)?"
)

BRANCHES = (Disclosure, NeverDisclosed)


def check(policy: Policy, problems: Problems, today: date) -> None:
    """Report what is given beyond its purpose, abroad without a safeguard, to everyone without a choice."""
    receiving: dict[str, Name] = {}
    for promise in policy.section("disclosure").values():
        if isinstance(promise, Disclosure):
            check_conditions(policy, promise, problems)
            if promise.until is not None:
                check_clock(policy, promise.until, promise.at("until"), problems)
            _gives(policy, promise, problems)
            _sold(policy, promise, problems)
            for name in promise.to:
                receiving.setdefault(name, name)
    for store in policy.stores.values():
        if store.party is not None:
            receiving.setdefault(store.party, store.party)
    for receiver, place in receiving.items():
        if receiver in policy.parties:
            _abroad(policy, policy.parties[receiver], place, problems, today)
    _nobody_else(policy, receiving, problems)


def _gives(policy: Policy, promise: Disclosure, problems: Problems) -> None:
    purpose = policy.section("purposes").get(promise.purpose)
    if not isinstance(purpose, Purpose):
        return
    for name in promise.gives:
        if name in policy.data and name not in purpose.uses:
            problems.error(
                "gives-more",
                f"`{promise.name}` gives `{name}`, which `{purpose.name}` does not use",
                name.span,
                help=f"`{purpose.name}` uses {', '.join(purpose.uses) or 'no data'}",
                law=policy.cite("Art. 5(1)(b), (c)"),
            )
    if "anyone" in promise.to and not (promise.choice or purpose.choice) and policy.european():
        problems.finding(
            "public-without-choice",
            f"`{promise.name}` shows personal data to anyone, and the person has no choice",
            promise.at("to"),
            help="add choice: what lets people hide it",
            law=policy.cite("Art. 25(2)"),
        )


def is_sold(purpose: str, party: Party) -> bool:
    """Whether data that goes to a party for a purpose is sold to it, by the purpose's name (`data-trading`).

    A business is sold to its successor, not the data; and a company doesn't sell to itself.
    """
    words = purpose.casefold().split("-")
    of_data = "data" in words or "list" in words
    sold = any(map(SOLD.fullmatch, words)) or (of_data and any(map(DEALT.fullmatch, words)))
    return sold and party.role not in ("us", "successor")


def _sold(policy: Policy, promise: Disclosure, problems: Problems) -> None:
    """A promise that nothing is sold beside a disclosure to another company for what is called a sale."""
    never = any(
        isinstance(one, NeverDisclosed) and "sale" in one.never
        for one in policy.section("disclosure").values()
    )
    others = [
        to for to in promise.to if to in policy.parties and is_sold(str(promise.purpose), policy.parties[to])
    ]
    if never and others:
        problems.error(
            "sold",
            f"the policy says that data is never sold, and gives it to `{others[0]}` for `{promise.purpose}`",
            promise.purpose.span,
            help="give the purpose its own name if it is none, or take the promise back",
            law="CCPA §1798.140(ad)" if "ccpa" in policy.laws else None,
        )


def _abroad(policy: Policy, party: Party, place: Name, problems: Problems, today: date) -> None:
    if not party.region:
        if party.role in ("processor", "controller", "joint") and policy.european():
            problems.finding(
                "no-region",
                f"`{party.name}` receives data, and nobody says where it is",
                place.span,
                help=f"add region: to `{party.name}`",
                law=policy.cite("Art. 13(1)(f)"),
            )
        return
    living = [word for word in words.SAFEGUARDS if safeguard(word).stands(today)]
    for name in policy.european():
        outside = [region for region in party.region if not reachable(name, region, today)]
        if outside and party.safeguard is None:
            problems.finding(
                "no-safeguard",
                f"data goes to `{party.name}` in {words.region_name(outside[0])}, and nothing protects it there",
                outside[0].span,
                help=f"add safeguard: one of {', '.join(living)}",
                law=f"{law(name).short} Art. 44, 46",
            )
            return


def _nobody_else(policy: Policy, receiving: Mapping[str, Name], problems: Problems) -> None:
    """An absolute "nobody else" reads badly beside a party in another part of the world."""
    home = [area for name in policy.laws for area in law(name).regions]
    abroad = [
        party
        for name in receiving
        if (party := policy.parties.get(Name(name, receiving[name].span))) is not None
        and party.role != "us"
        and any(not any(words.covers(area, region) for area in home) for region in party.region)
    ]
    for promise in policy.section("disclosure").values():
        if isinstance(promise, NeverDisclosed) and "undeclared" in promise.never and abroad:
            verb = "do" if len(abroad) > 1 else "does"
            listed_ = " and ".join(party.label for party in abroad)
            problems.finding(
                "nobody-else",
                f"the policy says that nobody else gets data, and {listed_} in another part of the world {verb}",
                promise.at("never"),
                help="make sure the page names them in the same breath: says: {en: …}",
                law=policy.cite("Art. 5(1)(a), 13(1)(e), (f)"),
            )


def sentence(policy: Policy, promise: Disclosure | NeverDisclosed) -> str:
    """The promise as the policy page says it."""
    if isinstance(promise, NeverDisclosed):
        never = {
            "undeclared": "We give your data to nobody but those named on this page.",
            "sale": "We never sell your data.",
        }
        return " ".join(never[word] for word in promise.never)
    purpose = policy.section("purposes").get(promise.purpose)
    inherited = [purpose] if isinstance(purpose, Purpose) else []
    consent = bool(inherited) and set(inherited[0].ground.values()) == {"consent"}
    you = {kind for name in promise.gives if name in policy.data for kind in policy.owners(policy.data[name])}
    data = data_words(policy, promise.gives)
    links = [name for name in promise.to if name in policy.links]
    if "anyone" in promise.to:
        text = f"Anyone can see {data}"
    elif links:
        theirs = data_words(policy, promise.gives, your=False)
        text = f"The two sides of a {joined(map(words_of, links), 'or')} see each other's {theirs}"
    else:
        text = f"We give {data} to {joined(_recipient(policy, who) for who in promise.to)}"
    text += f", for “{words_of(promise.purpose)}”"
    text += conditions(policy, [promise, *inherited], you, consent=consent)
    if promise.until is not None:
        clock = clock_words(policy, promise.until)
        until = clock.removeprefix("when ") if promise.until.period is None else clock
        during = ""
        if promise.during is not None and promise.during == promise.until.event.of:
            during = f", only during the {words_of(promise.during)}"
        text = (
            text.replace(during, "")
            + (f",{during.removeprefix(', only')} and" if during else ",")
            + f" until {until}"
        )
    text += "."
    if promise.tells:
        text += f" We tell {joined(dict.fromkeys(who_words(policy, who, you) for who in promise.tells))}."
    return text


def _recipient(policy: Policy, who: str) -> str:
    """A recipient with where it is and what protects data there."""
    if who not in policy.parties:
        return who_words(policy, who)
    party = policy.parties[who]
    name = own_words(party) or party.label
    if party.role == "us":
        return name
    place = [f"in {region_words(party.region)}"] if party.region else []
    under = [f"under {safeguard(party.safeguard).name}"] if party.safeguard else []
    return f"{name} ({', '.join([*place, *under])})" if place or under else name
