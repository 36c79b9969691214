"""The board as a page, for the machine it runs on."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse, JSONResponse

from kept.evidence.board import Board
from kept.server.pages import PAGES, SECURITY


def render(boards: dict[str, Board]) -> str:
    """One page with a board under each title."""
    return PAGES.get_template("board.html").render(boards=boards)


def app(boards: Callable[[], dict[str, Board]]) -> FastAPI:
    """The page at `/`, the same as JSON at `/board.json`; `boards` is asked at every visit."""
    server = FastAPI(title="Kept", docs_url=None, redoc_url=None, openapi_url=None)
    style = PAGES.get_template("board.css").render()

    # Plain functions run in a thread each, so that measuring doesn't hold up other visitors.
    @server.get("/", response_class=HTMLResponse)
    def page() -> HTMLResponse:
        return HTMLResponse(render(boards()), headers=SECURITY)

    @server.get("/board.json")
    def data() -> JSONResponse:
        return JSONResponse({title: board.as_json() for title, board in boards().items()}, headers=SECURITY)

    @server.get("/board.css")
    def css() -> Response:
        return Response(style, media_type="text/css", headers=SECURITY)

    return server
