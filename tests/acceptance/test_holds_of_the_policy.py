"""Holds by policy (tax: 7 years) that end: what they left of an erased person goes by itself, and nothing else."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from kept.controls.retention.enforce import sweep
from kept.controls.rights import register
from kept.controls.rights.erasing import again
from kept.controls.rights.erasing.erase import Erase
from kept.controls.rights.erasing.remnants import LOOK, in_doubt
from kept.controls.rights.erasing.replay import restored
from kept.controls.rights.people import Person
from kept.evidence import board
from kept.state.database import State
from tests.acceptance.test_holds import ADA, BO, LATER, Shop, at_work, made
from tests.acceptance.test_retention import POLICY

AFTER = datetime(2027, 1, 1, 12, tzinfo=UTC)  # the last order of Ada's is of March 2019, and held for 7 years
NAMELESS = "INSERT INTO customers VALUES (1, '', '', NULL, NULL, '{joined}', NULL)"


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SHOP_URL", raising=False)
    return made(tmp_path, request.getfixturevalue(f"fresh_{request.param}"), POLICY)


@pytest.fixture
def small(tmp_path: Path, fresh_sqlite: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SHOP_URL", raising=False)
    return made(tmp_path, fresh_sqlite, POLICY)


def declared(folder: Path, old: str, new: str) -> None:
    """Another version of the policy."""
    policy = (folder / "policy.yaml").read_text()
    assert old in policy
    (folder / "policy.yaml").write_text(policy.replace(old, new))


def do(it: Shop, *statements: str) -> None:
    with it.company.stores["shop"].write() as connection:
        for statement in statements:
            connection.execute(text(statement))


def left(it: Shop, key: int = 1) -> tuple[int, int]:
    """How many rows and orders of somebody's stand there."""
    [(rows,)] = it.ask(f"SELECT count(*) FROM customers WHERE id = {key}")
    [(orders,)] = it.ask(f"SELECT count(*) FROM orders WHERE customer = {key}")
    return rows, orders


def freed(it: Shop) -> list[register.Request]:
    return [one for one in register.listing(it.company, state="done") if one.channel == "hold-ended"]


def works(it: Shop) -> None:
    assert it.desk.work().problem is None


def test_what_a_hold_of_the_policy_left_goes_by_itself_when_it_ends(shop: Path) -> None:
    with at_work(shop) as it:
        it.erase(ADA)
        works(it)
        assert left(it) == (1, 1) and freed(it) == []
    with at_work(shop, AFTER) as it:
        works(it)
        assert left(it) == (0, 0)
        [one] = freed(it)
        assert one.state == "done" and one.outcome["remains"] == 0 and "stays" not in one.outcome
        assert [entry["people"] for entry in it.entries("holds over")] == [1]
        assert it.desk.work().requests == [], "it is let go of once"
        assert len(it.entries("erase")) == 2 and len(it.entries("holds over")) == 1
        assert restored(it.company).people == restored(it.company).doubtful == ()
        assert [row[0] for row in it.ask("SELECT id FROM customers ORDER BY id")] == [2, 3, 4]


def test_it_goes_too_when_the_sweep_was_first_to_take_what_was_held(shop: Path) -> None:
    with at_work(shop) as it:
        it.erase(ADA)
    with at_work(shop, AFTER) as it:
        assert it.desk.carrier.workflows is not None
        sweep(it.company, it.desk.carrier.workflows)
        assert left(it) == (1, 0), "the emptied row has no limit of its own: nobody closed the account"
        works(it)
        assert left(it) == (0, 0)


def test_what_is_held_still_stays_when_an_older_hold_ends(shop: Path) -> None:
    with at_work(shop) as it:
        do(it, "INSERT INTO orders VALUES (9, 1, 'Aster street', 90, '2024-01-01 10:00:00')")
        it.erase(ADA)
        assert left(it) == (1, 2)
    with at_work(shop, AFTER) as it:
        works(it)
        assert left(it) == (1, 1)
        [one] = freed(it)
        assert one.outcome["stays"]["held"] == {"shop.customers": 1, "shop.orders": 1}
        assert it.desk.work().requests == []
    with at_work(shop, datetime(2031, 1, 2, tzinfo=UTC)) as it:
        works(it)
        assert left(it) == (0, 0)


