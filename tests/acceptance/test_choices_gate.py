"""The gate before a use: what it allows, what it refuses, and that everybody-at-once says the same as one-by-one."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.engine import Engine

from kept.company import Company
from kept.controls.choices.enforce import SURE, Gate
from kept.controls.choices.messages.audience import audience
from kept.controls.choices.messages.resident import Audience
from kept.controls.choices.messages.sending import sending
from kept.controls.choices.records.book import New, Refused, record
from kept.controls.choices.records.checked import scopes
from kept.controls.choices.records.forgetting import forget
from kept.controls.choices.records.history import current, histories
from kept.controls.choices.records.lapses import lapse
from kept.controls.rights.people import Person
from kept.errors import KeptError, TransientError
from kept.state.tables import choice_readers, holds, instructions
from tests.acceptance.choosing import (
    POLICY,
    START,
    Clock,
    company,
    database,
    execute,
    member,
    visitor,
)

GPC, DEVICE = frozenset({"gpc"}), frozenset({"device"})

FORBIDS = POLICY.replace(
    "purposes:\n",
    """\
  no-profiling: {of: member, ask: opt-in, lapses: 30 days}
  no-calls:     {of: member, ask: double-opt-in}
  no-sharing:   {of: member, ask: {us-ca: notice, elsewhere: opt-in}, with: lucent}
  no-tracking:  {of: minor, by: guardianship.guardian, ask: opt-in}
purposes:
  profiling: {uses: activity, ground: legitimate-interest, interest: knowing, unless: no-profiling}
  calls:     {uses: email, ground: legitimate-interest, interest: selling, unless: no-calls, sends: email}
  sharing:   {uses: email, ground: legitimate-interest, interest: selling, unless: [no-sharing, no-calls]}
  tracking:  {uses: activity, ground: legitimate-interest, interest: knowing, unless: no-tracking}
