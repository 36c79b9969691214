"""`POST /api/decide`: the gate before every use, for systems that can't import it.

It stands before all other paths, as plain ASGI: most questions are answered out of memory in less time than a router
takes to find a path. Whoever isn't remembered is read in a thread, with everybody else who came while it last read.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from kept.application import Application
from kept.company import Company
from kept.controls.choices.deciding import NONE, Decision
from kept.controls.purposes.enforce import NO_EVIDENCE, Gate
from kept.controls.rights.people import Person
from kept.errors import KeptError, StoreError
from kept.server.api import Refused
from kept.server.asking.at_hand import is_at_hand, is_known
from kept.server.asking.newcomers import Newcomers
from kept.server.asking.question import PATH, Ask
from kept.server.asking.told import whole
from kept.server.guard import Fault, TooMuch, told
from kept.server.office import Office
from kept.server.pages import SECURITY

BODY: Final = 1 << 20  # bytes; so many people with keys of a hundred letters
THREADS: Final = 16  # questions that wait for a database at a time
SECONDS: Final = 5.0  # after which nobody can tell
LONG: Final = 60.0  # the same for many people
REMEMBERED: Final = 10_000  # answers kept as bytes

Made = TypeVar("Made")
Headers = list[tuple[bytes, bytes]]


class Deciding:
    """Answers `POST /api/decide`; `rest` answers everything else, and `fault` says what went wrong."""

    def __init__(self, office: Office, rest: ASGIApp, fault: Fault) -> None:
        self._office, self._rest, self._fault = office, rest, fault
        self._threads = ThreadPoolExecutor(THREADS, "kept-decide")
        self._written = Written()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._rest(scope, receive, send)
            return
        try:
            body = await self._answered(scope, receive)
        except Exception as wrong:  # noqa: BLE001  the last resort: its text may hold a personal value
            if not isinstance(wrong, KeptError | HTTPException | ValidationError):
                told(wrong)
            response = _invalid(wrong) if isinstance(wrong, ValidationError) else self._fault(PATH, wrong)
            await response(scope, receive, send)
            return
        if body is None:
            return  # whoever asked is gone
        await send({"type": "http.response.start", "status": 200, "headers": _headers(body)})
        await send({"type": "http.response.body", "body": body})

    async def _answered(self, scope: Scope, receive: Receive) -> bytes | None:
        if scope["method"] != "POST":
            raise HTTPException(405)
        company = self._office.company
        _let_in(scope, company.settings.get("KEPT_API_TOKEN", ""))
        body = await _body(scope, receive)
        if body is None:
            return None
        ask = Ask.model_validate_json(body)
        asked: Asked | Decision | None = company.memory.get(Asked)
        if asked is None:  # the first time, and the policy is compiled
            asked = await self._in_thread(lambda: Asked.of(company), LONG)
        if isinstance(asked, Decision):
            return self._written.one(asked)
        if ask.people is not None:
            many = await self._in_thread(partial(self._many, asked, ask), LONG)
            return many if isinstance(many, bytes) else self._written.many(dict.fromkeys(ask.people, many))
        return self._written.one(await self._one(asked, ask))

    async def _one(self, asked: Asked, ask: Ask) -> Decision:
        person: Person | None = None
        if ask.person is not None:
            try:
                person = asked.application.named(ask.person)
            except KeptError as wrong:
                return nobody(wrong)
            if person is None:  # an identifier, which only a database can find
                return await self._in_thread(partial(asked.one, ask, ask.person))
        if asked.is_at_hand(ask, person):
            return asked.one(ask, person)
        if person is not None and not is_known(asked.gate, person):
            unreadable = await asked.newcomers.read(person)
            if unreadable is not None:
                return unreadable
            if asked.is_at_hand(ask, person):
                return asked.one(ask, person)
        return await self._in_thread(partial(asked.one, ask, person))

    def _many(self, asked: Asked, ask: Ask) -> bytes:
        return self._written.many(asked.many(ask))

    async def _in_thread(self, do: Callable[[], Made], seconds: float = SECONDS) -> Made | Decision:
        """What a call gives; a refusal where it takes so long that nobody can tell."""
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self._threads.submit(do)), seconds)
        except TimeoutError:
            return Decision(
                False, "nobody can tell: a database doesn't answer in time", unsure=True, rule="unsure"
            )


class Asked:
    """The gate of one company, as it is asked over HTTP."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.gate = Gate.of(application.company)
        self.newcomers = Newcomers(self.gate.choices)

    @classmethod
    def of(cls, company: Company) -> Asked:
        """The same one for as long as the company is open."""
        found: Asked = company.memory.setdefault(cls, cls(Application(company)))
        return found

    def is_at_hand(self, ask: Ask, person: Person | None) -> bool:
        return is_at_hand(self.gate, ask.purpose, ask.names, person=person, by=ask.by, channel=ask.channel)

    def one(self, ask: Ask, person: str | Person | None) -> Decision:
        """The decision about one person, a group, or nobody."""
        try:
            return self.gate.decide(
                ask.purpose,
                ask.names,
                person=self.application.person(person) if isinstance(person, str) else person,
                by=ask.by,
                case=ask.case,
                group=ask.group,
                channel=ask.channel,
                signals=frozenset(ask.signals) if ask.signals else NONE,
                evidence=ask.evidence or NO_EVIDENCE,
            )
        except StoreError as wrong:
            return Decision(False, f"nobody can tell: {wrong.message}", unsure=True, rule="unsure")
        except KeptError as wrong:
            return nobody(wrong)

    def many(self, ask: Ask) -> dict[str, Decision]:
        """The decision about each, by what they are called in the question."""
        decided: dict[str, Decision] = {}
        people: dict[str, Person] = {}
        for who in dict.fromkeys(ask.people or ()):
            try:
                person = self.application.named(who)
            except KeptError as wrong:
                decided[who] = nobody(wrong)
                continue
            if person is None:
                decided[who] = Decision(False, "among many each is named by kind:key", rule="nobody")
            else:
                people[who] = person
        each = list(dict.fromkeys(people.values()))
        signals = frozenset(ask.signals)
        found = self.gate.decide_all(ask.purpose, each, ask.names, channel=ask.channel, signals=signals)
        return decided | {who: found[person] for who, person in people.items()}


