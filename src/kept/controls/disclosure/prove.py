"""Proves what the policy says of disclosure: what left, to whom, and that nothing else can through Kept."""

from __future__ import annotations

from collections.abc import Sequence

from kept.company import Company
from kept.controls.disclosure import measured, tried
from kept.controls.disclosure.declare import Disclosure, NeverDisclosed
from kept.controls.disclosure.declared import disclosures
from kept.controls.disclosure.visibility import measured as visibility
from kept.evidence.proof import Proof
from kept.policy.entry import Promise
from kept.policy.facts import Party


def prove(company: Company, promise: Promise) -> list[Proof]:
    """Measure what is given to parties, and what people see of each other; try what must be refused."""
    if isinstance(promise, NeverDisclosed):
        return [proof for word in promise.never for proof in _never(company, str(word))]
    assert isinstance(promise, Disclosure)
    proofs: list[Proof] = []
    parties = [company.policy.parties[to] for to in promise.to if to in company.policy.parties]
    if parties:
        live = measured.of_browsers(company, promise, parties)
        live += measured.of_stores(company, [str(party.name) for party in parties])
        proofs += _register(company, [promise], seen=bool(live) or promise.attest is not None)
        proofs += live
        proofs += measured.of_papers(company, promise, parties)
        proofs.append(tried.disclosure(company, promise, parties))
    return [*proofs, *visibility.measure(company, promise)]


def _register(
    company: Company, promises: Sequence[Disclosure], *, seen: bool, whole: bool = False
) -> list[Proof]:
    """What the register shows; one that is empty, or from under earlier versions alone, shows nothing, and is only said
    where nothing else was `seen`."""
    proof = measured.of_register(company, promises, whole=whole)
    empty = proof.measured["rows"] == proof.measured["earlier"] and not proof.measured["not_on_ledger"]
    return [] if proof.verdict == "unproven" and empty and seen else [proof]


def prove_party(company: Company, party: Party) -> list[Proof]:
    """Measure what a party itself is promised to be bound by: its agreement, and what protects data where it is.

    That their dates stand is measured; that there is such a paper, only whoever has it before them can say.
    """
    says = f"The file says which agreement binds {party.label}; the paper itself no machine has seen."
    return [*measured.of_papers(company, None, [party]), Proof("measure", "unproven", says, unseen=True)]


def _never(company: Company, word: str) -> list[Proof]:
    if word == "sale":
        past = "Whether anything is sold past Kept, no program can see."
        return [tried.sale(company), Proof("measure", "unproven", past, unseen=True)]
    policy = company.policy
    parties = [str(store.party) for store in policy.stores.values() if store.party is not None]
    live = [*measured.every_browser(company), *measured.of_stores(company, parties)]
    return [
        *_register(company, disclosures(policy), seen=bool(live), whole=True),
        *live,
        tried.undeclared(company),
    ]
