"""The policy page as a value and as HTML, Markdown and JSON: what GDPR Art. 13 and 14 want told, where declared."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from kept.laws.law import law, safeguard
from kept.policy import words
from kept.policy.entry import Promise
from kept.policy.facts import Party
from kept.policy.policy import Policy
from kept.policy.wording import (
    capitalised,
    data_words,
    is_organisation,
    joined,
    limit_words,
    own_words,
    people_words,
    region_words,
    who_words,
    words_of,
)

TITLES = {
    "collection": "What we collect",
    "choices": "What you can choose",
    "purposes": "What we use it for",
    "disclosure": "Who gets it",
    "retention": "How long we keep it",
    "rights": "Your rights",
    "security": "How we keep it safe",
    "notices": "What we tell you",
}


@dataclass(frozen=True)
class Said:
    """One promise on the page: its anchor is its id; `label` is what the sentence opens with, where it does."""

    id: str
    label: str | None
    sentence: str
    clauses: tuple[str, ...] = ()
    why: str | None = None


@dataclass(frozen=True)
class Table:
    """Facts side by side: the first cell of each row is its header."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Part:
    """One section of the page: a table where there is one, then its promises."""

    id: str
    title: str
    table: Table | None
    promises: tuple[Said, ...]


@dataclass(frozen=True)
class Controller:
    """A company that answers for the page, and how to reach it."""

    name: str
    also: tuple[str, ...]
    serves: str | None
    sites: tuple[str, ...]
    contacts: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """A policy in words, for one region or for everybody."""

    title: str
    version: date
    as_of: date
    region: str | None
    laws: tuple[str, ...]
    controllers: tuple[Controller, ...]
    covers: str
    complaint: str | None
    parts: tuple[Part, ...]

    def html(self) -> str:
        """One file of semantic HTML: no script, nothing loaded, readable on a phone and in the dark."""
        return _templates().get_template("page.html").render(page=self)

    def markdown(self) -> str:
        return _templates().get_template("page.md").render(page=self)

    def json(self) -> str:
        return json.dumps(dataclasses.asdict(self), default=str, ensure_ascii=False, indent=2) + "\n"


def page(
    policy: Policy, sentence_of: Callable[[Promise], str], today: date, region: str | None = None
) -> Page:
    """The page of a policy, with `sentence_of` putting each promise into words; `region` leaves others' rules out."""
    us = [party for party in policy.us() if region is None or _serves(policy, party, region)]
    authorities = [words.authority(party.authority) for party in us if party.authority]
    covered = [
        people_words(policy, name)
        for name, person in policy.people.items()
        if person.table and not person.controller and not is_organisation(policy, person)
    ]
    return Page(
        title=policy.name,
        version=policy.version,
        as_of=today,
        region=words.region_name(region) if region else None,
        laws=tuple(law(name).name for name in policy.laws),
        controllers=tuple(_controller(party) for party in us),
        covers=joined(covered),
        complaint=joined(dict.fromkeys(authorities), "or") or None,
        parts=tuple(_part(policy, name, sentence_of, region) for name in TITLES if policy.section(name)),
    )


def _part(policy: Policy, section: str, sentence_of: Callable[[Promise], str], region: str | None) -> Part:
    promises = tuple(
        Said(promise.id, _lead(promise, said), said, tuple(map(str, promise.clause)), promise.why)
        for promise in policy.section(section).values()
        if _holds(promise, region) and (said := sentence_of(promise))
    )
    tables = {
        "collection": _data_table,
        "disclosure": _party_table,
        "retention": _retention_table,
    }
    return Part(section, TITLES[section], tables[section](policy) if section in tables else None, promises)


def _lead(promise: Promise, said: str) -> str | None:
    """The name a sentence opens with, as in `Tax: we use …`; the page sets it apart."""
    label = capitalised(words_of(promise.name))
    return label if said.startswith(f"{label}: ") else None


def _holds(promise: Promise, region: str | None) -> bool:
    regions = _names(promise, "regions")
    return (
        region is None
        or not regions
        or any(area == "elsewhere" or words.covers(area, region) for area in regions)
    )


