"""One disclosure between people, compiled: who may look, at whose data, in which ties, and what forbids it.

A disclosure inherits the conditions of the purpose it is for, and the narrower wins. A tie that forbids it (`unless`)
does so both ways: the policy names the tie and no end of it, and somebody who blocked another and goes on watching them
would have what they took from the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.choices.deciding import Decision
from kept.controls.disclosure.declare import Disclosure, NeverDisclosed
from kept.controls.disclosure.visibility.ties import Tie, Time, holds_key
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.gate.persons import (
    AT_ONCE,
    Condition,
    Persons,
    clock_of,
    is_empty,
    not_after,
    sure,
)
from kept.controls.purposes.gate.rows import uses_of
from kept.controls.purposes.gate.willing import Wish
from kept.controls.rights.people import Person
from kept.errors import TransientError
from kept.policy.facts import Link
from kept.policy.grammar import Clock
from kept.policy.policy import STAFF, Policy
from kept.stores.clauses import Clauses
from kept.stores.expiring import clocks
from kept.stores.walk import Walk

ANYONE: Final = "anyone"
VIEWER: Final = "kept_viewer"


@dataclass(frozen=True)
class Audience:
    """One of those a disclosure is to: anyone, people of a kind, or an end of a link (any, where none is named)."""

    word: str
    kind: str | None = None
    link: Link | None = None
    end: str | None = None


@dataclass(frozen=True)
class Part:
    """One condition about the two, with the word and the sentence for where it isn't met."""

    rule: str
    reason: str
    so: Condition


class Seeing:
    """A disclosure between people: what the policy says, and nothing of anybody."""

    def __init__(self, company: Company, entry: Disclosure) -> None:
        self.company, self.entry = company, entry
        policy = company.policy
        purpose = policy.section("purposes").get(str(entry.purpose))
        assert isinstance(purpose, Purpose)  # the reader of the file has seen to it
        self.purpose = purpose
        self.wish = Wish(str(purpose.name), entry)
        self.clause = tuple(dict.fromkeys(map(str, (*entry.clause, *purpose.clause))))
        self.audiences = tuple(one for to in entry.to if (one := _audience(policy, str(to))) is not None)
        self.gives = tuple(map(str, entry.gives))
        self.needs = tuple(dict.fromkeys(map(str, (*entry.needs, *purpose.needs))))
        self.uses = uses_of(company)

    @classmethod
    def of(cls, company: Company, disclosure: str) -> Seeing | Decision:
        """The disclosure of that name, or why nobody sees anything by it."""
        known: dict[str, Seeing | Decision] = company.memory.setdefault(cls, {})
        if disclosure in known:
            return known[disclosure]
        entry = company.policy.section("disclosure").get(disclosure)
        if not isinstance(entry, Disclosure):
            never = [
                str(clause)
                for one in company.policy.section("disclosure").values()
                if isinstance(one, NeverDisclosed) and "undeclared" in one.never
                for clause in one.clause
            ]
            return Decision(False, "no such disclosure is declared", tuple(never), rule="undeclared")
        seeing = cls(company, entry)
        found = known[disclosure] = seeing._never() or seeing
        return found

    def no(self, rule: str, reason: str, *, unsure: bool = False) -> Decision:
        """It is refused, by a rule."""
        return Decision(False, reason, self.clause, unsure=unsure, rule=rule)

    def names(self, walk: Walk) -> tuple[str, ...]:
        """The data it gives that people of a walk have."""
        policy = self.company.policy
        return tuple(
            name
            for name in self.gives
            if any(policy.related(kind, walk.kind) for kind in policy.owners(policy.data[name]))
        )

    def between(
        self,
        viewer: Person | None,
        persons: Persons,
        who: str,
        audiences: Sequence[Audience] | None = None,
        *,
        without: Link | None = None,
    ) -> list[Part]:
        """What must hold between a viewer and the person whose row the statement calls `who`.

        `audiences` are those of the disclosure that are meant, all unless said; `without` is the link whose own row is
        looked at anyway.
        """
        meant = self.audiences if audiences is None else audiences
        entry, purpose = self.entry, self.purpose
        parts = []
        if without is None:
            tied = [self._is_for(one, viewer, persons, who) for one in meant]
            parts.append(Part("to", self._whom(), sa.or_(sa.false(), *tied)))
        if purpose.by or entry.by:
            for named in (entry.by, purpose.by):
                asked = [_audience(self.company.policy, str(one)) for one in named]
                may = [self._is_for(one, viewer, persons, who) for one in asked if one is not None]
                if named:
                    parts.append(Part("by", f"`{entry.name}` is for others", sa.or_(sa.false(), *may)))
        for name in dict.fromkeys(one for one in (entry.during, purpose.during) if one is not None):
            link = self.company.policy.links[name]
            if link is without or all(one.link is link for one in meant):
                continue  # the same row that ties them has to be open
            made = self._stands(link, None, viewer, persons, who, self.time(link))
            parts.append(Part("during", f"no `{name}` between them is open", made))
        for name in dict.fromkeys((*entry.unless, *purpose.unless)):
            if name in self.company.policy.links:
                link = self.company.policy.links[name]
                stands = (
                    sa.false() if viewer is None else Tie(self.company, link, persons).may_stand(viewer, who)
                )
                parts.append(Part("unless", f"a `{name}` stands between them", sa.not_(stands)))
        if (until := self._until_of_person(persons, who)) is not None:
            parts.append(Part("until", "its time is over", until))
        return parts

    def time(self, link: Link) -> Time:
        """When a row of a link counts for this disclosure."""
        named = [str(one) for one in (self.entry.during, self.purpose.during) if one is not None]
        until = self.entry.until
        if until is not None and until.event.of != link.name:
            until = None
        if until is not None and self.purpose.during == link.name and until.event.moment == "ended":
            until = None  # what it is for happens while the link is open: the narrower wins
        return Time(str(link.name) in named, until)

    def _whom(self) -> str:
        ties = [_untied(one.link, one.end) for one in self.audiences if one.link is not None]
        if len(ties) == len(self.audiences):
            return " and ".join(ties)
        return (
            f"`{self.entry.name}` is for {' or '.join(one.word for one in self.audiences)}, which they aren't"
        )

    def _is_for(self, one: Audience, viewer: Person | None, persons: Persons, who: str) -> Condition:
        if one.word == ANYONE:
            return sa.true()
        if viewer is None:
            return sa.false()
        if one.link is not None:
            return self._stands(one.link, one.end, viewer, persons, who, self.time(one.link))
        return is_of_kind(self.company, viewer, str(one.kind), self.wish, persons.walk.store)

    def _stands(
        self, link: Link, end: str | None, viewer: Person | None, persons: Persons, who: str, time: Time
    ) -> Condition:
        if viewer is None:
            return sa.false()
        return Tie(self.company, link, persons).stands(viewer, end, who, time)

    def _until_of_person(self, persons: Persons, who: str) -> Condition | None:
        """That a limit which counts from a moment of the person's own hasn't passed."""
        clock, policy = self.entry.until, self.company.policy
        if clock is None or clock.event.of not in policy.people:
            return None
        root = policy.root(str(clock.event.of))
        column = policy.moment(str(clock.event.of), clock.event.moment)
        row = persons.row(who)
        if root is not persons.root or column is None or str(column) not in row.shape.columns:
            raise TransientError(f"nobody can tell when `{clock.event}` was")
        at, found = clock_of(self.company, persons.store, row.shape.name, str(column)), row.c[str(column)]
        cutoff = (clock.period or AT_ONCE).cutoff(self.company.clock(), policy.timezone)
        over = sa.or_(sa.not_(clocks.readable(at, found)), not_after(at, found, cutoff))
        return sa.not_(sure(sa.and_(sa.not_(is_empty(persons.store, row, str(column))), over)))

    def _never(self) -> Decision | None:
        """Why nobody can see anything by it, whoever looks at whom."""
        entry, purpose, policy = self.entry, self.purpose, self.company.policy
        if not self.audiences:
            return self.no(
                "to", f"`{entry.name}` is to {', '.join(map(str, entry.to))}: nobody who looks at a page"
            )
        if entry.groups or purpose.groups:
            return self.no("groups", f"`{entry.name}` is about groups, and nobody in particular")
        if entry.case or purpose.case:
            return self.no("case", f"`{entry.name}` needs a case, which only staff have")
        if purpose.upon is not None:
            return self.no("upon", f"`{purpose.name}` is carried out by Kept itself, {purpose.upon}")
        found = self.uses.find(str(purpose.name), self.gives)
        if isinstance(found, Decision):
            return found
        clock = entry.until
        if clock is not None and not self._is_told(clock):
            return self.no("until", f"nobody can tell from a tie when `{clock}` is", unsure=True)
        if (
            clock is not None
            and clock.event.of in policy.people
            and clock.event.moment not in ("began", "ended")
        ):
            return self.no("until", f"nobody can tell when `{clock}` is", unsure=True)
        return None

    def _is_told(self, clock: Clock) -> bool:
        of = clock.event.of
        links = {str(one.link.name) for one in self.audiences if one.link is not None}
        links |= {str(one) for one in (self.entry.during,) if one is not None}
        return of is not None and (of in links or of in self.company.policy.people)


