"""What stays after an erasure, told to the person: what, on which ground, until when (GDPR Art. 12(4), 17(3))."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from kept.controls.purposes.declare import Purpose
from kept.controls.retention.declare import Retention
from kept.policy.grammar import Clock
from kept.policy.policy import Policy
from kept.policy.wording import capitalised, clock_words, data_words, event_words, joined, words_of

_ARTICLES = {
    "legal-duty": "Art. 17(3)(b)",
    "public-task": "Art. 17(3)(b)",
    "legal-claims": "Art. 17(3)(e)",
}


@dataclass(frozen=True)
class Stay:
    """Some data that stays: in which tables (`store.table`), for which purposes, and the sentence that says so.

    `articles` are those of the law that lets it stay; none where the ground is none of Art. 17(3). `rows` counts the
    held rows of these tables; where two holds share a table, both count them. Of rows that are only `between` a held
    row and the person, everything that isn't held was emptied.
    """

    data: tuple[str, ...]
    places: tuple[str, ...]
    rows: int
    purposes: tuple[str, ...]
    articles: tuple[str, ...]
    sentence: str
    between: bool = False


def stays(
    policy: Policy, kind: str, held: Mapping[str, int], placed: Sequence[Mapping[str, Any]] = ()
) -> tuple[Stay, ...]:
    """What the person is told of the rows an erasure held, by `store.table`; nothing held, nothing told.

    Only promises that can hold are told of: a retention with `hold:` over data of this kind in such a table. `placed`
    are holds that somebody set on the person, as an outcome notes them (`stays`, `holds`): purpose, data, last day.
    """
    there = {place: rows for place, rows in held.items() if rows}
    found = []
    for retention in policy.section("retention").values():
        if not isinstance(retention, Retention) or not retention.hold:
            continue
        data = [name for name in retention.keeps if _is_of(policy, str(name), kind)]
        places = {
            place: there[place]
            for name in data
            for place in map(str, policy.data[name].tables)
            if place in there
        }
        told = [str(name) for name in data if set(map(str, policy.data[name].tables)) & set(places)]
        if told:
            found.append(_stay(policy, retention, tuple(told), places))
    for hold in placed:
        names = [name for name in hold["data"] if name in policy.data]
        tables = dict.fromkeys(str(table) for name in names for table in policy.data[name].tables)
        places = {table: there[table] for table in tables if table in there}
        purpose = policy.section("purposes").get(hold["purpose"])
        if places and isinstance(purpose, Purpose):
            last = f" until {date.fromisoformat(hold['until']):%-d %B %Y}"
            found.append(_told(policy, tuple(names), places, [purpose], last))
    explained = {place for stay in found for place in stay.places}
    between = {place: rows for place, rows in there.items() if place not in explained}
    if between:
        found.append(_between(between))
    return tuple(found)


def _is_of(policy: Policy, name: str, kind: str) -> bool:
    data = next((data for data in policy.data.values() if data.name == name), None)
    return data is not None and any(policy.related(owner, kind) for owner in policy.owners(data))


def _stay(policy: Policy, retention: Retention, data: tuple[str, ...], places: Mapping[str, int]) -> Stay:
    purposes = [
        purpose
        for name in retention.hold
        if isinstance(purpose := policy.section("purposes").get(name), Purpose)
    ]
    return _told(policy, data, places, purposes, _until(policy, retention))


def _told(
    policy: Policy,
    data: tuple[str, ...],
    places: Mapping[str, int],
    purposes: Sequence[Purpose],
    until: str,
) -> Stay:
    grounds = dict.fromkeys(str(ground) for purpose in purposes for ground in purpose.ground.values())
    articles = (policy.cite(_ARTICLES[ground]) for ground in grounds if ground in _ARTICLES)
    because = joined(dict.fromkeys(why for purpose in purposes for why in _because(purpose)))
    names = joined(f"“{words_of(purpose.name)}”" for purpose in purposes)
    sentence = (
        f"We still keep {data_words(policy, data)}{until}, because {because}. "
        f"Meanwhile nobody may use it for anything but {names}."
    )
    return Stay(
        data,
        tuple(places),
        sum(places.values()),
        tuple(str(purpose.name) for purpose in purposes),
        tuple(dict.fromkeys(article for article in articles if article is not None)),
        sentence,
    )


def _because(purpose: Purpose) -> list[str]:
    reasons = {
        "legal-duty": f"the law requires it ({purpose.law})",
        "legal-claims": "it may be needed to make or defend legal claims",
        "public-task": "a task in the public interest needs it",
    }
    return [
        reasons.get(str(ground), f"“{words_of(purpose.name)}” needs it")
        for ground in dict.fromkeys(map(str, purpose.ground.values()))
    ]


def _until(policy: Policy, retention: Retention) -> str:
    limit = retention.until
    if not isinstance(limit, Clock):
        return ", without an end that the policy names"
    if limit.period is None or limit.period.amount == 0:
        return f" until {event_words(policy, limit.event)}"
    return f" until {clock_words(policy, limit)}"


def _between(places: Mapping[str, int]) -> Stay:
    rows = sum(places.values())
    subject = (
        "one record of yours stays as an empty frame, because what is kept hangs on it"
        if rows == 1
        else f"{rows} records of yours stay as empty frames, because what is kept hangs on them"
    )
    sentence = f"{capitalised(subject)}; whatever else stood there was removed."
    return Stay((), tuple(places), rows, (), (), sentence, between=True)
