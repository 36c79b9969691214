"""Where stores are, as far as it can be measured: by a host's name in a large cloud, or by the service's own word."""

from __future__ import annotations

from dataclasses import dataclass

from kept.company import Company
from kept.controls.security.clouds import HUBSPOT, region_of_host
from kept.controls.security.connections import access
from kept.errors import KeptError
from kept.policy.facts import DeclaredStore
from kept.policy.words import covers
from kept.stores.records.client import Client, Waiting

TRIES = 2


@dataclass(frozen=True)
class Found:
    """The region a store is in, with what says so; or why nothing does."""

    region: str | None
    by: str


def where(company: Company, name: str, declared: DeclaredStore) -> Found:
    """Where a store is; nothing tells for a file of this machine, a server of one's own, and most services."""
    if declared.sort == "hubspot":
        return _hubspot(company, declared)
    store = company.stores.get(name)
    if store is None:
        return Found(
            None, company.unreachable.get(name, f"a store of kind `{declared.sort}` doesn't say where it is")
        )
    address = store.engine.url
    host = address.host
    if {"host", "hostaddr", "service"} & address.query.keys():
        return Found(None, "its setting leads to another address than the host it names")
    if not host:
        return Found(None, "it is on this machine, and nobody can tell from here where that is")
    region = region_of_host(host)
    return Found(region, "the name of its host" if region else "the name of its host says no region")


def _hubspot(company: Company, declared: DeclaredStore) -> Found:
    """What HubSpot says of its account (`dataHostingLocation`)."""
    name = str(declared.name)
    try:
        where = access(company, declared)
        headers = {"Authorization": f"Bearer {where.token}"}
        client = Client(name, where, headers, waiting=Waiting(tries=TRIES), refused=lambda _: None)
        try:
            found = hosted(client)
        finally:
            client.dispose()
    except KeptError as wrong:
        return Found(None, wrong.message)
    return Found(None, "it is a stand-in on this machine") if where.loopback else found


def hosted(client: Client) -> Found:
    """Where HubSpot says that it hosts an account."""
    answer = client.get("/account-info/v3/details", allowed=(400, 401, 403, 404))
    said = str(answer.map().get("dataHostingLocation", "")).lower()
    if said not in HUBSPOT:
        return Found(None, f"HubSpot doesn't say where it hosts this account (HTTP {answer.status})")
    return Found(HUBSPOT[said], f"HubSpot's own word ({said})")


def fits(regions: tuple[str, ...], region: str) -> bool:
    """Whether a country is in one of the regions promised."""
    return any(covers(area, region) for area in regions)
