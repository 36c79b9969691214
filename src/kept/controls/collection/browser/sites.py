"""A site, the phases in which it is looked at, and what was seen in one: values, and nothing of a browser."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

Phase = Literal["before", "signal", "refused", "accepted", "withdrawn"]
PHASES: Final[dict[Phase, str]] = {
    "before": "before any choice",
    "signal": "with the Global Privacy Control signal",
    "refused": "after all was refused",
    "accepted": "after all was accepted",
    "withdrawn": "after a yes was withdrawn",
}


@dataclass(frozen=True)
class Visit:
    """What was seen in one phase, as a person from a region whom the site doesn't know.

    `hosts` are those of other companies, for all the site can tell: neither its own nor the banner's. `banner`: whether
    Kept's banner asked; `pages`: how many were opened; `gaps`: what couldn't be done, each in words.
    """

    phase: Phase
    region: str | None
    pages: int
    banner: bool
    cookies: tuple[str, ...] = ()
    storage: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Site:
    """Where to look. `own` are hosts of the company's own; `found` says where hosts are that no name server knows.

    A site on this machine is looked at without leaving it: no other name is resolved then.
    """

    address: str
    own: tuple[str, ...] = ()
    found: Mapping[str, str] = field(default_factory=dict)
    pages: int = 5
    seconds: float = 180.0

    @property
    def is_here(self) -> bool:
        host = urlsplit(self.address).hostname or ""
        places = [place for name, place in self.found.items() if _is_like(host, name)]
        return is_loopback((places or [host])[0].partition(":")[0])

    def knows(self, host: str) -> bool:
        """Whether a host is on this machine."""
        return is_loopback(host) or any(_is_like(host, name) for name in self.found)


@dataclass(frozen=True)
class Phasing:
    """One phase to go through: in which region, for whom the site must take the visitor."""

    phase: Phase
    region: str | None


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_like(host: str, pattern: str) -> bool:
    return host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]))
