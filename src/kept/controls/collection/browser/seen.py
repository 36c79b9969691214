"""What scans of the company's sites prove: of one choice, of one collection, of what nobody declared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from kept.company import Company
from kept.controls.choices.asking import in_browser
from kept.controls.choices.declare import Choice
from kept.controls.choices.floor import in_browsers
from kept.controls.collection.browser.scan import FRESH, Finding, Scan, asked, newest
from kept.controls.collection.declare import Collecting
from kept.evidence.proof import Measured, Proof
from kept.policy.conditions import Conditional
from kept.policy.fact_readers import store_of
from kept.policy.facts import Data
from kept.policy.policy import Policy


def of_choice(company: Company, choice: Choice, stores: Sequence[str]) -> Proof:
    """Nothing that waits for a choice is in a browser, or reached from it, before a yes, after a no, after it went."""
    name = str(choice.name)
    return _proof(
        company,
        stores,
        lambda finding: name in finding.waits,
        f"what waits for `{name}`",
        banner=True,
    )


def of_collection(company: Company, collection: Collecting) -> Proof:
    """What a browser has is what is declared, and only once it was chosen where it waits for a choice."""
    names = {str(name) for name in collection.choice}
    stores = _stores(company.policy, _data(company.policy, collection))
    return _proof(
        company,
        stores,
        lambda finding: not finding.waits or bool(names & set(finding.waits)),
        "anything that isn't declared" + (f" or waits for {' and '.join(sorted(names))}" if names else ""),
        banner=bool(asked(company.policy)),
        reached=_reached(company.policy, _data(company.policy, collection)),
    )


def of_undeclared(company: Company, stores: Sequence[str]) -> Proof:
    """No cookie, nothing stored and no host that nobody declared."""
    return _proof(
        company,
        stores,
        lambda finding: not finding.waits,
        "anything that isn't declared",
        banner=bool(asked(company.policy)),
    )


def stores_of(policy: Policy, choice: Choice) -> list[str]:
    """The browser stores in which something waits for a choice; all of them where hosts alone do."""
    waits = in_browser(policy, choice)
    mine = {*waits.cookies, *waits.storage, *waits.beacons}
    found = [
        store_of(table)
        for data in policy.data.values()
        for table in in_browsers(policy, data)
        if mine & set(map(str, data.tables[table]))
    ]
    every = [str(name) for name, store in policy.stores.items() if store.sort == "browser"]
    return list(dict.fromkeys(map(str, found))) or (every if waits.hosts else [])


def is_in_browser(policy: Policy, collection: Conditional) -> bool:
    """Whether all that a step collects comes from browsers, where a scan sees it go.

    Each data of it is kept in a browser, and otherwise only with a party whose hosts are declared: what such a party
    has, which no program can ask, came from there.
    """
    data = _data(policy, collection)
    return bool(data) and all(in_browsers(policy, one) and not at_rest(policy, one) for one in data)


def at_rest(policy: Policy, data: Data) -> list[str]:
    """The tables of data that don't come from a browser for all the file says."""
    found = []
    for table in data.tables:
        store = policy.stores.get(store_of(table))
        if store is None or store.sort == "browser":
            continue
        party = policy.parties.get(store.party or "")
        if store.sort != "outside" or party is None or not party.hosts:
            found.append(str(table))
    return found


def _data(policy: Policy, collection: Conditional) -> list[Data]:
    names = (*getattr(collection, "takes", ()), *getattr(collection, "optional", ()))
    return [policy.data[name] for name in dict.fromkeys(names) if name in policy.data]


def _reached(policy: Policy, data: Iterable[Data]) -> dict[str, frozenset[str]]:
    """The stores that no program can ask and that get data from browsers, with the hosts it goes to."""
    found = {}
    for one in data:
        for table in one.tables:
            store = policy.stores.get(store_of(table))
            if store is not None and store.sort == "outside" and str(table) not in at_rest(policy, one):
                party = policy.parties[str(store.party)]
                found[str(store.name)] = frozenset(map(str, party.hosts))
    return found


def _stores(policy: Policy, data: Iterable[Data]) -> list[str]:
    tables = (table for one in data for table in in_browsers(policy, one))
    return list(dict.fromkeys(str(store_of(table)) for table in tables))


def _proof(
    company: Company,
    stores: Sequence[str],
    concerns: Callable[[Finding], bool],
    what: str,
    *,
    banner: bool,
    reached: Mapping[str, frozenset[str]] | None = None,
) -> Proof:
    """What the newest scans of some stores prove: `concerns` tells which findings count.

    `reached` are the hosts by which data gets into places that no program can ask: one of each must have been seen.
    """
    found: list[Finding] = []
    lacking: list[str] = []
    met: set[str] = set()
    pages = phases = 0
    for store in stores:
        last = newest(company, store)
        why = _lacking(company, store, last, banner=banner)
        if why is not None:
            lacking.append(why)
        if last is not None and _is_current(company, last):
            found += [finding for finding in last.findings if concerns(finding)]
            met |= {host for visit in last.visits for host in visit.hosts}
            pages += sum(visit.pages for visit in last.visits)
            phases += sum(visit.pages > 0 for visit in last.visits)
    if not lacking:
        lacking = [
            f"nothing was seen to leave a browser for `{place}`"
            for place, hosts in (reached or {}).items()
            if not any(host == one or host.endswith(f".{one}") for host in met for one in hosts)
        ]
    measured: Measured = {"findings": len(found), "pages": pages, "visits": phases, "sites": len(stores)}
    if found:
        first = "; ".join(dict.fromkeys(map(str, found[:3])))
        more = f", and {len(found) - 3} more" if len(found) > 3 else ""
        return Proof("measure", "broken", f"A browser met {first}{more}.", measured)
    if lacking:
        return Proof("measure", "unproven", "; ".join(lacking) + ".", measured)
    says = f"In {phases} visits to {pages} pages a browser never met {what} where it may not be."
    return Proof("measure", "kept", says, measured)


def _is_current(company: Company, last: Scan) -> bool:
    return last.policy == company.policy.source.digest and company.clock() - last.at <= FRESH


def _lacking(company: Company, store: str, last: Scan | None, *, banner: bool) -> str | None:
    """Why a scan doesn't show all there is to see; None where it does."""
    again = f"`kept scan {store}` does"
    if last is None:
        return f"nothing has looked at `{store}` in a browser: {again}"
    if last.policy != company.policy.source.digest:
        return f"`{store}` was looked at under another policy: {again} so again"
    if company.clock() - last.at > FRESH:
        return f"`{store}` was last looked at on {last.at:%Y-%m-%d}: {again} so again"
    if banner and not last.banner:
        return f"`{store}` has no banner of Kept's, so nobody could be taken to have said yes or no there"
    if last.gaps:
        return f"of `{store}` not all could be looked at: {', '.join(last.gaps)}"
    return None
