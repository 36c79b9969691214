"""Consent records as JSON-LD in the Data Privacy Vocabulary 2.3, for whoever reads linked data.

The context stands in the document, so that nothing is fetched to read it, and every reference is written as one. Terms
are those of https://w3id.org/dpv and its extensions for personal data (pd), places (loc) and the GDPR (eu-gdpr); the
shape is that of W3C DPV's guide to ISO/IEC TS 27560 (consent-27560, section 8).
"""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kept.controls.choices.records.states import State

Node = dict[str, Any]

CONTEXT: Final[Mapping[str, str]] = {
    "dpv": "https://w3id.org/dpv#",
    "pd": "https://w3id.org/dpv/pd#",
    "loc": "https://w3id.org/dpv/loc#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "dct": "http://purl.org/dc/terms/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "schema": "https://schema.org/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}

STATES: Final[Mapping[State, str]] = {
    "Requested": "ConsentRequested",
    "RequestDeferred": "ConsentRequestDeferred",
    "Refused": "ConsentRefused",
    "Given": "ConsentGiven",
    "RenewedGiven": "RenewedConsentGiven",
    "Expired": "ConsentExpired",
    "Invalidated": "ConsentInvalidated",
    "Revoked": "ConsentRevoked",
    "Withdrawn": "ConsentWithdrawn",
    "Unknown": "ConsentUnknown",
}
"""What DPV calls a state of `records.states`."""

SORTS: Final[Mapping[str, str]] = {
    "name": "Name",
    "username": "Username",
    "email": "EmailAddress",
    "phone": "TelephoneNumber",
    "address": "PhysicalAddress",
    "birth-date": "BirthDate",
    "identifier": "Identifier",
    "ip-address": "IPAddress",
    "device": "DeviceBased",
    "precise-location": "GPSCoordinate",
    "coarse-location": "Location",
    "place": "Location",
    "bank-account": "BankAccount",
    "tax-number": "OfficialID",
    "national-id": "OfficialID",
    "card-number": "PaymentCardNumber",
    "card-token": "PaymentCard",
    "credential": "Authenticating",
    "photo": "Picture",
    "health": "Health",
    "organisation": "Professional",
    "language": "Language",
    "financial": "Financial",
    "transaction": "Transaction",
    "behaviour": "Behavioural",
    "preference": "Preference",
}
"""Sorts of data by their category in the extension `pd`; the others have none there, and are `dpv:PersonalData`."""

GROUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "consent": ("dpv:Consent", "eu-gdpr:A6-1-a"),
    "contract": ("dpv:Contract", "eu-gdpr:A6-1-b"),
    "legal-duty": ("dpv:LegalObligation", "eu-gdpr:A6-1-c"),
    "vital-interest": ("dpv:VitalInterest", "eu-gdpr:A6-1-d"),
    "public-task": ("dpv:PublicInterest", "eu-gdpr:A6-1-e"),
    "legitimate-interest": ("dpv:LegitimateInterest", "eu-gdpr:A6-1-f"),
    "legal-claims": ("dpv:LegitimateInterest", "eu-gdpr:A6-1-f"),
}
ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "controller": ("dpv:DataController",),
    "joint controller": ("dpv:DataController",),
    "processor": ("dpv:DataProcessor", "dpv:Recipient"),
    "third party": ("dpv:ThirdParty", "dpv:Recipient"),
}
RIGHTS: Final[Mapping[str, str]] = {
    "access": "A15",
    "correct": "A16",
    "erase": "A17",
    "restrict": "A18",
    "export": "A20",
    "object": "A21",
    "human-decision": "A22",
    "withdraw": "A7-3",
    "complain": "A77",
}
SAFEGUARDS: Final[Mapping[str, str]] = {
    "adequacy": "eu-gdpr:A45-3",
    "data-privacy-framework": "eu-gdpr:A45-3",  # Implementing Decision (EU) 2023/1795 is one of adequacy
    "standard-contractual-clauses": "eu-gdpr:A46-2-c",
    "binding-corporate-rules": "eu-gdpr:A46-2-b",
}
METHODS: Final[Mapping[str, str]] = {"collect": "dpv:Collect", "use": "dpv:Use", "disclose": "dpv:Disclose"}
FATES: Final[Mapping[str, str]] = {
    "delete": "dpv:Erase",
    "destroy": "dpv:Erase",
    "anonymise": "dpv:Anonymise",
}
_AREAS: Final = {"eea": "EEA", "uk": "GB"}


