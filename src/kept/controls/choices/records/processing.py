"""What a choice is about, in the words of a consent record: purpose, data, places, periods, recipients, rights.

What a yes was given for is read from the meaning of then; what the policy says of it (where the data lies, for how
long, who gets it) from the file of now. What the file doesn't say is a finding, and the field is empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final

from kept.company import Company
from kept.controls.choices.declare import Choice
from kept.controls.choices.floor import data_of, values_in
from kept.controls.choices.meaning import SECTIONS
from kept.controls.choices.records.history import Event
from kept.controls.choices.records.parties import Findings, authorities, cite, controllers, jurisdiction
from kept.controls.registry import sentence
from kept.controls.retention.declare import Retention
from kept.laws.law import law, safeguard
from kept.laws.region import offered
from kept.policy.checks.parties import reachable
from kept.policy.entry import Promise
from kept.policy.fact_readers import store_of
from kept.policy.facts import Party
from kept.policy.grammar import Clock, Period
from kept.policy.wording import data_words, limit_words, who_words

SPECIAL: Final = frozenset({"health"})  # sorts of data that are special categories of GDPR Art. 9(1)
ARTICLES: Final = {
    "consent": "Art. 6(1)(a)",
    "contract": "Art. 6(1)(b)",
    "legal-duty": "Art. 6(1)(c)",
    "vital-interest": "Art. 6(1)(d)",
    "public-task": "Art. 6(1)(e)",
    "legitimate-interest": "Art. 6(1)(f)",
    "legal-claims": "Art. 6(1)(f)",
}
METHODS: Final = {"collection": "collect", "purposes": "use", "disclosure": "disclose"}
DEVICE: Final = "the person's own device"
_LETTERS: Final = {"days": "D", "weeks": "W", "months": "M", "years": "Y"}


def purposes(
    company: Company, event: Event, meant: Mapping[str, Any] | None, findings: Findings
) -> Iterator[dict[str, Any]]:
    """Each use that one answer is about, as ISO/IEC TS 27560 (6.3.4) and GDPR Art. 13 want it told."""
    place = f"pii_processing.{event.choice}"
    uses = list(_about(meant, event.scope)) if meant is not None else []
    if meant is None:
        findings.missing(place, "what this choice was about then isn't on record")
    elif not uses and meant.get("covers") is None:
        findings.missing(place, "nothing in the policy of then waited for this choice")
    for section, name, about in uses or [("", "", {"data": {}, "sends": [], "to": []})]:
        yield _Use(company, event, section, name, about, findings).told()


def _about(meant: Mapping[str, Any], scope: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """What a meaning holds, and of that only what an answer for one purpose or one channel is about."""
    found = [(section, name, about) for section in SECTIONS for name, about in meant.get(section, {}).items()]
    by_purpose = scope in meant.get("purposes", {})
    by_channel = not by_purpose and any(scope in about["sends"] for _, _, about in found)
    for section, name, about in found:
        if by_purpose and section == "purposes" and name != scope:
            continue
        if by_channel:
            if section == "purposes" and scope not in about["sends"]:
                continue
            about = {**about, "sends": [scope] if scope in about["sends"] else []}
        yield section, name, about


class _Use:
    """One use of data that waits for a choice."""

    def __init__(
        self,
        company: Company,
        event: Event,
        section: str,
        name: str,
        about: Mapping[str, Any],
        findings: Findings,
    ) -> None:
        self.policy = policy = company.policy
        self.event, self.section, self.name, self.about = event, section, name, about
        self.address, self.sites, self.findings = company.public_url, company.sites, findings
        choice = policy.section("choices").get(event.choice)
        self.choice = choice if isinstance(choice, Choice) else None
        self.promise: Promise | None = policy.section(section).get(name) if section else None
        self.place = f"pii_processing.{event.choice}" + (f".{section}.{name}" if section else "")
        self.data = [one for one in about["data"] if one in policy.data]

    def told(self) -> dict[str, Any]:
        policy, region = self.policy, self.event.region
        if self.section and self.promise is None:
            self._missing(
                "", "the policy has this no more: what it says of places and periods now is another matter"
            )
        own = policy.section("choices").get(self.event.choice)
        says = self.promise or own
        recipients = self._recipients()
        return {
            "choice": self.event.choice,
            "scope": self.event.scope or None,
            "purpose": self.name or self.event.choice,
            "purpose_type": self.section or "choices",
            "purpose_description": sentence(policy, says) if says is not None else None,
            "lawful_basis": self._ground(),
            "pii_information": self._information(),
            "pii_controllers": [str(party.name) for party in controllers(policy, region)],
            "collection_method": self._sources(),
            "processing_method": self._methods(),
            "storage_locations": self._places(),
            "retention_period": self._periods(),
            "jurisdiction": jurisdiction(policy, region),
            "recipient_third_parties": recipients,
            "geographic_restrictions": self._transfers(recipients),
            "withdrawal_method": self._withdrawal(),
            "privacy_rights": self._rights(),
            "authority_party": self._authorities(),
            "necessity": "optional" if self._is_optional() else "required",
        }

    def _missing(self, field: str, says: str) -> None:
        self.findings.missing(f"{self.place}.{field}" if field else self.place, says)

    def _authorities(self) -> list[dict[str, str]]:
        found = authorities(self.policy, self.event.region)
        if not found:
            self._missing("authority_party", "Kept knows no authority there")
        return found

    def _is_optional(self) -> bool:
        """Whatever waits for a choice is left out with a no, but for what the whole service stands on."""
        return self.choice is None or self.choice.covers is None

    def _ground(self) -> list[dict[str, str | None]] | None:
        """The legal ground where the person is; of a collection or disclosure that of the purpose it is for."""
        uses: Sequence[Promise | None] = [self.promise]
        if self.section == "disclosure":
            uses = [self.policy.section("purposes").get(getattr(self.promise, "purpose", ""))]
        elif self.section == "collection":
            uses = [
                use
                for use in self.policy.section("purposes").values()
                if self.event.choice in getattr(use, "choice", ()) and set(self.data) & set(data_of(use))
            ]
        grounds = dict.fromkeys(
            str(ground) for use in uses for ground in values_in(getattr(use, "ground", {}), self.event.region)
        )
        if not grounds:
            self._missing("lawful_basis", "the policy names no legal ground")
            return None
        return [
            {"ground": one, "article": cite(self.policy, self.event.region, ARTICLES[one])} for one in grounds
        ]

    def _information(self) -> list[dict[str, Any]] | None:
        found = [
            {
                "pii_type": sort,
                "pii_attribute_id": name,
                "pii_name": data_words(self.policy, [name], your=False) if name in self.policy.data else name,
                "pii_optional": self._is_optional(),
                "special_pii_category": sort in SPECIAL,
            }
            for name, sorts in self.about["data"].items()
            for sort in sorts
        ]
        if not found and self.choice is not None and self.choice.covers is None:
            self._missing("pii_information", "the policy names no data here")
        return found or None

    def _sources(self) -> list[str] | None:
        """Where the data comes from (GDPR Art. 14(2)(f))."""
        found: dict[str, None] = {}
        for name in self.data:
            data = self.policy.data[name]
            owners = {str(owner.who) for owner in data.of} | set(self.policy.owners(data))
            for promise in self.policy.section("collection").values():
                if name in (*getattr(promise, "takes", ()), *getattr(promise, "optional", ())):
                    for source in getattr(promise, "sources", ()):
                        found["the person" if source in owners else who_words(self.policy, str(source))] = (
                            None
                        )
        if self.data and not found:
            self._missing("collection_method", "the policy doesn't say where this data comes from")
        return list(found) or None

    def _methods(self) -> list[str]:
        """What is done with it (GDPR Art. 4(2))."""
        sends = [f"send messages: {channel}" for channel in self.about["sends"]]
        return [METHODS.get(self.section, "use"), *sends]

    def _stores(self) -> list[str]:
        tables = (table for name in self.data for table in self.policy.data[name].tables)
        return list(dict.fromkeys(str(store_of(table)) for table in tables))

    def _places(self) -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = []
        for name in self._stores():
            store = self.policy.stores[name]
            party = self.policy.parties.get(store.party) if store.party is not None else None
            regions = (
                [str(store.region)]
                if store.region
                else [str(area) for area in (party.region if party else ())]
            )
            if store.sort == "browser":
                found.append({"store": name, "location": DEVICE, "regions": None, "held_by": None})
                continue
            if not regions:
                self._missing(f"storage_locations.{name}", "the policy doesn't say where this store is")
            found.append(
                {
                    "store": name,
                    "location": None,
                    "regions": regions or None,
                    "held_by": str(store.party) if store.party is not None else None,
                }
            )
        return found or None

    def _periods(self) -> list[dict[str, Any]] | None:
        found = []
        for name in self.data:
            owners = {
                kind
                for owner in self.policy.owners(self.policy.data[name])
                for kind in self.policy.chain(owner)
            }
            keeps = [
                promise
                for promise in self.policy.section("retention").values()
                if isinstance(promise, Retention) and (name in promise.keeps or owners & set(promise.keeps))
            ]
            if not keeps:
                self._missing(f"retention_period.{name}", "the policy sets no limit")
            for promise in keeps:
                clock = promise.until if isinstance(promise.until, Clock) else None
                found.append(
                    {
                        "data": name,
                        "duration": _iso8601(clock.period) if clock is not None and clock.period else None,
                        "after": str(clock.event) if clock is not None else None,
                        "says": limit_words(self.policy, promise.until),
                        "then": str(promise.then) if promise.then is not None else None,
                    }
                )
                if clock is None:
                    self._missing(f"retention_period.{name}", "the policy sets no upper limit")
        return found or None

    def _recipients(self) -> list[dict[str, Any]]:
        """Whoever gets the data: those it is given to, and those who hold it for us."""
        given = {str(name): "given" for name in self.about["to"]}
        for name in self._stores():
            party = self.policy.stores[name].party
            if party is not None:
                given.setdefault(str(party), "holds it")
        return [
            {
                "party_id": name if name in self.policy.parties else None,
                "who": self._party(name).label
                if name in self.policy.parties
                else who_words(self.policy, name),
                "how": how,
            }
            for name, how in given.items()
            if name not in self.policy.parties or self._party(name).role != "us"
        ]

    def _party(self, name: str) -> Party:
        return self.policy.parties[name]

    def _transfers(self, recipients: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Parties to whom data leaves the area of a law, and what protects it there (GDPR Art. 13(1)(f), 44–49)."""
        found = []
        day = self.event.at.astimezone(self.policy.timezone).date()
        for recipient in recipients:
            if recipient["party_id"] is None:
                continue
            party = self._party(recipient["party_id"])
            outside = [str(region) for region in party.region if not self._inside(region, day)]
            if not party.region:
                self._missing(
                    f"geographic_restrictions.{party.name}", f"the policy doesn't say where {party.label} is"
                )
            elif outside:
                under = safeguard(party.safeguard) if party.safeguard is not None else None
                if under is None:
                    self._missing(
                        f"geographic_restrictions.{party.name}",
                        "the policy names no safeguard for this transfer",
                    )
                found.append(
                    {
                        "party_id": str(party.name),
                        "regions": outside,
                        "safeguard": str(party.safeguard) if party.safeguard is not None else None,
                        "says": under.name if under is not None else None,
                        "article": cite(self.policy, self.event.region, under.article)
                        if under is not None
                        else None,
                    }
                )
        return found

    def _inside(self, region: str, day: date) -> bool:
        return all(reachable(name, region, day) for name in self.policy.european())

    def _withdrawal(self) -> dict[str, Any]:
        """How to take a yes back (GDPR Art. 7(3)): on the site where it was given, on our pages, by a letter."""
        sites = [address for store, address in self.sites.items() if store in self._stores()]
        contact = next(
            (
                contact["email"]
                for party in controllers(self.policy, self.event.region)
                for contact in party.contacts.values()
                if "email" in contact
            ),
            None,
        )
        ways = [f"open your choices again on any page of {site}" for site in sites]
        if self.address:
            ways.append(f"ask at {self.address}/ask")
        if contact is not None:
            ways.append(f"write to {contact}")
        if not ways:
            self._missing("withdrawal_method", "the policy names no way to take a yes back")
        return {
            "says": "; or ".join(ways) or None,
            "urls": [*sites, *([f"{self.address}/ask"] if self.address else [])],
            "contact": contact,
            "article": cite(self.policy, self.event.region, "Art. 7(3)"),
        }

    def _rights(self) -> list[dict[str, Any]]:
        """What somebody there can ask for, and by which law."""
        return [
            {
                "right": right,
                "articles": [
                    f"{law(name).short} {(law(name).rights.get(right) or law(name).requests.opt_outs[right]).article}"
                    for name in names
                ],
            }
            for right, names in offered(self.policy.laws, self.event.region).items()
        ]


def _iso8601(period: Period) -> str:
    """`P24M`; `PT0S` for at once."""
    if period.unit == "hours":
        return f"PT{period.amount}H" if period.amount else "PT0S"
    return f"P{period.amount}{_LETTERS[period.unit]}"
