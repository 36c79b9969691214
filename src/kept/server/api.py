"""`/api/…`: requests, for the company's own systems, such as the "delete my account" button of its application.

The bearer token is the setting KEPT_API_TOKEN; without the setting nobody gets in. Who may say that a person has
proven who they are (`proven`) holds the keys to everybody's data, so the token belongs in no browser.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Path, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked

from kept.company import Company
from kept.controls.rights import addresses, copies, intake, letters, life, recipients, register
from kept.controls.rights.desk import Desk
from kept.controls.rights.people import Person
from kept.controls.rights.register import Request, Subject
from kept.errors import KeptError
from kept.mail.mime import HIDDEN
from kept.server.office import Office
from kept.server.pages import SECURITY

VERBS: Final = tuple(letters.ASKED)
BEARER: Final = HTTPBearer(auto_error=False, description="the setting KEPT_API_TOKEN")


def _plain(text: str) -> str:
    """Text that any database takes."""
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it has characters that are no text")
    return HIDDEN.sub("", text)  # staff read it in a terminal, which it must not steer


Text = Annotated[str, AfterValidator(_plain), Field(min_length=1, max_length=20_000)]
Short = Annotated[str, AfterValidator(_plain), Field(min_length=1, max_length=400)]
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="the id of a request")]


class New(BaseModel):
    """A request to be received."""

    model_config = ConfigDict(extra="forbid", strict=True)

    verb: Short = Field(description=f"the right: {', '.join(VERBS)}")
    who: Short = Field(description="kind:key, or an identifier such as an e-mail address")
    words: Text | None = Field(None, description="what the person says")
    changes: dict[Short, Text] = Field({}, max_length=100, description="store.table.column: what is right")
    scope: list[Short] = Field([], max_length=100, description="purposes or choices; all when left out")
    proven: bool = Field(
        False, description="the person has logged in to your application, so it is they who ask"
    )
    copy_offered: bool = Field(
        False,
        description="your application has offered them a copy first, where the policy says `offers: copy`: "
        "without it they are offered one in a letter, and `proven` doesn't count",
    )


class Act(BaseModel):
    """What a member of staff does with a request."""

    model_config = ConfigDict(extra="forbid", strict=True)

    by: Annotated[Short, Field(max_length=200)] = Field(description="the name of the member of staff")
    words: Text | None = Field(None, description="what the person is told, or has said")
    reason: Short | None = Field(None, description="of a refusal: a reason the law accepts")
    changes: dict[Short, Text] = Field({}, max_length=100)


class Refused(KeptError):
    """Something the API doesn't do, with its HTTP status."""

    def __init__(self, status: int, message: str, help: str | None = None) -> None:
        super().__init__(message, help=help)
        self.status = status


