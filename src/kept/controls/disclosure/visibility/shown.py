"""The condition that a row must meet to be seen: a person's own row, or one of data that is about several people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.conditions import VERIFIED
from kept.controls.disclosure.visibility import asked
from kept.controls.disclosure.visibility.seeing import Audience, Seeing
from kept.controls.disclosure.visibility.ties import Tie, holds_key
from kept.controls.purposes.gate.persons import Condition, Persons, led
from kept.controls.purposes.gate.rows import Way, owned, unexpired, ways
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.policy.facts import Link
from kept.stores.clauses import Clauses
from kept.stores.expiring.due import Step
from kept.stores.walk import Walk

NOBODY: Final = sa.false()


class Unfit(KeptError):
    """A table of which a disclosure shows nothing."""


def walk_of(company: Company, table: str) -> Walk | None:
    """The walk whose people stand in a table."""
    return next(
        (
            walk
            for kind in company.root_kinds()
            if str(company.policy.people[kind].table) == table
            and (walk := company.map.walk(kind)) is not None
        ),
        None,
    )


def of_person(
    seeing: Seeing,
    viewer: Person | None,
    persons: Persons,
    who: str,
    has: Condition,
    *,
    audiences: Sequence[Audience] | None = None,
    without: Link | None = None,
) -> Condition:
    """That the viewer sees the person whose row the statement calls `who`, who `has` what is to be seen of them."""
    parts = [part.so for part in seeing.between(viewer, persons, who, audiences, without=without)]
    if seeing.needs:
        parts.append(_asked_for(seeing, viewer, persons, who))
    return sa.and_(persons.may(who), has, *parts)


def has_every(persons: Persons, who: str, names: Iterable[str]) -> Condition:
    """That all of some data is theirs and within its limits, as far as those count from the person."""
    alike = {persons.sort_of(name): name for name in names}  # what is asked alike is asked once
    return sa.and_(sa.true(), *(persons.has(who, name) for name in alike.values()))


def has_some(persons: Persons, who: str, names: Iterable[str]) -> Condition:
    """That some data is theirs and within its limits, also those that count from a row, if it stands in their own."""
    names = list(names)
    fresh = fresh_in_row(persons, who, names)
    others = {persons.sort_of(name): name for name in names if name not in fresh}
    made = [persons.has(who, name) for name in others.values()]
    return sa.or_(
        sa.false(), *made, *(sa.and_(persons.has(who, name), still) for name, still in fresh.items())
    )


def fresh_in_row(persons: Persons, who: str, names: Iterable[str]) -> dict[str, Condition]:
    """Of the data in a person's own row that has limits which count from a row: that it is not past them."""
    company, table = persons.company, own_table(persons.walk)
    here = [name for name in names if table in map(str, company.policy.data[name].tables)]
    found = {name: unexpired(company, persons.wish, table, name, who) for name in here}
    return {name: still for name, still in found.items() if not isinstance(still, sa.True_)}


def own_table(walk: Walk) -> str:
    """The table in which the people of a walk stand, as the policy calls it."""
    return f"{walk.store}.{walk.root.table}"


def _asked_for(seeing: Seeing, viewer: Person | None, persons: Persons, who: str) -> Condition:
    if viewer is None or any(need in VERIFIED for need in seeing.needs):
        return NOBODY  # who is verified is looked up one by one
    whos = [one.key for one in asked.people(seeing.company, seeing, viewer) if one.kind == persons.walk.kind]
    return persons.among(who, whos) if whos else NOBODY


