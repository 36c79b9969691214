"""Measures the purposes that show one person's data to staff: what is on record of looks, and what the gate refuses.

The rows that are tried are the company's own, and nothing is written into its stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import sqlalchemy as sa

from kept.company import Company
from kept.controls.purposes.cases import assigned, opening, recorded, rows
from kept.controls.purposes.cases.opening import KEPT, Kept
from kept.controls.purposes.cases.recorded import OnTheLedger
from kept.controls.purposes.cases.rows import Tie
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.enforce import Gate
from kept.controls.rights.people import Person
from kept.errors import StoreError
from kept.evidence.proof import Proof
from kept.policy.policy import Policy
from kept.stores.clauses import written
from kept.stores.conditions import condition
from kept.stores.sql import SQLStore

AGAIN = 3  # measurements, while looks happen meanwhile
NOBODY = "kept-nobody"  # a key that no member of staff has
SOME = 5  # rows looked at to find one that says something


def shows_staff(policy: Policy, purpose: Purpose) -> bool:
    """Whether a purpose shows single people's data to staff: in a case, or to a role of theirs."""
    return bool(purpose.case) or any(policy.is_staff(str(who)) for who in purpose.by)


def measure(company: Company, purpose: Purpose) -> list[Proof]:
    """What shows whether nobody looks at a person but in a case of their own, and every look is on record.

    What there is none of shows nothing: no proof comes of it.
    """
    if not shows_staff(company.policy, purpose) or not purpose.uses:
        return []
    recorded.whole_ledger(company)  # a crash may have kept some from it
    proofs = _on_record(company, purpose)
    if not purpose.case:
        return [*proofs, _roles(company, purpose)]
    opening.end_due(company)
    return [*proofs, *_ended(company, purpose), *_refused(company, purpose)]


def _on_record(company: Company, purpose: Purpose) -> list[Proof]:
    """The table and the ledger must tell of the same number of looks, and none without a case where one is needed."""
    name = str(purpose.name)
    for _ in range(AGAIN):
        table, ledger = recorded.in_the_table(company), OnTheLedger.of(company)
        if table.looks.get(name, 0) == ledger.looks.get(name, 0):
            break  # else somebody looked while it was measured
    held, noted = table.looks.get(name, 0), ledger.looks.get(name, 0)
    without = max(table.without.get(name, 0), ledger.without.get(name, 0)) if purpose.case else 0
    measured = {"looks": held, "on_the_ledger": noted, "without_a_case": without}
    if held != noted:
        says = f"{held} looks for `{name}` are in Kept's own table, and {noted} on the ledger: the table was changed."
        return [Proof("measure", "broken", says, measured)]
    if without:
        says = f"{without} of {held} looks for `{name}` were in no case."
        return [Proof("measure", "broken", says, measured)]
    says = f"{held} looks are on record, each {'in a case' if purpose.case else 'with who it was'}."
    return [Proof("measure", "kept", says, measured)] if held else []


def _ended(company: Company, purpose: Purpose) -> list[Proof]:
    """No case that Kept keeps is open past its end, or longer than one may be."""
    mine = [one for one in opening.listing(company) if one.link in map(str, purpose.case)]
    now = company.clock()
    late = sum(one.until <= now or one.until - one.opened > opening.LONGEST for one in mine)
    measured = {"open": len(mine), "past_their_end": late}
    if late:
        return [Proof("measure", "broken", f"{late} cases are open past their end.", measured)]
    says = f"None of the {len(mine)} open cases of Kept's own is past its end."
    return [Proof("measure", "kept", says, measured)] if mine else []


def _roles(company: Company, purpose: Purpose) -> Proof:
    """Roles that the purpose isn't for must be refused."""
    policy, gate = company.policy, Gate.of(company)
    allowed = set().union(*(rows.roles(policy, str(who)) for who in purpose.by))
    others = [str(kind) for kind in policy.people if policy.is_staff(str(kind)) and str(kind) not in allowed]
    wrong, tried = list[str](), 0
    person = _anybody(company, purpose)
    for by in (None, "", f"{NOBODY}:1", *(f"{role}:{NOBODY}" for role in others)):
        decision = gate.decide(str(purpose.name), person=person, by=by)
        wrong += [by or "nobody"] if decision.allowed else []
        tried += decision.rule == "by"  # refused for another reason it says nothing of this one
    measured = {"tried": tried, "allowed": len(wrong)}
    if wrong:
        return Proof("probe", "broken", f"The gate let {', '.join(wrong)} look.", measured)
    if person is None or not tried:
        return Proof("probe", "unproven", "There is nobody whose data could be asked for.", measured)
    return Proof("probe", "kept", f"The gate refused all {tried} who aren't the ones it is for.", measured)


@dataclass(frozen=True)
class _Sample:
    """A case that is there: how it is named, and what it says."""

    case: str
    tie: Tie
    is_open: bool


