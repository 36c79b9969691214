"""Databases and declarations as plain rows, and by the written rules what access returns and erasure leaves of them.

`Model` restates the rules of `kept.datamap.ways` and `kept.stores.erasing.fates` over dictionaries, shares no code with
them, and iterates until nothing changes any more.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
At = tuple[str, int]  # a table and which of its rows
CUTOFF = "2025-01-01"


@dataclass(frozen=True)
class Ref:
    table: str
    columns: tuple[str, ...]
    to: str
    to_columns: tuple[str, ...]
    nullable: tuple[str, ...]  # those of its columns that may be empty


@dataclass
class World:
    """A database and what is declared of it. `hows`: the ways each kind owns a table's rows, with their columns."""

    keys: dict[str, tuple[str, ...]]
    refs: dict[str, list[Ref]]
    y: dict[str, str]  # the type of column y in each table
    rows: dict[str, list[Row]]
    hows: dict[str, dict[str, dict[tuple[Any, ...], set[str]]]] = field(
        default_factory=dict
    )  # kind → table → how
    links: dict[str, dict[str, str]] = field(default_factory=dict)  # table → {end (a column): mode}
    held: dict[str, tuple[str, ...]] = field(default_factory=dict)  # table → held columns
    impersonal: set[str] = field(default_factory=set)
    erased: list[int] = field(default_factory=list)


