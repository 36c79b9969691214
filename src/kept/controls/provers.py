"""Which section measures its promises how; sections that can't yet say what is missing."""

from __future__ import annotations

from collections.abc import Callable

from kept.company import Company
from kept.controls.choices import prove as choices
from kept.controls.collection import prove as collection
from kept.controls.disclosure import prove as disclosure
from kept.controls.purposes import prove as purposes
from kept.controls.retention import prove as retention
from kept.controls.rights import prove as rights
from kept.controls.security import prove as security
from kept.evidence.proof import Proof
from kept.policy.entry import Entry, Promise
from kept.policy.facts import Party

PROVERS: dict[str, Callable[[Company, Promise], list[Proof]]] = {
    "collection": collection.prove,
    "choices": choices.prove,
    "purposes": purposes.prove,
    "disclosure": disclosure.prove,
    "retention": retention.prove,
    "rights": rights.prove,
    "security": security.prove,
}


def prove_fact(company: Company, fact: Entry) -> list[Proof]:
    """What shows whether a fact with a clause is true: of a party, that it is bound; of others nothing does yet."""
    return disclosure.prove_party(company, fact) if isinstance(fact, Party) and fact.role != "us" else []


MISSING = {
    "purposes": "Nothing of it can be measured: add `attest:` for whoever confirms it.",
    "disclosure": "Nothing of it can be measured: add `attest:` for whoever confirms it.",
    "security": "Nothing of it can be measured: add `attest:` for whoever confirms it.",
    "notices": "Nothing measures it yet: Kept sends no notices in this version.",
}