def _refused(company: Company, purpose: Purpose) -> list[Proof]:
    """Without a case, in another's, about somebody else, and in one that is over, the gate must refuse."""
    name, wrong, tried = str(purpose.name), list[str](), set[str]()
    samples: list[_Sample] = []
    missing: list[str] = []
    for link in map(str, purpose.case):
        try:
            found = _samples(company, link)
        except StoreError as silent:
            missing.append(f"`{link}`: {silent.message}")
            continue
        samples += found
    samples += _kept_samples(company, purpose)
    gate = Gate.of(company)

    def probe(what: str, person: Person, by: str, case: str | None, because: str | None = None) -> None:
        assigned.look_again(company, case, person)  # what was remembered is no measurement
        said = assigned.why_not(company, tuple(map(str, purpose.case)), case, person, by)
        if said is None or gate.decide(name, person=person, by=by, case=case).allowed:
            wrong.append(what)
        elif because in (None, said):  # refused for another reason it says nothing of this one
            tried.add(what)

    for one in samples:
        people, staff = sorted(one.tie.people, key=str), sorted(one.tie.staff)
        for person in people[:1]:
            for kind, key in staff[:1]:
                by = f"{kind}:{key}"
                probe("without a case", person, by, None)
                if not one.is_open:
                    probe("in a case that is over", person, by, one.case, assigned.OVER)
                probe("in another's case", person, f"{kind}:{NOBODY}", one.case, assigned.ANOTHERS)
                others = (p for other in samples for p in sorted(other.tie.people, key=str))
                other = next((p for p in others if p not in one.tie.people and p.kind == person.kind), None)
                if other is not None:
                    probe("about somebody else", other, by, one.case, assigned.ANOTHER)
    measured: dict[str, Any] = {"tried": len(tried), "allowed": len(wrong), "cases": len(samples)}
    if wrong:
        says = f"The gate let staff look {' and '.join(dict.fromkeys(wrong))}."
        return [Proof("probe", "broken", says, measured)]
    all_ = ("without a case", "in another's case", "about somebody else", "in a case that is over")
    untried = [one for one in all_ if one not in tried]
    proofs = []
    if tried:
        says = f"On real cases the gate refused a look {', '.join(one for one in all_ if one in tried)}."
        proofs.append(Proof("probe", "kept", says, measured))
    if (untried or missing) and "attest" not in purpose.keys:
        nothing = f"No row could be found to try a look {', '.join(untried)}" if untried else ""
        unread = f"{len(missing)} links could not be tried ({'; '.join(missing)})" if missing else ""
        says = f"{'. '.join(filter(None, (nothing, unread)))}."
        proofs.append(Proof("probe", "unproven", says, measured))
    return proofs


def _samples(company: Company, name: str) -> list[_Sample]:
    """Some open rows of a link, and some that are over; StoreError where they can't be read."""
    link = company.policy.links[name]
    place, _, table = str(link.table).partition(".")
    company.map  # noqa: B018  whoever doesn't answer is noted when the map is made
    store = company.stores.get(place)
    if store is None or place in company.unreachable:
        raise StoreError(company.unreachable.get(place, "its rows can't be listed"), where=place)
    keys: list[tuple[Any, ...]] = []
    for is_open in (True, False):
        keys += _keys(company, store, table, name, is_open)
    found: list[_Sample] = []
    people = [str(at.column) for at in link.between.values() if company.policy.root(str(at.kind)) is not None]
    for *key, about in keys:
        if about is None or not people:
            continue
        parts = [written(part) for part in key]
        if len(parts) > 1:
            parts = [part.replace("%", "%25").replace(",", "%2C") for part in parts]
        number = ",".join(parts)
        tie = rows.tie(company, name, number, Person("", ()))
        if tie is not None and tie.people and tie.staff:
            found.append(_Sample(f"{name}:{number}", tie, tie.why_over(company.clock()) is None))
    return found


def _keys(
    company: Company, store: SQLStore, table: str, name: str, is_open: bool
) -> Sequence[tuple[Any, ...]]:
    """The keys of a few rows that the database comes upon first, and whom they are about."""
    link, shape, source = company.policy.links[name], store.shape(table), store.table(table)
    ends = [str(at.column) for at in link.between.values() if company.policy.root(str(at.kind)) is not None]
    query = sa.select(*(source.c[column] for column in shape.key), source.c[ends[0]]).limit(SOME)
    if link.ended is not None:
        over = source.c[str(link.ended)]
        query = query.where(over.is_(None) if is_open else over.is_not(None))
    elif not is_open:
        return []
    if link.when is not None:
        today = company.clock().astimezone(company.policy.timezone).date()
        query = query.where(condition(link.when, source, shape, today=today))
    with store.read() as connection:
        return [tuple(row) for row in connection.execute(query)]


def _kept_samples(company: Company, purpose: Purpose) -> list[_Sample]:
    """The cases that Kept keeps; of one that is over nobody knows any more whom it was about."""

    def tie(one: Kept) -> Tie:
        people = frozenset((one.person,)) if one.person is not None else frozenset[Person]()
        return Tie(people, frozenset(((one.role, one.staff),)), None, None)

    open_ = [one for one in opening.listing(company) if one.ticket is None and one.person is not None]
    mine = [one for one in open_ if one.link in map(str, purpose.case)]
    return [_Sample(f"{KEPT}:{one.id}", tie(one), True) for one in mine[:SOME]]


def _anybody(company: Company, purpose: Purpose) -> Person | None:
    """Somebody whose data the purpose uses: whom the database comes upon first."""
    policy = company.policy
    owners = chain.from_iterable(policy.owners(policy.data[str(name)]) for name in purpose.uses)
    for kind in dict.fromkeys(str(root.name) for one in owners if (root := policy.root(one)) is not None):
        walk = company.map.walk(kind)
        if walk is None:
            continue
        store = company.stores[walk.store]
        source = store.table(walk.root.table)
        with store.read() as connection:
            query = sa.select(*(source.c[column] for column in walk.root.person)).limit(1)
            row = connection.execute(query).first()
        if row is not None:
            return Person(kind, tuple(map(written, row)))
    return None
