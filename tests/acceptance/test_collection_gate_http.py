"""The gate of collection over HTTP: the API, applications behind the middleware, links that verify an address."""

from __future__ import annotations

import email
import email.policy
import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Scope

from examples.generators import lucent_marketplace, lumnar
from kept.company import Company, opened
from kept.controls.choices.records.book import New, record
from kept.controls.collection.enforce import Refused
from kept.controls.collection.gate.entrance import COLLECTED, Asking, Entrance, Step
from kept.controls.collection.persons import verified
from kept.controls.registry import load
from kept.controls.rights.people import Person
from kept.server import asgi, wsgi
from tests.acceptance.company import ROOT
from tests.acceptance.serving import inside, link, until

CARD = "4111 1111 1111 1111"  # the test number that every issuer's guide prints
CHATTER = Person("chatter", ("1",))
VISITOR = Person("visitor", ("0f" * 16,))
STEPS: dict[str, str | Step] = {
    "/chats/{chat}/say": Step("chatting", "conversation.chatter", besides=frozenset({"csrf"})),
    "/prefs": Step("settings", strict=True),
    "/count": "counting",
}
MOST = 200_000  # bytes of a body in these tests


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("lumnar") / "lumnar"
    folder.mkdir()
    lumnar.build(folder, 40, 3)
    return folder


@pytest.fixture(params=["refuse", "blot-out"])
def company(made: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Company]:
    """Lumnar, whose policy refuses card numbers or blots them out."""
    folder = Path(shutil.copytree(made, tmp_path / "lumnar"))
    file = folder / "policy.yaml"
    written = file.read_text("utf-8").replace(
        "never: card-number", f"never: card-number, then: {request.param}"
    )
    file.write_text(written, "utf-8")
    with opened(load(file), folder) as found:
        yield found


def blots(company: Company) -> bool:
    return "then: blot-out" in (company.directory / "policy.yaml").read_text("utf-8")


def seen(body: bytes, content_type: str, query: str, collected: Any) -> dict[str, Any]:
    """What an application got, read by other means than Kept's."""
    fields: dict[str, Any] = {}
    if content_type.startswith("multipart/"):
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
        assert not message.defects
        for part in message.iter_parts():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            fields[str(name)] = [part.get_filename(), part.get_content_type(), content.decode("latin-1")]
    elif content_type == "application/json":
        fields = json.loads(body)
    else:
        fields = parse_qs(body.decode(), keep_blank_values=True, strict_parsing=bool(body))
    return {
        "fields": fields,
        "query": query,
        "taken": None
        if collected is None
        else json.loads(json.dumps(collected.taken, default=lambda one: one.name)),
        "dropped": None if collected is None else collected.dropped,
    }


class Reached:
    """How often an application was reached at all."""

    times = 0


