"""How time was cut into groups, on record: once for each stretch of time of a table, for everybody and for good.

Why no two answers can be subtracted. A stretch of a table is counted once; its groups have no row in common, and those
that may be told (`floor.told`) are kept with all their figures, the others are not. Every answer, to whomever, is made
of those figures alone, by adding up. So whatever anybody works out from any number of answers is a sum, with some
factors, of figures each about at least `floor` people of whom none makes nearly the whole; the rows of a smaller group
are in no figure at all, so they are in no difference of two. People who come, go, object or are erased later change
none of it, since nothing is counted again; a stretch that overlaps one already counted, or another way of telling its
groups apart, is refused, and so is the union of two counts of people, whose difference from them would be an
intersection of any size. That refusal depends on what was asked before, and never on anybody's data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection, RowMapping, func, insert, select

from kept.company import Company
from kept.controls.disclosure.recipients import looks_like
from kept.controls.purposes.groups.floor import Cell, Told
from kept.controls.purposes.groups.question import Noise, Question
from kept.controls.purposes.groups.spans import Span
from kept.controls.refused import Refused
from kept.errors import TransientError
from kept.state.uses import answers_about_groups, group_cuts

Way = Literal["answer", "noise", "export"]
BUDGET: Final = "KEPT_EPSILON_BUDGET"
USUAL_BUDGET: Final = 1.0


@dataclass(frozen=True)
class Cut:
    """One stretch of a table's time as it was counted: by which dimensions, the groups that may be told, how many may
    not. `noise` and `measure` where figures are noised; `steps` are the widths of bands in an export. `clock` is the
    column with the rows' time; `promise` that by which fewer people were counted than the purpose lets."""

    place: str
    span: Span
    purpose: str
    data: str
    way: Way
    floor: int
    dimensions: tuple[str, ...]
    cells: tuple[Cell, ...]
    small: int
    noise: Noise | None = None
    measure: tuple[str, str | None] | None = None
    steps: Mapping[str, int | None] | None = None
    clock: str | None = None
    promise: str | None = None
    number: int = 0


def overlapping(connection: Connection, place: str, spans: Sequence[Span]) -> list[Cut]:
    """Every stretch that was counted already and has time in common with one of these."""
    low, high = min(spans).since, max(span.until for span in spans)
    found = connection.execute(
        select(group_cuts).where(
            group_cuts.c.place == place,
            group_cuts.c.since < _written(high),
            group_cuts.c.until > _written(low),
        )
    ).mappings()
    read = [_read(row) for row in found]
    return [cut for cut in read if any(cut.span.meets(span) for span in spans)]


def last(connection: Connection, place: str) -> Cut | None:
    """What was counted last of a table; None where nothing was yet."""
    of_place = select(group_cuts).where(group_cuts.c.place == place)
    row = connection.execute(of_place.order_by(group_cuts.c.number.desc()).limit(1)).mappings().first()
    return _read(row) if row is not None else None


def every(company: Company, purpose: str) -> Iterator[Cut]:
    """Every stretch that was counted for a purpose."""
    with company.state.read() as connection:
        rows = connection.execute(select(group_cuts).where(group_cuts.c.purpose == purpose)).mappings().all()
    return map(_read, rows)


def keep(
    company: Company, made: Sequence[Cut], question: Question, recipient: str, given: Sequence[Cut]
) -> int:
    """Durably note what was counted and that it is about to be answered; the number of the answer.

    TransientError where somebody else has counted the same meanwhile, Refused where the recipient's noise is spent.
    """
    at = company.clock().astimezone(UTC).isoformat()
    with company.state.write() as connection:
        if made and overlapping(connection, made[0].place, [cut.span for cut in made]):
            raise TransientError("the same was asked at the same moment", help="ask again")
        numbers = [cut.number for cut in given]
        for cut in made:
            done = connection.execute(insert(group_cuts).values(at=at, **_row(cut)))
            numbers.append(int(done.inserted_primary_key[0]))  # type: ignore[index]  # the key that was given
        epsilon = _spend(company, connection, question, recipient, numbers)
        body = json.dumps({"question": question.as_json(), "cuts": sorted(numbers)}, sort_keys=True)
        done = connection.execute(
            insert(answers_about_groups).values(
                recipient=recipient,
                purpose=question.purpose,
                question=question.digest,
                body=body.encode(),
                epsilon=epsilon,
                at=at,
            )
        )
        return int(done.inserted_primary_key[0])  # type: ignore[index]  # as above


