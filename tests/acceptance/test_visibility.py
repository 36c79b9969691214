"""What people see of each other: the decision, the condition for a page, and an independent account of both agree."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from examples.generators import lucent_marketplace
from kept.company import Company, opened
from kept.controls.choices.deciding import Decision
from kept.controls.choices.records.book import New, record
from kept.controls.disclosure.enforce import disclose
from kept.controls.disclosure.visibility.measured import measure
from kept.controls.disclosure.visibility.seen import columns, seen_by, sees
from kept.controls.disclosure.visibility.ties import Tie
from kept.controls.purposes.gate.rows import written
from kept.controls.purposes.gate.willing import Areas
from kept.controls.refused import Refused
from kept.controls.registry import load
from kept.controls.rights.people import Person
from kept.state.uses import disclosures
from tests.acceptance.choosing import Clock
from tests.acceptance.pairs import (
    NOW,
    POLICY,
    Model,
    World,
    change,
    company,
    drawn,
    instruct,
    member,
    selected,
)
from tests.conftest import MARIADB

DAY = timedelta(days=1)
ID: sa.ColumnElement[int] = sa.literal_column("m.id")
DISCLOSURES = ("profile", "among", "sellers", "deal", "deal-phone", "badge")


@pytest.fixture(params=["sqlite", "postgresql", MARIADB])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"fresh_{request.param}"))


def two(**changes: object) -> World:
    """A world of two grown-ups in France, each with an address."""
    world = drawn(random.Random(1), 4)
    whole = World()
    for id in (1, 2, 3):
        whole.members[id] = world.members[id] | {
            "country": "fr", "born_on": date(1980, 1, 1),
            "sells": 1, "closed_at": None,
        }  # fmt: skip
        whole.addresses.append({"id": id, "member_id": id, "line": "1 Example Street"})
    for name, value in changes.items():
        setattr(whole, name, value)
    return whole


def sale(id: int, buyer: int, seller: int, agreed: datetime, closed: datetime | None) -> dict[str, object]:
    return {
        "id": id,
        "buyer_id": buyer,
        "seller_id": seller,
        "amount": 5,
        "agreed_at": agreed,
        "closed_at": closed,
    }


def seen_in(company: Company, disclosure: str, viewer: Person | None) -> list[int]:
    """The members somebody sees on a page of them."""
    return selected(company, seen_by(company, disclosure, viewer), "members")


def other_of(row: dict[str, Any], viewer: int | None) -> int:
    """Who stands at the other end of a sale."""
    return int(row["seller_id"] if row["buyer_id"] == viewer else row["buyer_id"])


@pytest.mark.parametrize("seed", range(4))
def test_decision_and_page_and_account_agree_on_everybody(seed: int, url: str, tmp_path: Path) -> None:
    world = drawn(random.Random(seed))
    model, told = Model(world, NOW), dict[bool, int]()
    with company(tmp_path / "c", url, world) as opened:
        for name in DISCLOSURES:
            for viewer in (None, *world.members, 99):
                who = None if viewer is None else member(viewer)
                page = selected(opened, seen_by(opened, name, who, called="m"), "members", "m")
                account = [id for id in world.members if model.sees(name, viewer, id)]
                assert page == account, (name, viewer)
                for id in (*world.members, 99):
                    decision = sees(opened, name, who, member(id))
                    assert decision.allowed == (id in account), (name, viewer, id, decision)
                    assert not decision.unsure and bool(decision.fields) == decision.allowed
                    told[decision.allowed] = told.get(decision.allowed, 0) + 1
    assert told[True] > 30 and told[False] > 300


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_seen_where_everybody_they_are_about_is(seed: int, url: str, tmp_path: Path) -> None:
    world = drawn(random.Random(seed + 20))
    model, year = Model(world, NOW), timedelta(days=365)
    with company(tmp_path / "c", url, world) as opened:
        for viewer in (None, *world.members):
            who = None if viewer is None else member(viewer)
            works = [
                one["id"] for one in world.works
                if one["at"] > NOW - year and model.sees("profile", viewer, one["member_id"])
            ]  # fmt: skip
            assert selected(opened, seen_by(opened, "profile", who, "shop.works"), "works") == works
            through = [
                one for one in world.sales
                if viewer in (one["buyer_id"], one["seller_id"]) and None not in (one["buyer_id"], one["seller_id"])
                and model.dealt(viewer, other_of(one, viewer), one) and model.wants(other_of(one, viewer), "dealing")
            ]  # fmt: skip
            ids = [one["id"] for one in through]
            assert (
                selected(opened, seen_by(opened, "deal", who, "shop.sales", called="s"), "sales", "s") == ids
            )
            parcels = [
                one["id"] for one in through
                if model.within(other_of(one, viewer))
            ]  # fmt: skip
            assert selected(opened, seen_by(opened, "deal", who, "shop.parcels"), "parcels") == parcels
            addresses = [
                id for id in world.members
                if model.within(id) and model.dealt(viewer, id) and model.wants(id, "dealing")
            ]  # fmt: skip
            assert selected(opened, seen_by(opened, "deal", who, "shop.addresses"), "addresses") == addresses


def test_a_page_costs_one_statement_and_names_nobody_in_its_text(url: str, tmp_path: Path) -> None:
    world = drawn(random.Random(5), 60)
    with company(tmp_path / "c", url, world) as opened:
        seen_by(opened, "profile", member(3), called="m")  # how columns write time is looked at once a minute
        statements: list[str] = []
        store = opened.stores["shop"]

        def listening(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            statements.append(statement)

        sa.event.listen(store.engine, "before_cursor_execute", listening)
        condition = seen_by(opened, "profile", member(3), called="m")
        chosen = columns(opened, "profile", ["joined_at", "phone", "secret"], called="m")
        with store.engine.connect() as connection:
            page = connection.execute(
                sa.select(sa.literal_column("m.id"), *chosen)
                .select_from(sa.text("members m"))
                .where(condition)
                .limit(50)
            ).all()
        assert len([one for one in statements if one != "BEGIN"]) == 1 and page
        assert all(row.joined_at is not None and row.phone is None and row.secret is None for row in page)
        text, values = written(opened, "shop", condition)
        with store.engine.connect() as connection:
            raw = connection.exec_driver_sql(f"SELECT m.id FROM members m WHERE {text}", values)
            assert sorted(raw.scalars()) == selected(opened, condition, "members", "m")


def test_what_somebody_chooses_counts_at_once_on_the_page_and_in_the_decision(
    tmp_path: Path, fresh_sqlite: str
) -> None:
    clock = Clock(NOW)
    with company(tmp_path / "c", fresh_sqlite, two(), clock=clock) as opened:
        seen = partial(seen_in, opened, "profile", member(1))
        assert seen() == [1, 2, 3]
        record(opened, [New(member(2), "public", "no", "account")])
        assert seen() == [1, 3] and not sees(opened, "profile", member(1), member(2)).allowed
        decision = sees(opened, "profile", None, member(2))
        assert decision.choice == "public" and "they said no" in decision.reason
        clock.pass_(seconds=1)
        record(opened, [New(member(2), "public", "yes", "account")])
        assert seen() == [1, 2, 3]
        assert selected(opened, seen_by(opened, "among", member(1)), "members") == []
        record(opened, [New(member(3), "open", "yes", "account")])
        assert selected(opened, seen_by(opened, "among", member(1)), "members") == [3]


def test_what_another_process_records_is_learned_with_the_next_look(
    tmp_path: Path, fresh_sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "kept.controls.purposes.gate.willing.EVERY", 0.0
    )  # what counts is that it looks, not when
    with company(tmp_path / "c", fresh_sqlite, two()) as opened:
        monkeypatch.setattr(
            "kept.controls.choices.records.book.tell", lambda *_: None
        )  # as if it were another's
        seen = partial(seen_in, opened, "profile", None)
        assert seen() == [1, 2, 3]
        record(opened, [New(member(2), "public", "no", "account")])
        assert seen() == [1, 3]
        instruct(opened, member(3), "restrict", "*")
        assert seen() == [1]


def test_nobody_is_seen_while_nobody_can_tell(
    tmp_path: Path, fresh_sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kept.controls.purposes.gate.willing.EVERY", 0.0)
    with company(tmp_path / "c", fresh_sqlite, two()) as opened:
        assert selected(opened, seen_by(opened, "profile", None), "members") == [1, 2, 3]
        opened.state.close()
        (tmp_path / "c" / "kept.sqlite").rename(tmp_path / "c" / "away")
        (tmp_path / "c" / "kept.sqlite").mkdir()
        assert selected(opened, seen_by(opened, "profile", None), "members") == []
        (tmp_path / "c" / "kept.sqlite").rmdir()
        (tmp_path / "c" / "away").rename(tmp_path / "c" / "kept.sqlite")
        assert selected(opened, seen_by(opened, "profile", None), "members") == [1, 2, 3]


def test_a_phone_is_seen_once_it_was_asked_for_on_record_and_while_the_deal_lasts(
    tmp_path: Path, fresh_sqlite: str
) -> None:
    clock, day = Clock(NOW), timedelta(days=1)
    deals = [sale(1, 1, 2, NOW - day, None), sale(2, 3, 2, NOW - day, None)]
    with company(tmp_path / "c", fresh_sqlite, two(sales=deals), clock=clock) as opened:
        page = partial(seen_in, opened, "deal-phone")
        assert sees(opened, "deal-phone", member(1), member(2)).rule == "asked" and page(member(1)) == []
        assert not sees(opened, "deal-phone", member(1), member(2), evidence={"asked": "  "}).allowed
        before = opened.ledger.size
        given = sees(opened, "deal-phone", member(1), member(2), evidence={"asked": "about sale 1"})
        assert given.allowed and set(given.fields) == {"shop.members.phone"}
        assert opened.ledger.size == before + 1
        sees(opened, "deal-phone", member(1), member(2), evidence={"asked": "again"})
        with opened.state.read() as connection:
            rows = connection.execute(sa.select(disclosures)).all()
        assert (
            len(rows) == 1
            and rows[0].way == "seen"
            and rows[0].purpose == "dealing"
            and rows[0].ground == "contract"
        )
        assert opened.ledger.size == before + 1
        assert sees(opened, "deal-phone", member(1), member(2)).allowed and page(member(1)) == [2]
        # for whoever asked, about whom they asked
        assert not sees(opened, "deal-phone", member(3), member(2)).allowed and page(member(3)) == []
        assert not sees(opened, "deal-phone", member(2), member(1)).allowed and page(member(2)) == []
        assert not sees(opened, "deal-phone", member(1), member(3), evidence={"asked": "please"}).allowed
        change(opened, "UPDATE sales SET closed_at = :at WHERE id = 1", at="2026-06-01 12:00:00")
        clock.pass_(days=90)
        assert page(member(1)) == [2]
        clock.pass_(days=1)
        late = sees(opened, "deal-phone", member(1), member(2))
        assert page(member(1)) == [] and (late.rule, late.reason) == ("to", "no open `sale` ties the two")
        wrong_end = sees(opened, "badge", member(2), member(1)).reason
        assert wrong_end == "no open `sale` ties the two with the viewer as its `buyer`"


@pytest.mark.parametrize(
    ("closed", "last", "first"),
    [
        # over when its last day is over in Brussels: before the change to summer time, across it, and back
        ("2025-11-01 12:00:00", "2026-01-30T22:59:59+00:00", "2026-01-30T23:00:00+00:00"),
        ("2026-01-15 12:00:00", "2026-04-15T21:59:59+00:00", "2026-04-15T22:00:00+00:00"),
        ("2026-08-15 21:59:59", "2026-11-13T22:59:59+00:00", "2026-11-13T23:00:00+00:00"),
        ("2026-08-15 22:00:00", "2026-11-14T22:59:59+00:00", "2026-11-14T23:00:00+00:00"),
    ],
)
def test_a_deal_goes_out_of_sight_at_the_second(
    closed: str, last: str, first: str, url: str, tmp_path: Path
) -> None:
    at, day = datetime.fromisoformat(closed + "+00:00"), timedelta(days=1)
    clock = Clock(datetime.fromisoformat(last))
    with company(tmp_path / "c", url, two(sales=[sale(1, 1, 2, at - day, at)]), clock=clock) as opened:
        for moment, visible in ((last, True), (first, False)):
            clock.now = datetime.fromisoformat(moment)
            assert sees(opened, "deal", member(1), member(2)).allowed is visible
            for table, ids in (("members", [2]), ("sales", [1]), ("addresses", [2])):
                found = selected(opened, seen_by(opened, "deal", member(1), f"shop.{table}"), table)
                assert found == (ids if visible else [])


def test_a_deal_is_not_seen_before_it_begins(url: str, tmp_path: Path) -> None:
    clock = Clock(NOW - timedelta(seconds=1))
    with company(tmp_path / "c", url, two(sales=[sale(1, 1, 2, NOW, None)]), clock=clock) as opened:
        for visible in (False, True):
            assert sees(opened, "deal", member(2), member(1)).allowed is visible
            assert selected(opened, seen_by(opened, "deal", member(2)), "members") == ([1] if visible else [])
            clock.pass_(seconds=1)


def test_only_declared_columns_are_shown_and_each_where_it_is_theirs(
    tmp_path: Path, fresh_sqlite: str
) -> None:
    with company(tmp_path / "c", fresh_sqlite, two()) as opened:
        assert dict(sees(opened, "profile", None, member(1)).fields) == {
            "shop.members.joined_at": "as is",
            "shop.works.body": "as is",
            "shop.works.at": "as is",
            "shop.members.secret": "masked",
        }
        assert all(isinstance(one.element, sa.Null) for one in columns(opened, "nothing", ["joined_at"]))
        hidden = columns(opened, "mail", ["body"], "shop.works")
        assert len(hidden) == 1
        assert sees(opened, "mail", member(1), member(2)).rule == "to"
        assert sees(opened, "nothing", None, member(1)).clause == ("LM-25",)
        assert (
            Company is type(opened) and not sees(opened, "profile", None, Person("supplier", ("1",))).allowed
        )


@pytest.fixture(scope="module")
def marketplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LUCENT's marketplace, generated."""
    folder = tmp_path_factory.mktemp("lucent") / "marketplace"
    lucent_marketplace.build(folder, 120, 3)
    return folder


