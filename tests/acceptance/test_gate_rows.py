"""The gate inside the database: which rows a purpose may use, beside what it decides of each person, and an account."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from kept.controls.choices.records.book import New, record
from kept.controls.disclosure.visibility.seen import seen_by, sees
from kept.controls.purposes.enforce import Gate
from kept.controls.purposes.gate.rows import rows, why_not, written
from kept.controls.rights.people import Person
from tests.acceptance.choosing import Clock
from tests.acceptance.pairs import NOW, POLICY, Model, World, change, company, drawn, member, selected
from tests.conftest import MARIADB


@pytest.fixture(params=["sqlite", "postgresql", MARIADB])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"fresh_{request.param}"))


@pytest.mark.parametrize("seed", range(3))
def test_rows_and_gate_and_account_agree(seed: int, url: str, tmp_path: Path) -> None:
    world = drawn(random.Random(seed + 50), 16)
    model, year, near = Model(world, NOW), timedelta(days=365), {"fr", "de-by", "us-ca"}
    with company(tmp_path / "c", url, world) as opened:
        gate = Gate.of(opened)
        for purpose, data in (("profile", "joined"), ("showing", "joined"), ("dealing", "phone")):
            found = selected(opened, rows(opened, purpose, data, "shop.members", called="m"), "members", "m")
            allowed = [id for id in world.members if gate.decide(purpose, data, person=member(id)).allowed]
            account = [id for id in world.members if model.wants(id, purpose) and model.within(id)]
            assert found == allowed == account, purpose
        for purpose in ("profile", "local"):
            found = selected(opened, rows(opened, purpose, "works", "shop.works"), "works")
            account = [
                one["id"] for one in world.works
                if one["at"] > NOW - year and model.wants(one["member_id"], purpose)
                and model.within(one["member_id"]) and (purpose == "profile" or model.region(one["member_id"]) in near)
            ]  # fmt: skip
            assert found == account, purpose


@pytest.mark.parametrize("seed", range(3))
def test_a_row_of_two_people_is_used_only_where_both_allow_it(seed: int, url: str, tmp_path: Path) -> None:
    world = drawn(random.Random(seed + 80), 16)
    model = Model(world, NOW)
    with company(tmp_path / "c", url, world) as opened:
        for purpose in ("dealing", "tax"):
            account = [
                one["id"] for one in world.sales
                if all(model.wants(id, purpose) for id in (one["buyer_id"], one["seller_id"]) if id is not None)
                and (one["closed_at"] is None or one["closed_at"] > NOW - timedelta(days=700))
            ]  # fmt: skip
            assert (
                selected(opened, rows(opened, purpose, "payment", "shop.sales", called="s"), "sales", "s")
                == account
            )


def test_a_restricted_person_and_a_lapsed_limit_take_their_rows_out_at_once(
    tmp_path: Path, fresh_sqlite: str
) -> None:
    world = World(
        works=[{"id": n, "member_id": n, "body": "w", "at": NOW - timedelta(days=300)} for n in (1, 2)]
    )
    for id in (1, 2):
        world.members[id] = drawn(random.Random(1), 1).members[1] | {
            "id": id, "born_on": date(1980, 1, 1), "closed_at": None, "country": "fr",
        }  # fmt: skip
    clock = Clock(NOW)
    with company(tmp_path / "c", fresh_sqlite, world, clock=clock) as opened:
        assert selected(opened, rows(opened, "profile", "works", "shop.works"), "works") == [1, 2]
        record(opened, [New(member(1), "open", "no", "account")])
        assert selected(opened, rows(opened, "profile", "works", "shop.works"), "works") == [1, 2]
        assert selected(opened, rows(opened, "showing", "joined", "shop.members"), "members") == []
        clock.pass_(seconds=1)
        record(opened, [New(member(1), "open", "yes", "account")])
        assert selected(opened, rows(opened, "showing", "joined", "shop.members"), "members") == [1]
        change(opened, "UPDATE members SET closed_at = '2026-04-01 00:00:00' WHERE id = 2")
        assert selected(opened, rows(opened, "profile", "works", "shop.works"), "works") == [1]
        clock.pass_(days=66)
        assert selected(opened, rows(opened, "profile", "works", "shop.works"), "works") == []


def test_what_is_not_declared_or_turns_on_more_than_the_person_is_no_row(
    tmp_path: Path, fresh_sqlite: str
) -> None:
    with company(tmp_path / "c", fresh_sqlite, drawn(random.Random(3))) as opened:
        for purpose, data, table, rule in (
            ("nothing", "works", "shop.works", "purpose"),
            ("profile", "phone", "shop.members", "data"),
            ("profile", "works", "shop.members", "data"),
            ("growing", "works", "shop.works", "groups"),
            ("disputes", "payment", "shop.sales", "alone"),
            ("profile", "works", "other.works", "data"),
        ):
            found = why_not(opened, purpose, data, table)
            assert found is not None and not found.allowed and found.rule == rule
            text, _ = written(opened, "shop", rows(opened, purpose, data, table))
            assert text == "0"
        counted = rows(opened, "growing", "works", "shop.works", aggregated=True)
        assert selected(opened, counted, "works")
        goods = rows(opened, "selling", "goods", "shop.suppliers")
        assert selected(opened, goods, "suppliers") == [1, 2]
        assert Gate.of(opened).decide("selling", "goods", person=Person("supplier", ("1",))).allowed


def test_what_kept_does_by_itself_upon_an_event_is_nobodys_use_of_rows(
    tmp_path: Path, fresh_sqlite: str
) -> None:
    by_itself = ("ground: legitimate-interest, interest: showing}", "ground: contract, upon: member.ended}")
    text = POLICY.replace(*by_itself)
    with company(tmp_path / "c", fresh_sqlite, drawn(random.Random(3)), text=text) as opened:
        decided = [Gate.of(opened).decide("profile", "joined", person=member(id)) for id in range(1, 13)]
        assert "upon" in {one.rule for one in decided} and not any(one.allowed for one in decided)
        assert selected(opened, rows(opened, "profile", "joined", "shop.members"), "members") == []
        assert sees(opened, "profile", None, member(1)).rule == "upon"
        assert selected(opened, seen_by(opened, "profile", None), "members") == []


def test_no_row_is_used_while_nobody_can_tell(
    tmp_path: Path, fresh_sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kept.controls.purposes.gate.willing.EVERY", 0.0)
    with company(tmp_path / "c", fresh_sqlite, drawn(random.Random(3))) as opened:
        assert selected(opened, rows(opened, "profile", "joined", "shop.members"), "members")
        opened.state.close()
        (tmp_path / "c" / "kept.sqlite").rename(tmp_path / "c" / "away")
        (tmp_path / "c" / "kept.sqlite").mkdir()
        assert written(opened, "shop", rows(opened, "profile", "joined", "shop.members"))[0] == "0"
        (tmp_path / "c" / "kept.sqlite").rmdir()
        (tmp_path / "c" / "away").rename(tmp_path / "c" / "kept.sqlite")


def test_conditions_of_two_purposes_stand_in_one_statement(url: str, tmp_path: Path) -> None:
    world = drawn(random.Random(9), 16)
    model = Model(world, NOW)
    with company(tmp_path / "c", url, world) as opened:
        both = sa.and_(
            rows(opened, "profile", "joined", "shop.members", called="m"),
            rows(opened, "showing", "joined", "shop.members", called="m"),
        )
        wants = [
            id for id in world.members
            if model.within(id) and model.wants(id, "profile") and model.wants(id, "showing")
        ]  # fmt: skip
        assert selected(opened, both, "members", "m") == wants
