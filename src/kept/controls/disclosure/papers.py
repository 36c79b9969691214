"""What must stand before a party may be given anything: the agreement with it, and what protects data where it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from kept.laws.law import law, safeguard
from kept.policy import words
from kept.policy.checks.parties import reachable
from kept.policy.facts import Party
from kept.policy.grammar import Agreement
from kept.policy.policy import Policy

State = Literal["dead", "missing", "unknown"]


@dataclass(frozen=True)
class Lack:
    """What a party lacks. `dead`: it stood, or doesn't yet; `missing`: nobody declared it; `unknown`: whether it needs
    one can't be told. Nothing is given on a dead paper or without one that is needed."""

    paper: str
    state: State
    says: str
    law: str | None = None

    @property
    def forbids(self) -> bool:
        return self.state != "unknown"


def lacking(policy: Policy, party: Party, today: date) -> tuple[Lack, ...]:
    """What a party lacks on a day, to be given personal data under this policy (GDPR Art. 28(3), 44–46)."""
    found = [*_agreement(policy, party, today), *_place(policy, party, today)]
    if party.safeguard is not None:
        found += _safeguard(policy, party, today)
    return tuple({lack.says: lack for lack in found}.values())


def abroad(policy: Policy, party: Party, today: date) -> tuple[str, ...]:
    """The regions a party is in into which a law lets no data go without a safeguard."""
    return tuple(
        str(region)
        for region in party.region
        if any(not reachable(name, region, today) for name in policy.european())
    )


def _agreement(policy: Policy, party: Party, today: date) -> list[Lack]:
    if party.agreement is not None:
        return _dates(party, party.agreement, "agreement", "the agreement with", policy, today)
    if party.role == "processor" and policy.european():
        why = f"no agreement with `{party.name}` is declared, which a processor needs"
        return [Lack("agreement", "missing", why, policy.cite("Art. 28(3)"))]
    return []


def _dates(party: Party, paper: Agreement, name: str, called: str, policy: Policy, today: date) -> list[Lack]:
    cited = policy.cite("Art. 28(3)" if name == "agreement" else "Art. 45")
    if today < paper.since:
        return [Lack(name, "dead", f"{called} `{party.name}` begins on {paper.since}", cited)]
    if paper.until is not None and paper.until < today:
        return [Lack(name, "dead", f"{called} `{party.name}` lapsed on {paper.until}", cited)]
    return []


def _safeguard(policy: Policy, party: Party, today: date) -> list[Lack]:
    assert party.safeguard is not None
    known = safeguard(party.safeguard)
    if not known.stands(today):
        gone = known.ended is not None and known.ended <= today
        why = f"{known.name} {f'fell on {known.ended}' if gone else f'begins on {known.began}'}"
        return [Lack("safeguard", "dead", why, known.ended_by if gone else known.instrument)]
    found = []
    outside = abroad(policy, party, today)
    uncovered = [one for one in outside if known.only and not words.covers(known.only, one)]
    if party.safeguard == "adequacy":
        uncovered = list(outside)
    if not party.region and (known.only or party.safeguard == "adequacy") and policy.european():
        why = f"{known.name} doesn't cover every place, and nobody says where `{party.name}` is"
        found.append(Lack("safeguard", "missing", why, known.instrument or known.article))
    if uncovered:
        why = f"{known.name} doesn't cover {words.region_name(uncovered[0])}, where `{party.name}` is"
        found.append(Lack("safeguard", "missing", why, known.instrument or known.article))
    if not policy.european():
        return found
    if known.rests_on == "certified":
        if party.certified is None:
            why = f"nobody says that `{party.name}` is certified, on which {known.name} rests"
            found.append(Lack("safeguard", "missing", why, known.rests_on_article))
        else:
            found += _dates(party, party.certified, "safeguard", "the certification of", policy, today)
    elif known.rests_on == "agreement":
        cited = policy.cite(known.rests_on_article or "Art. 46")
        if party.agreement is None:
            why = f"nobody says when {known.name} were signed with `{party.name}`"
            found.append(Lack("safeguard", "missing", why, cited))
        elif known.began is not None and party.agreement.since < known.began:
            why = f"the agreement with `{party.name}` is older than {known.name} are, which began on {known.began}"
            found.append(Lack("safeguard", "missing", why, cited))
    return found


def _place(policy: Policy, party: Party, today: date) -> list[Lack]:
    if party.safeguard is not None:
        return []
    outside = abroad(policy, party, today)
    if outside:
        where = words.region_name(outside[0])
        why = f"`{party.name}` is in {where}, and nothing is declared that protects data there"
        return [Lack("safeguard", "missing", why, f"{law(policy.european()[0]).short} Art. 44, 46")]
    if not party.region and party.role in ("processor", "controller", "joint") and policy.european():
        why = f"nobody says where `{party.name}` is, so nobody can tell what has to protect data there"
        return [Lack("safeguard", "unknown", why, policy.cite("Art. 44"))]
    return []
