"""`/request/TOKEN`: the page of one request, for its person: how it stands, and what they can do."""

from __future__ import annotations

from datetime import timedelta

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from kept.company import Company
from kept.controls.acts import kinds
from kept.controls.rights import batches, intake, recipients, register
from kept.controls.rights.desk import Desk
from kept.controls.rights.letters import ANSWER_DAYS
from kept.controls.rights.register import Request
from kept.errors import KeptError, TransientError
from kept.evidence.links import LinkWrong
from kept.server.fields import fields, is_ours, token_of
from kept.server.office import Office
from kept.server.pages import SECURITY, base_of, page, said
from kept.server.status import ZIPPED, status


class Download(FileResponse):
    """A file from the disk, 1 MiB at a time: answers have gigabytes."""

    chunk_size = 1 << 20


def routes(office: Office) -> list[Route]:
    """The pages of a request."""

    async def show(asked: Asked) -> Response:
        return await run_in_threadpool(_show, office.company, asked.path_params["token"])

    async def answer(asked: Asked) -> Response:
        return await run_in_threadpool(_answer, office.company, asked.path_params["token"])

    async def call_off(asked: Asked) -> Response:
        return await act(asked, "call-off")

    async def link(asked: Asked) -> Response:
        return await act(asked, "link")

    async def act(asked: Asked, what: str) -> Response:
        form = await fields(asked)
        token = asked.path_params["token"]
        told = await run_in_threadpool(_act, office.company, token, what, form.get("form", ""))
        office.bell.set()
        return told

    return [
        Route("/request/{token}", show, methods=["GET"]),
        Route("/request/{token}/answer", answer, methods=["GET"]),
        Route("/request/{token}/call-off", call_off, methods=["POST"]),
        Route("/request/{token}/link", link, methods=["POST"]),
    ]


def _show(company: Company, token: str) -> Response:
    try:
        request = _read(company, token)
    except LinkWrong as wrong:
        return _wrong(company, wrong)
    shown = status(
        company.policy,
        request,
        register.history(company, request.id),
        recipients.listing(company, request.id),
        has_answer=_has_answer(company, request),
        held_up=request.act is not None and request.act in batches.problems(company),
    )
    form = token_of(company, request.id)
    return page(company, "request.html", shown=shown, token=token, form=form)


def _answer(company: Company, token: str) -> Response:
    """The zip, streamed from the disk."""
    try:
        request = _read(company, token)
    except LinkWrong as wrong:
        return _wrong(company, wrong)
    if not _has_answer(company, request):
        return said(
            company,
            410,
            "The answer isn't there any more",
            f"We keep an answer for {ANSWER_DAYS} days, and then remove it. You can ask again whenever you like.",
            ask=True,
        )
    return Download(
        company.answers / f"{request.id}.zip",
        media_type="application/zip",
        filename="your-data.zip",
        headers=SECURITY,
    )


def _act(company: Company, token: str, what: str, form: str) -> Response:
    try:
        request = _read(company, token)
    except LinkWrong as wrong:
        return _wrong(company, wrong)
    if not is_ours(company, form, request.id):
        return said(
            company,
            403,
            "This page was open for too long",
            "Nothing was done. Open the page of your request again, and press the button there.",
            back=token,
        )
    desk = Desk(company, kinds(company))
    try:
        if what == "call-off":
            desk.call_off(request, None)
        elif not intake.again(desk, request):
            return said(
                company,
                429,
                "We have written to you already",
                "We wrote to you about this request several times today. Please look among the letters that your "
                "mail program took for advertising, or try again tomorrow.",
                back=token,
            )
    except TransientError:
        raise
    except KeptError:
        return said(
            company,
            409,
            "It is too late for that",
            "Meanwhile your request has gone on. Its page says how it stands.",
            back=token,
        )
    return RedirectResponse(f"{base_of(company)}/request/{token}", 303, SECURITY)


def _read(company: Company, token: str) -> Request:
    link = company.links.read(token, "page")
    found = register.of_ids(company, [link.subject])
    if not found:
        raise LinkWrong("forged")
    return found[0]


def _has_answer(company: Company, request: Request) -> bool:
    if request.state != "done" or request.verb not in ZIPPED or request.closed is None:
        return False
    over = request.closed + timedelta(days=ANSWER_DAYS) <= company.clock()
    return not over and (company.answers / f"{request.id}.zip").is_file()


def _wrong(company: Company, wrong: LinkWrong) -> Response:
    if wrong.kind == "expired":
        return said(
            company,
            410,
            "This page is gone",
            "The page of a request can be seen for half a year after our last letter about it.",
            ask=True,
        )
    return said(
        company,
        404,
        "This is not a link of ours",
        "Perhaps a part of it was lost on the way. Copy the whole link out of our letter, up to its last letter.",
        ask=True,
    )
