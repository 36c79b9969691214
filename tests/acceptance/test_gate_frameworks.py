"""The gate before the views of real applications: FastAPI, Django sync and async, Flask, asked over HTTP."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django  # type: ignore[import-untyped]  # Django carries no types
import flask
import httpx
import pytest
import uvicorn
from django.conf import settings  # type: ignore[import-untyped]  # nor here, and so on
from django.core.exceptions import PermissionDenied  # type: ignore[import-untyped]  # as above
from django.core.handlers.asgi import ASGIHandler  # type: ignore[import-untyped]  # as above
from django.core.handlers.wsgi import WSGIHandler  # type: ignore[import-untyped]  # as above
from django.http import JsonResponse  # type: ignore[import-untyped]  # as above
from django.test import override_settings  # type: ignore[import-untyped]  # as above
from django.urls import path  # type: ignore[import-untyped]  # as above
from fastapi import Depends, FastAPI, Header, HTTPException, Request, WebSocket

import kept
from kept.application import Application
from kept.controls.choices.deciding import Decision
from kept.controls.purposes.enforce import Gate as UsesGate
from kept.controls.rights.people import Person
from kept.server.asking import opening
from kept.server.asking.declared import Declared
from kept.server.asking.django import uses as django_uses
from kept.server.asking.fastapi import Uses
from kept.server.asking.flask import uses as flask_uses
from tests.acceptance.company import ROOT, SiteLucent
from tests.acceptance.serving import until

ERROR = 901  # a row of errors: user 3, engineer 4


class Broken(Exception):
    """What an application's own code raises."""


@dataclass
class Asked:
    """An application that is served, and what reached its views."""

    client: httpx.Client
    seen: list[Decision] = field(default_factory=list)

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """The status, and the JSON of the answer; FastAPI puts a refusal under `detail`."""
        answered = self.client.get(path, headers=headers)
        if answered.status_code == 500:
            return 500, None
        told = answered.json()
        return answered.status_code, told.get("detail", told)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteLucent]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("APP_DATABASE_URL", raising=False)
        made = SiteLucent.made(tmp_path_factory.mktemp("frameworks") / "sitelucent", 30)
        made.do("UPDATE users SET deactivated_at = NULL")
        made.do("UPDATE users SET deactivated_at = '2026-01-01' WHERE id = 9")
        made.do("INSERT INTO errors VALUES (?, 3, 4, '2026-01-01', NULL)", ERROR)
        yield made
        opening.close()


@pytest.fixture(scope="module")
def privacy(company: SiteLucent) -> Iterator[Application]:
    with kept.opened(company.folder) as found:
        yield found


# The same application four times. Its views say what they were given.


def told(seen: list[Decision], decision: Decision) -> dict[str, Any]:
    seen.append(decision)
    return {"fields": sorted(decision.fields), "floor": decision.floor}


def fails(*_: object, **__: object) -> str:
    raise Broken


def staff(x_staff: Annotated[str | None, Header()] = None) -> str | None:
    return x_staff


async def counted(n: int) -> int:
    return n


def of_fastapi() -> dict[str, Uses]:
    def stranger() -> str:
        raise HTTPException(401)

    return {
        "/users/{id}/alerts": Uses("alerts", "account", person=lambda id: f"user:{id}", channel="email"),
        "/users/{id}/quiet": Uses("alerts", "account", person=lambda id: f"user:{id}", quiet=True),
        "/users/{id}/undeclared": Uses("alerts", "usage", person=lambda id: f"user:{id}"),
        "/errors/{case}/users/{id}": Uses(
            "analyse-error",
            "usage",
            person=lambda id: f"user:{id}",
            by=staff,
            case=lambda case: f"error:{case}",
        ),
        "/groups/{n}": Uses("improve-app", "usage", group=counted),
        "/none": Uses("alerts", "account", person=lambda: None),
        "/empty": Uses("alerts", "account", person=lambda: ""),
        "/strange": Uses("alerts", "account", person=lambda: 17),
        "/fails": Uses("alerts", "account", person=fails_plainly),
        "/unnamed": Uses("alerts", "account"),
        "/unknown": Uses("alerts", "account", person=lambda: "nobody@people.example"),
        "/stranger": Uses("alerts", "account", person=stranger),
    }


def fails_plainly() -> str:
    raise Broken


