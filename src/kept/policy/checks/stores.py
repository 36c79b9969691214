"""Checks of stores: an address that holds no secret, tables that can be there, references inside one store."""

from __future__ import annotations

import re

from kept.policy import words
from kept.policy.fact_readers import store_of
from kept.policy.facts import DeclaredStore
from kept.policy.policy import Policy
from kept.policy.source import Problems, did_you_mean

BROWSER_TABLES = ("cookie", "storage", "beacon")


def check(policy: Policy, problems: Problems) -> None:
    """Report what is wrong with stores."""
    for store in policy.stores.values():
        _address(store, problems)
        _place(policy, store, problems)
        _impersonal(policy, store, problems)
        _partner(store, problems)
        for reference in store.references:
            for side in (reference.table, reference.to):
                if store_of(side) != store.name:
                    problems.error(
                        "across-stores",
                        f"a reference of `{store.name}` names a table of `{store_of(side)}`",
                        side.span,
                        help="references join tables of one store; people of several stores are joined by known-by",
                    )
    for data in policy.data.values():
        for table in data.tables:
            store_ = policy.stores.get(store_of(table))
            if (
                store_ is not None
                and store_.sort == "browser"
                and table.partition(".")[2] not in BROWSER_TABLES
            ):
                problems.error(
                    "not-a-table",
                    f'"{table}" is not something a browser keeps',
                    table.span,
                    help=did_you_mean(table.partition(".")[2], BROWSER_TABLES),
                )


def _address(store: DeclaredStore, problems: Problems) -> None:
    if store.address is None:
        if store.sort != "outside":
            problems.error(
                "no-address",
                f"`{store.name}` does not say where it is",
                store.span,
                help="add at: $NAME, the setting that holds its address, or kind: outside if nothing can query it",
            )
    elif (
        re.search(r"://[^/@\s]*:[^/@\s]+@", store.address)
        or re.match(r"(sk|rk|pat|key)[_-]", store.address)
        or (store.sort in words.RECORD_KINDS and re.search(r"://[^/@\s]+@", store.address))
    ):
        problems.error(
            "secret-in-file",
            f"the address of `{store.name}` holds a secret",
            store.address.span,
            help="put it into a setting and write at: $NAME; then change the secret, it has been seen",
        )
    elif store.sort not in ("files", "sheet") and not re.fullmatch(
        r"\$[A-Z][A-Z0-9_]*|[a-z][a-z0-9+.-]*://\S+", store.address
    ):
        problems.error(
            "bad-address",
            f'"{store.address}" is neither an address nor the name of a setting',
            store.address.span,
            help="write $NAME, or an address such as sqlite:///app.sqlite",
        )


def _place(policy: Policy, store: DeclaredStore, problems: Problems) -> None:
    party = policy.parties.get(store.party) if store.party else None
    if (
        store.region
        and party
        and party.region
        and not any(words.covers(area, store.region) for area in party.region)
    ):
        problems.error(
            "contradiction",
            f"`{store.name}` is in {words.region_name(store.region)}, its party `{party.name}` is not",
            store.region.span,
            help="say it once: leave the store's region out, or add it to the party's",
        )


def _partner(store: DeclaredStore, problems: Problems) -> None:
    """A store of kind `http` says what it takes and whose signature counts; no other does."""
    if store.sort != "http":
        for word in ("identities", "signed-by", "answers", "paths"):
            if word in store.keys:
                problems.error(
                    "not-http",
                    f"`{word}` is said of `{store.name}`, which is of kind {store.sort}",
                    store.at(word),
                    help="it describes a partner's system in OpenDSR's shape: add kind: http, or take it out",
                )
        return
    if not store.identities:
        problems.error(
            "no-identities",
            f"`{store.name}` does not say which identities it takes",
            store.span,
            help="add identities: {email: email}: what people are known by, and OpenDSR's word for it",
        )
    if store.signed_by is None:
        problems.error(
            "no-signer",
            f"`{store.name}` does not say whose signature its answers bear",
            store.span,
            help="add signed-by: $NAME, the setting that holds the partner's public key",
        )
    elif not re.fullmatch(r"\$[A-Z][A-Z0-9_]*|[A-Za-z0-9_-]{43}", store.signed_by):
        problems.error(
            "bad-signer",
            f"`signed-by` of `{store.name}` is neither a public key nor the name of a setting",
            store.signed_by.span,
            help="write $NAME, or the 32 bytes of an Ed25519 key in URL-safe Base64, 43 characters",
        )
    for endpoint, path in store.paths.items():
        if endpoint not in words.ENDPOINTS:
            problems.error(
                "bad-path",
                f'"{endpoint}" is not an endpoint of OpenDSR',
                endpoint.span,
                help=did_you_mean(endpoint, words.ENDPOINTS),
            )
        elif not re.fullmatch(r"[A-Za-z0-9_~-]+(/[A-Za-z0-9_~-]+)*", path):
            problems.error(
                "bad-path",
                f'"{path}" is not a path below the address of `{store.name}`',
                path.span,
                help="write it without a slash at either end, such as opendsr_requests",
            )


def _impersonal(policy: Policy, store: DeclaredStore, problems: Problems) -> None:
    carrying = {str(table): data.name for data in policy.data.values() for table in data.tables}
    carrying.update({str(person.table): person.name for person in policy.people.values() if person.table})
    carrying.update({str(link.table): link.name for link in policy.links.values()})
    for table in store.impersonal:
        if f"{store.name}.{table}" in carrying:
            problems.error(
                "contradiction",
                f"`{table}` is listed as impersonal, and `{carrying[f'{store.name}.{table}']}` stands in it",
                table.span,
                help="take it off one of the two",
            )
