"""What is told of a decision: to programs whole, and to whoever asked for a page no more than they may know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kept.controls.choices.deciding import Decision

AGAIN: Final = "1"  # seconds after which it may be asked again, where nobody could tell
QUIET: Final = "this isn't allowed"


def whole(decision: Decision) -> dict[str, Any]:
    """Everything a program needs: the columns and how, or the sentence, its clauses, and a word for the rule."""
    return {
        "allowed": decision.allowed,
        "reason": decision.reason,
        "clause": list(decision.clause),
        "unsure": decision.unsure,
        "rule": decision.rule,
        "choice": decision.choice,
        "fields": dict(decision.fields),
        "floor": decision.floor,
    }


def refusal(decision: Decision, *, quiet: bool = False) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    """The answer to a request that is refused: status, JSON and headers. 403, or 503 where nobody could tell.

    `quiet` leaves out why: that somebody said no, or has left, is for nobody else to know.
    """
    status = 503 if decision.unsure else 403
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": AGAIN} if decision.unsure else {})
    body: dict[str, Any] = {"error": QUIET if quiet else decision.reason, "unsure": decision.unsure}
    if not quiet:
        body |= {"clause": list(decision.clause), "rule": decision.rule}
    return status, body, headers
