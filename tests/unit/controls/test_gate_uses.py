"""The uses of a policy as they are compiled: which there are, who may ask, which columns, and how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kept.controls.choices.deciding import Decision
from kept.controls.purposes.gate import uses as compiled
from kept.controls.purposes.gate.uses import Use, Uses
from tests.acceptance.choosing import POLICY, policy

TEXT = (
    POLICY.replace(
        "  minor:   {is: member, when: age < 18}\n",
        "  minor:   {is: member, when: age < 18}\n  engineer: {is: staff}\n  chief:   {is: engineer}\n"
        "  support: {is: staff}\n",
    )
    .replace(
        "purposes:\n",
        """\
purposes:
  mending:    {uses: email, ground: contract, by: engineer}
  looking:    {uses: [email, key], ground: contract, by: [staff, guardianship.guardian]}
  counting:   {uses: [email, works], ground: contract, groups: 10}
  calling:    {uses: key, ground: contract}
  closing:    {sets: member.ended, ground: contract, by: member}
  never:      {never: undeclared, clause: L-1}
""",
    )
    .replace(
        "data:\n",
        "data:\n  key:      {of: member, in: {app.members: {sells: credential}}}\n",
    )
)


@pytest.fixture(scope="module")
def uses() -> Uses:
    return Uses(policy(TEXT))


def found(uses: Uses, *asked: Any) -> Use:
    use = uses.find(*asked)
    assert isinstance(use, Use), use
    return use


def refused(uses: Uses, *asked: Any) -> str:
    decision = uses.find(*asked)
    assert isinstance(decision, Decision) and not decision.allowed
    return decision.rule


def names() -> Iterator[str]:
    yield from ("email", "works")


def test_a_use_is_found_by_its_names_however_they_are_given(uses: Uses) -> None:
    whole = found(uses, "service")
    assert set(whole.names) == {"email", "works", "place", "activity"} and whole.alone
    for given in (
        ("email", "works"),
        ["email", "works"],
        frozenset({"email", "works"}),
        names(),
        ("works", "email"),
    ):
        assert set(found(uses, "service", given).names) == {"email", "works"}
    assert found(uses, "service", "email") is found(uses, "service", "email")
    assert found(uses, "service", ("email", "email")).names == ("email",)
    assert found(uses, "service", None, "email").channel == "email"
    assert found(uses, "closing").names == ()


def test_what_is_not_declared_is_no_use_whatever_it_is(uses: Uses) -> None:
    for purpose in ("", "Service", "service ", "never", None, 7, ["service"], ("service",), b"service"):
        assert refused(uses, purpose) == "purpose"
    assert uses.find("nothing").clause == ("L-1",)
    odd: tuple[Any, ...] = (
        "",
        "EMAIL",
        "emai\u0142",
        (),
        [],
        iter(()),
        frozenset(),
        7,
        True,
        b"email",
        (None,),
        [["email"]],
        "key",
    )
    for data in odd:
        assert refused(uses, "service", data) == "data"
    assert refused(uses, "service", ("email", "key")) == "data"
    assert (
        refused(uses, "service", (name for name in iter(lambda: "email", None))) == "data"
    )  # without an end
    assert refused(uses, "closing", ()) == "data"
    for channel in ("", "push", "Email", 7, ["email"]):
        assert refused(uses, "service", None, channel) == "channel"


def test_names_that_break_while_they_are_read_are_no_names(uses: Uses) -> None:
    class Odd:
        def __hash__(self) -> int:
            raise ValueError

    assert refused(uses, "service", (str(1 // number) for number in (1, 0))) == "data"
    assert refused(uses, "service", Odd()) == "data"
    assert refused(uses, Odd()) == "purpose"
    assert refused(uses, "service", None, Odd()) == "channel"


def test_who_may_ask_are_those_it_names_and_all_that_are_one_of_them(uses: Uses) -> None:
    assert found(uses, "mending").by == {"engineer", "chief"} and not found(uses, "mending").alone
    assert found(uses, "looking").staff == {"staff", "engineer", "chief", "support"}
    assert found(uses, "looking").by - found(uses, "looking").staff == {"guardianship.guardian"}
    assert found(uses, "service").by == {"staff", *policy(TEXT).people} and not found(uses, "service").asks
    assert found(uses, "counting").staff == frozenset()


def test_an_allowed_use_says_which_columns_and_how(uses: Uses) -> None:
    assert found(uses, "service", "works").allowed.fields == {"app.works.title": "as is"}
    assert set(found(uses, "counting").allowed.fields.values()) == {"aggregated"}
    assert found(uses, "counting").allowed.floor == 10
    assert found(uses, "calling").allowed.fields == {"app.members.sells": "masked"}  # nobody reads a password
    sealed = Uses(policy(TEXT + "security:\n  keys: {seals: key, for: calling}\n"))
    assert found(sealed, "calling").allowed.fields == {"app.members.sells": "as is"}
    assert found(sealed, "looking", "key").allowed.fields == {"app.members.sells": "masked"}


def test_any_number_of_questions_is_remembered_in_so_much_memory(
    uses: Uses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "MOST", 4)
    for number in range(100):
        found(
            uses, "service", ("email", "works", "place", "activity", *("email",) * (number % 2))[number % 3 :]
        )
        assert len(uses.known) <= 4 and set(uses.alone) <= set(uses.known)