def test_frames_are_looked_at_once_a_day_and_anew_for_another_policy(small: Path) -> None:
    def asked(it: Shop) -> int:
        sent: list[Any] = []
        engine = it.company.stores["shop"].engine

        def note(*given: Any) -> None:
            sent.append(given[2])

        event.listen(engine, "before_cursor_execute", note)
        works(it)
        event.remove(engine, "before_cursor_execute", note)
        return sum("kept_people" in statement for statement in sent)

    with at_work(small) as it:
        do(it, "UPDATE orders SET at = '2020-06-01 00:00:00' WHERE id = 2")
        it.erase(ADA)
        assert asked(it) > 0 and asked(it) == 0
    with at_work(small, datetime(2026, 3, 1, 23, tzinfo=UTC)) as it:
        assert asked(it) == 0, "the same day"
    with at_work(small, datetime(2026, 3, 2, 0, 1, tzinfo=UTC)) as it:
        assert asked(it) > 0 and left(it) == (1, 1)
    declared(small, "7 years after recorded", "5 years after recorded")
    with at_work(small, datetime(2026, 3, 2, 0, 2, tzinfo=UTC)) as it:
        assert asked(it) > 0
        assert left(it) == (0, 0), "a shorter hold is over sooner"


def test_without_holds_that_end_nobody_is_looked_at(small: Path) -> None:
    declared(small, ", hold: tax", "")
    with at_work(small) as it:
        it.erase(ADA)
        works(it)
        assert it.company.state.notes(LOOK) == {} and left(it) == (0, 0)


def test_somebody_new_without_an_address_behind_an_old_key_loses_nothing(shop: Path) -> None:
    with at_work(shop) as it:
        it.erase(ADA)
        do(
            it,
            "DELETE FROM orders WHERE customer = 1",
            "DELETE FROM customers WHERE id = 1",
            NAMELESS.format(joined="2026-05-01"),
            "INSERT INTO visits VALUES (9, 1, 'home', '10.0.0.7', '2026-05-02 00:00:00')",
        )
    with at_work(shop, AFTER) as it:
        works(it)
        assert left(it) == (1, 0) and it.ask("SELECT id FROM visits WHERE customer = 1") == [(9,)]
        assert in_doubt(it.company) == 0, "they began after she was erased"


@pytest.mark.parametrize("joined", [None, "2026-02-28"])
def test_where_nothing_shows_whose_a_frame_is_it_is_left_to_staff(small: Path, joined: str | None) -> None:
    """Nobody declares when people began, or the day is too near the erasure's to say who was first."""
    if joined is None:
        declared(small, ", began: joined", "")
    with at_work(small) as it:
        it.erase(ADA)
        do(
            it,
            "DELETE FROM orders WHERE customer = 1",
            "DELETE FROM customers WHERE id = 1",
            NAMELESS.format(joined=joined or "2010-01-01"),
        )
    with at_work(small, AFTER) as it:
        works(it)
        assert left(it) == (1, 0) and freed(it) == []
        assert in_doubt(it.company) == 1 and restored(it.company).doubtful == (ADA,)
        [row] = [row for row in board.prove(it.company).rows if row.promise.id == "rights.erase"]
        assert row.verdict == "unproven" and any("`kept replay` says more" in p.says for p in row.proofs)
        it.erase(ADA)
        assert left(it) == (0, 0) and restored(it.company).doubtful == ()


def test_the_token_of_an_erasure_shows_whose_a_frame_is(small: Path) -> None:
    declared(small, ", began: joined", "")
    with at_work(small) as it:
        it.erase(ADA)
    with at_work(small, AFTER) as it:
        works(it)
        assert left(it) == (0, 0)


@pytest.mark.parametrize(("at", "rows"), [("2019-03-01", (0, 0)), ("2026-02-28", (1, 1))])
def test_held_rows_from_before_the_erasure_show_it_too(small: Path, at: str, rows: tuple[int, int]) -> None:
    """A column that may be empty gets no token of an erasure; a row of the day before says too little."""
    declared(small, "known-by: {email: email}, began: joined", "known-by: {phone: phone}")
    with at_work(small) as it:
        do(it, f"UPDATE orders SET at = '{at} 10:00:00' WHERE id = 2")
        it.erase(ADA)
        works(it)
        assert left(it) == (1, 1) and in_doubt(it.company) == 0
    with at_work(small, datetime(2036, 1, 1, tzinfo=UTC)) as it:
        works(it)
        assert left(it) == rows and in_doubt(it.company) == len(restored(it.company).doubtful) == rows[0]


