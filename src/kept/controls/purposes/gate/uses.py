"""Every use the policy declares, compiled once: a dictionary, so that finding one costs the same among a thousand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from kept.controls.choices.deciding import Decision, How
from kept.controls.purposes.declare import NeverUsed, Purpose
from kept.policy.policy import Policy
from kept.policy.words import covers

Names = str | tuple[str, ...] | frozenset[str] | None
"""One name of data, several, or None for all that a purpose uses."""

SECRET: Final = ("credential",)  # sorts of column that nobody reads as they are
MOST: Final = 10_000  # combinations of purpose, data and channel that are remembered


@dataclass(frozen=True, eq=False)
class Use:
    """One purpose, through one channel, on some of its data: what has to be looked at before it happens.

    `plan` is its bit among the person's standing (choices, what they said, region), `data` the bits of its data among
    what of theirs may be used. `alone`: nothing but the person decides.
    """

    entry: Purpose
    channel: str | None
    names: tuple[str, ...]
    plan: int
    data: int
    by: frozenset[str]
    links: tuple[str, ...]  # of `unless`
    allowed: Decision
    alone: bool

    @property
    def name(self) -> str:
        return str(self.entry.name)

    @property
    def clause(self) -> tuple[str, ...]:
        return self.allowed.clause

    def is_in(self, region: str | None) -> bool:
        """Whether it is for people of a region; of whom nobody can tell where they are, only what is for everybody."""
        areas = self.entry.regions
        return not areas or (region is not None and any(covers(str(area), region) for area in areas))

    def no(self, rule: str, reason: str, *, unsure: bool = False) -> Decision:
        """It is refused, by a rule."""
        return Decision(False, reason, self.clause, unsure=unsure, rule=rule)


class Uses:
    """The uses of one policy."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.purposes = {
            str(one.name): one for one in policy.section("purposes").values() if isinstance(one, Purpose)
        }
        self.plans: tuple[tuple[Purpose, str | None], ...] = tuple(
            (one, channel)
            for one in self.purposes.values()
            for channel in (None, *dict.fromkeys(map(str, one.sends)))
        )
        self._bits = {(str(one.name), channel): 1 << n for n, (one, channel) in enumerate(self.plans)}
        self.data = {str(name): 1 << n for n, name in enumerate(policy.data)}
        self._never = tuple(
            str(clause)
            for one in policy.section("purposes").values()
            if isinstance(one, NeverUsed) and "undeclared" in one.never
            for clause in one.clause
        )
        self._sealed = _sealed(policy)
        self.known: dict[tuple[str, Names, str | None], Use] = {}

    def find(self, purpose: str, data: Names = None, channel: str | None = None) -> Use | Decision:
        """The use asked for, or why there is none: whatever isn't declared isn't allowed."""
        found = self.known.get((purpose, data, channel))
        if found is not None:
            return found
        entry = self.purposes.get(purpose)
        if entry is None:
            return Decision(False, "no such purpose is declared", self._never, rule="purpose")
        clause = tuple(map(str, entry.clause))
        own = tuple(str(name) for name in entry.uses if name in self.data)
        names = own if data is None else (data,) if isinstance(data, str) else tuple(data)
        strange = [name for name in names if name not in own]
        if strange or (not names and entry.uses):
            what = f"`{strange[0]}`" if strange and strange[0] in self.data else "that"
            reason = f"`{purpose}` does not use {what}" if strange else "no data is named"
            return Decision(False, reason, clause, rule="data")
        if channel is not None and channel not in map(str, entry.sends):
            return Decision(False, f"`{purpose}` sends nothing in this way", clause, rule="channel")
        made = self._made(entry, channel, tuple(dict.fromkeys(names)))
        if len(self.known) < MOST:
            self.known[purpose, data, channel] = made
        return made

    def _made(self, entry: Purpose, channel: str | None, names: tuple[str, ...]) -> Use:
        clause, floor = tuple(map(str, entry.clause)), entry.groups
        fields = self._fields(str(entry.name), names, "aggregated" if floor else "as is")
        reason = f"in groups of {floor} or more" if floor else "nothing forbids it"
        by = frozenset(self._roles(entry.by))
        links = tuple(str(name) for name in entry.unless if name in self.policy.links)
        asks = (by, entry.case, entry.during, links, entry.needs, floor)
        return Use(
            entry,
            channel,
            names,
            self._bits[str(entry.name), channel],
            sum(self.data[name] for name in names),
            by,
            links,
            Decision(True, reason, clause, fields=fields, floor=floor),
            alone=not any(asks),
        )

    def _roles(self, by: Iterable[str]) -> Iterator[str]:
        """Those who may, and every kind that is one of them: `engineer` where any staff may."""
        wanted = {str(one) for one in by}
        yield from wanted
        for kind in self.policy.people:
            if wanted & set(self.policy.chain(str(kind))):
                yield str(kind)

    def _fields(self, purpose: str, names: Iterable[str], how: How) -> Mapping[str, How]:
        found: dict[str, How] = {}
        for name in names:
            masked = name in self._sealed and purpose not in self._sealed[name]
            for table, columns in self.policy.data[name].tables.items():
                for column, sort in columns.items():
                    hidden = how == "as is" and (masked or (sort.type in SECRET and name not in self._sealed))
                    found[f"{table}.{column}"] = "masked" if hidden else how
        return found


def _sealed(policy: Policy) -> Mapping[str, frozenset[str]]:
    """The data that is sealed, each with the purposes it may be opened for."""
    found: dict[str, frozenset[str]] = {}
    for one in policy.section("security").values():
        for name in getattr(one, "seals", ()):
            purposes = frozenset(map(str, getattr(one, "purposes", ())))
            found[str(name)] = found.get(str(name), purposes) & purposes
    return found
