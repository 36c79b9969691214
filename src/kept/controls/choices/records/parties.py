"""The parties of a consent record, from the policy file; what the file doesn't say is said to be missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kept.laws.law import law
from kept.laws.redress import redress
from kept.laws.region import applying
from kept.policy import words
from kept.policy.facts import Party
from kept.policy.policy import Policy

ROLES: Final = {
    "us": "controller",
    "processor": "processor",
    "controller": "third party",
    "joint": "joint controller",
    "client": "controller",
    "authority": "third party",
    "rescue": "third party",
    "successor": "third party",
}
"""What a role of the policy language is called in ISO/IEC TS 27560 and GDPR Art. 4(7)–(10)."""

TYPES: Final = {"us": "data controller", "client": "data controller", "joint": "data controller"}
"""What a party is to the data (ISO's party type); others receive it."""


class Findings(list[dict[str, str]]):
    """What a record must have and the policy doesn't say: `{"field", "says"}`, never a value made up for it."""

    def missing(self, field: str, says: str) -> None:
        """Note a field that stays empty, once."""
        found = {"field": field, "says": says}
        if found not in self:
            self.append(found)


def cite(policy: Policy, region: str | None, article: str) -> str | None:
    """`GDPR Art. 7(3)`, or the UK GDPR's where that is somebody's law; None where neither is."""
    under = [name for name in applying(policy.laws, region) if name in policy.european()]
    return f"{law(under[0]).short} {article}" if under else None


def controllers(policy: Policy, region: str | None) -> list[Party]:
    """Who answers for somebody of a region: those who serve it, or everybody where nobody says so."""
    us = policy.us()
    serving = [
        party
        for party in us
        if region is None or not party.serves or any(words.covers(area, region) for area in party.serves)
    ]
    elsewhere = [party for party in us if "elsewhere" in party.serves]
    return serving or elsewhere or list(us)


def described(parties: Iterable[Party], findings: Findings) -> list[dict[str, Any]]:
    """Parties as ISO/IEC TS 27560 (6.3.6) has them: id, name, address, contact, role and type."""
    found = []
    for party in parties:
        place = f"party_identification.{party.name}"
        contacts = {str(name): dict(contact) for name, contact in party.contacts.items()}
        post = _first(contacts, "post")
        if post is None:
            findings.missing(f"{place}.party_address", f"the policy gives no postal address of {party.label}")
        if not contacts:
            findings.missing(f"{place}.party_contact", f"the policy says nowhere how to reach {party.label}")
        found.append(
            {
                "party_id": str(party.name),
                "party_name": party.label,
                "party_address": post,
                "party_email": _first(contacts, "email"),
                "party_phone": _first(contacts, "phone"),
                "party_url": [f"https://{site}" for site in party.sites if "*" not in site] or None,
                "party_contact": contacts or None,
                "party_role": ROLES[party.role],
                "party_type": TYPES.get(party.role, "recipient"),
                "party_region": [str(region) for region in party.region] or None,
            }
        )
    return found


def authorities(policy: Policy, region: str | None) -> list[dict[str, str]]:
    """Whom somebody of a region can complain to (GDPR Art. 13(2)(d), 77), each once."""
    found: dict[str, dict[str, str]] = {}
    for name in applying(policy.laws, region):
        where = redress(name, region)
        for one in where.authorities:
            found.setdefault(one.name, {"name": one.name, "url": one.site, "article": where.article})
    return list(found.values())


def jurisdiction(policy: Policy, region: str | None) -> dict[str, Any]:
    """Which laws a record is under, and where they hold."""
    laws = [law(name) for name in applying(policy.laws, region)]
    return {
        "region": region,
        "laws": [{"name": one.name, "citation": one.citation, "regions": list(one.regions)} for one in laws],
    }


def _first(contacts: dict[str, dict[str, str]], what: str) -> str | None:
    return next((contact[what] for contact in contacts.values() if what in contact), None)
