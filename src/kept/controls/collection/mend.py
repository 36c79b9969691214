"""Mends what was collected without a promise: clears an undeclared column, names a missing source.

Both change rows that no rule alone may judge, so a person asks for each by name, and the ledger says so.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from kept.company import Company
from kept.controls.collection.declare import Collecting
from kept.datamap.drift import undeclared_columns
from kept.errors import KeptError
from kept.policy.source import did_you_mean
from kept.stores.columns import clear_column, set_source


def clear(company: Company, column: str) -> int:
    """Empty an undeclared column, `store.table.column`, in every row; returns how many rows held something.

    Raises KeptError for a column that is declared, or isn't there.
    """
    undeclared = {str(found): found for found in undeclared_columns(company.policy, company.schemas)}
    found = undeclared.get(column)
    if found is None:
        raise KeptError(
            f"`{column}` is not a column that nobody declared",
            help=did_you_mean(column, undeclared)
            if undeclared
            else "every column is declared; there is nothing to clear",
        )
    act = uuid.uuid4().hex
    rows = clear_column(company.stores[found.store], found.table, found.column, _note(company, act))
    company.ledger.append({"act": "clear", "column": column, "rows": rows}, key=f"clear {act}")
    return rows


def name_source(company: Company, table: str, source: str) -> int:
    """Say of the rows of `store.table` without a source where they came from; returns how many there were.

    Raises KeptError where no collection promise names that source for data of the table.
    """
    policy = company.policy
    store, _, plain = table.partition(".")
    for data in policy.data.values():
        here = (columns for place, columns in data.tables.items() if place == table)
        sources = (str(name) for columns in here for name, sort in columns.items() if sort.type == "source")
        column = next(sources, None)
        if column is None:
            continue
        allowed = {
            str(name)
            for promise in policy.section("collection").values()
            if isinstance(promise, Collecting) and data.name in (*promise.takes, *promise.optional)
            for name in promise.sources
        }
        if source not in allowed:
            raise KeptError(
                f"`{source}` is not a declared source of `{data.name}`", help=did_you_mean(source, allowed)
            )
        if store not in company.schemas:
            raise KeptError(f"`{table}` can't be reached", help=company.unreachable.get(store))
        act = uuid.uuid4().hex
        rows = set_source(company.stores[store], plain, column, source, _note(company, act))
        company.ledger.append(
            {"act": "source", "table": table, "source": source, "rows": rows}, key=f"source {act}"
        )
        return rows
    raise KeptError(f"no data of `{table}` has a column of sort `source`")


def _note(company: Company, act: str) -> Callable[[int], None]:
    def note(rows: int) -> None:
        company.state.note(act, "rows", {"rows": rows})

    return note
