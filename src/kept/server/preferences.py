"""`/preferences/TOKEN`: what somebody can switch, by a signed link and without log-in, in one form and no script."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from kept.company import Company
from kept.controls.choices.messages import preferences, whose
from kept.controls.choices.messages.preferences import GROUPS, Item, Offered, Preferences
from kept.controls.choices.messages.words import Words, languages, picked, words
from kept.controls.choices.records.book import Recorded, Refused
from kept.controls.choices.records.states import STANDING
from kept.controls.collection.persons import wards
from kept.controls.collection.persons.wards import Ward
from kept.controls.rights import addresses
from kept.controls.rights.people import Person
from kept.evidence.links import LinkWrong
from kept.server.fields import fields, is_ours, token_of
from kept.server.office import Office
from kept.server.pages import PAGES, SECURITY, base_of, page

MOST: Final = 500  # switches on one page
TOLD: Final = ("saved", "unchanged", "letter")


def routes(office: Office) -> list[Route]:
    """The page, and what takes its form."""

    async def show(asked: Asked) -> Response:
        return await run_in_threadpool(
            _show,
            office.company,
            asked.path_params["token"],
            spoken(asked),
            asked.headers.get("sec-gpc") == "1",
            asked.query_params.get("told", ""),
        )

    async def take(asked: Asked) -> Response:
        form = await fields(asked, MOST)
        gpc = asked.headers.get("sec-gpc") == "1"
        token = asked.path_params["token"]
        answer = await run_in_threadpool(_take, office.company, token, spoken(asked), gpc, form)
        office.bell.set()  # a letter may have to be written
        return answer

    return [
        Route("/preferences/{token}", show, methods=["GET"]),
        Route("/preferences/{token}", take, methods=["POST"]),
    ]


def spoken(asked: Asked) -> Words:
    """The language of a page: by `?language=`, else by what the browser accepts."""
    return words(picked(asked.query_params.get("language"), asked.headers.get("accept-language", "")))


def in_words(
    company: Company, say: Words, key: str, status: int = 200, *, to_page: str | None = None, **values: Any
) -> Response:
    """A page that only says something in the reader's language: the title and text under `key`.

    `to_page` is the token of their page, where there is one to offer.
    """
    return page(
        company, "told.html", status, say=say, key=key, to_page=to_page, languages=languages(), **values
    )


def wrong(company: Company, say: Words, why: LinkWrong) -> Response:
    """Why a link doesn't count."""
    return in_words(company, say, why.kind, {"forged": 404, "expired": 410, "used": 409}[why.kind])


def _show(company: Company, token: str, say: Words, gpc: bool, told: str) -> Response:
    try:
        who = preferences.whose_page(company, token)
    except LinkWrong as why:
        return _wrong(company, say, why)
    if who is None:
        return in_words(company, say, "gone", 410)
    mine = preferences.preferences(company, who, say.language, gpc=gpc)
    if preferences.signalled(company, mine):
        mine = preferences.preferences(company, who, say.language, gpc=gpc)
    notice = preferences.notice_of(company, mine, say, layout())
    return page(
        company,
        "preferences.html",
        say=say,
        languages=languages(),
        token=token,
        mine=mine,
        groups=[(group, mine.of(group)) for group in GROUPS if mine.of(group)],
        how=_how(company, say),
        channels=lambda one: ", ".join(say.part("channels", name) for name in one.channels),
        wards=_wards(company, who),
        day=lambda at: say.day(at, company.policy.timezone),
        was=" ".join(f"{field}={item.answer}" for field, item in mine.open().items()),
        notice=notice,
        form=token_of(company, _subject(mine, notice)),
        told=told if told in TOLD else "",
    )


def _take(company: Company, token: str, say: Words, gpc: bool, form: dict[str, str]) -> Response:
    try:
        who = preferences.whose_page(company, token)
    except LinkWrong as why:
        return _wrong(company, say, why)
    if who is None:
        return in_words(company, say, "gone", 410)
    mine, notice = preferences.preferences(company, who, say.language, gpc=gpc), form.get("notice", "")
    ours = form.get("form", "")
    if not is_ours(company, ours, _subject(mine, notice)):
        return in_words(company, say, "stale", 403, to_page=token)
    try:
        if form.get("do", "").startswith("end "):
            done = _end(company, who, form["do"].removeprefix("end "))
        else:
            refusing = form.get("do") == "refuse"
            answers = preferences.all_refused(mine) if refusing else _changed(mine, form)
            done = preferences.change(company, mine, answers, notice, ours)
    except Refused:  # the policy was changed while the page was open
        return in_words(company, say, "stale", 409, to_page=token)
    told = "unchanged" if not done else "letter" if any(one.state == "Requested" for one in done) else "saved"
    place = f"{base_of(company)}/preferences/{token}?language={say.language}&told={told}"
    return RedirectResponse(place, 303, SECURITY)


@dataclass(frozen=True)
class InCare:
    """Somebody a guardian answers for, on the guardian's page. `label` is enough for one who knows them."""

    field: str
    label: str
    stands: bool
    ward: Ward


def _wards(company: Company, guardian: Person) -> list[InCare]:
    found = wards.wards(company, guardian)
    people = [one.person for one in found]
    numbers, known = whose.numbers(company, people), addresses.of(company, people)
    return [
        InCare(
            str(numbers[one.person]),
            _hint(known[one.person]) if one.person in known else " ".join(one.person.key),
            one.state in STANDING,
            one,
        )
        for one in found
    ]


def _end(company: Company, guardian: Person, field: str) -> list[Recorded]:
    """A guardian ends a permission; what is none of theirs is left alone."""
    mine = next((one for one in _wards(company, guardian) if one.field == field), None)
    return wards.end(company, guardian, mine.ward.person, way="page") if mine is not None else []


def _hint(address: str) -> str:
    """An address as one who knows it recognises it: `ad…@mail.example`."""
    local, _, domain = address.rpartition("@")
    return f"{local[:2]}…@{domain}"


def _changed(mine: Preferences, form: dict[str, str]) -> dict[str, str]:
    """What somebody marked otherwise than the page showed it: what they left alone is no answer of theirs."""
    was = dict(pair.split("=", 1) for pair in form.get("was", "").split(" ") if "=" in pair)
    return {
        field: form[field] for field in mine.open() if field in form and form[field] != was.get(field, "")
    }


def _how(company: Company, say: Words) -> Any:
    """What the page says of how a switch stands."""

    def how(one: Offered, item: Item) -> str:
        event = item.event
        key, values = f"state-{item.stands}", {}
        if event is not None and item.stands not in ("none", "on", "signal", "withdrawn"):
            values = {
                "day": say.day(event.at, company.policy.timezone),
                "way": say.part("ways", event.way),
            }
        if one.by_guardian:
            key = "guardian-yes" if item.stands == "yes" else "guardian-no"
        return say(key, **values)

    return how


def _subject(mine: Preferences, notice: str) -> str:
    """What a form is bound to: whose page it is, and what it showed."""
    return sha256(f"{mine.number} {notice}".encode()).hexdigest()[:40]


@cache
def layout() -> str:
    """SHA-256 (hex) of the page's template and style: a notice says how it looked."""
    loader = PAGES.loader
    assert loader is not None
    sources = (
        loader.get_source(PAGES, name)[0]
        for name in ("preferences.html", "choices.html", "people.css", "board.css")
    )
    return sha256("\0".join(sources).encode()).hexdigest()


def _wrong(company: Company, say: Words, why: LinkWrong) -> Response:
    if why.kind == "expired":
        return in_words(company, say, "page-expired", 410, title_key="expired-title")
    return wrong(company, say, why)