@contextmanager
def lucent(folder: Path) -> Iterator[Company]:
    with opened(load(folder / "policy.yaml"), folder) as found:
        yield found


def test_the_marketplace_shows_what_it_promises_and_its_board_has_looked(marketplace: Path) -> None:
    with lucent(marketplace) as company:
        record(company, [New(member(1), "public-activity", "no", "account")])
        for name in ("profile", "deal", "deal-phone", "badge"):
            [proof, unasked] = measure(company, company.policy.section("disclosure")[name])
            assert proof.verdict == "kept" and int(proof.measured["pairs"] or 0) > 50, (name, proof)
            assert unasked.verdict == "unproven" and unasked.unseen
            assert name != "profile" or (proof.measured["hidden"] and proof.measured["blocked"])
            assert name != "deal" or (
                proof.measured["outside"] and proof.measured["inside"] and proof.measured["shown"]
            )
        assert measure(company, company.policy.section("disclosure")["stripe"]) == []


@pytest.mark.parametrize("broken", ["ties", "choices", "columns"])
def test_the_board_says_so_where_more_is_shown(
    broken: str, marketplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, shown = (
        "kept.controls.disclosure.visibility.seen",
        Decision(True, "", fields={"shop.members.joined_at": "as is"}),
    )
    with lucent(Path(shutil.copytree(marketplace, tmp_path / "c"))) as company:
        record(company, [New(member(1), "public-activity", "no", "account")])
        match broken:
            case "ties":
                monkeypatch.setattr(f"{seen}._between", lambda *_: None)
            case "choices":
                monkeypatch.setattr(f"{measure.__module__}.sees", lambda *_: shown)
            case _:
                monkeypatch.setattr(
                    f"{measure.__module__}.columns", lambda *_, **__: [sa.literal_column("kept_page.email")]
                )
        [proof] = measure(
            company, company.policy.section("disclosure")["deal" if broken == "ties" else "profile"]
        )
        assert proof.verdict == "broken" and proof.measured["wrong"]


def test_the_board_knows_each_tie_of_those_it_tries_however_many_there_are(
    tmp_path: Path, fresh_sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times are forgotten, in a database with more ties than the board reads at once."""
    over = [sale(n, 1 + n % 2, 3, NOW - 900 * DAY, NOW - 800 * DAY) for n in range(1, 2100)]
    with company(tmp_path / "c", fresh_sqlite, two(sales=over)) as opened:
        deal = opened.policy.section("disclosure")["deal"]
        [proof, _] = measure(opened, deal)
        assert proof.verdict == "kept" and proof.measured["ties"] and proof.measured["shown"] == 0
        monkeypatch.setattr(Tie, "counts", lambda *_: sa.true())
        opened.memory.clear()
        [proof] = measure(opened, deal)
        assert proof.verdict == "broken"


def test_the_board_looks_at_the_rows_that_are_meant_of_a_link(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link whose rows are told apart by a column: which of them are meant is forgotten."""
    text = POLICY.replace("    began: agreed_at\n", "    began: agreed_at\n    when: amount = 7\n", 1)
    other = [sale(1, 1, 3, NOW - 9 * DAY, None), sale(2, 2, 3, NOW - 9 * DAY, None) | {"amount": 7}]
    with company(tmp_path / "c", url, two(sales=other), text=text) as opened:
        deal = opened.policy.section("disclosure")["deal"]
        [proof, _] = measure(opened, deal)
        assert proof.verdict == "kept" and proof.measured["inside"] == 2 and proof.measured["ties"] == 4
        monkeypatch.setattr(Tie, "_when", lambda *_: sa.true())
        opened.memory.clear()
        [proof] = measure(opened, deal)
        assert proof.verdict == "broken"


def test_the_board_knows_where_people_are_whom_it_tries(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A badge is for sellers in the EEA and the UK: where they are is forgotten, by decision and page alike."""
    sold = [sale(n, n, 3 - n % 2, NOW - 9 * DAY, None) for n in (1, 2)]
    world = two(sales=sold)
    world.members[2]["country"] = "us"
    with company(tmp_path / "c", url, world) as opened:
        badge = opened.policy.section("disclosure")["badge"]
        [proof, _] = measure(opened, badge)
        assert proof.verdict == "kept" and proof.measured["elsewhere"] and proof.measured["shown"]
        monkeypatch.setattr("kept.controls.disclosure.visibility.seen.of_their_own", lambda *_: None)
        monkeypatch.setattr("kept.controls.purposes.gate.persons.fitting", lambda _: Areas(True))
        opened.memory.clear()
        [proof] = measure(opened, badge)
        assert proof.verdict == "broken"


def test_without_a_tie_nothing_is_proven_of_what_is_for_those_with_one(
    tmp_path: Path, fresh_sqlite: str
) -> None:
    with company(tmp_path / "c", fresh_sqlite, two()) as opened:
        [proof] = measure(opened, opened.policy.section("disclosure")["deal"])
        assert proof.verdict == "unproven"


def test_a_limit_that_counts_from_a_row_holds_in_the_persons_own(url: str, tmp_path: Path) -> None:
    picture = (
        "  secret:    {of",
        "  picture:   {of: member, in: {shop.members: {shop: photo, joined_at: recorded}}}\n  secret:    {of",
    )
    kept = (
        "  picture: {keeps: picture, until: 12 months after recorded, then: delete}\n  works:   {keeps: works"
    )
    text = POLICY.replace(*picture, 1).replace("  works:   {keeps: works", kept, 1)
    text = text.replace("{uses: [joined,", "{uses: [joined, picture,", 1).replace(
        "gives: [joined, works, secret], for: profile", "gives: [picture, works], for: profile"
    )
    text = text.replace("  among: ", "  faces:      {to: anyone, gives: picture, for: profile}\n  among: ")
    world = two()
    world.members[2]["joined_at"] = NOW - 10 * DAY
    with company(tmp_path / "c", url, world, text=text) as opened:
        page = sa.select(ID, *columns(opened, "profile", ["shop"], called="m")).order_by(ID)
        with opened.stores["shop"].read() as connection:
            shown = connection.execute(page.select_from(sa.text("members m"))).all()
        assert [(row[0], row[1] is not None) for row in shown] == [(1, False), (2, True), (3, False)]
        for id in (1, 2, 3):
            fields = sees(opened, "profile", None, member(id)).fields
            assert ("shop.members.shop" in fields) == (id == 2) and "shop.works.body" in fields
        assert seen_in(opened, "faces", None) == [2]
        assert [id for id in (1, 2, 3) if sees(opened, "faces", None, member(id)).allowed] == [2]


def test_without_people_nothing_is_proven(tmp_path: Path, fresh_sqlite: str) -> None:
    with company(tmp_path / "c", fresh_sqlite, World()) as opened:
        [proof] = measure(opened, opened.policy.section("disclosure")["profile"])
        assert proof.verdict == "unproven"


def test_what_somebody_once_closed_stays_closed_for_a_party_too_when_their_word_has_lapsed(
    tmp_path: Path, fresh_sqlite: str
) -> None:
    text = (
        POLICY.replace(
            "  public:   {of", "  hidden:   {of: member, ask: opt-in, lapses: 1 months}\n  public:   {of"
        )
        .replace("gives: works, for: profile}", "gives: works, for: profile, unless: hidden}")
        .replace("choice: public, unless: block}", "choice: public, unless: [block, hidden]}")
    )
    clock, works = Clock(NOW), [{"id": 1, "member_id": 1, "body": "b", "at": NOW - 2 * DAY}]
    with company(tmp_path / "c", fresh_sqlite, two(works=works), text=text, clock=clock) as opened:
        assert disclose(opened, "mail", [member(1)], purpose="profile").records
        record(opened, [New(member(1), "hidden", "yes", "account")])
        for days in (0, 60):
            clock.pass_(days=days)
            assert not sees(opened, "profile", None, member(1)).allowed
            with pytest.raises(Refused, match="forbids"):
                disclose(opened, "mail", [member(1)], purpose="profile")
