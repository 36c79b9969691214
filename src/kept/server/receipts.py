"""`/receipt/TOKEN`: what somebody chose, in words they can read and as a signed file they can keep.

The link is the company's own, for one record, and tells nothing about whom it is for. No other way leads to the
page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import Response
from starlette.routing import Route

from kept.company import Company
from kept.controls.choices.records import receipt
from kept.evidence.links import LinkWrong
from kept.policy.wording import words_of
from kept.server.office import Office
from kept.server.pages import SECURITY, base_of, page, said

SAYS: Final = {
    "ConsentRequested": "You were asked",
    "ConsentRequestDeferred": "You put the answer off",
    "ConsentRefused": "You said no",
    "ConsentGiven": "You said yes",
    "RenewedConsentGiven": "You said yes once more",
    "ConsentExpired": "Your yes lapsed",
    "ConsentInvalidated": "Your yes was found not to count",
    "ConsentRevoked": "We ended it",
    "ConsentWithdrawn": "You took your yes back",
    "ConsentUnknown": "It isn't known what you said",
}
RIGHT_TO_LEFT: Final = frozenset({"ar", "dv", "fa", "he", "ku", "ps", "sd", "ug", "ur", "yi"})
_FIRST: Final = (
    "title",
    "heading",
    "text",
    "intro",
)  # of the words of a notice: what is read first comes first
_CHOSEN: Final = "kept-receipt"  # of the file's name


def path_of(company: Company, record: str) -> str:
    """Where the receipt of a record is found, from the root of the host: `/receipt/…`."""
    return f"{base_of(company)}/receipt/{receipt.token_of(company, record)}"


def routes(office: Office) -> list[Route]:
    """The page of a receipt, and the receipt itself."""

    async def show(asked: Asked) -> Response:
        return await run_in_threadpool(_show, office.company, asked.path_params["token"])

    async def file(asked: Asked) -> Response:
        return await run_in_threadpool(_file, office.company, asked.path_params["token"])

    return [
        Route("/receipt/{token}.json", file, methods=["GET"]),
        Route("/receipt/{token}", show, methods=["GET"]),
    ]


def _show(company: Company, token: str) -> Response:
    try:
        record = company.links.read(token, receipt.PURPOSE).subject
        body = receipt.body_of(company, record)
    except (LinkWrong, receipt.Gone) as wrong:
        return _wrong(company, wrong)
    told = body["record"]
    public = company.keys.public
    return page(
        company,
        "receipt.html",
        token=token,
        answers=list(_answers(company, told)),
        notices=[_notice(one["shown"], one["sha256"]) for one in told["pii_processing"]["privacy_notice"]],
        policy=told["policy"],
        uses=[_use(use) for use in told["pii_processing"]["purposes"]],
        controllers=[one for one in told["party_identification"] if one["party_role"] == "controller"],
        withdrawal=_ways(told),
        authorities=_authorities(told),
        record=record,
        file=f"{_CHOSEN}-{record[:8]}.json",
        key=public.hex(),
        key_id=receipt.key_id(public),
    )


def _file(company: Company, token: str) -> Response:
    try:
        record = company.links.read(token, receipt.PURPOSE).subject
        data = receipt.receipt(company, record)
    except (LinkWrong, receipt.Gone) as wrong:
        return _wrong(company, wrong)
    name = f'attachment; filename="{_CHOSEN}-{record[:8]}.json"'
    headers = SECURITY | {"Content-Disposition": name, "X-Robots-Tag": "noindex"}
    return Response(data, media_type="application/json", headers=headers)


@dataclass(frozen=True)
class Answered:
    """One answer on the page, and what became of it; times are the company's own."""

    choice: str
    says: str
    at: str
    counted: bool
    since: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Words:
    """What was shown: its words in order, in a language."""

    language: str
    direction: str
    paragraphs: tuple[str, ...]
    sha256: str


def _answers(company: Company, told: Mapping[str, Any]) -> Iterator[Answered]:
    for place, event in enumerate(told["events"]):
        if event["record_id"] != told["record_id"]:
            continue
        after = [
            (SAYS[later["event_state"]], _when(company, later["event_time"]))
            for later in told["events"][place + 1 :]
            if (later["choice"], later["scope"]) == (event["choice"], event["scope"]) and later["took_effect"]
        ]
        label = words_of(event["choice"]).capitalize()
        yield Answered(
            f"{label}: {words_of(event['scope'])}" if event["scope"] else label,
            SAYS[event["event_state"]],
            _when(company, event["event_time"]),
            event["took_effect"],
            tuple(after),
        )


def _notice(shown: Mapping[str, Any], sha256: str) -> Words:
    """The words of a notice, those of the choices last."""
    words = shown["words"]
    first = [name for name in _FIRST if name in words]
    found = [*(words[name] for name in first), *(words[name] for name in words if name not in first)]
    for one in shown["choices"].values():
        found += [one.get("title"), one.get("text")]
    language = str(shown["language"])
    direction = "rtl" if language.partition("-")[0] in RIGHT_TO_LEFT else "ltr"
    return Words(language, direction, tuple(dict.fromkeys(_texts(found))), sha256)


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, in order."""
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _use(use: Mapping[str, Any]) -> dict[str, Any]:
    """One use, in a few lines."""
    return {
        "says": use["purpose_description"] or words_of(use["purpose"]).capitalize(),
        "data": list(dict.fromkeys(one["pii_name"] for one in use["pii_information"] or ())),
        "recipients": [one["who"] for one in use["recipient_third_parties"]],
        "periods": list(dict.fromkeys(one["says"] for one in use["retention_period"] or ())),
    }


def _ways(told: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The ways to take a yes back, each once: what to do, the link, and its words."""
    found: dict[tuple[str, str, str], None] = {}
    for use in told["pii_processing"]["purposes"]:
        way = use["withdrawal_method"]
        for url in way["urls"]:
            what = "Ask us, at" if url.endswith("/ask") else "Open your choices again on any page of"
            found[what, url, url] = None
        if way["contact"] is not None:
            found["Write to", f"mailto:{way['contact']}", way["contact"]] = None
    return list(found)


def _authorities(told: Mapping[str, Any]) -> list[Mapping[str, str]]:
    found = {one["name"]: one for use in told["pii_processing"]["purposes"] for one in use["authority_party"]}
    return list(found.values())


def _when(company: Company, text: str) -> str:
    at = datetime.fromisoformat(text).astimezone(company.policy.timezone)
    return f"{at.day} {at:%B %Y, %H:%M}"


def _wrong(company: Company, wrong: LinkWrong | receipt.Gone) -> Response:
    if isinstance(wrong, receipt.Gone):
        return said(
            company,
            410,
            "There is no such receipt any more",
            "What it was about is no longer tied to anybody: whoever it was has been erased. A receipt that you "
            "downloaded can still be checked.",
        )
    if wrong.kind == "expired":
        return said(
            company,
            410,
            "This page is gone",
            "The page of a receipt can be seen for two years. A receipt that you downloaded can still be checked.",
        )
    return said(
        company,
        404,
        "This is not a link of ours",
        "Perhaps a part of it was lost on the way. Copy the whole link, up to its last letter.",
    )
