"""What stands on record after any sequence of answers, by rules written down a second time; on both kinds of state."""

from __future__ import annotations

import asyncio
import multiprocessing
import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from kept.company import Company
from kept.controls.choices.enforce import Gate
from kept.controls.choices.records import history, marks, notices, subjects
from kept.controls.choices.records.book import New, Recorded, Recorder, Refused, record
from kept.controls.choices.records.forgetting import forget
from kept.controls.choices.records.lapses import lapse
from kept.controls.choices.records.marks import NO, Mark
from kept.controls.choices.records.merge import merge
from kept.controls.rights.people import Person
from kept.state.tables import choice_events
from tests.acceptance.choosing import POLICY, START, Clock, company, enrol, execute, member, visitor

EXPLICIT = ("banner", "account", "staff", "one-click")
AUTOMATIC = ("signal", "import", "device")


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest) -> str | None:
    """Where Kept's state stands."""
    return request.getfixturevalue("fresh_postgresql") if request.param == "postgresql" else None


@pytest.fixture
def place(tmp_path: Path, state: str | None) -> Iterator[tuple[Company, Clock, str | None]]:
    clock = Clock()
    with company(tmp_path / "lumi", clock, state=state) as opened:
        yield opened, clock, state


# The rules once more, as somebody would tell them: over everything that was ever said, not step by step.


@dataclass
class Said:
    """One answer as the model keeps it."""

    answer: str
    way: str
    at: datetime
    pending: bool = False
    over: datetime | None = None

    @property
    def explicit(self) -> bool:
        return self.way not in AUTOMATIC

    @property
    def final(self) -> bool:
        return self.answer in ("yes", "no") and not self.pending


class Model:
    """How one choice of one person stands."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self.revoked: list[datetime] = []
        self.lapsed = False

    def newest(self, explicit: bool) -> Said | None:
        """The newest final answer of a sort that could count; of two at one instant the no."""
        chosen = [
            one
            for one in self.said
            if one.final
            and one.explicit == explicit
            and not (one.answer == "yes" and self._revoked_since(one))
        ]
        return max(chosen, key=lambda one: (one.at, one.answer == "no"), default=None)

    def _revoked_since(self, one: Said) -> bool:
        return any(at >= one.at for at in self.revoked)

    def refused(self) -> bool:
        """Whether the newest thing they said themselves is a no."""
        newest = self.newest(explicit=True)
        return newest is not None and newest.answer == "no"

    def given(self, now: datetime) -> bool:
        """Whether the newest thing they said themselves is a yes that isn't over."""
        newest = self.newest(explicit=True)
        return newest is not None and newest.answer == "yes" and (newest.over is None or newest.over > now)


STEP = st.fixed_dictionaries(
    {
        "who": st.integers(0, 1),
        "choice": st.sampled_from(["ads", "ads", "newsletter", "trial"]),
        "answer": st.sampled_from(
            ["yes", "no", "yes", "no", "yes", "no", "later", "asked", "revoked", "lapse", "again"]
        ),
        "way": st.sampled_from([*EXPLICIT, *AUTOMATIC, "confirmed"]),
        "late": st.sampled_from([None, 0, None, 2, None, 6]),
        "skew": st.sampled_from([-2, 2]),
        "pass": st.sampled_from([0, 0, 0, 0, 1, 2, 24 * 20]),
    }
)
serial = count(1000)


