"""How each choice is asked in each region, of whom, and when again: tables of cases, and the five companies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from kept.controls.choices.asking import (
    InBrowser,
    ask_of,
    choices_of,
    floor,
    in_browser,
    may_ask_again,
    must_ask,
    must_tell,
    served,
    visitor_kind,
)
from kept.controls.choices.declare import Choice
from kept.controls.choices.declare import sentence as choice_sentence
from kept.controls.choices.floor import about
from kept.controls.collection.declare import NeverCollected
from kept.controls.collection.declare import sentence as collection_sentence
from kept.controls.registry import SECTIONS, check, load
from kept.policy.policy import Policy
from kept.policy.read import read
from kept.policy.source import Source

EXAMPLES = Path(__file__).parents[3] / "examples"
COMPANIES = ("sitelucent", "lucent-commerce", "lucent-marketplace", "lumensol", "lumnar")
REGIONS = ("fr", "eea", "gb", "us", "us-ca", "us-ny", "jp", None, "nowhere")
TODAY = date(2026, 11, 22)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

GOLDEN = {
    "sitelucent": {
        "statistics": "opt-in " * 9,
        "contact-list": "opt-in " * 9,
        "reset": "opt-out " * 9,
        "status": "opt-out " * 9,
        "alerts": "opt-out " * 9,
        "sharing": "opt-in " * 9,
    },
    "lucent-commerce": {
        "statistics": "opt-in opt-in opt-in opt-out opt-out opt-out opt-out opt-in opt-in",
        "offers": "opt-in " * 9,
        "partner-news": "opt-in " * 9,
    },
    "lucent-marketplace": {
        "guardian": "opt-in " * 9,
        "newsletter": "double-opt-in " * 9,
        "promotions": "opt-in " * 9,
        "contact": "opt-out " * 9,
        "advertising": "opt-in opt-in opt-in opt-out opt-out opt-out opt-out opt-in opt-in",
        "location": "opt-in " * 9,
        "public-activity": "opt-out " * 9,
        "off-site": "opt-in " * 9,
        "networks": "opt-in " * 9,
    },
    "lumensol": {
        "marketing": "opt-in opt-in opt-in opt-out opt-out opt-out opt-out opt-in opt-in",
        "device": "opt-in opt-in opt-in opt-out opt-out opt-out opt-out opt-in opt-in",
        "location": "opt-in " * 9,
    },
    "lumnar": {
        "preferences": "opt-in " * 9,
        "statistics": "opt-in opt-in opt-in opt-out opt-out opt-out opt-out opt-in opt-in",
        "news": "opt-in " * 9,
        "permission": "opt-in " * 9,
    },
}


@dataclass(frozen=True)
class Stood:
    state: str
    at: datetime = NOON


def company(name: str) -> Policy:
    return load(EXAMPLES / name / "policy.yaml")


def choice(policy: Policy, name: str) -> Choice:
    found = policy.section("choices")[name]
    assert isinstance(found, Choice)
    return found


def shop(
    ask: str,
    *,
    laws: str = "[gdpr, uk-gdpr, ccpa, coppa]",
    news: str = "uses: account, ground: contract, choice: it",
    other: str = "uses: visit, ground: contract",
    collection: str = "visiting: {takes: visit, from: user}",
    disclosure: str = "",
    choices: str = "",
) -> tuple[Policy, Choice]:
    """A shop with one choice, `it`, and what waits for it."""
    text = f"""kept: 1
policy: Shop
version: 2026-01-01
laws: {laws}
timezone: Europe/Brussels
parties:
  shop: {{role: us}}
  network: {{role: controller, hosts: [network.example, cdn.network.example]}}
  helper: {{role: processor, hosts: helper.example}}