@contextmanager
def starlette(company: Company) -> Iterator[tuple[str, Reached]]:
    reached = Reached()

    async def say(asked: Request) -> Response:
        reached.times += 1
        body = await asked.body()
        assert int(asked.headers.get("content-length", "0")) == len(body)
        return JSONResponse(
            seen(body, asked.headers.get("content-type", ""), asked.url.query, asked.scope.get(COLLECTED))
        )

    paths = ("/chats/{chat}/say", "/prefs", "/count", "/elsewhere")
    routes = [Route(path, say, methods=["GET", "POST"]) for path in paths]
    app = Starlette(routes=[*routes, Mount("/shop", routes=routes)])

    def asking(scope: Scope) -> Asking:
        return {"who": CHATTER if "chats" in scope["path"] else VISITOR, "region": "fr"}

    gate = asgi.CollectionGate(app, Entrance(company, STEPS, body=MOST), asking)
    server = uvicorn.Server(uvicorn.Config(gate, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, "the application answers")
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", reached
    finally:
        server.should_exit = True
        thread.join(30)


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def plain_wsgi(company: Company) -> Iterator[tuple[str, Reached]]:
    reached = Reached()

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        reached.times += 1
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or "0"))
        told = seen(
            body, environ.get("CONTENT_TYPE", ""), environ.get("QUERY_STRING", ""), environ.get(COLLECTED)
        )
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(told).encode()]

    def asking(environ: dict[str, Any]) -> Asking:
        return {"who": CHATTER if "chats" in environ["PATH_INFO"] else VISITOR, "region": "fr"}

    gate = wsgi.CollectionGate(app, Entrance(company, STEPS, body=MOST), asking)
    server = make_server("127.0.0.1", 0, gate, handler_class=_Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", reached
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()


@pytest.fixture(params=[starlette, plain_wsgi], ids=["asgi", "wsgi"])
def application(request: pytest.FixtureRequest, company: Company) -> Iterator[tuple[httpx.Client, Reached]]:
    with (
        request.param(company) as (url, reached),
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        yield client, reached


Application = tuple[httpx.Client, Reached]
SAY = "/chats/7/say"


def test_an_application_gets_what_is_declared_and_nothing_else(application: Application) -> None:
    client, _ = application
    sent: dict[str, Any] = {"body": "héllo & more=1", "nickname": "x", "csrf": "token"}
    urlencoded = client.post(SAY, data=sent).json()
    assert urlencoded["fields"] == {"body": ["héllo & more=1"], "csrf": ["token"]}
    multipart = client.post(
        SAY, data=sent, files={"attachment": ('nöte "1".txt', b"a\r\n--b\r\n", "text/plain"), "cv": b"x"}
    ).json()
    assert multipart["fields"]["body"][2].encode("latin-1").decode() == "héllo & more=1"
    assert multipart["fields"]["attachment"][1:] == ["text/plain", "a\r\n--b\r\n"]
    assert set(multipart["fields"]) == {"body", "csrf", "attachment"}
    as_json = client.post(SAY, json=sent | {"deep": {"er": 1}}).json()
    assert as_json["fields"] == {"body": "héllo & more=1", "csrf": "token"}
    for told in (urlencoded, as_json):
        assert told["taken"] == {"app.messages": {"body": "héllo & more=1"}}
        assert "nickname" in told["dropped"]


def test_a_card_number_never_reaches_the_application(application: Application, company: Company) -> None:
    client, reached = application
    bodies: list[dict[str, Any]] = [
        {"data": {"body": f"use {CARD}"}},
        {"json": {"body": {"card": [CARD]}}},
        {"data": {"body": "x"}, "files": {"attachment": ("n.txt", CARD.encode(), "text/plain")}},
        {"data": {"body": "x", "csrf": CARD}},
        {"params": {"body": CARD}},
    ]
    for body in bodies:
        before = reached.times
        answered = client.post(SAY, **body)
        assert "4111" not in answered.text
        if blots(company):
            assert answered.status_code == 200 and "1111" in answered.text
        else:
            assert answered.status_code == 422 and reached.times == before
            told = answered.json()
            assert (told["reason"], told["clause"]) == ("card-number", ["LU-06"])
    answered = client.post(SAY, data={"body": "x", CARD: "y"})
    assert answered.status_code in (200, 422) and "4111" not in answered.text


def test_what_nobody_can_look_into_is_refused_or_named(application: Application, company: Company) -> None:
    client, reached = application
    image = {"attachment": ("me.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "image/png")}
    answered = client.post(SAY, data={"body": "x"}, files=image)
    assert answered.status_code == (200 if blots(company) else 422)
    before = reached.times
    packed = gzip.compress(b"body=x")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for wrong in (
        client.post(SAY, content=packed, headers=form | {"Content-Encoding": "gzip"}),
        client.post(SAY, content=b"body=x", headers={"Content-Type": "text/plain"}),
        client.post(SAY, content=b'{"body": "x", "body": "y"}', headers={"Content-Type": "application/json"}),
        client.post(SAY, content=b'["body"]', headers={"Content-Type": "application/json"}),
        client.post(SAY, content=b"body=%ff", headers=form),
        client.post(SAY, content=b"--b\r\n", headers={"Content-Type": "multipart/form-data; boundary=b"}),
        client.post(SAY, data={"body": "x"}, params={"body": "y"}),
        client.post(SAY, data={"csrf": "x"}),
    ):
        assert wrong.status_code == 422, wrong.text
        assert wrong.json()["reason"] in ("no-form", "twice", "missing")
    assert client.post(SAY, content=b"body=" + b"x" * MOST, headers=form).status_code == 413
    assert reached.times == before


def test_a_choice_is_asked_for_and_a_signal_counts(application: Application, company: Company) -> None:
    client, reached = application
    answered = client.post("/count", data={"page": "/"})
    assert answered.status_code == 422 and answered.json()["reason"] == "choice"
    record(company, [New(VISITOR, "statistics", "yes", "signal", region="fr")])
    assert client.post("/count", data={"page": "/"}).json()["taken"] == {"app.page_views": {"page": "/"}}
    answered = client.post("/count", data={"page": "/"}, headers={"Sec-GPC": "1"})
    assert answered.status_code == 422 and "Global Privacy Control" in answered.json()["error"]
    record(company, [New(VISITOR, "preferences", "yes", "banner", region="fr")])
    before = reached.times
    assert client.post("/prefs", data={"prefs": "dark", "more": "1"}).json()["reason"] == "undeclared"
    assert reached.times == before
    assert client.post("/prefs", data={"prefs": "dark"}).json()["taken"] == {"site.cookie": {"prefs": "dark"}}


def test_other_spellings_of_a_path_are_the_same_path_and_others_pass(application: Application) -> None:
    client, _ = application
    for path in ("/chats/7/say/", "/chats//7/say", "/CHATS/7/say", "/chats/7/%73ay"):
        answered = client.post(path, data={"nickname": "x"})
        assert answered.status_code == 422, path
    untouched = client.post("/elsewhere", data={"nickname": "x"}, params={"a": "1"})
    assert untouched.json() == {"fields": {"nickname": ["x"]}, "query": "a=1", "taken": None, "dropped": None}
    assert client.get(SAY, params={"a": "1"}).json()["query"] == "a=1"


def test_a_mounted_application_is_judged_under_its_own_paths(company: Company) -> None:
    with starlette(company) as (url, _), httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        passed = client.post("/shop/chats/7/say", data={"nickname": "x"})
        assert passed.status_code == 200  # the gate stands outside: its paths are those it is given


def test_a_body_that_comes_in_pieces_is_bounded(company: Company) -> None:
    with (
        starlette(company) as (url, reached),
        httpx.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):

        def pieces(number: int) -> Iterator[bytes]:
            yield b"body="
            for _ in range(number):
                yield b"x" * 10_000

        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert client.post(SAY, content=pieces(3), headers=form).json()["fields"] == {"body": ["x" * 30_000]}
        assert client.post(SAY, content=pieces(30), headers=form).status_code == 413
        assert reached.times == 1
    with (
        plain_wsgi(company) as (url, reached),
        httpx.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        assert client.post(SAY, content=pieces(1), headers=form).status_code == 422
        assert reached.times == 0


def test_an_entrance_of_a_step_nobody_declared_can_not_be_made(company: Company) -> None:
    with pytest.raises(Refused, match="no such step"):
        Entrance(company, {"/x": "chating"})
    with pytest.raises(Refused, match="takes nothing from"):
        Entrance(company, {"/x": Step("chatting", "customer")})


def test_the_middleware_needs_no_fastapi() -> None:
    program = "import sys, kept.server.asgi, kept.server.wsgi; sys.exit('fastapi' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0


# The API.


@pytest.fixture(scope="module")
def marketplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("market") / "lucent-marketplace"
    folder.mkdir()
    lucent_marketplace.build(folder, 40, 3)
    return folder


def test_the_api_judges_a_form_and_verifies_an_address(marketplace: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(marketplace, tmp_path / "market"))
    address = "new@people.example"
    form = {"members.email": address, "own-name": "N", "shop-name": "S", "billing.phone": "1", "shoe": "44"}
    with inside(folder) as served, served.client() as stranger, served.client(api=True) as client:
        assert stranger.post("/api/collect/registering", json={"form": form}).status_code == 401
        assert stranger.post("/api/verified/email", json={"address": address}).status_code == 401

        def collect(**more: Any) -> httpx.Response:
            return client.post("/api/collect/registering", json={"form": form, **more})

        assert client.post("/api/collect/nothing", json={"form": {}}).status_code == 404
        assert collect(sauce="x").status_code == 422
        assert collect().json()["reason"] == "age-unknown"
        assert collect(born="2019-01-01", region="fr").json()["clause"] == ["LM-02"]
        assert collect(born="1980-01-01", source="partners").json()["reason"] == "unknown-source"
        refused = collect(born="1980-01-01", region="fr")
        assert refused.status_code == 422 and refused.json()["reason"] == "verified-email"
        assert address not in refused.text and refused.headers["cache-control"] == "no-store"

        claim = client.post("/api/verified/email", json={"address": address}).json()["claim"]
        served.work()
        page = link(served.box.to(address, "is yours"), "email")
        assert "Yes, it is mine" in stranger.get(page).text  # opening it changes nothing
        evidence = {"verified-email": claim, "verified-identity": claim}
        assert collect(born="1980-01-01", evidence=evidence).json()["reason"] == "verified-email"
        assert stranger.post(page).status_code == 200
        assert stranger.post(page).status_code == 409 and stranger.get(page).status_code == 409
        assert stranger.post(page[:-4] + "AAAA").status_code == 404
        assert collect(born="1980-01-01", evidence=evidence).json()["reason"] == "verified-identity"
        verified.note(served.company, claim, verified.IDENTITY, "a test")
        taken = collect(born="1980-01-01", evidence=evidence, region="fr")
        assert taken.status_code == 200, taken.text
        told = taken.json()
        assert told["taken"]["shop.members"] == {"email": address, "name": "N"}
        assert told["dropped"] == {"shoe": "no data of this step"} and told["age"] == "own"
        assert collect(born="1980-01-01", evidence=evidence, strict=True).json()["reason"] == "undeclared"
        for _ in range(2):
            assert client.post("/api/verified/email", json={"address": address}).status_code == 202
        assert client.post("/api/verified/email", json={"address": address}).status_code == 429


def test_the_command_says_what_would_be_taken_and_never_what_was_filled_in(
    made: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "lumnar"))

    def run(form: object, *options: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
            "KEPT_DIR": str(folder),
        }
        return subprocess.run(
            [sys.executable, "-m", "kept", "collect", "sign-up", *options],
            input=json.dumps(form),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    form = {"name": "Ada Somebody", "email": "ada@people.example", "shoe": "44"}
    done = run(form)
    assert done.returncode == 0, done.stderr
    assert "app.customers: name, email" in done.stdout and "dropped: shoe" in done.stdout
    assert "Ada" not in done.stdout
    done = run(form, "--strict", "--format", "json")
    assert done.returncode == 1 and json.loads(done.stdout)["reason"] == "undeclared"
    assert run(["no form"]).returncode == 2