def fastapi_app(privacy: object, seen: list[Decision]) -> FastAPI:
    app = FastAPI()
    app.state.kept = privacy

    def offer(where: str, use: Uses) -> None:
        @app.get(where)
        def view(request: Request, decision: Decision = Depends(use)) -> dict[str, Any]:
            assert request.state.kept is decision
            return told(seen, decision)

    for where, use in of_fastapi().items():
        offer(where, use)
    return app


def decorated(uses: Any, refuse: Callable[[], str], ask: Callable[[Any], Any], staff: Any) -> dict[str, Any]:
    """The same for the two that have decorators; `ask` makes of a reader what the framework calls, `staff` reads who
    asks."""
    whom = ask(lambda id: f"user:{id}")
    return {
        "users/<int:id>/alerts": uses("alerts", "account", person=whom, channel="email"),
        "users/<int:id>/quiet": uses("alerts", "account", person=whom, quiet=True),
        "users/<int:id>/undeclared": uses("alerts", "usage", person=whom),
        "errors/<int:case>/users/<int:id>": uses(
            "analyse-error",
            "usage",
            person=ask(lambda case, id: f"user:{id}"),
            by=staff,
            case=ask(lambda case, id: f"error:{case}"),
        ),
        "groups/<int:n>": uses("improve-app", "usage", group=ask(lambda n: n)),
        "none": uses("alerts", "account", person=ask(lambda: None)),
        "empty": uses("alerts", "account", person=ask(lambda: "")),
        "strange": uses("alerts", "account", person=ask(lambda: 17)),
        "fails": uses("alerts", "account", person=fails),
        "unnamed": uses("alerts", "account"),
        "unknown": uses("alerts", "account", person=ask(lambda: "nobody@people.example")),
        "stranger": uses("alerts", "account", person=ask(refuse)),
    }


def flask_app(privacy: object, seen: list[Decision]) -> flask.Flask:
    app = flask.Flask("asking")
    app.config["KEPT"] = privacy

    def view(**_: object) -> dict[str, Any]:
        return told(seen, flask.g.kept)

    def stranger() -> str:
        flask.abort(401)

    def staff(**_: object) -> str | None:
        return flask.request.headers.get("X-Staff")

    for where, use in decorated(flask_uses, stranger, lambda read: read, staff).items():
        app.add_url_rule(f"/{where}", where, use(view))
    return app


class Sites:
    """What Django calls a URLconf: one of sync views, one of async ones."""

    def __init__(self, seen: list[Decision], *, is_async: bool) -> None:
        def view(request: Any, **_: object) -> Any:
            return JsonResponse(told(seen, request.kept))

        async def view_beside(request: Any, **_: object) -> Any:
            return JsonResponse(told(seen, request.kept))

        def plain(read: Callable[..., Any]) -> Callable[..., Any]:
            return lambda request, **named: read(**named)

        def beside(read: Callable[..., Any]) -> Callable[..., Any]:
            async def reads(request: Any, **named: Any) -> Any:
                return read(**named)

            return reads

        def stranger() -> str:
            raise PermissionDenied

        def staff(request: Any, **_: object) -> str | None:
            return request.headers.get("X-Staff")  # type: ignore[no-any-return]  # Django carries no types

        ask = beside if is_async else plain
        self.urlpatterns = [
            path(where, use(view_beside if is_async else view))
            for where, use in decorated(django_uses, stranger, ask, staff).items()
        ]


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def wsgi(app: Any) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, handler_class=_Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()


@contextmanager
def asgi(app: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, "the application answers")
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


@contextmanager
def application(sort: str, privacy: object) -> Iterator[Asked]:
    """The application, by framework, with what it says of Kept."""
    seen: list[Decision] = []
    with ExitStack() as stack:
        if sort == "fastapi":
            url = stack.enter_context(asgi(fastapi_app(privacy, seen)))
        elif sort == "flask":
            url = stack.enter_context(wsgi(flask_app(privacy, seen)))
        else:
            if not settings.configured:
                settings.configure(ALLOWED_HOSTS=["127.0.0.1"], SECRET_KEY="for tests", LOGGING_CONFIG=None)
                django.setup()
            is_async = sort == "django-async"
            sites = Sites(seen, is_async=is_async)
            stack.enter_context(override_settings(KEPT=privacy, ROOT_URLCONF=sites))
            url = stack.enter_context(asgi(ASGIHandler()) if is_async else wsgi(WSGIHandler()))
        client = stack.enter_context(httpx.Client(base_url=url, timeout=30, trust_env=False))
        yield Asked(client, seen)


