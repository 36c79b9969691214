"""`/api/collect/…`: the gate of collection for systems that can't import it; `/email/…`: an address is verified.

The API wants the token, as all of `/api`: whoever calls it says who somebody is, and which evidence there is.
"""

from __future__ import annotations

import hmac
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.routing import Route

from kept.company import Company
from kept.controls.collection.enforce import collect, only_source, why
from kept.controls.collection.persons import verified
from kept.controls.collection.persons.age import answer
from kept.controls.refused import Refused
from kept.controls.rights.people import Person, person_of
from kept.evidence.links import LinkWrong
from kept.server import api
from kept.server.api import BEARER, Short
from kept.server.office import Office
from kept.server.pages import SECURITY, page, said

_STATUS: Final = {"unknown-step": 404, "unreachable": 503, "too-often": 429}


class Form(BaseModel):
    """A form, and what surrounds it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    form: dict[str, Any] = Field(max_length=1000, description="names of fields and what was filled in")
    source: Short | None = Field(
        None, description="one of the step's `from`; may be left out where it has one"
    )
    who: Short | None = Field(None, description="kind:key of the person or visitor, if there is one yet")
    region: Short | None = Field(None, description="where they are: fr, us-ca")
    signals: list[Literal["gpc", "device"]] = Field(
        [], max_length=2, description="`gpc`: the browser sends Sec-GPC; `device`: the device's switch is off"
    )
    strict: bool = Field(False, description="refuse what isn't declared, in place of dropping it")
    evidence: dict[Short, Short] = Field({}, max_length=20, description="what the step needs: claims, words")
    born: Short | None = Field(
        None, description="the answer to the neutral question, YYYY-MM-DD; it is not kept"
    )
    guardian: Short | None = Field(None, description="kind:key of who permitted it beforehand")
    role: Short | None = Field(None, description="who enters it, where the step says `by`")


class Address(BaseModel):
    """An address to be verified."""

    model_config = ConfigDict(extra="forbid", strict=True)

    address: Annotated[Short, Field(max_length=254)]
    who: Short | None = Field(None, description="kind:key of the person; left out, a claim is made")
    claim: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None


def router(office: Office) -> APIRouter:
    """The paths of the API."""

    def allowed(given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
        token = office.company.settings.get("KEPT_API_TOKEN", "")
        if not token:
            raise api.Refused(403, "the API is closed", "set KEPT_API_TOKEN, a long random text")
        if given is None or not hmac.compare_digest(given.credentials.encode(), token.encode()):
            raise api.Refused(401, "the token is missing or wrong", "send it as `Authorization: Bearer …`")

    made = APIRouter(prefix="/api", dependencies=[Depends(allowed)])

    @made.post("/collect/{step}", summary="Judge a form: what of it may be written")
    async def judge(step: Annotated[str, Path(max_length=200)], given: Form) -> Response:
        return await run_in_threadpool(_answered, partial(_collect, office.company, step, given))

    @made.post("/verified/email", status_code=202, summary="Send a link by which an address is verified")
    async def verify(given: Address) -> Response:
        answered = await run_in_threadpool(_answered, partial(_verify, office.company, given), 202)
        office.bell.set()
        return answered

    return made


def pages(office: Office) -> list[Route]:
    """The page behind the link in a letter. Opening it changes nothing; its button does."""

    async def show(asked: Asked) -> Response:
        return await run_in_threadpool(_show, office.company, asked.path_params["token"])

    async def follow(asked: Asked) -> Response:
        return await run_in_threadpool(_follow, office.company, asked.path_params["token"])

    return [
        Route("/email/{token}", show, methods=["GET"]),
        Route("/email/{token}", follow, methods=["POST"]),
    ]


def _answered(do: partial[dict[str, Any]], status: int = 200) -> Response:
    try:
        return JSONResponse(do(), status, SECURITY)
    except Refused as wrong:
        return JSONResponse(why(wrong), _STATUS.get(wrong.reason, 422), SECURITY)


def _collect(company: Company, step: str, given: Form) -> dict[str, Any]:
    who = _person(company, given.who)
    kind = who.kind if who is not None else None
    found = collect(
        company,
        step,
        given.form,
        source=given.source if given.source is not None else only_source(company.policy, step),
        who=who,
        region=given.region,
        signals=frozenset(given.signals),
        strict=given.strict,
        evidence=given.evidence,
        age=answer(company, given.born, given.region, kind=kind) if given.born is not None else None,
        guardian=_person(company, given.guardian),
        role=given.role,
    )
    return {
        "step": found.step,
        "source": found.source,
        "clause": list(found.clause),
        "taken": found.taken,
        "dropped": found.dropped,
        "optional_missing": list(found.optional_missing),
        "blotted": list(found.blotted),
        "unseen": list(found.unseen),
        "age": found.age.band if found.age is not None else None,
    }


def _verify(company: Company, given: Address) -> dict[str, Any]:
    who = _person(company, given.who)
    holder: verified.Holder = who if who is not None else given.claim or verified.new_claim()
    verified.ask_email(company, holder, given.address)
    return {"claim": holder if isinstance(holder, str) else None}


def _person(company: Company, who: str | None) -> Person | None:
    if who is None:
        return None
    kind, colon, key = who.partition(":")
    if not colon or not key or company.policy.root(kind) is None:
        raise Refused("nobody", "nobody can be called so", help="a person is written kind:key")
    return person_of(company.policy, who)


def _show(company: Company, token: str) -> Response:
    try:
        verified.read_link(company, token)
    except LinkWrong as wrong:
        return _wrong(company, wrong)
    return page(company, "email.html", token=token)


def _follow(company: Company, token: str) -> Response:
    try:
        verified.follow(company, token)
    except LinkWrong as wrong:
        return _wrong(company, wrong)
    return said(
        company, 200, "Thank you", "We know now that this address is yours. You can go on where you were."
    )


def _wrong(company: Company, wrong: LinkWrong) -> Response:
    if wrong.kind == "forged":
        text = "Perhaps a part of it was lost on the way. Copy the whole link out of our letter, up to its last letter."
        return said(company, 404, "This is not a link of ours", text)
    if wrong.kind == "expired":
        return said(
            company,
            410,
            "This link is too old",
            "It worked for a day. Ask for a new one where you gave us your address.",
        )
    return said(
        company,
        409,
        "This link was used before",
        "It works once, and only the newest one does. If it was you who used it, all is well.",
    )
