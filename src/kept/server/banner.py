"""`/banner.js`, `/banner.css`, `/banner.json` and `/choices`: the banner on the company's sites, and what it sends.

Whoever answers is known by a random number that their browser made; an answer is durable before it is answered. What
can't be an answer of a page of the company's is refused, with a word for programs and a sentence for people.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.requests import Request as Asked
from starlette.responses import Response
from starlette.routing import Route

from kept.controls.choices.records import history, notices
from kept.controls.choices.records.book import New, Recorded, Refused
from kept.controls.choices.records.states import AGAINST, STANDING, State
from kept.controls.rights.people import Person
from kept.errors import KeptError, TransientError
from kept.policy import words
from kept.server import receipts
from kept.server.banner_asks import SCRIPT, STYLE, Asks, browser_time
from kept.server.limits import Limiter, Newcomers, Rate, network_of
from kept.server.office import Office

BODY: Final = 8 << 10  # bytes; an answer to twenty choices is two thousand
ANSWERS: Final = Rate(100, 10)  # from one network, behind which a whole school may stand
NEW: Final = Rate(200, 1)  # visitors nobody knew, in all: each is kept for good
ASKING: Final = Rate(2000, 10)  # page views
AGAIN: Final = "5"  # seconds after which a browser that was turned away tries again
ID: Final = re.compile(r"[0-9a-f]{32}")
NOTICE: Final = re.compile(r"[0-9a-f]{64}")
FIELDS: Final = {"id", "visitor", "notice", "at", "region", "choices"}
MOST: Final = 50  # choices in one answer

EVERYWHERE: Final = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
PUBLIC: Final = EVERYWHERE | {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Cache-Control": "public, max-age=3600",
}
PRIVATE: Final = EVERYWHERE | {"Cache-Control": "no-store", "Vary": "Origin, Sec-GPC"}


class Wrong(KeptError):
    """What isn't taken, with its HTTP status and a word for programs."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Answer:
    """What a browser sends: a visitor's answers to what a notice asked, under an id of the browser's own."""

    id: str
    visitor: str
    notice: str
    at: datetime
    region: str | None
    choices: Mapping[str, str]


