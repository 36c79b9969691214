"""Measures collection: what nobody declared, whence rows came, what never may be there, what a browser really has.

What a gate must refuse is tried on forms made up for it; nothing of them is kept.
"""

from __future__ import annotations

from kept.company import Company
from kept.controls.choices.declare import Choice
from kept.controls.choices.floor import in_browsers
from kept.controls.collection import rows
from kept.controls.collection.browser import seen
from kept.controls.collection.card_numbers import stored as numbers
from kept.controls.collection.declare import Collecting, NeverCollected
from kept.controls.collection.gate.location import PRECISE
from kept.controls.collection.persons import age
from kept.controls.collection.tried import age_asked, card_numbers, step
from kept.datamap.drift import undeclared_columns, undeclared_tables
from kept.evidence.proof import Measured, Proof
from kept.policy.entry import Promise
from kept.policy.facts import Data
from kept.policy.policy import Policy
from kept.stores.columns import count_filled, count_sources
from kept.stores.records.hubspot import HubSpotStore


def prove(company: Company, promise: Promise) -> list[Proof]:
    """Measure what a collection promise says, and try what its entrance must refuse."""
    if isinstance(promise, NeverCollected):
        return [proof for word in promise.never for proof in _never(company, promise, str(word))]
    assert isinstance(promise, Collecting)
    policy = company.policy
    data = [policy.data[name] for name in dict.fromkeys([*promise.takes, *promise.optional])]
    proofs = [_sources(company, promise, one) for one in data if seen.at_rest(policy, one)]
    if any(in_browsers(policy, one) for one in data):
        proofs.append(seen.of_collection(company, promise))
    precise = [one for one in data if _is_precise(one)]
    for name in promise.choice if precise else ():
        choice = policy.section("choices").get(name)
        if isinstance(choice, Choice):
            proofs.append(_positions(company, choice, promise))
    proofs += step(company, promise)
    return proofs


def _never(company: Company, promise: NeverCollected, word: str) -> list[Proof]:
    match word:
        case "undeclared":
            return [_undeclared(company, promise)]
        case "card-number":
            return [_cards(company, promise), card_numbers(promise)]
        case "anything":
            return [_nobody(company, promise), *age_asked(company, promise)]
        case _:
            says = f"Kept does not look for `{word}` in the stores: no pattern tells it from other text."
            return [Proof("measure", "unproven", says)]


def _undeclared(company: Company, promise: NeverCollected) -> Proof:
    kinds = _roots(company.policy, promise)
    lacking = [reason for kind in kinds for reason in company.out_of_reach(kind)]
    tables = undeclared_tables(company.policy, company.schemas)
    filled: list[str] = []
    empty = 0
    for column in undeclared_columns(company.policy, company.schemas):
        if kinds & column.kinds:
            there = count_filled(company.stores[column.store], column.table, [column.column])[column.column]
            empty += there == 0
            if there:
                filled.append(f"{column} ({there} rows)")
    measured: Measured = {"columns": len(filled), "empty_columns": empty, "tables": len(tables)}
    if filled or tables:
        return Proof("measure", "broken", "Nobody declared: " + ", ".join([*filled, *tables]) + ".", measured)
    lacking += [problem.message for problem in company.map.problems if problem.severity == "error"]
    if lacking:
        return Proof(
            "measure",
            "unproven",
            "Not everything could be looked at: " + "; ".join(dict.fromkeys(lacking)) + ".",
            measured,
        )
    return Proof(
        "measure", "kept", "Every column of every table about these people is declared, or empty.", measured
    )


def _cards(company: Company, promise: NeverCollected) -> Proof:
    """Card numbers in any store: none may be found."""
    looked = numbers.looked_for(company, promise)
    measured: Measured = {
        "rows": looked.rows,
        "of_rows": looked.of_rows,
        "files": looked.files,
        "card_numbers": sum(number for _, number in looked.found),
        "places": len(looked.found),
    }
    if looked.found:
        where = ", ".join(f"{place} ({number})" for place, number in looked.found)
        return Proof("measure", "broken", f"Full card numbers stand in {where}.", measured)
    if looked.gaps:
        return Proof("measure", "unproven", "; ".join(looked.gaps) + ".", measured)
    if not looked.rows and not looked.files:
        return Proof("measure", "unproven", "There is nothing to look at.", measured)
    drawn = "" if looked.rows == looked.of_rows else f" of {looked.of_rows}, drawn at random"
    says = f"No full card number stands in {looked.rows} rows{drawn} and {looked.files} files."
    return Proof("measure", "kept", says, measured)


