"""Every use the policy declares, compiled once: a dictionary, so that finding one costs the same among a thousand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from kept.controls.choices.deciding import Decision, How
from kept.controls.purposes.declare import NeverUsed, Purpose
from kept.controls.purposes.gate import by as asking
from kept.policy.facts import Data
from kept.policy.policy import Policy
from kept.policy.words import covers

Names = str | tuple[str, ...] | frozenset[str] | None
"""One name of data, several, or None for all that a purpose uses."""

SECRET: Final = ("credential",)  # sorts of column that nobody reads as they are
MOST: Final = 10_000  # combinations of purpose, data and channel that are remembered


@dataclass(frozen=True, eq=False, slots=True)
class Use:
    """One purpose, through one channel, on some of its data: what has to be looked at before it happens.

    `bits` are those that a person's standing must have: the plan's (choices, what they said, region), and of each data
    that it is theirs and within its limits; of a purpose on data of several kinds of people, where none is named, that
    this holds for what their kind has of it (`mixed`). `by` are the words under which it may be asked for, `asks` that
    somebody has to. `simple`: nothing decides but the person, who asks, and the size of the group.
    """

    entry: Purpose
    channel: str | None
    names: tuple[str, ...]
    plan: int
    bits: int
    mixed: bool
    by: frozenset[str]
    staff: frozenset[str]  # of `by`, those who need no look at anything
    asks: bool
    links: tuple[str, ...]  # of `unless`
    allowed: Decision
    others: Decision  # for whoever asks, and may not
    simple: bool

    @property
    def name(self) -> str:
        return str(self.entry.name)

    @property
    def clause(self) -> tuple[str, ...]:
        return self.allowed.clause

    @property
    def alone(self) -> bool:
        """Whether nothing but the person decides."""
        return self.simple and not self.asks and self.entry.groups is None

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
        self._plan = {(str(one.name), channel): 1 << n for n, (one, channel) in enumerate(self.plans)}
        self.data = {str(name): 1 << n for n, name in enumerate(policy.data, len(self.plans))}
        roots = {str(name): self._roots(data) for name, data in policy.data.items()}
        several = [
            name
            for name, one in self.purposes.items()
            if len({roots[str(data)] for data in one.uses if str(data) in roots}) > 1
        ]
        self.mixed = {name: 1 << n for n, name in enumerate(several, len(self.plans) + len(self.data))}
        self.width = len(self.plans) + len(self.data) + len(self.mixed)
        self._staff = asking.staff(policy)
        self._never = tuple(
            str(clause)
            for one in policy.section("purposes").values()
            if isinstance(one, NeverUsed) and "undeclared" in one.never
            for clause in one.clause
        )
        self._sealed = _sealed(policy)
        self.known: dict[tuple[str, Names, str | None], Use] = {}
        self.alone: dict[
            tuple[str, Names, str | None], Use
        ] = {}  # of `known`, those that the person alone decides

    def find(self, purpose: Any, data: Any = None, channel: Any = None) -> Use | Decision:
        """The use asked for, or why there is none: whatever isn't declared isn't allowed.

        `data` may be anything that gives names: a list, a set, a generator.
        """
        try:
            known = self.known.get((purpose, data, channel))
        except Exception:  # noqa: BLE001  # a list of names can't be looked up, nor what forbids it in its own way
            known = None
        if known is not None:
            return known
        entry = self.purposes.get(purpose) if isinstance(purpose, str) else None
        if entry is None:
            return Decision(False, "no such purpose is declared", self._never, rule="purpose")
        clause = tuple(map(str, entry.clause))
        own = tuple(str(name) for name in entry.uses if name in self.data)
        names = own if data is None else self._names(data)
        strange = [name for name in names if name not in own]
        if strange:
            what = f"`{strange[0]}`" if strange[0] in self.data else "that"
            return Decision(False, f"`{entry.name}` does not use {what}", clause, rule="data")
        if not names and (data is not None or entry.uses):
            return Decision(False, "no data is named", clause, rule="data")
        if channel is not None and (not isinstance(channel, str) or channel not in map(str, entry.sends)):
            return Decision(False, f"`{entry.name}` sends nothing in this way", clause, rule="channel")
        named = data if data is None or isinstance(data, str | frozenset) else names
        found = self.known.get((purpose, named, channel))
        if found is None:
            found = self._made(entry, channel, tuple(dict.fromkeys(names)), whole=data is None)
            if len(self.known) >= MOST:  # there are as many orders of names as anybody likes
                self.known.clear()
                self.alone.clear()
            self.known[purpose, named, channel] = found
            if found.alone:
                self.alone[purpose, named, channel] = found
        return found

    def every(self) -> list[Use]:
        """One use for each purpose and channel, with all of the purpose's data."""
        found = (self.find(str(one.name), None, channel) for one, channel in self.plans)
        return [use for use in found if isinstance(use, Use)]

    def _names(self, data: Any) -> tuple[str, ...]:
        """The names as they were given; what is no name stands as the empty one, which nothing has."""
        if isinstance(data, str):
            return (data,)
        try:
            given = tuple(islice(iter(data), len(self.data) + 1))
        except Exception:  # noqa: BLE001  # what gives no names, or breaks while it does: neither names anything
            return ("",)
        if len(given) > len(self.data):
            return ("",)
        return tuple(name if isinstance(name, str) else "" for name in given)

    def _roots(self, data: Data) -> frozenset[str]:
        """The kinds of people in whose own tables they stand whom data is about."""
        found = (self.policy.root(kind) for kind in self.policy.owners(data))
        return frozenset(str(one.name) for one in found if one is not None)

    def _made(self, entry: Purpose, channel: str | None, names: tuple[str, ...], *, whole: bool) -> Use:
        clause, floor = tuple(map(str, entry.clause)), entry.groups
        fields = self._fields(str(entry.name), names, "aggregated" if floor else "as is")
        reason = f"in groups of {floor} or more" if floor else "nothing forbids it"
        by = frozenset(asking.roles(self.policy, map(str, entry.by)))
        links = tuple(str(name) for name in entry.unless if name in self.policy.links)
        plan = self._plan[str(entry.name), channel]
        mixed = self.mixed.get(str(entry.name)) if whole else None
        simple = not (entry.case or entry.during or links or entry.needs or entry.upon)
        who = ", ".join(sorted(map(str, entry.by))) or "the staff, and everybody for themselves"
        return Use(
            entry,
            channel,
            names,
            plan,
            plan | (mixed or sum(self.data[name] for name in names)),
            mixed is not None,
            by,
            by & self._staff if simple and floor is None else frozenset(),
            bool(entry.by),
            links,
            Decision(True, reason, clause, fields=fields, floor=floor),
            Decision(False, f"`{entry.name}` is for {who}", clause, rule="by"),
            simple,
        )

    def _fields(self, purpose: str, names: Iterable[str], how: How) -> Mapping[str, How]:
        found: dict[str, How] = {}
        for name in names:
            masked = name in self._sealed and purpose not in self._sealed[name]
            for table, columns in self.policy.data[name].tables.items():
                for column, sort in columns.items():
                    field = f"{table}.{column}"
                    hidden = masked or (sort.type in SECRET and name not in self._sealed)
                    if how == "as is" and (hidden or found.get(field) == "masked"):
                        found[field] = "masked"  # also where other data shares the column
                    else:
                        found[field] = how
        return found


def _sealed(policy: Policy) -> Mapping[str, frozenset[str]]:
    """The data that is sealed, each with the purposes it may be opened for."""
    found: dict[str, frozenset[str]] = {}
    for one in policy.section("security").values():
        for name in getattr(one, "seals", ()):
            purposes = frozenset(map(str, getattr(one, "purposes", ())))
            found[str(name)] = found.get(str(name), purposes) & purposes
    return found