def jsonld(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One JSON-LD document of consent records as `iso27560.consent_record` makes them."""
    return {"@context": dict(CONTEXT), "@graph": [node(record) for record in records]}


def node(record: Mapping[str, Any]) -> Node:
    """One consent record as a node of a graph. A person is a blank node with their pseudonym."""
    processing, id = record["pii_processing"], record["record_id"]
    person = f"_:person-{record['pii_principal_id'] or id}"
    notices = [_notice(one) for one in processing["privacy_notice"]]
    return _full(
        {
            "@id": f"urn:uuid:{uuid.UUID(hex=id)}",
            "@type": "dpv:ConsentRecord",
            "dct:conformsTo": _refs(record["conforms_to"]),
            "dct:identifier": id,
            "dpv:hasDataSubject": _full(
                {"@id": person, "@type": "dpv:DataSubject", "dct:identifier": record["pii_principal_id"]}
            ),
            "dpv:hasNotice": notices,
            "dct:language": processing["language"],
            "dpv:hasProcess": [_process(use, id, place) for place, use in enumerate(processing["purposes"])],
            "dpv:hasConsentStatus": [_status(event, person, record) for event in record["events"]],
            "dpv:hasEntity": [_party(one) for one in record["party_identification"]],
            "dct:description": [
                f"policy: {record['policy']['says']}",
                *(f"{one['field']}: {one['says']}" for one in record["findings"]),
            ],
        }
    )


def notice_of(sha256: str) -> str:
    """What was shown, by a name anyone can check: `ni:///sha-256;…` (RFC 6920)."""
    return f"ni:///sha-256;{urlsafe_b64encode(bytes.fromhex(sha256)).rstrip(b'=').decode('ascii')}"


def _notice(notice: Mapping[str, Any]) -> Node:
    shown = notice["shown"]
    version = shown.get("version")  # of the policy of then
    return _full(
        {
            "@id": notice_of(notice["sha256"]),
            "@type": "dpv:ConsentNotice",
            "dct:language": shown["language"],
            "dct:date": {"@type": "xsd:date", "@value": version} if version is not None else None,
            "dct:type": shown["kind"],
        }
    )


def _process(use: Mapping[str, Any], record: str, place: int) -> Node:
    return _full(
        {
            "@id": f"_:process-{record}-{place}",
            "@type": "dpv:Process",
            "dct:title": use["choice"] if use["scope"] is None else f"{use['choice']}: {use['scope']}",
            "dpv:hasPurpose": _full(
                {
                    "@id": f"_:purpose-{record}-{place}",
                    "@type": "dpv:Purpose",
                    "dct:title": use["purpose"],
                    "dct:description": use["purpose_description"],
                }
            ),
            "dpv:hasLegalBasis": _grounds(use["lawful_basis"] or ()),
            "dpv:hasPersonalData": [_data(one) for one in use["pii_information"] or ()],
            "dpv:hasDataController": [{"@id": _entity(name)} for name in use["pii_controllers"]],
            "dpv:hasProcessing": _refs(METHODS[one] for one in use["processing_method"] if one in METHODS),
            "dpv:hasDataSource": [
                {"@type": "dpv:DataSource", "dct:title": source} for source in use["collection_method"] or ()
            ],
            "dpv:hasStorageCondition": [
                *(_place(one) for one in use["storage_locations"] or ()),
                *(one for period in use["retention_period"] or () for one in _period(period)),
            ],
            "dpv:hasRecipient": [
                {"@id": _entity(one["party_id"])}
                if one["party_id"] is not None
                else {"@type": "dpv:Recipient", "dpv:hasName": one["who"]}
                for one in use["recipient_third_parties"]
            ],
            "dpv:hasLegalMeasure": [_transfer(one) for one in use["geographic_restrictions"]],
            "dpv:hasJurisdiction": _refs(
                dict.fromkeys(
                    location
                    for one in use["jurisdiction"]["laws"]
                    for location in map(_location, one["regions"])
                    if location is not None
                )
            ),
            "dpv:hasApplicableLaw": [
                {"@type": "dpv:Law", "dct:title": one["name"], "dct:identifier": one["citation"]}
                for one in use["jurisdiction"]["laws"]
            ],
            "dpv:hasConsentControl": _full(
                {
                    "@type": "dpv:WithdrawConsent",
                    "dpv:isExercisedAt": _refs(use["withdrawal_method"]["urls"]),
                    "dct:description": use["withdrawal_method"]["says"],
                }
            ),
            "dpv:hasRight": [_right(one) for one in use["privacy_rights"]],
            "dpv:hasAuthority": [
                {
                    "@type": "dpv:DataProtectionAuthority",
                    "dpv:hasName": one["name"],
                    "schema:url": {"@id": one["url"]},
                }
                for one in use["authority_party"] or ()
            ],
            "dpv:hasNecessity": {"@id": "dpv:Optional" if use["necessity"] == "optional" else "dpv:Required"},
        }
    )


def _status(event: Mapping[str, Any], person: str, record: Mapping[str, Any]) -> Node:
    """One change of a choice. A yes that came without a person's own act is consent of no more particular kind."""
    until = event["validity_duration"]
    kind = "dpv:ExplicitlyExpressedConsent" if event["event_type"] == "explicit" else "dpv:Consent"
    by = person
    if event["entity_id"] != record["pii_principal_id"] and event["entity_id"] is not None:
        by = _entity(event["entity_id"])
    return _full(
        {
            "@type": f"dpv:{event['event_state']}",
            "dct:title": event["choice"]
            if event["scope"] is None
            else f"{event['choice']}: {event['scope']}",
            "dpv:hasLegalBasis": {"@id": kind},
            "dpv:isIndicatedAtTime": {"@type": "xsd:dateTime", "@value": event["event_time"]},
            "dpv:isIndicatedBy": {"@id": by},
            "dpv:hasIndicationMethod": event["way"],
            "dpv:hasDuration": {
                "@type": "dpv:UntilTimeDuration" if until["until"] is not None else "dpv:UntilEventDuration",
                "rdf:value": {"@type": "xsd:dateTime", "@value": until["until"]}
                if until["until"] is not None
                else until["says"],
            },
            "dpv:hasNotice": {"@id": notice_of(event["privacy_notice"])} if event["privacy_notice"] else None,
            "dct:isPartOf": {"@id": f"urn:uuid:{uuid.UUID(hex=event['record_id'])}"},
        }
    )


def _party(party: Mapping[str, Any]) -> Node:
    regions = (_location(region) for region in party["party_region"] or ())
    return _full(
        {
            "@id": _entity(party["party_id"]),
            "@type": ["dpv:Organisation", *ROLES[party["party_role"]]],
            "dct:identifier": party["party_id"],
            "dpv:hasName": party["party_name"],
            "dpv:hasAddress": party["party_address"],
            "dpv:hasContact": [
                one for one in (party["party_email"], party["party_phone"]) if one is not None
            ],
            "schema:url": _refs(party["party_url"] or ()),
            "dpv:hasLocation": _refs(region for region in regions if region is not None),
        }
    )


def _data(data: Mapping[str, Any]) -> Node:
    category = SORTS.get(data["pii_type"])
    types = ["dpv:PersonalData", *([f"pd:{category}"] if category is not None else [])]
    if data["special_pii_category"]:
        types.append("dpv:SpecialCategoryPersonalData")
    return {
        "@type": types,
        "dct:title": f"{data['pii_name']}: {data['pii_type']}",
        "dct:identifier": data["pii_attribute_id"],
        "dpv:hasNecessity": {"@id": "dpv:Optional" if data["pii_optional"] else "dpv:Required"},
    }


def _place(place: Mapping[str, Any]) -> Node:
    if place["location"] is not None:
        return {"@type": "dpv:StorageLocation", "dpv:hasLocation": {"@id": "dpv:WithinDevice"}}
    regions = [location for location in map(_location, place["regions"] or ()) if location is not None]
    return _full(
        {"@type": "dpv:StorageLocation", "dct:title": place["store"], "dpv:hasLocation": _refs(regions)}
    )


def _period(period: Mapping[str, Any]) -> list[Node]:
    """How long data stays; and what becomes of it then."""
    duration: Node = {"@type": "dpv:UntilEventDuration", "rdf:value": period["says"]}
    if period["after"] is None:
        duration = {"@type": "dpv:EndlessDuration"}
    elif period["duration"] is not None:
        duration = {
            "@type": ["dpv:TemporalDuration", "dpv:UntilEventDuration"],
            "rdf:value": [{"@type": "xsd:duration", "@value": period["duration"]}, period["says"]],
        }
    found: list[Node] = [
        {"@type": "dpv:StorageDuration", "dct:identifier": period["data"], "dpv:hasDuration": duration}
    ]
    if period["then"] in FATES:
        found.append(
            {
                "@type": "dpv:StorageDeletion",
                "dct:identifier": period["data"],
                "dpv:hasProcessing": {"@id": FATES[period["then"]]},
            }
        )
    return found


def _transfer(transfer: Mapping[str, Any]) -> Node:
    under = SAFEGUARDS.get(transfer["safeguard"] or "")
    return _full(
        {
            "@type": ["dpv:SafeguardForDataTransfer", *([under] if under is not None else [])],
            "dct:title": transfer["says"],
            "dpv:hasRecipient": {"@id": _entity(transfer["party_id"])},
            "dpv:hasLocation": _refs(
                location for location in map(_location, transfer["regions"]) if location is not None
            ),
        }
    )


def _right(right: Mapping[str, Any]) -> Node:
    ours = RIGHTS.get(right["right"])
    european = any(article.startswith("GDPR ") for article in right["articles"])
    return {
        "@type": ["dpv:DataSubjectRight", *([f"eu-gdpr:{ours}"] if ours is not None and european else [])],
        "dct:title": right["right"],
        "dct:source": right["articles"],
    }


def _grounds(grounds: Sequence[Mapping[str, str | None]]) -> list[Node]:
    found: dict[str, None] = {}
    for one in grounds:
        general, article = GROUNDS[str(one["ground"])]
        found[general] = None
        if (one["article"] or "").startswith("GDPR "):
            found[article] = None
    return _refs(found)


def _location(region: str) -> str | None:
    """`eea` is `loc:EEA`, `us-ca` `loc:US-CA`; what is no place is None."""
    return None if region == "elsewhere" else f"loc:{_AREAS.get(region, region.upper())}"


def _entity(name: str) -> str:
    return f"_:party-{name}"


def _refs(names: Iterable[str]) -> list[Node]:
    return [{"@id": name} for name in names]


def _full(node: Node) -> Node:
    """A node without what is empty: in a graph nothing is said of what isn't known."""
    return {key: value for key, value in node.items() if value is not None and value != []}
