"""SL-17: an account ends by its person, support, an administrator, or with the company; each is told, once."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from examples.generators import lucent_marketplace
from examples.sitelucent.generate import build
from kept.cli.company import at_work
from kept.company import opened
from kept.controls.purposes.ends import ending
from kept.controls.purposes.ends.ending import Decision
from kept.controls.registry import load
from kept.controls.rights.people import Person
from tests.acceptance.company import Ran, SiteLucent
from tests.acceptance.on_mariadb import moved
from tests.acceptance.postbox import Postbox, postbox
from tests.conftest import MARIADB

CRASHING = ("-m", "tests.acceptance.ending_crashes")


@dataclass(frozen=True)
class Company(SiteLucent):
    """The company, with its database asked through Kept's own store, whichever it is."""

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with opened(load(self.folder / "policy.yaml"), self.folder) as company:
            store = next(iter(company.stores.values()))
            with store.read() as connection:
                return [tuple(row) for row in connection.execute(text(query))]

    def do(self, statement: str, *values: object) -> None:
        with opened(load(self.folder / "policy.yaml"), self.folder) as company:
            store = next(iter(company.stores.values()))
            with store.write() as connection:
                connection.execute(text(statement.replace(":", r"\:")))

    def ended(self) -> set[int]:
        return {id for (id,) in self.ask("SELECT id FROM users WHERE deactivated_at IS NOT NULL")}

    def address(self, id: int) -> str:
        return str(self.ask(f"SELECT email FROM users WHERE id = {id}")[0][0])

    def proof(self, purpose: str) -> dict[str, Any]:
        told = self.kept("prove", "--format", "json").json()
        [row] = [row for row in told["promises"] if row["id"] == f"purposes.{purpose}"]
        assert isinstance(row, dict)
        return row

    def administered(self) -> tuple[int, int]:
        """An administrator, and somebody of their company; both active."""
        rows = self.ask(
            "SELECT a.admin_id, a.user_id FROM administered a JOIN users u ON u.id = a.user_id"
            " JOIN users b ON b.id = a.admin_id WHERE u.deactivated_at IS NULL AND b.deactivated_at IS NULL"
            " AND u.id NOT IN (SELECT admin_id FROM administered) ORDER BY 1, 2 LIMIT 1"
        )
        return int(rows[0][0]), int(rows[0][1])

    def active(self, firm: str, *roles: str) -> set[int]:
        rows = self.ask(
            "SELECT u.id, m.role FROM users u JOIN memberships m ON m.user_id = u.id"
            f" WHERE m.company_id = '{firm}' AND u.deactivated_at IS NULL"
        )
        return {id for id, role in rows if role in (roles or ("member", "admin"))}

    def active_members(self, firm: str) -> set[int]:
        return self.active(firm, "member")


@pytest.fixture
def box() -> Iterator[Postbox]:
    with postbox() as started:
        yield started


def made(folder: Path, url: str | None = None, people: int = 60) -> Company:
    build(folder, people, 3, url=url, events_per_person=2)
    return Company(folder)


@pytest.fixture
def company(tmp_path: Path) -> Company:
    return made(tmp_path / "company")