stores:
  app: {{at: $APP}}
  site: {{at: https://shop.example, kind: browser}}
people:
  user: {{in: app.users, key: id, known-by: {{email: email}}, born: born_on}}
  minor: {{is: user, when: age < 18}}
  guest: {{in: app.visits, key: id}}
links:
  family: {{in: app.families, between: {{parent: user at parent_id, ward: minor at ward_id}}}}
data:
  account: {{of: user, in: {{app.users: {{email: email}}}}}}
  visit:
    of: guest
    in:
      app.visits: {{page: behaviour}}
      site.cookie: {{seen: behaviour, "_v*": identifier}}
      site.storage: {{cart: preference}}
      site.beacon: {{px: behaviour}}
  place: {{of: user, in: {{app.places: {{lat: precise-location}}}}}}
collection:
  joining: {{takes: account, from: user}}
  {collection}
choices:
  it: {{of: [user, guest], ask: {ask}}}
  {choices}
purposes:
  news: {{{news}}}
  other: {{{other}}}
{"disclosure:" if disclosure else ""}
  {disclosure}
"""
    policy, problems = read(Source("policy.yaml", text), SECTIONS)
    assert policy is not None and not problems.errors, [problem.message for problem in problems.errors]
    return policy, choice(policy, "it")


@pytest.mark.parametrize("name", COMPANIES)
def test_the_five_companies_ask_in_each_region_as_they_promise_and_as_the_law_wants(name: str) -> None:
    policy = company(name)
    asked = {
        str(one.name): " ".join(ask_of(policy, one, region) for region in REGIONS)
        for one in policy.section("choices").values()
        if isinstance(one, Choice)
    }
    assert asked == {one: ways.strip() for one, ways in GOLDEN[name].items()}


CONSENT = "uses: account, ground: consent, choice: it"
NEWSLETTER = "uses: account, ground: legitimate-interest, interest: sales, choice: it, sends: email"
WAITING = "visiting: {takes: visit, from: guest, choice: it}"
LOCATING = "visiting: {takes: visit, from: guest}\n  locating: {takes: place, from: user, choice: it}"


@pytest.mark.parametrize(
    ("ask", "given", "region", "way"),
    [
        # the file's word where no law asks for more
        ("notice", {}, "fr", "notice"),
        ("opt-out", {}, "fr", "opt-out"),
        ("double-opt-in", {}, "us", "double-opt-in"),
        ("{fr: opt-in, eea: opt-out, elsewhere: notice}", {}, "fr", "opt-in"),
        ("{fr: opt-in, eea: opt-out, elsewhere: notice}", {}, "de", "opt-out"),
        ("{fr: opt-in, eea: opt-out, elsewhere: notice}", {}, "eea", "opt-in"),  # it may be France
        ("{fr: opt-in, eea: opt-out, elsewhere: notice}", {}, "jp", "notice"),
        ("{us-ca: opt-in, elsewhere: opt-out}", {}, "us", "opt-in"),
        ("{us-ca: opt-in, elsewhere: opt-out}", {}, "us-ny", "opt-out"),
        ("{us-ca: opt-in, elsewhere: opt-out}", {}, None, "opt-in"),
        ("{us-ca: opt-in, elsewhere: opt-out}", {}, "France", "opt-in"),  # no word of the language
        # the law's where it wants more
        ("opt-out", {"news": CONSENT}, "fr", "opt-in"),
        ("opt-out", {"news": CONSENT}, "gb", "opt-in"),
        ("opt-out", {"news": CONSENT}, "us-ca", "opt-out"),
        ("opt-out", {"news": CONSENT}, None, "opt-in"),
        ("opt-out", {"news": CONSENT}, "France", "opt-in"),
        ("notice", {"news": CONSENT, "laws": "ccpa"}, None, "notice"),
        ("double-opt-in", {"news": CONSENT}, "fr", "double-opt-in"),
        ("notice", {"news": NEWSLETTER}, "fr", "opt-out"),
        ("notice", {"news": NEWSLETTER}, "us", "notice"),
        (
            "opt-out",
            {"news": "uses: account, ground: {fr: consent, elsewhere: contract}, choice: it"},
            "fr",
            "opt-in",
        ),
        (
            "opt-out",
            {"news": "uses: account, ground: {fr: consent, elsewhere: contract}, choice: it"},
            "de",
            "opt-out",
        ),
        (
            "opt-out",
            {"news": "uses: account, ground: {fr: consent, elsewhere: contract}, choice: it"},
            "eea",
            "opt-in",
        ),
        # cookies and location, unless the service needs them
        ("opt-out", {"collection": WAITING}, "fr", "opt-out"),
        (
            "opt-out",
            {
                "collection": WAITING,
                "other": "uses: visit, ground: legitimate-interest, interest: figures, groups: 5",
            },
            "fr",
            "opt-in",
        ),
        (
            "opt-out",
            {
                "collection": WAITING,
                "other": "uses: visit, ground: legitimate-interest, interest: figures, groups: 5",
            },
            "us-ca",
            "opt-out",
        ),
        ("opt-out", {"collection": LOCATING}, "gb", "opt-in"),
        ("notice", {"collection": LOCATING}, "us-ca", "opt-out"),
        (
            "opt-out",
            {"collection": LOCATING, "other": "uses: [visit, place], ground: contract"},
            "gb",
            "opt-out",
        ),
        # a sale: by the disclosure, or by the purpose it is for
        (
            "notice",
            {"disclosure": "out: {to: network, gives: account, for: other, choice: it}"},
            "us-ca",
            "opt-out",
        ),
        ("notice", {"disclosure": "out: {to: network, gives: account, for: news}"}, "us-ca", "opt-out"),
        ("notice", {"disclosure": "out: {to: network, gives: account, for: news}"}, "us-ny", "notice"),
        ("notice", {"disclosure": "out: {to: helper, gives: account, for: news}"}, "us-ca", "notice"),
    ],
)
def test_the_stricter_of_the_files_word_and_the_laws(
    ask: str, given: dict[str, str], region: str | None, way: str
) -> None:
    policy, it = shop(ask, **given)
    assert ask_of(policy, it, region) == way


def test_a_californian_under_16_opts_in_to_a_sale() -> None:
    policy, it = shop("opt-out", disclosure="out: {to: network, gives: account, for: news}")
    assert [ask_of(policy, it, "us-ca", age=age) for age in (None, 15, 16)] == [
        "opt-out",
        "opt-in",
        "opt-out",
    ]
    assert ask_of(policy, it, "us-ny", age=15) == "opt-out"


def test_a_parents_permission_is_asked_for_wherever_a_law_wants_one() -> None:
    policy, _ = shop("notice", choices="parents: {of: minor, by: family.parent, ask: notice}")
    parents = choice(policy, "parents")
    assert about(policy, parents, "fr") == {"parent"}
    ways = {region: floor(policy, parents, region) for region in ("fr", "gb", "us-ny", "jp")}
    assert ways == {"fr": "opt-in", "gb": "opt-in", "us-ny": "opt-in", "jp": "notice"}


@pytest.mark.parametrize("name", COMPANIES)
def test_those_who_browse_unnamed_are_visitors(name: str) -> None:
    assert visitor_kind(company(name)) == "visitor"


def test_a_kind_of_whom_a_browser_keeps_nothing_is_no_visitor() -> None:
    policy, _ = shop("opt-in")
    assert visitor_kind(policy) == "guest"
    text = policy.source.text.replace("    of: guest", "    of: user")
    other, _ = read(Source("policy.yaml", text), SECTIONS)
    assert other is not None and visitor_kind(other) is None


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("visitor", ["advertising"]),
        (
            "member",
            ["newsletter", "promotions", "contact", "advertising", "location", "public-activity"],
        ),
        (
            "minor",
            [
                "guardian",
                "newsletter",
                "promotions",
                "contact",
                "advertising",
                "location",
                "public-activity",
            ],
        ),
        (
            "payee",  # a seller, and so a member
            [
                "newsletter",
                "promotions",
                "contact",
                "advertising",
                "location",
                "public-activity",
                "off-site",
                "networks",
            ],
        ),
        ("subscriber", ["newsletter"]),
        ("supplier", []),
        ("trust", []),
        ("nobody", []),
    ],
)
def test_people_switch_the_choices_of_their_kind_and_of_what_it_is(kind: str, names: list[str]) -> None:
    assert [str(one.name) for one in choices_of(company("lucent-marketplace"), kind)] == names


def test_an_end_of_a_link_stands_for_its_kind() -> None:
    policy, _ = shop("opt-in", choices="ends: {of: family.ward, ask: opt-in}")
    assert [str(one.name) for one in choices_of(policy, "user")] == ["it"]
    assert [str(one.name) for one in choices_of(policy, "minor")] == ["it", "ends"]


def test_what_waits_for_a_choice() -> None:
    policy = company("lucent-marketplace")
    networks = served(policy, choice(policy, "networks"))
    assert [str(one.id) for one in (*networks.purposes, *networks.collections, *networks.disclosures)] == [
        "purposes.networks",
        "disclosure.networks",
    ]
    location = served(policy, choice(policy, "location"))
    assert [str(one.name) for one in location.purposes] == ["local-ads", "local-content"]
    assert [str(one.name) for one in location.collections] == ["locating"]


def test_everything_about_its_people_waits_for_a_permission_that_covers_everything() -> None:
    policy = company("lucent-marketplace")
    guardian = served(policy, choice(policy, "guardian"))
    names = {str(one.name) for one in guardian.purposes}
    assert {"selling", "newsletter", "local-ads"} <= names
    assert not {"hiring", "supplying", "regional-rules"} & names  # of applicants, suppliers and visitors


@pytest.mark.parametrize(
    ("name", "which", "found"),
    [
        ("sitelucent", "statistics", InBrowser(cookies=("_sl_stats",), hosts=("stats.example",))),
        ("sitelucent", "contact-list", InBrowser()),  # HubSpot's form works without it
        ("lucent-commerce", "statistics", InBrowser(cookies=("_lc*",), beacons=("px",))),
        ("lucent-marketplace", "advertising", InBrowser(cookies=("_utm*", "_ads*"))),  # and not the session
        ("lucent-marketplace", "guardian", InBrowser()),
        ("lucent-marketplace", "networks", InBrowser(hosts=("facebook.com", "google.com"))),
        ("lumensol", "device", InBrowser(cookies=("_ls*",))),
        ("lumnar", "preferences", InBrowser(cookies=("prefs",))),
        ("lumnar", "statistics", InBrowser(cookies=("_lu*",))),
    ],
)
def test_what_waits_in_a_browser(name: str, which: str, found: InBrowser) -> None:
    policy = company(name)
    assert in_browser(policy, choice(policy, which)) == found
    assert bool(found) == (found != InBrowser())


EVERYTHING = InBrowser(("seen", "_v*"), ("cart",), ("px",))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, InBrowser()),
        ({"collection": WAITING}, EVERYTHING),
        # a collection without a choice sets it anyway, whoever else waits
        ({"collection": f"{WAITING}\n  too: {{takes: visit, from: guest}}"}, InBrowser()),
        # nothing is done with it before a yes: it waits, though its collection doesn't say so
        ({"other": "uses: visit, ground: consent, choice: it"}, EVERYTHING),
        (
            {
                "other": "uses: visit, ground: consent, choice: it}\n  third: {uses: visit, ground: contract",
            },
            InBrowser(),
        ),
        (
            {"disclosure": "out: {to: network, gives: account, for: news}"},
            InBrowser(hosts=("network.example", "cdn.network.example")),
        ),
        (
            {
                "disclosure": "out: {to: network, gives: account, for: news}\n"
                "  free: {to: network, gives: visit, for: other}"
            },
            InBrowser(),
        ),
    ],
)
def test_what_is_in_a_browser_without_a_choice_does_not_wait(given: dict[str, str], found: InBrowser) -> None:
    policy, it = shop("opt-in", **given)
    assert in_browser(policy, it) == found


MONTHS_6 = datetime(2027, 5, 22, 22, tzinfo=UTC)  # the midnight in Brussels after the last day
MONTHS_12 = datetime(2027, 11, 22, 23, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("ask", "region", "state", "grown", "now", "asks"),
    [
        # nothing was answered yet
        ("opt-in", "fr", None, False, NOON, True),
        ("double-opt-in", "fr", None, False, NOON, True),
        ("opt-out", "fr", None, False, NOON, False),
        ("notice", "fr", None, False, NOON, False),
        # a yes
        ("opt-in", "fr", "Given", False, MONTHS_12, False),
        ("opt-in", "fr", "Given", True, NOON, True),
        ("opt-in", "fr", "RenewedGiven", False, MONTHS_12, False),
        ("opt-in", "fr", "RenewedGiven", True, NOON, True),
        ("opt-in", "fr", "Expired", False, NOON, True),
        ("opt-in", "fr", "Invalidated", False, NOON, True),
        ("opt-in", "fr", "Revoked", False, MONTHS_12, False),
        ("opt-in", "fr", "Revoked", True, NOON, True),
        # a no
        ("opt-in", "fr", "Refused", False, MONTHS_12, False),
        ("opt-in", "fr", "Refused", True, MONTHS_6 - MOMENT, False),
        ("opt-in", "fr", "Refused", True, MONTHS_6, True),
        ("opt-in", "fr", "Withdrawn", False, MONTHS_12, False),
        ("opt-in", "fr", "Withdrawn", True, MONTHS_6 - MOMENT, False),
        ("opt-in", "fr", "Withdrawn", True, MONTHS_6, True),
        ("opt-in", "us-ca", "Refused", True, MONTHS_6, False),
        ("opt-in", "us-ca", "Refused", True, MONTHS_12 - MOMENT, False),
        ("opt-in", "us-ca", "Refused", True, MONTHS_12, True),
        ("opt-in", "jp", "Refused", True, MONTHS_6 - MOMENT, False),
        ("opt-in", "jp", "Refused", True, MONTHS_6, True),
        ("opt-in", None, "Refused", True, MONTHS_12 - MOMENT, False),
        ("opt-in", "nowhere", "Refused", True, MONTHS_12 - MOMENT, False),
        ("opt-out", "fr", "Refused", True, MONTHS_12, False),
        # put off, shown
        ("opt-in", "fr", "RequestDeferred", False, NOON + timedelta(hours=24) - MOMENT, False),
        ("opt-in", "fr", "RequestDeferred", True, NOON + timedelta(hours=23), False),
        ("opt-in", "fr", "RequestDeferred", False, NOON + timedelta(hours=24), True),
        ("opt-in", "fr", "Requested", False, NOON, True),
        ("double-opt-in", "fr", "Requested", False, NOON + timedelta(hours=72) - MOMENT, False),
        ("double-opt-in", "fr", "Requested", False, NOON + timedelta(hours=72), True),
        ("opt-in", "fr", "Unknown", False, NOON, True),
    ],
)
def test_who_is_asked_and_who_is_left_in_peace(
    ask: str, region: str | None, state: str | None, grown: bool, now: datetime, asks: bool
) -> None:
    policy, it = shop(ask)
    event = Stood(state) if state else None
    assert must_ask(policy, it, region, event, now, grown=grown) == asks


def test_in_a_region_that_takes_silence_for_a_yes_people_are_told_once() -> None:
    for ask, told in (("opt-out", True), ("notice", True), ("opt-in", False), ("double-opt-in", False)):
        policy, it = shop(ask)
        assert must_tell(policy, it, "fr", None) == told
        assert not must_tell(policy, it, "fr", Stood("Requested"))


def test_a_refusal_on_the_last_of_a_month_rests_until_the_last_of_the_sixth() -> None:
    policy, _ = shop("opt-in")
    refused = datetime(2026, 8, 31, 12, tzinfo=UTC)
    assert may_ask_again(policy, "fr", refused) == datetime(2027, 2, 28, 23, tzinfo=UTC)


FIGURES = "uses: visit, ground: legitimate-interest, interest: figures, groups: 5"


@pytest.mark.parametrize(
    ("ask", "given", "told"),
    [
        ("notice", {}, None),
        ("notice", {"news": CONSENT}, ("told-not-asked", "GDPR Art. 4(11), 7; CJEU C-673/17 (Planet49)")),
        ("{us: opt-in, elsewhere: notice}", {"news": CONSENT}, ("told-not-asked", "GDPR Art. 4(11)")),
        ("{eea: opt-in, uk: opt-in, elsewhere: notice}", {"news": CONSENT}, None),
        (
            "{eea: opt-in, uk: opt-in, fr: notice, elsewhere: notice}",
            {"news": CONSENT},
            ("told-not-asked", "GDPR"),
        ),
        ("{eea: opt-in, elsewhere: notice}", {"news": CONSENT}, ("told-not-asked", "UK GDPR")),
        ("notice", {"news": CONSENT, "laws": "[ccpa]"}, None),
        ("notice", {"news": NEWSLETTER}, ("told-not-asked", "GDPR Art. 21(2)")),
        ("opt-out", {"news": NEWSLETTER}, None),
        (
            "{eea: opt-out, uk: opt-out, elsewhere: notice}",
            {"disclosure": "out: {to: network, gives: account, for: news}"},
            ("told-not-asked", "§ 1798.120(a)"),
        ),
        ("opt-out", {"news": CONSENT}, ("opt-out-for-consent", "GDPR Art. 4(11)")),
        ("opt-out", {"collection": LOCATING}, ("silence-for-a-yes", "Directive 2002/58/EC Art. 5(3), 9(1)")),
        ("opt-out", {"collection": WAITING}, None),
        (
            "{eea: opt-in, elsewhere: opt-out}",
            {"collection": WAITING, "other": FIGURES},
            ("silence-for-a-yes", "PECR reg. 6"),
        ),
        ("{eea: opt-in, uk: opt-in, elsewhere: opt-out}", {"collection": WAITING, "other": FIGURES}, None),
    ],
)
def test_check_tells_once_where_the_file_asks_for_less_than_the_law(
    ask: str, given: dict[str, str], told: tuple[str, str] | None
) -> None:
    policy, _ = shop(ask, **given)
    of_asking = ("told-not-asked", "silence-for-a-yes", "opt-out-for-consent")
    found = [
        (one.code, str(one.law)) for one in check(policy, today=TODAY).in_order() if one.code in of_asking
    ]
    if told is None:
        assert found == []
    else:
        # silence for a consent is told once for each law
        assert {code for code, _ in found} == {told[0]} and found[0][1].startswith(told[1])
        assert told[0] == "opt-out-for-consent" or len(found) == 1


def test_the_page_says_how_people_are_asked_and_told() -> None:
    policy, it = shop("{eea: opt-out, elsewhere: notice}")
    assert choice_sentence(policy, it) == (
        "It: in the EEA this is on until you switch it off, at any time; "
        "elsewhere we tell you, and do it without asking."
    )


@pytest.mark.parametrize(
    ("entry", "blots_out", "said"),
    [
        ("never: card-number", False, "We never take full card numbers."),
        (
            "never: card-number, then: refuse",
            False,
            "We never take full card numbers. What holds one is not accepted.",
        ),
        (
            "never: card-number, then: blot-out",
            True,
            "We never take full card numbers. Where one is written to us all the same, "
            "we blot it out before anything is kept.",
        ),
    ],
)
def test_the_page_says_what_happens_to_a_card_number(entry: str, blots_out: bool, said: str) -> None:
    policy, _ = shop("opt-in", collection=f"visiting: {{takes: visit, from: guest}}\n  cards: {{{entry}}}")
    cards = policy.section("collection")["cards"]
    assert isinstance(cards, NeverCollected)
    assert cards.blots_out == blots_out
    assert collection_sentence(policy, cards) == said