def _nobody(company: Company, promise: NeverCollected) -> Proof:
    """People of whom nothing is collected: there may be none."""
    found = age.under_age(company, promise)
    whom = " or ".join(map(str, promise.of))
    measured: Measured = {
        "people": found.people,
        "without_birth_date": found.without_date,
        "unreadable_birth_date": found.unreadable,
        "kinds": found.looked,
    }
    if found.people:
        return Proof("measure", "broken", f"{found.people} people are `{whom}`, and are there.", measured)
    if found.gaps:
        return Proof("measure", "unproven", "; ".join(found.gaps) + ".", measured)
    unknown = found.without_date + found.unreadable
    if unknown:
        says = f"Of {unknown} people nobody can tell whether they are `{whom}`: their birth date is missing, or none."
        return Proof("measure", "unproven", says, measured)
    return Proof("measure", "kept", f"Nobody in the database is `{whom}`.", measured)


def _positions(company: Company, choice: Choice, promise: Collecting) -> Proof:
    """Exact positions of people without a standing yes: there may be none."""
    found = rows.without_yes(company, choice, promise)
    measured: Measured = {
        "people": found.people,
        "without_permission": found.without,
        "tables": found.tables,
    }
    if found.without:
        says = (
            f"Where {found.without} of {found.people} people are is kept exactly, without their permission."
        )
        return Proof("measure", "broken", says, measured)
    if found.gaps:
        return Proof("measure", "unproven", "; ".join(found.gaps) + ".", measured)
    says = f"Where {found.people} people are is kept exactly, each with a permission that stands."
    return Proof("measure", "kept", says, measured)


def _is_precise(data: Data) -> bool:
    return any(sort.type == PRECISE for columns in data.tables.values() for sort in columns.values())


def _roots(policy: Policy, promise: NeverCollected) -> set[str]:
    """The kinds of people it speaks of, by the kind whose table they stand in; everybody where it names none."""
    kinds = [policy.kind_of(who) for who in promise.of] if promise.of else list(policy.people)
    roots = [policy.root(kind) for kind in kinds if kind is not None]
    return {str(root.name) for root in roots if root is not None and root.table is not None}


def _sources(company: Company, promise: Collecting, data: Data) -> Proof:
    """Rows of one kind of data without a source, or with one the promise doesn't name; a browser's come from there."""
    name, allowed = str(data.name), [str(source) for source in promise.sources]
    missing = unknown = looked = 0
    gaps = []
    for table in seen.at_rest(company.policy, data):
        store, _, plain = table.partition(".")
        columns = data.tables[table]  # type: ignore[index]  # a Name is found by any equal str
        column = next((str(column) for column, sort in columns.items() if sort.type == "source"), None)
        there = company.records.get(store)
        if store not in company.schemas and not isinstance(there, HubSpotStore):
            gaps.append(
                f"`{table}` can't be asked: {company.unreachable.get(store, 'its kind of store is not measured yet')}"
            )
        elif column is None:
            gaps.append(f"`{table}` has no column of sort `source`, so nothing tells where a row came from")
        else:
            without, others = (
                there.count_sources(plain, column, allowed)
                if isinstance(there, HubSpotStore)
                else count_sources(company.stores[store], plain, column, allowed)
            )
            looked += 1
            missing += without
            unknown += others
    measured: Measured = {"data": name, "without_source": missing, "other_source": unknown, "tables": looked}
    if missing or unknown:
        return Proof(
            "measure",
            "broken",
            f"Of the rows of `{name}`, {missing} have no source and {unknown} one that isn't declared"
            f" (declared: {', '.join(allowed)}).",
            measured,
        )
    if gaps:
        return Proof("measure", "unproven", "; ".join(gaps) + ".", measured)
    return Proof(
        "measure", "kept", f"Every row of `{name}` says which declared source it came from.", measured
    )