""",
)
GROWN = FORBIDS.replace("profiling: {uses: activity,", "profiling: {uses: [activity, email],").replace(
    "calls:     {uses: email,", "calls:     {uses: [email, works],"
)
"""What forbids something (`unless`), and later the same with more that it is about."""


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    state = request.getfixturevalue("fresh_postgresql") if request.param == "postgresql" else None
    clock = Clock()
    with company(tmp_path / "lumi", clock, state=state) as opened:
        yield opened, clock


def say(opened: Company, who: Person, choice: str, answer: Any, scope: str = "", **more: Any) -> None:
    record(opened, [New(who, choice, answer, more.pop("way", "account"), scope, **more)])


def test_the_region_decides_and_an_unknown_one_is_the_strictest(place: tuple[Company, Clock]) -> None:
    opened, _ = place
    gate = Gate.of(opened)
    allowed = {n for n in range(1, 13) if gate.may(member(n), "ads").allowed}
    # 1, 2, 9: the US; 6: Brazil. The EEA and the UK opt in, and so does whoever is nowhere known; 5 and 10 are minors,
    # and of 11 nobody knows the age: a minor needs a guardian's permission first
    assert allowed == {1, 2, 6, 8, 9} - {8 if _country(8) not in ("US", "us-ca", "br") else 0}
    assert not gate.may(visitor(1), "ads").allowed
    for n, answer in ((1, "no"), (3, "yes"), (7, "yes")):
        say(opened, member(n), "ads", answer)
    assert not gate.may(member(1), "ads").allowed
    assert gate.may(member(3), "ads").allowed and gate.may(member(7), "ads").allowed
    say(opened, visitor(1), "ads", "asked", way="banner", region="us-ca")
    assert gate.may(visitor(1), "ads").allowed  # where their browser was when they were told
    say(opened, member(4), "ads", "asked", way="banner", region="us-ca")
    assert not gate.may(
        member(4), "ads"
    ).allowed  # nowhere known by the company's word, whatever a browser says


def _country(n: int) -> str | None:
    return ("fr", "US", "us-ca", "gb", None, "nowhere", "br")[n % 7]


def test_a_signal_never_overwrites_an_explicit_choice_and_the_device_beats_all(
    place: tuple[Company, Clock],
) -> None:
    opened, _ = place
    gate, who = Gate.of(opened), member(1)
    assert gate.may(who, "ads").allowed and not gate.may(who, "ads", signals=GPC).allowed
    say(opened, who, "ads", "asked", way="banner")
    assert not gate.may(who, "ads", signals=GPC).allowed  # being shown a banner is no answer
    say(opened, who, "ads", "no", way="signal")
    assert not gate.may(who, "ads").allowed
    say(opened, who, "ads", "yes")
    assert gate.may(who, "ads", signals=GPC).allowed
    say(opened, who, "ads", "no", way="signal")
    assert gate.may(who, "ads", signals=GPC).allowed
    say(opened, who, "location", "yes")
    assert gate.may(who, "local-ads").allowed and not gate.may(who, "local-ads", signals=DEVICE).allowed
    assert not gate.choice(who, "location", signals=DEVICE).allowed


def test_each_channel_and_purpose_is_chosen_by_itself(place: tuple[Company, Clock]) -> None:
    opened, _ = place
    gate, who = Gate.of(opened), member(1)
    say(opened, who, "promotions", "yes", "push")
    assert gate.may(who, "promotions", "push").allowed and not gate.may(who, "promotions", "email").allowed
    assert not gate.may(who, "promotions", "sms").allowed and not gate.may(who, "nothing").allowed
    say(opened, who, "contact", "no", "surveys")
    assert gate.may(who, "feedback", "email").allowed and not gate.may(who, "surveys", "email").allowed
    say(opened, who, "promotions", "no")
    assert not gate.may(who, "promotions", "push").allowed
    assert gate.may(who, "service", "email").allowed  # what needs no choice passes


def test_more_than_what_was_agreed_to_is_refused_and_the_rest_stands(tmp_path: Path) -> None:
    folder = tmp_path / "lumi"
    with company(folder) as opened:
        for choice in ("ads", "location", "promotions"):
            say(opened, member(3), choice, "yes")
        assert Gate.of(opened).may(member(3), "local-ads").allowed
    more = POLICY.replace(
        "{uses: place, ground: consent, choice: [ads, location]}",
        "{uses: [place, works], ground: consent, choice: [ads, location]}",
    )
    more = more.replace("sends: [email, push]}", "sends: [email, push, sms]}") + (
        "  maps: {uses: place, ground: consent, choice: location}\n"
    )
    with company(folder, text=more) as opened:
        gate = Gate.of(opened)
        assert not gate.may(member(3), "local-ads").allowed and not gate.may(member(3), "maps").allowed
        assert gate.may(member(3), "ads").allowed
        say(opened, member(3), "location", "yes")
        assert gate.may(member(3), "maps").allowed and not gate.may(member(3), "local-ads").allowed
    with company(folder, text=POLICY.replace("Lumi", "Lumi Ltd")) as opened:  # only words
        assert Gate.of(opened).may(member(3), "promotions", "push").allowed


def test_what_forbids_a_use_forbids_it_however_the_yes_to_it_stands(tmp_path: Path) -> None:
    """A yes to what a use is `unless` closes it: nothing that would make another yes void opens it again."""
    folder, clock = tmp_path / "lumi", Clock()
    with company(folder, clock, text=FORBIDS) as opened:
        gate = Gate.of(opened)
        assert all(gate.may(member(1), use).allowed for use in ("profiling", "calls", "sharing"))
        say(opened, member(1), "no-profiling", "yes")
        say(opened, member(1), "no-calls", "yes")  # never confirmed
        say(opened, member(3), "no-sharing", "yes")  # the other party has not agreed to it
        for use in ("profiling", "calls", "sharing"):
            assert "forbids it" in gate.may(member(1), use).reason
            assert not gate.may_all([member(1)], use)[member(1)].allowed
        assert "`no-sharing` stands" in gate.may(member(3), "sharing").reason
        say(opened, member(5), "guardian", "yes", decider=member(1))
        assert gate.may(member(5), "tracking").allowed
        say(opened, member(5), "no-tracking", "yes", decider=member(1))
        assert "forbids it" in gate.may(member(5), "tracking").reason
        clock.pass_(days=1)
        say(opened, member(2), "no-calls", "no")
        assert gate.may(member(2), "calls").allowed
        clock.pass_(days=1)
        say(
            opened, member(2), "no-calls", "yes"
        )  # after a no, and not confirmed: it doesn't count, and is said
        assert not gate.may(member(2), "calls").allowed
    with company(folder, clock, text=GROWN) as opened:
        gate = Gate.of(opened)
        assert not any(gate.may(member(1), use).allowed for use in ("profiling", "calls", "sharing"))
        assert member(1) not in set(audience(opened, "profiling"))
        clock.pass_(days=40)
        gate.learn([member(1)])
        assert not gate.may(member(1), "profiling").allowed  # it has lapsed
        assert lapse(opened) == 1 and not gate.may(member(1), "profiling").allowed
        say(opened, member(1), "no-profiling", "later")
        say(opened, member(1), "no-profiling", "asked")
        assert not gate.may(member(1), "profiling").allowed
        for choice in ("no-profiling", "no-calls", "no-sharing"):
            say(opened, member(1), choice, "no")
        assert all(gate.may(member(1), use).allowed for use in ("profiling", "calls", "sharing"))
        assert {member(1)} <= set(audience(opened, "profiling"))
    unlinked = "UPDATE guardians SET ended_at = '2026-06-01' WHERE member_id = 5"
    free = FORBIDS.replace(
        "  guardian:   {of: minor, by: guardianship.guardian, ask: opt-in, covers: everything}\n", ""
    )
    execute(folder, unlinked)
    with company(folder, clock, text=free) as opened:
        assert "forbids it" in Gate.of(opened).may(member(5), "tracking").reason


def test_a_refusal_outlives_whatever_the_choice_is_asked_for_one_by_one(tmp_path: Path) -> None:
    each = "contact:    {of: member, ask: opt-out, each: purpose}"
    by_channel = POLICY.replace(each, "contact:    {of: member, ask: opt-out, each: channel}")
    whole = POLICY.replace(each, "contact:    {of: member, ask: opt-out}")
    renamed = POLICY.replace("  surveys:", "  polls:  ")
    folder, clock = tmp_path / "lumi", Clock()
    with company(folder, clock, text=by_channel) as opened:
        say(opened, member(1), "contact", "no")
    with company(folder, clock, text=whole) as opened:
        say(opened, member(2), "contact", "yes")
    clock.pass_(days=10)
    with company(folder, clock) as opened:
        gate, held = Gate.of(opened), Audience.load(opened, "member")
        for use in ("surveys", "feedback"):
            assert not gate.may(member(1), use, "email").allowed
            assert member(1) not in set(held.people(held.of(use, "email")))
        say(opened, member(2), "contact", "no", "surveys")
        say(opened, member(9), "contact", "no", "surveys")
        say(opened, member(1), "contact", "yes", "feedback")  # newer, and to what is asked now
        assert gate.may(member(1), "feedback", "email").allowed
        assert not gate.may(member(1), "surveys", "email").allowed
        held.refresh()
        assert set(held.people(held.of("feedback", "email"))) == set(audience(opened, "feedback", "email"))
    clock.pass_(days=10)
    with company(folder, clock, text=whole) as opened:
        held = Audience.load(opened, "member")
        assert (
            not Gate.of(opened).may(member(2), "surveys", "email").allowed
        )  # the yes to all is the older one
        assert member(2) not in set(held.people(held.of("surveys", "email")))
    with company(folder, clock, text=renamed) as opened:
        assert not Gate.of(opened).may(member(9), "polls", "email").allowed
        assert member(9) not in set(audience(opened, "polls", "email"))
        say(opened, member(9), "contact", "yes", "polls")
        assert Gate.of(opened).may(member(9), "polls", "email").allowed


def test_a_refusal_survives_a_policy_edit(tmp_path: Path) -> None:
    folder = tmp_path / "lumi"
    with company(folder) as opened:
        say(opened, member(1), "contact", "no")
        say(opened, member(2), "ads", "no")
    whole = POLICY.replace("ask: opt-out, each: purpose", "ask: opt-out").replace(
        "gpc}", "gpc, lapses: 1 days}"
    )
    with company(folder, Clock(START + timedelta(days=400)), text=whole) as opened:
        gate = Gate.of(opened)
        assert (
            not gate.may(member(1), "surveys", "email").allowed
            and gate.may(member(2), "surveys", "email").allowed
        )
        assert not gate.may(member(2), "ads").allowed


def test_the_other_party_has_to_agree_too(place: tuple[Company, Clock]) -> None:
    opened, _ = place
    gate = Gate.of(opened)
    say(opened, member(3), "off-site", "yes")
    assert "Lucent has not agreed" in gate.may(member(3), "off-site", "email").reason
    say(opened, member(3), "off-site", "yes", "with lucent", way="api", by="lucent")
    assert gate.may(member(3), "off-site", "email").allowed
    say(opened, member(3), "off-site", "no", "with lucent", way="api", by="lucent")
    assert not gate.may(member(3), "off-site", "email").allowed
    assert not gate.may(member(1), "off-site", "email").allowed  # who sells nothing has no such choice


def test_a_minor_is_closed_off_unless_a_guardian_stands_for_them(tmp_path: Path) -> None:
    folder, clock = tmp_path / "lumi", Clock()
    with company(folder, clock) as opened:
        gate = Gate.of(opened)
        assert not gate.may(member(5), "service", "email").allowed
        say(opened, member(5), "guardian", "yes", decider=member(1))
        assert gate.may(member(5), "service", "email").allowed
        assert not gate.may(member(11), "service", "email").allowed  # nobody knows how old they are
        execute(folder, "UPDATE guardians SET ended_at = '2026-06-01' WHERE member_id = 5")
        time.sleep(SURE + 0.1)
        assert "may not any more" in gate.may(member(5), "service", "email").reason
        execute(folder, "UPDATE guardians SET ended_at = NULL WHERE member_id = 5")
        time.sleep(SURE + 0.1)
        assert gate.may(member(5), "service", "email").allowed
        execute(folder, "ALTER TABLE guardians RENAME TO elsewhere")
        time.sleep(SURE + 0.1)
        assert "nobody can say" in gate.may(member(5), "service", "email").reason
        assert gate.may(member(1), "service", "email").allowed  # whoever needs none isn't held up by it
    with company(folder, clock) as opened:  # and now the data map has no such table
        assert not Gate.of(opened).may(member(5), "service", "email").allowed


def test_what_a_person_said_by_law_is_met_and_a_later_yes_counts(place: tuple[Company, Clock]) -> None:
    opened, clock = place
    gate = Gate.of(opened)
    for n, choice in ((1, "promotions"), (2, "promotions"), (3, "promotions")):
        say(opened, member(n), choice, "yes")
    assert all(gate.may(member(n), "promotions", "email").allowed for n in (1, 2, 3))
    _instruct(opened, member(1), "restrict", "*")
    _instruct(opened, member(2), "withdraw", "promotions")
    _instruct(opened, member(2), "object", "feedback")
    time.sleep(SURE + 0.1)
    assert (
        "restricted" not in gate.may(member(1), "promotions", "email").reason
    )  # a consent carries on (Art. 18(2))
    assert "restricted" in gate.may(member(1), "feedback", "email").reason
    assert (
        not gate.may(member(2), "promotions", "email").allowed
        and not gate.may(member(2), "feedback", "email").allowed
    )
    clock.pass_(hours=1)
    say(opened, member(2), "promotions", "yes")
    assert gate.may(member(2), "promotions", "email").allowed
    assert gate.may(member(3), "promotions", "email").allowed


def _instruct(opened: Company, who: Person, verb: str, scope: str) -> None:
    row = {
        "pseudonym": opened.pseudonyms.of([str(who)])[str(who)],
        "verb": verb,
        "scope": scope,
        "who": opened.keys.seal("instruction", str(who).encode()),
        "since": opened.clock().isoformat(),
        "request": "r",
    }
    with opened.state.write() as connection:
        connection.execute(instructions.insert(), row)


def test_who_is_not_there_or_has_left_or_is_written_otherwise_is_refused(
    place: tuple[Company, Clock],
) -> None:
    opened, _ = place
    gate = Gate.of(opened)
    assert not gate.may(member(99), "service", "email").allowed
    assert not gate.may(Person("nobody", ("1",)), "service", "email").allowed
    say(opened, member(2), "contact", "no")
    for key in ("02", "2.0", " 2", "", "--2", "٢"):
        assert not gate.may(Person("member", (key,)), "feedback", "email").allowed
    assert (
        gate.may(member(8), "service", "email").allowed and gate.may(member(9), "feedback", "email").allowed
    )
    assert gate.may(member(8), "feedback", "email").reason == "they have left"


def test_what_the_gate_said_is_forgotten_when_the_person_chooses_and_when_a_yes_lapses(
    place: tuple[Company, Clock],
) -> None:
    opened, _ = place
    gate = Gate.of(opened)
    say(opened, member(1), "trial", "yes")
    first = gate.may(member(1), "trial", "email")
    assert (
        first.allowed and gate.may(member(1), "trial", "email") is first
    )  # the same object: nothing was decided anew
    say(opened, member(1), "trial", "no")
    assert not gate.may(member(1), "trial", "email").allowed
    forget(opened, [member(1)])
    gate.learn([member(1)])
    assert "not said yes" in gate.may(member(1), "trial", "email").reason


def test_a_decision_about_many_costs_as_many_statements_as_about_one(tmp_path: Path) -> None:
    folder = tmp_path / "lumi"
    folder.mkdir()
    database(folder, 300)
    with company(folder) as opened:
        record(opened, [New(member(n), "promotions", "yes", "account") for n in range(1, 300, 2)])
        Gate.of(opened).may(member(1), "promotions")
        Gate.of(opened).may(member(5), "promotions")
        counts = []
        for some in ([member(n) for n in range(1, 31)], [member(n) for n in range(1, 300)]):
            gate, seen = Gate(opened), list[str]()
            assert not gate.may(member(1), "nothing").allowed

            def listening(*given: Any, seen: list[str] = seen) -> None:
                if (
                    threading.current_thread().name != "kept-look"
                ):  # which goes on beside, whenever its time comes
                    seen.append(given[2])

            engines: list[Engine] = [opened.state.engine, opened.stores["app"].engine]
            for engine in engines:
                event.listen(engine, "before_cursor_execute", listening)
            decided = gate.may_all(some, "promotions", "push")
            counts.append(len([one for one in seen if not one.startswith(("BEGIN", "PRAGMA"))]))
            before = len(seen)
            told = gate.may_all(some, "promotions", "push")
            for engine in engines:
                event.remove(engine, "before_cursor_execute", listening)
            assert told == decided and len(decided) == len(some) and len(seen) == before  # all of it is known
        assert counts[0] == counts[1] <= 14, counts


# Everybody at once.

PURPOSES = (
    "profiling",
    "calls",
    "sharing",
    "tracking",
    "service",
    "newsletter",
    "promotions",
    "feedback",
    "surveys",
    "ads",
    "local-ads",
    "off-site",
    "trial",
)
CHOICES = (
    *("newsletter", "promotions", "contact", "contact", "ads", "location", "off-site", "trial", "guardian"),
    *("no-profiling", "no-calls", "no-sharing", "no-tracking"),
)
CHANNELS: dict[str, tuple[str | None, ...]] = {"promotions": ("email", "push", None)}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_everybody_at_once_is_exactly_everybody_one_by_one(
    kind: str, seed: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    draw, clock = random.Random(seed), Clock()
    folder, state = (
        tmp_path / "lumi",
        request.getfixturevalue("fresh_postgresql") if kind == "postgresql" else None,
    )
    folder.mkdir()
    database(folder, 60)
    each = ["opt-out, each: purpose", "opt-out, each: channel", "opt-out"]
    draw.shuffle(each)
    for before in each[1:]:  # the choice is asked for one by one, or for all at once, as time goes by
        with company(
            folder, clock, state=state, text=FORBIDS.replace("opt-out, each: purpose", before)
        ) as opened:
            _live(opened, draw, 90)
    more = GROWN.replace(
        "{uses: email, ground: consent, choice: trial",
        "{uses: [email, place], ground: consent, choice: trial",
    )
    more = more.replace("opt-out, each: purpose", each[0])
    with company(folder, clock, state=state, text=more) as opened:
        held = Audience.load(opened, "member")
        _live(opened, draw, 100)
        clock.pass_(days=draw.choice((0, 31)))
        _live(opened, draw, 40)
        held.refresh()
        clock.pass_(hours=-clock.now.hour, minutes=-clock.now.minute)
        held.refresh()
        _live(opened, draw, 40, minutes=20)  # within a day, so that it is all taken in one by one
        held.refresh()
        gate = Gate(opened)
        people = [member(n) for n in range(1, 61)]
        for purpose in PURPOSES:
            for channel in CHANNELS.get(purpose, (None,)):
                one_by_one = {who for who in people if gate.may(who, purpose, channel).allowed}
                assert not one_by_one & _closed(opened, people, purpose, channel)
                if purpose == "off-site":
                    one_by_one = {who for who in one_by_one if int(who.key[0]) % 3 == 0}
                assert {
                    who for who, one in Gate(opened).may_all(people, purpose, channel).items() if one.allowed
                } >= one_by_one
                listed = list(audience(opened, purpose, channel))
                assert set(listed) == one_by_one and len(listed) == len(one_by_one), purpose
                places = held.of(purpose, channel)
                assert set(held.people(places)) == one_by_one, purpose
                fresh = Audience.load(opened, "member")
                assert fresh.of(purpose, channel) == places


def _closed(opened: Company, people: list[Person], purpose: str, channel: str | None) -> set[Person]:
    """Those of whom the last they said closes a use, by what was said alone; so written down a second time."""
    entry: Any = opened.policy.section("purposes")[purpose]
    contact: Any = opened.policy.section("choices")["contact"]
    scope = {"channel": channel, "purpose": purpose}.get(str(contact.each)) or ""
    found = set[Person]()
    for who, events in histories(opened, people).items():
        own = [one for one in events if not one.is_automatic and one.answer in ("yes", "no")]
        for choice in map(str, entry.unless):
            if [one.answer for one in own if one.choice == choice and not one.scope][-1:] == ["yes"]:
                found.add(who)
        if "contact" in map(str, entry.choice):
            open_ = set[
                str
            ]()  # scopes in which they said no, and since then no yes there, nor to what is asked now
            for one in (one for one in own if one.choice == "contact"):
                reaches = "" in (one.scope, scope) or one.scope not in scopes(opened, contact)
                if one.answer == "yes" and one.scope == scope:
                    open_.clear()
                elif one.answer == "yes":
                    open_.discard(one.scope)
                elif one.scope == scope or reaches:
                    open_.add(one.scope)
            if open_:
                found.add(who)
    return found


def _live(opened: Company, draw: random.Random, number: int, minutes: int = 90) -> None:
    """People choose, are put under instructions and holds, and some are erased."""
    clock = opened.clock
    assert isinstance(clock, Clock)
    for _ in range(number):
        clock.pass_(minutes=draw.randint(0, minutes), seconds=1)
        who = member(draw.randint(1, 62))
        choice = draw.choice(CHOICES)
        way = draw.choice(["account", "account", "signal", "import", "confirmed"])
        answer: Any = draw.choice(["yes", "yes", "yes", "no", "later"])
        match draw.randint(0, 30):
            case 0:
                _instruct_once(
                    opened,
                    who,
                    draw.choice(["restrict", "object", "withdraw"]),
                    draw.choice(["*", "feedback", "ads"]),
                )
            case 1:
                _hold(opened, who)
            case 2:
                lapse(opened)
            case 3:
                forget(opened, [who])
            case _:
                scope = "with lucent" if choice == "off-site" and draw.random() < 0.5 else ""
                if choice == "contact" and draw.random() < 0.6:
                    scope = draw.choice(scopes(opened, opened.policy.section("choices")["contact"]))  # type: ignore[arg-type]  # it is a choice
                try:
                    by = member(1) if choice in ("guardian", "no-tracking") else None
                    way = "api" if scope.startswith("with ") else way
                    record(opened, [New(who, choice, answer, way, scope, decider=by)])
                except KeptError:
                    continue  # no minor, or no guardian of theirs
    for n in range(5, 61, 5):
        if draw.random() < 0.4 and n % 3:
            record(opened, [New(member(n), "guardian", "yes", "account", decider=member(1))])


def _instruct_once(opened: Company, who: Person, verb: str, scope: str) -> None:
    with opened.state.read() as connection:
        pseudonym = opened.pseudonyms.of([str(who)])[str(who)]
        known = select(instructions).where(
            instructions.c.pseudonym == pseudonym, instructions.c.verb == verb, instructions.c.scope == scope
        )
        if connection.execute(known).first() is not None:
            return
    _instruct(opened, who, verb, scope)


def _hold(opened: Company, who: Person) -> None:
    now = opened.clock()
    row = {
        "id": f"{random.getrandbits(128):032x}",
        "pseudonym": opened.pseudonyms.of([str(who)])[str(who)],
        "who": opened.keys.seal("hold", str(who).encode()),
        "data": "email",
        "purpose": "service",
        "set_by": "staff",
        "since": now.isoformat(),
        "until": (now + timedelta(days=10)).isoformat(),
    }
    with opened.state.write() as connection:
        connection.execute(holds.insert(), row)


def test_whoever_cannot_be_listed_is_listed_by_their_yes_or_said_to_be_unlistable(tmp_path: Path) -> None:
    behind = POLICY.replace("  site: {", "  crm:  {at: $HUBSPOT_TOKEN, kind: hubspot}\n  site: {")
    behind = behind.replace(
        "  visitor: {in", "  lead:    {in: crm.contacts, key: id, known-by: {email: email}}\n  visitor: {in"
    )
    behind = behind.replace("data:\n", "data:\n  enquiry:  {of: lead, in: {crm.contacts: {email: email}}}\n")
    behind = behind.replace(
        "choices:\n", "choices:\n  list: {of: lead, ask: opt-in}\n  tips: {of: lead, ask: opt-out}\n"
    )
    behind = behind.replace(
        "purposes:\n",
        "purposes:\n  list: {uses: enquiry, ground: consent, choice: list, sends: email}\n"
        "  tips: {uses: enquiry, ground: legitimate-interest, interest: help, choice: tips, sends: email}\n",
    )
    with company(tmp_path / "lumi", text=behind) as opened:
        leads = [Person("lead", (str(n),)) for n in range(4)]
        record(opened, [New(who, "list", "yes", "form") for who in leads])
        record(opened, [New(leads[1], "list", "no", "one-click")])
        forget(opened, [leads[2]])
        assert set(audience(opened, "list", "email")) == {leads[0], leads[3]}
        with pytest.raises(KeptError, match="can't be listed"):
            list(audience(opened, "tips", "email"))
        with pytest.raises(KeptError, match="can't be listed"):
            Audience.load(opened, "lead")


# Others, and no one.


def _asks(folder: Path, state: str | None, box: Any) -> None:
    with company(folder, Clock(), state=state) as opened:
        opened.clock = lambda: datetime.now(UTC)
        gate = Gate.of(opened)
        box.send(gate.may(member(3), "promotions", "email").allowed)
        until = time.monotonic() + 20
        while gate.may(member(3), "promotions", "email").allowed and time.monotonic() < until:
            time.sleep(0.005)
        box.send((gate.may(member(3), "promotions", "email").allowed, gate.news.events, gate.news.longest))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_withdrawal_counts_at_once_here_and_within_a_second_in_another_process(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder, state = (
        tmp_path / "lumi",
        request.getfixturevalue("fresh_postgresql") if kind == "postgresql" else None,
    )
    context = multiprocessing.get_context("spawn")
    with company(folder, state=state) as opened, company(folder, state=state) as again, ExitStack() as stack:
        opened.clock = again.clock = lambda: datetime.now(UTC)
        say(opened, member(3), "promotions", "yes")
        gates = [Gate.of(opened), Gate.of(again)]
        assert all(gate.may(member(3), "promotions", "email").allowed for gate in gates)
        ours, theirs = context.Pipe()
        child = context.Process(target=_asks, args=(folder, state, theirs))
        child.start()
        stack.callback(child.kill)
        assert ours.poll(60) and ours.recv() is True
        time.sleep(0.5)
        say(opened, member(3), "promotions", "no", way="one-click")
        assert not any(
            gate.may(member(3), "promotions", "email").allowed for gate in gates
        )  # with no wait at all
        assert ours.poll(30)
        allowed, events, longest = ours.recv()
        child.join(30)
        assert not allowed and events >= 1 and longest <= 1000 * SURE
        with opened.state.read() as connection:
            assert connection.execute(select(choice_readers)).all()


def _asks_of_the_erased(folder: Path, state: str | None, box: Any) -> None:
    with company(folder, Clock(), state=state) as opened:
        gate = Gate.of(opened)
        box.send(gate.may(member(3), "promotions", "email").allowed)
        box.recv()  # they are erased, and their key is somebody else's
        until = time.monotonic() + 20
        while gate.may(member(3), "promotions", "email").allowed and time.monotonic() < until:
            time.sleep(0.005)
        box.send(gate.may(member(3), "promotions", "email").reason)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_whoever_has_an_erased_persons_key_next_inherits_nothing_in_any_process(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder, state = (
        tmp_path / "lumi",
        request.getfixturevalue("fresh_postgresql") if kind == "postgresql" else None,
    )
    context = multiprocessing.get_context("spawn")
    with company(folder, state=state) as opened, ExitStack() as stack:
        say(opened, member(3), "promotions", "yes", at=START - timedelta(days=1))
        gate, held = Gate.of(opened), Audience.load(opened, "member")
        assert gate.may(member(3), "promotions", "email").allowed
        assert member(3) in set(held.people(held.of("promotions", "email")))
        ours, theirs = context.Pipe()
        child = context.Process(target=_asks_of_the_erased, args=(folder, state, theirs))
        child.start()
        stack.callback(child.kill)
        assert ours.poll(60) and ours.recv() is True
        execute(folder, "DELETE FROM members WHERE id = 3")
        forget(opened, [member(3)])
        assert "nobody like that" in gate.may(member(3), "promotions", "email").reason  # with no wait at all
        held.refresh()
        for use in ("promotions", "service"):
            assert member(3) not in set(held.people(held.of(use, "email")))
        with pytest.raises(
            Refused
        ) as refused:  # a telephone that was switched off delivers what they said before
            say(opened, member(3), "promotions", "yes", at=START - timedelta(hours=12))
        assert refused.value.reason == "nobody" and current(opened, [member(3)]) == {}
        execute(folder, "INSERT INTO members VALUES (3, 'new@mail.example', 'fr', '1980-01-01', 1, NULL)")
        gate.learn([member(3)])
        assert "not said yes" in gate.may(member(3), "promotions", "email").reason
        ours.send(True)
        assert ours.poll(30) and "not said yes" in ours.recv()
        child.join(30)


def test_an_erasure_waits_for_whoever_writes_answers_before_it_takes_any_row(
    fresh_postgresql: str, tmp_path: Path
) -> None:
    """Otherwise each holds what the other one wants."""
    with company(tmp_path / "lumi", state=fresh_postgresql) as opened:
        say(opened, member(3), "promotions", "yes")
        seen: list[str] = []

        def listening(*given: Any) -> None:
            seen.append(given[2])

        event.listen(opened.state.engine, "before_cursor_execute", listening)
        forget(opened, [member(3)])
        event.remove(opened.state.engine, "before_cursor_execute", listening)
        writes = [one for one in seen if one.startswith(("UPDATE", "INSERT", "DELETE", "SELECT pg_advisory"))]
        assert writes[0].startswith("SELECT pg_advisory_xact_lock") and writes[1].startswith(
            "UPDATE subjects"
        )


def test_when_the_state_is_gone_nothing_is_allowed(tmp_path: Path) -> None:
    folder = tmp_path / "lumi"
    with company(folder) as opened:
        gate = Gate.of(opened)
        say(opened, member(3), "promotions", "yes")
        assert gate.may(member(3), "promotions", "email").allowed
        opened.state.engine.dispose()
        for path in folder.glob("kept.sqlite*"):
            shutil.move(path, tmp_path / path.name)
        (folder / "kept.sqlite").mkdir()
        began = time.monotonic()
        while gate.may(member(3), "promotions", "email").allowed and time.monotonic() < began + 20:
            time.sleep(0.01)
        assert gate.may(member(3), "promotions", "email").reason.startswith("nobody can say")
        assert not gate.may(member(1), "feedback", "email").allowed  # nor for who was never asked about
        assert not gate.may_all([member(1), member(2)], "feedback")[member(2)].allowed
        assert gate.may(member(3), "promotions", "email").unsure and gate.choice(member(3), "ads").unsure
        assert gate.may_all([member(1), member(2)], "feedback")[member(2)].unsure
        lists: list[Callable[[], list[Person]]] = [
            lambda: sending(opened, [member(1), member(2)], "feedback", "email"),
            lambda: list(audience(opened, "feedback", "email")),
            lambda: list(audience(opened, "promotions", "email")),
        ]
        for asked in lists:
            with pytest.raises(TransientError):
                asked()  # and no list that is short
        opened.state.engine.dispose()
        (folder / "kept.sqlite").rmdir()
        for path in tmp_path.glob("kept.sqlite*"):
            shutil.move(path, folder / path.name)
        until = time.monotonic() + 20
        while not gate.may(member(3), "promotions", "email").allowed and time.monotonic() < until:
            time.sleep(0.01)
        assert gate.may(member(3), "promotions", "email").allowed  # and all is well again
        said_no = gate.may(member(4), "promotions", "email")
        assert not said_no.allowed and not said_no.unsure


def test_a_state_that_hangs_holds_nobody_up_for_longer_than_a_second(
    fresh_postgresql: str, tmp_path: Path
) -> None:
    folder = tmp_path / "lumi"
    with company(folder, state=fresh_postgresql) as opened, ExitStack() as stack:
        gate = Gate.of(opened)
        say(opened, member(3), "promotions", "yes")
        assert gate.may(member(3), "promotions", "email").allowed
        blocker = stack.enter_context(opened.state.engine.connect())
        transaction = blocker.begin()
        blocker.exec_driver_sql("LOCK TABLE choice_events, instructions IN ACCESS EXCLUSIVE MODE")
        time.sleep(SURE + 0.5)
        answered: list[bool] = []
        asking = threading.Thread(
            target=lambda: answered.extend(
                gate.may(member(n), "promotions", "email").allowed for n in (3, 4)
            ),
            daemon=True,
        )
        asking.start()
        asking.join(10)
        assert answered == [False, False]
        transaction.rollback()
        until = time.monotonic() + 20
        while not gate.may(member(3), "promotions", "email").allowed and time.monotonic() < until:
            time.sleep(0.01)
        assert gate.may(member(3), "promotions", "email").allowed


def test_an_answer_that_arrives_while_somebody_is_read_is_not_overlooked(
    place: tuple[Company, Clock],
) -> None:
    """The cache never keeps what was read before an answer that this process has heard of."""
    opened, clock = place
    gate, stop, wrong = Gate.of(opened), threading.Event(), list[str]()

    def ask() -> None:
        while not stop.is_set():
            gate.learn([member(1)])
            gate.may(member(1), "promotions", "email")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(30):
        answer = "yes" if number % 2 else "no"
        clock.pass_(seconds=1)
        say(opened, member(1), "promotions", answer)
        if gate.may(member(1), "promotions", "email").allowed != (answer == "yes"):
            wrong.append(answer)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert wrong == []
