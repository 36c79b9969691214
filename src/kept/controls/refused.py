"""What isn't taken: a word for programs, a sentence for people, the clauses of the policy; never what was given."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from kept.errors import KeptError

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.*-]{0,59}")


class Refused(KeptError):
    """Something that isn't taken. `reason` is a word such as `undeclared`; `clause` says where the policy says so."""

    def __init__(
        self, reason: str, message: str, *, clause: Iterable[str] = (), help: str | None = None
    ) -> None:
        super().__init__(message, help=help)
        self.reason = reason
        self.clause = tuple(map(str, clause))


def named(field: str) -> str:
    """A field as a message names it: by its name, where that can't be a value somebody typed."""
    return f"`{field}`" if _PLAIN.fullmatch(field) else "a field"
