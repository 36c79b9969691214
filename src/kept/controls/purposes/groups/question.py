"""A question about groups of people, as values; the same question is always written in the same way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Any, Final, Literal

Measure = Literal["people", "rows", "sum", "mean"]
Every = Literal["day", "week", "month", "whole"]

TIME: Final = "time"
"""What a question groups by that wants each stretch of time for itself."""
MEASURES: Final = ("people", "rows", "sum", "mean")


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What is added to figures so that nobody can tell whether one person is among them (differential privacy).

    `epsilon` is spent for each stretch of time; smaller hides more. A person counts in at most `cells` groups of a
    stretch, with at most `rows` rows in each, and of a sum with what lies between `least` and `most`.
    """

    epsilon: float
    cells: int = 1
    rows: int = 1
    least: float = 0.0
    most: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "epsilon": self.epsilon,
            "cells": self.cells,
            "rows": self.rows,
            "least": self.least,
            "most": self.most,
        }


@dataclass(frozen=True, kw_only=True)
class Question:
    """How many people or rows, or which sum or mean of a `column`, of some data for a purpose.

    `by`: up to two columns of that data, or links to an organisation (`works-for`); `time` beside them for each stretch
    of time by itself. `where` names the groups that are wanted: the text of a column's value, or the key of the
    organisation. `every` is how time is cut into stretches, from the day `since` up to the day `until` (not included).
    `table` says where, for data that stands in several.
    """

    purpose: str
    data: str
    measure: Measure = "people"
    column: str | None = None
    by: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] | None = None
    every: Every = "month"
    since: date | None = None
    until: date | None = None
    table: str | None = None
    noise: Noise | None = None

    @property
    def dimensions(self) -> tuple[str, ...]:
        """What the groups have to be told apart by, sorted."""
        return tuple(sorted({*self.by, *(self.where or {})} - {TIME}))

    @property
    def named(self) -> tuple[str, ...]:
        """The columns and links that its figures are made of."""
        return (*self.dimensions, *([self.column] if self.column is not None else ()))

    def as_json(self) -> dict[str, Any]:
        """The question, written in one way only."""
        return {
            "purpose": self.purpose,
            "data": self.data,
            "measure": self.measure,
            "column": self.column,
            "by": sorted(set(self.by)),
            "where": {name: sorted(set(values)) for name, values in sorted((self.where or {}).items())},
            "every": self.every,
            "since": self.since.isoformat() if self.since else None,
            "until": self.until.isoformat() if self.until else None,
            "table": self.table,
            "noise": self.noise.as_json() if self.noise else None,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the question as it is written."""
        return sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()
