"""Kept: a privacy policy that runs. `kept.opened` is for a company's own application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kept.application import opened as opened

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`kept.opened`, read when it is asked for: a command that needs no store shouldn't wait for all of them."""
    if name == "opened":
        from kept.application import opened

        return opened
    raise AttributeError(name)
