"""The closed lists of the language: regions, roles, sorts of data, stores, evidence, channels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, TypeVar

import pycountry

from kept.laws.region import EEA as EEA
from kept.laws.region import covers as covers  # a word of the language, and what it stands for

T = TypeVar("T")

ROLES: Final = ("us", "processor", "controller", "joint", "client", "authority", "rescue", "successor")
STORE_KINDS: Final = ("sql", "files", "hubspot", "stripe", "browser", "sheet", "http", "outside")
RECORD_KINDS: Final = ("hubspot", "stripe", "http")  # people as records behind an API, opened by a token
ANSWERS: Final = (
    "status",
    "callback",
)  # a partner's system is asked how a request stands, or calls back as well
ENDPOINTS: Final = ("discovery", "requests", "status")  # OpenDSR 2.0
SAFEGUARDS: Final = (
    "adequacy",
    "binding-corporate-rules",
    "data-privacy-framework",
    "privacy-shield",
    "standard-contractual-clauses",
)
GROUNDS: Final = (
    "contract",
    "consent",
    "legitimate-interest",
    "legal-duty",
    "legal-claims",
    "vital-interest",
    "public-task",
)
CHANNELS: Final = ("email", "push", "sms", "phone", "post", "social", "in-app", "site")
NEEDS: Final = (
    "verified-email",
    "verified-phone",
    "verified-identity",
    "written-consent",
    "document",
    "reason",
    "asked",
    "agreement",
)
RIGHTS: Final = (
    "access",
    "export",
    "correct",
    "erase",
    "restrict",
    "object",
    "withdraw",
    "complain",
    "human-decision",
    "no-retaliation",
    "pass-on",
)

# Sorts of data and whether a value of the sort points at one person by itself. `anonymise` clears those that do.
TYPES: Final[dict[str, bool]] = {
    "name": True,
    "username": True,
    "email": True,
    "phone": True,
    "address": True,
    "birth-date": True,
    "identifier": True,
    "ip-address": True,
    "device": True,
    "precise-location": True,
    "bank-account": True,
    "tax-number": True,
    "national-id": True,
    "card-number": True,
    "card-token": True,
    "credential": True,
    "photo": True,
    "free-text": True,
    "health": True,
    "coarse-location": False,
    "place": False,
    "organisation": False,
    "language": False,
    "financial": False,
    "transaction": False,
    "behaviour": False,
    "preference": False,
    "technical": False,
    "status": False,
    "time": False,
    "recorded": False,
    "source": False,
}

# What each sort of name is called where one is missing.
CALLED: Final = {
    "parties": "a party",
    "stores": "a store",
    "people": "a kind of person",
    "links": "a link",
    "ends": "an end of a link",
    "data": "data",
    "choices": "a choice",
    "purposes": "a purpose",
    "contacts": "a contact of a party",
    "moments": "a moment such as user.ended",
    "collection": "a collection",
    "disclosure": "a disclosure",
    "retention": "a retention",
    "rights": "a right",
    "security": "a security promise",
    "notices": "a notice",
}

# Words of regions that are not ISO 3166 codes, and what each stands for.
REGION_WORDS: Final = {
    "eea": "the EEA",
    "uk": "the UK",
    "elsewhere": "everywhere else",
}


@cache
def regions() -> frozenset[str]:
    """Every region the language knows: `eea`, `uk`, `elsewhere`, ISO 3166-1 and -2 in small letters."""
    countries = {country.alpha_2.lower() for country in pycountry.countries}
    parts = {part.code.lower() for part in pycountry.subdivisions}
    return frozenset(countries | parts | set(REGION_WORDS))


def applicable(by_region: Mapping[str, T], region: str) -> T:
    """The value of a map by region that holds for one region: the narrowest that covers it, else `elsewhere`."""
    for area in (region, region.partition("-")[0], "uk", "eea"):
        if area in by_region and covers(area, region):
            return by_region[area]
    return by_region["elsewhere"]


AUTHORITIES: Final = {
    "eea": "the data protection authority of the EEA country you live in",
    "uk": "the Information Commissioner in the UK",
    "us-ca": "the California Privacy Protection Agency",
}

# What a sort of data is called on the page; those left out say nothing to a reader.
SORTS: Final = {
    "name": "names",
    "username": "user names",
    "email": "e-mail addresses",
    "phone": "phone numbers",
    "address": "postal addresses",
    "birth-date": "dates of birth",
    "identifier": "identifiers",
    "ip-address": "IP addresses",
    "device": "device and browser details",
    "precise-location": "precise location",
    "coarse-location": "coarse location",
    "bank-account": "bank accounts",
    "tax-number": "tax numbers",
    "national-id": "national identity numbers",
    "card-number": "card numbers",
    "card-token": "card tokens (not the numbers)",
    "credential": "passwords or keys",
    "photo": "photos",
    "file": "files",
    "free-text": "free text",
    "health": "health data",
    "place": "places",
    "organisation": "organisations",
    "language": "languages",
    "financial": "financial details",
    "transaction": "transactions",
    "behaviour": "what people do",
    "preference": "preferences",
    "technical": "technical details",
    "status": "status",
    "time": "dates",
}


def authority(region: str) -> str:
    """Whom a person can complain to, by the region whose authority it is."""
    return AUTHORITIES.get(region, f"the data protection authority of {region_name(region)}")


def region_name(region: str) -> str:
    """How a region is called on the page: `us-ca` is California."""
    if region in REGION_WORDS:
        return REGION_WORDS[region]
    if "-" in region:
        part = pycountry.subdivisions.get(code=region.upper())  # type: ignore[no-untyped-call]  # pycountry has no types
        return str(part.name) if part else region
    country = pycountry.countries.get(alpha_2=region.upper())
    if country is None:
        return region
    name = str(getattr(country, "common_name", country.name))
    return f"the {name}" if region in {"us", "nl", "ae", "ph"} else name
