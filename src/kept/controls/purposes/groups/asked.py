"""Answers about groups: refused, or made of what was counted once, on record before they are shown.

    answer(company, Question(purpose="improve-app", data="usage", by=("page",)), "analyst")

Why nobody can subtract one answer from another: `kept.controls.purposes.groups.cuts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from kept.company import Company
from kept.controls.purposes.groups import cuts, noise
from kept.controls.purposes.groups.counting import count
from kept.controls.purposes.groups.cuts import Cut
from kept.controls.purposes.groups.floor import Cell, told_all
from kept.controls.purposes.groups.people import everybody
from kept.controls.purposes.groups.promised import narrowed, promised, register
from kept.controls.purposes.groups.question import TIME, Question
from kept.controls.purposes.groups.scope import Scope, scope
from kept.controls.purposes.groups.spans import ALL, Span, spans
from kept.controls.refused import Refused
from kept.errors import TransientError

CLAIM: Final = "groups"


@dataclass(frozen=True)
class Group:
    """A group and its figure: what tells it apart, in the order of the question's `by`, and the stretch of time it is
    about (from the day `since` up to the day `until`; None for all time). `value` is None where it may not be told.
    """

    labels: tuple[str | None, ...]
    since: date | None
    until: date | None
    value: float | None


@dataclass(frozen=True)
class Answer:
    """What was answered. `small` groups are left out, because fewer than `floor` people are in each, or one makes
    nearly the whole of the figure; they are in no sum either. `epsilon` is that of the noise in all the figures, which
    whoever had them before has paid for."""

    number: int
    by: tuple[str, ...]
    groups: tuple[Group, ...]
    small: int
    floor: int
    epsilon: float | None = None

    def as_json(self) -> dict[str, Any]:
        rows = [
            {
                "by": dict(zip(self.by, one.labels, strict=True)),
                "since": one.since.isoformat() if one.since else None,
                "until": one.until.isoformat() if one.until else None,
                "value": one.value,
            }
            for one in self.groups
        ]
        return {"groups": rows, "too_small": self.small, "floor": self.floor, "epsilon": self.epsilon}


def answer(company: Company, question: Question, recipient: str, *, by: str | None = None) -> Answer:
    """Answer a question about groups to a recipient, who is asked for by `by` (`engineer:4`) where the purpose says so.

    Refused where the policy has it otherwise, where a stretch of time was counted in another way before, or where the
    recipient's noise is spent; StoreError where anything of it can't be read. A recipient who is a party of the policy
    has to be declared to get this. On the ledger, and a party's on the register, before it is returned.
    """
    promise = promised(company, recipient, question.purpose, question.data)
    noise.check(question)
    asked = scope(company, question, by=by, promise=promise)
    _refuse_column(asked)
    wanted = stretches(company, asked)
    with company.state.claim(CLAIM, wait=True) as mine:
        if not mine:
            raise TransientError("another answer about groups is being counted", help="ask again later")
        known = known_cuts(company, asked, wanted)
        missing = [span for span in wanted if span not in {cut.span for cut in known}]
        made = _counted(company, asked, missing) if missing else []
        number = cuts.keep(company, made, question, recipient, known)
    found = _answered(company, asked, number, sorted([*known, *made], key=lambda cut: cut.span))
    if promise is not None:
        fields = [f"{asked.place}.{name}" for name in question.named]
        register(company, promise, asked.purpose, recipient, fields, "groups", number, asked.floor, by)
    _on_record(company, asked, recipient, found, len(made))
    return found


def known_cuts(company: Company, asked: Scope, wanted: Sequence[Span]) -> list[Cut]:
    """What was counted already of these stretches; Refused where it was counted in another way than this one asks."""
    question = asked.question
    found = overlapping(company, asked, wanted)
    for cut in found:
        day = cut.span.day(company.policy.timezone)
        when = f"of {day}" if day is not None else "there"
        if cut.span not in wanted:
            why = "was counted over another stretch of time"
        elif (cut.purpose, cut.data) != (question.purpose, question.data):
            why = f"was counted for `{cut.purpose}`, about `{cut.data}`"
        elif cut.way == "export":
            why = "left in an export"
        elif cut.promise != narrowed(asked.promise):
            why = "was counted of other people, by what else is promised to whom it was for"
        elif (cut.noise, cut.measure) != _noised(question):
            why = "was counted " + (
                "without noise" if cut.noise is None else "with other noise, or another figure"
            )
        elif not set(question.dimensions) <= set(cut.dimensions):
            why = "was told apart by " + (", ".join(cut.dimensions) or "nothing")
        elif question.measure == "people" and set(cut.dimensions) != set(question.by) - {TIME}:
            why = "has its people told apart by " + (", ".join(cut.dimensions) or "nothing")
        else:
            continue
        raise Refused(
            "counted",
            f"what is {when} {why}; an answer in another way could be subtracted from that",
            help="ask in the same way, or about another stretch of time",
        )
    return found


def overlapping(company: Company, asked: Scope, wanted: Sequence[Span]) -> list[Cut]:
    """What was counted already and has time in common with these stretches.

    Refused where the rows were counted by another column as their time: by that, the same row may be in any stretch.
    """
    with company.state.read() as connection:
        last = cuts.last(connection, asked.place)
        found = cuts.overlapping(connection, asked.place, wanted)
    if last is not None and last.clock != asked.clock:
        raise Refused(
            "counted",
            f"rows of {asked.table} were counted by another time than the policy now gives them; an answer by this one"
            " could be subtracted from those",
            help=f"declare `{last.clock}` as the time they were recorded at" if last.clock else None,
        )
    return found


def _noised(question: Question) -> tuple[Any, Any]:
    return (None, None) if question.noise is None else (question.noise, (question.measure, question.column))


def _refuse_column(asked: Scope) -> None:
    question = asked.question
    if question.measure in ("sum", "mean") and question.column not in asked.numbers:
        fit = ", ".join(asked.numbers) or "none"
        raise Refused("question", "there is no such column to add up", help=f"columns with numbers: {fit}")
    if question.noise is not None and asked.is_shared:
        raise Refused("shared", f"a row of {asked.table} may be of several people, whom noise would not hide")
    if question.measure == "people" and set(question.where or {}) - set(question.by):
        raise Refused(
            "question", "people are counted by what they are told apart by", help="name it in `by` as well"
        )


def stretches(company: Company, asked: Scope) -> tuple[Span, ...]:
    """The stretches of time a question is about; all time, for rows that have none of their own."""
    if asked.clock is None:
        if asked.question.since or asked.question.until:
            raise Refused("time", f"rows of {asked.table} have no time of their own")
        return (ALL,)
    return spans(asked.question, company.policy.timezone, company.clock())


def _counted(company: Company, asked: Scope, missing: Sequence[Span]) -> list[Cut]:
    question = asked.question
    ways = count(company, asked, missing, everybody(company, asked), question.noise)
    found = ways[0]
    if question.noise is None:
        cells = told_all(ways, asked.floor)
    else:
        cells = noise.noised(question, found, asked.floor)
    made = []
    for i, span in enumerate(missing):
        here = tuple(replace(cell, span=0) for cell in sorted(cells, key=_in_order) if cell.span == i)
        small = sum(one.span == i for one in found) - len(here)
        used, measure = _noised(question)
        made.append(
            Cut(
                asked.place,
                span,
                question.purpose,
                question.data,
                "answer" if used is None else "noise",
                asked.floor,
                question.dimensions,
                here,
                small,
                used,
                measure,
                clock=asked.clock,
                promise=narrowed(asked.promise),
            )
        )
    return made


def _in_order(cell: Cell) -> list[tuple[bool, str]]:
    return [(label is not None, label or "") for label in cell.labels]


def _answered(company: Company, asked: Scope, number: int, made_of: Sequence[Cut]) -> Answer:
    """The answer, made of what was counted: figures of whole groups, added up."""
    question, zone = asked.question, company.policy.timezone
    apart = question.measure == "people" or TIME in question.by
    names = tuple(name for name in question.by if name != TIME)
    sums: dict[tuple[Span | None, tuple[str | None, ...]], list[tuple[float, float] | None]] = {}
    small = 0
    for cut in made_of:
        small += cut.small
        for cell in cut.cells:
            if cell.people < asked.floor:
                small += 1
                continue
            labels = dict(zip(cut.dimensions, cell.labels, strict=True))
            if any(labels[name] not in values for name, values in (question.where or {}).items()):
                continue
            place = (cut.span if apart else None, tuple(labels[name] for name in names))
            sums.setdefault(place, []).append(_figure(question, cell, asked.floor))
    groups = []
    whole = Span(made_of[0].span.since, made_of[-1].span.until)
    for (span, group), figures in sums.items():
        shown = [figure for figure in figures if figure is not None]
        small += len(figures) - len(shown)
        over = span or whole
        value = _value(question, shown) if shown else None
        until = None if over == ALL else over.until.astimezone(zone).date()
        groups.append(Group(group, over.day(zone), until, value))
    epsilon = None if question.noise is None else question.noise.epsilon * len(made_of)
    return Answer(number, names, tuple(groups), small, asked.floor, epsilon)


def _figure(question: Question, cell: Cell, floor: int) -> tuple[float, float] | None:
    """A cell's figure, and how many it is the sum of for a mean; None where it may not be told, by today's floor."""
    if question.noise is not None:
        return None if cell.noised is None else (cell.noised, 1)
    if question.measure == "people":
        return cell.people, 1
    if question.measure == "rows":
        return None if cell.rows is None else (cell.rows, 1)
    told = cell.columns.get(str(question.column))
    return (told.sum, told.values) if told is not None and told.people >= floor else None


def _value(question: Question, figures: Iterable[tuple[float, float]]) -> float:
    figures = list(figures)
    total = sum(one for one, _ in figures)
    return total / sum(of for _, of in figures) if question.measure == "mean" else total


def _on_record(company: Company, asked: Scope, recipient: str, found: Answer, made: int) -> None:
    entry: dict[str, Any] = {
        "act": "groups",
        "purpose": asked.question.purpose,
        "data": asked.question.data,
        "recipient": recipient,
        "question": asked.question.digest,
        "cells": len(found.groups),
        "suppressed": found.small,
        "counted": made,
    }
    if found.epsilon is not None:
        entry["epsilon"] = str(found.epsilon)
    company.ledger.append_many([(f"groups:{found.number}", entry)])
