"""Tells people what of theirs was given to whom, where the policy says that they are told (`tells`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

from sqlalchemy import Connection

from kept.company import Company
from kept.controls.disclosure.declare import Disclosure
from kept.controls.rights import addresses
from kept.controls.rights.people import Person
from kept.mail.letter import Letter
from kept.policy.facts import Party
from kept.policy.policy import Policy
from kept.policy.wording import data_words, words_of


def letters(
    company: Company, disclosure: Disclosure, party: Party, call: str, given: Mapping[Person, Sequence[str]]
) -> Callable[[Connection], None] | None:
    """What puts a letter to each of these people, whose kind is told and who have an address, into the outbox: which of
    their data was `given`. None where nobody is written to.

    The same call again sends no second letter. Who is another end of a link (`sale.seller`) isn't told here.
    """
    told = [who for who in given if is_told(company.policy, disclosure, who.kind)]
    known = addresses.of(company, told) if told else {}

    def put(connection: Connection) -> None:
        for who, address in known.items():
            id = sha256(f"{call} {company.keys.index(str(who))}".encode()).hexdigest()[:40]
            letter = _letter(company.policy, disclosure, party, given[who], address)
            company.outbox.put("disclosed", letter, id=id, connection=connection)

    return put if known else None


def is_told(policy: Policy, disclosure: Disclosure, kind: str) -> bool:
    """Whether people of a root kind are told of a disclosure of theirs."""
    kinds = (policy.kind_of(str(who)) for who in disclosure.tells)
    return any(
        (root := policy.root(one)) is not None and root.name == kind for one in kinds if one is not None
    )


def _letter(
    policy: Policy, disclosure: Disclosure, party: Party, given: Sequence[str], address: str
) -> Letter:
    contact = next((c["email"] for one in policy.us() for c in one.contacts.values() if "email" in c), None)
    what, whither = (
        data_words(policy, given),
        f"{party.label}, for “{words_of(disclosure.purpose)}”",
    )
    text = (
        f"We gave {what} to {whither}, as our privacy policy says.\n\n"
        f"You can ask us at any time what we gave to whom{f': {contact}' if contact else '.'}\n\n{policy.name}\n"
    )
    return Letter(address, f"{policy.name}: your data was given to {party.label}", text, reply_to=contact)
