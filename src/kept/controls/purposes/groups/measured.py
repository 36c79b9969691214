"""Measures a purpose that sees groups only: single people and small groups are refused, and what was answered was none
of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from kept.company import Company
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.enforce import Gate
from kept.controls.purposes.groups import cuts
from kept.controls.purposes.groups.asked import answer
from kept.controls.purposes.groups.cuts import Cut
from kept.controls.purposes.groups.question import Question
from kept.controls.refused import Refused
from kept.controls.rights.people import Person
from kept.evidence.proof import Proof
from kept.policy.words import TYPES


def measure(company: Company, promise: Purpose) -> list[Proof]:
    """What shows whether nobody in particular is seen for a purpose with a floor."""
    if not promise.groups:
        return []
    return [_tried(company, promise), _on_record(company, promise), *_elsewhere(company, promise)]


def _elsewhere(company: Company, promise: Purpose) -> list[Proof]:
    """Who looks at single people where Kept answers nothing; said unless somebody attests to it."""
    stores = {
        table.partition(".")[0] for data in promise.uses for table in company.policy.data[data].tables
    } - set(company.stores)
    if not stores or promise.attest is not None:
        return []
    says = f"What `{promise.name}` sees in {', '.join(sorted(stores))} is not asked through Kept, which can't tell."
    return [Proof("measure", "unproven", says, {"stores": len(stores)}, unseen=True)]


def _tried(company: Company, promise: Purpose) -> Proof:
    """Ask for one person, for too small a group, and by what points at single people; none may be answered."""
    gate, name, floor = Gate.of(company), str(promise.name), promise.groups or 0
    owners = [kind for data in promise.uses for kind in company.policy.owners(company.policy.data[data])]
    roots = [str(root.name) for kind in owners if (root := company.policy.root(kind)) is not None]
    by = next((str(role) for role in promise.by), None)
    tried = {
        "one_person": bool(roots) and gate.decide(name, person=Person(roots[0], ("1",)), by=by).allowed,
        "nobody_named": gate.decide(name, by=by).allowed,
        "small_group": gate.decide(name, group=floor - 1, by=by).allowed,
        "by_person": any(_answers(company, promise, str(data), by) for data in promise.uses),
    }
    let = [what for what, allowed in tried.items() if allowed]
    if let:
        says = f"`{name}` sees groups of {floor} or more, and yet it was allowed: {', '.join(let)}."
        return Proof("probe", "broken", says, {**tried})
    what = f"one person, a group of {floor - 1} and a question that tells people apart"
    says = f"Tried for `{name}`, and refused: {what}."
    return Proof("probe", "kept", says, {**tried})


def _answers(company: Company, promise: Purpose, data: str, by: str | None) -> bool:
    """Whether a question would be answered that tells groups apart by people's own keys and identifiers."""
    entry = company.policy.data[data]
    for table, columns in entry.tables.items():
        pointing = [str(column) for column, sort in columns.items() if TYPES.get(sort.type, True)]
        for column in [*pointing, "id"]:
            asked = Question(purpose=str(promise.name), data=data, by=(column,), table=str(table))
            try:
                answer(company, asked, "kept prove", by=by)
            except Refused:
                continue
            return True
    return False


def _on_record(company: Company, promise: Purpose) -> Proof:
    """No figure on record is about fewer people than the floor it was counted with, no time was counted twice, and
    every answer is to a question that is known, and made of those."""
    made = list(cuts.every(company, str(promise.name)))
    answers = cuts.answers(company, str(promise.name))
    numbers = {cut.number for cut in made}
    given = {number for _, some in answers for number in some}
    small = sum(
        min([cell.people, *(told.people for told in cell.columns.values() if told is not None)]) < cut.floor
        for cut in made
        for cell in cut.cells
    )
    measured = {
        "answers": len(answers),
        "stretches": len(made),
        "groups": sum(len(cut.cells) for cut in made),
        "left_out": sum(cut.small for cut in made),
        "under_the_floor": small,
        "counted_twice": _twice(made),
        "unknown_questions": sum(question is None for question, _ in answers),
        "from_elsewhere": len(given - numbers),
        "without_answer": len(numbers - given),
    }
    wrong = [
        name
        for name in (
            "under_the_floor",
            "counted_twice",
            "unknown_questions",
            "from_elsewhere",
            "without_answer",
        )
        if measured[name]
    ]
    if wrong:
        says = f"What is on record for `{promise.name}` is not as it should be: {', '.join(wrong)}."
        return Proof("measure", "broken", says.replace("_", " "), measured)
    says = (
        f"{len(answers)} answers stand on record for `{promise.name}`, of {measured['groups']} groups; none is about "
        f"fewer people than its floor, and none can be subtracted from another."
    )
    if not answers:
        says = f"Nothing was asked about groups for `{promise.name}` so far, and nothing was counted."
    return Proof("measure", "kept", says, measured)


def _twice(made: Sequence[Cut]) -> int:
    """How often a stretch of time of a table was counted again."""
    found = 0
    for place in {cut.place for cut in made}:
        spans = sorted(cut.span for cut in made if cut.place == place)
        found += sum(one.meets(other) for one, other in pairwise(spans))
    return found
