"""What a site really sets and whom it reaches, in a real browser, against what the policy file declares.

A scan goes through the site as somebody who was never there: before any choice, after a no to all, after a yes to all,
after a yes that was withdrawn; once for each way in which the regions are asked. It tells names, never values. It sees
what a page does by itself within a few seconds, of the pages the first one links to; what a beacon carries isn't read.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from sqlalchemy import delete, insert, select

from kept.company import Company
from kept.controls.choices.asking import ASKED, ask_of, choices_of, in_browser, visitor_kind
from kept.controls.choices.declare import Choice
from kept.controls.choices.floor import in_browsers
from kept.controls.collection.browser.chromium import visits
from kept.controls.collection.browser.sites import PHASES, Phase, Phasing, Site, Visit
from kept.errors import KeptError
from kept.laws.law import law
from kept.policy import words
from kept.policy.fact_readers import store_of
from kept.policy.policy import Policy
from kept.state.tables import scans

FRESH: Final = timedelta(hours=24)  # so long a scan counts as a look at the site as it is
PAGES: Final = 5
FOUND_AT: Final = (
    "KEPT_SCAN_HOSTS"  # host=address …: where hosts are that no name server knows, for a site under test
)

Sort = Literal["cookie", "storage", "host"]
WORDS: Final[dict[Sort, str]] = {"cookie": "the cookie", "storage": "the stored", "host": "a request to"}


@dataclass(frozen=True)
class Finding:
    """Something in the browser that the policy doesn't allow there and then; `waits` are the choices it waits for,
    none where nobody declared it at all."""

    phase: Phase
    region: str | None
    sort: Sort
    name: str
    waits: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f" in {words.region_name(self.region)}" if self.region else ""
        why = f"it waits for {' and '.join(self.waits)}" if self.waits else "nobody declared it"
        return f"{WORDS[self.sort]} `{self.name}` {PHASES[self.phase]}{where}: {why}"


@dataclass(frozen=True)
class Scan:
    """One look at a browser store. `at` is UTC; `policy` the digest of the file it was compared with."""

    store: str
    address: str
    at: datetime
    policy: str
    visits: tuple[Visit, ...]
    findings: tuple[Finding, ...]

    @property
    def gaps(self) -> tuple[str, ...]:
        """What couldn't be looked at."""
        return tuple(dict.fromkeys(gap for visit in self.visits for gap in visit.gaps))

    @property
    def banner(self) -> bool:
        return any(visit.banner for visit in self.visits)

    def seen(self, phase: Phase) -> tuple[set[str], set[str]]:
        """The cookies and the hosts of a phase, in every region."""
        mine = [visit for visit in self.visits if visit.phase == phase]
        return {name for one in mine for name in one.cookies}, {name for one in mine for name in one.hosts}

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "at": self.at.isoformat(),
            "gaps": list(self.gaps),
            "says": [str(finding) for finding in self.findings],
        }


def scan(company: Company, store: str, *, pages: int = PAGES) -> Scan:
    """Look at a browser store now; what was found is kept, and on the ledger.

    KeptError where its address isn't known, TerminalError where there is no browser or the site can't be opened.
    """
    policy = company.policy
    declared = policy.stores.get(store)
    if declared is None or declared.sort != "browser":
        known = ", ".join(browser_stores(policy)) or "none"
        raise KeptError(f"`{store}` is no store of kind `browser`", help=f"known: {known}")
    address = _address(company, store)
    own = [str(host) for party in policy.us() for host in (*party.sites, *party.hosts)]
    own += [urlsplit(f"//{site}").hostname or "" for site in own]
    site = Site(address, tuple(host for host in own if host), _found_at(company), pages)
    at = company.clock()
    seen = tuple(visits(site, phases(policy)))
    done = Scan(store, address, at, policy.source.digest, seen, tuple(judged(policy, store, seen)))
    keep(company, done)
    return done


def scan_url(policy: Policy, address: str, *, pages: int = PAGES) -> Scan:
    """Look at any address, against all that the policy declares of browsers; nothing of it is kept."""
    seen = tuple(visits(Site(address, pages=pages), phases(policy)))

    return Scan("", address, datetime.now(UTC), policy.source.digest, seen, tuple(judged(policy, None, seen)))


def newest(company: Company, store: str) -> Scan | None:
    """The last scan of a store."""
    query = select(scans.c.found).where(scans.c.store == store).order_by(scans.c.at.desc()).limit(1)
    with company.state.read() as connection:
        found = connection.scalar(query)
    if found is None:
        return None
    told = json.loads(found)
    return Scan(
        told["store"],
        told["address"],
        datetime.fromisoformat(told["at"]),
        told["policy"],
        tuple(_visit(one) for one in told["visits"]),
        tuple(Finding(**one | {"waits": tuple(one["waits"])}) for one in told["findings"]),
    )


def browser_stores(policy: Policy) -> list[str]:
    """The stores that are browsers."""
    return [str(name) for name, store in policy.stores.items() if store.sort == "browser"]


def asked(policy: Policy) -> list[Choice]:
    """What somebody who only browses can switch, themselves."""
    kind = visitor_kind(policy)
    return [choice for choice in choices_of(policy, kind) if not choice.by] if kind is not None else []


def phases(policy: Policy) -> list[Phasing]:
    """What to go through: all of it once for each way in which regions are asked, the strictest first."""
    choices = asked(policy)
    if not choices:
        return [Phasing("before", None)]
    found = []
    for region in regions(policy, choices):
        found.append(Phasing("before", region))
        if any("gpc" in choice.signals and _on(policy, choice, region) for choice in choices):
            found.append(Phasing("signal", region))
        found += [Phasing("refused", region), Phasing("accepted", region), Phasing("withdrawn", region)]
    return found


