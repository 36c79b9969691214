"""The errors Kept raises: what happened, what to do, where; never a personal value and never a secret."""

from __future__ import annotations


class KeptError(Exception):
    """Something Kept can't do, said for the person who can mend it.

    `message` says what happened, `help` what to do about it, `where` the place (a file and line, a store, a table).
    `exit_code` is what a command ends with: 2 unless a subclass says otherwise.
    """

    exit_code = 2

    def __init__(self, message: str, *, help: str | None = None, where: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.help = help
        self.where = where

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.message}" if self.where else self.message]
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)


class StoreError(KeptError):
    """A store did not do what was asked; `where` names the store as the policy file does."""


class TransientError(StoreError):
    """The same call may succeed later: the store is down, locked, or its disk is full."""


class Conflict(TransientError):
    """Two transactions were in each other's way, and this one was rolled back: the same call may succeed at once."""


class TerminalError(StoreError):
    """The same call will fail again until somebody mends what `message` names."""
