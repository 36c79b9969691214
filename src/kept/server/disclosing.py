"""`/api/disclose`, `/api/disclosures`: handing data to a party, for the company's own systems.

What comes back is what the recipient may get: stripped to what is declared, and on the register before it is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Response
from fastapi.encoders import jsonable_encoder
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from kept.company import Company
from kept.controls.disclosure import register
from kept.controls.disclosure.enforce import disclose
from kept.controls.refused import Refused
from kept.controls.rights.people import Person, resolve
from kept.server import api
from kept.server.api import Short, Text, guarded
from kept.server.office import Office
from kept.server.pages import SECURITY

AT_ONCE: Final = 1000  # people of one call


class Disclosing(BaseModel):
    """Data that is to be handed to a party."""

    model_config = ConfigDict(extra="forbid", strict=True)

    recipient: Short
    purpose: Short
    whos: list[Short] = Field(
        min_length=1, max_length=AT_ONCE, description="kind:key, or an identifier, each"
    )
    data: list[Short] | None = Field(None, min_length=1, max_length=100, description="all when left out")
    records: dict[Short, dict[Short, Any]] | None = Field(
        None, max_length=AT_ONCE, description="yours, by who; read from the stores when left out"
    )
    by: Annotated[Short, Field(max_length=200)] | None = Field(None, description="role and key: support:4")
    case: Annotated[Short, Field(max_length=240)] | None = Field(None, description="LINK:KEY or case:ID")
    evidence: dict[Short, Text] = Field({}, max_length=10, description="what is needed: document, reason …")
    signals: list[Literal["gpc", "device"]] = []
    in_return: Text | None = Field(None, description="what the recipient gives for it; anything is refused")
    key: Annotated[Short, Field(max_length=200)] | None = Field(
        None, description="yours: sent twice, it is one"
    )


def router(office: Office) -> APIRouter:
    """The paths; every one wants the token."""
    made = guarded(office)

    async def answered(do: Callable[[], Any], response: Response) -> Any:
        response.headers.update(SECURITY)
        return await run_in_threadpool(do)

    @made.post(
        "/disclose",
        summary="Hand a party what the policy says it gets; on the register before it is answered",
    )
    async def give(given: Disclosing, response: Response) -> dict[str, Any]:
        found: dict[str, Any] = await answered(lambda: _disclosed(office.company, given), response)
        if "rule" in found:
            response.status_code = 403
        return found

    @made.get("/disclosures", summary="What was given to whom, oldest first; people under pseudonyms")
    async def listed(
        response: Response, to: str | None = None, who: str | None = None, since: AwareDatetime | None = None
    ) -> list[dict[str, Any]]:
        def do() -> list[dict[str, Any]]:
            company = office.company
            if to is not None and not register.is_recipient(company, to):
                known = ", ".join(map(str, company.policy.parties))
                raise api.Refused(422, "`to` is no such recipient", f"known: {known}")
            of = None
            if who is not None:
                of = list(company.pseudonyms.find([str(_people(company, [who])[who])]).values())
            return [row.as_json() for row in register.rows(company, to=to, of=of, since=since)]

        found: list[dict[str, Any]] = await answered(do, response)
        return found

    return made


def _people(company: Company, whos: list[str]) -> dict[str, Person]:
    found: dict[str, Person] = {}
    for who in dict.fromkeys(whos):
        one = resolve(company, [who]) if not _is_key(company, who) else None
        if one is not None and one.wrong:
            raise api.Refused(404, one.wrong[0][1], "name somebody as kind:key, or by their e-mail address")
        found[who] = one.people[0] if one is not None else _by_key(company, who)
    return found


def _is_key(company: Company, who: str) -> bool:
    root = company.policy.root(who.partition(":")[0]) if ":" in who else None
    return root is not None and len(root.key_columns) == 1


def _by_key(company: Company, who: str) -> Person:
    kind, _, key = who.partition(":")
    root = company.policy.root(kind)
    assert root is not None
    return Person(str(root.name), (key,))  # whether there is somebody like that, the gate says


def _disclosed(company: Company, given: Disclosing) -> dict[str, Any]:
    people = _people(company, given.whos)
    records = None
    if given.records is not None:
        if given.records.keys() != people.keys():
            raise api.Refused(
                422, "`records` aren't those of `whos`", "one record for each, under the same word"
            )
        if len(set(people.values())) < len(people):
            raise api.Refused(422, "two of `whos` are one person", "one record for each person")
        records = {people[who]: record for who, record in given.records.items()}
    try:
        done = disclose(
            company,
            given.recipient,
            list(people.values()),
            purpose=given.purpose,
            data=given.data,
            records=records,
            by=given.by,
            case=given.case,
            evidence=given.evidence,
            signals=frozenset(given.signals),
            in_return=given.in_return,
            key=given.key,
        )
    except Refused as refused:
        return {
            "allowed": False,
            "rule": refused.reason,
            "reason": refused.message,
            "clause": list(refused.clause),
            "help": refused.help,
        }
    whose = {person: who for who, person in people.items()}
    told = {
        "allowed": True,
        "id": done.id,
        "disclosure": done.disclosure,
        "recipient": done.recipient,
        "purpose": done.purpose,
        "safeguard": done.safeguard,
        "clause": list(done.clause),
        "again": done.again,
        "columns": list(done.columns),
        "stripped": list(done.stripped),
        "records": {whose[who]: dict(record) for who, record in done.records.items()},
        "refused": {
            whose[who]: {"reason": one.reason, "unsure": one.unsure} for who, one in done.refused.items()
        },
    }
    shown: dict[str, Any] = jsonable_encoder(told)
    return shown
