"""The register of disclosures beside the ledger: a row taken out, changed or put in behind Kept's back shows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import select

from kept.company import Company
from kept.controls.disclosure.register import ACT, PART, UNDER_WAY, key_of, told
from kept.state.uses import disclosures

_ACT: Final = b'"act":"disclosed"'  # as the ledger writes it (RFC 8785: no spaces)


@dataclass(frozen=True)
class Compared:
    """How many rows aren't as the ledger has them. `altered`: they say something else; `gone`: the ledger alone has
    them; `alone`: the register alone has them, for somebody put them there, or Kept was killed between the two; `late`:
    the ledger has them from the register, for the same reasons."""

    altered: int
    gone: int
    alone: int
    late: int


def compared(company: Company, names: Collection[str] | None = None) -> Compared:
    """Look up every row of some disclosures (None: all) on the ledger, and every entry of theirs in the register.

    What was sealed as evidence isn't compared, and goes with the person.
    """
    entries = _noted(company)  # before the rows, which are written first
    written = sum(number for name, number in entries.items() if names is None or name in names)
    settled = (company.clock() - UNDER_WAY).isoformat()
    altered = alone = late = found = 0
    for page in _pages(company, names):
        known = company.ledger.keyed([key_of(row["call"], row["pseudonym"]) for row in page])
        for row in page:
            entry = known.get(key_of(row["call"], row["pseudonym"]))
            if entry is None:
                alone += row["at"] < settled
                continue
            found += names is None or entry["disclosure"] in names
            said = {word: value for word, value in entry.items() if word not in ("at", "evidence", "late")}
            altered += said != told(row)
            late += "late" in entry
    return Compared(altered, max(0, written - found), alone, late)


def _pages(company: Company, names: Collection[str] | None) -> Iterator[Sequence[Mapping[str, Any]]]:
    wanted = select(disclosures).order_by(disclosures.c.number).limit(PART)
    if names is not None:
        wanted = wanted.where(disclosures.c.disclosure.in_(list(names)))
    last = 0
    while True:
        with company.state.read() as connection:
            page = [
                dict(row._mapping) for row in connection.execute(wanted.where(disclosures.c.number > last))
            ]
        if page:
            yield page
            last = page[-1]["number"]
        if len(page) < PART:
            return


@dataclass(frozen=True)
class _Noted:
    """How many entries of each disclosure the first `size` entries of the ledger have."""

    size: int = 0
    counted: Mapping[str, int] = field(default_factory=dict)


def _noted(company: Company) -> Mapping[str, int]:
    """How many entries of each disclosure the ledger has; of what was counted before, only what came after is read."""
    before: _Noted = company.memory.get(_Noted, _Noted())
    end, counted = company.ledger.size, Counter(before.counted)
    for body, _ in company.ledger.stored(before.size, end):
        if _ACT in body:
            entry = json.loads(body)
            counted[entry["disclosure"]] += entry["act"] == ACT
    company.memory[_Noted] = _Noted(end, counted)
    return counted
