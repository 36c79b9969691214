"""Making rows coarse until hardly any is left out: each step takes numbers together in wider bands, or drops a column.

k-anonymity by recoding everybody's rows alike and leaving out the few that still stand apart (Samarati and Sweeney,
1998; Sweeney's Datafly, 2002): next comes the column with the most different values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from kept.controls.purposes.groups.floor import Counted
from kept.controls.purposes.groups.scope import Dimension

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")  # wide ones too
NUMBER: Final = re.compile(r"-([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
WIDEST: Final = 1_000_000_000
LEFT_OUT: Final = 0.05
"""The share of rows that may be left out before the next step is taken."""


def left_out(counted: Sequence[Counted], floor: int) -> float:
    """The share of rows in combinations that can't be told."""
    total = sum(one.of_rows.total for one in counted)
    told = sum(one.of_rows.total for one in counted if one.of_rows.may_be_told(floor))
    return 1 - told / total if total else 0.0


def coarser(
    dimensions: Sequence[Dimension], counted: Iterable[Counted], numbers: frozenset[str]
) -> tuple[Dimension, ...]:
    """The same with one step taken: in the column with the most values, its numbers ten times as wide, or nothing of
    it at all."""
    values: list[set[str | None]] = [set() for _ in dimensions]
    for one in counted:
        for found, label in zip(values, one.labels, strict=True):
            found.add(label)
    most = max(range(len(dimensions)), key=lambda i: (len(values[i]), dimensions[i].name))
    chosen = dimensions[most]
    width = (chosen.width or 1) * 10
    stays = chosen.name in numbers and width <= WIDEST and len(values[most]) > 1
    step = (replace(chosen, width=width),) if stays else ()
    return (*dimensions[:most], *step, *dimensions[most + 1 :])


def written(label: str | None, width: int | None) -> str:
    """A label as it stands in the file: of a band of numbers where it begins and ends."""
    if label is None:
        return ""
    return harmless(label) if width is None else f"{label} to <{int(label) + width}"


def harmless(text: str) -> str:
    """A text as a spreadsheet shows it: one that begins like a formula, and is no number, has an apostrophe before it
    (OWASP, CSV Injection; ASVS 5.0, 1.2.10)."""
    return f"'{text}" if text.startswith(FORMULA) and not NUMBER.fullmatch(text) else text
