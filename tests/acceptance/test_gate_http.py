"""The gate over HTTP: the same answers as in process, to those with the token, in one shape, and held up by nobody."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

import kept
from kept.controls.choices.deciding import Decision
from kept.controls.purposes.enforce import Gate
from kept.controls.rights.people import Person
from kept.server.asking.newcomers import Newcomers
from kept.server.asking.told import whole
from tests.acceptance.company import SiteLucent
from tests.acceptance.serving import TOKEN, Inside, inside, until

ERROR, CLOSED = 901, 902  # rows of errors: user 3, engineer 4


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("APP_DATABASE_URL", raising=False)
        company = SiteLucent.made(tmp_path_factory.mktemp("gate") / "sitelucent", 300)
        company.do("UPDATE users SET deactivated_at = NULL WHERE id <= 30")  # of the others some have left
        company.do("DELETE FROM errors")
        company.do("INSERT INTO errors VALUES (?, 3, 4, '2026-01-01', NULL)", ERROR)
        company.do("INSERT INTO errors VALUES (?, 3, 4, '2026-01-01', '2026-02-01')", CLOSED)
        with inside(company.folder) as found:
            yield found


@pytest.fixture
def client(served: Inside) -> Iterator[httpx.Client]:
    with served.client(api=True) as found:
        yield found


def ask(client: httpx.Client, purpose: str, **asked: Any) -> dict[str, Any]:
    answered = client.post("/api/decide", json={"purpose": purpose, **asked})
    assert answered.status_code == 200, answered.text
    told: dict[str, Any] = answered.json()
    return told


def test_a_use_is_allowed_with_its_columns_or_refused_with_the_sentence_that_says_so(
    client: httpx.Client,
) -> None:
    told = ask(client, "alerts", data="account", person="user:3", channel="email")
    assert told["allowed"] and told["clause"] == ["SL-13"] and told["fields"]["app.users.email"] == "as is"
    assert not ask(client, "alerts", data="usage", person="user:3")["allowed"]
    assert ask(client, "alerts", person="user:99999")["rule"] == "nobody"
    assert ask(client, "alerts", person="user:")["rule"] == "nobody"
    assert ask(client, "alerts", person="custommer:3")["rule"] == "nobody"
    assert ask(client, "alerts", person="visitor:3")["rule"] == "nobody"
    assert ask(client, "alerts", person="nobody@people.example")["rule"] == "nobody"
    assert ask(client, "alerts")["rule"] == "nobody"
    assert ask(client, "selling", person="user:3")["rule"] == "purpose"
    assert ask(client, "improve-app", data="usage", group=25)["floor"] == 10
    assert not ask(client, "improve-app", data="usage", group=9)["allowed"]
    assert not ask(client, "improve-app", data="usage", person="user:3")["allowed"]


def test_a_case_is_a_reason_for_its_engineer_while_it_is_open(client: httpx.Client) -> None:
    def look(case: int, by: str = "engineer:4", person: str = "user:3") -> bool:
        told = ask(client, "analyse-error", data="usage", person=person, by=by, case=f"error:{case}")
        return bool(told["allowed"])

    assert look(ERROR)
    assert not look(CLOSED) and not look(ERROR, by="engineer:5") and not look(ERROR, person="user:4")
    assert not ask(client, "analyse-error", person="user:3", by="engineer:4")["allowed"]


def test_http_answers_what_the_process_answers(served: Inside, client: httpx.Client) -> None:
    """A thousand random questions, whole: allowed or not, reason, clauses, columns."""
    chosen = random.Random(11)
    [(address,)] = SiteLucent(served.folder).ask("SELECT email FROM users WHERE id = 5")
    whos = [f"user:{n}" for n in range(1, 40)] + ["user:0", f"visitor:{'ab' * 16}", "lead:1", address]
    rest: dict[str, list[Any]] = {
        "data": [None, None, "account", "usage", ["account"], ["account", "usage"], "nothing"],
        "person": [*whos, None],
        "group": [None, None, None, 5, 50],
        "by": [None, None, "engineer:4", "support:2", "staff", "user:3", "administers.admin:1", "king:1"],
        "case": [None, None, f"error:{ERROR}", f"error:{CLOSED}", "error:x", "ticket:1"],
        "channel": [None, None, None, "email", "post"],
        "signals": [[], [], ["gpc"], ["gpc", "device"]],
        "evidence": [{}, {}, {"written-consent": "the letter of May"}],
    }
    purposes = [*served.company.policy.section("purposes"), "nothing-of-the-kind"]
    allowed = 0
    with kept.opened(served.folder) as privacy:
        for _ in range(1000):
            asked = {name: chosen.choice(values) for name, values in rest.items()}
            if asked["person"] is not None and asked["group"] is not None:
                asked["group"] = None
            purpose = str(chosen.choice(purposes))
            given = {name: value for name, value in asked.items() if value not in (None, [], {})}
            told = ask(client, purpose, **given)
            asked["signals"] = frozenset(asked["signals"])
            expected = whole(privacy.decide(purpose, **asked))
            assert told == json.loads(json.dumps(expected)), (purpose, asked)
            allowed += told["allowed"]
    assert 20 < allowed < 900  # else nothing was tried


def test_many_are_answered_in_one_call_by_the_names_they_were_given(
    served: Inside, client: httpx.Client
) -> None:
    whos = [f"user:{n}" for n in range(1, 301)] + ["user:1", "user:77777", "someone@people.example", "user:"]
    told = ask(client, "alerts", data="account", people=whos, channel="email")
    assert set(told) == set(whos)
    for who in ("user:1", "user:5", "user:300", "user:77777"):
        assert told[who] == ask(client, "alerts", data="account", person=who, channel="email")
    assert told["someone@people.example"]["rule"] == "nobody" and told["user:"]["rule"] == "nobody"
    for one in ask(client, "analyse-error", people=["user:3"]).values():
        assert not one["allowed"]  # a case is about one person
    signals = ask(client, "alerts", people=["user:3"], signals=["gpc"])
    assert signals["user:3"] == ask(client, "alerts", person="user:3", signals=["gpc"])


def test_ten_thousand_at_once_and_no_more(client: httpx.Client) -> None:
    whos = [f"user:{n}" for n in range(10_001)]
    told = ask(client, "alerts", people=whos[:-1])
    assert len(told) == 10_000 and told["user:9999"]["rule"] == "nobody" and told["user:7"]["allowed"]
    answered = client.post("/api/decide", json={"purpose": "alerts", "people": whos})
    assert answered.status_code == 422 and answered.json()["wrong"][0]["at"] == "body.people"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer \xe9"},
    ],
)
def test_nobody_without_the_token_hears_anything(served: Inside, headers: dict[str, str]) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    with served.client() as stranger:
        for body in (b'{"purpose": "alerts", "person": "user:3"}', b"{", b"x" * 3_000_000):
            answered = stranger.post("/api/decide", content=body, headers=encoded)
            assert answered.status_code == 401 and answered.headers["www-authenticate"] == "Bearer"
            assert answered.json()["error"] == "the token is missing or wrong"


def test_without_the_setting_the_gate_is_closed(tmp_path: Path) -> None:
    company = SiteLucent.made(tmp_path / "sitelucent", 5)
    with inside(company.folder, KEPT_API_TOKEN="") as closed, closed.client() as client:
        for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer x"}):
            answered = client.post("/api/decide", json={"purpose": "alerts"}, headers=headers)
            assert answered.status_code == 403 and answered.json()["error"] == "the API is closed"


def test_what_is_wrong_with_a_question_is_said_by_field_and_nothing_of_it_repeated(
    client: httpx.Client,
) -> None:
    secret = "ada@people.example"
    wrong: list[tuple[Any, str]] = [
        ({"purpose": "alerts", "person": "user:3", "sauce": secret}, "body.sauce"),
        ({"person": secret}, "body.purpose"),
        ({"purpose": "alerts", "person": f"{secret}\0"}, "body.person"),
        ({"purpose": "alerts", "person": "x" * 401}, "body.person"),
        ({"purpose": "alerts", "person": 3}, "body.person"),
        ({"purpose": "alerts", "people": []}, "body.people"),
        ({"purpose": "alerts", "group": -1}, "body.group"),
        ({"purpose": "alerts", "group": True}, "body.group"),
        ({"purpose": "alerts", "group": 10, "person": secret}, "body"),
        ({"purpose": "alerts", "people": [secret], "by": "engineer:4"}, "body"),
        ({"purpose": "alerts", "people": [secret], "case": "error:1"}, "body"),
        ({"purpose": "alerts", "signals": [secret]}, "body.signals.0"),
        ({"purpose": "alerts", "data": []}, "body.data"),
        ([secret], "body"),
    ]
    for body, at in wrong:
        answered = client.post("/api/decide", json=body)
        told = answered.json()
        assert answered.status_code == 422 and set(told) == {"error", "help", "wrong"}, body
        assert any(one["at"].startswith(at) for one in told["wrong"]), told
        assert secret not in answered.text and answered.headers["cache-control"] == "no-store"
    for text in ("", "{", '{"purpose": "alerts"', "[" * 100_000, '"\\ud800"', "\xff"):
        answered = client.post("/api/decide", content=text.encode("latin-1"))
        assert answered.status_code == 422 and answered.json()["error"], text[:20]
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        answered = client.request(method, "/api/decide")
        assert answered.status_code == 405 and set(answered.json()) == {"error", "help"}
    assert client.post("/api/decide/", json={"purpose": "alerts"}).status_code == 404


def test_a_body_has_a_limit_whether_or_not_its_length_is_told(client: httpx.Client) -> None:
    assert client.post("/api/decide", content=b"x" * (1 << 20) + b"x").status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(60):
            yield b" " * 20_000

    answered = client.post("/api/decide", content=pieces())
    assert answered.status_code == 413 and answered.json()["error"] == "what was sent is too long"
    whole_ = b'{"purpose": "alerts", "person": "user:3"}'
    assert client.post("/api/decide", content=iter([whole_[:9], whole_[9:]])).json()["allowed"]


def test_the_description_of_the_api_says_what_is_asked_and_answered(client: httpx.Client) -> None:
    for _ in range(2):  # it is made once
        described = client.get("/api/openapi.json").json()
    path = described["paths"]["/api/decide"]["post"]
    assert path["security"] == described["paths"]["/api/may"]["post"]["security"]
    asks = {"$ref": path["requestBody"]["content"]["application/json"]["schema"]["$ref"]}
    answers = path["responses"]["200"]["content"]["application/json"]["schema"]
    parts = {"components": described["components"]}
    question = {"purpose": "alerts", "person": "user:3"}
    jsonschema.validate(question, parts | asks)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**question, "sauce": "x"}, parts | asks)
    jsonschema.validate(ask(client, **question), parts | answers)
    jsonschema.validate(ask(client, "alerts", people=["user:3"]), parts | answers)


def test_a_no_counts_at_the_next_question(served: Inside, client: httpx.Client) -> None:
    asked = {"data": "account", "person": "user:21", "channel": "email"}
    assert ask(client, "alerts", **asked)["allowed"]
    for answer in ("no", "yes"):
        served.clock.on(seconds=1)
        said = {"who": "user:21", "choices": {"alerts": answer}, "words": "Write to me when numbers change?"}
        assert client.post("/api/choices", json=said).status_code == 201
        assert ask(client, "alerts", **asked)["allowed"] == (answer == "yes")


def test_whoever_comes_together_is_read_together(served: Inside) -> None:
    gate, statements = Gate(served.company), list[str]()  # as after a start: nobody is remembered
    newcomers = Newcomers(gate.choices)
    gate.choices.known.clear()
    people = [Person("user", (str(n),)) for n in range(1, 301)]

    def count(*arguments: Any) -> None:
        statements.append(arguments[2])

    async def all_at_once() -> list[Decision | None]:
        return await asyncio.gather(*map(newcomers.read, people))

    event.listen(Engine, "before_cursor_execute", count)
    try:
        answered = asyncio.run(all_at_once())
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    assert answered == [None] * 300 and set(people) <= set(gate.choices.known)
    reads = [one for one in statements if "WHERE subjects.person IN" in one]  # at least one for each reading
    assert 0 < len(reads) < 50


def test_an_answer_is_not_waited_for_in_a_loop_that_has_ended(served: Inside) -> None:
    gate = Gate(served.company)
    newcomers, person = Newcomers(gate.choices), Person("user", ("7",))

    async def impatient() -> None:
        asking = asyncio.create_task(newcomers.read(person))
        await asyncio.sleep(0)  # it is being read now
        asking.cancel()

    for _ in range(3):
        asyncio.run(impatient())
        gate.choices.known.pop(person, None)
        assert asyncio.run(newcomers.read(person)) is None


def test_a_database_that_hangs_holds_up_nobody_who_is_remembered(tmp_path: Path) -> None:
    """A writer that never ends locks the company's own database: whoever is unknown hears that nobody can tell."""
    company = SiteLucent.made(tmp_path / "sitelucent", 30)
    with inside(company.folder) as served, served.client(api=True) as client:
        assert ask(client, "alerts", person="user:1")["allowed"]
        known = Gate.of(served.company).choices.known
        with closing(sqlite3.connect(served.folder / "app.sqlite", isolation_level=None)) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            answers: list[dict[str, Any]] = []

            def unknown(n: int) -> None:
                with served.client(api=True) as other:
                    answers.append(ask(other, "alerts", person=f"user:{n + 2}"))

            threads = [threading.Thread(target=unknown, args=(n,)) for n in range(20)]
            for thread in threads:
                thread.start()
            until(lambda: "kept-newcomers" in [one.name for one in threading.enumerate()], "somebody is read")
            told = [ask(client, "alerts", person="user:1") for _ in range(10)]
            assert all(one["allowed"] for one in told) and not answers and len(known) == 1
            for thread in threads:
                thread.join(60)
            assert len(answers) == 20 and all(one["unsure"] and not one["allowed"] for one in answers)
            writer.execute("ROLLBACK")
        until(lambda: ask(client, "alerts", person="user:2")["allowed"], "the database answers again")
