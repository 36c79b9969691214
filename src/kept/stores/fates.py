"""What becomes of each row of the people an erasure concerns: it goes, or stays with some columns cleared.

`kept_fate_N(k0 …, e…, o…, h…, stay, go)` has each row of table N once: `e` flags the stops by which it belongs to the
people erased, `o` those by which it belongs to somebody else, `h` the holds on it; `stay` a row that is held or lies
between a held one and its person; `go` a row to delete. The rules are those of `kept.datamap.ways`:

* a row of the people erased only goes; one that is somebody else's too stays (but for a stop that says `remove`);
* somebody else's claim on a row through another row counts only while that other row stays;
* a row that is owned by whatever refers to it stays as long as such a row stays.
"""

from __future__ import annotations

import sqlalchemy as sa

from kept.stores.clocks import bound, format_seen, readable
from kept.stores.reach import PEOPLE, Reach
from kept.stores.walk import Erasure, Hold, Hop, owned_by_one


class Fates:
    """Fills the tables of fates; `names` are theirs, by table, in walking order."""

    def __init__(self, reach: Reach, erasure: Erasure) -> None:
        self.reach, self.say, self.walk, self.erasure = reach, reach.say, reach.walk, erasure
        self.own = [t for t in self.walk.own_tables() if not self.walk.tables[t].is_view]
        self.names = {table: f"kept_fate_{number}" for number, table in enumerate(self.own)}
        self.holds = [hold for hold in erasure.holds if hold.table in self.names]
        self.may_stay = self._may_stay()

    def fill(self) -> None:
        for table in self.own:
            self._create(table)
        if self.holds:
            for table in reversed(self.own):
                self._hold(table)
        for table in self.own:
            if not self.simple(table):
                self._decide(table)

    def of(self, table: str) -> str:
        return self.say.temporary(self.names[table])

    def goes(self, table: str, alias: str) -> str:
        """That a row of a table goes; false of tables no stop is at."""
        if table not in self.names:
            return "1 = 0"
        return f"EXISTS (SELECT 1 FROM {self.of(table)} g WHERE {self.say.same_row(table, alias, 'g')} AND g.go = 1)"

    def stops_at(self, table: str) -> list[int]:
        return self.walk.of_table(table)

    def everybodys(self, table: str) -> list[int]:
        """The stops at a table by which somebody else may own its rows; none where only one person can."""
        return [] if owned_by_one(self.walk, table) else self.walk.of_table(table, own=False)

    def holds_at(self, table: str) -> list[tuple[int, Hold]]:
        return [(number, hold) for number, hold in enumerate(self.holds) if hold.table == table]

    def mine(self, table: str, alias: str) -> str:
        """That a row (of the table of fates) is nobody else's."""
        return " AND ".join(f"{alias}.o{i} = 0" for i in self.everybodys(table)) or "1 = 1"

    # Making the tables.

    def _may_stay(self) -> set[str]:
        """Tables where rows may be held, or lie between a held row and its person."""
        found = {hold.table for hold in self.holds}
        for stop in reversed(self.walk.stops[: self.walk.own]):
            if stop.table in found:
                found |= {self.walk.stops[hop.parent].table for hop in stop.hops}
        return found

    def simple(self, table: str) -> bool:
        """Whether every row of the people erased goes, whatever the rows say."""
        stops = [self.walk.stops[i] for i in self.stops_at(table)]
        plain = all(stop.mode != "anonymise" and not any(hop.forward for hop in stop.hops) for stop in stops)
        return plain and not self.everybodys(table) and table not in self.may_stay

    def _create(self, table: str) -> None:
        keys = ", ".join(f"k{i}" for i in range(len(self.say.key(table))))
        stops = self.stops_at(table)
        zero = (
            [f"o{i}" for i in self.everybodys(table)] + [f"h{n}" for n, _ in self.holds_at(table)] + ["stay"]
        )
        rest = ", ".join(f"0 AS {name}" for name in zero) + f", {int(self.simple(table))} AS go"
        if len(stops) == 1:
            query = (
                f"SELECT {keys}, 1 AS e{stops[0]}, {rest} FROM {self.say.temporary(f'kept_stop_{stops[0]}')}"
            )
        else:
            parts = []
            for stop in stops:
                flags = ", ".join(f"{int(i == stop)} AS e{i}" for i in stops)
                parts.append(f"SELECT {keys}, {flags} FROM {self.say.temporary(f'kept_stop_{stop}')}")
            most = ", ".join(f"MAX(e{i}) AS e{i}" for i in stops)
            query = f"SELECT {keys}, {most}, {rest} FROM ({' UNION ALL '.join(parts)}) AS u GROUP BY {keys}"
        self.reach.make(self.names[table], query, index=keys)

    # What is held.

    def _hold(self, table: str) -> None:
        """Flag held rows, and rows between a held row (of a table further on, done already) and its person."""
        say, fate = self.say, self.of(table)
        for number, hold in self.holds_at(table):
            update = f"UPDATE {fate} SET h{number} = 1, stay = 1"
            if hold.clock is None or hold.cutoff is None:
                self.reach.run(update)
                continue
            running = f"{self._same_fate(table)} AND {self._running(hold, 't')}"
            held = f"EXISTS (SELECT 1 FROM {say.name(table)} t WHERE {running})"
            self.reach.run(f"{update} WHERE {held}", cutoff=self._bound(hold))
        for number, stop in enumerate(self.walk.stops[: self.walk.own]):
            if stop.table not in self.may_stay or self.walk.tables[stop.table].is_view:
                continue
            for hop in stop.hops:
                if self.walk.stops[hop.parent].table == table:
                    self.reach.run(self._support(table, number, hop))

    def _same_fate(self, table: str) -> str:
        """That `t` is the row of the fate being updated, whose columns stand without an alias."""
        name = self.names[table]
        return " AND ".join(f"t.{column} = {name}.k{i}" for i, column in enumerate(self.say.key(table)))

    def _clock(self, hold: Hold) -> tuple[str, str]:
        assert hold.clock is not None
        return (hold.path[-1].to if hold.path else hold.table), hold.clock

    def _bound(self, hold: Hold) -> object:
        assert hold.cutoff is not None
        format = format_seen(self.say.store, self.reach.connection, *self._clock(hold))
        return bound(format, hold.cutoff)

    def _running(self, hold: Hold, alias: str) -> str:
        """That a row's clock hasn't passed the cut-off: it is later, empty, unreadable, or there is none."""
        clock_table, column = self._clock(hold)
        format = format_seen(self.say.store, self.reach.connection, clock_table, column)
        last = f"c{len(hold.path)}" if hold.path else alias
        clock = self.say.column(last, column)
        expression = readable(format, sa.literal_column(clock.replace(r"\:", ":")))
        dialect = self.say.store.engine.dialect
        legible = str(expression.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        passed = f"COALESCE({clock} < :cutoff AND {legible.replace(':', chr(92) + ':')}, FALSE)"
        if not hold.path:
            return f"NOT {passed}"
        at, joins, conditions = alias, [], []
        for number, reference in enumerate(hold.path, start=1):
            joins.append(f"{self.say.name(reference.to)} c{number}")
            conditions.append(self.say.refers(reference, at, f"c{number}"))
            at = f"c{number}"
        return f"NOT EXISTS (SELECT 1 FROM {', '.join(joins)} WHERE {' AND '.join(conditions)} AND {passed})"

    def _support(self, table: str, number: int, hop: Hop) -> str:
        """Rows of `table` that rows of stop `number` that stay belong through."""
        say, stop = self.say, self.walk.stops[number]
        refers = say.refers(hop.reference, "p", "t") if hop.forward else say.refers(hop.reference, "t", "p")
        child = f"{self.of(stop.table)} s {say.join} {say.name(stop.table)} t ON {say.same_row(stop.table, 't', 's')}"
        keys = ", ".join(f"p.{column}" for column in say.key(table))
        own = ", ".join(f"k{i}" for i in range(len(say.key(table))))
        query = f"SELECT {keys} FROM {child} {say.join} {say.name(table)} p ON {refers}"
        query += f" WHERE s.stay = 1 AND s.e{number} = 1"
        by = f"e{hop.parent} = 1"
        return f"UPDATE {self.of(table)} SET stay = 1 WHERE {by} AND ({own}) IN ({query})"

    # Whose else a row is, and whether it goes.

    def _decide(self, table: str) -> None:
        say, fate, name = self.say, self.of(table), self.names[table]
        stops = {i: self.walk.stops[i] for i in self.stops_at(table)}
        others = self.everybodys(table)
        if others:
            parts = []
            for number in others:
                claimed = f"{self._same_fate(table)} AND {self._claimed(number, 't')}"
                claim = f"SELECT 1 FROM {say.name(table)} t WHERE {claimed}"
                parts.append(f"o{number} = CASE WHEN EXISTS ({claim}) THEN 1 ELSE 0 END")
            self.reach.run(f"UPDATE {fate} SET {', '.join(parts)}")
        removed = " OR ".join(f"e{i} = 1" for i, stop in stops.items() if stop.mode == "remove") or "1 = 0"
        kept = [f"e{i} = 0" for i, stop in stops.items() if stop.mode == "anonymise"]
        alone = " AND ".join(kept + [f"o{i} = 0" for i in others]) or "1 = 1"
        conditions = [f"({removed} OR ({alone}))"]
        if table in self.may_stay:
            conditions.append("stay = 0")
        waits = [
            f"NOT EXISTS (SELECT 1 FROM {say.name(table)} t, {say.name(hop.reference.table)} p WHERE"
            f" {self._same_fate(table)} AND {say.refers(hop.reference, 'p', 't')}"
            f" AND NOT {self.goes(hop.reference.table, 'p')})"
            for hop in {
                (h.reference, h.forward): h for stop in stops.values() for h in stop.hops if h.forward
            }.values()
        ]
        if waits:
            conditions.append(f"({removed} OR ({' AND '.join(waits)}))")
        self.reach.run(f"UPDATE {name} SET go = 1 WHERE {' AND '.join(conditions)}")

    def _claimed(self, number: int, alias: str) -> str:
        """That a row belongs, by one stop, to somebody who isn't erased, through rows that stay."""
        say, stop = self.say, self.walk.stops[number]
        if not stop.hops:
            if number >= self.walk.own:
                return "1 = 1"
            return f"NOT EXISTS (SELECT 1 FROM {say.temporary(PEOPLE)} q WHERE {self._own_key(alias)})"
        parts = []
        for hop in dict.fromkeys(stop.hops):
            parent, above = self.walk.stops[hop.parent], f"{alias}{hop.parent}"
            reference = hop.reference
            match = (
                say.refers(reference, above, alias) if hop.forward else say.refers(reference, alias, above)
            )
            stays = (
                f" AND NOT {self.goes(parent.table, above)}"
                if parent.table in self.names and hop.parent
                else ""
            )
            claim = self._claimed(hop.parent, above)
            parts.append(
                f"EXISTS (SELECT 1 FROM {say.name(parent.table)} {above} WHERE {match}{stays} AND {claim})"
            )
        return "(" + " OR ".join(parts) + ")"

    def _own_key(self, alias: str) -> str:
        person = self.walk.root.person
        return " AND ".join(f"{self.say.column(alias, column)} = q.k{i}" for i, column in enumerate(person))
