"""Answers about groups: as an independent model counts them, with nobody who may not be counted, on every database."""

from __future__ import annotations

import json
import random
import re
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from kept.company import opened
from kept.controls.choices.records.book import New, record
from kept.controls.purposes.groups import cuts
from kept.controls.purposes.groups.asked import Answer, Group, answer
from kept.controls.purposes.groups.measured import measure
from kept.controls.purposes.groups.question import Noise, Question
from kept.controls.purposes.groups.spans import spans
from kept.controls.refused import Refused
from kept.controls.registry import load
from kept.errors import KeptError, TransientError
from kept.state.uses import answers_about_groups, disclosures, group_cuts
from tests.acceptance.company import SiteLucent
from tests.acceptance.grouped import NOW, POLICY, Bought, Corner, corner, day, member
from tests.conftest import MARIADB

JUNE: dict[str, Any] = {"since": date(2026, 6, 1), "until": date(2026, 7, 1)}
MAY: dict[str, Any] = {"since": date(2026, 5, 1), "until": date(2026, 6, 1)}
FLOOR = 5


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Corner]:
    with corner(tmp_path / "corner") as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgresql", MARIADB])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Corner]:
    kind = request.param
    url = None if kind == "sqlite" else request.getfixturevalue(f"fresh_{kind}")
    with corner(tmp_path / "corner", url) as opened:
        yield opened


def ask(opened: Corner, /, *, to: str = "analyst", **asked: Any) -> Answer:
    return answer(opened.company, Question(**{"purpose": "improve", "data": "buying", **JUNE, **asked}), to)


def values(found: Answer) -> dict[tuple[Any, ...], float | None]:
    return {(group.since, *group.labels): group.value for group in found.groups}


def each_buys(
    numbers: range, page: str | None = "tea", amount: int | None = 10, at: str = "2026-06-03"
) -> list[Bought]:
    return [Bought(number, page, amount, day(at)) for number in numbers]


# The model: by hand, from the rows.


def modelled(
    rows: list[Bought], allowed: set[int], question: Question, jobs: dict[int, tuple[int, ...]], now: datetime
) -> dict[tuple[Any, ...], float | None]:
    """What should be told: by stretch and labels, None where a group is there and its figure may not be told."""
    told: dict[tuple[Any, ...], float | None] = {}
    for span in spans(question, ZoneInfo("UTC"), now):
        cells: dict[tuple[Any, ...], list[Bought]] = defaultdict(list)
        for row in rows:
            if row.member in allowed and span.since <= row.at < span.until:
                label = {
                    "page": row.page,
                    "works-for": str(jobs[row.member][0]) if len(jobs.get(row.member, ())) == 1 else None,
                }
                cells[tuple(label[name] for name in question.by)].append(row)
        for labels, members in cells.items():
            people = {row.member for row in members}
            if len(people) < FLOOR:
                continue
            place = (span.since.date(), *labels)
            if question.measure == "people":
                told[place] = len(people)
                continue
            fine = _even([sum(row.member == who for row in members) for who in people])
            figure: float | None = len(members)
            if question.measure in ("sum", "mean"):
                filled = [row for row in members if row.amount is not None]
                empty = [row for row in members if row.amount is None]
                fine = fine and all(
                    not some or (len({row.member for row in some}) >= FLOOR and _even(_of_each(some)))
                    for some in (filled, empty)
                )
                fine = fine and len({row.member for row in filled}) >= FLOOR
                sums = [abs(sum(r.amount or 0 for r in filled if r.member == who)) for who in people]
                fine = fine and _even(sums)
                total = sum(row.amount or 0 for row in filled)
                figure = total if question.measure == "sum" or not filled else total / len(filled)
            told[place] = figure if fine else None
    return told


def _of_each(rows: list[Bought]) -> list[int]:
    return [sum(row.member == who for row in rows) for who in {row.member for row in rows}]


def _even(shares: list[int]) -> bool:
    """That nobody makes nearly all of it: the rest beyond the two largest is a tenth of the largest, at least."""
    first, _, *rest = [*sorted(shares, reverse=True), 0, 0]
    return first == 0 or 10 * sum(rest) >= first


