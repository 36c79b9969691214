"""Noise on figures about groups, so that nobody can tell whether one person is among those that were counted.

Laplace's mechanism (Dwork, McSherry, Nissim, Smith, TCC 2006), as OpenDP carries it out: on floats that hide nothing in
their last bits, and on whole numbers for counts. It covers the figures of the groups that are told, under the bounds
that the question sets on what one person contributes to a stretch of time. It doesn't cover which groups are told:
those with fewer people than the floor are left out by their true number, because that is what was promised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kept.controls.purposes.groups.floor import Cell, Counted, told
from kept.controls.purposes.groups.question import Question
from kept.controls.refused import Refused
from kept.errors import KeptError

LARGE = 10_000


def check(question: Question) -> None:
    """Refuse noise that means nothing."""
    noise = question.noise
    if noise is None:
        return
    if not (math.isfinite(noise.epsilon) and 0 < noise.epsilon <= 10):
        raise Refused("noise", "epsilon is a number above 0, up to 10")
    if not (1 <= noise.cells <= LARGE and 1 <= noise.rows <= LARGE):
        raise Refused("noise", f"one person counts in 1 to {LARGE} groups, with as many rows")
    if question.measure == "mean":
        raise Refused("noise", "a mean is asked for as a sum and a number of rows")
    bounds = (noise.least, noise.most)
    if question.measure == "sum" and not (all(map(math.isfinite, bounds)) and noise.least < noise.most):
        raise Refused("noise", "a sum needs bounds: the least and the most that one person contributes")


def sensitivity(question: Question) -> float:
    """By how much all figures of one stretch, taken together, may differ for one person (L1)."""
    noise = question.noise
    assert noise is not None
    each = {
        "people": 1.0,
        "rows": float(noise.rows),
        "sum": max(abs(noise.least), abs(noise.most)),
    }[question.measure]
    return each * noise.cells


def noised(question: Question, counted: Sequence[Counted], floor: int) -> list[Cell]:
    """The groups that may be told, each with one noised figure and nothing else; KeptError where OpenDP is missing."""
    assert question.noise is not None
    cells = [cell for one in counted if (cell := told(one, floor)) is not None]
    truth = {(one.span, one.labels): one for one in counted}
    figures: list[tuple[Cell, float]] = []
    for cell in cells:
        one = truth[cell.span, cell.labels]
        figure: float | None = cell.people
        if question.measure == "rows":
            figure = cell.rows
        elif question.measure == "sum" and question.column is not None:
            figure = one.columns[question.column].sum if cell.columns.get(question.column) else None
        if figure is not None:
            figures.append((cell, figure))
    added = _laplace(question, [figure for _, figure in figures])
    return [
        Cell(cell.span, cell.labels, floor, noised=figure)
        for (cell, _), figure in zip(figures, added, strict=True)
    ]


def _laplace(question: Question, figures: Sequence[float]) -> list[float]:
    dp = _opendp()
    assert question.noise is not None
    size, scale = sensitivity(question), sensitivity(question) / question.noise.epsilon
    if not figures:
        return []
    whole = question.measure != "sum"
    sort: Any = int if whole else float
    domain = dp.atom_domain(T=int) if whole else dp.atom_domain(T=float, nan=False)
    made = dp.m.make_laplace(dp.vector_domain(domain), dp.l1_distance(T=sort), scale=scale)
    if made.map(sort(size)) > question.noise.epsilon * (1 + 1e-6):
        raise KeptError("the noise would cost more than it says")
    return [max(0, one) if whole else float(one) for one in made([sort(figure) for figure in figures])]


def _opendp() -> Any:
    try:
        import opendp.prelude as dp  # heavy, and an extra: only whoever wants noise has it
    except ImportError:
        raise KeptError(
            "noise needs OpenDP, which isn't installed", help="pip install 'kept[noise]'"
        ) from None
    dp.enable_features("contrib")
    return dp
