"""Puts the conditions of a promise into words; the same for collection, purposes and disclosure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kept.controls.choices.declare import Choice
from kept.policy.conditions import Conditional
from kept.policy.policy import Policy
from kept.policy.wording import joined, own_words, region_words, who_words, words_of

NEEDS = {
    "verified-email": "once your e-mail address is verified",
    "verified-phone": "once your phone number is verified",
    "verified-identity": "once your identity is verified",
    "written-consent": "only with your written consent",
    "document": "only against a document that we keep on file",
    "reason": "only for a reason that we write down",
    "asked": "only when asked for",
    "agreement": "only under an agreement that binds them",
}


def conditions(
    policy: Policy, promises: Iterable[Conditional], you: Iterable[str] = (), *, consent: bool = False
) -> str:
    """The conditions of a promise and of those it inherits from, as `, only with your consent, only …`."""
    phrases: dict[str, None] = {}
    for promise in promises:
        phrases.update(dict.fromkeys(_phrases(policy, promise, tuple(you), consent)))
    return "".join(f", {phrase}" for phrase in phrases)


def chosen(policy: Policy, name: str) -> str:
    """`only if you have said yes to “statistics”`, or `unless you have switched “alerts” off`."""
    choice = policy.section("choices").get(name)
    asks = set(map(str, choice.ask.values())) if isinstance(choice, Choice) else {"opt-in"}
    label = f"“{words_of(name)}”"
    if asks == {"opt-out"}:
        return f"unless you have switched {label} off"
    if "opt-out" in asks:
        return f"only as you have chosen under {label}"
    return f"only if you have said yes to {label}"


def _phrases(policy: Policy, promise: Conditional, you: tuple[str, ...], consent: bool) -> Iterator[str]:
    if promise.choice and consent:
        yield f"only with your consent ({joined(f'“{words_of(name)}”' for name in promise.choice)})"
    for name in promise.choice if not consent else ():
        yield chosen(policy, name)
    if promise.groups is not None:
        yield f"only in groups of at least {promise.groups} people"
    for name in promise.case:
        link = policy.links.get(name)
        staff = [end for end, at in link.between.items() if policy.is_staff(at.kind)] if link else []
        case = own_words(link) or f"{words_of(name)} case"
        by = f"by the {words_of(staff[0])} assigned to" if staff else "during"
        yield f"only {by} an open {case} about you"
    if promise.by and not promise.case:
        yield f"only by {joined((who_words(policy, who, you) for who in promise.by), 'or')}"
    if promise.during is not None:
        yield f"only during the {words_of(promise.during)}"
    for name in promise.unless:
        yield (
            f"unless a {words_of(name)} stands between you"
            if name in policy.links
            else f"unless you have said yes to “{words_of(name)}”"
        )
    if promise.regions:
        yield f"only in {region_words(promise.regions)}"
    for name in promise.needs:
        yield NEEDS[name]