def _serves(policy: Policy, party: Party, region: str) -> bool:
    """Whether a party answers for people of a region: named, or by `elsewhere` where nobody is."""
    if not party.serves or any(words.covers(area, region) for area in party.serves):
        return True
    named = any(words.covers(area, region) for other in policy.us() for area in other.serves)
    return not named and "elsewhere" in party.serves


def _names(promise: Promise, attribute: str) -> Sequence[str]:
    """A key of a promise by its attribute: each control's own class is not known here."""
    value: Sequence[str] = getattr(promise, attribute, ())
    return value


def _controller(party: Party) -> Controller:
    contacts = []
    for name, contact in party.contacts.items():
        who = ", ".join(part for part in (contact.get("name"), contact.get("title")) if part)
        how = ", ".join(
            part for part in (contact.get("email"), contact.get("phone"), contact.get("post")) if part
        )
        contacts.append(": ".join(part for part in (who or capitalised(words_of(name)), how) if part))
    return Controller(
        party.label,
        tuple(map(str, party.also)),
        region_words(party.serves) or None,
        tuple(map(str, party.sites)),
        tuple(contacts),
    )


def _data_table(policy: Policy) -> Table:
    rows = []
    for data in policy.data.values():
        sorts = (words.SORTS.get(sort.type) for columns in data.tables.values() for sort in columns.values())
        owners = {str(owner.who) for owner in data.of} | set(policy.owners(data))
        sources = [
            "themselves" if source in owners else who_words(policy, source)
            for promise in policy.section("collection").values()
            if data.name in (*_names(promise, "takes"), *_names(promise, "optional"))
            for source in _names(promise, "sources")
        ]
        rows.append(
            (
                capitalised(own_words(data) or words_of(data.name)),
                joined(dict.fromkeys(sort for sort in sorts if sort)) or "—",
                joined(dict.fromkeys(people_words(policy, owner) for owner in policy.owners(data))),
                joined(dict.fromkeys(sources)) or "—",
            )
        )
    return Table("The data we hold", ("Data", "What it is", "About", "From"), tuple(rows))


def _party_table(policy: Policy) -> Table:
    given = {str(name) for promise in policy.section("disclosure").values() for name in _names(promise, "to")}
    given |= {str(store.party) for store in policy.stores.values() if store.party}
    rows = [
        (
            capitalised(own_words(party) or party.label),
            ROLES[party.role],
            capitalised(region_words(party.region)) or "—",
            _protected(party),
        )
        for party in policy.parties.values()
        if party.name in given and party.role != "us"
    ]
    return Table("Who gets data", ("Who", "What they are", "Where", "What protects it there"), tuple(rows))


ROLES = {
    "us": "us",
    "processor": "works for us, as we instruct",
    "controller": "answers for itself",
    "joint": "answers together with us",
    "client": "our client",
    "authority": "a public authority",
    "rescue": "rescue services",
    "successor": "whoever takes over our business",
}


def _protected(party: Party) -> str:
    parts = [safeguard(party.safeguard).name] if party.safeguard else []
    if party.agreement:
        parts.append(f"an agreement since {party.agreement.since}")
    return capitalised(joined(parts)) or "—"


def _retention_table(policy: Policy) -> Table:
    rows = []
    for promise in policy.section("retention").values():
        data = [name for name in _names(promise, "keeps") if name in policy.data]
        kinds = [people_words(policy, name) for name in _names(promise, "keeps") if name in policy.people]
        what = joined(
            [
                *([data_words(policy, data, your=False)] if data else []),
                *(f"everything about {kind}" for kind in kinds),
            ]
        )
        limit = limit_words(policy, promise.until) if hasattr(promise, "until") else ""
        rows.append(
            (
                capitalised(what),
                capitalised(limit),
                {"delete": "deleted", "anonymise": "made anonymous", "destroy": "destroyed"}.get(
                    getattr(promise, "then", None) or "", "—"
                ),
            )
        )
    return Table("How long", ("Data", "Until", "Then"), tuple(rows))


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("kept.policy"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = _cell
    return environment


def _cell(text: str) -> str:
    """A text as one cell of a Markdown table, or one line of it."""
    return " ".join(text.replace("|", "\\|").split())


def anchors(shown: Page) -> Iterable[str]:
    """The ids a page can be pointed at."""
    return (said.id for part in shown.parts for said in part.promises)
