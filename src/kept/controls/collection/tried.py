"""What the entrance of collection does with forms made up for it; nothing of them is kept, and nobody is in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final

from kept.company import Company
from kept.controls.collection.card_numbers import never
from kept.controls.collection.declare import Collecting, NeverCollected
from kept.controls.collection.enforce import Collected, collect
from kept.controls.collection.gate.fields import Fields, Place
from kept.controls.collection.gate.forbidden import CARD, looked_into
from kept.controls.collection.persons import age
from kept.controls.collection.persons.age import Age
from kept.controls.refused import Refused
from kept.errors import KeptError
from kept.evidence.proof import Measured, Proof
from kept.policy.policy import Policy

UNKNOWN: Final = "kept_probe_nobody_declared"
NUMBER: Final = "4111111111111111"  # published for tests by every payment provider; nobody's
WRITTEN: Final[Mapping[str, Any]] = {
    "in one piece": NUMBER,
    "with spaces": "my card is 4111 1111 1111 1111, thank you",
    "with dashes": "4111-1111-1111-1111",
    "on two lines": "4111 1111\n1111 1111",
    "with full-width digits": "".join(chr(ord("０") + int(digit)) for digit in NUMBER),
    "in JSON": '{"payment": {"number": "4111 1111 1111 1111"}}',
    "deep in a form": {"payment": [{"note": "4111 1111 1111 1111"}]},
    "in a file": never.Attached("note.txt", b"pay with 4111 1111 1111 1111"),
}
HARMLESS: Final = ("order 1234567890123456 of 2026", "call +32 2 555 01 23", "BE68 5390 0754 7034")
OF_AGE: Final = Age("own", frozenset(), True, "they are of age")
VALUES: Final[Mapping[str, str]] = {
    "email": "nobody@kept.example",
    "phone": "+3225550123",
    "birth-date": "1980-01-01",
    "recorded": "2026-01-01T00:00:00+00:00",
    "time": "2026-01-01T00:00:00+00:00",
}


def step(company: Company, promise: Collecting) -> list[Proof]:
    """A field nobody declared must be refused or dropped; the optional may be withheld, what is taken must be there.

    The conditions of a step (a choice, a case, evidence) aren't tried here: a form that doesn't meet them is refused
    before, and then only the first of these can be seen.
    """
    policy, source = company.policy, str(promise.sources[0])
    full = {str(place): _value(place) for place in _places(policy, promise)}
    wrong: list[str] = []
    tried = 1
    if _reason(company, promise, {**full, UNKNOWN: "x"}, source, strict=True) != "undeclared":
        wrong.append("a field that nobody declared was not refused")
    tried += 1
    if _reason(company, promise, full, "nowhere at all") != "unknown-source":
        wrong.append("a source that nobody declared was not refused")
    taken = _taken(company, promise, {**full, UNKNOWN: "x"}, source)
    if taken is not None:
        tried += 1
        if UNKNOWN not in taken.dropped or UNKNOWN in taken.form:
            wrong.append("a field that nobody declared was not dropped")
        for name in map(str, promise.optional):
            tried += 1
            less = {str(one): _value(one) for one in _places(policy, promise) if one.data != name}
            if less and _taken(company, promise, less, source) is None:
                wrong.append(f"without `{name}`, which is optional, the form was refused")
        for name in map(str, promise.takes):
            places = [one for one in _places(policy, promise) if one.data == name]
            if places:
                tried += 1
                less = {str(one): _value(one) for one in _places(policy, promise) if one not in places}
                if _reason(company, promise, less, source) != "missing":
                    wrong.append(f"without `{name}`, which is needed, the form was taken")
    measured: Measured = {"step": str(promise.name), "trials": tried, "wrong": len(wrong)}
    if wrong:
        return [Proof("probe", "broken", f"At the entrance {'; '.join(wrong)}.", measured)]
    optional = " What is optional was withheld, and the form taken." if taken and promise.optional else ""
    says = f"A field and a source that nobody declared were refused at the entrance.{optional}"
    return [Proof("probe", "kept", says, measured)]


def card_numbers(promise: NeverCollected) -> Proof:
    """A card number must be refused or blotted out, however it is written, and nothing else may be."""
    wrong = []
    for how, value in WRITTEN.items():
        try:
            looked = looked_into([promise], {"field": value})
        except Refused as refused:
            if refused.reason != CARD or promise.blots_out:
                wrong.append(f"one {how} was refused as `{refused.reason}`")
        else:
            if not promise.blots_out or "field" not in looked.blotted or never.found(looked.form["field"]):
                wrong.append(f"one {how} got in")
    for value in HARMLESS:
        try:
            met = bool(looked_into([promise], {"field": value}).blotted)
        except Refused:
            met = True
        if met:
            wrong.append("something that is no card number was taken for one")
    measured: Measured = {"trials": len(WRITTEN) + len(HARMLESS), "wrong": len(wrong)}
    if wrong:
        return Proof(
            "probe", "broken", f"Of the card numbers tried at the entrance, {'; '.join(wrong)}.", measured
        )
    done = "blotted out" if promise.blots_out else "refused"
    says = f"A card number written in {len(WRITTEN)} ways was {done} at the entrance, and nothing else was."
    return Proof("probe", "kept", says, measured)


def age_asked(company: Company, promise: NeverCollected) -> list[Proof]:
    """Somebody of a kind that nothing is collected of must be turned away by their answer to the question of age."""
    policy = company.policy
    kinds = age.kinds_of(policy, promise)
    mine = [kind for kind in age.aged(policy) if str(kind.name) in kinds]
    if not mine:
        return []
    today = company.clock().astimezone(policy.timezone).date()
    turned_away = let_in = 0
    for kind in mine:
        for years in range(121):
            born = date(today.year - years, 1, 1)
            found = age.answer(company, born, None, kind=str(kind.name))
            if str(kind.name) in found.kinds:
                turned_away += found.band == "under"
                let_in += found.band != "under"
    measured: Measured = {"turned_away": turned_away, "let_in": let_in}
    if let_in or not turned_away:
        says = f"Of {turned_away + let_in} ages of people nothing is collected of, {let_in} were let in."
        return [Proof("probe", "broken", says, measured)]
    says = f"All {turned_away} ages of people nothing is collected of were turned away at the entrance."
    return [Proof("probe", "kept", says, measured)]


def _places(policy: Policy, promise: Collecting) -> Iterator[Place]:
    """One field for each data that a form gives."""
    fields = Fields.of(policy, promise)
    for name in dict.fromkeys((*promise.takes, *promise.optional)):
        places = fields.giving(str(name))
        if places:
            yield places[0]


def _value(place: Place) -> str:
    return VALUES.get(place.sort.type, "x")


def _reason(
    company: Company, promise: Collecting, form: Mapping[str, Any], source: str, *, strict: bool = False
) -> str:
    """Why a form is refused; empty where it isn't."""
    try:
        collect(company, str(promise.name), form, source=source, who=None, strict=strict, age=OF_AGE)
    except Refused as refused:
        return refused.reason
    except KeptError:
        return "unreachable"
    return ""


def _taken(company: Company, promise: Collecting, form: Mapping[str, Any], source: str) -> Collected | None:
    try:
        return collect(company, str(promise.name), form, source=source, who=None, age=OF_AGE)
    except KeptError:
        return None
