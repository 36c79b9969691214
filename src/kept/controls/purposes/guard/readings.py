"""What the policy gives each database role of a store: which columns of which tables, of whose rows, or groups only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from kept.company import Company
from kept.controls.choices.deciding import Plan, Rulings
from kept.controls.choices.messages.audience import needs_yes
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.gate.uses import Use, Uses
from kept.controls.purposes.groups.promised import promised
from kept.controls.purposes.groups.question import Question
from kept.controls.purposes.groups.scope import MOST, scope
from kept.controls.refused import Refused
from kept.datamap.edges import plain, store_of
from kept.errors import KeptError
from kept.policy.policy import Policy
from kept.policy.words import regions
from kept.stores.walk import Walk

GROUPED: Final = ("behaviour", "preference", "technical", "status", "coarse-location")
"""Sorts of column that groups may be made by: nobody is known by one alone."""
OWN: Final = ("month", "people", "rows")
"""The columns that a table of groups has besides."""

Mode = Literal["unless", "asked", "looked"]
"""Who may be read: all but those on a list; those on a list of who said yes; those on a list of everybody who may."""


@dataclass(frozen=True)
class Reading:
    """The people of a kind that any of some purposes may read.

    `lasts`: what was carried over last counts however long ago that was, for silence isn't what it rests on.
    """

    number: int
    kind: str
    purposes: tuple[str, ...]
    mode: Mode
    lasts: bool

    @property
    def list(self) -> str:
        """The table of the guard's that says who."""
        return f"{'refused' if self.mode == 'unless' else 'granted'}_{self.kind.replace('-', '_')}"


@dataclass(frozen=True)
class Sight:
    """What one role sees of one table: columns as they are, and masked; its rows by readings, one for each kind."""

    role: str
    table: str
    columns: tuple[str, ...]
    masked: tuple[str, ...]
    purposes: tuple[str, ...]
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class Groups:
    """Aggregates of one table for a purpose that sees groups only: by some columns and by month of the column `time`,
    `floor` people each."""

    name: str
    table: str
    data: str
    by: tuple[str, ...]
    time: str
    floor: int
    purpose: str
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Declared:
    """All that the policy says about the roles of one store; `refused` says per role and purpose why it has no rows."""

    store: str
    roles: Mapping[str, tuple[str, ...]]
    tables: tuple[str, ...]
    sights: tuple[Sight, ...]
    groups: tuple[Groups, ...]
    refused: tuple[tuple[str, str, str], ...]
    readings: tuple[Reading, ...]
    walks: Mapping[str, Walk] = field(repr=False, default_factory=dict)


def declared(company: Company, store: str) -> Declared:
    """What the policy gives each role of a store; KeptError where the store has no roles or can't be walked."""
    policy = company.policy
    roles = {str(role): tuple(map(str, names)) for role, names in policy.stores[store].roles.items()}
    if not roles:
        raise KeptError(
            "the file doesn't say which database role serves which purpose",
            help="add roles: {role: [purposes]} to the store",
            where=store,
        )
    walks = {
        kind: walk
        for kind in company.root_kinds()
        if (walk := company.map.walk(kind)) is not None and walk.store == store
    }
    if not walks:
        raise KeptError("no people can be reached in it", where=store)
    return _Reader(company, store, roles, walks).read()


def personal(policy: Policy, store: str) -> tuple[str, ...]:
    """The tables of a store that are about people: with data, or with people or ties between them."""
    named = [str(table) for data in policy.data.values() for table in data.tables]
    named += [str(link.table) for link in policy.links.values()]
    named += [
        str(kind.table)
        for kind in policy.people.values()
        if kind.table is not None and not kind.is_organisation
    ]
    return tuple(dict.fromkeys(plain(table) for table in named if store_of(table) == store))


def row_refusal(policy: Policy, entry: Purpose) -> str | None:
    """Why a purpose sees no rows in the database: what it asks for besides, no database can tell."""
    if entry.groups:
        return f"no row, only groups of {entry.groups} or more"
    if entry.case:
        return f"no row: it needs a case (`{entry.case[0]}`) and its record: `kept look` opens it"
    if entry.needs:
        return f"no row: it needs `{entry.needs[0]}`, on record: ask the gate"
    if entry.during is not None or any(name in policy.links for name in entry.unless):
        return "no row: it depends on a link that stands at that moment: ask the gate"
    if entry.by and all(policy.is_staff(str(who)) for who in entry.by):
        who = ", ".join(map(str, entry.by))
        return f"no row: it is for {who} by name, and every look is on record: `kept look` opens it"
    return None


