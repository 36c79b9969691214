"""The gate before every use: may this purpose use this data, of this person, asked by whom, in which case?

    gate = Gate.of(company)
    gate.decide("alerts", "account", person=Person("user", ("17",)))
    gate.decide("analyse-error", "usage", person=…, by="engineer:4", case="error:81")
    gate.decide("improve-app", "usage", group=25)

What the policy doesn't declare is refused, and so is whatever nobody can tell. What is known of a person is remembered
as `kept.controls.choices.enforce` says: a withdrawal, an objection, a restriction or a hold counts at once in this
process, and within a second in every other.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kept.company import Company
from kept.controls import conditions
from kept.controls.choices.deciding import NONE, Basis, Decision
from kept.controls.choices.enforce import Gate as ChoicesGate
from kept.controls.conditions import About
from kept.controls.purposes.cases import assigned
from kept.controls.purposes.gate.standing import Standing
from kept.controls.purposes.gate.uses import Names, Use, Uses
from kept.controls.refused import Refused
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.policy.policy import STAFF, Policy

NO_EVIDENCE: Final[Mapping[str, str]] = {}


@dataclass(frozen=True)
class By:
    """Who asks, as `ROLE` or `ROLE:KEY`: a kind of staff, the end of a link, or a kind of person for themselves."""

    role: str
    key: str | None = None

    @classmethod
    def of(cls, text: str) -> By:
        role, colon, key = text.partition(":")
        return cls(role, key if colon else None)


class Gate:
    """Decides for one company, for any number of threads."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.choices = ChoicesGate.of(company)
        self.uses = Uses(company.policy)
        self.standing = Standing(company, self.uses, self.choices.rulings)
        self._compiled = self.uses.known
        self._known = self.choices.known

    @classmethod
    def of(cls, company: Company) -> Gate:
        """The gate of a company, one for as long as it is open."""
        gate = company.memory.get(cls)
        if gate is None:
            gate = company.memory.setdefault(cls, cls(company))
        return gate  # type: ignore[no-any-return]  # what stands under its class

    def decide(
        self,
        purpose: str,
        data: Names = None,
        *,
        person: Person | None = None,
        by: str | None = None,
        case: str | None = None,
        group: int | None = None,
        channel: str | None = None,
        signals: frozenset[str] = NONE,
        evidence: Mapping[str, str] = NO_EVIDENCE,
    ) -> Decision:
        """Whether a purpose may use data now, and of it which columns, and how.

        `data` is a name, several (a tuple), or None for all of the purpose's. `by` is who asks (`engineer:4`), `case`
        their reason (`error:81`), `group` the number of people that an answer about nobody in particular is
        about, `evidence` the words for what the purpose `needs`. `person`, `channel` and `signals` are as for
        `kept.controls.choices.enforce.Gate.may`.
        """
        use = self._compiled.get((purpose, data, channel))
        if use is not None and use.alone and person is not None and by is None and group is None:
            known = self._known.get(person)
            if known is not None:
                now = time.monotonic()
                if now < known.until and now < self.choices.fresh:
                    plans = known.standing.get(signals)
                    if plans is not None and plans & use.plan and known.reach & use.data == use.data:
                        self.choices.news.asked += 1
                        return use.allowed
        found = use or self.uses.find(purpose, data, channel)
        if isinstance(found, Decision):
            return found
        return (
            self._request(found, person, by, group)
            or self._person(found, person, signals)
            or self._conditions(found, person, by, case, signals, evidence)
            or found.allowed
        )

    def decide_all(
        self, purpose: str, people: Sequence[Person], data: Names = None, *, channel: str | None = None
    ) -> dict[Person, Decision]:
        """The same about many people, for a use that nothing but the person decides; a few statements for them all.

        A use that asks who, in which case or with which evidence is decided one by one.
        """
        use = self.uses.find(purpose, data, channel)
        if isinstance(use, Decision):
            return dict.fromkeys(people, use)
        if not use.alone:
            why = "it also depends on who asks, in which case, with which evidence: ask one by one"
            return dict.fromkeys(people, use.no("alone", why))
        bases = self.choices.bases(people)
        if isinstance(bases, Decision):
            return dict.fromkeys(people, bases)
        return {who: self._known_person(use, bases[who], who, NONE) or use.allowed for who in people}

    # Each answers why not, or None.

    def _request(self, use: Use, person: Person | None, by: str | None, group: int | None) -> Decision | None:
        """What can be said without a look at anybody."""
        if by is not None and not is_role(self.company.policy, By.of(by).role):
            return use.no("by", f"`{use.name}` is asked for by nobody the policy knows")
        if use.by and (by is None or By.of(by).role not in use.by):
            return use.no("by", f"`{use.name}` is for {', '.join(sorted(map(str, use.entry.by)))}")
        floor = use.entry.groups
        if floor is None:
            if group is not None:
                return use.no("groups", f"`{use.name}` is about single people: name each")
            return use.no("nobody", "nobody is named") if person is None else None
        if person is not None or group is None:
            return use.no("groups", f"`{use.name}` sees groups of {floor} or more, and nobody in particular")
        return use.no("groups", f"a group of fewer than {floor}") if group < floor else None

    def _person(self, use: Use, person: Person | None, signals: frozenset[str]) -> Decision | None:
        if person is None:
            return None
        known = self.choices.basis(person)
        return known if isinstance(known, Decision) else self._known_person(use, known, person, signals)

    def _known_person(
        self, use: Use, known: Basis, person: Person, signals: frozenset[str]
    ) -> Decision | None:
        if not self.standing.plans(known, signals) & use.plan:
            if known.facts.there and not use.is_in(known.facts.region):
                where = ", ".join(map(str, use.entry.regions))
                return use.no(
                    "region", f"`{use.name}` is for people in {where}, and they aren't known to be there"
                )
            return self.choices.rulings.decide(known, use.name, use.channel, signals)
        if self.standing.reach(known, person.kind) & use.data != use.data:
            for name in use.names:
                why = self.standing.why_not(known, person.kind, name)
                if why is not None and not (why[0] == "limit" and self.standing.held_for(use, name)):
                    return use.no(*why)
        return None

    def _conditions(
        self,
        use: Use,
        person: Person | None,
        by: str | None,
        case: str | None,
        signals: frozenset[str],
        evidence: Mapping[str, str],
    ) -> Decision | None:
        if use.alone:
            return None
        entry = use.entry
        try:
            if entry.case:
                why = assigned.why_not(self.company, tuple(map(str, entry.case)), case, person, by)
                if why is not None:
                    return use.no("case", why)
            if by is not None and use.by and (why := self._not_their_own(by, person)):
                return use.no("by", why)
            if entry.during is not None or use.links or entry.needs:
                about = About(by or "", person, None, None, signals, evidence)
                conditions.refuse_links(self.company, entry, about)
                for need in map(str, entry.needs):
                    conditions.refuse_need(self.company, entry, need, about, {})
        except Refused as refused:
            return use.no(refused.reason, refused.message)
        except KeptError as wrong:
            return use.no("unsure", f"nobody can tell: {wrong.message}", unsure=True)
        return None

    def _not_their_own(self, by: str, person: Person | None) -> str | None:
        """Why somebody who is no staff may not ask: about others than themselves, or without the tie they name."""
        policy, who = self.company.policy, By.of(by)
        if policy.is_staff(who.role):
            return None
        if who.role in policy.people:
            root = policy.root(who.role)
            own = None if person is None or root is None or person.kind != root.name else ",".join(person.key)
            return None if own is not None and who.key == own else f"`{who.role}` may for themselves only"
        return conditions.not_tied(self.company, who.role, who.key, person)


def is_role(policy: Policy, role: str) -> bool:
    """Whether a word is one for who asks: a kind of person or staff, or the end of a link."""
    link, dot, end = role.partition(".")
    if dot:
        return link in policy.links and end in policy.links[link].between
    return role == STAFF or role in policy.people