def regions(policy: Policy, choices: Sequence[Choice]) -> list[str | None]:
    """One region for each way in which these choices are asked; None, one that isn't known, stands for the first."""
    named = {str(region) for choice in choices for region in choice.ask} - {"elsewhere"}
    named |= {str(area) for name in policy.laws for area in law(name).regions}
    rest = sorted(words.regions() - {"elsewhere"})
    other = next((one for one in rest if not any(words.covers(area, one) for area in named)), None)
    found: dict[tuple[str, ...], str | None] = {}
    for region in (None, *sorted(named), *([other] if other is not None else [])):
        found.setdefault(tuple(ask_of(policy, choice, region) for choice in choices), region)
    return list(found.values())


def judged(policy: Policy, store: str | None, seen: Iterable[Visit]) -> list[Finding]:
    """What of it the policy doesn't allow: neither declared nor, where it waits for a choice, chosen."""
    declared, hosts, choices = _declared(policy, store), _hosts(policy), asked(policy)
    found: dict[Finding, None] = {}
    for visit in seen:
        standing = _standing(policy, choices, visit)
        for sort, names in (("cookie", visit.cookies), ("storage", visit.storage)):
            for name in names:
                waits = _waits(
                    declared[sort], standing, lambda pattern, name=name: fnmatchcase(name, pattern)
                )
                _note(found, visit, sort, name, waits)
        for host in visit.hosts:
            waits = _waits(hosts, standing, lambda one, host=host: host == one or host.endswith(f".{one}"))
            _note(found, visit, "host", host, waits)
    return list(found)


def _note(
    found: dict[Finding, None], visit: Visit, sort: Any, name: str, waits: tuple[str, ...] | None
) -> None:
    """Nothing where it is allowed (None)."""
    if waits is not None:
        found[Finding(visit.phase, visit.region, sort, name, waits)] = None


def _waits(
    declared: Mapping[str, frozenset[str]], standing: frozenset[str], fits: Any
) -> tuple[str, ...] | None:
    """The choices that a name waits for and that don't stand; none where nobody declared it; None where it may be."""
    needs = [names for pattern, names in declared.items() if fits(pattern)]
    if not needs:
        return ()
    if any(names <= standing for names in needs):
        return None
    return tuple(sorted(min(needs, key=len) - standing))


def _standing(policy: Policy, choices: Sequence[Choice], visit: Visit) -> frozenset[str]:
    """The choices under which something may be in the browser in a phase."""
    if visit.phase == "accepted":
        return frozenset(str(choice.name) for choice in choices)
    if visit.phase in ("refused", "withdrawn"):
        return frozenset()
    return frozenset(
        str(choice.name)
        for choice in choices
        if _on(policy, choice, visit.region) and not (visit.phase == "signal" and "gpc" in choice.signals)
    )


def _on(policy: Policy, choice: Choice, region: str | None) -> bool:
    """Whether a choice stands until somebody says no."""
    return ask_of(policy, choice, region) not in ASKED


def _declared(policy: Policy, store: str | None) -> dict[str, dict[str, frozenset[str]]]:
    """By sort, each pattern that is declared in a store (in any), with the choices it waits for."""
    waits = {choice.name: in_browser(policy, choice) for choice in _every_choice(policy)}
    found: dict[str, dict[str, frozenset[str]]] = {"cookie": {}, "storage": {}, "beacon": {}}
    for data in policy.data.values():
        for table in in_browsers(policy, data):
            if store is not None and store_of(table) != store:
                continue
            sort = table.partition(".")[2]
            for pattern in map(str, data.tables[table]):
                listed = {
                    str(name)
                    for name, one in waits.items()
                    if pattern in (one.cookies if sort == "cookie" else one.storage)
                }
                found.setdefault(sort, {})[pattern] = frozenset(listed)
    return found


def _hosts(policy: Policy) -> dict[str, frozenset[str]]:
    """The hosts of declared parties, each with the choices it waits for."""
    waits = {str(choice.name): set(in_browser(policy, choice).hosts) for choice in _every_choice(policy)}
    return {
        str(host): frozenset(name for name, hosts in waits.items() if host in hosts)
        for party in policy.parties.values()
        for host in party.hosts
    }


def _every_choice(policy: Policy) -> list[Choice]:
    return [one for one in policy.section("choices").values() if isinstance(one, Choice)]


def _address(company: Company, store: str) -> str:
    address = company.sites.get(store, "")
    if urlsplit(address).scheme not in ("http", "https"):
        raise KeptError(
            f"nobody says where `{store}` is",
            help="`at:` is the address of its first page, or the $NAME of a setting that holds it",
        )
    return address


def _found_at(company: Company) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in company.settings.get(FOUND_AT, "").split())
    return {host: place for host, _, place in pairs if host and place}


def keep(company: Company, done: Scan) -> None:
    """Keep a scan instead of the one before; that it was made stays on the ledger."""
    row = {
        "id": uuid.uuid4().hex,
        "store": done.store,
        "at": done.at.isoformat(),
        "policy": done.policy,
        "found": json.dumps(done.as_json(), sort_keys=True).encode(),
    }
    with company.state.write() as connection:
        connection.execute(delete(scans).where(scans.c.store == done.store))
        connection.execute(insert(scans), row)
    entry: dict[str, Any] = {
        "act": "scan",
        "store": done.store,
        "policy": done.policy,
        "pages": sum(visit.pages for visit in done.visits),
        "findings": [f"{one.phase} {one.region or '*'} {one.sort} {one.name}"[:200] for one in done.findings][
            :100
        ],
        "gaps": len(done.gaps),
    }
    company.ledger.append(entry, key=f"scan {row['id']}")


def _visit(told: Mapping[str, Any]) -> Visit:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in told.items()
    }
    return Visit(**values)
