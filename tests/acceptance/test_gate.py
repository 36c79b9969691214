"""The gate before every use: what it knows of limits, holds, kinds of people, who asks; and `kept may`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from kept.company import Company
from kept.controls import conditions
from kept.controls.choices.records.book import New, record
from kept.controls.choices.whom import Facts
from kept.controls.collection.persons import verified
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.enforce import Gate
from kept.controls.purposes.gate import by as asking
from kept.controls.refused import Refused
from kept.controls.retention import placed
from kept.controls.rights.people import Person
from kept.errors import KeptError
from tests.acceptance.choosing import POLICY, Clock, company, execute, member, visitor
from tests.acceptance.company import SiteLucent

RICHER = (
    POLICY.replace("ended: closed_at}", "ended: closed_at}\n  engineer: {is: staff}\n  support: {is: staff}")
    .replace(
        "data:\n",
        """\
  call:
    in: app.calls
    between: {caller: member at member_id, agent: support at agent_id}
    ended: over_at
data:
""",
    )
    .replace(
        "purposes:\n",
        """\
purposes:
  tax:       {uses: email, ground: legal-duty, law: a law}
  claims:    {uses: [email, place], ground: legal-claims}
  answering: {uses: email, ground: contract, by: call.agent}
  own:       {uses: email, ground: contract, by: [seller, support]}
  counting:  {uses: email, ground: contract, groups: 5, by: support, choice: contact}
  lapsing:   {sets: member.ended, ground: contract, upon: member.ended, tells: member}
  everybody: {uses: email, ground: contract}
""",
    )
    + """\
retention:
  email: {keeps: email, until: 12 months after member.ended, then: delete}
  tax:   {keeps: email, until: 10 years after member.ended, then: delete, hold: tax}
  minor: {keeps: minor, until: 1 months after member.ended, then: delete}