SORTS = ("fastapi", "django", "django-async", "flask")


@pytest.fixture(scope="module", params=SORTS)
def app(request: pytest.FixtureRequest, privacy: Application) -> Iterator[Asked]:
    with application(request.param, privacy) as found:
        yield found


@pytest.fixture
def asked(app: Asked) -> Asked:
    app.seen.clear()
    return app


def test_a_view_runs_with_the_decision_that_lets_it(asked: Asked) -> None:
    status, told = asked.get("/users/3/alerts")
    assert status == 200 and "app.users.email" in told["fields"]
    assert [one.allowed for one in asked.seen] == [True]


def test_a_refusal_is_403_with_its_sentence_and_clauses_and_no_view_runs(asked: Asked) -> None:
    for place, rule in (("/users/9/alerts", "left"), ("/users/777/alerts", "nobody")):
        status, told = asked.get(place)
        assert status == 403 and told["rule"] == rule and told["clause"] == ["SL-13"] and not told["unsure"]
    status, told = asked.get("/users/3/undeclared")
    assert status == 403 and told["rule"] == "data" and told["error"] == "`alerts` does not use `usage`"
    assert asked.client.get("/users/9/alerts").headers["cache-control"] == "no-store"
    assert not asked.seen


def test_a_quiet_refusal_tells_nothing_of_somebody_else(asked: Asked) -> None:
    assert asked.get("/users/3/quiet")[0] == 200
    answers = [asked.get(f"/users/{n}/quiet") for n in (9, 777)]
    assert answers == [(403, {"error": "this isn't allowed", "unsure": False})] * 2


def test_who_asks_and_in_which_case_is_read_from_the_request(asked: Asked) -> None:
    def look(case: int, person: int, **headers: str) -> int:
        return asked.get(f"/errors/{case}/users/{person}", **headers)[0]

    assert look(ERROR, 3, **{"X-Staff": "engineer:4"}) == 200
    assert look(ERROR, 3, **{"X-Staff": "engineer:5"}) == 403
    assert look(ERROR, 4, **{"X-Staff": "engineer:4"}) == 403
    assert look(1, 3, **{"X-Staff": "engineer:4"}) == 403
    assert look(ERROR, 3) == 403  # nobody says who asks
    assert look(ERROR, 3, **{"X-Staff": ""}) == 403
    assert len(asked.seen) == 1


def test_a_group_is_large_enough_or_isnt_shown(asked: Asked) -> None:
    assert asked.get("/groups/10") == (200, asked.get("/groups/99")[1])
    assert asked.get("/groups/9")[1]["rule"] == "groups"
    assert asked.get("/groups/0")[0] == 403


def test_whoever_isnt_named_is_nobody_and_no_view_runs(asked: Asked) -> None:
    for place in ("/none", "/empty", "/unnamed", "/unknown"):
        status, told = asked.get(place)
        assert status == 403 and told["rule"] == "nobody", place
    assert not asked.seen


def test_what_fails_while_a_request_is_read_lets_nobody_through(asked: Asked) -> None:
    for place, statuses in (("/fails", (500,)), ("/strange", (500,)), ("/stranger", (401, 403))):
        with httpx.Client(
            base_url=asked.client.base_url, timeout=30, trust_env=False
        ) as alone:  # a server may hang up
            assert alone.get(place).status_code in statuses, place  # the application's own answer
    assert not asked.seen


def test_a_signal_of_the_browser_counts(asked: Asked, privacy: Application) -> None:
    """No choice of SiteLucent's users listens to it, so it changes nothing here; what is asked has it all the same."""
    asked.get("/users/4/alerts", **{"Sec-GPC": "1"})
    known = UsesGate.of(privacy.company).choices.known[Person("user", ("4",))]
    assert frozenset({"gpc"}) in known.standing


@pytest.mark.parametrize("sort", SORTS)
def test_a_folder_is_opened_at_the_first_question_and_a_missing_setting_lets_nobody_through(
    company: SiteLucent, sort: str
) -> None:
    with application(sort, company.folder) as found:
        assert found.get("/users/3/alerts")[0] == 200 and found.get("/users/9/alerts")[0] == 403
    for setting in (None, "", str(company.folder / "nowhere"), 17):
        with application(sort, setting) as found:
            assert found.client.get("/users/3/alerts").status_code == 500 and not found.seen


