"""What a member of staff does by hand, where no program reaches: who, what, until when, and who did it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from kept.company import Company
from kept.controls.rights.people import Person
from kept.controls.rights.places import places
from kept.controls.rights.register import new_id, of_act
from kept.errors import KeptError
from kept.state.tables import tasks

USUAL = timedelta(days=7)  # what a member of staff has for a task


@dataclass(frozen=True)
class Task:
    """A task; `whom` and `what` are None once it is done, for then nobody needs to know any more."""

    id: str
    act: str
    place: str
    due: datetime
    done: datetime | None
    who: str | None
    whom: tuple[str, ...] = ()
    what: str | None = None


def give(
    company: Company,
    act: str,
    place: str,
    whom: Sequence[str],
    what: str,
    due: datetime,
    connection: Connection | None = None,
) -> None:
    """Note a task, once for an act and a place; with a `connection` in that transaction."""
    sealed = company.keys.seal("task", json.dumps([list(whom), what]).encode())
    with company.state.write() if connection is None else nullcontext(connection) as writing:
        known = writing.execute(select(tasks.c.id).where(tasks.c.act == act, tasks.c.place == place)).first()
        if known is None:
            writing.execute(
                insert(tasks).values(id=new_id(), act=act, place=place, sealed=sealed, due=due.isoformat())
            )


def by_hand(company: Company, act: str, people: Sequence[Person], what: str) -> None:
    """A task for each place that no program reaches, with the people it is about."""
    whom: dict[str, list[str]] = {}
    for person in people:
        for store, tables in places(company, person.kind).by_hand.items():
            whom.setdefault(f"{store}: {', '.join(tables)}", []).append(str(person))
    for place, found in whom.items():
        give(company, act, place, found, what, due(company, act))


def due(company: Company, act: str) -> datetime:
    """Until when a task of an act is to be done: before the first of its requests runs past its clock."""
    clocks = [request.due for request in of_act(company, act) if request.due is not None]
    return min([company.clock() + USUAL, *clocks])


def listing(company: Company, *, act: str | None = None, only_open: bool = True) -> list[Task]:
    """The tasks of an act, or all, by their due dates."""
    query = select(tasks).order_by(tasks.c.due)
    query = query.where(tasks.c.act == act) if act is not None else query
    query = query.where(tasks.c.done.is_(None)) if only_open else query
    with company.state.read() as connection:
        rows = connection.execute(query).all()
    found = []
    for row in rows:
        whom, what = json.loads(company.keys.unseal("task", row.sealed)) if row.sealed else ((), None)
        found.append(
            Task(
                row.id,
                row.act,
                row.place,
                datetime.fromisoformat(row.due),
                datetime.fromisoformat(row.done) if row.done else None,
                row.who,
                tuple(whom),
                what,
            )
        )
    return found


def do(company: Company, id: str, who: str) -> tuple[str, str]:
    """A named member of staff has done a task; answers the act it was for, and its place."""
    with company.state.write() as connection:
        found = connection.execute(
            update(tasks)
            .where(tasks.c.id == id, tasks.c.done.is_(None))
            .values(done=company.clock().isoformat(), who=who, sealed=None)
            .returning(tasks.c.act, tasks.c.place)
        ).first()
    if found is None:
        raise KeptError("there is no such task open", help="`kept task list` names them")
    return str(found.act), str(found.place)
