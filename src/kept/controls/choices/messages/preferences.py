"""Everything somebody can switch, as their own page shows it: how each choice stands, why, and what changes it.

The page is reached by a signed link, without log-in, so it shows nothing of a person but their choices. What it shows
is kept as a notice, and each change is recorded as an answer to that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, Literal

from sqlalchemy import select

from kept.company import Company
from kept.controls.choices import meaning
from kept.controls.choices.asking import ask_of, choices_of, in_browser
from kept.controls.choices.declare import Choice
from kept.controls.choices.floor import waiting
from kept.controls.choices.messages import whose
from kept.controls.choices.messages.about import About, about
from kept.controls.choices.messages.letter import CONFIRM_FOR
from kept.controls.choices.messages.words import Words
from kept.controls.choices.records import notices
from kept.controls.choices.records.book import WITH, New, Recorded, record, scopes
from kept.controls.choices.records.history import Event, Key, history
from kept.controls.choices.records.states import STANDING
from kept.controls.choices.whom import facts
from kept.controls.purposes.declare import Purpose
from kept.controls.rights.instruct import in_force as said_by
from kept.controls.rights.people import Person
from kept.laws.choices import Ask
from kept.policy.words import applicable
from kept.state.tables import meanings

PAGE_FOR: Final = timedelta(days=365)
PURPOSE: Final = "preferences"

Group = Literal["messages", "browsing", "other", "permission"]
SHOWN: Final = ("title", "intro", "yes", "no", "save", "refuse", "always-title", "always-text", "always")
"""The words of the page that are the same for everybody, beside how each choice is asked and what it is for."""

GROUPS: Final[tuple[Group, ...]] = ("messages", "browsing", "other", "permission")
Stands = Literal["none", "on", "yes", "no", "waiting", "lapsed", "revoked", "grown", "signal", "withdrawn"]


@dataclass(frozen=True)
class Item:
    """One switch: a choice in one scope. `answer` is what is marked on the page: `yes`, `no`, or nothing."""

    choice: str
    scope: str
    stands: Stands
    answer: Literal["yes", "no", ""]
    event: Event | None = None

    @property
    def field(self) -> str:
        """Its name in the form."""
        return f"{self.choice}.{self.scope}" if self.scope else self.choice


@dataclass(frozen=True)
class Offered:
    """One choice on the page. `agreed` says of each party that has to agree too whether it has."""

    name: str
    title: str
    about: About
    ask: Ask
    group: Group
    items: tuple[Item, ...]
    by_guardian: bool
    each: str | None
    agreed: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Always:
    """A message that is sent without a choice: its purpose, the channels, and the ground it rests on."""

    purpose: str
    channels: tuple[str, ...]
    ground: str


@dataclass(frozen=True)
class Preferences:
    """A person's page: what they can switch, and what is sent anyway."""

    who: Person
    number: int
    region: str | None
    offered: tuple[Offered, ...]
    always: tuple[Always, ...]
    honours_signal: bool

    def of(self, group: Group) -> tuple[Offered, ...]:
        return tuple(one for one in self.offered if one.group == group)

    def open(self) -> dict[str, Item]:
        """What the person can change here themselves, by its name in the form."""
        return {
            item.field: item
            for one in self.offered
            if not one.by_guardian
            for item in one.items
            if item.stands != "withdrawn"
        }


def page_of(company: Company, who: Person) -> str | None:
    """The address of somebody's page, for the end of each letter; None where no pages are served."""
    if not company.public_url:
        return None
    number = whose.numbers(company, [who])[who]
    return f"{company.public_url}/preferences/{token_of(company, number)}"


def token_of(company: Company, number: int) -> str:
    """What the link to a page carries."""
    return company.links.make(PURPOSE, str(number), company.clock() + PAGE_FOR)


def whose_page(company: Company, token: str) -> Person | None:
    """Whose page a link leads to, None where they are nobody's any more; LinkWrong when it is forged or too old."""
    return whose.person(company, int(company.links.read(token, PURPOSE).subject))


