"""Writes rows without anybody in them to a file: counted as groups are, checked by `checked`, on record, then given.

    export(company, Export(purpose="improve-app", data="usage", columns=("page",)), Path("usage.csv"), "analyst")

Every column in it counts as one by which somebody could be told apart, so that each combination of all values in a row
is that of at least the purpose's floor of people. What left in a file is counted for good (`groups.cuts`): nothing else
is ever answered about the same stretch of time, and the same export gives the same file.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

from kept.company import Company
from kept.controls.disclosure.exports import checked, coarse
from kept.controls.purposes.groups import cuts
from kept.controls.purposes.groups.asked import CLAIM, overlapping, stretches
from kept.controls.purposes.groups.counting import count
from kept.controls.purposes.groups.cuts import Cut
from kept.controls.purposes.groups.floor import Counted, told_all
from kept.controls.purposes.groups.people import everybody
from kept.controls.purposes.groups.promised import narrowed, promised, register
from kept.controls.purposes.groups.question import Every, Question
from kept.controls.purposes.groups.scope import Scope, scope
from kept.controls.purposes.groups.spans import Span
from kept.controls.refused import Refused
from kept.errors import KeptError, TransientError

COLUMNS: Final = 8
TIME: Final = "since"
"""The column with the day on which each row's stretch of time began."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Which columns of some data, for a purpose with a floor; time as in a question."""

    purpose: str
    data: str
    columns: tuple[str, ...]
    every: Every = "month"
    since: date | None = None
    until: date | None = None
    table: str | None = None

    @property
    def question(self) -> Question:
        return Question(
            purpose=self.purpose,
            data=self.data,
            measure="rows",
            by=self.columns,
            every=self.every,
            since=self.since,
            until=self.until,
            table=self.table,
        )


@dataclass(frozen=True)
class Exported:
    """What left: rows, how many combinations of values there are, how many were left out, and how coarse it is:
    by column the width of its bands, None for values as they are; columns that were asked for and aren't there were
    dropped."""

    number: int
    rows: int
    combinations: int
    left_out: int
    columns: dict[str, int | None]
    floor: int


def export(
    company: Company, wanted: Export, file: Path, recipient: str, *, by: str | None = None
) -> Exported:
    """Write the file, whole or not at all; Refused where the policy has it otherwise, or the check finds anything.

    A `recipient` who is a party of the policy has to be declared to get this data for this purpose, and is written into
    the register. An existing file is not overwritten.
    """
    if not wanted.columns:
        raise Refused("question", "an export has columns")
    if TIME in wanted.columns:
        raise Refused("question", f"`{TIME}` is the column with the time")
    promise = promised(company, recipient, wanted.purpose, wanted.data)
    if file.exists():
        raise Refused("question", "the file is there already", help="name another one")
    asked = scope(company, wanted.question, by=by, most=COLUMNS, promise=promise)
    spans = stretches(company, asked)
    with company.state.claim(CLAIM, wait=True) as mine:
        if not mine:
            raise TransientError("an answer about groups is being counted", help="ask again later")
        made = _again(company, asked, spans)
        is_new = made is None
        if made is None:
            made = _counted(company, asked, spans)
        part = file.with_name(f"{file.name}.part")
        try:
            try:
                _write(company, made, part)
            except OSError as wrong:
                raise KeptError(
                    f"can't be written: {wrong.strerror or type(wrong).__name__}",
                    help="name a file in a folder that is there",
                    where=str(file),
                ) from None
            checked.check(company, asked, made, part, recount=is_new)
            number = _on_record(company, asked, made, recipient, by, is_new=is_new)
            os.replace(part, file)
        finally:
            with suppress(OSError):  # what went wrong before is what is told
                part.unlink(missing_ok=True)
    cells = [cell for cut in made for cell in cut.cells]
    return Exported(
        number,
        sum(cell.rows or 0 for cell in cells),
        len(cells),
        sum(cut.small for cut in made),
        dict(made[0].steps or {}),
        asked.floor,
    )


