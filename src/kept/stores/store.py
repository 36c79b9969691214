"""What every store is to the rest of Kept, and a store that can't be reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, Protocol

from kept.errors import TerminalError
from kept.stores.schema import Schema


class Store(Protocol):
    """A place that holds personal data: its name as the policy file gives it, its tables, and a way to let go of it."""

    @property
    def name(self) -> str: ...

    def schema(self, refresh: bool = False) -> Schema:
        """The tables there are; read once, again when `refresh`."""

    def dispose(self) -> None:
        """Close what is open; the store may be used again and opens anew."""


@dataclass(frozen=True)
class Unconnected:
    """A store that is declared and can't be asked: its setting is missing, or this version doesn't speak its kind."""

    name: str
    kind: str
    reason: str

    def schema(self, refresh: bool = False) -> NoReturn:
        self.refuse()

    def dispose(self) -> None:
        """Nothing is open."""

    def refuse(self) -> NoReturn:
        """Say why nothing can be asked of it."""
        raise TerminalError(self.reason, where=self.name)
