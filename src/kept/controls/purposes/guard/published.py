"""The groups that database roles see: the months that are over, as `kept groups` counts them, put into the database.

Each month is counted once, for everybody and for good (`kept.controls.purposes.groups.cuts`), and what stands here is
that count: whoever also asks Kept is answered of the same figures, so there is nothing to subtract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.purposes.groups import cuts
from kept.controls.purposes.groups.asked import Group, answer
from kept.controls.purposes.groups.question import TIME, Question
from kept.controls.purposes.groups.spans import MOST, spans
from kept.controls.purposes.guard.blocks import made
from kept.controls.purposes.guard.catalogue import quoted
from kept.controls.purposes.guard.plan import database, guardable, recorded
from kept.controls.purposes.guard.readings import Groups, declared
from kept.controls.refused import Refused
from kept.stores.postgresql import PostgreSQLStore

PUBLISHED: Final = "guard groups"
LONGEST: Final = timedelta(days=31)

_Place = tuple[tuple[str | None, ...], date | None]
"""A group: its labels and its month."""


def publish_due(company: Company) -> None:
    """Put the months into the guards that lack one which is over."""
    for name in guardable(company):
        record = recorded(company, name)
        if record is not None and company.state.notes(PUBLISHED).get(name, {}) != _stand(
            company, record.plan
        ):
            publish(company, name, record.plan)


def publish(company: Company, name: str, plan: str) -> None:
    """Put every month that is over into the groups of a store's guard, of which this is the plan's digest.

    A month that was counted in another way before is left out, and so is what one of the roles may not be told. Each
    role is on record as who gets the figures. Groups that the file has in another way than the guard that stands, or
    for other roles, wait until that is replaced.
    """
    store, stand, record = database(company, name), _stand(company, plan), recorded(company, name)
    for one in declared(company, name).groups if record is not None else ():
        if record is None or not {*made(one)} <= {*record.statements}:
            continue
        table = f"kept.{quoted(one.name)}"
        values = ", ".join(f":c{n}" for n in range(len(one.by)))
        with store.write() as connection:
            # Two who publish at once would both put the same groups in: who comes second counts what is there then.
            connection.execute(sa.text(f"LOCK TABLE {table} IN EXCLUSIVE MODE"))
            rows = _rows(company, store, one)
            connection.execute(sa.text(f"DELETE FROM {table}"))
            if rows:
                put = f"INSERT INTO {table} VALUES ({values}, CAST(:month AS date), :people, :rows)"
                connection.execute(sa.text(put), rows)
    company.state.note(PUBLISHED, name, stand)


def _stand(company: Company, plan: str) -> dict[str, str]:
    """The guard and the month up to which its groups are told."""
    return {"plan": plan, "until": f"{company.clock().astimezone(company.policy.timezone):%Y-%m}"}


def question(one: Groups, measure: str, since: date | None = None) -> Question:
    """What a role sees, as it is asked of `kept groups`."""
    by = (*one.by, TIME)
    return Question(purpose=one.purpose, data=one.data, table=one.table, by=by, measure=measure, since=since)  # type: ignore[arg-type]  # people or rows


def _rows(company: Company, store: PostgreSQLStore, one: Groups) -> list[dict[str, Any]]:
    first = _first(company, store, one)
    if first is None:
        return []
    by_role: list[dict[_Place, dict[str, float | None]]] = []
    for role in one.roles:
        found: dict[_Place, dict[str, float | None]] = {}
        for measure in ("people", "rows"):
            for group in _told(company, question(one, measure, first), role):
                found.setdefault((group.labels, group.since), {})[measure] = group.value
        by_role.append(found)
    return [
        {**{f"c{n}": label for n, label in enumerate(labels)}, "month": month, "rows": None} | told
        for (labels, month), told in by_role[0].items()
        if told.get("people") is not None and all(told == of.get((labels, month)) for of in by_role)
    ]


def _first(company: Company, store: PostgreSQLStore, one: Groups) -> date | None:
    """The first day of the first month that is over, of those with rows and those that were counted before their rows
    went; None where there is none."""
    zone, time = company.policy.timezone, quoted(one.time)
    today = company.clock().astimezone(zone).date()
    before = {"low": today - MOST * LONGEST, "high": today + timedelta(days=1)}  # and no infinity
    with store.read() as connection:
        at = connection.scalar(
            sa.text(
                f"SELECT min({time}) FROM {quoted(one.table)} WHERE {time} >= CAST(:low AS date)"
                f" AND {time} < CAST(:high AS date)"
            ),
            before,
        )
    if isinstance(at, datetime):
        at = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).astimezone(zone).date()
    counted = [
        cut.span.day(zone)
        for cut in cuts.every(company, one.purpose)
        if (cut.place, cut.data) == (f"{store.name}.{one.table}", one.data)
    ]
    days = [day for day in (at, *counted) if day is not None]
    first = min(days) if days else today
    months = (today.year - first.year) * 12 + today.month - first.month
    if months <= 0:
        return None
    over = today.year * 12 + today.month - 1 - min(months, MOST)
    return date(over // 12, over % 12 + 1, 1)


def _told(company: Company, asked: Question, role: str) -> Sequence[Group]:
    """What is told of all months; where one was counted in another way, of each of the others."""
    try:
        return answer(company, asked, role).groups
    except Refused:
        pass
    found: list[Group] = []
    zone = company.policy.timezone
    for span in spans(asked, zone, company.clock()):
        one = replace(asked, since=span.day(zone), until=span.until.astimezone(zone).date())
        try:
            found += answer(company, one, role).groups
        except Refused:
            continue
    return found