class Model:
    """What access returns and what erasure leaves, by the written rules."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.ways = {kind: self.levels(kind) for kind in w.hows}

    def levels(self, kind: str) -> dict[tuple[str, Any], list[tuple[Ref, tuple[str, Any], bool]]]:
        """Each (table, how) with the references that own its rows, what they lead to, and which way they point."""
        found: dict[tuple[str, Any], list[tuple[Ref, tuple[str, Any], bool]]] = {(kind, "self"): []}
        level, waiting, n = {kind: 0}, dict(self.w.hows[kind]), 0
        while waiting:
            n, new = n + 1, {}
            for t, hows in waiting.items():
                hops = {}
                for how in hows:
                    refs = [
                        r for r in self.w.refs[t] if r.to != t and (how[0] != "at" or r.columns == how[1])
                    ]
                    targets = [
                        r.to
                        for r in refs
                        if (level.get(r.to) == n - 1 if how[0] == "kind" else r.to in level)
                    ]
                    hops[how] = [
                        (r, p, False) for r in refs if r.to in targets for p in found if p[0] == r.to
                    ]
                if all(hops.values()):
                    new[t] = hops
            if not new:
                for t, hows in waiting.items():
                    into = [(r, p, True) for p in found for r in self.w.refs[p[0]] if r.to == t]
                    if into and list(hows) == [("kind",)]:
                        new[t] = {("kind",): into}
            if not new:
                break
            for t, hops in new.items():
                level[t] = n
                found |= {(t, how): hop for how, hop in hops.items()}
                del waiting[t]
        return found

    def target(self, row: Row, ref: Ref) -> int | None:
        values = [row[c] for c in ref.columns]
        rows = self.w.rows[ref.to]
        return next((i for i, r in enumerate(rows) if [r[c] for c in ref.to_columns] == values), None)

    def owners(self, gone: set[At]) -> dict[tuple[str, int, str, Any], set[tuple[str, int]]]:
        """Whose each row is, by kind and way, along rows that aren't gone."""
        whose: dict[tuple[str, int, str, Any], set[tuple[str, int]]] = {}
        for kind, ways in self.ways.items():
            for (t, how), hops in ways.items():
                for i, row in enumerate(self.w.rows[t]):
                    people = {(kind, i)} if how == "self" else set()
                    for ref, (parent, by), forward in hops:
                        for j, other in enumerate(self.w.rows[parent]):
                            tied = self.target(other, ref) == i if forward else self.target(row, ref) == j
                            if tied and (parent, j) not in gone:
                                people |= whose[parent, j, kind, by]
                    whose[t, i, kind, how] = people
        return whose

    def mode(self, t: str, how: Any) -> str:
        return (
            "remove"
            if how == "self"
            else self.w.links.get(t, {}).get(how[1][0] if how[0] == "at" else "", "share")
        )

    def columns(self, kind: str, t: str, how: Any) -> set[str]:
        return {"x", "y", "at"} if how == "self" else self.w.hows[kind][t][how]

    def access(self, person: int) -> list[tuple[str, Row]]:
        seen: dict[At, set[str]] = {}
        for (t, i, kind, how), people in self.owners(set()).items():
            if ("people", person) in people:
                seen.setdefault((t, i), set()).update(self.columns(kind, t, how))
        return [(t, {c: self.w.rows[t][i][c] for c in cs}) for (t, i), cs in seen.items() if cs]

    def erase(self) -> dict[str, list[Row]] | None:
        """The rows that remain; None where a column would have to be emptied that can't be."""
        erased = {("people", i) for i in self.w.erased}
        mine = {
            place for place, people in self.owners(set()).items() if people & erased and place[2] == "people"
        }
        touched = {(t, i) for t, i, _, _ in mine}
        held = {
            (t, i) for t, i in touched if t in self.w.held and (self.w.rows[t][i]["at"] or CUTOFF) >= CUTOFF
        }
        stay = set(held)
        grown = True
        while grown:
            before = len(stay)
            for t, i, kind, how in mine:
                for ref, (parent, by), forward in self.ways[kind][t, how] if (t, i) in stay else ():
                    for j, other in enumerate(self.w.rows[parent]):
                        tied = (
                            self.target(other, ref) == i
                            if forward
                            else self.target(self.w.rows[t][i], ref) == j
                        )
                        if tied and (parent, j, kind, by) in mine:
                            stay.add((parent, j))
            grown = len(stay) > before
        gone: set[At] = set()
        while True:
            claims = {place: people - erased for place, people in self.owners(gone).items()}
            goes = set()
            for t, i in touched - stay:
                ways = [(kind, how) for (a, b, kind, how) in mine if (a, b) == (t, i)]
                modes = {self.mode(t, how) for _, how in ways}
                others = any(people for (a, b, _, _), people in claims.items() if (a, b) == (t, i))
                into = {ref for kind, how in ways for ref, _, forward in self.ways[kind][t, how] if forward}
                waits = any(
                    self.target(row, ref) == i and (ref.table, j) not in gone
                    for ref in into
                    for j, row in enumerate(self.w.rows[ref.table])
                )
                if "remove" in modes or not (others or "anonymise" in modes or waits):
                    goes.add((t, i))
            if goes <= gone:
                break
            gone |= goes
        rows, possible = copy.deepcopy(self.w.rows), True
        for t, i in [(t, i) for t, found in rows.items() for i in range(len(found)) if (t, i) not in gone]:
            old, row = self.w.rows[t][i], rows[t][i]
            ways = [(kind, how) for (a, b, kind, how) in mine if (a, b) == (t, i)]
            here = {(kind, how): people for (a, b, kind, how), people in claims.items() if (a, b) == (t, i)}
            for c in {c for kind, how in ways for c in self.columns(kind, t, how)} - {"at"}:
                theirs = any(
                    people for (kind, how), people in here.items() if c in self.columns(kind, t, how)
                )
                if old[c] is not None and not theirs and not ((t, i) in held and c in self.w.held[t]):
                    row[c] = None if c == "x" or self.w.y[t] == "TEXT" else ""
                    possible &= c == "x" or self.w.y[t] != "DATE NOT NULL"
            for ref in self.w.refs[t]:
                to = self.target(old, ref)
                if to is None:
                    continue
                owning = any(
                    ref == r and not fwd for kind, how in ways for r, _, fwd in self.ways[kind][t, how]
                )
                alone = not any(people for (a, b, _, _), people in claims.items() if (a, b) == (ref.to, to))
                cut = owning and (t, i) not in stay and (ref.to, to) in stay and alone
                if (ref.to, to) in gone or cut:
                    possible &= bool(ref.nullable)
                    row.update(dict.fromkeys(ref.nullable))
        left = {t: [row for i, row in enumerate(rows[t]) if (t, i) not in gone] for t in rows}
        return left if possible else None
