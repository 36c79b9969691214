"""Everything Kept serves to people and to the company's own systems, put together."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request as Asked
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from kept.errors import KeptError, TransientError
from kept.server import (
    api,
    ask,
    banner,
    choosing,
    collecting,
    deciding,
    decisions,
    disclosing,
    leaving,
    looking,
    person,
    preferences,
    receipts,
    verify,
)
from kept.server.asking import question
from kept.server.fields import NotAForm
from kept.server.guard import LOG, Guard, TooMuch
from kept.server.office import Office
from kept.server.pages import PAGES, SECURITY, said

STYLES: Final = ("board.css", "people.css")
_TITLES: Final = {404: "There is no such page", 405: "This page can't be used like that"}


def site(office: Office) -> ASGIApp:
    """The banner, the pages for people (`/ask`, `/preferences/…`, …) and the API (`/api/…`, described in OpenAPI)."""
    server = FastAPI(
        title="Kept",
        summary="Requests of people, for the company's own systems.",
        docs_url=None,  # its scripts would be loaded from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,  # it would redirect to whatever host the visitor names
    )
    pages = [*(_style(name) for name in STYLES), *ask.routes(office), *verify.routes(office)]
    pages += [
        *banner.routes(office),
        *receipts.routes(office),
        *leaving.routes(office),
        *preferences.routes(office),
    ]
    server.router.routes.extend([*pages, *person.routes(office), *collecting.pages(office)])
    server.include_router(api.router(office))
    server.include_router(choosing.router(office))
    server.include_router(collecting.router(office))
    server.include_router(looking.router(office))
    server.include_router(disclosing.router(office))
    server.include_router(decisions.router(office))

    def fault(path: str, wrong: Exception) -> Response:
        """What went wrong, for a program or for a person; never with anybody's data."""
        status = _status(wrong)
        if path.startswith("/api/"):
            return api.fault(status, wrong)
        company = office.company
        if isinstance(wrong, HTTPException):
            return said(company, status, _TITLES.get(status, "This can't be done"), ask=True)
        if status == 503:
            LOG.warning("%s", wrong.message if isinstance(wrong, KeptError) else "")
            sorry = "Something of ours doesn't answer just now. Nothing is lost."
            return said(company, 503, "Please try again in a moment", sorry)
        if not isinstance(wrong, KeptError):
            sorry = "It is our fault, and we have been told. Please try again later."
            return said(company, 500, "Something went wrong here", sorry)
        return said(company, status, "This can't be done", f"{wrong.message[:1].upper()}{wrong.message[1:]}.")

    async def handler(asked: Asked, wrong: Exception) -> Response:
        return await run_in_threadpool(fault, asked.url.path, wrong)

    for kind in (HTTPException, KeptError, Exception):
        server.add_exception_handler(kind, handler)
    api.say_invalid(server)
    question.describe(server)
    return deciding.Deciding(office, Guard(server, fault), fault)


def _status(wrong: Exception) -> int:
    if isinstance(wrong, HTTPException):
        return wrong.status_code
    if isinstance(wrong, api.Refused):
        return wrong.status
    kinds: tuple[tuple[type[Exception], int], ...] = (
        (TooMuch, 413),
        (NotAForm, 400),
        (TransientError, 503),
        (KeptError, 400),
    )
    return next((status for kind, status in kinds if isinstance(wrong, kind)), 500)


def _style(name: str) -> Route:
    text = PAGES.get_template(name).render()
    headers = SECURITY | {"Cache-Control": "public, max-age=3600"}

    async def style(asked: Asked) -> Response:
        return Response(text, media_type="text/css", headers=headers)

    return Route(f"/{name}", style, methods=["GET"])
