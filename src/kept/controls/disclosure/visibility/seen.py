"""What somebody sees of somebody else: of two people as a decision, of a whole page as a condition for the database.

    sees(company, "deal", Person("member", ("7",)), Person("member", ("12",)))
    condition = seen_by(company, "profile", None, called="m")
    chosen = columns(company, "profile", ["joined_at"], called="m")
    sa.select(*chosen).select_from(sa.text("members m")).where(condition)

Both know the disclosure, the purpose it is for, choices, ties, times, regions, restrictions and limits; what isn't
declared, and what nobody can tell, is seen by nobody. A decision's reason is for the program: whoever was blocked
needn't read that they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls import conditions
from kept.controls.choices.deciding import Basis, Decision, How
from kept.controls.choices.enforce import Gate as ChoicesGate
from kept.controls.choices.whom import Facts
from kept.controls.conditions import VERIFIED, About
from kept.controls.disclosure.visibility import asked
from kept.controls.disclosure.visibility.pages import page_for
from kept.controls.disclosure.visibility.seeing import Seeing
from kept.controls.disclosure.visibility.shown import (
    NOBODY,
    Unfit,
    fresh_in_row,
    has_some,
    of_person,
    of_rows,
    own_table,
    walk_of,
)
from kept.controls.disclosure.visibility.ties import holds_key
from kept.controls.purposes.gate.limits import Limits
from kept.controls.purposes.gate.persons import Condition, Persons, sure
from kept.controls.purposes.gate.willing import Said, Willing
from kept.controls.refused import Refused
from kept.controls.rights.people import Person
from kept.errors import KeptError, TerminalError
from kept.policy.words import covers
from kept.stores.clauses import Clauses

NO_EVIDENCE: Final[Mapping[str, str]] = {}
WHO: Final = "kept_subject"


# One pair.


def sees(
    company: Company,
    disclosure: str,
    viewer: Person | None,
    subject: Person,
    *,
    evidence: Mapping[str, str] = NO_EVIDENCE,
) -> Decision:
    """Whether somebody sees what a disclosure shows of somebody else now, and which columns, and how.

    `viewer` is whoever is logged in, None for anyone else. `evidence` are the words for what the disclosure `needs`
    (`{"asked": "about order 17"}`): they are on record before this returns that it is allowed, and from then on
    needn't be given again.
    """
    seeing = Seeing.of(company, disclosure)
    if isinstance(seeing, Decision):
        return seeing
    known = ChoicesGate.of(company).basis(subject)
    if isinstance(known, Decision):
        return known
    if not known.facts.there:
        return seeing.no("nobody", "there is nobody like that")
    try:
        persons = Persons(company, company.walk(subject.kind), seeing.wish)
        fields = shown(seeing, known.facts, persons, subject)
        return (
            of_their_own(seeing, persons, known)
            or (
                None
                if fields
                else seeing.no("data", "none of that data is theirs, or all of it past its limit")
            )
            or _between(seeing, viewer, persons, subject)
            or _needs(seeing, viewer, subject, known.facts, evidence, fields)
            or Decision(True, "nothing forbids it", seeing.clause, fields=fields)
        )
    except Refused as refused:
        return seeing.no(refused.reason, refused.message)
    except KeptError as wrong:
        return seeing.no("unsure", f"nobody can tell: {wrong.message}", unsure=True)


def of_their_own(seeing: Seeing, persons: Persons, known: Basis) -> Decision | None:
    """Why somebody's own choices, words or region forbid a disclosure of their data."""
    for entry in (seeing.purpose, seeing.entry):
        region = known.facts.region
        if entry.regions and not any(
            region is not None and covers(str(one), region) for one in entry.regions
        ):
            where = ", ".join(map(str, entry.regions))
            return seeing.no("region", f"it is about people in {where}, and they aren't known to be there")
    found = persons.willing.decide(known)
    return None if found.allowed else found


