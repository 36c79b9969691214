"""How a choice stands: the states of a consent in the Data Privacy Vocabulary, and how one follows from another.

DPV 2.3 names them ConsentGiven, ConsentRefused and so on; here they stand without the word they share.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

Answer = Literal["yes", "no", "later", "asked", "lapsed", "invalid", "revoked"]
"""What happened: somebody said yes or no, put it off, was asked and hasn't answered; or a yes lapsed, was invalid all
along, or was revoked by the company."""

ANSWERS: Final[tuple[Answer, ...]] = get_args(Answer)

State = Literal[
    "Requested",
    "RequestDeferred",
    "Refused",
    "Given",
    "RenewedGiven",
    "Expired",
    "Invalidated",
    "Revoked",
    "Withdrawn",
    "Unknown",
]
STATES: Final[tuple[State, ...]] = get_args(State)
STANDING: Final = frozenset({"Given", "RenewedGiven"})
AGAINST: Final = frozenset({"Refused", "Withdrawn", "Revoked"})
"""The states in which even a use that needs no yes is refused: somebody said no, or the company took it back."""

EXPLICIT: Final = (
    "banner",
    "page",
    "letter",
    "form",
    "account",
    "api",
    "staff",
    "confirmed",
    "one-click",
    "request",
)
AUTOMATIC: Final = ("signal", "device", "import", "merged")
OURS: Final = ("lapse", "policy")
WAYS: Final = (*EXPLICIT, *AUTOMATIC, *OURS)
"""How an answer came. What a person did themselves is explicit; the rest never overrides it (`effect`)."""

ENDS: Final[dict[str, State]] = {"lapsed": "Expired", "invalid": "Invalidated", "revoked": "Revoked"}
"""What ends a yes that nobody took back, and the state it is in then."""


def following(before: State | None, answer: Answer, *, twice: bool) -> State:
    """The state after an answer; `twice`: this yes has to be confirmed once more (double opt-in), and isn't yet."""
    stood = before in STANDING
    if answer == "yes":
        return "Requested" if twice else "RenewedGiven" if stood else "Given"
    if answer == "no":
        return "Withdrawn" if stood else "Refused"
    if answer in ENDS:
        return ENDS[answer]
    return "RequestDeferred" if answer == "later" else "Requested"