def world(draw: random.Random) -> tuple[list[Bought], dict[int, tuple[int, ...]]]:
    rows = []
    for _ in range(draw.randint(40, 250)):
        who = min(int(draw.expovariate(0.08)) + 1, 40)
        at = day("2026-04-28") + timedelta(minutes=draw.randint(0, 90 * 1440))
        amount = None if draw.random() < 0.2 else draw.choice([0, 1, 5, 10, -3, 10_000])
        rows.append(Bought(who, draw.choice(["tea", "rice", "salt", None, "oil"]), amount, at))
    jobs = {n: tuple(draw.sample(range(1, 4), draw.choice([0, 1, 1, 1, 2]))) for n in range(1, 41)}
    return rows, jobs


def compared(opened: Corner, seed: int) -> None:
    """Random rows, choices and a question: what is answered is what the model says."""
    draw = random.Random(seed)
    rows, jobs = world(draw)
    opened.join(range(1, 41), jobs)
    opened.buy(rows)
    noes = set(draw.sample(range(1, 41), 6))
    for number in noes:
        record(opened.company, [New(member(number), "counting", "no", "account", "")])
    by = draw.choice([(), ("page",), ("works-for",), ("page", "works-for")])
    every: Any = draw.choice(["week", "month", "whole"])
    column = {"sum": "amount", "mean": "amount"}
    figures: list[Any] = ["people", "rows", "sum", "mean"]
    for measure_ in draw.sample(figures, 4):
        question = Question(
            purpose="improve",
            data="buying",
            by=(*by, "time"),
            measure=measure_,
            column=column.get(measure_),
            every=every,
            since=date(2026, 5, 1),
            until=date(2026, 7, 1),
        )
        found = values(answer(opened.company, question, "analyst"))
        plain = Question(**{**_fields(question), "by": by})
        expected = modelled(rows, set(range(1, 41)) - noes, plain, jobs, NOW)
        assert {place: _near(v) for place, v in found.items()} == {p: _near(v) for p, v in expected.items()}


def _fields(question: Question) -> dict[str, Any]:
    return {name: getattr(question, name) for name in question.__dataclass_fields__}


