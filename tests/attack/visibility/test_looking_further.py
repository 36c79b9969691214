"""Attempts to see more of somebody than a policy promises: each must be refused, by the decision and by the page."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from kept.company import Company
from kept.controls.choices.enforce import Gate
from kept.controls.choices.records.book import New, record
from kept.controls.disclosure.visibility.seen import columns, seen_by, sees
from kept.controls.purposes.gate.rows import written
from kept.controls.rights.people import Person
from kept.errors import KeptError
from tests.acceptance.pairs import NOW, World, change, company, instruct, member, selected

DAY = timedelta(days=1)
ID: sa.ColumnElement[int] = sa.literal_column("m.id")
WORK: sa.ColumnElement[int] = sa.literal_column("w.id")


def sale(
    id: int, buyer: int, seller: int, *, ended: Any = None, agreed: Any = NOW - 900 * DAY
) -> dict[str, Any]:
    return {
        "id": id,
        "buyer_id": buyer,
        "seller_id": seller,
        "amount": id,
        "agreed_at": agreed,
        "closed_at": ended,
    }


def world(*sales: dict[str, Any], blocks: tuple[tuple[int, int], ...] = ()) -> World:
    made = World(sales=list(sales))
    for id in (1, 2, 3):
        made.members[id] = {
            "id": id, "country": "fr", "born_on": date(1980, 1, 1), "sells": 1, "joined_at": NOW - id * DAY,
            "closed_at": None, "phone": "+3200001", "shop": "s", "secret": "s",
        }  # fmt: skip
        made.addresses.append({"id": id, "member_id": id, "line": "1 Example Street"})
        made.works.append({"id": id, "member_id": id, "body": "w", "at": NOW - DAY})
    for one in made.sales:
        made.parcels.append({"id": one["id"], "sale_id": one["id"], "what": "a box"})
    made.blocks = [{"id": n, "member_id": a, "blocked_id": b} for n, (a, b) in enumerate(blocks, 1)]
    return made


def refused(opened: Company, disclosure: str, viewer: Person | None, subject: int) -> bool:
    decision = sees(opened, disclosure, viewer, member(subject))
    page = selected(opened, seen_by(opened, disclosure, viewer), "members")
    assert decision.allowed == (subject in page)
    return not decision.allowed


@pytest.fixture
def url(fresh_sqlite: str) -> str:
    return fresh_sqlite


def test_a_blocked_member_looks_through_the_other_end(url: str, tmp_path: Path) -> None:
    with company(tmp_path / "c", url, world(blocks=((1, 2),))) as opened:
        assert refused(opened, "profile", member(2), 1)
        assert refused(opened, "profile", member(1), 2)  # nor does who blocked go on watching
        assert not refused(opened, "profile", member(3), 1)
        for table in ("works", "members"):
            assert 1 not in selected(opened, seen_by(opened, "profile", member(2), f"shop.{table}"), table)


def test_a_sale_that_is_over_or_is_of_others_opens_nothing(url: str, tmp_path: Path) -> None:
    over = sale(1, 1, 2, ended=NOW - 100 * DAY)
    with company(tmp_path / "c", url, world(over, sale(2, 2, 3))) as opened:
        assert refused(opened, "deal", member(1), 2) and refused(opened, "deal", member(2), 1)
        assert refused(opened, "deal", member(1), 3) and not refused(opened, "deal", member(2), 3)
        assert selected(opened, seen_by(opened, "deal", member(1), "shop.sales"), "sales") == []


def test_an_old_sale_stays_out_of_sight_beside_an_open_one_between_the_same_two(
    url: str, tmp_path: Path
) -> None:
    old, new = sale(1, 1, 2, ended=NOW - 100 * DAY), sale(2, 1, 2)
    with company(tmp_path / "c", url, world(old, new)) as opened:
        for table in ("sales", "parcels"):
            assert selected(opened, seen_by(opened, "deal", member(1), f"shop.{table}"), table) == [2]
            assert selected(opened, seen_by(opened, "deal", member(3), f"shop.{table}"), table) == []
            assert selected(opened, seen_by(opened, "deal", None, f"shop.{table}"), table) == []


def test_nobody_in_particular_is_no_party_of_a_sale(url: str, tmp_path: Path) -> None:
    with company(tmp_path / "c", url, world(sale(1, 1, 2))) as opened:
        change(
            opened,
            "INSERT INTO sales (id, buyer_id, seller_id, agreed_at) VALUES (9, NULL, 2, '2026-01-01 00:00:00')",
        )
        for who in (None, Person("member", ("",)), Person("member", ("None",)), Person("member", ("NULL",))):
            assert all(refused(opened, "deal", who, id) for id in (1, 2, 3))


def test_who_stands_at_both_ends_sees_nobody_by_it(url: str, tmp_path: Path) -> None:
    with company(tmp_path / "c", url, world(sale(1, 1, 1), blocks=((3, 3),))) as opened:
        assert all(refused(opened, "deal", member(1), id) for id in (1, 2, 3))
        assert not refused(opened, "profile", member(3), 3)  # a block of oneself closes nothing between two
        assert selected(opened, seen_by(opened, "deal", member(1), "shop.sales"), "sales") == []


def test_a_kind_or_a_key_that_is_forged_is_nobody(url: str, tmp_path: Path) -> None:
    with company(tmp_path / "c", url, world(sale(1, 1, 2))) as opened:
        keys = ("01", "1.0", " 1", "1 ", "+1", "1;--", "1 OR 1=1", "٢", "0x1", "1" * 30, "-1")
        kinds = [Person(kind, ("1",)) for kind in ("supplier", "seller", "trust", "staff")]
        for who in (*kinds, Person("member", ("1", "1")), *(Person("member", (key,)) for key in keys)):
            assert refused(opened, "deal", who, 2) and refused(opened, "among", who, 2)
        for key in keys:
            assert not sees(opened, "deal", member(1), Person("member", (key,))).allowed
        assert not sees(opened, "deal", member(1), Person("supplier", ("2",))).allowed
        assert not sees(opened, "handled", Person("trust", ("1",)), member(1)).allowed


def test_a_hidden_member_leaves_no_trace_in_counts_orders_or_joins(url: str, tmp_path: Path) -> None:
    with company(tmp_path / "c", url, world()) as opened:
        record(opened, [New(member(2), "public", "no", "account")])
        condition = seen_by(opened, "profile", None, called="m")
        with opened.stores["shop"].read() as connection:
            members = sa.text("members m")
            count = connection.scalar(sa.select(sa.func.count()).select_from(members).where(condition))
            first = connection.scalars(
                sa.select(ID).select_from(members).where(condition)
                .order_by(sa.literal_column("m.joined_at")).limit(1).offset(1)
            ).all()  # fmt: skip
            summed = connection.scalar(
                sa.select(sa.func.sum(sa.literal_column("m.id"))).select_from(members).where(condition)
            )
            joined = connection.scalars(
                sa.select(WORK).select_from(sa.text("works w JOIN members m ON m.id = w.member_id"))
                .where(condition)
            ).all()  # fmt: skip
            negated = connection.scalars(sa.select(ID).select_from(members).where(sa.not_(condition))).all()
        assert (count, first, summed, sorted(joined)) == (2, [1], 4, [1, 3])
        assert negated == [2]  # never NULL: a row is seen or it isn't


def test_columns_that_are_not_declared_come_as_nothing(url: str, tmp_path: Path) -> None:
    with company(tmp_path / "c", url, world(sale(1, 1, 2))) as opened:
        wanted = ["joined_at", "phone", "secret", "born_on", "id", "no_such", "phone FROM members --"]
        chosen = columns(opened, "profile", wanted, called="m")
        with opened.stores["shop"].read() as connection:
            got = connection.execute(sa.select(*chosen).select_from(sa.text("members m"))).mappings().all()
        assert all(row["joined_at"] is not None for row in got)
        assert all(row[name] is None for row in got for name in wanted[1:])
        assert "shop.members.phone" not in sees(opened, "deal", member(1), member(2)).fields
        with pytest.raises(KeptError):
            seen_by(opened, "deal", member(1), "shop.works")
        assert written(opened, "shop", seen_by(opened, "nothing", member(1)))[0] == "0"


def test_somebody_whose_data_is_restricted_or_past_its_limit_is_out_of_sight(
    url: str, tmp_path: Path
) -> None:
    with company(tmp_path / "c", url, world(sale(1, 1, 2), sale(2, 1, 3))) as opened:
        instruct(opened, member(2), "restrict", "*")
        change(opened, "UPDATE members SET closed_at = '2026-01-01 00:00:00' WHERE id = 3")
        assert refused(opened, "profile", member(1), 2) and refused(opened, "deal", member(1), 2)
        assert refused(opened, "profile", None, 3)
        shown = sees(opened, "deal", member(1), member(3)).fields
        assert set(shown) == {"shop.sales.amount"}  # the payment has a limit of its own
        assert selected(opened, seen_by(opened, "deal", member(1), "shop.addresses"), "addresses") == []


def test_a_time_that_is_none_opens_nothing(url: str, tmp_path: Path) -> None:
    with company(tmp_path / "c", url, world(sale(1, 1, 2), sale(2, 1, 3))) as opened:
        change(opened, "UPDATE sales SET agreed_at = 'soon' WHERE id = 1")
        change(opened, "UPDATE sales SET closed_at = 'later' WHERE id = 2")
        assert refused(opened, "deal", member(1), 2) and refused(opened, "deal", member(1), 3)
        change(opened, "UPDATE members SET closed_at = 'once' WHERE id = 2")
        Gate.of(opened).learn(
            [member(2)]
        )  # a decision remembers a person's own row for a minute, a page doesn't
        assert refused(opened, "profile", None, 2)


def test_values_of_people_travel_beside_the_text_and_never_in_it(url: str, tmp_path: Path) -> None:
    with company(tmp_path / "c", url, world(sale(1, 1, 2))) as opened:
        record(opened, [New(member(2), "public", "no", "account")])
        text, values = written(opened, "shop", seen_by(opened, "profile", member(3), called="m"))
        other, _ = written(opened, "shop", seen_by(opened, "profile", member(1), called="m"))
        assert text == other and 3 in values.values() and "[2]" in map(str, values.values())