def test_whom_a_backup_brought_back_is_left_to_a_replay(small: Path) -> None:
    file = small.parent / "app.sqlite"
    shutil.copyfile(file, small.parent / "backup.sqlite")
    with at_work(small) as it:
        it.erase(ADA)
    shutil.copyfile(small.parent / "backup.sqlite", file)
    with at_work(small, AFTER) as it:
        works(it)
        assert it.ask("SELECT name FROM customers WHERE id = 1") == [("Ada Aster",)] and freed(it) == []
        assert restored(it.company).people == (ADA,)


def test_who_is_held_by_what_they_are_known_by_is_not_there_again_and_goes_when_it_ends(shop: Path) -> None:
    declared(shop, "tax:      {uses: order,", "tax:      {uses: [account, order],")
    declared(
        shop,
        "account: {keeps: account, until: 1 month after customer.ended, then: delete}",
        "account: {keeps: account, until: 1 year after recorded, then: delete, hold: tax}",
    )
    with at_work(shop) as it:
        do(it, "UPDATE customers SET joined = '2025-06-01 00:00:00' WHERE id = 2")
        it.erase(ADA, BO)
        assert it.ask("SELECT email FROM customers WHERE id = 2") == [("bo@mail.example",)]
        works(it)
        found = restored(it.company)
        assert found.people == found.doubtful == () and freed(it) == []
    with at_work(shop, LATER) as it:
        assert restored(it.company).people == (), "what is let go of by itself is no backup's"
        works(it)
        assert left(it, 2) == left(it) == (0, 0) and len(freed(it)) == 2
        assert restored(it.company).people == ()


def test_where_people_may_come_back_a_hold_that_ends_waits_for_nothing(small: Path) -> None:
    declared(small, "erase:  {through: email}", "erase:  {through: email, waits: 30 days}")
    with at_work(small) as it:
        [asked] = it.desk.carry_out("erase", [register.Subject(ADA)], "tester", confirmed=True).requests
        assert asked.awaits == "period"
    with at_work(small, datetime(2026, 4, 2, tzinfo=UTC)) as it:
        works(it)
        assert left(it) == (1, 1)
    with at_work(small, AFTER) as it:
        works(it)
        assert left(it) == (0, 0)


