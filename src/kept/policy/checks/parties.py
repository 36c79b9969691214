"""Checks of parties: who the controller is and how to reach it, safeguards and agreements that stand."""

from __future__ import annotations

import re
from datetime import date

from kept.laws import law
from kept.policy import words
from kept.policy.facts import Party
from kept.policy.policy import Policy
from kept.policy.source import Problems, Span


def check(policy: Policy, problems: Problems, today: date) -> None:
    """Report what is wrong or missing with parties."""
    _controllers(policy, problems)
    for party in policy.parties.values():
        _safeguard(policy, party, problems, today)
        _certified(policy, party, problems, today)
        _agreement(policy, party, problems, today)
        _contacts(policy, party, problems)
        for host in (*party.hosts, *party.sites):
            if not re.fullmatch(r"(\*\.)?([a-z0-9_-]+\.)*[a-z0-9-]+", host, re.I):
                problems.error(
                    "bad-host",
                    f'"{host}" is not a host name',
                    host.span,
                    help="write it without https:// and path: www.example.org",
                )
        for host in party.hosts:
            if "." not in host.removeprefix("*.") and host != "localhost":
                problems.error(
                    "bad-host",
                    f'"{host}" is no host of `{party.name}` alone: every host below it would be',
                    host.span,
                    help="write it whole: www.example.org, or *.example.org",
                )
        if party.group and sum(other.group == party.group for other in policy.parties.values()) == 1:
            problems.finding(
                "group-of-one",
                f'no other company of the group "{party.group}" is declared',
                party.group.span,
                help="declare every company of the group that people may meet",
                law=policy.cite("Art. 13(1)(a)"),
            )


def _controllers(policy: Policy, problems: Problems) -> None:
    us = policy.us()
    if not us:
        problems.error(
            "no-controller",
            "no party is `us`: nobody makes these promises",
            Span(1, 1),
            help="declare your company: parties: {name: {role: us, …}}",
            law=policy.cite("Art. 13(1)(a)"),
        )
        return
    if policy.european() and not any(party.authority for party in us):
        problems.finding(
            "no-authority",
            "no supervisory authority is named that people can complain to",
            us[0].span,
            help="add the region whose authority is yours, such as authority: eea",
            law=policy.cite("Art. 13(2)(d), 77"),
        )
    served: dict[str, Party] = {}
    for party in us:
        if len(us) > 1 and not party.serves and not party.sites:
            problems.error(
                "serves-nobody",
                f"there are several controllers, and `{party.name}` does not say whom it serves",
                party.span,
                help="add serves: [regions], or sites: [hosts]",
                law=policy.cite("Art. 13(1)(a)"),
            )
        for region in party.serves:
            other = served.setdefault(region, party)
            if other is not party and not (set(party.sites) ^ set(other.sites)):
                problems.error(
                    "served-twice",
                    f"`{other.name}` and `{party.name}` both serve {words.region_name(region)}",
                    region.span,
                    help="one controller serves a region, or each has its own sites",
                )


def _safeguard(policy: Policy, party: Party, problems: Problems, today: date) -> None:
    if party.safeguard is None:
        return
    safeguard = law.safeguard(party.safeguard)
    if not safeguard.stands(today):
        problems.error(
            "dead-safeguard",
            f"{safeguard.name} has not stood since {safeguard.ended}; nothing can be sent to `{party.name}` on it",
            party.safeguard.span,
            help="agree on standard-contractual-clauses, or see whether the party is in the data-privacy-framework",
            law=safeguard.ended_by,
        )
        return
    if not party.region:
        return
    outside = [region for region in party.region if not _inside(policy, region, today)]
    beyond = [region for region in outside if safeguard.only and not words.covers(safeguard.only, region)]
    if safeguard.only and (
        beyond or not any(words.covers(safeguard.only, region) for region in party.region)
    ):
        named = ", ".join(words.region_name(region) for region in beyond or party.region)
        problems.error(
            "wrong-safeguard",
            f"{safeguard.name} covers {words.region_name(safeguard.only)} only, and `{party.name}` is in {named}",
            party.safeguard.span,
            help="agree on standard-contractual-clauses",
            law=f"{safeguard.instrument}, Art. 1",
        )
    elif party.safeguard == "adequacy" and outside:
        problems.error(
            "wrong-safeguard",
            f"there is no adequacy decision for {words.region_name(outside[0])}",
            party.safeguard.span,
            help="agree on standard-contractual-clauses",
            law=policy.cite("Art. 45(3)"),
        )


