"""Somebody asks about groups again and again, and works out what he can from all he got: it must be nobody's data.

The attacker knows everything but the amounts: who did what when, who joined, left or objected. Each figure he gets is
an equation; he solves for whatever fewer people than the floor contributed. The same attack on answers that are
counted anew each time, floor and all, succeeds: so it can.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from kept.controls.choices.records.book import New, record
from kept.controls.purposes.groups.asked import answer
from kept.controls.purposes.groups.question import Question
from kept.controls.purposes.groups.spans import Span, spans
from kept.controls.refused import Refused
from tests.acceptance.grouped import POLICY, Bought, Corner, corner, day, member

FLOOR = 5
PEOPLE = range(1, 61)
PAGES = ("tea", "rice", "salt", "oil")
Labels = tuple[str | None, ...]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Corner]:
    with corner(tmp_path / "corner") as opened:
        yield opened


def ask(
    opened: Corner, /, *, to: str = "mallory", **asked: Any
) -> dict[tuple[Any, ...], float | None] | None:
    """The figures of an answer; None where it is refused."""
    question = Question(**{"purpose": "improve", "data": "buying", **asked})
    try:
        found = answer(opened.company, question, to)
    except Refused:
        return None
    return {(group.since, *group.labels): group.value for group in found.groups}


def each(numbers: Iterable[int], page: str = "tea", amount: int = 10, at: str = "2026-06-03") -> list[Bought]:
    return [Bought(number, page, amount, day(at)) for number in numbers]


JUNE: dict[str, Any] = {"since": date(2026, 6, 1), "until": date(2026, 7, 1)}
MEAN: dict[str, Any] = {"measure": "mean", "column": "amount"}
SUM: dict[str, Any] = {"measure": "sum", "column": "amount"}


# One attack after another.


@pytest.mark.parametrize("by_day", [True, False])
def test_a_window_that_slides_by_a_day_is_refused(shop: Corner, by_day: bool) -> None:
    shop.join(PEOPLE)
    shop.buy(each(range(1, 21)) + each([21], at="2026-06-20", amount=77))
    whole: dict[str, Any] = {"every": "whole", **SUM, "to": "mallory"}
    assert ask(shop, since=date(2026, 6, 1), until=date(2026, 6, 30), **whole) is not None
    wider = [date(2026, 6, 1) + timedelta(days=n) for n in range(-3, 29)]
    for since in wider:
        for until in (date(2026, 6, 19), date(2026, 6, 21), date(2026, 6, 29), date(2026, 7, 1)):
            if since < until:
                asked = {**whole, "every": "day" if by_day else "whole", "to": f"other{since.day}"}
                assert ask(shop, since=since, until=until, **asked) is None


def test_everybody_minus_one_company_is_refused(shop: Corner) -> None:
    shop.join(PEOPLE, {n: (1,) if n <= 30 else (2,) if n <= 59 else (3,) for n in PEOPLE})
    shop.buy(each(range(1, 60)) + each([60], amount=77))
    assert ask(shop, **SUM, **JUNE) is not None
    assert ask(shop, by=("works-for",), **SUM, **JUNE) is None
    assert ask(shop, by=("works-for",), to="her colleague", **SUM, **JUNE) is None


def test_a_total_is_that_of_the_groups_that_are_told(shop: Corner) -> None:
    shop.join(PEOPLE)
    shop.buy(each(range(1, 30)) + each([30], page="salt", amount=77))
    parts = ask(shop, by=("page",), **SUM, **JUNE)
    total = ask(shop, **SUM, **JUNE)
    assert parts is not None and total is not None
    assert sum(value or 0 for value in parts.values()) == total[date(2026, 6, 1),] == 290


def test_whoever_comes_or_goes_between_two_answers_changes_neither(shop: Corner) -> None:
    shop.join(PEOPLE)
    shop.buy(each(range(1, 30)))
    before = ask(shop, **SUM, **JUNE)
    shop.buy(each([40], amount=77))
    record(shop.company, [New(member(3), "counting", "no", "account", "")])
    shop.do("DELETE FROM buying WHERE member_id = 4")
    shop.do("UPDATE buying SET amount = 99 WHERE member_id = 5")
    assert ask(shop, **SUM, **JUNE) == before
    assert ask(shop, to="her colleague", **SUM, **JUNE) == before
    mean = ask(shop, **MEAN, **JUNE)
    assert mean is not None and mean[date(2026, 6, 1),] == 10  # another figure, of the same people


def test_the_mean_of_one_and_the_counts_around_it_tell_nothing(shop: Corner) -> None:
    shop.join(PEOPLE)
    shop.buy([*each(range(1, 30)), Bought(30, "tea", 77, day("2026-06-04"))])
    shop.buy(
        [Bought(n, "oil", None, day("2026-06-04")) for n in range(1, 30)] + each([31], page="oil", amount=77)
    )
    for asked in ({**MEAN}, {**SUM}, {"measure": "rows"}, {"measure": "people"}):
        found = ask(shop, by=("page",), **asked, **JUNE)
        assert found is not None
        if "column" in asked:
            assert found[date(2026, 6, 1), "oil"] is None  # one amount among thirty people


def test_another_purpose_with_another_floor_is_refused_the_same_time(shop: Corner) -> None:
    shop.join(PEOPLE)
    record(shop.company, [New(member(3), "counting", "no", "account", "")])
    shop.buy(each(range(1, 30)))
    assert ask(shop, **SUM, **JUNE) is not None
    assert ask(shop, purpose="study", **SUM, **JUNE) is None  # it counts member 3 as well


def test_two_counts_of_people_are_never_joined(shop: Corner) -> None:
    shop.join(PEOPLE)
    shop.buy(each(range(1, 20)) + each(range(12, 31), page="rice"))
    assert ask(shop, by=("page",), **JUNE) is not None
    assert ask(shop, **JUNE) is None  # tea or rice: how many did both would follow
    assert ask(shop, where={"page": ("tea", "rice")}, **JUNE) is None


# Everything at once.


@dataclass
class Cut:
    """What the attacker knows of a stretch of time as it was counted: for each group that is told, the rows in it."""

    dimensions: tuple[str, ...]
    groups: dict[Labels, list[int]]


@dataclass
class World:
    """The shop, all rows there ever were, and what the attacker knows."""

    shop: Corner
    rows: list[Bought]
    here: set[int]
    no: set[int]
    jobs: dict[int, tuple[int, ...]]

    def label(self, row: Bought, name: str) -> str | None:
        if name == "page":
            return row.page
        return str(self.jobs[row.member][0]) if len(self.jobs[row.member]) == 1 else None

    def groups(self, span: Span, names: Sequence[str]) -> dict[Labels, list[int]]:
        """The groups of a stretch now that have enough people, each with its rows."""
        found: dict[Labels, list[int]] = defaultdict(list)
        for number in self.here:
            row = self.rows[number]
            if row.member not in self.no and span.since <= row.at < span.until:
                found[tuple(self.label(row, name) for name in names)].append(number)
        return {key: some for key, some in found.items() if len({self.rows[n].member for n in some}) >= FLOOR}


def leaks(
    equations: Sequence[np.ndarray[Any, Any]], owners: np.ndarray[Any, Any], draw: random.Random
) -> bool:
    """Whether some sum of equations is about fewer people than the floor, though not about nobody.

    It is where equations, looked at without these people's rows, become dependent that weren't.
    """
    if not equations:
        return False
    matrix = np.array(equations, dtype=float)
    whole = np.linalg.matrix_rank(matrix)
    people = sorted(set(owners.tolist()))
    groups = [[one] for one in people] + [draw.sample(people, FLOOR - 1) for _ in range(200)]
    return any(np.linalg.matrix_rank(matrix[:, ~np.isin(owners, group)]) < whole for group in groups)


def asked_at_random(draw: random.Random, usual: str = "month") -> dict[str, Any]:
    since = date(2026, 4, 1) + timedelta(days=draw.choice([0, 0, 30, 61, draw.randint(0, 80)]))
    return {
        "measure": draw.choice(["rows", "sum", "sum"]),
        "column": "amount",
        "by": tuple(draw.sample(["page", "works-for", "time"], draw.randint(0, 2))),
        "where": draw.choice([{}, {}, {"page": tuple(draw.sample(PAGES, 2))}, {"works-for": ("1",)}]),
        "every": draw.choice([*[usual] * 5, "month", "week", "whole"]),
        "since": since,
        "until": since + timedelta(days=draw.choice([7, 30, 31, 61, 92])),
    }


def made_world(shop: Corner, draw: random.Random) -> World:
    jobs = {n: tuple(draw.sample([1, 2, 3], draw.choice([1, 1, 1, 0, 2]))) for n in PEOPLE}
    shop.join(PEOPLE, jobs)
    rows = [random_row(draw) for _ in range(350)]
    shop.buy(rows)
    return World(shop, rows, set(range(len(rows))), set(), jobs)


def random_row(draw: random.Random) -> Bought:
    at = datetime(2026, 4, 1, tzinfo=UTC) + timedelta(minutes=draw.randint(0, 91 * 1440))
    return Bought(draw.choice(PEOPLE), draw.choice(PAGES), draw.randint(40, 60), at)


def something_happens(world: World, draw: random.Random) -> None:
    what = draw.randint(0, 3)
    if what == 0:
        row = random_row(draw)
        world.shop.buy([row])
        world.rows.append(row)
        world.here.add(len(world.rows) - 1)
    elif what == 1:
        gone = draw.choice(PEOPLE)
        world.shop.do(f"DELETE FROM buying WHERE member_id = {gone}")
        world.here = {n for n in world.here if world.rows[n].member != gone}
    elif what == 2 and len(world.no) < 20:
        one = draw.choice([n for n in PEOPLE if n not in world.no])
        record(world.shop.company, [New(member(one), "counting", "no", "account", "")])
        world.no.add(one)


@pytest.mark.parametrize("seed", range(4))
def test_no_sum_of_all_answers_is_about_fewer_people_than_the_floor(shop: Corner, seed: int) -> None:
    draw = random.Random(seed)
    world = made_world(shop, draw)
    known: dict[Span, Cut] = {}
    equations: list[dict[int, int]] = []
    usual = draw.choice(["week", "month"])
    for _ in range(150):
        something_happens(world, draw)
        asked = asked_at_random(draw, usual)
        found = ask(shop, to=draw.choice(["mallory", "trudy"]), **asked)
        if found is None:
            continue
        question = Question(**{"purpose": "improve", "data": "buying", **asked})
        over = spans(question, ZoneInfo("UTC"), shop.clock.now)
        for span in over:
            if span not in known:
                known[span] = Cut(question.dimensions, world.groups(span, question.dimensions))
        equations += checked_equations(world, known, question, over, found)
    assert len({tuple(one) for one in equations}) >= 3
    wide = as_vectors(equations, len(world.rows))
    assert not leaks(wide, np.array([row.member for row in world.rows]), draw)


def checked_equations(
    world: World,
    known: dict[Span, Cut],
    question: Question,
    over: Sequence[Span],
    found: dict[tuple[Any, ...], float | None],
) -> list[dict[int, int]]:
    """The equations of an answer, which have to hold: else the attacker would be wrong about what he got."""
    names = [name for name in question.by if name != "time"]
    expected: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for span in over:
        cut = known[span]
        for labels, rows in cut.groups.items():
            told = dict(zip(cut.dimensions, labels, strict=True))
            if all(told[name] in values for name, values in (question.where or {}).items()):
                since = span.since.date() if "time" in question.by else over[0].since.date()
                expected[since, *(told[name] for name in names)] += rows
    made = []
    for place, rows in expected.items():
        value = found[place]
        if value is None:
            continue  # one person made nearly all of it
        amounts = [1 if question.measure == "rows" else (world.rows[n].amount or 0) for n in rows]
        assert value == sum(amounts) or value < sum(amounts)  # less where a part of it may not be told
        if value == sum(amounts):
            made.append(dict.fromkeys(rows, 1))
    return made


def as_vectors(equations: Sequence[dict[int, int]], size: int) -> list[np.ndarray[Any, Any]]:
    found = []
    for one in equations:
        vector = np.zeros(size)
        for number in one:
            vector[number] = 1
        found.append(vector)
    return found


def test_the_same_attack_on_answers_that_are_counted_anew_succeeds(shop: Corner) -> None:
    draw = random.Random(1)
    world = made_world(shop, draw)
    equations: list[dict[int, int]] = []
    for _ in range(60):
        something_happens(world, draw)
        question = Question(**{"purpose": "improve", "data": "buying", **asked_at_random(draw)})
        try:
            over = spans(question, ZoneInfo("UTC"), shop.clock.now)
        except Refused:
            continue
        for span in over:
            for rows in world.groups(span, question.dimensions).values():
                equations.append(dict.fromkeys(rows, 1))
    wide = as_vectors(equations, len(world.rows))
    assert leaks(wide, np.array([row.member for row in world.rows]), draw)


def test_another_time_of_the_same_rows_is_refused(tmp_path: Path) -> None:
    """May by when they bought, June by when they paid: the same rows but one."""
    pay = POLICY.replace("said: free-text, at: recorded", "said: free-text, paid_at: recorded")
    with corner(tmp_path / "corner") as shop:
        shop.do("ALTER TABLE buying ADD COLUMN paid_at TIMESTAMP NULL")
        shop.join(PEOPLE)
        shop.buy(each(range(1, 11), at="2026-05-03") + each([11], at="2026-05-03", amount=77))
        shop.do("UPDATE buying SET paid_at = '2026-06-03 00:00:00' WHERE member_id <> 11")
        assert ask(shop, **SUM, since=date(2026, 5, 1), until=date(2026, 6, 1)) is not None
    with corner(tmp_path / "corner", text=pay) as shop:
        assert ask(shop, **SUM, **JUNE) is None
    with corner(tmp_path / "corner") as shop:
        assert ask(shop, **SUM, **JUNE) == {}


def test_whom_a_disclosure_leaves_out_is_not_worked_out_from_figures_with_them(tmp_path: Path) -> None:
    text = POLICY.replace("for: improve}", "for: improve, unless: hidden}").replace(
        "  counting: {", "  hidden:   {of: [member, visitor], ask: opt-in}\n  counting: {"
    )
    with corner(tmp_path / "corner", text=text) as shop:
        shop.join(PEOPLE)
        record(shop.company, [New(member(30), "hidden", "yes", "account", "")])
        for month in (5, 6):
            shop.buy(
                each(range(1, 30), at=f"2026-0{month}-03") + each([30], at=f"2026-0{month}-03", amount=77)
            )
        may: dict[str, Any] = {"since": date(2026, 5, 1), "until": date(2026, 6, 1)}
        assert ask(shop, **SUM, **JUNE) == {(date(2026, 6, 1),): 367}
        assert ask(shop, to="lab", **SUM, **JUNE) is None
        assert ask(shop, to="lab", **SUM, **may) == {(date(2026, 5, 1),): 290}
        assert ask(shop, **SUM, **may) is None