def guarded(office: Office) -> APIRouter:
    """Paths under `/api`, every one of which wants the token."""

    def allowed(given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
        token = office.company.settings.get("KEPT_API_TOKEN", "")
        if not token:
            raise Refused(403, "the API is closed", "set KEPT_API_TOKEN, a long random text")
        if given is None or not hmac.compare_digest(given.credentials.encode(), token.encode()):
            raise Refused(401, "the token is missing or wrong", "send it as `Authorization: Bearer …`")

    return APIRouter(prefix="/api", dependencies=[Depends(allowed)])


def router(office: Office) -> APIRouter:
    """Requests: received, shown, and what staff do with them."""
    made = guarded(office)

    async def at_desk(do: Callable[[Desk], Any]) -> Any:
        def inside() -> Any:
            with office.desk() as desk:
                return do(desk)

        return await run_in_threadpool(inside)

    @made.post("/requests", status_code=201, summary="Receive a request, or join the one that is open")
    async def create(new: New, response: Response) -> dict[str, Any]:
        told, joined = await at_desk(partial(_create, new))
        response.status_code = 200 if joined else 201
        response.headers.update(SECURITY)
        return dict(told)

    @made.get("/requests/{id}", summary="How a request stands")
    async def show(id: Id, response: Response) -> dict[str, Any]:
        response.headers.update(SECURITY)
        return dict(await at_desk(lambda desk: _told(desk, _get(desk, id))))

    def offer(name: str, does: Callable[[Desk, Request, Act], object], summary: str) -> None:
        async def act(id: Id, given: Act, response: Response) -> dict[str, Any]:
            response.headers.update(SECURITY)
            return dict(await at_desk(partial(_acted, id=id, given=given, does=does)))

        made.add_api_route(
            f"/requests/{{id}}/{name}", act, methods=["POST"], summary=summary, operation_id=name
        )

    for name, (does, summary) in ACTS.items():
        offer(name, does, summary)
    return made


def _create(new: New, desk: Desk) -> tuple[dict[str, Any], bool]:
    company = desk.company
    if new.verb not in VERBS:
        raise Refused(422, "there is no such right", f"known: {', '.join(VERBS)}")
    malformed = [column for column in new.changes if column.count(".") < 2]
    if malformed:
        raise Refused(422, "a correction names its column as store.table.column")
    found = desk.find(new.verb, [new.who])
    if not found.people:
        raise Refused(404, found.wrong[0][1], "name somebody as kind:key, or by their e-mail address")
    [person] = found.people
    address = addresses.of(company, [person]).get(person) if company.can_write else None
    offers = life.offers_copy(company.policy, new.verb, person.kind)
    proven = new.proven and (new.copy_offered or not offers)
    if not proven and (address is None or not company.public_url):
        if new.proven:
            raise Refused(
                409,
                "the policy offers a copy first, and we can't: there is no address on record, or no way to write there",
                "offer it in your application and set `copy_offered`; a copy is a request with the verb `access`",
            )
        raise Refused(
            409,
            "nobody can prove that it is they who ask: there is no address on record, or no way to write there",
            "set `proven` if the person has logged in; else set KEPT_SMTP_URL and KEPT_PUBLIC_URL",
        )
    if proven and offers:
        pseudonym = company.pseudonyms.find([str(person)]).get(str(person))
        copy = copies.of(company, pseudonym) if pseudonym is not None else None
        if copy is not None and copy.is_open:
            raise Refused(409, "the copy that they asked for is not made yet", "ask again when it is done")
    subject = Subject(person, address, new.words, tuple(new.changes.items()), tuple(new.scope))
    joined = register.open_of(company, new.verb, [person]).get(person)
    if joined is None:
        channel = "account" if proven else "api"
        try:
            along = partial(_alone, company, person, offered=new.verb if proven and offers else None)
            request = desk.receive(new.verb, subject, "the application", channel=channel, along=along)
        except intake.Taken:  # a button pressed twice
            joined = register.open_of(company, new.verb, [person])[person]
    if joined is not None:
        request = joined
        if joined.awaits == "identity" and proven:

            def met(connection: Connection) -> None:
                letters.void(company, connection, request.id)
                if offers:
                    letters.copy_offered(company, connection, request.id, "the application")

            request = desk.met(joined, "the application", along=met)
        elif joined.awaits == "identity":
            intake.again(desk, joined, address)
    told = _told(desk, request)
    if new.proven:
        told["page"] = letters.page_of(company, request.id)
    return told, joined is not None


def _alone(company: Company, person: Person, connection: Connection, *, offered: str | None) -> None:
    """See that nobody asked the same at this instant, and note for which verb the application has offered a copy."""
    intake.alone(company, person, connection)
    if offered is not None:
        copies.offered(company, connection, person, offered, "the application")


def _acted(
    desk: Desk, *, id: str, given: Act, does: Callable[[Desk, Request, Act], object]
) -> dict[str, Any]:
    request = _get(desk, id)
    does(desk, request, given)
    return _told(desk, _get(desk, id))


def _get(desk: Desk, id: str) -> Request:
    found = register.of_ids(desk.company, [id])
    if not found:
        raise Refused(404, "there is no such request")
    return found[0]


def _met(awaited: str, desk: Desk, request: Request, given: Act) -> object:
    if request.awaits != awaited:
        raise Refused(409, f"this request does not await {awaited}")
    return desk.met(request, given.by)


def _words(given: Act) -> str:
    if given.words is None:
        raise Refused(422, "`words` is missing", "say it in words: the person is told, or has said it")
    return given.words


def _refuse(desk: Desk, request: Request, given: Act) -> object:
    if given.reason is None:
        raise Refused(422, "`reason` is missing", "name a reason the law accepts")
    return desk.refuse(request, given.reason, given.by, given.words)


ACTS: Final[dict[str, tuple[Callable[[Desk, Request, Act], object], str]]] = {
    "confirm": (partial(_met, "confirmation"), "Staff validated with the person that it is they who ask"),
    "approve": (partial(_met, "approval"), "Staff approve what the policy wants approved"),
    "refuse": (_refuse, "Refuse, for a reason the law accepts"),
    "extend": (lambda d, r, a: d.extend(r, _words(a), a.by), "Take longer, for a reason the person is told"),
    "ask": (lambda d, r, a: d.ask(r, _words(a), a.by), "Ask the person what they mean"),
    "heard": (lambda d, r, a: d.heard(r, _words(a), a.by), "Note what the person said they mean"),
    "answer": (lambda d, r, a: d.answer(r, _words(a), a.by), "Answer what only a person can"),
    "settle": (
        lambda d, r, a: intake.settle(d, r, tuple(a.changes.items()), a.by),
        "Note what is right, column by column",
    ),
    "undo": (lambda d, r, a: d.call_off(r, a.by), "The person changed their mind"),
    "lift": (lambda d, r, a: d.lift(r, _words(a), a.by), "End a restriction or an objection"),
}


def _told(desk: Desk, request: Request) -> dict[str, Any]:
    """A request for a program: states and times, nobody's data."""
    times = {
        name: at.isoformat() if at is not None else None
        for name, at in (
            ("until", request.until),
            ("received", request.received),
            ("identified", request.identified),
            ("due", request.due),
            ("closed", request.closed),
        )
    }
    return {
        "id": request.id,
        "verb": request.verb,
        "channel": request.channel,
        "law": request.law,
        "state": request.state,
        "awaits": request.awaits,
        **times,
        "outcome": dict(request.outcome),
        "told": recipients.listing(desk.company, request.id),
    }


def fault(status: int, wrong: Exception) -> JSONResponse:
    """What went wrong, as JSON."""
    told: dict[str, Any] = {"error": "this is a fault of Kept's own", "help": None}
    if isinstance(wrong, KeptError):
        told = {"error": wrong.message, "help": wrong.help}
    elif status != 500:
        told = {
            "error": {
                400: "the body is no JSON",
                404: "there is no such path",
                405: "not with this method",
            }.get(status, "refused"),
            "help": None,
        }
    headers = SECURITY | ({"WWW-Authenticate": "Bearer"} if status == 401 else {})
    return JSONResponse(told, status, headers)


def say_invalid(server: FastAPI) -> None:
    """What is wrong with a body, by field; never what stood there, for it may be somebody's data."""

    async def invalid(asked: Asked, wrong: Exception) -> Response:
        assert isinstance(wrong, RequestValidationError)
        said = [
            {"at": ".".join(str(part)[:60] for part in one["loc"]), "why": one["msg"]}
            for one in wrong.errors()[:20]
        ]
        told = {"error": "the body is not as it has to be", "help": "see /api/openapi.json", "wrong": said}
        return JSONResponse(told, 422, SECURITY)

    server.add_exception_handler(RequestValidationError, invalid)
