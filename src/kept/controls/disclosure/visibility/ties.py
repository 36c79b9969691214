"""Ties between whoever looks and whom they look at, as SQL: which rows stand between the two, and until when."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.purposes.gate.persons import (
    Called,
    Condition,
    Persons,
    before,
    clock_of,
    is_empty,
    not_after,
    sure,
    there_is,
)
from kept.controls.rights.people import Person
from kept.errors import TerminalError, TransientError
from kept.policy.facts import Link
from kept.policy.grammar import Clock
from kept.stores.clauses import Clauses
from kept.stores.conditions import condition, value
from kept.stores.expiring import clocks
from kept.stores.schema import Column, Reference

WHOLE: Final = re.compile("0|-?[1-9][0-9]{0,18}")
TIE: Final = "kept_tie"
LOOKING: Final = "\0"  # the key of whoever looks, before anybody does; no database holds it


@dataclass(frozen=True)
class TheirKey:
    """A place for the key of whoever looks, as a column holds it."""

    column: Column


@dataclass(frozen=True)
class Time:
    """When a row of a link counts: only while it is open (`during`), and at most until a limit of its own."""

    during: bool = False
    until: Clock | None = None


class Tie:
    """The rows of one link in the database where its people stand."""

    def __init__(self, company: Company, link: Link, persons: Persons) -> None:
        store, _, self.table = str(link.table).partition(".")
        company.map  # noqa: B018  whoever doesn't answer is noted when the map is made
        if store != persons.walk.store or self.table not in persons.walk.tables:
            why = company.unreachable.get(store, "it is in another database than its people")
            raise TransientError(f"nobody can see who has a `{link.name}`: {why}", where=store)
        self.company, self.link, self.persons = company, link, persons
        self.say: Clauses = persons.say
        self.shape = persons.walk.tables[self.table]
        wanted = [str(at.column) for at in link.between.values()]
        wanted += [str(one) for one in (link.began, link.ended) if one is not None]
        for column in wanted:
            if column not in self.shape.columns:
                raise TerminalError(f"there is no column {self.table}.{column}", where=store)

    def ends(self, viewer: Person, end: str | None) -> Iterator[tuple[str, str]]:
        """Where the two may stand, as columns: the viewer's end (that one only, where it is named) and the other's."""
        places = [
            (str(name), str(at.column), self._root(str(at.kind))) for name, at in self.link.between.items()
        ]
        for mine, own, root in places:
            if root == viewer.kind and end in (None, mine):
                for other, theirs, kind in places:
                    if other != mine and kind == self.persons.walk.kind:
                        yield own, theirs

    def stands(self, viewer: Person, end: str | None, who: str, time: Time) -> Condition:
        """That a row which counts now ties the viewer to the person whose row the statement calls `who`."""
        row = self.row(TIE)
        return self._between(viewer, end, who, self.counts(row, time))

    def may_stand(self, viewer: Person, who: str) -> Condition:
        """That a row ties the two at any ends, and isn't surely over: what forbids, forbids while in doubt."""
        row, made = self.row(TIE), list[Condition]()
        if self.link.when is not None:
            made.append(sa.func.coalesce(self._when(row), sa.true()))
        if self.link.ended is not None:
            at, ended = self._clock(str(self.link.ended)), row.c[str(self.link.ended)]
            over = sa.and_(clocks.readable(at, ended), not_after(at, ended, self._now))
            filled = sa.not_(is_empty(self.persons.store, row, str(self.link.ended)))
            made.append(sa.not_(sure(sa.and_(filled, over))))
        return self._between(viewer, None, who, sa.and_(sa.true(), *made))

    def counts(self, row: Called, time: Time) -> Condition:
        """That a row of the link has begun, and is open or within its limit as `time` says."""
        link, made = self.link, list[Condition]()
        if link.when is not None:
            made.append(sure(self._when(row)))
        if link.began is not None:
            at, began = self._clock(str(link.began)), row.c[str(link.began)]
            made.append(
                sure(sa.and_(began.is_not(None), clocks.readable(at, began), not_after(at, began, self._now)))
            )
        until = time.until
        by_end = until is not None and until.event.moment == "ended"
        if time.during or by_end:
            made.append(self._open(row, until if by_end else None))
        if until is not None and not by_end:
            made.append(self._within(row, str(link.began) if link.began is not None else None, until))
        return sa.and_(sa.true(), *made)

    def is_at(self, row: Called, column: str, viewer: Person) -> Condition:
        """That a person stands at an end of a row."""
        return holds_key(self.say, row, column, viewer)

    def row(self, called: str) -> Called:
        return Called(self.say, self.table, called)

    @property
    def _now(self) -> datetime:
        return self.company.clock()

    def _between(self, viewer: Person, end: str | None, who: str, so: Condition) -> Condition:
        row, key = self.row(TIE), self.persons.walk.root.person
        found = list[Condition]()
        for own, theirs in self.ends(viewer, end):
            if len(key) != 1:
                raise TerminalError("a link names people by one column, and these have a key of several")
            reference = Reference(self.table, (theirs,), self.persons.walk.root.table, key)
            # the same person at both ends is tied to nobody
            apart = [row.c[own] != row.c[theirs]] if viewer.kind == self.persons.walk.kind else []
            met = sa.and_(self.is_at(row, own, viewer), *apart, so)
            found.append(there_is(self.say, self.table, TIE, self.say.refers(reference, TIE, who), met))
        return sa.or_(sa.false(), *found)

    def _open(self, row: Called, until: Clock | None) -> Condition:
        ended = self.link.ended
        if ended is None:
            return sa.true()
        column, still = str(ended), is_empty(self.persons.store, row, str(ended))
        return still if until is None else sa.or_(still, self._within(row, column, until))

    def _within(self, row: Called, column: str | None, until: Clock) -> Condition:
        """That a row's clock can be read, and its limit hasn't passed."""
        if column is None:
            return sa.false()
        at, clock = self._clock(column), row.c[column]
        if until.period is None:
            over = not_after(at, clock, self._now)
        else:
            over = before(at, clock, until.period.cutoff(self._now, self.company.policy.timezone))
        filled = sa.not_(is_empty(self.persons.store, row, column))
        return sure(sa.and_(filled, clocks.readable(at, clock), sa.not_(over)))

    def _when(self, row: Called) -> Condition:
        assert self.link.when is not None
        return condition(
            self.link.when,
            row.source,
            self.shape,
            today=self._now.astimezone(self.company.policy.timezone).date(),
        )

    def _clock(self, column: str) -> clocks.ClockFormat:
        return clock_of(self.company, self.persons.store, self.table, column)

    def _root(self, kind: str) -> str | None:
        root = self.company.policy.root(kind)
        return str(root.name) if root is not None else None


