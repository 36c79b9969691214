"""LS-03: what Lumensol holds for its clients is theirs to answer; a request is passed on with its clock running."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from examples.generators import lumensol
from tests.acceptance.company import SiteLucent as Company
from tests.acceptance.postbox import Postbox, postbox

CLIENT = "office@landlords.example"
VERBS: dict[str, tuple[str, ...]] = {
    "access": (),
    "export": (),
    "correct": ("--set", "client.tenants.name=Ada Right"),
    "erase": (),
    "restrict": (),
    "object": (),
    "withdraw": (),
    "human-decision": (),
    "complain": ("--words", "You hold too much."),
}


@pytest.fixture
def box() -> Iterator[Postbox]:
    with postbox() as opened:
        yield opened


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """Lumensol, its clients with an address."""
    folder = tmp_path / "company"
    lumensol.build(folder, 20, 3)
    file = folder / "policy.yaml"
    text = file.read_text("utf-8")
    plain = "landlords:   {role: client, says: our clients}"
    assert plain in text
    with_address = plain.replace("client,", f"client, contacts: {{office: {{email: {CLIENT}}}}},")
    file.write_text(text.replace(plain, with_address), "utf-8")
    return Company(folder)


def tenants(company: Company) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(company.folder / "client.sqlite")) as database:
        return database.execute("SELECT * FROM tenants ORDER BY id").fetchall()


def address(company: Company, number: int) -> str:
    with closing(sqlite3.connect(company.folder / "client.sqlite")) as database:
        [(email,)] = database.execute("SELECT email FROM tenants WHERE id = ?", (number,))
    assert email
    return str(email)


def proof(company: Company) -> Any:
    told = company.kept("prove", "--format", "json").json()
    [row] = [row for row in told["promises"] if row["id"] == "rights.pass-on"]
    return row


@pytest.mark.parametrize("verb", VERBS)
def test_a_tenants_request_goes_to_the_client_and_is_not_answered(
    verb: str, company: Company, box: Postbox
) -> None:
    box.used_by(company.folder)
    before, person = tenants(company), address(company, 2)
    ran = company.kept("request", verb, "tenant:2", *VERBS[verb], "--by", "Robin", "--format", "json")
    assert ran.code == 0, ran.err
    told = ran.json()
    assert (told["state"], told["awaits"], told["answers"]) == ("open", ["client"], [])
    assert company.kept("work").code == 0
    [to_client] = box.to(CLIENT)
    assert "tenant:2" in to_client and person in to_client and told["requests"][0] in to_client
    assert "to be answered by" in to_client
    [to_person] = box.to(person)
    assert "passed your request on" in to_person and "another company" in to_person
    assert len(box.letters) == 2
    [open_] = company.kept("request", "list", "--format", "json").json()
    assert open_["awaits"] == "client" and open_["due"]
    assert tenants(company) == before and not list((company.folder / "answers").glob("*"))


def test_the_client_is_told_what_is_to_be_corrected(company: Company, box: Postbox) -> None:
    box.used_by(company.folder)
    company.kept("request", "correct", "tenant:2", *VERBS["correct"], "--by", "Robin")
    company.kept("work")
    assert "client.tenants.name: Ada Right" in box.to(CLIENT)[0]


def test_a_second_request_joins_the_one_that_was_passed_on(company: Company, box: Postbox) -> None:
    box.used_by(company.folder)
    first = company.kept("request", "erase", "tenant:2", "--format", "json").json()
    second = company.kept("request", "erase", "tenant:2", "--by", "Robin", "--format", "json").json()
    company.kept("work")
    assert first["requests"] == second["requests"] and len(box.to(CLIENT)) == 1


def test_staff_closes_it_with_what_the_client_answered(company: Company, box: Postbox) -> None:
    box.used_by(company.folder)
    [id] = company.kept("request", "access", "tenant:2", "--format", "json").json()["requests"]
    asked = company.kept("request", "ask", id, "--question", "Which flat?", "--by", "Robin")
    assert asked.code != 0 and "client" in asked.err
    ran = company.kept("request", "answer", id, "--words", "Your landlord sent it to you.", "--by", "Robin")
    assert ran.code == 0, ran.err
    company.kept("work")
    assert "Your landlord sent it to you." in box.to(address(company, 2))[-1]
    assert company.kept("request", "list", "--format", "json").json() == []
    [entry] = company.ledger("access")
    assert entry["request"] == id and entry["by"] == "Robin"
    row = proof(company)
    assert row["verdict"] == "kept", row
    assert {p["kind"]: p["verdict"] for p in row["proofs"]} == {"probe": "kept", "measure": "kept"}
    assert row["proofs"][1]["measured"]["closed"] == 1


def test_without_a_way_to_write_to_the_client_staff_passes_it_on(company: Company) -> None:
    ran = company.kept("request", "access", "tenant:2", "--format", "json")
    assert ran.json()["awaits"] == ["client"]
    listed = company.kept("task", "list").out
    assert "pass on `access`" in listed and "tenant:2" in listed
    assert proof(company)["verdict"] == "unproven"
    done = company.kept("task", "done", listed.split()[0], "--by", "Robin")
    assert done.code == 0, done.err
    assert company.kept("request", "list", "--format", "json").json()[0]["awaits"] == "client"
    assert proof(company)["verdict"] == "kept"


def test_a_person_is_not_told_that_it_was_passed_on_before_it_was(tmp_path: Path, box: Postbox) -> None:
    folder = tmp_path / "company"
    lumensol.build(folder, 20, 3)  # the example's clients have no address
    company = Company(folder)
    box.used_by(folder)
    assert company.kept("request", "access", "tenant:2").code == 0
    company.kept("work")
    [(to, message)] = box.letters
    assert to == address(company, 2) and "staff passes your request on" in message.get_content()
    assert "pass on `access`" in company.kept("task", "list").out


def test_a_dry_run_says_that_nothing_is_done_here(company: Company) -> None:
    for verb in ("access", "erase", "correct"):
        ran = company.kept("request", verb, "tenant:2", *VERBS[verb], "--dry-run", "--format", "json")
        assert ran.code == 0, ran.err
        assert (ran.json()["plan"], ran.json()["passed_on"]) == ({}, ["landlords"])
    assert "passed on to landlords" in company.kept("request", "erase", "tenant:2", "--dry-run").out


def test_a_request_past_its_clock_breaks_the_promise(company: Company) -> None:
    company.kept("request", "access", "tenant:2")
    with closing(sqlite3.connect(company.folder / "kept.sqlite")) as database:
        database.execute("UPDATE requests SET due = '2020-01-01T00:00:00+00:00'")
        database.commit()
    assert proof(company)["verdict"] == "broken"
