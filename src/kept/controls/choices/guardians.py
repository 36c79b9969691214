"""Who may answer for somebody: those at the other end of a link that is open, such as the guardian of a minor."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.choices.declare import Choice
from kept.controls.choices.whom import facts, young
from kept.controls.rights.people import Person
from kept.errors import TerminalError, TransientError
from kept.policy.facts import Link
from kept.stores.clauses import written
from kept.stores.conditions import condition

CHUNK: Final = 1000
WHOLE: Final = re.compile("-?[0-9]+")


@dataclass(frozen=True)
class Tie:
    """A row of a link that is open now: who stands at the end that was asked for, and who at the others."""

    who: Person
    others: Mapping[str, Person]


def guardians(company: Company, choice: Choice, whos: Sequence[Person]) -> dict[Person, dict[Person, str]]:
    """For each person the guardians who may answer for them now, each with their pseudonym.

    Their link is open, their own account is there and hasn't ended, and they are of age. StoreError where that can't be
    read: whoever asks must then refuse.
    """
    found: dict[Person, dict[Person, str]] = {}
    for link, guardian in ends(company, choice):
        for end, at in link.between.items():
            if end != guardian and any(company.policy.related(who.kind, str(at.kind)) for who in whos):
                for tie in ties(company, link, str(end), whos):
                    if tie.others.get(guardian, tie.who) != tie.who:  # nobody is their own guardian
                        found.setdefault(tie.who, {})[tie.others[guardian]] = ""
    able = _able(company, list(dict.fromkeys(guard for by in found.values() for guard in by)))
    pseudonyms = company.pseudonyms.of([str(guard) for guard in able]) if able else {}
    return {
        ward: {guard: pseudonyms[str(guard)] for guard in by if guard in able} for ward, by in found.items()
    }


def ends(company: Company, choice: Choice) -> list[tuple[Link, str]]:
    """The links by which others answer for somebody, each with the end at which they stand."""
    found = []
    for by in choice.by:
        name, dot, end = str(by).partition(".")
        link = company.policy.links.get(name) if dot else None
        if link is None:
            raise TerminalError(f"`{choice.name}` is given by `{by}`, which is no end of a link")
        found.append((link, end))
    return found


def ties(company: Company, link: Link, end: str, whos: Sequence[Person]) -> list[Tie]:
    """The open rows of a link that name one of these people at an end.

    Open is a row that has begun and hasn't ended; an empty text is no end. TransientError while its store can't be
    asked, TerminalError for a link whose rows can't be told open from closed.
    """
    at, opened, shape = _place(company, link, end)
    root = _root(company, link, end)
    by_key = {who.key[0]: who for who in whos if who.kind == root and len(who.key) == 1}
    store = company.stores[opened]
    source = store.table(str(link.table).partition(".")[2])
    column, keys = _asked(source.c[at], shape.columns[at].sort == "number", list(by_key))
    others = {str(other): str(one.column) for other, one in link.between.items() if str(other) != end}
    began = source.c[str(link.began)] if link.began is not None else sa.literal(None)
    query = sa.select(source.c[at], began, *(source.c[one] for one in others.values()))
    if link.when is not None:
        query = query.where(condition(link.when, source, shape, today=company.clock().date()))
    if link.began is not None:
        query = query.where(began.is_not(None))
    if link.ended is not None:
        query = query.where(
            _open(store.dialect, source.c[str(link.ended)], shape.columns[str(link.ended)].sort)
        )
    found = []
    with store.read() as connection:
        for start in range(0, len(keys), CHUNK):
            for mine, since, *theirs in connection.execute(
                query.where(column.in_(keys[start : start + CHUNK]))
            ):
                who = by_key.get(written(mine))
                if who is None or not _has_begun(since, company.clock(), dated=link.began is not None):
                    continue
                there = zip(others, theirs, strict=True)
                named = {name: key for name, key in there if key is not None}
                found.append(
                    Tie(
                        who, {n: Person(_root(company, link, n), (written(key),)) for n, key in named.items()}
                    )
                )
    return found


def _place(company: Company, link: Link, end: str) -> tuple[str, str, Any]:
    """The column of an end, the store, and the shape of the table."""
    name, _, table = str(link.table).partition(".")
    if name not in company.schemas:
        raise TransientError(f"`{link.table}` can't be reached", help=company.unreachable.get(name))
    shape = company.stores[name].shape(table)
    column = next(str(at.column) for one, at in link.between.items() if str(one) == end)
    wanted = [str(at.column) for at in link.between.values()]
    wanted += [str(one) for one in (link.began, link.ended) if one is not None]
    missing = [one for one in wanted if one not in shape.columns]
    if missing:
        raise TerminalError(f"there is no column {table}.{missing[0]}", where=name)
    return column, name, shape


def _open(dialect: str, ended: sa.ColumnElement[Any], sort: str) -> sa.ColumnElement[bool]:
    if dialect == "sqlite" or sort == "text":
        return sa.func.coalesce(sa.cast(ended, sa.Text), "") == ""
    return ended.is_(None)


def _has_begun(since: object, now: datetime, *, dated: bool) -> bool:
    """Whether a row's time has come; one that can't be read has not."""
    if not dated:
        return True
    try:
        at = since if isinstance(since, datetime) else datetime.fromisoformat(str(since))
    except ValueError:
        return False
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)) <= now


def _able(company: Company, guards: Sequence[Person]) -> set[Person]:
    """Those of them who are there, of age, and whose account hasn't ended."""
    told, children = facts(company, guards) if guards else {}, young(company.policy)
    return {
        who
        for who, one in told.items()
        if one.there and not one.ended and not children & (one.kinds | one.unsure)
    }


def _asked(
    column: sa.ColumnElement[Any], is_number: bool, keys: list[str]
) -> tuple[sa.ColumnElement[Any], list[Any]]:
    """A column and the keys as they compare, along its index where keys are numbers."""
    if is_number:
        return column, [int(key) for key in keys if WHOLE.fullmatch(key)]
    return sa.cast(column, sa.Text), list(keys)


def _root(company: Company, link: Link, end: str) -> str:
    kind = next(str(at.kind) for one, at in link.between.items() if str(one) == end)
    root = company.policy.root(kind)
    return str(root.name) if root is not None else kind
