"""`/leave/TOKEN` and `/confirm/TOKEN`: the two links in letters that take back a choice, or give its second yes.

Mail scanners and previews open links, so opening one changes nothing: a button does, and for leaving the POST of a
mailbox provider (RFC 8058), which carries `List-Unsubscribe=One-Click` and gets a short answer without a page.
"""

from __future__ import annotations

from email import message_from_bytes
from typing import Final
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from kept.company import Company
from kept.controls.choices.messages import confirm, leave, preferences, whose
from kept.controls.choices.messages.about import about
from kept.controls.choices.messages.confirm import Overtaken
from kept.controls.choices.messages.leave import ONE_CLICK, Leaving
from kept.controls.choices.messages.letter import described
from kept.controls.choices.messages.words import Words, languages
from kept.controls.choices.records import notices
from kept.evidence.links import LinkWrong
from kept.server.office import Office
from kept.server.pages import SECURITY, page
from kept.server.preferences import in_words, spoken, wrong

NAME, VALUE = ONE_CLICK.split("=")
BUTTON: Final = "button"  # what the page's own button sends in the same field


def routes(office: Office) -> list[Route]:
    """The pages of both links, and what takes their buttons."""

    async def show(asked: Asked) -> Response:
        return await run_in_threadpool(_show, office.company, asked.path_params["token"], spoken(asked))

    async def left(asked: Asked) -> Response:
        sent = _one_click(asked.headers.get("content-type", ""), await asked.body())
        token = asked.path_params["token"]
        return await run_in_threadpool(_leave, office.company, token, spoken(asked), sent)

    async def ask(asked: Asked) -> Response:
        return await run_in_threadpool(_ask, office.company, asked.path_params["token"], spoken(asked))

    async def confirmed(asked: Asked) -> Response:
        return await run_in_threadpool(_confirm, office.company, asked.path_params["token"], spoken(asked))

    return [
        Route("/leave/{token}", show, methods=["GET"]),
        Route("/leave/{token}", left, methods=["POST"]),
        Route("/confirm/{token}", ask, methods=["GET"]),
        Route("/confirm/{token}", confirmed, methods=["POST"]),
    ]


def _show(company: Company, token: str, say: Words) -> Response:
    try:
        leaving = leave.read(company, token)
    except LinkWrong as why:
        return wrong(company, say, why)
    if leaving.who is None or leaving.choice is None:
        return in_words(company, say, "gone", 410)
    name = str(leaving.choice.name)
    what = notices.describe(company.policy, [name], language=say.language, region=None)[name]
    return page(
        company,
        "leave.html",
        say=say,
        languages=languages(),
        token=token,
        title=what["title"],
        about=about(company.policy, leaving.choice, say.language),
        channel=say.part("channels", leaving.scope) if leaving.choice.each == "channel" else None,
        field=NAME,
        value=BUTTON,
        to_page=_own_page(company, leaving),
    )


def _leave(company: Company, token: str, say: Words, sent: str) -> Response:
    if sent not in (VALUE, BUTTON):
        return PlainTextResponse(f"expected {ONE_CLICK}\n", 400, SECURITY)
    try:
        leaving = leave.leave(company, token, "one-click" if sent == VALUE else "page")
    except LinkWrong as why:
        if sent == VALUE:
            return PlainTextResponse(f"{why.message}\n", 410 if why.kind == "expired" else 404, SECURITY)
        return wrong(company, say, why)
    if sent == VALUE:
        return PlainTextResponse("you get no more of these messages\n", 200, SECURITY)
    if leaving.who is None or leaving.choice is None:
        return in_words(company, say, "gone", 410)
    return in_words(company, say, "left", to_page=_own_page(company, leaving))


def _ask(company: Company, token: str, say: Words) -> Response:
    try:
        _, pending = confirm.read(company, token)
    except LinkWrong as why:
        return wrong(company, say, why)
    except Overtaken as why:
        return in_words(company, say, why.why, 410)
    return page(
        company,
        "confirm.html",
        say=say,
        languages=languages(),
        token=token,
        asked=described(company, pending),
        day=say.day(pending.events[0].at, company.policy.timezone),
    )


def _confirm(company: Company, token: str, say: Words) -> Response:
    try:
        done = confirm.follow(company, token)
    except LinkWrong as why:
        return wrong(company, say, why)
    except Overtaken as why:
        return in_words(company, say, why.why, 410)
    number = whose.numbers(company, [done[0].new.who])[done[0].new.who]
    return in_words(company, say, "confirmed", to_page=preferences.token_of(company, number))


def _own_page(company: Company, leaving: Leaving) -> str | None:
    if leaving.who is None:
        return None
    return preferences.token_of(company, whose.numbers(company, [leaving.who])[leaving.who])


def _one_click(kind: str, body: bytes) -> str:
    """What a POST says under `List-Unsubscribe`: form-encoded or multipart (RFC 8058 §3.2); empty for anything else."""
    sort = kind.partition(";")[0].strip().lower()
    if sort == "application/x-www-form-urlencoded":
        try:
            found = parse_qs(body.decode("ascii"), max_num_fields=20).get(NAME, [])
        except ValueError:  # not ASCII, or too many fields
            return ""
        return found[0] if len(found) == 1 else ""
    if sort != "multipart/form-data" or not kind.isascii() or "\n" in kind or "\r" in kind:
        return ""
    parts = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode("ascii") + body).walk()
    for part in parts:
        if part.get_param("name", header="content-disposition") == NAME:
            content = part.get_payload(decode=True)
            return content.decode("ascii", "replace").strip() if isinstance(content, bytes) else ""
    return ""
