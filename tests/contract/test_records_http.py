"""What is a partner's own: requests signed both ways, answers that come later, callbacks, forgeries, results."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kept.errors import TerminalError
from kept.stores.records import opendsr
from kept.stores.records.access import read_access
from kept.stores.records.http import HTTPStore, Partner
from kept.stores.records.opendsr import Forged
from kept.stores.records.store import Kept, Pending
from kept.testing.loopback import Call, Loopback, Reply
from tests.contract.records.worlds import PartnerWorld

ADA = "email:ada@example.org"


class Ours(Loopback):
    """Where the partner calls back: passes what comes to the store, as Kept's server does."""

    def __init__(self) -> None:
        super().__init__()
        self.store: HTTPStore | None = None
        self.statuses: list[opendsr.Status] = []

    def handle(self, call: Call) -> Reply:
        assert self.store is not None
        try:
            self.statuses.append(self.store.read_callback(call.body, call.headers))
        except Forged:
            return Reply(403)
        return Reply(202)


@contextmanager
def partner(at_once: bool = True, callback: str | None = None) -> Iterator[PartnerWorld]:
    made = PartnerWorld(at_once, callback)
    with made.server:
        yield made
        made.store.dispose()


@pytest.fixture
def later() -> Iterator[PartnerWorld]:
    with partner(at_once=False) as made:
        made.person("ada@example.org")
        yield made


def id_of(world: PartnerWorld, type: str = "erasure", act: str = "r1") -> str:
    return world.store.request_id(type, ADA, act)


def test_an_erasure_is_pending_until_the_partner_has_done_it(later: PartnerWorld) -> None:
    for _ in range(2):
        with pytest.raises(Pending) as raised:
            later.store.erase(ADA, act="r1")
    assert timedelta(minutes=59) < raised.value.at - later.hours.at <= timedelta(hours=1)
    assert later.server.count("POST /requests") == 1
    later.server.finish(id_of(later))
    assert later.store.erase(ADA, act="r1").deleted == {"people": 1}


def test_a_partner_is_asked_again_after_a_minute_at_the_soonest_and_a_day_at_the_latest(
    later: PartnerWorld,
) -> None:
    for expected, asked in ((-5, timedelta(minutes=1)), (24 * 400, timedelta(days=1))):
        later.server.expected = timedelta(hours=expected)
        with pytest.raises(Pending) as raised:
            later.store.erase(ADA, act="r1")
        assert raised.value.at - later.hours.at == asked


def test_a_cancelled_request_stops_and_says_so(later: PartnerWorld) -> None:
    with pytest.raises(Pending):
        later.store.erase(ADA, act="r1")
    later.server.cancel(id_of(later))
    with pytest.raises(TerminalError, match="cancelled"):
        later.store.erase(ADA, act="r1")


def test_another_act_is_another_request() -> None:
    with partner() as world:
        world.person("ada@example.org")
        assert world.store.erase(ADA, act="r1").deleted == {"people": 1}
        world.person("ada@example.org")  # she came back
        assert world.store.erase(ADA, act="r1").deleted == {"people": 1}
        assert len(world.server.people[("email", "ada@example.org")]["people"]) == 1
        assert world.store.erase(ADA, act="r2").deleted == {"people": 1}
        assert not world.server.people[("email", "ada@example.org")]
        with pytest.raises(ValueError, match="name"):
            world.store.erase(ADA)


def test_the_id_of_a_request_is_a_random_uuid_to_everybody_else() -> None:
    with partner() as world, partner() as other:
        first = uuid.UUID(id_of(world))
        assert first.version == 4
        assert str(first) == id_of(world)
        others = {id_of(world, "access"), id_of(world, act="r2"), id_of(other)}
        assert len({str(first), *others}) == 4


