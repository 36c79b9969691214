"""Where the data of a kind of people stands, by the way in which a request gets there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kept.company import Company
from kept.controls.rights.people import BY_HAND
from kept.datamap.edges import plain, store_of
from kept.errors import TerminalError, TransientError
from kept.stores.walk import Walk

Columns = Mapping[str, Mapping[str, tuple[str, ...]]]
"""The columns of each table, each with the names of its data."""


@dataclass(frozen=True)
class Places:
    """The places of one root kind.

    `walk` is the way through the SQL store its people stand in; `records` are the stores behind an API; `files` the
    folders that columns of theirs lead into; `by_hand` the tables that only a member of staff can reach; `on_device`
    what only the person's own browser holds; `unreached` says what stands in the way of the rest.
    """

    kind: str
    home: str
    walk: Walk | None = None
    records: Mapping[str, Columns] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    by_hand: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    on_device: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unreached: tuple[str, ...] = ()


BY = "email"
"""By what people are known across stores. A telephone number is written in too many ways to be equal."""


def places(company: Company, kind: str) -> Places:
    """The places of a kind (or of the kind it `is`)."""
    policy = company.policy
    root = policy.root(kind)
    assert root is not None and root.table is not None
    home = store_of(root.table)
    records: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {}
    by_hand: dict[str, list[str]] = {}
    on_device: dict[str, list[str]] = {}
    unreached: list[str] = []
    walk = company.map.walk(kind)
    for store, tables in _declared(company, str(root.name)).items():
        sort = policy.stores[store].sort
        names = list(tables)
        if sort in BY_HAND:
            by_hand[store] = names
        elif sort == "browser":
            on_device[store] = names
        elif store in company.records and (store == home or BY in root.known_by):
            records[store] = {table: dict(columns) for table, columns in tables.items()}
        elif walk is None or store != walk.store:
            why = company.unreachable.get(store, _why(company, store))
            unreached.append(f"{root.name}: {store}.{', '.join(names)} ({why})")
    leading = [
        (str(table), str(sort.store))
        for data in policy.data.values()
        if any(
            (owner := policy.root(one)) is not None and owner.name == root.name for one in policy.owners(data)
        )
        for table, columns in data.tables.items()
        for sort in columns.values()
        if sort.store is not None
    ]
    files = dict.fromkeys(
        store for table, store in leading if walk is not None and store_of(table) == walk.store
    )
    unreached += [
        f"{root.name}: files in {store} ({company.unreachable.get(store, 'it is no store of files')})"
        for store in files
        if store not in company.files
    ]
    # What a member of staff looks at they follow themselves; Kept follows paths out of databases alone.
    unreached += [
        f"{root.name}: files in {store} (their paths stand in {table}, which is no table of a database)"
        for table, store in dict.fromkeys(leading)
        if store_of(table) in records
    ]
    return Places(
        str(root.name),
        home,
        walk,
        records,
        tuple(files),
        {store: tuple(found) for store, found in by_hand.items()},
        {store: tuple(found) for store, found in on_device.items()},
        tuple(unreached),
    )


def _why(company: Company, store: str) -> str:
    if store in company.records:
        return f"it knows people by their {BY}, and the kind has no `known-by: {{{BY}: …}}`"
    return "not reached from this kind"


def _declared(company: Company, root: str) -> dict[str, dict[str, dict[str, tuple[str, ...]]]]:
    """Every declared table with data of a kind, by store; columns with the names of their data."""
    policy = company.policy
    found: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {}

    def table(full: str) -> dict[str, tuple[str, ...]]:
        return found.setdefault(store_of(full), {}).setdefault(plain(full), {})

    own = policy.people[root].table
    if own is not None:
        table(str(own))
    for data in policy.data.values():
        owners = {str(kind.name) for owner in policy.owners(data) if (kind := policy.root(owner)) is not None}
        if root in owners:
            for full, columns in data.tables.items():
                names = table(str(full))
                for column in columns:
                    names[str(column)] = (*names.get(str(column), ()), str(data.name))
    for link in policy.links.values():
        ends = {kind.name for at in link.between.values() if (kind := policy.root(str(at.kind))) is not None}
        if root in ends:
            table(str(link.table))
    return found


def unreached(company: Company, kinds: Iterable[str]) -> list[str]:
    """Every declared place of these kinds that no request can reach, and whatever the map is wrong about."""
    missing = [reason for kind in kinds for reason in places(company, kind).unreached]
    missing += [problem.message for problem in company.map.problems if problem.severity == "error"]
    return list(dict.fromkeys(missing))


def refuse_unreached(company: Company, kinds: Iterable[str]) -> None:
    """Refuse a request that can't be carried out in full, naming every declared place that can't be reached."""
    missing = unreached(company, kinds)
    if missing:
        error = TransientError if company.silent() else TerminalError
        raise error(
            "the request can't be carried out in full: " + "; ".join(missing),
            help="connect the store, or declare the data where it can be reached; until then the request stays open",
        )
