"""Which rows belong to people of one kind: the stops of a walk, from the declarations and the references.

The rules, in one place. R is the kind's table; declared tables carry data of the kind, or are a link with an end of it.

1. R's own rows are the person's.
2. A link's row belongs to each end, along the end's column.
3. `of: kind at column` names the owning reference; `of: link.end` owns through the link's table and that end.
4. Otherwise by level: R is level 0, and a table referring to tables of level n (and to none before) is level n + 1;
   all its references to level n own (several: the row is shared). Its other references only refer.
5. A table that refers to none of them, but that placed tables refer to, belongs to whoever's rows refer to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kept.datamap.edges import can_be_absent, plain, store_of
from kept.policy.facts import Data, Link, PersonKind
from kept.policy.policy import Policy
from kept.policy.source import Problems, Span
from kept.stores.schema import Reference, Table
from kept.stores.walk import Hop, Mode, Stop

How = tuple[str, ...]
"""How rows are owned: `("kind",)`, `("at", column)`, `("end", link, end)` or `("via", link, end)`."""


@dataclass
class Claim:
    """One way in which rows of a table are declared to be a person's, with the columns declared that way."""

    how: How
    columns: dict[str, list[str]] = field(default_factory=dict)
    sorts: dict[str, str] = field(default_factory=dict)
    data: set[str] = field(default_factory=set)
    hops: tuple[Hop, ...] | None = None


@dataclass
class Ways:
    """The stops of one kind, and what the walk came by: `reached` are the (data, table) pairs that have a way."""

    root: PersonKind
    stops: list[Stop]
    reached: set[tuple[str, str]]
    declared: set[str]


def ways(
    policy: Policy, store: str, tables: Mapping[str, Table], root: PersonKind, problems: Problems
) -> Ways:
    """The stops of a root kind in its store, in walking order."""
    return _Placing(policy, store, tables, root, problems).run()


def places_of(data: Data, table: str) -> Span:
    """Where the file names a table of some data."""
    return next((name.span for name in data.tables if name == table), data.span)


