"""Looks: one person's data shown to a member of staff; decided, on record, and only then read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kept.company import Company
from kept.controls.purposes.cases import assigned, reading, recorded, sealed
from kept.controls.purposes.cases.looks import Look, look
from kept.controls.rights.people import Person
from kept.errors import StoreError
from kept.state.uses import looks
from tests.acceptance.asking import held, zipped
from tests.acceptance.cased import POLICY, change, desk, entries, user
from tests.acceptance.choosing import Clock
from tests.acceptance.company import ROOT, SiteLucent
from tests.acceptance.connected import Connected
from tests.acceptance.serving import served

ENGINEER = "engineer:4"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def company(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Company]:
    app = request.getfixturevalue("fresh_postgresql") if request.param == "postgresql" else None
    with desk(tmp_path / "desk", clock, app=app, state=app or "") as found:
        yield found


def mending(company: Company, person: Person | None = None, **more: Any) -> Look:
    given = {"by": ENGINEER, "case": "error:81", **more}
    return look(company, "mending", "usage", person or user(1), **given)


def kept(company: Company) -> list[Any]:
    with company.state.read() as connection:
        return list(connection.execute(looks.select().order_by(looks.c.number)))


def test_a_look_in_a_case_shows_the_declared_columns_and_stands_on_the_ledger(company: Company) -> None:
    seen = mending(company)
    assert seen.decision.allowed
    assert [row["page"] for row in seen.rows["app.events"]] == ["board"] and seen.left_out == 2
    assert set(seen.rows["app.events"][0]) == {"page", "at"}
    [entry] = entries(company, "look")
    pseudonym = company.pseudonyms.find(["user:1"])["user:1"]
    assert entry["person"] == pseudonym and entry["case"] == "error:81" and entry["purpose"] == "mending"
    assert (entry["role"], entry["staff"]) == ("engineer", "4")
    assert entry["fields"] == ["app.events.page", "app.events.at"] and entry["looked"]
    [row] = kept(company)
    assert row.id == seen.id == entry["look"] and row.pseudonym == pseudonym
    assert "board" not in json.dumps(entry) and "user:1" not in json.dumps(entry)


def test_rows_past_their_limit_are_left_out_by_the_clock_of_today(company: Company, clock: Clock) -> None:
    clock.pass_(days=90)  # beyond two months for the newest too; the case goes on
    seen = mending(company)
    assert seen.decision.allowed and not seen.rows and seen.left_out == 3
    change("UPDATE events SET at = '2026-08-29 10:00:00' WHERE id = 2")
    assert [row["page"] for row in mending(company).rows["app.events"]] == ["chart"]


def test_a_limit_that_counts_from_a_link_leaves_its_rows_out(company: Company) -> None:
    seen = look(company, "helping", None, user(1), by="agent:07", case="ticket:12")
    assert sorted(str(row["words"]) for row in seen.rows["app.tickets"]) == ["how so", "so good"]
    assert seen.rows["app.users"][0]["email"] == "u1@mail.example"
    assert seen.rows["app.users"][0]["secret"] == sealed.MASK
    assert "hunter" not in repr(seen.rows)
    [entry] = entries(company, "look")
    assert entry["masked"] == ["app.users.secret"] and "app.users.secret" in entry["fields"]


def test_a_refused_look_shows_nothing_and_is_on_the_ledger_too(company: Company) -> None:
    for given, rule in (
        ({"case": None}, "case"),
        ({"case": "error:82"}, "case"),
        ({"by": None}, "by"),
        ({"by": "engineer"}, "by"),
        ({"by": "user:1"}, "by"),
        ({"by": "boss:1"}, "by"),
        ({"case": "error:" + "8" * 400}, "case"),
    ):
        seen = mending(company, **given)
        assert not seen.decision.allowed and not seen.rows and seen.id is None, given
        last = entries(company, "look-refused")[-1]
        assert last["rule"] == rule and last["purpose"] == "mending", (given, last)
    assert not entries(company, "look") and not kept(company)
    assert not look(company, "nothing", None, user(1), by=ENGINEER).decision.allowed
    assert not look(company, "trends", None, user(1), by=ENGINEER).decision.allowed
    assert not mending(company, Person("user", ("99",))).decision.allowed
    assert company.pseudonyms.find(["user:99"]) == {}


def test_a_refusal_carries_nobodys_data_onto_the_ledger(company: Company) -> None:
    mending(company, case="error:ada@mail.example", by="engineer:4\n")
    mending(company, case="ada@mail.example:1")
    mending(company, case="error:ada")
    look(company, "ada@mail.example", None, user(1), by="ada@mail.example:7")
    found = entries(company, "look-refused")
    assert len(found) == 4 and "ada" not in json.dumps(found)
    assert [entry["case"] for entry in found] == ["error:?", None, "error:?", None]
    for by in ("user:1709", "reader:ada", "boss:ada@mail.example", ":ada", "ada"):
        mending(company, by=by)  # a person's key, or whatever was typed for one
    found = entries(company, "look-refused")[4:]
    assert len(found) == 5 and {entry["staff"] for entry in found} == {None}
    mending(company, by="agent:07")
    assert entries(company, "look-refused")[-1]["staff"] == "07"


def test_a_column_is_on_record_by_its_whole_name(tmp_path: Path) -> None:
    text = POLICY.replace("{page: behaviour, at", '{page: behaviour, "last 5%2A seen*": behaviour, at')
    with desk(tmp_path / "desk", text=text):
        change('ALTER TABLE events ADD COLUMN "last 5%2A seen*" VARCHAR(20)')
    with desk(tmp_path / "desk", text=text) as company:
        assert mending(company).decision.allowed
        named = ("app.events.page", "app.events.last 5%2A seen*", "app.events.at")
        [seen] = recorded.of(company, [user(1)])[user(1)]
        assert seen.fields == named and not seen.masked
        assert tuple(entries(company, "look")[0]["fields"]) == named


def test_a_key_that_may_be_somebodys_name_stands_on_record_as_a_number(company: Company) -> None:
    reader = Person("reader", ("007",))
    seen = look(company, "lending", None, reader, by="agent:007", case="query:q007")
    assert [row["book"] for row in seen.rows["app.readers"]] == ["Persuasion"]
    [entry] = entries(company, "look")
    assert entry["case"].startswith("query:#") and "q007" not in json.dumps(entry)
    evidence = {"reason": "a tip"}
    look(company, "auditing", None, user(1), by="agent:07", case="ada@mail.example", evidence=evidence)
    assert entries(company, "look")[-1]["case"] is None  # it needs none, so nobody looked whether it is one


def test_a_purpose_without_a_case_or_staff_shows_nobody_to_staff(company: Company) -> None:
    seen = look(company, "sign-in", None, user(1), by=ENGINEER, case="error:81")
    assert not seen.decision.allowed and "shows nobody's data to staff" in seen.decision.reason


def test_where_no_data_is_named_it_is_what_can_be_theirs(tmp_path: Path) -> None:
    text = POLICY.replace("mending:  {uses: usage,", "mending:  {uses: [usage, reading],")
    with desk(tmp_path / "desk", text=text.replace("case: query}", "case: query, by: agent}")) as company:
        seen = look(company, "mending", None, user(1), by=ENGINEER, case="error:81")
        assert seen.decision.allowed and set(seen.rows) == {"app.events"}
        named = look(company, "mending", iter(["usage"]), user(1), by=ENGINEER, case="error:81")  # type: ignore[arg-type]  # as a careless caller does
        assert named.rows == seen.rows
        both = look(company, "mending", ("usage", "reading"), user(1), by=ENGINEER, case="error:81")
        assert not both.decision.allowed and "no data of theirs" in both.decision.reason


def test_a_purpose_for_a_role_shows_its_data_to_that_role_alone(company: Company) -> None:
    evidence = {"reason": "a tip"}
    seen = look(company, "auditing", None, user(1), by="agent:07", evidence=evidence)
    assert seen.decision.allowed and seen.rows["app.users"][0]["email"] == "u1@mail.example"
    assert not look(company, "auditing", None, user(1), by="agent:07").decision.allowed
    assert not look(company, "auditing", None, user(1), by=ENGINEER, evidence=evidence).decision.allowed
    [entry] = entries(company, "look")
    assert entry["case"] is None and entry["staff"] == "07" and "tip" not in json.dumps(entry)


def test_a_case_closed_while_rows_are_read_shows_nothing(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = reading.read

    def closing(*given: Any) -> Any:
        found = read(*given)
        change("UPDATE errors SET closed_at = '2026-05-31 10:00:00' WHERE id = 81")
        return found

    monkeypatch.setattr(reading, "read", closing)
    seen = mending(company)
    assert not seen.decision.allowed and seen.decision.reason == assigned.OVER and not seen.rows
    [refused] = entries(company, "look-refused")
    assert refused["look"] == seen.id and len(entries(company, "look")) == 1


def test_a_store_that_fails_leaves_a_record_and_shows_nothing(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = recorded.record

    def breaking(*given: Any) -> str:
        id = record(*given)
        change("ALTER TABLE events RENAME TO happenings")
        return id

    monkeypatch.setattr(recorded, "record", breaking)
    with pytest.raises(StoreError):
        mending(company)
    assert len(entries(company, "look")) == 1 and len(kept(company)) == 1


def test_nothing_is_read_where_the_record_cannot_be_written(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise StoreError("the disk is full")

    read: list[Any] = []
    monkeypatch.setattr(reading, "read", lambda *given: read.append(given))
    monkeypatch.setattr(company.ledger, "append_many", full)
    with pytest.raises(StoreError):
        mending(company)
    assert not read


def test_what_a_crash_kept_from_the_ledger_is_put_on_it(company: Company) -> None:
    seen = mending(company)
    assert seen.id is not None
    other = "f" * 32
    with company.state.write() as connection:
        row = connection.execute(looks.select()).one()._asdict()
        del row["number"]
        connection.execute(looks.insert().values({**row, "id": other}))
    assert recorded.whole_ledger(company) == 2 and recorded.whole_ledger(company) == 2
    assert [entry["look"] for entry in entries(company, "look")] == [seen.id, other]


SPOTS = ("before the record", "between table and ledger", "between record and read", "before it is shown")


@pytest.mark.parametrize("spot", SPOTS)
def test_a_process_killed_on_the_way_shows_nothing_without_a_record(tmp_path: Path, spot: str) -> None:
    folder = tmp_path / "desk"
    with desk(folder):
        pass
    ran = subprocess.run(
        [sys.executable, "-m", "tests.acceptance.test_looks", str(folder), spot],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr.decode()
    assert b"board" not in ran.stdout
    assert (b"read" in ran.stdout) == (spot == "before it is shown")
    with desk(folder) as company:
        recorded.whole_ledger(company)
        there = 0 if spot == "before the record" else 1
        assert len(kept(company)) == len(entries(company, "look")) == there


def main(folder: str, spot: str) -> None:
    """Look, and die at a place."""

    def die(*_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    with desk(Path(folder)) as company:
        read = reading.read

        def reads(*given: Any) -> Any:
            print("read", flush=True)
            return read(*given)

        reads_rows: Any = reading
        decides: Any = assigned
        reads_rows.read = reads
        if spot == "before the record":
            recorded.record = die
        elif spot == "between table and ledger":
            company.ledger.append_many = die  # type: ignore[method-assign]
        elif spot == "between record and read":
            reads_rows.read = die
        else:
            asked: list[Any] = []
            again = assigned.look_again

            def second(*given: Any) -> None:
                asked.append(given)
                if len(asked) == 2:
                    die()
                again(*given)

            decides.look_again = second
        print(mending(company).rows)


# The person.


def test_the_person_learns_in_their_answer_who_looked_at_what(tmp_path: Path) -> None:
    made = Connected(SiteLucent.made(tmp_path / "site").folder)
    [(case, who, engineer)] = made.ask(
        "SELECT id, user_id, engineer_id FROM errors WHERE closed_at IS NULL LIMIT 1"
    )
    words = ("look", f"user:{who}", "--for", "analyse-error", "--by", f"engineer:{engineer}")
    refused = made.run(*words)
    assert refused.code == 1 and "needs an open case" in refused.out and "SL-14" in refused.out
    shown = made.run(*words, "--case", f"error:{case}")
    assert shown.code == 0 and "app.usage_events" in shown.out, shown.err
    listed = made.run("look", f"user:{who}", "--of")
    assert f"engineer:{engineer} for analyse-error in error:{case}" in listed.out
    asked = made.run("request", "access", f"user:{who}", "--format", "json")
    [request] = asked.json()["requests"]
    [row] = held(zipped(made, request), "who looked at it", "kept.looks")
    assert row["purpose"] == "analyse-error" and row["role"] == "engineer"
    assert row["by"] == "a named member of staff" and "app.usage_events.page" in row["columns"]
    assert len(made.ledger("look-refused")) == 1 and len(made.ledger("look")) == 1
    export = made.run("request", "export", f"user:{who}", "--format", "json").json()["requests"][0]
    assert "kept.looks" not in zipped(made, export)["data.json"].decode()


def test_a_purpose_that_tells_writes_once_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setenv("KEPT_SMTP_URL", "smtp://127.0.0.1:1")
    with desk(tmp_path / "desk", clock) as company:

        def audit() -> Look:
            return look(company, "auditing", None, user(1), by="agent:07", evidence={"reason": "a tip"})

        assert audit().told and not audit().told
        assert not mending(company).told
        clock.pass_(days=1)
        assert audit().told
        assert [entry.what for entry in company.outbox.entries()] == ["looked at", "looked at"]


def test_the_api_opens_a_case_shows_in_it_and_tells_the_person(tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "site")
    with served(made.folder, "--no-work") as serving, serving.client(api=True) as client:
        given = {"link": "error", "who": "user:5", "staff": "engineer:9", "why": "odd", "by": "Ines"}
        opened = client.post("/api/cases", json=given)
        assert opened.status_code == 201, opened.text
        case = opened.json()
        asked = {"who": "user:5", "purpose": "analyse-error", "by": "engineer:9"}
        refused = client.post("/api/look", json=asked)
        assert refused.status_code == 403 and refused.json()["clause"] == ["SL-14"]
        shown = client.post("/api/look", json={**asked, "case": case["case"]})
        assert shown.status_code == 200 and shown.json()["rows"]["app.usage_events"]
        [seen] = client.get("/api/looks", params={"who": "user:5"}).json()
        assert seen["role"] == "engineer" and "9" not in seen["by"]
        assert client.post(f"/api/cases/{case['id']}/close", json={"by": "Ines"}).json()["closed"]
        assert client.post("/api/look", json={**asked, "case": case["case"]}).status_code == 403
        assert client.post("/api/cases/none/close", json={"by": "Ines"}).status_code == 404
    with served(made.folder, "--no-work") as serving, serving.client() as client:
        assert client.post("/api/look", json=asked).status_code == 401
        assert client.get("/api/looks", params={"who": "user:5"}).status_code == 401


def test_the_api_takes_whoever_is_named_letter_by_letter(tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "site")
    with served(made.folder, "--no-work") as serving, serving.client(api=True) as client:
        given = {"link": "error", "who": "user:5", "staff": "engineer:9", "why": "odd", "by": "Ines"}
        case = client.post("/api/cases", json=given).json()["case"]
        asked = {"who": "user:5", "purpose": "analyse-error", "by": "engineer:9", "case": case}
        assert client.post("/api/look", json=asked).status_code == 200
        for word in ("who", "by", "case", "purpose"):
            for hidden in ("\u200b", "\u200f", "\x7f"):
                said = client.post(
                    "/api/look", json={**asked, word: asked[word][:-1] + hidden + asked[word][-1]}
                )
                assert said.status_code in (403, 404) and "app.usage_events" not in said.text, (
                    word,
                    said.text,
                )
        assert client.post("/api/cases", json={**given, "staff": "engineer:\u200b9"}).status_code >= 400
        assert client.post("/api/cases", json={**given, "who": "user:\u200b5"}).status_code == 404
        assert client.get("/api/looks", params={"who": "user:\u200b5"}).status_code == 404
        assert client.get("/api/looks", params={"who": "user:\x005"}).status_code == 422


if __name__ == "__main__":
    main(*sys.argv[1:])