def preferences(company: Company, who: Person, language: str, *, gpc: bool = False) -> Preferences:
    """Somebody's page; `gpc` where their browser sends `Sec-GPC: 1` now."""
    policy = company.policy
    told = facts(company, [who])[who]
    own, guarded = {who.kind, *told.kinds}, {who.kind, *told.kinds, *told.unsure}
    mine = {str(one.name): one for kind in sorted(own) for one in choices_of(policy, kind)}
    mine |= {str(one.name): one for kind in sorted(guarded) for one in choices_of(policy, kind) if one.by}
    names = [str(name) for name in policy.section("choices") if name in mine]
    said = {scope for verb, scope in said_by(company, [who]).get(who, ()) if verb == "withdraw"}
    events = history(company, who)
    shown = notices.describe(policy, names, language=language, region=told.region)
    grown = _grown(company, events)
    offered = []
    for name in names:
        choice = mine[name]
        ask = ask_of(policy, choice, told.region)
        signal = gpc and "gpc" in choice.signals
        items = tuple(
            _item(company, choice, scope, ask, events, withdrawn=name in said, grown=grown, gpc=signal)
            for scope in scopes(company, choice)
        )
        offered.append(
            Offered(
                name,
                shown[name]["title"],
                about(policy, choice, language),
                ask,
                _group(company, choice),
                items,
                bool(choice.by),
                str(choice.each) if choice.each is not None else None,
                tuple(_agreed(company, choice, events)),
            )
        )
    signals = any("gpc" in mine[name].signals for name in names)
    number = whose.numbers(company, [who])[who]
    return Preferences(
        who, number, told.region, tuple(offered), _always(company, told.region, own), gpc and signals
    )


def notice_of(company: Company, page: Preferences, spoken: Words, layout: str) -> str:
    """Keep what a page shows, apart from how things stand for its person; its SHA-256 (hex).

    `layout` is the SHA-256 of its template and style.
    """
    policy = company.policy
    asks = dict.fromkeys(f"ask-{one.ask}" for one in page.offered)
    return notices.keep(
        company,
        {
            "kind": "page",
            "language": spoken.language,
            "region": page.region,
            "words": {key: spoken.texts[key] for key in (*SHOWN, *asks)}
            | {"for": {one.name: list(one.about.sentences) for one in page.offered}},
            "layout": layout,
            "script": None,
            "policy": policy.source.digest,
            "version": policy.version.isoformat(),
            "controllers": [party.label for party in policy.us()],
            "choices": notices.describe(
                policy, [one.name for one in page.offered], language=spoken.language, region=page.region
            ),
        },
    )


def change(
    company: Company, page: Preferences, answers: Mapping[str, str], notice: str, once: str
) -> list[Recorded]:
    """Record what somebody changed on their page: by the names of the form, `yes` or `no`; all of it or nothing.

    `once` is the form's own token: the same form sent twice is recorded once. What was answered so before stays.
    """
    mine = page.open()
    same = sha256(json.dumps([once, sorted(answers.items())]).encode()).hexdigest()[:32]
    given = [
        New(
            page.who,
            mine[field].choice,
            "yes" if answer == "yes" else "no",
            "page",
            mine[field].scope,
            notice=notice,
            region=page.region,
            record=same,
        )
        for field, answer in answers.items()
        if field in mine and answer in ("yes", "no")
    ]
    if not given:
        return []
    return record(company, given)


def all_refused(page: Preferences) -> dict[str, str]:
    """What `No to everything` answers: no to whatever isn't refused by them already."""
    return {
        field: "no"
        for field, item in page.open().items()
        if not (item.stands == "no" and item.event is not None and not item.event.is_automatic)
    }


def signalled(company: Company, page: Preferences) -> list[Recorded]:
    """Record what a browser's signal asks for, once; it counts for nothing that the person answered themselves."""
    given = [
        New(page.who, item.choice, "no", "signal", item.scope, region=page.region, record=_once(page, item))
        for one in page.offered
        for item in one.items
        if item.stands == "signal" and (item.event is None or not item.event.is_against)
    ]
    return record(company, given) if given else []