def holds_key(say: Clauses, row: Called, column: str, who: Person) -> Condition:
    """That a column holds a person's key, written as they are called: nobody is `07` where keys are numbers."""
    shape = row.shape.columns[column]
    bound = key_of(shape, who)
    if bound is None:
        return sa.false()
    if shape.sort == "text":
        name = f"kept_{uuid.uuid5(uuid.NAMESPACE_OID, column).hex[:8]}"
        text = say.holds_text(row.name, shape, f":{name}")
        made: Any = sa.text(text).bindparams(
            sa.bindparam(name, bound, unique=True, type_=sa.types.NullType())
        )
        return sa.type_coerce(made.self_group(), sa.Boolean)
    return row.c[column] == value(bound)


def key_of(column: Column, who: Person) -> object | None:
    """What a column holds where it names a person; None where it can't. Of `LOOKING` the place for a key to come."""
    if who.key == (LOOKING,):
        return TheirKey(column)
    if len(who.key) != 1 or "\0" in who.key[0]:
        return None
    text = who.key[0]
    if column.sort == "number":
        return int(text) if WHOLE.fullmatch(text) and abs(int(text)) < 2**63 else None
    if column.type.upper() == "UUID":
        try:
            return uuid.UUID(text) if str(uuid.UUID(text)) == text else None
        except ValueError:
            return None
    return text if column.sort in ("text", "other") else None
