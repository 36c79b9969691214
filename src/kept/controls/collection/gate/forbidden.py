"""What is never collected, looked for in everything that comes in: card numbers are refused or blotted out.

`undeclared` is seen to where fields are read, `anything` where ages are. `health` can't be seen in a text: a policy
that never collects it has no column for it, and what somebody writes about their health in a free text isn't seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kept.controls.collection.card_numbers import never
from kept.controls.collection.card_numbers.attached import Unseen
from kept.controls.collection.declare import NeverCollected
from kept.controls.refused import Refused, named
from kept.policy.policy import Policy

CARD = "card-number"


@dataclass(frozen=True)
class Looked:
    """What came in, as it may go on: fields in which a number was `blotted` out, and those nobody can look into."""

    form: Mapping[str, Any]
    blotted: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


def forbidding(policy: Policy, kinds: Iterable[str]) -> list[NeverCollected]:
    """The promises never to take a card number of people of some kinds; all where nobody says of whom it is."""
    about = list(kinds)
    found = []
    for promise in policy.section("collection").values():
        if isinstance(promise, NeverCollected) and CARD in promise.never:
            theirs = [kind for who in promise.of if (kind := policy.kind_of(str(who))) is not None]
            if not theirs or not about or any(policy.related(one, kind) for one in about for kind in theirs):
                found.append(promise)
    return found


def looked_into(
    promises: Collection[NeverCollected], form: Mapping[str, Any], *, credentials: Collection[str] = ()
) -> Looked:
    """Look into every value, nested JSON and the text of files; Refused where the policy refuses.

    Where one promise refuses and another blots out, it is refused. A file that nobody can look into (an image, a PDF)
    may hold a number: it is refused where numbers are, else let through and named. In `credentials` nothing is blotted
    out, for whoever typed it could not sign in with what is left.
    """
    if not promises:
        return Looked(form)
    refusing = [promise for promise in promises if not promise.blots_out]
    clause = [name for promise in refusing or promises for name in promise.clause]
    clean: dict[str, Any] = {}
    blotted, unseen = [], []
    for field, value in form.items():
        if never.found(field):  # a name is as good a hiding place as a value
            raise Refused(CARD, "the name of a field holds a full card number", clause=clause)
        met = never.scan(value)
        numbers = [one for one in met if isinstance(one, never.Found)]
        dark = [one for one in met if isinstance(one, Unseen)]
        if numbers and (refusing or field in credentials):
            raise Refused(
                CARD,
                f"{named(field)} holds a full card number",
                clause=clause,
                help="take it out; payments are made on the payment provider's own page",
            )
        if dark and refusing:
            raise Refused(
                "unseen",
                f"{named(field)} holds {dark[0].kind}, and nobody can see whether a card number is in it",
                clause=clause,
                help="send it as text; or let the policy say then: blot-out, which lets such files through",
            )
        if numbers:
            try:
                value = never.blotted(value)
            except never.CannotBlot:
                raise Refused(
                    CARD, f"{named(field)} holds a full card number", clause=clause, help="take it out"
                ) from None
            blotted.append(field)
        if dark:
            unseen.append(field)
        clean[field] = value
    return Looked(clean, tuple(blotted), tuple(unseen))
