"""`/api/decisions`: what only a person may decide, for the company's own systems.

A program may propose; a decision bears the name of the person who took it, and the application that holds the token
says who that is: it has logged them in. What was decided is carried out by the worker beside the server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from kept.company import Company
from kept.controls.purposes.decisions import deciding, queue
from kept.controls.purposes.decisions.names import LONGEST
from kept.controls.rights.people import Person, resolve
from kept.errors import KeptError, TransientError
from kept.server.api import Refused, Short, Text, guarded
from kept.server.office import Office
from kept.server.pages import SECURITY

Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="the id of a proposal")]
Name = Annotated[Short, Field(max_length=LONGEST)]


class Proposing(BaseModel):
    """A change that somebody has to decide."""

    model_config = ConfigDict(extra="forbid", strict=True)

    purpose: Short = Field(description="one that `sets` something")
    who: Short = Field(description="kind:key, or an identifier such as an e-mail address")
    set: dict[Short, Annotated[str, Field(max_length=20_000)]] = Field(
        {}, max_length=100, description="store.table.column: what it is to hold; nothing for an end"
    )
    row: Short | None = Field(None, description="the key of the row, where they have several")
    case: Annotated[Short, Field(max_length=240)] | None = Field(None, description="LINK:KEY or case:ID")
    evidence: dict[Short, Text] = Field({}, max_length=10, description="what the purpose `needs`")
    by: Name = Field(description="who or what proposes it; kind:key for the person themselves")
    id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = Field(
        None, description="yours: the same sent twice is proposed once"
    )


class Deciding(BaseModel):
    """What somebody decides."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    role: Name = Field(alias="as", description="in which role, ROLE or ROLE:KEY: one of the purpose's")
    by: Name = Field(description="the name of the person who decides")
    why: Annotated[Text, Field(max_length=2000)] | None = Field(None, description="the person is told it")


def router(office: Office) -> APIRouter:
    """The paths; every one wants the token."""
    made = guarded(office)

    async def answered(do: Callable[[], Any], response: Response) -> Any:
        response.headers.update(SECURITY)
        return await run_in_threadpool(do)

    @made.get("/decisions", summary="What waits for a decision")
    async def listed(response: Response, every: bool = False) -> list[dict[str, Any]]:
        def do() -> list[dict[str, Any]]:
            states = queue.ALL if every else (queue.OPEN, queue.ACCEPTED)
            return [one.as_json() for one in queue.listing(office.company, states=states)]

        found: list[dict[str, Any]] = await answered(do, response)
        return found

    @made.post(
        "/decisions", status_code=201, summary="Propose a change; nothing changes until a person decides"
    )
    async def propose(given: Proposing, response: Response) -> dict[str, Any]:
        def do() -> dict[str, Any]:
            with office.fresh() as company:
                who = _one(company, given.who)
                id = queue.propose(
                    company,
                    given.purpose,
                    who,
                    given.set,
                    by=given.by,
                    row=given.row,
                    case=given.case,
                    evidence=given.evidence,
                    id=given.id,
                )
                return queue.one(company, id).as_json()

        found: dict[str, Any] = await answered(do, response)
        return found

    @made.post("/decisions/{id}/{answer}", summary="Say yes or no to a proposal, by name")
    async def decide(
        id: Id, answer: Literal["yes", "no"], given: Deciding, response: Response
    ) -> dict[str, Any]:
        found: dict[str, Any] = await answered(lambda: _decide(office, id, answer, given), response)
        return found

    return made


def _decide(office: Office, id: str, answer: deciding.Answer, given: Deciding) -> dict[str, Any]:
    with office.fresh() as company:
        try:
            decided = deciding.decide(company, id, answer, given.role, given.by, given.why).as_json()
        except TransientError:
            raise
        except KeptError as wrong:
            raise Refused(_status(company, id), wrong.message, wrong.help or "") from None
    office.bell.set()
    return decided


def _status(company: Company, id: str) -> int:
    """No such proposal, one that is over, or one that isn't theirs to decide."""
    try:
        return 403 if queue.one(company, id).state == queue.OPEN else 409
    except KeptError:
        return 404


def _one(company: Company, who: str) -> Person:
    found = resolve(company, [who])
    if not found.people:
        raise Refused(404, found.wrong[0][1], "name somebody as kind:key, or by their e-mail address")
    return found.people[0]