def shown(seeing: Seeing, facts: Facts, persons: Persons, subject: Person) -> dict[str, How]:
    """The columns of what a disclosure gives that are somebody's and within their limits, and how each may be seen."""
    company, limits, found = seeing.company, Limits(seeing.company), dict[str, How]()
    purpose, own = str(seeing.purpose.name), f"{own_table(persons.walk)}."
    fresh = fresh_in_row(persons, WHO, seeing.gives)
    still = (_of_row(persons, subject, list(fresh.values())) if fresh else None) or [0] * len(fresh)
    over = {name for name, is_so in zip(fresh, still, strict=True) if not is_so}
    for name in seeing.gives:
        kinds = set(company.policy.owners(company.policy.data[name]))
        theirs = bool(kinds & (facts.kinds - facts.unsure))
        past = theirs and limits.past(facts, subject.kind, name) is not None
        if theirs and (not past or limits.is_held(facts, subject.kind, name, purpose)):
            fields = fields_of(seeing, name)
            found |= {one: how for one, how in fields.items() if name not in over or not one.startswith(own)}
    return found


def fields_of(seeing: Seeing, name: str) -> Mapping[str, How]:
    """The columns of one data, and how each may be seen; a column of several data as the strictest says."""
    use = seeing.uses.find(str(seeing.purpose.name), (name,))
    return {} if isinstance(use, Decision) else use.allowed.fields


def _between(seeing: Seeing, viewer: Person | None, persons: Persons, subject: Person) -> Decision | None:
    """Why nothing is shown to this viewer: one statement, with a column for each condition."""
    parts = seeing.between(viewer, persons, WHO)
    met = _of_row(persons, subject, [part.so for part in parts])
    if met is None:
        return seeing.no("nobody", "there is nobody like that")
    failed = next((part for part, so in zip(parts, met, strict=True) if not so), None)
    return None if failed is None else seeing.no(failed.rule, failed.reason)


def _of_row(persons: Persons, subject: Person, asked: Sequence[Condition]) -> Sequence[int] | None:
    """Whether each condition holds of somebody's own row, `WHO`, as 0 or 1; None where there is none."""
    row = persons.row(WHO)
    if len(persons.walk.root.person) != 1:
        raise TerminalError("people with a key of several columns can't be looked up here")
    source = persons.store.table(persons.walk.root.table).alias(WHO)
    chosen: sa.Select[Any] = (
        sa.select(*(sa.case((sure(one), 1), else_=0) for one in asked))
        .select_from(source)
        .where(holds_key(persons.say, row, persons.walk.root.person[0], subject))
    )
    with persons.store.read() as connection:
        return connection.execute(chosen).first()


def _needs(
    seeing: Seeing,
    viewer: Person | None,
    subject: Person,
    told: Facts,
    evidence: Mapping[str, str],
    fields: Mapping[str, How],
) -> Decision | None:
    if not seeing.needs:
        return None
    company, words = seeing.company, asked.words(seeing)
    for need in seeing.needs:
        if need in VERIFIED:
            about = About("", subject, None, None, evidence=evidence)
            conditions.refuse_need(company, seeing.entry, need, about, {})
    if not words:
        return None
    if viewer is None:
        return seeing.no(words[0], "nobody says who asks")
    given = {need: said for need in words if (said := evidence.get(need, "").strip())}
    if len(given) == len(words):
        asked.put(company, seeing, viewer, subject, told, sorted(fields), given)
        return None
    if asked.is_on_record(company, seeing, viewer, subject):
        return None
    return seeing.no(words[0], "it has to be asked for first: say how, as evidence")


# A page.


def seen_by(
    company: Company,
    disclosure: str,
    viewer: Person | None,
    table: str | None = None,
    *,
    called: str | None = None,
) -> Condition:
    """The condition that a row must meet for somebody to see it by a disclosure.

    `table` (`store.table`) is that of the people themselves unless said, or one with data that the disclosure gives:
    its rows are seen where everybody they are about but the viewer is, and where the tie that opens them is a row they
    lead to, by that very row. `called` is the name that the statement gives the table, its own unless said. No row is
    seen where nobody can tell. KeptError for a table with none of the data.
    """
    seeing = Seeing.of(company, disclosure)
    if isinstance(seeing, Decision):
        return NOBODY
    name = table or _own_table(seeing)
    store, _, own = name.partition(".")
    try:
        if store not in company.stores or store not in company.map.tables:
            return NOBODY
        named = called or Clauses(company.stores[store], company.map.tables[store]).name(own)
        if seeing.needs:  # who has asked for it is another list for each
            return _condition(seeing, name, named, viewer)
        make = partial(_condition, seeing, name, named)
        return page_for(company, store, (disclosure, name, named), viewer, _said(seeing, store), make)
    except Unfit:
        raise
    except KeptError:  # a store that is down, people who can't be read: nobody can tell
        return NOBODY


