"""Whom a use may concern by what they chose and said: of one person as a decision, of everybody as two short lists.

Whoever never said anything is told by their own row (where they are, of which kinds they are), which a database can do
by itself. Of the others a statement gets the keys: who is refused, and who is allowed where silence isn't a yes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import product
from typing import Final, Literal

from sqlalchemy import select

from kept.company import Company
from kept.controls.choices.deciding import NONE, Basis, Decision, Plan, Rulings
from kept.controls.choices.enforce import EVERY, FACTS, GUARDS, SURE, within
from kept.controls.choices.enforce import Gate as ChoicesGate
from kept.controls.choices.grounds import read, unplaced
from kept.controls.choices.news import News
from kept.controls.choices.records import book, subjects
from kept.controls.choices.whom import AGE, OWN, Facts, kinds_within, young
from kept.controls.retention import placed
from kept.controls.rights.people import Person, person_of
from kept.errors import KeptError
from kept.laws.law import law
from kept.policy.conditions import Conditional
from kept.policy.words import regions
from kept.state.tables import choice_events, instructions, verifications
from kept.state.tables import subjects as subjects_table

PAGE: Final = 5000
KINDS: Final = 5  # that may matter at once: each one more means three times as many cases

State = Literal["is", "isn't", "unsure"]


@dataclass(frozen=True)
class Wish:
    """What is asked of a person: that a purpose may use their data; for a disclosure (`entry`) that it may give it."""

    purpose: str
    entry: Conditional | None = field(default=None, hash=False)


@dataclass(frozen=True)
class Areas:
    """Where it is so: in `whole` countries with all their parts, and in `single` regions. Both empty: nowhere."""

    everywhere: bool
    whole: tuple[str, ...] = ()
    single: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.everywhere or bool(self.whole or self.single)


@dataclass(frozen=True)
class Said:
    """The keys of those who said something: who is refused (`no`), and who is allowed though their silence weren't."""

    no: tuple[tuple[str, ...], ...] = field(repr=False)
    yes: tuple[tuple[str, ...], ...] = field(repr=False)


def decide(rulings: Rulings, known: Basis, wish: Wish, signals: frozenset[str] = NONE) -> Decision:
    """Whether what somebody chose and said allows it; a disclosure has choices of its own beside its purpose's."""
    found = rulings.decide(known, wish.purpose, None, signals)
    if not found.allowed or wish.entry is None:
        return found
    why = refused(rulings, known, wish, wish.entry, signals)
    clause = tuple(map(str, wish.entry.clause))
    return why or Decision(True, found.reason, (*clause, *found.clause), event=found.event)


def refused(
    rulings: Rulings, known: Basis, wish: Wish, entry: Conditional, signals: frozenset[str] = NONE
) -> Decision | None:
    """What a disclosure's own choices have against it; None where they have nothing."""
    clause = tuple(map(str, entry.clause))
    for name in map(str, entry.choice):
        one = rulings.choice(known, name, _scope(rulings, name, wish), signals, entry=entry)
        if not one.allowed:
            return one
    for name in map(str, entry.unless):
        if name in rulings.choices:
            choice, scope = rulings.choices[name], _scope(rulings, name, wish)
            objection = rulings.objection(known, choice, scope)
            # Whatever came with the request: a signal is a no to what they allow, never to what they forbid.
            if objection is not None or rulings.choice(known, name, scope).allowed:
                event = objection.number if objection is not None else None
                return Decision(False, f"`{name}` stands, and forbids it", clause, name, event, rule="unless")
    return None


def _scope(rulings: Rulings, choice: str, wish: Wish) -> str:
    return wish.purpose if choice in rulings.choices and rulings.choices[choice].each == "purpose" else ""