def test_an_access_request_waits_for_all_people_before_the_first_row(later: PartnerWorld) -> None:
    later.person("bob@example.org")
    people = [ADA, "email:bob@example.org"]
    with pytest.raises(Pending):
        next(later.store.collect(people, {"people": ("email",)}, act="r1"))
    assert len(later.server.requests) == 2
    later.server.finish(id_of(later, "access"))
    with pytest.raises(Pending, match="1 of 2"):
        next(later.store.collect(people, {"people": ("email",)}, act="r1"))
    later.server.finish(later.store.request_id("access", people[1], "r1"))
    found = list(later.store.collect(people, {"people": ("email",)}, act="r1"))
    assert [(who, row["email"]) for who, _, row in found] == [
        (ADA, "ada@example.org"),
        (people[1], "bob@example.org"),
    ]


def test_what_a_partner_keeps_is_told() -> None:
    with partner() as world:
        ada = world.person("ada@example.org")
        world.hang(ada, "1 Street")
        world.server.stays["parcels"] = ("Customs want it.", date(2036, 1, 1))
        done = world.store.erase(ada, act="r1")
    assert done.deleted == {"people": 1}
    assert done.kept == (Kept("parcels", 1, "Customs want it.", date(2036, 1, 1)),)


def test_a_partner_that_only_counts_is_believed_for_the_count() -> None:
    with partner() as world:
        signed = answered(world, results_count=3)
        assert world.store.erase(ADA, act="r1").deleted == {"records": 3}
        assert signed == 1


def answered(world: PartnerWorld, times: int = 1, **fields: Any) -> int:
    """Have the partner answer the next question with a signed status of these fields."""
    body = {
        "subject_request_id": id_of(world),
        "request_status": "completed",
        "expected_completion_time": "2030-01-01T00:00:00Z",
        **fields,
    }
    content = json.dumps(body).encode()
    world.server.fail(200, "GET /status", times, headers=world.server.headers(content), body=content)
    return times


@pytest.mark.parametrize(
    "fields",
    [
        {"request_status": "done"},
        {"request_status": None},
        {"subject_request_id": "no uuid"},
        {"results_count": "many"},
        {"extensions": [1]},
        {"extensions": {"x": {"kept": [{}]}}},
        {"extensions": {"x": {"kept": [{"table": "t", "rows": 1, "reason": "r", "until": "soon"}]}}},
        {"extensions": {"x": {"deleted": 5}}},
    ],
)
def test_a_signed_status_that_makes_no_sense_is_told_and_not_believed(fields: dict[str, Any]) -> None:
    with partner() as world:
        answered(world, **fields)
        with pytest.raises(TerminalError, match="status"):
            world.store.erase(ADA, act="r1")


def test_an_answer_about_another_request_is_refused() -> None:
    with partner() as world:
        answered(world, subject_request_id=str(uuid.uuid4()))
        with pytest.raises(Forged, match="another request"):
            world.store.erase(ADA, act="r1")


def test_an_answer_that_the_partner_did_not_sign_is_refused() -> None:
    with partner() as world:
        content = json.dumps({"subject_request_id": id_of(world), "request_status": "completed"}).encode()
        forged = opendsr.signed(Ed25519PrivateKey.generate().sign(content))
        good = world.server.sign(content)
        for headers in (
            {},
            {opendsr.SIGNATURE: forged},
            {opendsr.SIGNATURE: "?"},
            {opendsr.SIGNATURE: good[:-8]},
        ):
            world.server.fail(200, "GET /status", headers=headers, body=content)
            with pytest.raises(Forged, match="isn't signed"):
                world.store.erase(ADA, act="r1")


def test_a_partner_with_another_key_is_refused() -> None:
    with partner() as world:
        world.person("ada@example.org")
        world.server.key = Ed25519PrivateKey.generate()
        with pytest.raises(TerminalError):
            world.store.erase(ADA, act="r1")
        assert world.store.searchable is False


