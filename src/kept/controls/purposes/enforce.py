"""The gate before every use: may this purpose use this data, of this person, asked by whom, in which case?

    gate = Gate.of(company)
    gate.decide("alerts", "account", person=Person("user", ("17",)))
    gate.decide("analyse-error", "usage", person=…, by="engineer:4", case="error:81")
    gate.decide("improve-app", "usage", group=25)

What the policy doesn't declare is refused, and so is whatever nobody can tell. What is known of a person is remembered
as `kept.controls.choices.enforce` says: a withdrawal, an objection, a restriction or a hold counts at once in this
process, and within a second in every other; where they are, how old, and the limits of their data within a minute.
`kept.controls.purposes.gate.crowd` decides the same in arrays.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from kept.company import Company
from kept.controls import conditions
from kept.controls.choices.deciding import NONE, SIGNALS, Basis, Decision
from kept.controls.choices.enforce import Gate as ChoicesGate
from kept.controls.conditions import About
from kept.controls.purposes.cases import assigned
from kept.controls.purposes.gate import by as asking
from kept.controls.purposes.gate.by import By as By
from kept.controls.purposes.gate.by import is_role as is_role
from kept.controls.purposes.gate.crowd import LASTS, Asked, Crowd
from kept.controls.purposes.gate.named import LONGEST, is_one
from kept.controls.purposes.gate.standing import Standing
from kept.controls.purposes.gate.uses import Names, Use, Uses
from kept.controls.refused import Refused
from kept.controls.rights.people import Person
from kept.errors import KeptError

NO_EVIDENCE: Final[Mapping[str, str]] = {}
REFUSALS: Final = 1 << 18  # remembered, of all people together
ASKERS: Final = 10_000  # words for who asks that were read before


class Gate:
    """Decides for one company, for any number of threads; make one a process, after any fork."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.choices = ChoicesGate.of(company)
        self.uses = Uses(company.policy)
        self.standing = Standing(company, self.uses, self.choices.rulings)
        self._alone, self._compiled = self.uses.alone, self.uses.known
        self._known = self.choices.known
        self._roles: dict[str, str] = {}  # of whoever asks, as far as they are written well
        self._refusals: deque[tuple[dict[object, Decision], Use]] = (
            deque()
        )  # each, the oldest first, where it stands

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
        about (those whom `countable` allows), `evidence` the words for what the purpose `needs`. `person`, `channel`
        and `signals` are as for `kept.controls.choices.enforce.Gate.may`.

        `rule` says what refuses it; of several the first of: purpose, data, channel, by, groups, nobody, owner, limit,
        region, left, restrict, object, withdraw, hold, choice, unless, upon, case, during, and the word of a need;
        `unsure` wherever nobody can tell. Whatever is asked, and however oddly, the answer is a decision.
        """
        try:  # what is known already; a list among what is asked can't be looked up so, and is looked at below
            if by is None:
                use = self._alone.get((purpose, data, channel))
            else:
                use = self._compiled.get((purpose, data, channel))
                if use is not None and self._roles.get(by) not in use.staff:
                    use = None
            if use is not None and group is None:
                known = self._known.get(person)  # type: ignore[arg-type]  # of nobody nothing is known
                if known is not None:
                    now = time.monotonic()
                    if now < known.until and now < self.choices.fresh:
                        bits, wanted = known.standing.get(signals), use.bits
                        if bits is not None and bits & wanted == wanted:
                            self.choices.news.asked += 1
                            return use.allowed
                        refused = known.refused.get(signals)
                        found = refused.get(use) if refused is not None else None
                        if found is not None:
                            self.choices.news.asked += 1
                            return found
        except Exception:  # noqa: BLE001, S110  # whatever was odd about it is found out below
            pass
        return self._decide(purpose, data, person, by, case, group, channel, signals, evidence)

    def decide_all(
        self,
        purpose: str,
        people: Sequence[Person],
        data: Names = None,
        *,
        channel: str | None = None,
        signals: frozenset[str] = NONE,
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
        return self._of_all(use, people, signals)

    def countable(
        self, purpose: str, people: Sequence[Person], data: Names = None, *, signals: frozenset[str] = NONE
    ) -> dict[Person, Decision]:
        """Which people an answer about a group may count: those of whom nothing forbids the use, groups or not.

        Who may ask, and whether the group is large enough, `decide(…, group=…)` says once they are counted.
        """
        use = self.uses.find(purpose, data)
        if isinstance(use, Decision):
            return dict.fromkeys(people, use)
        entry = use.entry
        if entry.case or entry.during or use.links or entry.upon:
            return dict.fromkeys(
                people, use.no("alone", "it also depends on cases and links: ask one by one")
            )
        return self._of_all(use, people, signals)

    def crowd(
        self, people: Iterable[Person], uses: Sequence[Asked] | None = None, lasts: timedelta = LASTS
    ) -> Crowd:
        """Many people and uses at once, decided in arrays: see `Crowd`. A database is read once for all of them.

        `uses` are (purpose, data, channel); left out, every purpose and channel that nothing but the person decides,
        with all of its data. KeptError for a use that more decides; StoreError where people can't be read. After
        `lasts` it has to be loaded again.
        """
        return Crowd(self.company, self.choices, self.standing, people, uses, lasts)

    # One use, slowly: with everything that is asked of it.

    def _decide(
        self,
        purpose: Any,
        data: Any,
        person: Any,
        by: Any,
        case: Any,
        group: Any,
        channel: Any,
        signals: Any,
        evidence: Any,
    ) -> Decision:
        found = self.uses.find(purpose, data, channel)
        if isinstance(found, Decision):
            return found
        use = found
        try:
            refused = self._request(use, person, by, group)
            if refused is not None:
                return refused
            who = by if by is None else By.of(by)
            given, known = _signals(signals), None
            if person is not None:
                looked = self.choices.basis(person)
                if isinstance(looked, Decision):
                    return looked
                known = looked
                refused = self._of_person(use, known, person, given)
            return (
                refused
                or self._conditions(use, person, known, who, by, case, given, _words(evidence))
                or use.allowed
            )
        except Refused as no:
            return use.no(no.reason, no.message)
        except KeptError as wrong:
            return use.no("unsure", f"nobody can tell: {wrong.message}", unsure=True)
        except Exception as wrong:  # noqa: BLE001  # whatever went wrong: what nobody can tell is refused, and said so
            return use.no("unsure", f"nobody can tell ({type(wrong).__name__})", unsure=True)

    # Each answers why not, or None.

    def _request(self, use: Use, person: Any, by: Any, group: Any) -> Decision | None:
        """What can be said without a look at anybody."""
        if by is None:
            if use.asks:
                return use.others
        elif not isinstance(by, str) or len(by) > LONGEST or by.endswith(":") or not by.isprintable():
            return use.no("by", f"`{use.name}` is asked for by nobody the policy knows")
        elif (role := By.of(by).role) not in use.by:
            if is_role(self.company.policy, role):
                return use.others
            return use.no("by", f"`{use.name}` is asked for by nobody the policy knows")
        elif by not in self._roles:
            if len(self._roles) >= ASKERS:
                self._roles.clear()
            self._roles[by] = role
        floor = use.entry.groups
        if floor is None:
            if group is not None:
                return use.no("groups", f"`{use.name}` is about single people: name each")
            if person is None:
                return use.no("nobody", "nobody is named")
            return (
                None if is_one(self.company.policy, person) else use.no("nobody", "there is nobody like that")
            )
        if person is not None or group is None:
            return use.no("groups", f"`{use.name}` sees groups of {floor} or more, and nobody in particular")
        if isinstance(group, bool) or not isinstance(group, int) or group < floor:
            return use.no("groups", f"a group of fewer than {floor}")
        return None

    def _of_person(self, use: Use, known: Basis, person: Person, signals: frozenset[str]) -> Decision | None:
        refused = known.refused.get(signals)
        found = refused.get(use) if refused is not None else None
        if found is None:
            found = self.standing.why_not(use, known, person.kind, signals)
            if found is not None:
                refused = known.refused.setdefault(signals, {})
                refused[use] = found
                self._refusals.append((refused, use))
                if len(self._refusals) > REFUSALS:
                    oldest, asked = self._refusals.popleft()
                    oldest.pop(asked, None)
        return found

    def _of_all(self, use: Use, people: Sequence[Person], signals: Any) -> dict[Person, Decision]:
        some = [who for who in people if is_one(self.company.policy, who)]
        found = dict.fromkeys(people, use.no("nobody", "there is nobody like that"))
        try:
            given, bases = _signals(signals), self.choices.bases(some)
            if isinstance(bases, Decision):
                return dict.fromkeys(people, bases)
            return found | {who: self._of_person(use, bases[who], who, given) or use.allowed for who in some}
        except KeptError as wrong:
            unsure = use.no("unsure", f"nobody can tell: {wrong.message}", unsure=True)
        except Exception as wrong:  # noqa: BLE001  # whatever went wrong: what nobody can tell is refused, and said so
            unsure = use.no("unsure", f"nobody can tell ({type(wrong).__name__})", unsure=True)
        return dict.fromkeys(people, unsure)

    def _conditions(
        self,
        use: Use,
        person: Person | None,
        known: Basis | None,
        who: By | None,
        by: str | None,
        case: Any,
        signals: frozenset[str],
        evidence: Mapping[str, str],
    ) -> Decision | None:
        entry = use.entry
        if entry.upon is not None:
            return use.no("upon", f"`{use.name}` is carried out by Kept itself, {entry.upon}")
        if who is not None:
            why = asking.why_not(self.company, who, person, known.facts if known is not None else None)
            if why is not None:
                return use.no("by", why)
        if entry.case:
            cases = tuple(map(str, entry.case))
            why = assigned.why_not(self.company, cases, case if isinstance(case, str) else None, person, by)
            if why is not None:
                return use.no("case", why)
        if entry.during is not None or use.links or entry.needs:
            about = About("", person, None, None, signals, evidence)
            conditions.refuse_links(self.company, entry, about)
            for need in map(str, entry.needs):
                conditions.refuse_need(self.company, entry, need, about, {})
        return None


def _signals(given: Any) -> frozenset[str]:
    """The signals that mean something; one may be given by itself."""
    return SIGNALS & ({given} if isinstance(given, str) else frozenset(given))


def _words(evidence: Any) -> Mapping[str, str]:
    """What was said as evidence; what no reader could see is nothing said."""
    if not isinstance(evidence, Mapping):
        return NO_EVIDENCE
    return {
        str(need): words
        for need, words in evidence.items()
        if isinstance(words, str) and any(map(str.isalnum, words))
    }
