"""What a question about groups means in the company's tables: which rows, whose, by which clock, told apart by what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from kept.company import Company
from kept.controls.disclosure.declare import Disclosure
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.enforce import Gate
from kept.controls.purposes.groups.question import TIME, Question
from kept.controls.refused import Refused
from kept.controls.retention.declare import Retention
from kept.controls.retention.limits import Gap, terms
from kept.datamap.dated import dated, paths_to
from kept.datamap.edges import plain
from kept.policy.facts import Data, Link
from kept.policy.grammar import Clock
from kept.policy.words import TYPES
from kept.stores.expiring.due import Expiry
from kept.stores.schema import Reference
from kept.stores.walk import Stop, Walk, identifies

MOST: Final = 2
"""Ways of telling groups apart at once."""


@dataclass(frozen=True)
class Dimension:
    """What tells groups apart: a column of the rows; or a link, by the organisation each person is tied to.

    With `width` a column's numbers are taken together, so many to a band. `link` is the table of the link with the
    column of the person and that of the organisation; `open_by` is empty while the link lasts.
    """

    name: str
    column: str = ""
    width: int | None = None
    link: Link | None = None
    person: str = ""


@dataclass(frozen=True)
class Way:
    """How a row is somebody's: `path` leads from it to the own row of one person of the walk's kind."""

    walk: Walk
    path: tuple[Reference, ...]


@dataclass(frozen=True)
class Scope:
    """The rows of one table that carry some data, and their people: a row is of one person along each of its `ways`.
    `clock` is the rows' own time, `numbers` are the columns that can be added up, `limits` say which rows are past.
    `promise` is that by which a party gets it, None for one's own people.
    """

    question: Question
    purpose: Purpose
    floor: int
    table: str
    ways: tuple[Way, ...]
    clock: str | None
    dimensions: tuple[Dimension, ...]
    numbers: tuple[str, ...]
    limits: tuple[Expiry, ...]
    promise: Disclosure | None

    @property
    def walk(self) -> Walk:
        """The first of the walks that lead to the table; all are in one store."""
        return self.ways[0].walk

    @property
    def is_shared(self) -> bool:
        """Whether a row may be that of several people."""
        return len(self.ways) > 1

    @property
    def place(self) -> str:
        return f"{self.walk.store}.{self.table}"


def scope(
    company: Company,
    question: Question,
    *,
    by: str | None = None,
    most: int = MOST,
    promise: Disclosure | None = None,
) -> Scope:
    """Compile a question against policy and database; Refused for whatever the policy doesn't have, or nobody can tell.

    `by` is who asks, as for the gate; groups are told apart by at most so many things at once (`most`). Of the floors
    of the purpose and of the `promise` the higher holds.
    """
    purpose, floor = _allowed(company, question, by)
    floor = max(floor, (promise.groups if promise is not None else None) or 0)
    data = company.policy.data[question.data]
    table, reached = _place(company, question, data)
    ways = tuple(way for walk, stops in reached for way in _ways(walk, table, stops))
    walk, names = ways[0].walk, question.dimensions
    if len(names) > most:
        raise Refused("question", f"groups are told apart by at most {most} things at once")
    clocks = {_clock(company, one, data, table) for one, _ in reached}
    if len(clocks) != 1:
        raise Refused("time", f"more than one column may be the time of rows of {table}")
    if len(ways) > 1 and any(name in company.policy.links for name in names):
        raise Refused(
            "shared", f"a row of {table} may be of several people, who may be tied to several organisations"
        )
    clock = clocks.pop()
    return Scope(
        question,
        purpose,
        floor,
        table,
        ways,
        clock,
        tuple(_dimension(company, walk, data, table, name) for name in names),
        _numbers(walk, data, table, {str(clock), *names}),
        tuple(limit for one, _ in reached for limit in _limits(company, question.data, one, table)),
        promise,
    )


def _allowed(company: Company, question: Question, by: str | None) -> tuple[Purpose, int]:
    """The purpose and its floor, where the gate lets it see groups of this data."""
    purpose = company.policy.section("purposes").get(question.purpose)
    floor = purpose.groups if isinstance(purpose, Purpose) else None
    if isinstance(purpose, Purpose) and floor is None:
        purposes = company.policy.section("purposes").items()
        able = ", ".join(str(name) for name, one in purposes if getattr(one, "groups", None) is not None)
        why = f"`{question.purpose}` is about single people, not groups"
        raise Refused("groups", why, clause=purpose.clause, help=f"about groups: {able or 'no purpose'}")
    decided = Gate.of(company).decide(question.purpose, question.data, by=by, group=floor)
    if not decided.allowed:
        raise Refused(decided.rule or "purpose", decided.reason, clause=decided.clause)
    if not isinstance(purpose, Purpose) or floor is None:
        raise Refused("groups", f"`{question.purpose}` is not about groups", clause=decided.clause)
    if question.measure in ("sum", "mean") and question.column is None:
        raise Refused("question", f"a {question.measure} is that of a column")
    return purpose, floor


def _place(company: Company, question: Question, data: Data) -> tuple[str, list[tuple[Walk, list[Stop]]]]:
    """The one table that is asked about, and by kind of person the stops by which they come to its rows."""
    kinds = {str(root.name) for who in company.policy.owners(data) if (root := company.policy.root(who))}
    found: dict[str, list[tuple[Walk, list[Stop]]]] = {}
    for kind in sorted(kinds):
        walk = company.map.walk(kind)
        for full in data.tables if walk is not None else ():
            if walk is None or full.partition(".")[0] != walk.store:
                continue
            stops = [
                walk.stops[i]
                for i in walk.of_table(plain(full))
                if any(question.data in names for names in walk.stops[i].columns.values())
            ]
            if stops:
                found.setdefault(str(full), []).append((walk, stops))
    wanted = [place for place in found if question.table in (None, place, plain(place))]
    if not wanted:
        silent = "; ".join(why for kind in sorted(kinds) for why in company.out_of_reach(kind))
        why = f"`{question.data}` can't be counted here"
        raise Refused("unreachable", f"{why}: {silent}" if silent else why)
    if len(wanted) > 1:
        places = ", ".join(map(plain, wanted))
        raise Refused(
            "question",
            f"`{question.data}` stands in several tables",
            help=f"name one with `table` (--table): {places}",
        )
    if len({walk.store for walk, _ in found[wanted[0]]}) > 1:
        raise Refused("shared", f"people of rows of {wanted[0]} stand in several stores")
    return plain(wanted[0]), found[wanted[0]]


def _ways(walk: Walk, table: str, stops: Sequence[Stop]) -> Iterator[Way]:
    """Each way from a row to one person: references from the row, each to one row."""
    paths = {path for stop in stops for path in paths_to(walk, stop, walk.root.table)}
    forward = any(hop.forward for stop in stops for hop in stop.hops)
    alone = all(identifies(walk.tables[step.to], step.to_columns) for path in paths for step in path)
    if not paths or forward or not alone or walk.tables[table].is_view:
        raise Refused("shared", f"whose rows of {table} these are can't be told row by row")
    for path in sorted(paths, key=str):
        yield Way(walk, path)


def _clock(company: Company, walk: Walk, data: Data, table: str) -> str | None:
    """The rows' own time; None where they have none."""
    rows = [one for one in dated(company.policy, walk, data, "recorded") if one.table == table]
    if any(not one.whose for one in rows):
        raise Refused("shared", f"whose rows of {table} these are can't be told from them")
    tested = {only.path[-1].to if only.path else table for one in rows for only in one.only}
    if tested - {walk.root.table}:  # tests of the person's own row are the gate's
        raise Refused("shared", f"whose rows of {table} these are depends on a link")
    clocks = {one.clock for one in rows}
    if len(clocks) != 1:
        raise Refused("time", f"more than one column may be the time of rows of {table}")
    return clocks.pop()


