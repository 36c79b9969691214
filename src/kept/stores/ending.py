"""Whose end is set, as plain values: of some who are named, by somebody they are tied to, or upon an event.

`kept.stores.ended` carries it out; nothing here is SQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from kept.policy.grammar import Test
from kept.stores.schema import Reference


@dataclass(frozen=True)
class Tie:
    """Rows of a table that tie people to somebody else: `person` leads to the people's table, `other` to the other's.

    A row ties only while it meets `when` and its clock `ended` hasn't passed.
    """

    person: Reference
    other: Reference
    when: Test | None = None
    ended: str | None = None

    @property
    def table(self) -> str:
        return self.person.table


@dataclass(frozen=True)
class By:
    """Only people whom one of `ties` ties to the one with this key, who has no end themselves (`ended`)."""

    ties: tuple[Tie, ...]
    key: str
    ended: str | None = None


@dataclass(frozen=True)
class Upon:
    """Only people tied to somebody whose `clock` stands before `cutoff`, and to nobody else.

    What keeps somebody from it is any row of the ties' tables, whether it meets their `when` or not.
    """

    ties: tuple[Tie, ...]
    clock: str
    cutoff: datetime


@dataclass(frozen=True)
class Ending:
    """Which people of `table` get an end in `column`: those that meet all of `only`, and `by` or `upon`.

    `key` finds a person, `address` is the column they are written to at, `born` the one that ages are counted from,
    and `like` a clock of the same table that tells how to write one where `column` holds none so far.
    """

    table: str
    key: tuple[str, ...]
    column: str
    address: str | None = None
    like: str | None = None
    only: tuple[Test, ...] = ()
    born: str | None = None
    by: By | None = None
    upon: Upon | None = None


@dataclass(frozen=True)
class Ended:
    """A person whose end is set, by the key as it stands in their row, and their address there."""

    key: tuple[str, ...]
    address: str | None


@dataclass(frozen=True)
class Standing:
    """How many people have an end; of those without a known moment, how many since a time, before it, and to come."""

    ended: int
    since: int
    before: int
    announced: int


Hindrance = Literal["gone", "ended already", "not meant"]