def test_the_partner_refuses_a_request_that_we_did_not_sign() -> None:
    with partner() as world:
        body = opendsr.request(
            str(uuid.uuid4()),
            "erasure",
            ("email", "ada@example.org"),
            audience=world.server.address,
            regulation="gdpr",
            submitted=datetime.now(UTC),
            callback=None,
        )
        good = {opendsr.SIGNATURE: opendsr.signed(world.key.sign(body))}
        url = f"{world.server.address}/requests"
        assert httpx.post(url, content=body + b" ", headers=good, trust_env=False).status_code == 403
        assert httpx.post(url, content=body, trust_env=False).status_code == 403
        assert httpx.get(f"{world.server.address}/status/1", trust_env=False).status_code == 403
        assert world.server.requests == {}
        assert httpx.post(url, content=body, headers=good, trust_env=False).status_code == 201


def test_a_request_signed_for_one_partner_is_refused_by_another() -> None:
    with partner() as world, partner() as other:
        world.store.erase(ADA, act="r1")
        sent = next(call for call in world.server.calls if call.method == "POST")
        other.server.controller = world.server.controller
        headers = {opendsr.SIGNATURE: sent.headers[opendsr.SIGNATURE.lower()]}
        answer = httpx.post(
            f"{other.server.address}/requests", content=sent.body, headers=headers, trust_env=False
        )
        assert answer.status_code == 403
        asked = next(call for call in world.server.calls if call.method == "GET" and "status" in call.path)
        headers = {name: asked.headers[name.lower()] for name in (opendsr.SIGNATURE, opendsr.TIME)}
        again = httpx.get(f"{other.server.address}{asked.path}", headers=headers, trust_env=False)
        assert again.status_code == 403


def test_what_the_partner_does_not_take_is_refused_before_it_is_asked() -> None:
    with partner() as world:
        world.server.types = ("access",)
        with pytest.raises(TerminalError, match="doesn't take `erasure`"):
            world.store.erase(ADA, act="r1")
        with pytest.raises(TerminalError, match="doesn't take `phone`"):
            world.store.find("phone", ["1"])
        with pytest.raises(TerminalError, match="can't be asked"):
            world.store.count("x")
        with pytest.raises(TerminalError, match="can't be asked"):
            world.store.correct(ADA, "x", None, {"a": "b"})
        assert world.server.count("POST") == 0


def test_a_callback_comes_signed_and_names_the_request() -> None:
    ours = Ours()
    with ours, partner(at_once=False, callback=f"{ours.address}/callbacks/parcels") as world:
        ours.store = world.store
        world.person("ada@example.org")
        with pytest.raises(Pending):
            world.store.erase(ADA, act="r1")
        world.server.finish(id_of(world))
        (status,) = ours.statuses
        assert (status.request, status.state) == (id_of(world), "completed")
        assert world.store.erase(ADA, act="r1").deleted == {"people": 1}


def test_a_forged_callback_is_refused_and_changes_nothing() -> None:
    ours = Ours()
    with ours, partner(at_once=False, callback=f"{ours.address}/callbacks/parcels") as world:
        ours.store = world.store
        world.person("ada@example.org")
        with pytest.raises(Pending):
            world.store.erase(ADA, act="r1")
        url = f"{ours.address}/callbacks/parcels"
        said = {"subject_request_id": id_of(world), "request_status": "completed", "status_callback_url": url}
        body = json.dumps(said).encode()
        signature = base64.b64decode(world.server.sign(body))
        altered = bytes([signature[0] ^ 1]) + signature[1:]
        elsewhere = json.dumps({**said, "status_callback_url": "https://elsewhere.example/x"}).encode()
        for content, header in (
            (body, None),
            (body, ""),
            (body, opendsr.signed(altered)),
            (body, opendsr.signed(world.key.sign(body))),
            (body + b" ", opendsr.signed(signature)),
            (b"\xff{" * 100, opendsr.signed(signature)),
            (elsewhere, world.server.sign(elsewhere)),
        ):
            headers = {} if header is None else {opendsr.SIGNATURE: header}
            assert httpx.post(url, content=content, headers=headers, trust_env=False).status_code == 403
        assert ours.statuses == []
        with pytest.raises(Pending):
            world.store.erase(ADA, act="r1")