def _certified(policy: Policy, party: Party, problems: Problems, today: date) -> None:
    """What a safeguard rests on at this party: a certification of its own, or clauses that were signed."""
    if party.certified is not None and not party.certified.since <= today:
        problems.finding(
            "not-yet-certified",
            f"`{party.name}` is certified from {party.certified.since} on; nothing can be sent to it before",
            party.at("certified"),
            help="until then agree on standard-contractual-clauses",
        )
    elif party.certified is not None and party.certified.until is not None and party.certified.until < today:
        problems.error(
            "certification-lapsed",
            f"the certification of `{party.name}` lapsed on {party.certified.until}",
            party.at("certified"),
            help="look at the public list whether it was renewed, and write its new dates; else stop sending it data",
            law=law.safeguard("data-privacy-framework").rests_on_article,
        )
    if party.safeguard is None or not policy.european():
        return
    safeguard = law.safeguard(party.safeguard)
    if safeguard.rests_on == "certified" and "certified" not in party.keys:
        problems.finding(
            "no-certification",
            f"{safeguard.name} covers certified companies only, and nobody says that `{party.name}` is one",
            party.safeguard.span,
            help="look at the public list, and add its dates: certified: 2026-01-01 until 2027-01-01",
            law=safeguard.rests_on_article,
        )
    elif safeguard.rests_on == "agreement" and "agreement" not in party.keys and party.role != "processor":
        problems.finding(
            "no-clauses",
            f"`{party.name}` gets data on {safeguard.name}, and nobody says when they were signed",
            party.safeguard.span,
            help="add the day: agreement: 2026-01-01 until ended",
            law=policy.cite(safeguard.rests_on_article or "Art. 46"),
        )
    elif (
        safeguard.rests_on == "agreement"
        and party.agreement is not None
        and safeguard.began is not None
        and party.agreement.since < safeguard.began
    ):
        problems.finding(
            "no-clauses",
            f"the agreement with `{party.name}` is older than {safeguard.name} are, which began on {safeguard.began}",
            party.at("agreement"),
            help="sign the clauses of today, and write the day; those from before fell on 2022-12-27",
            law=f"{safeguard.instrument}, Art. 4(4)",
        )


def _inside(policy: Policy, region: str, today: date) -> bool:
    """Whether data may go to a region without a safeguard, under each law the policy is under."""
    return all(reachable(name, region, today) for name in policy.european())


def reachable(name: str, region: str, today: date) -> bool:
    """Whether a law lets data go to a region without a safeguard: inside its own area, or by an adequacy decision."""
    if any(words.covers(area, region) for area in law.law(name).regions):
        return True
    decisions = law.adequate(name)
    return any(words.covers(area, region) and decision.stands(today) for area, decision in decisions.items())


def _agreement(policy: Policy, party: Party, problems: Problems, today: date) -> None:
    if party.agreement is None:
        if party.role == "processor" and "agreement" not in party.keys:
            problems.finding(
                "no-agreement",
                f"`{party.name}` is a processor without an agreement",
                party.role.span,
                help="add its dates: agreement: 2026-01-01 until ended",
                law=policy.cite("Art. 28(3)"),
            )
    elif party.agreement.until is not None and party.agreement.until < today:
        problems.error(
            "agreement-lapsed",
            f"the agreement with `{party.name}` lapsed on {party.agreement.until}",
            party.at("agreement"),
            help="renew it and write its new dates, or stop giving this party data",
            law=policy.cite("Art. 28(3)"),
        )


def _contacts(policy: Policy, party: Party, problems: Problems) -> None:
    for name, contact in party.contacts.items():
        if not {"email", "phone", "post"} & set(contact):
            problems.finding(
                "blank-contact",
                f"nobody can reach `{party.name}.{name}`: it has no e-mail address, phone number or postal address",
                name.span,
                help="add email, phone or post",
                law=policy.cite("Art. 13(1)(a)"),
            )
        domain = contact.get("email", "").rpartition("@")[2].lower()
        sites = [site.lower().removeprefix("www.") for site in party.sites]
        if (
            party.role == "us"
            and domain
            and sites
            and not any(domain == site or domain.endswith(f".{site}") for site in sites)
        ):
            problems.finding(
                "foreign-contact",
                f"the address of `{party.name}.{name}` is at {domain}, which is none of `{party.name}`'s sites",
                name.span,
                help="is it another company's, left in from another text? Else add the domain to sites",
                law=policy.cite("Art. 13(1)(a)"),
            )
    if party.role == "us" and policy.european() and not party.contacts:
        problems.finding(
            "no-contact",
            f"`{party.name}` names no contact",
            party.span,
            help="add contacts: {privacy: {email: …}}",
            law=policy.cite("Art. 13(1)(a)"),
        )
