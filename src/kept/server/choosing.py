"""`/api/choices`, `/api/may`, `/api/audience`: choices, for the company's own systems.

An application that has logged somebody in says what they chose, ties the visitor they were to them, and asks before
it uses anything that turns on a choice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from kept.company import Company
from kept.controls.choices.asking import visitor_kind
from kept.controls.choices.enforce import Gate
from kept.controls.choices.messages.audience import audience
from kept.controls.choices.records import notices
from kept.controls.choices.records.book import New, Recorded, record
from kept.controls.choices.records.history import history
from kept.controls.choices.records.merge import merge
from kept.controls.choices.records.receipt import token_of
from kept.controls.rights.people import Person, resolve
from kept.server.api import Refused, Short, Text, guarded
from kept.server.office import Office
from kept.server.pages import SECURITY, base_of

AT_ONCE: Final = 10_000  # people asked about in one call
VISITOR: Final = re.compile("[0-9a-f]{32}")

Choose = Literal["account", "form", "letter", "staff", "device", "signal", "import"]


class Chosen(BaseModel):
    """What somebody chose, as the application learned it."""

    model_config = ConfigDict(extra="forbid")

    who: Short = Field(description="kind:key, or an identifier such as an e-mail address")
    choices: dict[Short, Literal["yes", "no"]] = Field(min_length=1, max_length=100)
    words: Text | None = Field(None, description="the exact words they answered to")
    notice: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        None, description="or the SHA-256 of what Kept showed them"
    )
    language: Annotated[str, Field(max_length=20)] = "en"
    region: Annotated[str, Field(max_length=20)] | None = None
    scope: Annotated[str, Field(max_length=200)] = Field(
        "", description="a channel or purpose, where it is one by one"
    )
    way: Choose = Field("account", description="how they answered")
    by: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="a member of staff who wrote it down"
    )
    guardian: Short | None = Field(None, description="who answers for them: kind:key")
    at: AwareDatetime | None = Field(None, description="when; now if left out")
    id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = Field(
        None, description="yours: the same sent twice is recorded once"
    )


class Login(BaseModel):
    """A visitor has logged in."""

    model_config = ConfigDict(extra="forbid")

    visitor: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] = Field(
        description="the banner's id, `kept.visitor`"
    )
    who: Short


class May(BaseModel):
    """A use, and the people it is about."""

    model_config = ConfigDict(extra="forbid")

    purpose: Short
    whos: list[Short] = Field(min_length=1, max_length=AT_ONCE, description="kind:key each")
    channel: Annotated[str, Field(max_length=20)] | None = None
    signals: list[Literal["gpc", "device"]] = []


class Audience(BaseModel):
    """Messages of one purpose."""

    model_config = ConfigDict(extra="forbid")

    purpose: Short
    channel: Annotated[str, Field(max_length=20)] | None = None


def router(office: Office) -> APIRouter:
    """The paths; every one wants the token."""
    made = guarded(office)

    async def answered(do: Callable[[], Any], response: Response) -> Any:
        response.headers.update(SECURITY)
        return await run_in_threadpool(do)

    @made.post("/choices", status_code=201, summary="Record what somebody chose")
    async def choose(given: Chosen, response: Response) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await answered(lambda: _choose(office.company, given), response)
        return found

    @made.get("/choices", summary="Everything somebody ever chose")
    async def show(who: str, response: Response) -> list[dict[str, Any]]:
        def do() -> list[dict[str, Any]]:
            company = office.company
            return [event.as_json() for event in history(company, _one(company, who))]

        found: list[dict[str, Any]] = await answered(do, response)
        return found

    @made.post("/choices/login", summary="Carry a visitor's choices over to who they turned out to be")
    async def login(given: Login, response: Response) -> list[dict[str, Any]]:
        def do() -> list[dict[str, Any]]:
            company = office.company
            visitor = visitor_of(company, given.visitor)
            return [_recorded(company, one) for one in merge(company, visitor, _one(company, given.who))]

        found: list[dict[str, Any]] = await answered(do, response)
        return found

    @made.post(
        "/may", summary="Whether a purpose may use these people's data now; `unsure`: nobody could tell"
    )
    async def may(given: May, response: Response) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = await answered(lambda: _may(office.company, given), response)
        return found

    @made.post("/audience", summary="Everybody who may be written to now, one a line")
    async def people(given: Audience) -> Response:
        company = office.company

        def lines() -> Iterator[bytes]:
            for who in audience(company, given.purpose, given.channel):
                yield json.dumps(str(who)).encode() + b"\n"

        first = await run_in_threadpool(_started, lines())
        return StreamingResponse(first, media_type="application/x-ndjson", headers=SECURITY)

    return made


def visitor_of(company: Company, id: str) -> Person:
    """A visitor by the random id that the banner gave them."""
    kind = visitor_kind(company.policy)
    if kind is None:
        raise Refused(409, "the policy knows no visitors")
    if not VISITOR.fullmatch(id):
        raise Refused(422, "the id of a visitor has 32 hexadecimal digits, in lower case")
    return Person(kind, (id,))


def _started(lines: Iterator[bytes]) -> Iterator[bytes]:
    """The same lines, the first already there: what is wrong with the question is said before the answer begins."""
    first = list(next(([line] for line in lines), []))

    def whole() -> Iterator[bytes]:
        yield from first
        yield from lines

    return whole()


def _one(company: Company, who: str) -> Person:
    found = resolve(company, [who])
    if not found.people:
        raise Refused(404, found.wrong[0][1], "name somebody as kind:key, or by their e-mail address")
    return found.people[0]


def _choose(company: Company, given: Chosen) -> list[dict[str, Any]]:
    who = _one(company, given.who)
    notice = given.notice
    if notice is None:
        if given.words is None:
            raise Refused(
                422, "`words` or `notice` is missing", "consent is proven by what was asked (Art. 7(1) GDPR)"
            )
        known = [name for name in given.choices if name in company.policy.section("choices")]
        shown = notices.of_words(
            company.policy, given.words, choices=known, language=given.language, region=given.region
        )
        notice = notices.keep(company, shown)
    at: datetime | None = given.at
    guardian = _one(company, given.guardian) if given.guardian is not None else None
    new = [
        New(
            who,
            choice,
            answer,
            given.way,
            given.scope,
            at,
            notice,
            given.region,
            given.by,
            given.id,
            guardian,
        )
        for choice, answer in given.choices.items()
    ]
    return [_recorded(company, one) for one in record(company, new)]


def _may(company: Company, given: May) -> dict[str, dict[str, Any]]:
    found = resolve(company, given.whos)
    gate, signals = Gate.of(company), frozenset(given.signals)
    if signals or len(found.people) == 1:
        decided = {who: gate.may(who, given.purpose, given.channel, signals=signals) for who in found.people}
    else:
        decided = gate.may_all(found.people, given.purpose, given.channel)
    told: dict[str, dict[str, Any]] = {
        str(who): {
            "allowed": one.allowed,
            "reason": one.reason,
            "clause": list(one.clause),
            "unsure": one.unsure,
        }
        for who, one in decided.items()
    }
    missing: Sequence[tuple[int, str]] = found.wrong
    told |= {
        given.whos[n - 1]: {"allowed": False, "reason": why, "clause": [], "unsure": False}
        for n, why in missing
    }
    return told


def _recorded(company: Company, one: Recorded) -> dict[str, Any]:
    return {
        "choice": one.new.choice,
        "scope": one.new.scope,
        "state": one.state,
        "took": one.took,
        "known": one.known,
        "record": one.record,
        "receipt": f"{base_of(company)}/receipt/{token_of(company, one.record)}",
    }