@pytest.mark.parametrize("sort", SORTS)
def test_nobody_can_tell_is_503_and_may_be_asked_again(
    company: SiteLucent, tmp_path: Path, sort: str
) -> None:
    lost = company.copied(tmp_path / "lost")
    with kept.opened(lost.folder) as found, application(sort, found) as asked:
        assert asked.get("/users/3/alerts")[0] == 200
        with closing(sqlite3.connect(lost.folder / "app.sqlite", isolation_level=None)) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            answered = asked.client.get("/users/4/alerts")
            assert answered.status_code == 503 and int(answered.headers["retry-after"]) > 0
            assert asked.get("/users/4/quiet") == (503, {"error": "this isn't allowed", "unsure": True})
            assert asked.get("/users/3/alerts")[0] == 200 and len(asked.seen) == 2


def test_a_websocket_is_refused_before_it_is_accepted(privacy: Application) -> None:
    app = FastAPI()
    app.state.kept = privacy

    @app.websocket("/live/{id}")
    async def live(
        socket: WebSocket, decision: Decision = Depends(Uses("alerts", person=lambda id: f"user:{id}"))
    ) -> None:
        await socket.accept()
        await socket.send_text(decision.reason)
        await socket.close()

    async def connected(place: str) -> list[str]:
        """What is sent to a browser that opens a socket there, by the words of ASGI."""
        sent: list[str] = []

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        scope = {"type": "websocket", "path": place, "headers": [], "query_string": b"", "scheme": "ws"}
        await app({**scope, "asgi": {"version": "3.0"}, "subprotocols": []}, receive, send)
        return sent

    assert asyncio.run(connected("/live/3")) == ["websocket.accept", "websocket.send", "websocket.close"]
    assert "websocket.accept" not in asyncio.run(connected("/live/9"))


def test_of_several_uses_each_has_to_be_allowed(privacy: Application) -> None:
    app = flask.Flask("several")
    app.config["KEPT"] = privacy

    @app.get("/<int:id>")
    @flask_uses("alerts", "account", person=lambda id: f"user:{id}")
    @flask_uses("alerts", "usage", person=lambda id: f"user:{id}")
    async def view(id: int) -> str:
        raise AssertionError("it was reached")

    assert app.test_client().get("/3").status_code == 403


def test_an_async_view_of_flask_is_waited_for(privacy: Application) -> None:
    app = flask.Flask("async")
    app.config["KEPT"] = privacy

    async def whom(id: int) -> str:
        return f"user:{id}"

    @app.get("/<int:id>")
    @flask_uses("alerts", "account", person=whom)
    async def view(id: int) -> dict[str, int]:
        return {"fields": len(flask.g.kept.fields)}

    client = app.test_client()
    assert client.get("/3").json == {"fields": 5} and client.get("/9").status_code == 403


def test_what_is_no_callable_is_said_when_the_view_is_declared() -> None:
    for wrong in ({"person": "user:3"}, {"by": "engineer:4"}, {"what": len}):
        with pytest.raises(TypeError):
            Declared("alerts", **wrong)
    with pytest.raises(TypeError):
        flask_uses("alerts", person="user:3")  # type: ignore[arg-type]  # on purpose


def test_django_and_flask_are_only_imported_by_who_uses_them() -> None:
    program = (
        "import sys, kept; kept.opened; import kept.server.site, kept.server.asking.declared;"
        "assert not {'django', 'flask'} & set(sys.modules);"
        "import kept.server.asking.flask; assert 'django' not in sys.modules;"
        "import kept.server.asking.django, kept.server.asking.fastapi"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0


def test_each_process_opens_its_own_after_a_fork(company: SiteLucent) -> None:
    program = (
        "import os, sys; from kept.server.asking.opening import privacy;"
        f"mine = privacy({str(company.folder)!r}, 'KEPT');"
        "assert mine is privacy(sys.argv[1], 'KEPT') and mine.decide('alerts', person='user:3').allowed;"
        "child = os.fork();"
        "theirs = privacy(sys.argv[1], 'KEPT') if not child else mine;"
        "good = theirs.decide('alerts', person='user:3').allowed and (theirs is mine) == bool(child);"
        "sys.exit(not good if not child else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or not good)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "APP_DATABASE_URL"}
    environment["PYTHONPATH"] = str(ROOT / "src")
    done = subprocess.run(
        [sys.executable, "-c", program, str(company.folder)], env=environment, check=False, timeout=120
    )
    assert done.returncode == 0
