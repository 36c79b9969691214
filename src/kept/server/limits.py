"""How often something may be asked, by whom, and how much is new: in memory, and never more of that than is set."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

NETWORK: Final = (
    64  # bits of an IPv6 address that tell networks apart; each has the rest to itself (RFC 4291, 2.5.4)
)
KNOWN: Final = 10_000  # sources that are told apart; the one that was silent longest is forgotten first


def network_of(address: str) -> str:
    """Where somebody asks from: an IPv4 address, the /64 of an IPv6 address, anything else as it is.

    Whoever has one IPv6 address has the 2^64 of its network, and could ask from another each time.
    """
    if ":" not in address:
        return address
    try:
        whole = IPv6Address(address)
    except ValueError:
        return address
    if whole.ipv4_mapped is not None:
        return str(whole.ipv4_mapped)
    bits = 128 - NETWORK
    return f"{IPv6Address(int(whole) >> bits << bits)}/{NETWORK}"


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


class Newcomers:
    """Lets in whoever was here before, and of those who are new only so many, wherever they come from."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic, known: int = KNOWN) -> None:
        self._rate = Limiter(rate, clock, known=1)
        self._known = known
        self._let_in: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def takes(self, who: str, was_here: Callable[[], bool]) -> bool:
        """Whether somebody may come in. `was_here` looks them up; it is asked only when no more new ones are let in."""
        with self._lock:
            if who in self._let_in:
                self._let_in.move_to_end(who)
                return True
        if not self._rate.takes("") and not was_here():
            return False
        with self._lock:
            self._let_in[who] = None
            if len(self._let_in) > self._known:
                self._let_in.popitem(last=False)
        return True
