"""Which columns the fields of a form mean."""

from __future__ import annotations

import pytest

from kept.controls.collection.declare import Collecting
from kept.controls.collection.gate.fields import Fields, source_column
from kept.policy.policy import Policy
from tests.declared import declared

POLICY = """
stores:
  app: {at: $APP}
  site: {at: https://site.example, kind: browser}
people:
  user: {in: app.users, key: id}
data:
  contact: {of: user, in: {app.users: {name: name, email: email, source: source, at: recorded}}}
  street: {of: user, in: {app.addresses: {line: address, name: name}}}
  nick: {of: user, in: {app.profiles: {handle: username, at: recorded}}}
  trace: {of: user, in: {app.visits: {page: behaviour}, site.cookie: {_tr*: identifier}}}
  joined: {of: user, in: {app.users: {at: time}}}
collection:
  joining: {takes: [contact, street, nick, trace], from: user}
  noting: {takes: joined, from: user}
"""


@pytest.fixture(scope="module")
def policy() -> Policy:
    return declared(POLICY)


def fields(policy: Policy, step: str) -> Fields:
    found = policy.section("collection")[step]
    assert isinstance(found, Collecting)
    return Fields.of(policy, found)


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("email", ["app.users.email"]),
        ("users.email", ["app.users.email"]),
        ("app.users.email", ["app.users.email"]),
        ("contact.email", ["app.users.email"]),
        ("name", ["app.users.name", "app.addresses.name"]),
        ("contact.name", ["app.users.name"]),
        ("addresses.name", ["app.addresses.name"]),
        ("nick", ["app.profiles.handle"]),
        ("contact", []),
        ("_tr1", ["site.cookie._tr1"]),
        ("site.cookie._trx", ["site.cookie._trx"]),
        ("tr1", []),
        ("Email", []),
        ("crm.users.email", []),
        ("joined", []),
        ("source", ["app.users.source"]),
        ("", []),
    ],
)
def test_a_field_means_the_columns_of_its_step_and_no_others(
    policy: Policy, name: str, means: list[str]
) -> None:
    assert [".".join(place) for place in fields(policy, "joining").meant(name)] == means


def test_data_is_given_by_what_is_neither_time_nor_source_unless_there_is_nothing_else(
    policy: Policy,
) -> None:
    joining = fields(policy, "joining")
    assert [place.column for place in joining.giving("contact")] == ["name", "email"]
    assert [place.column for place in joining.giving("trace")] == ["page"]
    assert [place.column for place in fields(policy, "noting").giving("joined")] == ["at"]
    assert joining.example("street") == "street.line"


def test_the_column_of_the_source_is_found_whatever_data_has_it(policy: Policy) -> None:
    assert source_column(policy, "app.users") == "source"
    assert source_column(policy, "app.addresses") is None
