"""`/verify/TOKEN`: the link in a letter, by which a person says that it was they who asked.

Mail scanners and previews follow links, so opening it changes nothing: the button does. It counts once, in the
transaction in which the request goes on.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select, update
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from kept.company import Company
from kept.controls.acts import kinds
from kept.controls.rights import copies, intake, register
from kept.controls.rights.desk import Desk
from kept.controls.rights.letters import ASKED, PAGE_FOR
from kept.controls.rights.register import Request
from kept.errors import KeptError, TransientError
from kept.evidence.links import Link, LinkWrong
from kept.server.office import Office
from kept.server.pages import SECURITY, base_of, page, said
from kept.state.tables import links


def routes(office: Office) -> list[Route]:
    """The pages of a link."""

    async def show(asked: Asked) -> Response:
        return await run_in_threadpool(_show, office.company, asked.path_params["token"])

    async def follow(asked: Asked) -> Response:
        without = asked.query_params.get("copy") == "without"
        answer = await run_in_threadpool(_follow, office.company, asked.path_params["token"], without)
        office.bell.set()
        return answer

    async def copy(asked: Asked) -> Response:
        answer = await run_in_threadpool(_copy, office.company, asked.path_params["token"])
        office.bell.set()
        return answer

    async def again(asked: Asked) -> Response:
        answer = await run_in_threadpool(_again, office.company, asked.path_params["token"])
        office.bell.set()
        return answer

    return [
        Route("/verify/{token}", show, methods=["GET"]),
        Route("/verify/{token}", follow, methods=["POST"]),
        Route("/verify/{token}/copy", copy, methods=["POST"]),
        Route("/verify/{token}/again", again, methods=["POST"]),
    ]


def _show(company: Company, token: str) -> Response:
    try:
        _, request = _read(company, token)
    except LinkWrong as wrong:
        return _wrong(company, token, wrong)
    state, own = _offer(company, request)
    return page(
        company,
        "verify.html",
        token=token,
        asked=ASKED[request.verb],
        received=_day(company, request.received),
        copy=state,
        copy_page=own,
    )


def _offer(company: Company, request: Request) -> tuple[str | None, str | None]:
    """How it stands with a copy before an erasure (`offered`, `making`, `there`), and the token of its page."""
    if not copies.is_offered(company, request):
        return None, None
    copy = copies.of(company, request.pseudonym)
    if copy is None:
        return "offered", None
    own = company.links.make("page", copy.id, company.clock() + PAGE_FOR)
    return "making" if copy.is_open else "there", own


def _follow(company: Company, token: str, without: bool) -> Response:
    """The button was pressed; `without`: they know that they won't get the copy that is being made."""
    try:
        link, request = _read(company, token)
        if not without and _offer(company, request)[0] == "making":
            return _show(company, token)

        def use(connection: Connection) -> None:
            marked = connection.execute(
                update(links)
                .where(links.c.id == link.id, links.c.used.is_(None))
                .values(used=company.clock().isoformat())
            )
            if marked.rowcount != 1:
                raise LinkWrong("used", request.id)

        Desk(company, kinds(company)).met(request, None, along=use)
    except LinkWrong as wrong:
        return _wrong(company, token, wrong)
    own = company.links.make("page", request.id, company.clock() + PAGE_FOR)
    return RedirectResponse(f"{base_of(company)}/request/{own}", 303, SECURITY)


def _copy(company: Company, token: str) -> Response:
    """Make the copy that is offered first; the link stays good for the erasure."""
    try:
        request = _read(company, token)[1]
    except LinkWrong as wrong:
        return _wrong(company, token, wrong)
    if not copies.is_offered(company, request):
        return _wrong(company, token, LinkWrong("forged"))
    try:
        copy = copies.ask(Desk(company, kinds(company)), request)
    except TransientError:
        raise
    except KeptError:
        return said(
            company,
            409,
            "We can't make this copy by ourselves",
            "Please write to us, and a member of our staff sees to it. Nothing is erased until you open the link in "
            "our letter again.",
        )
    own = company.links.make("page", copy.id, company.clock() + PAGE_FOR)
    return RedirectResponse(f"{base_of(company)}/request/{own}", 303, SECURITY)


def _again(company: Company, token: str) -> Response:
    try:
        request = _read(company, token)[1]
    except LinkWrong as wrong:
        if wrong.subject is None:
            return _wrong(company, token, wrong)
        try:
            request = register.get(company, wrong.subject)
        except KeptError:
            return _wrong(company, token, LinkWrong("forged"))
    if not request.is_open:
        return said(
            company,
            410,
            "This request is closed",
            "It has been answered or has lapsed, so there is no new link for it. You can make a new request.",
            ask=True,
        )
    if not intake.again(Desk(company, kinds(company)), request):
        return said(
            company,
            429,
            "We have written to you already",
            "We wrote to you about this request several times today. Please look among the letters that your mail "
            "program took for advertising, or try again tomorrow.",
        )
    return said(
        company,
        200,
        "A letter is on its way",
        "We have sent it to the address we have on record for you. What was sent before works no more.",
    )


def _read(company: Company, token: str) -> tuple[Link, Request]:
    """The link, if it counts now, and the request it is for; else LinkWrong."""
    link = company.links.read(token, "verify")
    with company.state.read() as connection:
        row = connection.execute(select(links.c.request, links.c.used).where(links.c.id == link.id)).first()
    if row is None or row.request != link.subject:
        raise LinkWrong("forged")
    found = register.of_ids(company, [link.subject])
    if not found:
        raise LinkWrong("forged")
    [request] = found
    if request.state == "lapsed":
        raise LinkWrong("expired", request.id)
    if row.used is not None or not request.is_open or request.awaits != "identity":
        raise LinkWrong("used", request.id)
    return link, request


def _wrong(company: Company, token: str, wrong: LinkWrong) -> Response:
    """Why a link doesn't count, and a way on."""
    if wrong.kind == "forged" or wrong.subject is None:
        return said(
            company,
            404,
            "This is not a link of ours",
            "Perhaps a part of it was lost on the way. Copy the whole link out of our letter, up to its last letter.",
            ask=True,
        )
    if wrong.kind == "expired":
        return said(
            company,
            410,
            "This link is too old",
            "The time in which it worked is over, and nothing was done. We can send you a new one, if your request is "
            "still open.",
            again=token,
        )
    return said(
        company,
        409,
        "This link was used before",
        "It works once, and only the newest one does. If it was you who used it, all is well: your request goes on. "
        "We can write to you how it stands.",
        again=token,
    )


def _day(company: Company, at: datetime) -> str:
    local = at.astimezone(company.policy.timezone)
    return f"{local.day} {local:%B %Y}"
