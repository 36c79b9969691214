"""What every store is to the rest of Kept, whatever holds the data."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from kept.stores.schema import Schema


class Store(Protocol):
    """A place that holds personal data: its name as the policy file gives it, its tables, and a way to let go of it.

    Its errors are TransientError (the same call may succeed later) and TerminalError (somebody has to mend something).
    What is done with a SQL store is beside this file, one act a module: collect, erase, remains, expiry, physical.
    """

    @property
    def name(self) -> str: ...

    def schema(self, refresh: bool = False) -> Schema:
        """The tables there are; read once, again when `refresh`."""

    def files(self) -> list[Path]:
        """The files of this store on this machine; none for a server."""

    def dispose(self) -> None:
        """Close what is open; the store may be used again and opens anew."""