def _sorts(walk: Walk, data: Data, table: str) -> dict[str, str]:
    """The columns that are declared for this data in the table, each with its sort."""
    declared = next((sorts for full, sorts in data.tables.items() if full == f"{walk.store}.{table}"), {})
    return {str(name): sort.type for name, sort in declared.items() if name in walk.tables[table].columns}


def is_plain(walk: Walk, data: Data, table: str, column: str) -> bool:
    """Whether a column can be told of a group: declared for this data, points at nobody by itself, is no key."""
    shape = walk.tables[table]
    keys = {*shape.key, *(name for reference in shape.references for name in reference.columns)}
    sort = _sorts(walk, data, table).get(column)
    return sort is not None and not TYPES.get(sort, True) and column not in keys


def _dimension(company: Company, walk: Walk, data: Data, table: str, name: str) -> Dimension:
    if name in company.policy.links:
        return _tie(company, walk, name)
    sort = _sorts(walk, data, table).get(name)
    if name == TIME or sort is None:
        raise Refused(
            "question", f"`{data.name}` has no such column in {table}", help=_help(walk, data, table)
        )
    if sort == "recorded" or not is_plain(walk, data, table, name):
        raise Refused("question", f"`{name}` points at single people", help=_help(walk, data, table))
    return Dimension(name, name)


