"""Holds a policy against its live stores: tables, columns, ways and clocks, each problem at its place in the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kept.datamap.edges import plain, store_of
from kept.datamap.graph import build_map
from kept.errors import StoreError
from kept.policy.policy import Policy
from kept.policy.source import Name, Problems
from kept.stores.expiring.clocks import clock_format
from kept.stores.schema import Schema
from kept.stores.sql import SQLStore


def check_live(
    policy: Policy, stores: Mapping[str, SQLStore], unreachable: Mapping[str, str], problems: Problems
) -> None:
    """Add what is wrong between a policy and its stores; a SQL store that can't be asked is a finding of its own."""
    silent = dict(unreachable)
    schemas: dict[str, Schema] = {}
    for name, store in stores.items():
        try:
            schemas[name] = store.schema()
        except StoreError as wrong:
            silent[name] = wrong.message
    for name, reason in silent.items():
        declared = policy.stores[name]
        if declared.is_sql:
            problems.finding(
                "not-connected",
                f"store {name} was not looked at: {reason}",
                declared.at("at"),
                help="connect it, or read the file alone with --offline",
            )
    found = build_map(policy, schemas)
    problems.found.extend(found.problems)
    for table, column in _clocks(policy):
        schema = schemas.get(store_of(table))
        shape = schema.tables.get(plain(table)) if schema is not None else None
        if shape is None or column not in shape.columns:
            continue
        try:
            clock_format(stores[store_of(table)], plain(table), str(column))
        except StoreError as wrong:
            problems.error("not-a-clock", wrong.message, column.span, help=wrong.help)


def _clocks(policy: Policy) -> Iterator[tuple[str, Name]]:
    """Every column that some limit may count from, with its table."""
    for kind in policy.people.values():
        if kind.table is not None:
            yield from (
                (str(kind.table), column) for column in (kind.began, kind.ended) if column is not None
            )
    for link in policy.links.values():
        yield from ((str(link.table), column) for column in (link.began, link.ended) if column is not None)
    for data in policy.data.values():
        for table, columns in data.tables.items():
            yield from ((str(table), column) for column, sort in columns.items() if sort.type == "recorded")
