"""What becomes of each row of the people an erasure concerns: it goes, or stays with some columns cleared.

`of(table)` has each row once, as `(k0 …, e…, o…, h…, stay, go)`: `e` flags the stops by which it belongs to the
people erased, `o` those by which it belongs to somebody else, `h` the holds on it; `stay` a row that is held or lies
between a held one and its person; `go` a row to delete. The rules are those of `kept.datamap.ways`:

* a row of the people erased only goes; one that is somebody else's too stays (but for a stop that says `remove`);
* somebody else's claim on a row through another row counts only while that other row stays;
* a row that is owned by whatever refers to it stays as long as such a row stays.

Each relation is a query over earlier ones: who belongs, what is held, what stays from the last table back to the
person, what goes from the person on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa

from kept.stores.expiring.clocks import bound, format_seen, readable
from kept.stores.reach import PEOPLE, Reach
from kept.stores.schema import Reference
from kept.stores.walk import Erasure, Hold, Hop, owned_by_one


class Fates:
    """Makes the relations of fates; `own` are the tables that have one, in walking order."""

    def __init__(self, reach: Reach, erasure: Erasure) -> None:
        self.reach, self.say, self.walk, self.erasure = reach, reach.say, reach.walk, erasure
        self.own = [t for t in self.walk.own_tables() if not self.walk.tables[t].is_view]
        self.numbers = {table: number for number, table in enumerate(self.own)}
        self.holds = self._own_holds(erasure)
        self.may_stay = self._may_stay()
        self._others = {
            t: [] if owned_by_one(self.walk, t) else self.walk.of_table(t, own=False) for t in self.own
        }
        self._decided: dict[str, str] = {}
        self._held: dict[str, str] = {}
        self._stay: dict[str, str] = {}
        self._belong = {table: self._belonging(table) for table in self.own}
        for table in self.own:
            if self.simple(table):
                self._decided[table] = f"(SELECT b.*, 0 AS stay, 1 AS go FROM {self._belong[table]} b)"
        for table in self.own:
            if self.holds_at(table):
                self._hold(table)
        for table in reversed(self.own):
            if table in self.may_stay:
                self._keep(table)
        for table in self.own:
            if not self.simple(table):
                self._decide(table)

    def of(self, table: str) -> str:
        """A table's fates as an item of FROM, which needs an alias."""
        return self._decided[table]

    def goes(self, table: str, alias: str) -> str:
        """That a row of a table goes; false of tables no stop is at, and of those not decided yet."""
        if table not in self._decided:
            return "1 = 0"
        return f"EXISTS (SELECT 1 FROM {self.of(table)} g WHERE {self.say.same_row(table, alias, 'g')} AND g.go = 1)"

    def stops_at(self, table: str) -> list[int]:
        return self.walk.of_table(table)

    def everybodys(self, table: str) -> list[int]:
        """The stops at a table by which somebody else may own its rows; none where only one person can."""
        return self._others[table]

    def holds_at(self, table: str) -> list[tuple[int, Hold]]:
        return [(number, hold) for number, hold in enumerate(self.holds) if hold.table == table]

    def mine(self, table: str, alias: str) -> str:
        """That a row (of the fates) is nobody else's."""
        return " AND ".join(f"{alias}.o{i} = 0" for i in self.everybodys(table)) or "1 = 1"

    def simple(self, table: str) -> bool:
        """Whether every row of the people erased goes, whatever the rows say."""
        stops = [self.walk.stops[i] for i in self.stops_at(table)]
        plain = all(stop.mode != "anonymise" and not any(hop.forward for hop in stop.hops) for stop in stops)
        return plain and not self.everybodys(table) and table not in self.may_stay

    def _may_stay(self) -> set[str]:
        """Tables where rows may be held, or lie between a held row and its person."""
        found = {hold.table for hold in self.holds}
        found |= {hold.last.table for hold in self.holds if hold.last is not None} & set(self.numbers)
        for stop in reversed(self.walk.stops[: self.walk.own]):
            if stop.table in found:
                found |= {self.walk.stops[hop.parent].table for hop in stop.hops}
        return {table for table in found if not self.walk.tables[table].is_view}

    def _keys(self, table: str, alias: str = "") -> str:
        dot = f"{alias}." if alias else ""
        return ", ".join(f"{dot}k{i}" for i in range(len(self.say.key(table))))

    def _belonging(self, table: str) -> str:
        """Each row of the people erased once, `(k0 …, e…)`."""
        stops, keys = self.stops_at(table), self._keys(table)
        if len(stops) == 1:
            return f"(SELECT {keys}, 1 AS e{stops[0]} FROM {self.reach.stop(stops[0])} b)"
        parts = [
            f"SELECT {keys}, {', '.join(f'{int(i == stop)} AS e{i}' for i in stops)} FROM {self.reach.stop(stop)} b"
            for stop in stops
        ]
        most = ", ".join(f"MAX(e{i}) AS e{i}" for i in stops)
        name = f"kept_belong_{self.numbers[table]}"
        query = f"SELECT {keys}, {most} FROM ({' UNION ALL '.join(parts)}) AS u GROUP BY {keys}"
        self.reach.make(name, query, index=keys)
        return self.reach.of(name)

    def _rows(self, table: str, those: str, columns: str = "") -> str:
        """Rows `t` with their keys in `those`, an item of FROM: the start of a query for their keys and more."""
        say = self.say
        more = f", {columns}" if columns else ""
        source = f"{those} b {say.join} {say.name(table)} t ON {say.same_row(table, 't', 'b')}"
        return f"SELECT {self._keys(table, 'b')}{more} FROM {source}"

    # What stays because of a hold.

    def _hold(self, table: str) -> None:
        """The rows that are held, each with the number of the hold."""
        number, parts, values = self.numbers[table], [], dict[str, object]()
        for n, hold in self.holds_at(table):
            query = f"SELECT {self._keys(table, 'b')}, {n} AS h FROM {self._belong[table]} b"
            if hold.clock is not None and hold.cutoff is not None:
                values |= self._cutoff(n, hold)
                running = self._running(hold, "t", f"cutoff_{n}")
                query = f"{self._rows(table, self._belong[table], f'{n} AS h')} WHERE {running}"
            parts.append(query)
        self.reach.make(f"kept_held_{number}", " UNION ALL ".join(parts), index=self._keys(table), **values)
        self._held[table] = self.reach.of(f"kept_held_{number}")

    def _keep(self, table: str) -> None:
        """What is held, what lies between a held row and its person, and the links by whose clock a row is held."""
        number, keys, values = self.numbers[table], self._keys(table), dict[str, object]()
        staying = [f"SELECT {keys} FROM {self._held[table]} b"] if table in self._held else []
        for n, hold in enumerate(self.holds):
            if hold.last is not None and hold.last.table == table and hold.cutoff is not None:
                values |= self._cutoff(n, hold)
                staying += self._links(table, n, hold)
        for stop_number, stop in enumerate(self.walk.stops[: self.walk.own]):
            if stop.table in self._stay:
                staying += [
                    self._between(table, stop_number, hop)
                    for hop in stop.hops
                    if self.walk.stops[hop.parent].table == table
                ]
        if staying:
            self.reach.make(f"kept_stay_{number}", " UNION ".join(staying), index=keys, **values)
            self._stay[table] = self.reach.of(f"kept_stay_{number}")

    def bounds(self, erasure: Erasure) -> dict[str, object]:
        """The bound values of an erasure of the same shape: its cut-offs."""
        bounds: dict[str, object] = {}
        for number, hold in enumerate(self._own_holds(erasure)):
            if hold.clock is not None and hold.cutoff is not None:
                bounds |= self._cutoff(number, hold)
        return bounds

    def _own_holds(self, erasure: Erasure) -> list[Hold]:
        return [hold for hold in erasure.holds if hold.table in self.numbers]

    def _cutoff(self, number: int, hold: Hold) -> dict[str, object]:
        assert hold.cutoff is not None and hold.clock is not None
        format = format_seen(self.say.store, self.reach.connection, hold.clock_table, hold.clock)
        return {f"cutoff_{number}": bound(format, hold.cutoff)}

    def _passed(self, hold: Hold, alias: str, cutoff: str) -> str:
        """That the clock in a row `alias` of the hold's clock table has passed the cut-off."""
        assert hold.clock is not None
        format = format_seen(self.say.store, self.reach.connection, hold.clock_table, hold.clock)
        clock = self.say.column(alias, hold.clock)
        expression = readable(format, sa.literal_column(clock.replace(r"\:", ":")))
        dialect = self.say.store.engine.dialect
        legible = str(expression.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        return f"COALESCE({clock} < :{cutoff} AND {legible.replace(':', chr(92) + ':')}, FALSE)"

    def _running(self, hold: Hold, alias: str, cutoff: str) -> str:
        """That a row's clock hasn't passed the cut-off: it is later, empty, unreadable, or there is none.

        Of the links of its people one that hasn't is enough, and none at all holds nothing.
        """
        if hold.last is not None:
            return " OR ".join(
                f"EXISTS (SELECT 1 FROM {', '.join(joins)} WHERE {' AND '.join(conditions)})"
                for joins, conditions in self._to_links(hold, alias, cutoff)
            )
        if not hold.path:
            return f"NOT {self._passed(hold, alias, cutoff)}"
        joins, conditions = self._along(hold.path, alias)
        passed = self._passed(hold, f"c{len(hold.path)}", cutoff)
        return f"NOT EXISTS (SELECT 1 FROM {', '.join(joins)} WHERE {' AND '.join(conditions)} AND {passed})"

    def _along(self, path: Sequence[Reference], alias: str) -> tuple[list[str], list[str]]:
        """The tables `c1 …` along a path from a row, and what ties them."""
        at, joins, conditions = alias, list[str](), list[str]()
        for number, reference in enumerate(path, start=1):
            joins.append(f"{self.say.name(reference.to)} c{number}")
            conditions.append(self.say.refers(reference, at, f"c{number}"))
            at = f"c{number}"
        return joins, conditions

    def _to_links(self, hold: Hold, alias: str, cutoff: str) -> Iterator[tuple[list[str], list[str]]]:
        """The tables and ties from a row to each link `l` of its people whose clock hasn't passed."""
        last = hold.last
        assert last is not None
        for path in last.paths:
            at = f"c{len(path)}" if path else alias
            for end in last.ends:
                joins, conditions = self._along(path, alias)
                conditions += [self.say.refers(end, "l", at), f"NOT {self._passed(hold, 'l', cutoff)}"]
                conditions += [self.say.test(last.when, "l", last.table)] if last.when is not None else []
                yield [*joins, f"{self.say.name(last.table)} l"], conditions

    def _links(self, table: str, n: int, hold: Hold) -> Iterator[str]:
        """The links, of the people erased, that a held row is held by: they stay as long as it does."""
        say, held = self.say, self._held[hold.table]
        source = f"{held} b, {say.name(hold.table)} t"
        same = f"b.h = {n} AND {say.same_row(hold.table, 't', 'b')}"
        for joins, conditions in self._to_links(hold, "t", f"cutoff_{n}"):
            tied = " AND ".join([same, *conditions, say.same_row(table, "l", "m")])
            yield (
                f"SELECT {self._keys(table, 'm')} FROM {source}, {', '.join(joins)}, {self._belong[table]} m"
                f" WHERE {tied}"
            )

    def _between(self, table: str, number: int, hop: Hop) -> str:
        """Rows of `table` that rows of stop `number` that stay belong through."""
        say, stop = self.say, self.walk.stops[number]
        refers = say.refers(hop.reference, "p", "t") if hop.forward else say.refers(hop.reference, "t", "p")
        same = " AND ".join(f"e.k{i} = s.k{i}" for i in range(len(say.key(stop.table))))
        return (
            f"SELECT {self._keys(table, 'b')} FROM {self._stay[stop.table]} s"
            f" {say.join} {self.reach.stop(number)} e ON {same}"
            f" {say.join} {say.name(stop.table)} t ON {say.same_row(stop.table, 't', 's')}"
            f" {say.join} {say.name(table)} p ON {refers}"
            f" {say.join} {self.reach.stop(hop.parent)} b ON {say.same_row(table, 'p', 'b')}"
        )

    # Whose else a row is, and whether it goes.

    def _decide(self, table: str) -> None:
        """All flags of a row in one GROUP BY: no join that a planner could take the wrong way round."""
        stops = {i: self.walk.stops[i] for i in self.stops_at(table)}
        others, holds = self.everybodys(table), [n for n, _ in self.holds_at(table)]
        flags = (
            [f"e{i}" for i in stops] + [f"o{i}" for i in others] + [f"h{n}" for n in holds] + ["stay", "w"]
        )

        def flagged(chosen: Mapping[str, str]) -> str:
            return ", ".join(f"{chosen.get(flag, '0')} AS {flag}" for flag in flags)

        belong, keys = self._belong[table], self._keys(table)
        parts = [f"SELECT {keys}, {flagged({f'e{i}': f'b.e{i}' for i in stops})} FROM {belong} b"]
        waiting = self._wait(table)
        if waiting is not None:
            parts.append(f"SELECT {keys}, {flagged({'w': '1'})} FROM {waiting} b")
        for i in others:
            parts += self._claims(table, i, flagged({f"o{i}": "1"}), waiting)
        if table in self._held:
            held = {f"h{n}": f"CASE WHEN b.h = {n} THEN 1 ELSE 0 END" for n in holds}
            parts.append(f"SELECT {keys}, {flagged(held)} FROM {self._held[table]} b")
        if table in self._stay:
            parts.append(f"SELECT {keys}, {flagged({'stay': '1'})} FROM {self._stay[table]} b")
        removed = " OR ".join(f"e{i} = 1" for i, stop in stops.items() if stop.mode == "remove") or "1 = 0"
        kept = [f"e{i} = 0" for i, stop in stops.items() if stop.mode == "anonymise"]
        alone = " AND ".join([*kept, *(f"o{i} = 0" for i in others), "w = 0"])
        most = ", ".join(f"MAX({flag}) AS {flag}" for flag in flags)
        rows = f"SELECT {keys}, {most} FROM ({' UNION ALL '.join(parts)}) AS u GROUP BY {keys}"
        go = f"CASE WHEN stay = 0 AND (({removed}) OR ({alone})) THEN 1 ELSE 0 END AS go"
        name = f"kept_fate_{self.numbers[table]}"
        self.reach.make(name, f"SELECT f.*, {go} FROM ({rows}) AS f", index=keys)
        self._decided[table] = self.reach.of(name)

    def _forward(self, table: str) -> list[Reference]:
        """The references by which rows of a table are owned by what refers to them."""
        hops = [hop for i in self.stops_at(table) for hop in self.walk.stops[i].hops]
        return list(dict.fromkeys(hop.reference for hop in hops if hop.forward))

    def _wait(self, table: str) -> str | None:
        """The rows that another row, which stays, refers to and so owns; None where rows aren't owned so."""
        parts = []
        for reference in self._forward(table):
            p, refers = self.say.name(reference.table), self.say.refers(reference, "p", "t")
            source = f"{self._rows(table, self._belong[table])} {self.say.join} {p} p ON {refers}"
            parts.append(f"{source} WHERE NOT {self.goes(reference.table, 'p')}")
        if not parts:
            return None
        name = f"kept_wait_{self.numbers[table]}"
        self.reach.make(name, " UNION ".join(parts), index=self._keys(table))
        return self.reach.of(name)

    def _claims(self, table: str, number: int, columns: str, waiting: str | None) -> list[str]:
        """The rows that belong, by one stop, to somebody who isn't erased, through rows that stay.

        Who owns a row by referring to it makes it wait, so only rows that wait need be looked at.
        """
        stop, belong = self.walk.stops[number], self._belong[table]
        if not stop.hops:
            if number >= self.walk.own:
                return [f"SELECT {self._keys(table)}, {columns} FROM {belong} b"]
            return [f"{self._rows(table, belong, columns)} WHERE {self._claimed(number, 't')}"]
        forward = self._forward(table)
        found = []
        for hop in dict.fromkeys(stop.hops):
            those = waiting if waiting is not None and hop.forward and hop.reference in forward else belong
            # joined, and not asked for row by row, so that the planner may go from these rows to the others
            p, refers, stays = self._above(hop, "t", "p")
            source = f"{self._rows(table, those, columns)} {self.say.join} {p} p ON {refers}"
            found.append(f"{source} WHERE {stays}{self._claimed(hop.parent, 'p')}")
        return found

    def _claimed(self, number: int, alias: str) -> str:
        """That a row belongs, by one stop, to somebody who isn't erased, through rows that stay."""
        stop = self.walk.stops[number]
        if not stop.hops:
            if number >= self.walk.own:
                return "1 = 1"
            return f"NOT EXISTS (SELECT 1 FROM {self.reach.of(PEOPLE)} q WHERE {self._own_key(alias)})"
        parts = []
        for hop in dict.fromkeys(stop.hops):
            above = f"{alias}{hop.parent}"
            p, refers, stays = self._above(hop, alias, above)
            claim = f"{stays}{self._claimed(hop.parent, above)}"
            parts.append(f"EXISTS (SELECT 1 FROM {p} {above} WHERE {refers} AND {claim})")
        return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"

    def _above(self, hop: Hop, alias: str, above: str) -> tuple[str, str, str]:
        """The table a hop leads up to, that its row `above` is the one, and that it stays (`… AND `)."""
        say, parent = self.say, self.walk.stops[hop.parent]
        ends = (above, alias) if hop.forward else (alias, above)
        stays = f"NOT {self.goes(parent.table, above)} AND " if hop.parent else ""
        return say.name(parent.table), say.refers(hop.reference, *ends), stays

    def _own_key(self, alias: str) -> str:
        person = self.walk.root.person
        return " AND ".join(f"{self.say.column(alias, column)} = q.k{i}" for i, column in enumerate(person))