def is_of_kind(company: Company, viewer: Person, kind: str, wish: Wish, store: str) -> Condition:
    """That whoever looks is of a kind now, and hasn't left, as the database of those they look at says."""
    walk = company.map.walk(kind)
    root = company.policy.root(kind)
    if root is None or root.name != viewer.kind:
        return sa.false()
    if walk is None or walk.store != store or len(walk.root.person) != 1:
        raise TransientError(f"nobody can see whether they are a `{kind}`")
    persons = Persons(company, walk, wish)
    row = persons.row(VIEWER)
    say = Clauses(persons.store, walk.tables)
    source = persons.store.table(walk.root.table).alias(VIEWER)
    met = [holds_key(say, row, walk.root.person[0], viewer), sa.not_(persons.left(row))]
    if kind != walk.kind:
        met.append(persons.is_kind(row, kind, "is"))
    chosen: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(source).where(*met)
    return sa.exists(chosen.correlate_except(source))


def _untied(link: Link, end: str | None) -> str:
    """That a link doesn't tie two people, or not from the end of it that looks."""
    whose = f" with the viewer as its `{end}`" if end is not None else ""
    return f"no {'open ' if link.ended is not None else ''}`{link.name}` ties the two{whose}"


def _audience(policy: Policy, word: str) -> Audience | None:
    """Whom a word of `to` or `by` means; None for a party and for staff, who don't look at people's pages."""
    if word == ANYONE:
        return Audience(ANYONE)
    if word in policy.links:
        return Audience(word, link=policy.links[word])
    name, dot, end = word.partition(".")
    if dot and name in policy.links:
        kind = policy.kind_of(word)
        is_staff = kind is None or policy.is_staff(kind)
        return None if is_staff else Audience(word, link=policy.links[name], end=end)
    if word in policy.people and word != STAFF and not policy.is_staff(word):
        return Audience(word, kind=word)
    return None
