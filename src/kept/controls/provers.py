"""Which section measures its promises how; sections that can't yet say what is missing."""

from __future__ import annotations

from collections.abc import Callable

from kept.company import Company
from kept.controls.choices import prove as choices
from kept.controls.collection import prove as collection
from kept.controls.purposes import prove as purposes
from kept.controls.retention import prove as retention
from kept.controls.rights import prove as rights
from kept.evidence.proof import Proof
from kept.policy.entry import Promise

PROVERS: dict[str, Callable[[Company, Promise], list[Proof]]] = {
    "collection": collection.prove,
    "choices": choices.prove,
    "purposes": purposes.prove,
    "retention": retention.prove,
    "rights": rights.prove,
}

MISSING = {
    "purposes": "Nothing measures it yet: the gate decides by choices alone in this version.",
    "disclosure": "Nothing measures it yet: Kept keeps no register of disclosures in this version.",
    "security": "Nothing measures it yet: Kept does not look at connections, hashes or places in this version.",
    "notices": "Nothing measures it yet: Kept sends no notices in this version.",
}
