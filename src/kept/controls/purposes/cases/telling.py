"""The letter to somebody whose data was looked at, where the purpose `tells` them: once a day for each reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kept.company import Company
from kept.controls.purposes.cases import recorded
from kept.controls.purposes.cases.rows import named
from kept.controls.purposes.declare import Purpose
from kept.controls.rights import addresses
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.laws.redress import redress
from kept.mail.letter import Letter, checked
from kept.policy.wording import data_words, people_words, words_of

LETTER: Final = "looked at"  # what the outbox calls it


def letter(
    company: Company, purpose: Purpose, case: str | None, role: str, person: Person, names: Sequence[str]
) -> Letter | None:
    """The letter about a look that is about to happen; None where the policy promises none, no letter can be sent, or
    one went today about the same purpose and case."""
    policy = company.policy
    told = [kind for who in purpose.tells if (kind := policy.kind_of(str(who))) is not None]
    if not any(policy.related(kind, person.kind) for kind in told) or not company.can_write:
        return None
    at = company.clock().astimezone(policy.timezone)
    said = named(company, case) if case is not None else None
    for seen in recorded.of(company, [person]).get(person, ()):
        same = (seen.purpose, seen.case, seen.at.astimezone(policy.timezone).date())
        if same == (str(purpose.name), said, at.date()):
            return None
    try:
        address = checked(addresses.of(company, [person])[person], "an address on record")
    except (KeyError, KeptError):
        return None  # they find it in the answer to what is held about them
    contact = next(
        (c["email"] for party in policy.us() for c in party.contacts.values() if "email" in c), None
    )
    staff = "our staff" if role == "staff" else people_words(policy, role)
    paragraphs = [
        f"On {at:%Y-%m-%d} somebody of {staff} looked at {data_words(policy, list(names))} of yours, "
        f"for this purpose: {words_of(purpose.name)}. It is on record who it was, and why.",
        "If you want to know more, or don't agree with it, write to us"
        + (f" at {contact}." if contact else ".")
        + " You can also ask us at any time what we hold about you; the answer lists every such look.",
    ]
    paragraphs += [" ".join(redress(law).sentences()) for law in policy.laws[:1]]
    us = policy.us()
    signed = us[0].label if us else policy.name
    paragraphs.append(signed + (f"\n{contact}" if contact else ""))
    subject = f"{policy.name}: somebody looked at your data"
    return Letter(address, subject, "\n\n".join(paragraphs) + "\n", reply_to=contact)
