"""A use that a view declares: which purpose, which data, and where in a request it stands whom it is about."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from kept.application import Application
from kept.controls.choices.deciding import NONE, Decision
from kept.controls.purposes.enforce import NO_EVIDENCE, Gate
from kept.controls.purposes.gate.uses import Names
from kept.controls.rights.people import Person
from kept.errors import KeptError, StoreError
from kept.server.asking.at_hand import is_at_hand

Asks = Callable[..., Any]
"""Reads one thing out of a request; what it is called with is what the framework gives a view."""

GPC: Final = frozenset({"gpc"})
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "person": (str, Person),
    "by": (str,),
    "case": (str,),
    "group": (int,),
    "evidence": (Mapping,),
    "signals": (frozenset, set),
}
_MISSING: Final[Mapping[str, tuple[str, str]]] = {
    "person": ("nobody", "nobody is named"),
    "by": ("by", "nobody says who asks"),
    "case": ("case", "no case is named"),
    "group": ("groups", "nobody says how many people it is about"),
    "evidence": ("evidence", "there is no evidence"),
    "signals": ("signals", "nobody says what their device asks for"),
}


@dataclass(frozen=True)
class Found:
    """What was found in a request: `person` as `kind:key`, who asks (`engineer:4`), their case (`error:81`), the size
    of a group, evidence, and the signals that came with it."""

    person: str | Person | None = None
    by: str | None = None
    case: str | None = None
    group: int | None = None
    evidence: Mapping[str, str] | None = None
    signals: frozenset[str] | None = None


PARTS: Final = tuple(one.name for one in fields(Found))


class Declared:
    """One use, and the callables that read whom it is about, by whom and why out of a request."""

    def __init__(
        self,
        purpose: str,
        data: Names = None,
        *,
        channel: str | None = None,
        quiet: bool = False,
        **asks: Asks | None,
    ) -> None:
        self.purpose, self.data, self.channel, self.quiet = purpose, data, channel, quiet
        self.asks: dict[str, Asks] = {name: call for name, call in asks.items() if call is not None}
        wrong = [name for name, call in self.asks.items() if name not in PARTS or not callable(call)]
        if wrong:
            raise TypeError(f"`{wrong[0]}` of `{purpose}` is read out of each request: give a callable")

    def decide(self, privacy: Application, read: Mapping[str, Any], *, gpc: bool = False) -> Decision:
        """The decision, by what was read; `gpc`: the request has the header `Sec-GPC: 1`."""
        found = self._found(read, gpc)
        if isinstance(found, Decision):
            return found
        try:
            return privacy.decide(
                self.purpose,
                self.data,
                person=found.person,
                by=found.by,
                case=found.case,
                group=found.group,
                channel=self.channel,
                signals=found.signals or NONE,
                evidence=found.evidence or NO_EVIDENCE,
            )
        except StoreError as wrong:
            return Decision(False, f"nobody can tell: {wrong.message}", unsure=True, rule="unsure")
        except KeptError as wrong:  # a name that leads to nobody, or to several
            return Decision(False, wrong.message, rule="nobody")

    async def decided(self, privacy: Application, read: Mapping[str, Any], *, gpc: bool = False) -> Decision:
        """The same in a loop, which waits for no database: what isn't remembered is looked up in a thread."""
        if self._is_at_hand(privacy, read):
            return self.decide(privacy, read, gpc=gpc)
        return await asyncio.to_thread(self.decide, privacy, read, gpc=gpc)

    def _found(self, read: Mapping[str, Any], gpc: bool) -> Found | Decision:
        """What was read, or why nothing can be: whoever is looked for and isn't there is nobody who may be used."""
        for name in self.asks:
            value = read.get(name)
            if value is None or value == "":
                rule, reason = _MISSING[name]
                return Decision(False, reason, rule=rule)
            if not isinstance(value, _TYPES[name]) or isinstance(value, bool):
                if inspect.iscoroutine(value):
                    value.close()  # nobody will wait for it
                raise TypeError(f"what reads `{name}` for `{self.purpose}` gave a {type(value).__name__}")
        signals = frozenset(read.get("signals") or NONE)
        return Found(**{**read, "signals": signals | GPC if gpc else signals})

    def _is_at_hand(self, privacy: Application, read: Mapping[str, Any]) -> bool:
        person, by = read.get("person"), read.get("by")
        if isinstance(person, str):
            try:
                person = privacy.named(person)
            except KeptError:
                return False
            if person is None:
                return False
        gate = Gate.of(privacy.company)
        who = by if isinstance(by, str) else None
        return is_at_hand(gate, self.purpose, self.data, person=person, by=who, channel=self.channel)
