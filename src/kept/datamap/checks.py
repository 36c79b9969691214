"""What is wrong between a policy's facts and the databases: each problem at the entry that has to change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kept.datamap.edges import plain, store_of
from kept.datamap.ways import Ways, places_of
from kept.policy.grammar import Test
from kept.policy.policy import Policy
from kept.policy.source import Name, Problems, Span, did_you_mean
from kept.stores.schema import Reference, Schema, Table
from kept.stores.walk import Walk, emptied, goes_along


def named_places(policy: Policy) -> Iterator[tuple[Name, str, Span]]:
    """Every (table, column, where it is written) that the facts name in a store; `""` for the table alone."""
    for kind in policy.people.values():
        if kind.table is not None:
            columns = [
                *kind.key_columns,
                *kind.known_by.values(),
                kind.born,
                kind.region,
                kind.began,
                kind.ended,
            ]
            yield kind.table, "", kind.table.span
            yield from ((kind.table, str(name), name.span) for name in columns if name is not None)
        root = policy.root(str(kind.name))
        if root is not None and root.table is not None:
            yield from ((root.table, column, kind.at("when")) for column in tested(kind.when))
    for link in policy.links.values():
        yield link.table, "", link.table.span
        for at in link.between.values():
            yield link.table, at.column, at.kind.span if isinstance(at.kind, Name) else link.at("between")
        yield from (
            (link.table, str(name), name.span) for name in (link.began, link.ended) if name is not None
        )
        yield from ((link.table, column, link.at("when")) for column in tested(link.when))
    for data in policy.data.values():
        for table, columns_of in data.tables.items():
            yield table, "", table.span
            yield from ((table, str(column), column.span) for column in columns_of)
    for store in policy.stores.values():
        for reference in store.references:
            yield reference.table, "", reference.table.span
            yield reference.to, "", reference.to.span
            yield from ((reference.table, column, reference.table.span) for column in reference.columns)
            yield from ((reference.to, column, reference.to.span) for column in reference.to_columns)
            yield from ((reference.table, column, reference.table.span) for column in tested(reference.when))


def tested(test: Test | None) -> list[str]:
    """The columns a test reads."""
    return [part.column for part in test.all if not part.of_age] if test is not None else []


def check_declared(policy: Policy, schemas: Mapping[str, Schema], problems: Problems) -> None:
    """Tables and columns that the file names and the database doesn't have."""
    for full, column, span in named_places(policy):
        if store_of(full) not in schemas:
            continue
        tables = schemas[store_of(full)].tables
        table = plain(full)
        if table not in tables:
            if not column:
                help = did_you_mean(table, tables)
                problems.error(
                    "unknown-table", f'store {store_of(full)} has no table "{table}"', span, help=help
                )
        elif column and column not in tables[table].columns:
            help = did_you_mean(column, tables[table].columns)
            problems.error("unknown-column", f'{full} has no column "{column}"', span, help=help)
    for store in policy.stores.values():
        if store.name in schemas:
            tables = schemas[str(store.name)].tables
            for name in store.impersonal:
                if name not in tables:
                    message = f'store {store.name} has no table "{name}"'
                    problems.finding("unknown-table", message, name.span, help=did_you_mean(name, tables))
        for reference in store.references:
            if store_of(reference.table) != store_of(reference.to):
                problems.error(
                    "reference-between-stores",
                    f"{reference.table} and {reference.to} are in different stores",
                    reference.table.span,
                    help="a reference stays within one store; data in another store has its own kind of person there",
                )


def check_reached(
    policy: Policy, store: str, tables: Mapping[str, Table], kinds: Mapping[str, Ways], problems: Problems
) -> None:
    """Data that no reference connects with the person it is of."""
    reached = {pair for found in kinds.values() for pair in found.reached}
    for data in policy.data.values():
        owners = {
            root.name for who in data.of if (root := policy.root(policy.kind_of(who.who) or "")) is not None
        }
        if not owners & set(kinds):
            continue
        for full in data.tables:
            table = plain(full)
            if store_of(full) == store and table in tables and (str(data.name), table) not in reached:
                problems.error(
                    "unreachable-data",
                    f"nothing leads from {' or '.join(sorted(owners))} to the rows of {full}",
                    full.span,
                    help=f"declare the key under `references` of store {store}, or write `of: kind at column`",
                )


def declared_tables(policy: Policy, store: str) -> set[str]:
    """The tables of a store that people, links and data name."""
    names: list[Name] = [kind.table for kind in policy.people.values() if kind.table is not None]
    names += [link.table for link in policy.links.values()]
    names += [table for data in policy.data.values() for table in data.tables]
    return {plain(name) for name in names if store_of(name) == store}


def hanging(policy: Policy, store: str, tables: Mapping[str, Table], owned: set[str]) -> dict[str, Reference]:
    """The undeclared tables that refer to tables people own, at any distance, each with its first reference."""
    declared = declared_tables(policy, store)
    found: dict[str, Reference] = {}
    grown = True
    while grown:
        grown = False
        for name, table in tables.items():
            if name in declared or name in found or table.is_view:
                continue
            first = next((r for r in table.references if r.to in owned or r.to in found), None)
            if first is not None:
                found[name] = first
                grown = True
    impersonal = set(policy.stores[store].impersonal)
    return {name: reference for name, reference in found.items() if name not in impersonal}


def check_hanging(
    policy: Policy, store: str, tables: Mapping[str, Table], kinds: Mapping[str, Ways], problems: Problems
) -> None:
    """A table that hangs on a person and is neither declared nor listed as impersonal."""
    declared = policy.stores[store]
    owned = {stop.table for found in kinds.values() if not found.root.is_organisation for stop in found.stops}
    for name, reference in hanging(policy, store, tables, owned).items():
        problems.error(
            "undeclared-table",
            f"{store}.{name} hangs on a person ({reference}) and nothing is said of it",
            declared.at("impersonal"),
            help=f"declare its columns under `data`, or list `{name}` under `impersonal` of store {store}",
        )


def check_unlinkable(policy: Policy, walk: Walk, problems: Problems) -> None:
    """Columns that an erasure may have to empty and that can't be empty."""
    for table in walk.tables.values():
        if table.is_view:
            continue
        for reference in table.references:
            if (
                walk.of_table(reference.to)
                and not emptied(reference, table)
                and not goes_along(walk, reference)
            ):
                full = f"{walk.store}.{table.name}"
                column = "+".join(reference.columns)
                problems.error(
                    "cannot-unlink",
                    f"{full}.{column} can't be empty, but erasing a {walk.kind} may have to empty it",
                    _place(policy, full, walk.store),
                    help="rows of other people refer by it to rows that go: let the column be empty in the database"
                    + (", or say `erased: {end: remove}`" if _is_link(policy, full) else ""),
                )


def _is_link(policy: Policy, full: str) -> bool:
    return any(link.table == full for link in policy.links.values())


def _place(policy: Policy, full: str, store: str) -> Span:
    """Where the file speaks of a table: its link, else its data, else its person kind, else its store."""
    links: Iterable[Span] = (link.at("between") for link in policy.links.values() if link.table == full)
    data: Iterable[Span] = (
        places_of(d, full) for d in policy.data.values() if any(t == full for t in d.tables)
    )
    kinds: Iterable[Span] = (kind.at("in") for kind in policy.people.values() if kind.table == full)
    return next((span for spans in (links, data, kinds) for span in spans), policy.stores[store].span)
