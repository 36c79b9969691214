"""What a choice is about, apart from its words: purposes, the data each uses, and who gets it.

A yes covers what it was given for. When the policy later does more under the same choice, that more isn't covered and
has to be asked for; when only the words change, or less is done, everything stands (GDPR Art. 4(11), 6(1)(a), 7(1)).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Any

import rfc8785

from kept.controls.choices.declare import Choice
from kept.policy.conditions import Conditional
from kept.policy.entry import Promise
from kept.policy.policy import Policy

Meaning = Mapping[str, Any]
"""`{"choice": name, SECTION: {promise: {"data": {name: [sorts]}, "sends": […], "to": […]}}}`, a section each."""

SECTIONS = ("collection", "purposes", "disclosure")


def meaning(policy: Policy, choice: Choice) -> Meaning:
    """What a choice is about as the policy stands: everything that waits for its yes."""
    found: dict[str, Any] = {"choice": str(choice.name)}
    for section in SECTIONS:
        found[section] = {
            str(promise.name): _about(policy, promise)
            for promise in policy.section(section).values()
            if isinstance(promise, Conditional) and choice.name in (*promise.choice, *promise.unless)
        }
    if choice.covers is not None:
        found["covers"] = str(choice.covers)
    return found


def digest(body: Meaning) -> str:
    """SHA-256 of its canonical JSON (RFC 8785), hex."""
    return sha256(rfc8785.dumps(body)).hexdigest()


def grew(then: Meaning, now: Meaning) -> bool:
    """Whether a choice is about more than it was: it has to be asked anew."""
    return any(
        not covers(then, section, name, about)
        for section in SECTIONS
        for name, about in now.get(section, {}).items()
    )


def covers(then: Meaning, section: str, name: str, about: Mapping[str, Any]) -> bool:
    """Whether a yes given `then` covers a promise that is now `about` this."""
    if then.get("covers") == "everything":
        return True
    was = then.get(section, {}).get(name)
    if was is None:
        return False
    return (
        all(_within(sorts, was["data"].get(data)) for data, sorts in about["data"].items())
        and _within(about["sends"], was["sends"])
        and _within(about["to"], was["to"])
    )


def about(policy: Policy, section: str, name: str) -> Mapping[str, Any]:
    """What one promise is about now, as a meaning holds it."""
    promise = policy.section(section)[name]
    assert isinstance(promise, Conditional)
    return _about(policy, promise)


def _within(some: Collection[str], others: Collection[str] | None) -> bool:
    return others is not None and set(some) <= set(others)


def _about(policy: Policy, promise: Conditional) -> dict[str, Any]:
    names = [
        str(name)
        for key in ("uses", "sets", "takes", "optional", "gives")
        for name in getattr(promise, key, ())
        if name in policy.data
    ]
    given: list[Promise] = [promise]
    if promise.section != "disclosure":
        disclosures = policy.section("disclosure").values()
        given = [one for one in disclosures if getattr(one, "purpose", None) == promise.name]
    return {
        "data": {name: _sorts(policy, name) for name in sorted(set(names))},
        "sends": sorted(map(str, getattr(promise, "sends", ()))),
        "to": sorted({str(to) for one in given for to in getattr(one, "to", ())}),
    }


def _sorts(policy: Policy, data: str) -> list[str]:
    tables = policy.data[data].tables.values()
    return sorted({sort.type for columns in tables for sort in columns.values()})
