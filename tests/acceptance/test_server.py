"""Links, pages, the API and the process, over real HTTP: used twice, late, forged, hostile, killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest

from kept.controls.rights import letters, register
from kept.evidence.links import Links
from tests.acceptance.company import SiteLucent
from tests.acceptance.serving import TOKEN, Inside, inside, link, served, until


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Inside]:
    made = SiteLucent.made(tmp_path / "company")
    with inside(made.folder) as shop:
        yield shop


def address(shop: Inside, number: int) -> str:
    [(email,)] = SiteLucent(shop.folder).ask("SELECT email FROM users WHERE id = ?", number)
    return str(email)


def asked(shop: Inside, verb: str = "access", number: int = 2) -> tuple[register.Request, str]:
    """Somebody asked through the form: the request, and the link in the letter."""
    assert shop.ask(verb, address(shop, number)).status_code == 303
    shop.work()
    [request] = register.listing(shop.company)
    return request, link(shop.box.letters[-1], "verify")


def form_of(page: str) -> str:
    found = re.search(r'name="form" value="([^"]+)"', page)
    assert found is not None
    return found[1]


# ── The link in the letter ──


def test_opening_a_link_changes_nothing_however_often_a_scanner_does(shop: Inside) -> None:
    request, verify = asked(shop)
    with shop.client() as client:
        for _ in range(3):
            assert client.get(verify).status_code == 200
            assert client.head(verify).status_code == 200
    assert register.get(shop.company, request.id).awaits == "identity"


def test_a_link_counts_once_and_the_second_time_says_so_with_a_way_on(shop: Inside) -> None:
    request, verify = asked(shop)
    with shop.client() as client:
        first = client.post(verify)
        assert first.status_code == 303
        second = client.post(verify)
        assert second.status_code == 409 and "used before" in second.text
        assert client.get(first.headers["location"]).status_code == 200
        assert client.post(f"{verify}/again").status_code == 200
    history = [event.what for event in register.history(shop.company, request.id)]
    assert history.count("identified") == 1
    shop.work()
    shop.box.to(address(shop, 2), "for the same once more")


def test_a_link_used_by_many_at_once_counts_once(shop: Inside) -> None:
    request, verify = asked(shop)
    with ThreadPoolExecutor(12) as pool:
        told = list(
            pool.map(lambda _: httpx.post(verify, timeout=30, trust_env=False).status_code, range(12))
        )
    assert sorted(set(told)) == [303, 409] and told.count(303) == 1
    assert [e.what for e in register.history(shop.company, request.id)].count("identified") == 1


def test_a_link_that_is_late_is_told_so_and_a_new_one_comes_to_the_address_on_record(shop: Inside) -> None:
    _, verify = asked(shop)
    shop.clock.on(days=8)
    with shop.client() as client:
        assert client.get(verify).status_code == 410
        late = client.post(verify)
        assert late.status_code == 410 and "too old" in late.text
        assert client.post(f"{verify}/again").status_code == 200
        shop.work()
        newer = link(shop.box.to(address(shop, 2), "was you"), "verify")
        assert newer != verify and client.post(newer).status_code == 303


def test_a_link_that_is_forged_is_told_so_and_changes_nothing(shop: Inside) -> None:
    request, verify = asked(shop)
    token = verify.rpartition("/")[2]
    other = Links(shop.company.keys, shop.clock)
    forged = [
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        "nonsense",
        "ä" * 20,
        "%00",
        other.make("page", request.id, shop.clock() + timedelta(days=1)),  # for another purpose
        other.make("verify", request.id, shop.clock() + timedelta(days=1)),  # ours, and never sent
        other.make("verify", "0" * 32, shop.clock() + timedelta(days=1)),
    ]
    with shop.client() as client:
        for one in forged:
            for answer in (client.get(f"/verify/{one}"), client.post(f"/verify/{one}")):
                assert answer.status_code == 404, one
        assert client.get(f"/request/{token}").status_code == 404
    assert register.get(shop.company, request.id).awaits == "identity"


def test_a_request_nobody_claims_lapses_and_its_link_says_so(shop: Inside) -> None:
    request, verify = asked(shop)
    shop.clock.on(days=31)
    shop.work()
    assert register.get(shop.company, request.id).state == "lapsed"
    with shop.client() as client:
        assert client.post(verify).status_code == 410
        closed = client.post(f"{verify}/again")
        assert closed.status_code == 410 and "closed" in closed.text


# ── The page of a request ──


def test_an_answer_is_downloaded_until_it_expires_and_then_it_is_gone(shop: Inside) -> None:
    request, verify = asked(shop)
    with shop.client() as client:
        page = client.post(verify).headers["location"]
        assert client.get(f"{page}/answer").status_code == 410
        shop.work()
        answer = client.get(f"{page}/answer")
        assert answer.status_code == 200 and answer.content[:2] == b"PK"
        assert answer.headers["content-disposition"] == 'attachment; filename="your-data.zip"'
        assert answer.headers["cache-control"] == "no-store"
        shop.clock.on(days=letters.ANSWER_DAYS, minutes=1)
        assert client.get(f"{page}/answer").status_code == 410
        shop.worker._worked = float("-inf")  # the round in which everything is looked through
        shop.work()
        assert not list((shop.folder / "answers").glob("*.zip"))
        assert "The answer was removed" in client.get(page).text
    assert [e.what for e in register.history(shop.company, request.id)][-1] == "expired"


def test_the_page_of_an_erased_person_shows_the_outcome_and_nothing_of_them(shop: Inside) -> None:
    email = address(shop, 2)
    request, verify = asked(shop, "erase")
    with shop.client() as client, shop.client(api=True) as api:
        page = client.post(verify).headers["location"]
        assert "makes sure with you" in client.get(page).text
        assert api.post(f"/api/requests/{request.id}/confirm", json={"by": "Ada"}).status_code == 200
        shop.work()
        shown = client.get(page)
        assert "Your data is erased" in shown.text and email not in shown.text
    shop.box.to(email, "is erased")
    assert SiteLucent(shop.folder).files_with(email) == []


def test_a_request_is_called_off_with_the_token_of_its_page_only(shop: Inside) -> None:
    request, verify = asked(shop, "erase")
    with shop.client() as client:
        page = client.post(verify).headers["location"]
        for form in ("", "x", shop.company.links.make("form", "ask", shop.clock() + timedelta(hours=1))):
            assert client.post(f"{page}/call-off", data={"form": form}).status_code == 403
        assert client.post(f"{page}/call-off", content=b"form=x").status_code == 400
        assert register.get(shop.company, request.id).is_open
        right = form_of(client.get(page).text)
        assert client.post(f"{page}/call-off", data={"form": right}).status_code == 303
        assert "You called it off" in client.get(page).text
        late = client.post(f"{page}/call-off", data={"form": right})
        assert late.status_code == 409 and "too late" in late.text
    assert register.get(shop.company, request.id).state == "withdrawn"


def test_no_page_is_cached_framed_or_runs_anything(shop: Inside) -> None:
    _, verify = asked(shop)
    with shop.client() as client:
        page = client.post(verify).headers["location"]
        for path in ("/ask", "/ask/sent", verify, page, "/nothing", "/verify/x", "/request/x"):
            told = client.get(path).headers
            assert told["cache-control"] == "no-store" and told["referrer-policy"] == "no-referrer"
            rules = told["content-security-policy"]
            assert "default-src 'none'" in rules and "form-action 'self'" in rules
            assert "frame-ancestors 'none'" in rules and "unsafe" not in rules
            assert "set-cookie" not in told


# ── The API ──


def test_the_api_wants_its_token_and_is_closed_where_none_is_set(tmp_path: Path, shop: Inside) -> None:
    new = {"verb": "access", "who": "user:2", "proven": True}
    with shop.client() as client:
        for credentials in ("", f"Bearer {TOKEN}x", "Bearer é", f"Basic {TOKEN}"):
            header = {b"Authorization": credentials.encode("latin-1")}
            answer = client.post("/api/requests", json=new, headers=header)
            assert answer.status_code == 401 and answer.json()["help"]
    other = SiteLucent.made(tmp_path / "other")
    with inside(other.folder, KEPT_API_TOKEN="") as closed, closed.client(api=True) as client:
        answer = client.post("/api/requests", json=new)
        assert answer.status_code == 403 and "KEPT_API_TOKEN" in answer.json()["help"]
    assert register.listing(shop.company) == []


def test_the_button_in_the_companys_own_application_begins_at_once_and_asking_again_joins(
    shop: Inside,
) -> None:
    new = {"verb": "access", "who": "user:2", "proven": True}
    with shop.client(api=True) as api:
        first, again = api.post("/api/requests", json=new), api.post("/api/requests", json=new)
        assert (first.status_code, again.status_code) == (201, 200)
        told = first.json()
        assert told["awaits"] == "work" and told["channel"] == "account" and again.json()["id"] == told["id"]
        shop.work()
        assert api.get(f"/api/requests/{told['id']}").json()["state"] == "done"
        assert api.get(told["page"]).status_code == 200


def test_a_button_pressed_many_times_at_once_is_one_request(shop: Inside) -> None:
    new = {"verb": "access", "who": "user:2", "proven": True}
    with shop.client(api=True) as api, ThreadPoolExecutor(10) as pool:
        told = list(pool.map(lambda _: api.post("/api/requests", json=new), range(10)))
    assert sorted(answer.status_code for answer in told) == [200] * 9 + [201]
    assert len({answer.json()["id"] for answer in told}) == 1
    assert len(register.listing(shop.company)) == 1


def test_whoever_is_not_proven_gets_a_letter_and_the_application_can_prove_them_later(shop: Inside) -> None:
    new: dict[str, object] = {"verb": "access", "who": address(shop, 2)}
    with shop.client(api=True) as api:
        told = api.post("/api/requests", json=new).json()
        assert told["awaits"] == "identity" and "page" not in told
        shop.work()
        verify = link(shop.box.to(address(shop, 2), "was you"), "verify")
        assert api.post("/api/requests", json=new | {"proven": True}).json()["awaits"] == "work"
        assert api.post(verify).status_code == 409  # the letter's link has nothing to do any more


def test_staff_decide_through_the_api_and_what_does_not_fit_is_said(shop: Inside) -> None:
    with shop.client(api=True) as api:
        id = api.post("/api/requests", json={"verb": "erase", "who": "user:2", "proven": True}).json()["id"]

        def act(name: str, **given: object) -> tuple[int, dict[str, object]]:
            answer = api.post(f"/api/requests/{id}/{name}", json={"by": "Ada"} | given)
            return answer.status_code, answer.json()

        assert act("approve")[0] == 409
        assert act("extend")[0] == 422
        assert act("extend", words="it is complex")[0] == 400  # the policy promises to do it at once
        assert act("refuse", reason="because")[0] == 400
        status, told = act("refuse", reason="legal-duty")
        assert status == 200 and told["state"] == "refused"
        assert act("confirm")[0] == 409
        assert api.post(f"/api/requests/{'0' * 32}/confirm", json={"by": "Ada"}).status_code == 404


HOSTILE: list[tuple[object, int]] = [
    (None, 422),
    ([], 422),
    ("erase", 422),
    ({}, 422),
    ({"verb": "erase", "who": 7}, 422),
    ({"verb": ["erase"], "who": "user:2"}, 422),
    ({"verb": "destroy", "who": "user:2"}, 422),
    ({"verb": "erase", "who": ""}, 422),
    ({"verb": "erase", "who": "user:2", "proven": "yes"}, 422),
    ({"verb": "erase", "who": "user:2", "extra": "secret-value"}, 422),
    ({"verb": "erase", "who": "user:2\x00"}, 422),
    ({"verb": "erase", "who": "user:2'; DROP TABLE users; --", "proven": True}, 404),
    ({"verb": "erase", "who": "unicorn:2", "proven": True}, 404),
    ({"verb": "erase", "who": "a" * 401, "proven": True}, 422),
    ({"verb": "correct", "who": "user:2", "proven": True, "changes": {"nonsense": "x"}}, 422),
    ({"verb": "correct", "who": "user:2", "proven": True, "changes": {"app.nothing.here": "x"}}, 201),
    ({"verb": "object", "who": "user:2", "proven": True, "scope": ["nothing"]}, 400),
]


@pytest.mark.parametrize(("body", "status"), HOSTILE)
def test_hostile_bodies_are_refused_without_saying_what_stood_in_them(
    shop: Inside, body: object, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with shop.client(api=True) as api:
        answer = api.post("/api/requests", json=body)
    assert answer.status_code == status, answer.text
    assert "secret-value" not in answer.text
    assert status == 201 or answer.json()["error"]
    assert "internal error" not in caplog.text


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b'{"verb": "erase", "who": "\\ud800"}',
        b"\xff\xfe",
        b'{"verb": NaN}',
        b"",
        b"{" * 10,
    ],
)
def test_bytes_that_are_no_json_are_refused_and_never_a_fault(
    shop: Inside, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with shop.client(api=True) as api:
        answer = api.post("/api/requests", content=raw, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422) and answer.json()["error"]
    assert "internal error" not in caplog.text


@pytest.mark.parametrize("path", ["/api/requests", "/ask", "/request/x/call-off"])
def test_a_huge_body_is_refused_whether_or_not_it_tells_its_length(shop: Inside, path: str) -> None:
    def endless() -> Iterator[bytes]:
        yield from (b"x" * 65536 for _ in range(64))

    with shop.client(api=True) as api:
        assert api.post(path, content=b"x" * 300_000).status_code == 413
        with suppress(httpx.WriteError):  # where the server answered and hung up before all of it was sent
            assert api.post(path, content=endless()).status_code == 413


def test_what_the_api_can_do_is_described_without_a_token(shop: Inside) -> None:
    with shop.client() as client:
        told = client.get("/api/openapi.json").json()
    assert {"/api/requests", "/api/requests/{id}", "/api/requests/{id}/refuse"} <= set(told["paths"])
    assert not [path for path in told["paths"] if not path.startswith("/api/")]


# ── The process ──


def test_an_answer_of_two_gigabytes_is_handed_over_without_being_read_into_memory(tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "company")
    with served(made.folder) as site, site.client(api=True) as api:
        new = {"verb": "access", "who": "user:2", "proven": True}
        told = api.post("/api/requests", json=new).json()
        until(lambda: api.get(f"/api/requests/{told['id']}").json()["state"] == "done", "it is done")
        with (made.folder / "answers" / f"{told['id']}.zip").open("r+b") as answer:
            answer.truncate(2 << 30)  # with a hole in it, which takes no room
        before, most, length = psutil.Process(site.process.pid).memory_info().rss, 0, 0
        with api.stream("GET", f"{told['page']}/answer") as streamed:
            for number, piece in enumerate(streamed.iter_raw(1 << 20)):
                length += len(piece)
                if number % 100 == 0:
                    most = max(most, psutil.Process(site.process.pid).memory_info().rss)
    assert length == 2 << 30
    assert most - before < 64 << 20


def test_the_server_ends_in_order_and_goes_on_at_the_next_start(tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "company")
    with served(made.folder, "--no-work") as site, site.client(api=True) as api:
        id = api.post("/api/requests", json={"verb": "access", "who": "user:2", "proven": True}).json()["id"]
    with served(made.folder) as site, site.client(api=True) as api:
        until(lambda: api.get(f"/api/requests/{id}").json()["state"] == "done", "the request is done")


def test_a_killed_server_loses_nothing_that_was_sent_to_it(tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "company")
    [(email,)] = made.ask("SELECT email FROM users WHERE id = 2")
    with served(made.folder, "--no-work", ends=-signal.SIGKILL) as site, site.client() as client:
        form = form_of(client.get("/ask").text)
        sent = client.post("/ask", data={"verb": "access", "address": email, "form": form})
        assert sent.status_code == 303
        os.kill(site.process.pid, signal.SIGKILL)
    with served(made.folder) as site:
        site.box.to(email, "was you")


def test_commands_work_beside_the_server(tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "company")
    with served(made.folder):
        ran = made.kept("request", "access", "user:2", "--format", "json")
        assert ran.code == 0 and json.loads(ran.out)["answers"], ran.err


def test_an_error_of_one_duty_is_logged_without_data_and_the_others_go_on(
    shop: Inside, caplog: pytest.LogCaptureFixture
) -> None:
    email = address(shop, 2)

    def fails() -> None:
        raise RuntimeError(email)

    shop.worker.duties[0].do, looking = fails, shop.worker.duties[0].do
    shop.ask("access", email)
    shop.work()
    assert "internal error: RuntimeError in fails" in caplog.text and email not in caplog.text
    shop.worker.duties[0].do = looking
    shop.work()
    assert shop.box.to(email, "was you")


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "company")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = made.kept("serve", "--port", str(taken.getsockname()[1]))
    assert ran.code == 2 and "can't be used" in ran.err


def test_a_policy_that_changes_while_it_is_served_is_what_the_form_says_then(tmp_path: Path) -> None:
    made = SiteLucent.made(tmp_path / "company")
    policy = made.folder / "policy.yaml"
    with served(made.folder, "--no-work") as site, site.client() as client:
        assert "as quick as lightning" not in client.get("/ask").text
        told = policy.read_text().replace("  access: {", "  access: {says: as quick as lightning, ", 1)
        policy.write_text("kept: [")
        time.sleep(0.01)
        assert client.get("/ask").status_code == 200  # what can't be read isn't served
        policy.write_text(told)
        assert "as quick as lightning" in client.get("/ask").text