def test_neither_recipients_nor_staff_hear_of_it_again(small: Path) -> None:
    declared(
        small,
        "  review:  {of: customer, in: {shop.reviews: {author: name, stars: preference, at: recorded}}}",
        "  review:  {of: customer, in: {shop.reviews: {author: name, stars: preference, at: recorded},"
        " paper.cards: {card: free-text}}}",
    )
    declared(small, "people:\n", "  paper: {kind: sheet, region: eea, roles: {desk: [selling]}}\npeople:\n")
    with at_work(small) as it:
        erasing = it.desk.carrier.act("erase")
        assert isinstance(erasing, Erase)
        assert any("tasks" in leg for leg in erasing.plan_again([ADA]))
        [(_, legs)] = again.without_holds(it.company, erasing, [ADA]).groups
        assert legs == [["erase", "clean"]]


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_crash_while_erasures_begin_lets_go_once(
    small: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    class Killed(BaseException):
        pass

    with at_work(small) as it:
        it.erase(ADA)
    real = State.note

    def killed(state: State, act: str, *given: Any) -> None:
        if act == LOOK:
            raise Killed
        real(state, act, *given)

    def killed_before(*given: Any) -> None:
        raise Killed

    with at_work(small, AFTER) as it, monkeypatch.context() as patched:
        if where == "after":
            patched.setattr(State, "note", killed)
        else:
            patched.setattr(again, "begin", killed_before)
        with pytest.raises(Killed):
            it.desk.work()
    with at_work(small, AFTER) as it:
        works(it)
        assert left(it) == (0, 0)
        assert len(freed(it)) == 1 and len(it.entries("holds over")) == 1 and len(it.entries("erase")) == 2


def test_statements_do_not_grow_with_the_frames(tmp_path: Path, fresh_sqlite: str) -> None:
    sent: list[int] = []
    groups = [range(100, 103), range(200, 260)]
    for number, group in enumerate(groups):
        url = f"{fresh_sqlite}{number}"
        (tmp_path / str(number)).mkdir()
        folder = made(tmp_path / str(number), url, POLICY)
        with at_work(folder) as it:
            for key in group:
                at = f"{2019 if key % 3 else 2024}-03-01 10:00:00"
                do(
                    it,
                    "INSERT INTO customers (id, name, email, joined)"
                    f" VALUES ({key}, 'N', 'n{key}@mail.example', '2020-01-01')",
                    f"INSERT INTO orders VALUES ({key}, {key}, 'x', 1, '{at}')",
                )
            it.erase(*(Person("customer", (str(key),)) for key in group))
        with at_work(folder, AFTER) as it:
            count = [0]

            def note(*given: Any, count: list[int] = count) -> None:
                count[0] += 1

            engine = it.company.stores["shop"].engine
            event.listen(engine, "before_cursor_execute", note)
            works(it)
            event.remove(engine, "before_cursor_execute", note)
            sent.append(count[0])
            stay = [key for key in group if not key % 3]
            assert [row[0] for row in it.ask("SELECT id FROM customers WHERE id >= 100 ORDER BY id")] == stay
    assert sent[0] == sent[1]


def test_one_worker_looks_at_a_time(small: Path, fresh_postgresql: str) -> None:
    with (small / ".env").open("a") as settings:
        settings.write(f"KEPT_STATE_URL={fresh_postgresql}\n")
    with at_work(small) as it:
        it.erase(ADA)
    other = State(fresh_postgresql)
    with at_work(small, AFTER) as it:
        with other.claim(LOOK, wait=False) as theirs:
            assert theirs
            works(it)
            assert left(it) == (1, 1) and it.company.state.notes(LOOK) == {}
        works(it)
        assert left(it) == (0, 0)
    other.close()


def test_a_store_that_is_silent_is_looked_at_when_it_answers(small: Path) -> None:
    with at_work(small) as it:
        it.erase(ADA)
    file = small.parent / "app.sqlite"
    moved = file.rename(small.parent / "elsewhere.sqlite")
    file.mkdir()
    with at_work(small, AFTER) as it:
        problem = it.desk.work().problem
        assert problem is not None and "can't be let go" in problem
    file.rmdir()
    moved.rename(file)
    with at_work(small, AFTER) as it:
        works(it)
        assert left(it) == (0, 0)


def test_rows_between_a_held_row_and_its_person_go_with_the_hold(small: Path) -> None:
    with sqlite3.connect(small.parent / "app.sqlite") as database:
        database.executescript(
            "CREATE TABLE carts (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers (id), note TEXT);"
            "CREATE TABLE bills (id INTEGER PRIMARY KEY, cart INTEGER NOT NULL REFERENCES carts (id), amount INTEGER,"
            " at TIMESTAMP NOT NULL);"
            "INSERT INTO carts VALUES (1, 1, 'a gift'), (2, 1, 'another');"
            "INSERT INTO bills VALUES (1, 1, 10, '2019-03-01 10:00:00'), (2, 2, 10, '2024-03-01 10:00:00')"
        )
    database.close()
    declared(
        small,
        "  visit:   {of: customer,",
        "  cart:    {of: customer, in: {shop.carts: {note: free-text}}}\n"
        "  bill:    {of: customer, in: {shop.bills: {amount: transaction, at: recorded}}}\n"
        "  visit:   {of: customer,",
    )
    declared(small, "takes: [account, order,", "takes: [account, cart, bill, order,")
    declared(small, "tax:      {uses: order,", "tax:      {uses: [bill, order],")
    declared(small, "selling:  {uses: [account,", "selling:  {uses: [account, cart,")
    declared(
        small,
        "  visit:   {keeps: visit,",
        "  cart:    {keeps: cart, until: 1 month after customer.ended, then: delete}\n"
        "  bill:    {keeps: bill, until: 7 years after recorded, then: delete, hold: tax}\n"
        "  visit:   {keeps: visit,",
    )
    with at_work(small) as it:
        it.erase(ADA)
        assert it.ask("SELECT id, note FROM carts") == [(1, None), (2, None)]
    with at_work(small, AFTER) as it:
        works(it)
        assert it.ask("SELECT id FROM carts") == [(2,)] == it.ask("SELECT id FROM bills")