"""
)
CALLS = """CREATE TABLE calls (id INTEGER PRIMARY KEY, member_id INTEGER, agent_id TEXT, over_at TEXT)"""


def open_to(gate: Gate, purpose: str, who: Person, by: str | None = None, **more: str) -> str:
    decision = gate.decide(purpose, person=who, by=by, **more)  # type: ignore[arg-type]  # words only
    assert decision.allowed == (decision.rule == "")
    return decision.rule


def test_what_is_past_its_limit_is_open_to_what_holds_it_and_to_nothing_else(tmp_path: Path) -> None:
    with company(tmp_path / "lumi", text=RICHER) as opened:
        gate = Gate.of(opened)
        # 8 left on 2025-01-01, seventeen months ago; 9 leaves in 2099; 1 is here
        assert [open_to(gate, "everybody", member(n)) for n in (1, 8, 9)] == ["", "limit", ""]
        assert gate.decide("everybody", person=member(8)).reason == "`email` is past its limit (`email`)"
        assert open_to(gate, "tax", member(8)) == ""
        assert gate.decide("claims", "place", person=member(8)).allowed  # no limit of its own has passed
        assert gate.decide("claims", ("place", "email"), person=member(8)).rule == "limit"
        execute(tmp_path / "lumi", "UPDATE members SET closed_at = '2010-01-01' WHERE id = 8")
        execute(tmp_path / "lumi", "UPDATE members SET closed_at = 'long ago' WHERE id = 1")
        gate.choices.learn([member(1), member(8)])
        assert open_to(gate, "tax", member(8)) == "limit"  # the hold has come to its end
        assert open_to(gate, "everybody", member(1)) == "limit"  # who left at a time that nobody can read
        crowd = gate.crowd([member(n) for n in range(1, 13)])
        for purpose in ("tax", "everybody", "claims"):
            for number in range(1, 13):
                at = np.array([crowd.number(purpose)]), np.array([crowd.index(member(number))])
                assert bool(crowd.decide(*at)[0]) == gate.decide(purpose, person=member(number)).allowed


def test_a_limit_on_a_whole_kind_of_people_closes_all_of_theirs(tmp_path: Path) -> None:
    kinds = RICHER.replace("keeps: minor,", "keeps: member,")
    with company(tmp_path / "lumi", text=kinds) as opened:
        assert open_to(Gate.of(opened), "claims", member(8)) == "limit"
        assert Gate.of(opened).decide("claims", "place", person=member(8)).rule == "limit"


def test_a_hold_leaves_its_own_purpose_only(tmp_path: Path) -> None:
    with company(tmp_path / "lumi", text=RICHER) as opened:
        gate = Gate.of(opened)
        assert open_to(gate, "everybody", member(1)) == open_to(gate, "claims", member(1)) == ""
        placed.place(opened, member(1), "claims", ("email",), date(2030, 1, 1), "a lawsuit", "officer")
        assert open_to(gate, "everybody", member(1)) == "hold"  # with no wait
        assert open_to(gate, "claims", member(1)) == ""
        assert open_to(gate, "everybody", member(2)) == ""


def test_of_a_purpose_on_data_of_several_kinds_everybody_is_asked_for_what_theirs_has(tmp_path: Path) -> None:
    with company(tmp_path / "lumi", text=RICHER) as opened:
        gate, whos = Gate.of(opened), [visitor(1), member(1)]
        record(opened, [New(who, "ads", "yes", "page") for who in whos])
        crowd = gate.crowd(whos)
        for who in whos:
            assert gate.decide("ads", person=who).allowed
            assert bool(crowd.decide(np.array([crowd.number("ads")]), np.array([crowd.index(who)]))[0])
            assert gate.decide("ads", "activity", person=who).allowed
        assert [gate.decide("ads", "email", person=who).rule for who in whos] == ["owner", ""]
        assert gate.decide("ads", ("activity", "email"), person=visitor(1)).rule == "owner"


def test_an_identity_verified_of_somebody_else_is_no_evidence(tmp_path: Path) -> None:
    needs = RICHER.replace(
        "  own:  ", "  card:      {uses: email, ground: contract, needs: verified-identity}\n  own:  "
    )
    with company(tmp_path / "lumi", text=needs) as opened:
        gate, claim = Gate.of(opened), verified.new_claim()
        verified.note(opened, claim, verified.IDENTITY, "a test")
        word = {"verified-identity": claim}
        assert gate.decide("card", person=member(1), evidence=word).rule == "verified-identity"
        verified.note(opened, member(1), verified.IDENTITY, "a test")
        assert gate.decide("card", person=member(1)).allowed
        assert gate.decide("card", person=member(2), evidence=word).rule == "verified-identity"


def test_what_a_choice_forbids_no_signal_opens_nor_a_database_that_is_down(tmp_path: Path) -> None:
    text = RICHER.replace("choices:\n", "choices:\n  quiet: {of: member, ask: opt-out, signals: gpc}\n")
    text = text.replace("choices:\n", "choices:\n  hush: {of: member, ask: opt-in, lapses: 30 days}\n")
    text = text.replace("purposes:\n", "purposes:\n  loud: {uses: email, ground: contract, unless: quiet}\n")
    text = text.replace("purposes:\n", "purposes:\n  aloud: {uses: email, ground: contract, unless: hush}\n")
    clock = Clock()
    with company(tmp_path / "lumi", clock, text=text) as opened:
        loud, aloud = (opened.policy.section("purposes")[name] for name in ("loud", "aloud"))
        assert isinstance(loud, Purpose) and isinstance(aloud, Purpose)

        def reason(step: Purpose, signals: frozenset[str] = frozenset()) -> str | None:
            try:
                conditions.refuse_unmet(
                    opened, step, conditions.About("", member(1), None, None, signals), {}
                )
            except Refused as refused:
                return refused.reason
            return None

        assert reason(loud) == reason(loud, frozenset({"gpc"})) == "choice" and reason(aloud) is None
        record(opened, [New(member(1), "hush", "yes", "account")])
        assert reason(aloud) == "choice"
        clock.pass_(days=60)  # it lapsed, and what they closed is closed
        Gate.of(opened).choices.learn([member(1)])
        assert reason(aloud) == "choice" and not Gate.of(opened).decide("aloud", person=member(1)).allowed
        record(opened, [New(member(1), "hush", "no", "account"), New(member(1), "quiet", "no", "account")])
        assert reason(aloud) is None and reason(loud) is None
        _drop(opened, tmp_path / "lumi")
        Gate.of(opened).choices.learn([member(1)])
        assert reason(aloud) == reason(loud) == "choice"


def test_somebody_who_is_called_none_is_not_whoever_gives_no_key(tmp_path: Path) -> None:
    with company(tmp_path / "lumi", text=RICHER) as opened:
        facts = Facts(True, None, frozenset({"member"}))
        for text, may in (("member", False), ("member:None", True), ("member:none", False)):
            why = asking.why_not(opened, asking.By.of(text), Person("member", ("None",)), facts)
            assert (why is None) == may, text


def test_somebody_is_asked_about_by_the_kind_their_table_has(tmp_path: Path) -> None:
    with company(tmp_path / "lumi", text=RICHER) as opened:
        gate = Gate.of(opened)
        assert open_to(gate, "everybody", member(3)) == ""
        for kind in ("seller", "minor", "engineer", "staff", "nobody", "call"):
            assert open_to(gate, "everybody", Person(kind, ("3",))) == "nobody"
            assert gate.decide_all("everybody", [Person(kind, ("3",))])[Person(kind, ("3",))].rule == "nobody"
            assert not gate.crowd([Person(kind, ("3",))], [("everybody", None, None)]).decide(
                np.array([0]), np.array([0])
            )[0]
        assert open_to(gate, "everybody", visitor(1)) == "owner"
        assert gate.decide("service", "works", person=member(1)).rule == "owner"  # no seller
        assert gate.decide("service", "works", person=member(3)).allowed


def test_whoever_is_no_staff_asks_for_themselves_or_by_a_tie(tmp_path: Path) -> None:
    folder = tmp_path / "lumi"
    with company(folder, text=RICHER):
        pass
    execute(folder, CALLS)
    execute(
        folder,
        "INSERT INTO calls VALUES (1, 2, 'ada', NULL), (2, 4, 'ada', '2026-01-01'), (3, 6, 'bo', NULL)",
    )
    with company(folder, text=RICHER) as opened:
        gate = Gate.of(opened)
        assert open_to(gate, "own", member(3), "seller:3") == ""
        assert open_to(gate, "own", member(1), "seller:1") == "by"  # who says so, and is none
        assert open_to(gate, "own", member(6), "seller:3") == "by"
        assert open_to(gate, "own", member(3), "member:3") == open_to(gate, "own", member(3)) == "by"
        assert open_to(gate, "own", member(1), "support:ada") == ""
        assert open_to(gate, "everybody", member(1), "member:1") == ""
        assert open_to(gate, "everybody", member(1), "member:2") == "by"
        assert open_to(gate, "everybody", member(1), "guardianship.guardian:2") == "by"
        # the agent at the end of a link: of the calls that aren't over
        assert open_to(gate, "answering", member(2), "call.agent:ada") == ""
        assert open_to(gate, "answering", member(2), "call.agent:bo") == "by"
        assert open_to(gate, "answering", member(4), "call.agent:ada") == "by"
        assert open_to(gate, "answering", member(2), "support:ada") == "by"


def test_a_group_counts_those_whom_the_use_may_see(tmp_path: Path) -> None:
    with company(tmp_path / "lumi", text=RICHER) as opened:
        gate, people = Gate.of(opened), [member(n) for n in range(1, 14)]
        record(opened, [New(member(2), "contact", "no", "account")])
        counted = gate.countable("counting", people)
        # 2 said no, 5 and 10 are minors without a guardian's yes, 8 is past its limit, 11 may be a minor, 13 is nobody
        assert [who.key[0] for who, one in counted.items() if one.allowed] == [
            "1",
            "3",
            "4",
            "6",
            "7",
            "9",
            "12",
        ]
        assert gate.decide("counting", group=7, by="support:1").allowed
        for group in (4, True, 7.0, "7", float("nan"), None):
            assert gate.decide("counting", group=group, by="support:1").rule == "groups"  # type: ignore[arg-type]  # on purpose
        assert gate.decide("counting", group=7).rule == "by"
        assert gate.decide("counting", person=member(1), group=7, by="support:1").rule == "groups"
        assert gate.decide_all("counting", people)[member(1)].rule == "alone"


def test_what_kept_carries_out_upon_an_event_is_nobodys_to_use(tmp_path: Path) -> None:
    with company(tmp_path / "lumi", text=RICHER) as opened:
        assert open_to(Gate.of(opened), "lapsing", member(8)) == "upon"


def test_arrays_take_only_what_the_person_alone_decides_and_only_their_own_numbers(tmp_path: Path) -> None:
    with company(tmp_path / "lumi", text=RICHER) as opened:
        gate, some = Gate.of(opened), [member(1), member(2)]
        for asked in (
            ("own", None, None),
            ("counting", None, None),
            ("nothing", None, None),
            ("tax", "place", None),
        ):
            with pytest.raises(KeptError):
                gate.crowd(some, [asked])
        crowd = gate.crowd(some)
        for uses, whos in (
            ([-1], [0]),
            ([0], [2]),
            ([0], [-1]),
            ([10_000], [0]),
            ([0.0], [0]),
            ([0, 1], [0]),
            ([True], [0]),
        ):
            with pytest.raises(KeptError):
                crowd.decide(np.array(uses), np.array(whos))
        with pytest.raises(KeptError):
            crowd.index(member(3))
        with pytest.raises(KeptError):
            crowd.number("own")
        assert crowd.decide(np.array([]), np.array([])).shape == (0,)
        assert crowd.decide(np.zeros((2, 2), np.int8), np.array([[0, 1], [1, 0]], np.uint64)).shape == (2, 2)


def test_what_nobody_can_tell_is_refused_and_said_so(tmp_path: Path) -> None:
    folder = tmp_path / "lumi"
    with company(folder, text=RICHER) as opened:
        gate = Gate.of(opened)
        decision = gate.decide("answering", person=member(2), by="call.agent:ada")  # there is no such table
        assert not decision.allowed and decision.unsure and decision.rule == "unsure"
        assert not gate.decide("everybody", person=member(1), signals=7).allowed  # type: ignore[arg-type]  # on purpose
        _drop(opened, folder)
        assert gate.decide("everybody", person=member(1)).unsure
        assert gate.decide_all("everybody", [member(1)])[member(1)].unsure


def _drop(opened: Company, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "app.sqlite")) as raw, raw:
        raw.execute("ALTER TABLE members RENAME TO people")
    Gate.of(opened).choices.learn([member(1)])


def test_kept_may_says_which_columns_and_how_or_why_not(tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "company")
    [(error, user, engineer)] = made.ask(
        "SELECT id, user_id, engineer_id FROM errors WHERE closed_at IS NULL ORDER BY id LIMIT 1"
    )
    who = ("may", "analyse-error", f"user:{user}")
    ran = made.kept(*who)
    assert ran.code == 1 and ran.out == "no: it needs an open case, `error` (SL-14)\n"
    ran = made.kept(*who, "--by", f"engineer:{engineer}", "--case", f"error:{error}")
    assert ran.code == 0, ran.out + ran.err
    assert ran.out.splitlines()[0] == "yes: nothing forbids it (SL-14)"
    assert ["app.usage_events.page", "as", "is"] in [line.split() for line in ran.out.splitlines()]
    assert made.kept(*who, "--by", f"engineer:{engineer}x", "--case", f"error:{error}").code == 1
    told = made.kept("may", "improve-app", "--group", "9", "--format", "json")
    assert told.code == 1 and told.json()["rule"] == "groups" and told.json()["fields"] == {}
    told = made.kept("may", "improve-app", "--group", "10", "--format", "json")
    assert told.code == 0 and told.json()["floor"] == 10
    assert set(told.json()["fields"].values()) == {"aggregated"}
    assert "app.usage_events.page" in told.json()["fields"]
    assert made.kept("may", "sign-in", f"user:{user}", "--data", "usage").code == 1
    assert made.kept("may", "sign-in", f"user:{user}", "--data", "account").code == 0
    assert made.kept("may", "sign-in").code == 2
    assert made.kept("may", "sign-in", f"user:{user}", "--evidence", "because").code == 2
