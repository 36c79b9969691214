"""`/ask`: the form by which somebody uses a right. Its answer is the same whether or not we know the address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from kept.company import Company
from kept.controls.registry import sentence
from kept.controls.rights import clocks, intake
from kept.controls.rights.declare import OFFERED
from kept.controls.rights.intake import Arrival
from kept.controls.rights.letters import ASKED
from kept.controls.rights.life import right_of
from kept.errors import KeptError
from kept.mail.letter import checked
from kept.policy.policy import Policy
from kept.server.fields import fields, is_ours, token_of
from kept.server.limits import Limiter, Rate, network_of
from kept.server.office import Office
from kept.server.pages import SECURITY, base_of, page, said

WORDS: Final = 2000  # characters of somebody's own words
TRAP: Final = "website"  # a field that people don't see, and programs fill in
NEEDS_WORDS: Final = ("correct", "complain")

BY_SOURCE: Final = Rate(20, 3600)  # from one network address
BY_ADDRESS: Final = Rate(20, 86400)  # about one e-mail address, known or not
IN_ALL: Final = Rate(1000, 3600)

TITLES: Final[Mapping[str, str]] = {
    "access": "See what we hold about you",
    "export": "Take your data with you",
    "correct": "Have something corrected",
    "erase": "Have your data erased",
    "restrict": "Have the use of your data restricted",
    "object": "Object to the use of your data",
    "withdraw": "Withdraw your consent",
    "human-decision": "Have a person decide, not a machine",
    "complain": "Complain to us",
}


@dataclass(frozen=True)
class Offer:
    """A right that the form offers: its word, a title, and the sentence of the policy page."""

    verb: str
    title: str
    says: str


def offers(policy: Policy) -> tuple[Offer, ...]:
    """The rights the policy or a law it is under gives, in the order of the form."""
    found = []
    for verb, title in TITLES.items():
        if verb in ASKED and clocks.not_offered(policy, verb, None) is None:
            right = right_of(policy, verb)
            found.append(Offer(verb, title, sentence(policy, right) if right else f"{OFFERED[verb]}."))
    return tuple(found)


class Door:
    """How often the form may be sent: from one network address, about one e-mail address, in all."""

    def __init__(self) -> None:
        self._sources = Limiter(BY_SOURCE)
        self._addresses = Limiter(BY_ADDRESS)
        self._all = Limiter(IN_ALL, known=1)

    def takes(self, company: Company, source: str, address: str) -> bool:
        keyed = company.keys.mac("form", address.lower().encode()).hex()
        return self._sources.takes(source) and self._addresses.takes(keyed) and self._all.takes("")


def routes(office: Office) -> list[Route]:
    """The form, what takes it, and what it answers."""
    door = Door()

    async def show(asked: Asked) -> Response:
        return await run_in_threadpool(_form, office.company)

    async def take(asked: Asked) -> Response:
        form = await fields(asked)
        source = network_of(asked.client.host if asked.client is not None else "")
        answer = await run_in_threadpool(_take, office.company, door, form, source)
        office.bell.set()
        return answer

    async def sent(asked: Asked) -> Response:
        return await run_in_threadpool(
            said,
            office.company,
            200,
            "Thank you",
            "If we know the address, a letter is on its way to it. Please open the link in it: before we do anything, "
            "we have to know that it is you who asks.",
            "If no letter comes within an hour, look among those that your mail program took for advertising. "
            "Perhaps we know you by another address.",
            ask=True,
        )

    async def home(asked: Asked) -> Response:
        return RedirectResponse(f"{base_of(office.company)}/ask", 303, SECURITY)

    return [
        Route("/", home, methods=["GET"]),
        Route("/ask", show, methods=["GET"]),
        Route("/ask", take, methods=["POST"]),
        Route("/ask/sent", sent, methods=["GET"]),
    ]


def _form(
    company: Company,
    form: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    if not company.can_write or not company.public_url:
        return said(
            company,
            503,
            "Please write to us",
            "This form can't be used at the moment. Write to us what you want, and we answer you.",
        )
    return page(
        company,
        "ask.html",
        status,
        offers=offers(company.policy),
        form=form or {},
        errors=errors or {},
        token=token_of(company, "ask"),
        trap=TRAP,
        longest=WORDS,
    )


def _take(company: Company, door: Door, form: Mapping[str, str], source: str) -> Response:
    errors = _errors(company, form)
    if errors:
        return _form(company, form, errors, 400)
    address = form["address"].strip()
    if not door.takes(company, source, address):
        return said(
            company,
            429,
            "Too many requests came from here",
            "Please try again in an hour, or write to us.",
        )
    if not form.get(TRAP):
        arrival = Arrival("form", address, form["verb"], form.get("words", "").strip())
        with company.state.write() as connection:
            intake.put(company, connection, arrival)
    return RedirectResponse(f"{base_of(company)}/ask/sent", 303, SECURITY)


def _errors(company: Company, form: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with a form that was filled in, by field."""
    errors = {}
    if not is_ours(company, form.get("form", ""), "ask"):
        errors["form"] = "The form was open for too long. Please send it once more."
    verb = form.get("verb", "")
    if verb not in [offer.verb for offer in offers(company.policy)]:
        errors["verb"] = "Please choose what you want."
    try:
        checked(form.get("address", "").strip(), "what you wrote")
    except KeptError:
        errors["address"] = "This is not an e-mail address. It looks like name@mail.example."
    words = form.get("words", "").strip()
    if len(words) > WORDS:
        errors["words"] = f"Please use at most {WORDS} characters."
    elif verb in NEEDS_WORDS and not words:
        errors["words"] = "Please say what is wrong, and what is right."
    return errors
