"""How often something may be asked, and how much of it: in memory, and never more of that than is set."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

KNOWN: Final = 10_000  # sources that are told apart; the one that was silent longest is forgotten first


@dataclass(frozen=True)
class Rate:
    """At most `number` in `seconds`, regained evenly."""

    number: int
    seconds: float


class Limiter:
    """Counts by source, each a bucket that fills again evenly."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic, known: int = KNOWN) -> None:
        self.rate = rate
        self._clock = clock
        self._known = known
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def takes(self, source: str) -> bool:
        """Whether one more may be asked from a source; counts it if so."""
        with self._lock:
            now = self._clock()
            left, at = self._left.pop(source, (float(self.rate.number), now))
            left = min(left + (now - at) * self.rate.number / self.rate.seconds, float(self.rate.number))
            allowed = left >= 1
            self._left[source] = (left - 1 if allowed else left, now)
            if len(self._left) > self._known:
                self._left.popitem(last=False)
            return allowed
