"""Who a person is in a store behind an API: the records that are theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from kept.company import Company
from kept.controls.rights.places import BY, Places
from kept.errors import TerminalError
from kept.stores.clauses import Clauses
from kept.stores.own import own_rows
from kept.stores.sql import SQLStore
from kept.stores.walk import Walk


def subjects(
    company: Company, reached: Places, keys: Sequence[tuple[str, ...]], store: str
) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The ids of each person's records in a store: their key where they are at home there, else by their address.

    Two people who share an address are two: whose a record is can't be told then, so nothing is done, and it is said
    (TerminalError). Several records with one address that is one person's alone are all theirs.
    """
    there = company.records[store]
    if reached.home == store:
        return {key: key for key in keys}
    walk = reached.walk
    assert walk is not None
    column = str(company.policy.people[reached.kind].known_by[BY])  # type: ignore[index]  # a Name equals its text
    home = company.stores[walk.store]
    rows = own_rows(home, walk, keys, [column])
    addresses: dict[tuple[str, ...], str] = {}
    for key in keys:
        for _, row in rows.get(key, ()):
            if row[column]:
                addresses[key] = str(row[column])
    owners = _owners(home, walk, column, addresses.values())
    shared = sum(owners.get(address.casefold(), 0) > 1 for address in addresses.values())
    if shared:
        raise TerminalError(
            f"{shared} of the people share their address with somebody else, so whose records these are can't be told",
            help=f"see to those records in {store} yourself, or give one of them another address",
            where=store,
        )
    found = there.find(BY, list(dict.fromkeys(addresses.values())))
    return {key: found.get(address, ()) for key, address in addresses.items()}


def known_there(
    company: Company, store: str, kind: str, keys: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], dict[str, str]]:
    """By which values people are known who are at home in a store behind an API, by name; who is gone is missing."""
    columns = {str(name): str(column) for name, column in company.policy.people[kind].known_by.items()}
    found = company.records[store].identifiers([key[0] for key in keys], columns) if columns else {}
    return {key: found[key[0]] for key in keys if key[0] in found}


def together(kept: Iterable[Sequence[Mapping[str, object]]]) -> list[dict[str, object]]:
    """What another company keeps of a person who has several records there: once for each table and reason."""
    found: dict[tuple[object, ...], dict[str, object]] = {}
    for one in (row for rows in kept for row in rows):
        alike = found.setdefault((one["table"], one["reason"], one["until"]), {**one, "rows": 0})
        alike["rows"] = int(str(alike["rows"])) + int(str(one["rows"]))
    return list(found.values())


def _owners(store: SQLStore, walk: Walk, column: str, addresses: Iterable[str]) -> dict[str, int]:
    """How many people have each address, whatever its capitals: a store behind an API doesn't tell them apart."""
    asked = {form for address in addresses for form in (address, address.lower(), address.casefold())}
    say, root = Clauses(store, walk.tables), walk.root
    held, person = say.column("t", column), ", ".join(say.column("t", name) for name in root.person)
    listed = f"(SELECT j.v FROM {say.listed('addresses')})"
    chosen = f"SELECT {held}, {person} FROM {say.name(root.table)} t"
    query = f"{chosen} WHERE {held} IN {listed} OR lower({held}) IN {listed}"
    with store.read() as connection:
        rows = say.run(connection, query, addresses=say.listing(asked)).all() if asked else ()
    return Counter(address for address, *_ in {(str(row[0]).casefold(), *row[1:]) for row in rows})
