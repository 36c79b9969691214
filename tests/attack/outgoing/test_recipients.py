"""Names that look like a recipient's: refused, each with a word that says so, and never taken for it."""

from __future__ import annotations

import pytest

from kept.controls.disclosure.recipients import looks_like, party_of
from kept.controls.refused import Refused
from kept.policy.policy import Policy
from tests.acceptance.choosing import policy
from tests.acceptance.disclosing import POLICY

ALIKE = {
    "capitals": "Couriers",
    "all capitals": "COURIERS",
    "a zero-width space": "couriers\u200b",
    "a space at its end": "couriers ",
    "a space before it": " couriers",
    "a line end": "couriers\n",
    "a dot at its end": "couriers.",
    "a Cyrillic o": "c\u043euriers",
    "a Cyrillic c and e": "\u0441ouri\u0435rs",
    "a Greek omicron": "c\u03bfuriers",
    "full-width letters": "\uff43\uff4f\uff55\uff52\uff49\uff45\uff52\uff53",
    "mathematical letters": "\U0001d41c\U0001d428\U0001d42e\U0001d42b\U0001d422\U0001d41e\U0001d42b\U0001d42c",
    "an accent": "couriérs",
    "a combining mark": "co\u0308uriers",
    "a zero-width joiner": "cour\u200diers",
    "a soft hyphen": "cour\u00adiers",
    "a right-to-left mark": "\u200fcouriers",
    "a dotless i": "cour\u0131ers",
    "a Turkish capital i": "COUR\u0130ERS",
    "a nought for an o": "c0uriers",
    "a space that doesn't break": "couriers\u00a0",
}


@pytest.fixture(scope="module")
def atelier() -> Policy:
    return policy(POLICY)


@pytest.mark.parametrize("how", ALIKE)
def test_a_name_that_only_looks_like_a_recipients_is_refused_as_such(atelier: Policy, how: str) -> None:
    with pytest.raises(Refused) as refused:
        party_of(atelier, ALIKE[how])
    assert refused.value.reason == "lookalike", how
    assert refused.value.clause == ("A-8",)
    assert str(refused.value).isascii() and "\u200b" not in str(
        refused.value
    )  # what was written isn't repeated


@pytest.mark.parametrize(
    "name", ["", "x" * 100_000, "\ud800", "couriers-two", "buyer", "delivery", "anyone", "__class__"]
)
def test_any_other_word_is_no_recipient(atelier: Policy, name: str) -> None:
    with pytest.raises(Refused) as refused:
        party_of(atelier, name)
    assert refused.value.reason == "recipient"


def test_no_two_declared_recipients_are_taken_for_each_other(atelier: Policy) -> None:
    names = list(map(str, atelier.parties))
    assert len({looks_like(name) for name in names}) == len(names)
    assert all(party_of(atelier, name).name == name for name in names)