class _Reader:
    def __init__(
        self, company: Company, store: str, roles: Mapping[str, tuple[str, ...]], walks: Mapping[str, Walk]
    ) -> None:
        self.company, self.policy, self.store = company, company.policy, store
        self.roles, self.walks = roles, walks
        self.uses, self.rulings = Uses(company.policy), Rulings(company)
        self.readings: dict[tuple[str, tuple[str, ...]], Reading] = {}
        self.refused: list[tuple[str, str, str]] = []
        self.live = next(iter(walks.values())).tables
        self._free: dict[str, bool] = {}

    def read(self) -> Declared:
        tables = tuple(t for t in personal(self.policy, self.store) if t in self.live)
        sights = tuple(sight for role in self.roles for sight in self._sights(role, tables))
        groups = tuple(self._groups())
        return Declared(
            self.store,
            self.roles,
            tables,
            sights,
            groups,
            tuple(self.refused),
            tuple(sorted(self.readings.values(), key=lambda one: one.number)),
            self.walks,
        )

    def _sights(self, role: str, tables: tuple[str, ...]) -> list[Sight]:
        shown: dict[str, dict[str, str]] = {}
        purposes: dict[str, list[str]] = {}
        for name in self.roles[role]:
            use = self.uses.find(name)
            if not isinstance(use, Use):
                continue
            why = row_refusal(self.policy, use.entry)
            if why is not None:
                self.refused.append((role, name, why))
                continue
            for full, how in use.allowed.fields.items():
                at, _, column = full.rpartition(".")
                table = plain(at)
                if store_of(at) != self.store or table not in tables:
                    continue
                best = shown.setdefault(table, {})
                best[column] = how if best.get(column) != "as is" else "as is"
                purposes.setdefault(table, []).append(name)
            for who in map(str, use.entry.by):
                link = self.policy.links.get(who.partition(".")[0]) if "." in who else None
                if link is not None and store_of(link.table) == self.store:
                    shown.setdefault(plain(link.table), {})
                    purposes.setdefault(plain(link.table), []).append(name)
        return [
            sight
            for table, columns in shown.items()
            if (sight := self._sight(role, table, columns, tuple(sorted(set(purposes[table]))))) is not None
        ]

    def _sight(
        self, role: str, table: str, shown: Mapping[str, str], purposes: tuple[str, ...]
    ) -> Sight | None:
        shape = self.live[table]
        kinds = [kind for kind, walk in self.walks.items() if walk.of_table(table)]
        if shape.is_view or not kinds:
            why = "is a view" if shape.is_view else "belongs to nobody the map knows"
            self.refused.append((role, ", ".join(purposes), f"`{table}` {why}, so no row of it can be told"))
            return None
        columns = self._needed(table) | {c for c, how in shown.items() if how == "as is"}
        masked = {c for c, how in shown.items() if how == "masked"} - columns
        return Sight(
            role,
            table,
            tuple(c for c in shape.columns if c in columns),
            tuple(c for c in shape.columns if c in masked),
            purposes,
            tuple(self._reading(kind, purposes) for kind in kinds),
        )

    def _needed(self, table: str) -> set[str]:
        """What a row can't be used without: its key, whose it is, when that began and ended."""
        found = set(self.live[table].key)
        for walk in self.walks.values():
            for number in walk.of_table(table):
                stop = walk.stops[number]
                found |= {*stop.person}
                found |= {c for hop in stop.hops if not hop.forward for c in hop.reference.columns}
        full = f"{self.store}.{table}"
        for kind in self.policy.people.values():
            if kind.table == full:
                found |= {str(c) for c in (kind.began, kind.ended) if c is not None}
        for link in self.policy.links.values():
            if link.table == full:
                found |= {str(c) for c in (link.began, link.ended) if c is not None}
                found |= {str(at.column) for at in link.between.values()}
        return found & set(self.live[table].columns)

    def _reading(self, kind: str, purposes: tuple[str, ...]) -> Reading:
        known = self.readings.get((kind, purposes))
        if known is not None:
            return known
        modes = [self._mode(kind, name) for name in purposes]
        mode: Mode = "unless" if "unless" in modes else "asked" if set(modes) == {"asked"} else "looked"
        lasts = not all(self._turns(name) for name in purposes)
        made = Reading(len(self.readings) + 1, kind, purposes, mode, lasts)
        self.readings[kind, purposes] = made
        return made

    def _turns(self, name: str) -> bool:
        """Whether a choice decides about a purpose."""
        plan = self.rulings.plan(name, None)
        return not isinstance(plan, Plan) or bool(plan.needs or plan.unless or self.rulings.permissions)

    def _mode(self, kind: str, name: str) -> Mode:
        plan = self.rulings.plan(name, None)
        if not isinstance(plan, Plan):
            return "looked"
        if needs_yes(self.rulings, plan) is not None:
            return "asked"
        places = (None, *sorted(regions() - {"elsewhere"}))
        for choice, _ in plan.needs:
            key = str(choice.name)
            if key not in self._free:
                self._free[key] = all(self.rulings.is_silent(choice, place) for place in places)
        silent = all(self._free[str(choice.name)] and not choice.by for choice, _ in plan.needs)
        free = silent and not (plan.unless or plan.entry.regions or self.rulings.permissions)
        mine = all(
            kind in {str(root.name) for k in self.rulings.kinds(c) if (root := self.policy.root(k))}
            and all(not self.policy.people[k].is_a for k in self.rulings.kinds(c))
            for c, _ in plan.needs
        )
        return "unless" if free and mine and plan.leavers else "looked"

    def _groups(self) -> list[Groups]:
        """One table of groups for each table, whichever purposes see it: two ways of counting could be subtracted."""
        asking: dict[tuple[str, str, str], list[str]] = {}
        for role, names in self.roles.items():
            for name in names:
                use = self.uses.find(name)
                if isinstance(use, Use) and use.entry.groups:
                    for data in use.names:
                        for full in map(str, self.policy.data[data].tables):
                            if store_of(full) == self.store and plain(full) in self.live:
                                asking.setdefault((name, data, plain(full)), []).append(role)
        found: dict[str, Groups] = {}
        for (name, data, table), roles in asking.items():
            if table in found:
                why = f"`{table}` is counted for `{found[table].purpose}`: two ways of counting could be subtracted"
            else:
                roles = [role for role in roles if self._may_be_told(role, name, data, table)]
                one = self._group(name, data, table, tuple(roles)) if roles else None
                if isinstance(one, Groups):
                    same = any(other.name == one.name for other in found.values())
                    found[table] = replace(one, name=f"{table}_{one.name}") if same else one
                    continue
                why = f"no groups of `{table}`: {one}"
            self.refused += [(role, name, why) for role in roles]
        return list(found.values())

    def _may_be_told(self, role: str, purpose: str, data: str, table: str) -> bool:
        """Whether a role may get groups: one that is called like a party is that party."""
        try:
            promised(self.company, role, purpose, data)
        except Refused as refused:
            self.refused.append((role, purpose, f"no groups of `{table}`: {refused.message}"))
            return False
        return True

    def _group(self, purpose: str, data: str, table: str, roles: tuple[str, ...]) -> Groups | str:
        """The groups, or why there are none."""
        sorts = next(
            c for full, c in self.policy.data[data].tables.items() if full == f"{self.store}.{table}"
        )
        shape = self.live[table]
        by = tuple(
            str(c)
            for c, s in sorts.items()
            if s.type in GROUPED
            and c not in OWN
            and c in shape.columns
            and shape.columns[c].sort in ("text", "boolean")
        )[:MOST]
        use = self.uses.find(purpose)
        if shape.is_view or not by or not isinstance(use, Use):
            return "it is a view" if shape.is_view else "it has no column to group by"
        try:
            found = scope(self.company, Question(purpose=purpose, data=data, table=table, by=by))
        except Refused as refused:
            return refused.message
        if found.clock is None:
            return "its rows have no time of their own"
        if shape.columns[found.clock].sort not in ("time", "date"):
            return f"`{found.clock}` is no column of times"
        name = f"{data}_by_{'_'.join(by)}_month".replace("-", "_")
        return Groups(name, table, data, by, found.clock, found.floor, purpose, roles)


def own_columns(walk: Walk, table: str) -> tuple[tuple[str, ...], ...] | None:
    """The columns of a table that hold the key of whom a row is about, one tuple a way; None where a way is longer."""
    root, found = walk.root, []
    for number in walk.of_table(table):
        stop = walk.stops[number]
        if not stop.hops:
            found.append(stop.person)
            continue
        for hop in stop.hops:
            ref = hop.reference
            if hop.forward or ref.path or ref.when is not None or walk.stops[hop.parent].hops:
                return None
            if set(ref.to_columns) != set(root.person):
                return None
            at = dict(zip(ref.to_columns, ref.columns, strict=True))
            found.append(tuple(at[column] for column in root.person))
    return tuple(dict.fromkeys(found))