def read_answer(body: bytes) -> Answer:
    """An answer from a body; Wrong where it isn't whole."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise Wrong(400, "not-json", "the body is no JSON, or was cut off") from None
    if not isinstance(given, dict) or given.keys() != FIELDS:
        raise Wrong(400, "malformed", f"an answer has the fields {', '.join(sorted(FIELDS))}, and no others")
    for name, pattern in (("id", ID), ("visitor", ID), ("notice", NOTICE)):
        if not isinstance(given[name], str) or not pattern.fullmatch(given[name]):
            raise Wrong(
                400, "malformed", f"`{name}` is made of {64 if name == 'notice' else 32} hexadecimal digits"
            )
    try:
        at = datetime.fromisoformat(given["at"])
    except (TypeError, ValueError):
        at = None
    if at is None or at.tzinfo is None:
        raise Wrong(400, "malformed", "`at` is a time with its zone, by ISO 8601")
    region, choices = given["region"], given["choices"]
    if region is not None and (not isinstance(region, str) or region not in words.regions()):
        raise Wrong(400, "malformed", "`region` is a region of the policy language, or null")
    if (
        not isinstance(choices, dict)
        or not 1 <= len(choices) <= MOST
        or not all(
            isinstance(answer, str) and answer in ("yes", "no", "later") for answer in choices.values()
        )
    ):
        raise Wrong(400, "malformed", "`choices` is a map from choices to yes, no or later")
    return Answer(given["id"], given["visitor"], given["notice"], at, region, choices)


async def take(asks: Asks, answer: Answer) -> tuple[int, dict[str, Any]]:
    """Record an answer: 201, or 200 where the same was on record, and what the browser is told.

    Under `states` it is told what is in force now, which an answer that came late may not be; under `now`, the time
    here that it was recorded after.
    A choice that the notice asked about and that the policy no longer has is left out: what else was said with it,
    while the policy was another, counts.
    """
    now = asks.company.clock()
    if asks.kind is None:
        raise Wrong(404, "nothing-asked", "the policy asks visitors nothing")
    gone = [name for name in answer.choices if name not in asks.choices]
    if gone:
        shown = await run_in_threadpool(notices.shown, asks.company, answer.notice)
        if (
            shown is None
            or any(name not in shown["choices"] for name in gone)
            or len(gone) == len(answer.choices)
        ):
            raise Wrong(422, "unknown-choice", "visitors have no such choice")
    who = Person(asks.kind, (answer.visitor,))
    given = [
        New(
            who=who,
            choice=name,
            answer=said,  # type: ignore[arg-type]  # `read_answer` lets no other word through
            way="banner",
            at=answer.at,
            notice=answer.notice,
            region=answer.region,
            record=answer.id,
        )
        for name, said in answer.choices.items()
        if name not in gone
    ]
    done = await asks.recorder.recorded(given)
    return 200 if all(one.known for one in done) else 201, {
        "id": answer.id,
        "now": browser_time(now),
        "states": await in_force(asks, who, done),
        "gone": gone,
        "receipt": receipts.path_of(asks.company, answer.id),
    }


async def in_force(asks: Asks, who: Person, done: Sequence[Recorded]) -> dict[str, State]:
    """How each choice that was answered stands now, for all it is made for: a no to any of it comes first."""
    states: dict[str, list[State]] = {}
    if all(one.took and not one.known for one in done):
        for one in done:
            states.setdefault(one.new.choice, []).append(one.state)
    else:
        now, answered = asks.company.clock(), {one.new.choice for one in done}
        stands = await run_in_threadpool(history.current, asks.company, [who])
        for (name, _), event in stands.get(who, {}).items():
            if name in answered:
                is_over = event.state in STANDING and not event.stands(now)
                states.setdefault(name, []).append("Expired" if is_over else event.state)
    return {name: min(found, key=_weight) for name, found in states.items()}


def _weight(state: State) -> int:
    return 0 if state in AGAINST else 2 if state in STANDING else 1


def routes(
    office: Office, answers: Rate = ANSWERS, asking: Rate = ASKING, newcomers: Rate = NEW
) -> list[Route]:
    """The banner's files, what it asks, what takes the answers, and `/.well-known/gpc.json`.

    `answers` and `asking` are how often one network may answer and ask, `newcomers` how many visitors may be new, in
    all. KeptError where a text or an address of a site can't be used: that stops the server, not a visitor.
    """
    Asks.of(office.company)
    by_answers, by_asking, new = Limiter(answers), Limiter(asking), Newcomers(newcomers)

    async def ask(asked: Asked, asks: Asks) -> Response:
        query = asked.query_params
        visitor = query.get("visitor", "")
        who = Person(asks.kind, (visitor,)) if asks.kind is not None and ID.fullmatch(visitor) else None
        gpc = asked.headers.get("sec-gpc") == "1"
        wanted = query.get("language", "")[:200].split(",")
        told = await run_in_threadpool(asks.told, wanted, query.get("region"), who, gpc=gpc)
        return _json(told)

    async def answer(asked: Asked, asks: Asks) -> Response:
        if "origin" not in asked.headers:
            raise Wrong(403, "wrong-origin", "an answer comes from a page of the company's")
        given = read_answer(await _body(asked))
        if not new.takes(given.visitor, lambda: asks.knows(given.visitor)):
            raise Wrong(429, "too-many", "too many new visitors at once: keep it, and try again in a moment")
        status, told = await take(asks, given)
        return _json(told, status)

    async def gpc(asked: Asked) -> Response:
        asks = await run_in_threadpool(lambda: Asks.of(office.company))
        told = {"gpc": asks.honours_gpc, "lastUpdate": asks.company.policy.version.isoformat()}
        return _json(told, headers=PUBLIC)

    return [
        _file("/banner.js", SCRIPT, "text/javascript"),
        _file("/banner.css", STYLE, "text/css"),
        Route("/banner.json", partial(_guarded, office, by_asking, ask), methods=["GET"]),
        Route("/choices", partial(_guarded, office, by_answers, answer), methods=["POST"]),
        Route("/.well-known/gpc.json", gpc, methods=["GET"]),
    ]


async def _guarded(
    office: Office, limiter: Limiter, does: Callable[[Asked, Asks], Awaitable[Response]], asked: Asked
) -> Response:
    """Only pages of the company's are answered, and not too often; what goes wrong is said in a way they can read."""
    origin, allowed = asked.headers.get("origin"), False
    try:
        asks = Asks.of(office.company)
        allowed = origin is not None and asks.sites.serve(origin)
        if origin is not None and not allowed:
            raise Wrong(403, "wrong-origin", "this is no page of the company's")
        if not limiter.takes(network_of(asked.client.host if asked.client is not None else "")):
            raise Wrong(
                429, "too-many", "too much at once from one network: keep it, and try again in a moment"
            )
        response = await does(asked, asks)
    except ClientDisconnect:
        response = _json({"error": "the body was cut off", "reason": "not-json"}, 400)
    except KeptError as wrong:
        response = _fault(wrong, browser_time(office.company.clock()))
    if allowed and origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = "Retry-After"
    return response


def _fault(wrong: KeptError, now: str) -> Response:
    """What is refused, with our time: a browser knows by it that it was Kept that answered, and not a proxy."""
    if isinstance(wrong, TransientError):
        error, reason, status = "something doesn't answer just now", "away", 503
    elif isinstance(wrong, Wrong):
        error, reason, status = wrong.message, wrong.reason, wrong.status
    elif isinstance(wrong, Refused):
        error, reason, status = wrong.message, wrong.reason, 409 if wrong.reason == "replayed" else 422
    else:
        error, reason, status = "this is a fault of ours", "away", 500
    headers = {"Retry-After": AGAIN} if status in (429, 503) else {}
    return _json({"error": error, "reason": reason, "now": now}, status, headers)


async def _body(asked: Asked) -> bytes:
    read = b""
    async for part in asked.stream():
        read += part
        if len(read) > BODY:
            raise Wrong(413, "too-long", f"an answer has at most {BODY} bytes")
    return read


def _json(told: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    return Response(body, status, PRIVATE | dict(headers or {}), "application/json")


def _file(path: str, body: bytes, media: str) -> Route:
    tag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = PUBLIC | {"ETag": tag}

    async def file(asked: Asked) -> Response:
        if asked.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=media)

    return Route(path, file, methods=["GET"])
