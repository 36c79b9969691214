"""What a proposal would change: somebody's end, or cells of the data that its purpose sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from kept.company import Company
from kept.controls.conditions import VERIFIED
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.ends import endings
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.policy.policy import Policy
from kept.stores.corrections import Change as Cell


@dataclass(frozen=True)
class Change:
    """The cells (`store.table.column`) with what they are to hold, all of one row where a person has several; none of
    them for an end. An empty text empties the cell. `row` is the row's key, its parts with commas between them (a
    comma in a part is %2C). `case` and `evidence` are what the purpose asks for, as whoever proposed it brought them.
    """

    person: Person
    cells: Mapping[str, str] = field(default_factory=dict, repr=False)
    row: str | None = field(default=None, repr=False)
    case: str | None = None
    evidence: Mapping[str, str] = field(default_factory=dict, repr=False)

    def by_store(self, company: Company) -> dict[str, list[Cell]]:
        """The cells as a store corrects them; KeptError where a store can't be changed by Kept."""
        found: dict[str, list[Cell]] = {}
        for place, value in self.cells.items():
            store, _, rest = place.partition(".")
            table, _, name = rest.rpartition(".")
            if store not in company.schemas:
                why = company.unreachable.get(store)
                raise KeptError(f"`{store}` can't be changed by Kept", help=why, where=store)
            shape = company.stores[store].shape(table)
            if name not in shape.columns:
                raise KeptError("there is no such column", where=place)
            emptied = None if shape.columns[name].nullable else ""
            found.setdefault(store, []).append(Cell(table, name, value or emptied, row=self._row(shape.key)))
        return found

    def is_about_the_same(self, other: Change) -> bool:
        """Whether both would set one cell, or both an end; where a row isn't named, it may be the other's."""
        if not self.cells or not other.cells:
            return not self.cells and not other.cells
        one_row = self.row is None or other.row is None or self.row == other.row
        return one_row and bool(self.cells.keys() & other.cells.keys())

    def _row(self, key: tuple[str, ...]) -> tuple[str, ...] | None:
        if self.row is None or len(key) == 1:
            return (self.row,) if self.row is not None else None
        return tuple(unquote(part) for part in self.row.split(","))


def purpose_of(company: Company, name: str) -> Purpose:
    """The purpose of that name that decides something; KeptError for one that doesn't."""
    known = {str(one.name): one for one in deciding(company.policy)}
    if name not in known:
        raise KeptError(
            f"`{name}` decides nothing" if name in company.policy.section("purposes") else "no such decision",
            help="known: " + (", ".join(known) or "none; one says `sets:`"),
            where="PURPOSE",
        )
    return known[name]


def deciding(policy: Policy) -> list[Purpose]:
    """The purposes that decide something, in the order of the file."""
    return [one for one in policy.section("purposes").values() if isinstance(one, Purpose) and one.sets]


def columns(policy: Policy, purpose: Purpose) -> Iterator[tuple[str, str]]:
    """What a purpose may set, as (store.table, column). Not times of Kept's clocks, sources, and names of files: a
    file whose name is gone from its row could never be found again."""
    for name in purpose.sets:
        if name in policy.data:
            for table, sorts in policy.data[name].tables.items():
                for column, sort in sorts.items():
                    if sort.type not in ("recorded", "source") and not sort.store:
                        yield str(table), str(column)


def refuse(company: Company, purpose: Purpose, change: Change) -> None:
    """KeptError where the purpose doesn't set what would be changed, or what it needs is missing."""
    if purpose.upon is not None:
        raise KeptError(f"`{purpose.name}` comes by itself, upon {purpose.upon}", where="PURPOSE")
    if endings.sets_end(company.policy, purpose):
        _refuse_end(company, purpose, change)
    else:
        sets = sorted(f"{table}.{column}" for table, column in columns(company.policy, purpose))
        known = "it sets " + (", ".join(sets) or "no column that Kept could write")
        if not change.cells:
            raise KeptError(f"`{purpose.name}` needs what is to be set", help=known, where="--set")
        if set(change.cells) - set(sets):
            raise KeptError(f"`{purpose.name}` doesn't set that column", help=known, where="--set")
    for need in map(str, purpose.needs):
        if need != "reason" and need not in VERIFIED and not change.evidence.get(need, "").strip():
            raise KeptError(f"`{purpose.name}` needs `{need}`", help=f"say it with --evidence {need}=WORDS")


def _refuse_end(company: Company, purpose: Purpose, change: Change) -> None:
    if change.cells or change.row is not None:
        raise KeptError(f"`{purpose.name}` sets an end, and no column", where="--set")
    ends = endings.ends(company, purpose)
    if not company.policy.related(change.person.kind, ends.kind):
        raise KeptError(f"`{purpose.name}` is about people of kind `{ends.of}`", where="WHO")