class Willing:
    """Of all people of a kind who has to be told from the others, for one wish. For any number of threads."""

    def __init__(self, company: Company, kind: str, wish: Wish) -> None:
        self.company, self.kind, self.wish = company, kind, wish
        self.rulings = ChoicesGate.of(company).rulings
        plan = self.rulings.plan(wish.purpose, None)
        named = {str(one.name) for one, _ in (*plan.needs, *plan.unless)} if isinstance(plan, Plan) else set()
        named |= {str(one.name) for one in self.rulings.permissions}
        if wish.entry is not None:
            named |= {str(one) for one in (*wish.entry.choice, *wish.entry.unless)} & set(
                self.rulings.choices
            )
        self.choices = named
        self.leavers = not isinstance(plan, Plan) or plan.leavers
        concerned = {one for name in named for one in self.rulings.kinds(self.rulings.choices[name])}
        self.kinds = tuple(one for one in kinds_within(company.policy, kind) if str(one.name) in concerned)
        self._lock = threading.Lock()
        self._whole = True  # whether everybody has to be read anew
        self._changed: set[Person] = set()
        self._no: set[tuple[str, ...]] = set()
        self._yes: set[tuple[str, ...]] = set()
        self._due: dict[Person, float] = {}
        self._next = float("inf")
        self._told: Said | None = None
        self._cases: tuple[tuple[tuple[State, ...], Areas], ...] | None = None

    @classmethod
    def of(cls, company: Company, kind: str, wish: Wish) -> Willing:
        """The one of a company, for as long as it is open."""
        known: dict[tuple[str, str, str], Willing] = company.memory.setdefault(cls, {})
        name = (kind, wish.purpose, wish.entry.id if wish.entry is not None else "")
        found = known.get(name)
        if found is None:
            made = cls(company, kind, wish)
            _Heard.of(company).tell(made)  # before anybody uses it, so that it misses nothing
            found = known.setdefault(name, made)
        return found

    def decide(self, known: Basis, signals: frozenset[str] = NONE) -> Decision:
        """Whether what somebody chose and said allows it."""
        return decide(self.rulings, known, self.wish, signals)

    def silent(self) -> tuple[tuple[tuple[State, ...], Areas], ...]:
        """Where those who never said anything are allowed, by whether they are of each of `kinds`."""
        if self._cases is None:
            if len(self.kinds) > KINDS:
                raise KeptError(
                    f"`{self.wish.purpose}` turns on too many kinds of people to be asked at once"
                )
            found = []
            for states in product(*(self.states(str(one.name)) for one in self.kinds)):
                areas = areas_where(partial(self._is_silent, states), self._named())
                if areas:
                    found.append((states, areas))
            self._cases = tuple(found)
        return self._cases

    def said(self) -> Said:
        """The keys as of now: what was said in this process counts at once, elsewhere within a second.

        StoreError where nobody can tell.
        """
        _Heard.of(self.company).look()
        with self._lock:
            now = time.monotonic()
            if self._whole:
                self._whole, self._changed = False, set()
                try:
                    self._load(now)
                except BaseException:
                    self._whole = True
                    raise
            due = {who for who, at in self._due.items() if at <= now} if now >= self._next else set()
            changed, self._changed = self._changed | due, set()
            if changed:
                try:
                    self._take(sorted(changed, key=str), now)
                except BaseException:
                    self._changed |= changed
                    raise
            if self._told is None:
                self._told = Said(tuple(sorted(self._no)), tuple(sorted(self._yes)))
            return self._told

    def learn(self, whos: Iterable[Person] | None) -> None:
        """What these people said has changed; None: anybody's may have."""
        if whos is None:
            self._whole = True
        else:
            with self._lock:
                self._changed |= {who for who in whos if who.kind == self.kind}

    def _named(self) -> set[str]:
        """Every region that the policy or a law of its names."""
        policy = self.company.policy
        found = {str(area) for name in policy.laws for area in law(name).regions}
        for section in ("choices", "purposes"):
            for entry in policy.section(section).values():
                found |= {str(area) for area in (*getattr(entry, "ask", ()), *getattr(entry, "ground", ()))}
        return found

    def states(self, kind: str) -> tuple[State, ...]:
        policy = self.company.policy
        tests = (policy.people[one].when for one in policy.chain(kind))
        aged = any(part.of_age for test in tests if test is not None for part in test.all)
        return ("is", "isn't", "unsure") if aged else ("is", "isn't")

    def _is_silent(self, states: Sequence[State], region: str | None) -> bool:
        named = [str(one.name) for one in self.kinds]
        kinds = frozenset((self.kind, *(n for n, s in zip(named, states, strict=True) if s == "is")))
        unsure = frozenset(n for n, s in zip(named, states, strict=True) if s == "unsure")
        return self._silence(Facts(True, region, kinds, unsure))

    def _silence(self, facts: Facts) -> bool:
        nobody = Basis({}, facts, (), {}, 0.0, unplaced(self.company, self.kind))
        return self.decide(nobody).allowed

    # Those who said something.

    def _load(self, now: float) -> None:
        self._no, self._yes, self._due, self._next, self._told = set(), set(), {}, float("inf"), None
        self._take(list(dict.fromkeys(self._heard_of())), now)

    def _take(self, whos: Sequence[Person], now: float) -> None:
        for start in range(0, len(whos), PAGE):
            page = whos[start : start + PAGE]
            for who, known in read(self.company, page, self.rulings).items():
                self._no.discard(who.key)
                self._yes.discard(who.key)
                self._due.pop(who, None)
                if not known.facts.there:
                    continue  # `07` isn't customer 7, and what was said under another name isn't theirs
                allowed, silent = self.decide(known).allowed, self._silence(known.facts)
                if not allowed:
                    self._no.add(who.key)
                elif not silent:
                    self._yes.add(who.key)
                self._due[who] = now + min(known.until, GUARDS if known.guards else FACTS)
        self._next = min(self._due.values(), default=float("inf"))
        self._told = None

    def _heard_of(self) -> Iterator[Person]:
        """Everybody who ever answered one of the choices, said something about the use of their data, or is held."""
        company = self.company
        answered = select(choice_events.c.subject).where(choice_events.c.choice.in_(sorted(self.choices)))
        numbers = [answered] if self.choices else []
        if any(str(one.name) in young(company.policy) for one in self.kinds):
            grown = (verifications.c.what == AGE) & (verifications.c.by == OWN)
            numbers.append(select(verifications.c.subject).where(grown))
        sealed = []
        with company.state.read() as connection:
            for chosen in numbers:
                query = select(subjects_table.c.who).where(
                    subjects_table.c.kind == self.kind,
                    subjects_table.c.who.is_not(None),
                    subjects_table.c.number.in_(chosen.distinct()),
                )
                sealed += [("subject", who) for who in connection.scalars(query)]
            saying = select(instructions.c.who).where(
                instructions.c.ended.is_(None), instructions.c.who.is_not(None)
            )
            sealed += [("instruction", who) for who in connection.scalars(saying)]
        named = (person_of(company.policy, company.keys.unseal(what, who).decode()) for what, who in sealed)
        held = (one.person for one in placed.listing(company) if one.person is not None)
        yield from (who for who in (*named, *held) if who.kind == self.kind)


