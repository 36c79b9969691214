"""Letters to a recipient: to an address the policy declares for it, with what was disclosed and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from kept.company import Company
from kept.controls.disclosure import gathered, payload, register
from kept.controls.disclosure.enforce import Disclosed, disclose
from kept.controls.disclosure.outgoing.destination import refuse_addresses, refuse_personal
from kept.controls.disclosure.payload import Record
from kept.controls.disclosure.recipients import party_of
from kept.controls.refused import Refused
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.mail.letter import Letter, checked
from kept.policy.facts import Party


def write_to(
    company: Company,
    recipient: str,
    records: Mapping[Person, Record],
    *,
    purpose: str,
    subject: str,
    contact: str | None = None,
    before: str = "",
    by: str | None = None,
    case: str | None = None,
    evidence: Mapping[str, str] | None = None,
    key: str | None = None,
) -> Disclosed:
    """Put a letter to a recipient into the outbox: `before`, then each person's fields, a line each.

    `contact` is one of the party's declared contacts, the only one with an address where it is left out. A personal
    value in the subject, which is read on the way, or in `before` is refused. Refused as for `disclose`; then no letter
    is written. Erasing any of them destroys a letter that still waits.
    """
    party = party_of(company.policy, recipient)
    address = address_of(party, contact)
    known = [one for some in gathered.identifiers(company, list(records)).values() for one in some]
    refuse_personal([*known, *payload.deep(records)], subject, before)
    refuse_addresses(company.policy, subject, before)
    done = disclose(
        company,
        recipient,
        list(records),
        purpose=purpose,
        records=records,
        by=by,
        case=case,
        evidence=evidence or {},
        key=key,
        way="mail",
    )
    parts = ["\n".join(_lines(record)) for record in done.records.values()]
    text = "\n\n".join([*([before.strip()] if before.strip() else []), *parts, company.policy.name]) + "\n"
    id = register.letter_of(done.id)  # by which an erasure finds it, while it waits
    company.outbox.put("disclosure", Letter(address, subject, text), id, id=id)
    return done


def address_of(party: Party, contact: str | None) -> str:
    """The e-mail address of a party's contact; Refused where none is declared, or several are and none is named."""
    found = {str(name): known["email"] for name, known in party.contacts.items() if "email" in known}
    if contact is not None:
        found = {name: address for name, address in found.items() if name == contact}
    if len(found) != 1:
        raise Refused(
            "contact",
            f"{'no' if not found else 'more than one'} contact of `{party.name}` has an address",
            help=f"declare one: contacts: {{office: {{email: …}}}} of `{party.name}`, and name it",
        )
    (address,) = found.values()
    try:
        return checked(address, "the contact's")
    except KeptError:
        why = f"what is declared of `{party.name}` is not an e-mail address"
        raise Refused("contact", why, help="one address such as name@company.example") from None


def _lines(record: Record) -> list[str]:
    """A record as lines, none of which a value can break into two."""
    return [
        f"{f'{table}.' if table else ''}{field}: {' '.join(str(value).split())}"
        for table, field, value in payload.values(record)
        if value is not None
    ]