def _near(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10**9))
def test_answers_are_those_of_a_model_that_counts_by_hand(seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder, corner(Path(folder) / "corner") as opened:
        compared(opened, seed)


def test_answers_are_the_same_on_every_database(place: Corner) -> None:
    compared(place, 7)


def test_a_group_under_the_floor_is_left_out_with_what_tells_it_apart(shop: Corner) -> None:
    shop.join(range(1, 20))
    shop.buy(each_buys(range(1, 7)) + each_buys(range(7, 11), page="a rare disease"))
    found = ask(shop, by=("page",))
    assert values(found) == {(date(2026, 6, 1), "tea"): 6} and found.small == 1
    assert values(ask(shop, measure="rows")) == {(date(2026, 6, 1),): 6}  # nor in a total
    with shop.company.state.read() as connection:
        body = connection.execute(select(group_cuts.c.body)).scalar_one()
    assert b"a rare disease" not in body and b"tea" in body


def test_one_person_never_makes_nearly_the_whole_of_a_figure(shop: Corner) -> None:
    shop.join(range(1, 20))
    shop.buy([*each_buys(range(1, 8)), Bought(9, "tea", 100_000, day("2026-06-04"))])
    assert ask(shop, measure="sum", column="amount").groups[0].value is None
    assert ask(shop, measure="mean", column="amount").groups[0].value is None
    assert ask(shop, measure="rows").groups[0].value == 8


def test_a_mean_is_not_told_where_it_would_tell_who_left_something_empty(shop: Corner) -> None:
    shop.join(range(1, 20))
    shop.buy([*each_buys(range(1, 12)), Bought(12, "tea", None, day("2026-06-04"))])
    assert ask(shop, measure="mean", column="amount").groups[0].value is None
    shop.buy(each_buys(range(1, 12), at="2026-05-02"))
    assert ask(shop, measure="mean", column="amount", **MAY).groups[0].value == 10


def test_whoever_said_no_objected_or_left_is_not_counted(shop: Corner) -> None:
    shop.join(range(1, 12))
    shop.buy(each_buys(range(1, 12)) + each_buys(range(1, 12), at="2026-05-02"))
    assert ask(shop, **MAY).groups[0].value == 11
    record(shop.company, [New(member(1), "counting", "no", "account", "")])
    shop.do("DELETE FROM buying WHERE member_id = 2")
    assert ask(shop).groups[0].value == 9


def test_rows_past_their_limit_are_not_counted(shop: Corner) -> None:
    shop.join(range(1, 20))
    shop.buy(each_buys(range(1, 8), at="2024-07-05") + each_buys(range(8, 20), at="2024-07-20"))
    stretch: dict[str, Any] = {"since": date(2024, 7, 1), "until": date(2024, 8, 1)}
    assert ask(shop, **stretch).groups[0].value == 12  # 24 months before 10 July 2026


def test_a_stretch_that_is_not_over_is_not_counted(shop: Corner) -> None:
    shop.join(range(1, 20))
    shop.buy(each_buys(range(1, 8), at="2026-07-02"))
    with pytest.raises(Refused):
        ask(shop, since=date(2026, 7, 1), until=date(2026, 8, 1))
    with pytest.raises(Refused):
        ask(shop, every="whole", since=date(2026, 7, 1), until=date(2026, 7, 31))
    shop.clock.now = day("2026-08-01")
    assert ask(shop, since=date(2026, 7, 1), until=date(2026, 8, 1)).groups[0].value == 7


@pytest.mark.parametrize(
    "asked",
    [
        {"by": ("said",)},
        {"by": ("at",)},
        {"by": ("id",)},
        {"by": ("member_id",)},
        {"by": ("email",)},
        {"by": ("nothing",)},
        {"by": ("page", "amount", "spent")},
        {"where": {"said": ("x",)}},
        {"measure": "sum", "column": "member_id"},
        {"measure": "sum", "column": "page"},
        {"measure": "sum"},
        {"data": "account"},
        {"data": "nothing"},
        {"purpose": "look"},
        {"purpose": "nothing"},
        {"purpose": "inside"},
        {"table": "moods"},
        {"noise": Noise(epsilon=0)},
        {"noise": Noise(epsilon=float("nan"))},
        {"noise": Noise(epsilon=0.1), "measure": "mean", "column": "amount"},
        {"noise": Noise(epsilon=0.1), "measure": "sum", "column": "amount"},
    ],
)
def test_what_points_at_people_or_is_not_declared_is_refused(shop: Corner, asked: dict[str, Any]) -> None:
    shop.join(range(1, 20))
    shop.buy(each_buys(range(1, 20)))
    with pytest.raises(Refused):
        ask(shop, **asked)
    assert cuts.size(shop.company) == 0 and shop.company.ledger.size == 0


def test_staff_are_answered_where_the_purpose_is_for_them(shop: Corner) -> None:
    shop.join(range(1, 20))
    shop.buy(each_buys(range(1, 20)))
    question = Question(purpose="inside", data="buying", **JUNE)
    assert answer(shop.company, question, "analyst", by="analyst:4").groups[0].value == 19


def test_data_without_a_time_is_counted_once_for_all(shop: Corner) -> None:
    shop.join(range(1, 20))
    shop.do(
        "INSERT INTO moods (id, member_id, mood) VALUES (:i, :i, 'glad')", *({"i": n} for n in range(1, 9))
    )
    ask_moods: dict[str, Any] = {"data": "mood", "by": ("mood",), "since": None, "until": None}
    assert ask(shop, **ask_moods).groups[0].value == 8
    shop.do("INSERT INTO moods (id, member_id, mood) VALUES (99, 9, 'glad')")
    assert ask(shop, **ask_moods).groups[0].value == 8


def test_an_answer_stands_on_the_ledger_without_a_value(shop: Corner) -> None:
    shop.join(range(1, 20))
    shop.buy(each_buys(range(1, 12)) + each_buys(range(13, 16), page="rare"))
    ask(shop, by=("page",))
    [entry] = [one for one in shop.company.ledger.entries() if one["act"] == "groups"]
    assert entry["recipient"] == "analyst" and entry["cells"] == 1 and entry["suppressed"] == 1
    assert "tea" not in json.dumps(entry)


# Rows of several people.


def sell(shop: Corner, sales: list[tuple[int | None, int | None, str]]) -> None:
    rows = [{"i": i, "b": b, "s": s, "p": p} for i, (b, s, p) in enumerate(sales, 1)]
    shop.do("INSERT INTO sales VALUES (:i, :b, :s, :p, 10, '2026-06-03 10:00:00')", *rows)


def test_a_row_of_two_is_told_among_enough_of_either_side(place: Corner) -> None:
    place.join(range(1, 60))
    record(place.company, [New(member(8), "counting", "no", "account", "")])
    one_seller = [(n, 50, "tea") for n in range(10, 30)]
    one_buyer = [(50, n, "rice") for n in range(10, 30)]
    many = [(n, n + 20, "salt") for n in range(10, 17)]
    refused = [(8, 31, "salt"), (32, 8, "salt")]  # one of the two said no
    alone = [(None, 33, "salt"), (34, None, "salt"), (None, None, "salt")]
    sell(place, [*one_seller, *one_buyer, *many, *refused, *alone])
    asked: dict[str, Any] = {"data": "trade", "by": ("page",)}
    assert values(ask(place, measure="rows", **asked)) == {(date(2026, 6, 1), "salt"): 9}
    assert values(ask(place, measure="sum", column="amount", **asked)) == {(date(2026, 6, 1), "salt"): 90}
    for wrong in ({"by": ("works-for",)}, {"noise": Noise(epsilon=0.1)}):
        with pytest.raises(Refused):
            ask(place, **{**asked, "measure": "rows", **wrong})


def test_sales_at_random_are_told_as_a_model_counts_them(place: Corner) -> None:
    draw = random.Random(11)
    place.join(range(1, 41))
    noes = set(draw.sample(range(1, 41), 5))
    for number in noes:
        record(place.company, [New(member(number), "counting", "no", "account", "")])
    sides = [None, *range(1, 10), *range(1, 41)]
    sales = [(draw.choice(sides), draw.choice(sides), f"page{draw.randint(1, 25)}") for _ in range(300)]
    sell(place, sales)
    expected = {}
    for page in {page for _, _, page in sales}:
        rows = [(b, s) for b, s, p in sales if p == page and {b, s} != {None} and not {b, s} & noes]
        ways = [[b or s for b, s in rows], [s or b for b, s in rows]]
        if all(len(set(way)) >= FLOOR and _even([way.count(one) for one in set(way)]) for way in ways):
            expected[date(2026, 6, 1), page] = len(rows)
    found = {
        p: v
        for p, v in values(ask(place, data="trade", by=("page",), measure="rows")).items()
        if v is not None
    }
    assert found == expected and 5 < len(expected) < 25


def test_ten_browsers_of_one_member_are_one_person(place: Corner) -> None:
    place.join(range(1, 30))
    rows = [{"v": f"a{n}", "m": 7, "p": "tea"} for n in range(10)]
    rows += [{"v": f"b{n}", "m": None, "p": "rice"} for n in range(10)]
    rows += [{"v": f"c{n}", "m": n, "p": "salt"} for n in range(1, 10)]
    place.do("INSERT INTO visits VALUES (:v, :m, :p, '2026-06-03 10:00:00')", *rows)
    found = values(ask(place, data="seen", by=("page",), measure="rows"))
    assert found == {(date(2026, 6, 1), "rice"): 10, (date(2026, 6, 1), "salt"): 9}


# Noise.


def test_noise_is_drawn_once_and_paid_for_once(shop: Corner) -> None:
    pytest.importorskip("opendp")
    shop.join(range(1, 200))
    shop.buy(each_buys(range(1, 200)))
    quiet = Noise(epsilon=0.5)
    first = ask(shop, noise=quiet)
    assert {ask(shop, noise=quiet).groups[0].value for _ in range(20)} == {first.groups[0].value}
    assert abs((first.groups[0].value or 0) - 199) < 100  # 50 scales away: one in 10^21
    with pytest.raises(Refused):
        ask(shop)  # nor is the true figure told after it
    with pytest.raises(Refused):
        ask(shop, noise=Noise(epsilon=0.6))


def test_a_spent_budget_refuses_and_holds_after_a_restart(tmp_path: Path) -> None:
    pytest.importorskip("opendp")
    months: list[dict[str, Any]] = [
        {"since": date(2026, n, 1), "until": date(2026, n + 1, 1)} for n in range(1, 7)
    ]
    for n, month in enumerate(months):
        with corner(tmp_path / "corner") as shop:  # opened anew each time
            if n == 0:
                shop.join(range(1, 50))
                shop.buy([row for m in range(1, 7) for row in each_buys(range(1, 50), at=f"2026-0{m}-05")])
            if n < 2:
                ask(shop, noise=Noise(epsilon=0.5), **month)
                continue
            with pytest.raises(Refused) as refused:
                ask(shop, noise=Noise(epsilon=0.5), **month)
            assert refused.value.reason == "budget"
            assert ask(shop, to="somebody", noise=Noise(epsilon=0.1), **month).groups
    with corner(tmp_path / "corner") as shop:
        assert ask(shop, noise=Noise(epsilon=0.5), **months[0]).groups  # had before: nothing new is learnt


def test_noised_sums_are_bounded_by_person(shop: Corner) -> None:
    pytest.importorskip("opendp")
    shop.join(range(1, 40))
    # everybody adds 100 in ten rows; bounded to 10 each the sum is 390, unbounded 3,900
    shop.buy([row for _ in range(10) for row in each_buys(range(1, 40))])
    noise = Noise(epsilon=1, most=10)
    value = ask(shop, measure="sum", column="amount", noise=noise).groups[0].value
    assert value is not None and abs(value - 390) < 500


@pytest.mark.parametrize("spot", ["state", "recorded"])
def test_what_a_crash_cut_short_is_paid_for_and_answered_alike(tmp_path: Path, spot: str) -> None:
    pytest.importorskip("opendp")
    lucent = SiteLucent.made(tmp_path / "lucent", people=300)
    asked = ("groups", "improve-app", "usage", "--by", "page", "--to", "analyst", "--format", "json")
    noise = ("--epsilon", "0.6", "--cells", "3")
    assert lucent.crash(spot, 1, *asked, *noise)
    first = lucent.kept(*asked, *noise)
    assert first.code == 0, first.err
    assert (
        first.json() == lucent.kept(*asked, *noise).json()
    )  # what the crash left behind, at no further cost
    other = ("--since", "2026-01-01", "--until", "2026-02-01")
    assert lucent.kept(*asked, *noise, *other).code == 2  # 0.6 of 1 is spent, once


def test_two_who_ask_at_once_get_what_was_counted_once(shop: Corner) -> None:
    shop.join(range(1, 60))
    shop.buy([row for page in ("tea", "rice", "salt") for row in each_buys(range(1, 60), page=page)])
    together = threading.Barrier(6)
    found: list[tuple[tuple[str, ...], Any]] = []

    def one(by: tuple[str, ...]) -> None:
        together.wait(30)
        try:
            found.append((by, values(ask(shop, measure="rows", by=by))))
        except (Refused, TransientError) as wrong:
            found.append((by, type(wrong)))

    threads = [threading.Thread(target=one, args=(by,)) for by in [("page",), (), ("works-for",)] * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 6 and cuts.size(shop.company) == 1
    [cut] = cuts.every(shop.company, "improve")
    for by, answered in found:
        if isinstance(answered, dict):
            assert set(by) <= set(cut.dimensions) and sum(v or 0 for v in answered.values()) == 177


# On record and measured.


def test_what_is_on_record_proves_the_floor_and_a_change_of_it_is_seen(shop: Corner) -> None:
    shop.join(range(1, 20))
    shop.buy(each_buys(range(1, 12)))
    purpose: Any = shop.company.policy.section("purposes")["improve"]
    assert {proof.verdict for proof in measure(shop.company, purpose)} == {"kept"}
    ask(shop, by=("page",))
    assert {proof.verdict for proof in measure(shop.company, purpose)} == {"kept"}
    with shop.company.state.write() as connection:
        body = connection.execute(select(group_cuts.c.body)).scalar_one()
        told = json.loads(body)
        told["cells"][0][1] = 3
        connection.execute(group_cuts.update().values(body=json.dumps(told).encode()))
    assert "broken" in {proof.verdict for proof in measure(shop.company, purpose)}
    with shop.company.state.write() as connection:
        connection.execute(group_cuts.update().values(body=body))
        connection.execute(delete(answers_about_groups))
    assert "broken" in {proof.verdict for proof in measure(shop.company, purpose)}


def test_what_stands_where_nobody_can_look_is_not_proven_but_by_a_name(tmp_path: Path) -> None:
    lucent = SiteLucent.made(tmp_path / "lucent", people=30)
    file = lucent.folder / "policy.yaml"
    line = "  improve-site: {uses: visits, ground: consent, choice: statistics, groups: 10%s, clause: SL-09}"
    for attest, verdicts in (("", {"kept", "unproven"}), (", attest: support every 12 months", {"kept"})):
        file.write_text(re.sub("  improve-site: .*", line % attest, file.read_text(), count=1))
        with opened(load(file), lucent.folder) as company:
            purpose: Any = company.policy.section("purposes")["improve-site"]
            assert {proof.verdict for proof in measure(company, purpose)} == verdicts


def test_a_floor_that_was_raised_holds_for_what_was_counted_before(tmp_path: Path) -> None:
    with corner(tmp_path / "corner") as shop:
        shop.join(range(1, 20))
        shop.buy(each_buys(range(1, 7)) + each_buys(range(1, 12), page="rice"))
        assert len(ask(shop, by=("page",)).groups) == 2
    with corner(tmp_path / "corner", text=POLICY.replace("    groups: 5\n", "    groups: 10\n")) as shop:
        found = ask(shop, by=("page",))
        assert [group.labels for group in found.groups] == [("rice",)] and found.small == 1


def test_the_command_answers_in_a_table_and_in_json(tmp_path: Path) -> None:
    lucent = SiteLucent.made(tmp_path / "lucent", people=300)
    asked = ("groups", "improve-app", "usage", "--by", "page", "--every", "month", "--to", "analyst")
    table = lucent.kept(*asked)
    assert table.code == 0 and "board" in table.out and table.out.startswith("since"), table.err
    again = lucent.kept(*asked, "--format", "json")
    assert again.json()["floor"] == 10 and len(again.json()["groups"]) >= 10
    assert all(group["value"] >= 10 for group in again.json()["groups"])
    for wrong in (("--where", "page"), ("--count", "rows", "--sum", "page")):
        assert lucent.kept(*asked, *wrong).code in (1, 2)
    assert len(lucent.ledger("groups")) == 2


def test_nobody_can_tell_is_no_answer(shop: Corner) -> None:
    shop.join(range(1, 20))
    shop.buy(each_buys(range(1, 12)))
    shop.do("ALTER TABLE buying RENAME TO elsewhere")
    with pytest.raises(KeptError):
        ask(shop)
    assert cuts.size(shop.company) == 0


# Who gets it.


def test_a_party_gets_the_figures_it_is_declared_to_get_and_they_are_on_its_register(shop: Corner) -> None:
    shop.join(range(1, 20))
    shop.buy(each_buys(range(1, 12)))
    for name in ("mill", "Mill", "lab ", "Lab", "LAB"):
        with pytest.raises(Refused):
            ask(shop, to=name)
    with pytest.raises(Refused):
        ask(shop, to="lab", purpose="study")
    assert cuts.size(shop.company) == 0
    assert ask(shop, to="lab", by=("page",)).groups[0].value == 11
    with shop.company.state.read() as connection:
        [row] = connection.execute(select(disclosures)).all()
    assert (row.recipient, row.way, row.fields, row.people) == ("lab", "groups", "app.buying.page", FLOOR)


def test_another_spelling_of_a_name_is_no_second_budget(shop: Corner) -> None:
    pytest.importorskip("opendp")
    shop.join(range(1, 40))
    shop.buy([*each_buys(range(1, 40)), *each_buys(range(1, 40), at="2026-05-03")])
    assert ask(shop, noise=Noise(epsilon=0.9)).groups
    for name in ("Analyst", "analyst ", "ａnalyst", "analyst."):
        with pytest.raises(Refused) as refused:
            ask(shop, to=name, noise=Noise(epsilon=0.9), **MAY)
        assert refused.value.reason == "budget"


def test_a_figure_of_few_is_not_told_once_the_floor_is_raised(tmp_path: Path) -> None:
    with corner(tmp_path / "corner") as shop:
        shop.join(range(1, 41))
        shop.buy(each_buys(range(1, 7)) + each_buys(range(7, 41), amount=None))
        assert ask(shop, measure="sum", column="amount").groups[0].value == 60  # of six
    with corner(tmp_path / "corner", text=POLICY.replace("    groups: 5\n", "    groups: 20\n")) as shop:
        assert ask(shop, measure="rows").groups[0].value == 40
        for measure_ in ("sum", "mean"):
            assert ask(shop, measure=measure_, column="amount").groups[0].value is None


def test_a_group_told_apart_by_a_column_called_value_keeps_its_name(tmp_path: Path) -> None:
    found = Answer(1, ("value", "since"), (Group(("tea", "x"), None, None, 7),), 0, 5)
    [group] = found.as_json()["groups"]
    assert group == {"by": {"value": "tea", "since": "x"}, "since": None, "until": None, "value": 7}


def test_an_epsilon_of_nothing_is_refused_and_not_taken_for_none(tmp_path: Path) -> None:
    lucent = SiteLucent.made(tmp_path / "lucent", people=30)
    done = lucent.kept("groups", "improve-app", "usage", "--to", "analyst", "--epsilon", "0")
    assert done.code == 2 and "epsilon" in done.err and not lucent.ledger("groups")