class _Heard:
    """What others chose and said since this process last looked, for all of a company's `Willing`."""

    def __init__(self, company: Company) -> None:
        self.company, self.news = company, News(company)
        self._all: list[Willing] = []
        self._lock = threading.Lock()
        self._fresh = float("-inf")
        book.listen(company, self)

    @classmethod
    def of(cls, company: Company) -> _Heard:
        found = company.memory.get(cls)
        if found is None:
            found = company.memory.setdefault(cls, cls(company))
        return found  # type: ignore[no-any-return]  # what stands under its class

    def tell(self, one: Willing) -> None:
        with self._lock:
            self._all.append(one)

    def learn(self, whos: Iterable[Person]) -> None:
        some = set(whos)
        for one in list(self._all):
            one.learn(some)

    def look(self) -> None:
        """See what changed, every quarter of a second."""
        with self._lock:
            now = time.monotonic()
            if now < self._fresh:
                return
            changed = within(SURE, lambda: self.news.read(idle=False, sure=SURE))
            whos = None if changed is None else self._people(changed)
            for one in self._all:
                one.learn(whos)
            self._fresh = now + EVERY

    def _people(self, indexes: Sequence[bytes]) -> set[Person]:
        company, found = self.company, set[Person]()
        with company.state.read() as connection:
            for start in range(0, len(indexes), subjects.CHUNK):
                part = list(indexes[start : start + subjects.CHUNK])
                query = select(subjects_table.c.who).where(
                    subjects_table.c.person.in_(part), subjects_table.c.who.is_not(None)
                )
                found |= {
                    person_of(company.policy, company.keys.unseal("subject", who).decode())
                    for who in connection.scalars(query)
                }
        return found


def areas_where(so: Callable[[str | None], bool], named: Iterable[str]) -> Areas:
    """Every region in which something is so. Where nobody knows somebody's, it is so only if it is so everywhere.

    `named` are all the regions by which it may differ; a country of whose parts none is named is asked about once.
    """
    parted = {area.partition("-")[0] for area in named if "-" in area}
    parts, others = _by_country()
    whole, single, everywhere = [], [], so(None)
    for country, inside in parts.items():
        asked = (country, *inside) if country in parted else (country,)
        allowed = [one for one in asked if so(one)]
        if len(allowed) == len(asked):
            whole.append(country)
        else:
            everywhere = False
            single += allowed
    for one in others:
        if so(one):
            single.append(one)
        else:
            everywhere = False
    return Areas(True) if everywhere else Areas(False, tuple(whole), tuple(single))


@lru_cache(maxsize=1)
def _by_country() -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The countries with their parts, and the words for more than one country."""
    every = regions() - {"elsewhere"}
    found: dict[str, list[str]] = {one: [] for one in sorted(every) if len(one) == 2 and one != "uk"}
    for one in sorted(every):
        if "-" in one and one.partition("-")[0] in found:
            found[one.partition("-")[0]].append(one)
    told = {*found, *(part for parts in found.values() for part in parts)}
    return {one: tuple(parts) for one, parts in found.items()}, tuple(sorted(every - told))
