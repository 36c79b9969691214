"""Holds that people set: what stays, who is told, who may use it, and that it goes by itself at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, event, select, text

from kept.cli.main import kept
from kept.company import Company, opened
from kept.controls.acts import kinds
from kept.controls.registry import load
from kept.controls.retention import placed
from kept.controls.rights import register
from kept.controls.rights.desk import Desk
from kept.controls.rights.erasing import again, cleaning
from kept.controls.rights.erasing.stays import stays
from kept.controls.rights.instruct import in_force, refusal
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.state import workflows
from kept.state.tables import holds
from tests.acceptance.company import subjects
from tests.acceptance.test_retention import POLICY, ROWS, SCHEMA

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 7, 1, 12, tzinfo=UTC)
LAST = date(2026, 6, 30)
ADA, BO, DI = (Person("customer", (key,)) for key in ("1", "2", "4"))

CLAIMS = POLICY.replace(
    "  counting:", "  claims:   {uses: [account, visit], ground: legal-claims}\n  counting:"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SHOP_URL", raising=False)
    return made(tmp_path, request.getfixturevalue(f"fresh_{request.param}"))


def made(tmp_path: Path, url: str, policy: str = CLAIMS) -> Path:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for statement in (SCHEMA + ";" + ROWS).split(";"):
            connection.execute(text(statement))
    engine.dispose()
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "policy.yaml").write_text(policy)
    (folder / ".env").write_text(f"SHOP_URL={url}\n")
    return folder


class Shop:
    def __init__(self, company: Company, running: workflows.Workflows) -> None:
        self.company, self.desk = company, Desk.at_work(company, running)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with self.company.stores["shop"].read() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def hold(self, person: Person, purpose: str = "claims", *data: str, last: date = LAST) -> placed.Placed:
        return placed.place(self.company, person, purpose, data, last, "letter of a lawyer", "kim")

    def erase(self, *people: Person) -> list[register.Request]:
        result = self.desk.carry_out("erase", subjects(people), "tester", confirmed=True)
        assert result.done, result.problem
        return result.requests

    def entries(self, act: str) -> list[dict[str, Any]]:
        return [entry for entry in self.company.ledger.entries() if entry["act"] == act]


@contextmanager
def at_work(folder: Path, at: datetime = NOW) -> Iterator[Shop]:
    with (
        opened(load(folder / "policy.yaml"), folder, lambda: at) as company,
        workflows.opened(folder / "workflows.sqlite", kinds(company)) as running,
    ):
        yield Shop(company, running)


def test_an_erasure_keeps_what_is_held_and_tells_ground_and_end(shop: Path) -> None:
    with at_work(shop) as it:
        it.hold(ADA, "claims", "visit")
        [request] = it.erase(ADA)
        assert it.ask("SELECT id, ip FROM visits WHERE customer = 1 ORDER BY id") == [
            (1, "10.0.0.1"),
            (2, "10.0.0.1"),
        ]
        [(name, email)] = it.ask("SELECT name, email FROM customers WHERE id = 1")
        assert name == "" and "ada" not in email
        told = request.outcome["stays"]
        assert told["holds"] == [{"purpose": "claims", "data": ["visit"], "until": "2026-06-30"}]
        sentences = [
            one.sentence for one in stays(it.company.policy, "customer", told["held"], told["holds"])
        ]
        assert any(
            "until 30 June 2026, because it may be needed to make or defend legal claims" in said
            and "for anything but “claims”" in said
            for said in sentences
        )


def test_people_without_a_hold_in_the_same_batch_are_erased_in_full(shop: Path) -> None:
    with at_work(shop) as it:
        it.hold(DI, "claims", "account")
        ada, di = it.erase(ADA, DI)
        assert it.ask("SELECT name, email FROM customers WHERE id = 4") == [("Di Dill", "di@mail.example")]
        assert it.ask("SELECT name FROM customers WHERE id = 1") == [("",)], (
            "empty below an order held for tax"
        )
        assert "holds" in di.outcome["stays"] and "holds" not in ada.outcome["stays"]


def test_a_hold_that_ends_lets_go_by_itself(shop: Path) -> None:
    with at_work(shop) as it:
        set_ = it.hold(ADA, "claims", "visit")
        it.erase(ADA)
        assert it.desk.work().problem is None
        assert len(it.ask("SELECT id FROM visits WHERE customer = 1")) == 2
    with at_work(shop, LATER) as it:
        assert it.desk.work().problem is None
        assert it.ask("SELECT id FROM visits WHERE customer = 1") == []
        [request] = [r for r in register.listing(it.company, state="done") if r.channel == "hold-ended"]
        assert request.outcome["remains"] == 0 and "holds" not in request.outcome.get("stays", {})
        [entry] = it.entries("hold end")
        assert entry["hold"] == set_.id and entry["person"] == set_.pseudonym
        with it.company.state.read() as connection:
            [row] = connection.execute(select(holds)).all()
        assert row.who is None and row.words is None and row.ended is not None
        assert it.desk.work().requests == [], "it is let go of once"
        assert len(it.entries("erase")) == 2


def test_a_hold_on_somebody_who_asked_for_nothing_just_ends(shop: Path) -> None:
    with at_work(shop) as it:
        it.hold(ADA, "claims")
        before = it.ask("SELECT * FROM customers ORDER BY id")
    with at_work(shop, LATER) as it:
        assert it.desk.work().problem is None
        assert it.ask("SELECT * FROM customers ORDER BY id") == before
        assert placed.listing(it.company) == [] and len(it.entries("hold end")) == 1
        assert it.entries("erase") == []


def test_what_another_hold_still_keeps_stays_when_one_ends(shop: Path) -> None:
    with at_work(shop) as it:
        it.hold(ADA, "claims", "visit")
        it.hold(ADA, "claims", "visit", last=date(2027, 1, 1))
        it.erase(ADA)
    with at_work(shop, LATER) as it:
        assert it.desk.work().problem is None
        assert len(it.ask("SELECT id FROM visits WHERE customer = 1")) == 2
    with at_work(shop, datetime(2027, 1, 2, tzinfo=UTC)) as it:
        assert it.desk.work().problem is None
        assert it.ask("SELECT id FROM visits WHERE customer = 1") == []


def test_a_hold_ended_by_hand_lets_go_and_says_who_ended_it(shop: Path) -> None:
    with at_work(shop) as it:
        set_ = it.hold(ADA, "claims", "visit")
        it.erase(ADA)
        placed.end(it.company, set_.id[:8], "lee")
        with pytest.raises(KeptError, match="over already"):
            placed.end(it.company, set_.id, "lee")
        assert it.desk.work().problem is None
        assert it.ask("SELECT id FROM visits WHERE customer = 1") == []
        assert [entry["by"] for entry in it.entries("hold end")] == ["lee"]


def test_the_key_of_an_erased_person_given_to_somebody_new_costs_them_nothing(shop: Path) -> None:
    with at_work(shop) as it:
        it.hold(BO, "claims", "account")
        it.erase(BO)
        with it.company.stores["shop"].write() as connection:
            connection.execute(text("DELETE FROM customers WHERE id = 2"))
            connection.execute(
                text(
                    "INSERT INTO customers VALUES (2, 'Eve Elm', 'eve@mail.example', NULL, NULL, '2026-05-01', NULL)"
                )
            )
    with at_work(shop, LATER) as it:
        assert it.desk.work().problem is None
        assert it.ask("SELECT name FROM customers WHERE id = 2") == [("Eve Elm",)]


def test_held_data_is_closed_to_every_use_but_the_holds_own(shop: Path) -> None:
    with at_work(shop) as it:
        policy = it.company.policy
        it.hold(ADA, "claims", "visit")
        for erased in (False, True):
            if erased:
                it.erase(ADA)
            said = in_force(it.company, [ADA, BO])
            assert BO not in said
            assert "held for `claims`" in (refusal(policy, "counting", said[ADA]) or "")
            assert refusal(policy, "claims", said[ADA]) is None
            assert refusal(policy, "tax", said[ADA]) is None, "it uses nothing that is held"


@pytest.mark.parametrize(
    ("purpose", "data", "why"),
    [
        ("selling", (), "rests on contract"),
        ("counting", (), "rests on legitimate-interest"),
        ("taxes", (), "no purpose `taxes`"),
        ("tax", ("visit",), "uses no `visit`"),
    ],
)
def test_a_hold_without_a_ground_is_refused_with_the_reason(
    tmp_path: Path, fresh_sqlite: str, purpose: str, data: tuple[str, ...], why: str
) -> None:
    with at_work(made(tmp_path, fresh_sqlite)) as it:
        with pytest.raises(KeptError, match=why):
            it.hold(ADA, purpose, *data)
        with pytest.raises(KeptError, match="day is over"):
            it.hold(ADA, last=date(2026, 2, 28))
        assert placed.listing(it.company) == [] and it.entries("hold") == []


def test_the_last_day_counts_in_the_policys_time_zone(tmp_path: Path, fresh_sqlite: str) -> None:
    zone = CLAIMS.replace("laws: gdpr", "laws: gdpr\ntimezone: Pacific/Auckland")
    with at_work(made(tmp_path, fresh_sqlite, zone)) as it:
        set_ = it.hold(ADA)
        assert (
            set_.until == datetime(2026, 6, 30, 12, tzinfo=UTC) and set_.last_day(it.company.policy) == LAST
        )


def test_a_hold_comes_too_late_for_rows_that_wait_to_be_erased(tmp_path: Path, fresh_sqlite: str) -> None:
    waits = CLAIMS.replace("erase:  {through: email}", "erase:  {through: email, waits: 30 days}")
    with at_work(made(tmp_path, fresh_sqlite, waits)) as it:
        result = it.desk.carry_out("erase", subjects([ADA]), "tester", confirmed=True)
        assert result.requests[0].awaits == "period"
        with pytest.raises(KeptError, match="has begun already"):
            it.hold(ADA)
        it.hold(BO, "claims", "account")
        [other] = it.desk.carry_out("erase", subjects([BO]), "tester", confirmed=True).requests
        assert other.awaits == "period"
        assert it.ask("SELECT name FROM customers WHERE id = 2") == [("Bo Birch",)]


def test_a_crash_between_the_ledger_and_the_state_lets_go_once(
    tmp_path: Path, fresh_sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*given: object, **more: object) -> None:
        raise Killed

    folder = made(tmp_path, fresh_sqlite)
    with at_work(folder) as it:
        it.hold(ADA, "claims", "visit")
        it.erase(ADA)
    for place in ("let_go", "note_ends"):
        with at_work(folder, LATER) as it, monkeypatch.context() as patched:
            patched.setattr(placed, place, killed)
            with pytest.raises(Killed):
                it.desk.work()
    with at_work(folder, LATER) as it, monkeypatch.context() as patched:
        patched.setattr(again, "begin", killed)  # inside the transaction: the hold must be there again
        with pytest.raises(Killed):
            it.desk.work()
    with at_work(folder, LATER) as it:
        assert it.desk.work().problem is None
        assert it.ask("SELECT id FROM visits WHERE customer = 1") == []
        assert len(it.entries("hold end")) == 1 and len(it.entries("erase")) == 2


def test_statements_do_not_grow_with_the_people_who_are_held(tmp_path: Path, fresh_sqlite: str) -> None:
    sent: list[int] = []
    with at_work(made(tmp_path, fresh_sqlite)) as it:
        with it.company.stores["shop"].write() as connection:
            for key in range(100, 160):
                connection.execute(
                    text(
                        "INSERT INTO customers (id, name, email, joined)"
                        f" VALUES ({key}, 'N', 'n{key}@mail.example', '2020-01-01')"
                    )
                )
        groups = [
            [Person("customer", (str(key),)) for key in keys] for keys in (range(100, 103), range(103, 160))
        ]
        for group in groups:
            for person in group:
                it.hold(person, "claims", "account")
            count = [0]

            def note(*given: Any, count: list[int] = count) -> None:
                count[0] += 1

            engine = it.company.stores["shop"].engine
            event.listen(engine, "before_cursor_execute", note)
            it.erase(*group)
            event.remove(engine, "before_cursor_execute", note)
            sent.append(count[0])
        assert it.ask("SELECT count(*) FROM customers WHERE id >= 100 AND name = 'N'") == [(60,)]
    assert sent[0] == sent[1]


def test_the_commands_set_list_and_end(
    tmp_path: Path, fresh_sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHOP_URL", raising=False)
    folder = made(tmp_path, fresh_sqlite)
    run = CliRunner()

    def kept_(*arguments: str) -> str:
        done = run.invoke(kept, [*arguments, "--dir", str(folder)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    asked = [
        "hold",
        "set",
        "ada@mail.example",
        "--purpose",
        "claims",
        "--until",
        "2999-12-31",
        "--why",
        "a letter",
    ]
    assert "closed to: selling, counting" in kept_(*asked, "--by", "kim")
    [one] = json.loads(kept_("hold", "list", "--format", "json"))
    assert one["who"] == "customer:1" and one["data"] == ["account", "visit"] and one["why"] == "a letter"
    assert "customer:1: account, visit for `claims`, through 2999-12-31, set by kim" in kept_("hold", "list")
    kept_("hold", "end", one["id"][:6], "--by", "lee")
    assert "No hold" in kept_("hold", "list")
    [old] = json.loads(kept_("hold", "list", "--all", "--format", "json"))
    assert old["who"] is None and old["why"] is None and old["ended"]
    refused = run.invoke(
        kept,
        [
            "hold",
            "set",
            "customer:1",
            "--purpose",
            "selling",
            "--until",
            "2999-12-31",
            "--why",
            "x",
            "--dir",
            str(folder),
        ],
    )
    assert isinstance(refused.exception, KeptError) and "rests on contract" in str(refused.exception)


def test_what_a_hold_kept_that_ended_between_an_erasure_and_its_end_goes_too(shop: Path) -> None:
    """The rows were left for the hold; it is over before the request is closed: nobody else would erase them."""
    with at_work(shop) as it:
        it.hold(ADA, "claims", "visit")
        with pytest.MonkeyPatch.context() as waits:
            waits.setattr(cleaning, "clean", lambda *_, **__: {})
            it.desk.carry_out("erase", subjects((ADA,)), "tester", confirmed=True)
        [asked] = register.listing(it.company)
        assert asked.awaits == "clean" and len(it.ask("SELECT id FROM visits WHERE customer = 1")) == 2
    for _ in range(3):  # found by the pass, erased anew, let go
        with at_work(shop, datetime(2026, 7, 2, 12, tzinfo=UTC)) as it:
            it.desk.work()
    with at_work(shop, datetime(2026, 7, 2, 12, tzinfo=UTC)) as it:
        assert register.listing(it.company) == []
        assert it.ask("SELECT id FROM visits WHERE customer = 1") == []
        assert len(it.entries("hold end")) == 1