def of_rows(seeing: Seeing, viewer: Person | None, table: str, called: str, say: Clauses) -> Condition:
    company = seeing.company
    names = frozenset(name for name in seeing.gives if table in map(str, company.policy.data[name].tables))
    if not names:
        raise Unfit(f"`{seeing.entry.name}` shows nothing of {table}")
    found = ways(company, table, names)
    made = []
    for one in seeing.audiences:
        opened = _through(found, one.link) if one.link is not None else None
        if opened is not None and one.link is not None:
            made.append(_by_row(seeing, viewer, one, found, opened, called, say))
        else:
            own = partial(_themselves, seeing, viewer)
            made.append(owned(company, table, names, called, partial(_other, seeing, viewer, one), own))
    fresh = [unexpired(company, seeing.wish, table, name, called) for name in sorted(names)]
    return sa.and_(sa.or_(*made), *fresh)


def _other(seeing: Seeing, viewer: Person | None, one: Audience, way: Way, who: str) -> Condition:
    """That somebody a row is about is seen."""
    persons = Persons(seeing.company, way.walk, seeing.wish)
    has = has_every(persons, who, sorted(way.names))
    return of_person(seeing, viewer, persons, who, has, audiences=[one])


def _themselves(seeing: Seeing, viewer: Person | None, way: Way, who: str) -> Condition:
    """That somebody a row is about is the viewer, whose own part of it nobody need show them."""
    if viewer is None or viewer.kind != way.walk.kind or len(way.walk.root.person) != 1:
        return NOBODY
    persons = Persons(seeing.company, way.walk, seeing.wish)
    return holds_key(persons.say, persons.row(who), way.walk.root.person[0], viewer)


def _through(found: Sequence[Way], link: Link) -> tuple[Step, ...] | None:
    """The path that leads rows to the row of a link by which they are somebody's, where all of their ways do."""
    table = str(link.table).partition(".")[2]
    ends = {str(at.column) for at in link.between.values()}
    before = set()
    for way in found:
        last = way.path[-1] if way.path else None
        if (
            last is None
            or last.back
            or last.reference.table != table
            or not set(last.reference.columns) <= ends
        ):
            return None
        before.add(way.path[:-1])
    return next(iter(before)) if len(before) == 1 else None


def _by_row(
    seeing: Seeing,
    viewer: Person | None,
    audience: Audience,
    found: Sequence[Way],
    path: tuple[Step, ...],
    called: str,
    say: Clauses,
) -> Condition:
    """That a row leads to the very row of the link which ties the viewer to everybody else it is about."""
    link = audience.link
    if viewer is None or link is None:
        return NOBODY

    def counts(at: str) -> Condition:
        made = []
        for own in dict.fromkeys(
            mine for way in found for mine, _ in _tie(seeing, way, link).ends(viewer, audience.end)
        ):
            others: list[Condition] = []
            named: list[Condition] = []
            for way in found:
                column, tie = way.path[-1].reference.columns[0], _tie(seeing, way, link)
                row = tie.row(at)
                if column == own:
                    continue
                apart = [row.c[own] != row.c[column]] if viewer.kind == way.walk.kind else []
                other = led(say, way.path[-1:], at, "kept_other", partial(_tied, seeing, viewer, way, link))
                named.append(row.c[column].is_not(None))
                others.append(sa.or_(row.c[column].is_(None), sa.and_(*apart, other)))
            tie = _tie(seeing, found[0], link)
            mine = (tie.is_at(tie.row(at), own, viewer), tie.counts(tie.row(at), seeing.time(link)))
            made.append(sa.and_(*mine, sa.or_(NOBODY, *named), *others))
        return sa.or_(NOBODY, *made)

    return led(say, path, called, "kept_tied", counts)


def _tie(seeing: Seeing, way: Way, link: Link) -> Tie:
    return Tie(seeing.company, link, Persons(seeing.company, way.walk, seeing.wish))


def _tied(seeing: Seeing, viewer: Person, way: Way, link: Link, who: str) -> Condition:
    """That somebody at another end of a row that ties them to the viewer lets them see it."""
    persons = Persons(seeing.company, way.walk, seeing.wish)
    return of_person(seeing, viewer, persons, who, has_every(persons, who, sorted(way.names)), without=link)
