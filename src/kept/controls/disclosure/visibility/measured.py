"""What a disclosure between people comes to, tried on real pairs: ties before, in and after their time, blocks, people
who hid themselves; by the decision and by the page, against what the rows themselves say. Nothing is written.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.choices.deciding import Decision
from kept.controls.disclosure.declare import Disclosure
from kept.controls.disclosure.visibility.drawn import MEANT, Pair, away, counts, ends, keys, pairs, rows
from kept.controls.disclosure.visibility.seeing import Seeing
from kept.controls.disclosure.visibility.seen import columns, seen_by, sees
from kept.controls.purposes.gate.willing import Willing
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.evidence.proof import Measured, Proof
from kept.policy.entry import Promise
from kept.policy.facts import Link
from kept.stores.clauses import written
from kept.stores.walk import Walk

TRIED: Final = 40  # pairs of each sort
VIEWERS: Final = 4  # whose whole page is compared with the decisions


@dataclass
class _Tried:
    """What was tried, and what came out other than it had to."""

    pairs: int = 0
    shown: int = 0
    outside: int = 0  # pairs without a tie that counts now: before, after, or never
    inside: int = 0
    blocked: int = 0
    hidden: int = 0
    elsewhere: int = 0  # of people who aren't known to be where it is promised
    pages: int = 0
    ties: int = 0  # of two people by a row of a link, whether it counts now or not
    untied: bool = False  # whether it turns on ties alone, and there were none
    undeclared: int = 0  # columns tried that the disclosure doesn't give
    away: frozenset[Person] = frozenset()  # those people
    wrong: list[str] = field(default_factory=list)

    def as_measured(self) -> Measured:
        kept = {name: value for name, value in vars(self).items() if name not in ("wrong", "untied", "away")}
        return kept | {"wrong": len(self.wrong)}


def is_between_people(company: Company, promise: Promise) -> bool:
    """Whether a disclosure shows people to each other, and is measured here."""
    if not isinstance(promise, Disclosure):
        return False
    seeing = Seeing.of(company, str(promise.name))
    return isinstance(seeing, Seeing) or seeing.rule not in ("to", "undeclared")


def measure(company: Company, promise: Promise) -> list[Proof]:
    """The proof of one disclosure between people; none for another promise.

    `kept` only where real pairs were looked at, and each was refused or shown as it had to be.
    """
    if not isinstance(promise, Disclosure) or not is_between_people(company, promise):
        return []
    seeing = Seeing.of(company, str(promise.name))
    if isinstance(seeing, Decision):
        return [Proof("probe", "unproven", f"Nobody sees anything by it: {seeing.reason}.")]
    tried = _Tried()
    try:
        for kind in company.root_kinds():
            walk = company.map.walk(kind)
            if walk is not None and seeing.names(walk) and len(walk.root.person) == 1:
                _try(seeing, walk, tried)
    except KeptError as wrong:
        return [Proof("probe", "unproven", f"It could not be tried: {wrong.message}.", tried.as_measured())]
    measured = tried.as_measured()
    if tried.wrong:
        says = f"Of {tried.pairs} pairs of people {len(tried.wrong)} came out wrong: {tried.wrong[0]}."
        return [Proof("probe", "broken", says, measured)]
    if not tried.pairs:
        return [Proof("probe", "unproven", "There are no two people on whom it could be tried.", measured)]
    if tried.untied:
        says = "There is nobody with a tie on whom it could be tried; without one nobody sees anything."
        return [Proof("probe", "unproven", says, measured)]
    sorts = [
        f"{number} {words}"
        for number, words in (
            (tried.outside, "without a tie that counts now"),
            (tried.blocked, "with a tie that forbids it"),
            (tried.hidden, "kept out by what they said"),
            (tried.elsewhere, "with somebody who isn't known to be where it is promised"),
        )
        if number
    ]
    refused = f"; refused were all {' and '.join(sorts)}" if sorts else ""
    says = (
        f"{tried.pairs} real pairs were tried, and {tried.shown} may see{refused}. {tried.pages} pages say the same,"
        f" and {tried.undeclared} columns that aren't declared stayed empty."
    )
    unasked = "Whether the application's pages ask Kept before they show it, nobody here can see."
    return [Proof("probe", "kept", says, measured), Proof("measure", "unproven", unasked, unseen=True)]


def _try(seeing: Seeing, walk: Walk, tried: _Tried) -> None:
    company = seeing.company
    today = company.clock().date().toordinal()
    draw = random.Random(today)  # noqa: S311  # whom it is tried on is no secret: others each day, the same all day
    people = _some(draw, [Person(walk.kind, (written(key),)) for key in keys(company, walk)], TRIED)
    viewers: list[Person | None] = [None, *people[: VIEWERS - 1]]
    links = {one.link.name: one.link for one in seeing.audiences if one.link is not None}
    only_tied = bool(links) and all(one.link is not None for one in seeing.audiences)
    tied = [pair for link in links.values() for pair in _some_tied(company, link, walk.kind, draw)]
    involved = [*people, *(who for pair in tied for who in pair if who is not None)]
    tried.ties += len(tied)
    tried.away = away(seeing, walk, involved)
    counting = {
        pair
        for link in links.values()
        for row in rows(company, link, involved)
        if counts(seeing, link, row)
        for pair in pairs(seeing, link, row, walk.kind)
    }
    for viewer, subject in tied:
        _one(seeing, viewer, subject, tried, may=(viewer, subject) in counting or not only_tied)
        tried.inside += (viewer, subject) in counting
    forbidding = [*seeing.entry.unless, *seeing.purpose.unless]
    for name in dict.fromkeys(str(one) for one in forbidding if one in company.policy.links):
        link = company.policy.links[name]
        shut = [
            pair
            for row in rows(company, link)
            if row[MEANT] and (link.ended is None or row[str(link.ended)] in (None, ""))
            for pair in ends(company, link, row, walk.kind)
        ]
        for viewer, subject in _some(draw, list(dict.fromkeys(shut)), TRIED):
            _one(seeing, viewer, subject, tried, may=False)
            tried.blocked += 1
    for key in _some(draw, list(Willing.of(company, walk.kind, seeing.wish).said().no), TRIED):
        for viewer in (None, *people[:1]):
            _one(seeing, viewer, Person(walk.kind, key), tried, may=False)
        tried.hidden += 1
    for viewer in viewers:
        allowed = {
            one.key[0]
            for one in people
            if _one(seeing, viewer, one, tried, may=(viewer, one) in counting or not only_tied)
        }
        if allowed != _page(seeing, walk, viewer, people):
            tried.wrong.append("a page shows other people than the decisions allow")
        tried.pages += 1
    _columns(seeing, walk, tried)
    tried.untied |= only_tied and not tried.ties


def _one(seeing: Seeing, viewer: Person | None, subject: Person, tried: _Tried, *, may: bool) -> bool:
    """Try one pair, of which nothing may be shown unless it `may`."""
    found = sees(seeing.company, str(seeing.entry.name), viewer, subject)
    declared = {
        f"{table}.{column}"
        for name in seeing.gives
        for table, sorts in seeing.company.policy.data[name].tables.items()
        for column in sorts
    }
    tried.pairs += 1
    tried.outside += not may
    if subject in tried.away:
        may, tried.elsewhere = False, tried.elsewhere + 1
    tried.shown += found.allowed
    if found.allowed and not may:
        tried.wrong.append(
            "somebody is shown to whom they should not be: by no tie, by their word, or where they are"
        )
    if set(found.fields) - declared:
        tried.wrong.append("a column is shown that isn't declared")
    if found.unsure:
        raise KeptError(found.reason)
    return found.allowed


def _some_tied(company: Company, link: Link, kind: str, draw: random.Random) -> list[Pair]:
    """Some who stand in a row of a link together, whether it counts now or not."""
    found = {pair for row in rows(company, link) for pair in ends(company, link, row, kind)}
    return _some(draw, sorted(found, key=str), TRIED)


def _page(seeing: Seeing, walk: Walk, viewer: Person | None, people: Iterable[Person]) -> set[str]:
    company, table = seeing.company, walk.root.table
    store = company.stores[walk.store]
    condition = seen_by(company, str(seeing.entry.name), viewer, f"{walk.store}.{table}", called="kept_page")
    source = store.table(table).alias("kept_page")
    key = source.c[walk.root.person[0]]
    with store.read() as connection:
        shown = {written(one) for one in connection.scalars(sa.select(key).where(condition))}
    return shown & {one.key[0] for one in people}


def _columns(seeing: Seeing, walk: Walk, tried: _Tried) -> None:
    """Ask for every column of the people's own table: those that aren't declared must come as nothing."""
    company, table = seeing.company, walk.root.table
    store, place = company.stores[walk.store], f"{walk.store}.{walk.root.table}"
    given = {
        str(column)
        for name in seeing.gives
        for column in company.policy.data[name].tables.get(place, {})  # type: ignore[call-overload]  # a Name is found by any equal str
    }
    others = [column for column in walk.tables[table].columns if column not in given]
    chosen = columns(company, str(seeing.entry.name), others, place, called="kept_page")
    source = store.table(table).alias("kept_page")
    with store.read() as connection:
        rows = connection.execute(sa.select(*chosen).select_from(source).limit(TRIED)).all() if chosen else []
    if any(value is not None for row in rows for value in row):
        tried.wrong.append("a column is shown that isn't declared")
    tried.undeclared += len(others) if rows else 0


def _some(draw: random.Random, given: Sequence[Any], most: int) -> list[Any]:
    return list(given) if len(given) <= most else draw.sample(list(given), most)
