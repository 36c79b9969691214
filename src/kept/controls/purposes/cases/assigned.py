"""Whether a case is somebody's reason to look at a person: open now, about them, and theirs to work on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from kept.company import Company
from kept.controls.rights.people import Person
from kept.errors import TerminalError, TransientError
from kept.policy.facts import Link
from kept.stores.clauses import written


def why_not(
    company: Company, links: Sequence[str], case: str | None, person: Person | None, by: str | None
) -> str | None:
    """Why a case (`error:81`) of one of these links is no reason for `by` (`engineer:4`) to look at a person.

    None where it is. StoreError where the rows that say so can't be read.
    """
    wanted = " or ".join(f"`{name}`" for name in links)
    name, colon, number = (case or "").partition(":")
    if not colon or name not in links:
        return f"it needs an open case, {wanted}"
    if person is None:
        return "nobody is named"
    role, _, key = (by or "").partition(":")
    link = company.policy.links[name]
    row = _row(company, link, number)
    if row is None:
        return "there is no such case"
    about, theirs = False, False
    for at in link.between.values():
        value = written(row[str(at.column)])
        if company.policy.is_staff(str(at.kind)):
            theirs |= bool(key) and value == key and role in _roles(company, str(at.kind))
        else:
            root = company.policy.root(str(at.kind))
            about |= root is not None and person == Person(str(root.name), (value,))
    if not about:
        return "the case is about somebody else"
    if not theirs:
        return "the case is another's to work on"
    ended = row[str(link.ended)] if link.ended is not None else None
    return "the case is over" if ended not in (None, "") else None


def _roles(company: Company, kind: str) -> set[str]:
    """The words under which a kind of staff may ask: its own, and those of the kinds that are one."""
    return {kind} | {str(one) for one in company.policy.people if kind in company.policy.chain(str(one))}


def _row(company: Company, link: Link, number: str) -> dict[str, Any] | None:
    """One row of a link by its table's key."""
    place, _, table = str(link.table).partition(".")
    company.map  # noqa: B018  whoever doesn't answer is noted when the map is made
    store = company.stores.get(place)
    if store is None or place in company.unreachable:
        why = company.unreachable.get(place, "it can't be asked")
        raise TransientError(f"nobody can see whose case it is: {why}", where=place)
    shape = store.shape(table)
    if len(shape.key) != 1:
        raise TerminalError(
            f"a row of {table} has no key of one column, so no case can be named", where=place
        )
    wanted = [str(at.column) for at in link.between.values()]
    wanted += [str(one) for one in (link.began, link.ended) if one is not None]
    source = store.table(table)
    if shape.columns[shape.key[0]].sort == "number" and not number.isdecimal():
        return None
    key: Any = int(number) if shape.columns[shape.key[0]].sort == "number" else number
    with store.read() as connection:
        found = connection.execute(
            sa.select(*(source.c[one] for one in dict.fromkeys(wanted))).where(source.c[shape.key[0]] == key)
        ).first()
    return dict(found._mapping) if found is not None else None
