"""What has to be written to rows that stay: references to rows that go are emptied, an erased person's part cleared.

All changes to a table are one UPDATE, over `kept_change_N(k0 …, c0 …)` that flags which of them each row needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kept.stores.erasing.blanks import emptying
from kept.stores.erasing.fates import Fates
from kept.stores.reach import Reach
from kept.stores.schema import Reference
from kept.stores.walk import emptied, goes_along

# Columns that tell of the row rather than of a person; a row that stays keeps them.
_OF_THE_ROW = ("recorded", "source")


@dataclass(frozen=True)
class Slot:
    """One change a row may need: `column` becomes `value` (None: it can't), for an `unlinked` reference or not.

    `full` says of a row `t` that the change is still to be made.
    """

    column: str
    value: str | None
    unlinked: bool
    full: str
    queries: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Change:
    """The changes to one table: `relation` flags them row by row, `c0 …` in the order of `slots`."""

    table: str
    relation: str
    slots: tuple[Slot, ...]

    def counts(self) -> dict[str, str]:
        """Queries for how many rows it touches (`unlinked`, `cleared`), and how many need what can't be done."""
        possible = [i for i, slot in enumerate(self.slots) if slot.value is not None]
        chosen = {
            "unlinked": [i for i in possible if self.slots[i].unlinked],
            "cleared": [i for i in possible if not self.slots[i].unlinked],
        } | {f"stuck {i}": [i] for i, slot in enumerate(self.slots) if slot.value is None}
        return {
            f"{what} {self.table}": f"SELECT COUNT(*) FROM {self.relation} u WHERE {_any(numbers)}"
            for what, numbers in chosen.items()
            if numbers
        }

    def undone(self, rows: str) -> str:
        """A query for how many rows still hold what they shouldn't: a trigger may have filled them again.

        `rows` joins the relation `u` with its rows `t`.
        """
        left = []
        for chosen in self.columns().values():
            for place, i in enumerate(chosen):
                before = "".join(f" AND u.c{j} = 0" for j in chosen[:place])  # the first that applies is made
                left.append(f"(u.c{i} = 1{before} AND {self.slots[i].full})")
        return f"SELECT COUNT(*) FROM {rows} WHERE {' OR '.join(left) or '1 = 0'}"

    def stuck(self, counts: Mapping[str, int]) -> list[str]:
        """The columns that would have to be changed and can't."""
        return [
            f"{self.table}.{slot.column}"
            for i, slot in enumerate(self.slots)
            if counts.get(f"stuck {i} {self.table}")
        ]

    def columns(self) -> dict[str, list[int]]:
        """The columns it can change, each with the numbers of its slots."""
        found: dict[str, list[int]] = {}
        for i, slot in enumerate(self.slots):
            if slot.value is not None:
                found.setdefault(slot.column, []).append(i)
        return found


def _any(numbers: list[int]) -> str:
    return "(" + " OR ".join(f"u.c{i} = 1" for i in numbers) + ")"


class Changes:
    """Plans the changes table by table: relations over the fates, nothing is changed yet."""

    def __init__(self, reach: Reach, fates: Fates) -> None:
        self.reach, self.say, self.walk, self.fates = reach, reach.say, reach.walk, fates
        self.planned = {
            table: change for table in self.walk.tables if (change := self._plan(table)) is not None
        }

    def _plan(self, table: str) -> Change | None:
        """What the rows of a table need, None where no row can need anything."""
        if self.walk.tables[table].is_view:
            return None
        slots: dict[tuple[str, str | None, bool], Slot] = {}
        self._unlink(table, slots)
        self._clear(table, slots)
        if not slots:
            return None
        # a value that is cleared is cleared, even where the same column would lose only a part
        ordered = sorted(slots.values(), key=lambda slot: slot.unlinked and slot.value != "NULL")
        name = f"kept_change_{list(self.walk.tables).index(table)}"
        keys = ", ".join(f"k{i}" for i in range(len(self.say.key(table))))
        parts: list[str] = []
        for number, slot in enumerate(ordered):
            flags = ", ".join(f"{int(i == number)} AS c{i}" for i in range(len(ordered)))
            parts.extend(f"SELECT {keys}, {flags} FROM ({query}) AS q{number}" for query in slot.queries)
        most = ", ".join(f"MAX(c{i}) AS c{i}" for i in range(len(ordered)))
        union = " UNION ALL ".join(parts)
        self.reach.make(name, f"SELECT {keys}, {most} FROM ({union}) AS u GROUP BY {keys}")
        return Change(table, self.reach.of(name), tuple(ordered))

    def statement(self, change: Change) -> str | None:
        """The UPDATE that carries a change out; None where nothing in it can be done."""
        target = self.say.name(change.table)
        sets = ", ".join(
            f"{self.say.assigned(target, column)} = CASE "
            + " ".join(f"WHEN u.c{i} = 1 THEN {change.slots[i].value}" for i in chosen)
            + f" ELSE {target}.{self.say.name(column)} END"
            for column, chosen in change.columns().items()
        )
        if not sets:
            return None
        return self.say.changing(target, sets, f"{change.relation} u", self.same(change.table, target))

    def same(self, table: str, target: str) -> str:
        """The row to change; the plus keeps SQLite from walking the whole table beside the temporary one."""
        plus = "+" if self.say.sqlite else ""
        return " AND ".join(
            f"{target}.{column} = {plus}u.k{i}" for i, column in enumerate(self.say.key(table))
        )

    # References to rows that go.

    def _unlink(self, table: str, slots: dict[tuple[str, str | None, bool], Slot]) -> None:
        shape = self.walk.tables[table]
        for reference in shape.references:
            if reference.to not in self.fates.numbers:
                continue
            queries = [] if goes_along(self.walk, reference) else [self._to_rows_that_go(reference)]
            queries += self._to_rows_held_for_others(reference)
            if not queries:
                continue
            columns = emptied(reference, shape)
            target = self.say.name(table)
            for column in columns or reference.columns:
                value: str | None = "NULL" if columns else None
                here = self.say.column("t", column)
                if reference.path:
                    own = f"{target}.{self.say.name(column)}"
                    value = self.say.emptied_inside(own, shape.columns[column].type, reference.path)
                    here = self.say.inside(here, reference.path)
                slot = slots.setdefault(
                    (column, value, True), Slot(column, value, True, f"{here} IS NOT NULL")
                )
                slot.queries.extend(queries)

    def _to_rows_that_go(self, reference: Reference) -> str:
        say, table = self.say, reference.table
        fate = self.fates.of(reference.to)
        direct = self.reach.direct(reference, "f")
        if direct is not None:
            match = say.refers(reference, "t", "f", values=direct)
            source = f"{fate} f {say.join} {say.name(table)} t ON {match}"
        else:
            same = say.same_row(reference.to, "p", "f")
            source = (
                f"{fate} f {say.join} {say.name(reference.to)} p ON {same}"
                f" {say.join} {say.name(table)} t ON {say.refers(reference, 't', 'p')}"
            )
        keys = say.keys(table, "t")
        return f"SELECT {keys} FROM {source} WHERE f.go = 1 AND NOT {self.fates.goes(table, 't')}"

    def _to_rows_held_for_others(self, reference: Reference) -> list[str]:
        """Rows that stay for others must not lead to an erased person whose own row is held."""
        table, fates, say = reference.table, self.fates, self.say
        if table not in fates.numbers or reference.to not in fates.may_stay:
            return []
        along = [
            number
            for number in fates.stops_at(table)
            if any(hop.reference == reference and not hop.forward for hop in self.walk.stops[number].hops)
        ]
        return [
            f"SELECT {say.keys(table, 't')} FROM {fates.of(table)} x"
            f" {say.join} {say.name(table)} t ON {say.same_row(table, 't', 'x')}"
            f" {say.join} {say.name(reference.to)} p ON {say.refers(reference, 't', 'p')}"
            f" {say.join} {fates.of(reference.to)} f ON {say.same_row(reference.to, 'p', 'f')}"
            f" WHERE x.go = 0 AND x.stay = 0 AND x.e{number} = 1 AND f.stay = 1 AND {fates.mine(reference.to, 'f')}"
            for number in along
        ]

    # The erased person's part of rows that stay.

    def _clear(self, table: str, slots: dict[tuple[str, str | None, bool], Slot]) -> None:
        fates, say = self.fates, self.say
        if table not in fates.numbers or fates.simple(table):
            return
        shape = self.walk.tables[table]
        own = {i: self.walk.stops[i] for i in fates.stops_at(table)}
        others = {i: self.walk.stops[i] for i in fates.everybodys(table)}
        ties = {
            column
            for stop in own.values()
            for hop in stop.hops
            if not hop.forward and not hop.reference.path
            for column in hop.reference.columns
        }
        sorts = {column: sort for stop in own.values() for column, sort in stop.sorts.items()}
        for column, sort in sorts.items():
            if sort in _OF_THE_ROW or column in ties or (column in shape.key and sort == "identifier"):
                continue
            made = emptying(say.store.dialect, shape, column)
            value = made.to
            mine = " OR ".join(f"f.e{i} = 1" for i, stop in own.items() if column in stop.columns)
            theirs = [f"f.o{i} = 0" for i, stop in others.items() if column in stop.columns]
            unheld = [f"f.h{n} = 0" for n, hold in fates.holds_at(table) if column in hold.columns]
            conditions = " AND ".join(
                ["f.go = 0", f"({mine})", *theirs, *unheld, made.full(say.column("t", column))]
            )
            query = (
                f"SELECT {say.keys(table, 't')} FROM {fates.of(table)} f"
                f" {say.join} {say.name(table)} t ON {say.same_row(table, 't', 'f')} WHERE {conditions}"
            )
            slot = slots.setdefault(
                (column, value, False),
                Slot(column, value, False, made.full(say.column("t", column))),
            )
            slot.queries.append(query)
