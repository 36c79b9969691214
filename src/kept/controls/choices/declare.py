"""What a person can switch: asked how, by whom, and how soon it takes effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from kept.controls.choices.floor import about, floor, waiting
from kept.laws.choices import ASKS
from kept.laws.law import law
from kept.policy import words
from kept.policy.conditions import Conditional
from kept.policy.entry import Promise, key
from kept.policy.expression_readers import period
from kept.policy.grammar import Period, Test
from kept.policy.policy import Policy
from kept.policy.readers import Many, Reference, Regional, Word
from kept.policy.source import Name, Problems
from kept.policy.wording import by_region, capitalised, joined, who_words, words_of

# The longest that large mailbox providers allow a sender for an unsubscription (RFC 8058, one click).
DEFAULT_WITHIN = Period(2, "days")


@dataclass(frozen=True, kw_only=True)
class Choice(Promise):
    """`{of: member, ask: {eea: opt-in, elsewhere: opt-out}, signals: gpc}`."""

    verbs: ClassVar = ("of",)

    of: tuple[Name, ...] = key(Many(Reference("people", "ends")), required=True, default=())
    ask: Mapping[str, Name] = key(
        Regional(Word(("opt-in", "double-opt-in", "opt-out", "notice"), "a way of asking")),
        required=True,
        default={},
    )
    by: tuple[Name, ...] = key(Many(Reference("people", "ends")), default=())
    with_party: tuple[Name, ...] = key(Many(Reference("parties")), name="with", default=())
    signals: tuple[Name, ...] = key(Many(Word(("gpc", "device"), "a signal")), default=())
    each: Name | None = key(Word(("channel", "purpose"), "what is chosen one by one"))
    lapses: Period | None = key(period())
    within: Period | None = key(period())
    covers: Name | None = key(Word(("everything",), "what a permission covers"))

    @property
    def takes_effect(self) -> Period:
        """How soon a change of mind must have reached everywhere."""
        return self.within or DEFAULT_WITHIN


BRANCHES = (Choice,)


def check(policy: Policy, problems: Problems, today: date) -> None:
    """Report choices nobody uses, people asked for less than the law wants, and children whom nobody protects."""
    used = {
        name
        for promise in policy.every_promise()
        if isinstance(promise, Conditional)
        for name in (*promise.choice, *promise.unless)
    }
    choices = [promise for promise in policy.section("choices").values() if isinstance(promise, Choice)]
    for choice in choices:
        if choice.name not in used and choice.covers is None and "purposes" not in policy.incomplete:
            problems.finding(
                "unused-choice",
                f"nothing depends on the choice `{choice.name}`: people switch it, and nothing changes",
                choice.span,
                help="name it in a purpose, collection or disclosure, or take it out",
                law=policy.cite("Art. 5(1)(a)"),
            )
        _least(policy, choice, problems)
    _children(policy, choices, problems)


def _least(policy: Policy, choice: Choice, problems: Problems) -> None:
    """Being told is no choice where the law gives one, and silence no yes where it wants one.

    Silence for a consent is told where the consent is: see `purposes`.
    """
    if not choice.ask:
        return  # told where it was read
    places = {area for name in policy.laws for area in law(name).regions} | set(choice.ask)
    for promise in waiting(policy, choice):
        places |= set(getattr(promise, "ground", ()))
    for region in sorted(places - {"elsewhere"}):
        ask, least = words.applicable(choice.ask, region), floor(policy, choice, region)
        if least is None or ASKS.index(least.ask) >= ASKS.index(ask):
            continue
        where = words.region_name(region)
        if ask == "notice":
            problems.error(
                "told-not-asked",
                f"in {where} people are told of `{choice.name}`, and the law there gives them a choice",
                ask.span,
                help=f"ask: {least.ask}, at least there",
                law=least.article,
            )
            return
        if "consent" not in about(policy, choice, region):
            problems.finding(
                "silence-for-a-yes",
                f"in {where} `{choice.name}` takes silence for a yes, and the law there wants one",
                ask.span,
                help=f"ask: {least.ask}, at least there; Kept asks so until the file does",
                law=least.article,
            )
            return


def _children(policy: Policy, choices: list[Choice], problems: Problems) -> None:
    """Whoever may be under the age of the law has a guardian, or nothing is collected of them."""
    lines = [
        (law(name), age)
        for name in policy.laws
        for word, age in law(name).ages.items()
        if word in ("child", "consent")
    ]
    never = {
        str(kind) for promise in policy.section("collection").values() for kind in getattr(promise, "of", ())
    }
    guarded = {str(kind) for choice in choices if choice.by for kind in choice.of}
    for kind in policy.people.values():
        top = _highest(kind.when)
        if (
            top is not None
            and kind.name not in never | guarded
            and (under := [line for line in lines if top <= line[1].age])
        ):
            problems.finding(
                "children-unprotected",
                f"`{kind.name}` is under {under[0][1].age}, and nobody's permission is asked for them",
                kind.span,
                help=f"add a choice of theirs by a guardian, or collection: {{never: anything, of: {kind.name}}}",
                law="; ".join(
                    f"{one.short} {age.article}" if one.short not in age.article else age.article
                    for one, age in under
                ),
            )


def _highest(test: Test | None) -> int | None:
    """The age below which a test lets people through; None where it sets no upper bound."""
    bounds = (
        [
            int(part.value or 0) + (part.operator == "<=")
            for part in test.all
            if part.of_age and part.operator in ("<", "<=")
        ]
        if test
        else []
    )
    return min(bounds, default=None)


def sentence(policy: Policy, promise: Choice) -> str:
    """The promise as the policy page says it."""
    guardian = f"the {words_of(promise.by[0])}" if promise.by else None
    ways = {
        "opt-in": f"we ask {guardian or 'you'} first, and nothing happens without a yes",
        "double-opt-in": f"we ask {guardian or 'you'} first, and by e-mail once more; "
        "nothing happens without both yeses",
        "notice": f"we tell {guardian or 'you'}, and do it without asking",
        "opt-out": f"this is on until {guardian or 'you'} {'switches' if guardian else 'switch'} it off, at any time",
    }
    asked = by_region({region: ways[ask] for region, ask in promise.ask.items()})
    parts = [f"{capitalised(words_of(promise.name))}: {asked}."]
    if promise.covers is not None:
        whose = joined(who_words(policy, who) for who in promise.of)
        parts.append(f"Without this permission we collect and use nothing of {whose}.")
    if promise.with_party:
        others = joined(policy.parties[name].label for name in promise.with_party if name in policy.parties)
        parts.append(f"{others} must agree too.")
    if promise.each is not None:
        parts.append(f"You choose for each {promise.each} by itself.")
    if "gpc" in promise.signals:
        parts.append("We honour the Global Privacy Control signal of your browser.")
    if "device" in promise.signals:
        parts.append("We honour the switch on your device.")
    if promise.lapses is not None:
        parts.append(f"A yes lapses after {promise.lapses}.")
    if promise.within is not None:
        parts.append(
            f"A change takes effect {'at once' if promise.within.amount == 0 else f'within {promise.within}'}."
        )
    return " ".join(parts)