def test_results_that_the_partner_did_not_sign_are_refused() -> None:
    with partner() as world:
        world.person("ada@example.org")
        world.server.fail(200, "GET /results", body=b'{"table": "people", "row": {}}\n')
        with pytest.raises(Forged, match="results"):
            list(world.store.collect([ADA], {"people": ("email",)}, act="r1"))


def test_results_at_another_host_are_not_fetched() -> None:
    with partner() as world, partner() as other:
        for url in (
            f"{other.server.address}/results/1",
            "https://127.0.0.1/x",
            "file:///etc/hostname",
            "//x/y",
        ):
            body = {
                "subject_request_id": id_of(world, "access"),
                "request_status": "completed",
                "results_url": url,
            }
            content = json.dumps(body).encode()
            world.server.fail(200, "GET /status", headers=world.server.headers(content), body=content)
            with pytest.raises(TerminalError, match="another host"):
                list(world.store.collect([ADA], {"people": ("email",)}, act="r1"))
        assert other.server.calls == []


@pytest.mark.parametrize(
    "line", [b"no json\n", b"[]\n", b'{"table": "people"}\n', b'{"table": "people", "row": 5}\n']
)
def test_results_that_make_no_sense_are_told(line: bytes) -> None:
    with partner() as world:
        world.person("ada@example.org")
        world.server.fail(200, "GET /results", headers=world.server.headers(line), body=line)
        with pytest.raises(TerminalError, match="results can't be read"):
            list(world.store.collect([ADA], {"people": ("email",)}, act="r1"))


def test_a_partner_without_anything_answers_with_nothing() -> None:
    with partner() as world:
        assert list(world.store.collect([ADA], {"people": ("email",)}, act="r1")) == []


class Moved(Loopback):
    """A partner behind a reverse proxy, below /dsr/v2, with a name of its own for one path."""

    def __init__(self, inner: PartnerWorld) -> None:
        super().__init__()
        self.inner = inner
        inner.server.public = f"{self.address}/dsr/v2"

    def handle(self, call: Call) -> Reply:
        path = call.path.removeprefix("/dsr/v2").replace("/opendsr_requests", "/requests")
        return self.inner.server.handle(Call(call.method, path, call.query, call.headers, call.body))


def test_a_partner_below_a_path_and_at_paths_of_its_own_is_reached() -> None:
    with partner() as world, Moved(world) as moved:
        world.person("ada@example.org")
        access = read_access("parcels", f"{moved.address}/dsr/v2/")
        described = Partner(
            {"email": "email"}, world.server.public_key, paths={"requests": "opendsr_requests"}
        )
        store = HTTPStore("parcels", access, described, world.key.sign)
        assert [row["email"] for _, _, row in store.collect([ADA], {"people": ("email",)}, act="r1")]
        assert store.erase(ADA, act="r1").deleted == {"people": 1}
        assert moved.count("POST /dsr/v2/opendsr_requests") == 2
        store.dispose()


def test_results_larger_than_an_answer_may_be_are_read_from_a_file() -> None:
    with partner() as world:
        for n in range(40):
            world.hang(ADA, f"{n:02}" + "x" * 1_000_000)
        found = [
            str(row["street"])[:2] for _, _, row in world.store.collect([ADA], {"parcels": ("street",)}, "r1")
        ]
        assert found == [f"{n:02}" for n in range(40)]
        world.server.fail(200, "GET /status", body=b" " * 34_000_000)
        with pytest.raises(TerminalError, match="longer than"):
            world.store.erase(ADA, act="r1")


def test_a_key_that_is_no_key_is_told() -> None:
    for key in ("", "short", "§" * 43, "A" * 44):
        with pytest.raises(TerminalError, match="public key"):
            opendsr.public_key("parcels", key)
