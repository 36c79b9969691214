"""Who may answer for somebody: those at the other end of a link that is open, such as the guardian of a minor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from kept.company import Company
from kept.controls.choices.declare import Choice
from kept.controls.rights.people import Person
from kept.errors import TerminalError
from kept.policy.facts import Link
from kept.stores.clauses import written
from kept.stores.conditions import condition

CHUNK = 1000


def guardians(company: Company, choice: Choice, whos: Sequence[Person]) -> dict[Person, dict[Person, str]]:
    """For each person the guardians whose link to them is open now, each with their pseudonym.

    StoreError where the links can't be read: whoever asks must then refuse.
    """
    found: dict[Person, dict[Person, str]] = {}
    for end in choice.by:
        name, dot, guardian = str(end).partition(".")
        link = company.policy.links.get(name) if dot else None
        if link is None:
            raise TerminalError(f"`{choice.name}` is given by `{end}`, which is no end of a link")
        for ward, guard in _pairs(company, link, guardian, whos):
            found.setdefault(ward, {})[guard] = ""
    names = [str(guard) for by in found.values() for guard in by]
    pseudonyms = company.pseudonyms.of(names) if names else {}
    return {ward: {guard: pseudonyms[str(guard)] for guard in by} for ward, by in found.items()}


def _pairs(
    company: Company, link: Link, guardian: str, whos: Sequence[Person]
) -> list[tuple[Person, Person]]:
    """Ward and guardian of each open row of a link."""
    policy = company.policy
    store, _, table = str(link.table).partition(".")
    if store not in company.schemas:
        raise TerminalError(f"`{link.table}` can't be reached", help=company.unreachable.get(store))
    ends = {str(end): at for end, at in link.between.items()}
    opened = company.stores[store]
    shape, source = opened.shape(table), opened.table(table)
    by_key = {who.key[0]: who for who in whos}
    of = _root(company, str(ends[guardian].kind))
    pairs = []
    for end, at in ends.items():
        if end == guardian or not any(policy.related(who.kind, str(at.kind)) for who in whos):
            continue
        ward, keys = _asked(source.c[at.column], shape.columns[at.column].sort == "number", list(by_key))
        query = sa.select(source.c[at.column], source.c[ends[guardian].column])
        now = company.clock()
        if link.when is not None:
            query = query.where(condition(link.when, source, shape, today=now.date()))
        if link.ended is not None:
            query = query.where(source.c[str(link.ended)].is_(None))
        if link.began is not None:
            query = query.where(source.c[str(link.began)].is_not(None))
        with opened.read() as connection:
            for start in range(0, len(keys), CHUNK):
                for mine, theirs in connection.execute(query.where(ward.in_(keys[start : start + CHUNK]))):
                    if written(mine) in by_key and theirs is not None:
                        pairs.append((by_key[written(mine)], Person(of, (written(theirs),))))
    return pairs


def _asked(
    column: sa.ColumnElement[Any], is_number: bool, keys: list[str]
) -> tuple[sa.ColumnElement[Any], list[Any]]:
    """A column and the keys as they compare, along its index where keys are numbers."""
    if is_number:
        return column, [int(key) for key in keys if key.lstrip("-").isdecimal()]
    return sa.cast(column, sa.Text), list(keys)


def _root(company: Company, kind: str) -> str:
    root = company.policy.root(kind)
    return str(root.name) if root is not None else kind
