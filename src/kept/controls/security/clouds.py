"""Where the regions of the large clouds are, and which host names say a region: as their owners publish them."""

from __future__ import annotations

import re
from typing import Final

AWS: Final = {
    "af-south-1": "za", "ap-east-1": "hk", "ap-northeast-1": "jp", "ap-northeast-2": "kr", "ap-northeast-3": "jp",
    "ap-south-1": "in", "ap-south-2": "in", "ap-southeast-1": "sg", "ap-southeast-2": "au", "ap-southeast-3": "id",
    "ap-southeast-4": "au", "ca-central-1": "ca", "ca-west-1": "ca", "eu-central-1": "de", "eu-central-2": "ch",
    "eu-north-1": "se", "eu-south-1": "it", "eu-south-2": "es", "eu-west-1": "ie", "eu-west-2": "gb",
    "eu-west-3": "fr", "il-central-1": "il", "me-central-1": "ae", "me-south-1": "bh", "sa-east-1": "br",
    "us-east-1": "us", "us-east-2": "us", "us-west-1": "us", "us-west-2": "us",
}  # fmt: skip
AZURE: Final = {
    "australiaeast": "au", "brazilsouth": "br", "canadacentral": "ca", "centralindia": "in", "centralus": "us",
    "eastasia": "hk", "eastus": "us", "eastus2": "us", "francecentral": "fr", "germanywestcentral": "de",
    "italynorth": "it", "japaneast": "jp", "koreacentral": "kr", "northeurope": "ie", "norwayeast": "no",
    "polandcentral": "pl", "southafricanorth": "za", "southcentralus": "us", "southeastasia": "sg",
    "spaincentral": "es", "swedencentral": "se", "switzerlandnorth": "ch", "uaenorth": "ae", "uksouth": "gb",
    "ukwest": "gb", "westeurope": "nl", "westus": "us", "westus2": "us", "westus3": "us",
}  # fmt: skip
GCP: Final = {
    "asia-east1": "tw", "asia-northeast1": "jp", "asia-south1": "in", "asia-southeast1": "sg",
    "australia-southeast1": "au", "europe-central2": "pl", "europe-north1": "fi", "europe-southwest1": "es",
    "europe-west1": "be", "europe-west2": "gb", "europe-west3": "de", "europe-west4": "nl", "europe-west6": "ch",
    "europe-west8": "it", "europe-west9": "fr", "europe-west10": "de", "europe-west12": "it",
    "northamerica-northeast1": "ca", "southamerica-east1": "br", "us-central1": "us", "us-east1": "us",
    "us-east4": "us", "us-west1": "us",
}  # fmt: skip
REGIONS: Final = AWS | AZURE | GCP

HUBSPOT: Final = {"na1": "us", "na2": "us", "na3": "ca", "eu1": "de", "ap1": "au"}
"""HubSpot's data hosting locations (knowledge.hubspot.com/security/hubspot-cloud-infrastructure-and-data-hosting)."""

_NAMES: Final = tuple(
    re.compile(rf"(?:.+\.)?(?:aws-\d-)?(?P<region>{'|'.join(sorted(REGIONS, key=len, reverse=True))})\.{owner}")
    for owner in (
        r"rds\.amazonaws\.com", r"(?:on\.)?aws\.neon\.tech", r"azure\.neon\.tech", r"pooler\.supabase\.com",
        r"sql\.goog", r"(?:aws|gcp|azure)\.cockroachlabs\.cloud", r"docdb\.amazonaws\.com",
    )
)  # fmt: skip


def region_of_host(host: str) -> str | None:
    """The country in which a host of a large cloud is, where its name says so; None for any other name.

    Only names in those owners' own domains count: anybody can call a host of theirs `eu-central-1`.
    """
    for name in _NAMES:
        found = name.fullmatch(host.rstrip(".").lower())
        if found:
            return REGIONS[found["region"]]
    return None