class Written:
    """Answers as bytes; one that was written before is not written again."""

    def __init__(self) -> None:
        self._known: dict[object, tuple[Decision, bytes]] = {}

    def one(self, decision: Decision) -> bytes:
        # An allowed one is the same object each time, and long to write; a refusal is made anew, and short.
        name: object = id(decision) if decision.allowed else _content(decision)
        found = self._known.get(name)
        if found is None or (decision.allowed and found[0] is not decision):
            if len(self._known) >= REMEMBERED:
                self._known = {}
            written = json.dumps(whole(decision), ensure_ascii=False, separators=(",", ":")).encode()
            found = self._known[name] = (decision, written)
        return found[1]

    def many(self, decisions: Mapping[str, Decision]) -> bytes:
        return b"{%s}" % b",".join(
            b"%s:%s" % (json.dumps(who).encode(), self.one(one)) for who, one in decisions.items()
        )


def nobody(wrong: KeptError) -> Decision:
    """The refusal for a name that leads to nobody, or to several."""
    return Decision(False, wrong.message, rule="nobody")


def _let_in(scope: Scope, token: str) -> None:
    """The same token as for all of the API, compared in a time that tells nothing of it."""
    if not token:
        raise Refused(403, "the API is closed", "set KEPT_API_TOKEN, a long random text")
    given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    scheme, _, said = given.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(said.strip().encode(), token.encode()):
        raise Refused(401, "the token is missing or wrong", "send it as `Authorization: Bearer …`")


async def _body(scope: Scope, receive: Receive) -> bytes | None:
    """The body, up to its limit; None where the sender has gone."""
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if not length.isdigit() or int(length) > BODY:
        raise TooMuch
    parts, left, more = [], BODY, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        part: bytes = message.get("body", b"")
        left -= len(part)
        if left < 0:
            raise TooMuch
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _content(decision: Decision) -> tuple[object, ...]:
    """All of a refusal that is written."""
    return decision.reason, decision.clause, decision.unsure, decision.rule, decision.choice, decision.floor


_SAME: Final[Headers] = [
    (b"content-type", b"application/json"),
    *((name.lower().encode(), value.encode()) for name, value in SECURITY.items()),
]


def _headers(body: bytes) -> Headers:
    return [*_SAME, (b"content-length", b"%d" % len(body))]


def _invalid(wrong: ValidationError) -> Response:
    """What is wrong with a body, by field; never what stood there, for it may be somebody's data."""
    said = [
        {"at": ".".join(("body", *(str(part)[:60] for part in one["loc"]))), "why": one["msg"]}
        for one in wrong.errors(include_input=False, include_url=False, include_context=False)[:20]
    ]
    told_ = {"error": "the body is not as it has to be", "help": "see /api/openapi.json", "wrong": said}
    return JSONResponse(told_, 422, SECURITY)
