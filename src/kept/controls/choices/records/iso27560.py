"""A choice as a consent record: the mandatory fields of ISO/IEC TS 27560:2023, and those that the GDPR adds.

Fields and their names follow W3C DPV's guide to the specification (consent-27560, table 7.2). A refusal is a record
like a yes. Whatever the policy file doesn't say is empty, and told among the `findings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from kept.company import Company
from kept.controls.choices.declare import Choice
from kept.controls.choices.records import choosing
from kept.controls.choices.records.choosing import Choosing
from kept.controls.choices.records.dpv import STATES
from kept.controls.choices.records.history import Event
from kept.controls.choices.records.parties import Findings, cite, controllers, described
from kept.controls.choices.records.processing import purposes
from kept.controls.choices.records.states import ENDS, OURS, STANDING
from kept.controls.rights.people import Person
from kept.policy.policy import Policy

SCHEMA: Final = "urn:kept:consent-record:1"
RECORD: Final = "https://w3id.org/dpv/schema/dpv-27560#record"
RECORD_GDPR: Final = "https://w3id.org/dpv/schema/dpv-27560#record-eu-gdpr"

FROM_TODAY: Final = (
    "purpose_description",
    "lawful_basis",
    "pii_information.pii_name",
    "pii_information.pii_optional",
    "pii_controllers",
    "collection_method",
    "storage_locations",
    "retention_period",
    "jurisdiction",
    "recipient_third_parties",
    "geographic_restrictions",
    "withdrawal_method",
    "privacy_rights",
    "authority_party",
    "necessity",
    "party_identification",
)
"""Fields of a purpose, and of a record, that are read from the policy file of the day a record is told, and not of the
day it was made."""

TODAY: Final = (
    "The answers, the words that were shown and the meanings are told as they were then. How each purpose is "
    "described, "
    "its legal ground, the places, the periods, who holds the data for us, transfers, rights, parties and ways to "
    "withdraw are told from this policy file, as it stood when this was told; at the time of the answer it may have "
    "said something else."
)

TWICE: Final = frozenset({"confirmed", "letter"})
"""Ways in which a yes is explicit: in writing, or confirmed a second time (EDPB Guidelines 05/2020, 93, 98)."""


def export(company: Company, whos: Sequence[Person] | None = None) -> Iterator[dict[str, Any]]:
    """The record of every act of choosing of these people, or of everybody, person by person."""
    return (consent_record(company, one) for one in choosing.of_people(company, whos))


def consent_record(company: Company, chosen: Choosing) -> dict[str, Any]:
    """One act of choosing as a JSON value. Nobody is named in it: a person is their pseudonym."""
    policy, findings = company.policy, Findings()
    if chosen.person is None:
        findings.missing("pii_principal_id", "whoever chose this was erased: it is nobody's now")
    uses = [
        use
        for event in _one_each(chosen.own)
        for use in purposes(company, event, chosen.meant.get(event.meaning), findings)
    ]
    languages = list(dict.fromkeys(str(shown["language"]) for shown in chosen.shown.values()))
    for event in chosen.own:
        if event.notice is None:
            findings.missing(
                f"pii_processing.privacy_notice.{event.choice}",
                "the answer came from a device or a program: nothing was shown that is on record"
                if event.is_automatic or event.way in OURS
                else "what was shown beside this answer isn't on record",
            )
    region = chosen.own[0].region
    named = dict.fromkeys(
        [
            *(str(party.name) for party in controllers(policy, region)),
            *(one["party_id"] for use in uses for one in use["recipient_third_parties"] if one["party_id"]),
        ]
    )
    parties = [policy.parties[name] for name in named]
    return {
        "schema_version": SCHEMA,
        "conforms_to": [RECORD_GDPR if cite(policy, region, "") else RECORD],
        "record_id": chosen.record,
        "pii_principal_id": chosen.person,
        "pii_principal_kind": chosen.kind,
        "policy": _told_from(company.policy, chosen),
        "pii_processing": {
            "privacy_notice": [{"sha256": id, "shown": shown} for id, shown in chosen.shown.items()],
            "language": languages or None,
            "meanings": [{"sha256": id, "meaning": meant} for id, meant in chosen.meant.items()],
            "purposes": uses,
        },
        "party_identification": described(parties, findings),
        "events": [_event(policy, chosen, event) for event in chosen.events],
        "findings": list(findings),
    }


def _told_from(policy: Policy, chosen: Choosing) -> dict[str, Any]:
    """The policy file that this record is told from, today's, and whether it is the one people answered under.

    `tells`: the fields that are read from it. `file_then`: the SHA-256 of the files under which the notices were shown;
    none where nothing was. `same_as_then`: None where that isn't on record for every answer.
    """
    then = list(dict.fromkeys(str(shown["policy"]) for shown in chosen.shown.values() if "policy" in shown))
    digests = [chosen.shown.get(event.notice or "", {}).get("policy") for event in chosen.own]
    same: bool | None = None  # of an answer beside which nothing was shown nobody knows
    if any(digest not in (None, policy.source.digest) for digest in digests):
        same = False
    elif None not in digests:
        same = True
    return {
        "name": policy.name,
        "version": policy.version.isoformat(),
        "sha256": policy.source.digest,
        "tells": list(FROM_TODAY),
        "file_then": then,
        "same_as_then": same,
        "says": TODAY,
    }


def _one_each(own: Sequence[Event]) -> list[Event]:
    """One event for each choice, scope and meaning: what it is about is told once."""
    return list({(event.choice, event.scope, event.meaning): event for event in own}.values())


def _event(policy: Policy, chosen: Choosing, event: Event) -> dict[str, Any]:
    """One change of one choice (ISO/IEC TS 27560, 6.3.7). `entity_id`: who expressed it, a pseudonym or a party."""
    return {
        "record_id": event.record,
        "choice": event.choice,
        "scope": event.scope or None,
        "event_time": stamped(event.at),
        "received": stamped(event.received),
        "validity_duration": _validity(event),
        "entity_id": _entity(policy, chosen, event),
        "event_type": "explicit" if event.way in TWICE else "regular",
        "event_state": STATES[event.state],
        "answer": event.answer,
        "way": event.way,
        "noted_by": event.by,
        "took_effect": event.took,
        "privacy_notice": event.notice,
        "meaning": event.meaning,
        "region": event.region,
    }


def _validity(event: Event) -> dict[str, str | None]:
    if event.until is not None:
        return {"until": stamped(event.until), "says": "until then, unless it is withdrawn before"}
    if event.state in STANDING:
        return {"until": None, "says": "until it is withdrawn"}
    return {"until": None, "says": "until another answer"}


def _entity(policy: Policy, chosen: Choosing, event: Event) -> str | None:
    """Who expressed it: the controller for what it did itself, a guardian where they answered, else the person."""
    if event.way in OURS or event.answer in ("asked", *ENDS):
        us = controllers(policy, event.region)
        return str(us[0].name) if us else None
    choice = policy.section("choices").get(event.choice)
    if isinstance(choice, Choice) and choice.by and event.by is not None and event.way != "staff":
        return event.by
    return chosen.person


def stamped(at: datetime) -> str:
    """A time as ISO 8601 in UTC, as ledgers write it too."""
    return at.astimezone(UTC).isoformat()
