"""What is on the ledger of values that were opened: how many, for which purpose; on it before the first is handed out.

A member of staff's opening is an entry of its own. An automation may open thousands a second, and an entry for each
would be a log of its work rather than evidence: it gets an allowance, on the ledger before any of it is used. The first
is of one value; an allowance that is used up within a minute is followed by one twice as large. So the ledger never
says fewer than were opened, is exact where little is, and says at most twice as many where much is.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from threading import Lock
from typing import Final

from kept.company import Company
from kept.controls.rights.people import Person
from kept.evidence.entry import JSON, Entry

LONGEST: Final = 60.0  # seconds
MOST: Final = 4096


@dataclass
class _Allowance:
    size: int = 0
    left: int = 0
    since: float = 0.0


class Openings:
    """Notes openings for one company, for any number of threads."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self._lock = Lock()
        self._allowances: dict[tuple[str, str], _Allowance] = {}

    def by_staff(self, field: str, purpose: str, by: str, case: str | None, person: Person | None) -> None:
        """One value, opened by a member of staff."""
        entry: dict[str, JSON] = {"act": "open", "field": field, "purpose": purpose, "by": by}
        if case is not None:
            entry["case"] = case
        if person is not None:
            entry["who"] = self.company.pseudonyms.of([str(person)])[str(person)]
        self.company.ledger.append(entry | {"at_most": 1}, f"open {uuid.uuid4().hex}")

    def by_machine(self, field: str, purpose: str) -> None:
        """One value, opened by an automation."""
        with self._lock:
            allowance = self._allowances.setdefault((field, purpose), _Allowance())
            if not allowance.left:
                now = time.monotonic()
                soon = allowance.size and now - allowance.since < LONGEST
                size = min(2 * allowance.size, MOST) if soon else 1
                entry: Entry = {"act": "open", "field": field, "purpose": purpose, "at_most": size}
                self.company.ledger.append(entry, f"open {uuid.uuid4().hex}")
                allowance.size, allowance.left, allowance.since = size, size, now
            allowance.left -= 1