def columns(
    company: Company,
    disclosure: str,
    wanted: Sequence[str],
    table: str | None = None,
    *,
    called: str | None = None,
) -> list[sa.ColumnElement[Any]]:
    """Columns of a table for the same statement: those that a disclosure gives as they are, all others as NULL.

    Where a row may be seen and one data of it isn't the person's, or past its limit, that one is NULL.
    """
    known: _Chosen = company.memory.setdefault(_Chosen, _Chosen())
    asked_for = (disclosure, tuple(wanted), table, called, company.clock().replace(microsecond=0))
    found = known.get(asked_for)
    if found is None:
        known.clear()  # those of another second, or of another page of this one
        found = known[asked_for] = _columns(company, disclosure, wanted, table, called)
    return list(found)


class _Chosen(dict[object, list[sa.ColumnElement[Any]]]):
    """The columns of the last page, for the second in which they were worked out."""


def _columns(
    company: Company, disclosure: str, wanted: Sequence[str], table: str | None, called: str | None
) -> list[sa.ColumnElement[Any]]:
    seeing = Seeing.of(company, disclosure)
    hidden: list[sa.ColumnElement[Any]] = [sa.null().label(column) for column in wanted]
    if isinstance(seeing, Decision):
        return hidden
    name = table or _own_table(seeing)
    store, _, own = name.partition(".")
    if store not in company.stores or store not in company.map.tables:
        return hidden
    walk, found = walk_of(company, name), list[sa.ColumnElement[Any]]()
    say = Clauses(company.stores[store], company.map.tables[store])
    named = called or say.name(own)
    for column in wanted:
        carrying = [
            data for data in seeing.gives if fields_of(seeing, data).get(f"{name}.{column}") is not None
        ]
        masked = any(fields_of(seeing, data)[f"{name}.{column}"] != "as is" for data in carrying)
        if not carrying or masked or column not in company.map.tables[store][own].columns:
            found.append(sa.null().label(column))
            continue
        plain: sa.ColumnElement[Any] = sa.literal_column(f"{named}.{say.name(column)}".replace("\\:", ":"))
        if walk is None:
            found.append(plain.label(column))
            continue
        persons = Persons(company, walk, seeing.wish)
        theirs = has_some(persons, named, carrying)
        found.append(sa.case((sure(theirs), plain), else_=sa.null()).label(column))
    return found


def _said(seeing: Seeing, store: str) -> list[Said]:
    """What the people of a database said, each another object once something of it changed."""
    company = seeing.company
    walks = [walk for kind in company.root_kinds() if (walk := company.map.walk(kind)) is not None]
    return [
        Willing.of(company, walk.kind, seeing.wish).said()
        for walk in walks
        if walk.store == store and seeing.names(walk)
    ]


def _condition(seeing: Seeing, table: str, called: str, viewer: Person | None) -> Condition:
    company, store = seeing.company, table.partition(".")[0]
    walk = walk_of(company, table)
    if walk is not None and seeing.names(walk):
        persons = Persons(company, walk, seeing.wish)
        return of_person(seeing, viewer, persons, called, has_some(persons, called, seeing.names(walk)))
    say = Clauses(company.stores[store], company.map.tables[store])
    return of_rows(seeing, viewer, table, called, say)


def _own_table(seeing: Seeing) -> str:
    """The one table of the people whose data a disclosure gives."""
    company = seeing.company
    roots = {
        str(root.table)
        for name in seeing.gives
        for kind in company.policy.owners(company.policy.data[name])
        if (root := company.policy.root(kind)) is not None and root.table is not None
    }
    if len(roots) != 1:
        raise Unfit(
            f"`{seeing.entry.name}` shows people of several kinds", help="say of which table the rows are"
        )
    return next(iter(roots))
