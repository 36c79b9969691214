"""What `security` says of sealing: which columns it means, what `check` refuses, and the sentence on the page."""

from __future__ import annotations

from datetime import date

from kept.controls.registry import SECTIONS, check, sentence
from kept.controls.security.declare import Sealing
from kept.controls.security.sealing.columns import sealed_columns
from kept.policy.policy import Policy
from kept.policy.read import read
from kept.policy.source import Source
from tests.acceptance.choosing import policy
from tests.acceptance.sealed import POLICY, TOKEN


def codes(text: str) -> list[str]:
    found, problems = read(Source("policy.yaml", text), SECTIONS)
    assert found is not None and not problems.errors
    return [problem.code for problem in check(found, today=date(2026, 6, 1)).errors]


def said(found: Policy, name: str) -> str:
    promise = found.section("security")[name]
    assert isinstance(promise, Sealing)
    return sentence(found, promise)


def test_all_columns_of_the_data_are_sealed_but_the_clocks_retention_goes_by() -> None:
    columns = sealed_columns(policy(POLICY))
    assert set(columns) == {
        TOKEN,
        "app.integrations.endpoint",
        "app.customers.name",
        "app.customers.email",
    }
    assert [name for name, one in columns.items() if one.searched] == ["app.customers.email"]
    assert columns[TOKEN].purposes == {"automation", "helping", "selling"}


def test_the_page_says_what_a_searchable_column_lets_be_seen() -> None:
    assert "can be seen" not in said(policy(POLICY), "tokens")
    assert "two values of “email” are the same can be seen" in said(policy(POLICY), "contacts")


def test_a_searchable_column_must_be_one_that_is_sealed() -> None:
    assert "not-sealed" not in codes(POLICY)
    assert "not-sealed" in codes(POLICY.replace("searchable: email", "searchable: mail"))
    clock = POLICY.replace("{seals: tokens, for: [automation, helping, selling]}",
                           "{seals: tokens, for: automation, searchable: made_at}")  # fmt: skip
    assert "not-sealed" in codes(clock)


def test_what_people_are_found_by_cannot_be_sealed() -> None:
    assert "sealed-key" not in codes(POLICY)
    for told in ("known-by: {email: email}", "region: name", "ended: name"):
        changed = POLICY.replace("in: app.customers, key: id", f"in: app.customers, key: id, {told}")
        assert "sealed-key" in codes(changed)
    some = POLICY.replace(
        "  support:  {is: staff}\n", "  support:  {is: staff}\n  known: {is: customer, when: name = Ada}\n"
    )
    assert "sealed-key" in codes(some)
