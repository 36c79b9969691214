"""Which data falls under Art. 20, on the five example policies and on small ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from kept.controls.registry import SECTIONS, load
from kept.controls.rights.answers.portable import exported, portable
from kept.datamap.graph import build_map
from kept.policy.policy import Policy
from kept.policy.read import read
from kept.policy.source import Source
from kept.stores.schema import Column, Reference, Schema, Table

EXAMPLES = Path(__file__).parents[4] / "examples"


@cache
def policy(company: str) -> Policy:
    return load(EXAMPLES / company / "policy.yaml")


@pytest.mark.parametrize(
    ("company", "kind", "goes"),
    [
        ("lucent-commerce", "customer", "contact password billing"),
        ("lucent-commerce", "visitor", "usage"),
        (
            "lucent-marketplace",
            "member",
            "email phone own-name shop-name billing address payout birth works likes reviews sold payment location",
        ),
        ("lucent-marketplace", "subscriber", "newsletter"),
        ("lucent-marketplace", "applicant", "application"),
        ("lucent-marketplace", "supplier", "deliveries"),
        ("lucent-marketplace", "visitor", "activity coarse origin"),
        ("lumnar", "customer", "account tokens payment"),
        ("lumnar", "chatter", "chat"),
        ("lumnar", "visitor", "session prefs usage"),
        ("sitelucent", "user", "account"),
        ("sitelucent", "lead", "enquiry"),
        ("sitelucent", "visitor", "visits"),
        ("lumensol", "contact", "profile transactions reviews"),
        ("lumensol", "visitor", "device location"),
        ("lumensol", "tenant", ""),
    ],
)
def test_what_people_of_the_examples_may_take_along(company: str, kind: str, goes: str) -> None:
    assert portable(policy(company), kind).data == tuple(goes.split())


def test_what_stays_behind_has_its_reason() -> None:
    left = portable(policy("lumensol"), "contact").left
    assert left["social"] == "It comes from social networks, not from you."
    assert left["public-facts"] == "It comes from public sources, not from you."
    assert "legitimate interests" in left["surveys"]
    assert "a legal duty" in left["letters"] and "legal claims" in left["letters"]
    assert portable(policy("lumensol"), "tenant").left == {
        "tenancy": "We hold it for our clients only, who decide about it."
    }
    assert "ourselves" in portable(policy("lucent-marketplace"), "member").left["identity"]


@pytest.mark.parametrize(
    "company", ["lucent-commerce", "lucent-marketplace", "lumnar", "sitelucent", "lumensol"]
)
def test_every_data_of_a_kind_either_goes_or_has_a_reason(company: str) -> None:
    of = policy(company)
    for kind in of.people:
        scope = portable(of, str(kind))
        owned = {
            str(name)
            for name, data in of.data.items()
            if any(of.related(owner, str(kind)) for owner in of.owners(data))
        }
        assert set(scope.data) | set(scope.left) == owned
        assert not set(scope.data) & set(scope.left)
        assert all(why[0].isupper() and why.endswith(".") for why in scope.left.values())


HEADER = """
kept: 1
policy: Test
version: 2026-01-01
laws: [gdpr]
parties: {us: {role: us}}
stores: {app: {at: $APP}}
people: {user: {in: app.users, key: id}}
links: {review: {in: app.reviews, between: {author: user at author_id, reviewed: user at reviewed_id}}}
data:
  account: {of: user, in: {app.users: {email: email, seen: recorded}}}
  seen:    {of: user, in: {app.users: {seen: time}}}
  reviews: {of: [review.author, review.reviewed], in: {app.reviews: {body: free-text}}}
purposes:
  service: {uses: [account, reviews], ground: {eea: contract, elsewhere: legitimate-interest}, interest: x}
  looking: {uses: seen, ground: legitimate-interest, interest: x}
collection:
"""


def small(*collection: str) -> Policy:
    text = HEADER + "".join(f"  {entry}\n" for entry in collection)
    made, problems = read(Source("policy.yaml", text), SECTIONS)
    assert made is not None, [problem.message for problem in problems.errors]
    return made


def test_what_a_device_shows_counts_as_provided() -> None:
    assert "account" in portable(small("by-device: {takes: account, from: device}"), "user").data


def test_one_region_with_a_contract_is_enough() -> None:
    assert portable(small("joining: {takes: account, from: user}"), "user").data == ("account",)


def test_data_nobody_says_where_from_stays_behind() -> None:
    assert portable(small("joining: {takes: seen, from: user}"), "user").data == ()


def number(name: str) -> Column:
    return Column(name, "INTEGER", "number", nullable=True)


SCHEMA = Schema(
    {
        "users": Table(
            "users",
            {name: Column(name, "TEXT", "text", nullable=True) for name in ("email", "seen")}
            | {"id": number("id")},
            ("id",),
        ),
        "reviews": Table(
            "reviews",
            {name: number(name) for name in ("id", "author_id", "reviewed_id")}
            | {"body": Column("body", "TEXT", "text", nullable=True)},
            ("id",),
            tuple(
                Reference("reviews", (column,), "users", ("id",)) for column in ("author_id", "reviewed_id")
            ),
        ),
    }
)


def test_a_walk_is_narrowed_to_the_columns_of_such_data() -> None:
    of = small("joining: {takes: [account, seen], from: user}")
    walk = build_map(of, {"app": SCHEMA}).walk("user")
    assert walk is not None and walk.root.columns["seen"] == ("account", "seen")
    narrowed = exported(of, walk)
    assert narrowed.root.columns == {"email": ("account",), "seen": ("account",)}
    assert [stop.table for stop in narrowed.stops] == [stop.table for stop in walk.stops]
    assert narrowed.root.person == walk.root.person


def test_what_one_end_of_a_link_gave_is_not_the_other_ends_to_take() -> None:
    of = small("posting: {takes: reviews, from: review.author}")
    walk = build_map(of, {"app": SCHEMA}).walk("user")
    assert walk is not None
    ways = {
        stop.hops[0].reference.columns[0]: set(stop.columns) for stop in exported(of, walk).stops if stop.hops
    }
    assert ways == {"author_id": {"body"}, "reviewed_id": set()}