def _once(page: Preferences, item: Item) -> str:
    before = item.event.number if item.event is not None else 0
    return sha256(f"gpc {page.number} {item.field} {before}".encode()).hexdigest()[:32]


def _item(
    company: Company,
    choice: Choice,
    scope: str,
    ask: Ask,
    events: Sequence[Event],
    *,
    withdrawn: bool,
    grown: Mapping[int, bool],
    gpc: bool,
) -> Item:
    name, now = str(choice.name), company.clock()
    theirs = [one for one in events if (one.choice, one.scope) == (name, scope)]
    event = next((one for one in reversed(theirs) if one.took), None)
    if withdrawn:
        return Item(name, scope, "withdrawn", "no", event)
    stands = _stands(event, ask, now, grown)
    waits = next((one for one in reversed(theirs) if one.answer in ("yes", "no")), None)
    pending = waits is not None and waits.state == "Requested" and now < waits.received + CONFIRM_FOR
    if pending and stands not in ("yes", "on"):  # else it is on already, and a second yes only renews it
        return Item(name, scope, "waiting", "", waits)
    if gpc and (event is None or event.is_automatic):
        return Item(name, scope, "signal", "no", event)
    marked: dict[Stands, Literal["yes", "no", ""]] = {"yes": "yes", "on": "yes", "no": "no", "revoked": "no"}
    return Item(name, scope, stands, marked.get(stands, ""), event)


def _stands(event: Event | None, ask: Ask, now: datetime, grown: Mapping[int, bool]) -> Stands:
    silent = ask in ("opt-out", "notice")
    if event is None or event.state in ("Requested", "RequestDeferred", "Unknown"):
        return "on" if silent else "none"
    if event.state == "Revoked":
        return "revoked"
    if event.is_against:
        return "no"
    if event.state not in STANDING or not event.stands(now):
        return "lapsed"
    return "grown" if grown.get(event.number, False) and not silent else "yes"


def _grown(company: Company, events: Sequence[Event]) -> dict[int, bool]:
    """Of each yes: whether its choice is about more now than it was then."""
    policy, yeses = company.policy, [one for one in events if one.took and one.state in STANDING]
    with company.state.read() as connection:
        query = select(meanings.c.id, meanings.c.body).where(
            meanings.c.id.in_({one.meaning for one in yeses})
        )
        then: dict[str, Any] = {row.id: json.loads(row.body) for row in connection.execute(query)}
    found = {}
    for one in yeses:
        choice = policy.section("choices").get(one.choice)
        if isinstance(choice, Choice):
            known = then.get(one.meaning)
            found[one.number] = known is None or meaning.grew(known, meaning.meaning(policy, choice))
    return found


def _group(company: Company, choice: Choice) -> Group:
    policy = company.policy
    if choice.covers is not None:
        return "permission"
    if any(getattr(one, "sends", ()) for one in waiting(policy, choice)):
        return "messages"
    return "browsing" if in_browser(policy, choice) else "other"


def _agreed(company: Company, choice: Choice, events: Sequence[Event]) -> list[tuple[str, bool]]:
    last: dict[Key, Event] = {(one.choice, one.scope): one for one in events if one.took}
    found = []
    for party in choice.with_party:
        event = last.get((str(choice.name), f"{WITH}{party}"))
        label = company.policy.parties[party].label
        found.append((label, event is not None and event.stands(company.clock())))
    return found


def _always(company: Company, region: str | None, kinds: set[str]) -> tuple[Always, ...]:
    """The messages that need no choice, to people of these kinds."""
    policy, found = company.policy, []
    for entry in policy.section("purposes").values():
        if not isinstance(entry, Purpose) or not entry.sends or entry.choice:
            continue
        owners = {
            owner for name in entry.uses if name in policy.data for owner in policy.owners(policy.data[name])
        }
        if not any(policy.related(owner, kind) for owner in owners for kind in kinds):
            continue
        ground = applicable(entry.ground, region or "elsewhere")
        found.append(Always(str(entry.name), tuple(map(str, entry.sends)), str(ground)))
    return tuple(found)
