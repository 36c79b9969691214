"""`/api/cases`, `/api/look`, `/api/looks`: cases and looks, for the company's own systems.

A support desk opens a case when it takes a ticket, and shows a person's data through `/api/look`, so that no look is
without a record. `/api/looks` is what the application shows its own people: by whom they were looked at, as a role.
Whoever is named is taken letter by letter (`Word`): without its odd characters a name is another's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Response
from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from kept.company import Company
from kept.controls.purposes.cases import opening, recorded
from kept.controls.purposes.cases.looks import look
from kept.controls.purposes.cases.opening import Kept
from kept.controls.rights.answers import looked
from kept.controls.rights.people import Person, resolve
from kept.server.api import Refused, Short, Text, guarded
from kept.server.asking.question import Word
from kept.server.office import Office
from kept.server.pages import SECURITY

HOURS: Final = int(opening.LONGEST.total_seconds() // 3600)

Staff = Annotated[Word, Field(max_length=200, description="role and key, such as engineer:4")]


class Opening(BaseModel):
    """A case to be opened."""

    model_config = ConfigDict(extra="forbid", strict=True)

    link: Word
    who: Word = Field(description="kind:key, or an identifier such as an e-mail address")
    staff: Staff
    why: Annotated[Text, Field(max_length=2000)]
    by: Annotated[Short, Field(max_length=200)] = Field(description="the name of whoever opens it")
    ticket: Annotated[Word, Field(max_length=200)] | None = Field(None, description="a row it is over with")
    hours: Annotated[int, Field(ge=1, le=HOURS)] = Field(48, description="until it ends by itself")


class Closing(BaseModel):
    """A case that is over."""

    model_config = ConfigDict(extra="forbid", strict=True)

    by: Annotated[Short, Field(max_length=200)]


class Looking(BaseModel):
    """A look at one person's data."""

    model_config = ConfigDict(extra="forbid", strict=True)

    who: Word
    purpose: Word
    data: list[Word] | None = Field(None, min_length=1, max_length=100, description="all when left out")
    by: Staff
    case: Annotated[Word, Field(max_length=240)] | None = Field(None, description="LINK:KEY or case:ID")
    evidence: dict[Word, Text] = Field({}, max_length=10, description="what the purpose `needs`")


def router(office: Office) -> APIRouter:
    """The paths; every one wants the token."""
    made = guarded(office)

    async def answered(do: Callable[[], Any], response: Response) -> Any:
        response.headers.update(SECURITY)
        return await run_in_threadpool(do)

    @made.post("/cases", status_code=201, summary="Open a case: a reason for one member of staff to look")
    async def open_(given: Opening, response: Response) -> dict[str, Any]:
        def do() -> dict[str, Any]:
            company = office.company
            opened = opening.open_case(
                company,
                given.link,
                _one(company, given.who),
                given.staff,
                given.why,
                given.by,
                ticket=given.ticket,
                lasts=timedelta(hours=given.hours),
            )
            return _case(opened)

        found: dict[str, Any] = await answered(do, response)
        return found

    @made.post("/cases/{id}/close", summary="Close a case before its end")
    async def close(id: str, given: Closing, response: Response) -> dict[str, Any]:
        def do() -> dict[str, Any]:
            company = office.company
            if opening.of_id(company, id) is None:
                raise Refused(404, "there is no such case")
            return _case(opening.close(company, id, given.by))

        found: dict[str, Any] = await answered(do, response)
        return found

    @made.post("/look", summary="One person's data for a member of staff; on record before it is read")
    async def look_(given: Looking, response: Response) -> dict[str, Any]:
        def do() -> dict[str, Any]:
            company = office.company
            seen = look(
                company,
                given.purpose,
                tuple(given.data) if given.data is not None else None,
                _one(company, given.who),
                by=given.by,
                case=given.case,
                evidence=given.evidence,
            )
            told = {
                "allowed": seen.decision.allowed,
                "reason": seen.decision.reason,
                "clause": list(seen.decision.clause),
                "unsure": seen.decision.unsure,
                "look": seen.id,
                "rows": seen.rows,
                "left_out": seen.left_out,
                "elsewhere": seen.elsewhere,
                "undated": seen.undated,
            }
            shown: dict[str, Any] = jsonable_encoder(told, custom_encoder={bytes: lambda one: one.hex()})
            return shown

        found: dict[str, Any] = await answered(do, response)
        if not found["allowed"]:
            response.status_code = 503 if found["unsure"] else 403
        return found

    @made.get("/looks", summary="Who looked at somebody's data, as that person may know it")
    async def looks(who: Word, response: Response) -> list[dict[str, Any]]:
        def do() -> list[dict[str, Any]]:
            company = office.company
            person = _one(company, who)
            return [
                {
                    "at": seen.at.isoformat(),
                    "purpose": seen.purpose,
                    "role": seen.role,
                    "by": looked.SOMEBODY,
                    "columns": list(seen.fields),
                    "masked": list(seen.masked),
                }
                for seen in recorded.of(company, [person]).get(person, ())
            ]

        found: list[dict[str, Any]] = await answered(do, response)
        return found

    return made


def _one(company: Company, who: str) -> Person:
    found = resolve(company, [who])
    if not found.people:
        raise Refused(404, found.wrong[0][1], "name somebody as kind:key, or by their e-mail address")
    return found.people[0]


def _case(one: Kept) -> dict[str, Any]:
    return {
        "case": one.case,
        "id": one.id,
        "link": one.link,
        "for": f"{one.role}:{one.staff}",
        "ticket": one.ticket,
        "until": one.until.isoformat(),
        "closed": one.closed.isoformat() if one.closed is not None else None,
    }
