"""Who is meant by a recipient's name: exactly that one, and nobody whose name only looks like it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from kept.controls.disclosure.declare import NeverDisclosed
from kept.controls.refused import Refused
from kept.policy.facts import Party
from kept.policy.policy import Policy

# Letters of other scripts that look like Latin ones in common typefaces, after lower-casing (a selection of those in
# Unicode Technical Standard #39; what it leaves out isn't mistaken for a name, only refused in other words).
_PAIRS: Final = (
    "аa еe оo рp сc уy хx іi јj ѕs ԁd һh ӏl кk мm тt вb нh пn гr ԛq ԝw αa βb γy εe ιi κk νv οo ρp τt υu χx ωw ϲc ϳj"
    " ɡg ıi ɑa օo 0o 1l |l"
)
_LOOKALIKES: Final = str.maketrans({pair[0]: pair[1] for pair in _PAIRS.split()})
_EDGES: Final = re.compile(r"^[\W_]+|[\W_]+$")
_MOST: Final = 200  # characters of a name that anybody could mean


def party_of(policy: Policy, name: str) -> Party:
    """The party of a name, written as the policy file writes it; Refused for every other word, which is never repeated.

    A word that only looks like a declared name (another alphabet's letters, capitals, a dot or a space at its end) is
    refused as `lookalike`: a recipient is nobody's guess.
    """
    found = policy.parties.get(name)
    if found is not None:
        return found
    clause = never(policy, "undeclared")
    meant = _meant(policy, name) if len(name) <= _MOST else None
    if meant is not None:
        raise Refused(
            "lookalike",
            f"that is not `{meant.name}`, it only looks like it",
            clause=clause,
            help=f"write the recipient as the policy file does: {meant.name}",
        )
    raise Refused(
        "recipient",
        "no such recipient is declared, and nobody else gets anything",
        clause=clause,
        help=f"declared: {', '.join(map(str, policy.parties))}",
    )


def never(policy: Policy, word: str) -> tuple[str, ...]:
    """The clauses of the policy that say that something never happens: `sale`, `undeclared`."""
    return tuple(
        str(clause)
        for one in policy.section("disclosure").values()
        if isinstance(one, NeverDisclosed) and word in one.never
        for clause in one.clause
    )


def _meant(policy: Policy, name: str) -> Party | None:
    looks = looks_like(name)
    for party in policy.parties.values():
        if looks in {looks_like(one) for one in _names(party)}:
            return party
    return None


def _names(party: Party) -> Iterable[str]:
    return (str(party.name), *([str(party.title)] if party.title else ()), *map(str, party.also))


def looks_like(name: str) -> str:
    """What a name looks like: compatibility forms folded, accents and what isn't seen left out, other alphabets'
    letters as the Latin ones they resemble."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    seen = "".join(char for char in plain if unicodedata.category(char) not in ("Mn", "Me", "Cf", "Cc"))
    folded = _EDGES.sub("", seen.translate(_LOOKALIKES).replace("rn", "m").replace("vv", "w"))
    return re.sub(r"[\W_]+", "-", folded)