class _Placing:
    def __init__(
        self, policy: Policy, store: str, tables: Mapping[str, Table], root: PersonKind, problems: Problems
    ) -> None:
        self.policy, self.store, self.tables, self.root, self.problems = policy, store, tables, root, problems
        assert root.table is not None
        self.home = plain(root.table)
        self.claims: dict[str, dict[How, Claim]] = {}
        self.root_claim = Claim(("root",))
        self.stops: list[Stop] = []
        self.at: dict[str, dict[How, int]] = {}
        self.level: dict[str, int] = {}

    def run(self) -> Ways:
        self._declare()
        root = self.root_claim
        key = tuple(str(column) for column in self.root.key_columns)
        self._place(self.home, [Claim(("root",), root.columns, root.sorts, root.data, ())], 0, key)
        declared = {self.home, *self.claims}
        waiting = dict(self.claims)
        level = 0
        while waiting:
            level += 1
            placed = (
                self._round(waiting, level) or self._forward(waiting, level) or self._circular(waiting, level)
            )
            if not placed:
                break
            for table in placed:
                del waiting[table]
        self._holes()
        reached = {(name, self.home) for name in root.data}
        for table, claims in self.claims.items():
            reached |= {(name, table) for claim in claims.values() if claim.hops for name in claim.data}
        return Ways(self.root, self.stops, reached, declared)

    # What the file declares.

    def _mine(self, kind: str | None) -> bool:
        root = self.policy.root(kind) if kind is not None else None
        return root is not None and root.name == self.root.name

    def _links_at(self, table: str) -> Iterator[tuple[str, Link]]:
        for name, link in self.policy.links.items():
            if link.table == f"{self.store}.{table}":
                yield str(name), link

    def _declare(self) -> None:
        for table in self.tables:
            for name, link in self._links_at(table):
                for end, at in link.between.items():
                    if table != self.home and self._mine(str(at.kind)):
                        self._claim(table, ("end", name, str(end)))
        for data in self.policy.data.values():
            for full, columns in data.tables.items():
                table = plain(full)
                if store_of(full) != self.store or table not in self.tables:
                    continue
                for how in self._hows(data, table):
                    claim = self.root_claim if table == self.home else self._claim(table, how)
                    claim.data.add(str(data.name))
                    for column, sort in columns.items():
                        if column in self.tables[table].columns:
                            claim.columns.setdefault(str(column), []).append(str(data.name))
                            claim.sorts.setdefault(str(column), sort.type)

    def _claim(self, table: str, how: How) -> Claim:
        return self.claims.setdefault(table, {}).setdefault(how, Claim(how))

    def _hows(self, data: Data, table: str) -> list[How]:
        """How rows of a table are this kind's, by one data entry."""
        ends = {
            (name, str(end)): str(at.column)
            for name, link in self._links_at(table)
            for end, at in link.between.items()
            if table != self.home and self._mine(str(at.kind))
        }
        named = {tuple(owner.who.split(".")) for owner in data.of if "." in owner.who}
        hows: list[How] = []
        for owner in data.of:
            if table == self.home and self._mine(self.policy.kind_of(owner.who)):
                return [("root",)]
            if not self._mine(self.policy.kind_of(owner.who)):
                continue
            link, dot, end = owner.who.partition(".")
            if dot:
                hows.append(("end" if (link, end) in ends else "via", link, end))
            elif owner.column is not None:
                same = [("end", *pair) for pair, column in ends.items() if column == owner.column]
                if owner.column in self.tables[table].columns:
                    hows.extend(same or [("at", str(owner.column))])
            elif not ends:
                hows.append(("kind",))
            elif not named & set(ends):
                hows.extend(("end", *pair) for pair in ends)
        return list(dict.fromkeys(hows))

    # Placing tables level by level.

    def _place(self, table: str, claims: list[Claim], level: int, person: tuple[str, ...] = ()) -> None:
        self.level[table] = level
        for claim in claims:
            if claim.hops is None:
                continue
            mode: Mode = "remove" if person else self._mode(table, claim.how)
            columns = {column: tuple(names) for column, names in claim.columns.items()}
            known_by = tuple(dict.fromkeys(map(str, self.root.known_by.values()))) if person else ()
            self.at.setdefault(table, {})[claim.how] = len(self.stops)
            self.stops.append(Stop(table, claim.hops, columns, dict(claim.sorts), mode, person, known_by))

    def _round(self, waiting: Mapping[str, dict[How, Claim]], level: int) -> list[str]:
        """Place the tables all of whose claims are settled now."""
        ready = []
        for table in sorted(waiting):
            claims = waiting[table]
            for claim in claims.values():
                if not claim.hops:
                    claim.hops = self._hops(table, claim.how, level, set(waiting))
            settled = [claim for claim in claims.values() if claim.hops]
            if settled and all(claim.hops is not None for claim in claims.values()):
                ready.append(table)
        return self._place_all(ready, waiting, level)

    def _forward(self, waiting: Mapping[str, dict[How, Claim]], level: int) -> list[str]:
        """Place the tables that only placed tables refer to: their rows are whoever's rows refer to them."""
        ready = []
        for table in sorted(waiting):
            claim = waiting[table].get(("kind",))
            if claim is None or claim.hops:
                continue
            claim.hops = (
                tuple(
                    Hop(reference, stop, forward=True)
                    for other in self.level
                    if not self.tables[other].is_view
                    for reference in self._references(other)
                    if reference.to == table and not self.tables[table].is_view
                    for stop in self.at.get(other, {}).values()
                )
                or None
            )
            if claim.hops:
                ready.append(table)
        return self._place_all(ready, waiting, level)

    def _circular(self, waiting: Mapping[str, dict[How, Claim]], level: int) -> list[str]:
        """Place what has some way where another one runs in a circle, and say so."""
        ready = [table for table in sorted(waiting) if any(claim.hops for claim in waiting[table].values())]
        for table in ready:
            for claim in waiting[table].values():
                if claim.hops is None and claim.how != ("kind",):
                    self._problem(table, claim, "its owners own each other in a circle")
        return self._place_all(ready, waiting, level)

    def _place_all(self, ready: list[str], waiting: Mapping[str, dict[How, Claim]], level: int) -> list[str]:
        for table in ready:
            self._place(table, [claim for claim in waiting[table].values() if claim.hops], level)
        return ready

    def _references(self, table: str) -> list[Reference]:
        """References from a table to other tables; a view can't be walked through."""
        if table not in self.tables:
            return []
        return [
            reference
            for reference in self.tables[table].references
            if reference.to != table and reference.to in self.tables and not self.tables[reference.to].is_view
        ]

    def _hops(self, table: str, how: How, level: int, waiting: set[str]) -> tuple[Hop, ...] | None:
        """The hops of a claim; () when there are none, None when that isn't known yet."""
        references = self._references(table)
        if how[0] == "kind":
            found = tuple(
                Hop(reference, stop)
                for reference in references
                if self.level.get(reference.to) == level - 1
                for stop in self.at.get(reference.to, {}).values()
            )
            return found or None
        if how[0] == "via":
            link = self.policy.links[how[1]]
            to, stop_how = plain(link.table), ("end", how[1], how[2])
            if to in waiting:
                return None if any(r.to == to for r in references) else ()
            stop = self.at.get(to, {}).get(stop_how)
            return tuple(Hop(r, stop) for r in references if r.to == to) if stop is not None else ()
        column = self._end_column(how) if how[0] == "end" else how[1]
        leaving = [reference for reference in references if column in reference.columns]
        home = [reference for reference in leaving if reference.to == self.home]
        if home or how[0] == "end":
            return tuple(Hop(reference, 0) for reference in home)
        if any(reference.to in waiting for reference in leaving):
            return None
        return tuple(Hop(r, stop) for r in leaving for stop in self.at.get(r.to, {}).values())

    def _end_column(self, how: How) -> str:
        return str(self.policy.links[how[1]].between[how[2]].column)  # type: ignore[index]  # a Name is found by any equal str

    # What becomes of a link's row.

    def _mode(self, table: str, how: How) -> Mode:
        """Said by `erased`; unsaid, a row goes with an end unless it carries data of another person's end."""
        if how[0] != "end":
            return "share"
        link, end = self.policy.links[how[1]], how[2]
        said = {str(name): word for name, word in link.erased.items()}.get(end)
        if said is not None:
            return "anonymise" if said == "anonymise" else "remove"
        others = [
            str(name) for name, at in link.between.items() if name != end and self._is_person(str(at.kind))
        ]
        carried = [
            data for data in self.policy.data.values() if any(full == link.table for full in data.tables)
        ]
        if not others or not carried:
            return "remove"
        elsewhere = any(not self._carriers(data, link, how[1]) for data in carried)
        carriers = {name for data in carried for name in self._carriers(data, link, how[1])}
        return "remove" if carriers == {end} and not elsewhere else "share"

    def _is_person(self, kind: str) -> bool:
        root = self.policy.root(kind)
        return root is not None and not root.is_organisation

    def _carriers(self, data: Data, link: Link, name: str) -> set[str]:
        """The ends of a link that data in its table is of."""
        named = {owner.who.partition(".")[2] for owner in data.of if owner.who.partition(".")[0] == name}
        if named:
            return named
        roots = {root.name for owner in data.of if (root := self.policy.root(str(owner.who))) is not None}
        ends = set()
        for end, at in link.between.items():
            root = self.policy.root(str(at.kind))
            columns = {owner.column for owner in data.of if owner.column is not None}
            if root is not None and root.name in roots and (not columns or at.column in columns):
                ends.add(str(end))
        return ends

    # Holes and circles.

    def _holes(self) -> None:
        """A row whose owning references are all empty could hang by another one: the file must say which owns."""
        declared = {self.home, *self.claims}
        for table, claims in self.claims.items():
            claim = claims.get(("kind",))
            if claim is None or not claim.hops or any(hop.forward for hop in claim.hops):
                continue
            owning = {hop.reference for hop in claim.hops}
            rest = [r for r in self._references(table) if r.to in declared and r not in owning]
            if rest and all(can_be_absent(reference, self.tables[table]) for reference in owning):
                self._problem(
                    table, claim, f"its rows could hang by {_columns(owning)} or by {_columns(set(rest))}"
                )

    def _problem(self, table: str, claim: Claim, why: str) -> None:
        full = f"{self.store}.{table}"
        data = next((d for d in self.policy.data.values() if d.name in claim.data), None)
        span = places_of(data, full) if data is not None else self.root.span
        kind = self.root.name
        self.problems.error(
            "ambiguous-owner",
            f"{full} doesn't say whose its rows are: {why}",
            span,
            help=f"say which owns: `of: {kind} at column`",
        )


def _columns(references: set[Reference]) -> str:
    return " or ".join(sorted("+".join(reference.columns) for reference in references))