@pytest.fixture(params=["sqlite", "postgresql", MARIADB])
def either(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    """SiteLucent, its database of each kind."""
    return placed(request, tmp_path, monkeypatch)


@pytest.fixture(params=["postgresql", MARIADB])
def served(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    """SiteLucent, its database on a server of each kind."""
    return placed(request, tmp_path, monkeypatch)


def placed(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    monkeypatch.delenv("APP_DATABASE_URL", raising=False)
    url = None if request.param == "sqlite" else str(request.getfixturevalue(f"fresh_{request.param}"))
    company = made(folder / "company", url if request.param == "postgresql" else None)
    if request.param == "mariadb":
        assert url is not None
        moved(company, url)
    return company


def end(company: Company, *arguments: str) -> dict[str, Any]:
    ran = company.kept("end", *arguments, "--format", "json")
    assert ran.code in (0, 1), ran.err
    told = ran.json()
    assert isinstance(told, dict)
    return told


def test_each_path_of_a_decision_ends_the_account_and_tells_the_person(either: Company, box: Postbox) -> None:
    company = either
    box.used_by(company.folder)
    before = company.ended()
    admin, member = company.administered()
    one, two, *_ = sorted(company.active_members("company2") - {member})
    paths = [
        (one, "user", "Robin", "You asked for it."),
        (two, "support", "Robin", "ended by our support staff"),
        (member, "administers.admin", f"user:{admin}", "ended by your admin"),
    ]
    for id, role, by, _ in paths:
        told = end(company, "deactivating", f"user:{id}", "--as", role, "--by", by)
        assert told["ends"] == [
            {"purpose": "deactivating", "people": 1, "letters": 1, "by_hand": 0, "problem": None}
        ]
        again = end(company, "deactivating", f"user:{id}", "--as", role, "--by", by)
        assert again["ends"][0]["people"] == 0 and "end already" in again["left"][0]
    assert company.ended() == before | {one, two, member}
    company.kept("work")
    company.kept("work")
    assert len(box.letters) == 3
    for id, _, _, words in paths:
        [letter] = box.to(company.address(id))
        assert words in letter and "24 months" in letter and "support@sitelucent.example" in letter
        assert "complain" in letter
    entries = company.ledger("end")
    assert [(e["purpose"], e["as"]) for e in entries] == [("deactivating", role) for _, role, _, _ in paths]
    assert len({e["person"] for e in entries}) == 3
    assert [e.get("by") for e in entries[:2]] == [None, "Robin"] and len(entries[2]["by"]) == 64
    assert [
        e
        for _, email in enumerate(map(company.address, (one, two, member)))
        for e in company.files_with(email)
        if not e.startswith("app.sqlite")
    ] == []
    proofs = company.proof("deactivating")["proofs"]
    assert proofs[0]["measured"]["without_record"] == 0 and proofs[0]["measured"]["ended"] == len(before) + 3
    assert proofs[1]["verdict"] == "kept" and proofs[1]["measured"]["sent"] == 3


def test_when_a_company_ends_so_do_its_people_once_each_told_once(either: Company, box: Postbox) -> None:
    company = either
    box.used_by(company.folder)
    expected, others = company.active("company1"), company.active("company2")
    both = min(others)
    assert company.active("company1", "admin")  # SL-17: its administrators' accounts end with it, too
    company.do(
        f"INSERT INTO memberships VALUES ({max(expected)}, 'company2', 'member')"
    )  # and of one that lives
    assert company.proof("lapsing")["proofs"][0]["verdict"] == "kept"
    company.do("UPDATE companies SET cancelled_at = '2026-01-01 00:00:00' WHERE id = 'company1'")
    expected.discard(max(expected))
    assert company.active("company1", "admin") & expected
    proof = company.proof("lapsing")
    assert proof["verdict"] == "broken" and proof["proofs"][0]["measured"]["left_over"] == len(expected)
    before = company.ended()
    assert end(company, "lapsing", "--dry-run")["ends"][0]["people"] == len(expected)
    for _ in range(2):
        ran = company.kept("work")
        assert ran.code == 0, ran.err
    assert company.ended() == before | expected and both not in company.ended()
    told = Counter(to for to, _ in box.letters)
    assert told == Counter({company.address(id): 1 for id in expected})
    assert "when the company leaves us" in box.letters[0][1].get_content()
    assert end(company, "lapsing")["ends"] == []
    assert len(company.ledger("end")) == len(expected)
    assert {entry["upon"] for entry in company.ledger("end")} == {"company.ended"}
    first, record, letters, *_ = company.proof("lapsing")["proofs"]
    assert (first["verdict"], letters["verdict"]) == ("kept", "kept")
    assert record["measured"]["without_record"] == 0 and letters["measured"]["sent"] == len(expected)


def test_who_may_not_decide_is_refused_and_nothing_changes(company: Company) -> None:
    before = company.ended()
    admin, member = company.administered()
    stranger = min(company.active_members("company2") | company.active_members("company1") - {member, admin})
    refused = {
        ("user:3", "--as", "engineer"): "may not decide",
        ("user:3",): "say who decides",
        ("user:3", "--as", "administers.admin"): "--by",
        ("user:3", "--as", "administers.admin", "--by", "user:99999"): "no `user`",
        ("user:99999", "--as", "support"): "no `user`",
    }
    for arguments, why in refused.items():
        ran = company.kept("end", "deactivating", *arguments)
        assert ran.code == 2 and why in ran.err, ran.err
    assert "nobody's decision" in company.kept("end", "lapsing", "user:3", "--as", "support").err
    assert "sets an end" in company.kept("end", "sign-in", "user:3", "--as", "support").err
    assert "doesn't come by itself" in company.kept("end", "deactivating").err
    told = end(
        company, "deactivating", f"user:{admin}", "--as", "administers.admin", "--by", f"user:{stranger}"
    )
    assert told["ends"][0]["people"] == 0 and "no tie" in told["left"][0]
    assert company.ended() == before and company.ledger("end") == []


def test_an_administrator_who_has_ended_ends_nobody(company: Company) -> None:
    admin, member = company.administered()
    end(company, "deactivating", f"user:{admin}", "--as", "support")
    told = end(
        company, "deactivating", f"user:{member}", "--as", "administers.admin", "--by", f"user:{admin}"
    )
    assert told["ends"][0]["people"] == 0 and member not in company.ended()


def test_a_condition_that_nothing_sees_to_is_refused(company: Company) -> None:
    file = company.folder / "policy.yaml"
    plain = "deactivating: {sets: user.ended,"
    file.write_text(file.read_text("utf-8").replace(plain, f"{plain} needs: document,"), "utf-8")
    ran = company.kept("end", "deactivating", "user:3", "--as", "support")
    assert ran.code == 2 and "document" in ran.err
    assert company.proof("deactivating")["verdict"] == "unproven"


def test_without_a_mail_server_staff_tells_them_and_the_board_waits_for_it(company: Company) -> None:
    ran = company.kept("end", "deactivating", "user:3", "user:7", "--as", "support", "--by", "Robin")
    assert ran.code == 0 and "can't be written to" in ran.out, ran.err
    listed = company.kept("task", "list").out
    assert "user:3, user:7" in listed and "`deactivating`" in listed
    assert company.proof("deactivating")["proofs"][1]["verdict"] == "unproven"
    done = company.kept("task", "done", listed.split()[0], "--by", "Robin")
    assert done.code == 0, done.err
    assert company.proof("deactivating")["proofs"][1]["verdict"] == "kept"


def test_whose_address_is_none_is_told_by_hand_and_the_others_by_letter(
    company: Company, box: Postbox
) -> None:
    box.used_by(company.folder)
    company.do("UPDATE users SET email = 'nowhere' WHERE id = 3")
    told = end(company, "deactivating", "user:3", "user:7", "--as", "support", "--by", "Robin")
    assert (told["ends"][0]["letters"], told["ends"][0]["by_hand"]) == (1, 1)
    company.kept("work")
    assert [to for to, _ in box.letters] == [company.address(7)]
    assert company.kept("task", "list").out.rstrip().endswith("user:3")


def test_an_end_set_behind_kepts_back_breaks_the_promise(company: Company) -> None:
    assert company.proof("deactivating")["verdict"] == "unproven"  # whoever ended before Kept came
    end(company, "deactivating", "user:3", "--as", "support", "--by", "Robin")
    when = company.ask("SELECT deactivated_at FROM users WHERE id = 3")[0][0]
    company.do(f"UPDATE users SET deactivated_at = datetime('{when}', '+1 second') WHERE id = 7")
    assert company.kept("task", "list").code == 0  # a second later
    row = company.proof("deactivating")
    assert row["verdict"] == "broken" and row["proofs"][0]["measured"]["without_record"] == 1
    company.do(
        f"UPDATE users SET deactivated_at = '{when}' WHERE id = 9"
    )  # in the very second of the decision
    assert company.proof("deactivating")["proofs"][0]["measured"]["without_record"] == 2


def test_who_is_tied_where_the_database_cannot_see_is_ended_by_nobody(company: Company) -> None:
    company.do("UPDATE companies SET cancelled_at = '2026-01-01 00:00:00' WHERE id = 'company1'")
    file, before = company.folder / "policy.yaml", company.ended()
    tie = "  advises: {in: crm.advice, between: {user: user at user_id, company: company at company_id}}\n"
    file.write_text(file.read_text("utf-8").replace("\nlinks:\n", f"\nlinks:\n{tie}"), "utf-8")
    ran = company.kept("end", "lapsing")
    assert ran.code == 2 and "`advises`" in ran.err, ran.err
    assert company.ended() == before and company.proof("lapsing")["verdict"] == "unproven"


def test_what_another_worker_has_carried_out_meanwhile_is_answered_all_the_same(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = company.active("company1")
    company.do("UPDATE companies SET cancelled_at = '2026-01-01 00:00:00' WHERE id = 'company1'")
    with at_work(company.folder) as (found, workflows):
        beginning = ending._begin

        def begun(*given: Any) -> str:
            act = beginning(*given)
            ending._run(found, workflows, act)  # what a worker does who takes it first
            return act

        monkeypatch.setattr(ending, "_begin", begun)
        decision = Decision("deactivating", (Person("user", ("3",)),), "support", "Robin")
        assert ending.decide(found, workflows, decision).people == 1
        [lapsed] = ending.fall_due(found, workflows)
        assert lapsed.people == len(expected - {3})


def test_a_reason_is_asked_for_told_and_kept_sealed(tmp_path: Path, box: Postbox) -> None:
    lucent_marketplace.build(tmp_path / "company", 40, 3)
    company = Company(tmp_path / "company")
    box.used_by(company.folder)
    [(id, email)] = company.ask("SELECT id, email FROM members WHERE closed_at IS NULL ORDER BY id LIMIT 1")
    asked = ("end", "closing", f"member:{id}", "--as", "trust", "--by", "Robin")
    ran = company.kept(*asked)
    assert ran.code == 2 and "needs a reason" in ran.err
    ran = company.kept(*asked, "--why", "Sold forged lamps twice.")
    assert ran.code == 0, ran.err
    company.kept("work")
    [letter] = box.to(email)
    assert "Sold forged lamps twice." in letter
    assert company.files_with("forged lamps") == []
    with (
        opened(load(company.folder / "policy.yaml"), company.folder) as found,
        found.state.read() as connection,
    ):
        [(who, words)] = connection.execute(text("SELECT who, words FROM events WHERE what = 'ended'")).all()
        assert who == "Robin" and found.keys.unseal("event", words) == b"Sold forged lamps twice."


def test_two_workers_at_once_end_and_tell_everybody_once(
    tmp_path: Path, fresh_postgresql: str, box: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APP_DATABASE_URL", raising=False)
    company = made(tmp_path / "company", fresh_postgresql)
    with (company.folder / ".env").open("a") as settings:
        settings.write(f"\nKEPT_STATE_URL={fresh_postgresql}\n")
    box.used_by(company.folder)
    company.kept("task", "list")  # makes Kept's tables
    expected = company.active("company1")
    company.do("UPDATE companies SET cancelled_at = '2026-01-01 00:00:00' WHERE id = 'company1'")
    with ThreadPoolExecutor(2) as pool:
        ran = list(pool.map(lambda _: company.kept("work"), range(2)))
    assert [one.code for one in ran] == [0, 0], [one.err for one in ran]
    company.kept("work")
    assert Counter(to for to, _ in box.letters) == Counter({company.address(id): 1 for id in expected})
    assert company.active("company1") == set()


def crash(company: Company, spot: str, number: int, *arguments: str) -> bool:
    """Run `kept` and kill it at the place; False when it ended by itself before."""
    ran: Ran = company.kept(spot, str(number), "--", *arguments, program=CRASHING)
    assert ran.code in (0, 1, -signal.SIGKILL), ran.err
    return ran.code == -signal.SIGKILL


SPOTS = [
    ("begun", 1),
    ("noted", 1),
    ("committed", 1),
    ("noted", 2),
    ("after", 1),
    ("before", 2),
    ("after", 2),
    ("written", 3),
    ("after", 3),
    ("after", 4),
]


@pytest.mark.parametrize(("spot", "number"), SPOTS)
def test_killed_anywhere_everybody_ends_and_is_told_once(
    company: Company, box: Postbox, spot: str, number: int
) -> None:
    killed(company, box, spot, number)


@pytest.mark.parametrize(("spot", "number"), [("noted", 1), ("committed", 1), ("noted", 2)])
def test_killed_about_the_commit_of_a_server_everybody_ends_and_is_told_once(
    served: Company, box: Postbox, spot: str, number: int
) -> None:
    killed(served, box, spot, number)


def killed(company: Company, box: Postbox, spot: str, number: int) -> None:
    box.used_by(company.folder)
    expected, before = company.active("company1"), company.ended()
    company.do("UPDATE companies SET cancelled_at = '2026-01-01 00:00:00' WHERE id = 'company1'")
    assert crash(company, spot, number, "work")
    late = min(company.active_members("company2"))  # falls due only after the crash
    company.do(f"UPDATE memberships SET company_id = 'company1' WHERE user_id = {late}")
    for _ in range(2):
        ran = company.kept("work")
        assert ran.code == 0, ran.err
    assert company.ended() == before | expected | {late}
    assert Counter(to for to, _ in box.letters) == Counter(
        {company.address(id): 1 for id in expected | {late}}
    )
    people = [entry["person"] for entry in company.ledger("end")]
    assert len(people) == len(set(people)) == len(expected) + 1
    first, record, told, *_ = company.proof("lapsing")["proofs"]
    assert (first["verdict"], told["verdict"]) == ("kept", "kept") and record["measured"][
        "without_record"
    ] == 0


def test_who_has_an_end_and_is_not_told_yet_is_not_shown_as_told(company: Company, box: Postbox) -> None:
    box.used_by(company.folder)
    company.do("DELETE FROM usage_events")
    company.do("UPDATE users SET deactivated_at = NULL")
    asked = ("end", "deactivating", "user:3", "--as", "support", "--by", "Robin")
    assert crash(company, "committed", 1, *asked)
    record, told, *_ = company.proof("deactivating")["proofs"]
    assert (record["verdict"], told["verdict"]) == ("unproven", "unproven")
    assert record["measured"]["unfinished"] == told["measured"]["unfinished"] == 1
    for _ in range(2):
        assert company.kept("work").code == 0
    assert [proof["verdict"] for proof in company.proof("deactivating")["proofs"][:2]] == ["kept", "kept"]


def test_a_decision_that_was_cut_off_is_carried_out_by_whoever_works_next(
    company: Company, box: Postbox
) -> None:
    box.used_by(company.folder)
    assert crash(company, "noted", 1, "end", "deactivating", "user:3", "--as", "support", "--by", "Robin")
    assert 3 not in company.ended()
    company.do(
        "UPDATE users SET deactivated_at = '2026-01-01 00:00:00' WHERE id = 3"
    )  # they did it themselves meanwhile
    assert crash(company, "begun", 1, "end", "deactivating", "user:7", "--as", "support", "--by", "Robin")
    assert company.kept("work").code == 0
    assert company.kept("work").code == 0
    assert [to for to, _ in box.letters] == [company.address(7)] and 7 in company.ended()
    assert len(company.ledger("end")) == 1
