"""Whatever a record holds, what is left of it is declared."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kept.controls.collection.gate.fields import Fields, Place
from kept.controls.disclosure.payload import fields, strip, values
from kept.controls.refused import Refused
from kept.policy.grammar import Sort
from tests.acceptance.choosing import policy
from tests.acceptance.disclosing import POLICY

ATELIER = policy(POLICY)
AS_IS = frozenset(f"shop.buyers.{column}" for column in ("email", "name", "country", "street"))
NAMES = [
    "email",
    "name",
    "buyers.email",
    "shop.buyers.street",
    "contact.name",
    "password",
    "orders",
    "iban",
    "id",
]
NAMES += ["shop.buyers", "buyers", "shop.orders"]


def couriers() -> Fields:
    promise = ATELIER.section("disclosure")["couriers"]
    return fields(ATELIER, promise, ("contact", "street"), AS_IS)  # type: ignore[arg-type]  # it is a Disclosure


plain = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.dates())
deep = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), deep, max_size=6))
def test_nothing_but_declared_columns_with_plain_values_is_left(record: dict[str, Any]) -> None:
    try:
        left = strip(couriers(), record)
    except Refused as refused:
        if refused.reason != "twice":
            raise
        return
    assert left.columns <= AS_IS
    for under, field, value in values(left.record):
        name = f"{under}.{field}" if under else field
        assert name.rpartition(".")[2] in {"email", "name", "country", "street"} or name in (
            "contact",
            "street",
        )
        assert not isinstance(value, dict | list)
    assert set(left.record) | set(left.taken_out) >= {name for name in record if name in left.record}


def test_rows_of_a_table_are_stripped_one_by_one() -> None:
    left = strip(couriers(), {"shop.buyers": [{"email": "a@b.example", "iban": "x"}, {"iban": "y"}, "z"]})
    assert left.record == {"shop.buyers": [{"email": "a@b.example"}]}
    assert left.taken_out == ("shop.buyers.iban", "shop.buyers")


def test_a_name_that_could_be_somebodys_is_not_repeated() -> None:
    left = strip(
        couriers(), {"ada@mail.example": "x", "a b": "y", "x" * 300: "z", "street": date(2026, 1, 1)}
    )
    assert left.taken_out == ("(not a name)",) and left.columns == {"shop.buyers.street"}


def test_a_field_by_its_table_and_by_its_column_at_once_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        strip(couriers(), {"shop.buyers": {"email": "a@b.example"}, "email": "b@b.example"})
    assert refused.value.reason == "twice"


def test_what_fits_a_pattern_is_a_name_and_no_value() -> None:
    marks = Fields((Place("site.cookie", "_utm*", Sort("identifier"), "marks", in_browser=True),))
    left = strip(marks, {"_utma": "x", "_utm b2@mail.example DE02": "x", "_utm\u00e9": "x"})
    assert left.record == {"_utma": "x"} and left.columns == {"site.cookie._utma"}
    assert not any("b2@" in one for one in left.taken_out)
