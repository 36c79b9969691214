"""A request in the words its person reads: what they asked, how it stands, until when, who was told, what stays.

Pure: from what Kept's state holds to sentences. Nothing in it says who the person is, for the page may be seen by
whoever has the link; what staff wrote to them stands in their letters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from kept.controls.rights.erasing.stays import Stay, stays
from kept.controls.rights.letters import ANSWER_DAYS, ASKED
from kept.controls.rights.life import right_of
from kept.controls.rights.register import Event, Request
from kept.laws.law import law
from kept.laws.redress import redress
from kept.policy.policy import Policy

ZIPPED: Final = ("access", "export")

_AWAITED: Final[Mapping[str, tuple[str, str]]] = {
    "identity": (
        "We wait for you",
        "Open the link in our letter, and press the button on its page. Before that we do nothing.",
    ),
    "confirmation": (
        "We get in touch with you",
        "A member of our staff makes sure with you that it is you who asks. Then we begin.",
    ),
    "approval": ("A member of our staff looks at it", "When they have, we do it."),
    "clarification": (
        "We wait for your answer",
        "We asked you in a letter what exactly you mean, and go on as soon as you have answered.",
    ),
    "answer": ("A member of our staff is on it", "They answer you in a letter."),
    "client": (
        "The company whose data it is answers you",
        "We hold your data for another company and do with it as they instruct us. We passed your request on to them.",
    ),
    "work": ("We are working on it", "We write to you when it is done."),
    "tasks": (
        "Nearly done",
        "A part of it is done by hand, by a member of our staff. We write to you when it is done.",
    ),
    "period": ("Your data is out of use", "You can still change your mind."),
    "clean": ("Nearly done", "Your data is deleted. We make sure that nothing of it can be read any more."),
}
_DONE: Final[Mapping[str, str]] = {
    "access": "We have put together everything we hold about you.",
    "export": "Your data is put together for you to take with you.",
    "correct": "What was wrong is corrected.",
    "erase": "Your data is erased. We looked afterwards whether anything is left.",
    "restrict": "The restriction holds from now on: your data may be stored, and used only as the law still allows.",
    "object": "Your objection holds from now on.",
    "withdraw": "Your consent is withdrawn, from now on.",
    "human-decision": "It is on record from now on: a person decides what has legal or like effect on you.",
    "complain": "We have answered your complaint in a letter.",
}
_HAPPENED: Final[Mapping[str, str]] = {
    "identified": "You said that it was you who asked.",
    "confirmed": "A member of our staff made sure that it was you who asked.",
    "approved": "A member of our staff approved it.",
    "extended": "We told you that it takes longer.",
    "asked": "We asked you what you mean.",
    "heard": "You told us what you mean.",
    "settled": "A member of our staff noted what is right.",
    "by-hand": "A part was done by hand.",
    "passed-on": "We passed it on to the company whose data it is.",
    "to-pass-on": "A member of our staff passes it on to the company whose data it is.",
    "reminded": "We wrote to you again, as you asked.",
    "lifted": "It no longer holds.",
    "expired": "The answer was removed.",
    "offered-copy": "We offered you a copy first.",
    "copy-asked": "You asked for a copy first.",
}
_CHANNELS: Final[Mapping[str, str]] = {
    "form": "through our form",
    "email": "by e-mail",
    "account": "in your account",
    "link": "through the link in our letter",
}
_TOLD: Final[Mapping[tuple[str, str], str]] = {
    ("store", "done"): "We did it in their system ourselves.",
    ("letter", "sent"): "We wrote to them and asked them to do the same. They have not answered yet.",
    ("by hand", "to do"): "A member of our staff tells them.",
    ("by hand", "done"): "A member of our staff told them.",
}


@dataclass(frozen=True)
class Status:
    """What the page of one request shows. Dates are in words; `when` of an entry is ISO 8601, for machines.

    `download`: the answer is there, until `expires`. `can_undo`: it can still be called off; `can_come_back`: the data
    waits, and comes back.
    """

    asked: str
    received: str
    heading: str
    says: str
    is_open: bool
    clock: tuple[str, ...] = ()
    history: tuple[tuple[str, str, str], ...] = ()
    told: tuple[tuple[str, str], ...] = ()
    stays: tuple[str, ...] = ()
    refusal: str | None = None
    redress: tuple[str, ...] = ()
    download: bool = False
    expires: str | None = None
    can_undo: bool = False
    can_come_back: bool = False
    can_ask_link: bool = False


def status(
    policy: Policy,
    request: Request,
    history: Sequence[Event],
    told: Sequence[Mapping[str, str]],
    *,
    has_answer: bool,
    held_up: bool,
) -> Status:
    """How a request stands, for its person. `has_answer`: its zip is there; `held_up`: a fault stands in the way."""
    heading, says = _heading(policy, request, history, held_up=held_up)
    download = request.state == "done" and request.verb in ZIPPED and has_answer
    expires = None
    if download and request.closed is not None:
        expires = _day(policy, request.closed + timedelta(days=ANSWER_DAYS))
    elif request.state == "done" and request.verb in ZIPPED:
        says += " The answer was removed, as its time is over. You can ask again whenever you like."
    through = _CHANNELS.get(request.channel)
    received = f"Received on {_day(policy, request.received)}" + (f" {through}." if through else ".")
    happened = [(request.received, "We received your request.")]
    happened += [
        (event.at, _HAPPENED[event.what])
        for event in history
        if event.what in _HAPPENED and event.what not in _CLOSING
    ]
    if request.closed is not None:
        happened.append((request.closed, _closing(request)))
        happened.sort(key=lambda one: one[0])  # an answer is removed after its request is closed
    refusal = None
    if request.state == "refused":
        short = law(request.law or policy.laws[0]).short if policy.laws else ""
        article = " ".join(filter(None, (short, request.outcome.get("article"))))
        refusal = f"{_sentence(str(request.outcome.get('says', '')))} ({article})."
    return Status(
        asked=f"You asked us {ASKED.get(request.verb, 'something')}.",
        received=received,
        heading=heading,
        says=says,
        is_open=request.is_open,
        clock=_clock(policy, request, history),
        history=tuple((at.isoformat(), _day(policy, at), what) for at, what in happened),
        told=tuple(_told(policy, one) for one in told),
        stays=staying(policy, request.outcome.get("stays") or {}),
        refusal=refusal,
        redress=_redress(policy, request),
        download=download,
        expires=expires,
        can_undo=request.is_open and request.act is None,
        can_come_back=request.is_open and request.awaits == "period",
        can_ask_link=request.is_open and request.awaits == "identity",
    )


_CLOSING: Final = ("refused", "answered", "withdrawn", "came-back", "lapsed")


def staying(policy: Policy, kept: Mapping[str, Any]) -> tuple[str, ...]:
    """What stays, why and until when, as an outcome notes it: one sentence for each thing that does."""
    found: list[str] = []
    held = kept.get("held", {})
    if held:
        kinds = [str(kind.name) for kind in policy.people.values() if kind.table is not None]
        tries = [stays(policy, kind, held, kept.get("holds", ())) for kind in kinds]
        best = max(tries, key=_explained, default=())
        found += [
            stay.sentence + (f" ({', '.join(stay.articles)})" if stay.articles else "") for stay in best
        ]
    for name, rows in kept.items():
        if name in ("held", "holds"):
            continue
        store = policy.stores.get(name)
        party = policy.parties.get(store.party) if store is not None and store.party else None
        whose = party.label if party is not None else name
        for row in rows:
            until = f" until {_iso_day(policy, str(row['until']))}" if row.get("until") else ""
            found.append(f"{whose} keeps some of it{until}: {row['reason']}.".replace("..", "."))
    return tuple(dict.fromkeys(found))


def _explained(found: Sequence[Stay]) -> tuple[int, int]:
    """How well a kind explains what stays: the outcome doesn't name the person's kind."""
    return sum(not stay.between for stay in found), -sum(stay.rows for stay in found if stay.between)


def _heading(policy: Policy, request: Request, history: Sequence[Event], *, held_up: bool) -> tuple[str, str]:
    if request.is_open:
        heading, says = _AWAITED[request.awaits or "work"]
        if request.awaits == "period" and request.until is not None:
            says = (
                f"Until {_last(policy, request.until)} you can change your mind, and everything comes back as it was. "
                "After that it is erased for good."
            )
        if request.awaits == "identity" and request.until is not None:
            says += f" If you don't, your request lapses after {_last(policy, request.until)}."
        happened = {event.what for event in history}
        if request.awaits == "client" and "to-pass-on" in happened and "passed-on" not in happened:
            says = "We hold your data for another company and do with it as they instruct us. We pass your request on."
        if held_up:
            says = "One of our systems stands in the way. We know of it and are mending it; your request is safe."
        return heading, says
    if request.state == "done":
        if request.outcome.get("answered") and request.verb != "complain":
            return "It is answered", "You have got the answer in a letter."
        return "It is done", _DONE.get(request.verb, "It is done.")
    if request.state == "refused":
        return "We can't do what you asked", "Why, and what you can do about it, you find below."
    if request.state == "lapsed":
        return "It has lapsed", "Nobody told us that it was you who asked, so we did nothing."
    if any(event.what == "came-back" for event in history):
        since = request.outcome.get("changed_since")
        more = " What others have written in its place meanwhile stays as they wrote it." if since else ""
        return "You came back", f"Your data is back as it was.{more}"
    return "You called it off", "We did nothing."


def _closing(request: Request) -> str:
    return {
        "done": "We closed it: it was done.",
        "refused": "We refused it, and wrote to you why.",
        "withdrawn": "You changed your mind, and we closed it.",
        "lapsed": "It lapsed, as nobody said that it was you.",
    }.get(request.state, "We closed it.")


def _clock(policy: Policy, request: Request, history: Sequence[Event]) -> tuple[str, ...]:
    if not request.is_open:
        return ()
    said = []
    right = right_of(policy, request.verb)
    promised = right is not None and right.within is not None
    if request.due is None:
        said.append("The time for our answer doesn't run at the moment: we wait for you.")
    else:
        why = "as our privacy policy promises" if promised else _article(policy, request)
        said.append(f"You have our answer by {_last(policy, request.due)}" + (f" ({why})." if why else "."))
    said += [
        f"On {_day(policy, event.at)} we told you that it takes longer"
        + (f". The reason: {_sentence(event.words)}." if event.words else ".")
        for event in history
        if event.what == "extended"
    ]
    return tuple(said)


def _article(policy: Policy, request: Request) -> str | None:
    """Where it stands how long we have."""
    if request.law is None:
        return None
    given = law(request.law)
    if request.verb in given.requests.opt_outs:
        return f"{given.short} {given.requests.opt_outs[request.verb].clock_article}"
    right = given.rights.get(request.verb)
    return f"{given.short} {right.clock_article}" if right is not None and right.clock_article else None


def _redress(policy: Policy, request: Request) -> tuple[str, ...]:
    return redress(request.law or policy.laws[0], request.region).sentences() if policy.laws else ()


def _told(policy: Policy, one: Mapping[str, str]) -> tuple[str, str]:
    party = policy.parties.get(one["party"])
    how = _TOLD.get((one["how"], one["state"]))
    if how is None:
        how = "They did it too." if one["state"] in ("done", "completed", "answered") else "We told them."
    return (party.label if party is not None else one["party"]), how


def _sentence(text: str) -> str:
    return (text[:1].upper() + text[1:]).rstrip(" .")


def _day(policy: Policy, at: datetime) -> str:
    local = at.astimezone(policy.timezone)
    return f"{local.day} {local:%B %Y}"


def _last(policy: Policy, end: datetime) -> str:
    """The last day of a time that ends then: the day before, where that is a midnight."""
    return _day(policy, end - timedelta(seconds=1))


def _iso_day(policy: Policy, text: str) -> str:
    """A date or time of another company's, as they wrote it."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return _day(policy, at) if at.tzinfo is not None else f"{at.day} {at:%B %Y}"
