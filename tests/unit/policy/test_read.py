"""Reading: everything is text, everything has a place, one mistake doesn't hide another."""

from __future__ import annotations

from datetime import date

from kept.controls.disclosure.declare import Disclosure
from kept.controls.purposes.declare import Purpose
from kept.controls.registry import SECTIONS
from kept.policy.grammar import Clock, Event, Period
from kept.policy.policy import Policy
from kept.policy.read import read
from kept.policy.source import Problems, Source, Span

HEADER = "kept: 1\npolicy: Shop\nversion: 2026-01-01\nlaws: gdpr\n"


def reading(text: str) -> tuple[Policy, Problems]:
    policy, problems = read(Source("policy.yaml", HEADER + text), SECTIONS)
    assert policy is not None
    return policy, problems


def test_a_header_is_typed() -> None:
    policy, problems = reading("timezone: Europe/Brussels\n")
    assert problems.found == []
    assert (policy.name, policy.version, policy.laws, policy.timezone.key) == (
        "Shop",
        date(2026, 1, 1),
        ("gdpr",),
        "Europe/Brussels",
    )


def test_norway_and_phone_numbers_stay_what_they_are() -> None:
    policy, problems = reading(
        "parties:\n  shop: {role: us, name: NO, contacts: {help: {phone: +47 22 00 00 00}}, region: no}\n"
    )
    assert problems.found == []
    shop = policy.parties["shop"]
    assert (shop.title, shop.region, shop.contacts["help"]["phone"]) == ("NO", ("no",), "+47 22 00 00 00")  # type: ignore[index]  # a Name is found by any equal str


def test_one_may_stand_where_a_list_may_and_each_name_knows_its_place() -> None:
    policy, _ = reading("parties:\n  shop: {role: us, sites: a.example, serves: [eea, uk]}\n")
    shop = policy.parties["shop"]
    assert shop.sites == ("a.example",)
    assert [region.span for region in shop.serves] == [Span(6, 47, 3), Span(6, 52, 2)]


def test_a_value_for_everybody_and_one_by_region_are_read_alike() -> None:
    policy, _ = reading(
        "purposes:\n  a: {uses: x, ground: contract}\n  b: {uses: x, ground: {eea: consent, elsewhere: contract}}\n"
    )
    a, b = policy.section("purposes").values()
    assert isinstance(a, Purpose)
    assert isinstance(b, Purpose)
    assert (dict(a.ground), dict(b.ground)) == (
        {"elsewhere": "contract"},
        {"eea": "consent", "elsewhere": "contract"},
    )


def test_a_quoted_expression_has_its_place_inside_the_quotes() -> None:
    policy, problems = reading(
        'disclosure:\n  a: {to: x, gives: y, for: z, until: "90 days after sale.ended"}\n'
    )
    (disclosure,) = policy.section("disclosure").values()
    assert isinstance(disclosure, Disclosure)
    assert disclosure.until == Clock(Event("ended", "sale"), Period(90, "days"))
    place = next(problem.span for problem in problems.found if "sale" in problem.message)
    assert HEADER.count("\n") + 2 == place.line
    assert '  a: {to: x, gives: y, for: z, until: "90 days after sale.ended"}'[place.column - 1 :].startswith(
        "sale"
    )


def test_all_mistakes_of_a_file_are_told_in_one_run() -> None:
    _, problems = reading(
        "parties:\n  shop: {role: uss}\nstores:\n  app: {at: $A, kind: sqll}\n"
        "purposes:\n  a: {uses: b, grounds: contract}\n"
        "retention:\n  c: {keeps: d, until: 24 moons after e.ended}\n"
    )
    assert [problem.code for problem in problems.in_order()] == [
        "unknown-word",
        "unknown-word",
        "unknown-name",
        "unknown-key",
        "unknown-name",
        "bad-period",
    ]


def test_an_entry_that_could_not_be_read_is_still_a_name() -> None:
    _, problems = reading(
        "choices:\n  news: {of: user}\npurposes:\n  news: {uses: x, ground: consent, choice: news}\n"
    )
    assert "news" not in " ".join(
        problem.message for problem in problems.found if problem.code == "unknown-name"
    )


def test_a_file_of_a_megabyte_is_refused_unread() -> None:
    policy, problems = read(Source("policy.yaml", "#" * 1_000_001), SECTIONS)
    assert policy is None
    assert [problem.code for problem in problems.found] == ["too-long"]


def test_deep_nesting_ends_in_a_problem_at_once() -> None:
    _, problems = read(Source("policy.yaml", HEADER + "people: " + "[" * 100_000), SECTIONS)
    assert [problem.code for problem in problems.found] == ["too-deep"]