def _help(walk: Walk, data: Data, table: str) -> str:
    fit = [name for name in _sorts(walk, data, table) if is_plain(walk, data, table, name)]
    return "groups can be told apart by " + ", ".join(
        [*(f"`{name}`" for name in fit), "links to organisations"]
    )


def _tie(company: Company, walk: Walk, name: str) -> Dimension:
    """A link of the person's to an organisation: the other end of any other link would name a person."""
    link = company.policy.links[name]
    mine = [
        at
        for at in link.between.values()
        if (root := company.policy.root(str(at.kind))) is not None and root.name == walk.kind
    ]
    others = [
        at
        for at in link.between.values()
        if (root := company.policy.root(str(at.kind))) is not None and root.is_organisation
    ]
    if len(mine) != 1 or len(others) != 1 or len(walk.root.person) != 1:
        raise Refused("question", f"`{name}` ties nobody to an organisation")
    if link.table != f"{walk.store}.{plain(link.table)}" or plain(link.table) not in walk.tables:
        raise Refused("unreachable", f"`{name}` stands in another store")
    return Dimension(name, str(others[0].column), link=link, person=str(mine[0].column))


def _numbers(walk: Walk, data: Data, table: str, besides: Iterable[str]) -> tuple[str, ...]:
    """The columns that can be added up."""
    columns = walk.tables[table].columns
    return tuple(
        name
        for name, sort in sorted(_sorts(walk, data, table).items())
        if columns[name].sort == "number"
        and sort not in ("time", "recorded")
        and name not in besides
        and is_plain(walk, data, table, name)
    )


def _limits(company: Company, data: str, walk: Walk, table: str) -> Iterator[Expiry]:
    """Which rows are past a limit of this data; Refused where nobody can tell."""
    now, place = company.clock(), f"{walk.store}.{table}"
    for one in company.policy.section("retention").values():
        if not isinstance(one, Retention) or one.hold or data not in one.keeps:
            continue
        if not isinstance(one.until, Clock):
            continue  # kept for ever: no row is past it
        for term in terms(company, one, now):
            if isinstance(term, Gap):
                if term.place == place:
                    raise Refused(
                        "limit", f"which rows of {place} are past `{one.name}` can't be told: {term.reason}"
                    )
                continue
            rows = term.rows
            if term.store == walk.store and rows.table == table and rows.kind == walk.kind:
                yield rows.past()