def test_whatever_is_said_in_whatever_order_what_counts_is_what_they_said_last_themselves(
    place: tuple[Company, Clock, str | None],
) -> None:
    opened, clock, where = place

    @settings(
        max_examples=60 if where else 250,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(steps=st.lists(STEP, min_size=3, max_size=14))
    def check(steps: list[dict[str, Any]]) -> None:
        clock.now = max(clock.now, START) + timedelta(days=1)
        people = [member(next(serial)), visitor(next(serial))]
        enrol(opened.directory, int(people[0].key[0]))
        models: dict[tuple[int, str], Model] = {}
        last: New | None = None
        for step in steps:
            clock.pass_(hours=step["pass"])
            who, choice = people[step["who"]], step["choice"] if step["who"] == 0 else "ads"
            model = models.setdefault((step["who"], choice), Model())
            if step["answer"] == "lapse":
                lapse(opened)
                continue
            if step["answer"] == "again" and last is not None:
                [again] = record(opened, [last])
                assert again.known
                continue
            before = history.current(opened, [who]).get(who, {}).get((choice, ""))
            if step["answer"] == "revoked":
                [done] = record(opened, [New(who, choice, "revoked", "policy")])
                stood = before is not None and before.state in ("Given", "RenewedGiven", "Requested")
                assert done.took == stood
                if stood:
                    assert done.new.at is not None
                    model.revoked.append(done.new.at)
                continue
            answer: Any = step["answer"] if step["answer"] != "again" else "yes"
            clock.pass_(minutes=step["skew"])  # it comes through a server whose clock is wrong
            told = clock.now - timedelta(hours=step["late"]) if step["late"] is not None else None
            last = New(who, choice, answer, step["way"], at=told, record=secrets.token_hex(16))
            [done] = record(opened, [last])
            at = done.new.at
            assert at is not None
            _last_said(model, last, done, clock.now)
            clock.pass_(minutes=-step["skew"])
            pending = answer == "yes" and choice == "newsletter" and step["way"] != "confirmed"
            over = None
            if choice == "trial" and done.state in ("Given", "RenewedGiven", "Expired"):
                over = datetime.fromisoformat(_row(opened, done)["until"])
            model.said.append(Said(answer, step["way"], at, pending, over))
            _never_widened(before, done)
        now = history.current(opened, people)
        for (number, choice), model in models.items():
            event = now.get(people[number], {}).get((choice, ""))
            stands = event is not None and event.stands(clock.now)
            if model.refused():
                assert event is not None and not stands and event.is_against | bool(model.revoked)
            elif model.newest(explicit=True) is not None:
                assert stands == model.given(clock.now)
            elif any(one.final and one.explicit for one in model.said):
                assert not stands  # what was taken back from them is not given again by a yes from before
        _marks_are_what_events_say(opened, people)

    check()
    _marks_are_what_events_say(opened, None)


def _row(opened: Company, done: Recorded) -> Any:
    with opened.state.read() as connection:
        row = connection.execute(select(choice_events).where(choice_events.c.number == done.number)).one()
    return row._mapping


def _last_said(model: Model, said: New, done: Recorded, now: datetime) -> None:
    """What came last without a time of its own was said last, by whatever server's clock; of a browser a no is too."""
    at = done.new.at
    assert at is not None
    in_order = said.way == "banner" and said.who.kind == "visitor" and said.answer == "no"
    if said.at is None or in_order:
        own = [one.at for one in model.said if one.explicit and one.final]
        if said.way not in AUTOMATIC and said.answer in ("yes", "no"):
            assert all(at >= one for one in own)
        assert done.took or said.answer != "no" or said.way in AUTOMATIC
    if said.at is None:
        assert at >= now
    elif not in_order:
        assert at == said.at  # honest


def _never_widened(before: history.Event | None, done: Recorded) -> None:
    """An automatic grant overrides no rejection, and nothing automatic overrides what somebody said themselves."""
    automatic = done.new.way in AUTOMATIC
    if before is not None and automatic and done.took and done.new.answer in ("yes", "no"):
        said = before.answer in ("yes", "no") and before.state != "Requested"
        assert not (said and not before.is_automatic)
        assert not (before.is_against and done.new.answer == "yes")


def _marks_are_what_events_say(opened: Company, people: list[Person] | None) -> None:
    """The bitmaps hold exactly the yeses and noes in force."""
    found = marks.load(opened)
    with opened.state.read() as connection:
        chosen = (
            set(connection.scalars(select(choice_events.c.subject)))
            if people is None
            else set(subjects.find(opened, people, connection).values())
        )
        stood = history.in_force(connection, chosen)
    expected: dict[Mark, set[int]] = {}
    for number, events in stood.items():
        for (choice, scope), event in events.items():
            if event.state in ("Given", "RenewedGiven"):
                expected.setdefault(Mark(choice, scope, event.meaning), set()).add(number)
            elif event.state in ("Refused", "Withdrawn", "Revoked"):
                expected.setdefault(Mark(choice, scope, NO), set()).add(number)
    assert {mark: set(bits) & chosen for mark, bits in found.items() if set(bits) & chosen} == expected


def test_a_visitor_who_logs_in_loses_no_answer_and_widens_none(
    place: tuple[Company, Clock, str | None],
) -> None:
    opened, clock, _ = place
    for number, (own, theirs, late, expected) in enumerate(
        [
            (None, "yes", 0, "Given"),
            (None, "no", 0, "Refused"),
            ("no", "yes", 0, "Refused"),  # a yes on a device others may use is no yes against their own no
            ("yes", "no", 0, "Withdrawn"),
            ("yes", "no", 5, "Given"),  # the visitor's no is older than what they said under their name
            ("later", "yes", 0, "Given"),
        ]
    ):
        who, was = member(100 + number), visitor(100 + number)
        enrol(opened.directory, 100 + number)
        if own is not None:
            record(opened, [New(who, "ads", own, "account", at=clock.now - timedelta(hours=2))])  # type: ignore[arg-type]  # one of them
        record(opened, [New(was, "ads", theirs, "banner", at=clock.now - timedelta(hours=late))])  # type: ignore[arg-type]  # one of them
        merge(opened, was, who)
        assert history.current(opened, [who])[who]["ads", ""].state == expected
        events = len(history.history(opened, who))
        assert merge(opened, was, who) == [] and len(history.history(opened, who)) == events
        assert history.current(opened, [was])[was]["ads", ""].answer == theirs


def test_one_no_to_everything_reaches_what_was_chosen_one_by_one_under_an_older_policy(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "lumi"
    with company(folder) as opened:
        record(opened, [New(member(1), "promotions", "yes", "account")])
        assert Gate.of(opened).may(member(1), "promotions", "email").allowed
    whole = POLICY.replace(
        "promotions: {of: member, ask: opt-in, each: channel}", "promotions: {of: member, ask: opt-in}"
    )
    with company(folder, Clock(START + timedelta(hours=1)), text=whole) as opened:
        record(opened, [New(member(1), "promotions", "no", "account")])
    with company(folder, Clock(START + timedelta(hours=2))) as opened:
        assert not Gate.of(opened).may(member(1), "promotions", "email").allowed
        assert not Gate.of(opened).may(member(1), "promotions", "push").allowed
        record(opened, [New(member(1), "promotions", "yes", "account", "push")])
        assert Gate.of(opened).may(member(1), "promotions", "push").allowed


def test_what_cannot_be_an_answer_is_refused_with_a_reason_and_leaves_nothing(
    place: tuple[Company, Clock, str | None],
) -> None:
    opened, clock, _ = place
    shown = notices.of_words(opened.policy, "May we?", choices=["ads"], kind="page")
    notice = notices.keep(opened, shown)
    id = "ab" * 16
    record(opened, [New(visitor(1), "ads", "no", "banner", notice=notice, record=id)])
    wrong = {
        "unknown-choice": New(visitor(2), "nothing", "yes", "banner"),
        "not-theirs": New(visitor(2), "newsletter", "yes", "banner"),
        "unknown-way": New(visitor(2), "ads", "yes", "telepathy"),
        "unknown-answer": New(visitor(2), "ads", "lapsed", "banner"),
        "wrong-scope": New(visitor(2), "ads", "yes", "banner", "email"),
        "unknown-notice": New(visitor(2), "ads", "yes", "banner", notice="0" * 64),
        "not-asked": New(member(2), "trial", "yes", "banner", notice=notice),
        "impossible-time": New(
            visitor(2), "ads", "yes", "banner", at=clock.now - timedelta(days=3), notice=notice
        ),
        "no-zone": New(visitor(2), "ads", "yes", "banner", at=datetime(2026, 1, 1)),  # noqa: DTZ001  # that is the point
        "too-old": New(visitor(2), "ads", "yes", "banner", at=datetime.min.replace(tzinfo=clock.now.tzinfo)),
        "wrong-record": New(visitor(2), "ads", "yes", "banner", record="../../etc"),
        "replayed": New(visitor(2), "ads", "no", "banner", notice=notice, record=id),
        "nobody": New(member(99), "trial", "yes", "account"),
        "not-theirs-to-give": New(member(3), "off-site", "yes", "banner", "with lucent"),
    }
    recorder = Recorder(opened)
    for reason, new in wrong.items():
        for tried in (recorder.record, lambda given: record(opened, given)):
            with pytest.raises(Refused) as refused:
                tried([new])
            assert refused.value.reason == reason
    with pytest.raises(Refused, match="under this id"):
        record(
            opened, [New(visitor(3), "ads", answer, "banner", record="cd" * 16) for answer in ("yes", "no")]
        )
    for key in ("07", "", "7\0", " 7", "\ud800", "--5", "-", "٣"):
        with pytest.raises(Refused):
            record(opened, [New(Person("member", (key,)), "trial", "yes", "account")])
    assert subjects.find(opened, [visitor(2), visitor(3), member(2), member(3)]) == {}
    with opened.state.read() as connection:
        assert len(connection.execute(select(choice_events)).all()) == 1
    [known] = record(opened, [New(visitor(1), "ads", "no", "banner", notice=notice, record=id)])
    assert known.known and opened.ledger.size == 1


def test_a_guardian_gives_a_minors_yes_and_nobody_else(place: tuple[Company, Clock, str | None]) -> None:
    opened, _, _ = place
    for decider in (None, member(5), member(2)):
        with pytest.raises(Refused, match="nobody else"):
            record(opened, [New(member(5), "guardian", "yes", "account", decider=decider)])
    [done] = record(opened, [New(member(5), "guardian", "yes", "account", decider=member(1))])
    assert done.took and done.state == "Given"
    [done] = record(opened, [New(member(5), "guardian", "no", "account")])  # to refuse anybody is free
    assert done.took and done.state == "Withdrawn"


def test_many_threads_record_at_once_and_every_answer_is_there_once_and_on_the_ledger(
    place: tuple[Company, Clock, str | None],
) -> None:
    opened, _, _ = place
    recorder, refused = Recorder(opened), list[str]()

    def answer(thread: int) -> None:
        for number in range(20):
            who, id = visitor(number if number % 2 else thread * 100 + number), f"{thread:016x}{number:016x}"
            recorder.record([New(who, "ads", "no" if number % 3 else "yes", "banner", record=id)])
            try:
                recorder.record([New(visitor(9), "ads", "yes", "banner", notice="0" * 64)])
            except Refused as wrong:
                refused.append(wrong.reason)
            assert recorder.record([New(who, "ads", "no" if number % 3 else "yes", "banner", record=id)])[
                0
            ].known

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with opened.state.read() as connection:
        rows = connection.execute(select(choice_events.c.number, choice_events.c.record)).all()
    assert (
        sorted(row.number for row in rows) == list(range(1, 161)) and len({row.record for row in rows}) == 160
    )
    assert refused == ["unknown-notice"] * 160
    assert {entry["record"] for entry in opened.ledger.entries()} == {row.record for row in rows}
    _marks_are_what_events_say(opened, None)


def test_coroutines_share_commits_and_what_is_refused_of_one_is_refused_to_it_alone(
    place: tuple[Company, Clock, str | None],
) -> None:
    opened, _, _ = place
    recorder = Recorder(opened)

    async def one(number: int) -> str:
        notice = "0" * 64 if number % 5 == 0 else None
        try:
            [done] = await recorder.recorded([New(visitor(number), "ads", "yes", "banner", notice=notice)])
        except Refused as wrong:
            return wrong.reason
        return done.state

    async def all_() -> list[str]:
        return await asyncio.gather(*(one(number) for number in range(50)))

    expected = ["unknown-notice" if number % 5 == 0 else "Given" for number in range(50)]
    assert asyncio.run(all_()) == expected
    assert asyncio.run(one(77)) == "Given"  # in another loop
    assert opened.ledger.size == 41 and subjects.find(opened, [visitor(0), visitor(5)]) == {}
    _marks_are_what_events_say(opened, None)


def _records(folder: Path, state: str | None, process: int, ready: Any) -> None:
    with company(folder, state=state) as opened:
        ready.wait(60)
        recorder = Recorder(opened)
        for number in range(40):
            answer: Any = "yes" if (number + process) % 2 else "no"
            recorder.record([New(visitor(number % 7), "ads", answer, "banner")])


def test_two_processes_record_about_the_same_people_and_lose_no_mark(
    tmp_path: Path, state: str | None
) -> None:
    folder = tmp_path / "lumi"
    with company(folder, state=state) as opened, ExitStack() as stack:
        context = multiprocessing.get_context("spawn")
        ready = context.Barrier(2)
        children = [context.Process(target=_records, args=(folder, state, n, ready)) for n in range(2)]
        for child in children:
            child.start()
            stack.callback(child.kill)
        for child in children:
            child.join(120)
            assert child.exitcode == 0
        with opened.state.read() as connection:
            numbers = list(
                connection.scalars(select(choice_events.c.number).order_by(choice_events.c.number))
            )
        assert numbers == list(range(1, 81))
        assert len({entry["record"] for entry in opened.ledger.entries()}) == 80
        _marks_are_what_events_say(opened, None)


def test_an_answer_delivered_late_counts_by_when_it_was_given(
    place: tuple[Company, Clock, str | None],
) -> None:
    opened, clock, _ = place
    who = member(1)
    ago = clock.now - timedelta(hours=5)
    record(opened, [New(who, "ads", "yes", "account")])
    [late] = record(opened, [New(who, "ads", "no", "letter", at=ago)])
    assert not late.took and history.current(opened, [who])[who]["ads", ""].state == "Given"
    other = visitor(2)
    record(opened, [New(other, "ads", "asked", "banner"), New(other, "ads", "no", "signal")])
    [late] = record(opened, [New(other, "ads", "yes", "banner", at=ago)])
    assert (
        late.took
    )  # they said so themselves; being shown something later takes nothing back, nor does a signal
    [ahead] = record(opened, [New(other, "ads", "no", "banner", at=clock.now + timedelta(days=400))])
    assert ahead.took and history.current(opened, [other])[other]["ads", ""].at == clock.now


def test_a_yes_renewed_in_time_is_not_taken_for_lapsed(place: tuple[Company, Clock, str | None]) -> None:
    opened, clock, _ = place
    who = member(1)
    record(opened, [New(who, "trial", "yes", "account")])
    clock.pass_(days=20)
    record(opened, [New(who, "trial", "yes", "account")])
    clock.pass_(days=20)
    [early] = record(opened, [New(who, "trial", "lapsed", "lapse")])  # somebody found it due just before
    assert not early.took and lapse(opened) == 0
    clock.pass_(days=20)
    assert not Gate.of(opened).may(who, "trial", "email").allowed
    assert lapse(opened) == 1 and lapse(opened) == 0
    assert [event.state for event in history.history(opened, who) if event.took] == [
        "Given",
        "RenewedGiven",
        "Expired",
    ]
    [late] = record(opened, [New(who, "trial", "yes", "account", at=clock.now - timedelta(days=31))])
    assert not late.took or late.state == "Expired"
    _marks_are_what_events_say(opened, [who])


# Clocks that differ.


def test_the_no_wins_that_comes_through_a_server_whose_clock_is_behind(
    tmp_path: Path, state: str | None
) -> None:
    ahead, behind = Clock(START + timedelta(minutes=2)), Clock(START)
    with (
        company(tmp_path / "lumi", ahead, state=state) as one,
        company(tmp_path / "lumi", behind, state=state) as other,
    ):
        record(one, [New(member(3), "promotions", "yes", "account")])
        behind.pass_(minutes=1)
        noes = record(other, [New(member(3), "promotions", "no", "account")])
        assert all(no.took and no.new.at == ahead.now for no in noes)
        ahead.pass_(hours=5)
        behind.pass_(hours=5)
        assert not Gate.of(other).may(member(3), "promotions", "email").allowed
        yeses = record(other, [New(member(3), "promotions", "yes", "account")])
        assert all(yes.took and yes.new.at == behind.now for yes in yeses)


def test_of_a_browser_whose_clock_was_set_back_the_no_counts_and_the_yes_does_not(
    place: tuple[Company, Clock, str | None],
) -> None:
    opened, clock, _ = place
    who, earlier = visitor(1), clock.now - timedelta(hours=3)
    record(opened, [New(who, "ads", "yes", "banner", at=clock.now)])
    clock.pass_(minutes=5)
    [no] = record(opened, [New(who, "ads", "no", "banner", at=earlier)])
    assert (
        no.took and no.state == "Withdrawn" and no.new.at == START
    )  # when they said yes: not before, as it says
    [yes] = record(opened, [New(who, "ads", "yes", "banner", at=earlier + timedelta(hours=1))])
    assert not yes.took and yes.new.at == earlier + timedelta(hours=1)
    assert history.current(opened, [who])[who]["ads", ""].is_against
    other = member(1)  # somebody known by name may use several devices, of which nobody knows the order
    record(opened, [New(other, "ads", "yes", "banner", at=clock.now)])
    [late] = record(opened, [New(other, "ads", "no", "banner", at=earlier)])
    assert not late.took


# Log-in.

# Two people and the device they share: who does what, and how.
ACT = st.sampled_from(
    [
        *((2, does, "banner") for does in ("yes", "yes", "yes", "no")),
        *((who, "login", "") for who in (0, 0, 1, 1)),
        *((who, does, way) for who in (0, 1) for does in ("yes", "no") for way in ("account", "import")),
        *((who, "erased", "") for who in (0, 1)),
    ]
)


def test_whoever_logs_in_on_a_shared_device_no_yes_widens_and_no_no_is_lost(
    place: tuple[Company, Clock, str | None],
) -> None:
    opened, clock, where = place

    @settings(
        max_examples=30 if where else 100,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(acts=st.lists(ACT, min_size=4, max_size=12))
    def check(acts: list[tuple[int, Any, str]]) -> None:
        people, device = [member(next(serial)), member(next(serial))], visitor(next(serial))
        enrol(opened.directory, *(int(who.key[0]) for who in people))
        carried: dict[int, int] = {}  # by the number of the device's yes: to whom it was carried
        for number, does, way in acts:
            clock.pass_(minutes=1)
            if does in ("yes", "no"):
                record(opened, [New([*people, device][number], "ads", does, way)])
                continue
            if does == "erased":
                forget(opened, [people[number]])
                continue
            before, shared = _stood(opened, people[number]), _stood(opened, device)
            merge(opened, device, people[number])
            after = _stood(opened, people[number])
            assert merge(opened, device, people[number]) == []
            gained = (
                after is not None and after.stands(clock.now) and not (before and before.stands(clock.now))
            )
            if gained:
                assert shared is not None and shared.answer == "yes"
                assert carried.setdefault(shared.number, number) == number
                assert before is None or not before.is_against
            if before is not None and before.is_against:
                assert after is not None and after.is_against
            if shared is not None and shared.answer == "no" and (before is None or shared.at > before.at):
                assert after is not None and after.is_against
        _marks_are_what_events_say(opened, [*people, device])

    check()


def _stood(opened: Company, who: Person) -> history.Event | None:
    return history.current(opened, [who]).get(who, {}).get(("ads", ""))


def test_a_visitors_yes_yields_to_any_no_of_the_persons_own_and_becomes_one_persons_only(
    place: tuple[Company, Clock, str | None],
) -> None:
    opened, clock, _ = place
    device = visitor(1)
    record(opened, [New(device, "ads", "yes", "banner", at=clock.now - timedelta(days=1))])
    record(opened, [New(member(3), "ads", "no", "import", at=clock.now - timedelta(days=9))])
    [carried] = merge(opened, device, member(3))
    assert not carried.took and not Gate.of(opened).may(member(3), "ads").allowed
    assert merge(opened, device, member(7)) == [] and history.history(opened, member(7)) == []
    other = visitor(2)
    record(opened, [New(other, "ads", "yes", "banner")])
    assert [one.took for one in merge(opened, other, member(7))] == [True]
    assert merge(opened, other, member(4)) == [] and not Gate.of(opened).may(member(4), "ads").allowed
    clock.pass_(hours=1)
    record(opened, [New(other, "ads", "no", "banner")])
    for who in (member(4), member(7)):  # a no is for everybody
        assert [one.took for one in merge(opened, other, who)] == [True]
        assert not Gate.of(opened).may(who, "ads").allowed


def test_a_no_given_for_all_of_a_choice_is_not_overridden_by_a_visitors_yes_to_a_part(tmp_path: Path) -> None:
    both = POLICY.replace(
        "ads:        {of: [member, visitor], ask", "ads:        {of: [member, visitor], each: purpose, ask"
    )
    clock = Clock()
    with company(tmp_path / "lumi", clock) as opened:
        record(opened, [New(member(3), "ads", "no", "account")])
    clock.pass_(days=1)
    with company(tmp_path / "lumi", clock, text=both) as opened:
        record(opened, [New(visitor(1), "ads", "yes", "banner")])
        assert {one.took for one in merge(opened, visitor(1), member(3))} == {False}
        assert not Gate.of(opened).may(member(3), "ads").allowed


def test_a_new_account_under_an_erased_ones_key_logs_in_from_the_same_browser_and_keeps_its_no(
    place: tuple[Company, Clock, str | None],
) -> None:
    opened, clock, _ = place
    record(opened, [New(visitor(1), "ads", "no", "banner")])
    merge(opened, visitor(1), member(1))
    forget(opened, [member(1)])
    clock.pass_(days=1)
    assert Gate.of(opened).may(member(1), "ads").allowed
    assert [one.took for one in merge(opened, visitor(1), member(1))] == [True]
    assert not Gate.of(opened).may(member(1), "ads").allowed


def test_one_answer_that_is_refused_at_login_sinks_no_other(place: tuple[Company, Clock, str | None]) -> None:
    """Whoever isn't there says no yes; the no they brought is on record all the same."""
    opened, _, _ = place
    enrol(opened.directory, 500)
    execute(opened.directory, "DELETE FROM members WHERE id = 500")
    shared = POLICY.replace("location:   {of: member,", "location:   {of: [member, visitor],")
    with company(opened.directory, Clock(), state=place[2], text=shared) as more:
        record(more, [New(visitor(1), "location", "yes", "banner"), New(visitor(1), "ads", "no", "banner")])
        assert [one.new.choice for one in merge(more, visitor(1), member(500))] == ["ads"]


def test_a_yes_carried_over_covers_what_it_was_about_when_it_was_given(tmp_path: Path) -> None:
    more = POLICY.replace("    uses: [activity, email]\n", "    uses: [activity, email, works]\n")
    with company(tmp_path / "lumi") as opened:
        record(opened, [New(visitor(1), "ads", "yes", "banner")])
    with company(tmp_path / "lumi", Clock(START + timedelta(days=1)), text=more) as opened:
        assert [one.took for one in merge(opened, visitor(1), member(3))] == [True]
        assert "before it was about this" in Gate.of(opened).may(member(3), "ads").reason


# Where people are.


def test_no_region_that_is_named_makes_a_yes_count_without_its_second(
    place: tuple[Company, Clock, str | None],
) -> None:
    opened, _, where = place
    text = POLICY.replace(
        "newsletter: {of: member, ask: double-opt-in}",
        "newsletter: {of: [member, visitor], ask: {eea: double-opt-in, uk: double-opt-in, elsewhere: opt-in}}",
    )
    with company(opened.directory, Clock(), state=where, text=text) as opened:
        shown = notices.of_words(opened.policy, "News?", choices=["newsletter"], kind="banner", region="fr")
        notice = notices.keep(opened, shown)
        [done] = record(opened, [New(visitor(1), "newsletter", "yes", "banner", notice=notice, region="us")])
        assert done.state == "Requested"  # they were shown that it wants two
        assert (
            history.history(opened, visitor(1))[0].region is None
        )  # and where they say they are is not believed
        [done] = record(opened, [New(member(7), "newsletter", "yes", "account", region="us")])
        assert done.state == "Requested"  # the company has them in France
        [done] = record(opened, [New(visitor(2), "newsletter", "yes", "banner", region="us")])
        assert done.state == "Given"
        assert [(one.state, one.took) for one in merge(opened, visitor(2), member(7))] == [
            ("Requested", True)
        ]
        assert [one.state for one in merge(opened, visitor(2), member(7))] == []
        assert not Gate.of(opened).may(member(7), "newsletter", "email").allowed
        [done] = record(opened, [New(member(1), "newsletter", "yes", "account", region="fr")])
        assert done.state == "Requested"  # nor the other way round


def test_no_region_a_browser_names_opens_what_its_visitor_was_asked_for_first(
    place: tuple[Company, Clock, str | None],
) -> None:
    opened, _, _ = place
    asked = notices.keep(
        opened, notices.of_words(opened.policy, "?", choices=["ads"], kind="banner", region="fr")
    )
    record(opened, [New(visitor(1), "ads", "later", "banner", notice=asked, region="us")])
    assert not Gate.of(opened).may(visitor(1), "ads").allowed
    told = notices.keep(
        opened, notices.of_words(opened.policy, "?", choices=["ads"], kind="banner", region="us")
    )
    record(opened, [New(visitor(2), "ads", "later", "banner", notice=told, region="us")])
    assert Gate.of(opened).may(visitor(2), "ads").allowed


# What is told of long ago.


def test_an_answer_on_paper_is_on_record_with_its_own_day_and_words_kept_since(
    place: tuple[Company, Clock, str | None],
) -> None:
    opened, clock, _ = place
    paper = notices.keep(
        opened, notices.of_words(opened.policy, "Your place?", choices=["location"], kind="letter")
    )
    ago = clock.now - timedelta(days=900)
    [yes] = record(opened, [New(member(3), "location", "yes", "letter", at=ago, notice=paper, by="clerk")])
    assert yes.took and history.history(opened, member(3))[0].at == ago
    wednesday, monday = clock.now - timedelta(days=2), clock.now - timedelta(days=4)
    record(opened, [New(member(7), "location", "yes", "account", at=wednesday, notice=paper)])
    [no] = record(opened, [New(member(7), "location", "no", "letter", at=monday, notice=paper)])
    assert not no.took and history.history(opened, member(7))[-1].at == monday
    [ahead] = record(
        opened,
        [New(member(1), "location", "yes", "letter", at=clock.now + timedelta(days=3), notice=paper)],
    )
    assert ahead.new.at == clock.now
    page = notices.keep(opened, notices.of_words(opened.policy, "Place?", choices=["location"], kind="page"))
    with pytest.raises(Refused, match="before what it answers to"):
        record(opened, [New(member(4), "location", "yes", "page", at=monday, notice=page)])
    [no] = record(opened, [New(member(4), "location", "no", "page", at=monday, notice=page)])
    assert no.took and no.new.at == clock.now
