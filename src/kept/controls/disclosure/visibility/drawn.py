"""What stands in the tables about people who might see each other, read without asking the gate.

Whom a row ties, whether it counts by its own times, where somebody is: the board (`measured`) compares with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import combinations
from typing import Any, Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.choices.whom import moment
from kept.controls.disclosure.visibility.seeing import Seeing
from kept.controls.purposes.gate.persons import AT_ONCE, sure
from kept.controls.purposes.gate.persons import among as are_among
from kept.controls.rights.people import Person
from kept.policy.facts import Link
from kept.policy.words import covers
from kept.stores.clauses import Clauses, written
from kept.stores.conditions import condition
from kept.stores.walk import Walk

ROWS: Final = 2000  # of a table, from which some are drawn
MEANT: Final = "kept_meant"
"""Whether a row is one of those that the link means (`when`)."""

Row = dict[str, Any]
Pair = tuple[Person | None, Person]


def rows(company: Company, link: Link, among: Sequence[Person] | None = None) -> list[Row]:
    """Rows of a link, each with whether it is meant (`MEANT`): some, or all that tie two of these people."""
    place, _, table = str(link.table).partition(".")
    store = company.stores[place]
    places = [(str(at.column), company.policy.root(str(at.kind))) for at in link.between.values()]
    wanted = [
        *(column for column, _ in places),
        *(str(one) for one in (link.began, link.ended) if one is not None),
    ]
    source = store.table(table)
    today = company.clock().astimezone(company.policy.timezone).date()
    so = sa.true() if link.when is None else condition(link.when, source, store.shape(table), today=today)
    query = sa.select(
        *(source.c[one] for one in dict.fromkeys(wanted)), sa.case((sure(so), 1), else_=0).label(MEANT)
    )
    if among is None:
        query = query.limit(ROWS)
    else:
        say = Clauses(store, company.map.tables[place])
        keys = {
            column: are_among(say, table, [column], say.name(table), list(dict.fromkeys(found)))
            for column, root in places
            if root is not None and (found := [who.key for who in among if who.kind == root.name])
        }
        query = query.where(sa.or_(sa.false(), *(sa.and_(*two) for two in combinations(keys.values(), 2))))
    with store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(query)]


def keys(company: Company, walk: Walk) -> list[object]:
    """The keys of some people, as they stand in their table."""
    store = company.stores[walk.store]
    source = store.table(walk.root.table)
    with store.read() as connection:
        return list(connection.scalars(sa.select(source.c[walk.root.person[0]]).limit(ROWS)))


def ends(company: Company, link: Link, row: Row, kind: str) -> list[Pair]:
    """Everybody a row names, each with each of the others who is of a kind."""
    named = [
        Person(str(root.name), (written(row[str(at.column)]),))
        for at in link.between.values()
        if (root := company.policy.root(str(at.kind))) is not None and row[str(at.column)] is not None
    ]
    return [(one, other) for one in named for other in named if one != other and other.kind == kind]


def pairs(seeing: Seeing, link: Link, row: Row, kind: str) -> set[Pair]:
    """Who of a row may look at whom, by the ends the disclosure names."""
    named = [one.end for one in seeing.audiences if one.link is link]
    found: set[Pair] = set()
    for end in named:
        at = None if end is None else next(str(a.column) for e, a in link.between.items() if str(e) == end)
        found |= {
            (viewer, subject)
            for viewer, subject in ends(seeing.company, link, row, kind)
            if at is None or (viewer is not None and written(row[at]) == viewer.key[0])
        }
    return found


def counts(seeing: Seeing, link: Link, row: Row) -> bool:
    """Whether a row of a link is meant and counts now, by its own times."""
    if not row[MEANT]:
        return False
    now, zone, time = seeing.company.clock(), seeing.company.policy.timezone, seeing.time(link)
    began = (
        moment(row[str(link.began)]) if link.began is not None else datetime.min.replace(tzinfo=now.tzinfo)
    )
    if began is None or began > now:
        return False
    raw = row[str(link.ended)] if link.ended is not None else None
    is_open, ended = raw in (None, ""), moment(raw)
    if time.until is None:
        return is_open or not time.during
    period = time.until.period or AT_ONCE
    if time.until.event.moment == "ended":
        return is_open or (ended is not None and now < period.end(ended, zone))
    return (is_open or not time.during) and now < period.end(began, zone)


def away(seeing: Seeing, walk: Walk, people: Sequence[Person]) -> frozenset[Person]:
    """Those of these people who aren't known to be where all of it is promised, by what stands in their own row."""
    areas = [one.regions for one in (seeing.entry, seeing.purpose) if one.regions]
    if not areas:
        return frozenset()
    store, root = seeing.company.stores[walk.store], walk.root
    say, column = Clauses(store, walk.tables), seeing.company.policy.people[walk.kind].region
    source, known = store.table(root.table), set[Person]()
    whos = list(dict.fromkeys(one.key for one in people if one.kind == walk.kind))
    if column is not None and whos:
        among = are_among(say, root.table, root.person, say.name(root.table), whos)
        with store.read() as connection:
            for key, text in connection.execute(
                sa.select(source.c[root.person[0]], source.c[str(column)]).where(among)
            ):
                where = str(text or "").strip().lower().replace("_", "-")
                if where and all(any(covers(str(area), where) for area in some) for some in areas):
                    known.add(Person(walk.kind, (written(key),)))
    return frozenset(people) - known
