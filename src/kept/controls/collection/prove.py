"""Measures collection: columns nobody declared, and records without a source."""

from __future__ import annotations

from kept.company import Company
from kept.controls.collection.declare import Collecting, NeverCollected
from kept.datamap.drift import undeclared_columns, undeclared_tables
from kept.evidence.proof import Measured, Proof
from kept.policy.entry import Promise
from kept.policy.policy import Policy
from kept.stores.columns import count_filled, count_sources


def prove(company: Company, promise: Promise) -> list[Proof]:
    """Measure what a collection promise says of rows and columns; what needs a browser or a gate is unproven."""
    if isinstance(promise, NeverCollected):
        return [_never(company, promise, str(word)) for word in promise.never]
    assert isinstance(promise, Collecting)
    names = dict.fromkeys([*promise.takes, *promise.optional])
    return [_sources(company, promise, str(name)) for name in names]


def _never(company: Company, promise: NeverCollected, word: str) -> Proof:
    if word != "undeclared":
        return Proof("measure", "unproven", f"This version of Kept does not look for `{word}` in the stores.")
    kinds = _roots(company.policy, promise)
    lacking = [reason for kind in kinds for reason in company.out_of_reach(kind)]
    tables = undeclared_tables(company.policy, company.schemas)
    filled: list[str] = []
    empty = 0
    for column in undeclared_columns(company.policy, company.schemas):
        if kinds & column.kinds:
            rows = count_filled(company.stores[column.store], column.table, [column.column])[column.column]
            empty += rows == 0
            if rows:
                filled.append(f"{column} ({rows} rows)")
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


def _roots(policy: Policy, promise: NeverCollected) -> set[str]:
    """The kinds of people it speaks of, by the kind whose table they stand in; everybody where it names none."""
    kinds = [policy.kind_of(who) for who in promise.of] if promise.of else list(policy.people)
    roots = [policy.root(kind) for kind in kinds if kind is not None]
    return {str(root.name) for root in roots if root is not None and root.table is not None}


def _sources(company: Company, promise: Collecting, name: str) -> Proof:
    """Rows of one kind of data without a source, or with one the promise doesn't name."""
    data = company.policy.data[name]
    allowed = [str(source) for source in promise.sources]
    missing = unknown = looked = 0
    gaps = []
    for table, columns in data.tables.items():
        store, _, plain = table.partition(".")
        column = next((str(column) for column, sort in columns.items() if sort.type == "source"), None)
        if store not in company.schemas:
            gaps.append(
                f"`{table}` can't be asked: {company.unreachable.get(store, 'its kind of store is not measured yet')}"
            )
        elif column is None:
            gaps.append(f"`{table}` has no column of sort `source`, so nothing tells where a row came from")
        else:
            without, others = count_sources(company.stores[store], plain, column, allowed)
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
