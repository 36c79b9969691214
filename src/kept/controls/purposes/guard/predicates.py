"""The conditions on rows, as SQL: is whoever this row is about one of those that a reading may see?

Where silence is a yes, a filter of 8,000 bytes (Bloom, 1970; a byte for each key: Putze, Sanders and Singler, 2007) is
read once a statement; only whom it can't tell from somebody refused is looked up, in a function that says the same of
who is refused and who isn't there. The filter is named once: each time it is named it is read anew. Where a yes is
needed, each row's person is looked up. `BETWEEN x AND x` is `= x`, written so that PostgreSQL doesn't read the whole
list into memory before the first row (18 times the time).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

from kept.controls.purposes.guard.catalogue import Catalogue, quoted
from kept.controls.purposes.guard.readings import Reading
from kept.errors import KeptError
from kept.stores.walk import Walk

BYTES: Final = 8_000  # of a filter: they fit on a page beside the row's header
MASKS: Final = bytes(
    sum(1 << bit for bit in bits) for bits in combinations(range(8), 3)
)  # every three bits of a byte
# The statement's time, not its transaction's: one held open for hours would stay fresh.
FRESH: Final = "(SELECT at > pg_catalog.statement_timestamp() - INTERVAL '{minutes} minutes' FROM kept.seen)"


@dataclass
class Predicates:
    """Writes conditions for the tables of one store; `functions` are those that longer ways need."""

    live: Catalogue
    walks: Mapping[str, Walk]
    minutes: int
    functions: dict[str, str] = field(default_factory=dict)
    callers: dict[str, set[str]] = field(default_factory=dict)
    _role: str | None = None

    def rows(self, table: str, readings: Sequence[Reading], alias: str, role: str | None = None) -> str:
        """The condition on a row: everybody it is about may be read; and what rests on a yes is fresh.

        `role` is whoever is bound by it, and so has to be let call its functions; None is the owner.
        """
        parts: list[str] = []
        self._role = role
        for reading in readings:
            walk = self.walks[reading.kind]
            whose: list[str] = []
            for number in walk.of_table(table):
                found, columns = self._stop(walk, number, reading, alias, table)
                parts += found
                whose += columns
            if reading.mode != "unless":
                parts.append("(" + " OR ".join(f"{one} IS NOT NULL" for one in dict.fromkeys(whose)) + ")")
            if not reading.lasts:
                parts.insert(0, FRESH.format(minutes=self.minutes))
        return "\n    AND ".join(dict.fromkeys(parts))

    def made(self) -> list[str]:
        """The functions, and who may call each."""
        return [
            line
            for name, function in self.functions.items()
            for line in (
                function,
                *(
                    [
                        f"GRANT EXECUTE ON FUNCTION kept.{quoted(name)} TO "
                        f"{', '.join(map(quoted, sorted(self.callers[name])))};"
                    ]
                    if name in self.callers
                    else []
                ),
            )
        ]

    def _stop(
        self, walk: Walk, number: int, reading: Reading, alias: str, table: str
    ) -> tuple[list[str], list[str]]:
        stop, parts, whose = walk.stops[number], [], []
        if not stop.hops:
            columns = [f"{alias}.{quoted(c)}" for c in stop.person]
            return [self._listed(walk, reading, columns)], columns[:1]
        for hop in stop.hops:
            ref, parent = hop.reference, walk.stops[hop.parent]
            if hop.forward or ref.path or ref.when is not None:
                raise KeptError(
                    f"whose rows of `{table}` are can't be told by a condition on the row",
                    help="leave its data out of the purposes of database roles, or declare a plain reference",
                    where=walk.store,
                )
            at = dict(zip(ref.to_columns, ref.columns, strict=True))
            columns = [f"{alias}.{quoted(c)}" for c in ref.columns]
            whose.append(columns[0])
            if not parent.hops and set(at) == set(parent.person):
                own = self._listed(walk, reading, [f"{alias}.{quoted(at[c])}" for c in parent.person])
            else:
                own = self._through(walk, hop.parent, reading, ref.to_columns, columns)
            empty = [
                f"{one} IS NULL OR "
                for one, c in zip(columns, ref.columns, strict=True)
                if walk.tables[table].columns[c].nullable
            ]
            parts.append(f"({''.join(empty)}{own})" if empty else own)
        return parts, whose

    def _listed(self, walk: Walk, reading: Reading, columns: Sequence[str]) -> str:
        if reading.mode == "unless":
            byte, mask = places(columns, self.types(walk))
            bits = f"(SELECT bits FROM kept.filter_{reading.number})"
            unset = f"(~ pg_catalog.get_byte({bits}, {byte}) & {mask}) <> 0"
            return f"({unset} OR kept.may_{reading.number}({', '.join(columns)}))"
        return f"EXISTS (SELECT FROM {probed(walk, reading, columns)})"

    def types(self, walk: Walk) -> tuple[str, ...]:
        """The types of a person's key, as functions take it: whole numbers of any size, as they refer to each other."""
        home = self.live.relation(walk.root.table)
        found = tuple(home.columns[c] for c in walk.root.person) if home is not None else ()
        return tuple("bigint" if one in ("smallint", "integer") else one for one in found)

    def _through(
        self, walk: Walk, parent: int, reading: Reading, to: Sequence[str], columns: Sequence[str]
    ) -> str:
        """A longer way, in a function that reads the tables between with the guard's own rights, whoever asks."""
        table = walk.stops[parent].table
        relation = self.live.relation(table)
        if relation is None:
            raise KeptError(f"`{table}` is no table of the database", where=walk.store)
        inner, _ = self._stop(walk, parent, reading, "p", table)
        name = f"way_{reading.number}_{parent}_{table}"
        types = ", ".join(relation.columns[c] for c in to)
        on = " AND ".join(f"p.{quoted(c)} = ${place}" for place, c in enumerate(to, 1))
        condition = "\n    AND ".join([on, *inner])
        if self._role is not None:
            self.callers.setdefault(name, set()).add(self._role)
        self.functions[name] = (
            f"CREATE FUNCTION kept.{quoted(name)}({types}) RETURNS boolean\n"
            "  LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $way$\n"
            f"BEGIN\n  RETURN EXISTS (SELECT FROM {relation.name} p WHERE {condition});\nEND $way$;\n"
            f"REVOKE EXECUTE ON FUNCTION kept.{quoted(name)} FROM PUBLIC;"
        )
        return f"kept.{quoted(name)}({', '.join(columns)})"


