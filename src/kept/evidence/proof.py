"""A proof: what was done to see whether a promise is true, and what was seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["kept", "broken", "attested", "unproven"]
Kind = Literal["measure", "probe", "attest"]
Measured = Mapping[str, int | float | str | bool | None]

_WORST: tuple[Verdict, ...] = ("broken", "unproven", "attested", "kept")


@dataclass(frozen=True)
class Proof:
    """`kind` measure (a query on the live store), probe (an act that must be refused was tried) or attest (a name).

    `measured` holds counts, times and names of things, never a personal value; `says` is one sentence for people.
    `unseen` is what no machine can see, whatever is done: the part that an attestation, where one stands, is about.
    """

    kind: Kind
    verdict: Verdict
    says: str
    measured: Measured = field(default_factory=dict)
    unseen: bool = False


def worst(proofs: Iterable[Proof]) -> Verdict:
    """The worst proof decides: broken, unproven, attested, kept; nothing measured is `unproven`."""
    verdicts = {proof.verdict for proof in proofs}
    return next((verdict for verdict in _WORST if verdict in verdicts), "unproven")