def _again(company: Company, asked: Scope, spans: Sequence[Span]) -> list[Cut] | None:
    """The same export as it left before; None where nothing of it was counted yet, Refused where something was."""
    found = overlapping(company, asked, spans)
    if not found:
        return None
    same = (asked.question.purpose, asked.question.data, asked.question.dimensions, narrowed(asked.promise))
    if {cut.span for cut in found} == set(spans) and all(
        cut.way == "export"
        and (cut.purpose, cut.data, tuple((cut.measure or ("",))[0].split()), cut.promise) == same
        and all(cell.people >= asked.floor for cell in cut.cells)
        for cut in found
    ):
        return sorted(found, key=lambda cut: cut.span)
    raise Refused(
        "counted",
        "some of that time was counted in another way; rows about it could be compared with that",
        help="export another stretch of time",
    )


def _counted(company: Company, asked: Scope, spans: Sequence[Span]) -> list[Cut]:
    people = everybody(company, asked)
    shape = asked.walk.tables[asked.table].columns
    numbers = frozenset(
        one.name for one in asked.dimensions if one.link is None and shape[one.column].sort == "number"
    )
    asked = replace(asked, numbers=())
    ways = count(company, asked, spans, people)
    while asked.dimensions and max(coarse.left_out(way, asked.floor) for way in ways) > coarse.LEFT_OUT:
        asked = replace(asked, dimensions=coarse.coarser(asked.dimensions, ways[0], numbers))
        ways = count(company, asked, spans, people)
    return [
        _cut(asked, span, [[one for one in way if one.span == i] for way in ways])
        for i, span in enumerate(spans)
    ]


def _cut(asked: Scope, span: Span, ways: Sequence[Sequence[Counted]]) -> Cut:
    cells = [cell for cell in told_all(ways, asked.floor) if cell.rows is not None]
    cells.sort(key=lambda cell: [label or "" for label in cell.labels])
    return Cut(
        asked.place,
        span,
        asked.question.purpose,
        asked.question.data,
        "export",
        asked.floor,
        tuple(one.name for one in asked.dimensions),
        tuple(replace(cell, span=0) for cell in cells),
        len(ways[0]) - len(cells),
        measure=(" ".join(asked.question.dimensions), None),
        steps={one.name: one.width for one in asked.dimensions},
        clock=asked.clock,
        promise=narrowed(asked.promise),
    )


def _write(company: Company, made: Sequence[Cut], part: Path) -> None:
    zone = company.policy.timezone
    steps = dict(made[0].steps or {})
    part.unlink(missing_ok=True)  # what a crash left, whoever may read it
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, quoting=csv.QUOTE_ALL)
        writer.writerow([*made[0].dimensions, TIME])
        for cut in made:
            day = cut.span.day(zone)
            for cell in cut.cells:
                labels = zip(cut.dimensions, cell.labels, strict=True)
                row = [coarse.written(label, steps.get(name)) for name, label in labels]
                writer.writerows([[*row, day.isoformat() if day else ""]] * (cell.rows or 0))
        out.flush()
        os.fsync(out.fileno())


def _on_record(
    company: Company,
    asked: Scope,
    made: Sequence[Cut],
    recipient: str,
    by: str | None,
    *,
    is_new: bool,
) -> int:
    question = asked.question
    number = cuts.keep(company, made if is_new else (), question, recipient, () if is_new else made)
    entry: dict[str, Any] = {
        "act": "export",
        "purpose": question.purpose,
        "data": question.data,
        "recipient": recipient,
        "columns": list(made[0].dimensions),
        "combinations": sum(len(cut.cells) for cut in made),
        "left_out": sum(cut.small for cut in made),
    }
    if asked.promise is not None:
        entry["disclosure"] = str(asked.promise.name)
        fields = [f"{asked.place}.{name}" for name in made[0].dimensions]
        register(company, asked.promise, asked.purpose, recipient, fields, "export", number, asked.floor, by)
    company.ledger.append_many([(f"export:{number}", entry)])
    return number