def given(connection: Connection, recipient: str) -> tuple[set[int], float]:
    """The numbers of what a recipient got with noise, and the epsilon that was spent on them, by whichever spelling of
    their name: another one is no second budget."""
    answers = connection.execute(
        select(
            answers_about_groups.c.recipient, answers_about_groups.c.body, answers_about_groups.c.epsilon
        ).where(answers_about_groups.c.epsilon.is_not(None))
    ).all()
    rows = [row for row in answers if looks_like(row.recipient) == looks_like(recipient)]
    return {number for row in rows for number in json.loads(row.body)["cuts"]}, sum(
        row.epsilon for row in rows
    )


def budget(company: Company) -> float:
    """How much epsilon a recipient may have in all (`KEPT_EPSILON_BUDGET`, 1 where nothing is set)."""
    text = company.settings.get(BUDGET, "")
    try:
        found = float(text) if text else USUAL_BUDGET
    except ValueError:
        found = 0.0  # whoever wrote it meant some limit, so nothing is spent
    return found if 0 < found < float("inf") else 0.0


def _spend(
    company: Company, connection: Connection, question: Question, recipient: str, numbers: Sequence[int]
) -> float | None:
    """What new noised figures cost a recipient; asking for the same again costs nothing, for it is the same noise."""
    if question.noise is None:
        return None
    known, spent = given(connection, recipient)
    cost = question.noise.epsilon * len(set(numbers) - known)
    if spent + cost > budget(company) * (1 + 1e-9):
        left = max(0.0, budget(company) - spent)
        raise Refused(
            "budget",
            f"`{recipient}` has {left:g} of epsilon left, and this costs {cost:g}",
            help=f"ask about fewer stretches of time, or with a smaller epsilon; {BUDGET} sets the budget",
        )
    return cost


def answers(company: Company, purpose: str) -> list[tuple[Question | None, list[int]]]:
    """Every answer on record for a purpose: its question's digest must be that of the question, else None."""
    with company.state.read() as connection:
        rows = connection.execute(
            select(answers_about_groups).where(answers_about_groups.c.purpose == purpose)
        ).all()
    found: list[tuple[Question | None, list[int]]] = []
    for row in rows:
        body = json.loads(row.body)
        asked = _question(body["question"])
        found.append((asked if asked.digest == row.question else None, list(body["cuts"])))
    return found


def size(company: Company) -> int:
    """How many stretches were counted in all."""
    with company.state.read() as connection:
        return int(connection.execute(select(func.count()).select_from(group_cuts)).scalar_one())


# As it stands in the database.


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _row(cut: Cut) -> dict[str, Any]:
    body = {
        "dimensions": list(cut.dimensions),
        "small": cut.small,
        "noise": cut.noise.as_json() if cut.noise else None,
        "measure": list(cut.measure) if cut.measure else None,
        "steps": dict(cut.steps) if cut.steps is not None else None,
        "clock": cut.clock,
        "promise": cut.promise,
        "cells": [
            [list(one.labels), one.people, one.rows, dict(one.columns), one.noised] for one in cut.cells
        ],
    }
    return {
        "place": cut.place,
        "since": _written(cut.span.since),
        "until": _written(cut.span.until),
        "purpose": cut.purpose,
        "data": cut.data,
        "way": cut.way,
        "floor": cut.floor,
        "body": json.dumps(body, sort_keys=True).encode(),
    }


def _read(row: RowMapping) -> Cut:
    body = json.loads(row["body"])
    cells = tuple(
        Cell(
            0,
            tuple(labels),
            people,
            rows,
            {name: None if one is None else Told(*one) for name, one in columns.items()},
            noised,
        )
        for labels, people, rows, columns, noised in body["cells"]
    )
    span = Span(datetime.fromisoformat(row["since"]), datetime.fromisoformat(row["until"]))
    return Cut(
        row["place"],
        span,
        row["purpose"],
        row["data"],
        row["way"],
        row["floor"],
        tuple(body["dimensions"]),
        cells,
        body["small"],
        Noise(**body["noise"]) if body["noise"] else None,
        (body["measure"][0], body["measure"][1]) if body["measure"] else None,
        body["steps"],
        body["clock"],
        body["promise"],
        row["number"],
    )


def _question(found: Mapping[str, Any]) -> Question:
    def day(text: str | None) -> date | None:
        return date.fromisoformat(text) if text else None

    return Question(
        purpose=found["purpose"],
        data=found["data"],
        measure=found["measure"],
        column=found["column"],
        by=tuple(found["by"]),
        where={name: tuple(values) for name, values in found["where"].items()},
        every=found["every"],
        since=day(found["since"]),
        until=day(found["until"]),
        table=found["table"],
        noise=Noise(**found["noise"]) if found["noise"] else None,
    )
