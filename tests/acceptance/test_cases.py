"""Cases: rows of the company's own, and those that Kept keeps; each one person's reason to look at one other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kept.company import Company
from kept.controls.purposes.cases import assigned, measured, opening, recorded, rows
from kept.controls.purposes.cases.looks import look
from kept.controls.purposes.enforce import Gate
from kept.controls.rights.people import Person
from kept.errors import KeptError, StoreError
from kept.evidence.proof import worst
from kept.state.uses import cases
from tests.acceptance.cased import POLICY, change, desk, entries, user
from tests.acceptance.choosing import Clock
from tests.acceptance.company import ROOT
from tests.acceptance.connected import Connected, with_hubspot

ENGINEER = "engineer:4"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def company(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Company]:
    app = request.getfixturevalue("fresh_postgresql") if request.param == "postgresql" else None
    with desk(tmp_path / "desk", clock, app=app, state=app or "") as found:
        yield found


def why(
    company: Company, case: str | None, person: Person | None = None, by: str | None = ENGINEER
) -> str | None:
    return assigned.why_not(company, ["error"], case, person or user(1), by)


def test_a_row_is_a_reason_for_its_engineer_about_its_user_while_it_is_open(company: Company) -> None:
    assert why(company, "error:81") is None
    assert why(company, "error:81", by="senior:4") is None  # who is an engineer too
    assert why(company, "error:82") == assigned.ANOTHER
    assert why(company, "error:83") == assigned.ANOTHERS
    assert why(company, "error:84") == assigned.OVER
    assert why(company, "error:85") == "the case has not begun"
    assert why(company, "error:88") == "the case has not begun"  # when, nobody knows
    assert why(company, "error:89") is None  # its end is still to come
    assert why(company, "error:99") == "there is no such case"
    for none in (None, "", "error", "error:", ":81", "81", "ticket:12", "nothing:81"):
        assert "needs an open case" in (why(company, none) or ""), none


def test_a_case_ends_with_the_clock_and_begins_with_it(company: Company, clock: Clock) -> None:
    clock.pass_(days=2)
    assert why(company, "error:85") is None
    clock.pass_(days=40)
    assert why(company, "error:89") == assigned.OVER


def test_an_end_that_nobody_can_read_is_an_end(tmp_path: Path) -> None:
    with desk(tmp_path / "desk") as company:
        change("UPDATE errors SET closed_at = 'soon' WHERE id = 81")
        change("UPDATE errors SET opened_at = 'lately' WHERE id = 82")
        change("UPDATE errors SET closed_at = '' WHERE id = 84")
        assert why(company, "error:81") == assigned.OVER
        assert why(company, "error:82", user(2)) == "the case has not begun"
        assert why(company, "error:84") is None


def test_the_test_of_a_link_must_hold(company: Company) -> None:
    def helping(case: str) -> str | None:
        return assigned.why_not(company, ["ticket", "visit"], case, user(1), "agent:07")

    assert helping("ticket:12") is None
    assert helping("ticket:13") == "there is no such case"
    assert assigned.why_not(company, ["ticket"], "ticket:12", user(1), "agent:7") == assigned.ANOTHERS


def test_a_key_of_two_columns_names_a_case(company: Company) -> None:
    def visit(case: str, by: str = "staff:ines") -> str | None:
        return assigned.why_not(company, ["visit"], case, user(1), by)

    assert visit("visit:2026-06-01,7") is None and visit("visit:a%2Cb%25,8") is None
    assert visit("visit:2026-06-01,7", "engineer:ines") is None  # any of the staff
    assert visit("visit:2026-06-01,7", "user:ines") == assigned.ANOTHERS
    for wrong in ("visit:2026-06-01", "visit:2026-06-01,07", "visit:2026-06-01,7,", "visit:7,2026-06-01"):
        assert visit(wrong) == "there is no such case", wrong


def test_a_closed_case_is_a_reason_for_a_second_at_most(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("kept.controls.purposes.cases.assigned.time.monotonic", lambda: now[0])
    assert why(company, "error:81") is None
    change("UPDATE errors SET closed_at = '2026-05-31 10:00:00' WHERE id = 81")
    now[0] += 0.99
    assert why(company, "error:81") is None
    now[0] += 0.02
    assert why(company, "error:81") == assigned.OVER
    assigned.look_again(company, "error:83", user(1))
    assert why(company, "error:83", by="engineer:5") is None


def test_where_nobody_can_read_the_row_the_gate_is_unsure(tmp_path: Path) -> None:
    with desk(tmp_path / "desk") as company:
        gate = Gate.of(company)
        assert gate.decide("mending", person=user(1), by=ENGINEER, case="error:81").allowed
        change("ALTER TABLE errors RENAME TO mistakes")
        with pytest.raises(StoreError):
            assigned.why_not(company, ["error"], "error:82", user(2), ENGINEER)
        decision = gate.decide("mending", person=user(2), by=ENGINEER, case="error:82")
        assert not decision.allowed and decision.unsure


@pytest.mark.needs("mariadb")
def test_a_case_in_mariadb_has_one_name_whatever_its_collation_takes_for_equal(
    tmp_path: Path, fresh_mariadb: str
) -> None:
    with desk(tmp_path / "desk", app=fresh_mariadb) as company:
        links, reader = ["error", "visit", "query", "ticket"], Person("reader", ("007",))

        def said(case: str, person: Person, by: str) -> str | None:
            return assigned.why_not(company, links, case, person, by)

        assert said("error:81", user(1), ENGINEER) is None
        for other in ("error:081", "error:81.0", "error:81 ", "error:_1", "ticket:13"):
            assert said(other, user(1), ENGINEER) == "there is no such case", other
        assert said("visit:2026-06-01,7", user(1), "staff:ines") is None
        assert said("visit:2026-06-01,7", user(1), "staff:INES") == assigned.ANOTHERS
        assert said("query:q007", reader, "agent:007") is None
        assert said("query:Q007", reader, "agent:007") == "there is no such case"
        seen = look(company, "mending", None, user(1), by=ENGINEER, case="error:81")
        assert [row["page"] for row in seen.rows["app.events"]] == ["board"] and seen.left_out == 2
        seen = look(company, "helping", None, user(1), by="agent:07", case="ticket:12")
        assert sorted(str(row["words"]) for row in seen.rows["app.tickets"]) == ["how so", "so good"]


# Those that Kept keeps.


def opened(company: Company, **more: Any) -> opening.Kept:
    given = {"link": "error", "person": user(3), "staff": ENGINEER, "why": "it hangs", "by": "Ines"}
    return opening.open_case(company, **{**given, **more})


def test_a_case_of_kepts_own_is_a_reason_until_it_ends(company: Company, clock: Clock) -> None:
    made = opened(company)
    assert why(company, made.case, user(3)) is None
    assert why(company, made.case, user(1)) == assigned.ANOTHER
    assert why(company, made.case, user(3), "engineer:5") == assigned.ANOTHERS
    assert why(company, made.case, user(3), "senior:4") == assigned.ANOTHERS  # assigned to an engineer
    assert "needs" in (assigned.why_not(company, ["ticket"], made.case, user(3), ENGINEER) or "")
    clock.pass_(days=2)
    assert why(company, made.case, user(3)) == assigned.OVER
    [entry] = entries(company, "case")
    assert (entry["case"], entry["role"], entry["staff"], entry["by"]) == (made.id, "engineer", "4", "Ines")
    assert "hangs" not in str(entry) and "user:3" not in str(entry)
    assert opening.end_due(company) == 1 and opening.end_due(company) == 0
    [over] = opening.listing(company, everything=True)
    assert over.person is None and over.why is None and over.closed_by == "kept"


def test_a_case_closed_by_hand_is_over_at_once(company: Company) -> None:
    made = opened(company)
    assert why(company, made.case, user(3)) is None
    assert opening.close(company, made.id[:8], "Ines").closed is not None
    assert why(company, made.case, user(3)) == assigned.OVER
    with pytest.raises(KeptError, match="over already"):
        opening.close(company, made.id, "Ines")
    with pytest.raises(KeptError, match="no such case"):
        opening.close(company, "%", "Ines")
    [end] = entries(company, "case end")
    assert end["case"] == made.id and end["by"] == "Ines"


def test_a_case_tied_to_a_row_is_over_when_that_is(company: Company, clock: Clock) -> None:
    made = opened(company, person=user(1), staff="engineer:9", ticket="ticket:12")
    assert why(company, made.case, user(1), "engineer:9") is None
    change("UPDATE tickets SET closed_at = '2026-05-31 10:00:00' WHERE id = 12")
    assigned.look_again(company, "ticket:12", user(1))
    assert "what it was opened from" in (why(company, made.case, user(1), "engineer:9") or "")
    assert opening.end_due(company) == 1
    other = opened(company, person=user(1), ticket="error:81", lasts=timedelta(hours=1))
    clock.pass_(hours=1)
    assert why(company, other.case, user(1)) == assigned.OVER


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"link": "nothing"}, "no link"),
        ({"person": Person("reader", ("7",))}, "about no `reader`"),
        ({"staff": "agent:4"}, "is for engineer, senior"),
        ({"staff": "engineer"}, "one member of staff's"),
        ({"staff": "engineer: "}, "one member of staff's"),
        ({"why": " "}, "has a reason"),
        ({"by": ""}, "by name"),
        ({"lasts": timedelta(days=31)}, "30 days at most"),
        ({"lasts": timedelta()}, "30 days at most"),
        ({"ticket": "ticket:13", "person": user(1)}, "no such ticket"),
        ({"ticket": "ticket:14", "person": user(1)}, "is over"),
        ({"ticket": "ticket:12"}, "about somebody else"),
        ({"ticket": "works:1"}, "a row of a link"),
    ],
)
def test_a_case_that_says_too_little_is_not_opened(tmp_path: Path, given: dict[str, Any], says: str) -> None:
    with desk(tmp_path / "desk") as company:
        with pytest.raises(KeptError, match=says):
            opened(company, **given)
        assert not opening.listing(company, everything=True) and not entries(company, "case")


def test_where_a_link_is_called_case_kept_keeps_none(tmp_path: Path) -> None:
    text = POLICY.replace("  error:\n", "  case:\n").replace("case: error", "case: case")
    with desk(tmp_path / "desk", text=text) as company:
        assert assigned.why_not(company, ["case"], "case:81", user(1), ENGINEER) is None
        with pytest.raises(KeptError, match="called `case`"):
            opened(company, link="case")


@pytest.mark.parametrize("spot", ["before the table", "before the ledger of the end"])
def test_a_process_killed_in_between_leaves_no_case_without_a_record(tmp_path: Path, spot: str) -> None:
    folder = tmp_path / "desk"
    with desk(folder):
        pass
    ran = subprocess.run(
        [sys.executable, "-m", "tests.acceptance.test_cases", str(folder), spot],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr.decode()
    with desk(folder) as company:
        begun = {entry["case"] for entry in entries(company, "case")}
        there = opening.listing(company, everything=True)
        assert {one.id for one in there} <= begun and len(begun) == 1
        opening.end_due(company)
        over = {entry["case"] for entry in entries(company, "case end")}
        assert {one.id for one in opening.listing(company, everything=True) if one.closed} == over
        with company.state.read() as connection:
            assert not connection.execute(
                cases.select().where(cases.c.closed.is_not(None) & cases.c.who.is_not(None))
            ).all()


def main(folder: str, spot: str) -> None:
    """Open a case and close it, and die at a place."""

    def die(*_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    with desk(Path(folder)) as company:
        if spot == "before the table":
            company.state.write = die  # type: ignore[method-assign]
            company.pseudonyms.of = lambda whos, *_, **__: dict.fromkeys(whos, "0" * 64)  # type: ignore[method-assign]
        made = opened(company)
        steps: Any = opening
        steps.finish = die
        opening.close(company, made.id, "Ines")


# HubSpot, the command line, the board.


def test_a_deal_of_hubspots_is_a_case(tmp_path: Path) -> None:
    from tests.acceptance.company import SiteLucent

    with with_hubspot(SiteLucent.made(tmp_path / "site", 60)) as made:
        hubspot = made.hubspot
        assert hubspot is not None
        mine, other = sorted(hubspot.objects["contacts"])[:2]
        deal = hubspot.add("deals", createdate="2026-01-02T00:00:00Z", hubspot_owner_id="31")
        hubspot.tie("deals", deal, "contacts", mine)
        said = ("look", f"lead:{mine}", "--for", "follow-up", "--by")
        ran = made.run(*said, "representative:31", "--case", f"enquiry:{deal}", "--format", "json")
        assert ran.code == 0 and ran.json()["rows"]["crm.contacts"], (ran.out, ran.err)
        assert made.run(*said, "representative:32", "--case", f"enquiry:{deal}").code == 1
        about = made.run("look", f"lead:{other}", *said[2:], "representative:31", "--case", f"enquiry:{deal}")
        assert about.code == 1 and "no such case" in about.out
        record = hubspot.record("deals", deal)
        assert record is not None
        record.properties["closedate"] = "2026-01-03T00:00:00Z"
        ran = made.run(*said, "representative:31", "--case", f"enquiry:{deal}")
        assert ran.code == 1 and "the case is over" in ran.out
        hubspot.fail(500, "/crm/v3", times=50)
        ran = made.run(*said, "representative:31", "--case", f"enquiry:{deal}")
        assert ran.code == 3, ran.out  # nobody can tell


def test_the_command_line_opens_lists_and_closes(tmp_path: Path) -> None:
    from tests.acceptance.company import SiteLucent

    made = Connected(SiteLucent.made(tmp_path / "site").folder)
    ran = made.run(
        "case", "open", "error", "user:5", "--for", "engineer:9", "--why", "odd", "--format", "json"
    )
    assert ran.code == 0, ran.err
    case = ran.json()["case"]
    assert "because: odd" in made.run("case", "list").out
    words = ("look", "user:5", "--for", "analyse-error", "--by", "engineer:9", "--format", "json")
    assert made.run(*words, "--case", case).json()["allowed"]
    assert made.run("case", "close", case, "--by", "Ines").code == 0
    refused = made.run(*words, "--case", case)
    assert refused.code == 1 and refused.json()["reason"] == "the case is over"
    assert "somebody no longer named" in made.run("case", "list", "--all").out
    assert (
        made.run(
            "case", "open", "error", "user:5", "--for", "engineer:9", "--why", "x", "--until", "2 years"
        ).code
        == 2
    )


def test_the_board_measures_looks_and_tries_the_gate(tmp_path: Path) -> None:
    with desk(tmp_path / "desk") as company:
        purposes: Any = company.policy.section("purposes")
        before = measured.measure(company, purposes["mending"])
        assert [proof.verdict for proof in before] == ["kept"] and before[0].kind == "probe"
        assert "in a case that is over" in before[0].says and "about somebody else" in before[0].says
        assert look(company, "mending", None, user(1), by=ENGINEER, case="error:81").decision.allowed
        assert worst(measured.measure(company, purposes["mending"])) == "kept"
        assert not measured.measure(company, purposes["sign-in"])
        lending = measured.measure(company, purposes["lending"])
        assert worst(lending) == "unproven" and "in a case that is over" in lending[-1].says
        assert worst(measured.measure(company, purposes["auditing"])) == "kept"
        with company.state.write() as connection:
            connection.exec_driver_sql("DELETE FROM looks")
        assert worst(measured.measure(company, purposes["mending"])) == "broken"


def test_a_case_closed_a_moment_ago_is_no_fault_of_the_gates(tmp_path: Path) -> None:
    with desk(tmp_path / "desk") as company:
        purpose: Any = company.policy.section("purposes")["mending"]
        assert look(company, "mending", None, user(1), by=ENGINEER, case="error:81").decision.allowed
        change("UPDATE errors SET closed_at = '2026-05-31 10:00:00' WHERE id = 81")
        found = measured.measure(company, purpose)
        assert worst(found) == "kept", found


def test_a_link_whose_rows_cannot_be_tried_is_unproven_beside_one_whose_can(tmp_path: Path) -> None:
    text = POLICY.replace("stores:\n", "stores:\n  gone: {at: $GONE_URL, region: eea}\n")
    with desk(tmp_path / "desk", text=text.replace("{in: app.visits", "{in: gone.visits")) as company:
        purpose: Any = company.policy.section("purposes")["helping"]
        change("INSERT INTO tickets VALUES (20, 2, '07', 'question', 'x', '2026-05-30 10:00:00', NULL)")
        found = measured.measure(company, purpose)
        assert [one.verdict for one in found] == ["kept", "unproven"] and "`visit`" in found[1].says


def test_two_who_measure_at_once_count_each_look_once(tmp_path: Path) -> None:
    with desk(tmp_path / "desk") as company:
        for _ in range(40):
            look(company, "mending", "usage", user(1), by=ENGINEER, case="error:81")
        for _ in range(10):
            company.memory.pop(recorded.OnTheLedger, None)
            with ThreadPoolExecutor(4) as threads:
                found = list(threads.map(recorded.OnTheLedger.of, [company] * 4))
            assert {one.looks["mending"] for one in found} == {40}


@pytest.mark.parametrize("caught", [True, False])
def test_a_case_opened_while_its_person_is_erased_tells_nobody_who_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caught: bool
) -> None:
    with desk(tmp_path / "desk") as company:
        append = company.ledger.append_many

        def erased() -> None:
            company.pseudonyms.forget({"user:1": []})

        def meanwhile(entries: Any) -> Any:
            monkeypatch.undo()
            opening.forget(company, list(company.pseudonyms.find(["user:1"]).values()))
            if caught:
                erased()
            return append(entries)

        monkeypatch.setattr(company.ledger, "append_many", meanwhile)
        if caught:
            with pytest.raises(KeptError, match="erased at this moment"):
                opened(company, person=user(1))
        else:
            opened(company, person=user(1))  # the erasure goes on after that
            erased()
            assert opening.end_due(company) == 1
        [made] = opening.listing(company, everything=True)
        assert made.person is None and made.why is None and made.closed_by == opening.ERASED


def test_a_ticket_that_may_say_who_somebody_is_stays_as_a_number_when_the_case_is_over(
    tmp_path: Path,
) -> None:
    with desk(tmp_path / "desk") as company:
        reader = Person("reader", ("007",))
        for ticket in ("query:q007", "ticket:12"):
            person, staff = (reader, "agent:007") if ticket == "query:q007" else (user(1), "agent:07")
            made = opening.open_case(
                company, ticket.partition(":")[0], person, staff, "odd", "Ines", ticket=ticket
            )
            opening.forget(company, [made.pseudonym])
            over = opening.of_id(company, made.id)
            assert over is not None and over.person is None and over.ticket == rows.named(company, ticket)
            assert entries(company, "case")[-1]["ticket"] == over.ticket and "q007" not in str(over.ticket)


def test_the_board_says_so_when_a_look_had_no_case_or_a_case_has_no_end(tmp_path: Path) -> None:
    with desk(tmp_path / "desk") as company:
        purposes: Any = company.policy.section("purposes")
        look(company, "mending", None, user(1), by=ENGINEER, case="error:81")
        with company.state.write() as connection:
            connection.exec_driver_sql('UPDATE looks SET "case" = NULL')
        assert worst(measured.measure(company, purposes["mending"])) == "broken"
        with company.state.write() as connection:
            connection.exec_driver_sql("UPDATE looks SET \"case\" = 'error:81'")
        opened(company)
        assert worst(measured.measure(company, purposes["mending"])) == "kept"
        with company.state.write() as connection:
            connection.exec_driver_sql("UPDATE cases SET until = '2099-01-01T00:00:00+00:00'")
        assert worst(measured.measure(company, purposes["mending"])) == "broken"


def test_the_board_says_so_when_the_gate_lets_anybody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with desk(tmp_path / "desk") as company:
        purpose: Any = company.policy.section("purposes")["mending"]
        monkeypatch.setattr(assigned, "why_not", lambda *_: None)
        assert worst(measured.measure(company, purpose)) == "broken"


def test_an_erasure_closes_the_cases_and_forgets_whom_they_were_about(tmp_path: Path) -> None:
    from tests.acceptance.company import SiteLucent

    made = Connected(SiteLucent.made(tmp_path / "site").folder)
    (user_,) = made.ask("SELECT min(id) FROM users")[0]
    ran = made.run(
        "case", "open", "error", f"user:{user_}", "--for", "engineer:9", "--why", "odd", "--format", "json"
    )
    case = ran.json()["case"]
    asked = made.run("request", "erase", f"user:{user_}", "--by", "Ines", "--format", "json")
    [request] = asked.json()["requests"]
    made.run("request", "confirm", request, "--by", "Ines")
    [told] = made.run("case", "list", "--all", "--format", "json").json()
    assert told["case"] == case and told["who"] is None and told["closed_by"] == "erasure", (asked.out, told)


if __name__ == "__main__":
    main(*sys.argv[1:])
