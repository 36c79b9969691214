"""A look: somebody on the staff sees one person's data; decided first, then on record, and only then read and shown.

    seen = look(company, "analyse-error", "usage", person, by="engineer:4", case="error:81")
    seen.rows  # {"app.usage_events": ({"page": …, "at": …}, …)}

A purpose that names no case, and nobody on the staff, shows a single person's data to nobody here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from kept.company import Company
from kept.controls.choices.deciding import NONE, Decision
from kept.controls.purposes.cases import assigned, reading, recorded, telling
from kept.controls.purposes.cases.opening import is_name
from kept.controls.purposes.enforce import NO_EVIDENCE, Gate
from kept.controls.purposes.gate.by import is_role
from kept.controls.purposes.gate.uses import Names, Use
from kept.controls.rights.people import Person
from kept.policy.readers import NAME

Row = Mapping[str, object]
LONGEST: Final = 240  # characters of a case


@dataclass(frozen=True)
class Look:
    """What came of a look. Refused, `decision` says why, and there are no rows.

    `id` is that of its record; `rows` stand by table (`store.table`), `left_out` counts those past their limit;
    `elsewhere` are tables of this data that Kept reads from no store, `undated` those of which nobody can tell which
    rows are past. `told`: a letter about it is on its way to the person.
    """

    decision: Decision
    id: str | None = None
    rows: Mapping[str, tuple[Row, ...]] = field(default_factory=dict, repr=False)
    left_out: int = 0
    elsewhere: tuple[str, ...] = ()
    undated: tuple[str, ...] = ()
    told: bool = False


def look(
    company: Company,
    purpose: str,
    data: Names,
    person: Person | None,
    *,
    by: str | None,
    case: str | None = None,
    signals: frozenset[str] = NONE,
    evidence: Mapping[str, str] = NO_EVIDENCE,
) -> Look:
    """Show some data of one person (None: all that the purpose uses) to a member of staff (`engineer:4`), if it may be.

    The record is durable before any row is read. It is decided once more when the rows are read, and before they are
    handed over: a case that was closed meanwhile, or a person erased, shows nothing, and that is on record too.
    StoreError where a store can't be read; the record then stands, of a look at nothing.
    """
    data = _named(company, purpose, data, person)

    def decide() -> Decision:
        if person is not None:
            assigned.look_again(company, case, person)
        return _staff(company, purpose, data, by, case) or Gate.of(company).decide(
            purpose, data, person=person, by=by, case=case, signals=signals, evidence=evidence
        )

    decision = decide()
    if not decision.allowed or person is None or by is None:
        recorded.refuse(company, decision, purpose, case, by, person)
        return Look(decision)
    use = Gate.of(company).uses.find(purpose, data)
    assert isinstance(use, Use)
    planned = reading.plan(company, person, purpose, use.names, decision.fields)
    role, _, staff = by.partition(":")
    case = case if use.entry.case else None  # else nobody has looked whether it is one
    letter = telling.letter(company, use.entry, case, role, person, use.names)

    def tell(connection: Connection, id: str) -> None:
        if letter is not None:
            company.outbox.put(telling.LETTER, letter, id=id, connection=connection)

    id = recorded.record(company, purpose, case, role, staff, person, planned.fields, tell)
    found = reading.read(company, planned)
    again = decide()
    if not again.allowed:
        recorded.refuse(company, again, purpose, case, by, person, look=id)
        return Look(again, id, told=letter is not None)
    return Look(
        again, id, found.rows, found.left_out, planned.elsewhere, planned.undated, told=letter is not None
    )


def _named(company: Company, purpose: str, data: Names, person: Person | None) -> Names:
    """The data asked for; where none is named, what of the purpose's can be that of such a person."""
    if data is not None:
        return data if isinstance(data, str) else tuple(data)
    entry, policy = Gate.of(company).uses.purposes.get(purpose), company.policy
    if entry is None or person is None:
        return None
    theirs = tuple(
        str(name)
        for name in entry.uses
        if any(policy.related(owner, person.kind) for owner in policy.owners(policy.data[str(name)]))
    )
    return theirs or None


def _staff(company: Company, purpose: str, data: Names, by: str | None, case: str | None) -> Decision | None:
    """Why nobody on the staff may look, whatever the gate says of the use itself."""
    gate, policy = Gate.of(company), company.policy
    use = gate.uses.find(purpose, data)
    if isinstance(use, Decision):
        return use
    if not use.entry.case and not any(policy.is_staff(str(who)) for who in use.entry.by):
        why = f"`{use.name}` shows nobody's data to staff: it names no case, and nobody on the staff"
        return use.no("by", why)
    if not use.names:
        return use.no("data", f"`{use.name}` uses no data to look at")
    role, _, key = (by or "").partition(":")
    if by is not None and not is_role(policy, role):
        staff = ", ".join(str(kind) for kind in policy.people if policy.is_staff(str(kind)))
        word = f"`{role}`" if NAME.fullmatch(role.casefold()) else "such role"
        return use.no("by", f"the policy knows no {word}; staff: {staff or 'none'}")
    if not policy.is_staff(role) or not is_name(key):
        return use.no("by", "only a member of staff looks, by role and key, such as `engineer:4`")
    if case is not None and len(case) > LONGEST:
        return use.no("case", "there is no such case")
    return None
