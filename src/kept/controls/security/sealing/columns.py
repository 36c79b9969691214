"""Which columns of a company's stores are sealed, by its policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kept.controls.security.declare import OPEN, Sealing
from kept.policy.policy import Policy


@dataclass(frozen=True)
class SealedColumn:
    """A column that is sealed, the data it belongs to, and the purposes that may open it; `searched`: by equality."""

    store: str
    table: str
    column: str
    data: tuple[str, ...]
    purposes: frozenset[str]
    searched: bool = False

    @property
    def field(self) -> str:
        return f"{self.store}.{self.table}.{self.column}"


def sealed_columns(policy: Policy) -> Mapping[str, SealedColumn]:
    """The sealed columns by `store.table.column`; where several promises seal one, only a purpose of all opens it."""
    found: dict[str, SealedColumn] = {}
    for promise in policy.section("security").values():
        if isinstance(promise, Sealing):
            for one in columns_of(policy, promise):
                before = found.get(one.field)
                if before is not None:
                    data = tuple(dict.fromkeys((*before.data, *one.data)))
                    searched = before.searched and one.searched
                    one = SealedColumn(
                        one.store, one.table, one.column, data, before.purposes & one.purposes, searched
                    )
                found[one.field] = one
    return found


def columns_of(policy: Policy, promise: Sealing) -> list[SealedColumn]:
    """The columns that one promise seals."""
    purposes, searched = frozenset(map(str, promise.purposes)), set(map(str, promise.searchable))
    found = []
    for name in promise.seals:
        data = policy.data[name]
        for place, columns in data.tables.items():
            store, _, table = str(place).partition(".")
            for column, sort in columns.items():
                if sort.type not in OPEN:
                    one = SealedColumn(
                        store, table, str(column), (str(name),), purposes, str(column) in searched
                    )
                    found.append(one)
    return found