def probed(
    walk: Walk, reading: Reading, columns: Sequence[str], schema: str = "", *, inside: bool = False
) -> str:
    """A list, and the condition that finds somebody on it; `inside` a function, and with its
    operators' `schema`, by plain equality, which is planned once there."""
    own = " AND ".join(
        f"l.{quoted(name)} {compares('=', schema)} {at}"
        if inside
        else f"l.{quoted(name)} BETWEEN {at} AND {at}"
        for name, at in zip(walk.root.person, columns, strict=True)
    )
    return (
        f"kept.{reading.list} l WHERE l.reading {compares('=', schema)} {reading.number}::smallint AND {own}"
    )


def compares(operator: str, schema: str) -> str:
    """An operator, looked for in one schema alone where one is named."""
    return f"OPERATOR({schema}.{operator})" if schema else operator


def places(columns: Sequence[str], types: Sequence[str]) -> tuple[str, str]:
    """Which byte of a filter is a key's, and which three bits of it are set where the key is listed."""
    if len(columns) == 1 and types[0].lower() in ("smallint", "integer", "bigint"):
        byte = f"pg_catalog.abs({columns[0]} % {BYTES})::integer"
        bits = f"pg_catalog.abs({columns[0]} / {BYTES} % {len(MASKS)})::integer"
    else:
        text = " || ',' || ".join(f"{column}::text" for column in columns)
        byte = f"(pg_catalog.hashtext({text}) & 2147483647) % {BYTES}"
        bits = f"(pg_catalog.hashtext({text}) & 2147483647) / {BYTES} % {len(MASKS)}"
    return byte, f"pg_catalog.get_byte('\\x{MASKS.hex()}'::bytea, {bits})"
